//! Data messages and notices as clients read them, from JSON texts in any order of fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::fields::{message_fields, notice_fields};
use super::{
    Bbo, BookMessage, CancelReason, Definition, Exec, ExecKind, Fill, Gap, Heartbeat, IntervalEnd, Level,
    Liquidity, Mbo, MboSnapshot, Ohlcv, Slow, Status, Trade,
};
use crate::code::AnyCode;
use crate::decimal::{Price, Quantity, Scaled};
use crate::ident::{ClientOrderId, ExecId, OrderId, TradeId};
use crate::reply::Receipt;
use crate::term::{Aggressor, OrderType, Side, TimeInForce};
use crate::value::{Sequence, UnixNanos};

/// A message of a stream, or a notice about one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketMessage {
    /// `trade`.
    Trade(Trade),
    /// `bbo`.
    Bbo(Bbo),
    /// `snapshot`.
    Snapshot(BookMessage),
    /// `delta`.
    Delta(BookMessage),
    /// `mbo`.
    Mbo(Mbo),
    /// `mbo_snapshot`.
    MboSnapshot(MboSnapshot),
    /// `ohlcv`.
    Ohlcv(Ohlcv),
    /// `status`.
    Status(Status),
    /// `definition`.
    Definition(Definition),
    /// `exec`.
    Exec(Box<Exec>),
    /// `heartbeat`.
    Heartbeat(Heartbeat),
    /// `stale`.
    Stale(Heartbeat),
    /// `gap`.
    Gap(Gap),
    /// `skipped`.
    Skipped(Gap),
    /// `interval_end`.
    IntervalEnd(IntervalEnd),
    /// `slow`.
    Slow(Slow),
}

impl MarketMessage {
    /// Reads a message whose `type` is known to be `kind`; `None` if that is no type of this enum.
    pub(crate) fn decode(kind: &str, text: &str) -> Option<serde_json::Result<Self>> {
        Some(match kind {
            "trade" => serde_json::from_str::<TradeFields>(text).map(|fields| Self::Trade(fields.into())),
            "bbo" => serde_json::from_str::<BboFields>(text).map(|fields| Self::Bbo(fields.into())),
            "snapshot" => {
                serde_json::from_str::<BookFields>(text).map(|fields| Self::Snapshot(fields.into()))
            }
            "delta" => serde_json::from_str::<BookFields>(text).map(|fields| Self::Delta(fields.into())),
            "mbo" => Mbo::read(text).map(Self::Mbo),
            "mbo_snapshot" => MboSnapshot::read(text).map(Self::MboSnapshot),
            "ohlcv" => Ohlcv::read(text).map(Self::Ohlcv),
            "status" => Status::read(text).map(Self::Status),
            "definition" => Definition::read(text).map(Self::Definition),
            "interval_end" => IntervalEnd::read(text).map(Self::IntervalEnd),
            "exec" => serde_json::from_str::<ExecFields>(text).and_then(|fields| {
                fields.into_exec().map(|exec| Self::Exec(Box::new(exec))).map_err(de::Error::custom)
            }),
            "heartbeat" => {
                serde_json::from_str::<BeatFields>(text).map(|fields| Self::Heartbeat(fields.into()))
            }
            "stale" => serde_json::from_str::<BeatFields>(text).map(|fields| Self::Stale(fields.into())),
            "gap" => serde_json::from_str::<GapFields>(text).map(|fields| Self::Gap(fields.into())),
            "skipped" => serde_json::from_str::<GapFields>(text).map(|fields| Self::Skipped(fields.into())),
            "slow" => serde_json::from_str(text).map(Self::Slow),
            _ => return None,
        })
    }
}

message_fields!(TradeFields {
    price: Price,
    #[serde(rename = "qty")]
    quantity: Quantity,
    side: Aggressor,
    trade_id: Option<TradeId>,
});

message_fields!(BboFields {
    bid: Option<Level>,
    ask: Option<Level>,
});

message_fields!(BookFields {
    bids: Vec<Level>,
    asks: Vec<Level>,
    checksum: Option<u32>,
});

