//! Whether a certificate or revocation list was signed by an authority, with the algorithms that TLS uses.
//!
//! Files are checked when they are loaded, so that a forged or misplaced list is an error of the operator's
//! command and not a surprise in the first handshake.

use x509_parser::certificate::X509Certificate;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Whether `issuer`'s key signed `certificate`.
pub(super) fn is_issued_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    is_signed_by(
        issuer.public_key(),
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_algorithm,
        &certificate.signature_value.data,
    )
}

/// Whether `key` made `signature` over `message`.
pub(super) fn is_signed_by(
    key: &SubjectPublicKeyInfo<'_>,
    message: &[u8],
    algorithm: &AlgorithmIdentifier<'_>,
    signature: &[u8],
) -> bool {
    rustls::crypto::aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all
        .iter()
        .filter(|candidate| {
            object_identifier(&candidate.signature_alg_id()) == Some(algorithm.algorithm.as_bytes())
                && object_identifier(&candidate.public_key_alg_id())
                    == Some(key.algorithm.algorithm.as_bytes())
        })
        .any(|candidate| candidate.verify_signature(&key.subject_public_key.data, message, signature).is_ok())
}

/// The object identifier that an algorithm identifier starts with: tag 6, a length below 128, that many bytes.
fn object_identifier(algorithm: &[u8]) -> Option<&[u8]> {
    match algorithm {
        [6, length, rest @ ..] => rest.get(..usize::from(*length)),
        _ => None,
    }
}
