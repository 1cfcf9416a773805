//! The work queues of all kinds, and who is enqueued for what.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;

use super::{
    queue::{Priority, Queue},
    store::Key,
    stores::Stores,
};
use crate::{
    api::{build::ImageBuild, chain::ImageChain},
    plan::{
        chain::{BuildFacts, is_at_rest},
        slots,
    },
};

/// A build is enqueued so long after progress of its pod, and a chain after that of its build: several steps are one
/// status then. What decides anything is enqueued at once.
pub(super) const PROGRESS: Duration = Duration::from_secs(1);

/// The work queues.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    /// Of chains.
    pub chains: Arc<Queue<Key>>,
    /// Of builds.
    pub builds: Arc<Queue<Key>>,
    /// Of profiles.
    pub profiles: Arc<Queue<Key>>,
}

impl Queues {
    /// Enqueues a chain. One that is known already has changed; of another its status tells whether that is urgent.
    pub fn enqueue_chain(&self, chain: &ImageChain, is_known: bool) {
        self.chains.add_with_priority(Key::of(chain), priority(!is_known && is_at_rest(chain)));
    }

    /// The same of a build.
    pub fn enqueue_build(&self, build: &ImageBuild, is_known: bool) {
        self.builds.add_with_priority(Key::of(build), priority(!is_known && build.is_finished()));
    }

    /// Enqueues those of some builds that have not ended.
    pub fn enqueue_unfinished(&self, builds: &[Arc<ImageBuild>]) {
        for build in builds.iter().filter(|build| !build.is_finished()) {
            self.builds.add(Key::of(build.as_ref()));
        }
    }

    /// Enqueues those of all builds that are meant and have not ended.
    pub fn enqueue_builds(&self, stores: &Stores, is_meant: impl Fn(&ImageBuild) -> bool) {
        let mut builds = stores.builds.all();
        builds.retain(|build| is_meant(build));
        self.enqueue_unfinished(&builds);
    }

    /// Enqueues the chain of a build after a pause.
    pub fn enqueue_chain_of(&self, build: &ImageBuild, pause: Duration) {
        if let Some(chain) = &build.spec.chain_ref {
            let key = Key::new(&build.namespace().unwrap_or_default(), &chain.name.0);
            self.chains.add_after(key, pause);
        }
    }

    /// Enqueues the chains that stand on links of this one.
    pub fn enqueue_dependents(&self, stores: &Stores, chain: &ImageChain) {
        for other in stores.dependents(chain) {
            self.chains.add(Key::of(other.as_ref()));
        }
    }

    /// Enqueues the chains that claim some of the same tags, where the claim of this one is not what it was.
    pub fn enqueue_rivals(&self, stores: &Stores, chain: &Key) {
        for rival in stores.claim(chain) {
            self.chains.add(rival);
        }
    }

    /// Enqueues the chain of a build if the change matters to it: at once if the build has ended.
    pub fn notify_chain(&self, stores: &Stores, old: Option<&ImageBuild>, build: &ImageBuild) {
        let Some(now) = stores.facts(build) else { return };
        let before = old.and_then(BuildFacts::of);
        match &before {
            // The first that is heard of it: its chain knows the end of it, as far as its own status tells.
            None if now.is_finished() => {
                if let Some(chain) = stores.chain_of(build) {
                    self.enqueue_chain(&chain, false);
                }
            }
            None => self.enqueue_chain_of(build, Duration::ZERO),
            Some(before) if before == now.as_ref() => {}
            Some(_) => self.enqueue_chain_of(build, if now.is_finished() { Duration::ZERO } else { PROGRESS }),
        }
    }

    /// Enqueues the builds with a profile that wait for their turn, or for room.
    pub fn enqueue_line(&self, stores: &Stores, profile: &str) {
        for build in stores.unfinished(profile).iter().filter(|build| slots::waits(build)) {
            self.builds.add(Key::of(build.as_ref()));
        }
    }

    /// The same, if the change of a build lets others go on: it wanted a pod, and wants none any more.
    pub fn notify_line(&self, stores: &Stores, old: &ImageBuild, build: &ImageBuild) {
        let (before, now) = (slots::standing(old, None), slots::standing(build, None));
        if before.is_some() && before != now {
            self.enqueue_line(stores, &build.spec.profile.0);
        }
    }

    /// Enqueues everything.
    pub fn enqueue_all(&self, stores: &Stores) {
        stores.chains.all().iter().for_each(|chain| self.enqueue_chain(chain, false));
        stores.builds.all().iter().for_each(|build| self.enqueue_build(build, false));
        stores.profiles.all().iter().for_each(|profile| self.profiles.add(Key::of(profile.as_ref())));
    }
}

const fn priority(is_at_rest: bool) -> Priority {
    if is_at_rest { Priority::Last } else { Priority::First }
}
