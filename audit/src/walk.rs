//! Reads the groups of a segment one after the other and checks what they claim about their place in the log.
//!
//! Shared by recovery, verification and reading, so that the three cannot disagree about what a complete group is. Memory is one
//! buffer of [`BUFFER_BYTES`], whatever the segment's length.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::chain::{HASH_BYTES, Hash, leaf_hash_prefixed, sha256};
use crate::entry::{EntryError, EntryRef, array};
use crate::epoch::EpochKey;
use crate::frame::{self, FRAME_ALIGNMENT, FRAME_HEAD_BYTES, FrameError, FrameKind};
use crate::group::GROUP_BYTES_MAX;
use crate::kind;
use crate::lanes::{Stream, hash_leaves};
use crate::merkle::Frontier;
use crate::segment::{IN_FLIGHT_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::storage::File;

/// Bytes read from a segment at a time.
pub(crate) const BUFFER_BYTES: usize = 1 << 20;

/// A complete group as it lies in the buffer.
#[derive(Debug)]
pub(crate) struct GroupView<'a> {
    /// Where it starts in the file.
    pub(crate) offset: u64,
    /// Its frames.
    pub(crate) bytes: &'a [u8],
    /// Where the entries are in `bytes`.
    pub(crate) entries: &'a [Range<usize>],
    /// The seal.
    pub(crate) seal: [u8; HASH_BYTES],
    /// Leaf hashes of the entries; [`Chain::take`] uses them up.
    leaves: &'a mut Vec<Hash>,
}

impl GroupView<'_> {
    /// Bytes of one of its entries.
    pub(crate) fn entry(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// Why no complete group starts where one should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The frame that is not as it should be.
    pub(crate) offset: u64,
    /// Complete entries of the group before it.
    pub(crate) entries_before: u64,
    /// What is wrong with it.
    pub(crate) what: StopReason,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StopReason {
    #[error("{0}")]
    Frame(FrameError),
    #[error("seal of a group where an entry belongs")]
    UnexpectedSeal,
    #[error("group has no seal")]
    MissingSeal,
    #[error("group is longer than a group can be")]
    TooLong,
    #[error("segment ends in the middle of a group")]
    EndOfFile,
}

/// Walks over the groups of one segment.
#[derive(Debug)]
pub(crate) struct GroupWalker {
    file: Arc<dyn File>,
    next_offset: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    filled: usize,
    buffer_offset: u64,
    entries: Vec<Range<usize>>,
    leaves: Vec<Hash>,
}

impl GroupWalker {
    /// Starts behind the header and looks at no byte at or after `end`.
    pub(crate) fn new(file: Arc<dyn File>, end: u64) -> Self {
        let start = SEGMENT_HEADER_BYTES as u64;
        Self {
            file,
            next_offset: start,
            end,
            buffer: Vec::new(),
            filled: 0,
            buffer_offset: start,
            entries: Vec::new(),
            leaves: Vec::new(),
        }
    }

    /// Where the next group starts.
    pub(crate) fn offset(&self) -> u64 {
        self.next_offset
    }

    /// The next group, or why there is none. The bytes of a group are good for their checksums only.
    pub(crate) fn next_group(&mut self) -> io::Result<Result<GroupView<'_>, Stop>> {
        self.next_group_beside(None)
    }

    /// As [`GroupWalker::next_group`]; beside the leaves, `stream` takes up the bytes of the group, and nothing where there is none.
    pub(crate) fn next_group_beside(
        &mut self,
        stream: Option<&mut Stream>,
    ) -> io::Result<Result<GroupView<'_>, Stop>> {
        self.fill()?;
        let start = usize::try_from(self.next_offset - self.buffer_offset).unwrap_or(usize::MAX);
        let bytes = self.buffer.get(start..self.filled).unwrap_or_default();
        match hash_group(bytes, stream, &mut self.entries, &mut self.leaves) {
            Ok((length, seal)) => {
                let offset = self.next_offset;
                self.next_offset += length as u64;
                let bytes = bytes.get(..length).unwrap_or_default();
                Ok(Ok(GroupView { offset, bytes, entries: &self.entries, seal, leaves: &mut self.leaves }))
            }
            Err((at, what)) => {
                let offset = self.next_offset + at as u64;
                let mut entries_before = self.entries.len() as u64;
                let ended = self.entries.last().is_some_and(|last| ends_group(bytes, last));
                if ended {
                    // What is missing or damaged is the seal, which belongs to the group's last entry.
                    entries_before -= 1;
                }
                Ok(Err(Stop { offset, entries_before, what }))
            }
        }
    }

    /// Drops what was read ahead of the next group: a writer may have changed it since.
    pub(crate) fn forget(&mut self) {
        self.filled = 0;
        self.buffer_offset = self.next_offset;
    }

    /// Makes sure that the buffer holds a whole group, or all there is.
    fn fill(&mut self) -> io::Result<()> {
        let consumed = usize::try_from(self.next_offset - self.buffer_offset).unwrap_or(usize::MAX);
        let held = self.filled.saturating_sub(consumed);
        let buffered_end = self.buffer_offset + self.filled as u64;
        if held >= GROUP_BYTES_MAX || buffered_end >= self.end {
            return Ok(());
        }
        // The buffer keeps its length and only what is held moves: filling a megabyte with zeros first costs as much as reading it.
        self.buffer.resize(BUFFER_BYTES, 0);
        self.buffer.copy_within(consumed..consumed + held, 0);
        self.buffer_offset = self.next_offset;
        let wanted = usize::try_from(self.end - buffered_end).unwrap_or(usize::MAX).min(BUFFER_BYTES - held);
        let read =
            self.file.read_at(buffered_end, self.buffer.get_mut(held..held + wanted).unwrap_or_default())?;
        self.filled = held + read;
        if read < wanted {
            self.end = self.buffer_offset + self.filled as u64;
        }
        Ok(())
    }
}

