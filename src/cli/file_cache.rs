//! `imagechain file-cache`: flags in, a service out.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::flags::Logs;
use crate::{
    plan::quantity::thousandths,
    runtime::supervisor,
    serve::file_cache::{self, Settings},
};

/// How long what is under way may go on after a signal. The chart gives the pod a little more.
const DRAIN: Duration = Duration::from_secs(10);
/// The least that files may have, in bytes.
const LEAST: u64 = 1 << 20;

/// What is kept, and how.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The folder of the files. Nothing else should be in it.
    #[arg(long, value_name = "FOLDER")]
    directory: PathBuf,
    /// The most that all files take on the disk, those that are being received among them, as 20Gi. Those that were not
    /// used for the longest time go first.
    #[arg(long, value_name = "SIZE", default_value = "20Gi", value_parser = bytes)]
    size: u64,
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// How many files are received at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    uploads: u16,
    /// How many files are sent at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    downloads: u16,
    #[command(flatten)]
    logs: Logs,
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = thousandths(text).map(|thousandths| thousandths / 1000).filter(|bytes| *bytes >= LEAST);
    bytes.ok_or_else(|| "must be at least 1Mi, as 20Gi".to_owned())
}

impl Flags {
    fn settings(&self) -> Settings {
        Settings {
            listen: self.listen,
            folder: self.directory.clone(),
            bytes: self.size,
            uploads: usize::from(self.uploads.max(1)),
            downloads: usize::from(self.downloads.max(1)),
        }
    }
}

/// Runs the service until a signal comes.
pub(super) fn run(flags: &Flags) -> io::Result<()> {
    flags.logs.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (signal, server) = (supervisor::next_signal()?, file_cache::start(flags.settings()).await?);
        tracing::info!(address = %server.address()?, bytes = flags.size, "the cache of files begins");
        server.run_until(signal, DRAIN).await
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn settings(arguments: &[&str]) -> Option<Settings> {
        let line = [&["file-cache"], arguments].concat();
        Some(Line::try_parse_from(line).ok()?.flags.settings())
    }

    #[test]
    fn flags_become_settings() {
        let usual = settings(&["--directory", "/cache"]).unwrap();
        assert_eq!((usual.folder, usual.bytes, usual.listen.port()), ("/cache".into(), 20 << 30, 8080));
        assert_eq!((usual.uploads, usual.downloads), (4, 16));
        let least = settings(&["--directory", "/c", "--size", "1Mi", "--uploads", "0", "--downloads", "0"]).unwrap();
        assert_eq!((least.bytes, least.uploads, least.downloads), (1 << 20, 1, 1));
        assert!(settings(&[]).is_none());
        for size in ["1Ki", "much", "-1Gi", ""] {
            assert!(settings(&["--directory", "/c", "--size", size]).is_none(), "{size}");
        }
    }
}
