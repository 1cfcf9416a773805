//! The stage `publish`: puts what was tested where the operator finds it.

use super::{
    context::Context,
    engine::Engine,
    handover,
    products::{Boxes, Images, Pushed},
};
use crate::{
    api::build::Stage,
    plan::{failure::Failure, observed::Report},
};

/// Pushes what was tested.
pub(super) async fn run(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let staging = &context.job.staging;
    let Pushed { digest, size } = match context.job.machine {
        None => {
            let engine = Engine::of(context, staging.credentials.as_deref()).await?;
            let images = Images::of(context, &engine);
            let tested = handover::take(context, &images, Stage::Verify).await?;
            report.content = Some(tested.clone());
            images.push(&tested, staging).await?
        }
        Some(machine) => {
            let boxes = Boxes::of(context, machine);
            let tested = handover::take(context, &boxes, Stage::Verify).await?;
            report.content = Some(tested.clone());
            boxes.push(&tested, staging).await?
        }
    };
    let tested = report.content.as_deref().unwrap_or_default();
    context.log.say(format_args!("{}@{digest} holds {tested}", staging.repository));
    report.size = Some(size);
    report.repository = Some(staging.repository.clone());
    report.digest = Some(digest);
    Ok(())
}
