//! Why a handshake was refused, and whom the peer claimed to be.
//!
//! The peer sees a TLS alert and nothing else; code, claim and detail go to log, metric and journal. Each
//! handshake has a slot of its own, which its verifier fills, so a refusal is never put down to another
//! connection.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::{CertificateError, Error as TlsError};
use sealfeed_wire::Code;

/// One refused handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// Whom the certificate claimed to name; `None` if none was shown or it cannot be parsed. Unproved: the
    /// handshake ended before the peer showed that it holds the key.
    pub claim: Option<Claim>,
    /// What exactly was wrong, for operators.
    pub detail: String,
}

/// What a certificate says about itself, safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The subject, every unprintable or structural byte of a value escaped; cut at about 256 bytes.
    pub subject: String,
    /// The serial number, lower-case hexadecimal, without leading zeros.
    pub serial: String,
    /// The issuer, escaped and cut likewise.
    pub issuer: String,
}

impl Refusal {
    /// A refusal without a certificate to blame.
    pub(super) fn bare(code: Code, detail: impl Into<String>) -> Self {
        Self { code, claim: None, detail: detail.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)?;
        match &self.claim {
            Some(claim) => {
                write!(f, " (claimed {}, serial {} of {})", claim.subject, claim.serial, claim.issuer)
            }
            None => Ok(()),
        }
    }
}

/// Where the verifier of one handshake leaves its refusal.
#[derive(Clone, Debug, Default)]
pub struct RefusalSlot(Arc<OnceLock<Refusal>>);

impl RefusalSlot {
    /// Keeps the first refusal of the handshake.
    pub(super) fn put(&self, refusal: Refusal) {
        // A handshake ends with its first refusal; a second one could only repeat it.
        let _ = self.0.set(refusal);
    }

    /// Why the handshake failed with `error`: what the verifier said, or else what the error itself tells.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> Refusal {
        self.0.get().cloned().unwrap_or_else(|| classify_io(error))
    }

    /// As [`RefusalSlot::explain`], for callers that drive rustls themselves.
    #[must_use]
    pub fn explain_tls(&self, error: &TlsError) -> Refusal {
        self.0.get().cloned().unwrap_or_else(|| classify(error))
    }
}

/// The refusal of a handshake that was not over at its deadline.
#[must_use]
pub fn timed_out() -> Refusal {
    Refusal::bare(Code::TlsHandshakeTimeout, "the handshake was not complete at its deadline")
}

/// What an I/O error during a handshake means, as tokio-rustls reports it.
#[must_use]
pub fn classify_io(error: &io::Error) -> Refusal {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return classify(tls);
    }
    match error.kind() {
        io::ErrorKind::TimedOut => timed_out(),
        kind => {
            Refusal::bare(Code::TlsPeerLeft, format!("the connection ended during the handshake: {kind}"))
        }
    }
}

/// What a TLS error during a handshake means.
#[must_use]
pub fn classify(error: &TlsError) -> Refusal {
    let code = match error {
        TlsError::NoCertificatesPresented => Code::TlsCertificateMissing,
        TlsError::InvalidCertificate(certificate) => certificate_code(certificate),
        TlsError::InvalidCertRevocationList(_) => Code::TlsRevocationUnknown,
        TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol => Code::TlsParametersUnsupported,
        TlsError::AlertReceived(_) => Code::TlsPeerLeft,
        _ => Code::TlsProtocolError,
    };
    Refusal::bare(code, error.to_string())
}

fn certificate_code(error: &CertificateError) -> Code {
    use CertificateError as E;
    #[expect(deprecated, reason = "older error forms may still come from a verifier")]
    match error {
        E::BadEncoding | E::UnhandledCriticalExtension => Code::TlsCertificateMalformed,
        E::Expired | E::ExpiredContext { .. } => Code::TlsCertificateExpired,
        E::NotValidYet | E::NotValidYetContext { .. } => Code::TlsCertificateNotYetValid,
        E::Revoked => Code::TlsCertificateRevoked,
        E::UnknownIssuer => Code::TlsIssuerUnknown,
        E::UnknownRevocationStatus => Code::TlsRevocationUnknown,
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => Code::TlsCrlExpired,
        E::BadSignature
        | E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Code::TlsSignatureInvalid,
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => Code::TlsPurposeWrong,
        _ => Code::TlsChainInvalid,
    }
}
