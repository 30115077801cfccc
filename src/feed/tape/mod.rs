//! The tape, seen from the feed: what is published is recorded event by event, and can be read back and published again.
//!
//! All public streams are a function of the market events that [`Feed::apply`](super::Feed::apply) takes, in order, each with the time it is
//! given. [`Recorder`] writes these down, as DBN records in blocks, with keyframes (the state of all books and streams) between them;
//! [`Reader`] hands them out again, from the beginning, a time or an event number, of a tape at rest or one that is being written, and
//! checks every block against the log's chain as it reads. [`Keyframe::feed`] makes a feed from which the same messages come out.
//!
//! The bytes are specified in `docs/TAPE.md`. Memory: a block and a keyframe; both are bounded
//! ([`UNPACKED_BYTES_MAX`](crate::journal::tape::UNPACKED_BYTES_MAX), [`KEYFRAME_BYTES_MAX`](crate::journal::tape::KEYFRAME_BYTES_MAX)).

mod codec;
mod error;
mod export;
mod find;
mod instruments;
mod keyframe;
mod reader;
mod recorder;
mod retold;
mod seek;

pub use codec::RecordError;
pub use error::TapeError;
pub use export::{Contents, Exported, Exporter, Part};
pub use keyframe::Keyframe;
pub use reader::{Item, Position, Reader, Taped};
pub use recorder::{Recorder, RecorderOptions};
pub use retold::{Missing, Pause, Retold};

#[cfg(test)]
mod tests;
