//! The registry that products are pushed to, as we see it: what an engine says of a push is not enough.

use std::fs;

use crate::{
    api::condition::Reason,
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
    let registry =
        Registry::new(settings(job, staging)?).map_err(|error| Failure::new(error.reason(), error.to_string()))?;
    let image = registry.image(&repository, &digest, &credentials(staging)?).await;
    let image = image.map_err(|error| Failure::new(error.reason(), error.to_string()))?;
    let Some(image) = image else {
        return Err(unreadable(&staging.repository, format!("{digest} is not there right after the push")));
    };
    if image.config.to_string() != tested {
        let message =
            format!("{repository}@{digest} holds the image {}, and {tested} was tested: it is not used", image.config);
        return Err(Failure::new(Reason::ImageMismatch, message));
    }
    Ok(i64::try_from(image.size).unwrap_or(i64::MAX))
}

fn settings(job: &Job, staging: &Staging) -> Result<Settings, Failure> {
    let mut network = network(job)?;
    let files = [&job.registry.certificate_authority, &staging.certificate_authority];
    for file in files.into_iter().flatten() {
        let more = fs::read_to_string(file).map_err(|error| local("the certificates cannot be read", &error))?;
        network = network.trusting(Some(&more).filter(|more| !more.trim().is_empty()).map(String::as_str));
    }
    Ok(Settings { insecure: job.registry.insecure.iter().cloned().collect(), network, ..Settings::default() })
}

fn credentials(staging: &Staging) -> Result<Credentials, Failure> {
    let Some(folder) = &staging.credentials else { return Ok(Credentials::default()) };
    let text = fs::read(format!("{folder}/config.json"));
    let text = text.map_err(|error| local("the credentials cannot be read", &error))?;
    Credentials::parse(&text).map_err(|error| Failure::new(Reason::AccessDenied, error.to_string()))
}
