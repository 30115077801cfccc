//! Signatures against another implementation of HMAC, over a text put together from the protocol's words.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use aws_lc_rs::hmac;
use proptest::prelude::*;
use sealfeed_client::Signer;
use sealfeed_client::wire::{Nonce, OrderKey, SessionId, SignedOp, UnixNanos, hex};

proptest! {
    #[test]
    fn the_mac_is_hmac_sha256_over_the_six_lines(
        key in any::<[u8; 32]>(),
        session in any::<[u8; 32]>(),
        nonce in any::<[u8; 16]>(),
        ts in any::<u64>(),
        body in r#"\{"cl_ord_id": "[a-zA-Z0-9 {}é\t]{0,40}" *\}"#,
    ) {
        let op = SignedOp::OrderNew;
        let text = format!(
            "sealfeed-v1\n{}\n{ts}\n{}\norder.new\n{body}", hex::encode(&session), hex::encode(&nonce)
        );
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
        let signer = Signer::new(&OrderKey::from_bytes(key), &SessionId(session));
        let proof = signer.proof(op, UnixNanos(ts), Nonce(nonce), &body).unwrap();
        prop_assert_eq!(proof.mac.as_ref().map(|mac| mac.as_slice()), Some(expected.as_ref()));
        prop_assert_eq!(proof.sig, None);
        let envelope = signer.sign(None, op, UnixNanos(ts), Nonce(nonce), &body).unwrap();
        prop_assert!(envelope.ends_with(&format!("\"body\":{body}}}")), "{}", envelope);
    }
}
