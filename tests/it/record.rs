//! `sealfeed record`: the file is whole however the recording ends, holds what a JSON subscriber saw, and says where it has gaps.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use dbn::decode::{DbnDecoder, DbnMetadata as _, DecodeRecordRef as _};
use dbn::{InstrumentDefMsg, MboMsg, Mbp1Msg, Schema, TradeMsg};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{LIMIT, POLICY, Pki, Server, wait_until};
use crate::market::trading;

const EVERYTHING: &str = r#"
[[rule]]
name = "everything"
match = { firm = "acme" }
channels = ["trades", "bbo", "book", "mbo", "definition", "status"]
symbols = ["*"]
"#;

/// A recording in a process of its own.
fn record(address: SocketAddr, output: &Path, more: &[&str]) -> Command {
    let client = Pki::get().folder.join("clients/acme/alice");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
    command.args(["record", "--url", &format!("wss://localhost:{}/v1/feed", address.port())]);
    for (name, file) in [("--cert", "client.pem"), ("--key", "client.key"), ("--cacert", "ca.pem")] {
        command.arg(name).arg(client.join(file));
    }
    command
        .arg("-o")
        .arg(output)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for a process without keeping the runtime of the server from its work.
async fn ended(child: Child) -> (Option<i32>, String) {
    let output: Output =
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.stdout, b"", "data goes into the file");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn open(path: &Path) -> DbnDecoder<impl std::io::Read + use<>> {
    DbnDecoder::new(zstd::stream::read::Decoder::new(File::open(path).unwrap()).unwrap()).unwrap()
}

fn trades(path: &Path) -> Vec<TradeMsg> {
    let (mut decoder, mut trades) = (open(path), Vec::new());
    while let Some(record) = decoder.decode_record_ref().unwrap() {
        trades.extend(record.get::<TradeMsg>().cloned());
    }
    trades
}

/// What there is in a folder.
fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

async fn market(policy: &str) -> Server {
    Server::with_policy(policy, |config| trading(config, &["SEAL", "FEED"], 500)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_decodes_to_what_a_json_subscriber_saw() {
    let server = market(EVERYTHING).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    for channel in ["trades", "bbo"] {
        erin.request(json!({"op": "subscribe", "channel": channel, "symbols": ["SEAL", "FEED"]})).await;
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("seal.dbn.zst");
    let arguments = [
        "FEED",
        "SEAL",
        "--channel",
        "trades",
        "--channel",
        "bbo",
        "--channel",
        "definition",
        "--records",
        "400",
    ];
    let recording = record(server.address, &file, &arguments).spawn().unwrap();
    let ended = tokio::spawn(ended(recording));
    let mut seen: BTreeMap<(String, String, u64), Value> = BTreeMap::new();
    while !ended.is_finished() {
        let message = erin.message().await;
        let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
        if let Some(seq) = message["seq"].as_u64() {
            seen.insert((text("channel"), text("symbol"), seq), message);
        }
    }
    let (code, said) = ended.await.unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("400 records") && said.contains("0 gaps"), "{said}");

    holds_what_was_seen(&file, &seen);
    assert_eq!(names(folder.path()), [file]);
    server.finish().await;
}

/// Compares a file with the messages of a JSON subscriber, by channel, symbol and number.
fn holds_what_was_seen(file: &Path, seen: &BTreeMap<(String, String, u64), Value>) {
    let mut decoder = open(file);
    let metadata = decoder.metadata();
    assert_eq!((metadata.schema, metadata.ts_out, &metadata.dataset[..]), (None, false, "SEALFEED"));
    assert_eq!(metadata.symbols, ["FEED", "SEAL"]);
    let mappings: Vec<_> =
        metadata.mappings.iter().map(|one| (&one.raw_symbol[..], &one.intervals[0].symbol[..])).collect();
    assert_eq!(mappings, [("FEED", "1"), ("SEAL", "2")]);
    let (mut compared, mut last, mut definitions, mut records) = (0, BTreeMap::new(), Vec::new(), 0);
    while let Some(record) = decoder.decode_record_ref().unwrap() {
        records += 1;
        let symbol = ["FEED", "SEAL"][usize::try_from(record.header().instrument_id).unwrap() - 1];
        let nanos = |value: &Value| value.as_str().map_or(i64::MAX, decimal);
        let mut compare = |channel: &str, sequence: u32, is_same: &dyn Fn(&Value) -> bool| {
            let before = last.insert((channel.to_owned(), symbol), sequence);
            assert!(
                before.is_none_or(|before| sequence == before + 1),
                "{channel} of {symbol}: {before:?}, {sequence}"
            );
            // The state at the beginning may have been published before erin subscribed, the last ones after she stopped.
            if let Some(message) = seen.get(&(channel.to_owned(), symbol.to_owned(), sequence.into())) {
                assert!(is_same(message), "{channel}: {message}");
                compared += 1;
            }
        };
        if let Some(trade) = record.get::<TradeMsg>() {
            compare("trades", trade.sequence, &|message| {
                let side = if trade.side.cast_unsigned() == b'B' { "buy" } else { "sell" };
                trade.price == nanos(&message["price"])
                    && message["qty"].as_str() == Some(&trade.size.to_string())
                    && message["side"] == side
                    && message["ts_event"].as_str() == Some(&trade.hd.ts_event.to_string())
            });
        } else if let Some(bbo) = record.get::<Mbp1Msg>() {
            compare("bbo", bbo.sequence, &|message| {
                bbo.levels[0].bid_px == nanos(&message["bid"][0])
                    && bbo.levels[0].ask_px == nanos(&message["ask"][0])
            });
        } else {
            let definition = record.get::<InstrumentDefMsg>().unwrap();
            assert_eq!(definition.raw_symbol().unwrap(), symbol);
            assert_eq!(definition.raw_instrument_id, u64::from(definition.hd.instrument_id));
            definitions.push(symbol);
        }
    }
    assert_eq!((records, definitions), (400, vec!["FEED", "SEAL"]));
    assert!(compared > 300, "{compared} of 400 records were compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_of_orders_begins_with_those_that_rest_and_goes_on_without_a_hole() {
    let server = market(EVERYTHING).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("orders.dbn.zst");
    let arguments = ["SEAL", "--channel", "mbo", "--records", "600"];
    let (code, said) = ended(record(server.address, &file, &arguments).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{said}");
    let (mut decoder, mut records) = (open(&file), Vec::new());
    while let Some(record) = decoder.decode_record_ref().unwrap() {
        records.push(record.get::<MboMsg>().unwrap().clone());
    }
    let behind = records.iter().position(|record| !record.flags.is_snapshot()).unwrap();
    let (snapshot, events) = records.split_at(behind);
    assert_eq!(snapshot[0].action().unwrap(), dbn::Action::Clear);
    assert!(snapshot.len() > 100, "the opening of the market rests: {} orders", snapshot.len());
    assert!(snapshot[1..].iter().all(|record| record.action().unwrap() == dbn::Action::Add));
    assert!(snapshot.iter().all(|record| record.sequence == snapshot[0].sequence));
    for (one, expected) in events.iter().zip(snapshot[0].sequence + 1..) {
        assert_eq!(one.sequence, expected);
    }
    assert_eq!(records.len(), 600);
    server.finish().await;
}

/// A decimal number of the wire in 1e-9.
fn decimal(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<9}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_whole_after_a_time_or_a_signal_and_never_overwritten_unasked() {
    let server = market(EVERYTHING).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.dbn.zst");
    let run = async |more: &[&str]| {
        let arguments = [&["SEAL", "--channel", "trades"], more].concat();
        ended(record(server.address, &file, &arguments).spawn().unwrap()).await
    };
    let (code, said) = run(&["--for", "300ms"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(open(&file).metadata().schema, Some(Schema::Trades));
    let first = std::fs::read(&file).unwrap();
    let (code, said) = run(&["--for", "300ms"]).await;
    assert!(code == Some(73) && said.contains("SF-CLI-003"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), first);
    let (code, said) = run(&["--records", "3", "--force"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(trades(&file).len(), 3);

    for signal in [Signal::INT, Signal::TERM] {
        let child =
            record(server.address, &file, &["SEAL", "--channel", "trades", "--force"]).spawn().unwrap();
        // The temporary file is there once it records.
        assert!(wait_until(LIMIT, || names(folder.path()).len() == 2).await);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (code, said) = ended(child).await;
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(trades(&file).len(), count(&said), "{said}");
    }
    let nowhere = folder.path().join("none/a.dbn.zst");
    let (code, said) = ended(record(server.address, &nowhere, &["SEAL"]).spawn().unwrap()).await;
    assert!(code == Some(73) && said.contains("SF-CLI-004"), "{said}");
    for (wrong, code_of) in [
        (&["SEAL", "SEAL", "--force"][..], "SF-CLI-005"),
        (&["SEAL", "--force", "--channel", "bbo", "--channel", "bbo"], "SF-CLI-005"),
        (&["SEAL", "--force", "--channel", "trades", "--conflate-ms", "100"], "SF-CLI-005"),
        (&["SEAL", "--force", "--for", "0s"], "length of time"),
    ] {
        let (code, said) = ended(record(server.address, &file, wrong).spawn().unwrap()).await;
        assert!(code == Some(2) && said.contains(code_of), "{wrong:?}: {said}");
    }
    assert_eq!(names(folder.path()), [file], "nothing else is left");
    server.finish().await;
}

/// Records that the last line says there are.
fn count(said: &str) -> usize {
    let line = said.lines().last().unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap_or_else(|_| panic!("{said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_entitled_is_not_recorded() {
    let server = market(POLICY).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.dbn.zst");
    let (code, said) =
        ended(record(server.address, &file, &["SEAL", "--channel", "mbo"]).spawn().unwrap()).await;
    assert!(code == Some(4) && said.contains("SF-SUB-004"), "{code:?} {said}");
    assert!(names(folder.path()).is_empty());
    server.finish().await;
}

/// The way to a server that can be cut, and led to another one.
struct Proxy {
    address: SocketAddr,
    /// Where connections go; each change cuts those there are.
    to: watch::Sender<Option<SocketAddr>>,
}

impl Proxy {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, changes) = watch::channel(Some(server));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut changes = changes.clone();
                let Some(server) = *changes.borrow_and_update() else { continue };
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = changes.changed() => {}
                    }
                });
            }
        });
        Self { address, to }
    }
}

/// A line that a process says, while it goes on.
async fn said(lines: &Arc<parking_lot::Mutex<String>>, words: &str) {
    assert!(wait_until(LIMIT, || lines.lock().contains(words)).await, "{}", lines.lock());
}

/// Collects what a process says on standard error.
fn listen(child: &mut Child) -> Arc<parking_lot::Mutex<String>> {
    let lines = Arc::new(parking_lot::Mutex::new(String::new()));
    let (stderr, heard) = (child.stderr.take().unwrap(), Arc::clone(&lines));
    std::thread::spawn(move || {
        use std::io::BufRead as _;
        for line in std::io::BufReader::new(stderr).lines().map_while(Result::ok) {
            *heard.lock() += &(line + "\n");
        }
    });
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_cut_is_made_again_and_leaves_no_seam() {
    let server = market(EVERYTHING).await;
    let proxy = Proxy::to(server.address).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.dbn.zst");
    let mut child =
        record(proxy.address, &file, &["SEAL", "--channel", "trades", "--channel", "bbo"]).spawn().unwrap();
    let lines = listen(&mut child);
    assert!(wait_until(LIMIT, || names(folder.path()).len() == 1).await);
    for _ in 0..2 {
        let before = lines.lock().matches("connected again").count();
        proxy.to.send_replace(Some(server.address));
        assert!(wait_until(LIMIT, || lines.lock().matches("connected again").count() > before).await);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, _) = ended_quietly(child).await;
    said(&lines, " records in").await;
    assert_eq!(code, Some(0), "{}", lines.lock());
    let numbers: Vec<u32> = trades(&file).iter().map(|trade| trade.sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    server.finish().await;
}

async fn ended_quietly(mut child: Child) -> (Option<i32>, ()) {
    tokio::task::spawn_blocking(move || (child.wait().unwrap().code(), ())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_no_longer_has_is_a_gap_and_a_server_that_stays_away_ends_the_file() {
    let first = market(EVERYTHING).await;
    let proxy = Proxy::to(first.address).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.dbn.zst");
    let arguments = ["SEAL", "--channel", "trades", "--records", "1000000"];
    let mut child = record(proxy.address, &file, &arguments).spawn().unwrap();
    let lines = listen(&mut child);
    assert!(wait_until(LIMIT, || names(folder.path()).len() == 1).await);
    // Another run of the server: its streams have another epoch.
    let second = market(EVERYTHING).await;
    proxy.to.send_replace(Some(second.address));
    said(&lines, "connected again").await;
    assert_eq!(lines.lock().matches("SF-CLI-001").count(), 1, "{}", lines.lock());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, ()) = ended_quietly(child).await;
    assert_eq!(code, Some(7), "{}", lines.lock());
    said(&lines, "1 gaps").await;
    trades(&file);

    let other = folder.path().join("b.dbn.zst");
    let arguments = ["SEAL", "--channel", "trades", "--reconnect-for", "300ms"];
    let mut child = record(proxy.address, &other, &arguments).spawn().unwrap();
    let lines = listen(&mut child);
    assert!(wait_until(LIMIT, || names(folder.path()).len() == 2).await);
    proxy.to.send_replace(None);
    let (code, ()) = ended_quietly(child).await;
    said(&lines, "SF-CLI-002").await;
    assert_eq!(code, Some(3), "{}", lines.lock());
    trades(&other);
    first.finish().await;
    second.finish().await;
}
