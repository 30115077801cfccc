//! The proof of a signed request: HMAC-SHA256 over a text that binds it to one TLS connection, or a signature over
//! the same text by the certificate's own key (made and checked elsewhere: this crate knows no public keys).
//!
//! The signing string is, with a line feed after each of the first five lines: `sealfeed-v1`, session, ts, nonce,
//! op, and then the raw bytes of the body. Time and nonce are signed as sent, the body byte for byte: nobody
//! canonicalises JSON. Comparison is constant-time. Keys are zeroed when dropped and never printed.

use std::fmt;

use hmac::digest::Key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::hex;
use crate::request::Signed;
use crate::term::SignedOp;
use crate::value::{CertificateHash, Nonce, SessionId, UnixNanos};

/// First line of every signing string: protocol and version.
pub const SIGNING_CONTEXT: &str = "sealfeed-v1";

/// `info` of the order key's HKDF, in front of the SHA-256 of the client certificate's DER form.
pub const ORDER_KEY_INFO: &[u8] = b"sealfeed order key v1";

/// The secret that signs the requests of one client certificate.
///
/// HKDF-SHA256(ikm = master secret, salt = empty, info = [`ORDER_KEY_INFO`] then SHA-256 of the certificate's DER
/// form), 32 bytes. As a file: one line of 64 lower-case hexadecimal digits.
#[derive(Clone)]
pub struct OrderKey([u8; 32]);

/// Why a key file cannot be read. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order key is one line of 64 lower-case hexadecimal digits")]
pub struct OrderKeyError;

impl OrderKey {
    /// The key of 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Derives the key of a certificate from the server's master secret.
    ///
    /// One block of HKDF (RFC 5869) written out: extract with an empty salt, expand once.
    #[must_use]
    pub fn derive(master: &[u8; 32], certificate: &CertificateHash) -> Self {
        let mut extract = <Hmac<Sha256> as KeyInit>::new(&Key::<Hmac<Sha256>>::default());
        extract.update(master);
        let prk = Self(extract.finalize().into_bytes().into());
        let mut expand = KeyedMac::new(&prk).0;
        expand.update(ORDER_KEY_INFO);
        expand.update(&certificate.0);
        expand.update(&[1]);
        Self(expand.finalize().into_bytes().into())
    }

    /// Reads the text of a key file: 64 digits and at most one line end.
    ///
    /// # Errors
    /// [`OrderKeyError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, OrderKeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        hex::decode(line).map(Self).map_err(|_| OrderKeyError)
    }

    /// The text of a key file: 64 digits and a line feed.
    #[must_use]
    pub fn to_file_text(&self) -> String {
        hex::encode(&self.0) + "\n"
    }
}

impl Drop for OrderKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrderKey(redacted)")
    }
}

/// An order key made ready: the two key blocks of HMAC are already hashed. Cloning copies 200 bytes.
#[derive(Clone)]
pub struct KeyedMac(Hmac<Sha256>);

impl KeyedMac {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &OrderKey) -> Self {
        // The HMAC block of a 32-byte key is the key and zeros (RFC 2104).
        let mut block = Key::<Hmac<Sha256>>::default();
        block[..key.0.len()].copy_from_slice(&key.0);
        let mac = <Hmac<Sha256> as KeyInit>::new(&block);
        block.as_mut_slice().zeroize();
        Self(mac)
    }

    /// Binds it to one connection: the first two lines of every signing string are hashed once.
    #[must_use]
    pub fn for_session(&self, session: &SessionId) -> SessionMac {
        let mut mac = self.0.clone();
        let mut head = Vec::with_capacity(80);
        head.extend_from_slice(SIGNING_CONTEXT.as_bytes());
        head.push(b'\n');
        hex::write(&mut head, &session.0);
        head.push(b'\n');
        mac.update(&head);
        SessionMac(mac)
    }
}

impl fmt::Debug for KeyedMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedMac(redacted)")
    }
}

/// An order key bound to one connection: signs and verifies that connection's requests.
#[derive(Clone)]
pub struct SessionMac(Hmac<Sha256>);

impl SessionMac {
    /// Signs a request with its time and nonce exactly as they are sent.
    #[must_use]
    pub fn sign(&self, ts: UnixNanos, nonce: Nonce, op: SignedOp, body: &str) -> [u8; 32] {
        let (ts, nonce) = (ts.to_string(), nonce.to_string());
        self.absorb(&ts, &nonce, op, body).finalize().into_bytes().into()
    }

    /// Whether the MAC of a request is there and the right one. Takes the same time for every wrong MAC, and for none.
    #[must_use]
    pub fn verifies(&self, request: &Signed<'_>) -> bool {
        let mac = self.absorb(request.ts_text, request.nonce_text, request.op, request.body);
        let is_right = mac.verify_slice(&request.proof.mac.unwrap_or_default()).is_ok();
        is_right & request.proof.mac.is_some()
    }

