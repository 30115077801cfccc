//! Market data as DBN records, version 3: the header of a stream of them, and one record for each message of a stream.
//!
//! What DBN has no place for is left out (number of a trade, `ts_out`, epoch) or stands elsewhere: `sequence`, where a record
//! has one, is the lower half of the stream's sequence number. Instruments are numbered from 1 as in [`number`]; a symbol mapping
//! says which is which, for one run of the server. Sizes are 32 bits of whole units: an instrument with smaller units is not offered in
//! this encoding at all, and a size beyond the range is written as unknown (`UNDEF_ORDER_SIZE`), never as another one.
//!
//! Source: the documented layout of the crate `dbn`, whose types are written as they stand in memory.

use std::ffi::c_char;

use dbn::encode::dbn::MetadataEncoder;
use dbn::{
    Action, BidAskPair, DBN_VERSION, FlagSet, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, Metadata,
    OhlcvMsg, RecordHeader, SType, StatusAction, StatusMsg, SymbolMappingMsg, TradeMsg, TriState,
    UNDEF_ORDER_SIZE, UNDEF_PRICE, UNDEF_TIMESTAMP, flags, rtype,
};
use sealfeed_wire::market::{Definition, Mbo, MboAction, Status, Trade, TradingState};
use sealfeed_wire::{Aggressor, Level, StreamHeader};

use super::bars::Bar;
use super::kind::OhlcvLength;
use crate::types::{InstrumentId, Price, Quantity, Symbol, UnixNanos};

/// Name of the data set in the header.
pub const DATASET: &str = "SEALFEED";

/// Nano-units in one unit.
const NANOS_PER_UNIT: u64 = 1_000_000_000;

/// Number of an instrument in records: never zero.
#[must_use]
pub const fn number(instrument: InstrumentId) -> u32 {
    instrument.0.saturating_add(1)
}

/// The header that stands in front of all records of a connection.
#[must_use]
pub fn metadata(now: UnixNanos) -> Vec<u8> {
    let metadata = Metadata::builder()
        .version(DBN_VERSION)
        .dataset(DATASET)
        .schema(None)
        .start(now.0)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build();
    let mut out = Vec::with_capacity(MetadataEncoder::<Vec<u8>>::encoded_len(&metadata) + 8);
    // Constant but for the time, and a vector takes everything.
    let written = MetadataEncoder::new(&mut out).encode(&metadata);
    debug_assert!(written.is_ok(), "{written:?}");
    out
}

/// The record that gives an instrument's number its symbol.
#[must_use]
pub fn symbol_mapping(instrument: InstrumentId, symbol: Symbol, now: UnixNanos) -> Vec<u8> {
    let (symbol, number) = (symbol.as_str(), number(instrument));
    let (name, raw) = (number.to_string(), SType::RawSymbol);
    let record =
        SymbolMappingMsg::new(number, now.0, raw, symbol, SType::InstrumentId, &name, now.0, UNDEF_TIMESTAMP);
    // A symbol has at most 32 characters, and 70 fit.
    debug_assert!(record.is_ok(), "{record:?}");
    record.map_or_else(|_| Vec::new(), |record| record.as_ref().to_vec())
}

/// Appends a trade.
pub(super) fn write_trade(out: &mut Vec<u8>, instrument: InstrumentId, trade: &Trade) {
    let record = TradeMsg {
        hd: header::<TradeMsg>(rtype::MBP_0, instrument, &trade.header),
        price: trade.price.nanos(),
        size: size(trade.quantity),
        action: action(Action::Trade),
        side: side(trade.side),
        flags: FlagSet::new(flags::LAST),
        depth: 0,
        ts_recv: trade.header.ts_recv.0,
        ts_in_delta: 0,
        sequence: sequence(&trade.header),
    };
    out.extend_from_slice(record.as_ref());
}

