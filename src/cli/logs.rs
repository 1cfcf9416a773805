//! `imagechain logs`: what the stages of a link's build print, from the right pod, with the rights of whoever asks.

use std::{fmt, io, path::PathBuf};

use futures::AsyncBufReadExt;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::LogParams,
    runtime::wait::{Condition, await_condition},
};

use crate::{
    api::{
        build::{Attempt, Container, ImageBuild, ImageBuildStatus, Stage},
        chain::ImageChain,
        profile::BuildProfile,
    },
    runtime::client::{self, Cluster},
    view::logs,
};

/// Whose logs.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The chain.
    #[arg(value_name = "CHAIN")]
    chain: String,
    /// The link. Without it: the one that is being built, else one that failed, else the last.
    #[arg(value_name = "LINK")]
    link: Option<String>,
    /// Go on until the build has ended, over all its attempts.
    #[arg(short, long)]
    follow: bool,
    /// Only this container, without its name before each line.
    #[arg(short = 'c', long, value_name = "NAME", value_parser = container)]
    container: Option<Container>,
    /// The namespace of the chain; without it, that of the context.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The kubeconfig; without it, the one that kubectl uses.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in it; without it, the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

fn container(text: &str) -> Result<Container, String> {
    let found = Container::ALL.into_iter().find(|container| container.name() == text);
    found.ok_or_else(|| format!("one of {}", Container::ALL.map(Container::name).join(", ")))
}

/// Prints them to standard output, and what they are of to standard error.
pub(super) fn run(flags: &Flags) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Box::pin(Reader::new(flags).await?.read()).await })
}

/// Says what was being done when something failed.
fn about<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}

struct Reader<'f> {
    flags: &'f Flags,
    client: Client,
    namespace: String,
}

impl<'f> Reader<'f> {
    async fn new(flags: &'f Flags) -> io::Result<Self> {
        let cluster = Cluster::Kubeconfig { path: flags.kubeconfig.clone(), context: flags.context.clone() };
        let config = client::config(&cluster).await.map_err(io::Error::other)?;
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        // Not the controller's client: its requests end in time, and logs go on for hours.
        let client = Client::try_from(config).map_err(io::Error::other)?;
        Ok(Self { flags, client, namespace })
    }

    async fn read(&self) -> io::Result<()> {
        let (name, namespace) = (&self.flags.chain, &self.namespace);
        let chains: Api<ImageChain> = Api::namespaced(self.client.clone(), namespace);
        let chain = chains.get(name).await.map_err(about(format!("the ImageChain {namespace}/{name}")))?;
        let link = logs::link(&chain.status.unwrap_or_default(), self.flags.link.as_deref())
            .map_err(io::Error::other)?
            .clone();
        let build = link.build.map(|build| build.0).unwrap_or_default();
        let mut shown = 0;
        loop {
            let (object, attempt) = self.attempt(&build, shown).await?;
            eprintln!("{name}/{}: build {build}, attempt {}, pod {}", link.name, attempt.number, attempt.pod);
            self.show(&object, &attempt).await?;
            shown = attempt.number;
            if !self.flags.follow {
                return Ok(());
            }
            if let Some(end) = self.end(&build, shown).await? {
                eprintln!("{end}");
                return Ok(());
            }
        }
    }

    /// The last attempt of the build. Who follows waits for one that was not shown yet.
    async fn attempt(&self, build: &str, shown: i32) -> io::Result<(ImageBuild, Attempt)> {
        let object = if self.flags.follow {
            self.wait(build, move |status| newest(status) > shown || status.finished_at.is_some()).await?
        } else {
            self.builds().get(build).await.map_err(about(format!("the ImageBuild {build}")))?
        };
        let attempt =
            logs::attempt(build, &object.status.clone().unwrap_or_default()).map_err(io::Error::other)?.clone();
        Ok((object, attempt))
    }

