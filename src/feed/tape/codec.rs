//! The one place where a market event becomes a record of the tape, and a record an event again.
//!
//! Records are those of DBN version 3 with `ts_out`, little-endian, so that what is recorded is what an export holds: MBO for everything
//! but the best bid and offer, which is an MBP-1 record, and what is said about an instrument, which has records of our own ([`STATUS`],
//! [`DEFINITION`], [`INDICATION`]). A level is an MBO record with the flag `F_MBP`, its number of orders in `order_id`. `instrument_id` is the instrument's place in the table of the run, `size` counts
//! units of its smallest quantity (`10^-quantity_decimals`), and a trade's number stands in `order_id`. What DBN cannot hold stands, exactly,
//! in a record of our own ([`WIDE`]) in front of the record that cannot hold it; an export leaves it out.
//!
//! Every event reads back as the same event (property test), or is refused. A new kind of event does not compile until it has its record.

use ::dbn::{MboMsg, Mbp1Msg, UNDEF_ORDER_SIZE, UNDEF_PRICE, WithTsOut, flags, rtype};

use crate::types::{
    Decimals, Definition, Indication, InstrumentId, MarketEvent, MarketEventKind, OrderId, Price, Quantity,
    Side, StatusReason, TopLevel, TradingState, UnixNanos,
};

/// Record type of what DBN cannot hold: none of DBN's own.
pub(super) const WIDE: u8 = 0xe0;
/// Record type of a trading status.
pub(super) const STATUS: u8 = 0xe1;
/// Record type of a definition.
pub(super) const DEFINITION: u8 = 0xe2;
/// Record type of what an auction call comes to.
pub(super) const INDICATION: u8 = 0xe3;
/// Bytes of each record, `ts_out` included.
const MBO_BYTES: usize = size_of::<WithTsOut<MboMsg>>();
const MBP1_BYTES: usize = size_of::<WithTsOut<Mbp1Msg>>();
/// Of each record of our own.
const WIDE_BYTES: usize = 64;
/// Most bytes that one event takes.
pub(super) const EVENT_BYTES_MAX: usize = WIDE_BYTES + MBP1_BYTES;

/// DBN counts the length of a record in words of four bytes.
const fn words(bytes: usize) -> u8 {
    assert!(bytes.is_multiple_of(4) && bytes / 4 < 256);
    #[expect(clippy::cast_possible_truncation, reason = "checked above, when this is compiled")]
    let words = (bytes / 4) as u8;
    words
}

/// Whether an event happened, or is part of the state that a keyframe holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It happened.
    Live,
    /// It makes a book again: marked `F_SNAPSHOT`.
    Snapshot,
}

/// Why bytes are no records of the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They end in a record, or begin with an impossible length.
    #[error("a record is cut off or of a wrong length")]
    Length,
    /// A type that is none of the tape's, at this place.
    #[error("a record of type {0:#04x} does not belong here")]
    Type(u8),
    /// An action, a side or a flag without a meaning, or a size that nothing gives.
    #[error("field {0} of a record has no meaning")]
    Field(&'static str),
    /// An instrument that was not listed.
    #[error("instrument {0} was not listed")]
    Instrument(u32),
}

/// Appends the record of `event`, published at `ts_out`. `unit` is the instrument's smallest quantity in 1e-9, never zero.
pub(super) fn encode(event: &MarketEvent, ts_out: UnixNanos, unit: u64, origin: Origin, out: &mut Vec<u8>) {
    let record = Record { event, ts_out, unit, origin, mark: 0 };
    let none = Price::from_nanos(UNDEF_PRICE);
    match event.kind {
        MarketEventKind::Add { order, side, price, quantity } => {
            record.mbo(b'A', order.0, Some(side), price, quantity, out);
        }
        MarketEventKind::Modify { order, side, price, quantity } => {
            record.mbo(b'M', order.0, Some(side), price, quantity, out);
        }
        MarketEventKind::Reduce { order, side, price, quantity } => {
            record.mbo(b'C', order.0, Some(side), price, quantity, out);
        }
        MarketEventKind::Level { side, price, quantity, orders } => {
            let level = Record { mark: flags::MBP, ..record };
            level.mbo(b'M', orders.into(), Some(side), price, quantity, out);
        }
        MarketEventKind::Status { state, reason } => record.status(state, reason, out),
        MarketEventKind::Indication(indication) => record.indication(indication, out),
        MarketEventKind::Definition(definition) => record.definition(&definition, out),
        MarketEventKind::Clear => record.mbo(b'R', 0, None, none, Quantity::ZERO, out),
        MarketEventKind::Trade { price, quantity, aggressor, trade_id } => {
            record.mbo(b'T', trade_id, aggressor, price, quantity, out);
        }
        MarketEventKind::Fill { order, side, price, quantity } => {
            record.mbo(b'F', order.0, side, price, quantity, out);
        }
        MarketEventKind::Top { bid, ask } => record.top(bid, ask, out),
    }
}

