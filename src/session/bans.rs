//! Who is sent away for a while: addresses of unknown peers, and principals, each in a bounded table.
//!
//! Faults are counted in windows; as many as allowed make a ban, and each further ban lasts twice as long as the one before, up to a
//! maximum. Whoever behaves for as long as that maximum begins anew. Time is an argument. Nothing is kept over a restart.
//! `docs/adr/0036-limits-and-bans.md` says whom a ban may not hit.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::limits::Limits;
use crate::config::BanConfig;
use crate::types::{Principal, TimeArithmetic as _, UnixNanos};

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;
/// The window in which failed handshakes count together.
const MINUTE_NS: u64 = 60_000 * MS;
/// How often a full table is searched for entries that have lapsed.
const SWEEP_NS: u64 = 1_000 * MS;

/// What comes of a fault that was one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sentence {
    /// It is sent away.
    Banned(Ban),
    /// It would be, were it not spared: others behind it have done nothing. Counting begins anew.
    Spared,
}

/// A ban that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ban {
    /// When it ends.
    pub(super) until: UnixNanos,
    /// Which one in a row it is, from 1.
    pub(super) count: u32,
}

/// How many faults ban, within what time, and whether they do.
#[derive(Clone, Copy)]
struct Allowed {
    /// 0: no number does.
    faults_max: u32,
    window_ns: u64,
    is_spared: bool,
}

/// What is remembered of one offender.
struct Record {
    /// Faults since the window began.
    faults: u32,
    window_began: UnixNanos,
    until: UnixNanos,
    bans: u32,
}

/// The offenders of one kind.
struct Offenders<K> {
    records: HashMap<K, Record>,
    swept: UnixNanos,
}

impl Record {
    const fn new(now: UnixNanos) -> Self {
        Self { faults: 0, window_began: now, until: UnixNanos(0), bans: 0 }
    }

    /// Nanoseconds of the ban that are left; after the clock was set back, no more than the longest ban.
    fn left(&self, config: &BanConfig, now: UnixNanos) -> u64 {
        if self.bans == 0 { 0 } else { self.until.since(now).min(config.max_ms * MS) }
    }

    /// Nothing is to be remembered of it any more.
    fn has_lapsed(&self, config: &BanConfig, window_ns: u64, now: UnixNanos) -> bool {
        let is_forgiven = self.bans == 0 || now.since(self.until) >= config.max_ms * MS;
        is_forgiven && self.left(config, now) == 0 && now.since(self.window_began) >= window_ns
    }

    fn fault(&mut self, config: &BanConfig, allowed: Allowed, now: UnixNanos) -> Option<Sentence> {
        if allowed.faults_max == 0 || self.left(config, now) > 0 {
            // What was on its way when the ban began.
            return None;
        }
        if self.faults == 0 || now.since(self.window_began) >= allowed.window_ns || now < self.window_began {
            (self.faults, self.window_began) = (0, now);
        }
        self.faults += 1;
        if self.faults < allowed.faults_max {
            return None;
        }
        (self.faults, self.window_began) = (0, now);
        if allowed.is_spared {
            return Some(Sentence::Spared);
        }
        let is_forgiven = now.since(self.until) >= config.max_ms * MS;
        self.bans = if is_forgiven { 1 } else { self.bans.saturating_add(1) };
        let doubled = 1_u64.checked_shl(self.bans - 1).unwrap_or(u64::MAX);
        let lasts_ms = config.first_ms.saturating_mul(doubled).min(config.max_ms);
        self.until = now.plus_ns(lasts_ms * MS);
        Some(Sentence::Banned(Ban { until: self.until, count: self.bans }))
    }
}

impl<K: Eq + Hash> Offenders<K> {
    fn new() -> Self {
        Self { records: HashMap::new(), swept: UnixNanos(0) }
    }

