//! Who is connected: counts for the limits, and the way to end sessions from outside.
//!
//! A slot is a value: dropping it gives the place back, on every path. All maps are bounded by
//! `connections_max`, since every entry belongs to an open connection (rates are forgotten once they are idle).

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use sealfeed_wire::CloseCode;

use super::limits::Limits;
use super::pressure::{Level, Pressure};
use super::shared::Shared;
use super::withdrawn::{Departed, Revoked, RevokedCertificate};
use crate::config::LimitsConfig;
use crate::feed::Ending;
use crate::gate::{RateLimiter, SharedRate};
use crate::identity::{Identified, Token};
use crate::pipeline::SessionHandle;
use crate::types::{Code, Entitlement, Principal, SessionLimits, SessionsPolicy, UnixNanos, one_address};

/// The table of connections and sessions.
pub struct Registry {
    limits: Arc<Limits>,
    pressure: Arc<Pressure>,
    /// What its sessions are entitled to.
    pub(super) entitlements: Shared<Entitlement>,
    /// What their certificates proved.
    pub(super) identities: Shared<Identified>,
    state: Mutex<State>,
}

struct State {
    connections: usize,
    /// Connections whose TLS handshake is not over.
    handshakes: usize,
    handshake_rate: RateLimiter,
    addresses: HashMap<IpAddr, Address>,
    principals: HashMap<Principal, Counts>,
    sessions: HashMap<u64, Entry>,
    departed: Departed,
    next_number: u64,
}

/// Sessions of one principal.
#[derive(Default)]
struct Counts {
    /// Places taken, those of sessions that are beginning or taking their leave included.
    slots: u32,
    /// Sessions that have begun and not ended.
    live: u32,
    /// Messages of all of them.
    messages: Arc<SharedRate>,
    /// Numbers of those among them that were told to end for a newer one and hold their places still.
    superseded: BTreeSet<u64>,
}

impl Counts {
    /// Places taken by sessions that are to stay.
    fn standing(&self) -> usize {
        (self.slots as usize).saturating_sub(self.superseded.len())
    }
}

/// What is known of one address.
struct Address {
    connections: usize,
    /// Those of them whose TLS handshake is not over.
    handshakes: usize,
    /// Those of them that have a session.
    sessions: usize,
    /// When it last had a session, if it ever did.
    served_at: UnixNanos,
    rate: RateLimiter,
}

impl Address {
    /// Whether it has a session, or had one a short while ago.
    const fn is_known(&self, now: UnixNanos) -> bool {
        self.sessions > 0 || self.served_at.0.saturating_add(KNOWN_NS) > now.0
    }
}

/// Of the handshakes in progress, one address may have one in so many.
const HANDSHAKE_SHARE: usize = 4;
/// An address that had a session is let in under severe pressure for an hour after it.
const KNOWN_NS: u64 = 3_600_000_000_000;

struct Entry {
    handle: Arc<SessionHandle>,
    identity: Arc<Identified>,
    /// What was decided last; the pipeline may not have come to it yet.
    entitlement: Arc<Entitlement>,
    /// None for most: they have no token.
    tokened: Option<Box<Tokened>>,
}

/// What there is beside for a session under a token.
#[derive(Default)]
struct Tokened {
    /// The token under which it goes on.
    token: Option<Arc<Token>>,
    /// Why it was told to end for its token, for the entry of that.
    ended: Option<String>,
}

// One for each session, and half as many places more (docs/adr/0047).
const _: () = assert!(size_of::<Entry>() <= 32);

impl Entry {
    fn token(&self) -> Option<&Token> {
        self.tokened.as_ref()?.token.as_deref()
    }

    fn tokened(&mut self) -> &mut Tokened {
        self.tokened.get_or_insert_default()
    }
}

/// What a session leaves behind.
pub(super) struct Left {
    /// Its principal has no other one.
    pub(super) is_last: bool,
    /// Why it was told to end for its token, if it was.
    pub(super) token_ended: Option<String>,
}

