//! A policy that changes a delay moves open subscriptions: they go on by themselves as other streams, and from the notice on nothing
//! younger than the new delay comes.
//!
//! The server's clock stands still until a test moves it, so that what is too young can be told by its time.

use std::collections::BTreeMap;

use sealfeed::clock::{Clock, format_utc};
use sealfeed::config::Config;
use sealfeed::types::UnixNanos;
use sealfeed_client::{
    BookError, BookFollower, ClientConfig, ClientIdentity, Event, FeedUrl, Followed, Protocol,
    read_certificates, subscription,
};
use sealfeed_wire::{Channel, Symbol};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Pki, Server};
use crate::market::trading;
use crate::process::run;

const CAROL: &str = "acme/carol";
const MINUTE_NS: u64 = 60_000_000_000;
const LIVE: u64 = 0;
const FIVE: u64 = 5;
const FIFTEEN: u64 = 15;

/// Carol's books and trades come so many minutes late; those of FEED never do, nor does anything to alice.
fn policy(minutes: u64) -> String {
    let delay = if minutes == LIVE { String::new() } else { format!("delay = \"{minutes}m\"") };
    format!(
        r#"
[[rule]]
name = "all"
match = {{ user = "carol" }}
channels = ["trades", "book"]
symbols = ["SEAL"]
{delay}

[[rule]]
name = "free"
match = {{ user = "carol" }}
channels = ["trades", "book"]
symbols = ["FEED"]

[[rule]]
name = "live"
match = {{ user = "alice" }}
channels = ["trades", "book"]
symbols = ["SEAL"]
"#
    )
}

fn market(config: &mut Config) {
    trading(config, &["SEAL", "FEED"], 1_000);
    // By a clock that stands still no block grows old.
    config.tape.block_events = 8;
}

async fn start(clock: &Clock, minutes: u64) -> Server {
    let folder = TempDir::new().unwrap();
    Server::try_start_by(clock.clone(), folder, &policy(minutes), market).await.unwrap()
}

/// Puts the policy with this delay in force.
async fn reload(server: &Server, minutes: u64) {
    std::fs::write(&server.config.identity.entitlements, policy(minutes)).unwrap();
    server.running().reload().await.unwrap();
}

async fn subscribe(client: &mut Client, channel: &str, symbol: &str) -> Value {
    let reply = client.request(json!({"op": "subscribe", "channel": channel, "symbols": [symbol]})).await;
    assert!(reply["symbols"][symbol].is_object(), "{reply}");
    reply["symbols"][symbol].clone()
}

/// Lets so many minutes pass, once enough has happened in the present one to be read of it later.
async fn pass(server: &Server, clock: &Clock, minutes: u64) {
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    for channel in ["trades", "book"] {
        subscribe(&mut alice, channel, "SEAL").await;
    }
    let now = clock.now().0;
    let (mut trades, mut deltas) = (0, 0);
    while trades < 10 || deltas < 40 {
        let message = alice.message().await;
        if number(&message, "ts_event") >= now {
            trades += usize::from(message["type"] == "trade");
            deltas += usize::from(message["type"] == "delta");
        }
    }
    clock.set(UnixNanos(now + minutes * MINUTE_NS));
}

fn number(message: &Value, field: &str) -> u64 {
    message[field].as_str().map_or(0, |text| text.parse().unwrap())
}

/// What a notice says of SEAL, by channel.
fn moved(notice: &Value) -> BTreeMap<String, Value> {
    let rows = notice["changed"].as_array().unwrap().iter();
    let rows = rows.map(|row| (row["channel"].as_str().unwrap().to_owned(), row["symbols"]["SEAL"].clone()));
    rows.filter(|(_, stream)| !stream.is_null()).collect()
}

