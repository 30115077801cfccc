//! Market data in DBN records, turned into the messages that a JSON connection has.
//!
//! Every record advances its stream by one; the first one after `subscribed` on a channel with a present state (unless the
//! stream was recovered), and the first one after `skipped`, is that state and advances nothing. Nor do the records of `mbo` that are
//! marked as a snapshot: the orders that rest. Records that carry a sequence number
//! are held against it, so that a loss is seen; bars, statuses and definitions have none and are counted. `ts_out` is not in records: it is zero.
//! Numbers of instruments hold for one connection. At most 100,000 streams and instruments are followed.

use std::collections::HashMap;

use dbn::decode::DecodeRecordRef as _;
use dbn::decode::dbn::{MetadataDecoder, RecordDecoder};
use dbn::{
    DBN_VERSION, HasRType, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, OhlcvMsg, RecordRef, StatusMsg,
    SymbolMappingMsg, TradeMsg, UNDEF_ORDER_SIZE, UNDEF_PRICE, VersionUpgradePolicy, rtype,
};
use sealfeed_wire::checksum::checksum;
use sealfeed_wire::market::{
    Bbo, BookDecimals, BookMessage, Definition, Gap, Level, MarketMessage, Mbo, MboAction, Ohlcv, Status,
    StreamHeader, Trade, TradingState,
};
use sealfeed_wire::reply::{Changed, EntitlementChanged, Subscribed};
use sealfeed_wire::request::ResumePoint;
use sealfeed_wire::{
    Aggressor, Channel, Decimals, Epoch, Price, Quantity, Scaled, Sequence, StreamSymbol, Symbol, UnixNanos,
};

use crate::streams::ResumeKey;

/// Streams and instruments that are followed.
const ENTRIES_MAX: usize = 100_000;

/// Nano-units in one unit: sizes are whole units.
const NANOS_PER_UNIT: u64 = 1_000_000_000;

/// Why a binary frame cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// It is no run of whole records, or its header is none.
    #[error("a binary frame is no run of DBN records")]
    Malformed(#[from] dbn::Error),
    /// The header is of another version.
    #[error("the server writes DBN version {version}, and this client reads {DBN_VERSION}")]
    Version {
        /// The server's.
        version: u8,
    },
    /// A record of an instrument, or of a stream, that nobody announced.
    #[error("a record of instrument {number} came that was not announced")]
    Unannounced {
        /// The record's number.
        number: u32,
    },
    /// A record has a value that none may have.
    #[error("a record of instrument {number} cannot be read")]
    Invalid {
        /// The record's number.
        number: u32,
    },
}

/// Where a stream of records stands.
#[derive(Clone, Copy, Debug)]
struct Position {
    epoch: Epoch,
    last: Sequence,
    /// The next record is the present state.
    awaits_state: bool,
    decimals: BookDecimals,
    /// Records do not say it.
    delayed_ms: Option<u64>,
}

/// The records of one connection.
#[derive(Debug, Default)]
pub(crate) struct Records {
    has_header: bool,
    symbols: HashMap<u32, Symbol>,
    positions: HashMap<(Channel, Symbol), Position>,
}

impl Records {
    /// Takes the positions of a `subscribed` reply, whose request asked to resume at these points.
    pub(crate) fn subscribed(&mut self, reply: &Subscribed, resume: &[(ResumeKey, ResumePoint)]) {
        for (symbol, stream) in &reply.symbols {
            let StreamSymbol::One(name) = symbol else { continue };
            let point = resume.iter().find(|(key, _)| key == symbol).map(|(_, point)| point);
            let resumed = point.filter(|_| stream.recovered == Some(true));
            let position = Position {
                epoch: stream.epoch,
                last: resumed.map_or(stream.seq, |point| point.seq),
                awaits_state: resumed.is_none() && reply.channel.is_state(),
                decimals: BookDecimals {
                    price: stream.price_decimals.unwrap_or(Decimals::MAX),
                    quantity: stream.qty_decimals.unwrap_or_default(),
                },
                delayed_ms: stream.delayed_ms,
            };
            if self.positions.len() < ENTRIES_MAX || self.positions.contains_key(&(reply.channel, *name)) {
                self.positions.insert((reply.channel, *name), position);
            }
        }
    }

    /// Takes the positions of subscriptions that go on with another delay; of those that wait, the next notice has them.
    pub(crate) fn changed(&mut self, notice: &EntitlementChanged) {
        for Changed { channel, symbols } in &notice.changed {
            for (symbol, stream) in symbols {
                let StreamSymbol::One(name) = symbol else { continue };
                let place = self.positions.get_mut(&(*channel, *name));
                let Some((place, (epoch, last))) = place.zip(stream.position()) else { continue };
                (place.epoch, place.last) = (epoch, last);
                (place.awaits_state, place.delayed_ms) = (channel.is_state(), stream.delayed_ms);
            }
        }
    }

