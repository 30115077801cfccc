//! Finds the keyframe from which the messages of a stream behind a number can be made again.

use std::path::Path;

use sealfeed_audit::follow::Follower;

use super::error::TapeError;
use super::find::Start;
use super::retold::Missing;
use crate::journal::tape::{
    INSTRUMENTS, KEYFRAME, KEYFRAME_BYTES_MAX, KeyframeHeader, MarketState, split_keyframe,
};

/// Where a reader has to begin: with the last keyframe in which the stream had not got beyond `missing.after`.
pub(super) fn seek(folder: &Path, missing: &Missing) -> Result<Start, TapeError> {
    let mut is_reached = false;
    for segment in Follower::segments(folder)?.into_iter().rev() {
        let (mut best, mut is_other, mut is_bad) = (None, false, false);
        keyframes(folder, segment, |entry, header, markets| {
            if header.epoch != missing.tape {
                is_other = true;
                // Epochs follow each other.
                return best.is_none();
            }
            is_reached = true;
            let seq = missing.saved(markets);
            is_bad |= seq.is_none();
            let is_before = seq.is_some_and(|seq| seq <= missing.after);
            if is_before {
                best = Some(Start { segment, entry });
            }
            is_before
        })?;
        match best {
            _ if is_bad => return Err(TapeError::Keyframe),
            Some(start) => return Ok(start),
            // The epoch began behind it.
            None if is_reached && is_other => break,
            None => {}
        }
    }
    Err(TapeError::NotHeld)
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
