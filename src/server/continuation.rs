//! Whether a run's public streams go on where the run before ended: with its epoch, its numbers and its books.
//!
//! They do if the tape holds, to its last entry, what that run published, and what is published now continues that. Whatever else happened,
//! the run begins a new epoch, which tells every reader that the numbers began anew: a crash, a tape that was off, given up or put back from
//! a copy, other instruments. And so does a recording: it is told from its beginning again, and numbers that went on would pass
//! that off as news of the same market (docs/adr/0023).

use std::path::PathBuf;

use crate::feed::tape::{Item, Keyframe, Position, Reader, TapeError};
use crate::journal::tape::Opened;
use crate::types::Instruments;

/// The state to go on from, or why there is none.
pub(super) type Continuation = Result<Box<Keyframe>, NewEpoch>;

/// Why a run begins a new epoch.
#[derive(Debug, thiserror::Error)]
pub(super) enum NewEpoch {
    #[error("there is no tape")]
    NoTape,
    #[error("the tape does not end with the run before, or that did not end well")]
    NoEnd,
    #[error("{0} is a recording, which begins anew")]
    Recording(String),
    #[error("the instruments are others than those of the run before")]
    OtherInstruments,
    #[error("the end of the run before cannot be read from the tape")]
    Tape(#[from] TapeError),
}

/// Whether the streams go on from the end of this tape, where `recordings` are played from their beginning.
pub(super) fn of(
    tape: Option<&(Opened, PathBuf)>,
    instruments: &Instruments,
    recordings: &[&str],
) -> Continuation {
    let (opened, directory) = tape.ok_or(NewEpoch::NoTape)?;
    let end = opened.last_end.as_ref().ok_or(NewEpoch::NoEnd)?;
    if let Some(name) = recordings.first() {
        return Err(NewEpoch::Recording((*name).to_owned()));
    }
    let position = Position::Event { epoch: end.epoch, number: end.events };
    let Some(Item::Keyframe(keyframe)) = Reader::open(directory, position)?.next()? else {
        return Err(NewEpoch::NoEnd);
    };
    if (keyframe.epoch, keyframe.next) != (end.epoch, end.events) {
        return Err(NewEpoch::NoEnd);
    }
    let same = keyframe.instruments.count() == instruments.count()
        && keyframe.instruments.iter().zip(instruments.iter()).all(|(one, other)| one == other);
    if same { Ok(keyframe) } else { Err(NewEpoch::OtherInstruments) }
}
