//! The registry that products are pushed to, as we see it: what an engine says of a push is not enough.

use std::{collections::BTreeSet, fs};

use crate::{
    api::condition::Reason,
    plan::{
        failure::Failure,
        image::{Digest, Repository},
        job::{self, Staging},
    },
    remote::registry::{Credentials, Registry, Settings},
    runner::report::local,
};

/// Makes sure that the registry holds the image that was tested. The answer is the size of its layers, in bytes.
pub(super) async fn check_image(
    registry: &job::Registry,
    staging: &Staging,
    digest: &str,
    tested: &str,
) -> Result<i64, Failure> {
    let unreadable = |what: &str, why: String| Failure::new(Reason::RegistryUnavailable, format!("{what}: {why}"));
    let repository: Repository =
        staging.repository.parse().map_err(|_| unreadable(&staging.repository, "is no repository".to_owned()))?;
    let digest: Digest = digest.parse().map_err(|_| unreadable(digest, "is no digest".to_owned()))?;
    let registry =
        Registry::new(settings(registry)?).map_err(|error| Failure::new(error.reason(), error.to_string()))?;
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

fn settings(registry: &job::Registry) -> Result<Settings, Failure> {
    let certificates = registry.certificate_authority.as_ref().map(fs::read_to_string).transpose();
    Ok(Settings {
        insecure: registry.insecure.iter().cloned().collect::<BTreeSet<_>>(),
        certificates: certificates.map_err(|error| local("the certificates cannot be read", &error))?,
        ..Settings::default()
    })
}

fn credentials(staging: &Staging) -> Result<Credentials, Failure> {
    let Some(folder) = &staging.credentials else { return Ok(Credentials::default()) };
    let text = fs::read(format!("{folder}/config.json"));
    let text = text.map_err(|error| local("the credentials cannot be read", &error))?;
    Credentials::parse(&text).map_err(|error| Failure::new(error.reason(), error.to_string()))
}
