//! Whether every failure that was provoked stands in the sealed log: read where the server runs, behind signed checkpoints only.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use sealfeed_audit::hex;
use sealfeed_audit::tail::Tail;
use sealfeed_audit::tool::read_key;
use serde_json::Value;
use tokio::time::Instant;

use super::{Came, Examiner, Provoked, Who};
use crate::cli::context::{EXIT_USAGE, Problem};
use crate::journal;

/// How long entries may take until a signed checkpoint covers them.
const LIMIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// A log that is followed from where it ended when the checks began.
pub(super) struct Reading(Tail);

impl Reading {
    /// Begins behind the newest entry.
    pub(super) fn begin(directory: &Path, key: &str) -> Result<Self, Problem> {
        let usage = |what: String| {
            Problem::new(what)
                .at(directory.display().to_string())
                .fix("Give the directory of the server's sealed log, and its public key (log.pub) or the file that holds it.")
                .exit(EXIT_USAGE)
        };
        let key = read_key(key).map_err(|error| usage(format!("the log's key cannot be used: {error}")))?;
        let unreadable = |error| usage(format!("the log cannot be read: {error}"));
        let newest = Tail::new(directory, u64::MAX, Some(key.clone())).and_then(|mut tail| tail.size_now());
        let newest = newest.map_err(unreadable)?;
        Tail::new(directory, newest, Some(key)).map(Self).map_err(unreadable)
    }
}

/// Reads until every fault was found, or long enough.
pub(super) async fn check(examiner: &mut Examiner<'_>, mut reading: Reading) {
    const CHECK: &str = "S14 log";
    let expected = "each fault above stands in the sealed log, under a signed checkpoint";
    let mut missing: Vec<&Provoked> = examiner.provoked.iter().collect();
    let count = missing.len();
    let deadline = Instant::now() + LIMIT;
    let came = loop {
        let entries = match reading.0.poll() {
            Ok(entries) => entries,
            Err(error) => break Came::Fail(format!("the log cannot be believed: {error}")),
        };
        for entry in entries {
            let header = &entry.header;
            let Ok(Some(event)) = journal::decode(header.kind, header.schema, &entry.payload) else {
                continue;
            };
            let session = header.session.as_ref().map(|session| hex(&session.id));
            let fields = serde_json::to_value(&event).unwrap_or_default();
            missing.retain(|fault| !tells(fault, event.name(), session.as_deref(), &fields));
        }
        if missing.is_empty() {
            break Came::Pass(format!("all {count} of them"));
        }
        if Instant::now() >= deadline {
            let names: BTreeSet<&str> = missing.iter().map(|fault| fault.check).collect();
            let names: Vec<&str> = names.into_iter().collect();
            break Came::Fail(format!("{} of {count} are missing: {}", missing.len(), names.join(", ")));
        }
        tokio::time::sleep(PAUSE).await;
    };
    examiner.note(CHECK, expected, came, None, &[]);
}

/// Whether an event is the one that the fault must have left.
fn tells(fault: &Provoked, kind: &str, session: Option<&str>, fields: &Value) -> bool {
    let is_by = match &fault.who {
        Who::Address(address) => fields["address"] == address.as_str(),
        Who::Session(id) => session == Some(id.as_str()),
    };
    is_by && fault.kinds.contains(&kind)
}