    /// Takes the server's word that everything up to a position will not come.
    pub(crate) fn skip(&mut self, gap: &Gap) {
        let StreamSymbol::One(symbol) = gap.stream.symbol else { return };
        if let Some(position) = self.positions.get_mut(&(gap.stream.channel, symbol)) {
            (position.epoch, position.last) = (gap.stream.epoch, gap.to);
            position.awaits_state = gap.stream.channel.is_state();
        }
    }

    /// Reads a binary frame: hands out each message with its record.
    pub(crate) fn read(
        &mut self,
        frame: &[u8],
        mut emit: impl FnMut(MarketMessage, &[u8]),
    ) -> Result<(), RecordError> {
        if !self.has_header {
            // The decoder makes room for as much as the header says it has.
            let is_whole = frame.get(4..8).is_some_and(|bytes| {
                let bytes: [u8; 4] = [bytes[0], bytes[1], bytes[2], bytes[3]];
                usize::try_from(u32::from_le_bytes(bytes)).is_ok_and(|bytes| bytes <= frame.len())
            });
            if !is_whole {
                return Err(RecordError::Malformed(dbn::Error::decode("its header is longer than itself")));
            }
            let header = MetadataDecoder::with_upgrade_policy(frame, VersionUpgradePolicy::AsIs).decode()?;
            self.has_header = header.version == DBN_VERSION;
            return if self.has_header {
                Ok(())
            } else {
                Err(RecordError::Version { version: header.version })
            };
        }
        if !is_run_of_records(frame) {
            return Err(RecordError::Malformed(dbn::Error::decode(
                "a record is cut off, or of an odd length",
            )));
        }
        let mut records = RecordDecoder::with_version(frame, DBN_VERSION, VersionUpgradePolicy::AsIs, false)?;
        while let Some(record) = records.decode_record_ref()? {
            if let Some(message) = self.message(record)? {
                emit(message, record.as_ref());
            }
        }
        Ok(())
    }

    /// The message that a record stands for; `None` for records that stand for none.
    fn message(&mut self, record: RecordRef<'_>) -> Result<Option<MarketMessage>, RecordError> {
        if let Some(mapping) = read::<SymbolMappingMsg>(record)? {
            let number = mapping.hd.instrument_id;
            let symbol =
                Symbol::new(mapping.stype_in_symbol()?).map_err(|_| RecordError::Invalid { number })?;
            if self.symbols.len() < ENTRIES_MAX {
                self.symbols.insert(number, symbol);
            }
            return Ok(None);
        }
        if let Some(trade) = read::<TradeMsg>(record)? {
            return self.trade(trade).map(Some);
        }
        if let Some(book) = read::<Mbp10Msg>(record)? {
            return self.book(book).map(Some);
        }
        if let Some(mbo) = read::<MboMsg>(record)? {
            return self.mbo(mbo).map(Some);
        }
        if let Some(bbo) = read::<Mbp1Msg>(record)? {
            let (header, _) = self.header(Channel::Bbo, &bbo.hd, bbo.ts_recv, Some(bbo.sequence))?;
            let [best] = &bbo.levels;
            return Ok(Some(MarketMessage::Bbo(Bbo { header, bid: bid(best), ask: ask(best) })));
        }
        if let Some(bar) = read::<OhlcvMsg>(record)? {
            return self.bar(bar);
        }
        if let Some(status) = read::<StatusMsg>(record)? {
            let (header, _) = self.header(Channel::Status, &status.hd, status.ts_recv, None)?;
            let state = state_of(status.action);
            return Ok(Some(MarketMessage::Status(Status { header, state, reason: None, indication: None })));
        }
        let Some(definition) = read::<InstrumentDefMsg>(record)? else { return Ok(None) };
        self.definition(definition).map(Some)
    }

    fn trade(&mut self, trade: &TradeMsg) -> Result<MarketMessage, RecordError> {
        let (header, _) = self.header(Channel::Trades, &trade.hd, trade.ts_recv, Some(trade.sequence))?;
        let side = aggressor(trade.side()?);
        let (price, quantity) = (Price::from_nanos(trade.price), quantity(trade.size));
        Ok(MarketMessage::Trade(Trade { header, price, quantity, side, trade_id: None }))
    }

