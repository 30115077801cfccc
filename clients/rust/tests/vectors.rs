//! The golden vectors that clients in every language run: signatures, and a book followed frame by frame.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sealfeed_client::wire::market::MarketMessage;
use sealfeed_client::wire::request::{self, Op};
use sealfeed_client::wire::{
    BookDecimals, Decimals, Depth, Level, Nonce, OrderKey, Scaled, ServerMessage, SessionId, SignedOp,
    Symbol, UnixNanos, hex,
};
use sealfeed_client::{BookUpdate, CertificateKey, LocalBook, Signer};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

#[test]
fn signatures_and_frames_come_out_byte_for_byte() {
    let vectors = vectors("signing");
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let key = OrderKey::parse(text(case, "order_key")).unwrap();
        let signer = Signer::new(&key, &SessionId::parse(text(case, "session")).unwrap());
        let (op, body) = (SignedOp::parse(text(case, "op")).unwrap(), text(case, "body"));
        let (ts, nonce) =
            (UnixNanos::parse(text(case, "ts")).unwrap(), Nonce::parse(text(case, "nonce")).unwrap());
        let mac = signer.proof(op, ts, nonce, body).unwrap().mac.unwrap();
        assert_eq!(hex::encode(&mac), text(case, "mac"), "{}", case["name"]);

        let frame = text(case, "frame");
        let request = request::parse(frame).unwrap();
        assert!(matches!(request.op, Op::Signed(_)));
        assert_eq!(signer.sign(request.id, op, ts, nonce, body).unwrap(), frame, "{}", case["name"]);
    }
}

#[test]
fn signatures_by_the_certificates_key_come_out_or_verify() {
    let vectors = vectors("signature");
    for case in vectors["cases"].as_array().unwrap() {
        let pkcs8 = PrivatePkcs8KeyDer::from(bytes(text(case, "private_key")));
        let key = CertificateKey::new(&PrivateKeyDer::from(pkcs8)).unwrap();
        let order_key = case["order_key"].as_str().map(|key| OrderKey::parse(key).unwrap());
        let session = SessionId::parse(text(case, "session")).unwrap();
        let signer = Signer::with_certificate_key(key, order_key.as_ref(), &session);
        let (op, body) = (SignedOp::parse(text(case, "op")).unwrap(), text(case, "body"));
        let (ts, nonce) =
            (UnixNanos::parse(text(case, "ts")).unwrap(), Nonce::parse(text(case, "nonce")).unwrap());
        let proof = signer.proof(op, ts, nonce, body).unwrap();
        assert_eq!(proof.mac.map(|mac| hex::encode(&mac)).as_deref(), case["mac"].as_str());
        let message = text(case, "signing_string").as_bytes();
        let (sig, public) = (proof.sig.unwrap(), bytes(text(case, "public_key")));
        if text(case, "algorithm") == "ed25519" {
            // Deterministic: the whole frame comes out.
            let id = request::parse(text(case, "frame")).unwrap().id;
            assert_eq!(signer.sign(id, op, ts, nonce, body).unwrap(), text(case, "frame"));
        } else {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public).verify(message, &sig).unwrap();
        }
    }
}

#[test]
fn a_key_of_another_kind_signs_nothing() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let der = PrivatePkcs8KeyDer::from(pair.serialize_der());
    assert!(CertificateKey::new(&PrivateKeyDer::from(der)).is_none());
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_book_is_the_published_one_after_every_frame() {
    let vectors = vectors("book");
    assert_eq!(vectors["depth"], 10);
    let decimals =
        |field: &str| Decimals::new(u8::try_from(vectors[field].as_u64().unwrap()).unwrap()).unwrap();
    let decimals = BookDecimals { price: decimals("price_decimals"), quantity: decimals("qty_decimals") };
    let mut book = LocalBook::new(Symbol::new("ESH4").unwrap(), Depth::Ten, decimals);
    let steps = vectors["steps"].as_array().unwrap();
    assert!(!steps.is_empty());
    for step in steps {
        let frame = text(step, "frame");
        let ServerMessage::Market(message) = ServerMessage::decode(frame).unwrap() else { panic!("{frame}") };
        let update = match &message {
            MarketMessage::Snapshot(message) => BookUpdate::Snapshot(message),
            MarketMessage::Delta(message) => BookUpdate::Delta(message),
            other => panic!("{other:?}"),
        };
        book.apply(update).unwrap();
        let view = book.view().unwrap();
        assert_eq!(view.bids, levels(&step["bids"]), "{frame}");
        assert_eq!(view.asks, levels(&step["asks"]), "{frame}");
    }
}

fn levels(list: &Value) -> Vec<Level> {
    let level = |level: &Value| Level {
        price: Scaled::parse(level[0].as_str().unwrap()).unwrap().value,
        quantity: Scaled::parse(level[1].as_str().unwrap()).unwrap().value,
        orders: u32::try_from(level[2].as_u64().unwrap()).unwrap(),
    };
    list.as_array().unwrap().iter().map(level).collect()
}
