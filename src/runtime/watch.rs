//! Copies of what is in the cluster, kept by watches, and what changed in them.
//!
//! Each stream pauses by itself after errors, so that one that is refused holds up no other (kube's
//! `Controller` pauses all of its streams together). Objects that cannot be read are counted and left out:
//! one bad object does not stop the others. What vanished while a stream was cut is told as deleted, though
//! the API server never said so.

mod alive;
mod change;
mod group;
mod guarded;
mod options;
mod pauses;
mod source;
mod stream;

pub use change::Change;
pub use group::{Group, group};
pub use guarded::Guarded;
pub use options::{Options, Watchable};
pub use source::{Source, Watched};
pub use stream::watch;
