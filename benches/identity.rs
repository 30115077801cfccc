//! What it costs to judge a client: reading a revocation list, a whole handshake, the certificate alone, and an open session; with
//! lists and deny-lists that are empty, and with 100,000 entries.
//!
//! `load` is everything that a start or a reload does with all its files; its floor is SHA-256 over the same list. `handshake` is the
//! server's CPU time for one handshake of TLS 1.3 in memory; its floor is a bare rustls with its own verifier, the same lists, and
//! the same cryptography. `identify` judges the certificate of a finished handshake again and derives its order keys; `open` asks
//! whether an open session's certificate still holds. `memory` is what the process grew by when the files were first loaded, what
//! that needed for a while included.
//!
//! `cargo bench --bench identity`, or `-- --smoke` for a few seconds.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its numbers and may stop")]

mod support;

use std::hint::black_box;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};
use sealfeed::clock::Clock;
use sealfeed::config::{IdentityConfig, TlsConfig};
use sealfeed::identity::Identity;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use support::{Table, ratio, thread_cpu_ns};

fn main() {
    let is_smoke = support::smoke();
    // Entries of the revocation list, and of the deny-list.
    let (entries, handshakes, checks): (&[(usize, usize)], u64, u64) = if is_smoke {
        (&[(0, 0), (1_000, 1_000)], 20, 200)
    } else {
        (&[(0, 0), (100_000, 0), (0, 100_000)], 1_000, 20_000)
    };
    let mut table = Table::new(&[
        "revoked",
        "denied",
        "list KB",
        "load ms",
        "SHA-256 ms",
        "ratio",
        "memory MB",
        "handshake us",
        "rustls us",
        "ratio",
        "identify us",
        "open ns",
    ]);
    for &(revoked, denied) in entries {
        let world = World::new(revoked, denied);
        let before = resident_bytes();
        let identity = world.identity();
        let grown = resident_bytes().saturating_sub(before);
        let (load, floor) = (world.load(is_smoke), world.hash());
        let bare = world.bare();
        let client = Arc::new(world.client());
        // By turns, so that what disturbs one disturbs the other.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..handshakes {
            ours.push(handshake(&identity.accept().config, &client));
            theirs.push(handshake(&bare, &client));
        }
        let (ours, theirs) = (support::percentile(&mut ours, 50), support::percentile(&mut theirs, 50));
        let chain = std::slice::from_ref(&world.leaf);
        let identify = each(checks, || {
            black_box(identity.identify(chain, Clock::System.now())).unwrap();
        });
        let identified = identity.identify(chain, Clock::System.now()).unwrap();
        let open = each(checks, || {
            black_box(identity.still_valid(&identified, Clock::System.now())).unwrap();
        });
        table.row(&[
            revoked.to_string(),
            denied.to_string(),
            (world.list_bytes / 1_000).to_string(),
            format!("{:.1}", ratio(load, 1_000_000)),
            format!("{:.2}", ratio(floor, 1_000_000)),
            format!("{:.1}", ratio(load, floor)),
            format!("{:.1}", ratio(grown, 1_000_000)),
            format!("{:.1}", ratio(ours, 1_000)),
            format!("{:.1}", ratio(theirs, 1_000)),
            format!("{:.2}", ratio(ours, theirs)),
            format!("{:.1}", identify / 1_000.0),
            format!("{open:.0}"),
        ]);
    }
    println!("judging a client: CPU time");
    table.print();
}

/// Mean CPU nanoseconds of a step.
fn each(count: u64, mut step: impl FnMut()) -> f64 {
    let start = thread_cpu_ns();
    for _ in 0..count {
        step();
    }
    ratio(thread_cpu_ns() - start, count)
}

