//! The server as the doctor reaches it: TCP, TLS and the upgrade, each by itself, each with a time limit.
//!
//! The server's certificate is checked as every client checks it, and kept to be shown. Nothing is ever resumed. Answers to an
//! upgrade are read up to 32 KiB.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sealfeed_client::{ClientIdentity, FeedUrl};
use sealfeed_wire::SUBPROTOCOL_JSON;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 32 * 1024;

/// A TLS connection.
pub(super) type Tls = TlsStream<TcpStream>;

/// Where the server is and whom to trust.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) url: FeedUrl,
    pub(super) address: SocketAddr,
    /// For each step.
    pub(super) timeout: Duration,
    pub(super) roots: Arc<RootCertStore>,
    /// More header lines of every upgrade, each with its line end, as the client's configuration has them.
    pub(super) headers: String,
}

/// The certificates that the server showed.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<Vec<CertificateDer<'static>>>);

impl Shown {
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.lock().clone()
    }
}

impl Endpoint {
    /// A TCP connection.
    pub(super) async fn tcp(&self) -> io::Result<TcpStream> {
        let tcp = self.within(TcpStream::connect(self.address)).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// A TLS connection over `tcp`, by this identity or none. The server has not judged it yet.
    pub(super) async fn tls(
        &self,
        tcp: TcpStream,
        identity: Option<&ClientIdentity>,
        shown: &Arc<Shown>,
    ) -> io::Result<Tls> {
        let config = self.config(identity, shown).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        self.within(connector.connect(self.url.server_name().clone(), tcp)).await
    }

    /// TCP and TLS.
    pub(super) async fn secured(&self, identity: Option<&ClientIdentity>) -> io::Result<Tls> {
        self.tls(self.tcp().await?, identity, &Arc::default()).await
    }

    /// Reads on without having sent anything: what the server says to a handshake that it refuses.
    pub(super) async fn raw_probe(&self, identity: Option<&ClientIdentity>) -> io::Result<usize> {
        let mut tls = self.secured(identity).await?;
        let mut byte = [0; 1];
        self.within(tls.read(&mut byte)).await
    }

    /// Asks for the upgrade as a client of ours does, but for `change`.
    pub(super) async fn upgrade(&self, tls: &mut Tls, change: &Asked<'_>) -> io::Result<Answer> {
        let key = generate_key();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {}\r\nUser-Agent: sealfeed-doctor/{}\r\n{}{}\r\n",
            change.path.unwrap_or(self.url.path()),
            self.url.authority(),
            change.protocol.unwrap_or(SUBPROTOCOL_JSON),
            env!("CARGO_PKG_VERSION"),
            self.headers,
            change.headers,
        );
        let answering = async {
            let written = async {
                tls.write_all(request.as_bytes()).await?;
                tls.flush().await
            }
            .await;
            // A server that refuses may have closed already: what it said is still to be read.
            let read = read_answer(tls).await;
            match (read, written) {
                (Err(read), Err(written)) if alert_in(&read).is_none() => Err(written),
                (read, _) => read,
            }
        };
        let mut answer = self.within(answering).await?;
        answer.is_accepted = answer.status == 101
            && answer.header("sec-websocket-accept") == Some(derive_accept_key(key.as_bytes()).as_str());
        Ok(answer)
    }

    /// Something within the time limit.
    pub(super) async fn within<T>(&self, happens: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        match tokio::time::timeout(self.timeout, happens).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn config(
        &self,
        identity: Option<&ClientIdentity>,
        shown: &Arc<Shown>,
    ) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let general = |error: rustls::client::VerifierBuilderError| rustls::Error::General(error.to_string());
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider));
        let inner = inner.build().map_err(general)?;
        let watching = Watching { inner, shown: Arc::clone(shown) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(watching));
        let mut config = match identity {
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Whether certificate and key are of one pair.
pub(super) fn check_pair(identity: &ClientIdentity) -> Result<(), rustls::Error> {
    let provider: CryptoProvider = aws_lc_rs::default_provider();
    let certified =
        rustls::sign::CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), &provider);
    certified.map(|_| ())
}

/// The alert that an error of a TLS stream stands for.
pub(super) fn alert_in(error: &io::Error) -> Option<AlertDescription> {
    match tls_error(error)? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// The error of TLS in an error of its stream.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Checks as every client does, and keeps what was shown.
#[derive(Debug)]
struct Watching {
    inner: Arc<WebPkiServerVerifier>,
    shown: Arc<Shown>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        *self.shown.0.lock() = chain.map(|der| der.clone().into_owned()).collect();
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What is asked for in an upgrade other than usual.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    pub(super) path: Option<&'a str>,
    pub(super) protocol: Option<&'a str>,
    /// More header lines, each with its line end.
    pub(super) headers: &'a str,
}

/// An answer to an upgrade.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// Bytes behind the head: the body of a refusal, else the first frames.
    pub(super) rest: Vec<u8>,
    /// Whether it is a 101 to this very request.
    pub(super) is_accepted: bool,
}

impl Answer {
    /// The value of a header; its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// A text of a refusal's body; empty if it has none.
    pub(super) fn text(&self, field: &str) -> String {
        let body: Value = serde_json::from_slice(&self.rest).unwrap_or_default();
        body[field].as_str().unwrap_or_default().to_owned()
    }
}

async fn read_answer(tls: &mut Tls) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let (head_bytes, mut answer) = loop {
        if tls.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(found) = parse(&bytes)? {
            break found;
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(invalid("the answer to the upgrade is larger than 32 KiB"));
        }
    };
    if answer.status != 101 {
        let length = answer.header("content-length").and_then(|text| text.parse::<usize>().ok());
        let wanted = head_bytes + length.unwrap_or(ANSWER_BYTES_MAX).min(ANSWER_BYTES_MAX);
        // A body that breaks off leaves the status to speak.
        while bytes.len() < wanted && tls.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {}
    }
    answer.rest = bytes.split_off(head_bytes);
    Ok(answer)
}

fn parse(bytes: &[u8]) -> io::Result<Option<(usize, Answer)>> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut lines);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(invalid("the answer to the upgrade is not HTTP/1.1")),
        Ok(httparse::Status::Complete(head_bytes)) => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let headers = response.headers.iter();
            let headers = headers.map(|line| (line.name.to_ascii_lowercase(), text(line.value))).collect();
            let status = response.code.unwrap_or(0);
            Ok(Some((head_bytes, Answer { status, headers, rest: Vec::new(), is_accepted: false })))
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
