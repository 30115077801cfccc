//! What the venue tells the owner of an order.

use std::fmt;

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
    /// Taken out before its time in force ended it.
    Canceled {
        /// Why.
        reason: CancelReason,
    },
    /// It has this limit and this total quantity now.
    Replaced {
        /// Its limit.
        price: Price,
        /// Its total quantity, what has traded included.
        quantity: Quantity,
    },
    /// Ended by its time in force.
    Expired,
}

/// Why an order was cancelled. The words are permanent: they stand in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// Its owner asked for it.
    Requested,
    /// Its owner asked for all of them.
    MassCancel,
    /// It would have traded with its owner's own order.
    SelfTrade,
    /// A replace left it with nothing open.
    Replaced,
    /// The connection that it was bound to ended.
    Disconnect,
    /// Its owner's dead-man timer ran out.
    DeadMan,
    /// Trading of its owner was stopped.
    Kill,
    /// An operator asked for it.
    Operator,
    /// Its owner's certificate or right to trade was withdrawn.
    Revoked,
    /// The server started again and did not keep it.
    Restart,
}

impl CancelReason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::Requested,
        Self::MassCancel,
        Self::SelfTrade,
        Self::Replaced,
        Self::Disconnect,
        Self::DeadMan,
        Self::Kill,
        Self::Operator,
        Self::Revoked,
        Self::Restart,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::MassCancel => "mass_cancel",
            Self::SelfTrade => "self_trade",
            Self::Replaced => "replaced",
            Self::Disconnect => "disconnect",
            Self::DeadMan => "dead_man",
            Self::Kill => "kill",
            Self::Operator => "operator",
            Self::Revoked => "revoked",
            Self::Restart => "restart",
        }
    }

    /// The reason of a word; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
