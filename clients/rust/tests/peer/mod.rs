//! A small real peer for the client's tests: TLS 1.3 with client certificates and WebSocket on loopback, that
//! plays one scripted connection.

use std::future::Future;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SerialNumber,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sealfeed_client::wire::reply::{Encode, Entitlement, Limits, Welcome};
use sealfeed_client::wire::{OrderKey, SessionId, UnixNanos};
use sealfeed_client::{ClientConfig, ClientIdentity, FeedUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

/// Serial number of the client certificate that the peer's CRL lists.
const REVOKED_SERIAL: u64 = 66;

/// The order key of every client here.
pub(crate) fn order_key() -> OrderKey {
    OrderKey::from_bytes([5; 32])
}

/// Which client certificate to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Good,
    Expired,
    NotYetValid,
    ForServers,
    Revoked,
    Foreign,
    Nothing,
}

/// One CA, which vouches for the server and its clients.
pub(crate) struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("test CA")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { authority: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.authority.der().clone()
    }

    fn issue(&self, params: &CertificateParams) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn identity(&self, shown: Shown) -> Option<ClientIdentity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "desk7");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        match shown {
            Shown::Nothing => return None,
            Shown::Good | Shown::Foreign => {}
            Shown::Expired => params.not_after = rcgen::date_time_ymd(2020, 1, 1),
            Shown::NotYetValid => params.not_before = rcgen::date_time_ymd(2999, 1, 1),
            Shown::ForServers => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            Shown::Revoked => params.serial_number = Some(SerialNumber::from(REVOKED_SERIAL)),
        }
        let foreign = Self::named("another CA");
        let issuer = if shown == Shown::Foreign { &foreign } else { self };
        let (certificate, key) = issuer.issue(&params);
        Some(ClientIdentity { chain: vec![certificate], key })
    }

    fn server_config(&self) -> ServerConfig {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.issue(&params);
        let crl = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2999, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(REVOKED_SERIAL),
                revocation_time: rcgen::date_time_ymd(2021, 1, 1),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl = crl.signed_by(&self.authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.root()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .with_crls([crl.der().clone()])
            .build()
            .unwrap();
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        builder.with_client_cert_verifier(verifier).with_single_cert(vec![certificate], key).unwrap()
    }
}

/// Starts a peer that plays `script` on its first connection whose client certificate it accepts.
pub(crate) async fn start_raw<F, T>(
    pki: &Pki,
    shown: Shown,
    script: impl FnOnce(TlsStream<TcpStream>) -> F + Send + 'static,
) -> (ClientConfig, JoinHandle<Option<T>>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(pki.server_config()));
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        match acceptor.accept(tcp).await {
            Ok(tls) => Some(script(tls).await),
            Err(_) => None,
        }
    });
    let url = FeedUrl::parse(&format!("wss://localhost:{port}/v1/feed")).unwrap();
    let mut config = ClientConfig::new(url, vec![pki.root()], pki.identity(shown));
    config.order_key = Some(order_key());
    (config, task)
}

/// Starts a peer that upgrades, sends a right `welcome` and then plays `script`.
pub(crate) async fn start<F, T>(
    script: impl FnOnce(Peer) -> F + Send + 'static,
) -> (ClientConfig, JoinHandle<Option<T>>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    start_raw(&Pki::new(), Shown::Good, async move |tls| {
        let mut peer = Peer::upgrade(tls).await;
        peer.send(&peer.welcome(peer.session)).await;
        script(peer).await
    })
    .await
}

/// The server's end of an upgraded connection.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<TlsStream<TcpStream>>,
    pub(crate) session: SessionId,
}

impl Peer {
    /// Reads the upgrade request and accepts it.
    pub(crate) async fn upgrade(mut tls: TlsStream<TcpStream>) -> Self {
        let request = read_request(&mut tls).await;
        assert!(request.contains("\r\nSec-WebSocket-Protocol: sealfeed.v1.json\r\n"), "{request}");
        let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: sealfeed.v1.json\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        tls.write_all(answer.as_bytes()).await.unwrap();
        let exported =
            tls.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
        let socket = WebSocketStream::from_raw_socket(tls, Role::Server, None).await;
        Self { socket, session: SessionId(exported.unwrap()) }
    }

    /// A `welcome` for a session.
    pub(crate) fn welcome(&self, session: SessionId) -> String {
        let limits = Limits {
            message_bytes_max: 8192,
            subscriptions_max: 10,
            sessions_max: 1,
            sessions_policy: None,
            queue_bytes_max: 1 << 20,
            queue_age_ms_max: None,
            malformed_max: 10,
            malformed_interval_ms: 10_000,
            rates: Vec::new(),
        };
        let welcome = Welcome {
            session,
            binding: Welcome::BINDING.into(),
            principal: "acme/desk7".to_owned(),
            server: "test/1".into(),
            ts: UnixNanos(1),
            entitlement: Entitlement::default(),
            limits,
            order_window_ms: 5000,
            heartbeat_ms: 100,
            token_expires: None,
        };
        let mut text = Vec::new();
        welcome.encode(&mut text);
        String::from_utf8(text).unwrap()
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next text of the client; pings are skipped.
    pub(crate) async fn receive(&mut self) -> String {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Closes with a code and waits for the client to agree.
    pub(crate) async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.send(Message::Close(Some(frame))).await.unwrap();
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Waits for the client's close frame.
    pub(crate) async fn wait_for_close(mut self) -> Option<u16> {
        while let Some(Ok(message)) = self.socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|frame| frame.code.into());
            }
        }
        None
    }
}

/// Reads the head of an HTTP request.
pub(crate) async fn read_request(tls: &mut TlsStream<TcpStream>) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(tls.read_buf(&mut request).await.unwrap(), 0, "the client left");
    }
    String::from_utf8(request).unwrap()
}
