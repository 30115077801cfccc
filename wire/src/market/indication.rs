//! What an auction call comes to so far: a part of `status`.

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::encode::{write_number, write_text_or_null};
use crate::decimal::{Price, Quantity, Scaled};
use crate::term::Side;

/// At which price the orders that an auction call has gathered would trade if it ended now (`docs/PROTOCOL.md`, "Operators", states the
/// rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// Nothing would trade.
    Nothing,
    /// Something would.
    Uncrosses {
        /// At this price, all of it.
        price: Scaled<Price>,
        /// So much.
        quantity: Scaled<Quantity>,
        /// Who would be left with orders at this price or better; `None`: nobody.
        imbalance_side: Option<Side>,
        /// With how much; zero if nobody.
        imbalance_quantity: Scaled<Quantity>,
    },
}

/// The price as a message says it.
#[derive(Default)]
pub(super) enum Said {
    /// Not at all: it is no message of an auction call, or of a server that does not tell.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// A number.
    At(Scaled<Price>),
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::At))
    }
}

impl Said {
    /// The indication of the message that says this price, with what else it says.
    pub(super) fn with(
        self,
        quantity: Option<Scaled<Quantity>>,
        imbalance_side: Option<Side>,
        imbalance_quantity: Option<Scaled<Quantity>>,
    ) -> serde_json::Result<Option<Indication>> {
        match (self, quantity, imbalance_side, imbalance_quantity) {
            (Self::At(price), Some(quantity), imbalance_side, Some(imbalance_quantity)) => {
                Ok(Some(Indication::Uncrosses { price, quantity, imbalance_side, imbalance_quantity }))
            }
            (Self::Null, None, None, None) => Ok(Some(Indication::Nothing)),
            (Self::Absent, None, None, None) => Ok(None),
            _ => Err(de::Error::custom("an indicative price without its quantities, or the other way round")),
        }
    }
}

/// Appends the fields of an indication.
pub(super) fn write_indication(out: &mut Vec<u8>, indication: &Indication) {
    let (price, quantity, side, left) = match *indication {
        Indication::Nothing => (None, None, None, None),
        Indication::Uncrosses { price, quantity, imbalance_side, imbalance_quantity } => {
            (Some(price), Some(quantity), imbalance_side, Some(imbalance_quantity))
        }
    };
    write_number(out, b",\"indicative_price\":", price);
    write_number(out, b",\"indicative_qty\":", quantity);
    out.extend_from_slice(b",\"imbalance_side\":");
    write_text_or_null(out, side.map(|side| side.as_str().as_bytes()));
    write_number(out, b",\"imbalance_qty\":", left);
}
