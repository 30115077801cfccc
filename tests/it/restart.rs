//! Numbers across a restart: they go on exactly where the tape holds all that was published, and begin anew in every other case.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use sealfeed::config::{
    Config, PublishedInstrumentConfig, PublisherSourceConfig, Shows, SourceConfig, tape_directory,
};
use sealfeed_wire::{Decimals, SignedOp, Symbol};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::recorded;
use crate::harness::{Client, POLICY, Pki, Server};
use crate::market::{QUIET, limit, quiet};
use crate::process::{ServerProcess, configure, connect, replay};

const BRISK: &str = r#"
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 500
"#;

/// One run of the server: what its trades are numbered from, to, and in which epoch; of `SEAL`.
async fn run(config: &Path, signal: Signal) -> (Value, u64, u64) {
    let server = ServerProcess::start(config).unwrap();
    let mut carol = connect(server.address, &Pki::get().client("acme/carol")).await;
    let reply = carol.request(json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL"]})).await;
    let stream = &reply["symbols"]["SEAL"];
    let (epoch, first) = (stream["epoch"].clone(), stream["seq"].as_u64().unwrap());
    let mut last = first;
    while last < first + 5 {
        let message = carol.message().await;
        if message["type"] == "trade" {
            last = message["seq"].as_u64().unwrap();
        }
    }
    server.signal(signal);
    let (_, messages) = carol.ended().await;
    let trades = messages.iter().filter(|message| message["type"] == "trade");
    last = trades.filter_map(|trade| trade["seq"].as_u64()).fold(last, u64::max);
    server.wait();
    (epoch, first, last)
}

fn epochs(config: &Path) -> Vec<String> {
    let log = config.with_file_name("log");
    let entries = replay(&log, &["--kind", "config"]);
    let said = entries.iter().filter(|entry| entry["event"]["what"] == "epoch");
    said.map(|entry| entry["event"]["summary"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clean_stop_the_numbers_go_on_and_after_a_kill_they_begin_anew() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, BRISK);
    let first = run(&config, Signal::TERM).await;
    let second = run(&config, Signal::KILL).await;
    assert_eq!(first.0, second.0, "the epoch goes on");
    assert!(second.1 >= first.2, "no number is given out twice: {first:?} {second:?}");
    let third = run(&config, Signal::TERM).await;
    assert_ne!(second.0, third.0, "nobody knows what the killed run published last");
    let said = epochs(&config);
    assert!(
        said[0].contains("begins") && said[1].contains("goes on") && said[2].contains("begins"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_the_tape_or_with_another_tape_between_ends_the_epoch() {
    let folder = TempDir::new().unwrap();
    let with = configure(folder.path(), &Pki::get().folder, BRISK);
    let text = fs::read_to_string(&with).unwrap();
    let without = folder.path().join("without.toml");
    fs::write(&without, text + "\n[tape]\nenabled = false\n").unwrap();
    let tape = folder.path().join("log.tape");
    let kept = folder.path().join("kept");
    let first = run(&with, Signal::TERM).await;
    copy(&tape, &kept);
    let second = run(&without, Signal::TERM).await;
    assert_ne!(first.0, second.0, "without a tape there is no knowing");
    let third = run(&with, Signal::TERM).await;
    assert_ne!(first.0, third.0, "what was published in between is not on the tape");
    assert_ne!(second.0, third.0);
    // The tape as it was after the first run: whole, and not the one that the audit log speaks of.
    fs::rename(&tape, folder.path().join("away")).unwrap();
    copy(&kept, &tape);
    let fourth = run(&with, Signal::TERM).await;
    assert!(fourth.0 != first.0 && fourth.0 != third.0, "a copy put back is no continuation");
    fs::rename(&tape, folder.path().join("gone")).unwrap();
    fs::remove_dir_all(folder.path().join("log.tape.escrow")).unwrap();
    let fifth = run(&with, Signal::TERM).await;
    assert_ne!(fifth.0, fourth.0, "a new tape holds nothing of the run before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tape_that_was_damaged_at_its_end_ends_the_epoch_or_forbids_to_start() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, BRISK);
    let first = run(&config, Signal::TERM).await;
    let segments = folder.path().join("log.tape/segments");
    let mut files: Vec<PathBuf> = fs::read_dir(&segments).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    let last = files.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end / 2] ^= 1;
    fs::write(last, &bytes).unwrap();
    match ServerProcess::start(&config) {
        Err(ended) => assert_eq!(ended.status.code(), Some(71), "{ended:?}"),
        Ok(server) => {
            server.signal(Signal::TERM);
            server.wait();
            assert!(epochs(&config).last().unwrap().contains("begins"), "{first:?}");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The stream's place in the reply to a subscription, and its present state if it has one.
async fn subscribe(client: &mut Client, channel: &str, symbol: &str) -> (Value, Value) {
    let request = json!({"op": "subscribe", "channel": channel, "symbols": [symbol]});
    let reply = client.request(request).await;
    let stream = reply["symbols"][symbol].clone();
    assert!(stream.is_object(), "{reply}");
    let state = if channel == "trades" { Value::Null } else { client.message().await };
    (stream, state)
}

const ERIN: &str = "acme/erin";

fn publisher(config: &mut Config) {
    publisher_of(&["IDX"], config);
}

fn publisher_of(symbols: &[&str], config: &mut Config) {
    let instrument = |symbol: &&str| PublishedInstrumentConfig {
        symbol: Symbol::new(symbol).unwrap(),
        shows: Shows::Book,
        price_decimals: Decimals::new(2).unwrap(),
        qty_decimals: Decimals::new(0).unwrap(),
    };
    config.sources = vec![SourceConfig::Publisher(PublisherSourceConfig {
        principal: ERIN.to_owned(),
        instruments: symbols.iter().map(instrument).collect(),
        stall_ms: 0,
    })];
}

#[tokio::test(flavor = "multi_thread")]
async fn the_book_of_a_publisher_goes_on_as_it_stood_stale_until_it_begins_afresh() {
    let policy = format!(
        "{POLICY}\n[[rule]]\nname = \"index\"\nmatch = {{ firm = \"acme\", user = \"erin\" }}\n\
         [rule.publish]\nsymbols = [\"IDX\"]\n"
    );
    let server = Server::with_policy(&policy, publisher).await;
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    let (before, _) = subscribe(&mut erin, "book", "IDX").await;
    let body = r#"{"pub_seq":1,"symbol":"IDX","messages":[{"type":"snapshot","ts_event":"7","bids":[["99.5","3",1]],"asks":[["100","4",0]]}]}"#;
    assert_eq!(erin.order(SignedOp::Publish, body).await["type"], "ok");
    drop(erin);
    let (_, folder) = server.finish().await;

    let server = Server::try_start(folder, &policy, publisher).await.unwrap();
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    let (after, state) = subscribe(&mut erin, "book", "IDX").await;
    assert_eq!(before["epoch"], after["epoch"]);
    assert_eq!(after["seq"].as_u64(), before["seq"].as_u64().map(|seq| seq + 1), "one message: the snapshot");
    assert_eq!((&state["type"], &state["bids"]), (&json!("snapshot"), &json!([["99.50", "3", 1]])));
    assert_eq!(erin.message().await["type"], "stale");
    let delta = r#"{"pub_seq":2,"symbol":"IDX","messages":[{"type":"delta","ts_event":"8","bids":[["99.5","0",0]],"asks":[]}]}"#;
    assert_eq!(erin.order(SignedOp::Publish, delta).await["code"], "SF-PUB-005");
    // Conflated streams and bars are not on the tape: their numbers never pass for those of the run before.
    let request = json!({"op": "subscribe", "channel": "book", "symbols": ["IDX"], "conflate_ms": 100});
    let conflated = erin.request(request).await["symbols"]["IDX"].clone();
    assert_ne!(conflated["epoch"], after["epoch"]);
    drop(erin);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_followed_at_the_stop_is_kept_in_memory_from_the_start_on() {
    let policy = format!(
        "{POLICY}\n[[rule]]\nname = \"index\"\nmatch = {{ firm = \"acme\", user = \"erin\" }}\n\
         [rule.publish]\nsymbols = [\"*\"]\n"
    );
    let symbols: Vec<String> = (0..20).map(|number| format!("IDX{number}")).collect();
    let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let snapshot = |number: u64, symbol: &str, bid: &str| {
        let message = json!({"type": "snapshot", "ts_event": "7", "bids": [[bid, "3", 1]], "asks": []});
        json!({"pub_seq": number, "symbol": symbol, "messages": [message]}).to_string()
    };
    let publish = |config: &mut Config| {
        publisher_of(&names, config);
        config.feed.resume_keep_ms = 3_600_000;
    };
    let server = Server::with_policy(&policy, publish).await;
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut request = json!({"op": "subscribe", "channel": "book", "symbols": names});
    alice.request(request.clone()).await;
    let mut resume = serde_json::Map::new();
    for symbol in &names {
        let reply = erin.order(SignedOp::Publish, &snapshot(1, symbol, "99.5")).await;
        assert_eq!(reply["type"], "ok", "{reply}");
        let delta = alice.message_where(|message| message["type"] == "delta").await;
        assert_eq!(delta["symbol"], *symbol);
        resume.insert((*symbol).to_owned(), json!({"epoch": delta["epoch"], "seq": delta["seq"]}));
    }
    drop((erin, alice));
    let (_, folder) = server.finish().await;

    let server = Server::try_start(folder, &policy, publish).await.unwrap();
    let mut erin = server.connect(&Pki::get().client(ERIN)).await;
    for symbol in &names {
        let reply = erin.order(SignedOp::Publish, &snapshot(2, symbol, "99.6")).await;
        assert_eq!(reply["type"], "ok", "{reply}");
    }
    // Of one session, sixteen streams are read from the tape at a time: these are more.
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    request["resume"] = resume.into();
    let reply = alice.request(request).await;
    let streams = reply["symbols"].as_object().unwrap();
    assert!(streams.len() == 20 && streams.values().all(|stream| stream["recovered"] == true), "{reply}");
    for symbol in &names {
        let delta = alice.message_where(|message| message["type"] == "delta").await;
        assert_eq!((&delta["symbol"], &delta["bids"][0][0]), (&json!(symbol), &json!("99.60")), "{delta}");
    }
    drop((erin, alice));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_venue_goes_on_with_what_clients_left_and_readers_see_the_synthetic_markets_orders_go() {
    let server = Server::start(quiet).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let body = limit("rests", "buy", "1.00", "1", "day").to_string();
    assert_eq!(bob.order(SignedOp::OrderNew, &body).await["status"], "accepted");
    let (book, _) = subscribe(&mut bob, "book", QUIET).await;
    let reports = bob.request(json!({"op": "subscribe", "channel": "orders", "symbols": ["*"]})).await;
    drop(bob);
    let (_, folder) = server.finish().await;
    let before = tape_books(&folder.path().join("log"));
    assert!(before > 0, "the book was not empty at the end");

    let server = Server::try_start(folder, POLICY, quiet).await.unwrap();
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let (again, state) = subscribe(&mut bob, "book", QUIET).await;
    assert_eq!(again["epoch"], book["epoch"]);
    assert!(again["seq"].as_u64() >= book["seq"].as_u64(), "{again} {book}");
    let far = json!(["1.00", "1", 1]);
    assert_eq!((&state["bids"], &state["asks"]), (&json!([far]), &json!([])), "nothing else yet: {state}");
    let private = bob.request(json!({"op": "subscribe", "channel": "orders", "symbols": ["*"]})).await;
    assert_eq!(private["symbols"]["*"], reports["symbols"]["*"], "reports go on where they were");
    drop(bob);
    server.finish().await;
}

/// Resting orders in the last keyframe of the tape beside this log.
fn tape_books(log: &Path) -> usize {
    use sealfeed::feed::tape::{Item, Position, Reader};
    let time = Position::Time(sealfeed::types::UnixNanos(u64::MAX));
    let mut reader = Reader::open(&tape_directory(log), time).unwrap();
    match reader.next().unwrap() {
        Some(Item::Keyframe(keyframe)) => keyframe.events.len(),
        other => panic!("no keyframe: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_is_told_from_its_beginning_is_no_continuation() {
    let Some(path) = recorded("esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let folder = TempDir::new().unwrap();
    let source = format!("[[source]]\ntype = \"dbn\"\npath = {:?}\n{BRISK}", path.to_str().unwrap());
    let config = configure(folder.path(), &Pki::get().folder, &source);
    let first = run(&config, Signal::TERM).await;
    let second = run(&config, Signal::TERM).await;
    assert_ne!(first.0, second.0);
    assert!(epochs(&config)[1].contains("is a recording"), "{:?}", epochs(&config));
}
