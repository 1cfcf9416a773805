//! QEMU's machine protocol: lines of JSON over a socket. An answer has the number of its command; what has none is an
//! event, which nobody here waits for.

use std::{io, path::Path, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// How long an answer may take: while the guest uses all processors, a command waits for its turn.
const ANSWER: Duration = Duration::from_secs(30);

/// A conversation with a machine.
#[derive(Debug)]
pub(super) struct Qmp {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    /// The number of the last command.
    number: u64,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    #[serde(rename = "return")]
    value: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

impl Qmp {
    /// Begins the conversation on a connection that qemu has made.
    ///
    /// # Errors
    /// Who is there does not speak the protocol.
    pub(super) async fn begin(stream: UnixStream) -> io::Result<Self> {
        let (reader, writer) = stream.into_split();
        let mut begun = Self { lines: BufReader::new(reader).lines(), writer, number: 0 };
        // The greeting has no number, so that it is left out as an event is.
        begun.execute("qmp_capabilities", json!({})).await?;
        Ok(begun)
    }

    /// Executes a command.
    ///
    /// # Errors
    /// The machine has gone, is silent for too long, or refuses the command.
    pub(super) async fn execute(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        self.number += 1;
        let call = json!({"execute": command, "arguments": arguments, "id": self.number}).to_string() + "\n";
        let answer = async {
            self.writer.write_all(call.as_bytes()).await?;
            self.answer().await
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer after {} s", ANSWER.as_secs()));
        let answer = timeout(ANSWER, answer).await.map_err(late).flatten();
        answer.map_err(|error| io::Error::new(error.kind(), format!("{command}: {error}")))
    }

    /// The answer to the last command. Those before it may come too, where nobody waited long enough for them.
    async fn answer(&mut self) -> io::Result<Value> {
        while let Some(line) = self.lines.next_line().await? {
            let Answer { id, value, error } = serde_json::from_str(&line).map_err(io::Error::other)?;
            match error {
                _ if id != Some(self.number) => {}
                Some(Refusal { desc }) => return Err(io::Error::other(desc)),
                None => return Ok(value.unwrap_or_default()),
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Executes a command that is for people, and whose answer is a text.
    ///
    /// # Errors
    /// The same as those of any other.
    pub(super) async fn monitor(&mut self, line: &str) -> io::Result<String> {
        let answer = self.execute("human-monitor-command", json!({"command-line": line})).await?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// The state of the machine: `running`, `paused`, `internal-error` and others.
    ///
    /// # Errors
    /// The same as those of any other.
    pub(super) async fn status(&mut self) -> io::Result<String> {
        let answer = self.execute("query-status", json!({})).await?;
        Ok(answer.get("status").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Writes what the screen shows into a file, as PNG.
    ///
    /// # Errors
    /// The same as those of any other, and that qemu is older than 7.1.
    pub(super) async fn picture(&mut self, file: &Path) -> io::Result<()> {
        self.execute("screendump", json!({"filename": file.display().to_string(), "format": "png"})).await.map(drop)
    }

    /// Presses the power button of the machine. Whether the guest heeds it is its own affair.
    ///
    /// # Errors
    /// The same as those of any other.
    pub(super) async fn power_down(&mut self) -> io::Result<()> {
        self.execute("system_powerdown", json!({})).await.map(drop)
    }

    /// Ends qemu.
    ///
    /// # Errors
    /// The same as those of any other.
    pub(super) async fn quit(&mut self) -> io::Result<()> {
        self.execute("quit", json!({})).await.map(drop)
    }
}

/// The port of this host that leads to port 22 of the guest, of what `info usernet` says.
pub(super) fn forwarded(usernet: &str) -> Option<u16> {
    usernet.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            ["TCP[HOST_FORWARD]", _, _, port, _, "22", ..] => port.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_host_is_found_among_connections() {
        // As qemu 7.2 writes it while ssh is connected.
        let usernet = "Hub -1 (net):\r\n\
                       \x20 Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n\
                       \x20 TCP[ESTABLISHED]   14       127.0.0.1 43059       10.0.2.15    22     0     0\r\n\
                       \x20 TCP[HOST_FORWARD]  10       127.0.0.1 43059       10.0.2.15    22     0     0\r\n\
                       \x20 UDP[57 sec]        15       10.0.2.15 53724        10.0.2.3    53     0     0\r\n";
        assert_eq!(forwarded(usernet), Some(43059));
        assert_eq!(forwarded("Hub -1 (net):\r\n"), None);
    }

    /// A machine that says this, whatever it hears. Its end of the connection goes on hearing.
    async fn saying(text: &str) -> (io::Result<Qmp>, UnixStream) {
        let (ours, mut its) = UnixStream::pair().unwrap();
        its.write_all(text.as_bytes()).await.unwrap();
        its.shutdown().await.unwrap();
        (Qmp::begin(ours).await, its)
    }

    #[tokio::test]
    async fn events_and_late_answers_are_left_out() {
        let text = "{\"QMP\": {\"version\": {}}}\r\n{\"return\": {}, \"id\": 1}\r\n\
                    {\"timestamp\": {}, \"event\": \"RESET\"}\r\n{\"return\": {\"old\": 1}, \"id\": 1}\r\n\
                    {\"return\": {\"status\": \"running\"}, \"id\": 2}\r\n\
                    {\"id\": 3, \"error\": {\"class\": \"GenericError\", \"desc\": \"no such screen\"}}\r\n";
        let (begun, _its) = saying(text).await;
        let mut qmp = begun.unwrap();
        assert_eq!(qmp.status().await.unwrap(), "running");
        let refused = qmp.picture(Path::new("/x.png")).await.unwrap_err();
        assert_eq!(refused.to_string(), "screendump: no such screen");
        assert_eq!(qmp.quit().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn who_speaks_otherwise_is_refused() {
        assert!(saying("SSH-2.0-OpenSSH_9.2\r\n").await.0.is_err());
        assert_eq!(saying("").await.0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
