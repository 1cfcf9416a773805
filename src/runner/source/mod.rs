//! The stage `source`: brings the program into the pod, and the files of the source into the workspace.

mod confine;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use self::confine::inside;
use super::{context::Context, report::local};
use crate::{
    api::condition::Reason,
    plan::{
        dependency::Dependency,
        failure::Failure,
        job::{Files, Job, Source},
        path::SourcePath,
    },
    remote::git::{self, Credentials, Query, Settings},
};

/// Fetches the source.
pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    copy_program(&context.places.program).map_err(|error| local("the program cannot be copied", &error))?;
    let folder = context.places.source();
    match &context.job.source {
        Source::Git { url, written, credentials, .. } => {
            let _step = context.log.step(format!("fetching {} of {url} ({written})", context.job.revision));
            fetch(context, url, credentials.as_deref()).await.map_err(|failure| lacking(failure, url, written))?;
        }
        Source::Files(list) => {
            let _step = context.log.step("writing the files of the source");
            write(Path::new(list), &folder)?;
        }
    }
    let count = confine::check(&folder)?;
    context.log.say(format_args!("{count} files and folders"));
    if folder.join(".gitmodules").exists() {
        context.log.say("the repository names submodules: they are not fetched");
    }
    if root(context)?.is_dir() {
        return Ok(());
    }
    let directory = directory(&context.job).unwrap_or_default();
    let message = format!("the source has no folder {directory}: correct source.git.directory");
    Err(Failure::new(Reason::SourceRejected, message))
}

fn directory(job: &Job) -> Option<&str> {
    match &job.source {
        Source::Git { directory, .. } => directory.as_deref(),
        Source::Files(_) => None,
    }
}

/// The folder that all paths of a job are relative to.
pub(super) fn root(context: &Context) -> Result<PathBuf, Failure> {
    inside(&context.places.source(), directory(&context.job).unwrap_or("."))
}

/// A path of a job: links on the way may lead anywhere in the source, and not out of it.
pub(super) fn place(context: &Context, path: &str) -> Result<PathBuf, Failure> {
    let whole = directory(&context.job).map_or_else(|| path.to_owned(), |directory| format!("{directory}/{path}"));
    inside(&context.places.source(), &whole)
}

/// By its own image it is there already, and the others do not have it.
fn copy_program(path: &Path) -> io::Result<()> {
    fs::copy("/proc/self/exe", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

async fn fetch(context: &Context, url: &str, credentials: Option<&str>) -> Result<(), Failure> {
    let value = |folder: &str, key: &str| fs::read_to_string(Path::new(folder).join(key)).ok();
    let credentials = credentials.map(|folder| Credentials::of_secret(url, |key| value(folder, key))).transpose();
    let credentials = credentials
        .map_err(|key| Failure::new(Reason::KeyNotFound, format!("the Secret for {url} lacks the key {key}")))?;
    let query = Query::new(url, &context.job.revision, [].into(), credentials);
    let query = query.map_err(|wrong| Failure::new(Reason::SpecInvalid, format!("source.git {wrong}")))?;
    let settings = Settings::new(context.places.temporary());
    let fetched = git::check_out(&query, &settings, &context.places.source(), &context.places.repository()).await;
    fetched.map_err(|error| Failure::new(error.reason(), error.to_string()))
}

/// What must change before it makes sense to try again.
fn lacking(failure: Failure, url: &str, written: &str) -> Failure {
    match failure.reason {
        Reason::RevisionNotFound => {
            let missing = Dependency::Git { url: url.to_owned(), revision: written.to_owned() };
            Failure { missing: Some(Box::new(missing)), ..failure }
        }
        _ => failure,
    }
}

fn write(list: &Path, folder: &Path) -> Result<(), Failure> {
    let text = fs::read(list).map_err(|error| local("the files of the source cannot be read", &error))?;
    let files: Files = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(Reason::SourceRejected, format!("the files of the source cannot be read: {error}"))
    })?;
    for (name, content) in &files {
        let path: SourcePath = name.parse().map_err(|wrong| {
            Failure::new(Reason::PathEscapesSource, format!("the source has a file «{name}», whose name {wrong}"))
        })?;
        create(&folder.join(path.as_str()), &content.0)
            .map_err(|error| local(&format!("the file {name} cannot be written"), &error))?;
    }
    fs::create_dir_all(folder).map_err(|error| local("the workspace cannot be written", &error))
}

fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    // A volume of Kubernetes has no modes for single files; scripts say by their first line what they are.
    let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
    fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(content)
}

#[cfg(test)]
mod tests;
