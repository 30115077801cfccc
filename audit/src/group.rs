//! A group of entries: built, hashed and sealed in memory, then written with one synced write.
//!
//! The last entry of a group carries the group-end flag, which is hashed, so an entry is finished only when the next one comes or
//! the group closes. After it follows the seal frame. A group never spans segments and never exceeds [`GROUP_BYTES_MAX`].

use crate::chain::Hash;
use crate::entry::{Draft, Placement, Stamp, encode, mark_group_end, place};
use crate::epoch::EpochKey;
use crate::frame::{self, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameKind, SEAL_FRAME_BYTES, frame_bytes};
use crate::lanes::{Stream, hash_leaf};
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
    /// The running hash of the segment with this group at its end.
    file: Stream,
}

/// A group under construction. Its buffers are reused from group to group.
///
/// Each leaf hash waits for the one before, so one lane of the hash unit would idle: it takes up the finished frames into the
/// segment's own hash meanwhile. The tree grows when the group closes, many nodes at a time.
#[derive(Debug)]
pub(crate) struct GroupBuilder {
    bytes: Vec<u8>,
    leaves: Vec<Hash>,
    /// The running hash of the segment, with the first `hashed` of the bytes.
    file: Stream,
    hashed: usize,
    /// Where the body of the unfinished last entry starts.
    last_body: Option<usize>,
    planned_bytes: usize,
    entries: usize,
}

impl GroupBuilder {
    /// A group to be added to `fill`.
    pub(crate) fn new(fill: &Fill) -> Self {
        Self::with_buffers(fill, Vec::new(), Vec::new())
    }

    /// As [`GroupBuilder::new`], with buffers to use again.
    pub(crate) fn with_buffers(fill: &Fill, mut bytes: Vec<u8>, mut leaves: Vec<Hash>) -> Self {
        bytes.clear();
        leaves.clear();
        let file = fill.file;
        Self { bytes, leaves, file, hashed: 0, last_body: None, planned_bytes: 0, entries: 0 }
    }

    /// The group, still empty, is to be added to `fill` instead.
    pub(crate) fn follow(&mut self, fill: &Fill) {
        assert!(self.entries == 0, "nothing has gone into the hash of another segment");
        self.file = fill.file;
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
        self.add(head, draft.entry_bytes(), |bytes| encode(draft, stamp, bytes));
    }

    /// Adds an entry that is encoded but for its place.
    pub(crate) fn push_encoded(&mut self, head: &mut Head, entry: &[u8]) {
        self.add(head, entry.len(), |bytes| bytes.extend_from_slice(entry));
    }

    fn add(&mut self, head: &mut Head, entry_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.finish_last(head, |_| {});
        let at = Placement {
            seq: head.frontier.size() + self.leaves.len() as u64,
            previous: head.previous,
            epoch: head.key.epoch(),
            group: head.group,
            run: head.run,
        };
        frame::begin(FrameKind::Entry, entry_bytes, &mut self.bytes);
        let body = self.bytes.len();
        write(&mut self.bytes);
        place(&mut self.bytes[body..], &at);
        self.last_body = Some(body);
        self.planned_bytes += frame_bytes(entry_bytes);
        self.entries += 1;
    }

    /// Closes the group with the seal of the running epoch. The group must not be empty.
    pub(crate) fn close(mut self, head: &mut Head) -> Group {
        assert!(self.entries > 0, "a group has at least one entry");
        self.finish_last(head, mark_group_end);
        let first_seq = head.frontier.size();
        head.frontier.extend(&mut self.leaves.clone());
        let end_seq = head.frontier.size();
        let seal = head.key.seal(&head.log_id, end_seq - 1, &head.previous);
        frame::push_seal(&seal, &mut self.bytes);
        assert!(self.bytes.len() == self.planned_bytes + SEAL_FRAME_BYTES, "planned and built length agree");
        head.group += 1;
        self.file.update(&self.bytes[self.hashed..]);
        Group { bytes: self.bytes, leaves: self.leaves, first_seq, file: self.file }
    }

    fn finish_last(&mut self, head: &mut Head, mark: impl FnOnce(&mut [u8])) {
        let Some(body) = self.last_body.take() else { return };
        mark(&mut self.bytes[body..]);
        let frame_start = body - FRAME_HEAD_BYTES;
        let finished = &self.bytes[self.hashed..frame_start];
        let (leaf, sum) = hash_leaf(&self.bytes[body - 1..], &mut self.file, finished);
        self.hashed = frame_start;
        frame::finish(body, sum, &mut self.bytes);
        head.previous = leaf;
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
    /// The running SHA-256 of the bytes in use.
    file: Stream,
}

impl Fill {
    /// A segment that consists of its header.
    pub(crate) fn new(number: u64, first_seq: u64, capacity_bytes: u64, header: &[u8]) -> Self {
        let mut file = Stream::new();
        file.update(header);
        let created_utc_ns =
            header.get(CREATED_AT..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b));
        Self { number, first_seq, used_bytes: header.len() as u64, capacity_bytes, created_utc_ns, file }
    }

    /// Whether `bytes` more fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used_bytes + bytes as u64 <= self.capacity_bytes
    }

    /// Takes up a group that was built for where the segment now ends; returns where it goes.
    pub(crate) fn add(&mut self, group: &Group) -> u64 {
        self.add_hashed(group.bytes.len(), group.file)
    }

    /// Takes up `bytes` more, with which the running hash is `file`; returns where they go.
    pub(crate) fn add_hashed(&mut self, bytes: usize, file: Stream) -> u64 {
        self.file = file;
        let offset = self.used_bytes;
        self.used_bytes += bytes as u64;
        offset
    }

    /// Takes up the bytes of any group; returns where they go.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) -> u64 {
        let mut file = self.file;
        file.update(bytes);
        self.add_hashed(bytes.len(), file)
    }

    /// The running hash.
    pub(crate) fn file(&self) -> Stream {
        self.file
    }

    /// SHA-256 of the bytes in use.
    pub(crate) fn sha256(&self) -> Hash {
        self.file.finish()
    }
}
