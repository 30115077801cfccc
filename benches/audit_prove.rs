//! What it takes to check that one entry is in a log of 80 million, and to check a whole bundle about one order.
//!
//! The tree is synthetic: its inner nodes are made up, its root follows from them. The floor is what cannot be left out: the SHA-256 of the
//! entry and of each node on the path, with the `sha2` crate, and one Ed25519 signature. CPU time of the thread.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::convert::Infallible;
use std::hint::black_box;

use sealfeed::journal::Event;
use sealfeed::journal::event::{Bytes, Certificate, Connect, Order};
use sealfeed_audit::bundle::{Given, check, make};
use sealfeed_audit::checkpoint::{self, TreeHead};
use sealfeed_audit::note::{SigningKey, VerifierKey};
use sealfeed_audit::proof::{Subtrees, inclusion, root_of_inclusion};
use sealfeed_audit::tlog_proof::TlogProof;
use sealfeed_audit::verify::Verdict;
use sealfeed_audit::{
    Draft, Hash, InitOptions, Log, Options, OrderLink, SessionLink, init, leaf_hash, sha256,
};
use sha2::{Digest, Sha256};
use support::{Table, percentile, ratio, smoke, thread_cpu_ns};

const ORIGIN: &str = "bench.example/audit";
const ENTRY_BYTES: usize = 480;

/// Nodes of a tree that nobody has built.
struct MadeUp;

impl Subtrees for MadeUp {
    type Error = Infallible;

    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, Infallible> {
        Ok(sha256(&[&level.to_le_bytes()[..], &index.to_le_bytes()].concat()))
    }
}

/// Median CPU time of `work` over `rounds`.
fn median(rounds: usize, mut work: impl FnMut()) -> u64 {
    let mut samples: Vec<u64> = (0..rounds)
        .map(|_| {
            let before = thread_cpu_ns();
            work();
            thread_cpu_ns() - before
        })
        .collect();
    percentile(&mut samples, 50)
}

/// The hashes and the signature check that any verifier has to do.
fn floor(entry: &[u8], path: &[Hash], key: &VerifierKey, note: &str) {
    let mut hash: Hash = Sha256::new().chain_update([0]).chain_update(entry).finalize().into();
    for sibling in path {
        hash = Sha256::new().chain_update([1]).chain_update(sibling).chain_update(hash).finalize().into();
    }
    black_box(hash);
    // Any signature of the right form takes as long as the right one.
    black_box(key.verify(note.as_bytes(), &[7; 64]));
}

fn one_entry(table: &mut Table, size: u64, rounds: usize) {
    let key = SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap();
    let entry = vec![7u8; ENTRY_BYTES];
    let (index, leaf) = (size / 2 + 123, leaf_hash(&entry));
    let Ok(path) = inclusion(&mut MadeUp, index, size);
    let root = root_of_inclusion(&leaf, index, size, &path).unwrap();
    let note = checkpoint::sign(&key, &TreeHead { size, root }).unwrap();
    let proof = TlogProof { index, path }.to_text(&note);
    let measured = median(rounds, || {
        let (proof, note) = TlogProof::parse(black_box(&proof)).unwrap();
        let head = checkpoint::open(note, key.public()).unwrap();
        assert!(proof.holds(&leaf_hash(black_box(&entry)), &head));
    });
    let path = TlogProof::parse(&proof).unwrap().0.path;
    let floor = median(rounds, || floor(&entry, &path, key.public(), &note));
    assert!(proof.len() < 2_048, "{} bytes", proof.len());
    table.row(&[
        format!("entry in {size}"),
        proof.len().to_string(),
        path.len().to_string(),
        (measured / 1_000).to_string(),
        (floor / 1_000).to_string(),
        format!("{:.2}", ratio(measured, floor)),
    ]);
}

fn draft(event: impl Into<Event>) -> Draft {
    let event = event.into();
    Draft { kind: event.kind(), schema: event.schema(), payload: event.encode().unwrap(), ..Draft::default() }
}

/// A bundle out of a small log: an order that nothing happened to, its session and certificates.
fn bundle() -> (Vec<u8>, VerifierKey) {
    let folder = tempfile::tempdir().unwrap();
    let key = init(folder.path(), &InitOptions::new(ORIGIN)).unwrap().public_key;
    let log = Log::open(folder.path(), Options::new(ORIGIN)).unwrap();
    let leaf = vec![5u8; 800];
    let sha256 = sealfeed_audit::hex(&sha256(&leaf));
    let text = |text: &str| text.to_owned();
    log.append(draft(Certificate { sha256: sha256.clone(), chain: vec![Bytes(leaf)], left_out: 0 })).unwrap();
    let (session, principal) = ([1; 32], text("acme/bob"));
    let connect = Connect {
        address: text("127.0.0.1:1"),
        principal: principal.clone(),
        serial: text("01"),
        certificate: sha256,
        user_agent: text(""),
        protocol: text("sealfeed.v1.json"),
        role: text("trader"),
        sessions: 1,
        professional: None,
        display: None,
    };
    let connect = Draft { session: Some(SessionLink { id: session, event: 0 }), ..draft(connect) };
    log.append(connect).unwrap();
    let order = Order {
        principal: principal.into(),
        op: "order.new".into(),
        order_id: 7,
        ts: 1,
        nonce: [2; 16],
        mac: [3; 32],
        body: r#"{"cl_ord_id":"c-1","symbol":"SEAL","side":"buy","type":"limit","qty":"1","price":"1.00"}"#
            .into(),
        received: 1,
        admitted: 1,
        sig: Bytes::default(),
        on_disconnect: 0,
    };
    let (link, session) =
        (OrderLink { id: 7, previous: None, event: 0 }, SessionLink { id: session, event: 1 });
    log.append(Draft { session: Some(session), order: Some(link), ..draft(order) }).unwrap();
    log.stop().unwrap();
    let made = make(folder.path(), 7, Some(key.clone())).unwrap();
    (made.bytes, key)
}

fn whole_bundle(table: &mut Table, rounds: usize) {
    let (bundle, key) = bundle();
    let given = Given { key: Some(key.clone()), witnesses: Vec::new() };
    let measured = median(rounds, || {
        assert_eq!(check(black_box(&bundle), &given).verdict, Verdict::Verified);
    });
    // Every byte is hashed once, and one signature is checked.
    let floor = median(rounds, || floor(&bundle, &[], &key, ORIGIN));
    table.row(&[
        "a bundle of 4 entries".to_owned(),
        bundle.len().to_string(),
        "-".to_owned(),
        (measured / 1_000).to_string(),
        (floor / 1_000).to_string(),
        format!("{:.2}", ratio(measured, floor)),
    ]);
}

fn main() {
    let rounds = if smoke() { 50 } else { 5_000 };
    let mut table = Table::new(&["what", "bytes", "hashes", "CPU us", "floor us", "ratio"]);
    for size in [1_000, 1_000_000, 80_000_000, 10_000_000_000] {
        one_entry(&mut table, size, rounds);
    }
    whole_bundle(&mut table, rounds);
    table.print();
}
