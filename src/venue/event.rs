//! What the venue reports, in the order in which it happened.

use crate::types::{Execution, InstrumentId, MarketEventKind};

/// One step of an operation. An operation's market records form one event: the last of them says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueEvent {
    /// What the owner of an order hears, and nobody else.
    Execution(Execution),
    /// What everybody sees: an order came to rest, a trade, or something taken off a resting order.
    Market {
        /// In which instrument.
        instrument: InstrumentId,
        /// `Add`, `Trade` or `Reduce`. A trade comes before the `Reduce` of the order it was made with.
        kind: MarketEventKind,
        /// Whether the book is whole after it: set on the last market record of an operation.
        last: bool,
    },
}

impl VenueEvent {
    /// A market record that is not the last of its operation, until [`mark_last`] knows better.
    pub(super) const fn market(instrument: InstrumentId, kind: MarketEventKind) -> Self {
        Self::Market { instrument, kind, last: false }
    }
}

/// Marks the last market record among the events of one operation, if there is any.
pub(super) fn mark_last(operation: &mut [VenueEvent]) {
    for event in operation.iter_mut().rev() {
        if let VenueEvent::Market { last, .. } = event {
            *last = true;
            return;
        }
    }
}
