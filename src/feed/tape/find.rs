//! Finds the keyframe from which a reader reaches a position: segments from the last backwards, then the last keyframe in the right one.

use std::path::Path;

use sealfeed_audit::follow::Follower;

use super::error::TapeError;
use super::reader::Position;
use crate::journal::tape::{BLOCK, BlockHeader, INSTRUMENTS, KEYFRAME, KeyframeHeader};
use crate::types::{Epoch, UnixNanos};

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// First sequence number of the segment.
    pub(super) segment: u64,
    /// The entry in it that is the first to be looked at.
    pub(super) entry: u64,
}

/// What an entry says of its place in time.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// A keyframe begins.
    Keyframe { entry: u64, epoch: Epoch, next: u64, ts_out: UnixNanos },
    /// A block begins.
    Block { epoch: Epoch, first: u64, first_out: UnixNanos },
}

impl Mark {
    /// Whether a keyframe lies at or before the position.
    fn reaches(self, position: Position) -> bool {
        match (self, position) {
            (Self::Keyframe { .. }, Position::First) => true,
            (Self::Keyframe { ts_out, .. }, Position::Time(time)) => ts_out <= time,
            (Self::Keyframe { epoch, next, .. }, Position::Event { epoch: wanted, number }) => {
                epoch == wanted && next <= number
            }
            (Self::Block { .. }, _) => false,
        }
    }

    /// Whether a block lies behind the position, so that no later keyframe is wanted.
    fn is_beyond(self, position: Position) -> bool {
        match (self, position) {
            (Self::Block { first_out, .. }, Position::Time(time)) => first_out > time,
            (Self::Block { epoch, first, .. }, Position::Event { epoch: wanted, number }) => {
                epoch != wanted || first > number
            }
            _ => false,
        }
    }
}

/// Where a reader of the tape in `folder` has to begin.
pub(super) fn find(folder: &Path, position: Position) -> Result<Start, TapeError> {
    let segments = Follower::segments(folder)?;
    let oldest = *segments.first().ok_or(TapeError::NotHeld)?;
    if let Position::First = position {
        return Ok(Start { segment: oldest, entry: oldest });
    }
    for segment in segments.iter().rev() {
        if first_mark(folder, *segment)?.is_some_and(|mark| mark.reaches(position)) {
            return last_reaching(folder, *segment, position);
        }
    }
    match position {
        // Nothing is older: the tape begins here.
        Position::First | Position::Time(_) => Ok(Start { segment: oldest, entry: oldest }),
        Position::Event { .. } => Err(TapeError::NotHeld),
    }
}

/// The first keyframe that begins in a segment.
fn first_mark(folder: &Path, segment: u64) -> Result<Option<Mark>, TapeError> {
    let mut found = None;
    walk(folder, segment, |mark| {
        found = matches!(mark, Mark::Keyframe { .. }).then_some(mark);
        found.is_some()
    })?;
    Ok(found)
}

/// The last keyframe of a segment that reaches the position.
fn last_reaching(folder: &Path, segment: u64, position: Position) -> Result<Start, TapeError> {
    let mut start = Start { segment, entry: segment };
    walk(folder, segment, |mark| {
        if let Mark::Keyframe { entry, .. } = mark
            && mark.reaches(position)
        {
            start.entry = entry;
        }
        mark.is_beyond(position)
    })?;
    Ok(start)
}

/// Shows `is_enough` the marks of one segment, in order, until it says so.
fn walk(folder: &Path, segment: u64, mut is_enough: impl FnMut(Mark) -> bool) -> Result<(), TapeError> {
    let mut follower = Follower::new(folder, segment)?;
    let (mut listing, mut is_done) = (None, false);
    loop {
        let is_more = follower.next_group(|entry, _, place| {
            let seq = entry.header.seq;
            if is_done || place.segment != segment {
                is_done = true;
                return;
            }
            match entry.header.kind {
                INSTRUMENTS => {
                    listing.get_or_insert(seq);
                }
                KEYFRAME => {
                    let begins = listing.take();
                    if let (Some(entry), Some((header, _))) =
                        (begins, KeyframeHeader::from_payload(entry.payload))
                    {
                        let KeyframeHeader { epoch, next, ts_out, .. } = header;
                        is_done = is_enough(Mark::Keyframe { entry, epoch, next, ts_out });
                    }
                }
                BLOCK => {
                    listing = None;
                    if let Some((header, _)) = BlockHeader::from_payload(entry.payload) {
                        let BlockHeader { epoch, first, first_out, .. } = header;
                        is_done = is_enough(Mark::Block { epoch, first, first_out });
                    }
                }
                _ => {}
            }
        })?;
        if is_done || !is_more {
            return Ok(());
        }
    }
}
