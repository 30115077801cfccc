//! `docs/PROTOCOL.md` says what the code does: tables, examples and the worked signature.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use sealfeed_wire::request::parse;
use sealfeed_wire::{
    AdminKill, AdminReload, AdminTrading, BodyError, CloseCode, Code, Op, OrderCancel, OrderDeadMan,
    OrderMassCancel, OrderNew, OrderReplace, Publish, Reconnect, ServerMessage, Signed, SignedOp,
};
use serde_json::Value;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md");
    std::fs::read_to_string(path).expect(path)
}

fn first_case(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let vector: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    vector["cases"][0].clone()
}

/// The table rows that begin with a cell of this form, without their outer bars.
fn rows(document: &str, is_row: fn(&str) -> bool) -> BTreeSet<String> {
    let lines = document.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    lines.filter(|row| is_row(row.split(" | ").next().unwrap_or_default())).map(str::to_owned).collect()
}

#[test]
fn the_code_table_is_that_of_the_code() {
    let expected = Code::all().map(|code| {
        let retryable = if code.is_retryable() { "yes" } else { "no" };
        format!("{code} | {} | {} | {retryable}", code.message(), code.hint())
    });
    let found = rows(&document(), |cell| cell.len() == 10 && cell.starts_with("SF-"));
    assert_eq!(found, expected.collect());
}

#[test]
fn every_code_that_is_mentioned_exists() {
    let document = document();
    let mut mentioned = 0;
    for (at, _) in document.match_indices("SF-") {
        let text = &document[at..];
        if text.starts_with("SF-<") || text.get(6..8) == Some("-*") {
            continue;
        }
        assert!(Code::parse(&text[..10]).is_some(), "{}", &text[..10]);
        mentioned += 1;
    }
    assert!(mentioned > Code::all().count());
}

#[test]
fn the_close_table_is_that_of_the_code() {
    let expected = CloseCode::ALL.iter().map(|code| {
        let reconnect = if code.reconnect() == Reconnect::Yes { "yes" } else { "no" };
        format!("{} | {} | {reconnect}", code.number(), code.name())
    });
    let found = rows(&document(), |cell| cell.len() == 4 && cell.bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(found, expected.collect());
}

#[test]
fn the_status_table_names_every_code_that_refuses_an_upgrade() {
    let document = document();
    let mut found = BTreeSet::new();
    for row in
        rows(&document, |cell| cell.starts_with(|first: char| "45".contains(first)) && cell.contains(' '))
    {
        let status: u16 = row[..3].parse().unwrap();
        for (at, _) in row.match_indices("SF-") {
            found.insert((status, Code::parse(&row[at..at + 10]).unwrap()));
        }
    }
    let expected = Code::all().filter_map(|code| Some((code.http_status()?, code)));
    assert_eq!(found, expected.collect());
}

#[test]
fn every_example_is_a_frame_of_the_wire() {
    let document = document();
    let mut examples = 0;
    for block in document.split("```json\n").skip(1) {
        for frame in block.split("\n```").next().unwrap().lines() {
            if frame.starts_with("{\"op\"") {
                let request = parse(frame).unwrap();
                if let Op::Signed(signed) = request.op {
                    body_of(&signed).unwrap_or_else(|error| panic!("{error}\n{frame}"));
                }
            } else {
                let message = ServerMessage::decode(frame).unwrap();
                assert!(!matches!(message, ServerMessage::Unknown { .. }), "{frame}");
            }
            examples += 1;
        }
    }
    assert!(examples >= 30, "only {examples} examples were found");
}

fn body_of(signed: &Signed<'_>) -> Result<(), BodyError> {
    match signed.op {
        SignedOp::OrderNew => OrderNew::decode(signed.body).map(drop),
        SignedOp::OrderCancel => OrderCancel::decode(signed.body).map(drop),
        SignedOp::OrderReplace => OrderReplace::decode(signed.body).map(drop),
        SignedOp::OrderMassCancel => OrderMassCancel::decode(signed.body).map(drop),
        SignedOp::OrderDeadMan => OrderDeadMan::decode(signed.body).map(drop),
        SignedOp::Publish => Publish::decode(signed.body).map(drop),
        SignedOp::AdminKill => AdminKill::decode(signed.body).map(drop),
        SignedOp::AdminTrading => AdminTrading::decode(signed.body).map(drop),
        SignedOp::AdminReload => AdminReload::decode(signed.body).map(drop),
    }
}

#[test]
fn every_type_of_message_and_op_has_an_example() {
    let document = document();
    let types = "welcome ok pong whoami subscribed order order_status error trade bbo snapshot delta exec heartbeat \
                 stale gap skipped slow entitlement server_shutdown";
    for kind in types.split_whitespace() {
        assert!(document.contains(&format!("\n{{\"type\":\"{kind}\"")), "{kind}");
    }
    let unsigned = ["subscribe", "unsubscribe", "ping", "whoami", "order.status", "token.renew", "logout"];
    for op in unsigned.into_iter().chain(SignedOp::ALL.iter().map(|op| op.as_str())) {
        assert!(document.contains(&format!("\n{{\"op\":\"{op}\"")), "{op}");
    }
}

#[test]
fn the_worked_examples_are_the_first_vectors() {
    let document = document();
    let signing = first_case("signing.json");
    for key in ["order_key", "session", "ts", "nonce", "body", "signing_string", "mac", "frame"] {
        assert!(document.contains(signing[key].as_str().unwrap()), "{key}");
    }
    let signature = first_case("signature.json");
    for key in ["sig", "frame"] {
        assert!(document.contains(signature[key].as_str().unwrap()), "{key}");
    }
    let order_key = first_case("order_key.json");
    for key in ["master", "certificate_sha256", "order_key"] {
        assert!(document.contains(order_key[key].as_str().unwrap()), "{key}");
    }
    let checksum = first_case("checksums.json");
    assert!(document.contains(checksum["text"].as_str().unwrap()));
    assert!(document.contains(&checksum["crc32"].to_string()));
}
