//! What the tests that need a cluster, a registry or a git server share.

// Each test is a crate of its own and uses its part of this.
#![allow(dead_code)]

pub mod apiserver;
pub mod chart;
pub mod faults;
pub mod images;
pub mod kubelet;
pub mod proxy;
pub mod servers;
