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

/// What the embedded venue lets happen in one of its instruments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Orders trade as they come in.
    #[default]
    Open,
    /// Limit orders gather; they trade at one price when the phase ends.
    AuctionCall,
    /// No new orders and no replaces; cancels are taken. It ends soon.
    Halted,
    /// As halted, and it does not end soon.
    Closed,
}

impl Phase {
    /// Every phase.
    pub const ALL: &[Self] = &[Self::Open, Self::AuctionCall, Self::Halted, Self::Closed];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::AuctionCall => "auction",
            Self::Halted => "halted",
            Self::Closed => "closed",
        }
    }

    /// The phase of a word; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|phase| phase.as_str() == text)
    }

    /// What the market is told: state, and reason where the state alone does not say it. The wire has no word for closed: it is
    /// `halted` for the reason `CLOSED`.
    #[must_use]
    pub fn to_status(self) -> (TradingState, Option<StatusReason>) {
        match self {
            Self::Open => (TradingState::Trading, None),
            Self::AuctionCall => (TradingState::Auction, None),
            Self::Halted => (TradingState::Halted, None),
            Self::Closed => (TradingState::Halted, StatusReason::new("CLOSED")),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CancelReason;

    #[test]
    fn words_of_phases_and_of_reasons_read_back_and_no_others_do() {
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.as_str()), Some(*phase));
        }
        for reason in CancelReason::ALL {
            assert_eq!(CancelReason::parse(reason.as_str()), Some(*reason));
        }
        assert_eq!((Phase::parse("Open"), CancelReason::parse("")), (None, None));
    }

    #[test]
    fn every_phase_tells_the_market_something_else() {
        let told: Vec<_> = Phase::ALL.iter().map(|phase| phase.to_status()).collect();
        for (place, status) in told.iter().enumerate() {
            assert!(!told[..place].contains(status), "{status:?}");
        }
        assert_eq!(told[3].1.map(|reason| reason.as_str().to_owned()).as_deref(), Some("CLOSED"));
    }
}
