//! A real registry and a real git server for a test: CNCF distribution and `git http-backend`, from the
//! sandbox's programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::apiserver::{Started, launcher};

/// Servers that end with this value, or with the test's process, whatever way that ends.
pub struct Servers(Started);

impl Servers {
    /// A registry that asks nobody who they are, and a git server.
    pub fn start() -> Self {
        Self::with(&["--no-apiserver", "--registry", "--git"])
    }

    /// A registry that asks for a user.
    pub fn of_user(user: &str, password: &str) -> Self {
        Self::with(&["--no-apiserver", "--registry", "--registry-user", &format!("{user}:{password}")])
    }

    /// A registry that uses TLS.
    pub fn of_tls() -> Self {
        Self::with(&["--no-apiserver", "--registry", "--registry-tls"])
    }

    /// The certificate of the authority that a registry with TLS is trusted by.
    pub fn authority(&self) -> String {
        fs::read_to_string(self.0.ready.folder.join("pki/ca.crt")).expect("a certificate")
    }

    /// The folder with the certificate of that registry.
    pub fn pki(&self) -> PathBuf {
        self.0.ready.folder.join("pki")
    }

    fn with(flags: &[&str]) -> Self {
        Self(Started::with(Command::new(launcher()).stdin(Stdio::piped()), flags).expect("servers"))
    }

    /// Host and port of the registry.
    pub fn registry(&self) -> &str {
        self.0.ready.registry.as_deref().expect("a registry")
    }

    /// The base URL of the git server.
    pub fn git(&self) -> &str {
        self.0.ready.git.as_deref().expect("a git server")
    }

    /// The base URL of the git server over ssh.
    pub fn ssh(&self) -> &str {
        self.0.ready.ssh.as_deref().expect("a git server")
    }

    /// A key that may read over ssh, and the known hosts to believe.
    pub fn ssh_keys(&self) -> (String, String) {
        let read = |name: &str| fs::read_to_string(self.0.ready.folder.join(name)).expect("a file");
        (read("identity"), read("known_hosts"))
    }

    /// The bare repository of a name, as the git server has it.
    pub fn bare(&self, name: &str) -> PathBuf {
        self.0.ready.git_folder.as_ref().expect("a git server").join(format!("{name}.git"))
    }
}

/// A working copy whose changes are pushed to a git server.
pub struct Worktree {
    folder: tempfile::TempDir,
    url: String,
}

impl Worktree {
    /// An empty one, on branch `main`.
    pub fn new(url: &str) -> Self {
        let made = Self { folder: tempfile::tempdir().expect("a folder"), url: url.to_owned() };
        made.git(&["init", "--quiet", "--initial-branch=main"]);
        made
    }

    /// Writes files, commits them and returns the hash.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "a change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes refs, by force.
    pub fn push(&self, refs: &[&str]) {
        self.git(&[&["push", "--quiet", "--force", &self.url], refs].concat());
    }

    /// Runs git there and returns what it says.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(self.folder.path(), arguments)
    }
}

/// Runs git in a folder, without the settings of whoever runs the tests, and returns what it says.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=a", "-c", "user.email=a@b.example"]).args(arguments);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    let output = command.output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
