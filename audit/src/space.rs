//! Room on the file system: ample, low, critical, and what each means.
//!
//! The segment that is written and the next one have their room already: they are filled with zeros ahead. So what is left decides how long
//! the log can go on, not whether the next entry fits. When it is critical, whoever uses the log should write only what
//! must be written, and the `reserve` file is given back so that checkpoints and seals still fit.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::fields::FieldsWriter;
use crate::options::Options;
use crate::storage::FreeSpace;

/// File that holds room for checkpoints and seals; not part of the log.
pub(crate) const RESERVE: &str = "reserve";
/// The reserve is this part of a segment: of the default, 4 MiB, checkpoints of some hours and the seals of many segments.
pub(crate) const RESERVE_PART: u64 = 64;

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// Enough.
    #[default]
    Ample,
    /// Somebody should make room: an alert.
    Low,
    /// Only what must be is to be written: no new work is taken on.
    Critical,
}

impl Space {
    const ALL: [Self; 3] = [Self::Ample, Self::Low, Self::Critical];

    /// The name in a SPACE entry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Low => "low",
            Self::Critical => "critical",
        }
    }

    /// What this much room is. Shares of a large disk are capped by what matters: how many more segments fit.
    pub(crate) fn of(space: FreeSpace, options: &Options) -> Self {
        let share = |percent: u8, segments: u64| {
            let percent = space.total_bytes / 100 * u64::from(percent);
            percent.min(options.segment_bytes.saturating_mul(segments))
        };
        if space.free_bytes < share(options.space_critical_percent, 4) {
            Self::Critical
        } else if space.free_bytes < share(options.space_low_percent, 16) {
            Self::Low
        } else {
            Self::Ample
        }
    }

    /// Payload of the entry that says so.
    pub(crate) fn to_payload(self, space: FreeSpace) -> Vec<u8> {
        FieldsWriter::new("sealfeed/v1 space")
            .text("state", self.name())
            .number("free", space.free_bytes)
            .number("total", space.total_bytes)
            .finish()
            .into_bytes()
    }
}

/// A [`Space`] that threads share.
#[derive(Debug, Default)]
pub(crate) struct SharedSpace(AtomicU8);

impl SharedSpace {
    pub(crate) fn get(&self) -> Space {
        Space::ALL.get(usize::from(self.0.load(Ordering::Relaxed))).copied().unwrap_or(Space::Critical)
    }

    pub(crate) fn set(&self, space: Space) {
        self.0.store(space as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { segment_bytes: 1 << 20, ..Options::new("log.example") }
    }

    #[test]
    fn shares_of_a_small_disk_and_segments_of_a_large_one_decide() {
        let of = |free_bytes, total_bytes| Space::of(FreeSpace { free_bytes, total_bytes }, &options());
        assert_eq!(of(3_000_000, 10_000_000), Space::Ample);
        assert_eq!(of(1_900_000, 10_000_000), Space::Low);
        assert_eq!(of(900_000, 10_000_000), Space::Critical);
        // One terabyte: a tenth of it would be 100 GB; 16 and 4 segments of 1 MiB are what counts.
        assert_eq!(of(17 << 20, 1 << 40), Space::Ample);
        assert_eq!(of(15 << 20, 1 << 40), Space::Low);
        assert_eq!(of(3 << 20, 1 << 40), Space::Critical);
        assert_eq!(of(0, 0), Space::Ample, "a file system that does not say is not full");
    }

    #[test]
    fn shared_space_keeps_every_state() {
        let shared = SharedSpace::default();
        for space in Space::ALL {
            shared.set(space);
            assert_eq!(shared.get(), space);
        }
    }
}
