//! One parsed certificate, and what it must be to be let in beyond what path validation demands.
//!
//! rustls accepts client certificates without any extended key usage, with further usages beside clientAuth, and
//! of any lifetime. Here: clientAuth and nothing else; a key of at least 128 bits of strength; a lifetime of at
//! most [`LIFETIME_S_MAX`].

use std::fmt::Write;

use sealfeed_wire::Code;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry as oid;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use super::refusal::Claim;
use crate::types::{SignatureKey, UnixNanos};

/// Longest life of a client certificate, in seconds: 825 days, the limit that public CAs kept to when they still
/// issued for years; the bundled PKI script issues for at most 398.
pub const LIFETIME_S_MAX: i64 = 825 * 24 * 60 * 60;

/// Fewest bits of an RSA modulus: the equal of the 128 bits that P-256 gives (NIST SP 800-57 part 1).
pub const RSA_BITS_MIN: usize = 3072;

/// Longest subject that is written to logs, in bytes.
const SUBJECT_BYTES_MAX: usize = 256;

/// Parses `der`, all of it.
pub(super) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

/// Whom the certificate claims to name: for logs only, never for decisions.
pub(super) fn claim(certificate: &X509Certificate<'_>) -> Claim {
    Claim { subject: escape(certificate.subject()), serial: serial_hex(certificate.raw_serial()) }
}

/// A serial number without leading zero bytes, as it is compared.
pub(super) fn serial(raw: &[u8]) -> &[u8] {
    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
    &raw[zeros.min(raw.len().saturating_sub(1))..]
}

/// A serial number as lower-case hexadecimal digits; at most the first 32 bytes of a hostile one.
pub(super) fn serial_hex(raw: &[u8]) -> String {
    let bytes = serial(raw);
    sealfeed_wire::hex::encode(&bytes[..bytes.len().min(32)])
}

/// A point in time of a certificate; before 1970 it is the epoch, beyond 2554 the end of time.
pub(super) fn nanos(time: ASN1Time) -> UnixNanos {
    UnixNanos(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1_000_000_000))
}

/// A name as text that is safe in logs: `O=acme, CN=desk7`; every byte that could be taken for structure, and
/// every byte outside printable ASCII, as `\xx`.
pub(super) fn escape(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        match short_name(attribute.attr_type()) {
            Some(short) => text.push_str(short),
            None => text.push_str(&attribute.attr_type().to_id_string()),
        }
        text.push('=');
        for &byte in attribute.as_slice() {
            if text.len() > SUBJECT_BYTES_MAX {
                text.push_str("...");
                return text;
            }
            if byte.is_ascii_graphic() && !matches!(byte, b',' | b'=' | b'+' | b'\\' | b'"') || byte == b' ' {
                text.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\{byte:02x}");
            }
        }
    }
    if text.is_empty() { "(empty subject)".to_owned() } else { text }
}

fn short_name(attribute: &x509_parser::der_parser::Oid<'_>) -> Option<&'static str> {
    [
        (oid::OID_X509_COMMON_NAME, "CN"),
        (oid::OID_X509_ORGANIZATION_NAME, "O"),
        (oid::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (oid::OID_X509_COUNTRY_NAME, "C"),
    ]
    .into_iter()
    .find_map(|(known, short)| (known == *attribute).then_some(short))
}

/// Whether the certificate is for clients and for nothing else.
pub(super) fn check_purpose(certificate: &X509Certificate<'_>) -> Result<(), (Code, &'static str)> {
    let usage = certificate
        .extended_key_usage()
        .map_err(|_| (Code::TlsCertificateMalformed, "the extended key usage cannot be read"))?
        .ok_or((Code::TlsPurposeWrong, "the certificate has no extended key usage"))?
        .value;
    if !usage.client_auth {
        return Err((Code::TlsPurposeWrong, "the extended key usage is not clientAuth"));
    }
    let has_others = usage.any
        || usage.server_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    if has_others {
        return Err((Code::TlsPurposeWrong, "the extended key usage has more than clientAuth"));
    }
    Ok(())
}

/// Whether the key is P-256, P-384, Ed25519, or RSA of at least [`RSA_BITS_MIN`] bits.
pub(super) fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), (Code, &'static str)> {
    let algorithm = &key.algorithm;
    if algorithm.algorithm == oid::OID_SIG_ED25519 {
        return Ok(());
    }
    if algorithm.algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        return match curve {
            Some(curve) if curve == oid::OID_EC_P256 || curve == oid::OID_NIST_EC_P384 => Ok(()),
            _ => Err((Code::TlsKeyWeak, "the curve is neither P-256 nor P-384")),
        };
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if modulus_bits(rsa.modulus) >= RSA_BITS_MIN => Ok(()),
        Ok(PublicKey::RSA(_)) => Err((Code::TlsKeyWeak, "the RSA key is shorter than 3072 bits")),
        _ => Err((Code::TlsKeyWeak, "the kind of key is not supported")),
    }
}

/// The key as the gate checks signatures with it; `None` for kinds whose signatures are not checked (RSA, P-384).
pub(super) fn signature_key(key: &SubjectPublicKeyInfo<'_>) -> Option<SignatureKey> {
    let (algorithm, bits) = (&key.algorithm, &*key.subject_public_key.data);
    if algorithm.algorithm == oid::OID_SIG_ED25519 {
        return bits.try_into().ok().map(SignatureKey::Ed25519);
    }
    let curve = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let is_p256 = algorithm.algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY
        && curve.is_some_and(|curve| curve == oid::OID_EC_P256);
    // Uncompressed, as nearly all certificates have it; TLS takes no other form either.
    bits.try_into().ok().filter(|point: &[u8; 65]| is_p256 && point[0] == 4).map(SignatureKey::P256)
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let significant = serial(modulus);
    let leading_zeros = significant.first().map_or(0, |byte| byte.leading_zeros() as usize);
    significant.len() * 8 - leading_zeros
}

/// Whether the certificate lives no longer than [`LIFETIME_S_MAX`].
pub(super) fn check_lifetime(certificate: &X509Certificate<'_>) -> Result<(), (Code, &'static str)> {
    let validity = certificate.validity();
    let lifetime_s = validity.not_after.timestamp().saturating_sub(validity.not_before.timestamp());
    if lifetime_s > LIFETIME_S_MAX {
        return Err((Code::TlsLifetimeTooLong, "the certificate lives longer than 825 days"));
    }
    Ok(())
}

/// Whether `now` is within the certificate's validity.
pub(super) fn check_dates(
    certificate: &X509Certificate<'_>,
    now: UnixNanos,
) -> Result<(), (Code, &'static str)> {
    let validity = certificate.validity();
    if now < nanos(validity.not_before) {
        return Err((Code::TlsCertificateNotYetValid, "the certificate is not yet valid"));
    }
    if now > nanos(validity.not_after) {
        return Err((Code::TlsCertificateExpired, "the certificate has expired"));
    }
    Ok(())
}
