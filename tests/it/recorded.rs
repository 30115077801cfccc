//! Recordings of exchanges through the whole server, over mutual TLS: what a client holds is what the exchange's own checksums say.

use std::collections::HashMap;
use std::io::Write;

use sealfeed::config::{MessagesSourceConfig, SourceConfig, Speed};
use serde_json::{Value, json};

use crate::data::recorded;
use crate::harness::{Pki, Server};
use crate::oracle::{NaiveBook, Streams};

const KRAKEN: &str = "KRAKEN.ws.50.0";

/// What the exchange said of one instrument, in order.
#[derive(Default)]
struct Told {
    /// Decimals that it writes prices and quantities with.
    decimals: (usize, usize),
    checksums: Vec<u32>,
    /// How many of them the client's book has come to.
    met: usize,
}

fn told(path: &std::path::Path) -> HashMap<String, Told> {
    let mut told: HashMap<String, Told> = HashMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let Some(message) =
            line.split_once(": ").and_then(|(_, text)| serde_json::from_str::<Value>(text).ok())
        else {
            continue;
        };
        let Some(parts) = message.as_array() else { continue };
        let one = told.entry(parts.last().unwrap().as_str().unwrap().to_owned()).or_default();
        let places =
            |text: &Value| text.as_str().unwrap().split_once('.').map_or(0, |(_, places)| places.len());
        if let Some(level) = parts[1]["as"].get(0) {
            one.decimals = (places(&level[0]), places(&level[1]));
        }
        one.checksums.extend(
            parts.iter().filter_map(|part| part["c"].as_str()).map(|text| text.parse::<u32>().unwrap()),
        );
    }
    told
}

/// Kraken's rule over a client's book: our texts, filled up with the zeros that Kraken writes.
fn kraken_checksum(book: &NaiveBook, (price_decimals, qty_decimals): (usize, usize)) -> u32 {
    let (bids, asks) = book.top(10);
    let mut digits = String::new();
    for line in asks.into_iter().chain(bids) {
        for (text, decimals) in [(&line.price, price_decimals), (&line.quantity, qty_decimals)] {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let number = format!("{whole}{fraction:0<decimals$}");
            digits.push_str(number.trim_start_matches('0'));
        }
    }
    crc32fast::hash(digits.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_books_meet_every_checksum_of_kraken_in_order() {
    let Some(path) = recorded(KRAKEN) else { return };
    let mut told = told(&path);
    let symbols: Vec<String> = told.keys().cloned().collect();
    let server = Server::start(|config| {
        let source = MessagesSourceConfig {
            speed: Speed::Max,
            wait_for_subscribers: 10,
            ..MessagesSourceConfig::new(path)
        };
        config.sources = vec![SourceConfig::Kraken(source)];
        config.limits.out_queue_bytes_max = 1 << 30;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let request = json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": symbols, "depth": 0});
    alice.send(request.to_string()).await;
    let mut streams = Streams::default();
    let mut deltas = 0;
    while streams.stale.len() < 10 {
        let message = alice.message().await;
        streams.take(&message);
        if message["type"] != "delta" {
            continue;
        }
        deltas += 1;
        let symbol = message["symbol"].as_str().unwrap();
        let one = told.get_mut(symbol).unwrap();
        let computed = kraken_checksum(streams.book(symbol), one.decimals);
        if streams.book(symbol).chain.messages == 1 {
            // The snapshot, which has none.
            continue;
        }
        // An update that says what was so already has no delta, and the checksum of the one before it.
        while one.met > 0
            && one.checksums[one.met] != computed
            && one.checksums[one.met] == one.checksums[one.met - 1]
        {
            one.met += 1;
        }
        assert_eq!(one.checksums[one.met], computed, "{symbol}: update {}", one.met);
        one.met += 1;
    }
    let met: usize = told.values().map(|one| one.met).sum();
    let all: usize = told.values().map(|one| one.checksums.len()).sum();
    println!("{deltas} deltas, {met} of {all} checksums of the exchange met");
    assert_eq!(all, 4_269);
    // Behind the last delta of a book there may be updates that changed nothing.
    for (symbol, one) in &told {
        assert!(one.checksums[one.met..].iter().all(|rest| *rest == one.checksums[one.met - 1]), "{symbol}");
    }
    let ended = server.logged("source", |event| event.text("state") == "ended").await;
    assert!(ended.text("detail").contains("checksums: 4269"), "{}", ended.text("detail"));
    server.finish().await;
}

fn snapshot(bid: &str) -> String {
    format!(r#"[1,{{"as":[["9.0","1.0","1.0"]],"bs":[["{bid}","1.0","1.0"]]}},"book-10","A/B"]"#)
}

fn update(bid: &str, quantity: &str, digits: &str) -> String {
    let checksum = crc32fast::hash(digits.as_bytes());
    format!(r#"[1,{{"b":[["{bid}","{quantity}","2.0"]],"c":"{checksum}"}},"book-10","A/B"]"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_breaks_its_exchanges_rule_is_stale_for_its_readers_and_sealed_as_that() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let lines = [
        snapshot("2.0"),
        update("2.0", "1.5", "90102015"),
        update("2.0", "7.7", "not this book"),
        update("2.0", "1.6", "90102016"),
        snapshot("3.0"),
        update("3.0", "1.5", "90103015"),
    ];
    for (second, line) in lines.iter().enumerate() {
        writeln!(file, "{second}.0: {line}").unwrap();
    }
    let path = file.path().to_owned();
    let server = Server::start(|config| {
        let source = MessagesSourceConfig {
            speed: Speed::Max,
            wait_for_subscribers: 1,
            ..MessagesSourceConfig::new(path)
        };
        config.sources = vec![SourceConfig::Kraken(source)];
    })
    .await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    alice.send(r#"{"op":"subscribe","id":1,"channel":"book","symbols":["A/B"]}"#).await;
    let (mut streams, mut kinds, mut bids) = (Streams::default(), Vec::new(), Vec::new());
    while kinds.iter().filter(|kind| *kind == "stale").count() < 2 {
        let message = alice.message().await;
        streams.take(&message);
        kinds.push(message["type"].as_str().unwrap().to_owned());
        if message["type"] == "delta" {
            let (best, _) = streams.book("A/B").top(1);
            bids.push(format!("{}x{}", best[0].price, best[0].quantity));
        }
    }
    kinds.retain(|kind| kind != "heartbeat");
    assert_eq!(kinds, ["subscribed", "snapshot", "delta", "delta", "stale", "delta", "delta", "stale"]);
    assert_eq!(bids, ["2x1.0", "2x1.5", "3x1.0", "3x1.5"], "7.7 and 1.6 were never seen");
    let stale = server.logged("source", |event| event.text("state") == "stale").await;
    assert!(stale.text("detail").starts_with("A/B: SF-PUB-001 record 3:"), "{}", stale.text("detail"));
    let whole = server.logged("source", |event| event.text("state") == "whole").await;
    assert_eq!(whole.text("detail"), "A/B");
    server.finish().await;
}
