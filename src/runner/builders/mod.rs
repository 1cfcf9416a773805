//! The stage `build`: lets a builder run, and finds what it made.

mod base;
mod bootable;
mod candidates;
mod image;
mod machine_box;
mod packer;
mod tool;

use super::{context::Context, handover, network};
use crate::{
    api::build::Stage,
    plan::{failure::Failure, observed::Report},
};

/// Builds the product.
pub(super) async fn run(context: &Context, report: &mut Report) -> Result<(), Failure> {
    network::install(context)?;
    let made = match context.job.machine {
        None => image::build(context, report).await?,
        Some(machine) => machine_box::build(context, machine, report).await?,
    };
    handover::leave(context, Stage::Build, &made)?;
    report.content = Some(made);
    Ok(())
}
