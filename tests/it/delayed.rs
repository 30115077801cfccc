//! Delayed market data: the same messages so much later, marked as such, and nothing sooner, whatever happens.
//!
//! The server's clock stands still until a test moves it, so that a quarter of an hour passes at once and not a moment too early.

use sealfeed::clock::Clock;
use sealfeed::config::Config;
use sealfeed::types::UnixNanos;
use sealfeed_client::{
    ClientConfig, ClientIdentity, Event, FeedUrl, Protocol, read_certificates, subscription,
};
use sealfeed_wire::{Channel, Symbol};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Pki, Server};
use crate::market::trading;
use crate::oracle::Streams;
use crate::process::run;

const ALICE: &str = "acme/alice";
const CAROL: &str = "acme/carol";
const DBN: &str = "Sec-WebSocket-Protocol: sealfeed.v1.dbn\r\n";
const DELAY_MS: u64 = 900_000;
const MINUTE_NS: u64 = 60_000_000_000;
const DELAY_NS: u64 = 15 * MINUTE_NS;

/// Alice reads in real time, carol a quarter of an hour late, but for trades of FEED.
const POLICY: &str = r#"
[[rule]]
name = "live"
match = { user = "alice" }
channels = ["trades", "bbo", "book", "ohlcv-1s"]
symbols = ["*"]

[[rule]]
name = "late"
match = { user = "carol" }
channels = ["trades", "bbo", "book", "ohlcv-1s"]
symbols = ["*"]
delay = "15m"

[[rule]]
name = "late-too"
match = { user = "carol" }
channels = ["trades"]
symbols = ["*"]
delay = "20m"

[[rule]]
name = "free"
match = { user = "carol" }
channels = ["trades"]
symbols = ["FEED"]
"#;

fn market(config: &mut Config) {
    trading(config, &["SEAL", "FEED"], 1_000);
    // By a clock that stands still no block grows old.
    config.tape.block_events = 8;
}

fn now() -> UnixNanos {
    Clock::System.now()
}

fn after(time: UnixNanos, ns: u64) -> UnixNanos {
    UnixNanos(time.0 + ns)
}

async fn start(clock: &Clock, folder: TempDir) -> Server {
    Server::try_start_by(clock.clone(), folder, POLICY, market).await.unwrap()
}

async fn subscribe(client: &mut Client, channel: &str, symbol: &str) -> Value {
    let request = json!({"op": "subscribe", "channel": channel, "symbols": [symbol]});
    let reply = client.request(request).await;
    let stream = reply["symbols"][symbol].clone();
    assert!(stream.is_object(), "{reply}");
    stream
}

fn ts_out(message: &Value) -> u64 {
    message["ts_out"].as_str().unwrap().parse().unwrap()
}

/// The next data of a channel; whatever comes for a reader who is late must be late.
async fn next_late(client: &mut Client, channel: &str, not_before: u64) -> Value {
    loop {
        let message = client.message().await;
        if message.get("channel").is_some() && message.get("symbol").is_some() {
            assert_eq!(message["delayed_ms"], DELAY_MS, "{message}");
        }
        if message.get("ts_out").is_some() {
            assert!(ts_out(&message) >= not_before, "too early: {message}");
            if message["channel"] == channel {
                return message;
            }
        }
    }
}

/// A message without what a delay changes.
fn bare(message: &Value) -> Value {
    let mut bare = message.clone();
    let fields = bare.as_object_mut().unwrap();
    for field in ["ts_out", "epoch", "delayed_ms"] {
        fields.remove(field);
    }
    bare
}

