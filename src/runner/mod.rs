//! What runs in the containers of a build pod: one command for each stage, and one for the engine.
//!
//! Each stage reads its job from a file that the operator wrote, runs ordinary programs (git, packer,
//! molecule, pytest, docker), shows what they print, and leaves a bounded report as its termination message.
//! What the programs print is read by pure functions; whatever they print, there is an answer.

mod ansible;
mod builders;
mod context;
mod engine;
mod environment;
mod handover;
mod init;
mod log;
mod machine;
mod network;
pub mod places;
mod process;
mod products;
mod progress;
mod publish;
mod redact;
mod report;
mod source;
mod stage;
mod verify;

use std::process::{Command, ExitCode};

pub use machine::{Hypervisor, call as hypervisor};
use places::Places;

use crate::api::build::Container;

/// Runs the command of a container to its end.
#[must_use]
pub fn run(container: Container, places: &Places) -> ExitCode {
    let Some(stage) = container.stage() else { return engine::run(places) };
    // As the first process of a container, somebody must wait for those that lost their parents.
    if rustix::process::getpid().is_init() {
        let mut again = Command::new("/proc/self/exe");
        return init::supervise(again.args(["runner", container.name()]));
    }
    stage::run(stage, places)
}

/// Whether the engine is ready, for its startup probe.
#[must_use]
pub fn check_engine(places: &Places) -> ExitCode {
    engine::check(places)
}