/// CPU nanoseconds that the server needs for one handshake.
fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> u64 {
    let start = thread_cpu_ns();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut spent = thread_cpu_ns() - start;
    let mut client = ClientConnection::new(Arc::clone(client), "localhost".try_into().unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let start = thread_cpu_ns();
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        spent += thread_cpu_ns() - start;
        let mut unread = answer.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    spent
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

/// Files of a server whose lists have so many entries, and one client.
struct World {
    folder: tempfile::TempDir,
    root: Certificate,
    issuing: Certificate,
    server: CertificateDer<'static>,
    server_key: KeyPair,
    leaf: CertificateDer<'static>,
    leaf_key: KeyPair,
    list_bytes: u64,
}

impl World {
    fn new(revoked: usize, denied: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = authority("Bench Root", None);
        let issuing = authority("Bench Clients", Some(&root));
        let (server_key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (from_now(-1), from_now(30));
        let server = params.signed_by(&server_key, &root.issuer()).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in [
            (DnType::OrganizationName, "acme"),
            (DnType::OrganizationalUnitName, "trader"),
            (DnType::CommonName, "desk7"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (from_now(-1), from_now(30));
        let leaf = params.signed_by(&leaf_key, &issuing.issuer()).unwrap();
        let (lists, list_bytes) = lists(&root, &issuing, revoked);
        let write = |name: &str, text: &str| write(folder.path(), name, text);
        write("server.pem", &server.pem());
        write("server.key", &server_key.serialize_pem());
        write("authorities.pem", &(root.certificate.pem() + &issuing.certificate.pem()));
        write("lists.pem", &lists);
        write("deny.toml", &deny_list(denied));
        write(
            "entitlements.toml",
            "[[rule]]\nname = \"all\"\nmatch = {}\nchannels = [\"trades\"]\nsymbols = [\"*\"]\n",
        );
        write("master.hex", &"5a".repeat(32));
        Self {
            root: root.certificate,
            issuing: issuing.certificate,
            server: server.der().clone(),
            server_key,
            leaf: leaf.der().clone(),
            leaf_key,
            list_bytes,
            folder,
        }
    }

    fn identity(&self) -> Identity {
        let file = |name: &str| self.folder.path().join(name);
        let mut tls = TlsConfig::new(
            file("server.pem"),
            file("server.key"),
            file("authorities.pem"),
            file("lists.pem"),
        );
        tls.deny_list = Some(file("deny.toml"));
        let identity = IdentityConfig {
            entitlements: file("entitlements.toml"),
            master_key: file("master.hex"),
            previous_master_key: None,
        };
        Identity::load(&tls, &identity, None, Clock::System).unwrap()
    }

    /// CPU nanoseconds of one load, the least of some.
    fn load(&self, is_smoke: bool) -> u64 {
        let once = |_| {
            let start = thread_cpu_ns();
            black_box(self.identity());
            thread_cpu_ns() - start
        };
        (0..if is_smoke { 1 } else { 7 }).map(once).min().unwrap()
    }

    /// CPU nanoseconds of SHA-256 over the list as it stands in its file, the least of some.
    fn hash(&self) -> u64 {
        let text = std::fs::read(self.folder.path().join("lists.pem")).unwrap();
        let once = |_| {
            let start = thread_cpu_ns();
            black_box(Sha256::digest(&text));
            thread_cpu_ns() - start
        };
        (0..7).map(once).min().unwrap()
    }

    /// rustls by itself: the same cryptography, authorities and lists, its own verifier.
    fn bare(&self) -> Arc<ServerConfig> {
        let provider = provider();
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let lists =
            CertificateRevocationListDer::pem_file_iter(self.folder.path().join("lists.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .with_crls(lists.map(Result::unwrap))
            .enforce_revocation_expiration()
            .build()
            .unwrap();
        let key = PrivatePkcs8KeyDer::from(self.server_key.serialize_der()).into();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.server.clone()], key)
            .unwrap();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }

    fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let key = PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()).into();
        // The bare verifier needs the issuer from the client, ours has it from the operator.
        let chain = vec![self.leaf.clone(), self.issuing.der().clone()];
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap()
    }
}

impl Authority {
    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// As the server has it.
fn provider() -> Arc<CryptoProvider> {
    let suites = rustls::crypto::ring::DEFAULT_CIPHER_SUITES;
    Arc::new(CryptoProvider {
        cipher_suites: suites.iter().copied().filter(|suite| suite.tls13().is_some()).collect(),
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

fn from_now(days: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(Clock::System.now().0.into()).unwrap() + Duration::days(days)
}

fn authority(name: &str, issuer: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (from_now(-100), from_now(1_000));
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, &issuer.issuer()).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Authority { params, key, certificate }
}

/// Serial numbers of 20 bytes, as authorities draw them: distinct, and spread as random ones are.
fn serial(number: usize) -> [u8; 20] {
    let digest = Sha256::digest(number.to_be_bytes());
    let mut serial = [0; 20];
    serial.copy_from_slice(&digest[..20]);
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

/// The lists of both authorities, and the bytes of the long one.
fn lists(root: &Authority, issuing: &Authority, entries: usize) -> (String, u64) {
    let list = |authority: &Authority, entries: usize| {
        let revoked = |number| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial(number)),
            revocation_time: from_now(-1),
            reason_code: None,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: from_now(-1),
            next_update: from_now(30),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: (0..entries).map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&authority.issuer())
        .unwrap()
    };
    let long = list(issuing, entries);
    (list(root, 0).pem().unwrap() + &long.pem().unwrap(), long.der().len() as u64)
}

fn deny_list(entries: usize) -> String {
    let entry = |number| {
        let digits = sealfeed_wire::hex::encode(&serial(number + 1_000_000));
        format!("[[deny]]\nserial = \"{digits}\"\nreason = \"bench\"\n")
    };
    (0..entries).map(entry).collect()
}

/// Writes a file that only its owner may read.
fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
