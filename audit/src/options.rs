//! What can be set about a log, with its limits.

use std::sync::Arc;

use crate::chain::Hash;
use crate::clock::{Clock, SystemClock};
use crate::entry::ENTRY_BYTES_MAX;
use crate::error::OptionsError;
use crate::group::GROUP_BYTES_MAX;
use crate::segment::{BUILD_BYTES_MAX, SEGMENT_HEADER_BYTES};
use crate::storage::Storage;

/// Smallest segment: a header and two of the largest groups.
pub const SEGMENT_BYTES_MIN: u64 = (SEGMENT_HEADER_BYTES + 2 * GROUP_BYTES_MAX) as u64;
/// Largest segment.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 36;
/// Most entries that may wait in the queue.
pub const QUEUE_ENTRIES_MAX: usize = 1 << 20;
/// Receipts are kept for this many times the queue's entries.
pub const RECEIPTS_PER_QUEUE_ENTRY: usize = 4;

/// What is written into the genesis of a new log.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Name of the log, which is also the name its key signs under: 1 to 255 visible ASCII characters without `+`, by custom
    /// a host name and a path without scheme.
    pub origin: String,
    /// Build that makes the log, at most [`BUILD_BYTES_MAX`] bytes on one line.
    pub build: String,
    /// SHA-256 of the configuration the log is made under; zeros where there is none.
    pub configuration_hash: Hash,
    /// Length of the first segment in bytes, at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// Where `log.pub` and `k0.hex` are put before there is a log; without it they are only in what [`crate::init`] returns.
    pub escrow: Option<Arc<dyn Storage>>,
    /// Clock for the stamp of the genesis.
    pub clock: Arc<dyn Clock>,
}

impl InitOptions {
    /// Options for a log called `origin`, everything else at its default.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            build: concat!("sealfeed-audit ", env!("CARGO_PKG_VERSION")).to_owned(),
            configuration_hash: [0; 32],
            segment_bytes: 16 << 20,
            escrow: None,
            clock: Arc::new(SystemClock),
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        crate::note::check_name(&self.origin).map_err(|_| OptionsError::Origin)?;
        check_build(&self.build)?;
        check_segment_bytes(self.segment_bytes)
    }
}

/// How a log is written. There is no switch that turns syncing off.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the log; opening one of another name is refused.
    pub origin: String,
    /// Build of the writer, at most [`BUILD_BYTES_MAX`] bytes on one line; goes into segment headers and START.
    pub build: String,
    /// SHA-256 of the configuration in force; goes into START.
    pub configuration_hash: Hash,
    /// Length of a segment in bytes, [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// Longest time an entry waits for others to share its write, nanoseconds. Zero writes as soon as the disk is free.
    pub group_window_ns: u64,
    /// A group closes at this many entries, at least 1.
    pub group_entries_max: usize,
    /// A group closes at this many bytes, at most 65,536.
    pub group_bytes_max: usize,
    /// A checkpoint is signed this long after the last one, when there are new entries; nanoseconds.
    pub checkpoint_interval_ns: u64,
    /// A checkpoint is signed after this many entries, at least 1.
    pub checkpoint_entries: u64,
    /// Length of an epoch, nanoseconds; at least one millisecond.
    pub epoch_interval_ns: u64,
    /// Silence after which a HEARTBEAT is written, nanoseconds; at least one millisecond.
    pub heartbeat_interval_ns: u64,
    /// Begin a new segment with the first group of a new UTC day.
    pub rotate_utc_day: bool,
    /// Set the file system's immutable flag on sealed segments and their seals, where the process may (Linux, usually root). What
    /// cannot be flagged is read-only all the same. Pruning takes the flag off.
    pub immutable_segments: bool,
    /// Below this share of the file system, percent, 0 to 90, or 16 segments, whichever is less, space is low: an alert.
    pub space_low_percent: u8,
    /// Below this share, percent, at most `space_low_percent`, or 4 segments, whichever is less, only what must be is written.
    pub space_critical_percent: u8,
    /// How often free space is looked at, nanoseconds; at least one millisecond.
    pub space_interval_ns: u64,
    /// Entries that may wait in the queue, 1 to [`QUEUE_ENTRIES_MAX`]; full means that `append` blocks. The writer takes the whole
    /// queue at once, so as many again may be in its hands.
    pub queue_entries_max: usize,
    /// Bytes of entries that may wait in the queue, at least the largest entry; as many again may be in the writer's hands.
    pub queue_bytes_max: usize,
    /// Checkpoints of this log that somebody else kept: signed notes, cosigned or not. A log that does not reach them, or that
    /// differs from the largest of them, is not opened.
    pub witnessed: Vec<String>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Options for the log called `origin`, everything else at its default.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            build: concat!("sealfeed-audit ", env!("CARGO_PKG_VERSION")).to_owned(),
            configuration_hash: [0; 32],
            segment_bytes: 256 << 20,
            group_window_ns: 200_000,
            group_entries_max: 256,
            group_bytes_max: 65_536,
            checkpoint_interval_ns: 1_000_000_000,
            checkpoint_entries: 65_536,
            epoch_interval_ns: 10_000_000_000,
            heartbeat_interval_ns: 5_000_000_000,
            rotate_utc_day: true,
            immutable_segments: false,
            space_low_percent: 20,
            space_critical_percent: 10,
            space_interval_ns: 1_000_000_000,
            queue_entries_max: 65_536,
            queue_bytes_max: 64 << 20,
            witnessed: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        crate::note::check_name(&self.origin).map_err(|_| OptionsError::Origin)?;
        check_build(&self.build)?;
        check_segment_bytes(self.segment_bytes)?;
        let ranges = [
            ("group_entries_max", self.group_entries_max >= 1),
            ("group_bytes_max", (1..=65_536).contains(&self.group_bytes_max)),
            ("checkpoint_entries", self.checkpoint_entries >= 1),
            ("epoch_interval_ns", self.epoch_interval_ns >= 1_000_000),
            ("heartbeat_interval_ns", self.heartbeat_interval_ns >= 1_000_000),
            ("space_low_percent", self.space_low_percent <= 90),
            ("space_critical_percent", self.space_critical_percent <= self.space_low_percent),
            ("space_interval_ns", self.space_interval_ns >= 1_000_000),
            ("queue_entries_max", (1..=QUEUE_ENTRIES_MAX).contains(&self.queue_entries_max)),
            ("queue_bytes_max", self.queue_bytes_max >= ENTRY_BYTES_MAX),
        ];
        match ranges.iter().find(|(_, fits)| !fits) {
            Some((name, _)) => Err(OptionsError::Range { name }),
            None => Ok(()),
        }
    }
}

fn check_build(build: &str) -> Result<(), OptionsError> {
    if build.len() > BUILD_BYTES_MAX || build.chars().any(char::is_control) {
        return Err(OptionsError::Build);
    }
    Ok(())
}

fn check_segment_bytes(bytes: u64) -> Result<(), OptionsError> {
    let fits = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes);
    if fits { Ok(()) } else { Err(OptionsError::Range { name: "segment_bytes" }) }
}
