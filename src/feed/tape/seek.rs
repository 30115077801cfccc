//! Finds the keyframe from which the messages of a stream behind a number can be made again.

use std::path::Path;

use sealfeed_audit::follow::Follower;

use super::error::TapeError;
use super::find::{Start, find};
use super::reader::Position;
use super::retold::Missing;
use crate::journal::tape::{
    INSTRUMENTS, KEYFRAME, KEYFRAME_BYTES_MAX, KeyframeHeader, MarketState, split_keyframe,
};
use crate::types::Sequence;

/// What a keyframe says of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// It lies in another epoch, or before the stream's numbers are known.
    TooEarly,
    /// The stream had got to this number.
    At(Sequence),
}

/// Where a reader has to begin: with the last keyframe in which the stream had not got beyond `missing.after`.
pub(super) fn seek(folder: &Path, missing: &Missing) -> Result<Start, TapeError> {
    for segment in Follower::segments(folder)?.into_iter().rev() {
        let mut best = None;
        let mut is_early = false;
        keyframes(folder, segment, |entry, header, markets| {
            match says(missing, header, markets) {
                Says::At(seq) if seq <= missing.after => best = Some(Start { segment, entry }),
                Says::At(_) => return false,
                Says::TooEarly => is_early = true,
            }
            true
        })?;
        match (best, is_early) {
            (Some(start), _) => return Ok(start),
            (None, true) => break,
            (None, false) => {}
        }
    }
    match missing.from {
        // Behind the last keyframe before the stream's first reader came.
        Some((number, _)) => find(folder, Position::Event { epoch: missing.epoch, number }),
        None => Err(TapeError::NotHeld),
    }
}

fn says(missing: &Missing, header: KeyframeHeader, markets: &[MarketState]) -> Says {
    if header.epoch != missing.epoch || missing.from.is_some_and(|(number, _)| header.next < number) {
        return Says::TooEarly;
    }
    let seq = missing.saved(markets);
    seq.map_or(Says::TooEarly, Says::At)
}

/// Shows `each` the keyframes of a segment, by the entry at which each begins, until it has seen enough and says `false`.
fn keyframes(
    folder: &Path,
    segment: u64,
    mut each: impl FnMut(u64, KeyframeHeader, &[MarketState]) -> bool,
) -> Result<(), TapeError> {
    let mut follower = Follower::new(folder, segment)?;
    let (mut begins, mut content, mut is_done, mut error) = (None, Vec::new(), false, None);
    loop {
        let is_more = follower.next_group(|entry, _, place| {
            let seq = entry.header.seq;
            is_done |= place.segment != segment;
            match entry.header.kind {
                _ if is_done => {}
                INSTRUMENTS => {
                    begins.get_or_insert(seq);
                }
                KEYFRAME => {
                    let bad = |what| TapeError::Entry { seq, what };
                    let part = KeyframeHeader::from_payload(entry.payload).and_then(|(header, packed)| {
                        let part = zstd::bulk::decompress(packed, header.bytes as usize).ok()?;
                        Some((header, part))
                    });
                    let Some((header, part)) = part else {
                        is_done = true;
                        error = Some(bad("it is no part of a keyframe"));
                        return;
                    };
                    if header.part == 0 {
                        content.clear();
                    }
                    if content.len() + part.len() > KEYFRAME_BYTES_MAX {
                        is_done = true;
                        error = Some(bad("its keyframe is larger than any can be"));
                        return;
                    }
                    content.extend_from_slice(&part);
                    if header.is_last
                        && let Some(begins) = begins.take()
                    {
                        match split_keyframe(&content) {
                            Some((markets, _)) => is_done = !each(begins, header, &markets),
                            None => {
                                is_done = true;
                                error = Some(bad("its content is no keyframe"));
                            }
                        }
                    }
                }
                _ => {}
            }
        })?;
        if let Some(error) = error {
            return Err(error);
        }
        if is_done || !is_more {
            return Ok(());
        }
    }
}
