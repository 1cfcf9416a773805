//! One look at a chain: facts, decision, and what follows from it.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use kube::{Api, ResourceExt};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    clock,
    execute::Error,
    gather::{self, scope},
    lookups::Scope,
    named::User,
    references,
    store::Key,
    worker::{Reconcile, Requeue},
    world::World,
};
use crate::{
    api::{build::ImageBuild, chain::ImageChain},
    plan::{
        access,
        chain::{Action, Plan, Promotion},
        lookup::{Found, Subject},
        name,
    },
};

/// So long a look waits for answers: most come within it, and the status is written once. What takes longer is
/// looked at again when it comes.
const PATIENCE: Duration = Duration::from_secs(3);
/// How soon a chain is looked at again of which nothing was published, since it could not be read or has changed.
const GIVEN_UP: Duration = Duration::from_secs(1);
/// How soon a chain is looked at again whose failures no watch will mend.
const AGAIN: Duration = Duration::from_secs(5);

/// What looks at chains.
#[derive(Debug)]
pub struct Chains(pub Arc<World>);

impl Reconcile for Chains {
    const KIND: &'static str = "ImageChain";

    async fn reconcile(&self, key: &Key) -> Result<Requeue, Error> {
        if let Some(chain) = self.0.chains.get(key) {
            return Box::pin(self.look(&chain)).await;
        }
        self.0.named.need(User::Chain(key.clone()), [].into());
        Ok(Requeue::Idle)
    }
}

impl Chains {
    async fn look(&self, chain: &Arc<ImageChain>) -> Result<Requeue, Error> {
        let (world, scope) = (&self.0, scope(chain));
        let mut plan = decide(world, chain, &scope);
        if !plan.lookups.is_empty() {
            self.ask(chain, &scope, &plan.lookups).await;
            plan = decide(world, chain, &scope);
        }
        let mut acted = false;
        let mut promotions = Vec::new();
        for action in std::mem::take(&mut plan.actions) {
            acted = true;
            match action {
                Action::Promote(promotion) => promotions.push(promotion),
                action => self.act(chain, action).await?,
            }
        }
        self.promote(chain, &scope, promotions).await;
        if acted {
            plan = decide(world, chain, &scope);
        }
        self.write_status(chain, &scope, &plan).await?;
        Ok(self.requeue(&scope, &plan))
    }

    fn requeue(&self, scope: &Scope, plan: &Plan) -> Requeue {
        if !plan.actions.is_empty() && plan.actions.iter().any(|action| !self.is_under_way(scope, action)) {
            return Requeue::soon();
        }
        let lacks = !self.0.answers.lacking(scope).is_empty() || !self.0.promotions.lacking(scope).is_empty();
        match plan.wake {
            None if lacks => Requeue::After(AGAIN),
            wake => Requeue::at(wake),
        }
    }

    fn is_under_way(&self, scope: &Scope, action: &Action) -> bool {
        matches!(action, Action::Promote(promotion) if self.0.promotions.is_running(scope, promotion))
    }

    async fn act(&self, chain: &ImageChain, action: Action) -> Result<(), Error> {
        let (world, namespace) = (&self.0, chain.namespace().unwrap_or_default());
        match action {
            Action::CreateBuild { name, spec } => {
                let build = world.execute.create_build(chain, &name, *spec).await?;
                let key = Key::of(&build);
                if build.spec.chain_ref.as_ref().map(|owner| &owner.uid) != chain.metadata.uid.as_ref() {
                    world.builds.wrote(None, build);
                    world.met_stranger(key);
                    return Ok(());
                }
                tracing::info!(namespace, build = name, causes = ?build.spec.causes, "a build");
                world.builds.wrote(None, build);
                world.works.builds.add(key);
                Ok(())
            }
            Action::Supersede { name, uid, message } => {
                world.execute.supersede(&namespace, &name, &uid, &message).await
            }
            Action::DeleteBuild { name, uid } => self.delete(&Key::new(&namespace, &name), &uid).await,
            Action::Promote(_) => Ok(()),
        }
    }

    /// Deletes a build, and before that the tags that its attempts have staged.
    async fn delete(&self, key: &Key, uid: &str) -> Result<(), Error> {
        let world = &self.0;
        if let Some(build) = world.builds.get(key).filter(|build| build.uid().as_deref() == Some(uid)) {
            self.delete_staged(&build, uid).await;
        }
        let builds: Api<ImageBuild> = Api::namespaced(world.client.clone(), &key.namespace);
        world.execute.delete(&builds, &key.name, uid, false).await
    }

