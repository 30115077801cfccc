//! Who is connected: counts for the limits, and the way to end sessions from outside.
//!
//! A slot is a value: dropping it gives the place back, on every path. All maps are bounded by
//! `connections_max`, since every entry belongs to an open connection (rates are forgotten once they are idle).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use sealfeed_wire::CloseCode;

use crate::feed::Ending;
use crate::gate::RateLimiter;
use crate::identity::Identified;
use crate::pipeline::SessionHandle;
use crate::types::{Code, Entitlement, Principal, SessionLimits, SessionsPolicy, UnixNanos};

/// Bounds on connections.
#[derive(Clone, Debug)]
pub struct RegistryLimits {
    /// Connections at once, in any state.
    pub connections_max: usize,
    /// Connections at once from one address.
    pub connections_per_address_max: usize,
    /// New connections a second from one address.
    pub connects_per_address_per_second: u32,
}

/// The table of connections and sessions.
pub struct Registry {
    limits: RegistryLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: usize,
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
    /// Numbers of those among them that were told to end for a newer one and hold their places still.
    superseded: BTreeSet<u64>,
}

impl Counts {
    /// Places taken by sessions that are to stay.
    fn standing(&self) -> usize {
        (self.slots as usize).saturating_sub(self.superseded.len())
    }
}

struct Address {
    connections: usize,
    rate: RateLimiter,
}

