//! The proof of a signed request: HMAC-SHA256 over a text that binds it to one TLS connection, or a signature over
//! the same text by the certificate's own key (made and checked elsewhere: this crate knows no public keys).
//!
//! The signing string is, with a line feed after each of the first five lines: `sealfeed-v1`, session, ts, nonce,
//! op, and then the raw bytes of the body. Time and nonce are signed as sent, the body byte for byte: nobody
//! canonicalises JSON. Comparison is constant-time. Keys are zeroed when dropped and never printed.

use std::fmt;

use hmac::Hmac;
use hmac::digest::CtOutput;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::hex;
use crate::request::Signed;
use crate::sha256::{CompressPair, State};
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
        // An empty salt is a key of zeros to HMAC.
        let prk = Self(KeyedMac::new(&Self([0; 32])).mac(&[master]));
        Self(KeyedMac::new(&prk).mac(&[ORDER_KEY_INFO, &certificate.0, &[1]]))
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

/// An order key made ready: the two key blocks of HMAC (RFC 2104) are already hashed.
#[derive(Clone)]
pub struct KeyedMac {
    inner: State,
    outer: State,
}

impl KeyedMac {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &OrderKey) -> Self {
        let after_key = |pad: u8| {
            // A key of 32 bytes is filled up with zeros to a block.
            let mut block = [pad; 64];
            for (byte, key) in block.iter_mut().zip(&key.0) {
                *byte ^= key;
            }
            let state = State::NEW.after(&block);
            block.zeroize();
            state
        };
        Self { inner: after_key(0x36), outer: after_key(0x5c) }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.outer.finish(&[&self.inner.finish(parts)])
    }

    /// Binds it to one connection: most of the first two lines of every signing string is hashed once.
    #[must_use]
    pub fn for_session(&self, session: &SessionId) -> SessionMac {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(SIGNING_CONTEXT.as_bytes());
        head.push(b'\n');
        hex::write(&mut head, &session.0);
        head.push(b'\n');
        let (mut first, mut rest) = ([0; 64], [0; HEAD_BYTES - 64]);
        let (block, remainder) = head.split_at(first.len());
        first.copy_from_slice(block);
        rest.copy_from_slice(remainder);
        SessionMac { inner: self.inner.after(&first), rest, outer: self.outer.clone() }
    }
}

impl Drop for KeyedMac {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl fmt::Debug for KeyedMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedMac(redacted)")
    }
}

/// Bytes of the first two lines of a signing string.
const HEAD_BYTES: usize = SIGNING_CONTEXT.len() + 1 + 2 * 32 + 1;

/// An order key bound to one connection: signs and verifies that connection's requests.
#[derive(Clone)]
pub struct SessionMac {
    /// Behind the inner key block and the first block of the signing string.
    inner: State,
    /// What the first two lines have beyond that block.
    rest: [u8; HEAD_BYTES - 64],
    /// Behind the outer key block.
    outer: State,
}

impl SessionMac {
    /// Signs a request with its time and nonce exactly as they are sent.
    #[must_use]
    pub fn sign(&self, ts: UnixNanos, nonce: Nonce, op: SignedOp, body: &str) -> [u8; 32] {
        self.mac(&ts.to_string(), &nonce.to_string(), op, body)
    }

    /// Whether the MAC of a request is there and the right one. Takes the same time for every wrong MAC, and for none.
    #[must_use]
    pub fn verifies(&self, request: &Signed<'_>) -> bool {
        is_mac_of(&self.mac(request.ts_text, request.nonce_text, request.op, request.body), request)
    }

    /// As [`Self::verifies`], and the SHA-256 of op, line feed and body, the end of the same text: `pair` compresses both side by
    /// side. The digest is there whatever the MAC is, and takes the same time.
    #[must_use]
    pub fn verifies_beside_digest(&self, request: &Signed<'_>, pair: CompressPair) -> (bool, [u8; 32]) {
        let (op, body) = (request.op.as_str().as_bytes(), request.body.as_bytes());
        let (ts, nonce) = (request.ts_text.as_bytes(), request.nonce_text.as_bytes());
        let [inner, digest] =
            self.inner.finish_beside_tail([&self.rest, ts, b"\n", nonce, b"\n"], [op, b"\n", body], pair);
        (is_mac_of(&self.outer.finish(&[&inner]), request), digest)
    }

    fn mac(&self, ts: &str, nonce: &str, op: SignedOp, body: &str) -> [u8; 32] {
        let inner = self.inner.finish(&[
            &self.rest,
            ts.as_bytes(),
            b"\n",
            nonce.as_bytes(),
            b"\n",
            op.as_str().as_bytes(),
            b"\n",
            body.as_bytes(),
        ]);
        self.outer.finish(&[&inner])
    }
}

/// Whether the request has a MAC and it is `right`.
fn is_mac_of(right: &[u8; 32], request: &Signed<'_>) -> bool {
    // Compared as outputs of a MAC, which takes the same time wherever they differ.
    let tag = |bytes: [u8; 32]| CtOutput::<Hmac<Sha256>>::new(bytes.into());
    let is_right = tag(*right) == tag(request.proof.mac.unwrap_or_default());
    is_right & request.proof.mac.is_some()
}

impl Drop for SessionMac {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
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
    use hmac::{KeyInit, Mac};

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
