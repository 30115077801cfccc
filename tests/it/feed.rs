//! Market data through the whole path: a certificate in, a subscription, and every message of the stream judged by
//! an oracle that shares no code with the server.

use std::collections::BTreeMap;

use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed};
use serde_json::{Value, json};

use crate::data::recorded;
use crate::harness::{Client, Pki, Server};
use crate::market::{QUIET, quiet, settle, trading};
use crate::oracle::{Line, Streams};

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";

/// What a subscriber saw of a whole day.
#[derive(Default)]
struct Day {
    streams: Streams,
    trades: u64,
    traded: u64,
    last_bbo: Value,
}

/// Reads until every one of `channels` is stale.
async fn whole_day(mut client: Client, channels: usize) -> Day {
    let mut day = Day::default();
    while day.streams.stale.len() < channels {
        let message = client.message().await;
        day.streams.take(&message);
        match message["type"].as_str().unwrap() {
            "trade" => {
                day.trades += 1;
                day.traded += message["qty"].as_str().unwrap().parse::<u64>().unwrap();
            }
            "bbo" => day.last_bbo = message,
            _ => {}
        }
    }
    day
}

fn line(price: &str, quantity: &str) -> (String, String) {
    (price.to_owned(), quantity.to_owned())
}

fn best(side: &[Line]) -> (String, String) {
    line(&side[0].price, &side[0].quantity)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_day_at_full_speed_arrives_whole_and_ends_in_the_exchanges_book() {
    let Some(path) = recorded(ESH4) else { return };
    let server = Server::start(|config| {
        let source =
            DbnSourceConfig { speed: Speed::Max, wait_for_subscribers: 4, ..DbnSourceConfig::new(path) };
        config.sources = vec![SourceConfig::Dbn(source)];
        // The file is replayed faster than anybody reads: nobody is to be thrown out for that here.
        config.limits.out_queue_bytes_max = 1 << 30;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    for channel in ["book", "trades", "bbo"] {
        let request = json!({"op": "subscribe", "id": channel, "channel": channel, "symbols": ["ESH4"]});
        alice.send(request.to_string()).await;
    }
    let mut carol = server.connect(&Pki::get().client("acme/carol")).await;
    let request = json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": ["ESH4"], "depth": 0});
    carol.send(request.to_string()).await;
    let (alice, carol) = (tokio::spawn(whole_day(alice, 3)), tokio::spawn(whole_day(carol, 1)));
    let (alice, carol) = (alice.await.unwrap(), carol.await.unwrap());

    assert_eq!((alice.trades, alice.traded), (2_973, 9_892));
    let (top, full) = (alice.streams.book("ESH4"), carol.streams.book("ESH4"));
    assert_eq!(best(&top.bids()), line("4810.00", "22"));
    assert_eq!(best(&top.asks()), line("4810.25", "28"));
    assert_eq!((&full.bids()[..10], &full.asks()[..10]), (&top.bids()[..], &top.asks()[..]));
    let quoted = |side: &str| alice.last_bbo[side].as_array().unwrap()[..2].to_vec();
    assert_eq!(
        (quoted("bid"), quoted("ask")),
        (vec!["4810.00".into(), "22".into()], vec!["4810.25".into(), "28".into()])
    );
    for book in [top, full] {
        let (deltas, checksums) = (book.chain.messages, book.checksums);
        println!("{deltas} deltas, {checksums} checksums, all of them the server's");
        // Every event that changes the book is one delta; of the 47,022 events some change nothing.
        assert!((20_000..47_022).contains(&deltas) && checksums > deltas / 100, "{deltas} {checksums}");
    }

    let ended = server.logged("source", |event| event.text("state") == "ended").await;
    let counts = ended.text("detail");
    for count in
        ["adds: 29216", "cancels: 17999", "modifies: 12233", "fills: 6371", "trades: 2973", "traded: 9892"]
    {
        assert!(counts.contains(count), "{count} is not in {counts}");
    }
    server.finish().await;
}

/// Takes messages until `deltas` of them were deltas, and notes the book at each sequence number.
async fn note_books(
    client: &mut Client,
    streams: &mut Streams,
    books: &mut BTreeMap<u64, (Vec<Line>, Vec<Line>)>,
    done: impl Fn(&BTreeMap<u64, (Vec<Line>, Vec<Line>)>) -> bool,
) {
    while !done(books) {
        streams.take(&client.message().await);
        if streams.has_book("SEAL") {
            let book = streams.book("SEAL");
            books.insert(book.chain.seq, book.levels());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_who_came_at_different_times_hold_the_same_book_at_every_depth() {
    let server = Server::start(|config| trading(config, &["SEAL"], 2_000)).await;
    for depth in [10, 50, 0] {
        let request =
            json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": ["SEAL"], "depth": depth});
        let mut early = (server.connect(&Pki::get().client("acme/alice")).await, Streams::default());
        let mut books_early = BTreeMap::new();
        early.0.send(request.to_string()).await;
        note_books(&mut early.0, &mut early.1, &mut books_early, |books| books.len() > 150).await;

        let mut late = (server.connect(&Pki::get().client("acme/carol")).await, Streams::default());
        let mut books_late = BTreeMap::new();
        late.0.send(request.to_string()).await;
        note_books(&mut late.0, &mut late.1, &mut books_late, |books| books.len() > 150).await;

        let last = *books_late.last_key_value().unwrap().0;
        note_books(&mut early.0, &mut early.1, &mut books_early, |books| books.contains_key(&last)).await;
        for (seq, book) in &books_late {
            assert_eq!(books_early.get(seq), Some(book), "depth {depth}: the books differ at {seq}");
        }
        let (bids, _) = &books_late[&last];
        assert!(
            if depth == 10 { bids.len() == 10 } else { bids.len() > 10 },
            "depth {depth}: {}",
            bids.len()
        );
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_unsubscribing_nothing_of_the_stream_comes() {
    let server = Server::start(|config| trading(config, &["SEAL"], 1_000)).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut streams = Streams::default();
    for channel in ["book", "bbo"] {
        let request = json!({"op": "subscribe", "id": channel, "channel": channel, "symbols": ["SEAL"]});
        alice.send(request.to_string()).await;
    }
    alice.send(r#"{"op":"unsubscribe","id":"over","channel":"book","symbols":["SEAL"]}"#).await;
    loop {
        let message = alice.message().await;
        streams.take(&message);
        if message["id"] == "over" {
            assert_eq!(message["type"], "ok", "{message}");
            break;
        }
    }
    streams.unsubscribed("book", "SEAL");
    let so_far = streams.of("bbo", "SEAL").messages;
    while streams.of("bbo", "SEAL").messages < so_far + 50 {
        streams.take(&alice.message().await);
    }
    let again = alice.error_of(r#"{"op":"unsubscribe","id":1,"channel":"book","symbols":["SEAL"]}"#).await;
    assert_eq!(again, "SF-SUB-011");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_again_with_another_depth_replaces_the_book() {
    let server = Server::start(|config| trading(config, &["SEAL"], 1_000)).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut streams = Streams::default();
    for depth in [10, 0, 50, 10] {
        let request =
            json!({"op": "subscribe", "id": depth, "channel": "book", "symbols": ["SEAL"], "depth": depth});
        alice.send(request.to_string()).await;
        let mut is_answered = false;
        while !is_answered || !streams.has_book("SEAL") || streams.book("SEAL").chain.messages < 120 {
            let message = alice.message().await;
            is_answered |= message["type"] == "subscribed";
            // Deltas of the old depth behind the reply, or two streams mixed, would break the chain or a checksum.
            streams.take(&message);
        }
        let levels = streams.book("SEAL").bids().len();
        assert!(if depth == 10 { levels == 10 } else { levels > 10 }, "depth {depth}: {levels} levels");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_streams_prove_their_silence_with_heartbeats() {
    let server = Server::start(|config| {
        quiet(config);
        config.feed.heartbeat_ms = 100;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut streams = Streams::default();
    settle(&mut alice, &mut streams).await;
    for channel in ["trades", "bbo"] {
        let request = json!({"op": "subscribe", "id": channel, "channel": channel, "symbols": [QUIET]});
        alice.send(request.to_string()).await;
    }
    let mut beats: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while beats.len() < 3 || beats.values().any(|times| times.len() < 4) {
        let message = alice.message().await;
        streams.take(&message);
        if message["type"] == "heartbeat" {
            let (channel, ts) = (message["channel"].as_str().unwrap(), message["ts"].as_str().unwrap());
            beats.entry(channel.to_owned()).or_default().push(ts.parse().unwrap());
        }
    }
    for (channel, times) in beats {
        for pair in times.windows(2) {
            assert!(pair[1] - pair[0] >= 100_000_000, "{channel}: {} ns apart", pair[1] - pair[0]);
        }
    }
    server.finish().await;
}
