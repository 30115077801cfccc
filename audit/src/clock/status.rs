//! The last known state of synchronisation, for the header of every entry: one word that is read without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Clock, Discipline, Kernel, Source as _, SystemClock};
use crate::entry::{CLOCK_ERROR_UNKNOWN_NS, ClockState, Stamp};

/// The kernel counts on a clock that drifts by 500 parts in a million, one in this many.
const DRIFT_ONE_IN: u64 = 2_000;
/// Time of the sample in the word: units of 2^24 nanoseconds (17 ms), 30 bits of them (208 days).
const UNIT_SHIFT: u32 = 24;
const UNITS_MASK: u64 = (1 << 30) - 1;
const ERROR_SHIFT: u32 = 2;
const UNITS_SHIFT: u32 = 34;
const STATE_MASK: u64 = 3;
const ERROR_MASK: u64 = 0xffff_ffff;

/// What is known of the clock's synchronisation. Unknown until [`ClockStatus::set`] was called.
#[derive(Debug)]
pub struct ClockStatus(AtomicU64);

impl Default for ClockStatus {
    fn default() -> Self {
        let status = Self(AtomicU64::new(0));
        status.set(None, 0);
        status
    }
}

impl ClockStatus {
    /// Takes over what was found at this time of the monotonic clock. The bound of a clock that is not synchronised is unknown:
    /// nobody vouches for it.
    pub fn set(&self, discipline: Option<&Discipline>, monotonic_ns: u64) {
        let state = discipline.map_or(ClockState::Unknown, Discipline::state);
        let error = discipline.filter(|found| found.synchronised).map(Discipline::error_ns);
        let error = error.and_then(|ns| u32::try_from(ns).ok()).unwrap_or(CLOCK_ERROR_UNKNOWN_NS);
        let units = (monotonic_ns >> UNIT_SHIFT) & UNITS_MASK;
        let word = state as u64 | u64::from(error) << ERROR_SHIFT | units << UNITS_SHIFT;
        self.0.store(word, Ordering::Release);
    }

    /// Takes over what the kernel says now.
    pub fn sample(&self) {
        let now_ns = SystemClock.now().monotonic_ns;
        self.set(Kernel.discipline().as_ref(), now_ns);
    }

    /// Asks `clock` for the time and adds state and bound of the error: that of the last sample, and 500 microseconds for every
    /// second since. One that does not fit into the header's field is unknown.
    #[must_use]
    pub fn stamp(&self, clock: &dyn Clock) -> Stamp {
        // The word first: a sample is never of later than the time it is added to.
        let word = self.0.load(Ordering::Acquire);
        let stamp = clock.now();
        let clock_state = match word & STATE_MASK {
            1 => ClockState::Synchronised,
            2 => ClockState::Unsynchronised,
            _ => ClockState::Unknown,
        };
        let error = word >> ERROR_SHIFT & ERROR_MASK;
        let units = (stamp.monotonic_ns >> UNIT_SHIFT).wrapping_sub(word >> UNITS_SHIFT) & UNITS_MASK;
        // The sample may be as young as the end of its unit; it is taken as old as the beginning.
        let drift = ((units + 1) << UNIT_SHIFT) / DRIFT_ONE_IN;
        let clock_error_ns = if error == u64::from(CLOCK_ERROR_UNKNOWN_NS) {
            CLOCK_ERROR_UNKNOWN_NS
        } else {
            u32::try_from(error + drift).unwrap_or(CLOCK_ERROR_UNKNOWN_NS)
        };
        Stamp { clock_error_ns, clock_state, ..stamp }
    }
}

/// A clock whose readings say how well it is synchronised, as far as a [`ClockStatus`] knows.
#[derive(Clone, Debug)]
pub struct DisciplinedClock {
    clock: Arc<dyn Clock>,
    status: Arc<ClockStatus>,
}

impl DisciplinedClock {
    /// The clocks of the operating system, with what `status` knows about them.
    #[must_use]
    pub fn new(status: Arc<ClockStatus>) -> Self {
        Self::over(Arc::new(SystemClock), status)
    }

    /// The clocks of the operating system, with what the kernel says about them now: for a log that is opened for a few entries.
    #[must_use]
    pub fn sampled() -> Self {
        let status = ClockStatus::default();
        status.sample();
        Self::new(Arc::new(status))
    }

    /// Another clock, with what `status` knows about it.
    #[must_use]
    pub fn over(clock: Arc<dyn Clock>, status: Arc<ClockStatus>) -> Self {
        Self { clock, status }
    }
}

impl Clock for DisciplinedClock {
    fn now(&self) -> Stamp {
        self.status.stamp(&*self.clock)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Leap;

    #[derive(Debug)]
    struct At(u64);

    impl Clock for At {
        fn now(&self) -> Stamp {
            let (clock_error_ns, clock_state) = (77, ClockState::Synchronised);
            Stamp { utc_ns: 5, monotonic_ns: self.0, clock_error_ns, clock_state }
        }
    }

    fn found(synchronised: bool, offset_ns: i64, max_error_ns: u64) -> Discipline {
        Discipline { synchronised, offset_ns, max_error_ns, leap: Leap::None }
    }

    fn after(status: &ClockStatus, ns: u64) -> (ClockState, u32) {
        let stamp = status.stamp(&At(ns));
        assert_eq!((stamp.utc_ns, stamp.monotonic_ns), (5, ns));
        (stamp.clock_state, stamp.clock_error_ns)
    }

    #[test]
    fn nothing_is_known_before_the_first_sample_and_no_bound_without_synchronisation() {
        let status = ClockStatus::default();
        assert_eq!(after(&status, 9), (ClockState::Unknown, CLOCK_ERROR_UNKNOWN_NS));
        status.set(Some(&found(false, 0, 10)), 9);
        assert_eq!(after(&status, 9), (ClockState::Unsynchronised, CLOCK_ERROR_UNKNOWN_NS));
        status.set(Some(&found(true, -40, 10)), 9);
        let (state, error) = after(&status, 9);
        assert_eq!(state, ClockState::Synchronised);
        // One unit of time at most is rounded up: 8,389 ns of drift.
        assert!((50..=50 + 8_389).contains(&error), "{error}");
        status.set(None, 9);
        assert_eq!(after(&status, 9), (ClockState::Unknown, CLOCK_ERROR_UNKNOWN_NS));
    }

    proptest! {
        #[test]
        fn the_bound_grows_as_the_kernels_does_until_it_fits_no_more(
            since in 0u64..1 << 60, age_ns in 0u64..20_000_000_000_000, error_ns in 0u64..5_000_000_000,
        ) {
            let status = ClockStatus::default();
            status.set(Some(&found(true, 0, error_ns)), since);
            let least = error_ns + age_ns / DRIFT_ONE_IN;
            let (state, stated) = after(&status, since + age_ns);
            prop_assert_eq!(state, ClockState::Synchronised);
            if stated == CLOCK_ERROR_UNKNOWN_NS {
                prop_assert!(least + 16_778 >= u64::from(CLOCK_ERROR_UNKNOWN_NS));
            } else {
                prop_assert!((least..=least + 16_778).contains(&u64::from(stated)), "{} for {}", stated, least);
            }
        }
    }
}