/// Appends a record of an order-by-order feed.
pub(super) fn write_mbo(out: &mut Vec<u8>, instrument: InstrumentId, mbo: &Mbo) {
    let record = MboMsg {
        hd: header::<MboMsg>(rtype::MBO, instrument, &mbo.header),
        order_id: mbo.order_id.unwrap_or_default(),
        price: mbo.price.map_or(UNDEF_PRICE, Price::nanos),
        size: mbo.quantity.map_or(0, size),
        flags: FlagSet::new(if mbo.last { flags::LAST } else { 0 } | snapshot_flag(&mbo.header)),
        channel_id: 0,
        action: action(match mbo.action {
            MboAction::Add => Action::Add,
            MboAction::Modify => Action::Modify,
            MboAction::Cancel => Action::Cancel,
            MboAction::Clear => Action::Clear,
            MboAction::Trade => Action::Trade,
            MboAction::Fill => Action::Fill,
            MboAction::Unknown => Action::None,
        }),
        side: side(mbo.side),
        ts_recv: mbo.header.ts_recv.0,
        ts_in_delta: 0,
        sequence: sequence(&mbo.header),
    };
    out.extend_from_slice(record.as_ref());
}

/// A record of the best levels after an event: what triggered it is left open.
macro_rules! levels_record {
    ($record:ident, $rtype:expr, $instrument:expr, $header:expr, $levels:expr) => {
        $record {
            hd: header::<$record>($rtype, $instrument, $header),
            price: UNDEF_PRICE,
            size: 0,
            action: action(Action::None),
            side: side(Aggressor::None),
            flags: state_flags($header),
            depth: 0,
            ts_recv: $header.ts_recv.0,
            ts_in_delta: 0,
            sequence: sequence($header),
            levels: $levels,
        }
    };
}

/// Appends the best bid and offer.
pub(super) fn write_bbo(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    header_of: &StreamHeader,
    bid: Option<Level>,
    ask: Option<Level>,
) {
    let levels = [pair(bid.as_ref(), ask.as_ref())];
    let record = levels_record!(Mbp1Msg, rtype::MBP_1, instrument, header_of, levels);
    out.extend_from_slice(record.as_ref());
}

/// Appends the ten best levels of a book, best first.
pub(super) fn write_book(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    header_of: &StreamHeader,
    bids: &[Level],
    asks: &[Level],
) {
    let levels = std::array::from_fn(|place| pair(bids.get(place), asks.get(place)));
    let record = levels_record!(Mbp10Msg, rtype::MBP_10, instrument, header_of, levels);
    out.extend_from_slice(record.as_ref());
}

/// Appends a bar.
pub(super) fn write_bar(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    length: OhlcvLength,
    header_of: &StreamHeader,
    bar: &Bar,
) {
    let rtype = match length {
        OhlcvLength::Second => rtype::OHLCV_1S,
        OhlcvLength::Minute => rtype::OHLCV_1M,
    };
    let record = OhlcvMsg {
        hd: header::<OhlcvMsg>(rtype, instrument, header_of),
        open: bar.open.nanos(),
        high: bar.high.nanos(),
        low: bar.low.nanos(),
        close: bar.close.nanos(),
        volume: u64::try_from(bar.volume / u128::from(NANOS_PER_UNIT)).unwrap_or(u64::MAX),
    };
    out.extend_from_slice(record.as_ref());
}

/// Appends a status. The venue's own reason has no place in the record.
pub(super) fn write_status(out: &mut Vec<u8>, instrument: InstrumentId, status: &Status) {
    let (action, is_trading, is_quoting) = match status.state {
        TradingState::Trading => (StatusAction::Trading, TriState::Yes, TriState::Yes),
        TradingState::Halted => (StatusAction::Halt, TriState::No, TriState::No),
        TradingState::Paused => (StatusAction::Pause, TriState::No, TriState::No),
        TradingState::Quoting => (StatusAction::Quoting, TriState::No, TriState::Yes),
        TradingState::Auction => (StatusAction::PreCross, TriState::No, TriState::Yes),
        TradingState::Unknown => (StatusAction::None, TriState::NotAvailable, TriState::NotAvailable),
    };
    let record = StatusMsg {
        hd: header::<StatusMsg>(rtype::STATUS, instrument, &status.header),
        ts_recv: status.header.ts_recv.0,
        action: action as u16,
        is_trading: character(is_trading as u8),
        is_quoting: character(is_quoting as u8),
        ..StatusMsg::default()
    };
    out.extend_from_slice(record.as_ref());
}

