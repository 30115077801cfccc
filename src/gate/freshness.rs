//! Whether a signed time is near enough to ours: `ts < now + 1 s` and `now - ts <= window`.

use sealfeed_wire::Code;

use crate::types::{TimeArithmetic, UnixNanos};

/// How far a client's clock may be ahead of ours, in nanoseconds (excluded): one second.
pub const SKEW_NS: u64 = 1_000_000_000;

/// Checks `ts` against `now`; `window_ns` is how old it may be (included).
///
/// # Errors
/// [`Code::OrdTimestampFuture`] or [`Code::OrdTimestampStale`].
pub fn check(ts: UnixNanos, now: UnixNanos, window_ns: u64) -> Result<(), Code> {
    if ts >= now.plus_ns(SKEW_NS) {
        return Err(Code::OrdTimestampFuture);
    }
    if now.since(ts) > window_ns {
        return Err(Code::OrdTimestampStale);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_NS: u64 = 5_000_000_000;

    fn at(ts_ns: u64) -> Result<(), Code> {
        check(UnixNanos(ts_ns), UnixNanos(100_000_000_000), WINDOW_NS)
    }

    #[test]
    fn the_window_includes_its_old_end_and_excludes_its_young_one() {
        assert_eq!(at(95_000_000_000), Ok(()));
        assert_eq!(at(94_999_999_999), Err(Code::OrdTimestampStale));
        assert_eq!(at(100_999_999_999), Ok(()));
        assert_eq!(at(101_000_000_000), Err(Code::OrdTimestampFuture));
    }

    #[test]
    fn times_at_the_ends_of_time_are_refused_without_wrapping() {
        assert_eq!(at(0), Err(Code::OrdTimestampStale));
        assert_eq!(at(u64::MAX), Err(Code::OrdTimestampFuture));
        assert_eq!(check(UnixNanos(5), UnixNanos(0), WINDOW_NS), Ok(()), "a clock before 1970 reads as 0");
    }
}
