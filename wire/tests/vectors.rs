//! The golden vectors of `tests/vectors/`, which every client library runs too.
//!
//! `tests/vectors/check.py` checks the same files against the Python standard library, so they stand on their own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use sealfeed_wire::checksum::{checksum, write_checksum_text};
use sealfeed_wire::market::{self, BookMessage, Delta, Snapshot};
use sealfeed_wire::reply::{Encode, Refused};
use sealfeed_wire::request::{encode_signed, parse};
use sealfeed_wire::signing::{sign, signing_string};
use sealfeed_wire::{
    AdminKill, AdminReload, AdminTrading, AnyCode, BookDecimals, CertificateHash, ClientOrderId, Code,
    Decimals, KeyedMac, Level, MarketMessage, Nonce, Op, OrderCancel, OrderDeadMan, OrderKey,
    OrderMassCancel, OrderNew, OrderReplace, Price, Proof, Quantity, RequestId, ServerMessage, SessionId,
    SignedOp, UnixNanos, base64url, hex,
};
use serde_json::Value;

fn load(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect(key)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value[key].as_array().expect(key);
    assert!(!list.is_empty(), "{key} has vectors");
    list
}

fn levels(value: &Value) -> Vec<Level> {
    serde_json::from_value(value.clone()).unwrap()
}

