//! How long the oldest of what waits for a client has waited.
//!
//! Nothing is noted for a message: what waits is a number of bytes in several logs. While the socket takes nothing, the end of
//! what waits is marked from time to time; a mark that has not left says that something is at least as old as it. Bounded: the marks
//! lie an eighth of the longest wait apart, and the client is left behind or ended when the first of them is that old.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Moment;

/// Marks in the longest wait.
const MARKS: u32 = 8;

/// What waits for one client, by age.
#[derive(Debug)]
pub(super) struct Backlog {
    age_max_ms: u32,
    /// Bytes that have left.
    left: u64,
    /// None while there are none: most clients keep up.
    marks: Option<Box<Marks>>,
}

/// When so many bytes had left or waited.
#[derive(Debug, Default)]
struct Marks(VecDeque<(Moment, u64)>);

impl Backlog {
    /// Nothing waits; it may wait for so many milliseconds, at most 49 days.
    pub(super) fn new(age_max_ms: u64) -> Self {
        Self { age_max_ms: u32::try_from(age_max_ms).unwrap_or(u32::MAX), left: 0, marks: None }
    }

    fn age_max(&self) -> Duration {
        Duration::from_millis(self.age_max_ms.into())
    }

    fn marks(&self) -> impl DoubleEndedIterator<Item = (Moment, u64)> {
        self.marks.iter().flat_map(|marks| &marks.0).copied()
    }

    /// So many bytes wait now, because the socket takes nothing.
    pub(super) fn waits(&mut self, bytes: usize, now: Instant) {
        let next_after = self.age_max() / MARKS;
        let is_due =
            self.marks().next_back().is_none_or(|(at, _)| now.duration_since(at.time()) >= next_after);
        if bytes > 0 && is_due {
            let mark = (Moment::of(now), self.left + bytes as u64);
            self.marks.get_or_insert_default().0.push_back(mark);
        }
    }

    /// So many bytes have left.
    pub(super) fn leaves(&mut self, bytes: usize) {
        self.left += bytes as u64;
        let Some(Marks(marks)) = self.marks.as_deref_mut() else { return };
        while marks.front().is_some_and(|(_, end)| *end <= self.left) {
            marks.pop_front();
        }
        if marks.is_empty() {
            self.marks = None;
        }
    }

    /// Something of it will not leave any more: the rest counts from now on.
    pub(super) fn shrinks(&mut self) {
        self.marks = None;
    }

    /// When something has waited for too long, if nothing leaves.
    pub(super) fn too_old_at(&self) -> Option<Instant> {
        self.marks().next().map(|(at, _)| at.time() + self.age_max())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGE_MAX: Duration = Duration::from_millis(800);

    proptest! {
        #[test]
        fn something_is_too_old_when_a_byte_has_waited_so_long_and_at_most_an_eighth_later(
            steps in prop::collection::vec((0_u64..150, 0_usize..100, 0_usize..120), 1..100),
        ) {
            let start = Instant::now();
            let (mut now, mut backlog) = (start, Backlog::new(800));
            // When each byte came.
            let mut queue: VecDeque<Instant> = VecDeque::new();
            for (ms, comes, leaves) in steps {
                now += Duration::from_millis(ms);
                queue.extend(std::iter::repeat_n(now, comes));
                backlog.waits(queue.len(), now);
                let leaves = leaves.min(queue.len());
                queue.drain(..leaves);
                backlog.leaves(leaves);
                let age = |at: Instant| now.duration_since(at);
                let oldest = queue.front().copied().map(age);
                let marked = backlog.too_old_at().map(|at| age(at.checked_sub(AGE_MAX).unwrap()));
                prop_assert!(marked <= oldest, "nothing is thought to be older than it is: {marked:?} {oldest:?}");
                if let Some(oldest) = oldest {
                    // A step may be longer than an eighth: what came in it is marked at its end.
                    let slack = AGE_MAX / MARKS + Duration::from_millis(150);
                    prop_assert!(marked.unwrap_or_default() + slack >= oldest, "{marked:?} {oldest:?}");
                }
                prop_assert!(backlog.marks().count() <= 1 + now.duration_since(start).as_millis() as usize / 100);
            }
        }
    }

    #[test]
    fn what_is_dropped_is_not_waited_for() {
        let start = Instant::now();
        let mut backlog = Backlog::new(800);
        assert_eq!(backlog.too_old_at(), None);
        backlog.waits(0, start);
        assert_eq!(backlog.too_old_at(), None);
        backlog.waits(10, start);
        assert_eq!(backlog.too_old_at(), Some(start + AGE_MAX));
        backlog.leaves(10);
        assert!(backlog.marks.is_none(), "a client that keeps up holds none");
        backlog.waits(10, start);
        backlog.shrinks();
        assert_eq!(backlog.too_old_at(), None);
    }
}
