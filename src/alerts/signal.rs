//! What of an event concerns alerts, and the way from whoever records to the thread that judges.
//!
//! Whoever records must not wait here, so both queues are bounded and never waited for. When the queue of counted events is full they
//! are still counted, without their source. A change of state that finds its queue full is lost, and that is logged.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use sealfeed_wire::{AdminKill, CloseCode, KillAction};

use super::table::Counted;
use crate::journal::{Event, Observer, event};
use crate::types::Code;

/// Counted events that may wait for the next look; beyond, they have no source.
pub(super) const COUNTED_MAX: usize = 4_096;
/// Changes of state that may wait for the next look.
pub(super) const STATES_MAX: usize = 1_024;

/// An event that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counting {
    pub(super) what: Counted,
    /// Address or principal; `None` if the event names neither.
    pub(super) source: Option<Box<str>>,
    pub(super) code: Option<Code>,
}

/// An event that changes a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A reload was refused, for this reason; or one came into force.
    Reload { refused: Option<String> },
    /// A kill switch.
    Kill { switch: String, engaged: bool },
}

/// The end of the queues that the journal's callers hold.
pub(super) struct Watcher {
    counted: SyncSender<Counting>,
    changes: SyncSender<Change>,
    /// Those of each kind that found the queue full.
    unnamed: [AtomicU64; Counted::ALL.len()],
    lost: AtomicU64,
}

/// The other end.
pub(super) struct Signals {
    pub(super) counted: Receiver<Counting>,
    pub(super) changes: Receiver<Change>,
}

impl Watcher {
    pub(super) fn new() -> (Self, Signals) {
        let (counted, counted_receiver) = sync_channel(COUNTED_MAX);
        let (changes, changes_receiver) = sync_channel(STATES_MAX);
        let watcher = Self { counted, changes, unnamed: Default::default(), lost: AtomicU64::new(0) };
        (watcher, Signals { counted: counted_receiver, changes: changes_receiver })
    }

    /// How many of a kind came since this was last asked and had no room in the queue.
    pub(super) fn take_unnamed(&self, what: Counted) -> u64 {
        self.unnamed[what.index()].swap(0, Ordering::Relaxed)
    }

