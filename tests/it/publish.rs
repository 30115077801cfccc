//! Market data from a client: through the gate like an order, sealed before it leaves, published once, stale when its publisher is gone or silent.

use sealfeed::config::{Config, PublishedInstrumentConfig, PublisherSourceConfig, Shows, SourceConfig};
use sealfeed_wire::{Decimals, SignedOp, Symbol};
use serde_json::{Value, json};

use crate::harness::{Client, POLICY, Pki, Server};
use crate::oracle::Streams;

const ERIN: &str = "acme/erin";
const BOB: &str = "acme/bob";

/// Erin may publish what begins with IDX and two symbols that are not hers to publish.
fn policy() -> String {
    format!(
        "{POLICY}\n[[rule]]\nname = \"index\"\nmatch = {{ firm = \"acme\", user = \"erin\" }}\n\
         [rule.publish]\nsymbols = [\"IDX*\", \"BOBS\", \"NONE\"]\n"
    )
}

fn publishers(config: &mut Config, stall_ms: u64) {
    let instrument = |symbol: &str, shows| PublishedInstrumentConfig {
        symbol: Symbol::new(symbol).unwrap(),
        shows,
        price_decimals: Decimals::new(2).unwrap(),
        qty_decimals: Decimals::new(0).unwrap(),
    };
    let of = |principal: &str, instruments| {
        SourceConfig::Publisher(PublisherSourceConfig {
            principal: principal.to_owned(),
            instruments,
            stall_ms,
        })
    };
    config.sources = vec![
        of(
            ERIN,
            vec![
                instrument("IDX", Shows::Book),
                instrument("IDX.TOP", Shows::Bbo),
                instrument("IDX.LAST", Shows::Trades),
                instrument("OTHER", Shows::Trades),
            ],
        ),
        of(BOB, vec![instrument("BOBS", Shows::Trades)]),
    ];
}

async fn start(stall_ms: u64) -> Server {
    Server::with_policy(&policy(), |config| publishers(config, stall_ms)).await
}

