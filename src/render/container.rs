//! The containers of a build pod.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ExecAction, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
};

use super::{Attempt, resources, volume};
use crate::{api::build::Container as Which, plan::job::PROGRAM};

/// The user that fetches the source: nobody's, as in distroless images.
const FETCHER: i64 = 65532;

/// What root needs to own files and to become another user, as package managers and playbooks do. Not in it
/// are raw sockets, devices and whatever else the runtime grants by default.
const FILE_CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"];

/// How long the engine may take to be ready, in seconds.
const ENGINE_START: i32 = 120;

/// A container.
pub(super) fn of(attempt: &Attempt<'_>, which: Which) -> Container {
    let container = Container {
        name: which.name().to_owned(),
        image: Some(image(attempt, which)),
        // Images are pinned by digest: what is there is what is meant.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command(which)),
        resources: Some(requirements(attempt, which)),
        security_context: Some(security(which)),
        volume_mounts: Some(volume::mounts(attempt, which)),
        ..Container::default()
    };
    if which == Which::Engine { sidecar(container) } else { container }
}

fn image(attempt: &Attempt<'_>, which: Which) -> String {
    match which {
        Which::Source => attempt.operator_image.to_owned(),
        Which::Engine => attempt.inputs.engine.to_string(),
        Which::Build | Which::Verify | Which::Publish => attempt.inputs.builder.to_string(),
    }
}

fn command(which: Which) -> Vec<String> {
    // The operator's image has the program in its path; the others get it by a volume.
    let program = if which == Which::Source { "imagechain" } else { PROGRAM };
    [program, "runner", which.name()].map(str::to_owned).into()
}

fn requirements(attempt: &Attempt<'_>, which: Which) -> ResourceRequirements {
    if which == Which::Engine { resources::engine(attempt.profile) } else { resources::stage(attempt.profile) }
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

fn security(which: Which) -> SecurityContext {
    match which {
        Which::Source => SecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(FETCHER),
            run_as_group: Some(FETCHER),
            ..closed()
        },
        Which::Engine => privileged(),
        Which::Build | Which::Verify => tenant(),
        // It runs nothing of the tenant's, but must be root to reach the engine.
        Which::Publish => SecurityContext { run_as_user: Some(0), ..closed() },
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
