//! Reads a tape: keyframe, then event after event, at rest or while it is written.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use sealfeed_audit::follow::Follower;

use super::codec::decode;
use super::error::TapeError;
use super::find::{Start, find};
use super::instruments::{Listing, unit};
use super::keyframe::Keyframe;
use crate::journal::tape::{
    self, BLOCK, BlockHeader, END, End, INSTRUMENTS, KEYFRAME, KEYFRAME_BYTES_MAX, KeyframeHeader, SCHEMA,
};
use crate::types::{Epoch, Instruments, MarketEvent, UnixNanos};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// With the oldest that is held.
    First,
    /// With the last keyframe at or before this time of publication, so that the state at the time can be made; with the oldest that is
    /// held if all is younger. A clock that stepped back makes times occur twice: then it is one of them.
    Time(UnixNanos),
    /// With the last keyframe of the epoch at or before the event of this number.
    Event {
        /// The feed's epoch.
        epoch: Epoch,
        /// The event.
        number: u64,
    },
}

/// An event as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taped {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// Its number in the epoch, from 0, without gaps.
    pub number: u64,
    /// When the feed was given it, and published what it completed.
    pub ts_out: UnixNanos,
    /// The event.
    pub event: MarketEvent,
}

/// What a tape holds.
#[derive(Clone, Debug)]
pub enum Item {
    /// The state of all books and streams: the first item, and again where an epoch begins. Keyframes in between are left out.
    Keyframe(Box<Keyframe>),
    /// An event.
    Event(Taped),
    /// The run ended in good order here. The next may go on with the same epoch, or begin another one.
    End,
}

/// Reads a tape.
///
/// What comes out continues what came out before: entries against the chain of their log, blocks against each other. Whether the log is
/// what its writer wrote, `sealfeed audit verify` says.
///
/// ```no_run
/// # use sealfeed::feed::tape::{Item, Position, Reader};
/// # use sealfeed::types::UnixNanos;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = Reader::open("log.tape".as_ref(), Position::Time(UnixNanos(1_790_000_000_000_000_000)))?;
/// let mut feed = None;
/// while let Some(item) = reader.next()? {
///     match item {
///         Item::Keyframe(keyframe) => feed = Some(keyframe.feed(5_000_000_000)?),
///         Item::Event(taped) => {
///             let mut published = Vec::new();
///             if let Some(feed) = &mut feed {
///                 feed.apply(&taped.event, taped.ts_out, &mut published);
///             }
///         }
///         Item::End => {}
///     }
/// }
/// // `None`: nothing more yet. Called again later, the reader goes on with what was written since.
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader {
    follower: Follower,
    /// Entries before this one are not looked at.
    from: u64,
    waiting: VecDeque<RawEntry>,
    listing: Listing,
    content: Vec<u8>,
    instruments: Option<Arc<Instruments>>,
    /// Epoch and number of the event that is due.
    due: Option<(Epoch, u64)>,
    block: OpenBlock,
}

#[derive(Debug)]
struct RawEntry {
    seq: u64,
    kind: u16,
    payload: Vec<u8>,
}

/// A block that is being handed out.
#[derive(Debug, Default)]
struct OpenBlock {
    seq: u64,
    records: Vec<u8>,
    at: usize,
    left: u32,
}

impl Reader {
    /// Opens the tape in `folder`.
    ///
    /// # Errors
    /// [`TapeError::NotHeld`] for an event that is not on the tape (any more); what reading to the place meets.
    pub fn open(folder: &Path, position: Position) -> Result<Self, TapeError> {
        Self::at(folder, find(folder, position)?)
    }

    /// Opens the tape at a keyframe that was found.
    pub(super) fn at(folder: &Path, start: Start) -> Result<Self, TapeError> {
        Ok(Self {
            follower: Follower::new(folder, start.segment)?,
            from: start.entry,
            waiting: VecDeque::new(),
            listing: Listing::default(),
            content: Vec::new(),
            instruments: None,
            due: None,
            block: OpenBlock::default(),
        })
    }

    /// Instruments of the run that is being read; `None` before the first keyframe.
    #[must_use]
    pub fn instruments(&self) -> Option<&Arc<Instruments>> {
        self.instruments.as_ref()
    }

