//! What to say about containers that cannot start in the engine of this node.

use super::{
    super::context::Context,
    marker::{Marker, Mode},
};

/// How a systemd container is told to find its groups on cgroup v1, which on v2 keeps it from starting.
const READ_ONLY_GROUPS: &str = "/sys/fs/cgroup:/sys/fs/cgroup:ro";

const READ_ONLY_GROUPS_ADVICE: &str = "The template starts its container with -v \
    /sys/fs/cgroup:/sys/fs/cgroup:ro. That works on cgroup v1 nodes only; on this cgroup v2 node systemd stops with \
    'Read-only file system'. Drop the volume and use --privileged --cgroupns=private --tmpfs /run --tmpfs /run/lock.";

/// The advice on a template, or on a molecule scenario, that mounts control groups read-only; `None` where it does
/// not, or where the node allows it.
pub(crate) fn on_groups(context: &Context, text: &str) -> Option<&'static str> {
    let mode = Marker::read(&context.places.marker()).ok()?.mode;
    of_mode(mode, text)
}

fn of_mode(mode: Mode, text: &str) -> Option<&'static str> {
    // As one argument, as two of a list, or as a volume of molecule.
    (mode == Mode::V2 && text.contains(READ_ONLY_GROUPS)).then_some(READ_ONLY_GROUPS_ADVICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_mount_of_groups_is_seen() {
        for (text, expected) in [
            (r#"run_command = ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro"]"#, true),
            ("volumes:\n  - /sys/fs/cgroup:/sys/fs/cgroup:ro\n", true),
            ("volumes:\n  - /sys/fs/cgroup:/sys/fs/cgroup:rw\n", false),
        ] {
            assert_eq!(of_mode(Mode::V2, text).is_some(), expected, "{text}");
            assert_eq!(of_mode(Mode::V1, text), None, "{text}");
        }
        let advice = of_mode(Mode::V2, READ_ONLY_GROUPS).unwrap();
        assert!(advice.starts_with("The template starts its container with -v"), "{advice}");
    }
}
