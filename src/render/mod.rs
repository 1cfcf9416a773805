//! From valid types to the build pod and its Secret. Nothing here can fail: what could be wrong was refused
//! before, and what is missing in the cluster is told by [`Needs::lacks`].
//!
//! `docs/pod.md` shows the pod as a whole, and says why it is as it is.

mod attempt;
mod container;
mod content;
mod job;
mod labels;
mod needs;
mod part;
mod pod;
mod resources;
mod secret;
pub mod shape;
mod volume;

pub use attempt::{Attempt, Operator, Target};
pub use content::{Found, LARGEST_SECRET};
pub use needs::{Keys, Lack, Needs};
pub use pod::pod;
pub use secret::{secret, size};

#[cfg(test)]
mod tests;
