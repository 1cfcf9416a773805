//! `imagechain runner hypervisor`, which programs of the user take for qemu. A shell is in the place of qemu.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The hypervisor, and what it starts.
struct Started {
    folder: TempDir,
    program: Child,
    /// Both write to it: it ends with both of them.
    output: BufReader<ChildStdout>,
}

impl Started {
    /// Has a shell run a line in place of qemu.
    fn new(line: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, machines] = ["path", "machines"].map(|name| folder.path().join(name));
        for folder in [&path, &machines] {
            fs::create_dir(folder).expect("a folder");
        }
        symlink("/bin/sh", path.join("qemu-system-x86_64")).expect("a link");
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagechain"));
        command.args(["runner", "hypervisor", "--programs=/nonexistent", "--memory=64", "--machines"]).arg(machines);
        command.args(["--", "-c", line]).env("PATH", path).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = command.spawn().expect("the program");
        let output = BufReader::new(program.stdout.take().expect("its output"));
        Self { folder, program, output }
    }

    /// One that runs until it is killed. The answer has what stands in its place, too.
    fn running() -> (Self, Pid) {
        let mut started = Self::new("echo $$; exec /bin/sleep 1000");
        let mut line = String::new();
        started.output.read_line(&mut line).expect("a line");
        let qemu = line.trim().parse().ok().and_then(Pid::from_raw).expect("its number");
        (started, qemu)
    }

    /// How it ends, with all that it has started, and what is noted of that.
    fn end(mut self) -> (ExitStatus, Option<String>) {
        let status = self.program.wait().expect("its end");
        self.output.read_to_end(&mut Vec::new()).expect("the end of all");
        (status, fs::read_to_string(self.note()).ok())
    }

    fn note(&self) -> PathBuf {
        self.folder.path().join("machines/1/death")
    }
}

fn kill(process: Pid, signal: Signal) {
    kill_process(process, signal).expect("a process");
}

#[test]
fn it_ends_as_qemu_does() {
    for (line, code) in [("exit 0", 0), ("exit 3", 3), ("kill -SEGV $$", 139)] {
        let (status, noted) = Started::new(line).end();
        assert_eq!((status.code(), noted), (Some(code), None), "{line}");
    }
}

#[test]
fn it_is_noted_that_somebody_killed_qemu() {
    let (started, qemu) = Started::running();
    kill(qemu, Signal::KILL);
    let (status, noted) = started.end();
    assert_eq!((status.code(), noted.as_deref()), (Some(137), Some("9")));
}

/// As packer does when the connection to its machine is lost: it may come before anybody knows that qemu has ended.
#[test]
fn it_is_noted_though_packer_ends_its_machine_then() {
    for _ in 0..20 {
        let (started, qemu) = Started::running();
        kill(qemu, Signal::KILL);
        kill(Pid::from_child(&started.program), Signal::KILL);
        let (_, noted) = started.end();
        assert_eq!(noted.as_deref(), Some("9"));
    }
}

/// As packer ends a machine: that is no news.
#[test]
fn qemu_is_killed_with_it() {
    let (started, _) = Started::running();
    kill(Pid::from_child(&started.program), Signal::KILL);
    let (status, noted) = started.end();
    assert_eq!((status.signal(), noted), (Some(9), None));
}

#[test]
fn qemu_is_asked_to_end_with_it() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (started, _) = Started::running();
        kill(Pid::from_child(&started.program), signal);
        let (status, noted) = started.end();
        assert_eq!((status.code(), noted), (Some(128 + signal.as_raw()), None), "{signal:?}");
    }
}
