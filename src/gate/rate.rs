//! Rate limits by the generic cell rate algorithm (GCRA, ITU-T I.371): one number a limiter, no timers.
//!
//! Sustained rate: `limit` an interval; burst: one interval's worth. Integers only; time is an argument. A clock set
//! back refuses for one interval at most, a clock set forward forgives one interval at most.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_wire::reply::RateLimit;

use crate::types::{TimeArithmetic, UnixNanos};

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// The interval of every limit that is stated a second.
const SECOND_NS: u64 = 1_000 * MS;

/// One rate limit and how far it is used up.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    /// Never 0.
    limit: u32,
    /// When the bucket will be empty again (the theoretical arrival time of the algorithm).
    empty_at: UnixNanos,
}

/// The limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateExceeded {
    /// After how many milliseconds the next one is accepted, rounded up.
    pub retry_after_ms: u64,
}

impl RateLimiter {
    /// At most `limit` a second; a limit of 0 counts as 1.
    #[must_use]
    pub fn per_second(limit: u32) -> Self {
        Self { limit: limit.max(1), empty_at: UnixNanos(0) }
    }

    /// Counts one, or refuses it and counts nothing.
    ///
    /// # Errors
    /// [`RateExceeded`], with the time to wait.
    pub fn take(&mut self, now: UnixNanos) -> Result<(), RateExceeded> {
        self.take_many(1, now)
    }

    /// Counts as many as something costs, or refuses it and counts nothing. What costs more than the whole burst takes all of it.
    ///
    /// # Errors
    /// [`RateExceeded`], with the time to wait.
    pub fn take_many(&mut self, cost: u32, now: UnixNanos) -> Result<(), RateExceeded> {
        let (empty_at, outcome) = step(self.empty_at, self.limit, cost, now);
        self.empty_at = empty_at;
        outcome
    }

    /// Takes over another limit, as after a change of policy; what was used stays used.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(1);
    }

    /// Whether nothing is used up: the limiter could be forgotten and made anew.
    #[must_use]
    pub fn is_idle(&self, now: UnixNanos) -> bool {
        self.empty_at <= now
    }

    /// The state that replies report, under `name`.
    #[must_use]
    pub fn state(&self, name: &'static str, now: UnixNanos) -> RateLimit {
        state(name, self.empty_at, self.limit, now)
    }
}

/// A rate limit that several threads count against: of all sessions of one principal, which may live on any shard.
///
/// One number, moved by compare and exchange: nobody waits, and only the principal's own sessions touch its cache line.
#[derive(Debug, Default)]
pub struct SharedRate(AtomicU64);

impl SharedRate {
    /// As [`RateLimiter::take_many`], at most `limit` a second; a limit of 0 counts as 1.
    ///
    /// # Errors
    /// [`RateExceeded`], with the time to wait.
    pub fn take_many(&self, limit: u32, cost: u32, now: UnixNanos) -> Result<(), RateExceeded> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (empty_at, outcome) = step(UnixNanos(seen), limit.max(1), cost, now);
            match self.0.compare_exchange_weak(seen, empty_at.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return outcome,
                Err(other) => seen = other,
            }
        }
    }

    /// The state that replies report, under `name`.
    #[must_use]
    pub fn state(&self, name: &'static str, limit: u32, now: UnixNanos) -> RateLimit {
        state(name, UnixNanos(self.0.load(Ordering::Relaxed)), limit.max(1), now)
    }
}

/// How a rate limit stood when something was last counted against it, for replies that another thread makes.
#[derive(Debug, Default)]
pub struct PublishedRate(AtomicU64);

impl PublishedRate {
    /// Says how a limit stands.
    pub fn set(&self, state: &RateLimit) {
        self.0.store(u64::from(state.limit) << 32 | u64::from(state.used), Ordering::Relaxed);
    }

    /// How it stood, under `name`; `None` before anything was counted.
    #[must_use]
    pub fn get(&self, name: &'static str) -> Option<RateLimit> {
        let [a, b, c, d, e, f, g, h] = self.0.load(Ordering::Relaxed).to_be_bytes();
        let (limit, used) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        let name = Cow::Borrowed(name);
        (limit > 0).then_some(RateLimit { name, limit, interval_ms: SECOND_NS / MS, used })
    }
}

/// Nanoseconds that one takes up. Rounded down, so that rounding never refuses what the limit allows.
fn cost_ns(limit: u32) -> u64 {
    SECOND_NS / u64::from(limit)
}

/// When the bucket would be empty; never further off than one interval, whatever the clock did.
fn level(empty_at: UnixNanos, now: UnixNanos) -> UnixNanos {
    empty_at.clamp(now, now.plus_ns(SECOND_NS))
}

/// One step of the algorithm: when the bucket is empty after it, and whether there was room. The former is to be kept even if there was
/// none: after a clock was set back, waiting must help.
fn step(empty_at: UnixNanos, limit: u32, cost: u32, now: UnixNanos) -> (UnixNanos, Result<(), RateExceeded>) {
    let full = now.plus_ns(SECOND_NS);
    let level = level(empty_at, now);
    let after = level.plus_ns(cost_ns(limit) * u64::from(cost.min(limit)));
    if after > full {
        return (level, Err(RateExceeded { retry_after_ms: after.since(full).div_ceil(MS) }));
    }
    (after, Ok(()))
}