    /// A book comes whole each time. The checksum is made here, so that the message is like any other.
    fn book(&mut self, book: &Mbp10Msg) -> Result<MarketMessage, RecordError> {
        let (header, decimals) = self.header(Channel::Book, &book.hd, book.ts_recv, Some(book.sequence))?;
        let bids: Vec<Level> = book.levels.iter().map_while(bid).collect();
        let asks: Vec<Level> = book.levels.iter().map_while(ask).collect();
        let checksum = Some(checksum(&bids, &asks, decimals));
        Ok(MarketMessage::Snapshot(BookMessage { header, bids, asks, checksum }))
    }

    fn mbo(&mut self, mbo: &MboMsg) -> Result<MarketMessage, RecordError> {
        if mbo.flags.is_snapshot() {
            self.awaits_state(Channel::Mbo, mbo.hd.instrument_id);
        }
        let (header, _) = self.header(Channel::Mbo, &mbo.hd, mbo.ts_recv, Some(mbo.sequence))?;
        let action = match mbo.action()? {
            dbn::Action::Add => MboAction::Add,
            dbn::Action::Modify => MboAction::Modify,
            dbn::Action::Cancel => MboAction::Cancel,
            dbn::Action::Clear => MboAction::Clear,
            dbn::Action::Trade => MboAction::Trade,
            dbn::Action::Fill => MboAction::Fill,
            dbn::Action::None => MboAction::Unknown,
        };
        let has_price = mbo.price != UNDEF_PRICE;
        Ok(MarketMessage::Mbo(Mbo {
            header,
            action,
            side: aggressor(mbo.side()?),
            price: has_price.then(|| Price::from_nanos(mbo.price)),
            quantity: (has_price && mbo.size != UNDEF_ORDER_SIZE).then(|| quantity(mbo.size)),
            order_id: (has_price && action != MboAction::Trade).then_some(mbo.order_id),
            last: mbo.flags.is_last(),
        }))
    }

    /// The next record of a stream is part of its present state.
    fn awaits_state(&mut self, channel: Channel, number: u32) {
        let symbol = self.symbols.get(&number).copied();
        if let Some(position) = symbol.and_then(|symbol| self.positions.get_mut(&(channel, symbol))) {
            position.awaits_state = true;
        }
    }

    fn bar(&mut self, bar: &OhlcvMsg) -> Result<Option<MarketMessage>, RecordError> {
        let channel = match bar.hd.rtype {
            rtype::OHLCV_1S => Channel::Ohlcv1s,
            rtype::OHLCV_1M => Channel::Ohlcv1m,
            _ => return Ok(None),
        };
        let (header, _) = self.header(channel, &bar.hd, bar.hd.ts_event, None)?;
        let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(Price::from_nanos);
        let volume = Quantity::from_nanos(bar.volume.saturating_mul(NANOS_PER_UNIT));
        // How many trades there were is not in the record.
        Ok(Some(MarketMessage::Ohlcv(Ohlcv { header, open, high, low, close, volume, trades: 0 })))
    }

    fn definition(&mut self, record: &InstrumentDefMsg) -> Result<MarketMessage, RecordError> {
        let (header, decimals) = self.header(Channel::Definition, &record.hd, record.ts_recv, None)?;
        let lot = |units: i32| {
            let units = u64::try_from(units).ok().filter(|_| units != i32::MAX)?;
            Some(Scaled::new(Quantity::from_nanos(units.saturating_mul(NANOS_PER_UNIT)), decimals.quantity))
        };
        let price =
            |nanos| (nanos != UNDEF_PRICE).then(|| Scaled::new(Price::from_nanos(nanos), decimals.price));
        Ok(MarketMessage::Definition(Definition {
            header,
            decimals,
            tick: price(record.min_price_increment),
            lot: lot(record.min_lot_size),
            round_lot: lot(record.min_lot_size_round_lot),
            tradable: false,
            state: TradingState::Unknown,
            band: price(record.low_limit_price).zip(price(record.high_limit_price)),
        }))
    }

    /// Moves a stream on by a record.
    fn header(
        &mut self,
        channel: Channel,
        record: &dbn::RecordHeader,
        ts_recv: u64,
        sequence: Option<u32>,
    ) -> Result<(StreamHeader, BookDecimals), RecordError> {
        let unannounced = || RecordError::Unannounced { number: record.instrument_id };
        let symbol = *self.symbols.get(&record.instrument_id).ok_or_else(unannounced)?;
        let position = self.positions.get_mut(&(channel, symbol)).ok_or_else(unannounced)?;
        let is_state = std::mem::take(&mut position.awaits_state);
        let expected = if is_state { position.last } else { position.last.next() };
        let seq = sequence.map_or(Some(expected), |sequence| whole(expected, sequence));
        let seq = seq.ok_or(RecordError::Invalid { number: record.instrument_id })?;
        position.last = seq;
        let header = StreamHeader {
            channel,
            symbol,
            epoch: position.epoch,
            seq,
            prev_seq: if is_state { None } else { seq.get().checked_sub(1).and_then(Sequence::new) },
            ts_event: UnixNanos(record.ts_event),
            ts_recv: UnixNanos(ts_recv),
            ts_out: UnixNanos(0),
            delayed_ms: position.delayed_ms,
        };
        Ok((header, position.decimals))
    }
}