fn body(pub_seq: u64, symbol: &str, messages: &[&str]) -> String {
    format!(r#"{{"pub_seq":{pub_seq},"symbol":"{symbol}","messages":[{}]}}"#, messages.join(","))
}

const SNAPSHOT: &str = r#"{"type":"snapshot","ts_event":"7","bids":[["99.5","3",1]],"asks":[["100","4",0]]}"#;
const DELTA: &str = r#"{"type":"delta","ts_event":"8","bids":[["99.5","0",0],["99.25","6",2]],"asks":[]}"#;
const TRADE: &str = r#"{"type":"trade","ts_event":"9","price":"100","qty":"2","side":"buy","trade_id":"41"}"#;
const BBO: &str = r#"{"type":"bbo","ts_event":"9","bid":["1.5","2",1],"ask":null}"#;

async fn publish(client: &mut Client, body: &str) -> Value {
    client.order(SignedOp::Publish, body).await
}

async fn accepted(client: &mut Client, body: &str) {
    let reply = publish(client, body).await;
    assert_eq!(reply["type"], "ok", "{body}: {reply}");
}

async fn refused(client: &mut Client, body: &str, code: &str) {
    let reply = publish(client, body).await;
    assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{body}: {reply}");
}

async fn subscribe(client: &mut Client, channel: &str, symbol: &str) {
    let request = json!({"op": "subscribe", "id": channel, "channel": channel, "symbols": [symbol]});
    client.send(request.to_string()).await;
}

/// Reads until `count` messages of this type have come; all of them are followed.
async fn until(client: &mut Client, streams: &mut Streams, kind: &str, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    while found.len() < count {
        let message = client.message().await;
        streams.take(&message);
        if message["type"] == kind {
            found.push(message);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_sends_reaches_its_readers_behind_its_sealed_entry() {
    let server = start(0).await;
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    let (mut alice, mut streams) =
        (server.connect(&Pki::get().client("acme/alice")).await, Streams::default());
    for (channel, symbol) in [("book", "IDX"), ("trades", "IDX")] {
        subscribe(&mut alice, channel, symbol).await;
    }
    until(&mut alice, &mut streams, "stale", 2).await;
    accepted(&mut erin, &body(1, "IDX", &[SNAPSHOT, DELTA, TRADE])).await;
    let deltas = until(&mut alice, &mut streams, "delta", 2).await;
    assert_eq!((&deltas[0]["ts_event"], &deltas[1]["ts_event"]), (&json!("7"), &json!("8")));
    let trade = until(&mut alice, &mut streams, "trade", 1).await.remove(0);
    let fields = ["price", "qty", "side", "trade_id"].map(|field| trade[field].as_str().unwrap());
    assert_eq!(fields, ["100.00", "2", "buy", "41"]);
    let (bids, asks) = streams.book("IDX").levels();
    let plain = |lines: &[crate::oracle::Line]| {
        lines.iter().map(|line| (line.price.clone(), line.quantity.clone(), line.orders)).collect::<Vec<_>>()
    };
    assert_eq!(plain(&bids), [("99.25".to_owned(), "6".to_owned(), 2)]);
    assert_eq!(plain(&asks), [("100.00".to_owned(), "4".to_owned(), 0)]);

    let (mut top, mut tops) = (server.connect(&Pki::get().client("acme/carol")).await, Streams::default());
    subscribe(&mut top, "bbo", "IDX.TOP").await;
    until(&mut top, &mut tops, "stale", 1).await;
    accepted(&mut erin, &body(1, "IDX.TOP", &[BBO])).await;
    let bbo = until(&mut top, &mut tops, "bbo", 1).await.remove(0);
    assert_eq!((&bbo["bid"], &bbo["ask"]), (&json!(["1.50", "2", 1]), &Value::Null));

    let (events, _) = server.finish().await;
    let sealed: Vec<_> = events.iter().filter(|event| event.kind == "publish").collect();
    assert_eq!(sealed.len(), 2);
    let text = |field: &str| sealed[0].text(field);
    assert_eq!((text("principal"), text("symbol")), (ERIN, "IDX"));
    assert_eq!(text("body"), body(1, "IDX", &[SNAPSHOT, DELTA, TRADE]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pub_seq_seen_before_is_acknowledged_and_not_published_again() {
    let server = start(0).await;
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    let (mut alice, mut streams) =
        (server.connect(&Pki::get().client("acme/alice")).await, Streams::default());
    subscribe(&mut alice, "trades", "IDX.LAST").await;
    until(&mut alice, &mut streams, "stale", 1).await;
    let first = body(5, "IDX.LAST", &[TRADE]);
    accepted(&mut erin, &first).await;
    accepted(&mut erin, &first).await;
    accepted(&mut erin, &body(4, "IDX.LAST", &[TRADE])).await;
    refused(&mut erin, &body(5, "IDX.LAST", &[&TRADE.replace("100", "101")]), "SF-PUB-015").await;
    accepted(&mut erin, &body(9, "IDX.LAST", &[&TRADE.replace("41", "42")])).await;
    let trades = until(&mut alice, &mut streams, "trade", 2).await;
    assert_eq!((&trades[0]["trade_id"], &trades[1]["trade_id"]), (&json!("41"), &json!("42")));
    let (events, _) = server.finish().await;
    assert_eq!(events.iter().filter(|event| event.kind == "publish").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_publish_what_is_refused_and_sealed() {
    let server = start(0).await;
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    let mut bob = server.connect(&Pki::get().client(BOB)).await;
    refused(&mut bob, &body(1, "BOBS", &[TRADE]), "SF-PUB-011").await;
    refused(&mut erin, &body(1, "OTHER", &[TRADE]), "SF-PUB-012").await;
    refused(&mut erin, &body(1, "BOBS", &[TRADE]), "SF-PUB-013").await;
    refused(&mut erin, &body(1, "NONE", &[TRADE]), "SF-PUB-013").await;
    refused(&mut erin, &body(1, "IDX", &[DELTA]), "SF-PUB-005").await;
    for messages in [
        vec![],
        vec![BBO],
        vec![SNAPSHOT, "7"],
        vec![r#"{"type":"trade","ts_event":"9","price":"100.001","qty":"2","side":"buy"}"#],
        vec![r#"{"type":"trade","ts_event":"9","price":"100","qty":"0","side":"buy"}"#],
        vec![r#"{"type":"delta","ts_event":"9","bids":[],"asks":[]}"#],
        vec![r#"{"type":"snapshot","ts_event":"9","bids":[["1","0",0]],"asks":[]}"#],
    ] {
        refused(&mut erin, &body(1, "IDX", &messages), "SF-PUB-014").await;
    }
    refused(&mut erin, r#"{"pub_seq":1,"symbol":"IDX"}"#, "SF-ORD-014").await;
    // A forged one, and a replay.
    let signed = erin.sign(SignedOp::Publish, &body(1, "IDX", &[SNAPSHOT]));
    let mut forged = signed.clone();
    forged["nonce"] = json!("00".repeat(16));
    assert_eq!(erin.send_signed(&forged).await["code"], "SF-ORD-001");
    assert_eq!(erin.send_signed(&signed).await["type"], "ok");
    assert_eq!(erin.send_signed(&signed).await["code"], "SF-ORD-003");

    let (events, _) = server.finish().await;
    assert_eq!(
        events.iter().filter(|event| event.kind == "publish").count(),
        1,
        "nothing refused was published"
    );
    for code in ["SF-PUB-005", "SF-PUB-011", "SF-PUB-012", "SF-PUB-013", "SF-PUB-014"] {
        let sealed = events.iter().any(|event| event.kind == "order_refused" && event.has_code(code));
        assert!(sealed, "{code} is not sealed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instrument_is_stale_when_its_publisher_is_gone_and_begins_with_a_whole_state() {
    let server = start(0).await;
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    accepted(&mut erin, &body(1, "IDX", &[SNAPSHOT])).await;
    let (mut alice, mut streams) =
        (server.connect(&Pki::get().client("acme/alice")).await, Streams::default());
    subscribe(&mut alice, "book", "IDX").await;
    until(&mut alice, &mut streams, "snapshot", 1).await;
    assert!(streams.stale.is_empty());
    drop(erin);
    until(&mut alice, &mut streams, "stale", 1).await;
    let sealed = server.logged("source", |event| event.text("state") == "stale").await;
    assert!(sealed.text("detail").starts_with("IDX: SF-PUB-016"), "{}", sealed.text("detail"));
    assert_eq!(sealed.text("source"), "publisher acme/erin");

    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    refused(&mut erin, &body(2, "IDX", &[DELTA]), "SF-PUB-005").await;
    accepted(&mut erin, &body(2, "IDX", &[&SNAPSHOT.replace("99.5", "99.75")])).await;
    until(&mut alice, &mut streams, "delta", 1).await;
    assert!(streams.stale.is_empty());
    assert_eq!(streams.book("IDX").bids()[0].price, "99.75");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_publisher_makes_its_instrument_stale_and_goes_on_where_it_was() {
    let server = start(100).await;
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    let (mut alice, mut streams) =
        (server.connect(&Pki::get().client("acme/alice")).await, Streams::default());
    subscribe(&mut alice, "book", "IDX").await;
    until(&mut alice, &mut streams, "stale", 1).await;
    accepted(&mut erin, &body(1, "IDX", &[SNAPSHOT])).await;
    until(&mut alice, &mut streams, "stale", 1).await;
    let sealed = server.logged("source", |event| event.text("state") == "stalled").await;
    assert!(sealed.text("detail").starts_with("IDX: SF-PUB-007"), "{}", sealed.text("detail"));
    accepted(&mut erin, &body(2, "IDX", &[DELTA])).await;
    until(&mut alice, &mut streams, "delta", 1).await;
    assert_eq!(streams.book("IDX").bids()[0].price, "99.25");
    server.finish().await;
}
