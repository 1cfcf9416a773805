//! Waits until a guest lets somebody in.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    process::Command,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::login::{Access, Login};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
    runner::process::{Processes, Tail, ending},
};

/// The pause between tries. Nothing tells when sshd listens: a port that user networking forwards accepts every
/// connection at once, and only then asks the guest, so that it has to be tried.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause after a refusal: newer versions of sshd answer nobody for a while who is refused too often.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(10);
/// How long a guest may refuse a login that it lets in later: until its boot is over, systemd lets nobody in but root.
const REFUSALS: Duration = Duration::from_mins(3);
/// How long sshd may take to say who it is. A guest without network is not refused, but asked again and again.
const BANNER: Duration = Duration::from_secs(10);
/// How long a login may take: without KVM, the exchange of keys alone takes seconds.
const LOGIN: Duration = Duration::from_mins(1);
/// As much as a server may say before its banner, in bytes.
const LONGEST_BANNER: u64 = 8 << 10;

/// Why a try came to nothing.
#[derive(Debug, PartialEq, Eq)]
enum Missed {
    /// There is no sshd yet, or it cannot do its work.
    Silent(String),
    /// There is one, and it does not know who comes.
    Refused(String),
}

impl Missed {
    fn why(&self) -> &str {
        match self {
            Self::Silent(why) | Self::Refused(why) => why,
        }
    }

    const fn pause(&self) -> Duration {
        match self {
            Self::Silent(_) => PAUSE,
            Self::Refused(_) => PAUSE_AFTER_REFUSAL,
        }
    }
}

/// Waits until a command runs in the guest.
///
/// # Errors
/// None does until the deadline, the guest refuses the login for good, or there is no ssh here.
pub(super) async fn wait(
    processes: &Processes,
    login: &Login,
    access: &Access,
    deadline: Instant,
) -> Result<(), Failure> {
    let (began, mut last) = (Instant::now(), Missed::Silent("no answer".to_owned()));
    let mut refused = None;
    while let Ok(tried) = timeout_at(deadline, attempt(processes, access)).await {
        let Err(missed) = tried? else { return Ok(()) };
        let since = match missed {
            Missed::Refused(_) => *refused.get_or_insert_with(Instant::now),
            Missed::Silent(_) => Instant::now(),
        };
        last = missed;
        let pause = Instant::now() + last.pause();
        if since.elapsed() > REFUSALS || timeout_at(deadline, sleep_until(pause)).await.is_err() {
            break;
        }
    }
    Err(unreached(login, &last, began.elapsed()))
}

fn unreached(login: &Login, last: &Missed, waited: Duration) -> Failure {
    let (seconds, title, why) = (waited.as_secs(), login.title(), last.why());
    let message = match last {
        Missed::Silent(_) => format!("the machine was not reached by ssh within {seconds} s ({why})"),
        Missed::Refused(_) => format!("the machine does not let in {title}: {why}"),
    };
    Failure::new(Reason::VerificationFailed, message)
}

async fn attempt(processes: &Processes, access: &Access) -> Result<Result<(), Missed>, Failure> {
    match timeout(BANNER, banner(access.port)).await {
        Ok(Ok(())) => run(processes, access).await,
        Ok(Err(error)) => Ok(Err(Missed::Silent(error.to_string()))),
        Err(_) => Ok(Err(Missed::Silent(format!("port 22 of the guest said nothing for {} s", BANNER.as_secs())))),
    }
}

/// Reads the line by which an SSH server says who it is.
async fn banner(port: u16) -> io::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut lines = BufReader::new(stream.take(LONGEST_BANNER)).lines();
    while let Some(line) = lines.next_line().await? {
        // 1.99: it speaks older versions besides.
        if line.starts_with("SSH-2.0-") || line.starts_with("SSH-1.99-") {
            return Ok(());
        }
    }
    Err(io::Error::other("nothing answers at port 22 of the guest"))
}

/// Logs in, and runs a command that does nothing.
async fn run(processes: &Processes, access: &Access) -> Result<Result<(), Missed>, Failure> {
    let mut command = Command::new("ssh");
    command.args(access.ssh("true")).envs(access.environment.iter().map(|(name, value)| (name, value)));
    let mut tail = Tail::default();
    // Each login says this, since keys of guests are kept nowhere.
    let mut lines = |line: &str| {
        if !line.starts_with("Warning: Permanently added") {
            tail.push(line);
        }
    };
    let Ok(status) = timeout(LOGIN, processes.run(command, &mut lines)).await else {
        return Ok(Err(Missed::Silent(format!("sshd answers, and nobody was in after {} s", LOGIN.as_secs()))));
    };
    let status = status?;
    if status.success() {
        return Ok(Ok(()));
    }
    let words = truncate_middle(&tail.last(3), 300);
    let words = if words.is_empty() { format!("ssh ended with {}", ending(status)) } else { words };
    let is_refusal = words.contains("Permission denied") || words.contains("Too many authentication failures");
    Ok(Err(if is_refusal { Missed::Refused(words) } else { Missed::Silent(words) }))
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// A server that says this to everybody, and closes.
    async fn saying(text: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Who connects may have gone.
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn only_sshd_says_that_it_is_one() {
        for (text, expected) in [
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", true),
            ("Welcome\r\nSSH-1.99-OpenSSH_4.3\r\n", true),
            ("HTTP/1.1 400 Bad Request\r\n", false),
            ("", false),
        ] {
            assert_eq!(banner(saying(text).await).await.is_ok(), expected, "{text}");
        }
    }

    async fn failure(port: u16, within: Duration) -> Failure {
        let (folder, login) = (tempfile::tempdir().unwrap(), Login::vagrant());
        let access = Access::prepare(&login, port, folder.path()).unwrap();
        wait(&Processes::default(), &login, &access, Instant::now() + within).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_machine_that_does_not_answer_is_told_at_the_deadline() {
        let told = failure(saying("").await, Duration::from_millis(100)).await;
        assert_eq!(told.reason, Reason::VerificationFailed);
        assert_eq!(
            told.message,
            "the machine was not reached by ssh within 0 s (nothing answers at port 22 of the guest)"
        );
    }

    #[tokio::test]
    async fn what_ssh_says_last_is_told() {
        let told = failure(saying("SSH-2.0-x\r\n").await, Duration::from_secs(5)).await;
        // It says it in several ways, by when it notices.
        assert!(told.message.contains("Connection"), "{}", told.message);
    }

    #[test]
    fn a_refusal_names_who_was_refused() {
        let why = "vagrant@127.0.0.1: Permission denied (publickey).".to_owned();
        let told = unreached(&Login::vagrant(), &Missed::Refused(why), Duration::from_secs(99));
        assert_eq!(
            told.message,
            "the machine does not let in the user vagrant with a key: vagrant@127.0.0.1: Permission denied (publickey)."
        );
    }
}
