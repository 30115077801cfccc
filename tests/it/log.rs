//! The sealed log of a real server, read by the program's own commands: every altered byte is found where it is, and
//! every question gets the answer that the entries themselves give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sealfeed_audit::reader::entries;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Logged, Pki, Server};
use crate::market::{QUIET, limit, quiet};
use crate::process::{public_key, replay, run, verify};

/// A server's log in which a bit of everything happened.
async fn eventful() -> (Vec<Logged>, TempDir) {
    let server = Server::start(quiet).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let symbols = json!([QUIET, "S1", "NOPE"]);
    alice.request(json!({"op": "subscribe", "channel": "book", "symbols": symbols})).await;
    alice.error_of(r#"{"op":"nonsense","id":1}"#).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    for (name, price, quantity, tif) in
        [("rests", "1.00", "5", "day"), ("expires", "1.00", "2", "ioc"), ("big", "1.00", "9999", "day")]
    {
        bob.order(SignedOp::OrderNew, &limit(name, "buy", price, quantity, tif).to_string()).await;
    }
    let cancel = json!({"cl_ord_id": "cancels", "orig_cl_ord_id": "rests"});
    bob.order(SignedOp::OrderCancel, &cancel.to_string()).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    erin.order(SignedOp::OrderNew, &limit("rests", "sell", "999.00", "1", "day").to_string()).await;
    server.refused_handshake(&Pki::get().client("acme/gone")).await;
    server.logged("handshake_refused", |_| true).await;
    bob.request(json!({"op": "logout"})).await;
    server.logged("disconnect", |event| event.text("principal") == "acme/bob").await;
    drop((alice, erin));
    server.finish().await
}

fn copy(log: &Path, to: &Path) -> PathBuf {
    assert!(Command::new("cp").arg("-a").arg(log).arg(to).status().unwrap().success());
    to.join(log.file_name().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_altered_byte_of_any_entry_is_found_at_that_entry() {
    let (_, folder) = eventful().await;
    let original = folder.path().join("log");
    let key = public_key(&original);
    let whole = verify(&original, &["--key", &key]);
    assert_eq!((whole.word(), whole.code), ("VERIFIED", 0), "{whole:?}");
    assert_eq!(whole.report["findings"], json!([]));

    let elsewhere = TempDir::new().unwrap();
    let log = copy(&original, elsewhere.path());
    let all: Vec<_> = entries(&original).unwrap().map(Result::unwrap).collect();
    assert_eq!(whole.report["entries"], all.len());
    // First, last, and a spread in between; another place in each.
    let step = all.len().div_ceil(10);
    let last = all.len() - 1;
    for (round, index) in (0..all.len()).step_by(step).chain([last]).enumerate() {
        let entry = &all[index];
        let segment = log.join("segments").join(format!("{:020}.seg", entry.segment));
        let mut bytes = fs::read(&segment).unwrap();
        // Behind the fixed header comes the payload: both are tried.
        let at = usize::try_from(entry.offset).unwrap() + (round * 31) % (100 + entry.payload.len());
        bytes[at] ^= 1 << (round % 8);
        fs::write(&segment, &bytes).unwrap();
        let verdict = verify(&log, &["--key", &key]);
        assert_eq!((verdict.word(), verdict.code), ("TAMPERED", 20), "byte {at}: {verdict:?}");
        assert_eq!(verdict.report["findings"][0]["seq"], entry.header.seq, "byte {at}: {verdict:?}");
        bytes[at] ^= 1 << (round % 8);
        fs::write(&segment, &bytes).unwrap();
    }
    let healed = verify(&log, &["--key", &key]);
    assert_eq!(
        (healed.word(), healed.code),
        ("VERIFIED", 0),
        "the copy itself is not the reason: {healed:?}"
    );
}

/// Asserts that the program, asked with `filters`, answers with exactly the entries for which `is_it` holds.
fn check(log: &Path, events: &[Logged], filters: &[&str], is_it: impl Fn(&Logged) -> bool) {
    let expected: Vec<u64> = events.iter().filter(|event| is_it(event)).map(|event| event.seq).collect();
    let lines = replay(log, filters);
    // The log's own entries have no event; no filter on content lets them through.
    let found: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(found, expected, "{filters:?}");
    assert!(!found.is_empty() && found.len() < events.len(), "{filters:?} finds {} entries", found.len());
    for line in &lines {
        let event = events.iter().find(|event| line["seq"] == event.seq).unwrap();
        assert_eq!((&line["kind"], &line["hash"]), (&json!(event.kind), &json!(event.hash)));
        assert_eq!(line["session"].as_str(), event.session.as_deref());
        assert_eq!(line["event"].get("principal"), event.fields.get("principal"));
    }
}

fn body_of(event: &Logged) -> Value {
    serde_json::from_str(event.text("body")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_answers_each_question_with_what_happened() {
    let (events, folder) = eventful().await;
    let log = folder.path().join("log");
    let is_of = |event: &Logged, principal: &str| event.text("principal") == principal;
    check(&log, &events, &["--principal", "acme/bob"], |event| is_of(event, "acme/bob"));
    check(&log, &events, &["--principal", "acme"], |event| event.text("principal").starts_with("acme/"));
    check(&log, &events, &["--kind", "order", "--kind", "execution"], |event| {
        event.kind == "order" || event.kind == "execution"
    });
    check(&log, &events, &["--kind", "handshake_refused"], |event| event.kind == "handshake_refused");
    check(&log, &events, &["--code", "SF-RSK-001"], |event| event.has_code("SF-RSK-001"));
    check(&log, &events, &["--code", "SF-TLS-005"], |event| event.has_code("SF-TLS-005"));

    // The client's name finds orders, reports and the cancel that names it, of whomever it is.
    let names = |event: &Logged, name: &str| {
        let body = body_of(event);
        event.text("cl_ord_id") == name || body["cl_ord_id"] == name || body["orig_cl_ord_id"] == name
    };
    check(&log, &events, &["--order", "rests"], |event| names(event, "rests"));
    let both = ["--order", "rests", "--principal", "acme/erin"];
    check(&log, &events, &both, |event| names(event, "rests") && is_of(event, "acme/erin"));
    let rests = events.iter().find(|event| event.kind == "order" && names(event, "rests")).unwrap().order;
    check(&log, &events, &["--order", &rests.unwrap().to_string()], |event| event.order == rests);

    let list = |event: &Logged, field: &str| event.fields[field].as_array().cloned().unwrap_or_default();
    // The synthetic market's orders name an instrument by its place in the list that the venue began with.
    let listed = events.iter().find(|event| event.kind == "instruments").map(|event| list(event, "list"));
    let number = listed.unwrap().iter().position(|instrument| instrument["symbol"] == QUIET).unwrap();
    check(&log, &events, &["--symbol", QUIET], |event| {
        event.text("symbol") == QUIET
            || body_of(event)["symbol"] == QUIET
            || [list(event, "granted"), list(event, "symbols")].concat().contains(&QUIET.into())
            || list(event, "list").iter().any(|instrument| instrument["symbol"] == QUIET)
            || list(event, "inputs").iter().any(|input| input["New"]["instrument"] == number)
    });
    check(&log, &events, &["--symbol", "NOPE"], |event| event.kind == "subscribe");
    let session = events.iter().find(|event| is_of(event, "acme/erin")).unwrap().session.clone().unwrap();
    check(&log, &events, &["--session", &session[..12]], |event| event.session.as_ref() == Some(&session));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_cut_a_replay_into_parts_that_make_the_whole() {
    let (events, folder) = eventful().await;
    let log = folder.path().join("log");
    let all = replay(&log, &[]);
    assert!(all.len() > events.len(), "the log's own entries are there too");
    assert!(all.iter().enumerate().all(|(seq, line)| line["seq"] == seq), "every entry, in order");
    let moment = all[all.len() / 2]["time"].as_str().unwrap();
    let (before, after) = (replay(&log, &["--until", moment]), replay(&log, &["--from", moment]));
    assert!(!before.is_empty() && !after.is_empty());
    assert_eq!([before, after].concat(), all, "`from` is inclusive, `until` is not");

    let in_words = run(&["audit", "replay", log.to_str().unwrap(), "--output", "table"]);
    let table = String::from_utf8(in_words.stdout).unwrap();
    assert_eq!(table.lines().count(), all.len());
    let unknown = run(&["audit", "replay", log.to_str().unwrap(), "--kind", "oder"]);
    assert!(
        !unknown.status.success() && unknown.stdout.is_empty(),
        "a kind that is misspelt is no empty answer"
    );
}