fn state(name: &'static str, empty_at: UnixNanos, limit: u32, now: UnixNanos) -> RateLimit {
    let used = level(empty_at, now).since(now).div_ceil(cost_ns(limit).max(1));
    RateLimit {
        name: Cow::Borrowed(name),
        limit,
        interval_ms: SECOND_NS / MS,
        used: u32::try_from(used).unwrap_or(u32::MAX).min(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

    #[test]
    fn a_burst_of_one_interval_passes_and_the_next_waits_its_turn() {
        let mut limiter = RateLimiter::per_second(4);
        for used in 1..=4 {
            assert_eq!(limiter.take(START), Ok(()));
            assert_eq!(limiter.state("orders", START).used, used);
        }
        assert_eq!(limiter.take(START), Err(RateExceeded { retry_after_ms: 250 }));
        assert_eq!(limiter.take(START.plus_ns(250 * MS)), Ok(()));
        assert_eq!(limiter.take(START.plus_ns(250 * MS)), Err(RateExceeded { retry_after_ms: 250 }));
    }

    #[test]
    fn what_costs_more_takes_more_and_what_costs_too_much_takes_all_there_is() {
        let mut limiter = RateLimiter::per_second(10);
        assert_eq!(limiter.take_many(4, START), Ok(()));
        assert_eq!(limiter.state("orders", START).used, 4);
        assert_eq!(limiter.take_many(7, START), Err(RateExceeded { retry_after_ms: 100 }));
        assert_eq!(limiter.state("orders", START).used, 4, "what is refused costs nothing");
        assert_eq!(limiter.take_many(1_000, START.plus_ns(400 * MS)), Ok(()));
        assert_eq!(limiter.state("orders", START.plus_ns(400 * MS)).used, 10);
    }

    #[test]
    fn threads_that_share_a_limit_get_no_more_than_it_together() {
        let rate = SharedRate::default();
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).filter(|_| rate.take_many(50, 1, START).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!((taken, rate.state("messages", 50, START).used), (50, 50));
    }

    #[test]
    fn what_is_published_is_what_stood_when_it_was_counted() {
        let (mut limiter, published) = (RateLimiter::per_second(10), PublishedRate::default());
        assert_eq!(published.get("messages"), None);
        limiter.take_many(7, START).unwrap();
        published.set(&limiter.state("messages", START));
        assert_eq!(published.get("messages"), Some(limiter.state("messages", START)));
    }

    #[test]
    fn the_wait_that_is_told_is_enough() {
        let mut limiter = RateLimiter::per_second(3);
        let mut now = START;
        for _ in 0..50 {
            if let Err(RateExceeded { retry_after_ms }) = limiter.take(now) {
                now = now.plus_ns(retry_after_ms * MS);
                assert_eq!(limiter.take(now), Ok(()));
            }
        }
    }

    #[test]
    fn a_clock_set_back_refuses_for_one_interval_at_most() {
        let mut limiter = RateLimiter::per_second(2);
        limiter.take(START.plus_ns(3_600 * SECOND_NS)).unwrap();
        assert!(limiter.take(START).is_err());
        assert_eq!(limiter.state("orders", START).used, 2);
        assert_eq!(limiter.take(START.plus_ns(SECOND_NS)), Ok(()));
    }

    proptest! {
        #[test]
        fn a_shared_limit_decides_as_one_that_is_not_shared(
            limit in 1_u32..50,
            steps in prop::collection::vec((0_u64..400, 1_u32..60), 1..200),
        ) {
            let (mut limiter, shared, mut now) = (RateLimiter::per_second(limit), SharedRate::default(), START);
            for (step, cost) in steps {
                now = now.plus_ns(step * MS);
                prop_assert_eq!(limiter.take_many(cost, now), shared.take_many(limit, cost, now));
                prop_assert_eq!(limiter.state("messages", now), shared.state("messages", limit, now));
            }
        }

        #[test]
        fn no_second_ever_sees_more_than_burst_and_rate(
            limit in 1_u32..200,
            steps in prop::collection::vec(0_u64..400, 1..400),
        ) {
            let mut limiter = RateLimiter::per_second(limit);
            let mut now = START;
            let mut taken = Vec::new();
            for step in steps {
                now = now.plus_ns(step * MS);
                if limiter.take(now).is_ok() {
                    taken.push(now);
                }
                prop_assert!(limiter.state("orders", now).used <= limit);
            }
            for first in &taken {
                let within = taken.iter().filter(|at| **at >= *first && at.since(*first) < SECOND_NS).count();
                // The burst, and what the interval refills.
                prop_assert!(within <= 2 * limit as usize);
            }
            let span = now.since(START) / SECOND_NS + 2;
            prop_assert!(taken.len() as u64 <= u64::from(limit) * span + span);
        }
    }
}
