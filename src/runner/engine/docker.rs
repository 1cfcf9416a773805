//! Docker by its command line, which every builder image has: packer calls it too.

use std::collections::BTreeSet;

use tokio::process::Command;

use super::{marker::Marker, socket};
use crate::{
    api::{condition::Reason, profile},
    plan::failure::Failure,
    runner::{
        context::Context,
        process::{Tail, ending},
    },
};

/// How a container is started whose first process may be systemd. Its standard input stays open, so that a
/// shell does not end either.
const START: [&str; 7] =
    ["run", "--detach", "--interactive", "--privileged", "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock"];

/// What is asked of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Pull,
    Push,
}

/// The command line with credentials: their folder is read where it is, and never copied.
pub(crate) struct Docker<'c> {
    context: &'c Context,
    /// The folder of `config.json`.
    config: Option<&'c str>,
}

impl<'c> Docker<'c> {
    /// The engine of the stage. `config` is the folder of credentials.
    pub(crate) const fn of(context: &'c Context, config: Option<&'c str>) -> Self {
        // A second kind of engine does not compile until it is chosen here.
        let profile::Engine::Docker = context.job.engine;
        Self { context, config }
    }

    /// Lets a program of the user find the engine and the credentials.
    pub(crate) fn environment(&self, command: &mut Command) {
        self.connection(command);
        // The folder of Docker's configuration is read-only.
        command.env("BUILDX_CONFIG", self.context.places.temporary().join("buildx"));
    }

    fn connection(&self, command: &mut Command) {
        command.env("DOCKER_HOST", format!("unix://{}", self.context.places.socket().display()));
        if let Some(folder) = self.config {
            command.env("DOCKER_CONFIG", folder);
        }
    }

    /// Runs `docker`; what it printed, if it ended well.
    async fn call(&self, arguments: &[&str], shown: bool) -> Result<Result<String, String>, Failure> {
        let mut command = Command::new("docker");
        command.args(arguments);
        self.connection(&mut command);
        let (mut output, mut tail) = (String::new(), Tail::default());
        let mut lines = |line: &str| {
            if shown {
                self.context.log.line(line);
            }
            tail.push(line);
            if output.len() < 64 * 1024 {
                output.push_str(line);
                output.push('\n');
            }
        };
        let status = self.context.processes.run(command, &mut lines).await?;
        let complaint = || if tail.last(5).is_empty() { ending(status) } else { tail.last(5) };
        Ok(if status.success() { Ok(output) } else { Err(complaint()) })
    }

    /// Pulls an image.
    pub(crate) async fn pull(&self, reference: &str, platform: &str) -> Result<(), Failure> {
        let arguments = ["pull", "--quiet", "--platform", platform, reference];
        let pulled = self.call(&arguments, false).await?;
        pulled.map(drop).map_err(|complaint| refusal(Purpose::Pull, reference, &complaint))
    }

    /// Gives an image another name.
    pub(crate) async fn tag(&self, image: &str, name: &str) -> Result<(), Failure> {
        let tagged = self.call(&["tag", image, name], false).await?;
        tagged.map(drop).map_err(|complaint| {
            Failure::new(
                Reason::BuildFailed,
                format!("{image} cannot be named {name} in the engine: {}", said(&complaint)),
            )
        })
    }

    /// The ID of an image; `None` where the engine has none of that name.
    pub(crate) async fn image_id(&self, name: &str) -> Result<Option<String>, Failure> {
        match self.call(&["image", "inspect", "--format", "{{.Id}}", name], false).await? {
            Ok(output) => Ok(Some(output.trim().to_owned())),
            Err(complaint) if complaint.to_lowercase().contains("no such image") => Ok(None),
            Err(complaint) => Err(Failure::new(
                Reason::StageInterrupted,
                format!("the engine does not say what {name} is: {}", said(&complaint)),
            )),
        }
    }

