//! The stage `source` as a pod runs it, with a real git server.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::ExitCode,
    sync::LazyLock,
};

use imagechain::{
    api::{
        build::{self, Stage},
        condition::Reason,
    },
    outcome::report::parse,
    plan::observed::Report,
    runner::{places::Places, run},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    images::Pusher,
    servers::{Servers, Worktree, git},
};

/// One for all tests, each with repositories of its own.
static SERVERS: LazyLock<Servers> = LazyLock::new(Servers::start);

/// A container's files.
struct Container {
    folder: TempDir,
    places: Places,
}

impl Container {
    fn new(source: &Value, revision: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let places = Places::below(folder.path());
        for file in [&places.job, &places.program, &places.termination] {
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        }
        fs::create_dir_all(&places.workspace).expect("a folder");
        let made = Self { folder, places };
        made.give(&job(source, revision));
        made
    }

    fn give(&self, job: &Value) {
        fs::write(&self.places.job, job.to_string()).expect("a file");
    }

    /// Runs the stage; whether it ended well, and what it said.
    fn source(&self) -> (bool, Report) {
        let code = run(build::Container::Source, &self.places);
        let text = fs::read_to_string(&self.places.termination).expect("a report");
        (code == ExitCode::SUCCESS, parse(Stage::Source, &text).expect("a report"))
    }

    fn failure(&self) -> (Reason, String, Option<String>) {
        let (good, report) = self.source();
        let failure = report.failure.expect("a failure");
        assert!(!good, "{failure:?}");
        (failure.reason, failure.message, failure.missing.map(|missing| missing.to_string()))
    }
}

fn job(source: &Value, revision: &str) -> Value {
    json!({
        "format": 2, "build": "web", "attempt": 1, "source": source, "revision": revision, "files": "",
        "steps": {
            "build": {"packer": {"template": "a.json", "variables": {}, "variableFiles": [], "only": [], "except": []}},
            "verify": [],
        },
        "engine": "Docker", "image": "imagechain.local/web:1", "staging": {"repository": "r.example/a", "tag": "1"},
        "registry": {"platform": "linux/amd64", "mirrors": {}, "insecure": []},
        "timeouts": {"source": 60, "build": 60, "verify": 60, "publish": 60},
    })
}

fn pushed(name: &str) -> (String, Worktree) {
    let url = format!("{}/runner-{name}.git", SERVERS.git());
    let work = Worktree::new(&url);
    (url, work)
}

fn of_git(url: &str, directory: Option<&str>) -> Value {
    let mut source = json!({"git": {"url": url, "written": "main"}});
    if let Some(directory) = directory {
        source["git"]["directory"] = json!(directory);
    }
    source
}

