//! Market data and private streams: the messages that carry an epoch and a sequence, and the notices about them.
//!
//! The server encodes each message once, straight into a byte buffer (`encode_*`): no serde, no allocation but
//! the buffer's own. Clients decode through serde ([`MarketMessage`]); unknown fields are ignored, numbers are
//! exact. Both sides are tested against each other and against the golden vectors.

mod decode;
mod encode;
mod encode_notice;
mod fields;
mod indication;
mod mbo;
mod mbo_snapshot;
mod ohlcv;
mod reference;

use crate::code::AnyCode;
use crate::decimal::{Decimals, Price, Quantity, Scaled};
use crate::ident::{ClientOrderId, ExecId, OrderId, StreamSymbol, Symbol, TradeId};
use crate::reply::Receipt;
use crate::term::{Aggressor, Channel, OrderType, Side, TimeInForce};
use crate::value::{Epoch, Sequence, UnixNanos};

pub use decode::MarketMessage;
pub use encode::{encode_bbo, encode_delta, encode_exec, encode_snapshot, encode_trade};
pub(crate) use encode::{write_receipt, write_text, write_text_or_null};
pub use encode_notice::{encode_gap, encode_heartbeat, encode_skipped, encode_slow, encode_stale};
pub use indication::Indication;
pub use mbo::{Mbo, MboAction, encode_mbo};
pub use mbo_snapshot::{MboOrder, MboSnapshot, encode_mbo_snapshot};
pub use ohlcv::{IntervalEnd, Ohlcv, encode_interval_end, encode_ohlcv};
pub use reference::{Definition, Reason, Status, TradingState, encode_definition, encode_status};

/// Decimals of an instrument's prices and quantities, as in the `subscribed` reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookDecimals {
    /// `price_decimals`.
    pub price: Decimals,
    /// `qty_decimals`.
    pub quantity: Decimals,
}

/// What every data message of a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// The kind of stream.
    pub channel: Channel,
    /// The instrument.
    pub symbol: Symbol,
    /// The run of the sequence that `seq` belongs to.
    pub epoch: Epoch,
    /// Position of this message.
    pub seq: Sequence,
    /// Position of the message before it in this stream; `None` where the client starts afresh (a snapshot, the
    /// present `bbo` after subscribing).
    pub prev_seq: Option<Sequence>,
    /// When it happened, by the venue's clock.
    pub ts_event: UnixNanos,
    /// When this server received it.
    pub ts_recv: UnixNanos,
    /// When this server published it.
    pub ts_out: UnixNanos,
    /// Delay of the stream in milliseconds; `None`: real time.
    pub delayed_ms: Option<u64>,
}

/// One price level of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its price.
    pub price: Price,
    /// Quantity of all its orders; zero in a delta removes the level.
    pub quantity: Quantity,
    /// Number of its orders; zero if the source does not say.
    pub orders: u32,
}

/// A trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Stream and position.
    pub header: StreamHeader,
    /// Price.
    pub price: Price,
    /// Quantity.
    pub quantity: Quantity,
    /// Who took liquidity.
    pub side: Aggressor,
    /// The venue's id; `None` if the source has none.
    pub trade_id: Option<TradeId>,
}

/// Best bid and offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bbo {
    /// Stream and position.
    pub header: StreamHeader,
    /// Best bid; `None`: no bids.
    pub bid: Option<Level>,
    /// Best ask; `None`: no asks.
    pub ask: Option<Level>,
}

/// The whole book of a stream's depth, to encode. Best level first on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// Stream and position: that of the last message the snapshot contains.
    pub header: StreamHeader,
    /// Bids from high to low.
    pub bids: &'a [Level],
    /// Asks from low to high.
    pub asks: &'a [Level],
    /// [`crate::checksum::checksum`] of these levels.
    pub checksum: u32,
}

/// The levels that one event changed, to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta<'a> {
    /// Stream and position.
    pub header: StreamHeader,
    /// Changed bids; quantity zero removes.
    pub bids: &'a [Level],
    /// Changed asks; quantity zero removes.
    pub asks: &'a [Level],
    /// Checksum of the book after applying and truncating; on at least every 100th delta.
    pub checksum: Option<u32>,
}

/// A book message as a client gets it: snapshot or delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookMessage {
    /// Stream and position.
    pub header: StreamHeader,
    /// Bids, best first.
    pub bids: Vec<Level>,
    /// Asks, best first.
    pub asks: Vec<Level>,
    /// Checksum, if the message carries one.
    pub checksum: Option<u32>,
}

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecKind {
    /// Accepted by the venue.
    New,
    /// Filled in part.
    PartialFill,
    /// Filled completely.
    Fill,
    /// Canceled, on request or by the venue; [`Exec::cancel_reason`] says why.
    Canceled,
    /// Price or quantity replaced: the report has the new ones.
    Replaced,
    /// Refused by the venue.
    Rejected,
    /// Its time in force ended.
    Expired,
    /// A kind that this version does not know; servers never send it.
    Unknown,
}

