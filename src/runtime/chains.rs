//! Reconciles chains: facts, decision, and what follows from it.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    clock,
    context::Context,
    execute::Error,
    gather::{self, scope},
    lookups::Scope,
    named::User,
    references,
    store::Key,
    worker::{Reconcile, Requeue},
};
use crate::{
    api::{
        CHAIN_LABEL,
        build::ImageBuild,
        chain::{ImageChain, ImageChainStatus},
    },
    plan::{
        access,
        chain::{Action, BuildFacts, Correction, Plan, Promotion, is_past},
        event,
        lookup::{Found, Subject},
        name,
    },
};

/// So long a reconcile waits for answers: most come within it, and the status is written once. An answer that takes longer
/// enqueues the chain when it comes.
const PATIENCE: Duration = Duration::from_secs(3);
/// How soon a chain is reconciled again of which nothing was published, since it could not be read or has changed.
const GIVEN_UP: Duration = Duration::from_secs(1);
/// How soon a chain is reconciled again that waits for what no watch shows.
const AGAIN: Duration = Duration::from_secs(5);

/// The reconciler of chains.
#[derive(Debug)]
pub struct Chains(pub Arc<Context>);

impl Reconcile for Chains {
    const KIND: &'static str = "ImageChain";

    async fn reconcile(&self, key: &Key) -> Result<Requeue, Error> {
        if let Some(chain) = self.0.stores.chains.get(key) {
            return Box::pin(self.reconcile_chain(&chain)).await;
        }
        self.0.stores.named.need(User::Chain(key.clone()), [].into());
        Ok(Requeue::Idle)
    }
}

