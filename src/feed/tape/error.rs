//! Why a tape cannot be read on.

use sealfeed_audit::reader::ReadError;

use super::codec::RecordError;

/// Why a tape cannot be read on. Nothing behind it is handed out.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The log itself cannot be read, or does not continue what was read of it.
    #[error("the tape's log cannot be read")]
    Read(#[from] ReadError),
    /// An entry is not what its kind says.
    #[error("entry {seq} of the tape is not what its kind says: {what}")]
    Entry {
        /// Its sequence number.
        seq: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A record inside a block or a keyframe cannot be understood.
    #[error("entry {seq} of the tape holds a record that cannot be understood")]
    Record {
        /// The entry's sequence number.
        seq: u64,
        /// What is wrong.
        #[source]
        source: RecordError,
    },
    /// Events are missing: the tape was given up, or blocks were lost, and yet it goes on.
    #[error("entry {seq} of the tape begins with event {found} where {expected} is due")]
    Gap {
        /// The entry's sequence number.
        seq: u64,
        /// Number of the event that is due.
        expected: u64,
        /// Number of the event that it begins with.
        found: u64,
    },
    /// What was asked for is not on the tape any more, or never was.
    #[error("the tape does not hold that position")]
    NotHeld,
    /// A keyframe does not fit the instruments that were listed in front of it.
    #[error("a keyframe of the tape does not fit its instruments")]
    Keyframe,
}
