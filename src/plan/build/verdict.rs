//! What a pod that ended well has made, if its stages agree on it.

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{
        build::{Artifact, Stage, Verification},
        common,
    },
    plan::{
        image::{Digest, Repository},
        observed::Report,
    },
};

/// What came out of a pod.
pub(super) struct Made {
    pub artifact: Artifact,
    pub verification: Vec<Verification>,
}

/// The artifact, if the image that was built is the one that passed so many test steps, and the one that was
/// pushed to the staging repository. What a pod says of itself may be forged: of any other place, nobody
/// knows who else writes there.
pub(super) fn artifact(reports: &[Report], steps: usize, staging: &Repository) -> Result<Made, String> {
    let of = |stage: Stage| {
        reports.iter().find(|report| report.stage == stage).ok_or_else(|| format!("the stage {stage:?} left no report"))
    };
    let (build, verify, publish) = (of(Stage::Build)?, of(Stage::Verify)?, of(Stage::Publish)?);
    let image_id = build.image_id.as_ref().ok_or("the build stage names no image")?;
    for (other, stage) in [(verify, "tested"), (publish, "pushed")] {
        if other.image_id.as_ref() != Some(image_id) {
            let id = other.image_id.as_deref().unwrap_or("nothing");
            return Err(format!("{image_id} was built, but {id} was {stage}"));
        }
    }
    let passed = verify.verification.iter().filter(|step| step.passed).count();
    if passed != steps || verify.verification.len() != steps {
        return Err(format!("{passed} of {steps} test steps are reported as passed"));
    }
    let digest = publish.digest.as_ref().ok_or("the publish stage names no digest")?;
    let short = digest.parse::<Digest>().map_err(|error| error.to_string())?.short().to_owned();
    let repository = publish.repository.as_ref().ok_or("the publish stage names no staging repository")?;
    if repository.parse::<Repository>().ok().as_ref() != Some(staging) {
        return Err(format!("the image was pushed to {repository}, and not to the staging repository {staging}"));
    }
    Ok(Made {
        artifact: Artifact {
            reference: common::ImageReference(format!("{staging}@{digest}")),
            digest: common::Digest(digest.clone()),
            short_digest: short,
            image_id: common::Digest(image_id.clone()),
            size: publish.size.unwrap_or_default(),
        },
        verification: verify.verification.clone(),
    })
}

/// A span of time as people write it: `45s`, `4m12s`, `1h03m`.
pub(super) fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.as_second().saturating_sub(from.as_second()).max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}
