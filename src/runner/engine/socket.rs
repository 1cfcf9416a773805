//! Questions to the engine's daemon over its socket. They may be asked while a program of the stage runs, which the
//! command line may not.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(8);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The first line.
    pub(super) status: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn code(&self) -> Option<u16> {
        self.status.split(' ').nth(1)?.parse().ok()
    }
}

/// Asks, by `GET` or `HEAD`.
///
/// # Errors
/// It does not answer in time.
pub(super) async fn ask(socket: &Path, method: &str, path: &str) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        // Of this version of HTTP, an answer is as long as the connection.
        stream.write_all(format!("{method} {path} HTTP/1.0\r\nHost: engine\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(LIMIT, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(read(&String::from_utf8_lossy(&answer)))
}

pub(super) fn read(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    Answer { status: head.lines().next().unwrap_or_default().to_owned(), body: body.to_owned() }
}

/// A text as a value in a query.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let letters = text.as_bytes().iter();
    letters.map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_code() {
        assert_eq!(read("HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{}").code(), Some(404));
        assert_eq!(read("").code(), None);
    }

    #[test]
    fn a_path_is_a_value() {
        assert_eq!(escaped("/bin/zsh"), "/bin/zsh");
        assert_eq!(escaped("/bin/a b\r&"), "/bin/a%20b%0D%26");
    }
}