message_fields!(ExecFields {
    exec: ExecKind,
    exec_id: ExecId,
    cl_ord_id: ClientOrderId,
    cancel_cl_ord_id: Option<ClientOrderId>,
    order_id: OrderId,
    side: Side,
    order_type: OrderType,
    tif: TimeInForce,
    qty: Scaled<Quantity>,
    price: Option<Scaled<Price>>,
    last_price: Option<Scaled<Price>>,
    last_qty: Option<Scaled<Quantity>>,
    trade_id: Option<TradeId>,
    liquidity: Option<Liquidity>,
    leaves_qty: Scaled<Quantity>,
    cum_qty: Scaled<Quantity>,
    avg_price: Option<Scaled<Price>>,
    reason: Option<AnyCode>,
    receipt: Option<Receipt>,
    cancel_reason: Option<CancelReason>,
    replace_cl_ord_id: Option<ClientOrderId>,
    principal: Option<Box<str>>,
});

notice_fields!(BeatFields { seq: Sequence, ts: UnixNanos });

notice_fields!(GapFields { from: Sequence, to: Sequence });

impl From<TradeFields> for Trade {
    fn from(fields: TradeFields) -> Self {
        let header = fields.header();
        let TradeFields { price, quantity, side, trade_id, .. } = fields;
        Self { header, price, quantity, side, trade_id }
    }
}

impl From<BboFields> for Bbo {
    fn from(fields: BboFields) -> Self {
        Self { header: fields.header(), bid: fields.bid, ask: fields.ask }
    }
}

impl From<BookFields> for BookMessage {
    fn from(fields: BookFields) -> Self {
        let header = fields.header();
        Self { header, bids: fields.bids, asks: fields.asks, checksum: fields.checksum }
    }
}

impl From<BeatFields> for Heartbeat {
    fn from(fields: BeatFields) -> Self {
        Self { stream: fields.stream(), seq: fields.seq, ts: fields.ts }
    }
}

impl From<GapFields> for Gap {
    fn from(fields: GapFields) -> Self {
        Self { stream: fields.stream(), from: fields.from, to: fields.to }
    }
}

impl ExecFields {
    fn into_exec(self) -> Result<Exec, &'static str> {
        let fill = match (self.last_price, self.last_qty, self.trade_id, self.liquidity) {
            (Some(price), Some(quantity), Some(trade_id), Some(liquidity)) => {
                Some(Fill { price, quantity, trade_id, liquidity })
            }
            (None, None, None, None) => None,
            _ => return Err("an execution report with half a fill"),
        };
        Ok(Exec {
            header: self.header(),
            exec: self.exec,
            exec_id: self.exec_id,
            cl_ord_id: self.cl_ord_id,
            cancel_cl_ord_id: self.cancel_cl_ord_id,
            order_id: self.order_id,
            side: self.side,
            order_type: self.order_type,
            time_in_force: self.tif,
            quantity: self.qty,
            price: self.price,
            fill,
            leaves_quantity: self.leaves_qty,
            cumulative_quantity: self.cum_qty,
            average_price: self.avg_price,
            reason: self.reason,
            receipt: self.receipt,
            cancel_reason: self.cancel_reason,
            replace_cl_ord_id: self.replace_cl_ord_id,
            principal: self.principal,
        })
    }
}

impl<'de> Deserialize<'de> for ExecKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(match text.as_ref() {
            "new" => Self::New,
            "partial_fill" => Self::PartialFill,
            "fill" => Self::Fill,
            "canceled" => Self::Canceled,
            "replaced" => Self::Replaced,
            "rejected" => Self::Rejected,
            "expired" => Self::Expired,
            _ => Self::Unknown,
        })
    }
}

impl<'de> Deserialize<'de> for CancelReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|reason| reason.as_str() == text);
        Ok(known.copied().unwrap_or(Self::Unknown))
    }
}

impl<'de> Deserialize<'de> for Liquidity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(match text.as_ref() {
            "maker" => Self::Maker,
            "taker" => Self::Taker,
            _ => Self::Unknown,
        })
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LevelVisitor;

        impl<'de> Visitor<'de> for LevelVisitor {
            type Value = Level;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of price, quantity and number of orders")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Level, A::Error> {
                let missing = |index| de::Error::invalid_length(index, &self);
                let price = list.next_element()?.ok_or_else(|| missing(0))?;
                let quantity = list.next_element()?.ok_or_else(|| missing(1))?;
                let orders = list.next_element()?.ok_or_else(|| missing(2))?;
                // A newer server may add elements.
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Level { price, quantity, orders })
            }
        }

        deserializer.deserialize_seq(LevelVisitor)
    }
}
