//! One PKI for the whole process, made by the script that operators use.
//!
//! It lies in the build's folder for temporary files; those that earlier processes left there are removed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sealfeed::clock::Clock;
use sealfeed_wire::signing::{self, OrderKey};

/// A PKI in a folder, as `pki/pki.sh` makes it.
pub(crate) struct Pki {
    /// Its folder.
    pub(crate) folder: PathBuf,
}

/// What a client shows and signs with.
pub(crate) struct Identity {
    /// Certificate and intermediates; empty shows none.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Private key of the certificate.
    pub(crate) key: Option<PrivateKeyDer<'static>>,
    /// Signs its orders.
    pub(crate) order_key: Option<OrderKey>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.as_ref().map(PrivateKeyDer::clone_key),
            order_key: self.order_key.clone(),
        }
    }
}

impl Identity {
    /// Nobody: no certificate at all.
    pub(crate) const fn none() -> Self {
        Self { chain: Vec::new(), key: None, order_key: None }
    }

    /// From files; without `order_key` it cannot sign.
    pub(crate) fn read(certificate: &Path, key: &Path, order_key: Option<&Path>) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let order_key =
            order_key.map(|path| OrderKey::parse(&std::fs::read_to_string(path).unwrap()).unwrap());
        Self { chain, key: Some(PrivateKeyDer::from_pem_file(key).unwrap()), order_key }
    }
}

