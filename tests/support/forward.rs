//! A forward proxy that remembers what it was asked, and a server that adds TLS to another one.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A proxy for http and, by CONNECT, for https. Whatever it is asked for, it asks at 127.0.0.1: the names of tests are
/// names of nobody. It ends with this value.
pub struct Forward {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Forward {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                tokio::spawn(pass(client, Arc::clone(&lines)));
            }
        });
        Self { address, accepting, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked, as `CONNECT host:port` and `GET http://host:port`, each once.
    pub fn seen(&self) -> Vec<String> {
        let mut seen = self.seen.lock().expect("a list").clone();
        seen.sort();
        seen.dedup();
        seen
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let place: String = target.split_inclusive('/').take(3).collect();
    let place = place.trim_end_matches('/');
    seen.lock().expect("a list").push(format!("{method} {place}"));
    let port = place.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("an answer");
    } else {
        server.write_all(&head).await.expect("a request");
    }
    // Either side may leave without a word.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// A server with TLS in front of one without. It ends with this value.
pub struct Tls {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Tls {
    /// In front of that address, with `NAME.crt` and `NAME.key` of a folder.
    pub async fn before(upstream: &str, folder: &Path, name: &str) -> Self {
        let certificates = CertificateDer::pem_file_iter(folder.join(format!("{name}.crt"))).expect("a certificate");
        let certificates = certificates.collect::<Result<Vec<_>, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).expect("a key");
        // Whoever uses TLS needs a provider of it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a config")));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let upstream = upstream.to_owned();
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // Who does not trust it leaves.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(upstream).await.expect("the server");
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, accepting }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
