//! The sealed log, read from its files while the server writes them, and verified at the end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sealfeed::config::tape_directory;
use sealfeed::execute::replay::{Report, reexecute};
use sealfeed::{execute, journal};
use sealfeed_audit::reader::{entries, entries_from};
use sealfeed_audit::verify::{Anchors, Verdict, verify, verify_tape};
use serde_json::Value;

use super::{LIMIT, wait_until};

/// One event of the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    /// Sequence number of its entry.
    pub(crate) seq: u64,
    /// Its leaf hash, hex.
    pub(crate) hash: String,
    /// The session it belongs to, hex.
    pub(crate) session: Option<String>,
    /// The order it belongs to.
    pub(crate) order: Option<u64>,
    /// Name of its kind.
    pub(crate) kind: &'static str,
    /// Its fields.
    pub(crate) fields: Value,
}

impl Logged {
    /// A field that is text; empty if there is none.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }

    /// Whether it has this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.text("code") == code
    }
}

/// Every event of the log in `folder`, as far as it is written.
pub(super) fn read(folder: &Path) -> Vec<Logged> {
    Reading::new(folder).take_where(|_| true)
}

/// A place in a log that is being written. Reading all of it again at each look would leave a busy log no time to
/// be written.
pub(super) struct Reading<'a> {
    folder: &'a Path,
    /// Sequence number of the next entry to be read.
    next: u64,
}

impl<'a> Reading<'a> {
    /// At the log's beginning.
    pub(super) const fn new(folder: &'a Path) -> Self {
        Self { folder, next: 0 }
    }

    /// The events from here to what is the log's end now, of those kinds for which `is_wanted` holds.
    pub(super) fn take_where(&mut self, is_wanted: impl Fn(&str) -> bool) -> Vec<Logged> {
        let mut events = Vec::new();
        for entry in entries_from(self.folder, self.next).unwrap() {
            let entry = entry.unwrap();
            let header = &entry.header;
            self.next = header.seq + 1;
            let Some(event) = journal::decode(header.kind, header.schema, &entry.payload).unwrap() else {
                continue;
            };
            if !is_wanted(event.name()) {
                continue;
            }
            events.push(Logged {
                seq: header.seq,
                hash: sealfeed_audit::hex(&entry.hash),
                session: header.session.map(|session| sealfeed_audit::hex(&session.id)),
                order: header.order.map(|order| order.id),
                kind: event.name(),
                fields: serde_json::to_value(&event).unwrap(),
            });
        }
        events
    }
}

/// Events of one kind in the log in `folder` so far.
pub(crate) fn events_of(folder: &Path, kind: &str) -> Vec<Logged> {
    Reading::new(folder).take_where(|of| of == kind)
}

/// The first event of this kind for which `is_it` holds, as soon as it stands in the log in `folder`.
pub(crate) async fn logged_in(folder: &Path, kind: &str, is_it: impl Fn(&Logged) -> bool) -> Logged {
    let (mut reading, mut found) = (Reading::new(folder), None);
    let is_there = wait_until(LIMIT, || {
        found = reading.take_where(|of| of == kind).into_iter().find(|event| is_it(event));
        found.is_some()
    });
    if !is_there.await {
        let kinds: Vec<_> = events_of(folder, kind).into_iter().map(|event| event.fields).collect();
        panic!("no such {kind} in the log, only {kinds:#?}");
    }
    found.unwrap()
}

/// Asserts that the verifier, with the key and the first epoch key from escrow, finds nothing wrong.
pub(super) fn assert_verified(folder: &Path) {
    let escrow = journal::escrow_directory(folder);
    let text = |name: &str| std::fs::read_to_string(escrow.join(name)).unwrap();
    let k0: [u8; 32] = sealfeed_wire::hex::decode(text("k0.hex").trim_end()).unwrap();
    let anchors = Anchors {
        key: Some(text("log.pub").trim_end().parse().unwrap()),
        k0: Some(k0),
        ..Anchors::default()
    };
    let report = verify(folder, &anchors, &mut |_| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Verified, "{report:?}");
}

/// Asserts that the tape beside the log verifies as a log, and that the audit log's links fit it to its end.
pub(super) fn assert_tape_verified(folder: &Path) {
    let tape = tape_directory(folder);
    assert_verified(&tape);
    let mut report = verify(folder, &Anchors::default(), &mut |_| {}).unwrap();
    verify_tape(&mut report, folder, &tape).unwrap();
    assert_eq!(report.verdict, Verdict::Unanchored, "{report:?}");
    let taped = verify(&tape, &Anchors::default(), &mut |_| {}).unwrap();
    assert_eq!(report.tape.unwrap().size, taped.entries, "the last link covers the whole tape");
}

/// Asserts that the venue, given the log's inputs again, gives every output that the log holds.
pub(crate) fn assert_executes_again(folder: &Path) -> Report {
    let report = reexecute(entries(folder).unwrap()).unwrap();
    assert_eq!(report.verdict, execute::replay::Verdict::Verified, "{report:#?}");
    report
}

/// How many bytes of a secret are enough to give it away.
const TELLING: usize = 12;

/// Asserts that nothing in the folder's segments, and nothing that was traced, holds a secret of the PKI: no master, no
/// order key, no private key; neither as they stand in their files nor decoded from hexadecimal digits.
pub(super) fn assert_holds_no_secret(folder: &Path, pki: &Path, traced: &str) {
    let mut needles = HashSet::new();
    for path in secrets(pki) {
        let text = std::fs::read(&path).unwrap();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"-----"));
        for line in lines.filter(|line| line.len() >= 32) {
            let decoded: Option<[u8; 32]> =
                std::str::from_utf8(line).ok().and_then(|line| sealfeed_wire::hex::decode(line).ok());
            needles.extend(line.first_chunk::<TELLING>().copied());
            needles.extend(line.last_chunk::<TELLING>().copied());
            needles.extend(decoded.iter().flat_map(|bytes| bytes.first_chunk::<TELLING>().copied()));
        }
    }
    // The first line of every private key names its algorithm and is no secret.
    needles.remove(b"MIGHAgEAMBMG");
    assert!(needles.len() > 10, "the PKI's secrets were not found");
    // Most places are ruled out by their first two bytes, which makes megabytes quick to look through.
    let mut begins = vec![false; 1 << 16];
    let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    needles.iter().for_each(|needle| begins[pair(needle)] = true);
    let segments = std::fs::read_dir(folder.join("segments")).unwrap();
    let files = segments.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    for bytes in files.chain([traced.as_bytes().to_vec()]) {
        // Segments are allocated ahead; the rest is zeros.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let is_secret = |window: &[u8]| begins[pair(window)] && needles.contains(window);
        let found = bytes[..used].windows(TELLING).position(is_secret);
        assert_eq!(found, None, "a secret stands at this byte");
    }
}

/// Asserts that none of these texts was traced or stands in the folder's segments.
pub(super) fn assert_holds_none_of(folder: &Path, secrets: &[String], traced: &str) {
    if secrets.is_empty() {
        return;
    }
    let segments = std::fs::read_dir(folder.join("segments")).unwrap();
    let files = segments.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    for bytes in files.chain([traced.as_bytes().to_vec()]) {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for secret in secrets {
            let is_there = bytes[..used].windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "a secret stands in the log or was traced");
        }
    }
}

/// Files with secrets in a PKI's folder.
fn secrets(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(secrets(&path));
        } else if path.extension().is_some_and(|ending| ending == "key" || ending == "hex") {
            found.push(path);
        }
    }
    found
}
