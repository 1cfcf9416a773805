//! Read-only mounts of control groups, by which templates and scenarios for cgroup v1 let systemd find its groups: where
//! they work, how, and what to say where they do not.

use super::{info::Versions, marker::Mode};

/// How a template or a scenario writes the mount: as one argument, as two of a list, or as a volume of molecule.
const READ_ONLY_GROUPS: &str = "/sys/fs/cgroup:/sys/fs/cgroup:ro";

/// The last version of docker's API in which a read-only mount leaves writable what is mounted below it, as the groups
/// of v1 are: from the next one on (docker 25) it is read-only to the depth, and systemd makes no group.
const BEFORE_RECURSIVE: Api = (1, 43);
const BEFORE_RECURSIVE_NAME: &str = "1.43";

const ON_V2: &str = "The container is started with -v /sys/fs/cgroup:/sys/fs/cgroup:ro, which works on cgroup v1 nodes \
    only: on this cgroup v2 node systemd stops with 'Read-only file system'. Drop the volume and use --privileged \
    --cgroupns=private --tmpfs /run --tmpfs /run/lock, which works on both.";
const ON_V1: &str = "The container is started with -v /sys/fs/cgroup:/sys/fs/cgroup:ro, and this engine speaks no \
    version of docker's API in which that leaves systemd its groups (1.43 or earlier): systemd stops with 'Read-only \
    file system'. Drop the volume and use --privileged --cgroupns=private --tmpfs /run --tmpfs /run/lock, or an engine \
    image with docker 28 or earlier.";

/// A version of docker's API.
type Api = (u32, u32);

/// What becomes of read-only mounts of control groups in an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadOnlyGroups {
    /// The version of the API that the user's programs must use for them to work.
    pub(super) api_version: Option<&'static str>,
    /// What to say where they do not work.
    advice: Option<&'static str>,
}

impl ReadOnlyGroups {
    /// Those of an engine on a node.
    pub(super) fn of(mode: Mode, engine: &Versions) -> Self {
        let speaks_later = number(&engine.api_version) > Some(BEFORE_RECURSIVE);
        let speaks_earlier = number(&engine.min_api_version) <= Some(BEFORE_RECURSIVE);
        match mode {
            Mode::V2 => Self { api_version: None, advice: Some(ON_V2) },
            Mode::V1 if !speaks_later => Self::default(),
            Mode::V1 if speaks_earlier => Self { api_version: Some(BEFORE_RECURSIVE_NAME), advice: None },
            Mode::V1 => Self { api_version: None, advice: Some(ON_V1) },
        }
    }

    /// The advice on a template, or on a molecule scenario; `None` where it has no such mount, or where that works.
    pub(super) fn advice(&self, text: &str) -> Option<&'static str> {
        self.advice.filter(|_| text.contains(READ_ONLY_GROUPS))
    }
}

fn number(version: &str) -> Option<Api> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mode: Mode, api: &str, least: &str) -> ReadOnlyGroups {
        let versions = Versions { api_version: api.to_owned(), min_api_version: least.to_owned() };
        ReadOnlyGroups::of(mode, &versions)
    }

    #[test]
    fn on_v1_programs_use_the_api_in_which_the_mount_works() {
        for (what, api, least, expected) in [
            ("docker 20.10, as Debian 12 has it", "1.41", "1.12", None),
            ("docker 24", "1.43", "1.12", None),
            ("docker 26.1, as Debian 13 has it", "1.45", "1.24", Some("1.43")),
            ("docker 28", "1.51", "1.24", Some("1.43")),
            ("docker 29", "1.52", "1.44", None),
        ] {
            assert_eq!(of(Mode::V1, api, least).api_version, expected, "{what}");
            assert_eq!(of(Mode::V2, api, least).api_version, None, "{what}");
        }
    }

    #[test]
    fn a_read_only_mount_of_groups_is_seen() {
        let (v1, v2) = (of(Mode::V1, "1.45", "1.24"), of(Mode::V2, "1.45", "1.24"));
        for (text, expected) in [
            (r#"run_command = ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro"]"#, true),
            ("volumes:\n  - /sys/fs/cgroup:/sys/fs/cgroup:ro\n", true),
            ("volumes:\n  - /sys/fs/cgroup:/sys/fs/cgroup:rw\n", false),
        ] {
            assert_eq!(v2.advice(text).is_some(), expected, "{text}");
            assert_eq!(v1.advice(text), None, "{text}");
            assert_eq!(of(Mode::V1, "1.52", "1.44").advice(text).is_some(), expected, "{text}");
        }
    }
}
