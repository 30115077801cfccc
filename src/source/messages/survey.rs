//! What a recording of messages tells of its instruments: which there are, what is shown of them, ticks, lots and decimals.
//!
//! As with DBN files, the decimals are the fewest that write every number of the file exactly, unless the configuration
//! says more. Exchanges write `61737.63000000`; the wire does not carry their zeros.

use std::collections::BTreeMap;

use sealfeed_wire::Scaled;

use crate::config::{InstrumentConfig, MessagesSourceConfig};
use crate::types::{BookDecimals, Instrument, Instruments, MarketDepth, Symbol};

use super::super::error::{SourceError, check_paper};
use super::super::step::{Step, decimals};
use super::Exchange;
use super::books::Recorded;
use super::line::{Content, Lines};
use super::message::{Message, TextLevel};

/// Most lines that are read before the first is replayed; also bounds the instruments of a recording.
const LINES_MAX: u64 = 1_000_000;

/// Reads the file from its first line and registers its instruments, by the exchange's names.
pub(super) fn register(
    exchange: Exchange,
    config: &MessagesSourceConfig,
    instruments: &mut Instruments,
) -> Result<BTreeMap<Symbol, Recorded>, SourceError> {
    let mut survey = Survey::default();
    // Nothing behind a fault is ever replayed, so nothing behind it matters here; the replay comes to it by itself.
    let fault = survey.read(exchange, &mut Lines::open(&config.path)?).err();
    survey.settle()?;
    let mut recorded = BTreeMap::new();
    for (symbol, seen) in survey.seen {
        if !config.symbols.is_empty() && !config.symbols.contains(&symbol) {
            continue;
        }
        let settings = config.instruments.get(&symbol).copied().unwrap_or_default();
        recorded.insert(symbol, seen.add(symbol, &settings, config.paper, instruments)?);
    }
    if recorded.is_empty() {
        return Err(fault.unwrap_or(SourceError::Empty));
    }
    let wanted = config.symbols.iter().chain(config.instruments.keys());
    match wanted.into_iter().find(|symbol| !recorded.contains_key(symbol)) {
        Some(symbol) => Err(SourceError::SymbolAbsent { symbol: *symbol }),
        None => Ok(recorded),
    }
}

#[derive(Default)]
struct Survey {
    seen: BTreeMap<Symbol, Seen>,
    /// Numbers of books that did not say whose they are.
    unnamed: Option<Seen>,
}

impl Survey {
    fn read(&mut self, exchange: Exchange, lines: &mut Lines) -> Result<(), SourceError> {
        let mut messages = Vec::new();
        while lines.records() < LINES_MAX {
            let Some(line) = lines.next()? else { return Ok(()) };
            let Content::Message { text, .. } = line.content else { continue };
            messages.clear();
            exchange.read(&line, text, &mut messages)?;
            for message in &messages {
                self.note(message);
            }
        }
        // What comes later may have any number: one that is finer is an error then, never rounded.
        Ok(())
    }

    fn note(&mut self, message: &Message) {
        let symbol = match message {
            Message::Book(book) => book.symbol,
            Message::Trade(trade) => Some(trade.symbol),
            Message::Top(top) => Some(top.symbol),
        };
        let seen = match symbol {
            Some(symbol) => self.seen.entry(symbol).or_default(),
            None => self.unnamed.get_or_insert_default(),
        };
        match message {
            Message::Book(book) => {
                seen.has_book = true;
                book.bids.iter().chain(&book.asks).for_each(|level| seen.note(level));
            }
            Message::Trade(trade) => {
                seen.note(&TextLevel { price: trade.price, quantity: trade.quantity, orders: 0 });
            }
            Message::Top(top) => {
                seen.has_top = true;
                [&top.bid, &top.ask].into_iter().for_each(|level| seen.note(level));
            }
        }
    }

    /// A book without a name belongs to the only instrument there is.
    fn settle(&mut self) -> Result<(), SourceError> {
        let Some(unnamed) = self.unnamed.take() else { return Ok(()) };
        let mut all = self.seen.values_mut();
        match (all.next(), all.next()) {
            (Some(only), None) => {
                only.merge(&unnamed);
                Ok(())
            }
            _ => Err(SourceError::Mapping { name: "snapshot without a symbol".to_owned() }),
        }
    }
}

/// What was seen of one instrument.
struct Seen {
    has_book: bool,
    has_top: bool,
    tick: Step,
    lot: Step,
}

impl Default for Seen {
    fn default() -> Self {
        Self { has_book: false, has_top: false, tick: Step::WHOLE, lot: Step::WHOLE }
    }
}

impl Seen {
    fn note(&mut self, level: &TextLevel) {
        self.tick.note(level.price.value.nanos().unsigned_abs());
        self.lot.note(level.quantity.value.nanos());
    }

    fn merge(&mut self, other: &Self) {
        self.has_book |= other.has_book;
        self.tick.note(other.tick.lot().nanos());
        self.lot.note(other.lot.lot().nanos());
    }

    fn add(
        &self,
        name: Symbol,
        settings: &InstrumentConfig,
        paper: bool,
        instruments: &mut Instruments,
    ) -> Result<Recorded, SourceError> {
        let depth = match (self.has_book, self.has_top) {
            (true, _) => MarketDepth::Levels,
            (false, true) => MarketDepth::Top,
            (false, false) => MarketDepth::Trades,
        };
        let found = decimals(self.tick.tick(), self.lot.lot());
        let decimals = BookDecimals {
            price: settings.price_decimals.unwrap_or(found.price),
            quantity: settings.qty_decimals.unwrap_or(found.quantity),
        };
        let (tick, lot) = (self.tick.tick(), self.lot.lot());
        // A step that the configured decimals cannot write would be printed with more of them.
        let tick = if Scaled::shortest(tick).decimals > decimals.price { Step::WHOLE.tick() } else { tick };
        let lot = if Scaled::shortest(lot).decimals > decimals.quantity { Step::WHOLE.lot() } else { lot };
        let symbol = settings.symbol.unwrap_or(name);
        check_paper(paper, symbol, depth)?;
        let id = instruments
            .add(|id| Instrument {
                id,
                symbol,
                decimals,
                tick,
                lot,
                band: None,
                depth,
                tradable: paper,
                paper,
            })
            .ok_or(SourceError::SymbolTaken { symbol })?;
        Ok(Recorded::new(id, depth, decimals))
    }
}
