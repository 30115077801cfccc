//! A file of Nasdaq TotalView-ITCH 5.0: every displayed order, trade, halt and auction of a day.
//!
//! The stock directory at the file's beginning names the instruments; each message after it is an event of its own. A message that cannot be (an order that does not
//! rest, more taken off than there is) ends the source: whatever would follow could be wrong. Orders are remembered from when they come to rest
//! until they are gone, of published instruments only.

mod file;
mod message;
mod orders;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sealfeed_wire::ident::IdentError;

use crate::config::{ItchSourceConfig, Midnight};
use crate::types::{
    Decimals, Definition, Instrument, InstrumentId, Instruments, MarketDepth, MarketEvent, MarketEventKind,
    Price, Quantity, StatusReason, Symbol, TimeArithmetic, TradingState, UnixNanos,
};

use super::batch::RecordCounts;
use super::error::SourceError;
use super::replay::{Notice, Read, Records};
use super::step::decimals;

use file::MessageFile;
use message::Body;
use orders::Orders;

/// Decimals of every price.
const PRICE_DECIMALS: u8 = 4;

/// Most messages that are read for the directory.
const DIRECTORY_RECORDS_MAX: u64 = 1_000_000;

/// Nanoseconds of the longest day there is: the one on which summer time ends.
const DAY_NS_MAX: u64 = 25 * 3_600 * 1_000_000_000;

/// A file that is open, with its instruments registered.
#[derive(Debug)]
pub(super) struct Recording {
    path: PathBuf,
    midnight: Midnight,
    file: MessageFile,
    /// By the number that the directory gives it for the day.
    instruments: BTreeMap<u16, (InstrumentId, [u8; 8])>,
    orders: Orders,
    counts: RecordCounts,
    latest: UnixNanos,
}

impl Recording {
    pub(super) fn open(
        config: &ItchSourceConfig,
        instruments: &mut Instruments,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            path: config.path.clone(),
            midnight: config.midnight,
            instruments: register(config, instruments)?,
            file: MessageFile::open(&config.path)?,
            orders: Orders::default(),
            counts: RecordCounts::default(),
            latest: UnixNanos::default(),
        })
    }
}

/// Reads the directory and registers what of it is to be published. It ends where the first order comes to rest.
fn register(
    config: &ItchSourceConfig,
    instruments: &mut Instruments,
) -> Result<BTreeMap<u16, (InstrumentId, [u8; 8])>, SourceError> {
    let mut file = MessageFile::open(&config.path)?;
    let (mut listed, mut unfit, mut fault) = (BTreeMap::new(), 0_u32, None);
    while file.records() < DIRECTORY_RECORDS_MAX {
        let message = match file.next() {
            Ok(Some(message)) => message,
            Ok(None) => break,
            // What stands in front of a fault is replayed, and then the fault is told.
            Err(error) => {
                fault = Some(error);
                break;
            }
        };
        let locate = message.locate();
        match message.body() {
            Some(Body::Directory { stock, .. }) => {
                let Ok(symbol) = symbol(&stock) else {
                    unfit += 1;
                    continue;
                };
                if !config.symbols.is_empty() && !config.symbols.contains(&symbol) {
                    continue;
                }
                if listed.insert(locate, (symbol, stock)).is_some_and(|(other, _)| other != symbol) {
                    return Err(SourceError::Mapping { name: locate.to_string() });
                }
            }
            Some(Body::Add { .. }) => break,
            _ => {}
        }
    }
    if unfit > 0 {
        tracing::warn!(file = %config.path.display(), unfit, "stocks whose names cannot be symbols are not published");
    }
    if listed.is_empty() && config.symbols.is_empty() {
        return Err(fault.unwrap_or(SourceError::Empty));
    }
    let is_listed = |wanted: &Symbol| listed.values().any(|(symbol, _)| symbol == wanted);
    if let Some(symbol) = config.symbols.iter().find(|symbol| !is_listed(symbol)) {
        return Err(fault.unwrap_or(SourceError::SymbolAbsent { symbol: *symbol }));
    }
    // The format's own step: the tick is a rule of the market, finer below a dollar, and not in the file.
    let tick = Price::from_nanos(10_i64.pow(9 - u32::from(PRICE_DECIMALS)));
    let lot = Quantity::from_nanos(1_000_000_000);
    let decimals = decimals(tick, lot);
    let depth = MarketDepth::Orders;
    let mut registered = BTreeMap::new();
    for (locate, (symbol, stock)) in listed {
        let id = instruments
            .add(|id| Instrument {
                id,
                symbol,
                decimals,
                tick,
                lot,
                band: None,
                depth,
                tradable: config.paper,
                paper: config.paper,
            })
            .ok_or(SourceError::SymbolTaken { symbol })?;
        registered.insert(locate, (id, stock));
    }
    Ok(registered)
}

