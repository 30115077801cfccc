//! What a client of a depth-limited or conflated book holds, and what it has to be sent after an event to hold the book's top again.

use sealfeed_wire::Level;

use super::book::{Book, Changes, rank};
use crate::types::{BookSide, Quantity, Side};

/// The best levels of a book as its stream last published them.
#[derive(Debug)]
pub(super) struct DepthView {
    /// Levels a side; `usize::MAX` for all of them.
    levels_max: usize,
    bids: Vec<Level>,
    asks: Vec<Level>,
    /// Room for the next state, kept to allocate nothing per event.
    next: Vec<Level>,
}

impl DepthView {
    /// A view of the book as it was when its last event ended.
    pub(super) fn new(levels_max: usize, book: &Book) -> Self {
        let whole = |side| book.whole_levels(side, levels_max);
        Self { levels_max, bids: whole(Side::Buy), asks: whole(Side::Sell), next: Vec::new() }
    }

    /// Published bids, best first.
    pub(super) fn bids(&self) -> &[Level] {
        &self.bids
    }

    /// Published asks, best first.
    pub(super) fn asks(&self) -> &[Level] {
        &self.asks
    }

    /// Moves to the book as it is now, and replaces `delta` by what a client must apply to follow.
    /// `changes` are all levels that the event changed.
    pub(super) fn follow(&mut self, book: &Book, changes: &Changes, delta: &mut Changes) {
        delta.clear();
        for side in [Side::Buy, Side::Sell] {
            if self.is_touched(side, changes.side(side)) {
                self.follow_side(side, book.levels(side), delta.side_mut(side));
            }
        }
    }

    /// As [`Self::follow`], to the book as it was when its last event ended, over any number of events.
    pub(super) fn follow_whole(&mut self, book: &Book, delta: &mut Changes) {
        delta.clear();
        for side in [Side::Buy, Side::Sell] {
            let levels = book.whole_levels(side, self.levels_max);
            self.follow_side(side, levels.into_iter(), delta.side_mut(side));
        }
    }

    /// Whether any change lies within the levels that the client holds, or could come to lie there.
    fn is_touched(&self, side: BookSide, changes: &[Level]) -> bool {
        let held = self.side(side);
        let Some(best) = changes.first() else { return false };
        let is_full = held.len() >= self.levels_max;
        !is_full || held.last().is_some_and(|edge| rank(side, best.price) <= rank(side, edge.price))
    }

    /// One walk along the two sorted lists.
    fn follow_side(&mut self, side: BookSide, levels: impl Iterator<Item = Level>, delta: &mut Vec<Level>) {
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        next.extend(levels.take(self.levels_max));
        let is_full = next.len() >= self.levels_max;
        let held = self.side(side);
        let mut old = held.iter().peekable();
        for new in &next {
            let new_rank = rank(side, new.price);
            while let Some(gone) = old.next_if(|level| rank(side, level.price) < new_rank) {
                delta.push(Level { quantity: Quantity::ZERO, orders: 0, ..*gone });
            }
            let same = old.next_if(|level| level.price == new.price);
            if same != Some(new) {
                delta.push(*new);
            }
        }
        // Behind the last level of a full depth, the client cuts off by itself what it still holds.
        if !is_full {
            delta.extend(old.map(|gone| Level { quantity: Quantity::ZERO, orders: 0, ..*gone }));
        }
        let held = match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        self.next = std::mem::replace(held, next);
    }

    fn side(&self, side: BookSide) -> &[Level] {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }
}
