//! The tape: what was published is recorded, linked from the audit log, exported as others read it, and tells how a book stood.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::dbn::decode::{DbnDecoder, DbnMetadata as _, DecodeRecord as _};
use ::dbn::{MboMsg, RecordHeader, Schema, WithTsOut, flags, rtype};
use rustix::process::Signal;
use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed, tape_directory};
use sealfeed_audit::TapeLink;
use sealfeed_audit::reader::entries;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::recorded;
use crate::harness::{Pki, Server, frame_text};
use crate::market::{QUIET, limit, quiet, settle};
use crate::oracle::Streams;
use crate::process::{ServerProcess, configure, connect, public_key, run, verify};

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";
const BRISK: &str = r#"
    checkpoint_ms = 20
    [tape]
    block_ms = 10
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 500
"#;

/// Links to the tape that stand in a log, each with its reason.
fn links(log: &Path) -> Vec<TapeLink> {
    let all = entries(log).unwrap().map(Result::unwrap);
    let links = all.filter(|entry| entry.header.kind == sealfeed_audit::kind::TAPE_LINK);
    links.map(|entry| TapeLink::from_payload(&entry.payload).unwrap()).collect()
}

/// Opens a DBN file as DBN's own decoder reads it.
fn open(path: &Path) -> DbnDecoder<impl std::io::Read> {
    let file = std::fs::File::open(path).unwrap();
    DbnDecoder::new(zstd::stream::read::Decoder::new(file).unwrap()).unwrap()
}

