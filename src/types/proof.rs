//! What a principal's signed requests are proved with, besides the order key.

use std::fmt;

pub use sealfeed_wire::ProofDemand;

/// The public key of a client certificate, if it is of a kind whose signatures the gate checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SignatureKey {
    /// Ed25519 (RFC 8032): the encoded point.
    Ed25519([u8; 32]),
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5): the uncompressed point, `04` then x then y.
    P256([u8; 65]),
}

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519",
            Self::P256(_) => "P256",
        })
    }
}
