//! How one logs in to a guest, and the files by which ssh does.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The keys that Vagrant publishes, and that boxes let in until their first start by Vagrant. They are no secret.
/// Source: `keys/vagrant.key.*` of Vagrant 2.3.8, as Debian has it.
const VAGRANT_KEYS: [&str; 2] = [include_str!("keys/vagrant.ed25519"), include_str!("keys/vagrant.rsa")];
/// The name of a machine in its file for ssh.
const NAME: &str = "box";

/// Who logs in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The name in the guest.
    pub(crate) user: String,
    /// What the guest knows the user by.
    pub(crate) proof: Proof,
}

/// What a guest knows a user by.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Private keys, each as the text of its file. One is enough.
    Keys(Vec<String>),
    /// A password.
    Password(String),
}

impl Login {
    /// That of boxes for Vagrant.
    pub(crate) fn vagrant() -> Self {
        Self { user: "vagrant".to_owned(), proof: Proof::Keys(VAGRANT_KEYS.map(str::to_owned).into()) }
    }

    /// The name of the user and the kind of the proof, for people.
    pub(super) fn title(&self) -> String {
        match self.proof {
            Proof::Keys(_) => format!("the user {} with a key", self.user),
            Proof::Password(_) => format!("the user {} with a password", self.user),
        }
    }
}

/// How programs reach a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The port of 127.0.0.1 that leads to the guest's sshd.
    pub(crate) port: u16,
    /// The file that tells ssh how to reach the host `box`: `ssh -F FILE box`.
    pub(crate) config: PathBuf,
    /// The variables by which ssh asks a program for the password, where there is one.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Access {
    /// Writes the files of a login into a folder.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn prepare(login: &Login, port: u16, folder: &Path) -> io::Result<Self> {
        let (proof, environment) = match &login.proof {
            Proof::Keys(keys) => (by_keys(keys, folder)?, Vec::new()),
            Proof::Password(password) => (BY_PASSWORD.to_owned(), asking(password, folder)?),
        };
        let config = folder.join("ssh_config");
        fs::write(&config, text(&login.user, port, &proof))?;
        Ok(Self { port, config, environment })
    }

    /// The host, as `pytest --hosts` of testinfra takes it; `--ssh-config` takes [`Self::config`]. Without KVM, more
    /// than testinfra's own 10 s pass until a guest lets somebody in.
    pub(crate) fn testinfra_host() -> String {
        format!("ssh://{NAME}?timeout=60")
    }

    /// The arguments of ssh that run a command in the guest, without any question to people.
    pub(super) fn ssh(&self, command: &str) -> Vec<String> {
        let config = self.config.display().to_string();
        let batch = if self.environment.is_empty() { "BatchMode=yes" } else { "NumberOfPasswordPrompts=1" };
        // That a connection was closed is information, and the only one there is.
        ["-F", &config, "-n", "-o", batch, "-o", "LogLevel=INFO", NAME, command].map(str::to_owned).into()
    }
}

const BY_PASSWORD: &str = "    PubkeyAuthentication no\n    PreferredAuthentications password,keyboard-interactive\n";

fn by_keys(keys: &[String], folder: &Path) -> io::Result<String> {
    let files = keys.iter().enumerate().map(|(index, key)| {
        let file = folder.join(format!("key-{}", index + 1));
        // ssh takes no key without an end of its last line, which Secrets often lack.
        write_private(&file, &format!("{}\n", key.trim_end()), 0o600)?;
        Ok(format!("    IdentityFile \"{}\"\n", file.display().to_string().replace('%', "%%")))
    });
    let files: String = files.collect::<io::Result<_>>()?;
    Ok(format!("    PreferredAuthentications publickey\n    IdentitiesOnly yes\n{files}"))
}

