//! How many nonces are remembered, for whoever watches from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::types::{TimeArithmetic as _, UnixNanos};

/// How full the memory of nonces is; clones share it.
#[derive(Clone, Debug)]
pub struct NonceFill {
    used: Arc<AtomicUsize>,
    /// When it was counted.
    at: Arc<AtomicU64>,
    max: usize,
    /// After so long without a new one, all of them may be forgotten.
    lives_ns: u64,
}

impl NonceFill {
    /// Of a memory with room for `max` nonces, each of which is remembered for at most `lives_ns`.
    #[must_use]
    pub fn new(max: usize, lives_ns: u64) -> Self {
        Self { used: Arc::default(), at: Arc::default(), max, lives_ns }
    }

    /// Says how many there are now.
    pub(super) fn set(&self, used: usize, now: UnixNanos) {
        self.used.store(used, Ordering::Relaxed);
        self.at.store(now.0, Ordering::Relaxed);
    }

    /// How many are in use. The memory forgets only when it takes a new one, so those that are all past count as none.
    #[must_use]
    pub fn used(&self, now: UnixNanos) -> usize {
        let at = UnixNanos(self.at.load(Ordering::Relaxed));
        if now.since(at) > self.lives_ns { 0 } else { self.used.load(Ordering::Relaxed) }
    }

    /// How many there may be.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_count_until_the_last_of_them_is_past() {
        let fill = NonceFill::new(10, 7_000);
        let watcher = fill.clone();
        fill.set(4, UnixNanos(1_000));
        assert_eq!((watcher.used(UnixNanos(8_000)), watcher.used(UnixNanos(8_001))), (4, 0));
        assert_eq!(watcher.max(), 10);
    }
}