    /// Entries of the tape's log that were read, from its first one on, those that were stepped over included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.follower.tree().size()
    }

    /// The next item; `None` where there is nothing more yet.
    ///
    /// # Errors
    /// [`TapeError`]; the reader is of no more use then.
    #[expect(clippy::should_implement_trait, reason = "it goes on behind `None`, which no iterator should")]
    pub fn next(&mut self) -> Result<Option<Item>, TapeError> {
        loop {
            if self.block.left > 0 {
                return self.next_event().map(|taped| Some(Item::Event(taped)));
            }
            if let Some(entry) = self.waiting.pop_front() {
                if let Some(item) = self.take(&entry)? {
                    return Ok(Some(item));
                }
                continue;
            }
            let (from, waiting) = (self.from, &mut self.waiting);
            let is_more = self.follower.next_group(|entry, _, _| {
                let header = &entry.header;
                let is_ours = matches!(header.kind, BLOCK | KEYFRAME | INSTRUMENTS | END);
                if header.seq >= from && is_ours && header.schema == SCHEMA {
                    let payload = entry.payload.to_vec();
                    waiting.push_back(RawEntry { seq: header.seq, kind: header.kind, payload });
                }
            })?;
            if !is_more {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, entry: &RawEntry) -> Result<Option<Item>, TapeError> {
        let seq = entry.seq;
        let bad = |what| TapeError::Entry { seq, what };
        match entry.kind {
            INSTRUMENTS => {
                let list = tape::unpack(&entry.payload).ok_or(bad("it lists no instruments"))?;
                self.listing.take(&list).ok_or(bad("its list cannot be one"))?;
                Ok(None)
            }
            KEYFRAME => self.keyframe(entry),
            BLOCK => self.open_block(entry).map(|()| None),
            END => {
                let end: End = tape::unpack(&entry.payload).ok_or(bad("it ends nothing"))?;
                match self.due {
                    None => Ok(None),
                    Some(due) if due == (Epoch(end.epoch), end.events) => Ok(Some(Item::End)),
                    Some((_, expected)) => Err(TapeError::Gap { seq, expected, found: end.events }),
                }
            }
            _ => Ok(None),
        }
    }

    fn keyframe(&mut self, entry: &RawEntry) -> Result<Option<Item>, TapeError> {
        let seq = entry.seq;
        let bad = |what| TapeError::Entry { seq, what };
        let (header, packed) =
            KeyframeHeader::from_payload(&entry.payload).ok_or(bad("its header is no keyframe's"))?;
        let KeyframeHeader { epoch, next, ts_out, part, is_last, bytes } = header;
        if self.due == Some((epoch, next)) {
            // The state that was arrived at by reading.
            return Ok(None);
        }
        if let Some((due, expected)) = self.due
            && due == epoch
        {
            return Err(TapeError::Gap { seq, expected, found: next });
        }
        if part == 0 {
            self.content.clear();
        }
        let content = unpacked(packed, bytes).ok_or(bad("it cannot be decompressed"))?;
        if self.content.len() + content.len() > KEYFRAME_BYTES_MAX {
            return Err(bad("its keyframe is larger than any can be"));
        }
        self.content.extend_from_slice(&content);
        if !is_last {
            return Ok(None);
        }
        let listing = std::mem::take(&mut self.listing);
        let instruments = Arc::new(listing.finish().ok_or(TapeError::Keyframe)?);
        let content = std::mem::take(&mut self.content);
        let (markets, events) = Keyframe::read(&content, &instruments, seq)?;
        self.instruments = Some(Arc::clone(&instruments));
        self.due = Some((epoch, next));
        let keyframe = Keyframe { epoch, next, ts_out, instruments, markets, events };
        Ok(Some(Item::Keyframe(Box::new(keyframe))))
    }

    fn open_block(&mut self, entry: &RawEntry) -> Result<(), TapeError> {
        let seq = entry.seq;
        let bad = |what| TapeError::Entry { seq, what };
        let (header, packed) =
            BlockHeader::from_payload(&entry.payload).ok_or(bad("its header is no block's"))?;
        match self.due {
            // Nothing can be said about it without a keyframe in front.
            None => return Ok(()),
            Some((epoch, next)) if (epoch, next) == (header.epoch, header.first) => {}
            Some((epoch, expected)) if epoch == header.epoch => {
                return Err(TapeError::Gap { seq, expected, found: header.first });
            }
            Some(_) => return Err(bad("its epoch has no keyframe")),
        }
        let records = unpacked(packed, header.bytes).ok_or(bad("it cannot be decompressed"))?;
        self.block = OpenBlock { seq, records, at: 0, left: header.events };
        Ok(())
    }

    fn next_event(&mut self) -> Result<Taped, TapeError> {
        let OpenBlock { seq, records, at, left } = &mut self.block;
        let bad = |what| TapeError::Entry { seq: *seq, what };
        let (Some((epoch, number)), Some(instruments)) = (self.due, &self.instruments) else {
            return Err(bad("no keyframe stands in front of it"));
        };
        let mut rest = records.get(*at..).unwrap_or_default();
        let (event, ts_out) = decode(&mut rest, |id| instruments.by_id(id).map(unit))
            .map_err(|source| TapeError::Record { seq: *seq, source })?;
        *left -= 1;
        if *left == 0 && !rest.is_empty() {
            return Err(bad("it holds more than its header says"));
        }
        *at = records.len() - rest.len();
        self.due = Some((epoch, number + 1));
        Ok(Taped { epoch, number, ts_out, event })
    }
}

/// What was compressed, if it is exactly as long as its header says.
fn unpacked(packed: &[u8], bytes: u32) -> Option<Vec<u8>> {
    let unpacked = zstd::bulk::decompress(packed, bytes as usize).ok()?;
    (unpacked.len() == bytes as usize).then_some(unpacked)
}