    fn fault(&mut self, who: K, config: &BanConfig, allowed: Allowed, now: UnixNanos) -> Option<Sentence> {
        if !self.records.contains_key(&who) && self.records.len() >= config.entries_max {
            if now.since(self.swept) >= SWEEP_NS || now < self.swept {
                self.swept = now;
                self.records.retain(|_, record| !record.has_lapsed(config, allowed.window_ns, now));
            }
            if self.records.len() >= config.entries_max {
                return None;
            }
        }
        self.records.entry(who).or_insert_with(|| Record::new(now)).fault(config, allowed, now)
    }

    /// Milliseconds until the ban ends, rounded up; `None` if there is none.
    fn banned(&self, who: &K, config: &BanConfig, now: UnixNanos) -> Option<u64> {
        let left = self.records.get(who)?.left(config, now);
        (left > 0).then(|| left.div_ceil(MS))
    }
}

/// Who is sent away.
pub struct Bans {
    limits: Arc<Limits>,
    addresses: Mutex<Offenders<IpAddr>>,
    principals: Mutex<Offenders<Principal>>,
}

impl Bans {
    /// Nobody is banned.
    #[must_use]
    pub fn new(limits: Arc<Limits>) -> Self {
        let (addresses, principals) = (Mutex::new(Offenders::new()), Mutex::new(Offenders::new()));
        Self { limits, addresses, principals }
    }

    /// A peer at `address`, which is to be what counts as one address, remained unknown; what comes of it, if it was one too many.
    pub(super) fn unknown_peer(&self, address: IpAddr, is_spared: bool, now: UnixNanos) -> Option<Sentence> {
        let config = &self.limits.now().ban;
        let allowed = Allowed { faults_max: config.failures_per_minute, window_ns: MINUTE_NS, is_spared };
        self.addresses.lock().fault(address, config, allowed, now)
    }

    /// A session of the principal was ended for its faults; what comes of it, if it was one too many.
    pub(super) fn session_ended(&self, principal: &Principal, now: UnixNanos) -> Option<Sentence> {
        let config = &self.limits.now().ban;
        let window_ns = config.closes_window_ms * MS;
        let allowed = Allowed { faults_max: config.closes_max, window_ns, is_spared: false };
        self.principals.lock().fault(principal.clone(), config, allowed, now)
    }

    /// Whether what counts as one address is banned.
    pub(super) fn is_address_banned(&self, address: IpAddr, now: UnixNanos) -> bool {
        self.addresses.lock().banned(&address, &self.limits.now().ban, now).is_some()
    }

