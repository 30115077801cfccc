//! Orders as the venue takes them.

use std::fmt;

use sealfeed_wire::{ClientOrderId, Price, Quantity, Side};

use super::instrument::InstrumentId;
use super::report::CancelReason;

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
    /// All of it trades at once, or the order is refused.
    FillOrKill,
}

impl TimeInForce {
    /// Whether an order may stay in the book with it.
    #[must_use]
    pub const fn may_rest(self) -> bool {
        matches!(self, Self::Day | Self::GoodTillCancel)
    }
}

/// What happens where an order would trade with another one of the same owner. The order that takes decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTrade {
    /// What is left of the order that takes is cancelled.
    CancelTaker,
    /// The order that rests is cancelled, and the other one goes on.
    CancelMaker,
    /// Both are cancelled.
    CancelBoth,
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
    /// Whether it is refused where it would trade at once. Only with a limit, and a time in force that lets it rest.
    pub post_only: bool,
    /// What happens where it would trade with its owner's own orders; `None`: it trades with them.
    pub self_trade: Option<SelfTrade>,
}

/// A cancel on its way into the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelOrder {
    /// Whose order it must be.
    pub owner: OwnerId,
    /// Which order.
    pub id: OrderId,
    /// Why, for the report.
    pub reason: CancelReason,
}

/// A replace on its way into the venue: what is `None` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaceOrder {
    /// Whose order it must be.
    pub owner: OwnerId,
    /// Which order. It keeps its name.
    pub id: OrderId,
    /// Its new limit.
    pub price: Option<Price>,
    /// Its new total quantity, what has traded included (FIX tag 38, `OrderQty`). At or below what has traded, the rest is cancelled.
    pub quantity: Option<Quantity>,
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
    /// Cancelled, by its owner or for it: the report says why.
    Canceled,
    /// Refused for good.
    Rejected,
    /// Ended by its time in force.
    Expired,
}
