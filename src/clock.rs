//! The only place that asks the operating system for the time.
//!
//! Everything else is handed a [`Clock`] or a [`UnixNanos`], so that tests decide what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::types::UnixNanos;

/// A source of UTC time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands still until it is set: for tests.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that shows `now` until [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(now: UnixNanos) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(now.0)))
    }

    /// The time now. A system clock set before 1970 reads as 0, which every freshness check refuses.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        match self {
            Self::System => UnixNanos(since_epoch().as_nanos().try_into().unwrap_or(u64::MAX)),
            Self::Manual(ns) => UnixNanos(ns.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock; a system clock stays what it is.
    pub fn set(&self, now: UnixNanos) {
        if let Self::Manual(ns) = self {
            ns.store(now.0, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `now` as RFC 3339 with nanoseconds, UTC: `2026-11-22T13:21:47.000000000Z`; the number itself if it lies
/// beyond the calendar.
#[must_use]
pub fn format_utc(now: UnixNanos) -> String {
    sealfeed_audit::tool::utc(now.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_text_keeps_every_nanosecond() {
        assert_eq!(format_utc(UnixNanos(1_703_545_200_000_000_001)), "2023-12-25T23:00:00.000000001Z");
        assert_eq!(format_utc(UnixNanos(0)), "1970-01-01T00:00:00.000000000Z");
    }
}
