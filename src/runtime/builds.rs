//! Reconciles builds: facts, decision, and what follows from it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::{
    clock,
    context::Context,
    execute::{Error, Made},
    gates::{self, Ready},
    gather::{self, BuildFacts, Seen, prune_pod},
    health::State,
    named::User,
    references,
    store::Key,
    worker::{Reconcile, Requeue},
};
use crate::{
    api::{
        build::{ImageBuild, ImageBuildStatus},
        condition::Reason,
    },
    plan::{
        access,
        build::{self, Action, OwnPod, Plan},
        event,
        failure::{Failure, Gate},
        slots::{self, Standing},
        validate,
    },
    render::Target,
};

/// How soon a build is reconciled again that waits for what no watch shows: rights, labels, Secrets of the
/// execution namespace.
const AGAIN: Duration = Duration::from_secs(5);
/// How long it is not tried again to make a pod that the API server does not take.
const REFUSED: Duration = Duration::from_mins(1);

/// What is in the way of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Obstacle {
    /// A stranger has its name.
    Taken,
    /// The API server does not take it, and says why.
    Refused(String),
}

/// What was learnt when a pod was to be made, by UID of the build.
#[derive(Debug, Default)]
struct Memory {
    /// The pods that have their Secret.
    complete: HashSet<String>,
    /// A stranger has the name, or the API server says no; since when.
    in_the_way: HashMap<String, (Obstacle, Instant)>,
}

/// The reconciler of builds.
#[derive(Debug)]
pub struct Builds {
    context: Arc<Context>,
    memory: Mutex<Memory>,
}

impl Reconcile for Builds {
    const KIND: &'static str = "ImageBuild";

    async fn reconcile(&self, key: &Key) -> Result<Requeue, Error> {
        match self.context.stores.builds.get(key) {
            // It goes, and the sweep deletes its pods when it is gone.
            Some(build) if build.metadata.deletion_timestamp.is_some() => Ok(Requeue::Idle),
            Some(build) => {
                let result = Box::pin(self.reconcile_build(&build)).await;
                self.note(key, &build, &result);
                result
            }
            None => {
                self.context.stores.named.need(User::Build(key.clone()), [].into());
                self.context.places.forget(key);
                Ok(Requeue::Idle)
            }
        }
    }
}

/// What an attempt was found to be allowed, if it was asked for.
type Checked = Option<Gate<Ready>>;

