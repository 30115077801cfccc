//! Whom the server of the torture set trusts: authorities of every kind, their lists, a deny-list, and the files of them.

use std::path::Path;
use std::sync::Arc;

use rcgen::KeyPair;
use sealfeed::clock::Clock;
use sealfeed::config::{AuthorityConfig, TlsConfig};
use sealfeed::types::UnixNanos;
use sha2::{Digest as _, Sha256};

use super::der::{
    CN, DAY, O, OU, Spec, authority_constraints, ce, extension, pem, public_key, purposes, revocation_list,
    subject, tlv, usage,
};

/// An authority.
pub(super) struct Authority {
    pub(super) name: Vec<u8>,
    pub(super) key: KeyPair,
    pub(super) certificate: Vec<u8>,
    /// Serial numbers in its list.
    revoked: Vec<Vec<u8>>,
    /// When its list is to be replaced, seconds from now.
    list_for: i64,
}

/// All of it. Time stands still at `now` until a test moves it.
pub(super) struct World {
    /// Seconds since 1970.
    pub(super) now: i64,
    /// `Clients` and `Short`, `Named`, `Revoked`, `Acme`, `Beta`, `Late` below `Root`; `Deep` below `Clients`, `Deeper` below
    /// `Deep`; `Below` below `Short`; `Free`, a root for any firm, and `Forgotten`, one that no table names.
    authorities: Vec<(&'static str, Authority)>,
    /// Of nearly every client.
    pub(super) key: Arc<KeyPair>,
    /// Of the one whom the deny-list names by key.
    pub(super) denied_key: Arc<KeyPair>,
}

/// Serial number of the leaf that `Clients` revoked.
pub(super) const REVOKED: &[u8] = &[0x77];
/// Serial number that the deny-list names.
pub(super) const DENIED: &[u8] = &[0x0d, 0xe1];
/// Serial number that it names for `Clients` only.
pub(super) const DENIED_OF_CLIENTS: &[u8] = &[0x0d, 0xe2];
/// Serial number that it named until yesterday.
pub(super) const DENIED_ONCE: &[u8] = &[0x0d, 0xe3];
/// After how many seconds the list of `Late` is out of date.
pub(super) const LATE_AFTER: i64 = 3_600;

impl World {
    pub(super) fn new() -> Self {
        let now = i64::try_from(Clock::System.now().0 / 1_000_000_000).unwrap();
        let key = || Arc::new(KeyPair::generate().unwrap());
        let mut world = Self { now, authorities: Vec::new(), key: key(), denied_key: key() };
        for (name, issuer, path_length) in [
            ("Root", "Root", None),
            ("Free", "Free", None),
            ("Forgotten", "Forgotten", None),
            ("Clients", "Root", None),
            ("Deep", "Clients", None),
            ("Deeper", "Deep", None),
            ("Short", "Root", Some(0)),
            ("Below", "Short", None),
            ("Named", "Root", None),
            ("Revoked", "Root", None),
            ("Acme", "Root", None),
            ("Beta", "Root", None),
            ("Late", "Root", None),
        ] {
            world.add(name, issuer, path_length);
        }
        world.authority_mut("Clients").revoked = vec![REVOKED.to_vec()];
        let revoked = u8::try_from(world.position("Revoked") + 1).unwrap();
        world.authority_mut("Root").revoked = vec![vec![revoked]];
        world.authority_mut("Late").list_for = LATE_AFTER;
        world
    }

    fn add(&mut self, name: &'static str, issuer: &str, path_length: Option<u8>) {
        let (key, subject) = (KeyPair::generate().unwrap(), subject(&[(CN, &format!("Torture {name}"))]));
        let issuer_name = if issuer == name { subject.clone() } else { self.of(issuer).name.clone() };
        let serial = [u8::try_from(self.authorities.len() + 1).unwrap()];
        let validity = (self.now - 2_000 * DAY, self.now + 2_000 * DAY);
        let mut spec = Spec::new(&serial, &issuer_name, validity, &subject, public_key(&key));
        spec.extensions = vec![authority_constraints(path_length), usage(0x06)];
        if name == "Named" {
            let dns = |name: &str| tlv(0x30, &tlv(0x82, name.as_bytes()));
            let constraints =
                [tlv(0xa0, &dns("acme.example")), tlv(0xa1, &dns("secret.acme.example"))].concat();
            spec.extensions.push(extension(&ce(30), true, &tlv(0x30, &constraints)));
        }
        let certificate = spec.sign(if issuer == name { &key } else { &self.of(issuer).key });
        let authority =
            Authority { name: subject, key, certificate, revoked: Vec::new(), list_for: 30 * DAY };
        self.authorities.push((name, authority));
    }

