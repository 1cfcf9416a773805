//! Decisions. Everything here is pure and total: no clock, no environment, no IO, no panic; the same input
//! gives the same answer.

pub mod access;
pub mod build;
pub mod chain;
pub mod checkout;
pub mod dependency;
pub mod duration;
pub mod event;
pub mod failure;
pub mod git;
pub mod image;
pub mod invariant;
pub mod job;
pub mod key;
pub mod lack;
pub mod lookup;
pub mod name;
pub mod object;
pub mod observed;
pub mod patch;
pub mod path;
pub mod placeholder;
pub mod product;
pub mod recipe;
pub mod resolve;
pub mod retry;
pub mod slots;
pub mod status;
pub mod text;
pub mod tree;
pub mod valid;
pub mod validate;
