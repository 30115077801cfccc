//! The client authorities and their revocation lists, checked as a whole before any of it is trusted.
//!
//! Only self-signed certificates become trust anchors; an issuing CA does not, for then nobody would ask the root's
//! revocation list about it. Paths are built from the configured issuing CAs alone: what a client sends beside its
//! own certificate is ignored, so a client may send its leaf only, and an issuing CA that the operator did not list
//! issues no clients whoever signed it. Every authority has exactly one revocation list, in force.

use std::collections::HashMap;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use sealfeed_wire::Code;
use x509_parser::certificate::X509Certificate;

use super::error::{FileRole, IdentityError};
use super::files::Contents;
use super::leaf;
use super::revocation::{self, RevocationList};
use super::signature;
use crate::clock::format_utc;
use crate::types::UnixNanos;

/// Longest chain of authorities above a client certificate.
const DEPTH_MAX: usize = 6;

/// One authority. Names and serial numbers are the DER bytes of the certificate.
#[derive(Debug)]
pub(super) struct Authority {
    /// Its name as text, escaped.
    pub(super) name: String,
    issuer: Box<[u8]>,
    serial: Box<[u8]>,
    not_before: UnixNanos,
    pub(super) not_after: UnixNanos,
    is_root: bool,
    /// Its list of revoked certificates.
    pub(super) revocations: RevocationList,
}

/// All client authorities, by the DER of their names.
#[derive(Debug)]
pub(super) struct Authorities {
    by_name: HashMap<Box<[u8]>, Authority>,
    /// Self-signed ones.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// All others.
    pub(super) issuing: Vec<CertificateDer<'static>>,
    /// Lists of the authorities above, in no order.
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Authorities {
    /// Checks both files against each other and the time.
    pub(super) fn load(
        certificates: &Contents,
        lists: &Contents,
        now: UnixNanos,
    ) -> Result<Self, IdentityError> {
        let mut ders = certificates.pem::<CertificateDer<'static>>("CERTIFICATE")?;
        let mut seen = std::collections::HashSet::new();
        ders.retain(|der| seen.insert(der.to_vec()));
        let list_ders = lists.pem::<CertificateRevocationListDer<'static>>("X509 CRL")?;
        let parsed = parse(&ders, now)?;
        let (by_name, lists) = join(&parsed, list_ders, now)?;
        let roots = select(&ders, &parsed, true);
        let issuing = select(&ders, &parsed, false);
        if roots.is_empty() {
            return Err(IdentityError::NoRoot);
        }
        Ok(Self { by_name, roots, issuing, lists })
    }

    /// Every authority, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Authority)> {
        self.by_name.iter().map(|(name, authority)| (&**name, authority))
    }

    /// The authority of this name, if it is configured.
    pub(super) fn by_name(&self, name: &[u8]) -> Option<&Authority> {
        self.by_name.get(name)
    }

    /// Whether a certificate with this issuer and serial number is revoked, or any authority above it is revoked,
    /// unknown or outside its validity. Says nothing about signatures: those were checked in the handshake.
    pub(super) fn check_standing(
        &self,
        issuer: &[u8],
        serial: &[u8],
        now: UnixNanos,
    ) -> Result<(), (Code, String)> {
        let (mut issuer, mut serial) = (issuer, serial);
        for _ in 0..DEPTH_MAX {
            let authority = self
                .by_name(issuer)
                .ok_or_else(|| (Code::TlsIssuerUnknown, "its issuer is no client authority".to_owned()))?;
            if authority.revocations.contains(serial) {
                let detail = format!(
                    "serial {} stands in revocation list number {} of {}",
                    leaf::serial_hex(serial),
                    authority.revocations.number_text(),
                    authority.name
                );
                return Err((Code::TlsCertificateRevoked, detail));
            }
            if now < authority.not_before || now > authority.not_after {
                let detail = format!("authority {} is outside its validity", authority.name);
                return Err((Code::TlsChainInvalid, detail));
            }
            if authority.is_root {
                return Ok(());
            }
            (issuer, serial) = (&authority.issuer, &authority.serial);
        }
        Err((Code::TlsChainInvalid, "the chain of authorities is too long".to_owned()))
    }