/// Length and seal of a group, or where it stops and why.
type Parsed = Result<(usize, [u8; HASH_BYTES]), (usize, StopReason)>;

/// Takes the group at the start of `bytes` apart and hashes it. Hash and checksum of an entry are taken in one pass,
/// so a body that is not what its checksum says shows late: then all is gone through again, to say what comes first.
fn hash_group(
    bytes: &[u8],
    stream: Option<&mut Stream>,
    entries: &mut Vec<Range<usize>>,
    leaves: &mut Vec<Hash>,
) -> Parsed {
    if let Ok((length, seal)) = parse_group(bytes, frame::parse_unsummed, entries) {
        let mut hashed = stream.as_deref().copied();
        if hash_leaves(bytes.get(..length).unwrap_or_default(), entries, hashed.as_mut(), leaves) {
            if let (Some(stream), Some(hashed)) = (stream, hashed) {
                *stream = hashed;
            }
            return Ok((length, seal));
        }
    }
    parse_group(bytes, frame::parse, entries)
}

/// Takes the group at the start of `bytes` apart with `parse` for each frame.
fn parse_group(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<(FrameKind, usize, usize), FrameError>,
    entries: &mut Vec<Range<usize>>,
) -> Parsed {
    entries.clear();
    let mut at = 0;
    let mut ended = false;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Err((at, StopReason::EndOfFile));
        }
        let (kind, length, total) = parse(rest).map_err(|error| (at, StopReason::Frame(error)))?;
        if at + total > GROUP_BYTES_MAX {
            return Err((at, StopReason::TooLong));
        }
        let body = at + FRAME_HEAD_BYTES;
        match (kind, ended) {
            (FrameKind::Entry, false) => {
                ended = ends_group(bytes, &(body..body + length));
                entries.push(body..body + length);
            }
            (FrameKind::Seal, true) => return Ok((at + total, array(bytes, body))),
            (FrameKind::Seal, false) => return Err((at, StopReason::UnexpectedSeal)),
            (FrameKind::Entry, true) => return Err((at, StopReason::MissingSeal)),
        }
        at += total;
    }
}

/// Bit 0 of the second byte of an entry is the group-end flag.
fn ends_group(bytes: &[u8], entry: &Range<usize>) -> bool {
    entry.len() > 1 && bytes.get(entry.start + 1).is_some_and(|flags| flags & 1 != 0)
}

/// What an entry claims that cannot be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The entry, by its place.
    pub(crate) seq: u64,
    /// Where its bytes start in the file.
    pub(crate) offset: u64,
    /// What it claims.
    pub(crate) what: ViolationKind,
}

/// Kinds of [`Violation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ViolationKind {
    #[error("{0}")]
    Entry(EntryError),
    #[error("entry carries sequence number {0}")]
    Sequence(u64),
    #[error("link to the entry before does not match its hash")]
    Link,
    #[error("entry carries group number {0}")]
    Group(u64),
    #[error("run changes without a START")]
    Run,
    #[error("entry carries epoch {found} where {expected} is due")]
    Epoch { found: u64, expected: u64 },
    #[error("epoch ends in the middle of a group")]
    EpochEnd,
    #[error("genesis is missing, misplaced or of another log")]
    Genesis,
}

impl ViolationKind {
    /// Whether the entry may still be what the writer wrote, its epoch apart.
    pub(crate) fn is_epoch(self) -> bool {
        matches!(self, Self::Epoch { .. } | Self::EpochEnd)
    }
}

