//! The `imagechain` program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    imagechain::cli::run(&imagechain::cli::Arguments::parse())
}