/// An execution report on one of the private channels `orders` and `drop_copy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// Stream (`orders`: one sequence per principal over all symbols; `drop_copy`: one per firm) and the order's symbol.
    pub header: StreamHeader,
    /// What happened.
    pub exec: ExecKind,
    /// Names this report among those of the order's principal: the same on both channels.
    pub exec_id: ExecId,
    /// The order.
    pub cl_ord_id: ClientOrderId,
    /// The cancel that caused it; `None` if no request did.
    pub cancel_cl_ord_id: Option<ClientOrderId>,
    /// The venue's id of the order.
    pub order_id: OrderId,
    /// Side of the order.
    pub side: Side,
    /// Type of the order.
    pub order_type: OrderType,
    /// Time in force of the order.
    pub time_in_force: TimeInForce,
    /// Quantity of the order.
    pub quantity: Scaled<Quantity>,
    /// Limit price of the order; `None` for a market order.
    pub price: Option<Scaled<Price>>,
    /// The trade, for a fill.
    pub fill: Option<Fill>,
    /// Quantity still open.
    pub leaves_quantity: Scaled<Quantity>,
    /// Quantity filled so far.
    pub cumulative_quantity: Scaled<Quantity>,
    /// Average price of what was filled, nine decimals; `None` before the first fill.
    pub average_price: Option<Scaled<Price>>,
    /// The code of a refusal, or of a cancel that one stands for.
    pub reason: Option<AnyCode>,
    /// The audit entry of this report, if the server gives it.
    pub receipt: Option<Receipt>,
    /// Why the order was canceled; `None` in every other report.
    pub cancel_reason: Option<CancelReason>,
    /// The replace that caused it; `None` if none did.
    pub replace_cl_ord_id: Option<ClientOrderId>,
    /// Whose order, `firm/user`; `None` on the channel `orders`, where it is the reader's.
    pub principal: Option<Box<str>>,
}

/// Why an order, or what was left of one, was canceled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// Its owner cancelled it: `cancel_cl_ord_id` names the request.
    Requested,
    /// A mass cancel of its owner.
    MassCancel,
    /// It would have traded with an order of the same owner.
    SelfTrade,
    /// A replace left nothing of it: the new quantity had traded already.
    Replaced,
    /// The session that sent it has ended.
    Disconnect,
    /// The dead-man timer ran out.
    DeadMan,
    /// A kill switch.
    Kill,
    /// An operator.
    Operator,
    /// Its owner's certificate or right to trade was withdrawn.
    Revoked,
    /// It did not survive a restart of the server.
    Restart,
    /// A word that this version does not know; servers never send it.
    Unknown,
}

/// The trade of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Price of this trade.
    pub price: Scaled<Price>,
    /// Quantity of this trade.
    pub quantity: Scaled<Quantity>,
    /// The same id as in the public trade.
    pub trade_id: TradeId,
    /// Whether the order was resting.
    pub liquidity: Liquidity,
}

/// Which side of a trade an order was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Liquidity {
    /// It rested in the book.
    Maker,
    /// It came in and traded.
    Taker,
    /// A word that this version does not know; servers never send it.
    Unknown,
}

/// Names a stream in a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    /// The kind of stream.
    pub channel: Channel,
    /// The instrument; [`StreamSymbol::All`] for the private channels.
    pub symbol: StreamSymbol,
    /// The run of the sequence.
    pub epoch: Epoch,
    /// Delay of the stream in milliseconds; `None`: real time.
    pub delayed_ms: Option<u64>,
}

/// `heartbeat`: the stream was idle and nothing is missing. `stale` has the same content: its source stalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The stream.
    pub stream: StreamKey,
    /// Position of its last message.
    pub seq: Sequence,
    /// Now, by the server's clock.
    pub ts: UnixNanos,
}

/// `gap` or `skipped`: messages of a stream that this connection does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The stream.
    pub stream: StreamKey,
    /// First missing position.
    pub from: Sequence,
    /// Last missing position.
    pub to: Sequence,
}

/// `slow`: the queue towards this connection is half full or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Slow {
    /// Bytes waiting.
    pub queue_bytes: u64,
    /// Bytes at which the connection is closed (4001).
    pub queue_bytes_max: u64,
    /// Now, by the server's clock.
    pub ts: UnixNanos,
}
