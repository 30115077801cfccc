//! The life of one order as it is found entry by entry, and what became of it.

use std::collections::BTreeSet;

use super::{BUNDLE_BYTES_MAX, Life, LifeStep, MakeError};
use crate::reader::Entry;

/// What one entry takes in a bundle beside its own bytes, at least.
const AROUND_ENTRY_BYTES: usize = 4 * 512;

/// The life of an order, and what is needed to find what stands around it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) order: u64,
    /// Entries of the order that the checkpoint covers.
    pub(super) entries: Vec<Entry>,
    /// Entries of the order behind the checkpoint.
    pub(super) later: u64,
    /// One past the last entry of the life.
    pub(super) end: u64,
    /// First entry that the log keeps.
    pub(super) first_kept: u64,
    /// First entry of the server's run in which the life begins, or one before it.
    pub(super) run_start: u64,
    pub(super) sessions: BTreeSet<[u8; 32]>,
    life: Life,
    too_recent: Option<u64>,
    bytes: usize,
}

impl Found {
    pub(super) fn new(order: u64) -> Self {
        Self { order, ..Self::default() }
    }

    /// Whether nothing of the order was found.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.later == 0
    }

    /// Whether what was found begins where the order does.
    pub(super) fn has_beginning(&self) -> bool {
        let first = self.entries.first().and_then(|entry| entry.header.order);
        first.map_or(self.too_recent.is_some(), |link| link.event == 0)
    }

    /// Whether the bundle would be too large; what else there is of the order is not kept.
    pub(super) fn is_too_large(&self) -> bool {
        self.bytes > BUNDLE_BYTES_MAX
    }

    /// Takes the next entry of the order, under a checkpoint over `covered` entries or not.
    pub(super) fn take(&mut self, entry: Entry, covered: u64) {
        let Some(link) = entry.header.order else { return };
        let seq = entry.header.seq;
        if seq >= covered {
            self.too_recent.get_or_insert(seq);
            self.later += 1;
            return;
        }
        self.life.take(LifeStep { seq, event: link.event, previous: link.previous });
        self.sessions.extend(entry.header.session.map(|session| session.id));
        self.end = seq + 1;
        self.bytes = self.bytes.saturating_add(entry.payload.len() + AROUND_ENTRY_BYTES);
        if self.is_too_large() {
            self.entries.clear();
        } else {
            self.entries.push(entry);
        }
    }

    /// The life, if it is whole.
    pub(super) fn whole(self, covered: u64) -> Result<Self, MakeError> {
        let order = self.order;
        if self.is_too_large() {
            return Err(MakeError::TooLarge(order));
        }
        let begins = self.entries.first().and_then(|entry| entry.header.order).map(|link| link.event);
        match (begins, self.too_recent) {
            (None, None) => Err(MakeError::NoSuchOrder(order)),
            (None, Some(seq)) => Err(MakeError::TooRecent { order, seq, covered }),
            (Some(event), _) if event > 0 && self.first_kept > 0 => {
                Err(MakeError::Pruned { order, first: self.first_kept })
            }
            _ => match self.life.gap() {
                Some(gap) => Err(MakeError::Gap { order, gap: gap.to_owned() }),
                None => Ok(self),
            },
        }
    }
}
