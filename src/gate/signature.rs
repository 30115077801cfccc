//! Signatures by the client certificate's own key, over the same signing string as the MAC.
//!
//! With one of them in the log, a third party can check an order later with nothing but the certificate. Ed25519
//! (RFC 8032) and ECDSA on P-256 with SHA-256 as r then s (FIPS 186-5); both verified by aws-lc-rs, which parses the key
//! each time: that is a small part of the whole, and a session that never sees a signature keeps 65 bytes for it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use sealfeed_wire::signing::signing_string;
use sealfeed_wire::{SessionId, Signed};

use crate::types::proof::SignatureKey;

/// Verified where a signature is demanded and none was sent, so that a missing one costs what a wrong one costs. As r and s
/// (or R and S) it is in range, and the right one of no message that anybody can find.
const STAND_IN: [u8; 64] = {
    let mut bytes = [0; 64];
    bytes[31] = 1;
    bytes[32] = 1;
    bytes[63] = 1;
    bytes
};

/// Whether the request bears a signature of this key, for this session.
pub(super) fn verifies(key: &SignatureKey, session: &SessionId, signed: &Signed<'_>) -> bool {
    let message = signing_string(session, signed.ts_text, signed.nonce_text, signed.op, signed.body);
    let sig = signed.proof.sig.unwrap_or(STAND_IN);
    let verified = match key {
        SignatureKey::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), &sig),
        SignatureKey::P256(key) => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message.as_bytes(), &sig)
        }
    };
    verified.is_ok() & signed.proof.sig.is_some()
}

#[cfg(test)]
mod tests {
    use sealfeed_wire::{Nonce, Op, Proof, SignedOp, UnixNanos, base64url, hex, request};
    use serde_json::Value;

    use super::*;

    fn vector() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/signature.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn text<'a>(case: &'a Value, field: &str) -> &'a str {
        case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
    }

    fn key(case: &Value) -> SignatureKey {
        match text(case, "algorithm") {
            "ed25519" => SignatureKey::Ed25519(hex::decode(text(case, "public_key")).unwrap()),
            "ecdsa-p256-sha256" => SignatureKey::P256(hex::decode(text(case, "public_key")).unwrap()),
            other => panic!("{other}"),
        }
    }

    fn session(case: &Value) -> SessionId {
        SessionId::parse(text(case, "session")).unwrap()
    }

    fn check(case: &Value, sig: Option<[u8; 64]>) -> bool {
        let (ts_text, nonce_text) = (text(case, "ts"), text(case, "nonce"));
        let signed = Signed {
            op: SignedOp::parse(text(case, "op")).unwrap(),
            ts_text,
            ts: UnixNanos::parse(ts_text).unwrap(),
            nonce_text,
            nonce: Nonce::parse(nonce_text).unwrap(),
            proof: Proof { mac: None, sig },
            body: text(case, "body"),
        };
        verifies(&key(case), &session(case), &signed)
    }

    #[test]
    fn the_published_signatures_verify_and_no_other_bit_does() {
        for case in vector()["cases"].as_array().unwrap() {
            let Op::Signed(signed) = request::parse(text(case, "frame")).unwrap().op else {
                panic!("{case}")
            };
            assert!(verifies(&key(case), &session(case), &signed), "{case}");
            let sig = signed.proof.sig.unwrap();
            for bit in 0..512 {
                let mut other = sig;
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!check(case, Some(other)), "bit {bit} of {case}");
            }
            assert!(!verifies(&key(case), &SessionId([9; 32]), &signed), "another session: {case}");
        }
    }

    #[test]
    fn the_published_refusals_do_not_verify() {
        for case in vector()["refused"].as_array().unwrap() {
            assert!(!check(case, Some(base64url::decode(text(case, "sig")).unwrap())), "{case}");
        }
    }

    #[test]
    fn no_signature_is_no_right_signature_and_neither_is_its_stand_in() {
        for case in vector()["cases"].as_array().unwrap() {
            assert!(!check(case, None) && !check(case, Some(STAND_IN)), "{case}");
        }
    }
}