/// The sequence number next to the expected one whose lower half is this.
fn whole(expected: Sequence, lower: u32) -> Option<Sequence> {
    let bytes = expected.get().to_le_bytes();
    let [a, b, c, d, ..] = bytes;
    let ahead = lower.wrapping_sub(u32::from_le_bytes([a, b, c, d])).cast_signed();
    Sequence::new(expected.get().checked_add_signed(ahead.into())?)
}

/// Whether a frame is whole records, each of whole words of eight bytes. The decoder passes over a rest without a word, and looks at
/// records where they lie: behind one of an odd length none may lie.
fn is_run_of_records(mut frame: &[u8]) -> bool {
    while let Some(words) = frame.first() {
        let bytes = usize::from(*words) * 4;
        match frame.get(bytes..) {
            Some(rest) if bytes > 0 && bytes.is_multiple_of(8) => frame = rest,
            _ => return false,
        }
    }
    true
}

fn read<'a, T: HasRType<Header = dbn::RecordHeader>>(
    record: RecordRef<'a>,
) -> Result<Option<&'a T>, RecordError> {
    if record.has::<T>() { Ok(Some(record.try_get::<T>()?)) } else { Ok(None) }
}

fn bid(pair: &dbn::BidAskPair) -> Option<Level> {
    level(pair.bid_px, pair.bid_sz, pair.bid_ct)
}

fn ask(pair: &dbn::BidAskPair) -> Option<Level> {
    level(pair.ask_px, pair.ask_sz, pair.ask_ct)
}

fn level(price: i64, size: u32, orders: u32) -> Option<Level> {
    (price != UNDEF_PRICE).then(|| Level {
        price: Price::from_nanos(price),
        quantity: quantity(size),
        orders,
    })
}

fn quantity(size: u32) -> Quantity {
    Quantity::from_nanos(u64::from(size).saturating_mul(NANOS_PER_UNIT))
}

fn aggressor(side: dbn::Side) -> Aggressor {
    match side {
        dbn::Side::Bid => Aggressor::Buy,
        dbn::Side::Ask => Aggressor::Sell,
        dbn::Side::None => Aggressor::None,
    }
}

fn state_of(action: u16) -> TradingState {
    match dbn::StatusAction::try_from(action) {
        Ok(dbn::StatusAction::Trading) => TradingState::Trading,
        Ok(dbn::StatusAction::Halt) => TradingState::Halted,
        Ok(dbn::StatusAction::Pause) => TradingState::Paused,
        Ok(dbn::StatusAction::Quoting) => TradingState::Quoting,
        Ok(dbn::StatusAction::PreCross) => TradingState::Auction,
        _ => TradingState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_odd_or_cut_records_or_with_a_header_that_cannot_be_is_refused() {
        let whole = [&[2, 0xff][..], &[0; 6], &[4, 0xff], &[0; 14]].concat();
        assert!(is_run_of_records(&whole) && is_run_of_records(&[]));
        let refused = |frame: &[u8]| {
            let mut records = Records { has_header: true, ..Records::default() };
            matches!(records.read(frame, |_, _| {}), Err(RecordError::Malformed(_)))
        };
        let odd = [&[3, 0xff][..], &[0; 10], &[4, 0xff], &[0; 14]].concat();
        for frame in [&odd[..], &whole[..whole.len() - 1], &whole[..9], &[0; 8]] {
            assert!(refused(frame), "{frame:?}");
        }
        for header in [&b"DBN\x03\xff\xff\xff\xff"[..], b"DBN\x03", b""] {
            let read = Records::default().read(header, |_, _| {});
            assert!(matches!(read, Err(RecordError::Malformed(_))), "{header:?}");
        }
    }

    #[test]
    fn the_lower_half_of_a_number_is_completed_across_its_border() {
        let seq = |number| Sequence::new(number).unwrap();
        let border = 1_u64 << 32;
        for (expected, lower, found) in [
            (seq(5), 5, seq(5)),
            (seq(5), 9, seq(9)),
            (seq(5), 4, seq(4)),
            (seq(border - 1), 1, seq(border + 1)),
            (seq(border), u32::MAX, seq(border - 1)),
        ] {
            assert_eq!(whole(expected, lower), Some(found));
        }
        assert_eq!(whole(seq(0), u32::MAX), None);
    }
}
