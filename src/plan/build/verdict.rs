//! What a pod that ended well has made, if its stages agree on it.

use crate::{
    api::{
        boxes::ArtifactKind,
        build::{Stage, Verification},
        condition::Reason,
    },
    plan::{
        image::{Digest, Repository},
        observed::Report,
        product::Product,
    },
};

/// What came out of a pod.
pub(super) struct Made {
    pub product: Product,
    pub verification: Vec<Verification>,
    /// What of the recipe would have published by itself.
    pub left_out: Vec<String>,
}

/// The product, if what was built is the one that passed so many test steps, and the one that was
/// pushed to the staging repository. What a pod says of itself may be forged: of any other place, nobody
/// knows who else writes there.
pub(super) fn product(
    kind: ArtifactKind,
    reports: &[Report],
    steps: usize,
    staging: &Repository,
) -> Result<Made, String> {
    let of = |stage: Stage| {
        reports.iter().find(|report| report.stage == stage).ok_or_else(|| format!("the stage {stage:?} left no report"))
    };
    let (build, verify, publish) = (of(Stage::Build)?, of(Stage::Verify)?, of(Stage::Publish)?);
    let noun = kind.noun();
    let content = build.content.as_ref().ok_or_else(|| format!("the build stage names no {noun}"))?;
    for (other, stage) in [(verify, "tested"), (publish, "pushed")] {
        if other.content.as_ref() != Some(content) {
            let id = other.content.as_deref().unwrap_or("nothing");
            return Err(format!("{content} was built, but {id} was {stage}"));
        }
    }
    let passed = verify.verification.iter().filter(|step| step.passed).count();
    if passed != steps || verify.verification.len() != steps {
        return Err(format!("{passed} of {steps} test steps are reported as passed"));
    }
    let digest = publish.digest.as_ref().ok_or("the publish stage names no digest")?;
    digest.parse::<Digest>().map_err(|error| error.to_string())?;
    let repository = publish.repository.as_ref().ok_or("the publish stage names no staging repository")?;
    if repository.parse::<Repository>().ok().as_ref() != Some(staging) {
        return Err(format!("the {noun} was pushed to {repository}, and not to the staging repository {staging}"));
    }
    Ok(Made {
        product: Product {
            kind,
            content: content.clone(),
            reference: format!("{staging}@{digest}"),
            size: publish.size.unwrap_or_default(),
        },
        verification: verify.verification.clone(),
        left_out: build.left_out.clone(),
    })
}

/// What is said of test steps that all passed, and of those that need not have had anything to do with the product.
pub(super) fn passed(kind: ArtifactKind, steps: &[Verification]) -> (Reason, String) {
    let noun = kind.noun();
    let said = match steps.len() {
        0 => return (Reason::NothingToTest, format!("the {noun} is built; there are no tests")),
        1 => format!("the {noun} is built and its test step passed ({})", counted(steps)),
        number => format!("the {noun} is built and its {number} test steps passed ({})", counted(steps)),
    };
    let none_ran = steps.iter().all(|step| step.image_ran == Some(false));
    let warning =
        if none_ran { "; but no container of it ran meanwhile: $(image.local) is its name for tests" } else { "" };
    (Reason::TestsPassed, said + warning)
}

/// How many tests steps report: of a scenario that only runs its playbook, and of a command, none is known.
fn counted(steps: &[Verification]) -> String {
    match steps.iter().filter_map(|step| step.tests).fold(0_i32, i32::saturating_add) {
        0 => "no tests reported".to_owned(),
        1 => "1 test".to_owned(),
        tests => format!("{tests} tests"),
    }
}

/// So many seconds as people write them: `45s`, `4m12s`, `1h03m`.
pub(super) fn span(seconds: i64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}