/// A client, and what it must not be told.
struct Reader {
    client: Client,
    clock: Clock,
    /// The delay of SEAL in minutes, as the last notice has it.
    minutes: u64,
    /// Where each stream stands; those that have not begun since the last notice are not here.
    streams: BTreeMap<(String, String), (Value, u64)>,
}

impl Reader {
    /// The next message: late enough, of the streams that stand, and without a gap.
    async fn next(&mut self) -> Value {
        let message = self.client.message().await;
        let Some(symbol) = message["symbol"].as_str() else { return message };
        let delay_ms = if symbol == "SEAL" { self.minutes * 60_000 } else { 0 };
        let expected = if delay_ms == 0 { Value::Null } else { json!(delay_ms) };
        assert_eq!(message["delayed_ms"], expected, "{message}");
        let latest = self.clock.now().0 - delay_ms * 1_000_000;
        assert!(number(&message, "ts_event") <= latest, "too young: {message}");
        let Some(seq) = message["seq"].as_u64() else { return message };
        let key = (message["channel"].as_str().unwrap().to_owned(), symbol.to_owned());
        let (epoch, last) = self.streams.get_mut(&key).unwrap_or_else(|| panic!("not begun: {message}"));
        assert_eq!(message["epoch"], *epoch, "{message}");
        match message["type"].as_str().unwrap() {
            "trade" | "delta" => {
                assert_eq!(message["prev_seq"].as_u64().unwrap_or_default(), *last, "{message}")
            }
            _ => assert_eq!(seq, *last, "{message}"),
        }
        *last = seq;
        message
    }

    async fn subscribe(&mut self, channel: &str, symbol: &str) {
        let id = json!(format!("{channel} {symbol}"));
        let request = json!({"op": "subscribe", "id": id, "channel": channel, "symbols": [symbol], "on_slow": "disconnect"});
        self.client.send(request.to_string()).await;
        let reply = loop {
            let message = self.next().await;
            if message["id"] == id {
                break message;
            }
        };
        self.begin(channel, symbol, &reply["symbols"][symbol]);
    }

    fn begin(&mut self, channel: &str, symbol: &str, stream: &Value) {
        let place = (stream["epoch"].clone(), stream["seq"].as_u64().unwrap());
        self.streams.insert((channel.to_owned(), symbol.to_owned()), place);
    }

    /// Reads so many messages of a channel of SEAL.
    async fn reads(&mut self, channel: &str, kind: &str, count: usize) {
        self.reads_of("SEAL", channel, kind, count).await;
    }

    /// Reads until so many messages of each channel and kind of SEAL have come, in whatever order.
    async fn reads_some(&mut self, wanted: &mut BTreeMap<(&str, &str), usize>) {
        while wanted.values().any(|left| *left > 0) {
            let message = self.next().await;
            for ((channel, kind), left) in &mut *wanted {
                if message["symbol"] == "SEAL" && message["channel"] == *channel && message["type"] == *kind {
                    *left = left.saturating_sub(1);
                }
            }
        }
    }

    async fn reads_of(&mut self, symbol: &str, channel: &str, kind: &str, count: usize) {
        let mut seen = 0;
        while seen < count {
            let message = self.next().await;
            seen += usize::from(
                message["symbol"] == symbol && message["channel"] == channel && message["type"] == kind,
            );
        }
    }