/// Eight characters, filled up with spaces. Nasdaq marks warrants, rights and units by `+`, `^` and `=`, which no symbol can have.
fn symbol(stock: &[u8; 8]) -> Result<Symbol, IdentError> {
    Symbol::new(&String::from_utf8_lossy(stock.trim_ascii_end()))
}

impl Records for Recording {
    fn read(&mut self, event: &mut Vec<MarketEvent>, _: &mut Vec<Notice>) -> Result<Read, SourceError> {
        event.clear();
        let Self { file, instruments, orders, counts, .. } = self;
        let Some(message) = file.next()? else { return Ok(Read::End(None)) };
        let (locate, time_ns) = (message.locate(), message.time_ns());
        let body = message.body();
        let stock = message.stock();
        let record = file.records();
        let unusable = |field| SourceError::Unusable { record, field };
        if time_ns >= DAY_NS_MAX {
            return Err(unusable("time"));
        }
        let body = body.ok_or(unusable("field of this kind"))?;
        let time = UnixNanos(self.midnight.0).plus_ns(time_ns);
        let by_ns = self.latest.since(time);
        if by_ns > 0 {
            return Err(SourceError::Backwards { record, by_ns });
        }
        self.latest = time;
        count(counts, &body);
        let Some((instrument, listed)) = instruments.get(&locate) else {
            return Ok(Read::Event(Some(time)));
        };
        if stock.is_some_and(|stock| stock != *listed) {
            // A number that means two stocks would make one book of both.
            return Err(unusable("stock"));
        }
        let mut kinds = Kinds::default();
        match body {
            Body::Directory { round_lot, .. } => kinds.push(definition(round_lot)),
            Body::Action { state, reason } => kinds.push(status(state, reason).ok_or(unusable("state"))?),
            Body::System | Body::Broken | Body::Other => {}
            Body::Trade { quantity, price, trade_id } | Body::Cross { quantity, price, trade_id } => {
                if !quantity.is_zero() {
                    kinds.push(MarketEventKind::Trade { price, quantity, aggressor: None, trade_id });
                }
            }
            _ => orders.take(record, *instrument, &body, &mut kinds)?,
        }
        let count = kinds.count;
        event.extend(kinds.list.into_iter().flatten().enumerate().map(|(index, kind)| MarketEvent {
            instrument: *instrument,
            ts_event: time,
            ts_recv: time,
            last: index + 1 == count,
            kind,
        }));
        Ok(Read::Event(Some(time)))
    }

    fn counts(&self) -> RecordCounts {
        self.counts
    }

    fn books(&self) -> Vec<InstrumentId> {
        self.instruments.values().map(|(id, _)| *id).collect()
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.file = MessageFile::open(&self.path)?;
        self.orders = Orders::default();
        self.counts = RecordCounts::default();
        self.latest = UnixNanos::default();
        Ok(())
    }
}

/// What one message says: at most two things.
#[derive(Debug, Default)]
struct Kinds {
    list: [Option<MarketEventKind>; 2],
    count: usize,
}

impl Kinds {
    fn push(&mut self, kind: MarketEventKind) {
        self.list[self.count] = Some(kind);
        self.count += 1;
    }
}

fn definition(round_lot: Quantity) -> MarketEventKind {
    MarketEventKind::Definition(Definition {
        price_decimals: Decimals::new(PRICE_DECIMALS),
        tick: None,
        lot: None,
        round_lot: Some(round_lot),
    })
}

fn status(state: u8, reason: [u8; 4]) -> Option<MarketEventKind> {
    let state = match state {
        b'H' => TradingState::Halted,
        b'P' => TradingState::Paused,
        b'Q' => TradingState::Quoting,
        b'T' => TradingState::Trading,
        _ => return None,
    };
    let reason = std::str::from_utf8(reason.trim_ascii_end()).ok().and_then(StatusReason::new);
    Some(MarketEventKind::Status { state, reason })
}

fn count(counts: &mut RecordCounts, body: &Body) {
    let counter = match body {
        Body::Add { .. } => &mut counts.adds,
        Body::Cancelled { .. } | Body::Deleted { .. } => &mut counts.cancels,
        Body::Replaced { .. } => &mut counts.modifies,
        Body::Executed { .. } | Body::ExecutedAt { .. } => &mut counts.fills,
        Body::Trade { .. } | Body::Cross { .. } => &mut counts.trades,
        Body::Directory { .. } | Body::Action { .. } => &mut counts.states,
        Body::Broken => &mut counts.broken_trades,
        Body::System | Body::Other => &mut counts.others,
    };
    *counter += 1;
}
