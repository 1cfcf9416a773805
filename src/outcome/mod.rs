//! What comes back from a build pod: the reports of its stages and the state of its containers, turned into
//! facts and classes of failure.
//!
//! Everything here is total: what comes from a pod is foreign, and whatever it is, there is an answer.

pub mod node;
pub mod pod;
pub mod report;
pub mod room;
