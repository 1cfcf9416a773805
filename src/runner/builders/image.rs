//! Building an image: puts the parent into the engine, lets a builder run, and finds the image that it made.

use std::collections::BTreeMap;

use super::{
    base::Base,
    candidates::{Advice, Candidates},
    packer,
};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, observed::Report, recipe::Build},
    runner::{context::Context, engine::Engine, products::Images},
};

/// Builds the image. The answer is its ID.
pub(super) async fn build(context: &Context, report: &mut Report) -> Result<String, Failure> {
    let parent = context.job.parent.as_ref();
    let engine = Engine::of(context, parent.and_then(|parent| parent.credentials.as_deref())).await?;
    let products = Images::of(context, &engine);
    let base = match parent {
        Some(parent) => Some(Base::import(&products, parent).await?),
        None => None,
    };
    let candidates = made(context, &engine).await?;
    let pulled = candidates.pulled.clone();
    report.left_out.clone_from(&candidates.left_out);
    let image = pick(context, &products, candidates).await?;
    if let Some(base) = base {
        base.check(&products, &image, pulled.as_deref()).await?;
    }
    products.name(&image, &context.job.image).await?;
    context.log.say(format_args!("built {image}, named {}", context.job.image));
    Ok(image)
}

/// Runs the builder of the recipe. This is the only place that knows which builders of images there are.
async fn made(context: &Context, engine: &Engine<'_>) -> Result<Candidates, Failure> {
    match &context.job.steps.build {
        Build::Packer(packer) => packer::run(context, engine, packer).await,
        Build::Box(_) => Err(Failure::new(Reason::SpecInvalid, "build.box makes no image")),
    }
}

/// The one image among the candidates: several names of it are one image.
async fn pick(context: &Context, products: &Images<'_>, candidates: Candidates) -> Result<String, Failure> {
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    for candidate in candidates.made {
        if let Some(id) = products.find(&candidate.name).await? {
            made.insert(id, candidate.build);
        }
    }
    for other in candidates.elsewhere {
        context.log.say(format_args!("not an image of the engine, and left where it is: {other}"));
    }
    exactly_one(made, &candidates.advice)
}

fn exactly_one(made: BTreeMap<String, String>, advice: &Advice) -> Result<String, Failure> {
    let mut images = made.into_iter();
    match (images.next(), images.next()) {
        (Some((image, _)), None) => Ok(image),
        (None, _) => Err(Failure::new(Reason::NoImage, advice.nothing)),
        (Some((_, first)), Some((_, second))) => {
            let Advice { recipe, several, .. } = advice;
            let message = format!("{recipe} made several images, in the builds {first} and {second}: {several}");
            Err(Failure::new(Reason::SeveralImages, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADVICE: Advice = Advice { recipe: "the file", nothing: "it made nothing", several: "pick one" };

    #[test]
    fn exactly_one_image_is_the_product() {
        let made = |images: &[(&str, &str)]| {
            let images = images.iter().map(|(id, build)| ((*id).to_owned(), (*build).to_owned()));
            exactly_one(images.collect(), &ADVICE).map_err(|failure| (failure.reason, failure.message))
        };
        assert_eq!(made(&[("sha256:a", "web")]), Ok("sha256:a".to_owned()));
        assert_eq!(made(&[]), Err((Reason::NoImage, "it made nothing".to_owned())));
        let several = "the file made several images, in the builds web and db: pick one".to_owned();
        assert_eq!(made(&[("sha256:a", "web"), ("sha256:b", "db")]), Err((Reason::SeveralImages, several)));
    }
}
