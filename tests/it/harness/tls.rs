//! The first steps of a connection, one by one: TCP, TLS, and the HTTP upgrade in whatever bytes a test likes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::client::Resumption;
use rustls::{AlertDescription, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Identity, Pki, Server, soon};

/// A good upgrade, without its last empty line, so that a test can add headers.
pub(crate) const UPGRADE: &str = "GET /v1/feed HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An answer to an upgrade.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    /// Status.
    pub(crate) status: u16,
    /// Head, as it came.
    pub(crate) head: String,
    /// Bytes behind the head: all of the body if it was refused, else the first frames.
    pub(crate) rest: Vec<u8>,
}

impl HttpAnswer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.rest).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The value of a header; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// A TCP connection from a loopback address of its own, so that the limits for each address see each peer alone.
pub(crate) async fn tcp_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Where only 127.0.0.1 is configured the connection comes from there.
    let _ = socket.bind(SocketAddr::new(from, 0));
    let stream = soon("the TCP connection", socket.connect(to)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A loopback address that no other connection of this process has come from.
pub(crate) fn fresh_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [.., high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 77, high, low.max(1)).into()
}

impl Server {
    /// A TCP connection.
    pub(crate) async fn tcp(&self) -> TcpStream {
        tcp_from(fresh_address(), self.address).await
    }

    /// A TLS connection; the server has not judged the certificate yet.
    pub(crate) async fn tls(&self, who: &Identity) -> TlsStream<TcpStream> {
        self.tls_over(self.tcp().await, who).await
    }

    /// As [`Server::tls`], over a TCP connection that stands.
    pub(crate) async fn tls_over(&self, tcp: TcpStream, who: &Identity) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(Arc::new(configuration(who)));
        let name = ServerName::try_from("localhost").unwrap();
        soon("the TLS handshake", connector.connect(name, tcp)).await.unwrap()
    }

    /// Shows a certificate that must be refused: the alert, and the address the server saw.
    pub(crate) async fn refused_handshake(&self, who: &Identity) -> (AlertDescription, String) {
        let mut tls = self.tls(who).await;
        let address = tls.get_ref().0.local_addr().unwrap().to_string();
        let mut byte = [0; 1];
        let error = soon("the refusal", tls.read(&mut byte)).await.unwrap_err();
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => (*alert, address),
            _ => panic!("no alert but {error:?}"),
        }
    }

    /// Sends `request` over a fresh TLS connection and reads the whole answer; and the address the server saw.
    pub(crate) async fn http(&self, who: &Identity, request: impl AsRef<[u8]>) -> (HttpAnswer, String) {
        let mut tls = self.tls(who).await;
        let address = tls.get_ref().0.local_addr().unwrap().to_string();
        tls.write_all(request.as_ref()).await.unwrap();
        (read_answer(&mut tls).await, address)
    }
}

/// Reads an answer: its head if the upgrade was accepted, all of it if it was refused.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> HttpAnswer {
    let mut bytes = Vec::new();
    let head_bytes = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        assert_ne!(
            soon("the answer", stream.read_buf(&mut bytes)).await.unwrap(),
            0,
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    };
    let head = String::from_utf8(bytes[..head_bytes].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    if status != 101 {
        soon("the end of the answer", stream.read_to_end(&mut bytes)).await.unwrap();
    }
    HttpAnswer { status, head, rest: bytes.split_off(head_bytes) }
}

/// TLS as this identity speaks it.
pub(crate) fn configuration(who: &Identity) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(Pki::get().server_authorities()).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match &who.key {
        Some(key) => builder.with_client_auth_cert(who.chain.clone(), key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    tls.resumption = Resumption::disabled();
    tls
}