/// An event on its way into a record.
struct Record<'a> {
    event: &'a MarketEvent,
    ts_out: UnixNanos,
    unit: u64,
    origin: Origin,
    /// Flags of the kind of event.
    mark: u8,
}

impl Record<'_> {
    fn mbo(
        &self,
        action: u8,
        order: u64,
        side: Option<Side>,
        price: Price,
        quantity: Quantity,
        out: &mut Vec<u8>,
    ) {
        let size = self.size(quantity).unwrap_or_else(|| {
            self.wide([Some((price, quantity)), None], out);
            UNDEF_ORDER_SIZE
        });
        let mut record = [0; MBO_BYTES];
        self.header(&mut record, rtype::MBO);
        put(&mut record, 16, order.to_le_bytes());
        put(&mut record, 24, price.nanos().to_le_bytes());
        put(&mut record, 32, size.to_le_bytes());
        let side = match side {
            Some(Side::Buy) => b'B',
            Some(Side::Sell) => b'A',
            None => b'N',
        };
        put(&mut record, 36, [self.flags(), 0, action, side]);
        put(&mut record, 40, self.event.ts_recv.0.to_le_bytes());
        out.extend_from_slice(&record);
    }

    fn top(&self, bid: Option<TopLevel>, ask: Option<TopLevel>, out: &mut Vec<u8>) {
        let level = |level: Option<TopLevel>| match level {
            None => Some((UNDEF_PRICE, 0, 0)),
            Some(TopLevel { price, .. }) if price.nanos() == UNDEF_PRICE => None,
            Some(TopLevel { price, quantity, orders }) => {
                self.size(quantity).map(|size| (price.nanos(), size, orders))
            }
        };
        let sides = [level(bid), level(ask)];
        if sides.contains(&None) {
            self.wide([bid, ask].map(|side| side.map(|level| (level.price, level.quantity))), out);
        }
        let orders = [bid, ask].map(|side| side.map_or(0, |level| level.orders));
        let [(bid_price, bid_size, bid_orders), (ask_price, ask_size, ask_orders)] =
            [0, 1].map(|side: usize| sides[side].unwrap_or((UNDEF_PRICE, UNDEF_ORDER_SIZE, orders[side])));
        let mut record = [0; MBP1_BYTES];
        self.header(&mut record, rtype::MBP_1);
        put(&mut record, 16, UNDEF_PRICE.to_le_bytes());
        put(&mut record, 28, [b'M', b'N', self.flags(), 0]);
        put(&mut record, 32, self.event.ts_recv.0.to_le_bytes());
        put(&mut record, 48, bid_price.to_le_bytes());
        put(&mut record, 56, ask_price.to_le_bytes());
        put(&mut record, 64, bid_size.to_le_bytes());
        put(&mut record, 68, ask_size.to_le_bytes());
        put(&mut record, 72, bid_orders.to_le_bytes());
        put(&mut record, 76, ask_orders.to_le_bytes());
        out.extend_from_slice(&record);
    }

    /// What does not fit the record behind it: up to two prices and quantities, and which of them there are.
    fn wide(&self, values: [Option<(Price, Quantity)>; 2], out: &mut Vec<u8>) {
        let mut record = [0; WIDE_BYTES];
        self.header(&mut record, WIDE);
        for (value, (at, bit)) in values.iter().zip([(16, 1), (32, 2)]) {
            if let Some((price, quantity)) = value {
                put(&mut record, at, price.nanos().to_le_bytes());
                put(&mut record, at + 8, quantity.nanos().to_le_bytes());
                record[48] |= bit;
            }
        }
        out.extend_from_slice(&record);
    }

    fn status(&self, state: TradingState, reason: Option<StatusReason>, out: &mut Vec<u8>) {
        let mut record = self.own(STATUS);
        record[25] = status_number(state);
        let reason = reason.as_ref().map_or("", StatusReason::as_str).as_bytes();
        record[32..32 + reason.len()].copy_from_slice(reason);
        out.extend_from_slice(&record);
    }

    fn indication(&self, indication: Option<Indication>, out: &mut Vec<u8>) {
        let mut record = self.own(INDICATION);
        if let Some(Indication { price, quantity, imbalance }) = indication {
            record[25] = match imbalance {
                None => WOULD_TRADE,
                Some((Side::Buy, _)) => WOULD_TRADE | BUYERS_LEFT,
                Some((Side::Sell, _)) => WOULD_TRADE | SELLERS_LEFT,
            };
            put(&mut record, 32, price.nanos().to_le_bytes());
            put(&mut record, 40, quantity.nanos().to_le_bytes());
            let left = imbalance.map_or(Quantity::ZERO, |(_, quantity)| quantity);
            put(&mut record, 48, left.nanos().to_le_bytes());
        }
        out.extend_from_slice(&record);
    }

    fn definition(&self, definition: &Definition, out: &mut Vec<u8>) {
        let Definition { price_decimals, tick, lot, round_lot } = *definition;
        let mut record = self.own(DEFINITION);
        if let Some(decimals) = price_decimals {
            record[25] |= 1;
            record[26] = decimals.get();
        }
        let numbers = [
            tick.map(|tick| tick.nanos().to_le_bytes()),
            lot.map(|lot| lot.nanos().to_le_bytes()),
            round_lot.map(|lot| lot.nanos().to_le_bytes()),
        ];
        for (number, (at, bit)) in numbers.into_iter().zip([(32, 2), (40, 4), (48, 8)]) {
            if let Some(number) = number {
                put(&mut record, at, number);
                record[25] |= bit;
            }
        }
        out.extend_from_slice(&record);
    }

    /// A record of our own about an instrument, without its content.
    fn own(&self, rtype: u8) -> [u8; WIDE_BYTES] {
        let mut record = [0; WIDE_BYTES];
        self.header(&mut record, rtype);
        put(&mut record, 16, self.event.ts_recv.0.to_le_bytes());
        record[24] = self.flags();
        record
    }

    fn header<const N: usize>(&self, record: &mut [u8; N], rtype: u8) {
        put(record, 0, [words(N), rtype]);
        put(record, 4, self.event.instrument.0.to_le_bytes());
        put(record, 8, self.event.ts_event.0.to_le_bytes());
        put(record, N - 8, self.ts_out.0.to_le_bytes());
    }

    fn flags(&self) -> u8 {
        let last = self.mark | if self.event.last { flags::LAST } else { 0 };
        match self.origin {
            Origin::Live => last,
            Origin::Snapshot => last | flags::SNAPSHOT,
        }
    }

    /// A quantity in units, if that is exact and below the value that means none.
    fn size(&self, quantity: Quantity) -> Option<u32> {
        let nanos = quantity.nanos();
        let size = u32::try_from(nanos / self.unit).ok()?;
        (nanos.is_multiple_of(self.unit) && size != UNDEF_ORDER_SIZE).then_some(size)
    }
}

