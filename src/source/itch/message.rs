//! The messages of Nasdaq TotalView-ITCH 5.0 ("Nasdaq TotalView-ITCH 5.0 Specification", Nasdaq, 2020), big-endian, of fixed lengths.
//!
//! Every message begins with its kind, the number of its stock for the day (locate), a tracking number and a time in nanoseconds since
//! midnight in 48 bits. Prices have four decimals, as 32-bit numbers without sign.

use crate::types::{Price, Quantity, Side};

/// Nano-units in a ten-thousandth, the unit of prices.
const NANOS_PER_PRICE: i64 = 100_000;

/// Nano-units in one share.
const NANOS_PER_SHARE: u64 = 1_000_000_000;

/// Kind and length in bytes of every message that there is.
pub(super) const LENGTHS: [(u8, usize); 23] = [
    (b'S', 12),
    (b'R', 39),
    (b'H', 25),
    (b'Y', 20),
    (b'L', 26),
    (b'V', 35),
    (b'W', 12),
    (b'K', 28),
    (b'J', 35),
    (b'h', 21),
    (b'A', 36),
    (b'F', 40),
    (b'E', 31),
    (b'C', 36),
    (b'X', 23),
    (b'D', 19),
    (b'U', 35),
    (b'P', 44),
    (b'Q', 40),
    (b'B', 19),
    (b'I', 50),
    (b'N', 20),
    (b'O', 48),
];

/// A message, not yet looked into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
}

/// What a message says, of the kinds that matter to a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// `R`: an instrument, for the day.
    Directory { stock: [u8; 8], round_lot: Quantity },
    /// `H`: what trades.
    Action { state: u8, reason: [u8; 4] },
    /// `A`, `F`: an order came to rest.
    Add { order: u64, side: Side, quantity: Quantity, price: Price },
    /// `E`: an order was executed at its price.
    Executed { order: u64, quantity: Quantity, trade_id: u64 },
    /// `C`: an order was executed at another price; a trade of the tape only if printable.
    ExecutedAt { order: u64, quantity: Quantity, trade_id: u64, is_printable: bool, price: Price },
    /// `X`: part of an order was cancelled.
    Cancelled { order: u64, quantity: Quantity },
    /// `D`: an order was cancelled.
    Deleted { order: u64 },
    /// `U`: an order was replaced by another.
    Replaced { order: u64, by: u64, quantity: Quantity, price: Price },
    /// `P`: a trade against an order that was not shown.
    Trade { quantity: Quantity, price: Price, trade_id: u64 },
    /// `Q`: an auction; quantity zero if nothing traded.
    Cross { quantity: Quantity, price: Price, trade_id: u64 },
    /// `B`: a trade was taken back.
    Broken,
    /// `S`: the day begins, ends.
    System,
    /// Any other: nothing of a market that is published.
    Other,
}

impl<'a> Message<'a> {
    /// A message of these bytes, if there is a kind of this length.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let kind = bytes.first()?;
        LENGTHS.contains(&(*kind, bytes.len())).then_some(Self { bytes })
    }

    /// The number of its stock for the day; 0 for what concerns all.
    pub(super) fn locate(self) -> u16 {
        u16::from_be_bytes(self.at(1))
    }

    /// Nanoseconds since midnight.
    pub(super) fn time_ns(self) -> u64 {
        let [a, b, c, d, e, f] = self.at(5);
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// What it says; `None` if a field has a value that the format does not have.
    pub(super) fn body(self) -> Option<Body> {
        let (order, trade_id) = (|| self.long(11), |at| self.long(at));
        Some(match self.bytes[0] {
            b'R' => Body::Directory { stock: self.at(11), round_lot: self.shares(21) },
            b'H' => Body::Action { state: self.bytes[19], reason: self.at(21) },
            b'A' | b'F' => Body::Add {
                order: order(),
                side: self.side(19)?,
                quantity: self.shares(20),
                price: self.price(32),
            },
            b'E' => Body::Executed { order: order(), quantity: self.shares(19), trade_id: trade_id(23) },
            b'C' => Body::ExecutedAt {
                order: order(),
                quantity: self.shares(19),
                trade_id: trade_id(23),
                is_printable: match self.bytes[31] {
                    b'Y' => true,
                    b'N' => false,
                    _ => return None,
                },
                price: self.price(32),
            },
            b'X' => Body::Cancelled { order: order(), quantity: self.shares(19) },
            b'D' => Body::Deleted { order: order() },
            b'U' => Body::Replaced {
                order: order(),
                by: self.long(19),
                quantity: self.shares(27),
                price: self.price(31),
            },
            b'P' => Body::Trade { quantity: self.shares(20), price: self.price(32), trade_id: trade_id(36) },
            b'Q' => Body::Cross {
                quantity: Quantity::from_nanos(self.long(11).checked_mul(NANOS_PER_SHARE)?),
                price: self.price(27),
                trade_id: trade_id(31),
            },
            b'B' => Body::Broken,
            b'S' => Body::System,
            _ => Body::Other,
        })
    }

    /// The stock that the message names itself, for kinds that do.
    pub(super) fn stock(self) -> Option<[u8; 8]> {
        match self.bytes[0] {
            b'A' | b'F' | b'P' => Some(self.at(24)),
            b'R' | b'H' => Some(self.at(11)),
            b'Q' => Some(self.at(19)),
            _ => None,
        }
    }

    /// The bytes of a field. Every kind's length is known to hold its fields.
    fn at<const N: usize>(self, start: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[start..start + N]);
        field
    }

    fn long(self, start: usize) -> u64 {
        u64::from_be_bytes(self.at(start))
    }

    fn shares(self, start: usize) -> Quantity {
        Quantity::from_nanos(u64::from(u32::from_be_bytes(self.at(start))) * NANOS_PER_SHARE)
    }

    fn price(self, start: usize) -> Price {
        Price::from_nanos(i64::from(u32::from_be_bytes(self.at(start))) * NANOS_PER_PRICE)
    }

    fn side(self, start: usize) -> Option<Side> {
        match self.bytes[start] {
            b'B' => Some(Side::Buy),
            b'S' => Some(Side::Sell),
            _ => None,
        }
    }
}
