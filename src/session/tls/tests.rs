//! The three verbs against rustls's own client: whatever the socket takes at once, and however often either side renews
//! its keys, the same bytes come out on both sides.

use std::io::{Read as _, Write as _};

use aws_lc_rs::aead;
use proptest::prelude::*;
use rustls::crypto::{CipherSuiteCommon, CryptoProvider, aws_lc_rs as suites};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite, Tls13CipherSuite};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::net::TcpListener;

use super::*;

/// Records after which the keys of [`provider`]'s suite are renewed.
const RECORDS_PER_KEY: u64 = 5;

/// A provider whose only suite may seal a handful of records with one key.
fn provider() -> Arc<CryptoProvider> {
    let SupportedCipherSuite::Tls13(suite) = suites::cipher_suite::TLS13_AES_128_GCM_SHA256 else {
        panic!("a suite of TLS 1.3")
    };
    let suite: &'static Tls13CipherSuite = Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon { confidentiality_limit: RECORDS_PER_KEY, ..suite.common },
        ..*suite
    }));
    Arc::new(CryptoProvider { cipher_suites: vec![suite.into()], ..suites::default_provider() })
}

/// A provider whose only suite is AES-128-GCM.
fn one_suite() -> CryptoProvider {
    let cipher_suites = vec![suites::cipher_suite::TLS13_AES_128_GCM_SHA256];
    CryptoProvider { cipher_suites, ..suites::default_provider() }
}

