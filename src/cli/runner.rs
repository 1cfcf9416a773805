//! `imagechain runner`: what the containers of a build pod run.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{
    api::build::Container,
    runner::{self, places::Places},
};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    stage: Command,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Fetch the source.
    Source,
    /// Run the container engine until the pod ends.
    Engine {
        /// Only tell by the exit code whether it is ready.
        #[arg(long)]
        check: bool,
    },
    /// Build the image.
    Build,
    /// Test the image.
    Verify,
    /// Push the image to its staging reference.
    Publish,
}

/// Runs a stage.
pub(super) fn run(flags: &Flags) -> ExitCode {
    let places = Places::default();
    match flags.stage {
        Command::Source => runner::run(Container::Source, &places),
        Command::Engine { check: false } => runner::run(Container::Engine, &places),
        Command::Engine { check: true } => runner::check_engine(&places),
        Command::Build => runner::run(Container::Build, &places),
        Command::Verify => runner::run(Container::Verify, &places),
        Command::Publish => runner::run(Container::Publish, &places),
    }
}
