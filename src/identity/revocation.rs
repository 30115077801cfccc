//! One revocation list: who signed it, when it holds, whom it names.
//!
//! Lists are enforced from this parsed form alone, in every handshake and for sessions that are open already. A list past its
//! `nextUpdate`, and past the grace that the operator gave it (`tls.revocation_grace_hours`, none
//! by default), lets nobody in, while open sessions go on: ending them all because a file was not renewed would be the greater
//! harm, and a revocation that came in time has ended them already. One rule holds everywhere, [`RevocationList::standing`]: at
//! a start, at a reload, in a handshake.
//!
//! In memory is a table of serial numbers, for which one look-up is enough, and nothing else of a list.

use std::collections::HashSet;

use rustls_pki_types::CertificateRevocationListDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::error::{FileRole, IdentityError};
use super::{leaf, signature};
use crate::clock::format_utc;
use crate::types::{TimeArithmetic, UnixNanos};

/// How far ahead of our clock an authority's clock may be, in nanoseconds: five minutes.
const ISSUED_AHEAD_NS_MAX: u64 = 5 * 60 * 1_000_000_000;

/// A checked list.
#[derive(Debug)]
pub(super) struct RevocationList {
    /// Big-endian, without leading zeros.
    number: Box<[u8]>,
    number_text: String,
    /// When a newer list must have come.
    pub(super) next_update: UnixNanos,
    serials: HashSet<Box<[u8]>>,
    sha256: [u8; 32],
}

/// Whether a list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not yet time for the next one.
    Current,
    /// It should have been replaced, and counts by grace.
    InGrace,
    /// It counts no longer: whoever it covers is refused.
    Expired,
}

impl RevocationList {
    /// Whether it counts `now`. The moment of `nextUpdate` is late already, as rustls has it.
    pub(super) fn standing(&self, now: UnixNanos, grace_ns: u64) -> Standing {
        standing(self.next_update, now, grace_ns)
    }

    /// First moment at which it counts no longer.
    pub(super) fn counts_until(&self, grace_ns: u64) -> UnixNanos {
        self.next_update.plus_ns(grace_ns)
    }

    /// Whether it names the certificate of this serial number.
    pub(super) fn contains(&self, serial: &[u8]) -> bool {
        self.serials.contains(leaf::serial(serial))
    }

    /// How many certificates it names.
    pub(super) fn count(&self) -> usize {
        self.serials.len()
    }

    /// Its number, in decimal.
    pub(super) fn number_text(&self) -> &str {
        &self.number_text
    }

    /// Whether it may follow `before`: it is the same list, or has a higher number.
    pub(super) fn may_replace(&self, before: &Self) -> bool {
        let by_size = |number: &[u8]| (number.len(), number.to_vec());
        self.sha256 == before.sha256 || by_size(&self.number) > by_size(&before.number)
    }
}

fn standing(next_update: UnixNanos, now: UnixNanos, grace_ns: u64) -> Standing {
    if now < next_update {
        Standing::Current
    } else if now < next_update.plus_ns(grace_ns) {
        Standing::InGrace
    } else {
        Standing::Expired
    }
}

/// Parses the list at `position` (from 1) of the file.
pub(super) fn parse<'a>(
    der: &'a CertificateRevocationListDer<'static>,
    position: usize,
) -> Result<CertificateRevocationList<'a>, IdentityError> {
    match CertificateRevocationList::from_der(der.as_ref()) {
        Ok(([], list)) => Ok(list),
        _ => Err(IdentityError::Malformed { role: FileRole::RevocationLists, position }),
    }
}

/// Checks that `authority` signed `list`, that it is a complete list of a kind we enforce, and that it counts now.
pub(super) fn check(
    list: &CertificateRevocationList<'_>,
    der: &CertificateRevocationListDer<'static>,
    authority: &X509Certificate<'_>,
    now: UnixNanos,
    grace_ns: u64,
) -> Result<RevocationList, IdentityError> {
    let name = leaf::escape(authority.subject());
    let signed = signature::is_signed_by(
        authority.public_key(),
        list.tbs_cert_list.as_ref(),
        &list.signature_algorithm,
        &list.signature_value.data,
    );
    if !signed {
        return Err(IdentityError::RevocationListForged { authority: name });
    }
    // Without a key usage an authority may do everything (RFC 5280, section 4.2.1.3).
    let may_sign = authority.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()));
    if !may_sign {
        return Err(IdentityError::RevocationListNotAllowed { authority: name });
    }
    let (Some(number), Some(next_update)) = (list.crl_number(), list.next_update()) else {
        return Err(IdentityError::RevocationListUnsupported { authority: name });
    };
    // A list for a part of the certificates (delta, or by distribution point) would leave the rest unjudged.
    let is_partial = list.extensions().iter().any(|extension| {
        extension.oid == oid::OID_X509_EXT_DELTA_CRL_INDICATOR
            || extension.oid == oid::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT
    });
    if is_partial {
        return Err(IdentityError::RevocationListUnsupported { authority: name });
    }
    let number_text = number.to_string();
    let this_update = leaf::nanos(list.last_update());
    let next_update = leaf::nanos(next_update);
    if this_update > now.plus_ns(ISSUED_AHEAD_NS_MAX)
        || standing(next_update, now, grace_ns) == Standing::Expired
    {
        return Err(IdentityError::RevocationListOutsideValidity {
            authority: name,
            number: number_text,
            this_update: format_utc(this_update),
            next_update: format_utc(next_update),
        });
    }
    let serials =
        list.iter_revoked_certificates().map(|revoked| leaf::serial(revoked.raw_serial()).into()).collect();
    Ok(RevocationList {
        number: number.to_bytes_be().into(),
        number_text,
        next_update,
        serials,
        sha256: Sha256::digest(der.as_ref()).into(),
    })
}