/// What the next group must continue.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) previous: Hash,
    pub(crate) frontier: Frontier,
    pub(crate) group: u64,
    pub(crate) epoch: u64,
    /// The last group ended its epoch, so the next must be of the next.
    pub(crate) epoch_ended: bool,
    pub(crate) run: Option<u64>,
}

impl Chain {
    /// The chain as a segment's header states it.
    pub(crate) fn at_segment(header: &SegmentHeader) -> Self {
        Self {
            previous: header.previous,
            frontier: header.frontier.clone(),
            group: header.group,
            epoch: header.epoch,
            epoch_ended: false,
            run: None,
        }
    }

    /// Epoch that the next group must carry.
    pub(crate) fn epoch_due(&self) -> u64 {
        self.epoch + u64::from(self.epoch_ended)
    }

    /// Checks a group and takes it up, calling `each` for every entry with its leaf hash and place in the file. After an epoch
    /// violation the group is taken up all the same and the epoch it claims is believed; after any other it is not.
    pub(crate) fn take(
        &mut self,
        group: &mut GroupView<'_>,
        mut each: impl FnMut(&EntryRef<'_>, &Hash, u64),
    ) -> Result<(), Violation> {
        let first_seq = self.frontier.size();
        let mut epoch_violation = None;
        let mut violation = None;
        let mut taken = 0;
        for (range, leaf) in group.entries.iter().zip(group.leaves.iter()) {
            let seq = first_seq + taken as u64;
            let offset = group.offset + range.start as u64;
            let bad = |what| Violation { seq, offset, what };
            let entry = match EntryRef::parse(group.entry(range)) {
                Ok(entry) => entry,
                Err(error) => {
                    violation = Some(bad(ViolationKind::Entry(error)));
                    break;
                }
            };
            match self.check_place(&entry, seq, taken == 0, taken + 1 == group.entries.len()) {
                Ok(()) => {}
                Err(what) if what.is_epoch() => {
                    epoch_violation.get_or_insert(bad(what));
                    self.epoch = entry.header.epoch;
                    self.epoch_ended = false;
                }
                Err(what) => {
                    violation = Some(bad(what));
                    break;
                }
            }
            if taken == 0 && self.epoch_ended {
                self.epoch += 1;
                self.epoch_ended = false;
            }
            self.run = Some(entry.header.run);
            self.previous = *leaf;
            each(&entry, leaf, offset);
            self.epoch_ended = entry.header.kind == kind::EPOCH_END;
            taken += 1;
        }
        group.leaves.truncate(taken);
        self.frontier.extend(group.leaves);
        if let Some(violation) = violation {
            return Err(violation);
        }
        self.group += 1;
        epoch_violation.map_or(Ok(()), Err)
    }

    fn check_place(
        &self,
        entry: &EntryRef<'_>,
        seq: u64,
        first: bool,
        last: bool,
    ) -> Result<(), ViolationKind> {
        let header = &entry.header;
        if header.seq != seq {
            return Err(ViolationKind::Sequence(header.seq));
        }
        if header.previous != self.previous {
            return Err(ViolationKind::Link);
        }
        if header.group != self.group {
            return Err(ViolationKind::Group(header.group));
        }
        if (header.kind == kind::GENESIS) != (header.seq == 0) {
            return Err(ViolationKind::Genesis);
        }
        let run_begins = matches!(header.kind, kind::GENESIS | kind::START | kind::RECOVERY);
        if self.run.is_some_and(|run| run != header.run) && !run_begins {
            return Err(ViolationKind::Run);
        }
        let expected = if first { self.epoch_due() } else { self.epoch };
        if header.epoch != expected {
            return Err(ViolationKind::Epoch { found: header.epoch, expected });
        }
        if header.kind == kind::EPOCH_END && !last {
            return Err(ViolationKind::EpochEnd);
        }
        Ok(())
    }
}

/// What lies behind the last complete group of an open segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros, or nothing.
    Clean,
    /// What a crash leaves of the one group in flight.
    Torn { bytes: Vec<u8>, sha256: Hash },
    /// Something a crash does not leave.
    Corrupt { offset: u64, what: &'static str },
}

/// Looks at what follows the last complete group, which ends at `from`. `group` is the number of the group that was in flight and
/// `run` the run that wrote it: a peer can put bytes that look like a frame into a payload, but not one with the run's random
/// number.
pub(crate) fn inspect_tail(file: &dyn File, from: u64, group: u64, run: Option<u64>) -> io::Result<Tail> {
    let Some(end) = end_of_data(file, from)? else { return Ok(Tail::Clean) };
    let length = end - from;
    if length > u64::from(IN_FLIGHT_BYTES) {
        let offset = from + u64::from(IN_FLIGHT_BYTES);
        return Ok(Tail::Corrupt { offset, what: "bytes beyond the declared in-flight window" });
    }
    let length = usize::try_from(length).unwrap_or(0);
    // With the zeros that pad the last frame, or it would not look intact.
    let mut bytes = vec![0u8; length.next_multiple_of(FRAME_ALIGNMENT)];
    file.read_at(from, &mut bytes)?;
    for at in (0..bytes.len()).step_by(FRAME_ALIGNMENT) {
        let rest = bytes.get(at..).unwrap_or_default();
        let Ok((FrameKind::Entry, length, _)) = frame::parse(rest) else { continue };
        let body = rest.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length).unwrap_or_default();
        let Ok(entry) = EntryRef::parse(body) else { continue };
        if entry.header.group > group && run.is_some_and(|run| run == entry.header.run) {
            let offset = from + at as u64;
            return Ok(Tail::Corrupt { offset, what: "a later group is intact behind the damage" });
        }
    }
    bytes.truncate(length);
    let sha256 = sha256(&bytes);
    Ok(Tail::Torn { bytes, sha256 })
}