    /// Refuses lists that are older than those of `in_force`, or differ under the same number.
    pub(super) fn check_not_rolled_back(&self, in_force: &Self) -> Result<(), IdentityError> {
        for (name, authority) in self.iter() {
            let Some(before) = in_force.by_name(name) else { continue };
            if !authority.revocations.may_replace(&before.revocations) {
                return Err(IdentityError::RevocationListRolledBack {
                    authority: authority.name.clone(),
                    number: authority.revocations.number_text().to_owned(),
                    in_force: before.revocations.number_text().to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn parse<'a>(
    ders: &'a [CertificateDer<'static>],
    now: UnixNanos,
) -> Result<Vec<X509Certificate<'a>>, IdentityError> {
    let role = FileRole::ClientAuthorities;
    let mut parsed: Vec<X509Certificate<'a>> = Vec::with_capacity(ders.len());
    for (index, der) in ders.iter().enumerate() {
        let certificate = leaf::parse(der).ok_or(IdentityError::Malformed { role, position: index + 1 })?;
        let subject = || leaf::escape(certificate.subject());
        if !certificate.is_ca() {
            return Err(IdentityError::NotAnAuthority { subject: subject() });
        }
        if leaf::check_dates(&certificate, now).is_err() {
            return Err(outside_validity(role, &certificate));
        }
        if parsed.iter().any(|other| other.subject().as_raw() == certificate.subject().as_raw()) {
            return Err(IdentityError::AuthorityTwice { subject: subject() });
        }
        parsed.push(certificate);
    }
    Ok(parsed)
}

/// The error for a certificate that is expired or not yet valid.
pub(super) fn outside_validity(role: FileRole, certificate: &X509Certificate<'_>) -> IdentityError {
    IdentityError::OutsideValidity {
        role,
        subject: leaf::escape(certificate.subject()),
        not_before: format_utc(leaf::nanos(certificate.validity().not_before)),
        not_after: format_utc(leaf::nanos(certificate.validity().not_after)),
    }
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Gives every authority its list, checking that it was signed by it and that the authority itself was signed by one
/// of the file. Lists of strangers are left out: a bundle may hold those of the server's own authorities too.
#[expect(clippy::type_complexity, reason = "taken apart by the only caller")]
fn join(
    certificates: &[X509Certificate<'_>],
    list_ders: Vec<CertificateRevocationListDer<'static>>,
    now: UnixNanos,
) -> Result<(HashMap<Box<[u8]>, Authority>, Vec<CertificateRevocationListDer<'static>>), IdentityError> {
    let mut lists: HashMap<Box<[u8]>, RevocationList> = HashMap::new();
    let mut kept = Vec::new();
    for (index, der) in list_ders.into_iter().enumerate() {
        let list = revocation::parse(&der, index + 1)?;
        let name: Box<[u8]> = list.issuer().as_raw().into();
        let Some(authority) = certificates.iter().find(|known| known.subject().as_raw() == &*name) else {
            continue;
        };
        let checked = revocation::check(&list, &der, authority, now)?;
        if lists.insert(name, checked).is_some() {
            return Err(IdentityError::RevocationListTwice { authority: leaf::escape(authority.subject()) });
        }
        drop(list);
        kept.push(der);
    }
    let mut by_name = HashMap::new();
    for certificate in certificates {
        let name = leaf::escape(certificate.subject());
        let issuer = certificates
            .iter()
            .find(|other| other.subject().as_raw() == certificate.issuer().as_raw())
            .filter(|issuer| signature::is_issued_by(certificate, issuer))
            .ok_or_else(|| IdentityError::AuthorityUntrusted { subject: name.clone() })?;
        let revocations = lists
            .remove(certificate.subject().as_raw())
            .ok_or_else(|| IdentityError::NoRevocationList { authority: name.clone() })?;
        let authority = Authority {
            name,
            issuer: issuer.subject().as_raw().into(),
            serial: leaf::serial(certificate.raw_serial()).into(),
            not_before: leaf::nanos(certificate.validity().not_before),
            not_after: leaf::nanos(certificate.validity().not_after),
            is_root: is_self_signed(certificate),
            revocations,
        };
        by_name.insert(certificate.subject().as_raw().into(), authority);
    }
    Ok((by_name, kept))
}

fn select(
    ders: &[CertificateDer<'static>],
    parsed: &[X509Certificate<'_>],
    roots: bool,
) -> Vec<CertificateDer<'static>> {
    ders.iter()
        .zip(parsed)
        .filter(|(_, certificate)| is_self_signed(certificate) == roots)
        .map(|(der, _)| der.clone())
        .collect()
}
