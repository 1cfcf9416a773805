//! The stage `build`: puts the parent into the engine, lets a builder run, and finds the image that it made.

mod candidates;
mod packer;

use std::collections::BTreeMap;

use self::candidates::{Advice, Candidates};
use super::{context::Context, docker::Docker, handover};
use crate::{
    api::{build::Stage, condition::Reason},
    plan::{
        failure::Failure,
        image::{Reference, Repository},
        job::Registry,
        observed::Report,
    },
};

/// The registry whose mirrors the engine asks by itself.
const HUB: &str = "docker.io";

/// Builds the image.
pub(super) async fn run(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let docker = Docker::new(context, context.job.parent.as_ref().and_then(|parent| parent.credentials.as_deref()));
    parent(context, &docker).await?;
    let candidates = build(context, &docker).await?;
    let image = pick(context, &docker, candidates).await?;
    docker.tag(&image, &context.job.image).await?;
    handover::leave(context, Stage::Build, &image)?;
    context.log.say(format_args!("built {image}, named {}", context.job.image));
    report.image_id = Some(image);
    Ok(())
}

/// Runs the builder of the recipe. This is the only place that knows which builders there are.
async fn build(context: &Context, docker: &Docker<'_>) -> Result<Candidates, Failure> {
    packer::run(context, docker, &context.job.packer).await
}

async fn parent(context: &Context, docker: &Docker<'_>) -> Result<(), Failure> {
    let Some(parent) = &context.job.parent else { return Ok(()) };
    let _step = context.log.step(format!("pulling {} as {}", parent.reference, parent.local_name));
    let platform = &context.job.registry.platform;
    if let Some(mirrored) = mirrored(&parent.reference, &context.job.registry) {
        match docker.pull(&mirrored, platform).await {
            Ok(()) => return docker.tag(&mirrored, &parent.local_name).await,
            Err(failure) => context.log.say(failure.message),
        }
    }
    docker.pull(&parent.reference, platform).await?;
    docker.tag(&parent.reference, &parent.local_name).await
}

/// Where a mirror has an image. Docker itself asks mirrors of its Hub only.
fn mirrored(reference: &str, registry: &Registry) -> Option<String> {
    let reference: Reference = reference.parse().ok()?;
    let mirror =
        registry.mirrors.get(&reference.repository.registry).filter(|_| reference.repository.registry != HUB)?;
    let repository = Repository { registry: mirror.clone(), path: reference.repository.path.clone() };
    Some(Reference { repository, ..reference }.to_string())
}

/// The one image among the candidates: several names of it are one image.
async fn pick(context: &Context, docker: &Docker<'_>, candidates: Candidates) -> Result<String, Failure> {
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    for candidate in candidates.made {
        if let Some(id) = docker.image_id(&candidate.name).await? {
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

    #[test]
    fn a_mirror_is_asked_where_docker_does_not() {
        let mirrors = [("docker.io", "m.example"), ("quay.io", "m.example:5000")];
        let registry = Registry {
            platform: "linux/amd64".to_owned(),
            mirrors: mirrors.map(|(of, at)| (of.to_owned(), at.to_owned())).into(),
            insecure: vec![],
            certificate_authority: None,
        };
        let digest = format!("sha256:{}", "0".repeat(64));
        for (reference, expected) in [
            (format!("quay.io/a/b@{digest}"), Some(format!("m.example:5000/a/b@{digest}"))),
            (format!("docker.io/library/debian@{digest}"), None),
            (format!("r.example/a@{digest}"), None),
        ] {
            assert_eq!(mirrored(&reference, &registry), expected, "{reference}");
        }
    }
}