fn put<const N: usize, const M: usize>(record: &mut [u8; N], at: usize, bytes: [u8; M]) {
    record[at..at + M].copy_from_slice(&bytes);
}

/// Takes the first event off `records`: the event and when it was published. `unit` gives the smallest quantity of a listed instrument.
///
/// # Errors
/// [`RecordError`]; `records` is then of no more use.
pub(super) fn decode(
    records: &mut &[u8],
    unit: impl FnOnce(InstrumentId) -> Option<u64>,
) -> Result<(MarketEvent, UnixNanos), RecordError> {
    let mut record = take(records)?;
    let mut wide = None;
    if record.rtype() == WIDE {
        wide = Some(record);
        record = take(records)?;
    }
    let instrument = record.instrument();
    if wide.is_some_and(|wide| wide.instrument() != instrument) {
        return Err(RecordError::Field("instrument_id"));
    }
    let unit = unit(instrument).ok_or(RecordError::Instrument(instrument.0))?;
    let exact = Exact { wide, unit };
    let (kind, flags, ts_recv) = match record.rtype() {
        rtype::MBO if record.u8(36) & flags::MBP != 0 => {
            (of_level(&record, &exact)?, record.u8(36) & !flags::MBP, record.u64(40))
        }
        rtype::MBO => (of_mbo(&record, &exact)?, record.u8(36), record.u64(40)),
        STATUS => (of_status(&record)?, record.u8(24), record.u64(16)),
        INDICATION => (of_indication(&record)?, record.u8(24), record.u64(16)),
        DEFINITION => (of_definition(&record)?, record.u8(24), record.u64(16)),
        rtype::MBP_1 => (of_mbp1(&record, &exact)?, record.u8(30), record.u64(32)),
        other => return Err(RecordError::Type(other)),
    };
    if flags & !(flags::LAST | flags::SNAPSHOT) != 0 {
        return Err(RecordError::Field("flags"));
    }
    let event = MarketEvent {
        instrument,
        ts_event: UnixNanos(record.u64(8)),
        ts_recv: UnixNanos(ts_recv),
        last: flags & flags::LAST != 0,
        kind,
    };
    Ok((event, UnixNanos(record.u64(record.bytes.len() - 8))))
}

