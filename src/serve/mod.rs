//! Servers of plain HTTP: what all of them share ([`listener`]), the catalog of boxes ([`boxes`]), and the cache of files
//! ([`file_cache`]).

pub mod boxes;
pub mod file_cache;
pub mod listener;
mod patient;
mod refusal;
pub mod text;
