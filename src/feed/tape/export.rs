//! A tape as a plain DBN file, which Databento's own decoders read.
//!
//! An instrument that shows orders becomes MBO records, one that shows levels MBO records with the flag `F_MBP`, one that shows its best prices
//! MBP-1 records, one that shows trades trade records; each with `ts_out`. What is said about an instrument (status, definition) is left out. Instruments are numbered anew, by symbol, because a tape may hold several runs with tables of their own. Sizes count the
//! smallest quantity of the instrument; one that DBN cannot hold is undefined in its record, and counted ([`Exported::sizes_undefined`]).

use std::collections::HashMap;
use std::ffi::c_char;
use std::io::Write;
use std::num::NonZeroU64;

use ::dbn::encode::EncodeRecord as _;
use ::dbn::encode::dbn::Encoder;
use ::dbn::enums::rtype;
use ::dbn::{
    Action, BidAskPair, FlagSet, MappingInterval, MboMsg, Mbp1Msg, Metadata, RecordHeader, SType, Schema,
    SymbolMapping, TradeMsg, UNDEF_ORDER_SIZE, UNDEF_PRICE, WithTsOut,
};
use time::{Date, OffsetDateTime};

use super::instruments::unit;
use crate::types::{
    Instrument, MarketDepth, MarketEvent, MarketEventKind, Price, Quantity, Side, Symbol, TopLevel, UnixNanos,
};

/// Name of the data set in the header of an export.
const DATASET: &str = "SEALFEED";

/// What an export will hold: known before its first record, because its header says so.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Symbols, each with what its source shows; numbered from 1 in this order.
    pub symbols: Vec<(Symbol, MarketDepth)>,
    /// When the first record was published.
    pub first: UnixNanos,
    /// When the last one was.
    pub last: UnixNanos,
}

/// What an export came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records written.
    pub records: u64,
    /// Of these, records of the books as they stood at the beginning (`F_SNAPSHOT`).
    pub snapshots: u64,
    /// Records with an undefined size, because DBN cannot hold it.
    pub sizes_undefined: u64,
    /// Events that no record of their instrument's kind can say.
    pub left_out: u64,
}

/// Whether a record happened, or belongs to the books at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It happened.
    Live,
    /// It belongs to the books at the beginning.
    Snapshot,
}

/// Writes records.
pub struct Exporter<W: Write> {
    encoder: Encoder<W>,
    ids: HashMap<Symbol, u32>,
    tops: HashMap<u32, Top>,
    /// A trade whose best prices may follow in the same record.
    held: Option<(u32, Raw)>,
    exported: Exported,
}

type Top = (Option<TopLevel>, Option<TopLevel>);

impl<W: Write> std::fmt::Debug for Exporter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").field("exported", &self.exported).finish_non_exhaustive()
    }
}

/// One record, before it is of a kind.
#[derive(Clone, Copy, Debug)]
struct Raw {
    event: MarketEvent,
    ts_out: UnixNanos,
    unit: u64,
    part: Part,
}

