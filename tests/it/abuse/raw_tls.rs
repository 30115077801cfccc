//! A TLS client that sends any record: the handshake is rustls's, and the records after it are made here (RFC 8446 section 5.2).

use std::sync::Arc;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{ClientConnection, ConnectionTrafficSecrets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{Identity, Pki, configuration, soon};

/// Content types.
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

/// A `ClientHello` in its record.
pub(super) fn client_hello() -> Vec<u8> {
    let configuration = Arc::new(configuration(&Pki::get().client("acme/alice")));
    let mut connection = ClientConnection::new(configuration, "localhost".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    seq: u64,
}

impl Direction {
    fn new((seq, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => panic!("another cipher"),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().try_into().unwrap(), seq }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.seq.to_be_bytes()).for_each(|(byte, seq)| *byte ^= seq);
        self.seq += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// A connection after its handshake.
pub(super) struct RawTls {
    tcp: TcpStream,
    sending: Direction,
    receiving: Direction,
    /// Bytes that were read past this.
    read: Vec<u8>,
}

impl RawTls {
    /// Takes the connection through its handshake.
    pub(super) async fn connect(tcp: TcpStream, who: &Identity) -> Self {
        let mut configuration = configuration(who);
        configuration.enable_secret_extraction = true;
        let connecting =
            TlsConnector::from(Arc::new(configuration)).connect("localhost".try_into().unwrap(), tcp);
        let (tcp, connection) = soon("the TLS handshake", connecting).await.unwrap().into_inner();
        let secrets = connection.dangerous_extract_secrets().unwrap();
        let (sending, receiving) = (Direction::new(secrets.tx), Direction::new(secrets.rx));
        Self { tcp, sending, receiving, read: Vec::new() }
    }

    /// The address that the server sees.
    pub(super) fn address(&self) -> String {
        self.tcp.local_addr().unwrap().to_string()
    }

    /// The socket, to read bytes from it as they are; [`RawTls::was_read`] wants them.
    pub(super) const fn tcp(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// These bytes were read from the socket.
    pub(super) fn was_read(&mut self, bytes: Vec<u8>) {
        self.read = bytes;
    }

    /// A record, sealed with the next number.
    pub(super) fn record(&mut self, content_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut inner = [payload, &[content_type]].concat();
        let length = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let header = [DATA, 3, 3, length[0], length[1]];
        let nonce = self.sending.nonce();
        self.sending.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inner).unwrap();
        [&header[..], &inner].concat()
    }

    /// Sends bytes as they are; the server may have gone already.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = soon("the write", self.tcp.write_all(bytes)).await;
    }

    /// The next record: its content type and payload; `None` at the end.
    pub(super) async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        let read = std::mem::take(&mut self.read);
        let mut stream = read.as_slice().chain(&mut self.tcp);
        soon("a record", stream.read_exact(&mut header)).await.ok()?;
        let mut sealed = vec![0; u16::from_be_bytes([header[3], header[4]]).into()];
        soon("a record", stream.read_exact(&mut sealed)).await.ok()?;
        self.read = stream.into_inner().0.to_vec();
        let nonce = self.receiving.nonce();
        let inner = self.receiving.key.open_in_place(nonce, Aad::from(header), &mut sealed).unwrap();
        let (content_type, payload) = inner.split_last().unwrap();
        Some((*content_type, payload.to_vec()))
    }

    /// Reads data until this text has come.
    pub(super) async fn receive_until(&mut self, text: &str) {
        let mut all = Vec::new();
        while !all.windows(text.len()).any(|window| window == text.as_bytes()) {
            let Some((DATA, data)) = self.receive().await else {
                panic!("no {text} in {}", String::from_utf8_lossy(&all))
            };
            all.extend(data);
        }
    }

    /// Reads to the end of the connection: the description of the alert that came last.
    pub(super) async fn alert(&mut self) -> Option<u8> {
        let mut last = None;
        while let Some((content_type, payload)) = self.receive().await {
            if content_type == ALERT {
                last = payload.last().copied();
            }
        }
        last
    }
}
