//! The synthetic market: seeded makers and takers, so that there is a live feed without any file.
//!
//! It only sends orders; the embedded venue trades them, and what comes of it is market data like any other. It hears
//! nothing back, so the same seed gives the same orders whatever clients do. Integers only. The opening book
//! (160 orders a symbol) is sent at once; then `messages_per_second` holds, orders and cancels counted, with no
//! more than 20 ms of it made up for after a wait.

mod book;
mod ladder;
mod random;
#[cfg(test)]
mod tests;

use crate::config::SyntheticSourceConfig;
use crate::types::{
    Instrument, InstrumentId, Instruments, MarketDepth, OrderKind, Price, Quantity, Side, Symbol, TimeInForce,
};

use super::batch::{BATCH_COUNT_MAX, Member, OrderSlot, SourceBatch, SyntheticOrder, SyntheticTerms};
use super::error::SourceError;
use super::outlet::{Port, Stopped, Timer};
use super::step::decimals;

use book::{Act, Book, SLOTS_PER_SYMBOL};
use ladder::SLOTS;
use random::Dice;

/// Most symbols of a synthetic market.
pub const SYMBOLS_MAX: usize = 2_000;

/// Members who quote; the others trade against them.
const MAKERS: u32 = 6;
const TAKERS: u32 = 4;

/// Members of the market, makers first.
pub(super) const MEMBERS: u32 = MAKERS + TAKERS;

/// Largest tick and lot, in nano-units: every price and every sum of quantities that the market makes stays far from the ends.
const TICK_NANOS_MAX: i64 = 1_000 * 1_000_000_000;
const LOT_NANOS_MAX: u64 = 1_000_000 * 1_000_000_000;

/// All prices that its members ever quote or take at lie between these, in ticks: [`book`] walks from 1,800 to 55,000.
const REACH_TICKS: (i64, i64) = (1_700, 55_100);

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A synthetic market with its instruments registered.
#[derive(Debug)]
pub(super) struct SyntheticMarket {
    dice: Dice,
    messages_per_second: u32,
    books: Vec<(InstrumentId, Book)>,
    /// Of all its symbols, in nano-units.
    tick: i64,
    lot: u64,
    /// Slots that have had their first order, counted in the order of opening.
    opened: usize,
}

impl SyntheticMarket {
    pub(super) fn open(
        config: &SyntheticSourceConfig,
        instruments: &mut Instruments,
    ) -> Result<Self, SourceError> {
        let count = config.symbols.len();
        if !(1..=SYMBOLS_MAX).contains(&count) {
            return Err(SourceError::SymbolCount { count, max: SYMBOLS_MAX });
        }
        check(config).map_err(|what| SourceError::InstrumentInvalid { what })?;
        let mut dice = Dice::new(config.seed);
        let mut books = Vec::with_capacity(count);
        for name in &config.symbols {
            let symbol = Symbol::new(name)
                .map_err(|source| SourceError::SymbolName { symbol: name.clone(), source })?;
            let id = instruments
                .add(|id| instrument(id, symbol, config))
                .ok_or(SourceError::SymbolTaken { symbol })?;
            books.push((id, Book::new(&mut dice)));
        }
        Ok(Self {
            dice,
            messages_per_second: config.messages_per_second,
            books,
            tick: config.tick.nanos(),
            lot: config.lot.nanos(),
            opened: 0,
        })
    }

    /// Orders that can rest at once, all symbols together.
    pub(super) fn order_slots(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 2,000 symbols of 160 slots")]
        let slots = (self.books.len() * SLOTS_PER_SYMBOL) as u32;
        slots
    }

    /// Sends orders until the server stops.
    pub(super) fn run<T: Timer>(&mut self, port: &mut Port<T>) -> Stopped {
        match self.trade(port) {
            Ok(never) => match never {},
            Err(stopped) => stopped,
        }
    }

    fn trade<T: Timer>(&mut self, port: &mut Port<T>) -> Result<std::convert::Infallible, Stopped> {
        while self.is_opening() {
            port.send(SourceBatch::Orders(self.opening(BATCH_COUNT_MAX)))?;
        }
        let mut pace = Pace::new(self.messages_per_second, port.now_ns());
        loop {
            let due = match pace.due(port.now_ns()) {
                Due::Now(count) => count,
                Due::At(moment_ns) => {
                    port.wait_until(moment_ns)?;
                    continue;
                }
            };
            let orders = self.acts(due.min(BATCH_COUNT_MAX));
            pace.sent(orders.len());
            port.send(SourceBatch::Orders(orders))?;
        }
    }

    fn is_opening(&self) -> bool {
        self.opened < self.books.len() * SLOTS_PER_SYMBOL
    }

    /// The next orders of the opening book, at most `count`.
    fn opening(&mut self, count: usize) -> Vec<SyntheticOrder> {
        let mut orders = Vec::with_capacity(count);
        while orders.len() < count && self.is_opening() {
            self.open_next(&mut orders);
        }
        orders
    }

    /// The next messages behind the opening book: at most `count`, but at least one act (of one or two).
    fn acts(&mut self, count: usize) -> Vec<SyntheticOrder> {
        let mut orders = Vec::with_capacity(count.max(2));
        while orders.is_empty() || orders.len() + 2 <= count {
            self.act(&mut orders);
        }
        orders
    }

    fn open_next(&mut self, orders: &mut Vec<SyntheticOrder>) {
        let (index, place) = (self.opened / SLOTS_PER_SYMBOL, self.opened % SLOTS_PER_SYMBOL);
        self.opened += 1;
        // Level by level on both sides, so that the book is two-sided from its second order on.
        let side = if place % 2 == 0 { Side::Buy } else { Side::Sell };
        let act = self.books[index].1.open(&mut self.dice, side, place / 2);
        self.express(index, act, orders);
    }

