//! Docker by its command line, which every builder image has: packer calls it too.

use std::{fmt, io};

use tokio::process::Command;

use super::{
    advice::ReadOnlyGroups,
    info,
    marker::Marker,
    refusal::{self, Purpose, said},
    socket,
    start::{self, Config},
};
use crate::{
    api::{condition::Reason, profile},
    plan::failure::Failure,
    runner::{
        context::Context,
        network,
        process::{Tail, ending},
    },
};

/// The variable that fixes the version of its API for docker's command line, and for ansible's modules.
const API_VERSION: &str = "DOCKER_API_VERSION";

/// The command line with credentials: their folder is read where it is, and never copied.
pub(crate) struct Docker<'c> {
    context: &'c Context,
    /// The folder of `config.json`.
    config: Option<&'c str>,
    /// What becomes of read-only mounts of control groups.
    groups: ReadOnlyGroups,
}

/// An image of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) id: String,
    /// The digests of its layers, from the lowest on, as they are without compression.
    pub(crate) layers: Vec<String>,
}

impl<'c> Docker<'c> {
    /// The engine of the stage. `config` is the folder of credentials.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn of(context: &'c Context, config: Option<&'c str>) -> Result<Self, Failure> {
        match context.job.engine {
            profile::Engine::Docker => {}
            profile::Engine::None => {
                return Err(Failure::new(Reason::SpecInvalid, "the profile has no container engine"));
            }
        }
        let silent =
            |error: io::Error| Failure::new(Reason::EngineRestarted, format!("the engine does not answer: {error}"));
        let mode = Marker::read(&context.places.marker()).map_err(silent)?.mode;
        let versions = info::versions(&context.places.socket()).await.map_err(silent)?;
        Ok(Self { context, config, groups: ReadOnlyGroups::of(mode, &versions) })
    }

    /// Lets a program of the user find the engine and the credentials.
    pub(crate) fn environment(&self, command: &mut Command) {
        network::prepare(command, self.context, self.config.is_some());
        self.connection(command);
        command.envs(self.groups.api_version.map(|version| (API_VERSION, version)));
        // The folder of Docker's configuration is read-only.
        command.env("BUILDX_CONFIG", self.context.places.temporary().join("buildx"));
    }

    /// The advice on a template, or on a molecule scenario, whose containers cannot start on this node for the control
    /// groups that they mount; `None` where it mounts none, or they can.
    pub(crate) fn advice_on_groups(&self, text: &str) -> Option<&'static str> {
        self.groups.advice(text)
    }

    fn connection(&self, command: &mut Command) {
        command.env("DOCKER_HOST", format!("unix://{}", self.context.places.socket().display()));
        if let Some(folder) = self.config {
            command.env("DOCKER_CONFIG", folder);
        }
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments);
        self.connection(&mut command);
        command
    }

    /// Runs `docker` and hands each of its lines on.
    pub(super) async fn follow(&self, arguments: &[&str], lines: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        self.context.processes.run(self.docker(arguments), lines).await.map(drop)
    }

    /// Runs `docker`; what it printed, if it ended well.
    async fn call(&self, arguments: &[&str], shown: bool) -> Result<Result<String, String>, Failure> {
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
        let status = self.context.processes.run(self.docker(arguments), &mut lines).await?;
        let complaint = || if tail.last(5).is_empty() { ending(status) } else { tail.last(5) };
        Ok(if status.success() { Ok(output) } else { Err(complaint()) })
    }

    /// Pulls an image.
    pub(crate) async fn pull(&self, reference: &str, platform: &str) -> Result<(), Failure> {
        let arguments = ["pull", "--quiet", "--platform", platform, reference];
        let pulled = self.call(&arguments, false).await?;
        pulled.map(drop).map_err(|complaint| refusal::of_pull(reference, platform, &complaint))
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

    /// An image; `None` where the engine has none of that name.
    pub(crate) async fn image(&self, name: &str) -> Result<Option<Image>, Failure> {
        let unknown = |complaint: &str| {
            let message = format!("the engine does not say what {name} is: {complaint}");
            Failure::new(Reason::StageInterrupted, message)
        };
        match self.inspect(name, "{{.Id}} {{json .RootFS.Layers}}").await? {
            Ok(output) => image(&output).map(Some).ok_or_else(|| unknown(&output)),
            Err(complaint) if complaint.to_lowercase().contains("no such image") => Ok(None),
            Err(complaint) => Err(unknown(said(&complaint))),
        }
    }

    async fn inspect(&self, image: &str, form: &str) -> Result<Result<String, String>, Failure> {
        self.call(&["image", "inspect", "--format", form, "--", image], false).await
    }

    /// Pushes an image; the digest of its manifest.
    pub(crate) async fn push(&self, name: &str) -> Result<String, Failure> {
        let output = self.call(&["push", name], true).await?;
        let output = output.map_err(|complaint| refusal::of(Purpose::Push, name, &complaint))?;
        pushed_digest(&output).ok_or_else(|| {
            Failure::new(
                Reason::RegistryUnavailable,
                format!("{name} was pushed, and the engine does not say its digest"),
            )
        })
    }

    /// Starts a container of that name with an image's own command, which may boot a system.
    pub(crate) async fn start(&self, name: &str, image: &str) -> Result<(), Failure> {
        let config = self.inspect(image, start::FORM).await?.unwrap_or_default();
        let config: Config = serde_json::from_str(&config).unwrap_or_default();
        let named = ["--name", name, "--", image];
        let started = self.call(&[config.arguments().as_slice(), &named].concat(), false).await?;
        started.map(drop).map_err(|complaint| {
            Failure::new(
                Reason::VerificationFailed,
                format!("no container of {image} can be started: {}", said(&complaint)),
            )
        })
    }

    /// The last lines of a container that has ended; `None` where it runs again.
    pub(super) async fn last_words(&self, container: &str) -> Option<String> {
        let printed = |called: Result<Result<String, String>, Failure>| called.ok().and_then(Result::ok);
        let state = self.call(&["inspect", "--format", "{{.State.Status}}", container], false).await;
        if matches!(printed(state).as_deref().map(str::trim), Some("running" | "restarting")) {
            return None;
        }
        // It may be gone.
        let words = printed(self.call(&["logs", "--tail", "5", container], false).await).unwrap_or_default();
        Some(self.context.log.redacted(&words))
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

    /// What containers may have together of memory, in bytes, where there is a limit.
    pub(super) fn memory(&self) -> Option<u64> {
        Marker::read(&self.context.places.marker()).ok()?.memory
    }

    /// Writes a line of ours into the log.
    pub(super) fn say(&self, text: impl fmt::Display) {
        self.context.log.say(text);
    }
}

/// An image as `docker image inspect` is asked for it: its ID and its layers.
fn image(output: &str) -> Option<Image> {
    let (id, layers) = output.trim().split_once(' ')?;
    let layers: Option<Vec<String>> = serde_json::from_str(layers).ok()?;
    Some(Image { id: id.to_owned(), layers: layers.unwrap_or_default() })
}

/// The image in what `docker inspect` answers.
fn image_of(container: &str) -> Option<String> {
    let container: serde_json::Value = serde_json::from_str(container).ok()?;
    container.pointer("/Config/Image")?.as_str().map(str::to_owned)
}

/// The digest in `docker push`'s last line, `TAG: digest: sha256:… size: 1234`.
fn pushed_digest(output: &str) -> Option<String> {
    let line = output.lines().rev().find_map(|line| line.split_once(": digest: "))?.1;
    line.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_says_its_digest() {
        let output = "The push refers to repository [127.0.0.1:5000/a]\n5f70bf18a086: Pushed\n\
                      1: digest: sha256:abc size: 527\n";
        assert_eq!(pushed_digest(output).as_deref(), Some("sha256:abc"));
        assert_eq!(pushed_digest("5f70bf18a086: Pushed\n"), None);
    }

    #[test]
    fn an_image_says_what_it_is() {
        let output = "sha256:abc [\"sha256:0\",\"sha256:1\"]\n";
        let image = image(output).unwrap();
        assert_eq!((image.id.as_str(), image.layers.len()), ("sha256:abc", 2));
        assert_eq!(super::image("sha256:abc null\n").unwrap().layers.len(), 0);
        assert!(super::image("\n").is_none());
    }
}
