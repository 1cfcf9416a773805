//! What control groups a process is in, read from the kernel's files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What the engine keeps of its memory limit for itself, in bytes: the kernel must never look above the
/// containers' own group when they need too much.
pub(super) const MEMORY_RESERVE: u64 = 256 << 20;
/// What it keeps of the limit of processes: a program in Go that cannot make a thread ends.
pub(super) const PIDS_RESERVE: u64 = 128;

/// What the smallest process takes of memory, in bytes; measured: 199 KiB for a `sleep`. More than fit into the
/// containers' memory are not allowed, whatever the node allows: a kubelet gives all pods together the processes that
/// the machine can have, tens of thousands, and a pod none of its own. A fork bomb would end at the limit of memory,
/// and the kernel end processes of other containers too.
const LEAST_PROCESS: u64 = 256 << 10;

/// How a node has its control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// Version 1, or both: the controllers that matter are those of version 1.
    V1,
    /// Version 2, with the path of our group.
    V2(String),
}

/// Reads `/proc/self/cgroup`; `None` where it says nothing that we know.
pub(super) fn hierarchy(text: &str) -> Option<Hierarchy> {
    let is_v1 = |line: &str| {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        controllers.split(',').any(|controller| matches!(controller, "memory" | "pids"))
    };
    if text.lines().any(is_v1) {
        return Some(Hierarchy::V1);
    }
    text.lines().find_map(|line| line.strip_prefix("0::")).map(|path| Hierarchy::V2(path.to_owned()))
}

/// The smallest limit of a group and of those above it, up to the mount: seen from inside a namespace, what
/// is above is not there any more.
pub(super) fn smallest(mount: &Path, group: &Path, file: &str) -> Option<u64> {
    let groups = group.ancestors().take_while(|each| *each != mount && each.starts_with(mount));
    groups.filter_map(|each| fs::read_to_string(each.join(file)).ok()?.trim().parse().ok()).min()
}

/// What is left for containers of a limit.
///
/// # Errors
/// The limit is too small.
pub(super) fn inner(total: u64, reserve: u64, file: &str) -> Result<u64, String> {
    if total < 2 * reserve {
        return Err(format!("limit too small: {file} is {total}, and the engine needs {} and more", 2 * reserve));
    }
    Ok(total - reserve)
}

/// How many processes containers may have together, by what the engine may have and what they may have of memory.
///
/// # Errors
/// The limit is too small.
pub(super) fn processes(limit: Option<u64>, memory: u64) -> Result<u64, String> {
    let left = limit.map_or(Ok(u64::MAX), |total| inner(total, PIDS_RESERVE, "pids.max"))?;
    Ok(left.min(memory / LEAST_PROCESS))
}

/// Whether a group holds a process.
pub(super) fn holds(group: &Path, pid: u32) -> bool {
    fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| text.lines().any(|line| line == pid.to_string()))
}

