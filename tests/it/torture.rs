//! The certificate torture set: what a server with many authorities makes of every certificate that somebody could think of, each
//! shown over TLS 1.3 and pushed after an offer of TLS 1.2.
//!
//! The certificates are made byte by byte ([`der`]), for no library writes most of them. The server is a real one, reached over
//! sockets; what it decided is read in its sealed log. Its clock stands still, so that "expired by one second" is one second.

mod chains;
mod der;
mod forms;
mod names;
mod world;

use std::sync::Arc;

use rcgen::KeyPair;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use sealfeed::clock::Clock;
use sealfeed::server::ReloadError;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::harness::{LIMIT, Logged, Pki, Server, UPGRADE, fresh_address, soon, tcp_from, wait_until};
use world::{LATE_AFTER, World};

/// Connections at once.
const AT_ONCE: usize = 8;

/// Whoever is let in is a viewer, as often as the cases come.
const VIEWERS: &str = r#"
[[rule]]
name = "viewers"
match = { role = "viewer" }
channels = ["trades"]
symbols = ["*"]
[rule.limits]
sessions_max = 1000
"#;

/// What a client shows, and what must become of it.
struct Case {
    name: &'static str,
    /// Its own certificate first; empty shows none.
    chain: Vec<Vec<u8>>,
    /// With which it signs the handshake.
    key: Arc<KeyPair>,
    expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Let in as this principal.
    Is(&'static str),
    /// Refused with this code.
    Refused(&'static str),
}

use Expected::{Is, Refused};

impl Case {
    fn new(name: &'static str, certificate: Vec<u8>, key: &Arc<KeyPair>, expected: Expected) -> Self {
        Self { name, chain: vec![certificate], key: Arc::clone(key), expected }
    }

    /// Sends these certificates, too.
    fn with(mut self, others: &[&[u8]]) -> Self {
        self.chain.extend(others.iter().map(|der| der.to_vec()));
        self
    }
}

/// Shows a certificate and signs with a key, whether they belong together or not.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// A client of TLS 1.3 that shows what the case has.
fn configuration(case: &Case) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(Pki::get().server_authorities()).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let secret = PrivatePkcs8KeyDer::from(case.key.serialize_der()).into();
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&secret).unwrap();
    let chain: Vec<CertificateDer<'static>> = case.chain.iter().map(|der| der.clone().into()).collect();
    let shown = (!chain.is_empty()).then(|| Arc::new(CertifiedKey::new(chain, signer)));
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(Shown(shown)))
}

/// Shows a certificate over TLS 1.3 and asks for the upgrade; whether it was answered with 101.
async fn is_let_in(tcp: TcpStream, configuration: Arc<rustls::ClientConfig>) -> bool {
    let attempt = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = TlsConnector::from(configuration).connect(name, tcp).await?;
        tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await?;
        let mut answer = [0; 12];
        tls.read_exact(&mut answer).await?;
        Ok::<bool, std::io::Error>(&answer == b"HTTP/1.1 101")
    };
    soon("an answer", attempt).await.unwrap_or(false)
}

/// A record of TLS 1.2's handshake: one message.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8], width: usize| bytes.len().to_be_bytes()[8 - width..].to_vec();
    let message = [vec![kind], length(body, 3), body.to_vec()].concat();
    [vec![0x16, 3, 3], length(&message, 2), message].concat()
}

/// Offers TLS 1.2 and nothing newer, and sends the certificates without waiting for an answer. Returns the alert.
async fn push_over_tls_1_2(mut tcp: TcpStream, chain: &[Vec<u8>]) -> Vec<u8> {
    let extensions: [&[u8]; 3] = [
        &[0, 10, 0, 4, 0, 2, 0, 23],      // group: secp256r1
        &[0, 11, 0, 2, 1, 0],             // uncompressed points
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4], // signatures: ecdsa_secp256r1_sha256, rsa_pss_rsae_sha256
    ];
    let extensions = extensions.concat();
    let hello = [
        &[3, 3][..],
        &[0x5e; 32],
        &[0],
        &[0, 4, 0xc0, 0x2b, 0xc0, 0x2f], // ECDHE with AES-128-GCM, ECDSA and RSA
        &[1, 0],
        &u16::try_from(extensions.len()).unwrap().to_be_bytes(),
        &extensions,
    ];
    let sized = |bytes: &[u8]| [&bytes.len().to_be_bytes()[5..], bytes].concat();
    let certificates: Vec<u8> = chain.iter().flat_map(|der| sized(der)).collect();
    let pushed = [record(1, &hello.concat()), record(11, &sized(&certificates))].concat();
    tcp.write_all(&pushed).await.unwrap();
    let mut answer = Vec::new();
    // The end may be a reset, since the server leaves bytes of ours unread; the alert comes before it, or is lost with it.
    let _ = soon("the end", tcp.read_to_end(&mut answer)).await;
    answer
}