    /// Reads the notices of a change until `channels` of SEAL go on with another delay; how many notices there were.
    async fn is_moved(&mut self, minutes: u64, channels: &[&str]) -> usize {
        let (mut notices, mut begun) = (0, 0);
        while begun < channels.len() {
            let message = self.next().await;
            if message["type"] != "entitlement" {
                continue;
            }
            notices += 1;
            assert_eq!(message["ended"], json!([]), "{message}");
            if notices == 1 {
                self.minutes = minutes;
                self.streams.retain(|(_, symbol), _| symbol != "SEAL");
            }
            let moved = moved(&message);
            assert_eq!(moved.keys().map(String::as_str).collect::<Vec<_>>(), channels, "{message}");
            for (channel, stream) in moved {
                let delay = if minutes == LIVE { Value::Null } else { json!(minutes * 60_000) };
                assert_eq!(stream["delayed_ms"], delay, "{message}");
                if !stream["epoch"].is_null() {
                    self.begin(&channel, "SEAL", &stream);
                    begun += 1;
                }
            }
        }
        notices
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_whose_delay_changes_goes_on_by_itself_and_nothing_too_young_comes_behind_the_notice()
{
    let begin = Clock::System.now();
    let clock = Clock::manual(begin);
    let server = start(&clock, LIVE).await;
    let client = server.connect(&Pki::get().client(CAROL)).await;
    let (session, streams) = (client.session.to_string(), BTreeMap::new());
    let mut carol = Reader { client, clock: clock.clone(), minutes: LIVE, streams };
    for (channel, symbol) in [("trades", "FEED"), ("trades", "SEAL"), ("book", "SEAL")] {
        carol.subscribe(channel, symbol).await;
    }
    carol.reads("book", "delta", 50).await;
    pass(&server, &clock, 20).await;
    carol.reads("book", "delta", 50).await;

    // Live to late: it waits until the late feed stands. What is not late goes on without a gap meanwhile.
    reload(&server, FIFTEEN).await;
    assert_eq!(carol.is_moved(FIFTEEN, &["book", "trades"]).await, 2);
    carol.reads("book", "snapshot", 1).await;
    pass(&server, &clock, 16).await;
    // What is due at one moment may come a stream at a time.
    carol.reads_some(&mut BTreeMap::from([(("book", "delta"), 10), (("trades", "trade"), 5)])).await;
    carol.reads_of("FEED", "trades", "trade", 5).await;

    // Late to less late.
    reload(&server, FIVE).await;
    assert_eq!(carol.is_moved(FIVE, &["book", "trades"]).await, 2);
    carol.reads("book", "snapshot", 1).await;
    pass(&server, &clock, 6).await;
    carol.reads("book", "delta", 10).await;

    // Late to live, at once.
    reload(&server, LIVE).await;
    assert_eq!(carol.is_moved(LIVE, &["book", "trades"]).await, 1);
    carol.reads("book", "snapshot", 1).await;
    carol.reads("book", "delta", 10).await;
    carol.reads("trades", "trade", 5).await;

    // And late again, to a feed that stands: the same stream as before.
    reload(&server, FIVE).await;
    assert_eq!(carol.is_moved(FIVE, &["book", "trades"]).await, 1);
    carol.reads("book", "snapshot", 1).await;

    let log = server.log();
    let time = Clock::System.now().0.to_string();
    let shown = run(&["audit", "at", &time, "--principal", CAROL, log.to_str().unwrap(), "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let subscriptions = shown["sessions"][0]["subscriptions"].as_array().unwrap();
    let held: Vec<_> =
        subscriptions.iter().map(|one| [&one["channel"], &one["symbol"], &one["delayed_ms"]]).collect();
    let five = json!(FIVE * 60_000);
    let expected = [
        [&json!("book"), &json!("SEAL"), &five],
        [&json!("trades"), &json!("FEED"), &Value::Null],
        [&json!("trades"), &json!("SEAL"), &five],
    ];
    assert_eq!(held, expected, "{shown}");

    drop(carol);
    let (events, _folder) = server.finish().await;
    let changes: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "entitlement" && event.session.as_deref() == Some(&*session))
        .collect();
    let rows = json!([["trades", "SEAL", "SF-SUB-026"], ["book", "SEAL", "SF-SUB-026"]]);
    assert!(changes.iter().all(|change| change.fields["ended"] == rows), "{:?}", changes[0].fields);
    assert_eq!(changes.len(), 4);
    assert_usage(&log);
}

/// Each delay was another product: live from the beginning and once again, 15 minutes late once, 5 minutes twice.
fn assert_usage(log: &std::path::Path) {
    let month = &format_utc(Clock::System.now())[..7];
    let done =
        run(&["audit", "report", "usage", "--month", month, "--output", "json", log.to_str().unwrap()]);
    let rows = String::from_utf8(done.stdout).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_book = rows.iter().filter(|row| row["channel"] == "book" && row["user"] == "carol");
    let names = ["delayed_ms", "activations", "deactivations", "most_at_once"];
    let of_book: Vec<_> = of_book.map(|row| names.map(|name| row[name].as_str().unwrap())).collect();
    assert_eq!(of_book, [["0", "2", "2", "1"], ["300000", "2", "2", "1"], ["900000", "1", "1", "1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_changes_again_before_it_has_begun_comes_as_the_last_policy_says() {
    let begin = Clock::System.now();
    let clock = Clock::manual(begin);
    let server = start(&clock, LIVE).await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    subscribe(&mut carol, "book", "SEAL").await;
    // Whether the late feed stands by then or not: the last word counts.
    for minutes in [FIFTEEN, FIVE, LIVE] {
        reload(&server, minutes).await;
    }
    let mut delays = Vec::new();
    while delays.last() != Some(&Value::Null) {
        let notice = carol.message_where(|message| message["type"] == "entitlement").await;
        assert_eq!(notice["ended"], json!([]), "{notice}");
        delays.push(moved(&notice)["book"]["delayed_ms"].clone());
    }
    delays.dedup();
    assert_eq!(delays, [json!(FIFTEEN * 60_000), json!(FIVE * 60_000), Value::Null]);
    let mut deltas = 0;
    while deltas < 20 {
        let message = carol.message().await;
        assert_ne!(message["type"], "entitlement", "{message}");
        assert_eq!(message["delayed_ms"], Value::Null, "{message}");
        deltas += usize::from(message["type"] == "delta");
    }
    // One that is ended while it waits, or just behind that, does not come back.
    reload(&server, FIFTEEN).await;
    carol.message_where(|message| message["type"] == "entitlement").await;
    let reply = carol.request(json!({"op": "unsubscribe", "channel": "book", "symbols": ["*"]})).await;
    assert_eq!(reply["type"], "ok", "{reply}");
    let again = carol.request(json!({"op": "unsubscribe", "channel": "book", "symbols": ["SEAL"]})).await;
    assert_eq!(again["code"], "SF-SUB-011", "{again}");
    subscribe(&mut carol, "trades", "FEED").await;
    let mut trades = 0;
    while trades < 20 {
        let message = carol.message().await;
        assert_eq!(message["symbol"], "FEED", "{message}");
        trades += usize::from(message["type"] == "trade");
    }
    drop(carol);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_late_data_cannot_be_had_the_subscription_ends_with_the_code_that_a_subscribe_gets() {
    let server = Server::with_policy(&policy(LIVE), |config| {
        market(config);
        config.tape.enabled = false;
    })
    .await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    for symbol in ["SEAL", "FEED"] {
        subscribe(&mut carol, "trades", symbol).await;
    }
    reload(&server, FIFTEEN).await;
    let notice = carol.message_where(|message| message["type"] == "entitlement").await;
    assert_eq!(notice["changed"], Value::Null, "{notice}");
    let ended = notice["ended"].as_array().unwrap();
    assert_eq!((ended.len(), &ended[0]["channel"]), (1, &json!("trades")));
    let symbols = ended[0]["symbols"].as_object().unwrap();
    assert_eq!((symbols.len(), &symbols["SEAL"]["code"]), (1, &json!("SF-SUB-025")), "{notice}");
    for _ in 0..50 {
        let message = carol.message().await;
        assert_eq!(message["symbol"], "FEED", "{message}");
    }
    let reply = carol.request(json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL"]})).await;
    assert_eq!(reply["refused"]["SEAL"]["code"], "SF-SUB-025", "{reply}");
    let session = carol.session.to_string();
    let is_it = |event: &crate::harness::Logged| {
        event.session.as_deref() == Some(&*session)
            && event.fields["refused"] == json!([["SEAL", "SF-SUB-025"]])
    };
    let refused = server.logged("subscribe", is_it).await;
    let change = server.logged("entitlement", |event| event.session.as_deref() == Some(&*session)).await;
    assert!(change.seq < refused.seq);
    drop(carol);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_follows_a_book_and_a_stream_over_a_change_of_their_delay_in_both_protocols() {
    let begin = Clock::System.now();
    let clock = Clock::manual(begin);
    let server = start(&clock, LIVE).await;
    let folder = Pki::get().folder.join("clients").join(CAROL);
    let url = FeedUrl::parse(&format!("wss://localhost:{}/v1/feed", server.address.port())).unwrap();
    let seal = Symbol::new("SEAL").unwrap();
    for protocol in [Protocol::Json, Protocol::Dbn] {
        let roots = read_certificates(&Pki::get().folder.join("ca/servers.pem")).unwrap();
        let identity = ClientIdentity::load(&folder.join("client.pem"), &folder.join("client.key")).unwrap();
        let mut config = ClientConfig::new(url.clone(), roots, Some(identity));
        config.protocol = protocol;
        let client = sealfeed_client::Client::connect_with(&config).await.unwrap();
        client.subscribe(subscription(Channel::Trades, [seal])).await.unwrap();
        let mut follower = BookFollower::subscribe(&client, seal, None).await.unwrap();
        for minutes in [FIVE, LIVE] {
            let mut late = Late { follower: &mut follower, client: &client, minutes: FIVE - minutes };
            pass(&server, &clock, 10).await;
            late.follows().await;
            reload(&server, minutes).await;
            late.is_lost().await;
            late.minutes = minutes;
            // What is old enough for the one who is late.
            pass(&server, &clock, 10).await;
            late.follows().await;
        }
        client.close().await;
    }
    server.finish().await;
}

/// A client of the library that reads a book and trades with a delay.
struct Late<'a, 'c> {
    follower: &'a mut BookFollower<'c>,
    client: &'c sealfeed_client::Client,
    minutes: u64,
}

impl Late<'_, '_> {
    async fn next(&mut self) -> (Event, Followed) {
        let event = self.client.next_event().await.unwrap();
        assert!(!matches!(event, Event::Gap { .. } | Event::Repeated { .. }), "{event:?}");
        let followed = self.follower.take(&event).await.unwrap();
        (event, followed)
    }

    /// Reads some trades, and some changes of a book that is whole.
    async fn follows(&mut self) {
        let (mut trades, mut changes) = (0, 0);
        while trades < 3 || changes < 10 {
            let (event, followed) = self.next().await;
            assert!(!matches!(followed, Followed::Lost(_)), "{followed:?}");
            let Event::Market(market) = event else { continue };
            let delay_ms = Some(self.minutes * 60_000).filter(|delay_ms| *delay_ms != 0);
            assert_eq!(market.header().delayed_ms, delay_ms, "{market:?}");
            trades += usize::from(market.header().channel == Channel::Trades);
            if followed == Followed::Changed {
                self.follower.book().view().unwrap();
                changes += 1;
            }
        }
    }

    /// Reads to the notice that has both streams begin anew. No book is shown from the first one on.
    async fn is_lost(&mut self) {
        loop {
            let (event, followed) = self.next().await;
            let Event::Entitlement(notice) = event else { continue };
            assert_eq!(followed, Followed::Lost(BookError::Moved));
            assert_eq!(self.follower.book().view().unwrap_err(), BookError::Moved);
            let stream = notice.changed(Channel::Book, Symbol::new("SEAL").unwrap()).unwrap();
            if stream.position().is_some() {
                return;
            }
        }
    }
}
