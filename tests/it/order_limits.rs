//! Authentic orders that go too far: values that are no numbers of ours, rights and limits that are exceeded, and
//! cancels of what cannot be cancelled. Each is refused with its code, on the wire and in the log.

use ::dbn::encode::{DbnEncoder, EncodeRecord as _};
use ::dbn::{Action, FlagSet, MappingInterval, MboMsg, Metadata, RecordHeader, SType, Schema, SymbolMapping};
use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed, SyntheticSourceConfig};
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};

use crate::harness::{Client, Pki, Scene};
use crate::orders::{assert_accepted, assert_error, resting};

const BOB: &str = "acme/bob";
const DAVE: &str = "beta/dave";
const NEW: SignedOp = SignedOp::OrderNew;

/// Cancels `target` under the name `name`.
async fn cancel(session: &mut Client, name: &str, target: &str) -> Value {
    let body = format!(r#"{{"cl_ord_id":"{name}","orig_cl_ord_id":"{target}"}}"#);
    session.order(SignedOp::OrderCancel, &body).await
}

/// Sends an order that must be refused, and asserts answer and entry.
pub(crate) async fn refused(scene: &Scene, session: &mut Client, body: &str, code: &str) -> Value {
    let reply = session.order(NEW, body).await;
    assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{body}: {reply}");
    let id = session.session.to_string();
    let refused = scene.log_events("order_refused");
    let logged = refused.iter().rfind(|event| event.session.as_deref() == Some(&*id)).unwrap();
    assert_eq!((logged.text("code"), logged.text("body")), (code, body));
    reply
}

/// Prices that are none, and the code of each. `SEAL` has two decimals.
const PRICES: &[(&str, &str)] = &[
    ("0.001", "SF-ORD-020"),
    ("0.010", "SF-ORD-020"),
    ("0.0000000001", "SF-ORD-020"),
    ("1e2", "SF-ORD-019"),
    ("1E-2", "SF-ORD-019"),
    ("05", "SF-ORD-019"),
    (".5", "SF-ORD-019"),
    ("5.", "SF-ORD-019"),
    ("+5", "SF-ORD-019"),
    ("-0", "SF-ORD-019"),
    ("", "SF-ORD-019"),
    (" 5", "SF-ORD-019"),
    ("5,0", "SF-ORD-019"),
    ("1_000", "SF-ORD-019"),
    ("0x10", "SF-ORD-019"),
    ("NaN", "SF-ORD-019"),
    ("Infinity", "SF-ORD-019"),
    ("\u{ff15}", "SF-ORD-019"),
    ("9223372036.86", "SF-ORD-019"),
    ("9223372036854775808", "SF-ORD-019"),
    ("-9223372036854775809", "SF-ORD-019"),
    ("340282366920938463463374607431768211456", "SF-ORD-019"),
];

/// Quantities that are none, and the code of each. `SEAL` trades in whole lots of one, at most 1,000 in one order.
const QUANTITIES: &[(&str, &str)] = &[
    ("0", "SF-ORD-027"),
    ("0.0", "SF-ORD-027"),
    ("-1", "SF-ORD-024"),
    ("+1", "SF-ORD-024"),
    ("1e1", "SF-ORD-024"),
    ("01", "SF-ORD-024"),
    (".1", "SF-ORD-024"),
    ("1.", "SF-ORD-024"),
    ("0.5", "SF-ORD-025"),
    ("1.5", "SF-ORD-025"),
    ("1.0000000000", "SF-ORD-025"),
    ("9223372036854775808", "SF-ORD-024"),
    ("18446744074", "SF-ORD-024"),
    ("18446744073", "SF-RSK-001"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_exactly_what_the_protocol_writes_is_refused_and_never_rounded() {
    let scene = Scene::start(|_| {}).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let mut number = 0;
    let mut with = |from: &str, to: &str| {
        number += 1;
        let body = resting(&format!("v-{number}"));
        assert!(body.contains(from), "{from}");
        body.replace(from, to)
    };
    let (price, quantity) = (r#""price":"0.01""#, r#""qty":"1""#);
    let mut cases = Vec::new();
    for (text, code) in PRICES {
        cases.push((with(price, &format!(r#""price":"{text}""#)), *code));
    }
    for (text, code) in QUANTITIES {
        cases.push((with(quantity, &format!(r#""qty":"{text}""#)), *code));
    }
    cases.extend([
        (with(price, r#""price":0.01"#), "SF-ORD-015"),
        (with(quantity, r#""qty":1"#), "SF-ORD-015"),
        (with(r#""side":"buy""#, r#""side":"BUY""#), "SF-ORD-016"),
        (with(r#""type":"limit""#, r#""type":"stop""#), "SF-ORD-016"),
        (with(r#""tif":"day""#, r#""tif":"gtd""#), "SF-ORD-016"),
        (with(r#","tif":"day""#, ""), "SF-ORD-014"),
        (with(r#","price":"0.01""#, ""), "SF-ORD-022"),
        (with(r#""type":"limit""#, r#""type":"market""#), "SF-ORD-023"),
        (with(r#""tif":"day""#, r#""tif":"day","tif":"ioc""#), "SF-ORD-012"),
        (with(r#""tif":"day""#, r#""tif":"day","Tif":"ioc""#), "SF-ORD-013"),
        (with(r#""tif":"day""#, r#""tif":"ioc","post_only":true"#), "SF-ORD-066"),
        (with(r#""tif":"day""#, r#""tif":"day","reduce_only":true"#), "SF-ORD-066"),
        (with(r#""tif":"day""#, r#""tif":"ioc","reduce_only":true"#), "SF-RSK-021"),
        (with(r#""tif":"day""#, r#""tif":"day","stp":"cancel_none""#), "SF-ORD-016"),
        (with(r#""tif":"day""#, r#""tif":"day","deadline":"1""#), "SF-ORD-040"),
        (with(r#""symbol":"SEAL""#, r#""symbol":"NOPE""#), "SF-ORD-033"),
        (with(r#""symbol":"SEAL""#, r#""symbol":"seal""#), "SF-ORD-033"),
        (with(r#""symbol":"SEAL""#, r#""symbol":"*""#), "SF-ORD-033"),
        (with(r#""symbol":"SEAL""#, r#""symbol":"SE\u001bAL""#), "SF-ORD-033"),
        (with(r#"v-"#, r#"v "#), "SF-ORD-017"),
        (with(r#"v-"#, &"v".repeat(37)), "SF-ORD-017"),
        (with(r#"v-"#, r#"v\n"#), "SF-ORD-017"),
    ]);
    for (body, code) in &cases {
        refused(&scene, &mut bob, body, code).await;
    }
    // Trailing zeros may be missing, and nothing else: this is what is good.
    assert_accepted(&bob.order(NEW, &resting("good").replace(r#""0.01""#, r#""0.1""#)).await);
    drop(bob);
    let events = scene.end().await;
    let mine = |kind: &str| {
        events.iter().filter(|event| event.kind == kind && event.text("principal") == BOB).count()
    };
    assert_eq!((mine("order"), mine("order_refused")), (1, cases.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_trade_or_not_this_is_refused_and_learns_nothing_else() {
    let scene = Scene::start(|_| {}).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    let mut dave = scene.connect(&Pki::get().client(DAVE)).await;
    refused(&scene, &mut alice, &resting("c-1"), "SF-ORD-032").await;
    refused(&scene, &mut alice, &resting("c-2").replace("SEAL", "NOPE"), "SF-ORD-032").await;
    refused(&scene, &mut dave, &resting("c-1").replace("SEAL", "FEED"), "SF-ORD-034").await;
    // Whether it exists is no business of one who may not trade it.
    refused(&scene, &mut dave, &resting("c-2").replace("SEAL", "NOPE"), "SF-ORD-034").await;
    assert_accepted(&dave.order(NEW, &resting("c-3")).await);
    drop(alice);
    drop(dave);
    scene.end().await;
}

/// A recording of one order in `REC`.
fn recording() -> Vec<u8> {
    let day = time::macros::date!(2023 - 12 - 25);
    let interval =
        MappingInterval { start_date: day, end_date: day.next_day().unwrap(), symbol: "1".to_owned() };
    let metadata = Metadata::builder()
        .dataset("TEST.BOOK")
        .schema(Some(Schema::Mbo))
        .start(0)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .mappings(vec![SymbolMapping { raw_symbol: "REC".to_owned(), intervals: vec![interval] }])
        .build();
    let order = MboMsg {
        hd: RecordHeader::new::<MboMsg>(::dbn::rtype::MBO, 1, 1, 1_000_000_000),
        order_id: 7,
        price: 4_800_250_000_000,
        size: 3,
        flags: FlagSet::new(::dbn::flags::LAST),
        action: u8::from(Action::Add).cast_signed(),
        side: u8::from(::dbn::Side::Bid).cast_signed(),
        ts_recv: 1_000_000_000,
        ..MboMsg::default()
    };
    let mut encoder = DbnEncoder::new(Vec::new(), &metadata).unwrap();
    encoder.encode_records(&[order]).unwrap();
    encoder.get_ref().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_instrument_can_be_read_and_not_traded() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("rec.dbn");
    std::fs::write(&path, recording()).unwrap();
    let source = DbnSourceConfig { speed: Speed::Max, ..DbnSourceConfig::new(path) };
    let scene = Scene::start(|config| config.sources.push(SourceConfig::Dbn(source))).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let reply = bob.request(json!({"op": "subscribe", "channel": "bbo", "symbols": ["REC"]})).await;
    assert!(reply["symbols"]["REC"].is_object(), "{reply}");
    refused(&scene, &mut bob, &resting("c-1").replace("SEAL", "REC"), "SF-ORD-035").await;
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_beyond_a_risk_limit_is_refused_for_good_with_a_receipt() {
    let scene = Scene::start(|_| {}).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let with = |name: &str, quantity: &str, price: &str| {
        let body = resting(name).replace(r#""qty":"1""#, &format!(r#""qty":"{quantity}""#));
        body.replace("0.01", price)
    };
    assert_accepted(&bob.order(NEW, &with("quantity-at", "1000", "0.01")).await);
    let reply = refused(&scene, &mut bob, &with("quantity", "1001", "0.01"), "SF-RSK-001").await;
    assert!(reply["receipt"]["hash"].is_string() && reply["retryable"] == false, "{reply}");
    // 1,000,000 is the limit of the policy; a sell, so that it rests.
    let sell = |name: &str, price: &str| with(name, "100", price).replace(r#""buy""#, r#""sell""#);
    assert_accepted(&bob.order(NEW, &sell("notional-at", "10000.00")).await);
    refused(&scene, &mut bob, &sell("notional", "10000.01"), "SF-RSK-002").await;
    let negative = refused(&scene, &mut bob, &with("negative", "1000", "-1000.01"), "SF-RSK-002").await;
    assert_eq!(negative["cl_ord_id"], "negative");
    let mut dave = scene.connect(&Pki::get().client(DAVE)).await;
    assert_accepted(&dave.order(NEW, &resting("open-1")).await);
    assert_accepted(&dave.order(NEW, &resting("open-2")).await);
    refused(&scene, &mut dave, &resting("open-3"), "SF-RSK-003").await;
    drop(bob);
    drop(dave);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_orders_are_refused_with_the_time_to_wait_and_the_name_stays_free() {
    let scene = Scene::start(|_| {}).await;
    let mut dave = scene.connect(&Pki::get().client(DAVE)).await;
    let (mut refused, mut number) = (Value::Null, 0);
    while refused.is_null() {
        number += 1;
        let reply = dave.order(NEW, &resting(&format!("c-{number}"))).await;
        match reply["code"].as_str() {
            Some("SF-ORD-031") => refused = reply,
            None | Some("SF-RSK-003") => assert!(number < 1_000, "three a second are never exceeded"),
            Some(_) => panic!("{reply}"),
        }
    }
    assert_eq!(refused["retryable"], true, "{refused}");
    assert!((1..=1_000).contains(&refused["retry_after_ms"].as_u64().unwrap()), "{refused}");
    let rate = &refused["rate_limits"][1];
    assert_eq!((&rate["name"], &rate["limit"], &rate["used"]), (&json!("orders"), &json!(3), &json!(3)));
    let logged = scene.logged("order_refused", |event| event.has_code("SF-ORD-031")).await;
    assert_eq!(logged.text("principal"), DAVE);
    let name = format!("c-{number}");
    let status = dave.request(json!({"op": "order.status", "cl_ord_id": name})).await;
    assert_eq!(status["state"], "unknown", "{status}");
    drop(dave);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_open_order_of_ones_own_can_be_cancelled_and_only_once() {
    let scene = Scene::start(|_| {}).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let mut erin = scene.connect(&Pki::get().client("acme/erin")).await;
    assert_accepted(&bob.order(NEW, &resting("mine")).await);
    assert_error(&cancel(&mut erin, "x-1", "mine").await, "SF-ORD-036");
    assert_error(&cancel(&mut bob, "x-2", "never-sent").await, "SF-ORD-036");
    assert_error(&cancel(&mut bob, "same", "same").await, "SF-ORD-018");
    assert_accepted(&cancel(&mut bob, "x-3", "mine").await);
    assert_error(&cancel(&mut bob, "x-4", "mine").await, "SF-ORD-037");
    assert_error(&cancel(&mut bob, "x-5", "x-3").await, "SF-ORD-036");
    let taking = r#"{"cl_ord_id":"t","symbol":"SEAL","side":"sell","type":"market","qty":"1","tif":"ioc"}"#;
    assert_accepted(&bob.order(NEW, taking).await);
    assert_error(&cancel(&mut bob, "x-6", "t").await, "SF-ORD-037");
    let refused = scene.log_events("order_refused");
    let codes: Vec<_> = refused.iter().map(|event| (event.text("principal"), event.text("code"))).collect();
    let expected = [
        ("acme/erin", "SF-ORD-036"),
        (BOB, "SF-ORD-036"),
        (BOB, "SF-ORD-018"),
        (BOB, "SF-ORD-037"),
        (BOB, "SF-ORD-036"),
        (BOB, "SF-ORD-037"),
    ];
    assert_eq!(codes, expected);
    drop(bob);
    drop(erin);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_order_with_nothing_to_trade_against_is_refused() {
    let scene = Scene::start(|config| {
        // Many symbols and one message a second: nobody fills the last book again while the test empties it.
        let symbols = std::iter::once("SEAL".to_owned()).chain((1..20).map(|number| format!("S{number}")));
        let symbols = symbols.collect();
        let market =
            SyntheticSourceConfig { symbols, messages_per_second: 1, ..SyntheticSourceConfig::default() };
        config.sources = vec![SourceConfig::Synthetic(market)];
    })
    .await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let sweep = |number: usize| {
        format!(
            r#"{{"cl_ord_id":"s-{number}","symbol":"S19","side":"buy","type":"limit","qty":"1000","price":"999.00","tif":"ioc"}}"#
        )
    };
    let market = |name: &str| {
        format!(
            r#"{{"cl_ord_id":"{name}","symbol":"S19","side":"buy","type":"market","qty":"1","tif":"ioc"}}"#
        )
    };
    // The market opens its books one by one, this one last.
    let mut opened = 0;
    while bob.order(NEW, &market(&format!("open-{opened}"))).await["type"] == "error" {
        opened += 1;
    }
    // Slow as it is, the market may fill the book again before the order comes.
    let (mut number, mut taken) = (0, 0);
    loop {
        number += 1;
        assert_accepted(&bob.order(NEW, &sweep(number)).await);
        let status = bob.request(json!({"op": "order.status", "cl_ord_id": format!("s-{number}")})).await;
        if status["state"] == "filled" {
            continue;
        }
        let reply = bob.order(NEW, &market(&format!("m-{taken}"))).await;
        if reply["type"] == "error" {
            assert_eq!(reply["code"], "SF-ORD-038", "{reply}");
            let logged = scene.log_events("order_refused");
            assert_eq!(logged.last().unwrap().text("code"), "SF-ORD-038");
            break;
        }
        taken += 1;
    }
    let day = market("day").replace("ioc", "day");
    refused(&scene, &mut bob, &day, "SF-ORD-029").await;
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_full_of_client_order_ids_refuses_new_ones_and_still_knows_the_old() {
    let mut scene = Scene::start(|config| config.orders.client_order_ids_max = 1).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let first = bob.order(NEW, &resting("known")).await;
    assert_accepted(&first);
    let reply = refused(&scene, &mut bob, &resting("one-too-many"), "SF-ORD-039").await;
    assert_eq!((&reply["retryable"], &reply["receipt"]), (&json!(true), &Value::Null));
    let again = bob.order(NEW, &resting("known")).await;
    assert_eq!(again["receipt"], first["receipt"]);
    scene.bystander_is_unharmed().await;
    drop(bob);
    scene.end().await;
}
