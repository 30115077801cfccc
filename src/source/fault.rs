//! What makes one instrument stale while its source goes on: what the exchange's own rules find wrong with a record.

use crate::types::Code;

/// Why an instrument is not published on until its exchange gives a new snapshot. Records are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// The book after the record is not the one that the exchange had.
    #[error("record {record}: the exchange's checksum is {expected}, the book's is {computed}")]
    Checksum {
        /// Which record.
        record: u64,
        /// What the exchange says, as its protocol writes it (signed or not).
        expected: i64,
        /// What the book gives.
        computed: i64,
    },
    /// Updates between the last one and this one are missing.
    #[error("record {record}: the update follows on {found}, the last one was {expected}")]
    Gap {
        /// Which record.
        record: u64,
        /// Last sequence number of the update before.
        expected: u64,
        /// The one in front of this update, by the exchange's rule.
        found: u64,
    },
    /// An update came a second time.
    #[error("record {record}: update {sequence} came before")]
    Repeated {
        /// Which record.
        record: u64,
        /// Its sequence number.
        sequence: u64,
    },
    /// An update came behind a later one.
    #[error("record {record}: update {found} comes behind {last}")]
    Backwards {
        /// Which record.
        record: u64,
        /// Its sequence number.
        found: u64,
        /// The one of the update before.
        last: u64,
    },
    /// An update of a book whose snapshot has not come.
    #[error("record {record}: an update without a snapshot in front of it")]
    NoSnapshot {
        /// Which record.
        record: u64,
    },
    /// The recorder connected again: updates may be missing, and the exchange sends a new snapshot.
    #[error("record {record}: the recorder connected again")]
    Reconnected {
        /// Which record.
        record: u64,
    },
    /// The book has more levels than we are ready to hold.
    #[error("record {record}: the book has more than {max} levels a side")]
    BookFull {
        /// Which record.
        record: u64,
        /// Levels allowed.
        max: usize,
    },
}

impl SourceFault {
    /// The stable code of this fault.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Checksum { .. } => Code::PubChecksumMismatch,
            Self::Gap { .. } => Code::PubSequenceGap,
            Self::Repeated { .. } => Code::PubSequenceRepeated,
            Self::Backwards { .. } => Code::PubSequenceBackwards,
            Self::NoSnapshot { .. } | Self::Reconnected { .. } => Code::PubSnapshotMissing,
            Self::BookFull { .. } => Code::PubBookFull,
        }
    }
}
