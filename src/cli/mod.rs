//! The one binary: flags in, exit code out.

mod definitions;

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
    /// Print the custom resource definitions as YAML.
    Crd {
        /// Write them there instead, one file for each kind.
        #[arg(long, value_name = "FOLDER")]
        directory: Option<PathBuf>,
    },
}

/// Runs a command. Errors are printed to standard error.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let result = match &arguments.command {
        Command::Crd { directory: Some(folder) } => definitions::write(folder),
        Command::Crd { directory: None } => definitions::print(&mut io::stdout().lock()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("imagechain: {error}");
            ExitCode::FAILURE
        }
    }
}
