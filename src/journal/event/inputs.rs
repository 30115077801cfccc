//! Inputs of the venue of which one entry holds several.

use serde::{Deserialize, Serialize};

/// One thing that a recording showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaperInput {
    /// What it displays when an order comes.
    Shown {
        /// Levels of the other side within the order's limit, best first, as many as it can take: price and quantity in 1e-9.
        against: Vec<(i64, u64)>,
        /// Quantity on its own side at its limit in 1e-9.
        beside: u64,
        /// Price of the last trade in 1e-9.
        last_price: Option<i64>,
    },
    /// A trade.
    Trade {
        /// Price in 1e-9.
        price: i64,
        /// Quantity in 1e-9.
        quantity: u64,
        /// Whether the order that took was one to sell; `None` if the recording does not say.
        sells: Option<bool>,
        /// Whether its level may have shown it before.
        is_late: bool,
    },
    /// A level displays so much now.
    Level {
        /// Whether it is an offer.
        sells: bool,
        /// Price in 1e-9.
        price: i64,
        /// Quantity in 1e-9; 0: the level is gone.
        quantity: u64,
    },
    /// The book begins anew.
    Clear,
}

/// One order or cancel of the synthetic market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyntheticInput {
    /// A new order.
    New {
        /// Number of the maker or taker.
        owner: u32,
        /// The venue's name for it.
        order_id: u64,
        /// Position of the instrument in the `start` event's list.
        instrument: u32,
        /// Whether it buys.
        buys: bool,
        /// Limit price in 1e-9; `None` for a market order.
        price: Option<i64>,
        /// Whether what does not trade at once rests; else it expires.
        rests: bool,
        /// Quantity in 1e-9.
        quantity: u64,
    },
    /// A cancel of this order.
    Cancel {
        /// Number of the maker.
        owner: u32,
        /// Which order.
        order_id: u64,
    },
}
