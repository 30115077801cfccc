//! What the servers need before they start, and who trades: a throw-away PKI, a configuration, traders with certificates of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sealfeed_wire::value::CertificateHash;
use sealfeed_wire::{OrderKey, hex};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::{tls, utc_ns};

/// What is traded, each by every fourth trader.
pub(crate) const SYMBOLS: [&str; 4] = ["ALFA", "BRAVO", "CHARLIE", "DELTA"];

/// Where the certificates are, in the ground's folder.
const PKI: &str = "pki";
/// Segments of the log in smoke mode; else they are as they are by default.
const SEGMENT_BYTES_SMOKE: u64 = 8 * 1024 * 1024;

/// A folder with everything in it, on the disk of the build; removed in the end.
pub(crate) struct Ground {
    folder: TempDir,
    is_smoke: bool,
    /// How long the first entry of a group waits for others.
    pub(crate) group_window_us: u64,
    configurations: u32,
    issuer: Issuer<'static, KeyPair>,
    master: [u8; 32],
    roots: Arc<RootCertStore>,
}

/// Who trades.
pub(crate) struct Trader {
    /// Of each, another one: it stands in its nonces and in the names of its orders.
    pub(crate) number: u64,
    /// With its certificate.
    pub(crate) tls: Arc<ClientConfig>,
    /// Signs its orders.
    pub(crate) order_key: OrderKey,
}

/// A server's files.
pub(crate) struct Configuration {
    /// What it reads.
    pub(crate) file: PathBuf,
    /// Where its log is.
    pub(crate) log: PathBuf,
    /// Bytes of a segment of the log.
    pub(crate) segment_bytes: u64,
}

impl Ground {
    /// Makes the authorities and the server's certificate with the bundled script.
    pub(crate) fn prepare(is_smoke: bool, group_window_us: u64) -> Self {
        // Not the system's folder for temporary files: where that is kept in memory a synced write is none.
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let pki = folder.path().join(PKI);
        run_pki(&pki, &["init", "--demo"]);
        run_pki(&pki, &["server", "localhost", "--san", "DNS:localhost,IP:127.0.0.1"]);
        // No bound that an order of the load could meet: what is measured is the way of an order that is accepted.
        let policy = "[[rule]]\nname = \"traders\"\nmatch = { role = \"trader\" }\n\
            channels = [\"trades\", \"bbo\", \"book\"]\nsymbols = [\"*\"]\n\
            [rule.orders]\nsymbols = [\"*\"]\norders_per_second = 1000000\n\
            [rule.limits]\nmessages_per_second = 1000000\n";
        fs::write(folder.path().join("entitlements.toml"), policy).expect("the policy");
        let master = fs::read_to_string(pki.join("master/current.hex")).expect("the master secret");
        Self {
            issuer: issuer(&pki.join("authority/clients")),
            master: hex::decode(master.trim_end()).expect("64 digits"),
            roots: Arc::new(tls::roots(&pki.join("ca/servers.pem"))),
            folder,
            is_smoke,
            group_window_us,
            configurations: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.folder.path().join(PKI)
    }

    /// A trader with a certificate that nobody else has, issued here: the script takes a tenth of a second for each.
    pub(crate) fn trader(&self, number: u64) -> Trader {
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf(number).signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let order_key = OrderKey::derive(&self.master, &fingerprint(&certificate));
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let tls = Arc::new(tls::client_configuration(Arc::clone(&self.roots), vec![certificate], key));
        Trader { number, tls, order_key }
    }

    /// The configuration of a server with a log of its own. As by default, the tape included, but for bounds that the load
    /// would meet, and for the patience with clients that wait for others to connect. The synthetic market is there for its
    /// instruments; it trades once a second.
    pub(crate) fn configuration(&mut self) -> Configuration {
        self.configurations += 1;
        let log = format!("log{}", self.configurations);
        let segment =
            if self.is_smoke { format!("segment_bytes = {SEGMENT_BYTES_SMOKE}\n") } else { String::new() };
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n\
            [tls]\ncertificate = \"pki/servers/localhost/server.pem\"\nkey = \"pki/servers/localhost/server.key\"\n\
            client_authorities = \"pki/ca/clients.pem\"\nclient_revocation_lists = \"pki/crl/clients.pem\"\n\
            [identity]\nentitlements = \"entitlements.toml\"\nmaster_key = \"pki/master/current.hex\"\n\
            [log]\ndirectory = \"{log}\"\ngroup_window_us = {}\n{segment}\
            [orders]\nnonces_per_principal_max = 1000000\nclient_order_ids_max = 10000000\n\
            [limits]\nconnections_per_address_max = 100000\nconnects_per_address_per_second = 100000\n\
            first_request_timeout_ms = 600000\nidle_timeout_ms = 600000\n\
            [telemetry]\nlevel = \"warn\"\n\
            [[source]]\ntype = \"synthetic\"\nsymbols = {SYMBOLS:?}\nmessages_per_second = 1\n",
            self.group_window_us
        );
        let file = self.folder.path().join(format!("sealfeed{}.toml", self.configurations));
        fs::write(&file, text).expect("the configuration");
        let config = sealfeed::config::load(&file).expect("a valid configuration");
        Configuration { file, log: config.log.directory, segment_bytes: config.log.segment_bytes }
    }
}

fn run_pki(folder: &Path, command: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pki/pki.sh");
    let mut bash = Command::new("bash");
    bash.arg(script).arg("--dir").arg(folder).args(command).stdin(Stdio::null());
    let output = bash.output().expect("bash runs");
    assert!(output.status.success(), "pki.sh {command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The script's own authority for clients, under its own name.
fn issuer(folder: &Path) -> Issuer<'static, KeyPair> {
    let pem = fs::read(folder.join("ca.pem")).expect("the authority's certificate");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
    let authority = pem.parse_x509().expect("a certificate");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for attribute in authority.subject().iter_attributes() {
        let kind =
            DnType::from_oid(&attribute.attr_type().iter().expect("small numbers").collect::<Vec<u64>>());
        params.distinguished_name.push(kind, attribute.as_str().expect("text"));
    }
    let key = fs::read_to_string(folder.join("ca.key")).expect("the authority's key");
    Issuer::new(params, KeyPair::from_pem(&key).expect("a key"))
}

fn leaf(number: u64) -> CertificateParams {
    let now = OffsetDateTime::from_unix_timestamp_nanos(utc_ns().into()).expect("a time");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "acme");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "trader");
    params.distinguished_name.push(DnType::CommonName, format!("trader{number}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (now - Duration::hours(1), now + Duration::days(1));
    params
}

fn fingerprint(certificate: &CertificateDer<'_>) -> CertificateHash {
    use sha2::Digest as _;
    CertificateHash(sha2::Sha256::digest(certificate.as_ref()).into())
}