    /// Pushes an image; the digest of its manifest.
    pub(crate) async fn push(&self, name: &str) -> Result<String, Failure> {
        let output = self.call(&["push", name], true).await?;
        let output = output.map_err(|complaint| refusal(Purpose::Push, name, &complaint))?;
        pushed_digest(&output).ok_or_else(|| {
            Failure::new(
                Reason::RegistryUnavailable,
                format!("{name} was pushed, and the engine does not say its digest"),
            )
        })
    }

    /// Starts a container of that name with an image's own command, so that systemd can be its first process.
    pub(crate) async fn start(&self, name: &str, image: &str) -> Result<(), Failure> {
        let named = ["--name", name, "--", image];
        let started = self.call(&[START.as_slice(), &named].concat(), false).await?;
        started.map(drop).map_err(|complaint| {
            Failure::new(
                Reason::VerificationFailed,
                format!("no container of {image} can be started: {}", said(&complaint)),
            )
        })
    }

    /// Why a container does not run any more, with its last lines; `None` where it does.
    pub(crate) async fn end_of(&self, container: &str) -> Option<String> {
        let form = "{{.State.Running}} {{.State.ExitCode}}";
        let state = self.call(&["inspect", "--format", form, container], false).await.ok()?.ok()?;
        let code = state.trim().strip_prefix("false ")?;
        let logs = self.call(&["logs", "--tail", "5", container], false).await.ok()?.unwrap_or_default();
        Some(format!("the container of the image ended with exit code {code}: {}", logs.trim()))
    }

    /// The image of a container that has no such file. `None` where it has, and where nobody can tell. It may be asked
    /// while a program of the user runs.
    pub(crate) async fn lacks(&self, container: &str, file: &str) -> Option<String> {
        let socket = self.context.places.socket();
        let about = format!("/containers/{}", socket::escaped(container));
        let found =
            socket::ask(&socket, "HEAD", &format!("{about}/archive?path={}", socket::escaped(file))).await.ok()?;
        if found.code() != Some(404) {
            return None;
        }
        // Of a container that is gone, too, there is no file.
        let container = socket::ask(&socket, "GET", &format!("{about}/json")).await.ok()?;
        image_of(&container.body)
    }

    /// Removes a container, if it is there.
    pub(crate) async fn remove(&self, container: &str) {
        // The engine goes with the pod, and all containers with it.
        let _ = self.call(&["rm", "--force", "--volumes", container], false).await;
    }

    /// Whether the kernel ended containers for lack of memory within the last seconds, as a failure.
    pub(crate) async fn out_of_memory(&self, seconds: u64) -> Option<Failure> {
        // Spans of time are what the command line takes from its own clock, in whole seconds: one more at both ends.
        let since = format!("--since={}s", seconds + 1);
        let form = "--format={{.Actor.Attributes.name}}";
        let arguments = ["events", &since, "--until=-1s", "--filter=event=oom", form];
        let events = self.call(&arguments, false).await.ok()?.ok()?;
        let memory = Marker::read(&self.context.places.marker()).ok()?.memory;
        starved(&events, memory)
    }
}

/// The image in what `docker inspect` answers.
fn image_of(container: &str) -> Option<String> {
    let container: serde_json::Value = serde_json::from_str(container).ok()?;
    container.pointer("/Config/Image")?.as_str().map(str::to_owned)
}

/// The failure that `docker events` tells of.
fn starved(events: &str, memory: Option<u64>) -> Option<Failure> {
    let names: BTreeSet<&str> = events.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = names.first()?;
    let share = memory.map_or_else(String::new, |bytes| {
        format!(": the build's containers share {} MiB (the engine's limit minus 256 MiB for itself)", bytes >> 20)
    });
    let message =
        format!("the container {first} was out of memory{share}: raise resources.memory of the profile, or need less");
    Some(Failure::new(Reason::OutOfMemory, message))
}

/// The digest in `docker push`'s last line, `TAG: digest: sha256:… size: 1234`.
fn pushed_digest(output: &str) -> Option<String> {
    let line = output.lines().rev().find_map(|line| line.split_once(": digest: "))?.1;
    line.split_whitespace().next().map(str::to_owned)
}

