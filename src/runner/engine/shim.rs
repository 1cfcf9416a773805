//! A tree of control groups of the engine's own. On version 2, a privileged container sees the node's whole
//! tree, and plain dockerd puts containers beside the pod: outside of its limits, and left there for ever.
//!
//! The order of the steps is everything: limits before the namespace, the namespace before the mount and
//! before the move. docs/development.md says what each of them prevents.

use std::{fs, io, path::Path, process, thread, time::Duration};

use rustix::{
    fs::statfs,
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
};

use super::{
    cgroup::{self, Hierarchy, MEMORY_RESERVE, put},
    marker::{Marker, Mode},
    unshare::unshare,
};

const MOUNT: &str = "/sys/fs/cgroup";
/// The magic number of the file system cgroup2.
const CGROUP2: i64 = 0x6367_7270;
/// Where the engine itself sits.
const LEAF: &str = "engine";
/// Docker's default parent of containers.
const PARENT: &str = "docker";

/// What is set before the namespace: with nsdelegate, its root cannot be written from inside. A systemd
/// container has 11 groups.
const LIMITS: [(&str, &str); 3] =
    [("cgroup.max.descendants", "2000"), ("cgroup.max.depth", "16"), ("memory.oom.group", "0")];
const NEEDED: [&str; 2] = ["memory", "pids"];
const BUSY: (u32, Duration) = (100, Duration::from_millis(20));

/// A step and what went wrong with it.
type Failed = (&'static str, String);

/// Makes the tree where the node needs it, and says what came out. It must be the first process of its
/// container, with one thread.
///
/// # Errors
/// Why no engine may be started here.
pub(super) fn enter() -> Result<Marker, String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match cgroup::hierarchy(&text) {
        Some(Hierarchy::V1) if Path::new(MOUNT).join("memory").is_dir() => Ok(Marker::new(Mode::V1)),
        Some(Hierarchy::V1) => Err(format!(
            "This node uses cgroup v1, and the container has no {MOUNT}/memory, without which docker does not \
             start. The profile's engine container must be privileged."
        )),
        Some(Hierarchy::V2(path)) => second(&path).map_err(|(step, why)| refusal(step, &why)),
        None => Err("/proc/self/cgroup names no cgroup: the engine was not started.".to_owned()),
    }
}

fn refusal(step: &str, why: &str) -> String {
    format!(
        "This node uses cgroup v2 and the engine could not get its own cgroup tree ({step}: {why}). Inner containers \
         would escape the pod's limits, so the engine was not started. The profile's engine container must be \
         privileged."
    )
}

fn second(path: &str) -> Result<Marker, Failed> {
    let kind = statfs(MOUNT).map_err(|error| ("statfs", error.to_string()))?.f_type;
    if kind != CGROUP2 {
        return Err(("statfs", format!("{MOUNT} is no cgroup2 mount (type {kind:#x})")));
    }
    let group = cgroup::own(Path::new(MOUNT), path, process::id()).map_err(|why| ("own cgroup", why))?;
    let inner = Inner::of(&group)?;
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    limit(&group);
    namespaces()?;
    remount()?;
    leaf(Path::new(MOUNT))?;
    controllers(Path::new(MOUNT))?;
    inner.apply(&Path::new(MOUNT).join(PARENT))?;
    Ok(Marker {
        cgroup: Some(path.to_owned()),
        memory: Some(inner.memory),
        pids: Some(inner.pids),
        nsdelegate: cgroup::has_nsdelegate(&mountinfo),
        ..Marker::new(Mode::V2)
    })
}

/// What containers may have together.
struct Inner {
    memory: u64,
    pids: u64,
}

impl Inner {
    fn of(group: &Path) -> Result<Self, Failed> {
        let least = |file| cgroup::smallest(Path::new(MOUNT), group, file);
        let total =
            least("memory.max").ok_or(("memory.max", "neither the container nor its pod has a limit".to_owned()))?;
        let memory = cgroup::inner(total, MEMORY_RESERVE, "memory.max").map_err(|why| ("memory.max", why))?;
        let pids = cgroup::processes(least("pids.max"), memory).map_err(|why| ("pids.max", why))?;
        Ok(Self { memory, pids })
    }

    /// Less than the engine has: an OOM or a fork bomb below never reaches it.
    fn apply(&self, parent: &Path) -> Result<(), Failed> {
        make(parent).map_err(|error| ("mkdir docker", error.to_string()))?;
        let set =
            |file, value: u64| put(&parent.join(file), &value.to_string()).map_err(|error| (file, error.to_string()));
        set("memory.max", self.memory)?;
        set("pids.max", self.pids)
    }
}

fn limit(group: &Path) {
    for (file, value) in LIMITS {
        warn(file, put(&group.join(file), value));
    }
    warn("oom_score_adj", put(Path::new("/proc/self/oom_score_adj"), "0"));
}

fn namespaces() -> Result<(), Failed> {
    unshare().map_err(|error| ("unshare", name(error)))?;
    // Nothing of ours may reach the node by a volume that is mounted both ways.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)
        .map_err(|error| ("make / a slave", name(error)))?;
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match cgroup::hierarchy(&text) {
        Some(Hierarchy::V2(path)) if path == "/" => Ok(()),
        _ => Err(("unshare", "the cgroup namespace is not ours afterwards".to_owned())),
    }
}

