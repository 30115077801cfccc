//! The format, pinned from outside: a log that another program built from `FORMAT.md` alone is read and verified here.
//!
//! `golden/make.py` shares no code with the crate, not even its libraries. That the crate writes the same bytes is tested beside
//! the code that writes them (`src/golden.rs`).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use sealfeed_audit::storage::{Access, Storage};
use sealfeed_audit::verify::{Anchors, Verdict, verify_storage};
use sealfeed_audit::{
    OrderLink, SessionLink, genesis_link, hash_from_hex, hex, kind, leaf_hash, log_id, reader,
};
use support::disk::FaultyDisk;

const GOLDEN: &str = include_str!("golden/log.txt");

fn field(name: &str) -> &'static str {
    GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap()
}

fn golden_disk() -> FaultyDisk {
    let disk = FaultyDisk::default();
    for folder in ["", "segments", "quarantine"] {
        disk.make_folder(folder).unwrap();
    }
    let mut file = None;
    for line in GOLDEN.lines().skip_while(|line| !line.starts_with("file ")) {
        if let Some(rest) = line.strip_prefix("file ") {
            let (name, length) = rest.split_once(' ').unwrap();
            let created = disk.open(name, Access::Create).unwrap();
            created.set_length(length.parse().unwrap()).unwrap();
            file = Some(created);
        } else {
            let (offset, digits) = line.split_once(' ').unwrap();
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
            file.as_ref().unwrap().write_at(offset.parse().unwrap(), &bytes).unwrap();
        }
    }
    disk
}

fn anchors() -> Anchors {
    Anchors { key: Some(field("key").parse().unwrap()), k0: Some([1; 32]), ..Anchors::default() }
}

#[test]
fn a_log_built_from_the_document_alone_verifies() {
    let report = verify_storage(&golden_disk(), &anchors(), &mut |_| {}).unwrap();
    assert_eq!((report.verdict, &report.findings[..]), (Verdict::Verified, &[][..]));
    assert_eq!(hex(&report.log_id), field("log"));
    assert_eq!(hex(&report.root), field("root"));
    assert_eq!(report.entries.to_string(), field("size"));
    assert_eq!((report.segments, report.groups, report.epochs, report.checkpoints), (2, 5, 2, 3));
    assert_eq!((report.anchored_entries, report.stopped), (8, true));
}

#[test]
fn its_entries_read_as_they_were_written() {
    let entries: Vec<_> =
        reader::Entries::new(Arc::new(golden_disk()), 0).unwrap().map(Result::unwrap).collect();
    let kinds: Vec<_> = entries.iter().map(|entry| entry.header.kind).collect();
    let expected = [kind::GENESIS, kind::START, 300, 301, 302, kind::EPOCH_END, kind::HEARTBEAT, kind::STOP];
    assert_eq!(kinds, expected);
    let session = |event| Some(SessionLink { id: [9; 32], event });
    assert_eq!((entries[2].header.session, entries[2].header.order), (session(1), None));
    let order = |previous, event| Some(OrderLink { id: 77, previous, event });
    assert_eq!((entries[3].header.session, entries[3].header.order), (session(2), order(None, 1)));
    assert_eq!((entries[4].header.session, entries[4].header.order), (None, order(Some(3), 2)));
    assert!(entries[4].payload.iter().copied().eq(0..=255));
    assert_eq!(entries[4].header.stamp.utc_ns, 1_700_000_000_000_000_004);
    assert_eq!((entries[4].header.epoch, entries[6].header.epoch), (0, 1));
    let id = hash_from_hex(field("log")).unwrap();
    assert_eq!(entries[0].header.previous, genesis_link(&id));
    assert_eq!(log_id("log.example/audit", &[7; 32]), id);
}

#[test]
fn leaf_of_an_empty_entry_is_that_of_rfc_6962() {
    let expected = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(hex(&leaf_hash(b"")), expected);
}