fn of_mbo(record: &Raw<'_>, exact: &Exact<'_>) -> Result<MarketEventKind, RecordError> {
    let (order, price) = (OrderId(record.u64(16)), Price::from_nanos(record.i64(24)));
    let side = match record.u8(39) {
        b'B' => Some(Side::Buy),
        b'A' => Some(Side::Sell),
        b'N' => None,
        _ => return Err(RecordError::Field("side")),
    };
    let resting = side.ok_or(RecordError::Field("side"));
    let quantity = exact.quantity(0, record.u32(32))?;
    Ok(match record.u8(38) {
        b'A' => MarketEventKind::Add { order, side: resting?, price, quantity },
        b'M' => MarketEventKind::Modify { order, side: resting?, price, quantity },
        b'C' => MarketEventKind::Reduce { order, side: resting?, price, quantity },
        b'R' => MarketEventKind::Clear,
        b'T' => MarketEventKind::Trade { price, quantity, aggressor: side, trade_id: order.0 },
        b'F' => MarketEventKind::Fill { order, side, price, quantity },
        _ => return Err(RecordError::Field("action")),
    })
}

fn of_level(record: &Raw<'_>, exact: &Exact<'_>) -> Result<MarketEventKind, RecordError> {
    let side = match (record.u8(38), record.u8(39)) {
        (b'M', b'B') => Side::Buy,
        (b'M', b'A') => Side::Sell,
        _ => return Err(RecordError::Field("side")),
    };
    let orders = u32::try_from(record.u64(16)).map_err(|_| RecordError::Field("order_id"))?;
    let (price, quantity) = (Price::from_nanos(record.i64(24)), exact.quantity(0, record.u32(32))?);
    Ok(MarketEventKind::Level { side, price, quantity, orders })
}

/// Permanent numbers: they stand on tapes.
const fn status_number(state: TradingState) -> u8 {
    match state {
        TradingState::Trading => 1,
        TradingState::Halted => 2,
        TradingState::Paused => 3,
        TradingState::Quoting => 4,
        TradingState::Auction => 5,
    }
}

fn of_status(record: &Raw<'_>) -> Result<MarketEventKind, RecordError> {
    let states = [
        TradingState::Trading,
        TradingState::Halted,
        TradingState::Paused,
        TradingState::Quoting,
        TradingState::Auction,
    ];
    let state = states.into_iter().find(|state| status_number(*state) == record.u8(25));
    let state = state.ok_or(RecordError::Field("state"))?;
    let reason: [u8; 8] = record.array(32);
    let text = std::str::from_utf8(&reason).map_err(|_| RecordError::Field("reason"))?.trim_end_matches('\0');
    let reason = match text {
        "" => None,
        text => Some(StatusReason::new(text).ok_or(RecordError::Field("reason"))?),
    };
    Ok(MarketEventKind::Status { state, reason })
}

/// What byte 25 of an indication says: that something would trade, and who would be left over.
const WOULD_TRADE: u8 = 1;
const BUYERS_LEFT: u8 = 2;
const SELLERS_LEFT: u8 = 4;

