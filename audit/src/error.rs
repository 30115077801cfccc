//! The errors of the log, one type per thing a caller can ask for.

use std::io;
use std::sync::Arc;

use crate::entry::{Draft, PAYLOAD_BYTES_MAX};
use crate::note::NoteError;
use crate::segment::SegmentError;

/// An option is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The origin cannot name a key.
    #[error("origin must be 1 to 255 visible ASCII characters without '+'")]
    Origin,
    /// The build text is too long or not on one line.
    #[error("build must be at most 128 bytes without control characters")]
    Build,
    /// A number is out of range.
    #[error("option {name} is out of range")]
    Range {
        /// The field of the options.
        name: &'static str,
    },
}

/// Why a new log could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// An option is out of range.
    #[error("options refused")]
    Options(#[from] OptionsError),
    /// The folder holds a log already.
    #[error("folder already holds a log")]
    Exists,
    /// Keys could not be made.
    #[error("keys could not be made")]
    Keys(#[source] NoteError),
    /// The escrow folder holds the secret of another log.
    #[error(
        "the escrow folder already holds a k0.hex that is not this log's: move it to its safe, or name another folder"
    )]
    EscrowOccupied,
    /// The disk refused.
    #[error("could not write {what}")]
    Io {
        /// What was being written.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Why a log was not opened. Nothing was written unless recovery had begun, which can be begun again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option is out of range.
    #[error("options refused")]
    Options(#[from] OptionsError),
    /// There is no log in the folder.
    #[error("folder holds no log")]
    NoLog,
    /// Another process writes this log.
    #[error("another writer holds the log")]
    Locked,
    /// The log in the folder is another one, or a file in it belongs to another.
    #[error("log is not the one expected: {what}")]
    WrongLog {
        /// What does not fit.
        what: &'static str,
    },
    /// A key cannot be used.
    #[error("could not use {what}")]
    Key {
        /// Which key.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: NoteError,
    },
    /// A checkpoint given as known from elsewhere is none of this log, or its signature is wrong.
    #[error("checkpoint number {index} known from elsewhere cannot be used")]
    Witnessed {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: NoteError,
    },
    /// The log is shorter than something that was durable before: an old copy was put back, or the end was cut off.
    #[error("log was rolled back: it ends at entry {kept}, but {source_of_claim} knows of {claimed}")]
    Rollback {
        /// Entries in complete groups.
        kept: u64,
        /// Entries (or epochs) there must have been.
        claimed: u64,
        /// What claims so.
        source_of_claim: &'static str,
    },
    /// The log is damaged in a way that no crash explains; nothing was written.
    #[error("log is damaged beyond what a crash explains: {what} at byte {offset} of {file}")]
    Corrupt {
        /// File relative to the log's folder.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A segment header cannot be used.
    #[error("could not use the header of {file}")]
    Segment {
        /// File relative to the log's folder.
        file: String,
        /// What is wrong with it.
        #[source]
        source: SegmentError,
    },
    /// The disk refused.
    #[error("could not {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The log failed while its first entry was written.
    #[error("log failed while it was opened")]
    Failed(#[source] Failure),
}

/// Why the log failed. Final: the process must end, and the next start goes through recovery.
#[derive(Clone, Debug, thiserror::Error)]
#[error("log failed: could not {what}")]
pub struct Failure {
    /// What was tried.
    pub what: &'static str,
    /// The system's answer.
    #[source]
    pub source: Arc<io::Error>,
}

/// Why an entry was not taken, or will never be durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The payload is too long.
    #[error("payload of {bytes} bytes is longer than {max}", max = PAYLOAD_BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The kind belongs to the log.
    #[error("kind {0} is the log's own")]
    Kind(u16),
    /// An order's previous entry cannot be entry 0 or an entry that was not yet appended.
    #[error("order's previous entry {0} is not before this one")]
    Link(u64),
    /// The log was stopped.
    #[error("log is stopped")]
    Stopped,
    /// There is no such entry yet.
    #[error("entry {0} was never appended")]
    NoSuchEntry(u64),
    /// The log failed; nothing is acknowledged any more.
    #[error("log has failed")]
    Failed(#[source] Failure),
}

/// Why an entry was not taken without waiting.
#[derive(Debug, thiserror::Error)]
pub enum TryAppendError {
    /// The queue is full; the draft comes back.
    #[error("queue of the log is full")]
    Full(Box<Draft>),
    /// It would not be taken with waiting either.
    #[error("entry refused")]
    Refused(#[source] AppendError),
}
