//! The files of other servers.

use std::{fs, path::Path};

use crate::{
    api::condition::Reason,
    plan::{failure::Failure, image::Digest, job::RemoteFile},
    remote::file::{Error, Files},
    runner::{context::Context, network::network, progress::Progress, report::local},
};

/// Fetches the files of the job, one after the other.
pub(super) async fn fetch(context: &Context) -> Result<(), Failure> {
    if context.job.fetch.is_empty() {
        return Ok(());
    }
    let files = Files::new(&network(&context.job)?).map_err(|error| failure(&error))?;
    for file in &context.job.fetch {
        one(context, &files, file).await?;
    }
    Ok(())
}

async fn one(context: &Context, files: &Files, file: &RemoteFile) -> Result<(), Failure> {
    let RemoteFile { url, sha256, path } = file;
    let _step = context.log.step(format!("fetching {url}"));
    let wanted: Digest = format!("sha256:{sha256}")
        .parse()
        .map_err(|_| Failure::new(Reason::SpecInvalid, format!("the SHA-256 of {url} is none: {sha256}")))?;
    let path = context.places.workspace.join(path);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
        .map_err(|error| local("the workspace cannot be written", &error))?;
    let progress = Progress::of(&context.log);
    let size = files.fetch(url, &wanted, &path, &|done, all| progress.tell(done, all)).await;
    let size = size.map_err(|error| failure(&error))?;
    context.log.say(format_args!("{} MiB, and the SHA-256 is the one that is expected", size.div_ceil(1 << 20)));
    Ok(())
}

fn failure(error: &Error) -> Failure {
    Failure::new(error.reason(), error.to_string())
}
