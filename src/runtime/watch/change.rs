//! What changed, as a stream tells it.

use std::sync::Arc;

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