    fn absorb(&self, ts: &str, nonce: &str, op: SignedOp, body: &str) -> Hmac<Sha256> {
        // Time (at most 20 digits), nonce, op (at most 17 bytes) and line feeds in one piece: one call, not six.
        let mut middle = [0; 80];
        let mut length = 0;
        for line in [ts, nonce, op.as_str()] {
            let end = length + line.len();
            if end >= middle.len() {
                return self.absorb_unbounded(ts, nonce, op, body);
            }
            middle[length..end].copy_from_slice(line.as_bytes());
            middle[end] = b'\n';
            length = end + 1;
        }
        let mut mac = self.0.clone();
        mac.update(&middle[..length]);
        mac.update(body.as_bytes());
        mac
    }

    /// For texts longer than any that [`crate::request::parse`] lets through.
    fn absorb_unbounded(&self, ts: &str, nonce: &str, op: SignedOp, body: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for line in [ts, nonce, op.as_str()] {
            mac.update(line.as_bytes());
            mac.update(b"\n");
        }
        mac.update(body.as_bytes());
        mac
    }
}

impl fmt::Debug for SessionMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionMac(redacted)")
    }
}

/// Signs one request from scratch. A connection that signs often keeps a [`SessionMac`].
#[must_use]
pub fn sign(
    key: &OrderKey,
    session: &SessionId,
    ts: UnixNanos,
    nonce: Nonce,
    op: SignedOp,
    body: &str,
) -> [u8; 32] {
    KeyedMac::new(key).for_session(session).sign(ts, nonce, op, body)
}

/// The signing string itself, for evidence, tests and documentation.
#[must_use]
pub fn signing_string(session: &SessionId, ts: &str, nonce: &str, op: SignedOp, body: &str) -> String {
    format!("{SIGNING_CONTEXT}\n{session}\n{ts}\n{nonce}\n{op}\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"cl_ord_id":"c-1"}"#;

    fn key() -> OrderKey {
        OrderKey::from_bytes([7; 32])
    }

    #[test]
    fn the_mac_is_hmac_over_the_signing_string() {
        let (session, ts, nonce) = (SessionId([1; 32]), UnixNanos(5), Nonce([2; 16]));
        let text = signing_string(&session, "5", &nonce.to_string(), SignedOp::OrderNew, BODY);
        assert!(text.starts_with("sealfeed-v1\n0101"));
        let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        mac.update(text.as_bytes());
        let expected: [u8; 32] = mac.finalize().into_bytes().into();
        assert_eq!(sign(&key(), &session, ts, nonce, SignedOp::OrderNew, BODY), expected);
    }

    #[test]
    fn a_mac_verifies_for_its_own_session_only() {
        let (ts, nonce) = (UnixNanos(5), Nonce([2; 16]));
        let keyed = KeyedMac::new(&key());
        let session = keyed.for_session(&SessionId([1; 32]));
        let mac = session.sign(ts, nonce, SignedOp::OrderNew, BODY);
        let nonce_text = nonce.to_string();
        let request = Signed {
            op: SignedOp::OrderNew,
            ts_text: "5",
            ts,
            nonce_text: &nonce_text,
            nonce,
            proof: mac.into(),
            body: BODY,
        };
        assert!(session.verifies(&request));
        assert!(!keyed.for_session(&SessionId([3; 32])).verifies(&request));
        assert!(!session.verifies(&Signed { op: SignedOp::OrderCancel, ..request }));
        assert!(!session.verifies(&Signed { ts_text: "6", ..request }));
        assert!(!session.verifies(&Signed { body: "{}", ..request }));
        assert!(!session.verifies(&Signed { proof: [0; 32].into(), ..request }));
        let none = crate::request::Proof { mac: None, sig: Some([0; 64]) };
        assert!(!session.verifies(&Signed { proof: none, ..request }), "no MAC is no right MAC");
    }

    #[test]
    fn a_key_file_is_one_line_of_64_digits() {
        let text = key().to_file_text();
        for good in [text.as_str(), text.trim_end(), &text.replace('\n', "\r\n")] {
            assert!(OrderKey::parse(good).is_ok());
        }
        for bad in ["", "\n", &text.to_uppercase().replace('0', "A"), &format!("{text}\n"), &text[1..]] {
            assert_eq!(OrderKey::parse(bad).unwrap_err(), OrderKeyError);
        }
    }

    #[test]
    fn no_key_is_ever_printed() {
        let session = KeyedMac::new(&key()).for_session(&SessionId([1; 32]));
        let shown = format!("{:?} {:?} {session:?}", key(), KeyedMac::new(&key()));
        assert!(!shown.contains('7'), "{shown}");
    }
}
