//! One instrument's book, rebuilt from market events and aggregated by price.
//!
//! What changes it: `Add`, `Modify`, `Reduce` in exchanges' order-by-order feeds (MBO, L3), `Level` in those that show levels only (L2), and
//! `Clear`. One instrument has the ones or the other. Trades and fills change nothing: what they took off comes as a record of its own. A book is whole only after the last record of an event;
//! [`Book::end_event`] says which levels the event changed. Crossed and locked books are legitimate: in an auction,
//! orders rest at prices that overlap.
//!
//! The book holds as many orders or levels as its source keeps resting. Records about orders that it does not know (recordings begin in
//! mid-life) are added by `Modify` and counted and ignored by `Reduce`.
//!
//! At one price orders stand in the order in which they came there: a `Modify` that leaves side and price and adds nothing keeps its order's
//! place, any other one gives it up (as exchanges that publish `Modify` do). The place is a number, so that no record pays for a list that is
//! kept sorted; who asks for the orders in their places ([`Book::resting`]) sorts them.

mod edges;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use sealfeed_wire::Level;

use crate::types::{BookSide, Depth, MarketEventKind, OrderId, Price, Quantity, Side};
use edges::Edge;

/// An order as the source reported it last.
#[derive(Clone, Copy, Debug)]
struct Resting {
    side: BookSide,
    price: Price,
    quantity: Quantity,
    /// At the same price, lower ones stand in front.
    priority: u64,
}

/// An order that rests, to be put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestingOrder {
    /// The venue's number of it.
    pub order: OrderId,
    /// Where it rests.
    pub side: BookSide,
    /// At which price.
    pub price: Price,
    /// How much of it.
    pub quantity: Quantity,
    /// At the same price, lower ones stand in front.
    priority: u64,
}

impl RestingOrder {
    /// Sorts by it: bids before asks, the best price first, at a price by place in the queue.
    #[must_use]
    pub fn place(&self) -> (bool, i64, u64) {
        (self.side == Side::Sell, rank(self.side, self.price), self.priority)
    }
}

/// All that rests at one price. The sum cannot overflow: 2^64 orders of the largest quantity fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    quantity: u128,
    /// 0 where the source does not say.
    orders: u32,
}

/// The levels that changed, best first on both sides; quantity zero: the level is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changed bids, from high to low.
    pub bids: Vec<Level>,
    /// Changed asks, from low to high.
    pub asks: Vec<Level>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }

    /// The changes of one side.
    #[must_use]
    pub fn side(&self, side: BookSide) -> &[Level] {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    pub(super) fn side_mut(&mut self, side: BookSide) -> &mut Vec<Level> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    pub(super) fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }
}

/// One instrument's book.
#[derive(Debug)]
pub struct Book {
    orders: HashMap<OrderId, Resting>,
    bids: Ladder,
    asks: Ladder,
    /// Of the order that came to its place last.
    last_priority: u64,
    unknown_orders: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            orders: HashMap::new(),
            bids: Ladder::new(Side::Buy),
            asks: Ladder::new(Side::Sell),
            last_priority: 0,
            unknown_orders: 0,
        }
    }
}

impl Book {
    /// Applies one record. Records that do not concern the book are ignored.
    pub fn apply(&mut self, kind: &MarketEventKind) {
        match *kind {
            MarketEventKind::Add { order, side, price, quantity } => {
                self.place(order, side, price, quantity, false);
            }
            MarketEventKind::Modify { order, side, price, quantity } => {
                self.place(order, side, price, quantity, true);
            }
            MarketEventKind::Reduce { order, quantity, .. } => self.reduce(order, quantity),
            MarketEventKind::Level { side, price, quantity, orders } => {
                self.ladder_mut(side).set(price, quantity, orders);
            }
            MarketEventKind::Clear => self.clear(),
            MarketEventKind::Trade { .. }
            | MarketEventKind::Fill { .. }
            | MarketEventKind::Top { .. }
            | MarketEventKind::Status { .. }
            | MarketEventKind::Indication(_)
            | MarketEventKind::Definition(_) => {}
        }
    }

    /// Ends the event: replaces `changes` by the levels that differ from what they were when the last event ended.
    pub fn end_event(&mut self, changes: &mut Changes) {
        changes.clear();
        self.bids.end_event(&mut changes.bids);
        self.asks.end_event(&mut changes.asks);
    }

