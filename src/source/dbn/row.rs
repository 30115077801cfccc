//! One record of any of the three kinds that are replayed, with its sentinels taken out.
//!
//! In DBN an absent price is `i64::MAX`, an absent size `u32::MAX` and an absent time `u64::MAX`; here absence is
//! `None`. The meaning of the fields is that of the structs in `dbn::record`.

use ::dbn::{
    Action, BidAskPair, FlagSet, MboMsg, Mbp1Msg, RecordRef, TradeMsg, UNDEF_ORDER_SIZE, UNDEF_PRICE,
    UNDEF_TIMESTAMP,
};

use crate::types::{MarketDepth, OrderId, Price, Quantity, Side, TopLevel, UnixNanos};

use super::super::error::SourceError;

/// Nano-units in one unit: sizes in DBN are whole units.
const NANOS_PER_UNIT: u64 = 1_000_000_000;

/// A record, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its number in the file, from 1.
    pub(super) record: u64,
    pub(super) instrument: u32,
    pub(super) publisher: u16,
    pub(super) ts_event: UnixNanos,
    pub(super) ts_recv: UnixNanos,
    pub(super) action: Action,
    pub(super) flags: FlagSet,
    /// 0 outside MBO.
    pub(super) order: OrderId,
    price: Option<Price>,
    size: Option<u32>,
    /// Where the order rests; of a trade, the side of the aggressor.
    pub(super) side: Option<Side>,
    /// The best bid and offer after the record, in MBP-1 only.
    pub(super) top: Option<(Option<TopLevel>, Option<TopLevel>)>,
}

macro_rules! row {
    ($record:expr, $message:expr, $order:expr, $top:expr) => {{
        let (record, message) = ($record, $message);
        let malformed = |error| SourceError::Malformed { record, source: Box::new(error) };
        let (ts_event, ts_recv) = times(message.hd.ts_event, message.ts_recv)
            .ok_or(SourceError::Unusable { record, field: "time" })?;
        Row {
            record,
            instrument: message.hd.instrument_id,
            publisher: message.hd.publisher_id,
            ts_event,
            ts_recv,
            action: message.action().map_err(malformed)?,
            flags: message.flags,
            order: OrderId($order),
            price: price(message.price),
            size: (message.size != UNDEF_ORDER_SIZE).then_some(message.size),
            side: match message.side().map_err(malformed)? {
                ::dbn::Side::Bid => Some(Side::Buy),
                ::dbn::Side::Ask => Some(Side::Sell),
                ::dbn::Side::None => None,
            },
            top: $top,
        }
    }};
}

impl Row {
    /// Reads a record of a file that shows this depth; `None` for a record of another kind.
    pub(super) fn read(
        record: u64,
        from: &RecordRef<'_>,
        depth: MarketDepth,
    ) -> Result<Option<Self>, SourceError> {
        let is_kind = match depth {
            MarketDepth::Orders => from.has::<MboMsg>(),
            MarketDepth::Top => from.has::<Mbp1Msg>(),
            MarketDepth::Trades => from.has::<TradeMsg>(),
            MarketDepth::Levels => false,
        };
        if !is_kind {
            return Ok(None);
        }
        let malformed = |error| SourceError::Malformed { record, source: Box::new(error) };
        Ok(Some(match depth {
            MarketDepth::Orders => {
                let message = from.try_get::<MboMsg>().map_err(malformed)?;
                row!(record, message, message.order_id, None)
            }
            MarketDepth::Top => {
                let message = from.try_get::<Mbp1Msg>().map_err(malformed)?;
                let [level] = &message.levels;
                row!(record, message, 0, Some(top(level)))
            }
            MarketDepth::Trades | MarketDepth::Levels => {
                let message = from.try_get::<TradeMsg>().map_err(malformed)?;
                row!(record, message, 0, None)
            }
        }))
    }

    pub(super) fn price(&self) -> Result<Price, SourceError> {
        self.price.ok_or(SourceError::Unusable { record: self.record, field: "price" })
    }

    pub(super) fn side(&self) -> Result<Side, SourceError> {
        self.side.ok_or(SourceError::Unusable { record: self.record, field: "side" })
    }

    /// The size in whole units.
    pub(super) fn size(&self) -> Result<u32, SourceError> {
        self.size.ok_or(SourceError::Unusable { record: self.record, field: "size" })
    }

    pub(super) fn quantity(&self) -> Result<Quantity, SourceError> {
        self.size().map(quantity)
    }

    /// Every price in the record.
    pub(super) fn prices(&self) -> impl Iterator<Item = Price> {
        let (bid, ask) = self.top.unwrap_or_default();
        [self.price, bid.map(|level| level.price), ask.map(|level| level.price)].into_iter().flatten()
    }
}

/// Both times; where the file lacks one, the other stands for it.
fn times(ts_event: u64, ts_recv: u64) -> Option<(UnixNanos, UnixNanos)> {
    match (ts_event, ts_recv) {
        (UNDEF_TIMESTAMP, UNDEF_TIMESTAMP) => None,
        (UNDEF_TIMESTAMP, only) | (only, UNDEF_TIMESTAMP) => Some((UnixNanos(only), UnixNanos(only))),
        (event, recv) => Some((UnixNanos(event), UnixNanos(recv))),
    }
}

fn price(nanos: i64) -> Option<Price> {
    (nanos != UNDEF_PRICE).then_some(Price::from_nanos(nanos))
}

fn quantity(size: u32) -> Quantity {
    Quantity::from_nanos(u64::from(size) * NANOS_PER_UNIT)
}

fn top(level: &BidAskPair) -> (Option<TopLevel>, Option<TopLevel>) {
    let side = |nanos, size, orders| {
        let price = price(nanos).filter(|_| size != 0)?;
        Some(TopLevel { price, quantity: quantity(size), orders })
    };
    (side(level.bid_px, level.bid_sz, level.bid_ct), side(level.ask_px, level.ask_sz, level.ask_ct))
}
