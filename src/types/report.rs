//! What the venue tells the owner of an order.

use sealfeed_wire::{Price, Quantity, Side};

use super::instrument::InstrumentId;
use super::order::{OrderId, OwnerId};

/// One step in an order's life, as its owner hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Which order.
    pub order: OrderId,
    /// Whose it is.
    pub owner: OwnerId,
    /// In which instrument.
    pub instrument: InstrumentId,
    /// Which way.
    pub side: Side,
    /// What happened.
    pub kind: ExecutionKind,
    /// What is still open after it.
    pub leaves: Quantity,
    /// What has traded in all after it.
    pub cumulative: Quantity,
}

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionKind {
    /// Accepted by the venue.
    New,
    /// Part or all of it traded; all of it when `leaves` is zero.
    Fill {
        /// At which price.
        price: Price,
        /// How much.
        quantity: Quantity,
        /// The venue's number for the trade.
        trade_id: u64,
    },
    /// Cancelled by its owner.
    Canceled,
    /// Ended by its time in force.
    Expired,
}
