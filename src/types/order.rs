//! Orders as the venue takes them.

use std::fmt;

use sealfeed_wire::{ClientOrderId, Price, Quantity, Side};

use super::instrument::InstrumentId;

/// The venue's name for an order; unique for the life of the log. For recordings: the recorded venue's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who owns an order: the pipeline's number for a principal (or for a member of the synthetic market).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u32);

/// How an order prices itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// At this price or better; what does not trade rests, as [`TimeInForce`] allows.
    Limit(Price),
    /// At any price; what does not trade at once expires.
    Market,
}

/// How long an order lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeInForce {
    /// Until the end of the trading day.
    Day,
    /// Until cancelled.
    GoodTillCancel,
    /// What does not trade at once expires.
    ImmediateOrCancel,
}

/// An order on its way into the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The name it will have.
    pub id: OrderId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The owner's own name for it.
    pub client_order_id: ClientOrderId,
    /// What to trade.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// How much; never zero.
    pub quantity: Quantity,
    /// Limit or market.
    pub kind: OrderKind,
    /// How long it lives.
    pub time_in_force: TimeInForce,
}

/// A cancel on its way into the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelOrder {
    /// Whose order it must be.
    pub owner: OwnerId,
    /// Which order.
    pub id: OrderId,
}

/// Where an order stands. `unknown` on the wire means: never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Accepted, nothing traded, resting.
    New,
    /// Something traded, the rest is resting.
    PartiallyFilled,
    /// All traded.
    Filled,
    /// Cancelled by its owner.
    Canceled,
    /// Refused for good.
    Rejected,
    /// Ended by its time in force.
    Expired,
}
