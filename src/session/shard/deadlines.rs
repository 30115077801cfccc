//! A session's limits in time, and the list of who is due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

use super::moment::Moment;
use crate::config::LimitsConfig;
use crate::types::Code;

/// When a session is to do something by itself. One for each connection: no wider than it has to be.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// Milliseconds, as the next one; at most 49 days.
    idle_ms: u32,
    message_timeout_ms: u32,
    /// `None` once the client has asked for something.
    first_request: Option<Moment>,
    /// The message that is not whole, and when it has to be.
    message: Option<(u64, Moment)>,
    silent: Moment,
    ping: Moment,
    /// When its time is over, and why: its lifetime, or its certificate's.
    over: (Moment, Code),
    /// `None` for a session without a token.
    token: Option<Moment>,
}

const _: () = assert!(size_of::<Deadlines>() <= 80);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The client asked for nothing in time.
    FirstRequest,
    /// A message did not become whole in time.
    Message,
    /// Nothing came from the client for too long.
    Silence,
    /// A ping, so that a client that is gone is noticed and one that only listens is not.
    Ping,
    /// The session's time is over, for this reason.
    Over(Code),
}

impl Deadlines {
    /// A session that begins now and whose certificate is good for `certificate`.
    pub(super) fn new(limits: &LimitsConfig, certificate: Duration, now: Instant) -> Self {
        let lifetime = Duration::from_secs(limits.session_lifetime_s);
        let over = if lifetime <= certificate {
            (Moment::of(now + lifetime), Code::SesLifetimeReached)
        } else {
            (Moment::of(now + certificate), Code::SesCertificateExpired)
        };
        let ms = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
        let mut deadlines = Self {
            idle_ms: ms(limits.idle_timeout_ms),
            message_timeout_ms: ms(limits.message_timeout_ms),
            first_request: Some(Moment::of(now + Duration::from_millis(limits.first_request_timeout_ms))),
            message: None,
            silent: Moment::of(now),
            ping: Moment::of(now),
            over,
            token: None,
        };
        deadlines.ping = Moment::of(now + deadlines.idle() / 3);
        deadlines.heard(now);
        deadlines
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms.into())
    }

    fn message_by(&self, now: Instant) -> Moment {
        Moment::of(now + Duration::from_millis(self.message_timeout_ms.into()))
    }

    /// The token under which it goes on is good for so long.
    pub(super) fn token_until(&mut self, token: Duration, now: Instant) {
        self.token = Some(Moment::of(now + token));
    }

    /// Something came from the client.
    pub(super) fn heard(&mut self, now: Instant) {
        self.silent = Moment::of(now + self.idle());
    }

    /// What came ends inside this message, if inside any.
    pub(super) fn under_way(&mut self, message: Option<u64>, now: Instant) {
        if self.message.map(|(number, _)| number) != message {
            self.message = message.map(|number| (number, self.message_by(now)));
        }
    }

    /// Nothing was read for a while by our own doing: the message under way has all its time again.
    pub(super) fn was_not_read(&mut self, now: Instant) {
        self.message = self.message.map(|(number, _)| (number, self.message_by(now)));
    }

    /// The client asked for something.
    pub(super) const fn asked(&mut self) {
        self.first_request = None;
    }

    /// When the next of them is due.
    pub(super) fn next(&self) -> Moment {
        let first = self.silent.min(self.ping).min(self.over.0);
        let first = self.token.map_or(first, |by| first.min(by));
        let first = self.message.map_or(first, |(_, by)| first.min(by));
        self.first_request.map_or(first, |by| first.min(by))
    }

    /// What is due now; each comes once.
    pub(super) fn due(&mut self, time: Instant) -> Option<Due> {
        let now = Moment::of(time);
        if now >= self.over.0 {
            return Some(Due::Over(self.over.1));
        }
        if self.token.is_some_and(|by| now >= by) {
            return Some(Due::Over(Code::SesTokenOutOfTime));
        }
        if self.first_request.is_some_and(|by| now >= by) {
            return Some(Due::FirstRequest);
        }
        if self.message.is_some_and(|(_, by)| now >= by) {
            return Some(Due::Message);
        }
        if now >= self.silent {
            // Who asks for nothing at all is told that.
            return Some(if self.first_request.is_some() { Due::FirstRequest } else { Due::Silence });
        }
        if now >= self.ping {
            self.ping = Moment::of(time + self.idle() / 3);
            return Some(Due::Ping);
        }
        None
    }
}

