//! Whether the client's own key signed what the `order` and `order_refused` entries of a life say it sent.
//!
//! In: a message as sealed, the session it came in, the certificate that opened the session. The signed text is put together again from
//! them, so a signature that verifies ties the message to this key and to this connection, whatever the operator says.

use std::fmt;

use super::events::Signed;
use super::public_key::PublicKey;
use crate::chain::hex;

/// What can be said of the signature of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// It verifies with the key of the certificate that opened the session.
    Valid {
        /// `Ed25519` or `ECDSA P-256`.
        algorithm: &'static str,
    },
    /// The message has none: a MAC proved it, which only the client and the server can check.
    Unsigned,
    /// There is one, but the bundle has no certificate of its session.
    NoCertificate,
    /// There is one, but its certificate cannot be read, or has a key that is neither Ed25519 nor P-256.
    UnknownKey,
}

impl Signature {
    /// A word for programs, which stays.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Valid { .. } => "valid",
            Self::Unsigned => "unsigned",
            Self::NoCertificate => "no_certificate",
            Self::UnknownKey => "unknown_key",
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid { algorithm } => write!(f, "signed by the certificate's key, valid ({algorithm})"),
            Self::Unsigned => f.write_str("not signed"),
            Self::NoCertificate => {
                f.write_str("signed, not checked: the bundle does not hold the certificate")
            }
            Self::UnknownKey => {
                f.write_str("signed, not checked: no Ed25519 or P-256 key can be read in the certificate")
            }
        }
    }
}

/// Checks the signature of a message that came in `session`, opened with the certificate in `leaf`; `None`: it is there and wrong.
pub(super) fn check(message: &Signed<'_>, session: &[u8; 32], leaf: Option<&[u8]>) -> Option<Signature> {
    let Some(signature) = message.signature else { return Some(Signature::Unsigned) };
    let Some(leaf) = leaf else { return Some(Signature::NoCertificate) };
    let Some(key) = PublicKey::of_certificate(leaf) else { return Some(Signature::UnknownKey) };
    // Only the body may go over several lines: with another line in `op`, one signed text would have two meanings.
    if message.op.contains('\n') {
        return None;
    }
    let is_right = key.verifies(signed_text(message, session).as_bytes(), signature);
    is_right.then_some(Signature::Valid { algorithm: key.algorithm() })
}

/// What the client signed (`FORMAT.md`, section 13): six lines, the last without a line feed.
fn signed_text(message: &Signed<'_>, session: &[u8; 32]) -> String {
    let Signed { op, ts, nonce, body, .. } = message;
    format!("sealfeed-v1\n{}\n{ts}\n{}\n{op}\n{body}", hex(session), hex(*nonce))
}
