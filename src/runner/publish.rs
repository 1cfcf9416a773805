//! The stage `publish`: puts the tested image where the operator finds it.

use super::{context::Context, engine::Engine, handover, products::Products};
use crate::{
    api::build::Stage,
    plan::{failure::Failure, observed::Report},
};

/// Pushes the image that was tested.
pub(super) async fn run(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let staging = &context.job.staging;
    let engine = Engine::of(context, staging.credentials.as_deref()).await?;
    let products = Products::of(context, &engine);
    let tested = handover::take(context, &products, Stage::Verify).await?;
    report.content = Some(tested.clone());
    let pushed = products.push(&tested, staging).await?;
    context.log.say(format_args!("{}@{} is the image {tested}", staging.repository, pushed.digest));
    report.size = Some(pushed.size);
    report.repository = Some(staging.repository.clone());
    report.digest = Some(pushed.digest);
    Ok(())
}
