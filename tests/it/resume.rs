//! Resumption from memory through the whole path: every missed message in order, or none and the reason why.

use sealfeed_wire::SignedOp;
use serde_json::{Value, json};

use crate::harness::{Client, Pki, Server};
use crate::market::{QUIET, limit, quiet, settle};
use crate::oracle::{Line, Streams};

/// Subscribes with `resume` and returns the reply's stream and the messages up to the answer to a ping behind it.
async fn resume(client: &mut Client, channel: &str, epoch: &Value, seq: u64) -> (Value, Vec<Value>) {
    let mut request = json!({
        "op": "subscribe", "channel": channel, "symbols": [QUIET],
        "resume": {QUIET: {"epoch": epoch, "seq": seq}},
    });
    if channel == "book" {
        request["depth"] = 0.into();
    }
    let reply = client.request(request).await;
    assert_eq!(reply["type"], "subscribed", "{reply}");
    // Answered by the pipeline like the subscription: whatever belongs to that has come before.
    client.send(r#"{"op":"order.status","id":"behind","cl_ord_id":"none"}"#).await;
    let mut messages = Vec::new();
    loop {
        let message = client.message().await;
        if message["id"] == "behind" {
            return (reply["symbols"][QUIET].clone(), messages);
        }
        messages.push(message);
    }
}

/// A market in which bob took the whole best ask after erin had settled on the book.
struct Market {
    server: Server,
    erin: Client,
    streams: Streams,
    epoch: Value,
    /// Position of erin's book before.
    before: u64,
    /// Position of the last trade.
    traded: u64,
}

impl Market {
    async fn with(resume_stream_bytes_max: usize) -> Self {
        let server = Server::start(|config| {
            quiet(config);
            config.feed.resume_stream_bytes_max = resume_stream_bytes_max;
            config.tape.enabled = false;
        })
        .await;
        let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
        let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
        let mut streams = Streams::default();
        let first = settle(&mut erin, &mut streams).await;
        let book = streams.book(QUIET);
        // The whole size at the best ask: one trade for each order that rests there.
        let Line { price, quantity, orders: resting } = book.asks()[0].clone();
        let (epoch, before) = (first["epoch"].clone(), book.chain.seq);
        let reply = bob.request(json!({"op": "subscribe", "channel": "trades", "symbols": [QUIET]})).await;
        let mut traded = reply["symbols"][QUIET]["seq"].as_u64().unwrap();
        assert_eq!(traded, 0, "nothing has traded yet");
        let body = limit("take", "buy", &price, &quantity, "ioc").to_string();
        let answer = bob.order(SignedOp::OrderNew, &body).await;
        assert_eq!(answer["status"], "accepted", "{answer}");
        while traded < resting {
            traded = bob.message_where(|message| message["type"] == "trade").await["seq"].as_u64().unwrap();
        }
        Self { server, erin, streams, epoch, before, traded }
    }
}

/// The messages that are data, each linked to the one before, behind `after` up to `seq`.
#[track_caller]
fn check_chain(messages: &[Value], kind: &str, after: u64, seq: u64) {
    let data: Vec<_> = messages.iter().filter(|message| message["type"] == kind).collect();
    let chain: Vec<_> = data.iter().map(|one| (one["prev_seq"].as_u64(), one["seq"].as_u64())).collect();
    let expected: Vec<_> = (after..seq).map(|seq| (Some(seq), Some(seq + 1))).collect();
    assert_eq!(chain[..expected.len()], expected, "{messages:?}");
    assert!(messages.iter().all(|message| message["type"] != "snapshot" && message["type"] != "gap"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_missed_message_comes_in_order_before_live_data() {
    let Market { server, mut erin, mut streams, epoch, before, traded } = Market::with(1 << 20).await;
    let (stream, messages) = resume(&mut erin, "book", &epoch, before).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(true), &Value::Null));
    let now = stream["seq"].as_u64().unwrap();
    assert!(now > before);
    check_chain(&messages, "delta", before, now);
    // The oracle stood at `before` or behind it; what it has had already it is not given again.
    let had = streams.book(QUIET).chain.seq;
    messages
        .iter()
        .filter(|message| message["seq"].as_u64() > Some(had))
        .for_each(|message| streams.take(message));
    let (stream, messages) = resume(&mut erin, "trades", &epoch, 0).await;
    assert_eq!((&stream["recovered"], stream["seq"].as_u64()), (&json!(true), Some(traded)));
    check_chain(&messages, "trade", 0, traded);
    let (stream, messages) = resume(&mut erin, "trades", &epoch, traded).await;
    assert_eq!(stream["recovered"], true);
    check_chain(&messages, "trade", traded, traded);
    let (stream, messages) = resume(&mut erin, "trades", &json!("00000000000000ff"), traded).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(false), &json!("SF-SUB-019")));
    assert_eq!((&messages[0]["type"], &messages[0]["to"]), (&json!("gap"), &json!(traded)));
    drop(erin);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_held_is_answered_with_the_present_state_or_a_gap() {
    let Market { server, mut erin, epoch, before, traded, .. } = Market::with(0).await;
    let kinds = |messages: &[Value]| messages.iter().map(|one| one["type"].clone()).collect::<Vec<_>>();
    let other_epoch = json!("00000000000000ff");
    let (stream, messages) = resume(&mut erin, "book", &epoch, before).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(false), &json!("SF-SUB-018")));
    assert_eq!(kinds(&messages), ["snapshot"]);
    let now = stream["seq"].as_u64().unwrap();
    assert!(now > before && messages[0]["seq"] == now);
    let (stream, messages) = resume(&mut erin, "book", &epoch, now).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(true), &Value::Null));
    assert!(messages.is_empty(), "{messages:?}");
    let (stream, messages) = resume(&mut erin, "book", &other_epoch, now).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(false), &json!("SF-SUB-019")));
    assert_eq!(kinds(&messages), ["snapshot"]);
    for (epoch, reason) in [(&epoch, "SF-SUB-018"), (&other_epoch, "SF-SUB-019")] {
        let (stream, messages) = resume(&mut erin, "trades", epoch, 0).await;
        assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(false), &json!(reason)));
        assert_eq!(kinds(&messages), ["gap"]);
        assert_eq!((&messages[0]["from"], &messages[0]["to"]), (&json!(1), &json!(traded)), "inclusive");
    }
    drop(erin);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_half_of_the_queue_is_not_recovered_at_once() {
    let server = Server::start(|config| {
        quiet(config);
        config.limits.out_queue_bytes_max = 65_536;
        config.tape.enabled = false;
    })
    .await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    let mut streams = Streams::default();
    let first = settle(&mut erin, &mut streams).await;
    let before = streams.book(QUIET).chain.seq;
    // Each of them is a delta of more than two hundred bytes.
    for round in 0..80 {
        let (order, cancel) = (format!("o-{round}"), format!("c-{round}"));
        bob.order(SignedOp::OrderNew, &limit(&order, "buy", "1.00", "1", "day").to_string()).await;
        let body = json!({"cl_ord_id": cancel, "orig_cl_ord_id": order}).to_string();
        assert_eq!(bob.order(SignedOp::OrderCancel, &body).await["status"], "accepted");
        let reached = before + 2 * (round + 1);
        erin.message_where(|message| message["seq"].as_u64() >= Some(reached)).await;
    }
    let (stream, messages) = resume(&mut erin, "book", &first["epoch"], before).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(false), &json!("SF-SUB-022")));
    assert_eq!(messages[0]["type"], "snapshot");
    let (stream, messages) = resume(&mut erin, "book", &first["epoch"], before + 100).await;
    assert_eq!(stream["recovered"], true);
    check_chain(&messages, "delta", before + 100, stream["seq"].as_u64().unwrap());
    drop((bob, erin));
    server.finish().await;
}