/// Never with options: in the first namespace of a node they would be set for the whole node.
fn remount() -> Result<(), Failed> {
    warn("umount", unmount(MOUNT, UnmountFlags::DETACH).map_err(Into::into));
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("cgroup2", MOUNT, "cgroup2", flags, None).map_err(|error| ("mount cgroup2", name(error)))?;
    let root = Path::new(MOUNT);
    if cgroup::holds(root, process::id()) && root.join("cgroup.type").exists() {
        return Ok(());
    }
    Err(("mount cgroup2", format!("{MOUNT} does not show our own cgroup afterwards")))
}

/// A group that hands controllers down may hold no process itself.
fn leaf(root: &Path) -> Result<(), Failed> {
    let leaf = root.join(LEAF);
    make(&leaf).map_err(|error| ("mkdir engine", error.to_string()))?;
    put(&leaf.join("cgroup.procs"), &process::id().to_string()).map_err(|error| ("enter engine", error.to_string()))
}

fn controllers(root: &Path) -> Result<(), Failed> {
    let there = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    if let Some(lacking) = NEEDED.into_iter().find(|needed| !there.split_whitespace().any(|each| each == *needed)) {
        return Err(("cgroup.controllers", format!("{lacking} is not among {}", there.trim())));
    }
    for controller in there.split_whitespace() {
        match hand_down(root, controller) {
            Err(error) if NEEDED.contains(&controller) => {
                return Err(("cgroup.subtree_control", format!("+{controller}: {error}")));
            }
            done => warn(controller, done),
        }
    }
    Ok(())
}

/// A probe may have come into the root meanwhile: it goes into the leaf.
fn hand_down(root: &Path, controller: &str) -> io::Result<()> {
    let (tries, pause) = BUSY;
    for _ in 1..tries {
        match put(&root.join("cgroup.subtree_control"), &format!("+{controller}")) {
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                sweep(root);
                thread::sleep(pause);
            }
            done => return done,
        }
    }
    put(&root.join("cgroup.subtree_control"), &format!("+{controller}"))
}

fn sweep(root: &Path) {
    let processes = fs::read_to_string(root.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process of an outer PID namespace; to write it would move the writer.
    for process in processes.lines().filter(|process| *process != "0") {
        let _ = put(&root.join(LEAF).join("cgroup.procs"), process);
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn warn(what: &str, done: io::Result<()>) {
    if let Err(error) = done {
        eprintln!("imagechain: warning: {what}: {error}");
    }
}

/// The name that people search for: `EPERM`, and what it means.
fn name(error: Errno) -> String {
    let name = match error {
        Errno::PERM => "EPERM, ",
        Errno::ACCESS => "EACCES, ",
        Errno::BUSY => "EBUSY, ",
        Errno::INVAL => "EINVAL, ",
        Errno::ROFS => "EROFS, ",
        _ => "",
    };
    format!("{name}{error}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_refusal_says_what_and_what_to_do() {
        let text = refusal("unshare", &name(Errno::PERM));
        assert_eq!(
            text,
            "This node uses cgroup v2 and the engine could not get its own cgroup tree (unshare: EPERM, Operation not \
             permitted (os error 1)). Inner containers would escape the pod's limits, so the engine was not started. \
             The profile's engine container must be privileged."
        );
    }

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let path = folder.path().to_owned();
        (folder, path)
    }

    #[test]
    fn controllers_that_are_needed_must_be_there() {
        let (_folder, path) = root(&[("cgroup.controllers", "cpu memory\n"), ("cgroup.subtree_control", "")]);
        assert_eq!(controllers(&path).unwrap_err(), ("cgroup.controllers", "pids is not among cpu memory".to_owned()));
        let (_folder, path) = root(&[("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "")]);
        assert_eq!(controllers(&path), Ok(()));
        // A file that is none of the kernel's keeps what was written first behind what is shorter.
        assert!(fs::read_to_string(path.join("cgroup.subtree_control")).unwrap().starts_with("+pids"));
        let (_folder, path) = root(&[("cgroup.controllers", "cpu memory pids\n")]);
        assert!(controllers(&path).unwrap_err().1.starts_with("+memory: No such file"));
    }

    #[test]
    fn the_parent_of_containers_has_less_than_the_engine() {
        let (_folder, path) = root(&[("docker/memory.max", "max"), ("docker/pids.max", "max")]);
        let inner = Inner { memory: 444, pids: 172 };
        inner.apply(&path.join("docker")).unwrap();
        assert_eq!(fs::read_to_string(path.join("docker/memory.max")).unwrap(), "444");
        assert_eq!(fs::read_to_string(path.join("docker/pids.max")).unwrap(), "172");
        let missing = inner.apply(&path.join("other")).unwrap_err();
        assert_eq!(missing.0, "memory.max");
    }

    #[test]
    fn processes_of_outer_namespaces_are_left_alone() {
        let (_folder, path) = root(&[("cgroup.procs", "0\n17\n0\n"), ("engine/cgroup.procs", "")]);
        sweep(&path);
        assert_eq!(fs::read_to_string(path.join("engine/cgroup.procs")).unwrap(), "17");
    }
}