/// Writes a value into a file of the kernel's, which is there or is not.
pub(super) fn put(file: &Path, value: &str) -> io::Result<()> {
    use io::Write;
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

/// The folder of our group.
///
/// # Errors
/// It is none that could be made a tree of our own.
pub(super) fn own(mount: &Path, path: &str, pid: u32) -> Result<PathBuf, String> {
    if path.starts_with("/..") {
        return Err(format!("own cgroup {path} lies outside the visible cgroup namespace"));
    }
    let group = mount.join(path.trim_start_matches('/'));
    let Ok(kind) = fs::read_to_string(group.join("cgroup.type")) else {
        return Err("this process is in the machine's root cgroup".to_owned());
    };
    if kind.trim() != "domain" {
        return Err(format!("{} is of the type {}, not domain", group.display(), kind.trim()));
    }
    if !holds(&group, pid) {
        return Err(format!("{} does not hold this process", group.display()));
    }
    Ok(group)
}

/// Whether the node's mount of version 2 was made with `nsdelegate`, by `/proc/self/mountinfo`.
pub(super) fn has_nsdelegate(mountinfo: &str) -> bool {
    let options = |line: &str| {
        let (_, filesystem) = line.split_once(" - ")?;
        let mut fields = filesystem.split(' ');
        (fields.next() == Some("cgroup2"))
            .then(|| fields.nth(1).is_some_and(|all| all.split(',').any(|o| o == "nsdelegate")))
    };
    mountinfo.lines().find_map(options).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_controllers() {
        let v2 = |path: &str| Some(Hierarchy::V2(path.to_owned()));
        for (text, expected) in [
            (
                "0::/kubepods.slice/pod1.slice/cri-containerd-1.scope\n",
                v2("/kubepods.slice/pod1.slice/cri-containerd-1.scope"),
            ),
            ("0::/\n", v2("/")),
            ("0::/../other\n", v2("/../other")),
            // A hybrid node: what is there of version 2 has no controllers.
            ("12:pids:/a\n11:cpu,cpuacct:/a\n3:memory:/a\n1:name=systemd:/a\n0::/a\n", Some(Hierarchy::V1)),
            ("5:cpu,memory:/a\n", Some(Hierarchy::V1)),
            ("1:name=systemd:/a\n0::/a\n", v2("/a")),
            ("1:name=memory-like:/a\n", None),
            ("", None),
        ] {
            assert_eq!(hierarchy(text), expected, "{text}");
        }
    }

    #[test]
    fn nsdelegate_is_an_option_of_the_file_system() {
        let line = |options: &str| format!("30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 {options}\n");
        let before = "24 1 0:22 / /sys rw,nosuid - sysfs sysfs rw\n";
        for (text, expected) in [
            (format!("{before}{}", line("rw,nsdelegate,memory_recursiveprot")), true),
            (format!("{before}{}", line("rw,memory_recursiveprot")), false),
            ("30 24 0:26 / /x rw - tmpfs cgroup2 rw,nsdelegate\n".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(has_nsdelegate(&text), expected, "{text}");
        }
    }

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = mount.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        mount
    }

    #[test]
    fn the_smallest_limit_counts_wherever_it_is() {
        let mount = tree(&[
            ("memory.max", "1"),
            ("pod/memory.max", "800\n"),
            ("pod/one/memory.max", "max\n"),
            ("pod/one/pids.max", "300\n"),
            ("pod/pids.max", "max\n"),
        ]);
        let least = |group: &str, file| smallest(mount.path(), &mount.path().join(group), file);
        assert_eq!(least("pod/one", "memory.max"), Some(800));
        assert_eq!(least("pod/one", "pids.max"), Some(300));
        assert_eq!(least("pod", "pids.max"), None);
        // The mount itself is not asked: its limits are nobody's.
        assert_eq!(least("", "memory.max"), None);
    }

    #[test]
    fn a_limit_must_leave_something() {
        assert_eq!(inner(700 << 20, MEMORY_RESERVE, "memory.max"), Ok(444 << 20));
        assert_eq!(inner(512 << 20, MEMORY_RESERVE, "memory.max"), Ok(256 << 20));
        assert!(inner((512 << 20) - 1, MEMORY_RESERVE, "memory.max").unwrap_err().starts_with("limit too small"));
    }

    #[test]
    fn processes_are_bounded_by_memory_too() {
        assert_eq!(processes(None, 512 << 20), Ok(2048));
        // All pods of a node together, and a pod with a limit of its own.
        assert_eq!(processes(Some(63444), 512 << 20), Ok(2048));
        assert_eq!(processes(Some(300), 512 << 20), Ok(172));
        assert!(processes(Some(255), 512 << 20).unwrap_err().starts_with("limit too small"));
    }

    #[test]
    fn our_group_must_be_ours() {
        let mount = tree(&[
            ("cgroup.procs", "1\n"),
            ("good/cgroup.type", "domain\n"),
            ("good/cgroup.procs", "17\n42\n"),
            ("threads/cgroup.type", "threaded\n"),
            ("threads/cgroup.procs", "42\n"),
        ]);
        let see = |path| own(mount.path(), path, 42).map_err(|why| why.replace(mount.path().to_str().unwrap(), "M"));
        assert_eq!(see("/good"), Ok(mount.path().join("good")));
        assert_eq!(see("/../good").unwrap_err(), "own cgroup /../good lies outside the visible cgroup namespace");
        assert_eq!(see("/").unwrap_err(), "this process is in the machine's root cgroup");
        assert_eq!(see("/threads").unwrap_err(), "M/threads is of the type threaded, not domain");
        let other = own(mount.path(), "/good", 7).unwrap_err();
        assert!(other.ends_with("does not hold this process"), "{other}");
    }
}