    /// How the build ended; `None` if another attempt follows.
    async fn end(&self, build: &str, shown: i32) -> io::Result<Option<String>> {
        let object = self.wait(build, move |status| status.finished_at.is_some() || newest(status) > shown).await?;
        Ok(logs::end(&object.status.unwrap_or_default()))
    }

    async fn wait(&self, build: &str, until: impl Fn(&ImageBuildStatus) -> bool) -> io::Result<ImageBuild> {
        // Who deletes it ends the wait, too.
        let gone_or =
            |object: Option<&ImageBuild>| object.is_none_or(|object| object.status.as_ref().is_some_and(&until));
        let found =
            await_condition(self.builds(), build, gone_or).await.map_err(about(format!("the ImageBuild {build}")))?;
        found.ok_or_else(|| io::Error::other(format!("the ImageBuild {build} was deleted")))
    }

    fn builds(&self) -> Api<ImageBuild> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn show(&self, build: &ImageBuild, attempt: &Attempt) -> io::Result<()> {
        let profile = &build.spec.profile.0;
        let profiles: Api<BuildProfile> = Api::all(self.client.clone());
        let profile = profiles.get(profile).await.map_err(about(format!(
            "the BuildProfile {profile}, which says where pods run (the ClusterRole imagechain-view-profiles lets you read it)"
        )))?;
        let namespace = &profile.spec.execution_namespace.0;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // The engine runs beside the stages, and is shown where it is asked for.
        let asked = self.flags.container.map(|container| vec![container]);
        for container in asked.unwrap_or_else(|| Stage::ALL.map(Stage::container).into()) {
            if !self
                .show_container(&pods, &attempt.pod.0, container)
                .await
                .map_err(about(format!("the pod {namespace}/{}", attempt.pod)))?
            {
                break;
            }
        }
        Ok(())
    }

    /// Prints what one container prints. The answer is whether there was anything: those after it have not begun.
    async fn show_container(&self, pods: &Api<Pod>, pod: &str, container: Container) -> Result<bool, kube::Error> {
        if self.flags.follow {
            let waited = await_condition(pods.clone(), pod, Begun(container)).await;
            waited.map_err(|error| kube::Error::Service(Box::new(error)))?;
        }
        let Some(object) = pods.get_opt(pod).await? else {
            eprintln!(
                "the pod {pod} is not there yet, or any more: podRetention of the profile says how long pods are kept"
            );
            return Ok(false);
        };
        if !has_begun(&object, container) {
            return Ok(false);
        }
        let parameters = LogParams {
            container: Some(container.name().to_owned()),
            follow: self.flags.follow,
            ..LogParams::default()
        };
        let mut lines = pods.log_stream(pod, &parameters).await?.lines();
        while let Some(line) = lines.try_next().await.map_err(|error| kube::Error::Service(Box::new(error)))? {
            match self.flags.container {
                Some(_) => println!("{line}"),
                None => println!("{:7} | {line}", container.name()),
            }
        }
        Ok(true)
    }
}

/// The number of the last attempt whose pod was seen: before that, there is nothing to follow.
fn newest(status: &ImageBuildStatus) -> i32 {
    let seen = status.attempts.iter().filter(|attempt| attempt.pod_uid.is_some() || attempt.outcome.is_some());
    seen.map(|attempt| attempt.number).max().unwrap_or_default()
}

/// Whether a container has begun, or never will, since its pod has ended or is gone.
struct Begun(Container);

impl Condition<Pod> for Begun {
    fn matches_object(&self, pod: Option<&Pod>) -> bool {
        pod.is_none_or(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            has_begun(pod, self.0) || matches!(phase, Some("Succeeded" | "Failed"))
        })
    }
}

fn has_begun(pod: &Pod, container: Container) -> bool {
    let status = pod.status.as_ref();
    let initial = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    let main = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let found = initial.chain(main).find(|each| each.name == container.name());
    let now = found.and_then(|found| found.state.as_ref());
    now.is_some_and(|now| now.running.is_some() || now.terminated.is_some())
}
