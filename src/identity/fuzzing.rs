//! What the targets in `fuzz/` need of this module's inside. No interface: it changes without notice, and nothing else may use it.

use std::path::PathBuf;

use rustls_pki_types::CertificateRevocationListDer;
use sealfeed_wire::Code;

use super::deny_list::{DenyList, Subjects};
use super::files::{Contents, FileRecord};
use super::refusal::Claim;
use super::{FileRole, leaf, principal, revocation};
use crate::types::{Principal, Role, SignatureKey, UnixNanos};

/// What a server demands of keys, in bits, unless it is told otherwise.
const RSA_BITS_MIN: u16 = 3_072;
/// And of lifetimes, in days.
const LIFETIME_DAYS_MAX: u16 = 825;

/// All that is read of one client certificate, but for its signature and its place below an authority.
#[derive(Debug)]
pub struct Certificate {
    /// What the log says of it.
    pub claim: Claim,
    /// Its issuer, as the log has it.
    pub issuer: String,
    /// Whom it names.
    pub name: Result<(Principal, Option<Role>), (Code, &'static str)>,
    /// What is wrong with dates, purpose, key and lifetime.
    pub faults: Vec<(Code, String)>,
    /// The key that it signs orders with.
    pub signature_key: Option<SignatureKey>,
}

/// Reads a certificate; `None` if these bytes are none.
#[must_use]
pub fn certificate(der: &[u8], now: UnixNanos) -> Option<Certificate> {
    let certificate = leaf::parse(der)?;
    let fixed = |(code, detail): (Code, &'static str)| (code, detail.to_owned());
    let checks = [
        leaf::check_dates(&certificate, now).map_err(fixed),
        leaf::check_purpose(&certificate).map_err(fixed),
        leaf::check_key(certificate.public_key(), RSA_BITS_MIN),
        leaf::check_lifetime(&certificate, LIFETIME_DAYS_MAX),
    ];
    Some(Certificate {
        claim: leaf::claim(&certificate),
        issuer: leaf::escape(certificate.issuer()),
        name: principal::name(&certificate),
        faults: checks.into_iter().filter_map(Result::err).collect(),
        signature_key: leaf::signature_key(certificate.public_key()),
    })
}

/// A revocation list that was checked.
#[derive(Debug)]
pub struct RevocationList {
    /// Its number, in decimal.
    pub number: String,
    /// How many certificates it names.
    pub count: usize,
    /// When it runs out.
    pub next_update: UnixNanos,
}

/// Checks a revocation list against the authority that should have signed it.
///
/// # Errors
/// Its code, and the text of the error.
pub fn revocation_list(
    list: &[u8],
    authority: &[u8],
    now: UnixNanos,
) -> Result<RevocationList, (Code, String)> {
    let der = CertificateRevocationListDer::from(list.to_vec());
    let failed = |error: super::IdentityError| (error.code(), error.to_string());
    let authority = leaf::parse(authority).ok_or((Code::TlsCertificateMalformed, String::new()))?;
    let parsed = revocation::parse(&der, 1).map_err(failed)?;
    let checked = revocation::check(&parsed, &der, &authority, now, 0).map_err(failed)?;
    Ok(RevocationList {
        number: checked.number_text().to_owned(),
        count: checked.count(),
        next_update: checked.next_update,
    })
}

/// Reads a deny-list, and looks up a certificate that has every one of the names that an example may have.
///
/// # Errors
/// Its code, and the text of the error.
pub fn deny_list(text: &[u8], now: UnixNanos) -> Result<(usize, Option<String>), (Code, String)> {
    let (role, bytes) = (FileRole::DenyList, text.to_vec());
    let record = FileRecord { role, path: PathBuf::from("deny.toml"), sha256: None };
    let list = DenyList::parse(&Contents { role, bytes, record, digest: [0; 32] });
    let list = list.map_err(|error| (error.code(), crate::telemetry::chain(&error)))?;
    let subjects = Subjects {
        raw_serial: &[0x0d, 0xe3],
        issuer: "CN=Acme Clients",
        subject: "O=acme, OU=viewer, CN=alice",
        key_sha256: [7; 32],
        principal: Some("acme/alice".to_owned()),
    };
    Ok((list.count(), list.find(&subjects, now)))
}
