//! `status` and `definition`: what may happen in an instrument, and what it is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::encode::{write_header, write_number, write_text, write_text_or_null};
use super::fields::message_fields;
use super::indication::{Indication, Said, write_indication};
use super::{BookDecimals, StreamHeader};
use crate::decimal::{Decimals, Price, Quantity, Scaled, write_integer};
use crate::term::Side;

/// What a venue lets happen in an instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TradingState {
    /// Continuous trading.
    Trading,
    /// Nothing trades and nothing is quoted.
    Halted,
    /// Halted for a short time.
    Paused,
    /// Quotes and orders are taken, nothing trades.
    Quoting,
    /// Orders gather for a single price.
    Auction,
    /// The source has not said; also a word that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl TradingState {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trading => "trading",
            Self::Halted => "halted",
            Self::Paused => "paused",
            Self::Quoting => "quoting",
            Self::Auction => "auction",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for TradingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Most bytes of a [`Reason`].
const REASON_BYTES_MAX: usize = 8;

/// A venue's own code for a status, such as `T1` (Nasdaq: halted, news pending): 1 to 8 printable ASCII characters without space.
///
/// The quote and the backslash are not allowed: no format has to escape a code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Zero behind the text.
    bytes: [u8; REASON_BYTES_MAX],
}

impl Reason {
    /// A code; `None` for a text that is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_allowed = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let fits = (1..=REASON_BYTES_MAX).contains(&text.len()) && text.as_bytes().iter().all(is_allowed);
        fits.then(|| {
            let mut bytes = [0; REASON_BYTES_MAX];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            Self { bytes }
        })
    }

    /// The text as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(REASON_BYTES_MAX);
        &self.bytes[..length]
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so the fallback is never taken.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reason({})", self.as_str())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| de::Error::custom("a reason of more than 8 printable characters"))
    }
}

/// What may happen in an instrument now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Stream and position.
    pub header: StreamHeader,
    /// What the venue lets happen.
    pub state: TradingState,
    /// The venue's code for why; `None` if it gave none.
    pub reason: Option<Reason>,
    /// What the auction call comes to so far; `None` in every state but [`TradingState::Auction`], and where nobody says.
    pub indication: Option<Indication>,
}

/// What an instrument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Stream and position.
    pub header: StreamHeader,
    /// Decimals of its prices and quantities on this wire.
    pub decimals: BookDecimals,
    /// Smallest price step; `None`: the source does not say.
    pub tick: Option<Scaled<Price>>,
    /// Smallest quantity step; `None`: the source does not say.
    pub lot: Option<Scaled<Quantity>>,
    /// Quantity of a round lot; `None`: the source does not say.
    pub round_lot: Option<Scaled<Quantity>>,
    /// Whether this server's venue takes orders in it.
    pub tradable: bool,
    /// What the venue lets happen in it now.
    pub state: TradingState,
    /// Lowest and highest price that an order may have; `None`: any, or the source does not say.
    pub band: Option<(Scaled<Price>, Scaled<Price>)>,
}

message_fields!(StatusFields {
    state: TradingState,
    reason: Option<Reason>,
    #[serde(default)]
    indicative_price: Said,
    indicative_qty: Option<Scaled<Quantity>>,
    imbalance_side: Option<Side>,
    imbalance_qty: Option<Scaled<Quantity>>,
});

message_fields!(DefinitionFields {
    price_decimals: Decimals,
    qty_decimals: Decimals,
    tick: Option<Scaled<Price>>,
    lot: Option<Scaled<Quantity>>,
    round_lot: Option<Scaled<Quantity>>,
    tradable: bool,
    state: TradingState,
    price_min: Option<Scaled<Price>>,
    price_max: Option<Scaled<Price>>,
});

impl Status {
    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        let fields: StatusFields = serde_json::from_str(text)?;
        let header = fields.header();
        let StatusFields { state, reason, indicative_price, indicative_qty, imbalance_side, .. } = fields;
        let indication = indicative_price.with(indicative_qty, imbalance_side, fields.imbalance_qty)?;
        Ok(Self { header, state, reason, indication })
    }
}

impl Definition {
    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        let fields: DefinitionFields = serde_json::from_str(text)?;
        let header = fields.header();
        let DefinitionFields { price_decimals: price, qty_decimals: quantity, tick, lot, .. } = fields;
        let DefinitionFields { round_lot, tradable, state, .. } = fields;
        let band = fields.price_min.zip(fields.price_max);
        let decimals = BookDecimals { price, quantity };
        Ok(Self { header, decimals, tick, lot, round_lot, tradable, state, band })
    }
}

/// Appends a `status`.
pub fn encode_status(out: &mut Vec<u8>, status: &Status) {
    write_header(out, b"{\"type\":\"status\",\"channel\":\"", &status.header);
    write_text(out, b",\"state\":\"", status.state.as_str().as_bytes());
    out.extend_from_slice(b",\"reason\":");
    write_text_or_null(out, status.reason.as_ref().map(Reason::as_bytes));
    if let Some(indication) = &status.indication {
        write_indication(out, indication);
    }
    out.push(b'}');
}

/// Appends a `definition`.
pub fn encode_definition(out: &mut Vec<u8>, definition: &Definition) {
    write_header(out, b"{\"type\":\"definition\",\"channel\":\"", &definition.header);
    out.extend_from_slice(b",\"price_decimals\":");
    write_integer(out, definition.decimals.price.get().into());
    out.extend_from_slice(b",\"qty_decimals\":");
    write_integer(out, definition.decimals.quantity.get().into());
    write_number(out, b",\"tick\":", definition.tick);
    write_number(out, b",\"lot\":", definition.lot);
    write_number(out, b",\"round_lot\":", definition.round_lot);
    out.extend_from_slice(if definition.tradable { b",\"tradable\":true" } else { b",\"tradable\":false" });
    write_text(out, b",\"state\":\"", definition.state.as_str().as_bytes());
    if let Some((lowest, highest)) = definition.band {
        write_number(out, b",\"price_min\":", Some(lowest));
        write_number(out, b",\"price_max\":", Some(highest));
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_printable_word() {
        for code in ["T1", "LUDP", "IPO1", "12345678", "M-1.a"] {
            assert_eq!(Reason::new(code).unwrap().as_str(), code);
        }
        for code in ["", "123456789", "T 1", "T\"", "T\\", "é", "T\0"] {
            assert_eq!(Reason::new(code), None, "{code:?}");
        }
    }
}