fn configurations(provider: &Arc<CryptoProvider>) -> (ServerConfig, Arc<ClientConfig>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let certificate = certified.cert.der().clone();
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.send_tls13_tickets = 0;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (server, Arc::new(client))
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// A socket that takes so many bytes and then none.
struct Socket {
    wire: Vec<u8>,
    room: usize,
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.wire.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both ends, and what is between them.
struct Pair {
    client: ClientConnection,
    tls: Tls,
    sealed: Sealed,
    socket: Socket,
    to_server: Vec<u8>,
    /// Plain bytes: what was sent, and what came.
    to_client: [Vec<u8>; 2],
    from_client: [Vec<u8>; 2],
}

impl Pair {
    /// A pair after its handshake.
    fn connected(provider: &Arc<CryptoProvider>) -> Self {
        let (server, config) = configurations(provider);
        let mut pair = Self {
            client: client(&config),
            tls: Tls::new(Arc::new(server)).unwrap(),
            sealed: Sealed::default(),
            socket: Socket { wire: Vec::new(), room: usize::MAX },
            to_server: Vec::new(),
            to_client: Default::default(),
            from_client: Default::default(),
        };
        while pair.client.is_handshaking() || pair.tls.connection.is_handshaking() {
            pair.client_writes();
            pair.server_reads(usize::MAX).unwrap();
            pair.server_flushes(usize::MAX);
            pair.client_reads().unwrap();
        }
        pair
    }

    fn client_writes(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.to_server).unwrap();
        }
    }

    /// The server reads at most so many bytes.
    fn server_reads(&mut self, bytes: usize) -> Result<bool, TlsError> {
        let mut received: Vec<u8> = self.to_server.drain(..self.to_server.len().min(bytes)).collect();
        self.tls.input(&mut received, &mut self.from_client[1], &mut self.sealed)
    }

    /// The server writes until its socket has taken so many bytes.
    fn server_flushes(&mut self, bytes: usize) {
        self.socket.room = bytes;
        while self.socket.room > 0 && (self.tls.has_unsent() || !self.sealed.is_empty()) {
            self.tls.flush(&mut self.socket, &mut self.sealed).unwrap();
        }
    }

    fn client_reads(&mut self) -> Result<(), TlsError> {
        let mut wire = &self.socket.wire[..];
        while !wire.is_empty() {
            self.client.read_tls(&mut wire).unwrap();
            self.client.process_new_packets()?;
            // Not closed: it ends with `WouldBlock`.
            let _ = self.client.reader().read_to_end(&mut self.to_client[1]);
        }
        self.socket.wire.clear();
        Ok(())
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Seal(bytes) if !self.tls.has_unsent() => {
                self.to_client[0].extend_from_slice(bytes);
                self.tls.seal(bytes, &mut self.sealed).unwrap();
            }
            // Sealed bytes cannot be taken back: who has some left seals nothing more.
            Act::Seal(_) => {}
            Act::Send(bytes) => {
                self.from_client[0].extend_from_slice(bytes);
                self.client.writer().write_all(bytes).unwrap();
                self.client_writes();
            }
            Act::ClientRenews => {
                self.client.refresh_traffic_keys().unwrap();
                self.client_writes();
            }
            Act::ServerRenews => self.tls.renew_keys(&mut self.sealed).unwrap(),
            Act::ServerReads(bytes) => assert!(!self.server_reads(*bytes).unwrap()),
            Act::ServerFlushes(bytes) => self.server_flushes(*bytes),
            Act::ClientReads => {
                self.client_reads().unwrap();
                self.client_writes();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Seal(Vec<u8>),
    Send(Vec<u8>),
    ClientRenews,
    ServerRenews,
    ServerReads(usize),
    ServerFlushes(usize),
    ClientReads,
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        6 => bytes().prop_map(Act::Seal),
        1 => prop::collection::vec(any::<u8>(), 16_000..50_000).prop_map(Act::Seal),
        4 => bytes().prop_map(Act::Send),
        1 => Just(Act::ClientRenews),
        1 => Just(Act::ServerRenews),
        4 => (0_usize..600).prop_map(Act::ServerReads),
        4 => (0_usize..20_000).prop_map(Act::ServerFlushes),
        3 => Just(Act::ClientReads),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_bytes_come_out_under_partial_writes_and_key_updates(
        acts in prop::collection::vec(act(), 1..120),
        few_records in any::<bool>(),
    ) {
        let provider = if few_records { provider() } else { Arc::new(suites::default_provider()) };
        let mut pair = Pair::connected(&provider);
        acts.iter().for_each(|act| pair.act(act));
        for _ in 0..3 {
            pair.server_flushes(usize::MAX);
            pair.client_reads().unwrap();
            pair.client_writes();
            pair.server_reads(usize::MAX).unwrap();
        }
        prop_assert_eq!(&pair.to_client[0], &pair.to_client[1]);
        prop_assert_eq!(&pair.from_client[0], &pair.from_client[1]);
    }
}

#[test]
fn full_records_are_sealed_and_nothing_is_kept_of_what_has_left() {
    let mut pair = Pair::connected(&Arc::new(suites::default_provider()));
    pair.act(&Act::Seal(vec![7; 3 * RECORD_BYTES_MAX]));
    assert_eq!(pair.sealed.as_slice().len(), 3 * (RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES));
    pair.server_flushes(1_000);
    assert!(pair.tls.has_unsent());
    pair.server_flushes(usize::MAX);
    assert!(!pair.tls.has_unsent() && pair.tls.unsent.is_none());
}

#[test]
fn a_broken_record_is_an_error_with_its_alert() {
    let mut pair = Pair::connected(&Arc::new(suites::default_provider()));
    pair.act(&Act::Send(b"hello".to_vec()));
    *pair.to_server.last_mut().unwrap() ^= 1;
    assert_eq!(pair.server_reads(usize::MAX), Err(TlsError::DecryptError));
    pair.server_flushes(usize::MAX);
    let alert = TlsError::AlertReceived(rustls::AlertDescription::BadRecordMac);
    assert_eq!(pair.client_reads(), Err(alert));
}

#[test]
fn both_sides_hear_each_others_end() {
    let mut pair = Pair::connected(&Arc::new(suites::default_provider()));
    pair.act(&Act::Seal(b"last".to_vec()));
    pair.tls.close(&mut pair.sealed).unwrap();
    pair.server_flushes(usize::MAX);
    pair.client_reads().unwrap();
    assert_eq!(pair.to_client[1], b"last");
    assert_eq!(pair.client.reader().read(&mut [0; 10]).unwrap(), 0, "the server's end");
    pair.client.send_close_notify();
    pair.client_writes();
    assert!(pair.server_reads(usize::MAX).unwrap());
}

#[tokio::test]
async fn the_exporter_value_is_the_clients_for_every_suite() {
    for suite in suites::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some()) {
        let provider = CryptoProvider { cipher_suites: vec![*suite], ..suites::default_provider() };
        let (server, config) = configurations(&Arc::new(provider));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, connected) = tokio::join!(listener.accept(), connecting);
        let connector = tokio_rustls::TlsConnector::from(config);
        let name = ServerName::try_from("localhost").unwrap();
        let (accepted, connected) =
            tokio::join!(accept(accepted.unwrap().0, server), connector.connect(name, connected.unwrap()));
        let connected = connected.unwrap();
        let empty = Some(&[][..]);
        let expected =
            connected.get_ref().1.export_keying_material([0; 32], Welcome::EXPORTER_LABEL, empty).unwrap();
        assert_eq!(accepted.unwrap().1, expected, "{suite:?}");
    }
}

/// A peer that holds back the rest of a handshake message leaves its beginning in our buffer: writing goes on.
#[test]
fn the_beginning_of_a_key_update_does_not_disturb_what_is_sealed() {
    let mut pair = Pair::connected(&Arc::new(one_suite()));
    let secrets = pair.client.dangerous_extract_secrets().unwrap();
    let (sequence, rustls::ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets.tx else {
        panic!("the only suite")
    };
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, key.as_ref()).unwrap());
    // KeyUpdate (24), three bytes of length, of which two come; then the type of the content (22).
    let mut payload = vec![24, 0, 0, 22];
    let header = [23, 3, 3, 0, u8::try_from(payload.len() + 16).unwrap()];
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    nonce[4..].iter_mut().zip(sequence.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut payload).unwrap();
    let mut record = [&header[..], &payload].concat();
    let (mut plain, mut sealed) = (Vec::new(), Sealed::default());
    assert_eq!(pair.tls.input(&mut record, &mut plain, &mut sealed), Ok(false));
    assert!(!pair.tls.received.is_empty(), "the beginning is kept");
    for _ in 0..2 {
        pair.tls.seal(b"still here", &mut sealed).unwrap();
    }
    assert_eq!(sealed.as_slice().len(), 2 * (10 + RECORD_OVERHEAD_BYTES));
    pair.tls.close(&mut sealed).unwrap();
}
