//! The cache against a naive model that remembers everything for ever.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::super::freshness;
use super::super::rate::RateLimiter;
use super::*;
use crate::types::TimeArithmetic;

const WINDOW_NS: u64 = 5_000_000_000;
const START: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Nonce(bytes)
}

fn cache(nonces_max: usize, per_owner_max: usize) -> ReplayCache {
    ReplayCache::new(WINDOW_NS, nonces_max, per_owner_max)
}

impl ReplayCache {
    /// Every entry in use has exactly one reachable cell and one list; counts agree.
    fn check_invariants(&self) {
        let mut listed = HashSet::new();
        let mut by_owner: HashMap<OwnerId, u32> = HashMap::new();
        for list in self.slices.iter().chain([&self.past]) {
            let (mut number, mut last) = (list.head, NONE);
            while number != NONE {
                assert!(listed.insert(number), "an entry is in one list only");
                let entry = self.entry(number);
                let hash = self.hash(entry.owner, &entry.nonce);
                let found = self.find(hash, entry.owner, &entry.nonce);
                assert_eq!(found.map(|cell| number_in(self.cells[cell])), Ok(number), "reachable");
                *by_owner.entry(entry.owner).or_insert(0) += 1;
                (last, number) = (number, entry.next);
            }
            assert_eq!(list.tail, last, "the tail is the last entry");
        }
        assert_eq!(listed.len(), self.used);
        for (owner, owned) in (0..).map(OwnerId).zip(&self.owners) {
            assert_eq!(by_owner.remove(&owner).unwrap_or(0), *owned);
        }
        assert!(by_owner.is_empty());
        assert_eq!(self.cells.iter().filter(|cell| **cell != 0).count(), self.used);
        assert!(self.used <= self.nonces_max);
        assert!(self.owners.iter().all(|owned| *owned <= self.per_owner_max));
    }
}

#[test]
fn a_replayed_nonce_is_refused_whatever_its_time() {
    let mut cache = cache(100, 100);
    let owner = OwnerId(1);
    assert_eq!(cache.insert_once(owner, nonce(1), START, START), Ok(()));
    assert_eq!(cache.insert_once(owner, nonce(1), START, START), Err(Code::OrdNonceReplayed));
    let later = START.plus_ns(2_000_000_000);
    assert_eq!(cache.insert_once(owner, nonce(1), later, later), Err(Code::OrdNonceReplayed));
    assert_eq!(cache.insert_once(OwnerId(2), nonce(1), START, START), Ok(()), "nonces are per principal");
    cache.check_invariants();
}

#[test]
fn a_nonce_is_remembered_as_long_as_its_message_could_be_fresh() {
    let mut cache = cache(100, 100);
    let ts = START.plus_ns(SKEW_NS - 1);
    assert_eq!(cache.insert_once(OwnerId(1), nonce(1), ts, START), Ok(()));
    let last_fresh = ts.plus_ns(WINDOW_NS);
    assert_eq!(freshness::check(ts, last_fresh, WINDOW_NS), Ok(()));
    assert_eq!(cache.insert_once(OwnerId(1), nonce(1), ts, last_fresh), Err(Code::OrdNonceReplayed));
}

#[test]
fn a_clock_set_back_reopens_nothing() {
    let mut cache = cache(100, 100);
    assert_eq!(cache.insert_once(OwnerId(1), nonce(1), START, START), Ok(()));
    let hour_later = START.plus_ns(3_600_000_000_000);
    assert_eq!(cache.insert_once(OwnerId(1), nonce(2), hour_later, hour_later), Ok(()));
    assert_eq!(cache.count(), 1, "the first nonce was forgotten");
    assert_eq!(freshness::check(START, START, WINDOW_NS), Ok(()), "the clock alone would let it pass");
    assert_eq!(cache.insert_once(OwnerId(1), nonce(1), START, START), Err(Code::OrdTimestampStale));
}

#[test]
fn a_full_cache_refuses_and_forgets_nothing_that_lives() {
    let mut cache = cache(8, 8);
    for number in 0..8 {
        assert_eq!(cache.insert_once(OwnerId(1), nonce(number), START, START), Ok(()));
    }
    assert_eq!(cache.insert_once(OwnerId(2), nonce(8), START, START), Err(Code::OrdReplayCacheFull));
    assert!(Code::OrdReplayCacheFull.is_retryable());
    for number in 0..8 {
        assert_eq!(cache.insert_once(OwnerId(1), nonce(number), START, START), Err(Code::OrdNonceReplayed));
    }
    let later = START.plus_ns(WINDOW_NS + 2 * SKEW_NS);
    assert_eq!(
        cache.insert_once(OwnerId(2), nonce(8), later, later),
        Ok(()),
        "room again when they are stale"
    );
    cache.check_invariants();
}

#[test]
fn one_owner_at_its_cap_leaves_room_for_others() {
    let mut cache = cache(100, 3);
    for number in 0..3 {
        assert_eq!(cache.insert_once(OwnerId(1), nonce(number), START, START), Ok(()));
    }
    assert_eq!(cache.insert_once(OwnerId(1), nonce(3), START, START), Err(Code::OrdReplayCacheFull));
    assert_eq!(cache.insert_once(OwnerId(2), nonce(3), START, START), Ok(()));
}