/// One case after both attempts: the addresses that the server saw, and what the client saw.
struct Tried {
    case: Case,
    over_1_3: String,
    is_let_in: bool,
    over_1_2: String,
    alert: Vec<u8>,
}

async fn attempt(case: Case, server: std::net::SocketAddr) -> Tried {
    let tcp = tcp_from(fresh_address(), server).await;
    let over_1_3 = tcp.local_addr().unwrap().to_string();
    let is_let_in = is_let_in(tcp, Arc::new(configuration(&case))).await;
    let tcp = tcp_from(fresh_address(), server).await;
    let over_1_2 = tcp.local_addr().unwrap().to_string();
    let alert = push_over_tls_1_2(tcp, &case.chain).await;
    Tried { case, over_1_3, is_let_in, over_1_2, alert }
}

/// Tries every case, and returns what does not stand in the log as it must, by the names of the cases.
async fn judge(server: &Server, cases: Vec<Case>) -> Vec<String> {
    let (address, places, mut attempts) = (server.address, Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for case in cases {
        let places = Arc::clone(&places);
        attempts.spawn(async move {
            let _place = places.acquire().await.unwrap();
            attempt(case, address).await
        });
    }
    let tried = attempts.join_all().await;
    let mut events = Vec::new();
    let all_there = || {
        events = server.events();
        let is_there = |address: &String| events.iter().any(|event| event.text("address") == address);
        tried.iter().all(|tried| is_there(&tried.over_1_3) && is_there(&tried.over_1_2))
    };
    let is_complete = wait_until(LIMIT, all_there).await;
    let mut wrong: Vec<String> = tried.iter().filter_map(|tried| fault(tried, &events)).collect();
    if !is_complete {
        wrong.push("some attempts did not come into the log".to_owned());
    }
    wrong
}

/// What is wrong with what became of a case.
fn fault(tried: &Tried, events: &[Logged]) -> Option<String> {
    let of = |address: &str| -> Vec<&Logged> {
        events.iter().filter(|event| event.text("address") == address).collect()
    };
    let Tried { case, over_1_3, is_let_in, over_1_2, alert } = tried;
    let seen = of(over_1_3);
    let became = match &seen[..] {
        [event, ..] if event.kind == "connect" => format!("is {}", event.text("principal")),
        [event] if event.kind == "handshake_refused" => format!("refused {}", event.text("code")),
        other => format!("{other:?}"),
    };
    let expected = match case.expected {
        Is(principal) => format!("is {principal}"),
        Refused(code) => format!("refused {code}"),
    };
    let detail = seen.first().map_or("", |event| event.text("detail"));
    if became != expected || *is_let_in != matches!(case.expected, Is(_)) {
        return Some(format!("{}: {became} ({detail}), expected {expected}; let in: {is_let_in}", case.name));
    }
    if let Refused(code) = case.expected
        && let Some(fault) = claim_fault(seen[0], case)
    {
        return Some(format!("{}: {code}, but {fault}", case.name));
    }
    let is_refused = matches!(&of(over_1_2)[..], [event] if event.has_code("SF-TLS-015"));
    let is_alert = alert.is_empty() || alert == &[0x15, 3, 3, 0, 2, 2, 70];
    (!is_refused || !is_alert)
        .then(|| format!("{}: over TLS 1.2 {:?}, alert {alert:?}", case.name, of(over_1_2)))
}

/// What the record of a refusal should say and does not: subject, serial number and issuer of a certificate that can be read, and
/// nothing that could be taken for structure.
fn claim_fault(refused: &Logged, case: &Case) -> Option<String> {
    let fields =
        ["claimed_subject", "claimed_serial", "claimed_issuer", "detail"].map(|field| refused.text(field));
    if fields.iter().any(|text| !text.bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
        return Some(format!("its record is not printable: {fields:?}"));
    }
    let parsed = case.chain.first().map(|der| x509_parser::parse_x509_certificate(der));
    let [subject, serial, issuer, detail] = fields;
    match parsed {
        Some(Ok(([], certificate))) => {
            let expected: Vec<u8> =
                certificate.raw_serial().iter().copied().skip_while(|byte| *byte == 0).take(32).collect();
            let expected = if expected.is_empty() { vec![0] } else { expected };
            let is_right = serial == sealfeed_wire::hex::encode(&expected)
                && !subject.is_empty()
                && !issuer.is_empty()
                && !detail.is_empty();
            (!is_right).then(|| format!("its record says {fields:?}"))
        }
        _ => (!(subject.is_empty() && serial.is_empty() && issuer.is_empty()))
            .then(|| format!("its record claims {fields:?}")),
    }
}

async fn start(world: &World, clock: &Clock) -> (Server, TempDir) {
    let files = TempDir::new().unwrap();
    let server = Server::try_start_by(clock.clone(), TempDir::new().unwrap(), VIEWERS, |config| {
        world.install(files.path(), &mut config.tls);
    });
    (Box::pin(server).await.unwrap(), files)
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} cases went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_is_let_in_as_whom_it_names_or_refused_with_its_reason_and_none_as_somebody_else() {
    let world = World::new();
    let clock = Clock::manual(world.nanos(0));
    let (server, _files) = start(&world, &clock).await;
    let mut cases = chains::cases(&world);
    cases.extend(forms::cases(&world));
    cases.extend(names::cases(&world));
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two cases have one name: {names:?}");
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    let wrong = judge(&server, cases).await;
    assert_none(&wrong);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_goes_out_of_date_or_is_replaced_by_a_wrong_one_lets_nobody_in_by_it() {
    let world = World::new();
    let clock = Clock::manual(world.nanos(0));
    let (server, files) = start(&world, &clock).await;
    let late = |name, expected| {
        Case::new(name, world.spec("Late", "late").sign(&world.of("Late").key), &world.key, expected)
    };
    let sound = |name, expected| {
        Case::new(name, world.spec("Clients", "u").sign(&world.of("Clients").key), &world.key, expected)
    };
    assert_none(&judge(&server, vec![late("while its list is in date", Is("acme/late"))]).await);
    clock.set(world.nanos(LATE_AFTER));
    let stale = vec![
        late("when its list is out of date", Refused("SF-TLS-008")),
        sound("beside a list that is out of date", Is("acme/u")),
    ];
    assert_none(&judge(&server, stale).await);
    // A list of the right name by the wrong key, none at all, one with something critical that nobody knows, and one for a part of the
    // certificates: the lists in force stay so.
    clock.set(world.nanos(0));
    let path = files.path().join("lists.pem");
    let (all, good) = (world.lists(), world.list("Clients", "Clients", &[]));
    let unknown = der::extension(&der::oid(&[1, 3, 6, 1, 4, 1, 99_999, 1]), true, &[5, 0]);
    let partial = der::extension(&der::ce(28), true, &der::tlv(0x30, &[0x81, 1, 0xff]));
    for wrong in [
        all.replace(&good, &world.list("Clients", "Free", &[])),
        all.replace(&good, ""),
        all.replace(&good, &world.list("Clients", "Clients", &[unknown])),
        all.replace(&good, &world.list("Clients", "Clients", &[partial])),
        all.clone() + &good,
        "no list".to_owned(),
    ] {
        std::fs::write(&path, wrong).unwrap();
        match server.running().reload().await {
            Err(ReloadError::Identity(error)) => assert_eq!(error.code().as_str(), "SF-CFG-008", "{error}"),
            other => panic!("{other:?}"),
        }
    }
    // For the rate of handshakes, a clock that was set back is one interval of silence.
    let early = server.tcp().await;
    server.logged("limit", |event| event.text("code") == "SF-TLS-036").await;
    drop(early);
    clock.set(world.nanos(2));
    let after = vec![
        Case::new(
            "a revoked one, after wrong lists",
            chains::revoked(&world),
            &world.key,
            Refused("SF-TLS-005"),
        ),
        sound("a good one, after wrong lists", Is("acme/u")),
    ];
    assert_none(&judge(&server, after).await);
    server.finish().await;
}
