//! Signatures of requests by the client certificate's own private key: Ed25519, or ECDSA on P-256 as r then s.
//!
//! The same key that TLS shows the certificate with. It is read once and never printed.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use rustls_pki_types::PrivateKeyDer;

use crate::error::RequestError;

/// A private key whose signatures servers check.
pub struct CertificateKey(Pair);

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl CertificateKey {
    /// The key of a certificate; `None` if it is of another kind (RSA, P-384).
    #[must_use]
    pub fn new(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let der = key.secret_der();
        let p256 = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = match key {
            PrivateKeyDer::Pkcs8(_) => Ed25519KeyPair::from_pkcs8(der)
                .map(Pair::Ed25519)
                .ok()
                .or_else(|| EcdsaKeyPair::from_pkcs8(p256, der).map(Pair::P256).ok()),
            PrivateKeyDer::Sec1(_) => EcdsaKeyPair::from_private_key_der(p256, der).map(Pair::P256).ok(),
            _ => None,
        };
        pair.map(Self)
    }

    /// Signs the bytes of a signing string.
    ///
    /// # Errors
    /// [`RequestError::RandomUnavailable`]: ECDSA needs random bytes and there are none.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], RequestError> {
        let signature = match &self.0 {
            Pair::Ed25519(pair) => pair.sign(message),
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), message).map_err(|_| RequestError::RandomUnavailable)?
            }
        };
        // Both kinds make 64 bytes.
        signature.as_ref().try_into().map_err(|_| RequestError::RandomUnavailable)
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateKey(redacted)")
    }
}
