//! The stage `source`: brings the program into the pod, and the files of the source into the workspace.

mod confine;
mod files;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use k8s_openapi::ByteString;

use self::confine::{Survey, inside};
use super::{context::Context, network::network, report::local};
use crate::{
    api::condition::Reason,
    plan::{
        credentials::{
            Values,
            git::{GitSecret, files},
        },
        dependency::Dependency,
        failure::Failure,
        job::{Files, Job, Source},
        path::SourcePath,
        tree::{is_below, of_lfs, of_submodule, some, submodules},
    },
    remote::git::{self, Query, Settings},
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
    files::fetch(context).await?;
    let survey = confine::survey(&folder)?;
    tell(context, &survey);
    if root(context)?.is_dir() {
        return check_pointers(context, survey.pointers);
    }
    let directory = directory(&context.job).unwrap_or_default();
    if let Some(submodule) = submodule(context, "") {
        return Err(Failure::new(Reason::SubmoduleNotFetched, of_submodule(directory, &submodule)));
    }
    let message = format!("the source has no folder {directory}: correct source.git.directory");
    Err(Failure::new(Reason::SourceRejected, message))
}

/// Says what of the source is not as one might think.
fn tell(context: &Context, survey: &Survey) {
    context.log.say(format_args!("{} files and folders", survey.count));
    let submodules = submodules_of(context);
    if !submodules.is_empty() {
        context.log.say(format_args!("submodules are not fetched: {}", some(&submodules)));
    }
    if !survey.outward.is_empty() {
        let links = some(&survey.outward);
        context.log.say(format_args!("links that lead out of the source are left as they are: {links}"));
    }
}

/// Files of Git LFS must not get into an image as the pointers that stand in their place.
fn check_pointers(context: &Context, pointers: Vec<String>) -> Result<(), Failure> {
    let folder = directory(&context.job).unwrap_or_default();
    let is_ours = |path: &String| {
        let inside = path.strip_prefix(folder).map(|inside| inside.trim_start_matches('/'));
        is_below(path, folder) && inside.is_some_and(|inside| context.job.uses.holds(inside))
    };
    let (used, others): (Vec<String>, Vec<String>) = pointers.into_iter().partition(is_ours);
    if !others.is_empty() {
        context.log.say(format_args!("in Git LFS, not fetched, and outside what the link uses: {}", some(&others)));
    }
    if used.is_empty() { Ok(()) } else { Err(Failure::new(Reason::LfsNotFetched, of_lfs(&used))) }
}

/// The submodules that the source names.
fn submodules_of(context: &Context) -> Vec<String> {
    let list = inside(&context.places.source(), ".gitmodules").ok().and_then(|list| fs::read_to_string(list).ok());
    submodules(&list.unwrap_or_default()).into_iter().map(str::to_owned).collect()
}

/// The submodule in which a path of a job is.
pub(super) fn submodule(context: &Context, path: &str) -> Option<String> {
    let whole = whole(context, path);
    submodules_of(context).into_iter().find(|submodule| is_below(&whole, submodule))
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
    inside(&context.places.source(), &whole(context, path))
}

/// A path of a job, as it is in the source.
fn whole(context: &Context, path: &str) -> String {
    let parts = directory(&context.job).into_iter().chain([path]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// By its own image it is there already, and the others do not have it.
fn copy_program(path: &Path) -> io::Result<()> {
    fs::copy("/proc/self/exe", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

async fn fetch(context: &Context, url: &str, credentials: Option<&str>) -> Result<(), Failure> {
    let secret = credentials.map(|folder| GitSecret::read(url, &values(url, Path::new(folder)))).transpose();
    let secret = secret
        .map_err(|error| Failure::new(error.reason(), format!("the Secret for {url} {error}")))?
        .unwrap_or_default();
    let query = Query::new(url, &context.job.revision, [].into(), secret.credentials);
    let query = query.map_err(|wrong| Failure::new(Reason::SpecInvalid, format!("source.git {wrong}")))?;
    let query = query.with_tls(secret.tls);
    let settings = Settings::new(context.places.temporary(), network(&context.job)?);
    let fetched = git::check_out(&query, &settings, &context.places.source(), &context.places.repository()).await;
    fetched.map_err(|error| Failure::new(error.reason(), error.to_string()))
}

/// The files that a Secret has become.
fn values(url: &str, folder: &Path) -> Values {
    let value = |name: &&str| Some(((*name).to_owned(), ByteString(fs::read(folder.join(name)).ok()?)));
    files(url).iter().filter_map(value).collect()
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
