//! The books of a recording of messages, each held to its exchange's rules before anything of an update is handed on.
//!
//! | state | a snapshot | an update |
//! |---|---|---|
//! | waiting: no snapshot yet | makes it whole | numbered from a snapshot on (Binance): held for it; else a fault |
//! | whole | replaces the book | applied, checked, handed on; at a fault the book is broken |
//! | broken | makes it whole, which is told | left out, or held for the next snapshot |
//!
//! Updates are held within bounds; of too many the oldest go, so that a snapshot older than the rest is a gap. Trades are handed on in any state.

use std::collections::{BTreeMap, VecDeque};

use crate::types::{
    BookDecimals, InstrumentId, MarketDepth, MarketEvent, MarketEventKind, Side, Symbol, TopLevel, UnixNanos,
};

use super::super::batch::RecordCounts;
use super::super::error::SourceError;
use super::super::fault::SourceFault;
use super::super::replay::Notice;
use super::ladder::{LEVELS_MAX, TextBook};
use super::message::{BookMessage, Message, Position, TextLevel, TopMessage, TradeMessage};

/// Most updates held for a snapshot, of one instrument.
const HELD_MAX: usize = 4_096;

/// Most levels in these.
const HELD_LEVELS_MAX: usize = 1_000_000;

/// Most best prices remembered until the book comes to their update.
const TOPS_MAX: usize = 1_024;

/// Where a book stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Whole,
    Broken,
}

/// An instrument of the recording.
#[derive(Debug)]
pub(super) struct Recorded {
    id: InstrumentId,
    depth: MarketDepth,
    decimals: BookDecimals,
    state: State,
    book: TextBook,
    /// Last update in the book, and whether that is the snapshot's.
    last: u64,
    is_fresh: bool,
    held: VecDeque<BookMessage>,
    held_levels: usize,
    tops: VecDeque<TopMessage>,
}

impl Recorded {
    pub(super) fn new(id: InstrumentId, depth: MarketDepth, decimals: BookDecimals) -> Self {
        Self {
            id,
            depth,
            decimals,
            state: State::Waiting,
            book: TextBook::default(),
            last: 0,
            is_fresh: false,
            held: VecDeque::new(),
            held_levels: 0,
            tops: VecDeque::new(),
        }
    }

    fn restart(&mut self) {
        *self = Self::new(self.id, self.depth, self.decimals);
    }

    /// Numbers that the instrument's decimals cannot write would be rounded on the wire.
    fn check(&self, record: u64, level: &TextLevel) -> Result<(), SourceError> {
        let unit = |decimals: u8| 10_u64.pow(u32::from(9 - decimals.min(9)));
        let BookDecimals { price, quantity } = self.decimals;
        if !level.price.value.nanos().unsigned_abs().is_multiple_of(unit(price.get())) {
            return Err(SourceError::TooFine { record, field: "price", decimals: price.get() });
        }
        if !level.quantity.value.nanos().is_multiple_of(unit(quantity.get())) {
            return Err(SourceError::TooFine { record, field: "quantity", decimals: quantity.get() });
        }
        Ok(())
    }

    /// Holds an update for the next snapshot.
    fn hold(&mut self, message: BookMessage) {
        self.held_levels += levels_of(&message);
        self.held.push_back(message);
        while self.held.len() > HELD_MAX || self.held_levels > HELD_LEVELS_MAX {
            let Some(oldest) = self.held.pop_front() else { return };
            self.held_levels -= levels_of(&oldest);
        }
    }

    /// Whether an update is the next one; `Ok(false)`: the snapshot contains it already.
    fn follow(&mut self, record: u64, position: Position) -> Result<bool, SourceFault> {
        let expected = self.last;
        let (previous, last, joins) = match position {
            Position::Unnumbered | Position::Upto(_) => return Ok(true),
            Position::Range { first, last } => {
                (first.saturating_sub(1), last, first <= expected.saturating_add(1) && last > expected)
            }
            Position::Linked { first, last, previous } => {
                (previous, last, first <= expected && last >= expected)
            }
            Position::Follows { sequence, previous } => (previous, sequence, previous == expected),
        };
        let is_link = matches!(position, Position::Follows { .. });
        let is_old = match position {
            Position::Range { .. } => last <= expected,
            _ => last < expected,
        };
        if self.is_fresh && !is_link {
            if is_old {
                return Ok(false);
            }
            if !joins {
                return Err(SourceFault::Gap { record, expected, found: previous });
            }
        } else if previous != expected {
            return Err(match last {
                _ if last == expected => SourceFault::Repeated { record, sequence: last },
                _ if last < expected => SourceFault::Backwards { record, found: last, last: expected },
                _ => SourceFault::Gap { record, expected, found: previous },
            });
        }
        (self.last, self.is_fresh) = (last, false);
        Ok(true)
    }

