//! How many events there were within the last while, in all and by where they came from. Pure; bounded in memory.
//!
//! A window is counted in tenths: an event counts for at least nine tenths of it, and for no longer than all of it.

use std::collections::HashMap;

use crate::types::UnixNanos;

/// Parts of a window.
pub(super) const PARTS: usize = 10;
/// Sources that are told apart at once; the rest are counted together.
pub(super) const SOURCES_MAX: usize = 1_024;

/// Counts in the parts of one window.
#[derive(Clone, Debug, Default)]
struct Counts {
    parts: [u64; PARTS],
    /// Number of the newest part since 1970.
    newest: u64,
}

impl Counts {
    /// Forgets what has left the window when its newest part is `part`. Time that goes back changes nothing.
    fn advance(&mut self, part: u64) {
        let passed = part.saturating_sub(self.newest);
        for gone in 0..passed.min(PARTS as u64) {
            self.parts[Self::place(part - gone)] = 0;
        }
        self.newest = self.newest.max(part);
    }

    fn add(&mut self, part: u64, count: u64) {
        self.advance(part);
        let slot = &mut self.parts[Self::place(self.newest)];
        *slot = slot.saturating_add(count);
    }

    fn sum(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the number of parts")]
    const fn place(part: u64) -> usize {
        (part % PARTS as u64) as usize
    }
}

/// Counts within one window.
#[derive(Debug)]
pub(super) struct Window {
    part_ns: u64,
    total: Counts,
    sources: HashMap<Box<str>, Counts>,
}

impl Window {
    /// An empty window of this length.
    pub(super) fn new(window_ms: u64) -> Self {
        let part_ns = (window_ms.saturating_mul(1_000_000) / PARTS as u64).max(1);
        Self { part_ns, total: Counts::default(), sources: HashMap::new() }
    }

    /// Counts events of one source; `None` if it is not known.
    pub(super) fn add(&mut self, now: UnixNanos, source: Option<&str>, count: u64) {
        let part = now.0 / self.part_ns;
        self.total.add(part, count);
        let Some(source) = source else { return };
        if !self.sources.contains_key(source) && self.sources.len() >= SOURCES_MAX {
            self.forget(part);
        }
        if let Some(counts) = self.sources.get_mut(source) {
            counts.add(part, count);
        } else if self.sources.len() < SOURCES_MAX {
            let mut counts = Counts::default();
            counts.add(part, count);
            self.sources.insert(source.into(), counts);
        }
    }

    /// Lets time pass: what is older than the window counts no more.
    pub(super) fn advance(&mut self, now: UnixNanos) {
        let part = now.0 / self.part_ns;
        self.total.advance(part);
        self.forget(part);
    }

    fn forget(&mut self, part: u64) {
        self.sources.retain(|_, counts| {
            counts.advance(part);
            counts.sum() > 0
        });
    }

    /// How many there are in all.
    pub(super) fn total(&self) -> u64 {
        self.total.sum()
    }

    /// The source of most, and how many; of several the first by name.
    pub(super) fn busiest(&self) -> Option<(&str, u64)> {
        let sources = self.sources.iter().map(|(source, counts)| (&**source, counts.sum()));
        sources.max_by(|(left, more), (right, less)| more.cmp(less).then_with(|| right.cmp(left)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const WINDOW_MS: u64 = 1_000;
    const PART_NS: u64 = 100_000_000;

    proptest! {
        #[test]
        fn a_window_counts_as_one_who_remembers_every_event(
            steps in vec((0..400_000_000_u64, 0..4_u8, 0..3_u64), 1..200),
        ) {
            let (mut window, mut remembered, mut now) = (Window::new(WINDOW_MS), Vec::new(), 1_700_000_000_000_000_000);
            for (passed, source, count) in steps {
                now += passed;
                let source = format!("s{source}");
                window.add(UnixNanos(now), Some(&source), count);
                remembered.push((now / PART_NS, source, count));
                window.advance(UnixNanos(now));
                remembered.retain(|(part, ..)| now / PART_NS - part < PARTS as u64);
                let sum_of = |wanted: &str| {
                    remembered.iter().filter(|(_, source, _)| source == wanted).map(|(.., count)| count).sum::<u64>()
                };
                prop_assert_eq!(window.total(), remembered.iter().map(|(.., count)| count).sum::<u64>());
                let most = (0..4).map(|source| sum_of(&format!("s{source}"))).max().unwrap();
                prop_assert_eq!(window.busiest().map_or(0, |(_, count)| count), most);
                if let Some((source, count)) = window.busiest() {
                    prop_assert_eq!(sum_of(source), count);
                }
            }
        }
    }

    #[test]
    fn sources_beyond_the_bound_are_counted_in_all_and_leave_the_known_ones_alone() {
        let mut window = Window::new(WINDOW_MS);
        let now = UnixNanos(1_700_000_000_000_000_000);
        for number in 0..2 * SOURCES_MAX {
            window.add(now, Some(&number.to_string()), 1);
        }
        window.add(now, Some("7"), 5);
        assert_eq!(window.sources.len(), SOURCES_MAX);
        assert_eq!(window.total(), 2 * SOURCES_MAX as u64 + 5);
        assert_eq!(window.busiest(), Some(("7", 6)));
        // When they have left the window there is room for others.
        let later = UnixNanos(now.0 + 2_000_000_000);
        window.add(later, Some("new"), 1);
        assert_eq!((window.busiest(), window.total()), (Some(("new", 1)), 1));
    }

    #[test]
    fn time_that_goes_back_forgets_nothing_and_counts_in_the_newest_part() {
        let mut window = Window::new(WINDOW_MS);
        window.add(UnixNanos(10 * PART_NS), None, 1);
        window.add(UnixNanos(3 * PART_NS), None, 1);
        assert_eq!(window.total(), 2);
        window.advance(UnixNanos(20 * PART_NS));
        assert_eq!(window.total(), 0);
    }
}