/// The variables by which ssh asks a program for the password that is there in a file. Unlike sshpass, it does so in
/// whatever program starts ssh.
fn asking(password: &str, folder: &Path) -> io::Result<Vec<(&'static str, String)>> {
    let [file, program] = ["password", "askpass"].map(|name| folder.join(name));
    write_private(&file, &format!("{password}\n"), 0o600)?;
    write_private(
        &program,
        &format!("#!/bin/sh\nexec cat '{}'\n", file.display().to_string().replace('\'', "'\\''")),
        0o700,
    )?;
    let program = program.display().to_string();
    Ok(vec![("SSH_ASKPASS", program), ("SSH_ASKPASS_REQUIRE", "force".to_owned())])
}

/// A new file for its owner alone: ssh takes no other.
fn write_private(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

/// The file for ssh. Old guests have nothing but `ssh-rsa`; no guest has a key that somebody knows; and a guest that
/// hangs must not hold up its tests for ever.
fn text(user: &str, port: u16, proof: &str) -> String {
    format!(
        "Host {NAME}\n    HostName 127.0.0.1\n    Port {port}\n    User {user}\n{proof}    \
         IdentityAgent none\n    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n    \
         HostKeyAlgorithms +ssh-rsa\n    PubkeyAcceptedAlgorithms +ssh-rsa\n    LogLevel ERROR\n    \
         ConnectTimeout 60\n    ServerAliveInterval 15\n    ServerAliveCountMax 8\n"
    )
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn a_machine_has_a_file_for_ssh() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::prepare(&Login::vagrant(), 40022, folder.path()).unwrap();
        let path = folder.path().display();
        assert_eq!(
            fs::read_to_string(&access.config).unwrap(),
            format!(
                "Host box\n    HostName 127.0.0.1\n    Port 40022\n    User vagrant\n    \
                 PreferredAuthentications publickey\n    IdentitiesOnly yes\n    \
                 IdentityFile \"{path}/key-1\"\n    IdentityFile \"{path}/key-2\"\n    \
                 IdentityAgent none\n    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n    \
                 HostKeyAlgorithms +ssh-rsa\n    PubkeyAcceptedAlgorithms +ssh-rsa\n    LogLevel ERROR\n    \
                 ConnectTimeout 60\n    ServerAliveInterval 15\n    ServerAliveCountMax 8\n"
            )
        );
        assert_eq!(access.ssh("true")[2..], ["-n", "-o", "BatchMode=yes", "-o", "LogLevel=INFO", "box", "true"]);
        assert_eq!(access.environment, []);
    }

    #[test]
    fn ssh_reads_the_file_and_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::prepare(&Login::vagrant(), 40022, folder.path()).unwrap();
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let read = run(Command::new("ssh").arg("-F").arg(&access.config).args(["-G", "box"]));
        assert!(read.contains("\nport 40022\n") && read.contains("ssh-rsa"), "{read}");
        // The public halves, as Vagrant publishes them.
        for (key, public) in
            [("key-1", "AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBpNlzx"), ("key-2", "AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iall")]
        {
            let file = folder.path().join(key);
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(run(Command::new("ssh-keygen").arg("-yf").arg(file)).contains(public), "{key}");
        }
    }

    #[test]
    fn a_password_is_asked_for_and_stands_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let password = "it's $HOME";
        let login = Login { user: "admin".to_owned(), proof: Proof::Password(password.to_owned()) };
        let access = Access::prepare(&login, 40022, folder.path()).unwrap();
        let config = fs::read_to_string(&access.config).unwrap();
        assert!(config.contains("User admin\n    PubkeyAuthentication no\n") && !config.contains(password), "{config}");
        let [(_, program), force] = access.environment.as_slice() else { panic!("two variables") };
        assert_eq!(*force, ("SSH_ASKPASS_REQUIRE", "force".to_owned()));
        // Not started itself: another test's program could still hold the file that was just written.
        let said = Command::new("sh").arg(program).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{password}\n"));
        assert!(!access.ssh("true").contains(&"BatchMode=yes".to_owned()), "it would not ask");
    }
}
