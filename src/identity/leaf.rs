//! One parsed certificate, and what it must be to be let in beyond what path validation demands.
//!
//! rustls accepts client certificates without any extended key usage, with further usages beside clientAuth, with a key usage
//! that forbids signing, with any serial number, and of any lifetime. Here: the form that RFC 5280 demands, clientAuth and
//! nothing else, a strong key, and a bounded lifetime (`tls.lifetime_days_max`).

use std::fmt::Write;

use sealfeed_wire::Code;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry as oid;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name, X509Version};

use super::der::element;
use super::refusal::Claim;
use crate::types::{SignatureKey, UnixNanos};

/// Most bytes of a client certificate; one with every field that is read here has a tenth of it.
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// Most bytes of a serial number (RFC 5280, section 4.1.2.2).
const SERIAL_BYTES_MAX: usize = 20;

const DAY_S: i64 = 24 * 60 * 60;

/// Extensions that are read, here or by rustls. No other may be critical.
const READ: [Oid<'static>; 4] = [
    oid::OID_X509_EXT_KEY_USAGE,
    oid::OID_X509_EXT_EXTENDED_KEY_USAGE,
    oid::OID_X509_EXT_SUBJECT_ALT_NAME,
    oid::OID_X509_EXT_BASIC_CONSTRAINTS,
];

/// What the operator demands of client certificates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceilings {
    /// Longest time from first moment to last, days. The default, 825, is what public CAs kept to when they still issued for
    /// years; the bundled PKI script issues for at most 398.
    pub(super) lifetime_days_max: u16,
    /// Fewest bits of an RSA modulus. The default, 3072, is the equal of the 128 bits that P-256 gives (NIST SP 800-57 part 1).
    pub(super) rsa_bits_min: u16,
}

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
    Claim {
        subject: escape(certificate.subject()),
        serial: serial_hex(certificate.raw_serial()),
        issuer: escape(certificate.issuer()),
    }
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

fn short_name(attribute: &Oid<'_>) -> Option<&'static str> {
    [
        (oid::OID_X509_COMMON_NAME, "CN"),
        (oid::OID_X509_ORGANIZATION_NAME, "O"),
        (oid::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (oid::OID_X509_COUNTRY_NAME, "C"),
    ]
    .into_iter()
    .find_map(|(known, short)| (known == *attribute).then_some(short))
}

/// SHA-256 of the certificate's `SubjectPublicKeyInfo`: the pin of its key.
pub(super) fn key_sha256(certificate: &X509Certificate<'_>) -> [u8; 32] {
    Sha256::digest(certificate.public_key().raw).into()
}

/// Whether the certificate has the form that RFC 5280 demands where other readers are lenient: what two readers could read in two
/// ways names nobody.
pub(super) fn check_form(der: &[u8], certificate: &X509Certificate<'_>) -> Result<(), (Code, &'static str)> {
    let malformed = |detail| Err((Code::TlsCertificateMalformed, detail));
    if der.len() > CERTIFICATE_BYTES_MAX {
        return malformed("the certificate is larger than 16 KiB");
    }
    if certificate.version() != X509Version::V3 {
        return malformed("the certificate is not of X.509 version 3");
    }
    let serial = certificate.raw_serial();
    if serial.iter().all(|byte| *byte == 0) || serial.first().is_some_and(|byte| byte & 0x80 != 0) {
        return malformed("the serial number is not positive");
    }
    if serial.len() > SERIAL_BYTES_MAX {
        return malformed("the serial number has more than 20 bytes");
    }
    let extensions = certificate.extensions();
    for (index, extension) in extensions.iter().enumerate() {
        if extensions[..index].iter().any(|before| before.oid == extension.oid) {
            return malformed("the certificate has an extension twice");
        }
        if !READ.contains(&extension.oid) {
            if extension.critical {
                return malformed("an extension is critical and not understood here");
            }
            continue;
        }
        // The parser stops where it has what it looks for; another reader could go on.
        let is_whole = matches!(element(extension.value), Some((_, _, [])));
        if !is_whole || matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. }) {
            return malformed("an extension cannot be parsed");
        }
    }
    Ok(())
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
    let usage = certificate
        .key_usage()
        .map_err(|_| (Code::TlsCertificateMalformed, "the key usage cannot be read"))?
        .map(|usage| usage.value);
    // Absent, it forbids nothing (RFC 5280, section 4.2.1.3).
    match usage {
        Some(usage) if !usage.digital_signature() => {
            Err((Code::TlsPurposeWrong, "the key usage does not allow digital signatures"))
        }
        Some(usage) if usage.key_cert_sign() || usage.crl_sign() => {
            Err((Code::TlsPurposeWrong, "the key usage is that of an authority"))
        }
        _ => Ok(()),
    }
}

/// Whether the key is P-256, P-384, Ed25519, or RSA of at least `rsa_bits_min` bits.
pub(super) fn check_key(key: &SubjectPublicKeyInfo<'_>, rsa_bits_min: u16) -> Result<(), (Code, String)> {
    let algorithm = &key.algorithm;
    if algorithm.algorithm == oid::OID_SIG_ED25519 {
        return Ok(());
    }
    if algorithm.algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        return match curve {
            Some(curve) if curve == oid::OID_EC_P256 || curve == oid::OID_NIST_EC_P384 => Ok(()),
            _ => Err((Code::TlsKeyWeak, "the curve is neither P-256 nor P-384".to_owned())),
        };
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = modulus_bits(rsa.modulus);
            if bits >= usize::from(rsa_bits_min) {
                return Ok(());
            }
            Err((Code::TlsKeyWeak, format!("the RSA key has {bits} bits, fewer than {rsa_bits_min}")))
        }
        _ => Err((Code::TlsKeyWeak, "the kind of key is not supported".to_owned())),
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

/// Whether the certificate lives no longer than `days_max`.
pub(super) fn check_lifetime(certificate: &X509Certificate<'_>, days_max: u16) -> Result<(), (Code, String)> {
    let validity = certificate.validity();
    let lifetime_s = validity.not_after.timestamp().saturating_sub(validity.not_before.timestamp());
    if lifetime_s > i64::from(days_max) * DAY_S {
        return Err((Code::TlsLifetimeTooLong, format!("the certificate lives longer than {days_max} days")));
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
