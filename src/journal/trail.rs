//! The links that make one session's and one order's life provably complete.

use parking_lot::Mutex;
use sealfeed_audit::{OrderLink, SessionLink};
use sealfeed_wire::SessionId;

/// Numbers the events of one session without a gap, in the order of the log.
#[derive(Debug)]
pub struct SessionTrail {
    id: SessionId,
    next_event: Mutex<u64>,
}

impl SessionTrail {
    /// The trail of a session that has no events yet.
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        Self { id, next_event: Mutex::new(0) }
    }

    /// Which session.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Appends the session's next event. Held while appending: event numbers and sequence numbers agree even
    /// when the session and the pipeline record at the same time.
    pub(super) fn append<E>(&self, append: impl FnOnce(SessionLink) -> Result<u64, E>) -> Result<u64, E> {
        let mut event = self.next_event.lock();
        let sequence = append(SessionLink { id: self.id.0, event: *event })?;
        *event += 1;
        Ok(sequence)
    }
}

/// Links the events of one order, each to the one before.
#[derive(Clone, Copy, Debug)]
pub struct OrderTrail {
    id: u64,
    previous: Option<u64>,
    next_event: u64,
}

impl OrderTrail {
    /// The trail of an order that has no events yet.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self { id, previous: None, next_event: 0 }
    }

    /// Where the order's life stands: entry of the last event, number of the next one.
    #[must_use]
    pub const fn to_parts(self) -> (Option<u64>, u64) {
        (self.previous, self.next_event)
    }

    /// The trail of an order whose life stands there.
    #[must_use]
    pub const fn from_parts(id: u64, previous: Option<u64>, next_event: u64) -> Self {
        Self { id, previous, next_event }
    }

    /// The link of the order's next event.
    #[must_use]
    pub const fn link(&self) -> OrderLink {
        OrderLink { id: self.id, previous: self.previous, event: self.next_event }
    }

    /// Takes note that the order's next event is the entry `sequence`.
    pub const fn advance(&mut self, sequence: u64) {
        self.previous = Some(sequence);
        self.next_event += 1;
    }
}