impl Builds {
    /// A reconciler that remembers nothing yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, memory: Mutex::default() }
    }

    async fn reconcile_build(&self, object: &ImageBuild) -> Result<Requeue, Error> {
        let valid = match validate::build(object) {
            Ok(valid) => valid,
            // Its result stands, whatever is thought of its object by now.
            Err(_) if object.is_finished() => return Ok(Requeue::Idle),
            Err(problems) => {
                let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
                return self.refuse(object, Failure::new(Reason::SpecInvalid, all.join("; "))).await;
            }
        };
        let Some(inputs) = &object.spec.inputs else {
            let message = "single builds do not run in this version: make an ImageChain with one link of it";
            return self.refuse(object, Failure::new(Reason::SpecInvalid, message)).await;
        };
        let pods = gather::pods(&self.context, &object.uid().unwrap_or_default()).await?;
        references::subscribe_build(&self.context.stores.named, object, &valid);
        match gather::build(&self.context, (object, &valid, inputs), pods).await? {
            Some(facts) => self.follow(object, &facts).await,
            // An event of the watch that it waits for enqueues it before.
            None => Ok(Requeue::After(AGAIN)),
        }
    }

    async fn follow(&self, object: &ImageBuild, facts: &BuildFacts<'_>) -> Result<Requeue, Error> {
        let attempts = object.status.as_ref().map_or(0, |status| status.attempts.len());
        if !self.sees_pods(facts, attempts) {
            return Ok(Requeue::After(AGAIN));
        }
        let pods: Vec<OwnPod<'_>> = facts.pods.iter().map(Seen::as_own).collect();
        let in_the_way = self.in_the_way(object);
        let taken = in_the_way == Some(Obstacle::Taken);
        let checked = self.check(facts, &pods, in_the_way).await?;
        let permission = match &checked {
            Some(Gate::Closed(why)) => Gate::Closed(why.clone()),
            Some(Gate::Open(_)) | None => Gate::Open(()),
        };
        let plan = build::decide(&facts.scene(&pods, permission, taken));
        if !self.confirms(facts, &plan).await? {
            return Ok(Requeue::soon());
        }
        let written = self.write_status(object, &plan.status).await?;
        let (object, is_live) = (written.as_ref().unwrap_or(object), written.is_some());
        for action in &plan.actions {
            self.act((object, is_live), facts, action, &checked).await?;
        }
        self.complete_pods(facts).await?;
        if !plan.actions.iter().any(|action| matches!(action, Action::CreatePod { .. })) {
            self.context.places.leave(&Key::of(object));
        }
        Ok(requeue(&plan, &checked, taken))
    }

    /// Notes whether a build was looked at to the end: one that cannot be keeps nobody waiting for long.
    fn note(&self, key: &Key, build: &ImageBuild, result: &Result<Requeue, Error>) {
        let Context { stores, queues, places, .. } = self.context.as_ref();
        let is_seen = !matches!(result, Ok(Requeue::After(_)) | Err(_));
        if places.note(key, is_seen) && slots::standing(build, None) == Some(Standing::Wants) {
            queues.enqueue_line(stores, &build.spec.profile.0);
        }
    }

    /// Whether the copy of the pods can be believed.
    fn sees_pods(&self, facts: &BuildFacts<'_>, attempts: usize) -> bool {
        let (state, synced) = self.context.stores.pods_in(&facts.execution_namespace);
        // Before the first attempt there is none to be seen: whoever asks is told what is wrong.
        synced
            || (attempts == 0 && (state == State::Forbidden || facts.execution_namespace.is_empty()))
            || (attempts == 0 && self.context.stores.labels(&facts.execution_namespace).is_none())
    }

    /// What stands before the attempt that would begin now; nothing if none would.
    async fn check(
        &self,
        facts: &BuildFacts<'_>,
        pods: &[OwnPod<'_>],
        in_the_way: Option<Obstacle>,
    ) -> Result<Checked, Error> {
        let plan = build::decide(&facts.scene(pods, Gate::Open(()), false));
        let number = plan.actions.iter().find_map(|action| match action {
            Action::CreatePod { attempt, .. } => Some(attempt.unsigned_abs()),
            Action::DeletePod { .. } => None,
        });
        let Some(number) = number else { return Ok(None) };
        if let Some(Obstacle::Refused(message)) = in_the_way {
            return Ok(Some(Gate::Closed(Failure::new(Reason::ExecutionNamespaceNotReady, message))));
        }
        gates::pass(&self.context, facts, number).await.map(Some)
    }

    /// The live read before an attempt is declared over by the absence or silence of its pod.
    async fn confirms(&self, facts: &BuildFacts<'_>, plan: &Plan) -> Result<bool, Error> {
        let Some(name) = &plan.confirm else { return Ok(true) };
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &facts.execution_namespace);
        let live = pods.get_opt(name).await?;
        let version = live.filter(|pod| facts.is_of(pod)).and_then(|pod| pod.resource_version());
        Ok(version.as_deref() == facts.version_of(name))
    }

    /// Writes the status if it is another; the answer is then the object after that.
    async fn write_status(&self, object: &ImageBuild, status: &ImageBuildStatus) -> Result<Option<ImageBuild>, Error> {
        let context = &self.context;
        let builds: Api<ImageBuild> = Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
        let previous = object.status.clone().unwrap_or_default();
        let written = context.writer.write_status(&builds, object, object.status.as_ref(), status).await?;
        let Some(written) = written else { return Ok(None) };
        context.stores.builds.wrote(object.resource_version().as_deref(), written.clone());
        context.queues.notify_chain(&context.stores, Some(object), &written);
        context.queues.notify_line(&context.stores, object, &written);
        let events = event::of_build(&previous, status);
        if !events.is_empty() {
            let (writer, written) = (context.writer.clone(), written.clone());
            tokio::spawn(async move { writer.tell(&written, &events).await });
        }
        Ok(Some(written))
    }

    /// Executes. A build whose status was just written is live: the answer to the write tells it as it is.
    async fn act(
        &self,
        (object, is_live): (&ImageBuild, bool),
        facts: &BuildFacts<'_>,
        action: &Action,
        checked: &Checked,
    ) -> Result<(), Error> {
        match (action, checked) {
            (Action::CreatePod { attempt, only_if, .. }, Some(Gate::Open(ready))) => {
                self.create((object, is_live), facts, (attempt.unsigned_abs(), only_if), ready).await
            }
            // The plan makes none without having asked.
            (Action::CreatePod { .. }, _) => Ok(()),
            (Action::DeletePod { name, uid, force }, _) => {
                let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &facts.execution_namespace);
                self.context.writer.delete(&pods, name, uid, *force).await
            }
        }
    }

    async fn create(
        &self,
        (object, is_live): (&ImageBuild, bool),
        facts: &BuildFacts<'_>,
        (number, only_if): (u32, &build::Intent),
        ready: &Ready,
    ) -> Result<(), Error> {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let attempt = facts.attempt(&ready.profile, &ready.target, number, self.context.operator());
        match self.context.writer.create_pod(&attempt, only_if, is_live.then_some(object)).await? {
            Made::Ours(pod) => {
                tracing::info!(namespace, build = name, pod = pod.name_any(), "an attempt");
                let mut known = pod.as_ref().clone();
                prune_pod(&mut known);
                self.context.stores.pods.wrote(None, known);
                self.context.writer.ensure_secret(&attempt, &pod, &ready.found).await?;
                self.memory().complete.insert(pod.uid().unwrap_or_default());
                Ok(())
            }
            Made::Taken => self.note_in_the_way(object, Obstacle::Taken),
            Made::Refused(message) => self.note_in_the_way(object, Obstacle::Refused(message)),
            Made::Unwanted => Err(Error::Conflict),
        }
    }

    /// Makes the Secrets of pods that somebody made who ended before it.
    async fn complete_pods(&self, facts: &BuildFacts<'_>) -> Result<(), Error> {
        let Some((profile, target)) = facts.place() else { return Ok(()) };
        for pod in &facts.pods {
            if !pod.has_not_begun() {
                self.memory().complete.remove(pod.uid());
                continue;
            }
            if self.memory().complete.contains(pod.uid()) {
                continue;
            }
            self.complete(facts, pod, (profile, target)).await?;
            self.memory().complete.insert(pod.uid().to_owned());
        }
        Ok(())
    }

    async fn complete(
        &self,
        facts: &BuildFacts<'_>,
        pod: &Seen,
        (profile, target): (&crate::plan::valid::ValidProfile, &Target),
    ) -> Result<(), Error> {
        let attempt = facts.attempt(profile, target, pod.attempt().unsigned_abs(), self.context.operator());
        // What is missing now is told by the kubelet, and then by the timeout of the pod.
        let Gate::Open(found) = gates::read(&self.context, &attempt).await? else { return Ok(()) };
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
        match pods.get_opt(&pod.name).await? {
            Some(live) if live.uid().as_deref() == Some(pod.uid()) => {
                self.context.writer.ensure_secret(&attempt, &live, &found).await
            }
            _ => Ok(()),
        }
    }

    async fn refuse(&self, object: &ImageBuild, why: Failure) -> Result<Requeue, Error> {
        let previous = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let status = access::refused(&previous, generation, clock::now(), &why);
        self.write_status(object, &status).await.map(|_| Requeue::Idle)
    }

    fn note_in_the_way(&self, object: &ImageBuild, obstacle: Obstacle) -> Result<(), Error> {
        let uid = object.uid().unwrap_or_default();
        self.memory().in_the_way.insert(uid, (obstacle, clock::monotonic()));
        Err(Error::Conflict)
    }

    /// What was in the way of the pod of a build: a stranger, or the API server with its words.
    fn in_the_way(&self, object: &ImageBuild) -> Option<Obstacle> {
        let uid = object.uid()?;
        let mut memory = self.memory();
        let now = clock::monotonic();
        memory.in_the_way.retain(|_, (_, since)| now.saturating_duration_since(*since) < REFUSED);
        memory.in_the_way.get(&uid).map(|(obstacle, _)| obstacle.clone())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn requeue(plan: &Plan, checked: &Checked, taken: bool) -> Requeue {
    match checked {
        Some(Gate::Closed(Failure { reason: Reason::Suspended | Reason::WaitingForSlot, .. })) => {
            Requeue::at(plan.wake)
        }
        Some(Gate::Closed(_)) => Requeue::at(plan.wake).within(AGAIN),
        _ if taken => Requeue::After(REFUSED),
        _ => Requeue::at(plan.wake),
    }
}
