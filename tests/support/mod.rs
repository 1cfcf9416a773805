//! What the tests that need a cluster, a registry or a git server share.

// Each test is a crate of its own and uses its part of this.
#![allow(dead_code)]

pub mod apiserver;
pub mod attempts;
pub mod chart;
pub mod cluster;
pub mod crash;
pub mod end;
pub mod faults;
pub mod forward;
pub mod gitea;
pub mod images;
pub mod intercept;
pub mod kubelet;
pub mod oracle;
pub mod proxy;
pub mod servers;
pub mod statuses;
pub mod tenant;
pub mod uploads;
