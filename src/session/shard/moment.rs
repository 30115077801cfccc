//! A time of the shard's clock in eight bytes, for what stands in memory once a connection or more often.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// What moments are counted from: when the first of them was needed.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the beginning, and one, so that none at all needs no room either. Good for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(NonZeroU64);

const _: () = assert!(size_of::<Option<Moment>>() == 8);

impl Moment {
    /// That time; the beginning if it was before.
    pub(super) fn of(time: Instant) -> Self {
        let since = time.saturating_duration_since(*BEGINNING).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(since))
    }

    /// When that is.
    pub(super) fn time(self) -> Instant {
        *BEGINNING + Duration::from_nanos(self.0.get() - 1)
    }

    /// Whether it has come.
    pub(super) fn has_come(self, now: Instant) -> bool {
        self <= Self::of(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_time_that_it_was_made_of_and_comes_then_and_not_before() {
        let _ = Moment::of(Instant::now());
        for ms in [0, 1, 60_000, 10 * 365 * 24 * 60 * 60 * 1_000] {
            let time = Instant::now() + Duration::from_millis(ms);
            let moment = Moment::of(time);
            assert_eq!(moment.time(), time);
            assert!(
                moment.has_come(time) && !moment.has_come(time.checked_sub(Duration::from_nanos(1)).unwrap())
            );
        }
        let before = BEGINNING.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(Moment::of(before).time(), *BEGINNING);
    }
}
