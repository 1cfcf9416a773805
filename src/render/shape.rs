//! The shape of a build pod: which containers it has, which image each runs, what each may do and what it mounts. It
//! follows from the profile alone. Everything that makes or explains a pod asks here, and nowhere else is decided
//! what an engine needs.

use crate::{
    api::{build::Container, profile::Hypervisor},
    plan::{
        job::{ENGINE_FOLDER, GRAPH_ROOT, JOB_FOLDER, PROGRAM_FOLDER, WORKSPACE},
        valid::ValidProfile,
    },
};

/// The shape of a pod: its containers in the order in which they start. The last one is the main container; all
/// others run before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The containers.
    pub containers: Vec<ContainerShape>,
}

/// The shape of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerShape {
    /// Which.
    pub container: Container,
    /// What it runs.
    pub image: Image,
    /// What it may do.
    pub security: Security,
    /// Whether it runs beside those after it, instead of before them.
    pub is_sidecar: bool,
    /// How much of what the profile grants it may have.
    pub share: Share,
    /// Whether it boots machines, and gets `/dev/kvm` where the profile names its resource.
    pub boots: bool,
    /// What it mounts, beside its secrets.
    pub mounts: Vec<Mount>,
}

/// How much of what a profile grants a container may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A stage's part: the work is done elsewhere.
    Part,
    /// What a stage's part leaves.
    Rest,
    /// All.
    Whole,
}

/// An image that a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The operator's own, which brings the program.
    Operator,
    /// The profile's builder image.
    Builder,
    /// The profile's engine image.
    Engine,
}

/// What a container may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Runs the operator's code alone, as a user without any rights.
    Closed,
    /// Runs the operator's code alone, as root without any capability: to reach the engine's socket.
    ClosedRoot,
    /// Runs the tenant's code, as root of the container with the capabilities that package managers need.
    Tenant,
    /// May do everything on its node.
    Privileged,
}

/// A volume that containers of a pod share. None leads out of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// The job, by the downward API.
    Job,
    /// The operator's program.
    Program,
    /// Files that last no longer than a container's work.
    Temporary,
    /// The engine's socket.
    Socket,
    /// The source, and what the stages keep.
    Workspace,
    /// The engine's images and containers.
    Graph,
}

/// A volume in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume.
    pub volume: Volume,
    /// Where.
    pub path: &'static str,
    /// Whether it cannot be written.
    pub is_read_only: bool,
}

impl Shape {
    /// The shape of the pods of a profile.
    #[must_use]
    pub fn of(profile: &ValidProfile) -> Self {
        let containers = match profile.hypervisor {
            None => privileged_docker(),
            Some(Hypervisor::Qemu) => qemu(),
        };
        Self { containers }
    }

    /// The volumes that any container mounts, each once.
    #[must_use]
    pub fn volumes(&self) -> Vec<Volume> {
        let mut volumes: Vec<Volume> =
            self.containers.iter().flat_map(|each| &each.mounts).map(|mount| mount.volume).collect();
        volumes.sort_unstable();
        volumes.dedup();
        volumes
    }
}

fn stage(container: Container, image: Image, security: Security, mounts: Vec<Mount>) -> ContainerShape {
    ContainerShape {
        container,
        image,
        security,
        is_sidecar: false,
        share: Share::Part,
        boots: false,
        mounts: [vec![read(Volume::Job, JOB_FOLDER), write(Volume::Workspace, WORKSPACE)], mounts].concat(),
    }
}

/// The stage that fetches the source, and brings the program.
fn source() -> ContainerShape {
    // Its own root is read-only.
    let fetch = vec![write(Volume::Program, PROGRAM_FOLDER), write(Volume::Temporary, "/tmp")];
    stage(Container::Source, Image::Operator, Security::Closed, fetch)
}

/// The stages one after another, beside a Docker engine that alone is privileged.
fn privileged_docker() -> Vec<ContainerShape> {
    let engine = vec![
        read(Volume::Program, PROGRAM_FOLDER),
        write(Volume::Socket, ENGINE_FOLDER),
        write(Volume::Graph, GRAPH_ROOT),
    ];
    // To connect to a socket writes nothing; what the engine says of itself beside it stays as it is.
    let use_engine = vec![read(Volume::Program, PROGRAM_FOLDER), read(Volume::Socket, ENGINE_FOLDER)];
    vec![
        source(),
        ContainerShape {
            is_sidecar: true,
            share: Share::Rest,
            ..stage(Container::Engine, Image::Engine, Security::Privileged, engine)
        },
        stage(Container::Build, Image::Builder, Security::Tenant, use_engine.clone()),
        stage(Container::Verify, Image::Builder, Security::Tenant, use_engine.clone()),
        stage(Container::Publish, Image::Builder, Security::ClosedRoot, use_engine),
    ]
}

/// The stages one after another. Those that boot machines do it as processes of their own: nothing is privileged.
fn qemu() -> Vec<ContainerShape> {
    let program = || vec![read(Volume::Program, PROGRAM_FOLDER)];
    let boots = |container| ContainerShape {
        share: Share::Whole,
        boots: true,
        ..stage(container, Image::Builder, Security::Tenant, program())
    };
    // Its own root is read-only.
    let push = [program(), vec![write(Volume::Temporary, "/tmp")]].concat();
    vec![
        source(),
        boots(Container::Build),
        boots(Container::Verify),
        stage(Container::Publish, Image::Builder, Security::Closed, push),
    ]
}

const fn write(volume: Volume, path: &'static str) -> Mount {
    Mount { volume, path, is_read_only: false }
}

const fn read(volume: Volume, path: &'static str) -> Mount {
    Mount { volume, path, is_read_only: true }
}
