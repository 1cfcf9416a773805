//! Packer as a builder. Its recipe is a parameter, so that another builder can write a template and run it too.

mod call;
mod contents;
mod elsewhere;
mod explanation;
mod ground;
mod machine_box;
mod machine_readable;
mod overlay;
mod prepare;
mod program;
mod scripts;
mod template;
mod template_run;

pub(super) use self::machine_box::make as make_box;
use self::{ground::Ground, machine_readable::Outcome, template_run::built};
use super::candidates::{Advice, Candidate, Candidates};
use crate::{
    plan::{failure::Failure, recipe::packer::Packer},
    runner::{context::Context, engine::Engine},
};

const ADVICE: Advice = Advice {
    recipe: "the template",
    nothing: "packer ended well and made no image: the docker builder makes one with commit = true, or with \
              export_path and the post-processor docker-import; and build.packer.only must name a build of the \
              template",
    several: "pick one with build.packer.only",
};

/// Runs packer with a template of the source, and finds the images that it made.
///
/// # Errors
/// Why nothing was built.
pub(super) async fn run(
    context: &Context,
    engine: &Engine<'_>,
    recipe: &Packer<String>,
) -> Result<Candidates, Failure> {
    let ended = built(context, Ground::of_engine(engine), recipe).await?;
    Ok(candidates(&ended.outcome, ended.left_out))
}

fn candidates(outcome: &Outcome, left_out: Vec<String>) -> Candidates {
    let made = outcome.images().into_iter();
    let made = made.map(|(build, name)| Candidate { build: build.to_owned(), name: name.to_owned() });
    let pulled = outcome.pulled().map(str::to_owned);
    Candidates { made: made.collect(), elsewhere: outcome.others(), pulled, left_out, advice: ADVICE }
}