#[test]
fn a_caller_that_did_not_check_freshness_cannot_break_the_slices() {
    let mut cache = cache(8, 8);
    assert_eq!(
        cache.insert_once(OwnerId(1), nonce(1), UnixNanos(u64::MAX), START),
        Err(Code::OrdTimestampFuture)
    );
    assert_eq!(cache.insert_once(OwnerId(1), nonce(1), UnixNanos(0), START), Err(Code::OrdTimestampStale));
    assert_eq!(cache.insert_once(OwnerId(1), nonce(1), UnixNanos(u64::MAX), UnixNanos(u64::MAX)), Ok(()));
    cache.check_invariants();
}

#[test]
fn memory_at_the_cap_is_37_bytes_a_nonce() {
    let mut cache = cache(100_000, 100_000);
    for number in 0..100_000 {
        assert_eq!(cache.insert_once(OwnerId(1), nonce(number), START, START), Ok(()));
    }
    let bytes = cache.memory_bytes();
    assert!(bytes <= 37 * 100_000, "{bytes}");
}

#[test]
fn forgetting_keeps_up_with_a_steady_stream() {
    let mut cache = cache(10_000, 10_000);
    let mut most = 0;
    for number in 0..50_000 {
        let now = START.plus_ns(number * 2_000_000);
        assert_eq!(cache.insert_once(OwnerId(1), nonce(number), now, now), Ok(()));
        most = most.max(cache.count());
    }
    // 500 a second, remembered for window, skew and at most two slices.
    assert!(most <= 500 * 7, "{most}");
    cache.check_invariants();
}

/// What a caller does: one step of time, and a message with this nonce signed at this distance from now.
#[derive(Clone, Debug)]
struct Step {
    forward_ms: i64,
    owner: u32,
    nonce: u64,
    signed_ms: i64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (-300_i64..900, 0_u32..3, 0_u64..60, -5_500_i64..1_500)
        .prop_map(|(forward_ms, owner, nonce, signed_ms)| Step { forward_ms, owner, nonce, signed_ms });
    prop::collection::vec(step, 1..400)
}

fn shifted(time: UnixNanos, ms: i64) -> UnixNanos {
    UnixNanos(time.0.checked_add_signed(ms * 1_000_000).unwrap())
}

proptest! {
    #[test]
    fn rates_bound_what_is_remembered(
        rate in 1_u32..60,
        steps in prop::collection::vec((0_u64..700, 0_usize..3, -5_000_i64..1_000), 1..1_500),
    ) {
        let mut cache = cache(100_000, 100_000);
        let mut sessions = [(); 3].map(|()| RateLimiter::per_second(rate));
        // What the head of the file promises, for three sessions; a slice remembers longer at either of its ends.
        let remembered_ns = WINDOW_NS + 2 * SKEW_NS + 2 * WINDOW_NS / SLICES_PER_WINDOW;
        let of_one = u64::from(rate) * remembered_ns / 1_000_000_000 + u64::from(rate);
        let mut now = START;
        for (number, (forward_ms, session, signed_ms)) in (0..).zip(steps) {
            // Mostly as fast as it goes, now and then a pause.
            now = shifted(now, i64::try_from(forward_ms.saturating_sub(600) * 100).unwrap());
            now = now.plus_ns(forward_ms * 10_000);
            if sessions[session].take(now).is_ok() {
                prop_assert_eq!(cache.insert_once(OwnerId(1), nonce(number), shifted(now, signed_ms), now), Ok(()));
            }
            prop_assert!(cache.count() as u64 <= 3 * of_one, "{} of {}", cache.count(), 3 * of_one);
        }
    }

    #[test]
    fn it_agrees_with_a_model_that_forgets_nothing(steps in steps(), max in 1_usize..80, per_owner in 1_usize..40) {
        let mut cache = cache(max, per_owner);
        // Every nonce that was accepted, with the signed times of its acceptances.
        let mut model: HashMap<(u32, u64), Vec<UnixNanos>> = HashMap::new();
        let (mut now, mut latest) = (START, START);
        for Step { forward_ms, owner, nonce: number, signed_ms } in steps {
            now = shifted(now, forward_ms);
            let ts = shifted(now, signed_ms);
            if freshness::check(ts, now, WINDOW_NS).is_err() {
                continue;
            }
            latest = latest.max(now);
            let seen = model.entry((owner, number)).or_default();
            let must_remember = |ts: &UnixNanos| ts.plus_ns(WINDOW_NS + SKEW_NS) >= latest;
            match cache.insert_once(OwnerId(owner), nonce(number), ts, now) {
                Ok(()) => {
                    prop_assert!(!seen.iter().any(must_remember), "a live nonce passed twice");
                    seen.push(ts);
                }
                Err(Code::OrdNonceReplayed) => prop_assert!(!seen.is_empty(), "a nonce never seen was refused"),
                Err(Code::OrdReplayCacheFull) => {
                    let slice = WINDOW_NS / SLICES_PER_WINDOW;
                    let may_remember = |ts: &&UnixNanos| ts.plus_ns(WINDOW_NS + SKEW_NS + slice) >= latest;
                    let live = |owner: Option<u32>| model.iter()
                        .filter(|((of, _), _)| owner.is_none_or(|owner| owner == *of))
                        .map(|(_, seen)| seen.iter().filter(may_remember).count())
                        .sum::<usize>();
                    prop_assert!(live(None) >= max || live(Some(owner)) >= per_owner.min(max), "refused with room");
                }
                Err(Code::OrdTimestampStale) => prop_assert!(now < latest, "stale although the clock never went back"),
                Err(other) => prop_assert!(false, "{other:?}"),
            }
            cache.check_invariants();
        }
    }
}