/// What the engine said: the last line, without its own beginning. Before it stands how far it came.
fn said(complaint: &str) -> &str {
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    last.strip_prefix("Error response from daemon: ").unwrap_or(last)
}

/// What a registry's refusal means, as dockerd passes it on.
fn refusal(purpose: Purpose, name: &str, complaint: &str) -> Failure {
    const DENIED: [&str; 6] = ["unauthorized", "authentication required", "denied", "no basic auth", "401 ", "403 "];
    const ABSENT: [&str; 4] = ["manifest unknown", "not found", "name unknown", "no matching manifest"];
    let lower = complaint.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let reason = match purpose {
        _ if says(&["no space left", "disk quota"]) => Reason::DiskFull,
        Purpose::Pull if says(&DENIED) => Reason::AccessDenied,
        Purpose::Pull if says(&ABSENT) => Reason::BaseImageNotFound,
        Purpose::Push if says(&DENIED) => Reason::PushDenied,
        _ => Reason::RegistryUnavailable,
    };
    let verb = if purpose == Purpose::Pull { "pulled" } else { "pushed" };
    Failure::new(reason, format!("{name} cannot be {verb}: {}", said(complaint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_reason() {
        // Sentences of dockerd 20.10 and 26.1, and of the registries behind it.
        for (purpose, complaint, reason) in [
            (
                Purpose::Pull,
                "Error response from daemon: manifest for r.example/a@sha256:0 not found: manifest unknown: manifest unknown",
                Reason::BaseImageNotFound,
            ),
            (
                Purpose::Pull,
                "Error response from daemon: Head \"https://r.example/v2/a/manifests/1\": unauthorized: authentication required",
                Reason::AccessDenied,
            ),
            (
                Purpose::Pull,
                "Error response from daemon: pull access denied for a, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Reason::AccessDenied,
            ),
            (
                Purpose::Pull,
                "Error response from daemon: no matching manifest for linux/arm64 in the manifest list entries",
                Reason::BaseImageNotFound,
            ),
            (
                Purpose::Pull,
                "Error response from daemon: Get \"http://10.0.0.1:5000/v2/\": dial tcp 10.0.0.1:5000: connect: connection refused",
                Reason::RegistryUnavailable,
            ),
            (Purpose::Pull, "failed to register layer: write /x: no space left on device", Reason::DiskFull),
            (Purpose::Push, "denied: requested access to the resource is denied", Reason::PushDenied),
            (Purpose::Push, "no basic auth credentials", Reason::PushDenied),
            (Purpose::Push, "unknown: repository name not known to registry", Reason::RegistryUnavailable),
            (Purpose::Push, "received unexpected HTTP status: 503 Service Unavailable", Reason::RegistryUnavailable),
            (Purpose::Push, "", Reason::RegistryUnavailable),
        ] {
            assert_eq!(refusal(purpose, "r.example/a:1", complaint).reason, reason, "{complaint}");
        }
        let told = refusal(Purpose::Pull, "a", "x\nError response from daemon: manifest unknown\n");
        assert_eq!(told.message, "a cannot be pulled: manifest unknown");
        let pushed = "The push refers to repository [r.example/a]\n047217a96a5c: Preparing\nunauthorized: authentication required";
        assert_eq!(
            refusal(Purpose::Push, "a", pushed).message,
            "a cannot be pushed: unauthorized: authentication required"
        );
    }

    #[test]
    fn lack_of_memory_has_a_name_and_a_share() {
        assert_eq!(starved("\n", Some(1)), None);
        let told = starved("web\nweb\n", Some(444 << 20)).unwrap();
        assert_eq!(told.reason, Reason::OutOfMemory);
        assert!(told.message.starts_with("the container web was out of memory: the build's containers share 444 MiB"));
    }

    #[test]
    fn a_push_says_its_digest() {
        let output = "The push refers to repository [127.0.0.1:5000/a]\n5f70bf18a086: Pushed\n\
                      1: digest: sha256:abc size: 527\n";
        assert_eq!(pushed_digest(output).as_deref(), Some("sha256:abc"));
        assert_eq!(pushed_digest("5f70bf18a086: Pushed\n"), None);
    }
}