    async fn delete_staged(&self, build: &ImageBuild, uid: &str) {
        let name = &build.spec.profile.0;
        let fact = self.0.profile(name);
        let Some(profile) = access::usable(&fact) else { return };
        let Some(staging) = &profile.staging else { return };
        for attempt in build.status.iter().flat_map(|status| &status.attempts) {
            let tag = name::pod(&build.name_any(), uid, attempt.number.unsigned_abs());
            self.0.lookups.delete_staged(name, profile, &staging.repository, &tag).await;
        }
    }

    /// Asks, and waits a moment for the answers.
    async fn ask(&self, chain: &Arc<ImageChain>, scope: &Scope, subjects: &[Subject]) {
        let new = subjects.iter().filter(|subject| self.0.answers.begin(scope, subject));
        wait(new.map(|subject| {
            tokio::spawn(look_up(Arc::clone(&self.0), Arc::clone(chain), scope.clone(), subject.clone()))
        }))
        .await;
    }

    /// Moves tags, and waits a moment for the end of that. The chain is read once for all of them: it may have
    /// hundreds of links, and be large.
    async fn promote(&self, chain: &Arc<ImageChain>, scope: &Scope, promotions: Vec<Promotion>) {
        let world = &self.0;
        let new = promotions.into_iter().filter(|promotion| world.promotions.begin(scope, promotion));
        let new: Vec<Promotion> = new.collect();
        if new.is_empty() {
            return;
        }
        if !stands(world, chain).await {
            for promotion in &new {
                world.promotions.give_up(scope, promotion);
            }
            return world.works.chains.add_after(Key::of(chain.as_ref()), GIVEN_UP);
        }
        let move_tags =
            |promotion| tokio::spawn(promote(Arc::clone(world), Arc::clone(chain), scope.clone(), promotion));
        wait(new.into_iter().map(move_tags)).await;
    }

    async fn write_status(&self, chain: &ImageChain, scope: &Scope, plan: &Plan) -> Result<(), Error> {
        let world = &self.0;
        let chains: Api<ImageChain> = Api::namespaced(world.client.clone(), &chain.namespace().unwrap_or_default());
        let written = world.execute.write_status(&chains, chain, chain.status.as_ref(), &plan.status).await;
        // A success is believed in the pass that it was made in, and in no other: after another one, the same
        // promotion must be made again.
        world.promotions.forget(scope, |_, answer| answer.result == Ok(Found::Presence(true)));
        if let Some(written) = written? {
            world.look_at_dependents(&written);
            world.chains.wrote(chain.resource_version().as_deref(), written);
            world.claim(&Key::of(chain));
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
fn decide(world: &World, chain: &ImageChain, scope: &Scope) -> Plan {
    references::forget_mended(world, chain, scope);
    references::subscribe_chain(world, chain, scope);
    gather::chain(world, chain).decide(chain)
}

async fn look_up(world: Arc<World>, chain: Arc<ImageChain>, scope: Scope, subject: Subject) {
    let profile = subject.profile().map(|name| world.profile(name));
    let namespace = chain.namespace().unwrap_or_default();
    let answered = world.lookups.find(&namespace, &subject, profile.as_ref().and_then(access::usable)).await;
    tracing::debug!(namespace, chain = chain.name_any(), of = subject.title(), answer = ?answered.outcome, "looked up");
    world.answers.end(&scope, subject, clock::now(), answered);
    world.works.chains.add(Key::of(chain.as_ref()));
}

/// One promotion, as long as this process may write.
async fn promote(world: Arc<World>, chain: Arc<ImageChain>, scope: Scope, promotion: Promotion) {
    let mut claim = world.execute.claim().clone();
    let (namespace, profile) = (chain.namespace().unwrap_or_default(), world.profile(&promotion.profile));
    let moved = world.lookups.promote(&namespace, &promotion, access::usable(&profile));
    let answered = tokio::select! {
        answered = moved => Some(answered),
        () = claim.lost() => None,
    };
    let (name, link, staged) = (chain.name_any(), promotion.link.clone(), promotion.staged.clone());
    let Some(answered) = answered else {
        world.promotions.give_up(&scope, &promotion);
        return world.works.chains.add_after(Key::of(chain.as_ref()), GIVEN_UP);
    };
    tracing::info!(namespace, chain = name, link, staged, answer = ?answered.outcome, "published");
    world.promotions.end(&scope, promotion, clock::now(), answered);
    world.works.chains.add(Key::of(chain.as_ref()));
}

/// The live read before tags are moved: a chain that is another than was decided on, or gone, publishes nothing. Its
/// status counts, too: who saw no later image than this one would take the tags back to it.
async fn stands(world: &World, chain: &ImageChain) -> bool {
    let chains: Api<ImageChain> = Api::namespaced(world.client.clone(), &chain.namespace().unwrap_or_default());
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
