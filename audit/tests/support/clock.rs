//! Clocks that tests move.

use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::{Clock, ClockState, Stamp};

/// A clock that only the test moves; both its times are the same.
#[derive(Debug, Default)]
pub(crate) struct StoppedClock {
    /// The time, nanoseconds.
    pub(crate) now_ns: AtomicU64,
}

impl Clock for StoppedClock {
    fn now(&self) -> Stamp {
        stamp(self.now_ns.load(Ordering::Relaxed))
    }
}

/// A clock that moves on with every look at it, so that epochs and checkpoints come thick and fast.
#[derive(Debug, Default)]
pub(crate) struct RestlessClock {
    now_ns: AtomicU64,
}

impl Clock for RestlessClock {
    fn now(&self) -> Stamp {
        stamp(self.now_ns.fetch_add(50_000, Ordering::Relaxed))
    }
}

fn stamp(now_ns: u64) -> Stamp {
    let clock_state = ClockState::Synchronised;
    Stamp { utc_ns: now_ns, monotonic_ns: now_ns, clock_error_ns: 0, clock_state }
}