/// Where, in what follows the last complete group, the last entry of a later group than `group` stands under a seal of `key`.
pub(crate) fn sealed_group(torn: &[u8], group: u64, key: &EpochKey, log_id: &Hash) -> Option<u64> {
    let mut bytes = torn.to_vec();
    // As above: the zeros that pad the last frame are not among the torn bytes.
    bytes.resize(torn.len().next_multiple_of(FRAME_ALIGNMENT), 0);
    let is_sealed = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or_default();
        let Ok((FrameKind::Entry, length, total)) = frame::parse(rest) else { return false };
        let seal = rest.get(total..).unwrap_or_default();
        let Ok((FrameKind::Seal, ..)) = frame::parse(seal) else { return false };
        let prefixed = rest.get(FRAME_HEAD_BYTES - 1..FRAME_HEAD_BYTES + length).unwrap_or(&[0]);
        let Ok(entry) = EntryRef::parse(prefixed.get(1..).unwrap_or_default()) else { return false };
        let seal: [u8; HASH_BYTES] = array(seal, FRAME_HEAD_BYTES);
        entry.header.group > group
            && key.check_seal(log_id, entry.header.seq, &leaf_hash_prefixed(prefixed), &seal)
    };
    (0..bytes.len()).step_by(FRAME_ALIGNMENT).find(is_sealed).map(|at| at as u64)
}

/// One past the last byte at or after `from` that is not zero.
pub(crate) fn end_of_data(file: &dyn File, from: u64) -> io::Result<Option<u64>> {
    let length = file.length()?;
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut end = None;
    let mut at = from;
    while at < length {
        let read = file.read_at(at, &mut buffer)?;
        if read == 0 {
            break;
        }
        let part = buffer.get(..read).unwrap_or_default();
        // Comparing with itself shifted by one is a memory comparison, far faster than a loop over bytes.
        let zeros = part.first() == Some(&0) && part.get(1..) == part.get(..read - 1);
        if !zeros && let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            end = Some(at + last as u64 + 1);
        }
        at += read as u64;
    }
    Ok(end)
}

/// Where an intact entry of a group later than `group` starts at or after `from`, if there is one. Bytes are searched wherever
/// they lie: damage can be anywhere.
pub(crate) fn later_group(
    file: &dyn File,
    from: u64,
    group: u64,
    run: Option<u64>,
) -> io::Result<Option<u64>> {
    let Some(end) = end_of_data(file, from)? else { return Ok(None) };
    let overlap = frame::FRAME_BYTES_MAX as u64;
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut at = from;
    while at < end {
        let read = file.read_at(at, &mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        for start in (0..read).step_by(FRAME_ALIGNMENT) {
            let rest = bytes.get(start..).unwrap_or_default();
            if entry_of(rest).is_some_and(|header| header.group > group && run == Some(header.run)) {
                return Ok(Some(at + start as u64));
            }
        }
        if at + read as u64 >= end {
            break;
        }
        // The next buffer begins so early that a frame cut off by the end of this one is whole in it.
        at += (read as u64).saturating_sub(overlap).max(FRAME_ALIGNMENT as u64);
    }
    Ok(None)
}

/// Header of the intact entry frame at the start of `bytes`.
fn entry_of(bytes: &[u8]) -> Option<crate::entry::Header> {
    let (FrameKind::Entry, length, _) = frame::parse(bytes).ok()? else { return None };
    let body = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length)?;
    EntryRef::parse(body).ok().map(|entry| entry.header)
}
