//! An append-only, hash-chained, provable log of opaque entries.
//!
//! It knows nothing of what is logged. One writer thread gives groups of entries one synced write each; an entry is acknowledged
//! only after that write returned. Every entry carries the hash of the one before, and the same hashes are the leaves of a
//! Merkle tree whose root is signed every second. Every group is sealed with the key of an epoch that is erased when the epoch
//! ends. [`verify`] says what the bytes prove and what they do not.
//!
//! `FORMAT.md` specifies every byte, so that nobody needs this crate to check a log.
//!
//! Sources: RFC 6962 (tree), C2SP signed-note and tlog-checkpoint (checkpoints), Schneier and Kelsey 1999 (forward security).

mod chain;
mod disk;
mod durable;
mod entry;
mod epoch;
mod error;
mod fields;
mod frame;
#[cfg(test)]
mod golden;
mod group;
mod init;
mod lanes;
mod layout;
mod log;
mod open;
mod options;
mod payload;
mod queue;
mod recovery;
mod segment;
mod sha_ni;
mod space;
mod waiters;
mod walk;
mod writer;

pub mod bundle;
pub mod checkpoint;
pub mod clock;
pub mod cosignature;
pub mod follow;
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
pub mod kind;
pub mod merkle;
pub mod nodes;
pub mod note;
pub mod proof;
pub mod reader;
pub mod retention;
pub mod storage;
pub mod tail;
pub mod tlog_proof;
#[cfg(feature = "tool")]
pub mod tool;
pub mod verify;
pub mod witness;

pub use chain::{
    HASH_BYTES, Hash, genesis_link, hash_from_hex, hex, leaf_hash, log_id, node_hash, sha256, sha256_of,
};
pub use clock::{Clock, ClockEvidence, SystemClock};
pub use entry::{
    CLOCK_ERROR_UNKNOWN_NS, ClockState, Draft, ENTRY_BYTES_MAX, EntryError, EntryRef, Header, OrderLink,
    PAYLOAD_BYTES_MAX, SessionLink, Stamp,
};
pub use epoch::{EpochKey, escrow_fingerprint};
pub use error::{AppendError, Failure, InitError, OpenError, OptionsError, TryAppendError};
pub use frame::FrameError;
pub use group::GROUP_BYTES_MAX;
pub use init::{ESCROW_K0, ESCROW_KEY, FORMAT, Initialised, init, init_storage};
pub use layout::{Genesis, Prune, Recovery, Start, Torn};
pub use log::{Log, Receipt, Stats, Turn};
pub use options::{
    InitOptions, Options, QUEUE_ENTRIES_MAX, RECEIPTS_PER_QUEUE_ENTRY, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
pub use payload::{HOLD_NAME_BYTES_MAX, HOLD_REASON_BYTES_MAX, Hold, HoldRange, StateHash, Stored, TapeLink};
pub use segment::{
    BUILD_BYTES_MAX, IN_FLIGHT_BYTES, SEGMENT_HEADER_BYTES, Seal, SealReason, SegmentError, SegmentHeader,
    seal_name, segment_name,
};
pub use sha_ni::sha256_pair;
pub use space::Space;