    /// Whether the event that ended last has changed any of the best levels, so many as a stream of this depth shows of each side.
    #[must_use]
    pub(super) fn has_changed(&self, depth: Depth) -> bool {
        let is_touched = |ladder: &Ladder| match depth {
            Depth::Ten => ladder.edges[0].is_touched(),
            Depth::Fifty => ladder.edges[1].is_touched(),
            Depth::Full => ladder.has_changed,
        };
        is_touched(&self.bids) || is_touched(&self.asks)
    }

    /// Records applied to price levels since the last event ended: what an open event holds in memory.
    #[must_use]
    pub fn open_records(&self) -> usize {
        self.bids.touched.len() + self.asks.touched.len()
    }

    /// The levels of one side as they are now, best first.
    pub fn levels(&self, side: BookSide) -> impl Iterator<Item = Level> + '_ {
        self.ladder(side).levels()
    }

    /// The best `levels_max` levels of one side as they were when the last event ended, best first.
    #[must_use]
    pub fn whole_levels(&self, side: BookSide, levels_max: usize) -> Vec<Level> {
        self.ladder(side).whole_levels(levels_max)
    }

    /// All that rests on one side now, price by price, the best one first, exactly, in nano-units.
    pub(super) fn totals(&self, side: BookSide) -> impl Iterator<Item = (Price, u128)> + '_ {
        let ladder = self.ladder(side);
        ladder.levels.iter().map(move |(rank, total)| (level(side, *rank, *total).price, total.quantity))
    }

    /// The best level of one side now.
    #[must_use]
    pub fn best(&self, side: BookSide) -> Option<Level> {
        self.levels(side).next()
    }

    /// Whether something rests at a level of this price now.
    #[must_use]
    pub fn has_level(&self, side: BookSide, price: Price) -> bool {
        let ladder = self.ladder(side);
        ladder.levels.contains_key(&rank(side, price))
    }

    /// All that rests at a price of one side now.
    #[must_use]
    pub fn quantity_at(&self, side: BookSide, price: Price) -> Quantity {
        let rank = rank(side, price);
        let total = self.ladder(side).levels.get(&rank).copied().unwrap_or_default();
        level(side, rank, total).quantity
    }

    /// Whether this order rests.
    #[must_use]
    pub fn has_order(&self, order: OrderId) -> bool {
        self.orders.contains_key(&order)
    }

    /// Every resting order, also in the middle of an event; in no order that means anything until it is sorted by
    /// [`RestingOrder::place`].
    pub fn resting(&self) -> impl Iterator<Item = RestingOrder> + '_ {
        self.orders.iter().map(|(order, resting)| {
            let Resting { side, price, quantity, priority } = *resting;
            RestingOrder { order: *order, side, price, quantity, priority }
        })
    }

    /// How many orders rest.
    #[must_use]
    pub fn order_count(&self) -> usize {
        self.orders.len()
    }

    /// How many `Reduce` records named an order that the book did not know, since the beginning.
    #[must_use]
    pub fn unknown_orders(&self) -> u64 {
        self.unknown_orders
    }

    /// Puts an order at a price, wherever it was before; with quantity zero it is gone. `may_keep`: at its price it keeps its place if it
    /// does not grow.
    fn place(&mut self, order: OrderId, side: BookSide, price: Price, quantity: Quantity, may_keep: bool) {
        let before = if quantity.is_zero() {
            self.orders.remove(&order)
        } else {
            self.last_priority += 1;
            let mut now = Resting { side, price, quantity, priority: self.last_priority };
            match self.orders.entry(order) {
                Entry::Occupied(mut held) => {
                    let before = *held.get();
                    if may_keep && (before.side, before.price) == (side, price) && quantity <= before.quantity
                    {
                        now.priority = before.priority;
                    }
                    held.insert(now);
                    Some(before)
                }
                Entry::Vacant(place) => {
                    place.insert(now);
                    None
                }
            }
        };
        if let Some(before) = before {
            self.ladder_mut(before.side).take(before.price, before.quantity, 1);
        }
        if !quantity.is_zero() {
            self.ladder_mut(side).put(price, quantity);
        }
    }

    /// Takes at most all of an order off.
    fn reduce(&mut self, order: OrderId, quantity: Quantity) {
        let Some(resting) = self.orders.get_mut(&order) else {
            self.unknown_orders += 1;
            return;
        };
        let taken = quantity.min(resting.quantity);
        resting.quantity = Quantity::from_nanos(resting.quantity.nanos() - taken.nanos());
        let (side, price, is_gone) = (resting.side, resting.price, resting.quantity.is_zero());
        if is_gone {
            self.orders.remove(&order);
        }
        self.ladder_mut(side).take(price, taken, u32::from(is_gone));
    }

    fn clear(&mut self) {
        self.orders.clear();
        self.bids.clear();
        self.asks.clear();
    }

    fn ladder(&self, side: BookSide) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn ladder_mut(&mut self, side: BookSide) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