fn of_indication(record: &Raw<'_>) -> Result<MarketEventKind, RecordError> {
    let side = match record.u8(25) {
        0 => return Ok(MarketEventKind::Indication(None)),
        WOULD_TRADE => None,
        what if what == WOULD_TRADE | BUYERS_LEFT => Some(Side::Buy),
        what if what == WOULD_TRADE | SELLERS_LEFT => Some(Side::Sell),
        _ => return Err(RecordError::Field("imbalance")),
    };
    Ok(MarketEventKind::Indication(Some(Indication {
        price: Price::from_nanos(record.i64(32)),
        quantity: Quantity::from_nanos(record.u64(40)),
        imbalance: side.map(|side| (side, Quantity::from_nanos(record.u64(48)))),
    })))
}

fn of_definition(record: &Raw<'_>) -> Result<MarketEventKind, RecordError> {
    let has = |bit: u8| record.u8(25) & bit != 0;
    let decimals = Decimals::new(record.u8(26)).ok_or(RecordError::Field("price_decimals"))?;
    let quantity = |at| Quantity::from_nanos(record.u64(at));
    Ok(MarketEventKind::Definition(Definition {
        price_decimals: has(1).then_some(decimals),
        tick: has(2).then(|| Price::from_nanos(record.i64(32))),
        lot: has(4).then(|| quantity(40)),
        round_lot: has(8).then(|| quantity(48)),
    }))
}

fn of_mbp1(record: &Raw<'_>, exact: &Exact<'_>) -> Result<MarketEventKind, RecordError> {
    let level = |side: usize| {
        let (price, size) = (record.i64(48 + 8 * side), record.u32(64 + 4 * side));
        let orders = record.u32(72 + 4 * side);
        if let Some(wide) = &exact.wide {
            let value = wide.value(side);
            return Ok(value.map(|(price, quantity)| TopLevel { price, quantity, orders }));
        }
        if price == UNDEF_PRICE {
            return Ok(None);
        }
        let (price, quantity) = (Price::from_nanos(price), exact.quantity(side, size)?);
        Ok(Some(TopLevel { price, quantity, orders }))
    };
    Ok(MarketEventKind::Top { bid: level(0)?, ask: level(1)? })
}

/// What gives the exact values of a record.
struct Exact<'a> {
    wide: Option<Raw<'a>>,
    unit: u64,
}

impl Exact<'_> {
    fn quantity(&self, place: usize, size: u32) -> Result<Quantity, RecordError> {
        match &self.wide {
            Some(wide) => wide.value(place).map(|(_, quantity)| quantity),
            None if size == UNDEF_ORDER_SIZE => None,
            None => u64::from(size).checked_mul(self.unit).map(Quantity::from_nanos),
        }
        .ok_or(RecordError::Field("size"))
    }
}

/// A record, whole, of the length that its type has.
#[derive(Clone, Copy)]
struct Raw<'a> {
    bytes: &'a [u8],
}

fn take<'a>(records: &mut &'a [u8]) -> Result<Raw<'a>, RecordError> {
    let [length, rtype, ..] = *records else { return Err(RecordError::Length) };
    let expected = match *rtype {
        rtype::MBO => MBO_BYTES,
        rtype::MBP_1 => MBP1_BYTES,
        WIDE | STATUS | DEFINITION | INDICATION => WIDE_BYTES,
        other => return Err(RecordError::Type(other)),
    };
    if usize::from(*length) * 4 != expected {
        return Err(RecordError::Length);
    }
    let (bytes, rest) = records.split_at_checked(expected).ok_or(RecordError::Length)?;
    *records = rest;
    Ok(Raw { bytes })
}

impl Raw<'_> {
    fn rtype(&self) -> u8 {
        self.u8(1)
    }

    fn instrument(&self) -> InstrumentId {
        InstrumentId(self.u32(4))
    }

    /// One of the two values of a wide record.
    fn value(&self, place: usize) -> Option<(Price, Quantity)> {
        let at = 16 + 16 * place;
        let is_there = self.u8(48) & (1 << place) != 0;
        is_there.then(|| (Price::from_nanos(self.i64(at)), Quantity::from_nanos(self.u64(at + 8))))
    }

    fn u8(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }

    /// Bytes of a field; every caller's place lies within the length that was checked.
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
}

#[cfg(test)]
mod tests;
