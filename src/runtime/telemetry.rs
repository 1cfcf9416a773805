//! Logs: one line for what somebody who runs the operator wants to know at `info`, one for each reconcile at
//! `debug`.

use std::{io, str::FromStr};

use tracing::{Subscriber, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::MakeWriter};

/// What kube logs of failures is left out: it repeats each on every try, a refused watch for ever. They are
/// counted, and our own lines say once what changed. A filter that names these targets brings them back.
const QUIET: &str = "kube_client::client::builder=off,kube_runtime::watcher=off";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines: an object per line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is not a format of logs: use `text` or `json`")),
        }
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("the filter of logs `{filter}`: {source}; write it like `info` or `info,imagechain=debug`")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else writes them already.
    #[error("logs are already written: {0}")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Writes the logs of the whole process to standard error from now on. The filter is that of `RUST_LOG`:
/// `info`, `info,imagechain=debug`.
///
/// # Errors
/// A filter that cannot be read; a process that writes logs already.
pub fn start(format: Format, filter: &str) -> Result<(), Error> {
    tracing::subscriber::set_global_default(subscriber(format, filter, io::stderr)?)?;
    Ok(())
}

/// What writes logs to `writer`.
///
/// # Errors
/// A filter that cannot be read.
pub fn subscriber<W>(format: Format, filter: &str, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let read = EnvFilter::try_new(format!("{QUIET},{filter}"));
    let filter = read.map_err(|source| Error::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    Ok(match format {
        Format::Text => Box::new(lines.finish()),
        Format::Json => {
            Box::new(lines.json().flatten_event(true).with_current_span(true).with_span_list(false).finish())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(format: Format, filter: &str) -> String {
        let lines = Lines::default();
        let subscriber = subscriber(format, filter, lines.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(chain = "shop", "built");
            tracing::debug!("decided");
            tracing::warn!(target: "kube_runtime::watcher", "again");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_filter_decides_what_is_written() {
        for (filter, expected) in [
            ("info", &["built"][..]),
            ("debug", &["built", "decided"]),
            ("warn", &[]),
            ("warn,imagechain=info", &["built"]),
            ("off,kube_runtime::watcher=warn", &["again"]),
        ] {
            let text = logged(Format::Text, filter);
            let found: Vec<_> = ["built", "decided", "again"].into_iter().filter(|word| text.contains(word)).collect();
            assert_eq!(found, expected, "{filter}: {text}");
        }
    }

    #[test]
    fn json_is_an_object_per_line_with_its_fields() {
        let text = logged(Format::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["chain"]),
            (&"INFO".into(), &"built".into(), &"shop".into())
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let error = subscriber(Format::Text, "info,a=b=c", io::sink).err().unwrap().to_string();
        assert!(error.contains("info,a=b=c") && error.contains("imagechain=debug"), "{error}");
        assert_eq!("json".parse(), Ok(Format::Json));
        assert!("xml".parse::<Format>().unwrap_err().contains("`xml`"));
    }
}
