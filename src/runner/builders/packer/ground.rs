//! What packer works with: the container engine, or machines that it starts.

use std::future::Future;

use tokio::process::Command;

use super::{
    machine_readable::Line,
    scripts::{Lack, Script},
};
use crate::{
    plan::failure::Failure,
    runner::{
        context::Context,
        engine::{Engine, Seen, Watch},
        machine::Started,
        network,
    },
};

/// What ansible tells ssh: between it and a machine stands packer, which up to 1.7 has a key of no other kind, and which
/// newer versions of ssh do not trust by themselves.
const OLD_KEYS: &str = "-o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedAlgorithms=+ssh-rsa";

/// What packer works with.
pub(super) enum Ground<'g> {
    /// Containers of the engine.
    Engine {
        /// The engine.
        engine: &'g Engine<'g>,
        /// What is seen of containers from the beginning.
        watch: Watch<'g>,
    },
    /// Machines.
    Machines(Started<'g>),
}

/// What explains a failure besides what packer says.
pub(super) struct Explained {
    /// The failure itself, where it is known: the kernel ended a container for lack of memory, or a machine was killed.
    pub(super) failure: Option<Failure>,
    /// Which containers ended by themselves that packer needed, and how.
    pub(super) ended: Option<String>,
}

impl<'g> Ground<'g> {
    /// That of images.
    pub(super) fn of_engine(engine: &'g Engine<'g>) -> Self {
        Self::Engine { engine, watch: Watch::over(engine) }
    }

    /// Tells packer where it finds it.
    pub(super) fn environment(&self, command: &mut Command, context: &Context) {
        match self {
            Self::Engine { engine, .. } => engine.environment(command),
            Self::Machines(started) => {
                network::prepare(command, context, false);
                started.environment(command);
                command.env("ANSIBLE_SSH_COMMON_ARGS", OLD_KEYS);
            }
        }
    }

    /// Why the containers of a template cannot start on this node.
    pub(super) fn advice_on_groups(&self, text: &str) -> Option<&'static str> {
        match self {
            Self::Engine { engine, .. } => engine.advice_on_groups(text),
            Self::Machines(_) => None,
        }
    }

    /// Whether packer is run again where a script of it was gone: a machine takes minutes to boot again, and its ssh
    /// answers after its `/tmp` was wiped.
    pub(super) const fn retries(&self) -> bool {
        matches!(self, Self::Engine { .. })
    }

    /// Lets packer run.
    pub(super) async fn during<T>(&self, packer: impl Future<Output = T>) -> T {
        match self {
            Self::Engine { watch, .. } => watch.during(packer).await,
            Self::Machines(started) => started.during(packer).await,
        }
    }

    /// Hears what packer says of its containers.
    pub(super) fn hear(&self, line: &Line) {
        let Self::Engine { watch, .. } = self else { return };
        line.container().into_iter().for_each(|id| watch.need(id));
        if line.leaves_container() {
            watch.release();
        }
    }

    /// Ends when packer works in a container that has ended, or in a machine that was killed, and does not see it.
    pub(super) async fn forsaken(&self) {
        match self {
            Self::Engine { watch, .. } => watch.forsaken().await,
            Self::Machines(started) => started.forsaken().await,
        }
    }

    /// What the container of a script lacks, so that it cannot run.
    pub(super) async fn lack(&self, script: Script) -> Option<Lack> {
        match self {
            Self::Engine { engine, .. } => script.lack(engine).await,
            Self::Machines(_) => None,
        }
    }

    /// What explains that packer has failed.
    pub(super) async fn explain(&self) -> Explained {
        match self {
            Self::Engine { watch, .. } => {
                let Seen { containers, out_of_memory } = watch.finish(true).await;
                Explained { failure: out_of_memory, ended: containers.ended(|container| container.needed) }
            }
            Self::Machines(started) => Explained { failure: started.killed().await, ended: None },
        }
    }

    /// What the machine shows that packer worked with, as sentences; empty where there was none. `lost`: packer has not
    /// reached it.
    pub(super) fn shown(&self, context: &Context, lost: bool) -> String {
        match self {
            Self::Engine { .. } => String::new(),
            Self::Machines(started) => started.evidence(&context.log, lost),
        }
    }
}
