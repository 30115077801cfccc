//! `mbo_snapshot`: all orders that rest in an instrument, in parts, for a reader of `mbo` who begins or was left behind.
//!
//! The parts of one snapshot come one after the other, with nothing of their stream in between, and all bear the position that the
//! snapshot shows. The first one empties what the reader had. On each side the best price comes first, and at a price the order that
//! stands first in the queue, over all parts.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::encode::write_header;
use super::fields::message_fields;
use super::{BookDecimals, StreamHeader};
use crate::decimal::{Price, Quantity, write_integer};

/// One order of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MboOrder {
    /// The venue's number of the order.
    pub order_id: u64,
    /// Where it rests.
    pub price: Price,
    /// What is left of it.
    pub quantity: Quantity,
}

/// One part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MboSnapshot {
    /// Stream and position: that of the last record the snapshot contains. No predecessor.
    pub header: StreamHeader,
    /// Which part: 1 to `parts`.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// Bids, best first.
    pub bids: Vec<MboOrder>,
    /// Asks, best first.
    pub asks: Vec<MboOrder>,
    /// Whether the book is whole after this part: of the last part, unless the position lies within an event.
    pub last: bool,
}

message_fields!(SnapshotFields {
    part: u32,
    parts: u32,
    bids: Vec<MboOrder>,
    asks: Vec<MboOrder>,
    last: bool,
});

impl MboSnapshot {
    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        let fields: SnapshotFields = serde_json::from_str(text)?;
        let header = fields.header();
        let SnapshotFields { part, parts, bids, asks, last, .. } = fields;
        Ok(Self { header, part, parts, bids, asks, last })
    }
}

/// Appends an `mbo_snapshot`.
pub fn encode_mbo_snapshot(out: &mut Vec<u8>, snapshot: &MboSnapshot, decimals: BookDecimals) {
    write_header(out, b"{\"type\":\"mbo_snapshot\",\"channel\":\"", &snapshot.header);
    out.extend_from_slice(b",\"part\":");
    write_integer(out, snapshot.part.into());
    out.extend_from_slice(b",\"parts\":");
    write_integer(out, snapshot.parts.into());
    for (name, orders) in [(&b",\"bids\":["[..], &snapshot.bids), (b",\"asks\":[", &snapshot.asks)] {
        out.extend_from_slice(name);
        for (place, order) in orders.iter().enumerate() {
            out.extend_from_slice(if place == 0 { b"[\"" } else { b",[\"" });
            write_integer(out, order.order_id);
            out.extend_from_slice(b"\",\"");
            order.price.write(out, decimals.price);
            out.extend_from_slice(b"\",\"");
            order.quantity.write(out, decimals.quantity);
            out.extend_from_slice(b"\"]");
        }
        out.push(b']');
    }
    out.extend_from_slice(if snapshot.last { b",\"last\":true}" } else { b",\"last\":false}" });
}

impl<'de> Deserialize<'de> for MboOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderVisitor;

        impl<'de> Visitor<'de> for OrderVisitor {
            type Value = MboOrder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of order number, price and quantity")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<MboOrder, A::Error> {
                let missing = |index| de::Error::invalid_length(index, &self);
                let order: std::borrow::Cow<'_, str> = list.next_element()?.ok_or_else(|| missing(0))?;
                let order_id = order.parse().map_err(de::Error::custom)?;
                let price = list.next_element()?.ok_or_else(|| missing(1))?;
                let quantity = list.next_element()?.ok_or_else(|| missing(2))?;
                // A newer server may add elements.
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(MboOrder { order_id, price, quantity })
            }
        }

        deserializer.deserialize_seq(OrderVisitor)
    }
}