impl<W: Write> Exporter<W> {
    /// Writes the header to `writer`.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(writer: W, contents: &Contents) -> ::dbn::Result<Self> {
        let numbered = contents.symbols.iter().zip(1..).map(|((symbol, _), id)| (*symbol, id));
        Ok(Self {
            encoder: Encoder::new(writer, &metadata(contents))?,
            ids: numbered.collect(),
            tops: HashMap::new(),
            held: None,
            exported: Exported::default(),
        })
    }

    /// Writes what an event of `instrument` is; nothing for symbols that the header does not name.
    ///
    /// # Errors
    /// The writer's.
    pub fn event(
        &mut self,
        instrument: &Instrument,
        event: &MarketEvent,
        ts_out: UnixNanos,
        part: Part,
    ) -> ::dbn::Result<()> {
        let Some(id) = self.ids.get(&instrument.symbol).copied() else { return Ok(()) };
        let raw = Raw { event: *event, ts_out, unit: unit(instrument), part };
        match instrument.depth {
            MarketDepth::Orders | MarketDepth::Levels => self.order(id, &raw),
            MarketDepth::Top => self.top(id, raw),
            MarketDepth::Trades => self.trade(id, &raw),
        }
    }

    /// Writes what is held back, and says what there is.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> ::dbn::Result<Exported> {
        self.release()?;
        self.encoder.flush()?;
        Ok(self.exported)
    }

    fn order(&mut self, id: u32, raw: &Raw) -> ::dbn::Result<()> {
        let none = (0, None, UNDEF_PRICE, Quantity::ZERO);
        let resting = |order: u64, side, price: Price, quantity| (order, Some(side), price.nanos(), quantity);
        let (action, (order_id, side, price, quantity)) = match raw.event.kind {
            MarketEventKind::Add { order, side, price, quantity } => {
                (Action::Add, resting(order.0, side, price, quantity))
            }
            MarketEventKind::Modify { order, side, price, quantity } => {
                (Action::Modify, resting(order.0, side, price, quantity))
            }
            MarketEventKind::Reduce { order, side, price, quantity } => {
                (Action::Cancel, resting(order.0, side, price, quantity))
            }
            MarketEventKind::Clear => (Action::Clear, none),
            MarketEventKind::Trade { price, quantity, aggressor, trade_id } => {
                (Action::Trade, (trade_id, aggressor, price.nanos(), quantity))
            }
            MarketEventKind::Fill { order, side, price, quantity } => {
                (Action::Fill, (order.0, side, price.nanos(), quantity))
            }
            // A whole level in an order's record, as `F_MBP` says; how many orders rest there, it cannot.
            MarketEventKind::Level { side, price, quantity, .. } => {
                (Action::Modify, resting(0, side, price, quantity))
            }
            MarketEventKind::Top { .. }
            | MarketEventKind::Status { .. }
            | MarketEventKind::Indication(_)
            | MarketEventKind::Definition(_) => {
                return self.leave_out(raw);
            }
        };
        let record = MboMsg {
            hd: RecordHeader::new::<MboMsg>(rtype::MBO, 0, id, raw.event.ts_event.0),
            order_id,
            price,
            size: self.size(quantity, raw.unit),
            flags: raw.flags(),
            channel_id: 0,
            action: character(action as u8),
            side: side_character(side),
            ts_recv: raw.event.ts_recv.0,
            ts_in_delta: 0,
            sequence: 0,
        };
        self.encoder.encode_record(&WithTsOut::new(record, raw.ts_out.0))?;
        self.count(raw)
    }

    fn trade(&mut self, id: u32, raw: &Raw) -> ::dbn::Result<()> {
        let MarketEventKind::Trade { price, quantity, aggressor, .. } = raw.event.kind else {
            return self.leave_out(raw);
        };
        let record = TradeMsg {
            hd: RecordHeader::new::<TradeMsg>(rtype::MBP_0, 0, id, raw.event.ts_event.0),
            price: price.nanos(),
            size: self.size(quantity, raw.unit),
            action: character(Action::Trade as u8),
            side: side_character(aggressor),
            flags: raw.flags(),
            depth: 0,
            ts_recv: raw.event.ts_recv.0,
            ts_in_delta: 0,
            sequence: 0,
        };
        self.encoder.encode_record(&WithTsOut::new(record, raw.ts_out.0))?;
        self.count(raw)
    }

    /// A trade waits for the best prices after it: they are one record, as in a recording of MBP-1.
    fn top(&mut self, id: u32, raw: Raw) -> ::dbn::Result<()> {
        match raw.event.kind {
            MarketEventKind::Trade { .. } => {
                self.release()?;
                self.held = Some((id, raw));
                if raw.event.last { self.release() } else { Ok(()) }
            }
            MarketEventKind::Top { bid, ask } => {
                let belongs = self.held.is_some_and(|(of, held)| {
                    let (held, event) = (held.event, raw.event);
                    of == id && (held.ts_event, held.ts_recv) == (event.ts_event, event.ts_recv)
                });
                if !belongs {
                    self.release()?;
                }
                self.tops.insert(id, (bid, ask));
                match self.held.take() {
                    Some((_, held)) => {
                        let event = MarketEvent { last: raw.event.last, ..held.event };
                        self.mbp1(id, &Raw { event, ..held })
                    }
                    None => self.mbp1(id, &raw),
                }
            }
            MarketEventKind::Clear => {
                self.release()?;
                self.tops.remove(&id);
                self.mbp1(id, &raw)
            }
            MarketEventKind::Add { .. }
            | MarketEventKind::Level { .. }
            | MarketEventKind::Status { .. }
            | MarketEventKind::Indication(_)
            | MarketEventKind::Definition(_)
            | MarketEventKind::Modify { .. }
            | MarketEventKind::Reduce { .. }
            | MarketEventKind::Fill { .. } => self.leave_out(&raw),
        }
    }

    fn release(&mut self) -> ::dbn::Result<()> {
        match self.held.take() {
            Some((id, held)) => self.mbp1(id, &held),
            None => Ok(()),
        }
    }

    /// The best prices as they are now, with what the event did.
    fn mbp1(&mut self, id: u32, raw: &Raw) -> ::dbn::Result<()> {
        let (action, price, quantity, side) = match raw.event.kind {
            MarketEventKind::Trade { price, quantity, aggressor, .. } => {
                (Action::Trade, price.nanos(), quantity, aggressor)
            }
            MarketEventKind::Clear => (Action::Clear, UNDEF_PRICE, Quantity::ZERO, None),
            // Which change it was, the feed does not know: some level at the top.
            _ => (Action::Modify, UNDEF_PRICE, Quantity::ZERO, None),
        };
        let (bid, ask) = self.tops.get(&id).copied().unwrap_or_default();
        let mut level = |level: Option<TopLevel>| match level {
            Some(TopLevel { price, quantity, orders }) => {
                (price.nanos(), self.size(quantity, raw.unit), orders)
            }
            None => (UNDEF_PRICE, 0, 0),
        };
        let (bid, ask) = (level(bid), level(ask));
        let record = Mbp1Msg {
            hd: RecordHeader::new::<Mbp1Msg>(rtype::MBP_1, 0, id, raw.event.ts_event.0),
            price,
            size: self.size(quantity, raw.unit),
            action: character(action as u8),
            side: side_character(side),
            flags: raw.flags(),
            depth: 0,
            ts_recv: raw.event.ts_recv.0,
            ts_in_delta: 0,
            sequence: 0,
            levels: [BidAskPair {
                bid_px: bid.0,
                ask_px: ask.0,
                bid_sz: bid.1,
                ask_sz: ask.1,
                bid_ct: bid.2,
                ask_ct: ask.2,
            }],
        };
        self.encoder.encode_record(&WithTsOut::new(record, raw.ts_out.0))?;
        self.count(raw)
    }

    fn size(&mut self, quantity: Quantity, unit: u64) -> u32 {
        let size = u32::try_from(quantity.nanos() / unit).unwrap_or(UNDEF_ORDER_SIZE);
        if quantity.nanos().is_multiple_of(unit) && size != UNDEF_ORDER_SIZE {
            return size;
        }
        self.exported.sizes_undefined += 1;
        UNDEF_ORDER_SIZE
    }

    fn count(&mut self, raw: &Raw) -> ::dbn::Result<()> {
        self.exported.records += 1;
        self.exported.snapshots += u64::from(raw.part == Part::Snapshot);
        Ok(())
    }

    fn leave_out(&mut self, raw: &Raw) -> ::dbn::Result<()> {
        self.exported.left_out += u64::from(raw.part == Part::Live);
        Ok(())
    }
}

