//! What the kernel and the program say of a process.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::support::chart::{OPERATOR_IMAGE, SYSTEM};

/// Ticks of a second in /proc/PID/stat: the same on all machines that Linux tells them to.
const TICKS: f64 = 100.0;

/// A program that ends with this value, or with the main thread.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// The controller with its default settings: the program that `PROGRAM` names, else the one that cargo has
    /// built beside this.
    pub fn operator(kubeconfig: &Path) -> Self {
        let program = env::var_os("PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_imagechain").into());
        let flags = ["--image", OPERATOR_IMAGE, "--listen", "127.0.0.1:0", "--namespace", SYSTEM];
        let mut command = dying_with_us(Path::new(&program));
        command.args(["controller", "--kubeconfig"]).arg(kubeconfig).args(flags);
        // As the chart has it.
        command.env("MALLOC_ARENA_MAX", "1");
        let log = kubeconfig.with_extension("log");
        command.stderr(fs::File::create(&log).expect("a log"));
        Self::start(command, log)
    }

    /// The floor: this program again. What it says is seen, since all that it says is that it fails.
    pub fn floor(kubeconfig: &Path) -> Self {
        let mut command = dying_with_us(&env::current_exe().expect("this program"));
        command.arg("floor").arg(kubeconfig);
        Self::start(command, PathBuf::new())
    }

    fn start(mut command: Command, log: PathBuf) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a program");
        Self { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits for that.
    pub fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("a running program");
        self.child.wait().expect("its end");
    }

    /// Its resident memory now and at most, in MiB.
    pub fn memory(&self) -> (f64, f64) {
        (self.status("VmRSS"), self.status("VmHWM"))
    }

    /// Its resident memory without that of files, in MiB: the program itself is one.
    pub fn own_memory(&self) -> f64 {
        self.status("RssAnon")
    }

    /// What the kernel says of its memory, in MiB.
    fn status(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a running program");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
        let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
        kilobytes / 1024.0
    }

    /// The address of its metrics, which it logs when it begins.
    async fn address(&self) -> String {
        loop {
            let log = fs::read_to_string(&self.log).expect("a log");
            let after = log.split_once("address=").map(|(_, after)| after);
            if let Some(address) = after.and_then(|after| after.split_whitespace().next()) {
                return address.to_owned();
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The requests that it has made, by verb and resource. Those of the lease go on for ever, and so do watches,
    /// which end every minute: they are left out.
    pub async fn requests(&self) -> BTreeMap<String, u64> {
        let url = format!("http://{}/metrics", self.address().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let text = loop {
            match client.get(&url).send().await {
                Ok(answer) => break answer.text().await.expect("text"),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        };
        let lines = text.lines().filter_map(|line| line.strip_prefix("imagechain_requests_total{"));
        let mut counts = BTreeMap::new();
        for (labels, count) in lines.filter_map(|line| line.split_once("} ")) {
            let label = |name: &str| labels.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
            let (verb, resource) = (label("verb").expect("a verb"), label("resource").expect("a resource"));
            if resource != "leases" && !verb.starts_with("watch") {
                *counts.entry(format!("{verb} {resource}")).or_default() += count.parse::<u64>().expect("a count");
            }
        }
        counts
    }

    /// Waits until it has asked the API server nothing for a while; since when that is so, and all its requests.
    pub async fn quiet(&self) -> (Instant, BTreeMap<String, u64>) {
        const WHILE: Duration = Duration::from_secs(4);
        let (mut since, mut last) = (Instant::now(), self.requests().await);
        while since.elapsed() < WHILE {
            sleep(Duration::from_millis(20)).await;
            let now = self.requests().await;
            if now != last {
                (since, last) = (Instant::now(), now);
            }
        }
        (since, last)
    }
}

/// The kernel ends the program with the thread that starts it: the main one.
fn dying_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The processor time of a process so far, in milliseconds.
pub fn processor_time(pid: u32) -> f64 {
    (stat(pid, 11) + stat(pid, 12)) / TICKS * 1000.0
}

/// How many pages of a process were not in memory when it needed them.
pub fn major_faults(pid: u32) -> f64 {
    stat(pid, 9)
}

/// A field of /proc/PID/stat, counted behind the name: that is in brackets, and may hold anything.
fn stat(pid: u32, place: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running program");
    let fields = stat.rsplit_once(')').expect("a stat").1;
    fields.split_whitespace().nth(place).and_then(|field| field.parse().ok()).expect("a number")
}