impl Pki {
    /// The PKI of this process. Its principals: `acme/alice` and `acme/carol` (viewers), `acme/bob` (trader),
    /// `acme/erin` (trader), `beta/dave` (trader with narrower rights), `gamma/frank` (service, entitled to nothing),
    /// `acme/old` (expired), `acme/early` (not yet valid), `acme/gone` (revoked). [`Pki::foreign`] is another one.
    pub(crate) fn get() -> &'static Self {
        static PKI: OnceLock<Pki> = OnceLock::new();
        PKI.get_or_init(|| {
            remove_leftovers();
            let pki = Self::init("pki");
            for (name, role) in [
                ("acme/alice", "viewer"),
                ("acme/carol", "viewer"),
                ("acme/bob", "trader"),
                ("acme/erin", "trader"),
                ("beta/dave", "trader"),
                ("gamma/frank", "service"),
                ("acme/gone", "viewer"),
            ] {
                pki.run(&["client", name, "--role", role]);
            }
            pki.client_between("acme/old", "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z");
            pki.client_between("acme/early", "2031-01-01T00:00:00Z", "2031-02-01T00:00:00Z");
            pki.run(&["revoke", "acme/gone", "--reason", "keyCompromise"]);
            pki
        })
    }

    /// Another PKI, which the servers do not trust; it has an `acme/alice` of its own.
    pub(crate) fn foreign() -> &'static Self {
        static PKI: OnceLock<Pki> = OnceLock::new();
        PKI.get_or_init(|| {
            let pki = Self::init("foreign");
            pki.run(&["client", "acme/alice", "--role", "viewer"]);
            pki
        })
    }

    /// A revocation list that no authority of this PKI signed.
    pub(crate) fn foreign_list() -> Vec<u8> {
        std::fs::read(Self::foreign().folder.join("crl/clients.pem")).unwrap()
    }

    fn init(name: &str) -> Self {
        let pki = Self { folder: home().join(name) };
        pki.run(&["init", "--demo"]);
        pki.run(&["server", "localhost", "--san", "DNS:localhost,IP:127.0.0.1"]);
        pki
    }

    fn client_between(&self, name: &str, from: &str, until: &str) {
        self.run(&["client", name, "--role", "viewer", "--not-before", from, "--not-after", until]);
    }

    /// A copy that a test may revoke and rotate in.
    pub(crate) fn copy_to(&self, folder: &Path) -> Self {
        let copied = Command::new("cp").arg("-a").arg(&self.folder).arg(folder).status().unwrap();
        assert!(copied.success());
        Self { folder: folder.join(self.folder.file_name().unwrap()) }
    }

    /// Runs the script, which must succeed; returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pki/pki.sh");
        let output =
            Command::new("bash").arg(script).arg("--dir").arg(&self.folder).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "pki.sh {arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// What the client of this name shows.
    pub(crate) fn client(&self, name: &str) -> Identity {
        let folder = self.folder.join("clients").join(name);
        let file = |name: &str| folder.join(name);
        Identity::read(&file("client.pem"), &file("client.key"), Some(&file("order.key")))
    }

    /// The server's own certificate, shown as if it were a client's.
    pub(crate) fn server_as_client(&self) -> Identity {
        let folder = self.folder.join("servers/localhost");
        Identity::read(&folder.join("server.pem"), &folder.join("server.key"), None)
    }

    /// A certificate that the script would never issue, signed by the script's own authority for clients. It names
    /// `firm` and `user` as they are.
    pub(crate) fn issue_against_the_rules(
        &self,
        firm: &str,
        user: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Identity {
        let issuer = self.clients_authority();
        let (leaf, key) = (leaf(firm, user, usage), KeyPair::generate().unwrap());
        identity(leaf.signed_by(&key, &issuer).unwrap().der().clone(), &key)
    }

    /// The authority for clients, able to sign.
    pub(crate) fn clients_authority(&self) -> Issuer<'static, KeyPair> {
        let folder = self.folder.join("authority/clients");
        let pem = std::fs::read(folder.join("ca.pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let authority = pem.parse_x509().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for attribute in authority.subject().iter_attributes() {
            let kind = DnType::from_oid(&attribute.attr_type().iter().unwrap().collect::<Vec<u64>>());
            params.distinguished_name.push(kind, attribute.as_str().unwrap());
        }
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::from_pem(&std::fs::read_to_string(folder.join("ca.key")).unwrap()).unwrap();
        Issuer::new(params, key)
    }

    /// The order key of a certificate, as the script derives it.
    pub(crate) fn order_key_of(&self, certificate: &CertificateDer<'_>) -> OrderKey {
        let master = std::fs::read_to_string(self.folder.join("master/current.hex")).unwrap();
        let master: [u8; 32] = sealfeed_wire::hex::decode(master.trim()).unwrap();
        let fingerprint = sealfeed_audit::sha256(certificate);
        let mut key = [0; 32];
        hkdf::Hkdf::<sha2::Sha256>::new(None, &master)
            .expand_multi_info(&[signing::ORDER_KEY_INFO, &fingerprint], &mut key)
            .unwrap();
        OrderKey::from_bytes(key)
    }

    /// Authorities of the server's certificate, which every client trusts.
    pub(crate) fn server_authorities(&self) -> PathBuf {
        self.folder.join("ca/servers.pem")
    }
}

/// A certificate that its own holder signed, naming `firm` and `user` as they are.
pub(crate) fn self_signed(firm: &str, user: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let leaf = leaf(firm, user, ExtendedKeyUsagePurpose::ClientAuth);
    identity(leaf.self_signed(&key).unwrap().der().clone(), &key)
}

fn leaf(firm: &str, user: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let now = time::OffsetDateTime::from_unix_timestamp_nanos(Clock::System.now().0.into()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, firm);
    params.distinguished_name.push(DnType::CommonName, user);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    (params.not_before, params.not_after) = (now - time::Duration::hours(1), now + time::Duration::days(1));
    params
}

fn identity(certificate: CertificateDer<'static>, key: &KeyPair) -> Identity {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Identity { chain: vec![certificate], key: Some(key), order_key: None }
}

/// The folder of this process.
fn home() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    home
}

/// Removes what processes that have ended left behind; a static value is never dropped.
fn remove_leftovers() {
    for entry in std::fs::read_dir(env!("CARGO_TARGET_TMPDIR")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix("it-")) else { continue };
        if !Path::new("/proc").join(process).exists() {
            // Another process may be removing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
