//! The one binary: flags in, exit code out.

mod boxes;
mod controller;
mod definitions;
mod file_cache;
mod flags;
mod grant;
mod logs;
mod manifest;
mod plan;
mod runner;
mod validate;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Builds, tests and publishes chains of machine images on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "imagechain", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller, in a cluster or beside one.
    Controller(controller::Flags),
    /// Print the custom resource definitions as YAML.
    Crd {
        /// Write them there instead, one file for each kind.
        #[arg(long, value_name = "FOLDER")]
        directory: Option<PathBuf>,
    },
    /// Tell all that is wrong with objects in files, without a cluster. Ends with 1 if anything is.
    Validate {
        /// YAML or JSON files; - is standard input.
        #[arg(short = 'f', long = "filename", required = true, num_args = 1.., value_name = "FILE")]
        files: Vec<PathBuf>,
        /// A checkout of the links' repository, from its root: tell also what links name and it does not have. With
        /// several repositories, once for each of them, with the name of a link that builds from it.
        #[arg(long = "source", value_name = "[LINK=]FOLDER")]
        sources: Vec<validate::Given>,
        /// Tell also what could not be looked at.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Run a stage of a build, in a container of its pod. Nobody calls this but the operator's pods.
    #[command(hide = true)]
    Runner(runner::Flags),
    /// Tell what the operator would do with each link of a chain, and why. Ends with 2 if
    /// something would be built or published, with 1 if something is wrong, with 0 if there is nothing to do.
    ///
    /// Besides chains the files may hold what else is known: profiles, `ConfigMap`s, and what `kubectl get
    /// imagechains,imagebuilds --output yaml` prints, with the statuses. What they do not hold is assumed,
    /// and the assumptions are listed. With --cluster nothing is.
    Plan {
        /// YAML or JSON files; - is standard input.
        #[arg(short = 'f', long = "filename", required = true, num_args = 1.., value_name = "FILE")]
        files: Vec<PathBuf>,
        /// For people or for programs.
        #[arg(short, long, value_enum, default_value = "text")]
        output: plan::Output,
        #[command(flatten)]
        place: plan::Place,
    },
    /// Show what the stages of a build print, of the pod that is at work or that is still kept.
    Logs(logs::Flags),
    /// Show boxes that were published to Vagrant, by plain HTTP: versions and files, as `vagrant box add` reads them.
    ///
    /// `GET /REGISTRY/REPOSITORY` is the metadata of a box, of those tags of the repository that are versions.
    Boxes(boxes::Flags),
    /// Keep files of other servers for the build pods of a node, by their SHA-256 and within a bound. It asks nobody for
    /// anything: what it does not have, a pod fetches and brings.
    ///
    /// `GET /sha256/DIGITS` is a file, `PUT /sha256/DIGITS` brings it.
    FileCache(file_cache::Flags),
    /// Print the kubectl commands that let the operator read the Secrets and `ConfigMap`s that chains name.
    Grant(grant::Flags),
}

/// Runs a command. Errors are printed to standard error.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let result = match &arguments.command {
        Command::Controller(flags) => controller::run(flags).map(|good| u8::from(!good)),
        Command::Runner(flags) => return runner::run(flags),
        Command::Crd { directory: Some(folder) } => definitions::write(folder).map(|()| 0),
        Command::Crd { directory: None } => definitions::print(&mut io::stdout().lock()).map(|()| 0),
        Command::Validate { files, sources, verbose } => {
            validate::run(files, sources, *verbose, &mut io::stdout().lock()).map(|good| u8::from(!good))
        }
        Command::Plan { files, output, place } => {
            plan::run(files, place, *output, &mut io::stdout().lock()).map(|answer| match answer {
                plan::Answer::Nothing => 0,
                plan::Answer::Wrong => 1,
                plan::Answer::Work => 2,
            })
        }
        Command::Boxes(flags) => boxes::run(flags).map(|()| 0),
        Command::FileCache(flags) => file_cache::run(flags).map(|()| 0),
        Command::Logs(flags) => logs::run(flags).map(|()| 0),
        Command::Grant(flags) => grant::run(flags, &mut io::stdout().lock()).map(|()| 0),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("imagechain: {error}");
            ExitCode::FAILURE
        }
    }
}