/// Reads so many trades.
async fn trades(client: &mut Client, count: usize) -> Vec<Value> {
    let mut trades = Vec::new();
    while trades.len() < count {
        let message = client.message().await;
        if message["type"] == "trade" {
            trades.push(message);
        }
    }
    trades
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_reader_gets_the_same_trades_when_they_are_old_enough_and_not_before() {
    let begin = now();
    let clock = Clock::manual(begin);
    let server = start(&clock, TempDir::new().unwrap()).await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let granted = carol.welcome["entitlement"]["channels"].as_array().unwrap().clone();
    assert!(granted.iter().any(|grant| grant["delayed_ms"] == DELAY_MS), "{granted:?}");
    subscribe(&mut alice, "trades", "SEAL").await;
    let stream = subscribe(&mut carol, "trades", "SEAL").await;
    assert_eq!(
        (&stream["delayed_ms"], &stream["seq"]),
        (&json!(DELAY_MS), &json!(0)),
        "nothing is so old yet"
    );
    let live = trades(&mut alice, 30).await;
    clock.set(after(begin, DELAY_NS - 1));
    trades(&mut alice, 30).await;
    clock.set(after(begin, DELAY_NS));
    let first = live[0]["seq"].as_u64().unwrap();
    let mut late = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
    assert_eq!(late["seq"], 1, "from the beginning of the tape on");
    while late["seq"].as_u64().unwrap() < first {
        late = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
    }
    assert_eq!(bare(&late), bare(&live[0]));
    for live in &live[1..] {
        let late = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
        assert_eq!(bare(&late), bare(live));
    }
    // What one rule grants in real time is in real time, whatever the other rules say.
    let free = subscribe(&mut carol, "trades", "FEED").await;
    assert_eq!(free["delayed_ms"], Value::Null);
    let (log, time) = (server.log(), now().0.to_string());
    let shown = run(&["audit", "at", &time, "--principal", CAROL, log.to_str().unwrap(), "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let subscriptions = shown["sessions"][0]["subscriptions"].as_array().unwrap();
    let of = |symbol: &str| {
        subscriptions.iter().find(|one| one["symbol"] == symbol).unwrap()["delayed_ms"].clone()
    };
    assert_eq!((of("SEAL"), of("FEED")), (json!(DELAY_MS), Value::Null), "{shown}");
    drop((alice, carol));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_book_begins_as_it_stood_then_and_all_late_readers_share_it() {
    let begin = now();
    let clock = Clock::manual(begin);
    let server = start(&clock, TempDir::new().unwrap()).await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let mut streams = Streams::default();
    let request = json!({"op": "subscribe", "id": "a", "channel": "book", "symbols": ["SEAL"]});
    alice.send(request.to_string()).await;
    let mut deltas = 0;
    while deltas < 300 {
        let message = alice.message().await;
        deltas += usize::from(message["type"] == "delta");
        streams.take(&message);
    }
    clock.set(after(begin, MINUTE_NS));
    let then = loop {
        let message = alice.message().await;
        if message["type"] == "delta" && ts_out(&message) > begin.0 {
            break streams.book("SEAL").levels();
        }
        streams.take(&message);
    };
    // As many as both late readers are to follow later.
    let mut more = 0;
    while more < 30 {
        more += usize::from(alice.message().await["type"] == "delta");
    }
    clock.set(after(begin, DELAY_NS));
    let mut carols = Vec::new();
    for _ in 0..2 {
        let mut carol = server.connect(&Pki::get().client(CAROL)).await;
        let stream = subscribe(&mut carol, "book", "SEAL").await;
        let snapshot = next_late(&mut carol, "book", begin.0 + DELAY_NS).await;
        assert_eq!((&snapshot["type"], &snapshot["epoch"]), (&json!("snapshot"), &stream["epoch"]));
        for (side, expected) in [("bids", &then.0), ("asks", &then.1)] {
            let expected: Vec<Value> =
                expected.iter().map(|line| json!([line.price, line.quantity, line.orders])).collect();
            assert_eq!(snapshot[side], json!(expected), "{side}");
        }
        carols.push((carol, snapshot));
    }
    // Both follow the same stream on.
    clock.set(after(begin, DELAY_NS + MINUTE_NS));
    let mut first = Vec::new();
    for (carol, snapshot) in &mut carols {
        let mut messages = Vec::new();
        let mut seq = snapshot["seq"].clone();
        while messages.len() < 20 {
            let delta = next_late(carol, "book", begin.0 + DELAY_NS + MINUTE_NS).await;
            assert_eq!(delta["prev_seq"], seq, "{delta}");
            seq = delta["seq"].clone();
            messages.push(delta);
        }
        if first.is_empty() {
            first = messages;
        } else {
            assert_eq!(first, messages);
        }
    }
    // One who comes back to it is given what it missed, from memory, as late as ever.
    let (mut carol, snapshot) = carols.pop().unwrap();
    let mut request = json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL"]});
    request["resume"] = json!({"SEAL": {"epoch": snapshot["epoch"], "seq": snapshot["seq"]}});
    let reply = carol.request(request).await;
    assert_eq!(reply["symbols"]["SEAL"]["recovered"], true, "{reply}");
    assert_eq!(next_late(&mut carol, "book", begin.0 + DELAY_NS).await["prev_seq"], snapshot["seq"]);
    drop((alice, carol, carols));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_late_too_and_have_a_number_of_their_own() {
    let begin = now();
    let clock = Clock::manual(begin);
    let server = start(&clock, TempDir::new().unwrap()).await;
    let mut carol = server.connect_with(&Pki::get().client(CAROL), DBN).await;
    let stream = subscribe(&mut carol, "trades", "FEED").await;
    assert_eq!(stream["delayed_ms"], Value::Null);
    carol.records_until(4).await;
    let stream = subscribe(&mut carol, "bbo", "FEED").await;
    assert_eq!(stream["delayed_ms"], DELAY_MS, "another channel of the same symbol");
    clock.set(after(begin, DELAY_NS));
    let number = |record: &[u8]| u32::from_le_bytes(record[4..8].try_into().unwrap());
    let late = |client: &Client| {
        let sizes = client.records[1..].iter().filter(|record| record.len() == size_of::<dbn::Mbp1Msg>());
        sizes.map(|record| number(record)).collect::<Vec<u32>>()
    };
    let mut count = carol.records.len();
    while late(&carol).len() < 10 {
        count += 1;
        carol.records_until(count).await;
    }
    let trades = carol.records[1..].iter().filter(|record| record.len() == size_of::<dbn::TradeMsg>());
    let live: Vec<u32> = trades.map(|record| number(record)).collect();
    assert!(
        live.iter().all(|number| *number == live[0]) && late(&carol).iter().all(|number| *number != live[0])
    );
    drop(carol);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_run_before_published_comes_late_in_the_next_run() {
    let begin = now();
    let clock = Clock::manual(begin);
    let server = start(&clock, TempDir::new().unwrap()).await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    subscribe(&mut alice, "trades", "SEAL").await;
    let before = trades(&mut alice, 20).await;
    drop(alice);
    let (_, folder) = server.finish().await;
    clock.set(after(begin, 5 * MINUTE_NS));
    let server = start(&clock, folder).await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    subscribe(&mut carol, "trades", "SEAL").await;
    clock.set(after(begin, DELAY_NS));
    let mut late = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
    while late["trade_id"] != before[0]["trade_id"] {
        late = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
    }
    assert_eq!(bare(&late), bare(&before[0]));
    for before in &before[1..] {
        let late = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
        assert_eq!(bare(&late), bare(before));
    }
    drop(carol);
    server.finish().await;
}

/// Data of a channel as it came to a reader who is late, without a hole.
async fn late_log(client: &mut Client, channel: &str, count: usize, not_before: u64) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    while messages.len() < count {
        let message = client.message().await;
        // A state of before there was anything to see is as young as the subscription.
        if message["channel"] != channel || message["prev_seq"].is_null() {
            continue;
        }
        assert!(ts_out(&message) >= not_before && message["delayed_ms"] == DELAY_MS, "{message}");
        if let Some(last) = messages.last() {
            assert_eq!(message["prev_seq"], last["seq"], "a hole or a repetition: {message}");
        }
        messages.push(message);
    }
    messages
}

async fn resume(client: &mut Client, channel: &str, after: &Value) -> Value {
    let mut request =
        json!({"op": "subscribe", "channel": channel, "symbols": ["SEAL"], "on_slow": "disconnect"});
    request["resume"] = json!({"SEAL": {"epoch": after["epoch"], "seq": after["seq"]}});
    let reply = client.request(request).await;
    reply["symbols"]["SEAL"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_late_reader_missed_comes_from_the_tape_in_every_life_of_the_feed_and_of_the_server() {
    let forgetful = |config: &mut Config| {
        market(config);
        config.feed.resume_stream_bytes_max = 0;
    };
    let begin = now();
    let clock = Clock::manual(begin);
    let folder = TempDir::new().unwrap();
    let mut server = Server::try_start_by(clock.clone(), folder, POLICY, forgetful).await.unwrap();
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let mut readers = Vec::new();
    for channel in ["trades", "bbo", "book"] {
        let mut carol = server.connect(&Pki::get().client(CAROL)).await;
        subscribe(&mut carol, channel, "SEAL").await;
        subscribe(&mut alice, channel, "SEAL").await;
        readers.push((channel, carol, Vec::new()));
    }
    trades(&mut alice, 100).await;
    clock.set(after(begin, DELAY_NS));
    for (channel, carol, unbroken) in &mut readers {
        *unbroken = late_log(carol, channel, 60, begin.0 + DELAY_NS).await;
    }
    drop(alice);
    let readers: Vec<_> = readers.into_iter().map(|(channel, _, unbroken)| (channel, unbroken)).collect();
    // In the same life of the feed, in another one of the same server, and after a restart.
    for (round, minutes) in [0, 1, 2].into_iter().enumerate() {
        let time = after(begin, DELAY_NS + minutes * MINUTE_NS);
        clock.set(time);
        if round == 2 {
            let (_, folder) = server.finish().await;
            server = Server::try_start_by(clock.clone(), folder, POLICY, forgetful).await.unwrap();
        }
        for (channel, unbroken) in &readers {
            let mut carol = server.connect(&Pki::get().client(CAROL)).await;
            let stream = resume(&mut carol, channel, &unbroken[9]).await;
            assert_eq!(stream["recovered"], true, "{channel}, round {round}: {stream}");
            assert_eq!((&stream["epoch"], &stream["delayed_ms"]), (&unbroken[0]["epoch"], &json!(DELAY_MS)));
            let again = late_log(&mut carol, channel, 50, begin.0 + DELAY_NS).await;
            assert!(again == unbroken[10..], "{channel}, round {round}");
            assert!(again.iter().all(|message| ts_out(message) <= time.0), "nothing is early");
        }
    }
    // A number of the market is none of the delayed stream's, and the other way round.
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let stream = resume(&mut alice, "trades", &readers[0].1[9]).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(false), &json!("SF-SUB-019")), "{stream}");
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let stream = resume(&mut carol, "trades", &json!({"epoch": stream["epoch"], "seq": 1})).await;
    assert_eq!((&stream["recovered"], &stream["reason"]), (&json!(false), &json!("SF-SUB-019")), "{stream}");
    drop((alice, carol));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_break_of_the_tape_late_readers_go_on_and_no_number_of_before_passes_for_one_of_after() {
    let forgetful = |config: &mut Config| {
        market(config);
        config.feed.resume_stream_bytes_max = 0;
    };
    let begin = now();
    let clock = Clock::manual(begin);
    let server =
        Server::try_start_by(clock.clone(), TempDir::new().unwrap(), POLICY, forgetful).await.unwrap();
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let before = subscribe(&mut alice, "trades", "SEAL").await;
    trades(&mut alice, 20).await;
    drop(alice);
    let (_, folder) = server.finish().await;
    // Other instruments: another epoch.
    let break_ns = 5 * MINUTE_NS;
    clock.set(after(begin, break_ns));
    let others = |config: &mut Config| {
        forgetful(config);
        trading(config, &["SEAL", "FEED", "MORE"], 1_000);
    };
    let server = Server::try_start_by(clock.clone(), folder, POLICY, others).await.unwrap();
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    assert_ne!(subscribe(&mut alice, "trades", "SEAL").await["epoch"], before["epoch"]);
    trades(&mut alice, 20).await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let stream = subscribe(&mut carol, "trades", "SEAL").await;
    clock.set(after(begin, DELAY_NS));
    let first = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
    clock.set(after(begin, DELAY_NS + break_ns));
    let (mut last, mut behind) = (first.clone(), 0);
    while behind < 10 {
        let late = next_late(&mut carol, "trades", begin.0 + DELAY_NS).await;
        assert_eq!((&late["prev_seq"], &late["epoch"]), (&last["seq"], &stream["epoch"]), "{late}");
        behind += u64::from(ts_out(&late) >= begin.0 + DELAY_NS + break_ns);
        last = late;
    }
    let mut other = server.connect(&Pki::get().client(CAROL)).await;
    // Who joins those who read gets their numbers, which the tape does not have any more.
    let joined = resume(&mut other, "trades", &first).await;
    assert_eq!((&joined["recovered"], &joined["reason"]), (&json!(false), &json!("SF-SUB-018")), "{joined}");
    assert_eq!(joined["epoch"], stream["epoch"]);
    // What nobody had read has those of the run that is told now.
    let old = json!({"epoch": stream["epoch"], "seq": 1});
    let bbo = resume(&mut other, "bbo", &old).await;
    assert_eq!((&bbo["recovered"], &bbo["reason"]), (&json!(false), &json!("SF-SUB-019")), "{bbo}");
    let again = resume(&mut other, "bbo", &json!({"epoch": bbo["epoch"], "seq": 1})).await;
    assert_eq!(again["recovered"], true, "{again}");
    drop((alice, carol, other));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tape_late_data_is_refused_and_nothing_comes_in_its_place() {
    let server = Server::with_policy(POLICY, |config| {
        market(config);
        config.tape.enabled = false;
    })
    .await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let reply =
        carol.request(json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL", "FEED"]})).await;
    assert_eq!(reply["refused"]["SEAL"]["code"], "SF-SUB-025", "{reply}");
    assert!(reply["symbols"]["FEED"].is_object());
    for _ in 0..50 {
        let message = carol.message().await;
        assert_eq!(message["symbol"], "FEED", "{message}");
    }
    drop(carol);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_says_of_every_message_that_it_is_late_in_both_protocols() {
    let begin = now();
    let clock = Clock::manual(begin);
    let server = start(&clock, TempDir::new().unwrap()).await;
    let folder = Pki::get().folder.join("clients").join(CAROL);
    let url = FeedUrl::parse(&format!("wss://localhost:{}/v1/feed", server.address.port())).unwrap();
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    subscribe(&mut alice, "bbo", "SEAL").await;
    for (round, protocol) in (1..).zip([Protocol::Json, Protocol::Dbn]) {
        let roots = read_certificates(&Pki::get().folder.join("ca/servers.pem")).unwrap();
        let identity = ClientIdentity::load(&folder.join("client.pem"), &folder.join("client.key")).unwrap();
        let mut config = ClientConfig::new(url.clone(), roots, Some(identity));
        config.protocol = protocol;
        let client = sealfeed_client::Client::connect_with(&config).await.unwrap();
        client.subscribe(subscription(Channel::Bbo, [Symbol::new("SEAL").unwrap()])).await.unwrap();
        let mut live = 0;
        while live < 10 {
            live += usize::from(alice.message().await["type"] == "bbo");
        }
        clock.set(after(begin, round * DELAY_NS));
        let mut late = 0;
        while late < 5 {
            if let Event::Market(market) = client.next_event().await.unwrap() {
                assert_eq!(market.header().delayed_ms, Some(DELAY_MS));
                late += 1;
            }
        }
        client.close().await;
    }
    drop(alice);
    server.finish().await;
}