    /// Milliseconds until the ban of the principal ends; `None` if there is none.
    pub(super) fn principal_banned(&self, principal: &Principal, now: UnixNanos) -> Option<u64> {
        self.principals.lock().banned(principal, &self.limits.now().ban, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
    const TWO_A_SECOND: Allowed = Allowed { faults_max: 2, window_ns: 1_000 * MS, is_spared: false };

    fn config() -> BanConfig {
        BanConfig { first_ms: 1_000, max_ms: 4_000, entries_max: 3, ..BanConfig::default() }
    }

    fn after(ms: u64) -> UnixNanos {
        START.plus_ns(ms * MS)
    }

    fn fault(offenders: &mut Offenders<u32>, who: u32, ms: u64) -> Option<(u64, u32)> {
        match offenders.fault(who, &config(), TWO_A_SECOND, after(ms))? {
            Sentence::Banned(ban) => Some((ban.until.since(START) / MS, ban.count)),
            Sentence::Spared => panic!("nobody is spared here"),
        }
    }

    #[test]
    fn as_many_faults_as_allowed_within_the_window_ban_and_fewer_do_not() {
        let mut offenders = Offenders::new();
        assert_eq!(fault(&mut offenders, 1, 0), None);
        assert_eq!(fault(&mut offenders, 1, 1_000), None, "the first has been forgotten");
        assert_eq!(fault(&mut offenders, 1, 1_999), Some((2_999, 1)));
        assert_eq!(offenders.banned(&1, &config(), after(2_000)), Some(999));
        assert_eq!(offenders.banned(&1, &config(), after(2_999)), None);
        assert_eq!(offenders.banned(&2, &config(), after(2_000)), None);
    }

    #[test]
    fn each_ban_lasts_twice_as_long_up_to_the_maximum_and_good_behaviour_begins_anew() {
        let (mut offenders, mut now, mut lasted) = (Offenders::new(), 0, Vec::new());
        for _ in 0..4 {
            assert_eq!(fault(&mut offenders, 1, now), None);
            let (until, count) = fault(&mut offenders, 1, now).unwrap();
            lasted.push((until - now, count));
            assert_eq!(fault(&mut offenders, 1, until - 1), None, "what is on its way makes it no longer");
            now = until;
        }
        assert_eq!(lasted, [(1_000, 1), (2_000, 2), (4_000, 3), (4_000, 4)]);
        now += 4_000;
        assert_eq!(fault(&mut offenders, 1, now), None);
        assert_eq!(fault(&mut offenders, 1, now), Some((now + 1_000, 1)));
    }

    #[test]
    fn none_are_banned_where_no_number_of_faults_does() {
        let (mut offenders, never) = (Offenders::new(), Allowed { faults_max: 0, ..TWO_A_SECOND });
        assert!((0..1_000).all(|_| offenders.fault(1, &config(), never, START).is_none()));
    }

    #[test]
    fn who_is_spared_is_named_each_time_and_never_banned() {
        let (mut offenders, spared) = (Offenders::new(), Allowed { is_spared: true, ..TWO_A_SECOND });
        let mut fault = |ms| offenders.fault(1, &config(), spared, after(ms));
        assert_eq!(
            [fault(0), fault(0), fault(1), fault(1)],
            [None, Some(Sentence::Spared), None, Some(Sentence::Spared)]
        );
        assert_eq!(offenders.banned(&1, &config(), after(1)), None);
    }

    #[test]
    fn a_full_table_takes_nobody_until_entries_have_lapsed_and_forgets_no_ban() {
        let mut offenders = Offenders::new();
        fault(&mut offenders, 1, 0);
        assert!(fault(&mut offenders, 1, 0).is_some());
        fault(&mut offenders, 2, 0);
        fault(&mut offenders, 3, 0);
        assert_eq!((fault(&mut offenders, 4, 1), fault(&mut offenders, 4, 2)), (None, None));
        assert_eq!(offenders.records.len(), 3);
        assert_eq!(fault(&mut offenders, 4, 1_001), None, "there is room, and it is the first");
        assert!(offenders.records.contains_key(&1) && offenders.records.contains_key(&4));
    }

    #[test]
    fn a_clock_set_back_bans_nobody_for_longer_than_the_longest_ban() {
        let mut offenders = Offenders::new();
        fault(&mut offenders, 1, 86_400_000);
        fault(&mut offenders, 1, 86_400_000);
        assert_eq!(offenders.banned(&1, &config(), START), Some(4_000));
    }

    proptest! {
        /// The model keeps every fault and every ban.
        #[test]
        fn a_ban_comes_exactly_when_the_faults_of_a_window_say_so(steps in prop::collection::vec(0_u64..1_500, 1..200)) {
            let (mut offenders, mut now) = (Offenders::new(), 0);
            let (mut window, mut bans): (Vec<u64>, Vec<(u64, u32)>) = (Vec::new(), Vec::new());
            for step in steps {
                now += step;
                let before = bans.last().copied();
                let mut expected = None;
                if before.is_none_or(|(until, _)| now >= until) {
                    if window.first().is_some_and(|first| now - first >= 1_000) {
                        window.clear();
                    }
                    window.push(now);
                    if window.len() == 2 {
                        let count = before.filter(|(until, _)| now - until < 4_000).map_or(1, |(_, count)| count + 1);
                        expected = Some((now + [1_000, 2_000, 4_000][(count as usize - 1).min(2)], count));
                        bans.extend(expected);
                        window = Vec::new();
                    }
                }
                prop_assert_eq!(fault(&mut offenders, 1, now), expected);
            }
        }
    }
}