impl Chains {
    async fn reconcile_chain(&self, chain: &Arc<ImageChain>) -> Result<Requeue, Error> {
        let (context, scope) = (&self.0, scope(chain));
        let mut plan = decide(context, chain, &scope);
        if !plan.lookups.is_empty() {
            self.ask(chain, &scope, &plan.lookups).await;
            plan = decide(context, chain, &scope);
        }
        let actions = std::mem::take(&mut plan.actions);
        let acted = !actions.is_empty();
        let (mut promotions, mut corrections) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Promote(promotion) => promotions.push(promotion),
                Action::PutBack(correction) => corrections.push(correction),
                action => self.act(chain, action).await?,
            }
        }
        promotions.extend(self.confirmed(chain, corrections).await?);
        self.promote(chain, &scope, promotions).await;
        if acted {
            plan = decide(context, chain, &scope);
        }
        self.write_status(chain, &scope, &plan).await?;
        Ok(self.requeue(&scope, &plan))
    }

    fn requeue(&self, scope: &Scope, plan: &Plan) -> Requeue {
        if !plan.actions.is_empty() && plan.actions.iter().any(|action| !self.is_under_way(scope, action)) {
            return Requeue::soon();
        }
        let lacks =
            !self.0.remote.answers.lacking(scope).is_empty() || !self.0.remote.promotions.lacking(scope).is_empty();
        match plan.wake {
            None if lacks => Requeue::After(AGAIN),
            wake => Requeue::at(wake),
        }
    }

    fn is_under_way(&self, scope: &Scope, action: &Action) -> bool {
        match action {
            Action::Promote(promotion) | Action::PutBack(Correction { promotion, .. }) => {
                self.0.remote.promotions.is_running(scope, promotion)
            }
            _ => false,
        }
    }

    async fn act(&self, chain: &ImageChain, action: Action) -> Result<(), Error> {
        let (context, namespace) = (&self.0, chain.namespace().unwrap_or_default());
        match action {
            Action::CreateBuild { name, spec } => {
                let build = context.writer.create_build(chain, &name, *spec).await?;
                let key = Key::of(&build);
                if build.spec.chain_ref.as_ref().map(|owner| &owner.uid) != chain.metadata.uid.as_ref() {
                    context.stores.builds.wrote(None, build);
                    context.stores.met_stranger(key);
                    return Ok(());
                }
                tracing::info!(namespace, build = name, causes = ?build.spec.causes, "a build");
                context.stores.builds.wrote(None, build);
                context.queues.builds.add(key);
                Ok(())
            }
            Action::Supersede { name, uid, message } => {
                context.writer.supersede(&namespace, &name, &uid, &message).await
            }
            Action::DeleteBuild { name, uid } => self.delete(&Key::new(&namespace, &name), &uid).await,
            Action::Promote(_) | Action::PutBack(_) => Ok(()),
        }
    }

    /// Deletes a build, and before that the tags that its attempts have staged.
    async fn delete(&self, key: &Key, uid: &str) -> Result<(), Error> {
        let context = &self.0;
        if let Some(build) = context.stores.builds.get(key).filter(|build| build.uid().as_deref() == Some(uid)) {
            self.delete_staged(&build, uid).await;
        }
        let builds: Api<ImageBuild> = Api::namespaced(context.client.clone(), &key.namespace);
        context.writer.delete(&builds, &key.name, uid, false).await
    }

    async fn delete_staged(&self, build: &ImageBuild, uid: &str) {
        let name = &build.spec.profile.0;
        let fact = self.0.stores.profile(name);
        let Some(profile) = access::usable(&fact) else { return };
        let Some(staging) = &profile.staging else { return };
        for attempt in build.status.iter().flat_map(|status| &status.attempts) {
            let tag = name::pod(&build.name_any(), uid, attempt.number.unsigned_abs());
            self.0.remote.lookups.delete_staged(name, profile, &staging.repository, &tag).await;
        }
    }

    /// Asks, and waits a moment for the answers that somebody waits for.
    async fn ask(&self, chain: &Arc<ImageChain>, scope: &Scope, subjects: &[Subject]) {
        let new = subjects.iter().filter(|subject| self.0.remote.answers.begin(scope, subject));
        let asked: Vec<_> = new
            .map(|subject| {
                let look = look_up(Arc::clone(&self.0), Arc::clone(chain), scope.clone(), subject.clone());
                (subject.is_check(), tokio::spawn(look))
            })
            .collect();
        wait(asked.into_iter().filter(|(is_check, _)| !is_check).map(|(_, task)| task)).await;
    }

    /// The corrections that a live read of the chain's builds confirms: a replica that has just begun to lead may not see
    /// yet what the one before has built, and published as its last deed.
    async fn confirmed(&self, chain: &ImageChain, corrections: Vec<Correction>) -> Result<Vec<Promotion>, Error> {
        if corrections.is_empty() {
            return Ok(Vec::new());
        }
        let builds: Api<ImageBuild> = Api::namespaced(self.0.client.clone(), &chain.namespace().unwrap_or_default());
        let of_chain = ListParams::default().labels(&format!("{CHAIN_LABEL}={}", chain.name_any()));
        let live = builds.list(&of_chain).await?;
        let live: Vec<_> = live.items.iter().filter_map(BuildFacts::of).collect();
        let confirmed = corrections.into_iter().filter(|correction| correction.stands_in(&live));
        Ok(confirmed.map(|correction| correction.promotion).collect())
    }

    /// Moves tags, and waits a moment for the end of that. The chain is read once for all of them: it may have
    /// hundreds of links, and be large.
    async fn promote(&self, chain: &Arc<ImageChain>, scope: &Scope, promotions: Vec<Promotion>) {
        let context = &self.0;
        let new = promotions.into_iter().filter(|promotion| context.remote.promotions.begin(scope, promotion));
        let new: Vec<Promotion> = new.collect();
        if new.is_empty() {
            return;
        }
        if !stands(context, chain).await {
            for promotion in &new {
                context.remote.promotions.give_up(scope, promotion);
            }
            return context.queues.chains.add_after(Key::of(chain.as_ref()), GIVEN_UP);
        }
        let move_tags =
            |promotion| tokio::spawn(promote(Arc::clone(context), Arc::clone(chain), scope.clone(), promotion));
        wait(new.into_iter().map(move_tags)).await;
    }

    /// Tells the events of a status that was written.
    fn tell(&self, previous: Option<&ImageChainStatus>, next: &ImageChainStatus, chain: &ImageChain) {
        let events = event::of_chain(&previous.cloned().unwrap_or_default(), next);
        if !events.is_empty() {
            let (writer, chain) = (self.0.writer.clone(), chain.clone());
            tokio::spawn(async move { writer.tell(&chain, &events).await });
        }
    }

    async fn write_status(&self, chain: &ImageChain, scope: &Scope, plan: &Plan) -> Result<(), Error> {
        let context = &self.0;
        let chains: Api<ImageChain> = Api::namespaced(context.client.clone(), &chain.namespace().unwrap_or_default());
        let written = context.writer.write_status(&chains, chain, chain.status.as_ref(), &plan.status).await;
        // A success is believed in the pass that it was made in, and in no other: after another one, the same
        // promotion must be made again.
        context.remote.promotions.forget(scope, |_, answer| answer.result == Ok(Found::Presence(true)));
        if let Some(written) = written? {
            context.remote.answers.forget(scope, |subject, _| is_past(subject, &plan.status));
            self.tell(chain.status.as_ref(), &plan.status, &written);
            context.queues.enqueue_dependents(&context.stores, &written);
            context.stores.chains.wrote(chain.resource_version().as_deref(), written);
            context.queues.enqueue_rivals(&context.stores, &Key::of(chain));
        }
        Ok(())
    }
}

