//! A group of entries: built, hashed and sealed in memory, then written with one synced write.
//!
//! The last entry of a group carries the group-end flag, which is hashed, so an entry is finished only when the next one comes or
//! the group closes. After it follows the seal frame. A group never spans segments and never exceeds [`GROUP_BYTES_MAX`].

use sha2::{Digest, Sha256};

use crate::chain::{Hash, leaf_hash_prefixed};
use crate::entry::{Draft, Placement, Stamp, encode, mark_group_end};
use crate::epoch::EpochKey;
use crate::frame::{self, FRAME_BYTES_MAX, FrameKind, SEAL_FRAME_BYTES, frame_bytes};
use crate::merkle::Frontier;

/// Most bytes a group takes on disk.
pub const GROUP_BYTES_MAX: usize = 131_072;

// A group that has not reached 64 KiB always has room for the largest entry only if that entry comes first; the builder checks.
const _: () = assert!(FRAME_BYTES_MAX + SEAL_FRAME_BYTES <= GROUP_BYTES_MAX);

/// The end of the log as the next entry sees it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The log.
    pub(crate) log_id: Hash,
    /// This run of the writer.
    pub(crate) run: u64,
    /// Leaf hash of the last entry.
    pub(crate) previous: Hash,
    /// The tree; its size is the next sequence number.
    pub(crate) frontier: Frontier,
    /// Number of the next group.
    pub(crate) group: u64,
    /// Key of the running epoch.
    pub(crate) key: EpochKey,
}

/// A closed group, ready to be written.
#[derive(Debug)]
pub(crate) struct Group {
    /// The frames.
    pub(crate) bytes: Vec<u8>,
    /// Leaf hashes of the entries, in order.
    pub(crate) leaves: Vec<Hash>,
    /// Sequence number of the first.
    pub(crate) first_seq: u64,
}

/// A group under construction. Its buffers are reused from group to group.
#[derive(Debug, Default)]
pub(crate) struct GroupBuilder {
    bytes: Vec<u8>,
    leaves: Vec<Hash>,
    /// Where the body of the unfinished last entry starts.
    last_body: Option<usize>,
    planned_bytes: usize,
    entries: usize,
}

impl GroupBuilder {
    /// A builder that reuses buffers.
    pub(crate) fn with_buffers(mut bytes: Vec<u8>, mut leaves: Vec<Hash>) -> Self {
        bytes.clear();
        leaves.clear();
        Self { bytes, leaves, ..Self::default() }
    }

    /// Entries so far.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes so far, without the seal.
    pub(crate) fn bytes(&self) -> usize {
        self.planned_bytes
    }

    /// Whether an entry of `entry_bytes` fits.
    pub(crate) fn fits(&self, entry_bytes: usize) -> bool {
        self.planned_bytes + frame_bytes(entry_bytes) + SEAL_FRAME_BYTES <= GROUP_BYTES_MAX
    }

    /// Adds an entry at the head of the log.
    pub(crate) fn push(&mut self, head: &mut Head, draft: &Draft, stamp: Stamp) {
        self.finish_last(head, |_| {});
        let entry_bytes = draft.entry_bytes();
        let place = Placement {
            seq: head.frontier.size(),
            previous: head.previous,
            stamp,
            epoch: head.key.epoch(),
            group: head.group,
            run: head.run,
        };
        frame::begin(FrameKind::Entry, entry_bytes, &mut self.bytes);
        self.last_body = Some(self.bytes.len());
        encode(draft, &place, &mut self.bytes);
        self.planned_bytes += frame_bytes(entry_bytes);
        self.entries += 1;
    }

    /// Closes the group with the seal of the running epoch. The group must not be empty.
    pub(crate) fn close(mut self, head: &mut Head) -> Group {
        assert!(self.entries > 0, "a group has at least one entry");
        self.finish_last(head, mark_group_end);
        let end_seq = head.frontier.size();
        let seal = head.key.seal(&head.log_id, end_seq - 1, &head.previous);
        frame::push_seal(&seal, &mut self.bytes);
        assert!(self.bytes.len() == self.planned_bytes + SEAL_FRAME_BYTES, "planned and built length agree");
        head.group += 1;
        let first_seq = end_seq - self.leaves.len() as u64;
        Group { bytes: self.bytes, leaves: self.leaves, first_seq }
    }

    fn finish_last(&mut self, head: &mut Head, mark: impl FnOnce(&mut [u8])) {
        let Some(body) = self.last_body.take() else { return };
        mark(&mut self.bytes[body..]);
        let leaf = leaf_hash_prefixed(&self.bytes[body - 1..]);
        frame::finish(body, &mut self.bytes);
        head.previous = leaf;
        head.frontier.push(leaf);
        self.leaves.push(leaf);
    }
}

/// Where a segment's header states when it was made.
const CREATED_AT: usize = 120;

/// Where the next group of a segment goes, with the running hash that its seal will state.
#[derive(Clone, Debug)]
pub(crate) struct Fill {
    /// Position of the segment.
    pub(crate) number: u64,
    /// Its first entry.
    pub(crate) first_seq: u64,
    /// Bytes in use, header included.
    pub(crate) used_bytes: u64,
    /// Length of the file.
    pub(crate) capacity_bytes: u64,
    /// UTC when it was made, nanoseconds, as its header states it.
    pub(crate) created_utc_ns: u64,
    /// SHA-256 of the bytes in use, as far as it has got.
    pub(crate) hasher: Sha256,
}

impl Fill {
    /// A segment that consists of its header.
    pub(crate) fn new(number: u64, first_seq: u64, capacity_bytes: u64, header: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(header);
        let created_utc_ns =
            header.get(CREATED_AT..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b));
        Self { number, first_seq, used_bytes: header.len() as u64, capacity_bytes, created_utc_ns, hasher }
    }

    /// Whether `bytes` more fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used_bytes + bytes as u64 <= self.capacity_bytes
    }

    /// Takes a group up; returns where it goes.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> u64 {
        let offset = self.used_bytes;
        self.used_bytes += bytes.len() as u64;
        self.hasher.update(bytes);
        offset
    }

    /// SHA-256 of the bytes in use.
    pub(crate) fn sha256(&self) -> Hash {
        self.hasher.clone().finalize().into()
    }
}