/// What the files in force say of an open session.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Holds,
    /// It goes on under another entitlement.
    Changes(Arc<Entitlement>),
    /// It ends, and why, for the log.
    Ends(Ending, String),
}

/// What became of the sessions.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many ended.
    pub ended: usize,
    /// Those that go on under another entitlement, which the pipeline has to be told.
    pub changed: Vec<(Arc<SessionHandle>, Arc<Entitlement>)>,
    /// Certificates that hold no more, which the pipeline has to be told, too: orders go with them.
    pub revoked: Vec<RevokedCertificate>,
}

/// Addresses whose rate is remembered after their last connection, before the table is swept.
const IDLE_ADDRESSES_MAX: usize = 65_536;

impl Registry {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Arc<Limits>, pressure: Arc<Pressure>) -> Arc<Self> {
        let per_second = limits.now().handshakes_per_second;
        let state = State {
            connections: 0,
            handshakes: 0,
            handshake_rate: RateLimiter::per_second(per_second),
            addresses: HashMap::new(),
            principals: HashMap::new(),
            sessions: HashMap::new(),
            departed: Departed::default(),
            next_number: 0,
        };
        let (entitlements, identities) = (Shared::default(), Shared::default());
        Arc::new(Self { limits, pressure, entitlements, identities, state: Mutex::new(state) })
    }

    /// A place for a new connection, before anything is read of it. What is counted by address comes with
    /// [`ConnectionSlot::count_address`].
    ///
    /// # Errors
    /// The limit that was met; the connection is closed without an answer.
    pub fn connect(self: &Arc<Self>) -> Result<ConnectionSlot, Met> {
        let limits = self.limits.now();
        let mut state = self.state.lock();
        if state.connections >= limits.connections_max {
            return Err(Met { limit: "connections", code: Code::TlsConnectionsFull });
        }
        if state.handshakes >= limits.handshakes_max {
            return Err(Met { limit: "handshakes", code: Code::TlsHandshakesFull });
        }
        state.connections += 1;
        state.handshakes += 1;
        Ok(ConnectionSlot {
            registry: Arc::clone(self),
            address: None,
            is_in_handshake: true,
            has_session: false,
        })
    }

    /// How many connections there are, and how many of them are in their handshake.
    pub(super) fn connections_and_handshakes(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.connections, state.handshakes)
    }

    /// Whether what counts as one address has an open session.
    pub(super) fn has_session(&self, address: IpAddr) -> bool {
        self.state.lock().addresses.get(&address).is_some_and(|entry| entry.sessions > 0)
    }

    /// A place for a new session of a principal, and its number. Where the policy says so, its oldest session is told to end for it.
    pub(super) fn begin(
        self: &Arc<Self>,
        identity: &Arc<Identified>,
        limits: &SessionLimits,
    ) -> Result<PrincipalSlot, Code> {
        let principal = &identity.principal;
        let mut state = self.state.lock();
        let counts = state.principals.entry(principal.clone()).or_default();
        // Those that are told to end hold their places until they have gone; they do not count.
        let is_full = counts.standing() >= limits.sessions_max as usize;
        let is_begun = match limits.sessions_policy {
            SessionsPolicy::Count => true,
            SessionsPolicy::Refuse => !is_full,
            SessionsPolicy::Evict => !is_full || state.supersede_oldest(principal),
        };
        if !is_begun {
            return Err(Code::SesPrincipalSessionsFull);
        }
        let counts = state.principals.entry(principal.clone()).or_default();
        counts.slots += 1;
        let at_once = u32::try_from(counts.standing()).unwrap_or(u32::MAX);
        let messages = Arc::clone(&counts.messages);
        state.next_number += 1;
        let number = state.next_number;
        let registry = Arc::clone(self);
        Ok(PrincipalSlot { registry, identity: Arc::clone(identity), number, at_once, messages })
    }

    /// Makes a session reachable for [`Registry::sweep`], and judges it by the files in force now: whatever changes them is
    /// seen here or sweeps later. Whoever calls must carry out what is returned; nobody else knows the session yet.
    pub(super) fn enter(
        &self,
        handle: &Arc<SessionHandle>,
        identity: Arc<Identified>,
        token: Option<Arc<Token>>,
        verdict: impl Fn(&Identified, &Entitlement, Option<&Token>) -> Verdict,
    ) -> Verdict {
        let mut entitlement = Arc::clone(&handle.entitlement());
        let mut state = self.state.lock();
        let verdict = verdict(&identity, &entitlement, token.as_deref());
        let mut ended = None;
        match &verdict {
            Verdict::Changes(other) => entitlement = Arc::clone(other),
            Verdict::Ends(ending, why) if ending.close == CloseCode::TokenEnded => {
                ended = Some(why.clone());
            }
            Verdict::Ends(..) | Verdict::Holds => {}
        }
        let is_tokened = token.is_some() || ended.is_some();
        let tokened = is_tokened.then(|| Box::new(Tokened { token, ended }));
        let entry = Entry { handle: Arc::clone(handle), identity, entitlement, tokened };
        state.sessions.insert(handle.number, entry);
        state.principals.entry(handle.principal.clone()).or_default().live += 1;
        verdict
    }

    /// Puts another token under an open session, if it holds by the files in force now: whatever changes them is seen here or
    /// sweeps later.
    pub(super) fn renew_token(
        &self,
        handle: &SessionHandle,
        token: &Arc<Token>,
        holds: impl FnOnce(&Identified, &Token) -> Result<(), (Code, String)>,
    ) -> Result<(), (Code, String)> {
        let mut state = self.state.lock();
        // One that has left answers nothing any more.
        let Some(entry) = state.sessions.get_mut(&handle.number) else { return Ok(()) };
        holds(&entry.identity, token)?;
        entry.tokened().token = Some(Arc::clone(token));
        Ok(())
    }

    /// A session ends: it is not reachable any more.
    pub(super) fn leave(&self, handle: &SessionHandle) -> Left {
        self.state.lock().leave(handle.number, &handle.principal)
    }

    /// Judges every session by the files in force now. Those that have to end are told here, but for those in [`Swept::revoked`]:
    /// whoever calls tells them, once the pipeline has been told. Certificates whose sessions have
    /// ended are judged too, as long as their orders may still rest.
    pub fn sweep(&self, verdict: impl Fn(&Identified, &Entitlement, Option<&Token>) -> Verdict) -> Swept {
        let mut swept = Swept::default();
        let mut revoked = Revoked::default();
        let mut state = self.state.lock();
        for entry in state.sessions.values_mut() {
            match verdict(&entry.identity, &entry.entitlement, entry.token()) {
                Verdict::Holds => {}
                Verdict::Changes(other) => {
                    entry.entitlement = Arc::clone(&other);
                    swept.changed.push((Arc::clone(&entry.handle), other));
                }
                // The one before was told so already, and is on its way out.
                Verdict::Ends(..) if entry.handle.ending().is_some() => {}
                Verdict::Ends(ending, why) => {
                    swept.ended += 1;
                    if ending.close == CloseCode::CertificateRevoked {
                        revoked.add(&entry.identity, &entry.entitlement, why, Some(&entry.handle));
                    } else {
                        if ending.close == CloseCode::TokenEnded {
                            entry.tokened().ended = Some(why);
                        }
                        entry.handle.close_with(ending);
                    }
                }
            }
        }
        state.departed.retain(|identity, entitlement| match verdict(identity, entitlement, None) {
            Verdict::Ends(ending, why) if ending.close == CloseCode::CertificateRevoked => {
                revoked.add(identity, entitlement, why, None);
                false
            }
            Verdict::Ends(..) | Verdict::Holds | Verdict::Changes(_) => true,
        });
        swept.revoked = revoked.certificates;
        swept
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.state.lock().sessions.len()
    }

    /// How many connections there are, in any state.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.lock().connections
    }
}