impl Raw {
    fn flags(&self) -> FlagSet {
        let mut flags = FlagSet::empty();
        if self.event.last {
            flags.set_last();
        }
        if matches!(self.event.kind, MarketEventKind::Level { .. }) {
            flags.set_mbp();
        }
        if self.part == Part::Snapshot {
            flags.set_snapshot();
        }
        flags
    }
}

const fn side_character(side: Option<Side>) -> c_char {
    character(match side {
        Some(Side::Buy) => b'B',
        Some(Side::Sell) => b'A',
        None => b'N',
    })
}

/// ASCII, whatever the sign of the platform's character.
const fn character(ascii: u8) -> c_char {
    ascii as c_char
}

fn metadata(contents: &Contents) -> Metadata {
    let (start, end) = (date(contents.first), date(contents.last));
    // The end of an interval is the first day that is not in it.
    let end = end.next_day().unwrap_or(end);
    let mapping = |(symbol, id): (String, u32)| SymbolMapping {
        raw_symbol: symbol,
        intervals: vec![MappingInterval { start_date: start, end_date: end, symbol: id.to_string() }],
    };
    let symbols: Vec<String> = contents.symbols.iter().map(|(symbol, _)| symbol.to_string()).collect();
    Metadata::builder()
        .dataset(DATASET)
        .schema(schema(contents))
        .start(contents.first.0)
        .end(NonZeroU64::new(contents.last.0.saturating_add(1)))
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .ts_out(true)
        .mappings(symbols.iter().cloned().zip(1..).map(mapping).collect())
        .symbols(symbols)
        .build()
}

/// The schema, if all symbols have the same; `None` is DBN's way to say that several may occur.
fn schema(contents: &Contents) -> Option<Schema> {
    let of = |depth: &MarketDepth| match depth {
        MarketDepth::Orders | MarketDepth::Levels => Schema::Mbo,
        MarketDepth::Top => Schema::Mbp1,
        MarketDepth::Trades => Schema::Trades,
    };
    let mut schemas = contents.symbols.iter().map(|(_, depth)| of(depth));
    let first = schemas.next()?;
    schemas.all(|schema| schema == first).then_some(first)
}

fn date(time: UnixNanos) -> Date {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0)).map_or(Date::MIN, OffsetDateTime::date)
}
