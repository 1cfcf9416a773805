//! Where things are in a container.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::plan::job::{ENGINE_FOLDER, JOB_FILE, PROGRAM, SECRETS, WORKSPACE};

/// The folders and files that the stages share with each other and with the kubelet.
#[derive(Clone, Debug)]
pub struct Places {
    /// What the stages are to do.
    pub job: PathBuf,
    /// The folder of the files with values of Secrets that this container sees.
    pub secrets: PathBuf,
    /// The folder that all stages and the engine see at one path.
    pub workspace: PathBuf,
    /// Where the program is copied to.
    pub program: PathBuf,
    /// The folder of the engine's socket and marker.
    pub engine: PathBuf,
    /// Where the kubelet reads the report.
    pub termination: PathBuf,
    /// The folders in which programs are looked for.
    pub path: OsString,
    /// The folder in which ansible looks for callback plugins without being told.
    pub callbacks: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            job: JOB_FILE.into(),
            secrets: SECRETS.into(),
            workspace: WORKSPACE.into(),
            program: PROGRAM.into(),
            engine: ENGINE_FOLDER.into(),
            termination: "/dev/termination-log".into(),
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            callbacks: "/usr/share/ansible/plugins/callback".into(),
        }
    }
}

impl Places {
    /// The same, all below one folder.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let Self { job, secrets, workspace, program, engine, termination, path, callbacks } = Self::default();
        let inside = |path: PathBuf| root.join(path.strip_prefix("/").unwrap_or(&path));
        Self {
            job: inside(job),
            secrets: inside(secrets),
            workspace: inside(workspace),
            program: inside(program),
            engine: inside(engine),
            termination: inside(termination),
            path,
            callbacks: inside(callbacks),
        }
    }

    /// What was fetched.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.workspace.join("source")
    }

    /// The repository of a source from git: not among its files, which templates may copy into images, but where git
    /// looks for it from there.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.workspace.join(".git")
    }

    /// Temporary files of packer and of tests: it mounts them into containers, so the engine must see them.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.workspace.join("tmp")
    }

    /// What the stages tell each other.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.workspace.join(".imagechain")
    }

    /// The engine's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.engine.join("docker.sock")
    }

    /// What the engine says of itself.
    #[must_use]
    pub fn marker(&self) -> PathBuf {
        self.engine.join("engine.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_where_placeholders_say() {
        assert_eq!(Places::default().source(), Path::new(crate::plan::job::SOURCE_FOLDER));
    }
}
