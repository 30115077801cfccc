//! The steps behind a limit: each fault is answered, too many in ten seconds end the session, too many ended sessions ban the
//! principal; and a peer that remains unknown too often has its address banned.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::bans::Sentence;
use super::{ConnectionSlot, SessionContext};
use crate::journal::event;
use crate::pipeline::SessionHandle;
use crate::types::{Code, Principal, TimeArithmetic as _, UnixNanos, one_address};

const WINDOW_NS: u64 = 10 * 1_000_000_000;

/// Times of the last faults of one session; as many as the limit, so bounded by it.
#[derive(Debug)]
pub(super) struct Faults {
    /// None before the first one: most sessions have none.
    times: Option<Box<Times>>,
    max: u32,
}

#[derive(Debug, Default)]
struct Times(VecDeque<UnixNanos>);

impl Faults {
    /// A session without faults, which ends at `max` of them within ten seconds.
    pub(super) const fn new(max: u32) -> Self {
        Self { times: None, max }
    }

    /// Notes a fault; whether the session has to end.
    pub(super) fn add(&mut self, now: UnixNanos) -> bool {
        let Times(times) = &mut **self.times.get_or_insert_default();
        while times.front().is_some_and(|first| now.since(*first) >= WINDOW_NS) {
            times.pop_front();
        }
        times.push_back(now);
        times.len() >= self.max as usize
    }
}

impl SessionContext {
    /// Whether connections of the address are closed before TLS.
    #[must_use]
    pub fn is_banned(&self, address: IpAddr) -> bool {
        let limits = self.limits.now();
        let one = one_address(address, limits.ipv6_prefix_bits);
        !limits.trusts_address(address) && self.bans.is_address_banned(one, self.clock.now())
    }

    /// A peer remained unknown: its handshake failed, or its certificate names no principal. Too many of them ban the address, but not one that
    /// serves an open session, nor a trusted one, nor the balancer that others come through.
    pub fn unknown_peer(&self, slot: &ConnectionSlot, address: SocketAddr) {
        let Some(one) = slot.counted_as() else { return };
        if self.limits.now().trusts_address(address.ip()) {
            return;
        }
        let is_spared = self.registry.has_session(one);
        let why = Code::TlsAddressFailures;
        match self.bans.unknown_peer(one, is_spared, self.clock.now()) {
            None => {}
            Some(Sentence::Spared) => self.met(address, None, "ban_withheld", why),
            Some(Sentence::Banned(ban)) => {
                tracing::warn!(address = %one, code = why.as_str(), count = ban.count, "address banned");
                let event = event::Ban {
                    what: "address".to_owned(),
                    who: one.to_string(),
                    code: why.as_str().to_owned(),
                    count: ban.count,
                    until: ban.until.0,
                };
                // Always in full, for it costs its cause so many handshakes. The journal tells the server to stop when it fails.
                let _ = self.journal.record(event);
            }
        }
    }

    /// A session that is not trusted was ended for faults that its client repeated: too many of those ban the principal.
    pub(super) fn ended_for_faults(&self, session: &SessionHandle, why: Code) {
        let principal = session.principal.to_string();
        let sentence = self.bans.session_ended(&session.principal, self.clock.now());
        let Some(Sentence::Banned(ban)) = sentence else { return };
        tracing::warn!(principal, code = why.as_str(), count = ban.count, "principal banned");
        let event = event::Ban {
            what: "principal".to_owned(),
            who: principal,
            code: why.as_str().to_owned(),
            count: ban.count,
            until: ban.until.0,
        };
        // If the journal fails the server stops.
        let _ = self.journal.record_in(&session.trail, event);
    }

    /// Whether the principal at the address keeps its full limits and is not banned.
    pub(super) fn trusts(&self, principal: &Principal, address: IpAddr) -> bool {
        let limits = self.limits.now();
        limits.trusts_address(address) || limits.trusts_principal(&principal.to_string())
    }

    /// Milliseconds until the principal may come again from the address; `None` if it may now.
    pub(super) fn banned_for(&self, principal: &Principal, address: IpAddr) -> Option<u64> {
        if self.trusts(principal, address) {
            return None;
        }
        self.bans.principal_banned(principal, self.clock.now())
    }

    /// Records that somebody without a session met a limit.
    pub fn met(&self, address: SocketAddr, principal: Option<&Principal>, limit: &str, code: Code) {
        let event = event::Limit {
            principal: principal.map(ToString::to_string),
            address: address.to_string(),
            limit: limit.to_owned(),
            code: code.as_str().to_owned(),
        };
        // The journal tells the server to stop when it fails; who met the limit is refused either way.
        let _ = self.summary.record(address.ip(), event);
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
