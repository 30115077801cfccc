//! Whether an instrument trades, and what it is: what its venue says about it besides its market.

use std::fmt;

use sealfeed_wire::{Decimals, Price, Quantity};

/// A venue's own code for the reason of a status, such as `T1` (Nasdaq: halted, news pending): the same value as on the wire.
pub use sealfeed_wire::market::Reason as StatusReason;

/// What a venue lets happen in an instrument, where it has said so: the wire's word for the rest is `unknown`. What a venue calls otherwise is mapped by its source (`docs/SOURCES.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TradingState {
    /// Continuous trading.
    Trading,
    /// Nothing trades and nothing is quoted, by order of a regulator or the venue.
    Halted,
    /// As halted, for a short and foreseeable time (a volatility pause).
    Paused,
    /// Quotes and orders are taken, nothing trades: in front of a resumption.
    Quoting,
    /// Orders gather for a single price.
    Auction,
}

/// The words for them are those of the wire.
impl From<TradingState> for sealfeed_wire::market::TradingState {
    fn from(state: TradingState) -> Self {
        match state {
            TradingState::Trading => Self::Trading,
            TradingState::Halted => Self::Halted,
            TradingState::Paused => Self::Paused,
            TradingState::Quoting => Self::Quoting,
            TradingState::Auction => Self::Auction,
        }
    }
}

impl fmt::Display for TradingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        sealfeed_wire::market::TradingState::from(*self).fmt(f)
    }
}

/// How an instrument trades, as its venue defines it. What the venue does not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// Decimals that the venue prints prices with; those of our wire are the instrument's and never fewer than it needs.
    pub price_decimals: Option<Decimals>,
    /// Smallest price step.
    pub tick: Option<Price>,
    /// Smallest quantity step.
    pub lot: Option<Quantity>,
    /// Quantity of a round lot.
    pub round_lot: Option<Quantity>,
}
