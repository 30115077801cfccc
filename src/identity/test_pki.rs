//! A throw-away PKI for tests: a root, an issuing CA for clients, a server, clients of any shape, and lists.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::clock::Clock;
use crate::config::{IdentityConfig, TlsConfig};
use crate::identity::{Identity, IdentityError};
use crate::types::{TimeArithmetic, UnixNanos};

/// The time at which everything in the PKI is valid.
pub(super) const NOW_S: i64 = 1_790_000_000;

/// [`NOW_S`] as the product counts.
pub(super) const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

/// `days` after [`NOW_S`].
pub(super) fn day(days: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW_S).unwrap() + Duration::days(days)
}

/// `days` after [`NOW`], which must not be negative.
pub(super) fn days_later(days: u64) -> UnixNanos {
    NOW.plus_ns(days * 86_400_000_000_000)
}

/// An authority.
pub(super) struct TestCa {
    params: CertificateParams,
    key: KeyPair,
    pub(super) certificate: Certificate,
}

impl TestCa {
    pub(super) fn root(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, 1);
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate }
    }

    pub(super) fn issuing(&self, name: &str, serial: u64) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, serial);
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        Self { params, key, certificate }
    }

    pub(super) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// Its certificate, if it were one that does not allow to sign lists; of roots only.
    pub(super) fn certificate_without_lists(&self) -> String {
        let mut params = self.params.clone();
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.self_signed(&self.key).unwrap().pem()
    }

    /// Its list number `number`, revoking `serials`, good until `next_update`.
    pub(super) fn list(&self, number: u64, serials: &[u64], next_update: OffsetDateTime) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: day(-1),
            reason_code: None,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: day(-100),
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer())
        .unwrap()
        .pem()
        .unwrap()
    }
}

fn ca_params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(serial));
    (params.not_before, params.not_after) = (day(-1000), day(1000));
    params
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) key: KeyPair,
}

impl Leaf {
    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// A client as the PKI script would issue it: `acme/desk7`, trader, serial 7, 30 days.
pub(super) fn client_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "acme");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "trader");
    params.distinguished_name.push(DnType::CommonName, "desk7");
    params.subject_alt_names = vec![SanType::URI("sealfeed://acme/desk7".try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(7));
    (params.not_before, params.not_after) = (day(-1), day(29));
    params
}

/// Issues `params` under `ca`.
pub(super) fn issue(params: &CertificateParams, ca: &TestCa) -> Leaf {
    issue_for(params, ca, KeyPair::generate().unwrap())
}

/// As [`issue`], with a key of its own kind.
pub(super) fn issue_for(params: &CertificateParams, ca: &TestCa, key: KeyPair) -> Leaf {
    let certificate = params.signed_by(&key, &ca.issuer()).unwrap();
    Leaf { certificate: certificate.der().clone(), pem: certificate.pem(), key }
}

/// Files of a whole server in a folder of its own.
pub(super) struct TestPki {
    folder: tempfile::TempDir,
    pub(super) root: TestCa,
    pub(super) clients: TestCa,
    pub(super) server: Leaf,
}

/// A policy that lets the traders of acme do everything.
pub(super) const POLICY: &str = r#"
[[rule]]
name = "traders"
match = { firm = "acme", role = "trader" }
channels = ["trades", "bbo", "book"]
symbols = ["*"]
[rule.orders]
symbols = ["*"]
"#;

impl TestPki {
    pub(super) fn new() -> Self {
        let root = TestCa::root("Test Root");
        let clients = root.issuing("Test Clients", 2);
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (day(-1), day(300));
        let server = issue(&params, &root);
        let pki = Self { folder: tempfile::tempdir().unwrap(), root, clients, server };
        pki.write("server.pem", &pki.server.pem);
        pki.write("server.key", &pki.server.key.serialize_pem());
        pki.write("authorities.pem", &(pki.root.certificate.pem() + &pki.clients.certificate.pem()));
        pki.write_lists(1, &[], &[]);
        pki.write("entitlements.toml", POLICY);
        pki.write("master.hex", &"5a".repeat(32));
        pki
    }

    /// Writes the lists of both authorities with these revoked serial numbers.
    pub(super) fn write_lists(&self, number: u64, of_root: &[u64], of_clients: &[u64]) {
        let lists =
            self.root.list(number, of_root, day(300)) + &self.clients.list(number, of_clients, day(100));
        self.write("lists.pem", &lists);
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner may read.
    pub(super) fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn load(&self) -> Result<Identity, IdentityError> {
        self.load_at(NOW)
    }

    pub(super) fn load_at(&self, now: UnixNanos) -> Result<Identity, IdentityError> {
        Identity::load(&self.tls(), &self.identity(), None, Clock::manual(now))
    }

    pub(super) fn tls(&self) -> TlsConfig {
        TlsConfig::new(
            self.path("server.pem"),
            self.path("server.key"),
            self.path("authorities.pem"),
            self.path("lists.pem"),
        )
    }

    pub(super) fn identity(&self) -> IdentityConfig {
        IdentityConfig {
            entitlements: self.path("entitlements.toml"),
            master_key: self.path("master.hex"),
            previous_master_key: Some(self.path("previous.hex")),
        }
    }
}
