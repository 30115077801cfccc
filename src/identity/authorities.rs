//! The client authorities and their revocation lists, checked as a whole before any of it is trusted.
//!
//! Only self-signed certificates become trust anchors; an issuing CA does not, for then nobody would ask the root's
//! revocation list about it. Paths are built from the configured issuing CAs alone: what a client sends beside its
//! own certificate is ignored, so a client may send its leaf only, and an issuing CA that the operator did not list
//! issues no clients whoever signed it. Every authority has exactly one revocation list, in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use sealfeed_wire::Code;
use x509_parser::certificate::X509Certificate;

use super::confinement::{self, Firms};
use super::error::{FileRole, IdentityError};
use super::files::Contents;
use super::leaf;
use super::principal::AuthorityName;
use super::revocation::{self, RevocationList, Standing};
use super::signature;
use crate::clock::format_utc;
use crate::config::TlsConfig;
use crate::types::UnixNanos;

/// Longest chain of authorities above a client certificate.
const DEPTH_MAX: usize = 6;

const HOUR_NS: u64 = 60 * 60 * 1_000_000_000;

/// One authority. Names and serial numbers are the DER bytes of the certificate.
#[derive(Debug)]
pub(super) struct Authority {
    /// Its name.
    pub(super) name: Arc<AuthorityName>,
    issuer: Box<[u8]>,
    serial: Box<[u8]>,
    not_before: UnixNanos,
    pub(super) not_after: UnixNanos,
    is_root: bool,
    /// Firms that it is confined to; `None` if no table names it.
    firms: Option<Firms>,
    /// Its list of revoked certificates.
    pub(super) revocations: RevocationList,
    /// Whether the log says already that the list counts only by grace.
    warned: AtomicBool,
}

impl Authority {
    /// Says, once for each time the files are read, that its list should have been replaced.
    pub(super) fn warn_once(&self, grace_ns: u64) {
        if self.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        let list = &self.revocations;
        let (number, next_update) = (list.number_text(), format_utc(list.next_update));
        let refused_from = format_utc(list.counts_until(grace_ns));
        let authority = &self.name.text;
        tracing::warn!(
            authority,
            number,
            next_update,
            refused_from,
            "a revocation list is out of date and counts by grace only: install a newer one"
        );
    }
}

/// How the revocation list of one authority stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationState {
    /// The authority's subject, escaped.
    pub authority: String,
    /// Number of the list, decimal.
    pub number: String,
    /// How many certificates it revokes.
    pub revoked: usize,
    /// When a newer one should have come.
    pub next_update: UnixNanos,
    /// When it counts no longer: `next_update` and the grace.
    pub refused_from: UnixNanos,
    /// Whether it counts now, and whether by grace only.
    pub standing: Standing,
}

impl std::fmt::Display for RevocationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { authority, number, revoked, next_update, refused_from, standing } = self;
        write!(f, "list {number} of {authority} revokes {revoked} until {}", format_utc(*next_update))?;
        match standing {
            Standing::Current => Ok(()),
            Standing::InGrace => write!(f, " (out of date, by grace until {})", format_utc(*refused_from)),
            Standing::Expired => f.write_str(" (out of date, nobody of it gets in)"),
        }
    }
}

/// All client authorities, by the DER of their names.
#[derive(Debug)]
pub(super) struct Authorities {
    by_name: HashMap<Box<[u8]>, Authority>,
    /// Self-signed ones.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// All others.
    pub(super) issuing: Vec<CertificateDer<'static>>,
    /// Lists of the authorities above, in no order, until rustls has looked at them.
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    /// How long a list counts after its `nextUpdate`, nanoseconds.
    grace_ns: u64,
    /// Whether any authority is confined to firms: then one that is not vouches for nobody.
    is_confining: bool,
}

