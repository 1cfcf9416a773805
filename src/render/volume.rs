//! The volumes of a build pod, and who mounts which. No volume leads out of the pod.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, KeyToPath, ObjectFieldSelector,
    SecretVolumeSource, Volume, VolumeMount,
};

use super::{
    attempt::Attempt,
    part::{self, Part},
    resources,
    shape::{self, ContainerShape, Mount, Security, Shape},
};
use crate::{api::JOB_ANNOTATION, plan::job::SECRETS};

/// The most of volumes that hold a program, a socket or a few passing files, in bytes.
const SMALL: u64 = 512 << 20;

/// All volumes of an attempt's pod.
pub(super) fn all(attempt: &Attempt<'_>, shape: &Shape) -> Vec<Volume> {
    let shared = shape.volumes().into_iter().map(|volume| shared(attempt, volume));
    let secrets = shape.containers.iter().filter_map(|container| secrets(attempt, container));
    shared.chain(secrets).collect()
}

/// What a container mounts.
pub(super) fn mounts(attempt: &Attempt<'_>, container: &ContainerShape) -> Vec<VolumeMount> {
    let mounts = container.mounts.iter().map(mount);
    let secrets = secrets(attempt, container).map(|volume| read_only(&volume.name, SECRETS));
    mounts.chain(secrets).collect()
}

const fn name(volume: shape::Volume) -> &'static str {
    match volume {
        shape::Volume::Job => "job",
        shape::Volume::Program => "program",
        shape::Volume::Temporary => "tmp",
        shape::Volume::Socket => "engine",
        shape::Volume::Workspace => "workspace",
        shape::Volume::Graph => "graph",
    }
}

fn shared(attempt: &Attempt<'_>, volume: shape::Volume) -> Volume {
    let most = match volume {
        shape::Volume::Job => return job(),
        shape::Volume::Program | shape::Volume::Temporary | shape::Volume::Socket => SMALL,
        shape::Volume::Workspace | shape::Volume::Graph => attempt.profile.storage_bytes,
    };
    let source = EmptyDirVolumeSource { medium: None, size_limit: Some(resources::bytes(most)) };
    Volume { name: name(volume).to_owned(), empty_dir: Some(source), ..Volume::default() }
}

/// The part of the attempt's Secret that a container sees; `None` where it sees nothing.
fn secrets(attempt: &Attempt<'_>, shape: &ContainerShape) -> Option<Volume> {
    let parts = part::all(attempt);
    let item = |part: &Part<'_>| KeyToPath { key: part.key(), path: part.path.clone(), mode: None };
    let items: Vec<_> = parts.iter().filter(|part| part.is_for(shape.container)).map(item).collect();
    if items.is_empty() {
        return None;
    }
    let source = SecretVolumeSource {
        secret_name: Some(attempt.pod_name()),
        items: Some(items),
        // A container that is not root has nothing else in it.
        default_mode: Some(if shape.security == Security::Closed { 0o444 } else { 0o400 }),
        optional: Some(false),
    };
    Some(Volume { name: format!("{}-secrets", shape.container), secret: Some(source), ..Volume::default() })
}

fn job() -> Volume {
    let field =
        ObjectFieldSelector { api_version: None, field_path: format!("metadata.annotations['{JOB_ANNOTATION}']") };
    let file = DownwardAPIVolumeFile {
        path: "job.json".to_owned(),
        field_ref: Some(field),
        ..DownwardAPIVolumeFile::default()
    };
    let source = DownwardAPIVolumeSource { items: Some(vec![file]), default_mode: Some(0o444) };
    Volume { name: name(shape::Volume::Job).to_owned(), downward_api: Some(source), ..Volume::default() }
}

fn mount(mount: &Mount) -> VolumeMount {
    let name = name(mount.volume);
    if mount.is_read_only { read_only(name, mount.path) } else { writable(name, mount.path) }
}

fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..writable(volume, path) }
}