/// Waits a moment for tasks, which go on beyond it.
async fn wait(tasks: impl Iterator<Item = JoinHandle<()>>) {
    let tasks: Vec<_> = tasks.collect();
    if !tasks.is_empty() {
        let _ = timeout(PATIENCE, join_all(tasks)).await;
    }
}

/// Decides on what is known now. Failures that may be mended are forgotten before, and what the chain needs is watched.
fn decide(context: &Context, chain: &ImageChain, scope: &Scope) -> Plan {
    references::forget_mended(context, chain, scope);
    references::subscribe_chain(context, chain, scope);
    gather::chain(context, chain).decide(chain)
}

async fn look_up(context: Arc<Context>, chain: Arc<ImageChain>, scope: Scope, subject: Subject) {
    let profile = subject.profile().map(|name| context.stores.profile(name));
    let namespace = chain.namespace().unwrap_or_default();
    let answered = context.remote.lookups.find(&namespace, &subject, profile.as_ref().and_then(access::usable)).await;
    tracing::debug!(namespace, chain = chain.name_any(), of = subject.title(), answer = ?answered.outcome, "looked up");
    context.remote.answers.end(&scope, subject, clock::now(), answered);
    context.queues.chains.add(Key::of(chain.as_ref()));
}

/// One promotion, as long as this process may write.
async fn promote(context: Arc<Context>, chain: Arc<ImageChain>, scope: Scope, promotion: Promotion) {
    let mut claim = context.writer.claim().clone();
    let (namespace, profile) = (chain.namespace().unwrap_or_default(), context.stores.profile(&promotion.profile));
    let moved = context.remote.lookups.promote(&namespace, &promotion, access::usable(&profile));
    let answered = tokio::select! {
        answered = moved => Some(answered),
        () = claim.lost() => None,
    };
    let (name, link, staged) = (chain.name_any(), promotion.link.clone(), promotion.staged.clone());
    let Some(answered) = answered else {
        context.remote.promotions.give_up(&scope, &promotion);
        return context.queues.chains.add_after(Key::of(chain.as_ref()), GIVEN_UP);
    };
    tracing::info!(namespace, chain = name, link, staged, answer = ?answered.outcome, "published");
    context.remote.promotions.end(&scope, promotion, clock::now(), answered);
    context.queues.chains.add(Key::of(chain.as_ref()));
}

/// The live read before tags are moved: a chain that is another than was decided on, or gone, publishes nothing. Its
/// status counts, too: who saw no later image than this one would take the tags back to it.
async fn stands(context: &Context, chain: &ImageChain) -> bool {
    let chains: Api<ImageChain> = Api::namespaced(context.client.clone(), &chain.namespace().unwrap_or_default());
    match chains.get_opt(&chain.name_any()).await {
        Ok(live) => {
            live.is_some_and(|live| live.uid() == chain.uid() && live.resource_version() == chain.resource_version())
        }
        Err(error) => {
            tracing::warn!(chain = chain.name_any(), %error, "not published: the chain could not be read");
            false
        }
    }
}
