//! What sources and the venue report about a market, before it is published.

use sealfeed_wire::{Price, Quantity, Side};

use super::auction::Indication;
use super::instrument::InstrumentId;
use super::order::OrderId;
use super::status::{Definition, StatusReason, TradingState};
use super::time::UnixNanos;

/// Side of a book: where an order rests. Same as the order's own side.
pub type BookSide = Side;

/// One record of a market. Several may form one event: readers look at the book only after the record that
/// has `last` set (`F_LAST` in Databento's terms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketEvent {
    /// Which instrument.
    pub instrument: InstrumentId,
    /// When it happened at the venue.
    pub ts_event: UnixNanos,
    /// When we received it (for a recording: when the recorder did).
    pub ts_recv: UnixNanos,
    /// Whether this record ends its event, so that the book is whole after it.
    pub last: bool,
    /// What happened.
    pub kind: MarketEventKind,
}

/// What a [`MarketEvent`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarketEventKind {
    /// An order came to rest.
    Add {
        /// The venue's name for the order; unique in the instrument while it rests.
        order: OrderId,
        /// Where it rests.
        side: BookSide,
        /// At which price.
        price: Price,
        /// How much of it.
        quantity: Quantity,
    },
    /// A resting order has this price and quantity now. Unknown orders are added (recordings begin in mid-life).
    Modify {
        /// Which order.
        order: OrderId,
        /// Where it rests.
        side: BookSide,
        /// Its price now.
        price: Price,
        /// Its whole remaining quantity now.
        quantity: Quantity,
    },
    /// This much was taken off a resting order: cancelled, or executed at the embedded venue. At zero it is gone.
    Reduce {
        /// Which order.
        order: OrderId,
        /// Where it rests.
        side: BookSide,
        /// Its price.
        price: Price,
        /// How much was taken off.
        quantity: Quantity,
    },
    /// A price level holds this much now, whatever it held before (sources that show levels instead of orders).
    Level {
        /// Which side.
        side: BookSide,
        /// At which price.
        price: Price,
        /// All that rests there; zero removes the level.
        quantity: Quantity,
        /// How many orders rest there; 0 if the source does not say.
        orders: u32,
    },
    /// The book is empty now.
    Clear,
    /// A trade. It does not change the book: what it took off comes as [`MarketEventKind::Reduce`].
    Trade {
        /// At which price.
        price: Price,
        /// How much.
        quantity: Quantity,
        /// Side of the aggressor; `None` if the venue does not say (an auction).
        aggressor: Option<Side>,
        /// The venue's number for the trade; 0 if it gives none (the feed then counts).
        trade_id: u64,
    },
    /// A fill of a resting order, as MBO recordings report it: counted, and without effect on the book.
    Fill {
        /// Which order.
        order: OrderId,
        /// Where it rests; `None` if the source does not say.
        side: Option<BookSide>,
        /// At which price.
        price: Price,
        /// How much of it.
        quantity: Quantity,
    },
    /// The best bid and offer are these now (sources that show no orders).
    Top {
        /// Best bid, if any.
        bid: Option<TopLevel>,
        /// Best offer, if any.
        ask: Option<TopLevel>,
    },
    /// What the venue lets happen in the instrument changed, or was said for the first time. The book stays as it is.
    Status {
        /// What it lets happen now.
        state: TradingState,
        /// The venue's code for the reason, if it gave one.
        reason: Option<StatusReason>,
    },
    /// What the auction call of the embedded venue comes to now; `None`: nothing would trade. The book stays as it is.
    Indication(Option<Indication>),
    /// How the venue defines the instrument now.
    Definition(Definition),
}

/// A price level as a top-of-book source reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopLevel {
    /// The price.
    pub price: Price,
    /// All that rests there.
    pub quantity: Quantity,
    /// How many orders rest there; 0 if the source does not say.
    pub orders: u32,
}
