//! The volumes of a build pod, and who mounts which. No volume leads out of the pod.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, KeyToPath, ObjectFieldSelector,
    SecretVolumeSource, Volume, VolumeMount,
};

use super::{Attempt, part::Part, resources};
use crate::{
    api::{JOB_ANNOTATION, build::Container},
    plan::job::{ENGINE_FOLDER, GRAPH_ROOT, JOB_FOLDER, PROGRAM_FOLDER, SECRETS, WORKSPACE},
};

const JOB: &str = "job";
const PROGRAM: &str = "program";
const WORK: &str = "workspace";
const ENGINE: &str = "engine";
const GRAPH: &str = "graph";
const TEMPORARY: &str = "tmp";

/// The most of volumes that hold a program, a socket or a few passing files, in bytes.
const SMALL: u64 = 512 << 20;

/// All volumes of an attempt's pod.
pub(super) fn all(attempt: &Attempt<'_>) -> Vec<Volume> {
    let storage = attempt.profile.storage_bytes;
    let empty = [(PROGRAM, SMALL), (TEMPORARY, SMALL), (ENGINE, SMALL), (WORK, storage), (GRAPH, storage)];
    let secrets = Container::ALL.into_iter().filter_map(|container| secrets(attempt, container));
    [job()].into_iter().chain(empty.map(|(name, most)| empty_dir(name, most))).chain(secrets).collect()
}

/// What a container mounts.
pub(super) fn mounts(attempt: &Attempt<'_>, container: Container) -> Vec<VolumeMount> {
    let mut mounts = vec![read(JOB, JOB_FOLDER), write(WORK, WORKSPACE)];
    mounts.extend(match container {
        // Its own root is read-only.
        Container::Source => vec![write(PROGRAM, PROGRAM_FOLDER), write(TEMPORARY, "/tmp")],
        Container::Engine => {
            vec![read(PROGRAM, PROGRAM_FOLDER), write(ENGINE, ENGINE_FOLDER), write(GRAPH, GRAPH_ROOT)]
        }
        // Connecting to a socket writes nothing; what the engine says of itself beside it stays as it is.
        Container::Build | Container::Verify | Container::Publish => {
            vec![read(PROGRAM, PROGRAM_FOLDER), read(ENGINE, ENGINE_FOLDER)]
        }
    });
    mounts.extend(secrets(attempt, container).map(|volume| read(&volume.name, SECRETS)));
    mounts
}

/// The part of the attempt's Secret that a container sees; `None` where it sees nothing.
fn secrets(attempt: &Attempt<'_>, container: Container) -> Option<Volume> {
    let parts = attempt.parts();
    let item = |part: &Part<'_>| KeyToPath { key: part.key(), path: part.path.clone(), mode: None };
    let items: Vec<_> = parts.iter().filter(|part| part.is_for(container)).map(item).collect();
    if items.is_empty() {
        return None;
    }
    let source = SecretVolumeSource {
        secret_name: Some(attempt.pod_name()),
        items: Some(items),
        // `source` is not root, and alone in its container.
        default_mode: Some(if container == Container::Source { 0o444 } else { 0o400 }),
        optional: Some(false),
    };
    Some(Volume { name: format!("{container}-secrets"), secret: Some(source), ..Volume::default() })
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
    Volume { name: JOB.to_owned(), downward_api: Some(source), ..Volume::default() }
}

fn empty_dir(name: &str, most: u64) -> Volume {
    let source = EmptyDirVolumeSource { medium: None, size_limit: Some(resources::bytes(most)) };
    Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() }
}

fn write(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn read(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..write(volume, path) }
}
