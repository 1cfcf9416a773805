//! How long a build may take, and how often it is tried.

use std::time::Duration;

use super::fields::Fields;
use crate::{
    api::recipe::{Retry, Timeouts},
    plan::duration,
};

/// The limits of a build. They change whether it succeeds, but not its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the creation of a pod to the start of its first stage.
    pub pending: Duration,
    /// Of the build stage.
    pub build: Duration,
    /// Of the verify stage.
    pub verify: Duration,
    /// Of something that is missing, before somebody is told to act.
    pub dependency: Duration,
    /// Further attempts after failures of the infrastructure.
    pub infrastructure_retries: u32,
    /// Further attempts after failures of the build or a test.
    pub build_retries: u32,
}

impl Limits {
    /// Validates what is written in the fields `timeouts` and `retry`.
    pub fn validate(timeouts: &Timeouts, retry: Retry, fields: &mut Fields<'_>) -> Option<Self> {
        let mut times = fields.below("timeouts");
        let mut time = |field, written: &crate::api::common::Duration| times.take(field, duration::parse(&written.0));
        let Timeouts { pending, build, verify, dependency } = timeouts;
        let [pending, build, verify, dependency] =
            [("pending", pending), ("build", build), ("verify", verify), ("dependency", dependency)]
                .map(|(field, written)| time(field, written));
        let [Ok(infrastructure_retries), Ok(build_retries)] = [retry.infrastructure, retry.build].map(u32::try_from)
        else {
            fields.below("retry").add("must not be negative");
            return None;
        };
        Some(Self {
            pending: pending?,
            build: build?,
            verify: verify?,
            dependency: dependency?,
            infrastructure_retries,
            build_retries,
        })
    }
}