#[test]
fn a_commit_is_fetched_with_its_files_and_the_program_is_there() {
    let (url, work) = pushed("files");
    let commit = work.commit(&[("images/packer/web.json", "{}"), ("top", "1")]);
    work.push(&["main"]);
    // What comes later is not what was asked for.
    work.commit(&[("top", "2")]);
    work.push(&["main"]);
    let container = Container::new(&of_git(&url, Some("images")), &commit);
    let (good, report) = container.source();
    assert!(good, "{report:?}");
    let source = container.places.source();
    assert_eq!(fs::read_to_string(source.join("images/packer/web.json")).unwrap(), "{}");
    assert_eq!(fs::read_to_string(source.join("top")).unwrap(), "1");
    assert_eq!(git(&source, &["rev-parse", "HEAD"]), commit);
    assert_eq!(git(&source, &["status", "--porcelain"]), "");
    assert_eq!(git(&source, &["rev-list", "--count", "HEAD"]), "1");
    // Templates that copy the source into an image copy no repository, and git finds it all the same.
    assert!(!source.join(".git").exists());
    assert_eq!(git(&source.join("images"), &["rev-parse", "--show-toplevel"]), source.to_string_lossy());
    let program = fs::metadata(&container.places.program).unwrap();
    assert_eq!(program.permissions().mode() & 0o777, 0o755);
    assert_eq!(program.len(), fs::metadata("/proc/self/exe").unwrap().len());
    let left: Vec<_> = fs::read_dir(container.places.temporary()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_stage_runs_once() {
    let (url, work) = pushed("once");
    let commit = work.commit(&[("top", "1")]);
    work.push(&["main"]);
    let container = Container::new(&of_git(&url, None), &commit);
    let first = container.source();
    // The kubelet starts a container again whose end it did not see.
    fs::remove_file(&container.places.termination).unwrap();
    assert_eq!(container.source(), first);
    // Of one that was cut off nobody knows what it did.
    fs::remove_file(container.places.state().join("source.json")).unwrap();
    let (reason, message, _) = container.failure();
    assert_eq!(reason, Reason::StageInterrupted, "{message}");
}

#[test]
fn a_commit_that_is_gone_is_waited_for() {
    let (url, work) = pushed("gone");
    work.commit(&[("top", "1")]);
    work.push(&["main"]);
    let container = Container::new(&of_git(&url, None), &"0".repeat(40));
    let (reason, message, lacked) = container.failure();
    assert_eq!(reason, Reason::RevisionNotFound, "{message}");
    assert_eq!(lacked, Some(format!("git/{url}#main")));
}

#[test]
fn links_of_a_root_file_system_are_left_as_they_are() {
    let (url, work) = pushed("links");
    work.commit(&[("rootfs/lib/systemd/system/app.service", "[Service]")]);
    let top = work.git(&["rev-parse", "--show-toplevel"]);
    fs::create_dir_all(format!("{top}/rootfs/etc/systemd/system/multi-user.target.wants")).unwrap();
    let wants = "rootfs/etc/systemd/system/multi-user.target.wants/app.service";
    for (path, target) in [
        (wants, "/lib/systemd/system/app.service"),
        ("rootfs/etc/localtime", "/usr/share/zoneinfo/UTC"),
        ("rootfs/etc/nothing", "/nowhere"),
        ("home", "../../home/somebody"),
    ] {
        symlink(target, format!("{top}/{path}")).unwrap();
    }
    let commit = work.commit(&[]);
    work.push(&["main"]);
    let container = Container::new(&of_git(&url, None), &commit);
    let (good, report) = container.source();
    assert!(good, "{report:?}");
    let link = fs::read_link(container.places.source().join(wants)).unwrap();
    assert_eq!(link.to_str(), Some("/lib/systemd/system/app.service"));
}

/// A small file of a real server, by HTTP.
fn served(content: &[u8]) -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pushed = runtime.block_on(Pusher::new(SERVERS.registry(), "runner", None).blob(content));
    let digest = pushed["digest"].as_str().expect("a digest").to_owned();
    let url = format!("http://{}/v2/runner/blobs/{digest}", SERVERS.registry());
    (url, digest.trim_start_matches("sha256:").to_owned())
}

#[test]
fn files_of_other_servers_are_fetched_beside_the_source() {
    let (url, work) = pushed("fetch");
    let commit = work.commit(&[("a.json", "{}")]);
    work.push(&["main"]);
    let (iso, sha256) = served(b"the image of an installer");
    let container = Container::new(&of_git(&url, None), &commit);
    let mut job = job(&of_git(&url, None), &commit);
    job["fetch"] = json!([
        {"url": iso, "sha256": sha256, "path": "files/iso"},
        {"url": iso, "sha256": sha256, "path": "parent/box"},
    ]);
    container.give(&job);
    let (good, report) = container.source();
    assert!(good, "{report:?}");
    for path in ["files/iso", "parent/box"] {
        let found = fs::read(container.places.workspace.join(path)).unwrap();
        assert_eq!(found, b"the image of an installer", "{path}");
    }
    assert!(!container.places.source().join("files").exists());
    job["fetch"] = json!([{"url": iso, "sha256": "0".repeat(64), "path": "files/iso"}]);
    let container = Container::new(&of_git(&url, None), &commit);
    container.give(&job);
    let (reason, message, _) = container.failure();
    assert_eq!(reason, Reason::FileUnavailable, "{message}");
    assert!(!container.places.workspace.join("files/iso").exists());
}

#[test]
fn a_folder_that_is_a_link_out_of_the_source_is_refused() {
    let (url, work) = pushed("outside");
    work.commit(&[("a", "1")]);
    let top = work.git(&["rev-parse", "--show-toplevel"]);
    symlink("/etc", format!("{top}/folder")).unwrap();
    let commit = work.commit(&[]);
    work.push(&["main"]);
    let (reason, message, _) = Container::new(&of_git(&url, Some("folder")), &commit).failure();
    assert_eq!(reason, Reason::PathEscapesSource);
    assert!(message.starts_with("folder leads out of the source, by the link folder to /etc"), "{message}");
}

#[test]
fn a_pointer_of_lfs_that_is_used_is_refused() {
    let (url, work) = pushed("lfs");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let commit =
        work.commit(&[("images/packer/big.bin", pointer), ("images/movie.bin", pointer), ("top.bin", pointer)]);
    work.push(&["main"]);
    // A job that names none uses all; one with an empty list, none.
    let used = |directory: Option<&str>, uses: Option<&[&str]>| {
        let container = Container::new(&of_git(&url, directory), &commit);
        let mut job = job(&of_git(&url, directory), &commit);
        if let Some(uses) = uses {
            job["uses"] = json!(uses);
        }
        container.give(&job);
        container
    };
    for (directory, uses, files) in [
        (None, None, "images/movie.bin, images/packer/big.bin, top.bin"),
        (Some("images"), None, "images/movie.bin, images/packer/big.bin"),
        (Some("images"), Some(&["packer"][..]), "images/packer/big.bin"),
        (None, Some(&["images/packer/big.bin", "absent"]), "images/packer/big.bin"),
    ] {
        let (reason, message, _) = used(directory, uses).failure();
        assert_eq!(reason, Reason::LfsNotFetched);
        assert!(message.contains(&format!("is not fetched: {files}. Commit")), "{message}");
    }
    for uses in [&["ansible"][..], &[]] {
        let (good, report) = used(Some("images"), Some(uses)).source();
        assert!(good, "{report:?}");
    }
}

#[test]
fn a_folder_in_a_submodule_is_told_as_such() {
    let (url, work) = pushed("submodule");
    let commit =
        work.commit(&[(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = https://git.example/lib\n")]);
    work.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")]);
    work.git(&["commit", "--quiet", "--message", "a submodule"]);
    work.push(&["main"]);
    let commit = work.git(&["rev-parse", "HEAD"]);
    let (reason, message, _) = Container::new(&of_git(&url, Some("lib/packer")), &commit).failure();
    assert_eq!(reason, Reason::SubmoduleNotFetched);
    assert!(message.starts_with("«lib/packer» is in a submodule («lib»), and these are not fetched"), "{message}");
}

#[test]
fn a_stage_ends_in_time() {
    let (url, work) = pushed("slow");
    let commit = work.commit(&[("a", "1")]);
    work.push(&["main"]);
    let mut job = job(&of_git(&url, None), &commit);
    job["timeouts"]["source"] = json!(0);
    let container = Container::new(&json!({}), "");
    container.give(&job);
    let (reason, message, _) = container.failure();
    assert_eq!(
        (reason, message.as_str()),
        (Reason::TransferTimeout, "fetching the source took longer than 0 s: the stage was ended")
    );
}

#[test]
fn a_job_of_another_version_is_refused() {
    let container = Container::new(&json!({}), "");
    container.give(&json!({"format": 1}));
    let (reason, message, _) = container.failure();
    assert_eq!(reason, Reason::SpecInvalid);
    assert!(message.contains("operator and runner must be of the same version"), "{message}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let (url, work) = pushed("folder");
    let commit = work.commit(&[("a", "1")]);
    work.push(&["main"]);
    let (reason, message, _) = Container::new(&of_git(&url, Some("b")), &commit).failure();
    assert_eq!(
        (reason, message.as_str()),
        (Reason::SourceRejected, "the source has no folder b: correct source.git.directory")
    );
}

#[test]
fn files_of_the_build_itself_are_written() {
    let list = tempfile::NamedTempFile::new().unwrap();
    // "text" in base 64.
    fs::write(list.path(), json!({"packer/web.json": "dGV4dA=="}).to_string()).unwrap();
    let container = Container::new(&json!({"files": list.path()}), "hash");
    assert!(container.source().0);
    assert_eq!(fs::read_to_string(container.places.source().join("packer/web.json")).unwrap(), "text");
    assert!(container.folder.path().exists());
}
