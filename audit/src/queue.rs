//! What waits for the writer: entries that are encoded but for their place in the log, back to back in one buffer.
//!
//! Submitters encode, so that the writer, which no second thread can help, only has to place, hash and seal. It takes the whole
//! buffer at once and gives the one that it has finished in exchange, so taking costs the same whatever waits. The queue is bounded
//! by [`crate::Options`]; the writer holds at most as much again.

use crate::entry::{Draft, Stamp, encode};

/// What an empty buffer keeps room for, always.
const KEPT_BYTES: usize = 1 << 20;
const KEPT_ENTRIES: usize = 4_096;

/// While the disk is busy or a turn goes on, the writer is woken for this many entries at a time, to hash them early without a wake-up each.
pub(crate) const ENTRIES_PER_WAKE: usize = 64;

/// The queue in front of the writer, and what wakes it.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) waiting: Waiting,
    pub(crate) next_seq: u64,
    /// Stop was asked for: nothing more is taken.
    pub(crate) stopping: bool,
    /// A new segment was asked for.
    pub(crate) rotate: bool,
    /// Groups handed to the disk and not yet durable.
    pub(crate) in_flight: usize,
    /// The writer sleeps until this many entries wait; while a turn goes on it may sleep on, see [`crate::log::Shared::see_to`].
    pub(crate) wake_at: usize,
    /// The writer has something to do as soon as a job of the disk is done.
    pub(crate) awaits_disk: bool,
    /// The writer and syncer threads have ended.
    pub(crate) ended: bool,
    /// Turns that submitters are in: more entries of theirs are coming.
    pub(crate) turns: usize,
    /// A turn has ended since the last group was closed: whoever waits for what is in it has nothing more to say.
    pub(crate) turn_ended: bool,
}

impl Queue {
    /// An empty queue whose first entry gets number `next_seq`.
    pub(crate) fn new(next_seq: u64) -> Self {
        Self {
            waiting: Waiting::default(),
            next_seq,
            stopping: false,
            rotate: false,
            in_flight: 0,
            wake_at: 1,
            awaits_disk: false,
            ended: false,
            turns: 0,
            turn_ended: false,
        }
    }
}

/// Encoded entries, first in, first out.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    /// Entries and bytes that have left at the front.
    left: (usize, usize),
}

impl Waiting {
    /// Entries that wait.
    pub(crate) fn entries(&self) -> usize {
        self.lengths.len() - self.left.0
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() - self.left.1
    }

    /// Adds an entry at the end.
    pub(crate) fn push(&mut self, draft: &Draft, stamp: Stamp) {
        let start = self.bytes.len();
        encode(draft, stamp, &mut self.bytes);
        self.lengths.push(self.bytes.len() - start);
    }

    /// The first entry.
    pub(crate) fn front(&self) -> Option<&[u8]> {
        let length = *self.lengths.get(self.left.0)?;
        self.bytes.get(self.left.1..self.left.1 + length)
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        let length = self.lengths.last().filter(|_| self.entries() > 0)?;
        self.bytes.get(self.bytes.len() - length..)
    }

    /// Lets the first entry leave.
    pub(crate) fn pop(&mut self) {
        if let Some(length) = self.lengths.get(self.left.0) {
            self.left = (self.left.0 + 1, self.left.1 + length);
        }
    }

    /// Empties it. Memory that a burst has made it grow by is given back once it was used for less than a quarter, so that steady
    /// load does not allocate.
    pub(crate) fn clear(&mut self) {
        empty(&mut self.bytes, KEPT_BYTES);
        empty(&mut self.lengths, KEPT_ENTRIES);
        self.left = (0, 0);
    }
}

fn empty<T>(list: &mut Vec<T>, kept: usize) {
    let used = list.len();
    list.clear();
    if used < list.capacity() / 4 {
        list.shrink_to(kept.max(2 * used));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn entries_leave_as_they_came_and_are_counted() {
        let mut waiting = Waiting::default();
        let drafts: Vec<Draft> = (0..50)
            .map(|length| Draft { kind: 300, payload: vec![7; length * 3], ..Draft::default() })
            .collect();
        for draft in &drafts {
            waiting.push(draft, SystemClock.now());
        }
        let mut bytes: usize = drafts.iter().map(Draft::entry_bytes).sum();
        for (gone, draft) in drafts.iter().enumerate() {
            assert_eq!((waiting.entries(), waiting.bytes()), (drafts.len() - gone, bytes));
            let entry = waiting.front().unwrap();
            assert_eq!(entry.len(), draft.entry_bytes());
            assert!(entry.ends_with(&draft.payload));
            assert_eq!(waiting.last().unwrap().len(), drafts[49].entry_bytes());
            bytes -= entry.len();
            waiting.pop();
        }
        assert_eq!((waiting.front(), waiting.last(), waiting.entries(), waiting.bytes()), (None, None, 0, 0));
        waiting.pop();
        waiting.clear();
        assert_eq!((waiting.front(), waiting.entries()), (None, 0));
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut waiting = Waiting::default();
        let draft = Draft { kind: 300, payload: vec![7; 1_000], ..Draft::default() };
        for _ in 0..10_000 {
            waiting.push(&draft, SystemClock.now());
        }
        waiting.clear();
        assert!(waiting.bytes.capacity() >= 10_000_000, "the next burst finds room");
        waiting.push(&draft, SystemClock.now());
        waiting.clear();
        assert!(waiting.bytes.capacity() <= 2 * KEPT_BYTES && waiting.lengths.capacity() <= 2 * KEPT_ENTRIES);
    }
}