fn decimals_of(value: &Value) -> BookDecimals {
    let decimals = |key: &str| Decimals::new(u8::try_from(value[key].as_u64().unwrap()).unwrap()).unwrap();
    BookDecimals { price: decimals("price_decimals"), quantity: decimals("qty_decimals") }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    encode(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn order_keys_are_derived() {
    for case in list(&load("order_key.json"), "cases") {
        let master = hex::decode(text(case, "master")).unwrap();
        let certificate = CertificateHash::parse(text(case, "certificate_sha256")).unwrap();
        let key = OrderKey::derive(&master, &certificate);
        assert_eq!(key.to_file_text().trim_end(), text(case, "order_key"), "{case}");
    }
}

#[test]
fn signed_requests_are_signed_sent_read_and_verified() {
    for case in list(&load("signing.json"), "cases") {
        let key = OrderKey::parse(text(case, "order_key")).unwrap();
        let session = SessionId::parse(text(case, "session")).unwrap();
        let op = SignedOp::parse(text(case, "op")).unwrap();
        let (ts, nonce, body) = (text(case, "ts"), text(case, "nonce"), text(case, "body"));
        assert_eq!(signing_string(&session, ts, nonce, op, body), text(case, "signing_string"));
        let (ts, nonce) = (UnixNanos::parse(ts).unwrap(), Nonce::parse(nonce).unwrap());
        let mac = sign(&key, &session, ts, nonce, op, body);
        assert_eq!(hex::encode(&mac), text(case, "mac"), "{case}");
        let request = parse(text(case, "frame")).unwrap();
        assert_eq!(encode_signed(request.id.clone(), op, ts, nonce, mac, body), text(case, "frame"));
        let Op::Signed(signed) = request.op else { panic!("{case}") };
        let keyed = KeyedMac::new(&key);
        assert!(keyed.for_session(&session).verifies(&signed), "{case}");
        assert!(!keyed.for_session(&SessionId::default()).verifies(&signed), "{case}");
    }
}

#[test]
fn requests_with_a_signature_are_sent_and_read() {
    for case in list(&load("signature.json"), "cases") {
        let session = SessionId::parse(text(case, "session")).unwrap();
        let op = SignedOp::parse(text(case, "op")).unwrap();
        let (ts, nonce, body) = (text(case, "ts"), text(case, "nonce"), text(case, "body"));
        assert_eq!(signing_string(&session, ts, nonce, op, body), text(case, "signing_string"));
        let request = parse(text(case, "frame")).unwrap();
        let Op::Signed(signed) = request.op else { panic!("{case}") };
        let sig = base64url::decode(text(case, "sig")).unwrap();
        let mac = case["mac"].as_str().map(|mac| hex::decode(mac).unwrap());
        assert_eq!(signed.proof, Proof { mac, sig: Some(sig) });
        let again = encode_signed(request.id, op, signed.ts, signed.nonce, signed.proof, body);
        assert_eq!(again, text(case, "frame"));
        if let Some(key) = case["order_key"].as_str() {
            let key = KeyedMac::new(&OrderKey::parse(key).unwrap());
            assert!(key.for_session(&session).verifies(&signed), "{case}");
        }
    }
}

#[test]
fn checksums_come_out() {
    for case in list(&load("checksums.json"), "cases") {
        let (bids, asks, decimals) = (levels(&case["bids"]), levels(&case["asks"]), decimals_of(case));
        let digits = encoded(|out| write_checksum_text(out, &bids, &asks, decimals));
        assert_eq!(digits, text(case, "text"), "{case}");
        assert_eq!(u64::from(checksum(&bids, &asks, decimals)), case["crc32"].as_u64().unwrap(), "{case}");
    }
}

#[test]
fn numbers_are_read_or_refused() {
    let vector = load("decimals.json");
    let accepted = list(&vector, "accepted");
    for case in accepted.iter().chain(list(&vector, "accepted_price")) {
        let nanos = text(case, "nanos").parse().unwrap();
        assert_eq!(Price::parse(text(case, "text")), Ok(Price::from_nanos(nanos)), "{case}");
    }
    for case in accepted.iter().chain(list(&vector, "accepted_quantity")) {
        let nanos = text(case, "nanos").parse().unwrap();
        assert_eq!(Quantity::parse(text(case, "text")), Ok(Quantity::from_nanos(nanos)), "{case}");
    }
    for case in list(&vector, "refused") {
        assert!(Price::parse(case.as_str().unwrap()).is_err(), "{case}");
        assert!(Quantity::parse(case.as_str().unwrap()).is_err(), "{case}");
    }
    for case in list(&vector, "refused_quantity") {
        assert!(Price::parse(case.as_str().unwrap()).is_ok(), "{case}");
        assert!(Quantity::parse(case.as_str().unwrap()).is_err(), "{case}");
    }
}

#[test]
fn requests_are_read_or_refused_with_their_code() {
    let vector = load("requests.json");
    for case in list(&vector, "accepted") {
        let request = parse(text(case, "frame")).unwrap();
        let again = request.encode();
        assert_eq!(parse(&again).as_ref(), Ok(&request), "{case}");
    }
    for case in list(&vector, "refused") {
        let error = parse(text(case, "frame")).expect_err(text(case, "name"));
        assert_eq!(error.code.as_str(), text(case, "code"), "{case}");
        assert_eq!(
            error.id,
            serde_json::from_value::<Option<RequestId>>(case["id"].clone()).unwrap(),
            "{case}"
        );
    }
    for case in list(&vector, "refused_bodies") {
        let error = match text(case, "op") {
            "order.new" => OrderNew::decode(text(case, "body")).map(drop).unwrap_err(),
            "order.cancel" => OrderCancel::decode(text(case, "body")).map(drop).unwrap_err(),
            "order.replace" => OrderReplace::decode(text(case, "body")).map(drop).unwrap_err(),
            "order.mass_cancel" => OrderMassCancel::decode(text(case, "body")).map(drop).unwrap_err(),
            "order.dead_man" => OrderDeadMan::decode(text(case, "body")).map(drop).unwrap_err(),
            "admin.kill" => AdminKill::decode(text(case, "body")).map(drop).unwrap_err(),
            "admin.trading" => AdminTrading::decode(text(case, "body")).map(drop).unwrap_err(),
            "admin.reload" => AdminReload::decode(text(case, "body")).map(drop).unwrap_err(),
            other => panic!("{other}"),
        };
        assert_eq!(error.code.as_str(), text(case, "code"), "{case}");
        let id: Option<ClientOrderId> = serde_json::from_value(case["cl_ord_id"].clone()).unwrap();
        assert_eq!(error.cl_ord_id, id, "{case}");
    }
}

/// The text that this server writes for a message that a client has read.
fn written_again(message: &ServerMessage) -> String {
    encoded(|out| match message {
        ServerMessage::Welcome(welcome) => welcome.encode(out),
        ServerMessage::Done(done) => done.encode(out),
        ServerMessage::Subscribed(subscribed) => subscribed.encode(out),
        ServerMessage::Pong(pong) => pong.encode(out),
        ServerMessage::Whoami(whoami) => whoami.encode(out),
        ServerMessage::Order(order) => order.encode(out),
        ServerMessage::OrderStatus(status) => status.encode(out),
        ServerMessage::Error(error) => error.encode(out),
        ServerMessage::Entitlement(changed) => changed.encode(out),
        ServerMessage::Shutdown(shutdown) => shutdown.encode(out),
        ServerMessage::Market(message) => market_written_again(out, message),
        ServerMessage::Unknown { kind } => panic!("{kind} is not known"),
    })
}

fn market_written_again(out: &mut Vec<u8>, message: &MarketMessage) {
    let decimals = BookDecimals { price: Decimals::new(2).unwrap(), quantity: Decimals::new(0).unwrap() };
    match message {
        MarketMessage::Trade(trade) => market::encode_trade(out, trade, decimals),
        MarketMessage::Bbo(bbo) => market::encode_bbo(out, bbo, decimals),
        MarketMessage::Snapshot(book) => {
            let BookMessage { header, bids, asks, checksum } = book;
            let snapshot = Snapshot { header: *header, bids, asks, checksum: checksum.unwrap() };
            market::encode_snapshot(out, &snapshot, decimals);
        }
        MarketMessage::Delta(book) => {
            let BookMessage { header, bids, asks, checksum } = book;
            market::encode_delta(out, &Delta { header: *header, bids, asks, checksum: *checksum }, decimals);
        }
        MarketMessage::Mbo(mbo) => market::encode_mbo(out, mbo, decimals),
        MarketMessage::MboSnapshot(part) => market::encode_mbo_snapshot(out, part, decimals),
        MarketMessage::Ohlcv(bar) => market::encode_ohlcv(out, bar, decimals),
        MarketMessage::Status(status) => market::encode_status(out, status),
        MarketMessage::Definition(definition) => market::encode_definition(out, definition),
        MarketMessage::IntervalEnd(end) => market::encode_interval_end(out, end),
        MarketMessage::Exec(exec) => market::encode_exec(out, exec),
        MarketMessage::Heartbeat(heartbeat) => market::encode_heartbeat(out, heartbeat),
        MarketMessage::Stale(stale) => market::encode_stale(out, stale),
        MarketMessage::Gap(gap) => market::encode_gap(out, gap),
        MarketMessage::Skipped(skipped) => market::encode_skipped(out, skipped),
        MarketMessage::Slow(slow) => market::encode_slow(out, slow),
    }
}

#[test]
fn every_message_is_read_and_written_byte_for_byte() {
    for case in list(&load("messages.json"), "messages") {
        let frame = text(case, "text");
        if frame.starts_with("{\"code\"") {
            let refused: Refused = serde_json::from_str(frame).unwrap();
            assert_eq!(encoded(|out| refused.encode(out)), frame);
            continue;
        }
        let message = ServerMessage::decode(frame).unwrap();
        assert_eq!(written_again(&message), frame);
    }
}

#[test]
fn every_error_text_is_that_of_the_table() {
    for case in list(&load("messages.json"), "messages") {
        let frame: Value = serde_json::from_str(text(case, "text")).unwrap();
        let refusals = frame["refused"].as_object().into_iter().flat_map(|refused| refused.values());
        for error in refusals.chain(std::iter::once(&frame)).filter(|value| value["code"].is_string()) {
            let code = Code::parse(text(error, "code")).unwrap();
            assert_eq!((code.message(), code.hint()), (text(error, "message"), text(error, "hint")));
            if let Some(retryable) = error["retryable"].as_bool() {
                assert_eq!(code.is_retryable(), retryable, "{code}");
            }
        }
    }
}

#[test]
fn a_client_reads_the_messages_of_a_newer_server() {
    for case in list(&load("messages.json"), "open") {
        match ServerMessage::decode(text(case, "text")).unwrap() {
            ServerMessage::Unknown { kind } => assert_eq!(kind, "auction"),
            ServerMessage::Done(done) => assert_eq!(done.id, Some(RequestId::Integer(5))),
            ServerMessage::Error(error) => assert_eq!(error.code, AnyCode::Other("SF-ORD-777".into())),
            ServerMessage::Market(MarketMessage::Bbo(bbo)) => assert_eq!(bbo.bid.unwrap().orders, 4),
            ServerMessage::Market(MarketMessage::Exec(exec)) => {
                assert_eq!(exec.cancel_reason, Some(market::CancelReason::Unknown));
            }
            ServerMessage::OrderStatus(status) => {
                assert_eq!(status.state, sealfeed_wire::reply::OrderState::Unknown);
            }
            other => panic!("{case}: {other:?}"),
        }
    }
}

/// Applies the levels of one frame to a side, then cuts it to the depth.
fn apply(side: &mut Vec<Level>, changes: &[Level], depth: usize, is_before: fn(Price, Price) -> bool) {
    for change in changes {
        side.retain(|level| level.price != change.price);
        if !change.quantity.is_zero() {
            let place = side.partition_point(|level| is_before(level.price, change.price));
            side.insert(place, *change);
        }
    }
    side.truncate(depth);
}

#[test]
fn a_book_kept_from_snapshot_and_deltas_is_right_at_every_step() {
    let vector = load("book.json");
    let depth = usize::try_from(vector["depth"].as_u64().unwrap()).unwrap();
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    let (mut seq, mut checked) = (None, 0);
    for step in list(&vector, "steps") {
        let message = ServerMessage::decode(text(step, "frame")).unwrap();
        let book = match message {
            ServerMessage::Market(MarketMessage::Snapshot(book)) => {
                (bids, asks) = (Vec::new(), Vec::new());
                assert_eq!(book.header.prev_seq, None);
                book
            }
            ServerMessage::Market(MarketMessage::Delta(book)) => {
                assert_eq!(book.header.prev_seq, seq);
                book
            }
            other => panic!("{other:?}"),
        };
        seq = Some(book.header.seq);
        apply(&mut bids, &book.bids, depth, |a, b| a > b);
        apply(&mut asks, &book.asks, depth, |a, b| a < b);
        assert_eq!((&bids, &asks), (&levels(&step["bids"]), &levels(&step["asks"])), "{step}");
        if let Some(expected) = book.checksum {
            assert_eq!(checksum(&bids, &asks, decimals_of(&vector)), expected, "{step}");
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} checksums were compared");
}
