//! The sealed log, read from its files while the server writes them, and verified at the end.

use std::path::Path;

use sealfeed::journal;
use sealfeed_audit::reader::entries;
use sealfeed_audit::verify::{Anchors, Verdict, verify};
use serde_json::Value;

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
    /// Its payload as it stands in the file.
    pub(crate) payload: Vec<u8>,
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
    let mut events = Vec::new();
    for entry in entries(folder).unwrap() {
        let entry = entry.unwrap();
        let header = &entry.header;
        let Some(event) = journal::decode(header.kind, header.schema, &entry.payload).unwrap() else {
            continue;
        };
        events.push(Logged {
            seq: header.seq,
            hash: sealfeed_audit::hex(&entry.hash),
            session: header.session.map(|session| sealfeed_audit::hex(&session.id)),
            order: header.order.map(|order| order.id),
            kind: event.name(),
            fields: serde_json::to_value(&event).unwrap(),
            payload: entry.payload,
        });
    }
    events
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
