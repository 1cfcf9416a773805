//! The files of other servers.

use std::{fs, path::Path, time::Duration};

use crate::{
    api::condition::Reason,
    plan::{failure::Failure, image::Digest, job::RemoteFile},
    remote::{
        cached::{Cached, Origin, Told},
        file::{Error, Files},
    },
    runner::{context::Context, network::network, progress::Progress, report::local},
};

/// The part of the stage's time that the cache of the node may take: what it does not give then is still fetched in time.
const PART_FOR_CACHE: u64 = 4;

/// Fetches the files of the job, one after the other.
pub(super) async fn fetch(context: &Context) -> Result<(), Failure> {
    if context.job.fetch.is_empty() {
        return Ok(());
    }
    let files = Files::new(&network(&context.job)?).map_err(|error| failure(&error))?;
    let patience = Duration::from_secs(context.job.timeouts.source / PART_FOR_CACHE);
    let cached = Cached::new(files, context.job.file_cache.as_deref(), patience);
    let mut cached = cached.map_err(|error| failure(&error))?;
    for file in &context.job.fetch {
        one(context, &mut cached, file).await?;
    }
    Ok(())
}

async fn one(context: &Context, cached: &mut Cached, file: &RemoteFile) -> Result<(), Failure> {
    let RemoteFile { url, sha256, path } = file;
    let _step = context.log.step(format!("fetching {url}"));
    let wanted: Digest = format!("sha256:{sha256}")
        .parse()
        .map_err(|_| Failure::new(Reason::SpecInvalid, format!("the SHA-256 of {url} is none: {sha256}")))?;
    let path = context.places.workspace.join(path);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
        .map_err(|error| local("the workspace cannot be written", &error))?;
    let progress = Progress::of(&context.log);
    let told = |told: Told<'_>| match told {
        Told::Progress(done, all) => progress.tell(done, all),
        Told::Sentence(sentence) => context.log.say(sentence),
    };
    let (size, origin) = cached.fetch(url, &wanted, &path, &told).await.map_err(|error| failure(&error))?;
    let from = match origin {
        Origin::Cache => " from the cache of the node",
        Origin::Server => "",
    };
    context.log.say(format_args!("{} MiB{from}, and the SHA-256 is the one that is expected", size.div_ceil(1 << 20)));
    Ok(())
}

fn failure(error: &Error) -> Failure {
    Failure::new(error.reason(), error.to_string())
}