fn export(tape: &Path, output: &Path, more: &[&str]) -> String {
    let arguments = ["tape", "export", tape.to_str().unwrap(), "-o", output.to_str().unwrap()];
    let output = run(&[&arguments[..], more].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

fn info(tape: &Path) -> Value {
    let output = run(&["tape", "info", "--json", tape.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A server that has replayed the recording as fast as it could, and was stopped.
async fn replayed(path: PathBuf) -> (TempDir, PathBuf) {
    let server = Server::start(|config| {
        let source = DbnSourceConfig { speed: Speed::Max, ..DbnSourceConfig::new(path) };
        config.sources = vec![SourceConfig::Dbn(source)];
    })
    .await;
    server.logged("source", |source| source.text("state") == "ended").await;
    let tape = tape_directory(&server.log());
    let (_, folder) = server.finish().await;
    (folder, tape)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_was_replayed_is_exported_record_for_record() {
    let Some(path) = recorded(ESH4) else { return };
    let (folder, tape) = replayed(path.clone()).await;
    let file = folder.path().join("export.dbn.zst");
    let said = export(&tape, &file, &[]);
    assert!(said.contains("68792 records") && !said.contains("undefined"), "{said}");
    let mut original = open(&path);
    let mut exported = open(&file);
    let metadata = exported.metadata();
    assert_eq!((metadata.schema, metadata.ts_out), (Some(Schema::Mbo), true));
    assert_eq!(metadata.symbols, ["ESH4"]);
    assert_eq!(metadata.mappings[0].intervals[0].symbol, "1");
    let (mut actions, mut volume, mut before) = (BTreeMap::new(), 0, 0);
    while let Some(expected) = original.decode_record::<MboMsg>().unwrap() {
        let WithTsOut { rec, ts_out } =
            exported.decode_record::<WithTsOut<MboMsg>>().unwrap().unwrap().clone();
        // What the feed does not take from a recording: the publisher's numbers, flags but that an event ends, whose order traded.
        let is_trade = expected.action.cast_unsigned() == b'T';
        let expected = MboMsg {
            hd: RecordHeader::new::<WithTsOut<MboMsg>>(rtype::MBO, 0, 1, expected.hd.ts_event),
            flags: ::dbn::FlagSet::new(expected.flags.raw() & flags::LAST),
            channel_id: 0,
            order_id: if is_trade { 0 } else { expected.order_id },
            ts_in_delta: 0,
            sequence: 0,
            ..expected.clone()
        };
        assert_eq!(rec, expected);
        assert!(ts_out >= before && ts_out > rec.ts_recv);
        before = ts_out;
        let action = char::from(rec.action.cast_unsigned());
        *actions.entry(action).or_insert(0) += 1;
        if action == 'T' {
            volume += rec.size;
        }
    }
    assert!(exported.decode_record::<WithTsOut<MboMsg>>().unwrap().is_none());
    let expected = [('A', 29_216), ('C', 17_999), ('F', 6_371), ('M', 12_233), ('T', 2_973)];
    assert_eq!(actions, BTreeMap::from(expected));
    assert_eq!(volume, 9_892);
    checked_by_databento(&path, &file);
    a_part_begins_with_the_book_as_it_stood(&tape, &file, folder.path());
    assert!(!run(&["tape", "export", tape.to_str().unwrap(), "-o", file.to_str().unwrap()]).status.success());
    let info = info(&tape);
    assert_eq!(info["epochs"][0]["symbols"]["ESH4"], 68_792);
    assert_eq!(info["epochs"][0]["ended"], true);
}

/// The same comparison by Databento's own Python package, where `./test.sh` has put it.
fn checked_by_databento(original: &Path, exported: &Path) {
    let Some(python) = std::env::var_os("SEALFEED_DBN_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "SEALFEED_DBN_PYTHON names no Python with databento-dbn");
        // Straight to the stream: the test harness would keep a print of a passing test to itself.
        let line =
            "left out: the check by databento-dbn; SEALFEED_DBN_PYTHON may name a Python that has it\n";
        std::io::stderr().write_all(line.as_bytes()).ok();
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dbn/compare.py");
    let output = Command::new(python).arg("-B").arg(script).args([original, exported]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("68792 records are the same"), "{said}");
}

/// Half of the records, cut by time: what the first half leaves is what the snapshot says.
fn a_part_begins_with_the_book_as_it_stood(tape: &Path, whole: &Path, folder: &Path) {
    let mut decoder = open(whole);
    let (mut book, mut times) = (BTreeMap::new(), Vec::new());
    let mut records = Vec::new();
    while let Some(record) = decoder.decode_record::<WithTsOut<MboMsg>>().unwrap() {
        times.push(record.ts_out);
        records.push(record.clone());
    }
    let cut = times[times.len() / 2];
    let take = |book: &mut BTreeMap<u64, (i64, u32, u8)>, record: &MboMsg| {
        let now = (record.price, record.size, record.side.cast_unsigned());
        match record.action.cast_unsigned() {
            b'A' | b'M' => drop(book.insert(record.order_id, now)),
            b'C' => {
                if let Some((_, size, _)) = book.get_mut(&record.order_id) {
                    *size = size.saturating_sub(record.size);
                    if *size == 0 {
                        book.remove(&record.order_id);
                    }
                }
            }
            b'R' => book.clear(),
            _ => {}
        }
    };
    let (first, second) = records.split_at(times.partition_point(|time| *time < cut));
    first.iter().for_each(|record| take(&mut book, &record.rec));
    let part = folder.join("part.dbn.zst");
    export(tape, &part, &["--from", &cut.to_string(), "--symbol", "ESH4"]);
    let mut decoder = open(&part);
    let (mut snapshot, mut rest) = (BTreeMap::new(), Vec::new());
    while let Some(record) = decoder.decode_record::<WithTsOut<MboMsg>>().unwrap() {
        if record.rec.flags.is_snapshot() {
            assert!(rest.is_empty(), "snapshots stand at the beginning only");
            take(&mut snapshot, &record.rec);
        } else {
            rest.push(record.clone());
        }
    }
    assert!(snapshot == book && !book.is_empty());
    assert!(rest == second);
    let until = folder.join("until.dbn.zst");
    let said = export(tape, &until, &["--until", &cut.to_string()]);
    assert!(said.contains(&format!("{} records", first.len())), "{said}");
    let nothing = ["tape", "export", tape.to_str().unwrap(), "-o", "never", "--symbol", "NONE"];
    assert!(!run(&nothing).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_shows_the_book_that_was_live_then() {
    let server = Server::start(quiet).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let mut streams = Streams::default();
    settle(&mut bob, &mut streams).await;
    let mut moments = Vec::new();
    for number in 0..12 {
        let (side, price) = if number % 2 == 0 { ("buy", "1.01") } else { ("sell", "999.01") };
        let body = limit(&format!("o-{number}"), side, price, "1", "day");
        let signed = bob.sign(SignedOp::OrderNew, &body.to_string());
        bob.send(frame_text(1_000 + number, &signed)).await;
        // The book's change is published with the time at which it was.
        let published = loop {
            let message = bob.message().await;
            streams.take(&message);
            if message["type"] == "delta" && message["symbol"] == QUIET {
                break message["ts_out"].as_str().unwrap().to_owned();
            }
        };
        moments.push((published, streams.book(QUIET).levels()));
    }
    let log = server.log();
    drop(bob);
    let (_, _folder) = server.finish().await;
    for (time, (bids, asks)) in moments {
        let output = run(&["audit", "at", &time, "--principal", "acme/bob", log.to_str().unwrap(), "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let book = &found["books"]["symbols"][QUIET];
        for (side, expected) in [("bids", bids), ("asks", asks)] {
            let expected: Vec<Value> =
                expected.iter().map(|line| json!([line.price, line.quantity, line.orders])).collect();
            assert_eq!(book[side], json!(expected), "{side} at {time}");
        }
    }
    let shown =
        run(&["audit", "at", "2100-01-01T00:00:00Z", "--principal", "acme/bob", log.to_str().unwrap()]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("books as published at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_vouches_for_the_tape_from_its_start_to_its_end_and_a_crash_costs_only_the_epoch() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, BRISK);
    let (log, tape) = (folder.path().join("log"), folder.path().join("log.tape"));
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM] {
        let server = ServerProcess::start(&config).unwrap();
        let mut carol = connect(server.address, &Pki::get().client("acme/carol")).await;
        carol.request(json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL"]})).await;
        let mut trades = 0;
        while trades < 20 {
            trades += u64::from(carol.message().await["type"] == "trade");
        }
        // Some of it is on the tape, and linked, before it ends.
        let before = links(&log).len();
        while links(&log).len() == before && signal == Signal::KILL && before < 3 {
            carol.message().await;
        }
        server.signal(signal);
        let ended = server.wait();
        assert_eq!(ended.status.code(), (signal == Signal::TERM).then_some(0), "{ended:?}");
    }
    let (log_key, tape_key) = (public_key(&log), public_key(&tape));
    let linked = verify(&log, &["--key", &log_key, "--tape", tape.to_str().unwrap()]);
    assert!(matches!(linked.word(), "VERIFIED" | "RECOVERED"), "{linked:?}");
    assert_eq!(linked.report["tape"]["links_unchecked"], 0);
    let own = verify(&tape, &["--key", &tape_key]);
    assert!(matches!(own.word(), "VERIFIED" | "RECOVERED"), "{own:?}");
    assert_eq!(own.report["entries"], linked.report["tape"]["size"], "the last link covers all of it");
    let reasons: Vec<String> = links(&log).into_iter().map(|link| link.reason).collect();
    assert_eq!((reasons.first().unwrap().as_str(), reasons.last().unwrap().as_str()), ("start", "stopped"));
    assert_eq!(reasons.iter().filter(|reason| *reason == "stopped").count(), 2, "{reasons:?}");
    let info = info(&tape);
    let ended: Vec<&Value> = info["epochs"].as_array().unwrap().iter().map(|run| &run["ended"]).collect();
    assert_eq!(
        ended,
        [&json!(false), &json!(true)],
        "the second run went on with the epoch of the first, and was killed"
    );
    let cut = tape.join("segments");
    let mut segments: Vec<_> = std::fs::read_dir(&cut).unwrap().map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    std::fs::remove_file(segments.last().unwrap()).unwrap();
    let short = verify(&log, &["--key", &log_key, "--tape", tape.to_str().unwrap()]);
    assert_eq!((short.word(), short.code), ("TRUNCATED", 21));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tape_nothing_is_recorded_and_a_moment_says_so() {
    let server = Server::start(|config| config.tape.enabled = false).await;
    let log = server.log();
    let (_, _folder) = server.finish().await;
    assert!(!tape_directory(&log).exists() && links(&log).is_empty());
    let shown =
        run(&["audit", "at", "2100-01-01T00:00:00Z", "--principal", "acme/bob", log.to_str().unwrap()]);
    assert!(shown.status.success());
    assert!(String::from_utf8(shown.stdout).unwrap().contains("there is no tape"));
}
