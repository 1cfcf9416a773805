//! The one binary: flags in, exit code out.

mod definitions;
mod manifest;
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
    },
}

/// Runs a command. Errors are printed to standard error.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let result = match &arguments.command {
        Command::Crd { directory: Some(folder) } => definitions::write(folder).map(|()| true),
        Command::Crd { directory: None } => definitions::print(&mut io::stdout().lock()).map(|()| true),
        Command::Validate { files } => validate::run(files, &mut io::stdout().lock()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("imagechain: {error}");
            ExitCode::FAILURE
        }
    }
}
