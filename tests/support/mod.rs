//! What the tests that need a cluster share.

// Each test is a crate of its own and uses its part of this.
#![allow(dead_code)]

pub mod apiserver;