/// Ascending ranks are descending quality on either side; `!` turns the order round without overflow.
pub(super) fn rank(side: BookSide, price: Price) -> i64 {
    match side {
        Side::Buy => !price.nanos(),
        Side::Sell => price.nanos(),
    }
}

/// One side of a book.
#[derive(Debug)]
struct Ladder {
    side: BookSide,
    /// By rank. No level is empty.
    levels: BTreeMap<i64, Total>,
    /// Rank and former total of every level that a record of the open event touched, in the order of touching; one level may occur often.
    touched: Vec<(i64, Total)>,
    /// How far the best ten and the best fifty levels reach.
    edges: [Edge; 2],
    /// Whether the event that ended last has changed anything.
    has_changed: bool,
}

impl Ladder {
    fn new(side: BookSide) -> Self {
        let edges = [Depth::Ten, Depth::Fifty].map(|depth| Edge::new(depth.levels_max()));
        Self { side, levels: BTreeMap::new(), touched: Vec::new(), edges, has_changed: false }
    }

    fn put(&mut self, price: Price, quantity: Quantity) {
        let rank = rank(self.side, price);
        let total = self.levels.entry(rank).or_default();
        self.touched.push((rank, *total));
        total.quantity += u128::from(quantity.nanos());
        total.orders += 1;
    }

    fn take(&mut self, price: Price, quantity: Quantity, orders: u32) {
        let rank = rank(self.side, price);
        let Some(total) = self.levels.get_mut(&rank) else { return };
        self.touched.push((rank, *total));
        total.quantity -= u128::from(quantity.nanos());
        total.orders -= orders;
        // No order of quantity zero rests, so what holds nothing holds no orders.
        if total.quantity == 0 {
            self.levels.remove(&rank);
        }
    }

    fn set(&mut self, price: Price, quantity: Quantity, orders: u32) {
        let rank = rank(self.side, price);
        let before = if quantity.is_zero() {
            self.levels.remove(&rank)
        } else {
            self.levels.insert(rank, Total { quantity: quantity.nanos().into(), orders })
        };
        self.touched.push((rank, before.unwrap_or_default()));
    }

    fn clear(&mut self) {
        self.touched.extend(std::mem::take(&mut self.levels));
    }

    fn end_event(&mut self, changes: &mut Vec<Level>) {
        // Stable, so that the first touch of a level, which saw it as it was, stays in front.
        self.touched.sort_by_key(|(rank, _)| *rank);
        self.touched.dedup_by_key(|(rank, _)| *rank);
        let Self { side, levels, touched, edges, has_changed } = self;
        edges.iter_mut().for_each(Edge::begin);
        for (rank, before) in touched.drain(..) {
            let now = levels.get(&rank).copied().unwrap_or_default();
            if now != before {
                changes.push(level(*side, rank, now));
                edges.iter_mut().for_each(|edge| edge.see(rank, before, now));
            }
        }
        edges.iter_mut().for_each(|edge| edge.end(levels));
        *has_changed = !changes.is_empty();
        // One event of a whole book's size must not hold its memory for good.
        self.touched.shrink_to(TOUCHED_KEPT);
    }

    fn levels(&self) -> impl Iterator<Item = Level> + '_ {
        self.levels.iter().map(|(rank, total)| level(self.side, *rank, *total))
    }

    fn whole_levels(&self, levels_max: usize) -> Vec<Level> {
        if self.touched.is_empty() {
            return self.levels().take(levels_max).collect();
        }
        let mut whole = self.levels.clone();
        // Backwards, so that the first touch has the last word.
        for (rank, before) in self.touched.iter().rev() {
            if before.quantity == 0 {
                whole.remove(rank);
            } else {
                whole.insert(*rank, *before);
            }
        }
        whole.into_iter().take(levels_max).map(|(rank, total)| level(self.side, rank, total)).collect()
    }
}

/// Room for touched levels that is kept from one event to the next.
const TOUCHED_KEPT: usize = 1024;

fn level(side: BookSide, rank: i64, total: Total) -> Level {
    let price = match side {
        Side::Buy => Price::from_nanos(!rank),
        Side::Sell => Price::from_nanos(rank),
    };
    // Beyond 18 billion units at one price the wire has no number; the sum itself stays exact.
    let quantity = Quantity::from_nanos(u64::try_from(total.quantity).unwrap_or(u64::MAX));
    Level { price, quantity, orders: total.orders }
}

#[cfg(test)]
mod tests;
