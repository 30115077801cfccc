//! Decides which samples of the clock become entries: the first, each that changes the verdict, and one every so often.

use super::{Breach, ClockEvidence, Discipline};
use crate::entry::{ClockState, Stamp};

/// A sample that becomes an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) evidence: ClockEvidence,
    /// Whether it says something new: it is the first one, state or verdict are others than before, or the clock was set.
    pub(super) is_news: bool,
}

/// What was seen so far. Looks at no clock and writes nothing.
#[derive(Debug)]
pub(super) struct Monitor {
    tolerance_ns: u64,
    record_interval_ns: u64,
    last: Option<Last>,
}

/// The last sample that became an entry.
#[derive(Clone, Copy, Debug)]
struct Last {
    monotonic_ns: u64,
    /// UTC less monotonic time: what only a step changes, since both are slewed alike.
    difference_ns: i128,
    verdict: (ClockState, Option<Breach>),
}

impl Monitor {
    pub(super) const fn new(tolerance_ns: u64, record_interval_ns: u64) -> Self {
        Self { tolerance_ns, record_interval_ns, last: None }
    }

    /// Takes a sample of this moment.
    pub(super) fn look(&mut self, now: &Stamp, discipline: Option<Discipline>) -> Option<Noted> {
        let difference_ns = difference_ns(now);
        let moved = self.last.map_or(0, |last| difference_ns - last.difference_ns);
        let step_ns = i64::try_from(moved).unwrap_or(if moved < 0 { i64::MIN } else { i64::MAX });
        let evidence = ClockEvidence { discipline, step_ns, tolerance_ns: self.tolerance_ns };
        let verdict = (evidence.state(), evidence.breach());
        let is_news = verdict.1 == Some(Breach::Step) || self.last.is_none_or(|last| last.verdict != verdict);
        let is_due = self
            .last
            .is_none_or(|last| now.monotonic_ns.saturating_sub(last.monotonic_ns) >= self.record_interval_ns);
        if !is_news && !is_due {
            return None;
        }
        self.last = Some(Last { monotonic_ns: now.monotonic_ns, difference_ns, verdict });
        Some(Noted { evidence, is_news })
    }
}

/// UTC less monotonic time.
pub(super) fn difference_ns(stamp: &Stamp) -> i128 {
    i128::from(stamp.utc_ns) - i128::from(stamp.monotonic_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Leap;
    use crate::entry::CLOCK_ERROR_UNKNOWN_NS;

    const SECOND: u64 = 1_000_000_000;
    const TOLERANCE: u64 = 50_000_000;

    fn at(utc_ns: u64, monotonic_ns: u64) -> Stamp {
        Stamp {
            utc_ns,
            monotonic_ns,
            clock_error_ns: CLOCK_ERROR_UNKNOWN_NS,
            clock_state: ClockState::Unknown,
        }
    }

    fn good(max_error_ns: u64) -> Option<Discipline> {
        Some(Discipline { synchronised: true, offset_ns: 0, max_error_ns, leap: Leap::None })
    }

    fn free() -> Option<Discipline> {
        Some(Discipline { synchronised: false, offset_ns: 0, max_error_ns: 16 * SECOND, leap: Leap::None })
    }

    fn monitor() -> Monitor {
        Monitor::new(TOLERANCE, 60 * SECOND)
    }

    /// Samples of a clock that nobody sets, every five seconds; whether each became an entry, and news.
    fn samples(monitor: &mut Monitor, found: &[Option<Discipline>]) -> Vec<Option<bool>> {
        let look = |(index, found): (usize, &Option<Discipline>)| {
            let now_ns = index as u64 * 5 * SECOND;
            monitor.look(&at(1_000 * SECOND + now_ns, now_ns), *found).map(|noted| noted.is_news)
        };
        found.iter().enumerate().map(look).collect()
    }

    #[test]
    fn a_good_clock_is_noted_at_once_and_then_each_minute() {
        let noted = samples(&mut monitor(), &[good(5); 30]);
        let at: Vec<_> = noted.iter().enumerate().filter(|(_, noted)| noted.is_some()).collect();
        assert_eq!(at, [(0, &Some(true)), (12, &Some(false)), (24, &Some(false))]);
    }

    #[test]
    fn a_change_of_state_or_verdict_is_noted_when_it_is_seen_and_once() {
        let found =
            [good(1), good(2), free(), free(), None, good(TOLERANCE), good(TOLERANCE + 1), good(1), good(1)];
        let news = samples(&mut monitor(), &found);
        let yes = Some(true);
        assert_eq!(news, [yes, None, yes, None, yes, yes, yes, yes, None]);
    }

    #[test]
    fn the_minute_counts_from_the_last_entry_whatever_it_was_for() {
        let mut found = [good(1); 26];
        found[6] = free();
        let noted = samples(&mut monitor(), &found);
        let at: Vec<_> = (0..26).filter(|index| noted[*index].is_some()).collect();
        assert_eq!(at, [0, 6, 7, 19]);
    }

    #[test]
    fn a_step_beyond_the_tolerance_is_a_breach_of_its_own_and_a_smaller_one_adds_up() {
        let mut monitor = monitor();
        let start = 10_000 * SECOND;
        let mut look = |monotonic_ns: u64, set_ns: i64| {
            let utc_ns = (start + monotonic_ns).checked_add_signed(set_ns).unwrap();
            let noted = monitor.look(&at(utc_ns, monotonic_ns), good(1));
            noted.map(|noted| (noted.evidence.step_ns, noted.evidence.breach()))
        };
        let tolerance = TOLERANCE.cast_signed();
        assert_eq!(look(0, 0), Some((0, None)));
        assert_eq!(look(5 * SECOND, tolerance), None);
        assert_eq!(look(10 * SECOND, tolerance + 1), Some((tolerance + 1, Some(Breach::Step))));
        // Where it was set to is where the next step is measured from.
        assert_eq!(look(15 * SECOND, tolerance + 1), Some((0, None)));
        assert_eq!(look(20 * SECOND, -7), Some((-tolerance - 8, Some(Breach::Step))));
        assert_eq!(look(25 * SECOND, -3_600_000_000_000), Some((-3_599_999_999_993, Some(Breach::Step))));
    }

    #[test]
    fn no_reading_of_a_clock_overflows() {
        let mut monitor = monitor();
        for (utc_ns, monotonic_ns) in [(0, u64::MAX), (u64::MAX, 0), (0, u64::MAX), (7, 7)] {
            assert!(monitor.look(&at(utc_ns, monotonic_ns), None).is_some());
        }
    }
}
