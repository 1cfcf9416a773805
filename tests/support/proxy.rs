//! A proxy in front of the API server whose connections can be frozen and cut.

use std::{net::SocketAddr, sync::Arc};

use kube::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What happens to connections, open and new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes pass.
    Open,
    /// Connections stand, no byte passes: the other side is gone and nobody says so.
    Frozen,
    /// Connections are closed, new ones at once.
    Cut,
}

/// A proxy that ends with this value.
pub struct Proxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Begins to pass bytes on to where the config leads.
    pub async fn start(config: &Config) -> Self {
        let host = config.cluster_url.host().expect("a host").to_owned();
        let port = config.cluster_url.port_u16().expect("a port");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mode = Arc::new(watch::Sender::new(Mode::Open));
        let modes = Arc::clone(&mode);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                tokio::spawn(connection(client, (host.clone(), port), modes.subscribe()));
            }
        });
        Self { address, mode, accepting }
    }

    /// The config through this proxy.
    pub fn config(&self, config: &Config) -> Config {
        let url = format!("https://{}", self.address).parse().expect("an address");
        let mut config = config.clone();
        config.cluster_url = url;
        config
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::Cut);
        self.accepting.abort();
    }
}

async fn connection(client: TcpStream, server: (String, u16), modes: watch::Receiver<Mode>) {
    let mut cut = modes.clone();
    let pass = async {
        let server = TcpStream::connect(server).await?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::try_join!(copy(from_client, to_server, modes.clone()), copy(from_server, to_client, modes.clone()))
    };
    tokio::select! {
        _ = pass => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        modes.wait_for(|mode| *mode == Mode::Open).await.map_err(std::io::Error::other)?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..read]).await?;
    }
}