    /// How many changes of state were lost since this was last asked.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    fn count(&self, what: Counted, source: Option<Box<str>>, code: Option<Code>) {
        let sent = self.counted.try_send(Counting { what, source, code });
        if matches!(sent, Err(TrySendError::Full(_))) {
            self.unnamed[what.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn change(&self, change: Change) {
        if matches!(self.changes.try_send(change), Err(TrySendError::Full(_))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection of this address ended at the door or was let in.
    fn connection(&self, address: &str) {
        self.count(Counted::RapidConnects, source_of(address), None);
    }

    fn refused(&self, address: &str, code: &str) {
        let code = Code::parse(code);
        self.connection(address);
        if code.is_none_or(speaks_against_the_peer) {
            self.count(Counted::FailedAuthentication, source_of(address), code);
        }
    }
}

impl Observer for Watcher {
    fn observe(&self, event: &Event) {
        match event {
            Event::HandshakeRefused(event) => self.refused(&event.address, &event.code),
            Event::UpgradeRefused(event) => self.refused(&event.address, &event.code),
            Event::Connect(event) => self.connection(&event.address),
            Event::Limit(event) if event.principal.is_none() => self.connection(&event.address),
            Event::Reject(event) => {
                let code = Code::parse(&event.code);
                let what = match code {
                    Some(Code::OrdMacInvalid) => Counted::ForgedMessages,
                    Some(code) if is_malformed(code) => Counted::MalformedMessages,
                    _ => return,
                };
                self.count(what, Some(event.principal.as_str().into()), code);
            }
            Event::OrderRefused(event) => {
                let code = Code::parse(&event.code);
                if code.is_some_and(is_replay) {
                    self.count(Counted::ReplayAttempts, Some(event.principal.as_str().into()), code);
                }
            }
            Event::Disconnect(event) if event.close_code == CloseCode::SlowConsumer.number() => {
                let code = Some(Code::SesSlowConsumer);
                self.count(Counted::SlowConsumers, Some(event.principal.as_str().into()), code);
            }
            Event::Configuration(event) if event.what == "reload_refused" => {
                self.change(Change::Reload { refused: Some(event.summary.clone()) });
            }
            Event::Configuration(event) if event.what == "in_force" => {
                self.change(Change::Reload { refused: None });
            }
            Event::Admin(event) => self.operator(event),
            Event::Ban(event) => {
                self.count(Counted::Bans, Some(event.who.as_str().into()), Code::parse(&event.code));
            }
            // An alert's own entry is none of its causes.
            _ => {}
        }
    }
}

impl Watcher {
    fn operator(&self, event: &event::Admin) {
        // What stands in the log was decoded before; of a body that cannot be, nothing can be said.
        let Ok(kill) = AdminKill::decode(&event.body) else { return };
        let switch = switch_name(kill.target.scope().as_str(), &kill.target.text().unwrap_or_default());
        self.change(Change::Kill { switch, engaged: kill.action == KillAction::Engage });
    }
}

/// A kill switch as text: scope and target.
pub(super) fn switch_name(scope: &str, target: &str) -> String {
    format!("{scope} {target}").trim_end().to_owned()
}

/// Whether a refusal at the door is about who wants in, and not about the server or a peer that went.
const fn speaks_against_the_peer(code: Code) -> bool {
    !matches!(
        code,
        Code::TlsPeerLeft
            | Code::SesPeerLeft
            | Code::SesDraining
            | Code::AudLogUnavailable
            | Code::AudLowSpace
    )
}

/// Whether the message was authentic and has been sent before, or may be an old one.
const fn is_replay(code: Code) -> bool {
    matches!(code, Code::OrdNonceReplayed | Code::OrdTimestampStale | Code::OrdTimestampFuture)
}

/// Whether a message was no well-formed request: its JSON, its fields, its frame or its proof's form.
const fn is_malformed(code: Code) -> bool {
    matches!(code.number(), 2011..=2019 | 2021..=2023 | 2029..=2030 | 4006..=4009)
}

/// Where a peer comes from: its address without the port; of IPv6 the /64, which one host owns.
fn source_of(address: &str) -> Option<Box<str>> {
    let address: SocketAddr = address.parse().ok()?;
    let source = match address.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            format!("{}/64", std::net::Ipv6Addr::from(octets))
        }
    };
    Some(source.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(address: &str) -> Event {
        let principal = None;
        let (limit, code) = ("connections".to_owned(), "SF-TLS-014".to_owned());
        event::Limit { principal, address: address.to_owned(), limit, code }.into()
    }

    fn alert() -> Event {
        let text = String::new;
        event::Alert {
            name: "bans".to_owned(),
            severity: text(),
            state: text(),
            value: text(),
            threshold: text(),
            window_ms: 0,
            detail: text(),
            hint: text(),
        }
        .into()
    }

    fn admin(body: &str) -> Event {
        let (principal, op) = ("acme/ops".to_owned(), "admin.kill".to_owned());
        let (body, sig) = (body.to_owned(), event::Bytes::default());
        event::Admin {
            principal,
            op,
            ts: 0,
            nonce: [0; 16],
            mac: [0; 32],
            sig,
            body,
            received: 0,
            admitted: 0,
        }
        .into()
    }

    #[test]
    fn a_full_queue_keeps_nobody_waiting_and_loses_no_count() {
        let (watcher, signals) = Watcher::new();
        let sent = COUNTED_MAX + 100;
        for _ in 0..sent {
            watcher.observe(&limit("127.0.0.1:5"));
        }
        assert_eq!(signals.counted.try_iter().count(), COUNTED_MAX);
        assert_eq!(watcher.take_unnamed(Counted::RapidConnects), 100);
        assert_eq!(watcher.take_unnamed(Counted::RapidConnects), 0);
        drop(signals);
        watcher.observe(&limit("127.0.0.1:5"));
        assert_eq!(watcher.take_unnamed(Counted::RapidConnects), 0, "nobody asks any more");
    }

    #[test]
    fn an_alerts_own_entry_is_no_signal() {
        let (watcher, signals) = Watcher::new();
        watcher.observe(&alert());
        assert!(signals.counted.try_recv().is_err() && signals.changes.try_recv().is_err());
    }

    #[test]
    fn addresses_are_told_apart_as_limits_do() {
        for (address, source) in [
            ("127.0.0.1:5", "127.0.0.1"),
            ("[::ffff:10.0.0.1]:5", "10.0.0.1"),
            ("[2001:db8:1:2:3:4:5:6]:5", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(source_of(address).as_deref(), Some(source));
        }
        assert_eq!(source_of("nonsense"), None);
    }

    #[test]
    fn a_kill_switch_is_known_by_scope_and_target() {
        let (watcher, signals) = Watcher::new();
        watcher.observe(&admin(r#"{"scope":"firm","target":"beta","action":"engage","reason":"x"}"#));
        watcher.observe(&admin(r#"{"scope":"all","action":"release","reason":"x"}"#));
        watcher.observe(&admin(r#"{"symbol":"SEAL","state":"halted","reason":"x"}"#));
        let changes: Vec<Change> = signals.changes.try_iter().collect();
        let kill = |switch: &str, engaged| Change::Kill { switch: switch.to_owned(), engaged };
        assert_eq!(changes, [kill("firm beta", true), kill("all", false)]);
    }

    #[test]
    fn what_a_peer_did_and_what_it_did_not_is_told_apart() {
        for code in [Code::TlsCertificateMissing, Code::SesEntitlementMissing, Code::TlsHandshakeTimeout] {
            assert!(speaks_against_the_peer(code), "{code}");
        }
        for code in [Code::TlsPeerLeft, Code::SesDraining] {
            assert!(!speaks_against_the_peer(code), "{code}");
        }
        let malformed: Vec<Code> = Code::all().filter(|code| is_malformed(*code)).collect();
        assert!(malformed.contains(&Code::SesMessageTooBig) && malformed.contains(&Code::OrdNonceMalformed));
        for code in [Code::SesOpNotOffered, Code::SesMessageRate, Code::OrdMacInvalid, Code::OrdBodyNotObject]
        {
            assert!(!malformed.contains(&code), "{code}");
        }
    }
}