struct Entry {
    handle: Arc<SessionHandle>,
    identity: Arc<Identified>,
    /// What was decided last; the pipeline may not have come to it yet.
    entitlement: Arc<Entitlement>,
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

/// Certificates that may have left orders behind when their last session ended; beyond, the oldest one is forgotten, and a later
/// revocation of it ends no orders.
const DEPARTED_MAX: usize = 16_384;

/// Addresses whose rate is remembered after their last connection, before the table is swept.
const IDLE_ADDRESSES_MAX: usize = 65_536;

impl Registry {
    /// An empty table.
    #[must_use]
    pub fn new(limits: RegistryLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// A place for a new connection from `address`, before TLS.
    ///
    /// # Errors
    /// The code of the limit that was met; the connection is closed without an answer.
    pub fn connect(self: &Arc<Self>, address: IpAddr, now: UnixNanos) -> Result<AddressSlot, Code> {
        let address = prefix(address);
        let mut state = self.state.lock();
        if state.connections >= self.limits.connections_max {
            return Err(Code::TlsConnectionsFull);
        }
        if state.addresses.len() >= IDLE_ADDRESSES_MAX + self.limits.connections_max {
            state.addresses.retain(|_, entry| entry.connections > 0 || !entry.rate.is_idle(now));
        }
        let per_second = self.limits.connects_per_address_per_second;
        let entry = state.addresses.entry(address).or_insert_with(|| Address {
            connections: 0,
            rate: RateLimiter::per_second("connects", per_second),
        });
        if entry.connections >= self.limits.connections_per_address_max {
            return Err(Code::TlsAddressConnectionsFull);
        }
        if entry.rate.take(now).is_err() {
            return Err(Code::TlsHandshakeRate);
        }
        entry.connections += 1;
        state.connections += 1;
        Ok(AddressSlot { registry: Arc::clone(self), address })
    }

    /// A place for a new session of `principal`, and its number. Where the policy says so, its oldest session is told to end for it.
    pub(super) fn begin(
        self: &Arc<Self>,
        principal: &Principal,
        limits: &SessionLimits,
    ) -> Result<PrincipalSlot, Code> {
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
        state.next_number += 1;
        let number = state.next_number;
        Ok(PrincipalSlot { registry: Arc::clone(self), principal: principal.clone(), number, at_once })
    }

    /// Makes a session reachable for [`Registry::sweep`], and judges it by the files in force now: whatever changes them is
    /// seen here or sweeps later. Whoever calls must carry out what is returned; nobody else knows the session yet.
    pub(super) fn enter(
        &self,
        handle: &Arc<SessionHandle>,
        identity: Arc<Identified>,
        verdict: impl Fn(&Identified, &Entitlement) -> Verdict,
    ) -> Verdict {
        let mut entitlement = Arc::clone(&handle.entitlement());
        let mut state = self.state.lock();
        let verdict = verdict(&identity, &entitlement);
        if let Verdict::Changes(other) = &verdict {
            entitlement = Arc::clone(other);
        }
        let entry = Entry { handle: Arc::clone(handle), identity, entitlement };
        state.sessions.insert(handle.number, entry);
        state.principals.entry(handle.principal.clone()).or_default().live += 1;
        verdict
    }

    /// A session ends: it is not reachable any more. Whether its principal has no other one.
    pub(super) fn leave(&self, handle: &SessionHandle) -> bool {
        self.state.lock().leave(handle.number, &handle.principal)
    }

    /// Judges every session by the files in force now. Those that have to end are told here, but for those in [`Swept::revoked`]:
    /// whoever calls tells them, once the pipeline has been told. Certificates whose sessions have
    /// ended are judged too, as long as their orders may still rest.
    pub fn sweep(&self, verdict: impl Fn(&Identified, &Entitlement) -> Verdict) -> Swept {
        let mut swept = Swept::default();
        let mut revoked = Revoked::default();
        let mut state = self.state.lock();
        for entry in state.sessions.values_mut() {
            match verdict(&entry.identity, &entry.entitlement) {
                Verdict::Holds => {}
                Verdict::Changes(other) => {
                    entry.entitlement = Arc::clone(&other);
                    swept.changed.push((Arc::clone(&entry.handle), other));
                }
                // The one before was told so already, and is on its way out.
                Verdict::Ends(..) if entry.handle.queue.ending().is_some() => {}
                Verdict::Ends(ending, why) => {
                    swept.ended += 1;
                    if ending.close == CloseCode::CertificateRevoked {
                        revoked.add(&entry.identity, why, Some(&entry.handle));
                    } else {
                        entry.handle.queue.close_with(ending);
                    }
                }
            }
        }
        state.departed.retain(|identity, entitlement| match verdict(identity, entitlement) {
            Verdict::Ends(ending, why) if ending.close == CloseCode::CertificateRevoked => {
                revoked.add(identity, why, None);
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
        oldest.handle.queue.close_with(Ending::because(Code::SesSuperseded));
        true
    }

    /// Takes a session out, if it is there still; whether its principal has none now.
    fn leave(&mut self, number: u64, principal: &Principal) -> bool {
        let entry = self.sessions.remove(&number);
        let was_there = entry.is_some();
        if let Some(entry) = entry {
            self.departed.remember(entry);
        }
        let Some(counts) = self.principals.get_mut(principal) else { return true };
        counts.live = counts.live.saturating_sub(u32::from(was_there));
        counts.live == 0
    }
}

/// A certificate that holds no more.
#[derive(Debug)]
pub struct RevokedCertificate {
    /// Whose it was.
    pub identity: Arc<Identified>,
    /// Why it does not hold.
    pub why: String,
    /// Its sessions, which have to be told to end.
    pub sessions: Vec<Arc<SessionHandle>>,
}

/// Those that a sweep finds, each once.
#[derive(Default)]
struct Revoked {
    certificates: Vec<RevokedCertificate>,
    places: HashMap<[u8; 32], usize>,
}

impl Revoked {
    fn add(&mut self, identity: &Arc<Identified>, why: String, session: Option<&Arc<SessionHandle>>) {
        let next = self.certificates.len();
        let place = *self.places.entry(identity.fingerprint).or_insert(next);
        if place == next {
            let identity = Arc::clone(identity);
            self.certificates.push(RevokedCertificate { identity, why, sessions: Vec::new() });
        }
        if let Some(certificate) = self.certificates.get_mut(place) {
            certificate.sessions.extend(session.cloned());
        }
    }
}

/// Certificates of sessions that have ended, and whose orders may rest. After a restart there are none: whoever has not come back
/// since is judged when it does.
#[derive(Default)]
struct Departed {
    certificates: HashMap<[u8; 32], (Arc<Identified>, Arc<Entitlement>)>,
    /// In the order in which they left, the oldest first; each of the map's once, at least.
    order: VecDeque<[u8; 32]>,
}

impl Departed {
    fn remember(&mut self, entry: Entry) {
        let Entry { identity, entitlement, .. } = entry;
        if entitlement.orders.is_none() {
            return;
        }
        let fingerprint = identity.fingerprint;
        if self.certificates.insert(fingerprint, (identity, entitlement)).is_none() {
            self.order.push_back(fingerprint);
        }
        while self.order.len() > DEPARTED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.certificates.remove(&oldest);
            }
        }
    }

    fn retain(&mut self, mut keeps: impl FnMut(&Arc<Identified>, &Entitlement) -> bool) {
        self.certificates.retain(|_, (identity, entitlement)| keeps(identity, entitlement));
        self.order.retain(|fingerprint| self.certificates.contains_key(fingerprint));
    }
}

/// One address: itself for IPv4, its /64 for IPv6, where one host owns as many as it likes.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(octets.into())
        }
    }
}

/// The place of one connection.
pub struct AddressSlot {
    registry: Arc<Registry>,
    address: IpAddr,
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.connections = state.connections.saturating_sub(1);
        if let Some(entry) = state.addresses.get_mut(&self.address) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }
}

/// The place of one session of a principal.
pub(super) struct PrincipalSlot {
    registry: Arc<Registry>,
    principal: Principal,
    pub(super) number: u64,
    /// Sessions of the principal when it began, this one among them; those that were told to end for newer ones are not.
    pub(super) at_once: u32,
}

impl Drop for PrincipalSlot {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.leave(self.number, &self.principal);
        if let Some(counts) = state.principals.get_mut(&self.principal) {
            counts.slots = counts.slots.saturating_sub(1);
            counts.superseded.remove(&self.number);
            if counts.slots == 0 {
                state.principals.remove(&self.principal);
            }
        }
    }
}
