//! The containers of a build pod.

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ExecAction, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    attempt::Attempt,
    resources,
    shape::{ContainerShape, Image, Security, Share},
    volume,
};
use crate::plan::job::PROGRAM;

/// The user that fetches the source: nobody's, as in distroless images.
const FETCHER: i64 = 65532;

/// What root needs to own files and to become another user, as package managers and playbooks do. Not in it
/// are raw sockets, devices and whatever else the runtime grants by default.
const FILE_CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"];

/// How long the engine may take to be ready, in seconds.
const ENGINE_START: i32 = 120;

/// A container of an attempt's pod.
pub(super) fn of(attempt: &Attempt<'_>, shape: &ContainerShape) -> Container {
    let container = Container {
        name: shape.container.to_string(),
        image: Some(image(attempt, shape.image)),
        // Images are pinned by digest: what is there is what is meant.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command(shape)),
        resources: Some(requirements(attempt, shape)),
        security_context: Some(security(shape.security)),
        volume_mounts: Some(volume::mounts(attempt, shape)),
        ..Container::default()
    };
    if shape.is_sidecar { sidecar(container) } else { container }
}

fn image(attempt: &Attempt<'_>, image: Image) -> String {
    match image {
        Image::Operator => attempt.operator.image.to_owned(),
        Image::Engine => attempt.inputs.engine.to_string(),
        Image::Builder => attempt.inputs.builder.to_string(),
    }
}

fn command(shape: &ContainerShape) -> Vec<String> {
    // The operator's image has the program in its path; the others get it by a volume.
    let program = if shape.image == Image::Operator { "imagechain" } else { PROGRAM };
    [program, "runner", shape.container.name()].map(str::to_owned).into()
}

fn requirements(attempt: &Attempt<'_>, shape: &ContainerShape) -> ResourceRequirements {
    let mut needs = match shape.share {
        Share::Part => resources::part(attempt.profile),
        Share::Rest => resources::rest(attempt.profile),
        Share::Whole => resources::whole(attempt.profile),
    };
    if let Some(kvm) = attempt.profile.kvm.as_ref().filter(|_| shape.boots) {
        // Of an extended resource, requests follow from limits.
        needs.limits.get_or_insert_default().insert(kvm.clone(), Quantity("1".to_owned()));
    }
    needs
}

/// A native sidecar: it starts before the next stage, which waits until it is ready, and ends after the last.
fn sidecar(container: Container) -> Container {
    let command = [PROGRAM, "runner", "engine", "--check"].map(str::to_owned).into();
    let probe = Probe {
        exec: Some(ExecAction { command: Some(command) }),
        period_seconds: Some(1),
        timeout_seconds: Some(10),
        failure_threshold: Some(ENGINE_START),
        ..Probe::default()
    };
    Container { restart_policy: Some("Always".to_owned()), startup_probe: Some(probe), ..container }
}

fn security(security: Security) -> SecurityContext {
    match security {
        Security::Closed => SecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(FETCHER),
            run_as_group: Some(FETCHER),
            ..closed()
        },
        Security::ClosedRoot => SecurityContext { run_as_user: Some(0), ..closed() },
        Security::Tenant => tenant(),
        Security::Privileged => privileged(),
    }
}

/// For what runs the operator's code alone.
fn closed() -> SecurityContext {
    SecurityContext {
        privileged: Some(false),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        ..SecurityContext::default()
    }
}

/// For what runs the tenant's code: root of the container, to reach the engine's socket and to install what
/// a build needs. Becoming another user stays possible, since playbooks call sudo.
fn tenant() -> SecurityContext {
    let add = FILE_CAPABILITIES.map(str::to_owned).into();
    SecurityContext {
        privileged: Some(false),
        run_as_user: Some(0),
        capabilities: Some(Capabilities { add: Some(add), drop: Some(vec!["ALL".to_owned()]) }),
        ..SecurityContext::default()
    }
}

/// For the engine, which alone may do everything.
fn privileged() -> SecurityContext {
    SecurityContext {
        privileged: Some(true),
        run_as_user: Some(0),
        // What the runtime makes of it in any case; said, so that nobody takes it for confined.
        seccomp_profile: Some(SeccompProfile { type_: "Unconfined".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}
