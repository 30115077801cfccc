//! What the pipeline knows of a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use sealfeed_wire::reply::RateLimit;

use crate::feed::{Encoding, Ending, Inbox, Item};
use crate::gate::PublishedRate;
use crate::journal::SessionTrail;
use crate::types::{Entitlement, Principal, SessionId};

/// A session as later stages see it: who it is, what it may do, and where its messages go.
#[derive(Debug)]
pub struct SessionHandle {
    /// Number of the connection in this process, which names it as a reader, too; never reused.
    pub number: u64,
    /// Who.
    pub principal: Principal,
    /// What it may do now. Only the pipeline changes it once the session has begun.
    entitlement: ArcSwap<Entitlement>,
    /// How it gets market data, as agreed on in its upgrade.
    pub encoding: Encoding,
    /// Bytes that the missed messages of one request may have: half of what may wait for a client, so that live data
    /// still fits behind them.
    pub resume_bytes_max: usize,
    /// Its message rate, as of its last message.
    pub messages: PublishedRate,
    /// Where its shard is told things.
    inbox: Arc<Inbox>,
    /// How it is to end, if anybody said so.
    ending: Mutex<Option<Ending>>,
    /// Its events in the log.
    pub trail: SessionTrail,
    /// Its certificate was withdrawn. Only the pipeline says so, and from then on it takes no order from it.
    is_revoked: AtomicBool,
}

// One for each session (docs/adr/0047).
const _: () = assert!(size_of::<SessionHandle>() <= 104);

impl SessionHandle {
    /// A session that begins. `inbox` is that of the shard that has its number.
    #[must_use]
    pub fn new(
        (number, id): (u64, SessionId),
        principal: Principal,
        entitlement: Arc<Entitlement>,
        encoding: Encoding,
        resume_bytes_max: usize,
        inbox: Arc<Inbox>,
    ) -> Self {
        Self {
            number,
            principal,
            entitlement: ArcSwap::from(entitlement),
            encoding,
            resume_bytes_max,
            messages: PublishedRate::default(),
            inbox,
            ending: Mutex::new(None),
            trail: SessionTrail::new(id),
            is_revoked: AtomicBool::new(false),
        }
    }

    /// Asks its shard to close the connection once what is on the way has left. The first ending stands. A session that its
    /// shard does not know yet looks at [`Self::ending`] when it comes.
    pub fn close_with(&self, ending: Ending) {
        let mut asked = self.ending.lock();
        if asked.is_none() {
            *asked = Some(ending);
            drop(asked);
            self.inbox.tell(Item::Finish { reader: self.number, ending, notice: None });
        }
    }

    /// The ending asked for, if any.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        *self.ending.lock()
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Delivery;
    use crate::types::Code;

    #[test]
    fn the_first_ending_stands_and_is_told_once() {
        let inbox = Arc::new(Inbox::new(|| {}));
        let principal = Principal::new("acme", "alice").unwrap();
        let who = (7, SessionId([0; 32]));
        let handle =
            SessionHandle::new(who, principal, Arc::default(), Encoding::Json, 1_000, Arc::clone(&inbox));
        let revoked = Ending::because(Code::SesCertificateRevoked);
        handle.close_with(revoked);
        handle.close_with(Ending::SLOW);
        assert_eq!(handle.ending(), Some(revoked));
        let mut told = Delivery::default();
        inbox.take(&mut told);
        assert_eq!(told.items, [Item::Finish { reader: 7, ending: revoked, notice: None }]);
    }
}
