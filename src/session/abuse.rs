//! Malformed and unauthenticated messages: each is answered, too many in ten seconds end the session.

use std::collections::VecDeque;

use crate::types::{TimeArithmetic as _, UnixNanos};

const WINDOW_NS: u64 = 10 * 1_000_000_000;

/// Times of the last faults of one session; as many as the limit, so bounded by it.
#[derive(Debug)]
pub(super) struct Faults {
    times: VecDeque<UnixNanos>,
    max: usize,
}

impl Faults {
    /// A session without faults, which ends at `max` of them within ten seconds.
    pub(super) fn new(max: u32) -> Self {
        Self { times: VecDeque::new(), max: max as usize }
    }

    /// Notes a fault; whether the session has to end.
    pub(super) fn add(&mut self, now: UnixNanos) -> bool {
        while self.times.front().is_some_and(|first| now.since(*first) >= WINDOW_NS) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.times.len() >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_count_for_ten_seconds_and_then_no_more() {
        let mut faults = Faults::new(3);
        let second = |n: u64| UnixNanos(n * 1_000_000_000);
        assert!(!faults.add(second(1)));
        assert!(!faults.add(second(2)));
        assert!(!faults.add(second(11)), "the first has been forgotten");
        assert!(faults.add(second(11)), "three within ten seconds");
    }
}
