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
    is_right(message, session, signature, &key).then_some(Signature::Valid { algorithm: key.algorithm() })
}

/// Only the body may go over several lines: with another line in `op`, one signed text would have two meanings.
fn is_right(message: &Signed<'_>, session: &[u8; 32], signature: &[u8; 64], key: &PublicKey<'_>) -> bool {
    !message.op.contains('\n') && key.verifies(signed_text(message, session).as_bytes(), signature)
}

/// What the client signed (`FORMAT.md`, section 13): six lines, the last without a line feed.
fn signed_text(message: &Signed<'_>, session: &[u8; 32]) -> String {
    let Signed { op, ts, nonce, body, .. } = message;
    format!("sealfeed-v1\n{}\n{ts}\n{}\n{op}\n{body}", hex(session), hex(*nonce))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::Value;

    use super::*;

    fn bytes<const N: usize>(digits: &str) -> [u8; N] {
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }

    fn verifies(case: &Value) -> bool {
        let text = |field: &str| case[field].as_str().unwrap();
        let (nonce, sig) = (bytes(text("nonce")), URL_SAFE_NO_PAD.decode(text("sig")).unwrap());
        let sig = sig.try_into().unwrap();
        let (op, ts, body) = (text("op"), text("ts").parse().unwrap(), text("body"));
        let message = Signed { op, ts, nonce: &nonce, body, signature: Some(&sig) };
        let (session, key) = (bytes(text("session")), text("public_key"));
        let of = |key| is_right(&message, &session, &sig, &key);
        match text("algorithm") {
            "ed25519" => of(PublicKey::Ed25519(&bytes(key))),
            "ecdsa-p256-sha256" => of(PublicKey::P256(&bytes(key))),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_signatures_that_the_protocol_publishes_verify_and_those_that_it_refuses_do_not() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/signature.json");
        let vector: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let (cases, refused) = (vector["cases"].as_array().unwrap(), vector["refused"].as_array().unwrap());
        assert!(!cases.is_empty() && !refused.is_empty());
        cases.iter().for_each(|case| assert!(verifies(case), "{case}"));
        refused.iter().for_each(|case| assert!(!verifies(case), "{case}"));
    }
}
