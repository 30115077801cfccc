//! What the tests of the log share: small logs, drafts, and one way to verify.

#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod gate;
pub(crate) mod python;

use std::path::Path;

use sealfeed_audit::verify::{Anchors, Report, verify};
use sealfeed_audit::{
    Draft, InitOptions, Initialised, Log, Options, OrderLink, SEGMENT_BYTES_MIN, SessionLink, init,
};

pub(crate) const ORIGIN: &str = "log.example/audit";

/// Options for small logs: smallest segments, small queue.
pub(crate) fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES_MIN, queue_entries_max: 512, ..Options::new(ORIGIN) }
}

pub(crate) fn init_options() -> InitOptions {
    InitOptions { segment_bytes: SEGMENT_BYTES_MIN, ..InitOptions::new(ORIGIN) }
}

pub(crate) fn init_log(folder: &Path) -> Initialised {
    init(folder, &init_options()).unwrap()
}

pub(crate) fn draft(payload: &[u8]) -> Draft {
    Draft { kind: 300, schema: 1, payload: payload.to_vec(), ..Draft::default() }
}

/// A draft with both links.
pub(crate) fn linked(session: u64, order: u64, previous: Option<u64>, payload: &[u8]) -> Draft {
    Draft {
        session: Some(SessionLink { id: [9; 32], event: session }),
        order: Some(OrderLink { id: order, previous, event: 1 }),
        ..draft(payload)
    }
}

/// Appends and waits: the entry is in a group of its own.
pub(crate) fn append_durably(log: &Log, draft: Draft) -> sealfeed_audit::Receipt {
    let seq = log.append(draft).unwrap();
    log.wait_durable(seq).unwrap()
}

pub(crate) fn verify_with(folder: &Path, anchors: &Anchors) -> Report {
    verify(folder, anchors, &mut |_| {}).unwrap()
}

/// Anchors of somebody who kept the public key.
pub(crate) fn key_of(initialised: &Initialised) -> Anchors {
    Anchors { key: Some(initialised.public_key.clone()), ..Anchors::default() }
}

/// Anchors of compliance: key and `K_0`.
pub(crate) fn key_and_k0(initialised: &Initialised) -> Anchors {
    Anchors { k0: Some(initialised.k0), ..key_of(initialised) }
}

/// Copies a log's folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(&target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
