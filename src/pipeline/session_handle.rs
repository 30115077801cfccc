//! What the pipeline knows of a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use sealfeed_wire::reply::RateLimit;

use crate::feed::{Encoding, OutboundQueue};
use crate::gate::PublishedRate;
use crate::journal::SessionTrail;
use crate::types::{Entitlement, Principal, SessionId};

/// A session as later stages see it: who it is, what it may do, and where its messages go.
#[derive(Debug)]
pub struct SessionHandle {
    /// Number of the connection in this process; never reused.
    pub number: u64,
    /// Who.
    pub principal: Principal,
    /// What it may do now. Only the pipeline changes it once the session has begun.
    pub(crate) entitlement: ArcSwap<Entitlement>,
    /// How it gets market data, as agreed on in its upgrade.
    pub encoding: Encoding,
    /// Bytes that the missed messages of one request may have: half of what may wait for a client, so that live data
    /// still fits behind them.
    pub resume_bytes_max: usize,
    /// Its message rate, as of its last message.
    pub messages: PublishedRate,
    /// Where its messages go.
    pub queue: Arc<OutboundQueue>,
    /// Its events in the log.
    pub trail: SessionTrail,
    /// Its certificate was withdrawn. Only the pipeline says so, and from then on it takes no order from it.
    pub(crate) is_revoked: AtomicBool,
}

// One for each session (docs/adr/0047).
const _: () = assert!(size_of::<SessionHandle>() <= 136);

impl SessionHandle {
    /// What it may do now. Ask once for each decision: it may be another one the next time.
    #[must_use]
    pub fn entitlement(&self) -> Guard<Arc<Entitlement>> {
        self.entitlement.load()
    }

    /// Changes that.
    pub(crate) fn set_entitlement(&self, entitlement: Arc<Entitlement>) {
        self.entitlement.store(entitlement);
    }

    /// From here on, the pipeline takes no order from it, whatever is on the way.
    pub(super) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Relaxed);
    }

    /// Whether its certificate was withdrawn.
    pub(super) fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    /// State of the rate limits that its requests count against, for replies.
    #[must_use]
    pub fn rate_limits(&self) -> Vec<RateLimit> {
        self.message_rate().into_iter().collect()
    }

    /// The first of them.
    pub(super) fn message_rate(&self) -> Option<RateLimit> {
        self.messages.get("messages")
    }

    /// The session's name: the TLS exporter value of its connection.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.trail.id()
    }
}
