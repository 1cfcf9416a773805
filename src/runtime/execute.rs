//! The only writer. Nothing is written without a current claim, and nothing takes longer than that claim
//! lasts; statuses carry the version that was decided on, deletions the UID.

mod builds;
mod error;
mod executor;
mod pods;

pub use error::Error;
pub use executor::Executor;
pub use pods::Made;
