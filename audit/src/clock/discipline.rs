//! How well the clock is synchronised, out of what the kernel answers.
//!
//! Sources: `adjtimex(2)`; `linux/timex.h` for the numbers, which are the kernel's permanent interface.

use std::fmt::Debug;

use super::kernel::{self, Answer};
use crate::entry::ClockState;

const STA_UNSYNC: i32 = 0x0040;
const STA_NANO: i32 = 0x2000;
const TIME_INS: i32 = 1;
const TIME_DEL: i32 = 2;
const TIME_OOP: i32 = 3;
const TIME_ERROR: i32 = 5;

/// What a system says of the synchronisation of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discipline {
    /// Whether an external source disciplines the clock.
    pub synchronised: bool,
    /// What is still to be corrected, nanoseconds.
    pub offset_ns: i64,
    /// Maximum error, nanoseconds, as whoever disciplines the clock has told the kernel; the kernel adds 500 microseconds for
    /// every second since.
    pub max_error_ns: u64,
    /// Whether a leap second is near.
    pub leap: Leap,
}

/// A leap second that is announced or under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leap {
    /// None.
    #[default]
    None,
    /// One is inserted at the end of this UTC day.
    Insert,
    /// One is left out at the end of this UTC day.
    Delete,
    /// One is being inserted.
    InProgress,
}

impl Discipline {
    /// Bound of the clock's error: maximum error and what is still to be corrected, nanoseconds.
    #[must_use]
    pub const fn error_ns(&self) -> u64 {
        self.max_error_ns.saturating_add(self.offset_ns.unsigned_abs())
    }

    /// What an entry's header says of it.
    #[must_use]
    pub const fn state(&self) -> ClockState {
        if self.synchronised { ClockState::Synchronised } else { ClockState::Unsynchronised }
    }

    fn from_answer(answer: &Answer) -> Self {
        let nanoseconds = answer.status & STA_NANO != 0;
        Self {
            synchronised: answer.status & STA_UNSYNC == 0 && answer.state != TIME_ERROR,
            offset_ns: if nanoseconds { answer.offset } else { answer.offset.saturating_mul(1_000) },
            // A negative error is no bound at all.
            max_error_ns: u64::try_from(answer.max_error_us).map_or(u64::MAX, |us| us.saturating_mul(1_000)),
            leap: match answer.state {
                TIME_INS => Leap::Insert,
                TIME_DEL => Leap::Delete,
                TIME_OOP => Leap::InProgress,
                _ => Leap::None,
            },
        }
    }
}

/// Who is asked about the clock's synchronisation.
pub trait Source: Send + Debug {
    /// The state now; `None` where nobody knows.
    fn discipline(&mut self) -> Option<Discipline>;
}

/// The kernel: `adjtimex` on Linux; other systems are not asked, so nothing is known there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Source for Kernel {
    fn discipline(&mut self) -> Option<Discipline> {
        kernel::ask().map(|answer| Discipline::from_answer(&answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_numbers_are_the_systems() {
        assert_eq!((STA_UNSYNC, STA_NANO), (libc::STA_UNSYNC, libc::STA_NANO));
        assert_eq!((TIME_INS, TIME_DEL, TIME_OOP), (libc::TIME_INS, libc::TIME_DEL, libc::TIME_OOP));
        assert_eq!(TIME_ERROR, libc::TIME_ERROR);
    }

    #[test]
    fn a_clock_is_synchronised_unless_the_kernel_says_that_it_is_not() {
        let synchronised = |state, status| {
            Discipline::from_answer(&Answer { state, status, ..Answer::default() }).synchronised
        };
        assert!(synchronised(0, 0) && synchronised(TIME_INS, 0x2001));
        assert!(!synchronised(0, STA_UNSYNC));
        assert!(!synchronised(TIME_ERROR, 0));
        assert!(!synchronised(TIME_ERROR, STA_UNSYNC | STA_NANO));
    }

    #[test]
    fn numbers_become_nanoseconds_and_none_overflows() {
        let read = |status, offset, max_error_us| {
            let read = Discipline::from_answer(&Answer { state: 0, status, offset, max_error_us });
            (read.offset_ns, read.max_error_ns, read.error_ns())
        };
        assert_eq!(read(STA_NANO, -1_500, 250), (-1_500, 250_000, 251_500));
        assert_eq!(read(0, -2, 250), (-2_000, 250_000, 252_000));
        assert_eq!(read(0, i64::MIN, i64::MAX), (i64::MIN, u64::MAX, u64::MAX));
        assert_eq!(read(0, i64::MAX, 0), (i64::MAX, 0, i64::MAX.unsigned_abs()));
        assert_eq!(read(STA_NANO, 0, -1), (0, u64::MAX, u64::MAX));
    }

    #[test]
    fn leap_seconds_are_told_apart() {
        let leap = |state| Discipline::from_answer(&Answer { state, ..Answer::default() }).leap;
        let all: Vec<_> = (0..=5).map(leap).collect();
        assert_eq!(all, [Leap::None, Leap::Insert, Leap::Delete, Leap::InProgress, Leap::None, Leap::None]);
    }
}