impl State {
    /// Tells the oldest session of a principal to end for a newer one; `false` if there is none that could.
    fn supersede_oldest(&mut self, principal: &Principal) -> bool {
        let Some(counts) = self.principals.get_mut(principal) else { return false };
        let of_principal = self.sessions.values().filter(|entry| entry.handle.principal == *principal);
        let oldest = of_principal
            .filter(|entry| !counts.superseded.contains(&entry.handle.number))
            .min_by_key(|entry| entry.handle.number);
        let Some(oldest) = oldest else { return false };
        counts.superseded.insert(oldest.handle.number);
        oldest.handle.close_with(Ending::because(Code::SesSuperseded));
        true
    }

    /// Counts a connection for what counts as one address.
    fn count_address(
        &mut self,
        address: IpAddr,
        limits: &LimitsConfig,
        level: Level,
        now: UnixNanos,
    ) -> Result<(), Met> {
        let is_new = !self.addresses.contains_key(&address);
        if is_new && level == Level::Severe {
            return Err(Met { limit: "pressure", code: Code::TlsPressure });
        }
        let addresses_max = IDLE_ADDRESSES_MAX + limits.connections_max;
        if is_new && self.addresses.len() >= addresses_max {
            self.addresses
                .retain(|_, entry| entry.connections > 0 || entry.is_known(now) || !entry.rate.is_idle(now));
            if self.addresses.len() >= addresses_max {
                // Who is only known from before gives way to who is here.
                self.addresses.retain(|_, entry| entry.connections > 0 || !entry.rate.is_idle(now));
            }
            if self.addresses.len() >= addresses_max {
                return Err(Met { limit: "addresses", code: Code::TlsConnectionsFull });
            }
        }
        let per_second = level.tightened(limits.connects_per_address_per_second);
        let entry = self.addresses.entry(address).or_insert_with(|| Address {
            connections: 0,
            handshakes: 0,
            sessions: 0,
            served_at: UnixNanos(0),
            rate: RateLimiter::per_second(per_second),
        });
        if level == Level::Severe && !entry.is_known(now) {
            return Err(Met { limit: "pressure", code: Code::TlsPressure });
        }
        if entry.connections >= limits.connections_per_address_max {
            return Err(Met { limit: "address_connections", code: Code::TlsAddressConnectionsFull });
        }
        // One address alone cannot keep everybody else out.
        if entry.handshakes >= (limits.handshakes_max / HANDSHAKE_SHARE).max(1) {
            return Err(Met { limit: "address_handshakes", code: Code::TlsHandshakesFull });
        }
        entry.rate.set_limit(per_second);
        if entry.rate.take(now).is_err() {
            return Err(Met { limit: "connect_rate", code: Code::TlsHandshakeRate });
        }
        entry.connections += 1;
        entry.handshakes += 1;
        Ok(())
    }