    fn position(&self, name: &str) -> usize {
        self.authorities.iter().position(|(known, _)| *known == name).unwrap()
    }

    /// The authority of this name.
    pub(super) fn of(&self, name: &str) -> &Authority {
        &self.authorities[self.position(name)].1
    }

    fn authority_mut(&mut self, name: &str) -> &mut Authority {
        let position = self.position(name);
        &mut self.authorities[position].1
    }

    /// The current time, for a server.
    pub(super) const fn nanos(&self, seconds_later: i64) -> UnixNanos {
        UnixNanos((self.now + seconds_later).cast_unsigned() * 1_000_000_000)
    }

    /// A good certificate of `acme/USER`, a viewer, as `issuer` would issue it. Its serial number is the user's own.
    pub(super) fn spec(&self, issuer: &str, user: &str) -> Spec {
        self.spec_named(issuer, &subject(&[(O, "acme"), (OU, "viewer"), (CN, user)]))
    }

    /// As [`World::spec`], with any subject.
    pub(super) fn spec_named(&self, issuer: &str, subject: &[u8]) -> Spec {
        let serial = [&[0x51], &Sha256::digest(subject)[..15]].concat();
        let issuer = &self.of(issuer).name;
        let mut spec =
            Spec::new(&serial, issuer, (self.now - DAY, self.now + DAY), subject, public_key(&self.key));
        spec.extensions = vec![usage(0x80), purposes(&[2])];
        spec
    }

    /// Writes all files to `folder` and names them in `tls`.
    pub(super) fn install(&self, folder: &Path, tls: &mut TlsConfig) {
        let certificates: String = self
            .authorities
            .iter()
            .map(|(_, authority)| pem("CERTIFICATE", &authority.certificate))
            .collect();
        tls.client_authorities = folder.join("authorities.pem");
        std::fs::write(&tls.client_authorities, certificates).unwrap();
        tls.client_revocation_lists = folder.join("lists.pem");
        std::fs::write(&tls.client_revocation_lists, self.lists()).unwrap();
        let deny_list = folder.join("deny.toml");
        std::fs::write(&deny_list, self.deny_list()).unwrap();
        tls.deny_list = Some(deny_list);
        let table = |name: &str, firms: &[&str]| AuthorityConfig {
            subject: Some(format!("CN=Torture {name}")),
            sha256: None,
            firms: firms.iter().map(|firm| (*firm).to_owned()).collect(),
        };
        tls.authorities = vec![
            table("Root", &["*"]),
            table("Free", &["*"]),
            table("Acme", &["acme", "delta"]),
            table("Beta", &["beta"]),
        ];
    }

    /// The list of every authority.
    pub(super) fn lists(&self) -> String {
        self.authorities.iter().map(|(name, _)| self.list(name, name, &[])).collect()
    }

    /// The list of authority `name`, signed by `signer`, with more extensions than its number.
    pub(super) fn list(&self, name: &str, signer: &str, extensions: &[Vec<u8>]) -> String {
        let authority = self.of(name);
        let serials: Vec<&[u8]> = authority.revoked.iter().map(Vec::as_slice).collect();
        let validity = (self.now - DAY, self.now + authority.list_for);
        let key = &self.of(signer).key;
        pem("X509 CRL", &revocation_list(&authority.name, key, 1, validity, &serials, extensions))
    }

    fn deny_list(&self) -> String {
        let key = sealfeed_wire::hex::encode(&Sha256::digest(public_key(&self.denied_key)));
        let entry = |what: &str| format!("[[deny]]\n{what}\nreason = \"torture\"\n");
        [
            entry("serial = \"0de1\""),
            entry("serial = \"0DE2\"\nissuer = \"CN=Torture Clients\""),
            entry("serial = \"0d:e3\"\nuntil = 2020-01-01"),
            entry(&format!("key_sha256 = \"{key}\"")),
            entry("principal = \"acme/denied\""),
            entry("subject = \"O=acme, OU=viewer, CN=denied-subject\""),
        ]
        .concat()
    }
}
