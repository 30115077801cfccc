//! Links from the audit log to the tape: how far it had got, as its own signed checkpoint says.
//!
//! One is written when a run has its first checkpoint, when a segment begins, every minute in which the tape grew, and when it is closed.

use std::collections::VecDeque;
use std::sync::Arc;

use sealfeed_audit::checkpoint::{self, TreeHead};
use sealfeed_audit::{Log, TapeLink};

use super::open::Opened;
use crate::journal::Journal;
use crate::types::Epoch;

/// Longest time without a link while the tape grows, nanoseconds.
const INTERVAL_NS: u64 = 60_000_000_000;
/// Blocks whose checkpoint is awaited; should it not come, the oldest are forgotten and links count a little less.
const AWAITED_MAX: usize = 65_536;

/// What was linked, and what is to be.
#[derive(Debug)]
pub(super) struct Links {
    origin: String,
    /// Why the next one is due, whatever the time.
    due: Option<&'static str>,
    linked: Option<(u64, u64)>,
    seen: Option<Arc<str>>,
    head: Option<TreeHead>,
    /// Entries behind the newest checkpoint, each with epoch and events up to it.
    awaited: VecDeque<(u64, (Epoch, u64))>,
    covered: (Epoch, u64),
}

impl Links {
    pub(super) fn new(opened: &Opened) -> Self {
        Self {
            origin: opened.origin.clone(),
            due: Some(if opened.recovered { "recovered" } else { "start" }),
            linked: None,
            seen: None,
            head: None,
            awaited: VecDeque::new(),
            covered: (Epoch(0), 0),
        }
    }

    /// Takes note of an entry and of the events up to it.
    pub(super) fn appended(&mut self, seq: u64, events: (Epoch, u64)) {
        if self.awaited.len() >= AWAITED_MAX {
            self.awaited.pop_front();
        }
        self.awaited.push_back((seq, events));
    }

    /// A segment ends here: the checkpoint of its close is linked.
    pub(super) fn rotated(&mut self) {
        self.due.get_or_insert("rotated");
    }

    /// Writes a link if one is due and there is a checkpoint for it.
    pub(super) fn look(&mut self, log: &Log, journal: &Journal) {
        self.read(log);
        let Some(head) = self.head else { return };
        let now_ns = journal.clock.now().monotonic_ns;
        let reason = match (self.due, self.linked) {
            (Some(reason), None) => reason,
            (Some(reason), Some((size, _))) if head.size > size => reason,
            (None, Some((size, at_ns)))
                if head.size > size && now_ns.saturating_sub(at_ns) >= INTERVAL_NS =>
            {
                "interval"
            }
            _ => return,
        };
        self.due = None;
        self.write(&head, reason, log, journal);
    }

    /// The tape was closed: its last checkpoint covers all of it.
    pub(super) fn stopped(&mut self, log: &Log, journal: &Journal) {
        self.read(log);
        if let Some(head) = self.head {
            self.write(&head, "stopped", log, journal);
        }
    }

    fn read(&mut self, log: &Log) {
        let Some(note) = log.latest_checkpoint() else { return };
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &note)) {
            return;
        }
        // The log signed it with its own key just now.
        if let Ok(head) = checkpoint::open(&note, log.public_key()) {
            self.head = Some(head);
            while self.awaited.front().is_some_and(|(seq, _)| *seq < head.size) {
                self.covered = self.awaited.pop_front().map_or(self.covered, |(_, events)| events);
            }
        }
        self.seen = Some(note);
    }

    fn write(&mut self, head: &TreeHead, reason: &str, log: &Log, journal: &Journal) {
        let link = TapeLink {
            log: log.id(),
            origin: self.origin.clone(),
            size: head.size,
            root: head.root,
            reason: reason.to_owned(),
            epoch: self.covered.0.0,
            count: self.covered.1,
        };
        // Where the audit log takes no more, the server stops for that.
        if journal.record_tape_link(&link).is_ok() {
            self.linked = Some((head.size, journal.clock.now().monotonic_ns));
        }
    }
}