    /// Takes a session out, if it is there still.
    fn leave(&mut self, number: u64, principal: &Principal) -> Left {
        let entry = self.sessions.remove(&number);
        let was_there = entry.is_some();
        let mut token_ended = None;
        if let Some(entry) = entry {
            // What goes with a revoked certificate has gone; orders of a newer one of the same principal must not follow it.
            let ending = entry.handle.ending();
            if ending.is_none_or(|ending| ending.close != CloseCode::CertificateRevoked) {
                self.departed.remember(entry.identity, entry.entitlement);
            }
            token_ended = entry.tokened.and_then(|tokened| tokened.ended);
        }
        let Some(counts) = self.principals.get_mut(principal) else {
            return Left { is_last: true, token_ended };
        };
        counts.live = counts.live.saturating_sub(u32::from(was_there));
        Left { is_last: counts.live == 0, token_ended }
    }
}

/// A limit that a connection met before TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Its stable name, as the log's `limit` entries have it.
    pub limit: &'static str,
    /// Its code.
    pub code: Code,
}

/// The place of one connection.
pub struct ConnectionSlot {
    registry: Arc<Registry>,
    /// What it counts as; `None` before it was counted, and for a balancer that speaks for itself.
    address: Option<IpAddr>,
    is_in_handshake: bool,
    has_session: bool,
}

