//! Bounds on what orders may lead to, of a principal and of a firm. Made by `identity` from the policy, read by the gate.

use std::sync::Arc;

use sealfeed_wire::Quantity;

use super::patterns::SymbolPatterns;

/// Bounds on what all orders of one account together may lead to. The account is a principal's or a whole firm's.
///
/// The default bounds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RiskBounds {
    /// Symbols in which the account may not trade, whatever else it may: deny wins.
    pub restricted_symbols: SymbolPatterns,
    /// Largest net position in one symbol, long or short, that could come about if all open orders of a side filled; zero means no bound.
    pub position_max: Quantity,
    /// Largest sum, over all symbols, of the values of open orders at their limits and of positions at the last trade price,
    /// without their signs, in whole currency units; 0 means no bound.
    pub exposure_max: u64,
    /// Loss of the trading day, realised and unrealised at the last trade price, in whole currency units, from which on only orders that
    /// reduce a position are taken; 0 means no bound.
    pub loss_max: u64,
}

/// Bounds on all principals of one firm together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmLimits {
    /// Name of the firm.
    pub name: Arc<str>,
    /// What their orders together may lead to.
    pub bounds: RiskBounds,
    /// Most orders resting at once; 0 means no bound.
    pub open_orders_max: u32,
    /// New orders and replaces a second, sustained; the burst is one second's worth. 0 means no bound. Cancels are not counted: what one
    /// trader sends must not keep another one from getting out.
    pub orders_per_second: u32,
}

/// How often the same order may be sent in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateLimit {
    /// Most orders with the same symbol, side, type, quantity and price; never 0.
    pub count_max: u32,
    /// Within this time, in milliseconds; never 0.
    pub within_ms: u64,
}

/// Whose resting orders are cancelled when a session ends without a logout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CancelOnDisconnect {
    /// Nobody's.
    #[default]
    Off,
    /// Those that came in over this session.
    Connection,
    /// All of the principal, when its last session ends.
    Principal,
}

impl CancelOnDisconnect {
    /// Every setting.
    pub const ALL: &[Self] = &[Self::Off, Self::Connection, Self::Principal];

    /// The word in the policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connection => "connection",
            Self::Principal => "principal",
        }
    }

    /// The setting of a word; `None` for a word that is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }

    /// Its number in the log.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Connection => 1,
            Self::Principal => 2,
        }
    }

    /// The setting of a number in the log; `None` for a number that is none.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.to_byte() == byte)
    }
}
