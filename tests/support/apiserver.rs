//! A real API server for a test: etcd, kube-apiserver and the controllers that clean up, from the
//! sandbox's programs (`sandbox/README.md`). The test plays scheduler and kubelet.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Error, Result},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Deserialize;

/// Where a user brings a cluster of their own.
const OWN_CLUSTER: &str = "IMAGECHAIN_TEST_KUBECONFIG";

/// An API server that ends with this value, or with the test's process, whatever way that ends.
pub struct ApiServer {
    kubeconfig: Kubeconfig,
    /// Absent where the user brought their own.
    started: Option<Started>,
}

/// A server of ours.
pub struct Started {
    /// What it said when it was ready.
    pub ready: Ready,
    /// Its end tells the server to end: the kernel closes it when we are killed.
    keep_alive: Option<ChildStdin>,
    launcher: Child,
}

/// What a server says when it is ready, as one line of JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The path of the admin's kubeconfig; empty without an API server.
    pub kubeconfig: PathBuf,
    /// Host and port of the registry, if one was asked for.
    pub registry: Option<String>,
    /// The base URL of the git server, if one was asked for.
    pub git: Option<String>,
    /// The same over ssh.
    pub ssh: Option<String>,
    /// Where the git server's repositories are, as NAME.git.
    pub git_folder: Option<PathBuf>,
    /// Where the logs are, among them `audit.log`.
    pub folder: PathBuf,
    /// How long it took to start.
    pub milliseconds: u64,
    /// The process ID of each program.
    pub processes: BTreeMap<String, i32>,
}

impl ApiServer {
    /// Starts a server, or uses the one that `IMAGECHAIN_TEST_KUBECONFIG` leads to. `KUBEBUILDER_ASSETS`
    /// may name a folder with other programs to start.
    pub fn start() -> Result<Self> {
        match env::var_os(OWN_CLUSTER) {
            Some(path) => Self::existing(Path::new(&path)),
            None => Self::own(&mut Command::new(launcher())),
        }
    }

    /// Uses a cluster that is there already, with the rights of its kubeconfig.
    pub fn existing(kubeconfig: &Path) -> Result<Self> {
        Ok(Self { kubeconfig: read(kubeconfig)?, started: None })
    }

    /// Starts a server by a launcher.
    pub fn own(launcher: &mut Command) -> Result<Self> {
        let started = Started::new(launcher.stdin(Stdio::piped()))?;
        Ok(Self { kubeconfig: read(&started.ready.kubeconfig)?, started: Some(started) })
    }

    /// Our own server; none where the user brought theirs.
    pub fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }

    /// A client of the admin, who may do everything.
    pub async fn admin(&self) -> Client {
        Client::try_from(self.config().await).expect("a client of the admin")
    }

    /// How to reach the server as the admin, for clients with settings of their own.
    pub async fn config(&self) -> Config {
        Config::from_custom_kubeconfig(self.kubeconfig.clone(), &KubeConfigOptions::default())
            .await
            .expect("the admin's kubeconfig")
    }

    /// A client with a token of the `ServiceAccount`, as a pod would have it: what RBAC and admission
    /// policies see is the account and nothing of the admin.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Client {
        self.service_account_with(self.config().await, namespace, name).await
    }

    /// The same, with settings of the client's own.
    pub async fn service_account_with(&self, mut config: Config, namespace: &str, name: &str) -> Client {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await, namespace);
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .expect("a token of the ServiceAccount");
        config.auth_info = kube::config::AuthInfo {
            token: Some(answer.status.expect("a token").token.into()),
            ..kube::config::AuthInfo::default()
        };
        Client::try_from(config).expect("a client of the ServiceAccount")
    }
}

impl Started {
    /// Starts a launcher; `command` decides what its standard input is.
    pub fn new(command: &mut Command) -> Result<Self> {
        Self::with(command, &[])
    }

    /// The same, with flags of `test-server`.
    pub fn with(command: &mut Command, flags: &[&str]) -> Result<Self> {
        let mut launcher = command.arg("test-server").args(flags).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(output) = launcher.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let ready = serde_json::from_str(&line)
            .map_err(|error| Error::other(format!("the test server did not start ({error}): it said why above")))?;
        Ok(Self { ready, keep_alive: launcher.stdin.take(), launcher })
    }

    /// The audit log as it stands: a JSON object per line and write.
    pub fn audit_log(&self) -> Result<String> {
        fs::read_to_string(self.ready.folder.join("audit.log"))
    }

    /// kubectl, as the admin.
    pub fn kubectl(&self) -> Result<Command> {
        // All of Kubernetes is one program, which runs the part that its first argument names.
        let program = fs::read_link(format!("/proc/{}/exe", self.ready.processes["kube-apiserver"]))?;
        let mut command = Command::new(program);
        command.arg("kubectl").arg("--kubeconfig").arg(&self.ready.kubeconfig);
        // The user's own would remember another server that once had the same port.
        command.arg("--cache-dir").arg(self.ready.folder.join("kubectl-cache"));
        Ok(command)
    }

    /// Another API server on the same etcd, on a port of its own, which a test may kill: the launcher ends with
    /// its own. It ends with the thread that starts it.
    pub fn second(&self, port: u16) -> Result<Child> {
        let line = fs::read(format!("/proc/{}/cmdline", self.ready.processes["kube-apiserver"]))?;
        let line = String::from_utf8(line).map_err(Error::other)?;
        let arguments = line.trim_end_matches('\0').split('\0').filter(|each| !each.starts_with("--audit-log-path="));
        let arguments = arguments.map(|each| match each.split_once('=') {
            Some(("--secure-port", _)) => format!("--secure-port={port}"),
            _ => each.to_owned(),
        });
        let log = fs::File::create(self.ready.folder.join("second.log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(arguments).stdout(log.try_clone()?).stderr(log).spawn()
    }

    /// Waits for the launcher, which ends after all that it started.
    pub fn wait(&mut self) -> Result<()> {
        self.launcher.wait().map(drop)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.keep_alive.take());
        if let Err(error) = self.wait() {
            eprintln!("waiting for the end of the test server: {error}");
        }
    }
}

/// The program that starts servers.
pub fn launcher() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/sandbox")
}

fn read(path: &Path) -> Result<Kubeconfig> {
    Kubeconfig::read_from(path).map_err(Error::other)
}