impl ConnectionSlot {
    /// Counts the connection for its address, and its handshake: now, before TLS. `None` for a balancer that speaks for itself, which
    /// only the limits of the whole server hold.
    ///
    /// # Errors
    /// The limit that was met; the connection is closed without an answer.
    pub fn count_address(&mut self, address: Option<IpAddr>, now: UnixNanos) -> Result<(), Met> {
        let limits = self.registry.limits.now();
        let mut state = self.registry.state.lock();
        if let Some(address) = address {
            let is_trusted = limits.trusts_address(address);
            let level = if is_trusted { Level::Normal } else { self.registry.pressure.level() };
            let address = one_address(address, limits.ipv6_prefix_bits);
            state.count_address(address, &limits, level, now)?;
            self.address = Some(address);
        }
        // Last: an address that comes too often takes nothing away from the others.
        state.handshake_rate.set_limit(limits.handshakes_per_second);
        let is_too_fast = state.handshake_rate.take(now).is_err();
        if is_too_fast {
            Err(Met { limit: "handshake_rate", code: Code::TlsServerHandshakeRate })
        } else {
            Ok(())
        }
    }

    /// What counts as its address; `None` for a balancer that speaks for itself.
    #[must_use]
    pub const fn counted_as(&self) -> Option<IpAddr> {
        self.address
    }

    /// The TLS handshake is over, whatever came of it.
    pub fn handshake_is_over(&mut self) {
        if std::mem::take(&mut self.is_in_handshake) {
            let mut state = self.registry.state.lock();
            state.handshakes = state.handshakes.saturating_sub(1);
            if let Some(entry) = self.address.and_then(|address| state.addresses.get_mut(&address)) {
                entry.handshakes = entry.handshakes.saturating_sub(1);
            }
        }
    }

    /// The connection has a session from here to its end: its address serves somebody.
    pub(super) fn session_begins(&mut self, now: UnixNanos) {
        let Some(address) = self.address.filter(|_| !self.has_session) else { return };
        self.has_session = true;
        if let Some(entry) = self.registry.state.lock().addresses.get_mut(&address) {
            entry.sessions += 1;
            entry.served_at = now;
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.connections = state.connections.saturating_sub(1);
        state.handshakes = state.handshakes.saturating_sub(usize::from(self.is_in_handshake));
        if let Some(entry) = self.address.and_then(|address| state.addresses.get_mut(&address)) {
            entry.connections = entry.connections.saturating_sub(1);
            entry.handshakes = entry.handshakes.saturating_sub(usize::from(self.is_in_handshake));
            entry.sessions = entry.sessions.saturating_sub(usize::from(self.has_session));
        }
    }
}

/// The place of one session of a principal.
pub(super) struct PrincipalSlot {
    registry: Arc<Registry>,
    identity: Arc<Identified>,
    pub(super) number: u64,
    /// Sessions of the principal when it began, this one among them; those that were told to end for newer ones are not.
    pub(super) at_once: u32,
    messages: Arc<SharedRate>,
}

impl PrincipalSlot {
    /// Whose it is.
    pub(super) fn identity(&self) -> &Identified {
        &self.identity
    }

    /// What the messages of all sessions of the principal count against.
    pub(super) fn messages(&self) -> &SharedRate {
        &self.messages
    }
}

impl Drop for PrincipalSlot {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        let principal = &self.identity.principal;
        state.leave(self.number, principal);
        if let Some(counts) = state.principals.get_mut(principal) {
            counts.slots = counts.slots.saturating_sub(1);
            counts.superseded.remove(&self.number);
            if counts.slots == 0 {
                state.principals.remove(principal);
            }
        }
    }
}