    /// Applies a message to the book, and appends what it changes. A fault leaves the book as it may be: it is broken then.
    fn apply(
        &mut self,
        record: u64,
        message: &BookMessage,
        kinds: &mut Vec<MarketEventKind>,
    ) -> Result<Checked, SourceFault> {
        if message.is_snapshot {
            self.book.clear();
            kinds.push(MarketEventKind::Clear);
        }
        for (side, levels) in [(Side::Buy, &message.bids), (Side::Sell, &message.asks)] {
            for level in levels {
                if self.book.set(side, *level) {
                    kinds.push(kind(side, level, level.quantity.value));
                }
            }
            while let Some(cut) = message.levels_max.and_then(|levels_max| self.book.cut(side, levels_max)) {
                kinds.push(kind(side, &cut, crate::types::Quantity::ZERO));
            }
        }
        if self.book.is_full() {
            return Err(SourceFault::BookFull { record, max: LEVELS_MAX });
        }
        let Some(checksum) = message.checksum else { return Ok(Checked::No) };
        match self.book.compare(checksum) {
            (computed, expected) if computed != expected => {
                Err(SourceFault::Checksum { record, expected, computed })
            }
            _ => Ok(Checked::Yes),
        }
    }

    /// Whether the exchange's best prices as of this update are the book's; `None` if it sent none.
    fn compare_top(&mut self, update: u64) -> Option<bool> {
        while self.tops.get(1).is_some_and(|next| next.update <= update) {
            self.tops.pop_front();
        }
        let top = self.tops.front().filter(|top| top.update <= update)?;
        let same = |held: Option<&TextLevel>, said: &TextLevel| {
            held.is_some_and(|held| (held.price, held.quantity) == (said.price, said.quantity))
        };
        Some(same(self.book.bids.levels().next(), &top.bid) && same(self.book.asks.levels().next(), &top.ask))
    }
}

/// Whether a checksum was there to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    Yes,
    No,
}

fn levels_of(message: &BookMessage) -> usize {
    message.bids.len() + message.asks.len()
}

fn kind(side: Side, level: &TextLevel, quantity: crate::types::Quantity) -> MarketEventKind {
    let orders = if quantity.is_zero() { 0 } else { level.orders };
    MarketEventKind::Level { side, price: level.price.value, quantity, orders }
}

/// All instruments of a recording that are published.
#[derive(Debug)]
pub(super) struct Books {
    instruments: BTreeMap<Symbol, Recorded>,
    counts: RecordCounts,
    /// Room for what one update changes.
    kinds: Vec<MarketEventKind>,
}

impl Books {
    pub(super) fn new(instruments: BTreeMap<Symbol, Recorded>) -> Self {
        Self { instruments, counts: RecordCounts::default(), kinds: Vec::new() }
    }

    pub(super) fn counts(&self) -> RecordCounts {
        self.counts
    }

    /// A line that says nothing about a market.
    pub(super) fn count_other(&mut self) {
        self.counts.others += 1;
    }

    pub(super) fn with_books(&self) -> Vec<InstrumentId> {
        let with_book = self.instruments.values().filter(|one| one.depth != MarketDepth::Trades);
        with_book.map(|one| one.id).collect()
    }

    pub(super) fn restart(&mut self) {
        self.counts = RecordCounts::default();
        self.instruments.values_mut().for_each(Recorded::restart);
    }

    /// The recorder connected again: nobody knows what was missed.
    pub(super) fn reconnected(&mut self, record: u64, notices: &mut Vec<Notice>) {
        for one in self.instruments.values_mut() {
            if one.state == State::Whole {
                break_book(one, SourceFault::Reconnected { record }, &mut self.counts, notices);
            }
            (one.held_levels, one.held) = (0, VecDeque::new());
        }
    }

    /// Takes one message, and appends what it says to `events`.
    pub(super) fn take(
        &mut self,
        record: u64,
        received: UnixNanos,
        message: Message,
        events: &mut Vec<MarketEvent>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), SourceError> {
        match message {
            Message::Book(message) => self.take_book(record, received, message, events, notices),
            Message::Trade(trade) => self.take_trade(record, received, &trade, events),
            Message::Top(top) => self.take_top(record, received, top, events),
        }
    }

