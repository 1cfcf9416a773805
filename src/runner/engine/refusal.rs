//! What a registry's refusal means, as dockerd passes it on.

use crate::{api::condition::Reason, plan::failure::Failure};

/// What is asked of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Pull,
    Push,
}

const FULL: [&str; 2] = ["no space left", "disk quota"];
const DENIED: [&str; 6] = ["unauthorized", "authentication required", "denied", "no basic auth", "401 ", "403 "];
const ABSENT: [&str; 3] = ["manifest unknown", "not found", "name unknown"];
/// What docker says of a manifest that it reads and has no use for: of the old formats, or of something else than an
/// image, such as a chart.
const UNREADABLE: [&str; 7] = [
    "unsupported digest",
    "schema 1",
    "manifest.v1+",
    "unsupported manifest",
    "unsupported media type",
    "encountered remote",
    "invalid rootfs in image configuration",
];

/// The failure to pull an image for a platform.
pub(crate) fn of_pull(name: &str, platform: &str, complaint: &str) -> Failure {
    let said = said(complaint);
    let lower = complaint.to_lowercase();
    let absent = |message: String| Failure::new(Reason::BaseImageNotFound, message);
    if says(&lower, &OTHER_PLATFORM) {
        let found = actual_platform(&lower).map_or_else(String::new, |other| format!(", but for {other}"));
        let what = "name an image for the profile's platform, or a profile for the image's";
        return absent(format!("the image is not there for {platform}{found}: {what} ({name})"));
    }
    if says(&lower, &UNREADABLE) {
        let message = format!("what the registry has is no image that docker can use: {said} ({name})");
        return Failure::new(Reason::ImageUnsupported, message);
    }
    of(Purpose::Pull, name, complaint)
}

/// Of an index; of a single image: up to docker 28, and of later ones.
const OTHER_PLATFORM: [&str; 3] =
    ["no matching manifest for", "does not match the specified platform", "does not provide the specified platform"];

/// The platform that an image is there for instead, where docker says it.
fn actual_platform(lower: &str) -> Option<&str> {
    let is_end = |letter: char| letter.is_whitespace() || matches!(letter, ',' | ')');
    let (_, rest) = ["actual: ", "its platform ("].iter().find_map(|before| lower.split_once(before))?;
    rest.split(is_end).next()
}

/// The failure to pull or push an image, by what is said of it.
pub(super) fn of(purpose: Purpose, name: &str, complaint: &str) -> Failure {
    let lower = complaint.to_lowercase();
    let reason = match purpose {
        _ if says(&lower, &FULL) => Reason::DiskFull,
        _ if says(&lower, &["x509: "]) => Reason::CertificateNotTrusted,
        Purpose::Pull if says(&lower, &DENIED) => Reason::AccessDenied,
        Purpose::Pull if says(&lower, &ABSENT) => Reason::BaseImageNotFound,
        Purpose::Push if says(&lower, &DENIED) => Reason::PushDenied,
        _ => Reason::RegistryUnavailable,
    };
    let verb = if purpose == Purpose::Pull { "pulled" } else { "pushed" };
    Failure::new(reason, format!("{name} cannot be {verb}: {}", said(complaint)))
}

fn says(lower: &str, words: &[&str]) -> bool {
    words.iter().any(|word| lower.contains(word))
}

/// What the engine said: the last line, without its own beginning. Before it stands how far it came.
pub(super) fn said(complaint: &str) -> &str {
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    last.strip_prefix("Error response from daemon: ").unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "r.example/a@sha256:0";

    #[test]
    fn a_refused_pull_has_a_reason() {
        // Sentences of dockerd 20.10 to 28, and of the registries behind it.
        for (complaint, reason) in [
            (
                "Error response from daemon: manifest for r.example/a@sha256:0 not found: manifest unknown: manifest unknown",
                Reason::BaseImageNotFound,
            ),
            (
                "Error response from daemon: Head \"https://r.example/v2/a/manifests/1\": unauthorized: authentication required",
                Reason::AccessDenied,
            ),
            (
                "Error response from daemon: pull access denied for a, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Reason::AccessDenied,
            ),
            (
                "Error response from daemon: Get \"http://10.0.0.1:5000/v2/\": dial tcp 10.0.0.1:5000: connect: connection refused",
                Reason::RegistryUnavailable,
            ),
            (
                "Error response from daemon: toomanyrequests: You have reached your pull rate limit.",
                Reason::RegistryUnavailable,
            ),
            ("failed to register layer: write /x: no space left on device", Reason::DiskFull),
            (
                "Error response from daemon: [DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be removed in an upcoming release. Suggest the author of r.example/a to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2.",
                Reason::ImageUnsupported,
            ),
            (
                "Error response from daemon: media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported since containerd v2.1",
                Reason::ImageUnsupported,
            ),
            (
                "Error response from daemon: unsupported media type application/vnd.cncf.helm.config.v1+json",
                Reason::ImageUnsupported,
            ),
            (
                "Error response from daemon: Encountered remote \"application/vnd.cncf.helm.config.v1+json\"(unknown) when fetching",
                Reason::ImageUnsupported,
            ),
            (
                "Error response from daemon: Get \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Reason::CertificateNotTrusted,
            ),
        ] {
            let told = of_pull(NAME, "linux/amd64", complaint);
            assert_eq!(told.reason, reason, "{complaint}");
            assert!(told.message.contains(NAME), "{told:?}");
        }
        let told = of_pull("a", "linux/amd64", "x\nError response from daemon: manifest unknown\n");
        assert_eq!(told.message, "a cannot be pulled: manifest unknown");
    }

    #[test]
    fn an_image_of_other_platforms_is_told_with_them_before_its_name() {
        for (complaint, platforms) in [
            (
                "Error response from daemon: no matching manifest for linux/amd64 in the manifest list entries",
                "for linux/amd64: ",
            ),
            (
                "image with reference r.example/a@sha256:0 was found but does not match the specified platform: wanted linux/amd64, actual: linux/arm64",
                "for linux/amd64, but for linux/arm64: ",
            ),
            (
                "Error response from daemon: image with reference r.example/a@sha256:0 was found but its platform (linux/arm64) does not match the specified platform (linux/amd64)",
                "for linux/amd64, but for linux/arm64: ",
            ),
            (
                "Error response from daemon: image with reference r.example/a@sha256:0 was found but does not provide the specified platform (linux/amd64)",
                "for linux/amd64: ",
            ),
        ] {
            let told = of_pull(NAME, "linux/amd64", complaint);
            assert_eq!(told.reason, Reason::BaseImageNotFound, "{complaint}");
            let beginning = format!("the image is not there {platforms}name an image for the profile's platform");
            assert!(told.message.starts_with(&beginning) && told.message.ends_with(&format!("({NAME})")), "{told:?}");
        }
    }

    #[test]
    fn a_refused_push_has_a_reason() {
        for (complaint, reason) in [
            ("denied: requested access to the resource is denied", Reason::PushDenied),
            ("no basic auth credentials", Reason::PushDenied),
            ("unknown: repository name not known to registry", Reason::RegistryUnavailable),
            ("received unexpected HTTP status: 503 Service Unavailable", Reason::RegistryUnavailable),
            ("", Reason::RegistryUnavailable),
        ] {
            assert_eq!(of(Purpose::Push, NAME, complaint).reason, reason, "{complaint}");
        }
        let pushed = "The push refers to repository [r.example/a]\n047217a96a5c: Preparing\nunauthorized: authentication required";
        assert_eq!(of(Purpose::Push, "a", pushed).message, "a cannot be pushed: unauthorized: authentication required");
    }
}