/// Appends a definition: symbol, tick, lots and band; everything else as unknown.
pub(super) fn write_definition(out: &mut Vec<u8>, instrument: InstrumentId, definition: &Definition) {
    let symbol = definition.header.symbol;
    let units = |quantity: Quantity| i32::try_from(quantity.nanos() / NANOS_PER_UNIT).unwrap_or(i32::MAX);
    let mut record = InstrumentDefMsg {
        hd: header::<InstrumentDefMsg>(rtype::INSTRUMENT_DEF, instrument, &definition.header),
        ts_recv: definition.header.ts_recv.0,
        raw_instrument_id: number(instrument).into(),
        security_update_action: character(if definition.header.prev_seq.is_none() { b'A' } else { b'M' }),
        ..InstrumentDefMsg::default()
    };
    if let Some(tick) = definition.tick {
        record.min_price_increment = tick.value.nanos();
    }
    if let Some(lot) = definition.lot {
        record.min_lot_size = units(lot.value);
    }
    if let Some(lot) = definition.round_lot {
        record.min_lot_size_round_lot = units(lot.value);
    }
    if let Some((lowest, highest)) = definition.band {
        record.low_limit_price = lowest.value.nanos();
        record.high_limit_price = highest.value.nanos();
    }
    for (place, byte) in record.raw_symbol.iter_mut().zip(symbol.as_bytes()) {
        *place = character(*byte);
    }
    out.extend_from_slice(record.as_ref());
}

fn header<R: dbn::HasRType>(rtype: u8, instrument: InstrumentId, header: &StreamHeader) -> RecordHeader {
    RecordHeader::new::<R>(rtype, 0, number(instrument), header.ts_event.0)
}

/// The lower half of the sequence number: the record has no room for more.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn sequence(header: &StreamHeader) -> u32 {
    header.seq.get() as u32
}

/// The present state, which is no message of the stream, is marked as a snapshot.
fn state_flags(header: &StreamHeader) -> FlagSet {
    FlagSet::new(flags::LAST | snapshot_flag(header))
}

/// What has no predecessor is no message of the stream.
const fn snapshot_flag(header: &StreamHeader) -> u8 {
    if header.prev_seq.is_none() { flags::SNAPSHOT } else { 0 }
}

fn size(quantity: Quantity) -> u32 {
    u32::try_from(quantity.nanos() / NANOS_PER_UNIT).unwrap_or(UNDEF_ORDER_SIZE)
}

fn pair(bid: Option<&Level>, ask: Option<&Level>) -> BidAskPair {
    let shown = |level: Option<&Level>| {
        level.map_or((UNDEF_PRICE, 0, 0), |level| (level.price.nanos(), size(level.quantity), level.orders))
    };
    let ((bid_px, bid_sz, bid_ct), (ask_px, ask_sz, ask_ct)) = (shown(bid), shown(ask));
    BidAskPair { bid_px, ask_px, bid_sz, ask_sz, bid_ct, ask_ct }
}

fn action(action: Action) -> c_char {
    character(action as u8)
}

fn side(side: Aggressor) -> c_char {
    character(match side {
        Aggressor::Buy => dbn::Side::Bid,
        Aggressor::Sell => dbn::Side::Ask,
        Aggressor::None => dbn::Side::None,
    } as u8)
}

/// ASCII, as C has it.
const fn character(byte: u8) -> c_char {
    byte as c_char
}
