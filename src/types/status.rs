//! Whether an instrument trades, and what it is: what its venue says about it besides its market.

use std::fmt;

use sealfeed_wire::{Decimals, Price, Quantity};

/// What a venue lets happen in an instrument. What a venue calls otherwise is mapped by its source (`docs/SOURCES.md`).
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

impl TradingState {
    /// The state in one word of lower-case letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trading => "trading",
            Self::Halted => "halted",
            Self::Paused => "paused",
            Self::Quoting => "quoting",
            Self::Auction => "auction",
        }
    }
}

impl fmt::Display for TradingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest reason code of a venue, in bytes.
const REASON_BYTES_MAX: usize = 8;

/// A venue's own code for the reason of a status, such as `T1` (Nasdaq: halted, news pending).
///
/// 1 to 8 printable ASCII characters without space, so it can stand in any message as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusReason {
    /// Filled up with zeros.
    bytes: [u8; REASON_BYTES_MAX],
}

impl StatusReason {
    /// A code of these characters; `None` if there are none, too many, or others than allowed.
    ///
    /// The quote and the backslash are not allowed: no format has to escape a code.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let is_allowed = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if code.is_empty() || code.len() > REASON_BYTES_MAX || !code.as_bytes().iter().all(is_allowed) {
            return None;
        }
        let mut bytes = [0; REASON_BYTES_MAX];
        bytes[..code.len()].copy_from_slice(code.as_bytes());
        Some(Self { bytes })
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(REASON_BYTES_MAX);
        // ASCII by construction.
        std::str::from_utf8(&self.bytes[..length]).unwrap_or_default()
    }
}

impl fmt::Debug for StatusReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusReason({:?})", self.as_str())
    }
}

impl fmt::Display for StatusReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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

    #[test]
    fn a_reason_is_one_short_printable_word() {
        for code in ["T1", "LUDP", "IPO1", "12345678", "M-1.a"] {
            assert_eq!(StatusReason::new(code).unwrap().as_str(), code);
        }
        for code in ["", "123456789", "T 1", "T\"", "T\\", "é", "T\0"] {
            assert_eq!(StatusReason::new(code), None, "{code:?}");
        }
    }
}
