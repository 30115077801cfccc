//! The single price at which a crossed book trades, and trading at it.
//!
//! Of all prices on the instrument's tick between the best ask and the best bid, the one at which
//!
//! 1. the most trades,
//! 2. then, the least is left over of what buyers and sellers want at it,
//! 3. then, the last trade is nearest; without one all are alike,
//! 4. then, the lower one.
//!
//! At that price all bids at or above it trade with all asks at or below it, best price first and oldest first, each pair for as much as
//! the smaller one has. After that the book is not crossed: an ask that is left below a bid that is left would have traded at their price,
//! and more than the most.

use super::book::Book;
use super::{Venue, VenueEvent, book_of};
use crate::types::{ExecutionKind, InstrumentId, MarketEventKind, Price, Side};

/// What an auction would trade if it ended now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indicative {
    /// At which price.
    pub price: Price,
    /// How much, in nano-units.
    pub quantity: u128,
    /// How much more than that buyers (positive) or sellers (negative) want at the price, in nano-units.
    pub imbalance: i128,
}

impl Venue {
    /// What trades if the auction of this instrument ends now; `None` if nothing would, or there is no such book. Visits every
    /// order of the crossed part of the book.
    #[must_use]
    pub fn indicative(&self, instrument: InstrumentId) -> Option<Indicative> {
        let book = self.book(instrument)?;
        let demand = self.crossed(book, Side::Buy)?;
        let supply = self.crossed(book, Side::Sell)?;
        best(&demand, &supply, book.tick, book.last_price)
    }

    /// Trades a crossed book at one price.
    pub(super) fn uncross(&mut self, instrument: InstrumentId, events: &mut Vec<VenueEvent>) {
        let Some(Indicative { price, .. }) = self.indicative(instrument) else { return };
        loop {
            let Some(book) = book_of(&mut self.books, instrument) else { return };
            let next = |side| book.ladder(side).best_within(Some(price)).map(|(_, index)| index);
            let (Some(bid), Some(ask)) = (next(Side::Buy), next(Side::Sell)) else { return };
            let quantity = self.orders[bid].leaves.min(self.orders[ask].leaves);
            self.last_trade_id += 1;
            let trade_id = self.last_trade_id;
            let fill = ExecutionKind::Fill { price, quantity, trade_id };
            let reduces = [bid, ask].map(|index| self.fill(index, quantity, fill, events));
            let trade = MarketEventKind::Trade { price, quantity, aggressor: None, trade_id };
            events.push(VenueEvent::market(instrument, trade));
            events.extend(reduces.map(|reduce| VenueEvent::market(instrument, reduce)));
            self.count_trade(instrument, price, quantity);
        }
    }

    /// What rests on a side at the other side's best price or better, price by price in ascending order, in nano-units; `None` if the
    /// book is not crossed.
    fn crossed(&self, book: &Book, side: Side) -> Option<Vec<(i64, u128)>> {
        let limit = book.ladder(side.opposite()).best_within(None).map(|(price, _)| price)?;
        let mut prices: Vec<(i64, u128)> = Vec::new();
        for index in book.ladder(side).iter_within(Some(limit), &self.orders) {
            let order = &self.orders[index];
            let (price, quantity) = (order.price.nanos(), u128::from(order.leaves.nanos()));
            match prices.last_mut() {
                Some(last) if last.0 == price => last.1 += quantity,
                _ => prices.push((price, quantity)),
            }
        }
        if side == Side::Buy {
            prices.reverse();
        }
        (!prices.is_empty()).then_some(prices)
    }
}

/// The price by the rules above, for what is wanted at each price, in ascending order. Demand and supply change at these prices alone:
/// every price, and every stretch between two, is judged once.
fn best(
    demand: &[(i64, u128)],
    supply: &[(i64, u128)],
    tick: i64,
    last: Option<Price>,
) -> Option<Indicative> {
    let reference = last.map(|price| i128::from(price.nanos()));
    let mut prices: Vec<i64> = demand.iter().chain(supply).map(|(price, _)| *price).collect();
    prices.sort_unstable();
    prices.dedup();
    let mut best = Choice::default();
    let (mut bids, mut asks) = (demand.iter().peekable(), supply.iter().peekable());
    let mut bought: u128 = demand.iter().map(|(_, quantity)| quantity).sum();
    let mut sold = 0_u128;
    for (place, price) in prices.iter().enumerate() {
        sold += asks.next_if(|(ask, _)| ask == price).map_or(0, |(_, quantity)| *quantity);
        best.offer(bought, sold, *price, reference);
        bought -= bids.next_if(|(bid, _)| bid == price).map_or(0, |(_, quantity)| *quantity);
        if let Some(next) = prices.get(place + 1)
            && let Some(between) = between(*price, *next, tick, reference)
        {
            best.offer(bought, sold, between, reference);
        }
    }
    best.found.map(|(_, found)| found)
}

/// The best price so far: first what the rules compare, the smaller the better.
#[derive(Default)]
struct Choice {
    found: Option<((u128, u128, u128, i64), Indicative)>,
}

impl Choice {
    fn offer(&mut self, bought: u128, sold: u128, price: i64, reference: Option<i128>) {
        let quantity = bought.min(sold);
        if quantity == 0 {
            return;
        }
        let distance = reference.map_or(0, |reference| reference.abs_diff(i128::from(price)));
        let key = (u128::MAX - quantity, bought.abs_diff(sold), distance, price);
        if self.found.is_none_or(|(least, _)| key < least) {
            let difference = i128::try_from(bought.abs_diff(sold)).unwrap_or(i128::MAX);
            let imbalance = if bought >= sold { difference } else { -difference };
            self.found = Some((key, Indicative { price: Price::from_nanos(price), quantity, imbalance }));
        }
    }
}

/// The price on the tick strictly between two that is nearest to `reference`, the lower one of two; without a reference the lowest.
fn between(low: i64, high: i64, tick: i64, reference: Option<i128>) -> Option<i64> {
    let (low, high, tick) = (i128::from(low), i128::from(high), i128::from(tick));
    let lowest = (low.div_euclid(tick) + 1) * tick;
    let highest = (high - 1).div_euclid(tick) * tick;
    if lowest > highest {
        return None;
    }
    let reference = reference.unwrap_or(lowest).clamp(lowest, highest);
    let below = reference.div_euclid(tick) * tick;
    let is_nearer_above = 2 * (reference - below) > tick;
    i64::try_from(if is_nearer_above { below + tick } else { below }).ok()
}