    fn take_book(
        &mut self,
        record: u64,
        received: UnixNanos,
        message: BookMessage,
        events: &mut Vec<MarketEvent>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), SourceError> {
        let Self { instruments, counts, kinds } = self;
        counts.levels += 1;
        let Some(one) = (match message.symbol {
            Some(symbol) => instruments.get_mut(&symbol),
            // The survey saw to it that there is only one in the file.
            None => instruments.values_mut().next(),
        }) else {
            return Ok(());
        };
        for level in message.bids.iter().chain(&message.asks) {
            one.check(record, level)?;
        }
        counts.beyond += message.beyond;
        let mut step = |one: &mut Recorded, message: &BookMessage, notices: &mut Vec<Notice>| {
            step(one, record, received, message, events, (&mut *kinds, &mut *counts), notices);
        };
        if message.is_snapshot {
            let Position::Upto(last) = message.position else {
                step(one, &message, notices);
                return Ok(());
            };
            (one.last, one.is_fresh) = (last, true);
            step(one, &message, notices);
            let mut held = std::mem::take(&mut one.held);
            one.held_levels = 0;
            while let Some(update) = held.pop_front() {
                if one.state == State::Whole {
                    step(one, &update, notices);
                } else {
                    one.hold(update);
                }
            }
            return Ok(());
        }
        if one.state == State::Whole {
            step(one, &message, notices);
        } else if !matches!(message.position, Position::Unnumbered | Position::Follows { .. }) {
            self.counts.left_out += 1;
            one.hold(message);
        } else {
            if one.state == State::Waiting {
                break_book(one, SourceFault::NoSnapshot { record }, counts, notices);
            }
            self.counts.left_out += 1;
        }
        Ok(())
    }

    fn take_trade(
        &mut self,
        record: u64,
        received: UnixNanos,
        trade: &TradeMessage,
        events: &mut Vec<MarketEvent>,
    ) -> Result<(), SourceError> {
        self.counts.trades += 1;
        let Some(one) = self.instruments.get(&trade.symbol) else { return Ok(()) };
        let (price, quantity) = (trade.price, trade.quantity);
        one.check(record, &TextLevel { price, quantity, orders: 0 })?;
        if quantity.value.is_zero() {
            return Err(SourceError::Unusable { record, field: "quantity" });
        }
        events.push(MarketEvent {
            instrument: one.id,
            ts_event: trade.time,
            ts_recv: received,
            last: true,
            kind: MarketEventKind::Trade {
                price: price.value,
                quantity: quantity.value,
                aggressor: trade.aggressor,
                trade_id: trade.trade_id,
            },
        });
        Ok(())
    }

    /// Best prices are compared with the book where there is one, and published where there is none.
    fn take_top(
        &mut self,
        record: u64,
        received: UnixNanos,
        top: TopMessage,
        events: &mut Vec<MarketEvent>,
    ) -> Result<(), SourceError> {
        let Some(one) = self.instruments.get_mut(&top.symbol) else { return Ok(()) };
        one.check(record, &top.bid)?;
        one.check(record, &top.ask)?;
        self.counts.states += 1;
        if one.depth == MarketDepth::Levels {
            if one.tops.len() == TOPS_MAX {
                one.tops.pop_front();
            }
            one.tops.push_back(top);
            return Ok(());
        }
        let level = |level: &TextLevel| {
            let (price, quantity) = (level.price.value, level.quantity.value);
            (!quantity.is_zero()).then_some(TopLevel { price, quantity, orders: level.orders })
        };
        events.push(MarketEvent {
            instrument: one.id,
            ts_event: top.time.unwrap_or(received),
            ts_recv: received,
            last: true,
            kind: MarketEventKind::Top { bid: level(&top.bid), ask: level(&top.ask) },
        });
        Ok(())
    }
}

/// Checks and applies one message to a book that is whole or becomes so; nothing of it is handed on before it is found right.
fn step(
    one: &mut Recorded,
    record: u64,
    received: UnixNanos,
    message: &BookMessage,
    events: &mut Vec<MarketEvent>,
    (kinds, counts): (&mut Vec<MarketEventKind>, &mut RecordCounts),
    notices: &mut Vec<Notice>,
) {
    kinds.clear();
    if !message.is_snapshot {
        match one.follow(record, message.position) {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => {
                break_book(one, fault, counts, notices);
                if !matches!(message.position, Position::Follows { .. }) {
                    one.hold(message.clone());
                }
                return;
            }
        }
    }
    match one.apply(record, message, kinds) {
        Ok(Checked::Yes) => counts.checksums += 1,
        Ok(Checked::No) => {}
        Err(fault) => return break_book(one, fault, counts, notices),
    }
    if message.is_snapshot && std::mem::replace(&mut one.state, State::Whole) == State::Broken {
        notices.push(Notice::Whole(one.id));
    }
    match (message.is_snapshot, one.compare_top(one.last)) {
        (false, Some(true)) => counts.tops_equal += 1,
        (false, Some(false)) => counts.tops_differing += 1,
        _ => {}
    }
    let ts_event = message.time.unwrap_or(received);
    let count = kinds.len();
    events.extend(kinds.iter().enumerate().map(|(index, kind)| MarketEvent {
        instrument: one.id,
        ts_event,
        ts_recv: received,
        last: index + 1 == count,
        kind: *kind,
    }));
}

fn break_book(one: &mut Recorded, fault: SourceFault, counts: &mut RecordCounts, notices: &mut Vec<Notice>) {
    one.state = State::Broken;
    one.book.clear();
    counts.faults += 1;
    notices.push(Notice::Stale(one.id, fault));
}
