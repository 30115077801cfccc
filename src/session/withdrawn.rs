//! Certificates that hold no more, and those whose sessions have ended while their orders may rest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::identity::Identified;
use crate::pipeline::SessionHandle;
use crate::types::Entitlement;

/// Certificates that may have left orders behind when their last session ended; beyond, the oldest one is forgotten, and a later
/// revocation of it ends no orders.
const DEPARTED_MAX: usize = 16_384;

/// A certificate that holds no more.
#[derive(Debug)]
pub struct RevokedCertificate {
    /// Whose it was.
    pub identity: Arc<Identified>,
    /// Why it does not hold.
    pub why: String,
    /// Whether the policy lets its orders rest.
    pub keeps_orders: bool,
    /// Its sessions, which have to be told to end.
    pub sessions: Vec<Arc<SessionHandle>>,
}

/// Those that a sweep finds, each once.
#[derive(Default)]
pub(super) struct Revoked {
    pub(super) certificates: Vec<RevokedCertificate>,
    places: HashMap<[u8; 32], usize>,
}

impl Revoked {
    pub(super) fn add(
        &mut self,
        identity: &Arc<Identified>,
        entitlement: &Entitlement,
        why: String,
        session: Option<&Arc<SessionHandle>>,
    ) {
        let next = self.certificates.len();
        let place = *self.places.entry(identity.fingerprint).or_insert(next);
        if place == next {
            let identity = Arc::clone(identity);
            let keeps_orders = entitlement.orders.as_ref().is_some_and(|rights| !rights.cancel_on_revocation);
            self.certificates.push(RevokedCertificate { identity, why, keeps_orders, sessions: Vec::new() });
        }
        if let Some(certificate) = self.certificates.get_mut(place) {
            certificate.sessions.extend(session.cloned());
        }
    }
}

/// Certificates of sessions that have ended, and whose orders may rest. After a restart there are none: whoever has not come back
/// since is judged when it does.
#[derive(Default)]
pub(super) struct Departed {
    certificates: HashMap<[u8; 32], (Arc<Identified>, Arc<Entitlement>)>,
    /// In the order in which they left, the oldest first; each of the map's once, at least.
    order: VecDeque<[u8; 32]>,
}

impl Departed {
    pub(super) fn remember(&mut self, identity: Arc<Identified>, entitlement: Arc<Entitlement>) {
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

    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&Arc<Identified>, &Entitlement) -> bool) {
        let before = self.certificates.len();
        self.certificates.retain(|_, (identity, entitlement)| keeps(identity, entitlement));
        if self.certificates.len() < before {
            self.order.retain(|fingerprint| self.certificates.contains_key(fingerprint));
        }
    }
}
