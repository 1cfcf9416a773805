//! Qemu as programs of the user find it: a script of the same name is first in their PATH, and starts this program in its
//! place, which starts itself once more. That one adjusts the command line, and attends the real qemu; both end as it
//! does.

use std::{
    env::{join_paths, split_paths},
    ffi::OsString,
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use super::{
    adjust::{Adjusted, Here, adjust, is_question},
    command::{Files, QEMU},
    supervise,
};

/// The most machines that one stage starts.
pub(super) const MOST: u32 = 1000;

/// A call of qemu by a program of the user.
#[derive(Clone, Debug)]
pub struct Hypervisor {
    /// The folder in which each machine gets one of its own.
    pub machines: PathBuf,
    /// The folder of the script, in which the real qemu is not.
    pub programs: PathBuf,
    /// Whether KVM works.
    pub kvm: bool,
    /// The memory that a machine may have, in MiB.
    pub memory: u64,
    /// The folders in which programs are looked for.
    pub path: OsString,
    /// The arguments of qemu.
    pub arguments: Vec<String>,
    /// Whether it attends the real qemu; otherwise it is in the place of qemu, and starts the one that does.
    pub attends: bool,
}

/// Runs the real qemu, and ends as it does.
#[must_use]
pub fn call(hypervisor: &Hypervisor) -> ExitCode {
    run(hypervisor).unwrap_or_else(|error| {
        // Programs show it as they show what qemu says.
        eprintln!("{QEMU}: {error}");
        ExitCode::FAILURE
    })
}

fn run(hypervisor: &Hypervisor) -> io::Result<ExitCode> {
    if is_question(&hypervisor.arguments) {
        return Err(found(hypervisor)?.args(&hypervisor.arguments).exec());
    }
    if !hypervisor.attends {
        return supervise::through(attendant(hypervisor));
    }
    let Machine { command, files } = machine(hypervisor)?;
    supervise::attend(command, &files.death, &files.present)
}

/// This program once more, which attends qemu.
fn attendant(hypervisor: &Hypervisor) -> Command {
    let Hypervisor { machines, programs, kvm, memory, path, arguments, .. } = hypervisor;
    let mut command = Command::new("/proc/self/exe");
    command.args(["runner", "hypervisor", "--attends", "--machines"]).arg(machines).arg("--programs").arg(programs);
    command.arg(format!("--memory={memory}")).args(kvm.then_some("--kvm")).arg("--").args(arguments);
    command.env("PATH", path);
    command
}

/// A machine that is to be started.
pub(super) struct Machine {
    /// The real qemu as it is to be.
    pub(super) command: Command,
    files: Files,
}

/// A machine of its own, as it is asked for.
pub(super) fn machine(hypervisor: &Hypervisor) -> io::Result<Machine> {
    let mut command = found(hypervisor)?;
    let files = Files::of(&folder(&hypervisor.machines)?);
    adjusted(hypervisor, &files, &mut command)?;
    Ok(Machine { command, files })
}

fn found(hypervisor: &Hypervisor) -> io::Result<Command> {
    let missing =
        "not found in the builder image: install it there, or name another image in the profile (images.builder)";
    real(hypervisor).map(Command::new).ok_or_else(|| io::Error::other(missing))
}

/// The first qemu that is not the script.
fn real(hypervisor: &Hypervisor) -> Option<PathBuf> {
    let folders = split_paths(&hypervisor.path).filter(|folder| *folder != hypervisor.programs);
    folders.map(|folder| folder.join(QEMU)).find(|file| file.is_file())
}

fn adjusted(hypervisor: &Hypervisor, files: &Files, command: &mut Command) -> io::Result<()> {
    let here = Here { kvm: hypervisor.kvm, memory: hypervisor.memory, console: &files.console, socket: &files.socket };
    let Adjusted { arguments, changes } = adjust(&hypervisor.arguments, &here);
    for change in &changes {
        eprintln!("imagechain: qemu: {change}");
    }
    // Packer keeps to itself what qemu says.
    fs::write(&files.changes, changes.join("\n") + "\n")?;
    command.args(arguments).stderr(fs::File::create(&files.output)?);
    Ok(())
}

/// A folder that no other machine has.
fn folder(machines: &Path) -> io::Result<PathBuf> {
    for number in 1..=MOST {
        let folder = machines.join(number.to_string());
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
    Err(io::Error::other(format!("more than {MOST} machines were started")))
}

/// Writes the script. `program` is this program.
pub(super) fn install(programs: &Path, machines: &Path, program: &Path, (kvm, memory): (bool, u64)) -> io::Result<()> {
    fs::create_dir_all(programs)?;
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let paths = [("--machines", machines), ("--programs", programs)];
    let mut words = vec![quoted(&program.to_string_lossy()), "runner".to_owned(), "hypervisor".to_owned()];
    words.extend(paths.map(|(option, path)| format!("{option}={}", quoted(&path.to_string_lossy()))));
    words.push(format!("--memory={memory}"));
    words.extend(kvm.then(|| "--kvm".to_owned()));
    let script = programs.join(QEMU);
    fs::write(&script, format!("#!/bin/sh\nexec {} -- \"$@\"\n", words.join(" ")))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
}

/// The folders in which programs are looked for, with that of the script before them.
pub(super) fn path(programs: &Path, others: &OsString) -> io::Result<OsString> {
    let folders = [programs.to_owned()].into_iter().chain(split_paths(others));
    join_paths(folders).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that is called in place of qemu.
    fn script(file: &Path, text: &str) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_script_starts_the_program_with_what_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let [programs, machines, program] = ["it's", "machines", "imagechain"].map(|name| folder.path().join(name));
        script(&program, "#!/bin/sh\nprintf '<%s>' \"$@\"\n");
        install(&programs, &machines, &program, (true, 1024)).unwrap();
        let called = Command::new(programs.join(QEMU)).args(["-name", "a b"]).output().unwrap();
        assert_eq!(
            String::from_utf8(called.stdout).unwrap(),
            format!(
                "<runner><hypervisor><--machines={}><--programs={}><--memory=1024><--kvm><--><-name><a b>",
                machines.display(),
                programs.display()
            )
        );
    }

    #[test]
    fn the_real_qemu_is_the_next_in_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let [programs, empty, real_one] = ["programs", "empty", "real"].map(|name| folder.path().join(name));
        for place in [&programs, &real_one] {
            script(&place.join(QEMU), "");
        }
        let others = join_paths([&empty, &real_one]).unwrap();
        let path = path(&programs, &others).unwrap();
        let [machines, arguments] = [folder.path().to_owned(), PathBuf::new()];
        let mut hypervisor =
            Hypervisor { machines, programs, kvm: false, memory: 1024, path, arguments: vec![], attends: true };
        assert_eq!(real(&hypervisor), Some(real_one.join(QEMU)));
        hypervisor.path = arguments.into_os_string();
        assert_eq!(real(&hypervisor), None);
        assert!(run(&hypervisor).unwrap_err().to_string().contains("not found in the builder image"));
    }

    #[test]
    fn each_machine_has_a_folder() {
        let machines = tempfile::tempdir().unwrap();
        let hypervisor = Hypervisor {
            machines: machines.path().to_owned(),
            programs: PathBuf::new(),
            kvm: false,
            memory: 1024,
            path: OsString::new(),
            arguments: ["-display", "gtk"].map(str::to_owned).into(),
            attends: true,
        };
        for number in ["1", "2"] {
            let files = Files::of(&folder(machines.path()).unwrap());
            assert_eq!(files.changes, machines.path().join(number).join("changes"));
            adjusted(&hypervisor, &files, &mut Command::new(QEMU)).unwrap();
            let changes = fs::read_to_string(files.changes).unwrap();
            assert!(changes.starts_with("-display gtk -> none"), "{changes}");
        }
    }
}
