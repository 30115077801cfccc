//! The channels besides trades, best prices and books; conflation; and what of them an entitlement covers.

use sealfeed_wire::SignedOp;
use serde_json::{Value, json};

use crate::harness::{Client, Pki, Server};
use crate::market::{QUIET, limit, quiet, settle, trading};
use crate::oracle::Streams;

const POLICY: &str = r#"
[[rule]]
name = "everything"
match = { firm = "acme", role = "viewer" }
channels = ["trades", "bbo", "book", "mbo", "ohlcv-1s", "ohlcv-1m", "status", "definition"]
symbols = ["*"]

[[rule]]
name = "traders"
match = { firm = "acme", role = "trader" }
channels = ["book", "mbo"]
symbols = ["*"]
[rule.orders]
symbols = ["*"]

[[rule]]
name = "slow"
match = { firm = "beta" }
channels = ["bbo", "trades"]
symbols = ["*"]
conflate_ms_min = 250
"#;

async fn subscribe(client: &mut Client, channel: &str, symbol: &str) -> Value {
    let reply = client.request(json!({"op": "subscribe", "channel": channel, "symbols": [symbol]})).await;
    assert_eq!(reply["type"], "subscribed", "{reply}");
    reply["symbols"][symbol].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_seen_in_the_order_by_order_channel_by_its_venues_number() {
    let server = Server::with_policy(POLICY, quiet).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    settle(&mut bob, &mut Streams::default()).await;
    let before = subscribe(&mut bob, "mbo", QUIET).await["seq"].as_u64().unwrap();
    let answer = bob.order(SignedOp::OrderNew, &limit("one", "buy", "1.00", "3", "day").to_string()).await;
    let record = bob.message_where(|message| message["type"] == "mbo").await;
    assert_eq!(
        (&record["action"], &record["side"], &record["qty"]),
        (&json!("add"), &json!("buy"), &json!("3"))
    );
    assert_eq!((&record["order_id"], &record["last"]), (&answer["order_id"], &json!(true)));
    assert_eq!((record["prev_seq"].as_u64(), record["seq"].as_u64()), (Some(before), Some(before + 1)));
    drop(bob);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instrument_says_what_it_is_and_that_it_trades() {
    let server = Server::with_policy(POLICY, quiet).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let stream = subscribe(&mut alice, "definition", QUIET).await;
    let definition = alice.message().await;
    assert_eq!((&definition["type"], &definition["prev_seq"]), (&json!("definition"), &Value::Null));
    for field in ["price_decimals", "qty_decimals", "tick", "lot"] {
        assert_eq!(definition[field], stream[field], "{field}");
    }
    assert_eq!((&definition["tradable"], &definition["state"]), (&json!(true), &json!("trading")));
    subscribe(&mut alice, "status", QUIET).await;
    let status = alice.message().await;
    assert_eq!(
        (&status["type"], &status["state"], &status["reason"]),
        (&json!("status"), &json!("trading"), &Value::Null)
    );
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_hold_exactly_the_trades_of_their_interval() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 500)).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    subscribe(&mut alice, "trades", "SEAL").await;
    subscribe(&mut alice, "ohlcv-1s", "SEAL").await;
    let (mut trades, mut bars) = (Vec::new(), Vec::new());
    while bars.len() < 3 {
        let message = alice.message().await;
        match message["type"].as_str().unwrap() {
            "trade" => trades.push(message),
            "ohlcv" => bars.push(message),
            _ => {}
        }
    }
    let time = |message: &Value| message["ts_event"].as_str().unwrap().parse::<u64>().unwrap();
    let quantity = |message: &Value, field: &str| message[field].as_str().unwrap().parse::<f64>().unwrap();
    // The first bar began before its reader came.
    for bar in &bars[1..] {
        let inside: Vec<_> =
            trades.iter().filter(|trade| time(trade) / 1_000_000_000 == time(bar) / 1_000_000_000).collect();
        assert_eq!(bar["trades"].as_u64(), Some(inside.len() as u64), "{bar}");
        assert_eq!((&bar["open"], &bar["close"]), (&inside[0]["price"], &inside[inside.len() - 1]["price"]));
        let volume: f64 = inside.iter().map(|trade| quantity(trade, "qty")).sum();
        assert!((volume - quantity(bar, "volume")).abs() < 1e-6, "{bar}");
    }
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflated_book_is_followed_like_any_other_and_speaks_seldom() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 2_000)).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut streams = Streams::default();
    let request = json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": ["SEAL"], "depth": 10, "conflate_ms": 100});
    alice.send(request.to_string()).await;
    let mut out = Vec::new();
    while out.len() < 10 {
        let message = alice.message().await;
        streams.take(&message);
        if message["type"] == "delta" {
            out.push(message["ts_out"].as_str().unwrap().parse::<u64>().unwrap() / 100_000_000);
        }
        if message["type"] == "subscribed" {
            assert_eq!(message["conflate_ms"], 100);
        }
    }
    assert!(out.is_sorted_by(|earlier, later| earlier < later), "one in each interval at most: {out:?}");
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entitlement_to_slow_streams_gives_no_fast_ones() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 1)).await;
    let mut dave = server.connect(&Pki::get().client("beta/dave")).await;
    assert_eq!(dave.welcome["entitlement"]["channels"][0]["conflate_ms_min"], 250, "{}", dave.welcome);
    for (conflate_ms, refused) in [(0, true), (100, true), (250, false), (1_000, false)] {
        let request =
            json!({"op": "subscribe", "channel": "bbo", "symbols": ["SEAL"], "conflate_ms": conflate_ms});
        let reply = dave.request(request).await;
        let code = &reply["refused"]["SEAL"]["code"];
        assert_eq!(code == "SF-SUB-023", refused, "{conflate_ms}: {reply}");
    }
    subscribe(&mut dave, "trades", "SEAL").await;
    assert_eq!(
        dave.error_of(r#"{"op":"subscribe","id":1,"channel":"mbo","symbols":["*"]}"#).await,
        "SF-SUB-006"
    );
    drop(dave);
    server.finish().await;
}
