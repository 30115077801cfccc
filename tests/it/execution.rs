//! A server's log, executed again: the venue gives the same outputs, and whatever was changed in the log shows where it was.

use std::fs;
use std::path::Path;

use sealfeed::execute::replay::{Divergence, How, Verdict, reexecute};
use sealfeed_audit::reader::{Entry, entries};
use sealfeed_audit::{Hash, SEGMENT_HEADER_BYTES, leaf_hash};
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Pki, Server, assert_executes_again};
use crate::market::trading;
use crate::process::run;

const EXECUTION: u16 = 268;
const ORDER: u16 = 266;
const ORDER_REFUSED: u16 = 267;
const SYNTHETIC: u16 = 272;

/// What `audit replay --execute` says of a log, and its exit code.
fn execute(log: &Path) -> (Value, Option<i32>) {
    let output = run(&["audit", "replay", "--execute", "--output", "json", log.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    (serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{said}")), output.status.code())
}

fn limit(name: &str, side: &str, price: &str, quantity: &str, tif: &str) -> String {
    json!({
        "cl_ord_id": name, "symbol": "SEAL", "side": side, "type": "limit", "qty": quantity, "price": price, "tif": tif,
    })
    .to_string()
}

/// The log of a server with a brisk market, in which clients traded, cancelled, were refused and vanished.
async fn busy() -> TempDir {
    let server = Server::start(|config| {
        trading(config, &["SEAL", "FEED"], 2_000);
        config.orders.state_hash_inputs = 100;
    })
    .await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    for number in 0..30 {
        let (name, gone) = (format!("b-{number}"), format!("e-{number}"));
        bob.order(SignedOp::OrderNew, &limit(&name, "buy", "1.00", "5", "day")).await;
        // At any price there is: it trades with whomever it meets.
        erin.order(SignedOp::OrderNew, &limit(&gone, "buy", "999.00", "3", "ioc")).await;
        if number % 2 == 0 {
            let cancel = json!({"cl_ord_id": format!("c-{number}"), "orig_cl_ord_id": name}).to_string();
            bob.order(SignedOp::OrderCancel, &cancel).await;
        }
    }
    // Too late: the venue's pipeline refuses what it took as an input.
    let late = json!({"cl_ord_id": "late", "orig_cl_ord_id": "e-0"}).to_string();
    let reply = erin.order(SignedOp::OrderCancel, &late).await;
    assert_eq!(reply["code"], "SF-ORD-037", "{reply}");
    drop(erin);
    server.logged("disconnect", |event| event.text("principal") == "acme/erin").await;
    bob.order(SignedOp::OrderNew, &limit("last", "buy", "999.00", "1", "day")).await;
    drop(bob);
    server.finish().await.1
}

fn read(log: &Path) -> Vec<Entry> {
    entries(log).unwrap().map(Result::unwrap).collect()
}

/// Where these entries stop being what the venue gives.
fn divergence(entries: &[Entry]) -> Divergence {
    match reexecute(entries.iter().cloned().map(Ok)).unwrap().verdict {
        Verdict::Diverged(found) => *found,
        other => panic!("{other:?}"),
    }
}

/// Writes the chain of the first segment anew behind changed entries, so that only what the entries say is changed: numbers,
/// links, hashes and checksums fit.
fn chain_again(segment: &Path, entries: &[Entry], change: impl Fn(u64, &mut Vec<u8>)) {
    let mut bytes = fs::read(segment).unwrap();
    let mut previous: Option<Hash> = None;
    for entry in entries {
        let start = usize::try_from(entry.offset).unwrap();
        let length = u32::from_le_bytes(bytes[start - 12..start - 8].try_into().unwrap());
        let end = start + usize::try_from(length).unwrap();
        let mut body = bytes[start..end].to_vec();
        change(entry.header.seq, &mut body);
        assert_eq!(body.len(), end - start);
        if let Some(previous) = previous {
            body[16..48].copy_from_slice(&previous);
        }
        previous = Some(leaf_hash(&body));
        bytes[end..end + 4].copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes[start..end].copy_from_slice(&body);
    }
    fs::write(segment, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_did_is_executed_again_byte_for_byte() {
    let folder = busy().await;
    let log = folder.path().join("log");
    let (report, code) = execute(&log);
    assert_eq!((&report["verdict"], code), (&json!("VERIFIED"), Some(0)), "{report}");
    let all = read(&log);
    let is_output = |entry: &&Entry| {
        let kind = entry.header.kind;
        kind == EXECUTION || (kind == ORDER_REFUSED && entry.header.order.is_some())
    };
    assert_eq!(report["outputs"], all.iter().filter(is_output).count());
    assert_eq!(report["states"], all.iter().filter(|entry| entry.header.kind == 11).count());
    assert!(report["states"].as_u64().unwrap() > 4 && report["inputs"].as_u64().unwrap() > 400, "{report}");
    assert_eq!((&report["runs"], &report["cut"]), (&json!(1), &json!(0)));

    let text = run(&["audit", "replay", "--execute", log.to_str().unwrap()]);
    assert!(String::from_utf8(text.stdout).unwrap().starts_with("VERIFIED: "));
    let filtered = run(&["audit", "replay", "--execute", "--kind", "order", log.to_str().unwrap()]);
    assert_eq!(filtered.status.code(), Some(2), "a part of the inputs cannot be executed");
    let nowhere = run(&["audit", "replay", "--execute", folder.path().to_str().unwrap()]);
    assert_eq!(nowhere.status.code(), Some(66));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_mutated_and_rechained_replay_diverges_at_that_seq() {
    let folder = busy().await;
    let log = folder.path().join("log");
    let all = read(&log);
    assert!(all.iter().all(|entry| entry.segment == 0), "one segment");
    let outputs: Vec<_> = all.iter().filter(|entry| entry.header.kind == EXECUTION).collect();
    let target = outputs[outputs.len() / 2];
    let segment = log.join("segments").join(sealfeed_audit::segment_name(0));
    let whole = fs::read(&segment).unwrap();
    assert!(whole.len() > SEGMENT_HEADER_BYTES);
    // The number of the report, at the end of the payload.
    chain_again(&segment, &all, |seq, body| {
        if seq == target.header.seq {
            *body.last_mut().unwrap() ^= 1;
        }
    });
    let (report, code) = execute(&log);
    assert_eq!((&report["verdict"], code), (&json!("DIVERGED"), Some(27)), "{report}");
    assert_eq!(report["first"]["seq"], target.header.seq, "{report}");
    assert_eq!(report["first"]["expected"]["payload"], sealfeed_audit::hex(&target.payload));
    let text = run(&["audit", "replay", "--execute", log.to_str().unwrap()]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.starts_with(&format!("DIVERGED at entry {}: the output differs", target.header.seq)),
        "{text}"
    );

    // Without the new chain the reader itself stops there, and says who can tell more.
    fs::write(&segment, &whole).unwrap();
    assert_executes_again(&log);
    let mut broken = whole;
    broken[usize::try_from(target.offset).unwrap() + 120] ^= 1;
    fs::write(&segment, broken).unwrap();
    let output = run(&["audit", "replay", "--execute", log.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("sealfeed audit verify"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_missing_too_many_or_out_of_order_is_found_where_it_is() {
    let folder = busy().await;
    let all = read(&folder.path().join("log"));
    let places: Vec<usize> = (0..all.len()).filter(|place| all[*place].header.kind == EXECUTION).collect();
    for place in places.iter().copied().step_by(7) {
        let seq = all[place].header.seq;
        let mut missing = all.clone();
        missing.remove(place);
        let found = divergence(&missing);
        assert!(found.seq > seq, "{found:?}");
        let due = &found.expected.as_ref().unwrap().payload;
        assert_eq!(
            (matches!(found.how, How::Missing | How::Output), due),
            (true, &all[place].payload),
            "{found:?}"
        );

        let mut twice = all.clone();
        twice.insert(place, all[place].clone());
        let found = divergence(&twice);
        assert_eq!(
            (found.seq >= seq, matches!(found.how, How::Extra | How::Output)),
            (true, true),
            "{found:?}"
        );

        let mut swapped = all.clone();
        let is_next = |entry: &Entry| matches!(entry.header.kind, 11 | ORDER | EXECUTION | SYNTHETIC);
        let Some(next) = all[place + 1..].iter().position(is_next) else { continue };
        swapped.swap(place, place + 1 + next);
        let found = divergence(&swapped);
        assert!(found.seq >= seq, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_leaves_every_output_as_it_was_is_bounded_by_the_digests_of_the_state() {
    let folder = busy().await;
    let mut all = read(&folder.path().join("log"));
    let hashes: Vec<u64> =
        all.iter().filter(|entry| entry.header.kind == 11).map(|entry| entry.header.seq).collect();
    // A day order that rests until the end: as good till cancelled it would say and do the same until midnight.
    let day = br#""tif":"day""#;
    let target = all
        .iter()
        .rposition(|entry| {
            let rests = entry.payload.windows(6).any(|bytes| bytes == br#""1.00""#);
            entry.header.kind == ORDER && rests && entry.payload.windows(day.len()).any(|bytes| bytes == day)
        })
        .unwrap();
    let seq = all[target].header.seq;
    let at = all[target].payload.windows(day.len()).position(|bytes| bytes == day).unwrap();
    all[target].payload[at..at + day.len()].copy_from_slice(br#""tif":"gtc""#);
    let found = divergence(&all);
    assert_eq!(found.how, How::State, "{found:?}");
    let before = hashes.iter().copied().filter(|hash| *hash < seq).max();
    let after = hashes.iter().copied().find(|hash| *hash > seq);
    assert_eq!((found.agreed.map(|(seq, _)| seq), Some(found.seq)), (before, after));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_the_venue_cannot_have_taken_is_named() {
    let folder = busy().await;
    let all = read(&folder.path().join("log"));
    let first = all.iter().position(|entry| entry.header.kind == ORDER).unwrap();
    let mut removed = all.clone();
    removed.remove(first);
    // The report of it comes before the next order does.
    assert_eq!(divergence(&removed).how, How::Extra);

    let owner = all.iter().position(|entry| entry.header.kind == 276).unwrap();
    let mut nobody = all.clone();
    nobody.remove(owner);
    let found = divergence(&nobody);
    assert!(matches!(found.how, How::Input(_)) && found.seq == all[first].header.seq, "{found:?}");

    let venue = all.iter().position(|entry| entry.header.kind == 274).unwrap();
    let mut nowhere = all.clone();
    // Something else may have been sealed between the two.
    let instruments = all.iter().position(|entry| entry.header.kind == 275).unwrap();
    assert!(venue < instruments);
    nowhere.remove(instruments);
    nowhere.remove(venue);
    let report = reexecute(nowhere.into_iter().map(Ok)).unwrap();
    assert!(matches!(report.verdict, Verdict::Refused { .. }), "{report:?}");

    let mut other_rules = all;
    other_rules[venue].payload[0] += 1;
    let report = reexecute(other_rules.into_iter().map(Ok)).unwrap();
    assert!(matches!(&report.verdict, Verdict::Refused { why, .. } if why.contains("rules")), "{report:?}");
}