impl Authorities {
    /// Checks both files against each other, the time and what the configuration says of authorities.
    pub(super) fn load(
        certificates: &Contents,
        lists: &Contents,
        tls: &TlsConfig,
        now: UnixNanos,
    ) -> Result<Self, IdentityError> {
        let grace_ns = u64::from(tls.revocation_grace_hours) * HOUR_NS;
        let mut ders = certificates.pem::<CertificateDer<'static>>("CERTIFICATE")?;
        let mut seen = std::collections::HashSet::new();
        ders.retain(|der| seen.insert(der.to_vec()));
        let list_ders = lists.pem::<CertificateRevocationListDer<'static>>("X509 CRL")?;
        let parsed = parse(&ders, now)?;
        let firms = confinement::resolve(&tls.authorities, &ders, &parsed)?;
        let lists = Lists::check(&parsed, list_ders, now, grace_ns)?;
        let (by_name, lists) = join(&parsed, lists, firms)?;
        let roots = select(&ders, &parsed, true);
        let issuing = select(&ders, &parsed, false);
        if roots.is_empty() {
            return Err(IdentityError::NoRoot);
        }
        Ok(Self { by_name, roots, issuing, lists, grace_ns, is_confining: !tls.authorities.is_empty() })
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
                    authority.name.text
                );
                return Err((Code::TlsCertificateRevoked, detail));
            }
            if now < authority.not_before || now > authority.not_after {
                let detail = format!("authority {} is outside its validity", authority.name.text);
                return Err((Code::TlsChainInvalid, detail));
            }
            if authority.is_root {
                return Ok(());
            }
            (issuer, serial) = (&authority.issuer, &authority.serial);
        }
        Err((Code::TlsChainInvalid, "the chain of authorities is too long".to_owned()))
    }

    /// The authority of this name and those above it, up to the root.
    fn path<'a>(&'a self, issuer: &'a [u8]) -> impl Iterator<Item = &'a Authority> {
        let above = |authority: &&'a Authority| {
            if authority.is_root { None } else { self.by_name(&authority.issuer) }
        };
        std::iter::successors(self.by_name(issuer), above).take(DEPTH_MAX)
    }

    /// How the list of each authority stands, by the names of the authorities.
    pub(super) fn revocation_state(&self, now: UnixNanos) -> Vec<RevocationState> {
        let of = |authority: &Authority| RevocationState {
            authority: authority.name.text.clone(),
            number: authority.revocations.number_text().to_owned(),
            revoked: authority.revocations.count(),
            next_update: authority.revocations.next_update,
            refused_from: authority.revocations.counts_until(self.grace_ns),
            standing: authority.revocations.standing(now, self.grace_ns),
        };
        let mut states: Vec<RevocationState> = self.by_name.values().map(of).collect();
        states.sort_unstable_by(|one, other| one.authority.cmp(&other.authority));
        states
    }

    /// Says in the log which lists count by grace only.
    pub(super) fn warn_of_grace(&self, now: UnixNanos) {
        for authority in self.by_name.values() {
            if authority.revocations.standing(now, self.grace_ns) == Standing::InGrace {
                authority.warn_once(self.grace_ns);
            }
        }
    }

    /// Whether every list that a certificate of this issuer is judged by still counts. Open sessions are not asked this: see
    /// [`revocation`].
    pub(super) fn check_lists(&self, issuer: &[u8], now: UnixNanos) -> Result<(), (Code, String)> {
        for authority in self.path(issuer) {
            match authority.revocations.standing(now, self.grace_ns) {
                Standing::Current => {}
                Standing::InGrace => authority.warn_once(self.grace_ns),
                Standing::Expired => {
                    let list = &authority.revocations;
                    let (number, until) = (list.number_text(), format_utc(list.next_update));
                    let detail = format!(
                        "revocation list number {number} of {} held until {until}",
                        authority.name.text
                    );
                    return Err((Code::TlsCrlExpired, detail));
                }
            }
        }
        Ok(())
    }

    /// Whether the authority of this name, and those above it, may vouch for `firm`.
    pub(super) fn check_firm(&self, issuer: &[u8], firm: &str) -> Result<(), (Code, String)> {
        if !self.is_confining {
            return Ok(());
        }
        let mut is_confined = false;
        for authority in self.path(issuer) {
            let Some(firms) = &authority.firms else { continue };
            is_confined = true;
            if !firms.allow(firm) {
                let detail =
                    format!("authority {} is confined to other firms than {firm}", authority.name.text);
                return Err((Code::TlsIssuerNotAllowedForFirm, detail));
            }
        }
        if is_confined {
            return Ok(());
        }
        let issuer = self.by_name(issuer).map_or("its issuer", |authority| authority.name.text.as_str());
        let detail =
            format!("no [[tls.authority]] stands above it, while others do: {issuer} vouches for no firm");
        Err((Code::TlsIssuerNotAllowedForFirm, detail))
    }

    /// Refuses lists that are older than those of `in_force`, or differ under the same number.
    pub(super) fn check_not_rolled_back(&self, in_force: &Self) -> Result<(), IdentityError> {
        for (name, authority) in self.iter() {
            let Some(before) = in_force.by_name(name) else { continue };
            if !authority.revocations.may_replace(&before.revocations) {
                return Err(IdentityError::RevocationListRolledBack {
                    authority: authority.name.text.clone(),
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

/// The lists of these authorities, checked: each by the name of its authority, and all of them as they were read.
struct Lists {
    by_name: HashMap<Box<[u8]>, RevocationList>,
    ders: Vec<CertificateRevocationListDer<'static>>,
}

impl Lists {
    /// Checks that each was signed by its authority and counts now. Lists of strangers are left out: a bundle may hold those of
    /// the server's own authorities too.
    fn check(
        certificates: &[X509Certificate<'_>],
        list_ders: Vec<CertificateRevocationListDer<'static>>,
        now: UnixNanos,
        grace_ns: u64,
    ) -> Result<Self, IdentityError> {
        let mut lists = Self { by_name: HashMap::new(), ders: Vec::new() };
        for (index, der) in list_ders.into_iter().enumerate() {
            let list = revocation::parse(&der, index + 1)?;
            let name: Box<[u8]> = list.issuer().as_raw().into();
            let Some(authority) = certificates.iter().find(|known| known.subject().as_raw() == &*name) else {
                continue;
            };
            let checked = revocation::check(&list, &der, authority, now, grace_ns)?;
            if lists.by_name.insert(name, checked).is_some() {
                return Err(IdentityError::RevocationListTwice {
                    authority: leaf::escape(authority.subject()),
                });
            }
            drop(list);
            lists.ders.push(der);
        }
        Ok(lists)
    }
}

/// All authorities, by the DER of their names.
type ByName = HashMap<Box<[u8]>, Authority>;

/// Gives every authority its list and its firms, checking that it was itself signed by one of the file.
fn join(
    certificates: &[X509Certificate<'_>],
    mut lists: Lists,
    mut firms: BTreeMap<usize, Firms>,
) -> Result<(ByName, Vec<CertificateRevocationListDer<'static>>), IdentityError> {
    let mut by_name = HashMap::new();
    for (position, certificate) in certificates.iter().enumerate() {
        let name = leaf::escape(certificate.subject());
        let issuer = certificates
            .iter()
            .find(|other| other.subject().as_raw() == certificate.issuer().as_raw())
            .filter(|issuer| signature::is_issued_by(certificate, issuer))
            .ok_or_else(|| IdentityError::AuthorityUntrusted { subject: name.clone() })?;
        let revocations = lists
            .by_name
            .remove(certificate.subject().as_raw())
            .ok_or_else(|| IdentityError::NoRevocationList { authority: name.clone() })?;
        let der: Box<[u8]> = certificate.subject().as_raw().into();
        let authority = Authority {
            name: Arc::new(AuthorityName { der: der.clone(), text: name }),
            issuer: issuer.subject().as_raw().into(),
            serial: leaf::serial(certificate.raw_serial()).into(),
            not_before: leaf::nanos(certificate.validity().not_before),
            not_after: leaf::nanos(certificate.validity().not_after),
            is_root: is_self_signed(certificate),
            firms: firms.remove(&position),
            revocations,
            warned: AtomicBool::new(false),
        };
        by_name.insert(der, authority);
    }
    Ok((by_name, lists.ders))
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
