//! `imagechain runner`: what the containers of a build pod run.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use crate::{
    api::build::Container,
    runner::{self, Hypervisor, places::Places},
};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    stage: Command,
}

#[derive(Clone, Debug, Subcommand)]
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
    /// Start a machine for a program of the user, with the arguments of qemu.
    #[command(hide = true)]
    Hypervisor {
        /// The folder in which each machine gets one of its own.
        #[arg(long)]
        machines: PathBuf,
        /// A folder in which qemu is not looked for.
        #[arg(long)]
        programs: PathBuf,
        /// Whether KVM works.
        #[arg(long)]
        kvm: bool,
        /// The memory that a machine may have, in MiB.
        #[arg(long)]
        memory: u64,
        /// Attend qemu, instead of standing for it.
        #[arg(long)]
        attends: bool,
        /// The arguments of qemu.
        #[arg(last = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Runs a stage.
#[expect(clippy::disallowed_methods, reason = "programs are looked for where the builder image says")]
pub(super) fn run(flags: &Flags) -> ExitCode {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = Places { path: path.clone(), ..Places::default() };
    match &flags.stage {
        Command::Source => runner::run(Container::Source, &places),
        Command::Engine { check: false } => runner::run(Container::Engine, &places),
        Command::Engine { check: true } => runner::check_engine(&places),
        Command::Build => runner::run(Container::Build, &places),
        Command::Verify => runner::run(Container::Verify, &places),
        Command::Publish => runner::run(Container::Publish, &places),
        Command::Hypervisor { machines, programs, kvm, memory, attends, arguments } => {
            runner::hypervisor(&Hypervisor {
                machines: machines.clone(),
                programs: programs.clone(),
                kvm: *kvm,
                memory: *memory,
                path,
                arguments: arguments.clone(),
                attends: *attends,
            })
        }
    }
}