    fn act(&mut self, orders: &mut Vec<SyntheticOrder>) {
        let count = self.books.len();
        // The smaller of two throws: the first symbols are the busiest, as in real markets some are.
        let index = self.dice.place(count).min(self.dice.place(count));
        let act = self.books[index].1.next(&mut self.dice);
        if let Act::Quote { side, slot, .. } = act {
            orders.push(SyntheticOrder::Cancel { member: maker(slot), slot: order_slot(index, side, slot) });
        }
        self.express(index, act, orders);
    }

    /// The order that an act is.
    fn express(&mut self, index: usize, act: Act, orders: &mut Vec<SyntheticOrder>) {
        let instrument = self.books[index].0;
        let price = |ticks: i32| Price::from_nanos(i64::from(ticks) * self.tick);
        let quantity = |lots: u32| Quantity::from_nanos(u64::from(lots) * self.lot);
        orders.push(match act {
            Act::Quote { side, slot, price_ticks, lots } => SyntheticOrder::Rest {
                member: maker(slot),
                slot: order_slot(index, side, slot),
                order: SyntheticTerms {
                    instrument,
                    side,
                    quantity: quantity(lots),
                    kind: OrderKind::Limit(price(price_ticks)),
                    time_in_force: TimeInForce::GoodTillCancel,
                },
            },
            Act::Take { side, price_ticks, lots } => SyntheticOrder::Take {
                member: Member(MAKERS + self.dice.below(TAKERS)),
                order: SyntheticTerms {
                    instrument,
                    side,
                    quantity: quantity(lots),
                    kind: price_ticks.map_or(OrderKind::Market, |ticks| OrderKind::Limit(price(ticks))),
                    time_in_force: TimeInForce::ImmediateOrCancel,
                },
            },
        });
    }
}

fn instrument(id: InstrumentId, symbol: Symbol, config: &SyntheticSourceConfig) -> Instrument {
    let SyntheticSourceConfig { tick, lot, band, .. } = *config;
    let decimals = decimals(tick, lot);
    Instrument {
        id,
        symbol,
        decimals,
        tick,
        lot,
        band,
        depth: MarketDepth::Orders,
        tradable: true,
        paper: false,
    }
}

/// What is wrong with tick, lot or band, if anything.
fn check(config: &SyntheticSourceConfig) -> Result<(), &'static str> {
    let (tick, lot) = (config.tick.nanos(), config.lot.nanos());
    if !(1..=TICK_NANOS_MAX).contains(&tick) {
        return Err("tick (above zero, at most 1000)");
    }
    if !(1..=LOT_NANOS_MAX).contains(&lot) {
        return Err("lot (above zero, at most 1000000)");
    }
    let Some((lowest, highest)) = config.band else { return Ok(()) };
    if lowest.nanos() % tick != 0 || highest.nanos() % tick != 0 {
        return Err("band (both ends multiples of the tick)");
    }
    if lowest.nanos() > REACH_TICKS.0 * tick || highest.nanos() < REACH_TICKS.1 * tick {
        return Err("band (its members trade from 1,700 to 55,100 ticks)");
    }
    Ok(())
}

/// A slot has one maker for good, so that whoever cancels an order is its owner.
fn maker(slot: usize) -> Member {
    #[expect(clippy::cast_possible_truncation, reason = "a side has 80 slots")]
    let slot = slot as u32;
    Member(slot % MAKERS)
}

fn order_slot(index: usize, side: Side, slot: usize) -> OrderSlot {
    let first = index * SLOTS_PER_SYMBOL + if side == Side::Buy { 0 } else { SLOTS };
    #[expect(clippy::cast_possible_truncation, reason = "at most 2,000 symbols of 160 slots")]
    let slot = (first + slot) as u32;
    OrderSlot(slot)
}

/// How many messages are due.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now(usize),
    /// None before this moment of the timer.
    At(u64),
}

/// Messages a second, on the timer.
#[derive(Debug)]
struct Pace {
    /// 0: as many as are taken.
    messages_per_second: u64,
    /// Most messages that are made up for after a wait: 20 ms of them, and at least one.
    arrears_max: u64,
    /// The moment from which `sent` counts.
    start_ns: u64,
    sent: u64,
}

impl Pace {
    fn new(messages_per_second: u32, now_ns: u64) -> Self {
        let messages_per_second = u64::from(messages_per_second);
        let arrears_max = (messages_per_second / 50).max(1);
        Self { messages_per_second, arrears_max, start_ns: now_ns, sent: 0 }
    }

    fn due(&mut self, now_ns: u64) -> Due {
        if self.messages_per_second == 0 {
            return Due::Now(BATCH_COUNT_MAX);
        }
        let elapsed = u128::from(now_ns.saturating_sub(self.start_ns));
        let owed = elapsed * u128::from(self.messages_per_second) / u128::from(NANOS_PER_SECOND);
        let due = u64::try_from(owed).unwrap_or(u64::MAX).saturating_sub(self.sent);
        if due > self.arrears_max {
            // Counting starts anew, so that a pause is not followed by a flood.
            self.start_ns =
                now_ns.saturating_sub(self.arrears_max * NANOS_PER_SECOND / self.messages_per_second);
            self.sent = 0;
            return Due::Now(usize::try_from(self.arrears_max).unwrap_or(usize::MAX));
        }
        if due == 0 {
            let next = u128::from(self.sent + 1) * u128::from(NANOS_PER_SECOND);
            let after = next.div_ceil(u128::from(self.messages_per_second));
            return Due::At(self.start_ns.saturating_add(u64::try_from(after).unwrap_or(u64::MAX)));
        }
        Due::Now(usize::try_from(due).unwrap_or(usize::MAX))
    }

    fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
