//! `mbo`: one record of an instrument's order-by-order feed (L3), as its source reports it.
//!
//! A record that changes the book names its order. Trades do not change the book: what they took off comes as `cancel`.
//! The book is whole after a record with `last`.

use super::encode::{write_header, write_text_or_null};
use super::fields::message_fields;
use super::{BookDecimals, StreamHeader};
use crate::decimal::{Nanos, Price, Quantity, Scaled, write_integer};
use crate::term::Aggressor;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MboAction {
    /// An order came to rest.
    Add,
    /// An order has this price and quantity now; one that is not known is added.
    Modify,
    /// This much was taken off an order, by a cancel or a trade; at nothing left it is gone.
    Cancel,
    /// The book is empty now.
    Clear,
    /// A trade; the side is the aggressor's.
    Trade,
    /// A resting order traded; what it lost comes as a cancel.
    Fill,
    /// A word that this version does not know; servers never send it.
    #[serde(other)]
    Unknown,
}

impl MboAction {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Modify => "modify",
            Self::Cancel => "cancel",
            Self::Clear => "clear",
            Self::Trade => "trade",
            Self::Fill => "fill",
            Self::Unknown => "unknown",
        }
    }
}

/// A record of an order-by-order feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mbo {
    /// Stream and position.
    pub header: StreamHeader,
    /// What happened.
    pub action: MboAction,
    /// Where the order rests; of a trade, the side of the aggressor.
    pub side: Aggressor,
    /// Price; `None` where the record has none.
    pub price: Option<Price>,
    /// Quantity: all of the order for `add` and `modify`, what was taken off for `cancel`; `None` where the record has none.
    pub quantity: Option<Quantity>,
    /// The venue's number of the order; `None` where the record names none.
    pub order_id: Option<u64>,
    /// Whether the book is whole after this record.
    pub last: bool,
}

message_fields!(MboFields {
    action: MboAction,
    side: Aggressor,
    price: Option<Price>,
    #[serde(rename = "qty")]
    quantity: Option<Quantity>,
    #[serde(deserialize_with = "order_id")]
    order_id: Option<u64>,
    last: bool,
});

impl Mbo {
    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        let fields: MboFields = serde_json::from_str(text)?;
        let header = fields.header();
        let MboFields { action, side, price, quantity, order_id, last, .. } = fields;
        Ok(Self { header, action, side, price, quantity, order_id, last })
    }
}

/// Decimal text, because 64 bits do not fit a JavaScript number.
fn order_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text: Option<std::borrow::Cow<'_, str>> = serde::Deserialize::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Appends an `mbo`.
pub fn encode_mbo(out: &mut Vec<u8>, mbo: &Mbo, decimals: BookDecimals) {
    write_header(out, b"{\"type\":\"mbo\",\"channel\":\"", &mbo.header);
    out.extend_from_slice(b",\"action\":\"");
    out.extend_from_slice(mbo.action.as_str().as_bytes());
    out.extend_from_slice(b"\",\"side\":\"");
    out.extend_from_slice(mbo.side.as_str().as_bytes());
    out.extend_from_slice(b"\",\"price\":");
    write_scaled(out, mbo.price.map(|price| Scaled::new(price, decimals.price)));
    out.extend_from_slice(b",\"qty\":");
    write_scaled(out, mbo.quantity.map(|quantity| Scaled::new(quantity, decimals.quantity)));
    out.extend_from_slice(b",\"order_id\":");
    match mbo.order_id {
        Some(id) => {
            out.push(b'"');
            write_integer(out, id);
            out.push(b'"');
        }
        None => write_text_or_null(out, None),
    }
    out.extend_from_slice(if mbo.last { b",\"last\":true}" } else { b",\"last\":false}" });
}

fn write_scaled<T: Nanos>(out: &mut Vec<u8>, number: Option<Scaled<T>>) {
    super::encode::write_number(out, b"", number);
}
