//! Decisions. Everything here is pure and total: no clock, no environment, no IO, no panic; the same input
//! gives the same answer.

pub mod build;
pub mod duration;
pub mod image;
pub mod invariant;
pub mod key;
pub mod name;
pub mod observed;
pub mod path;
pub mod placeholder;
pub mod problem;
pub mod retry;
pub mod schema;
pub mod status;
pub mod valid;
pub mod validate;