/// Who is due when: a connection has one place at most in it that counts, and as many as it has had phases.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Moment, Called)>>);

/// Whom a timer calls: a place, and the number of the connection that it was set for, of which 32 bits tell it from the few that may have
/// had that place since.
pub(super) type Called = (u32, u32);

impl Timers {
    /// Notes that a connection is due at a time.
    pub(super) fn set(&mut self, at: Moment, called: Called) {
        self.0.push(Reverse((at, called)));
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| at.time())
    }

    /// The next one that is due now. To be set again.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Called> {
        if !self.0.peek()?.0.0.has_come(now) {
            return None;
        }
        self.0.pop().map(|Reverse((_, called))| called)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> LimitsConfig {
        LimitsConfig {
            first_request_timeout_ms: 2_000,
            idle_timeout_ms: 3_000,
            session_lifetime_s: 10,
            ..LimitsConfig::default()
        }
    }

    /// Everything that is due in `seconds`, and when, with a client that is heard at `heard`.
    fn run(heard: &[u64], asks: bool, certificate: u64) -> Vec<(u64, Due)> {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&limits(), Duration::from_secs(certificate), start);
        if asks {
            deadlines.asked();
        }
        let mut seen = Vec::new();
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            if heard.contains(&second) {
                deadlines.heard(now);
            }
            while let Some(due) = deadlines.due(now) {
                seen.push((second, due));
                if due != Due::Ping {
                    return seen;
                }
            }
            assert!(deadlines.next().time() > now);
        }
        seen
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_ended_and_one_that_asks_for_nothing_is_told_so() {
        assert_eq!(run(&[], true, 100), [(1, Due::Ping), (2, Due::Ping), (3, Due::Silence)]);
        assert_eq!(run(&[1, 2], false, 100), [(1, Due::Ping), (2, Due::FirstRequest)]);
    }

    #[test]
    fn a_client_that_is_heard_lives_until_its_time_or_its_certificate_is_over() {
        let seen = run(&(0..20).collect::<Vec<_>>(), true, 100);
        assert_eq!(seen.last(), Some(&(10, Due::Over(Code::SesLifetimeReached))));
        assert_eq!(seen.len(), 10, "a ping a second");
        let seen = run(&(0..20).collect::<Vec<_>>(), true, 5);
        assert_eq!(seen.last(), Some(&(5, Due::Over(Code::SesCertificateExpired))));
    }

    #[test]
    fn a_session_ends_with_its_token_unless_that_is_renewed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::new(&limits(), Duration::from_secs(100), start);
        deadlines.asked();
        deadlines.token_until(Duration::from_millis(500), start);
        assert_eq!(deadlines.next().time(), start + Duration::from_millis(500));
        deadlines.token_until(Duration::from_secs(2), start);
        deadlines.heard(at(1));
        assert_eq!((deadlines.due(at(1)), deadlines.due(at(1))), (Some(Due::Ping), None));
        assert_eq!(deadlines.due(at(2)), Some(Due::Over(Code::SesTokenOutOfTime)));
    }

    #[test]
    fn timers_come_in_their_order_and_not_before_their_time() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        for (after, place) in [(3, 1), (1, 2), (2, 3)] {
            timers.set(Moment::of(start + Duration::from_secs(after)), (place, 7));
        }
        assert_eq!(timers.pop(start), None);
        let later = start + Duration::from_secs(2);
        assert_eq!(
            [timers.pop(later), timers.pop(later), timers.pop(later)],
            [Some((2, 7)), Some((3, 7)), None]
        );
        assert_eq!(timers.next(), Some(start + Duration::from_secs(3)));
    }
}
