//! The registry that products are pushed to, as we see it: what an engine says of a push is not enough.

use std::fs;

use crate::{
    api::{boxes::ArtifactKind, condition::Reason},
    plan::{
        failure::Failure,
        image::{Digest, Repository},
        job::{Job, Staging},
    },
    remote::registry::{Credentials, Registry, Settings},
    runner::{network::network, report::local},
};

/// Makes sure that the registry holds the image that was tested. The answer is the size of its layers, in bytes.
pub(super) async fn check_image(job: &Job, staging: &Staging, digest: &str, tested: &str) -> Result<i64, Failure> {
    let unreadable = |what: &str, why: String| Failure::new(Reason::RegistryUnavailable, format!("{what}: {why}"));
    let repository: Repository =
        staging.repository.parse().map_err(|_| unreadable(&staging.repository, "is no repository".to_owned()))?;
    let digest: Digest = digest.parse().map_err(|_| unreadable(digest, "is no digest".to_owned()))?;
    let registry = client(job, staging.certificate_authority.as_deref())?;
    let image = registry.artifact(&repository, &digest, &credentials(staging.credentials.as_deref())?).await;
    let image = image.map_err(|error| Failure::new(error.reason(), error.to_string()))?;
    let Some(image) = image else {
        return Err(unreadable(&staging.repository, format!("{digest} is not there right after the push")));
    };
    if image.kind != ArtifactKind::Image || image.content.to_string() != tested {
        let message =
            format!("{repository}@{digest} holds the image {}, and {tested} was tested: it is not used", image.content);
        return Err(Failure::new(Reason::ImageMismatch, message));
    }
    Ok(i64::try_from(image.size).unwrap_or(i64::MAX))
}

/// The client with the settings of a job, trusting the certificates in the file that the Secret of a push or pull adds,
/// too.
///
/// # Errors
/// Certificates cannot be read, or are none.
pub(super) fn client(job: &Job, added: Option<&str>) -> Result<Registry, Failure> {
    let mut network = network(job)?;
    for file in [job.registry.certificate_authority.as_deref(), added].into_iter().flatten() {
        let more = fs::read_to_string(file).map_err(|error| local("the certificates cannot be read", &error))?;
        network = network.trusting(Some(&more).filter(|more| !more.trim().is_empty()).map(String::as_str));
    }
    let settings = Settings {
        insecure: job.registry.insecure.iter().cloned().collect(),
        mirrors: job.registry.mirrors.clone(),
        network,
        ..Settings::default()
    };
    Registry::new(settings).map_err(|error| Failure::new(error.reason(), error.to_string()))
}

/// The credentials in a folder; without one, there are none.
///
/// # Errors
/// They cannot be read, or are none.
pub(super) fn credentials(folder: Option<&str>) -> Result<Credentials, Failure> {
    let Some(folder) = folder else { return Ok(Credentials::default()) };
    let text = fs::read(format!("{folder}/config.json"));
    let text = text.map_err(|error| local("the credentials cannot be read", &error))?;
    Credentials::parse(&text).map_err(|error| Failure::new(Reason::AccessDenied, error.to_string()))
}
