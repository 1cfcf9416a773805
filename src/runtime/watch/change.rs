//! What changed, as a stream tells it.

use std::sync::Arc;

use kube::{Resource, ResourceExt};

use crate::runtime::health::State;

/// What changed.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// An object is new, changed, or listed again.
    Applied(Arc<K>),
    /// An object is gone, or can no longer be read: as it was last known.
    Deleted(Arc<K>),
    /// The stream itself: its copy is complete, all objects of it having been told before; or it is refused.
    State(State),
}

impl<K: Resource> Change<K> {
    /// Whether it only repeats what is known: what we wrote ourselves, or a list after a gap.
    #[must_use]
    pub fn is_echo(&self, old: Option<&K>) -> bool {
        let (Self::Applied(object), Some(old)) = (self, old) else { return false };
        old.uid() == object.uid() && old.resource_version() == object.resource_version()
    }
}
