//! Servers of plain HTTP: what all of them share ([`listener`]), and the catalog of boxes ([`boxes`]).

pub mod boxes;
pub mod listener;
mod patient;
mod refusal;
pub mod text;
