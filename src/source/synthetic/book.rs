//! One symbol of the synthetic market: a reference price that walks, makers who quote around it, takers who
//! trade against them.
//!
//! Makers keep 20 levels of 4 orders a side and requote one order at a time; they never cross each other,
//! so every trade is a taker's (or a client's). Takers reach at most 3 ticks deep and only into a side that is at least
//! nine tenths full, so a side never runs out of its own accord. The spread is 2 to 6 ticks when quoted afresh.

use crate::types::Side;

use super::ladder::{LEVELS, Ladder, NONE, SLOTS};
use super::random::Dice;

/// Slots of one symbol: bids first, then asks.
pub(super) const SLOTS_PER_SYMBOL: usize = 2 * SLOTS;

/// Fewest orders of a side that takers trade against.
const TAKEN_COUNT_MIN: usize = SLOTS * 9 / 10;

/// How far behind the touch a taker reaches, in ticks.
const TAKER_REACH_TICKS: i32 = 2;

/// Of the messages of a symbol, in percent: takers' orders; steps of the reference; changes of the spread.
const TAKES: u32 = 8;
const STEPS: u32 = 4;
const SPREAD_CHANGES: u32 = 2;

/// What happens next in one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A maker puts an order into a vacant slot; cancels what may still be there, unless the slot is new.
    Quote { side: Side, slot: usize, price_ticks: i32, lots: u32 },
    /// A taker trades; no price is a market order.
    Take { side: Side, price_ticks: Option<i32>, lots: u32 },
}

/// The state of one symbol.
#[derive(Clone, Debug)]
pub(super) struct Book {
    bids: Ladder,
    asks: Ladder,
    /// Where the walk began, in ticks; it stays within a tenth of it.
    anchor: i32,
    reference: i32,
    half_spread: i32,
}

impl Book {
    /// An empty book around a price from 20.00 to 500.00.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let anchor = 2_000 + i32::try_from(dice.below(48_001)).unwrap_or(0);
        Self { bids: Ladder::new(), asks: Ladder::new(), anchor, reference: anchor, half_spread: 1 }
    }

    /// The first order of a slot, before anything else happens.
    pub(super) fn open(&mut self, dice: &mut Dice, side: Side, slot: usize) -> Act {
        self.quote(dice, side, slot)
    }

    pub(super) fn next(&mut self, dice: &mut Dice) -> Act {
        if dice.happens(STEPS) {
            self.step(dice);
        }
        if dice.happens(SPREAD_CHANGES) {
            self.half_spread = [1, 1, 1, 1, 2, 2, 3][dice.place(7)];
        }
        let side = if dice.below(2) == 0 { Side::Buy } else { Side::Sell };
        if dice.happens(TAKES) && self.ladder(side.opposite()).count() >= TAKEN_COUNT_MIN {
            return self.take(dice, side);
        }
        let touch = self.touch(side);
        let ladder = self.ladder(side);
        let vacant = if dice.happens(67) { ladder.vacant() } else { None };
        let stale = if dice.happens(50) { ladder.most_stale(touch) } else { None };
        let slot = vacant.or(stale).unwrap_or(dice.place(SLOTS));
        self.quote(dice, side, slot)
    }

    fn step(&mut self, dice: &mut Dice) {
        let reach = self.anchor / 10;
        let is_up = match self.reference - self.anchor {
            above if above >= reach => false,
            below if below <= -reach => true,
            _ => dice.below(2) == 0,
        };
        self.reference += if is_up { 1 } else { -1 };
    }

    fn quote(&mut self, dice: &mut Dice, side: Side, slot: usize) -> Act {
        let level = i32::try_from(Ladder::level_of(slot)).unwrap_or(0);
        // The best bid's key is its price negated, so this is one tick behind the other side's best.
        let uncrossed = match self.ladder(side.opposite()).best() {
            NONE => i32::MIN,
            best => 1 - best,
        };
        let key = (self.touch(side) + level).max(uncrossed);
        let lots = self.lots(dice, level);
        let ladder = self.ladder_mut(side);
        ladder.remove(slot);
        ladder.place(slot, key, lots);
        Act::Quote { side, slot, price_ticks: price_of(side, key), lots }
    }

    fn take(&mut self, dice: &mut Dice, side: Side) -> Act {
        let resting = side.opposite();
        let reach = self.ladder(resting).best() + TAKER_REACH_TICKS;
        let mut lots = 1 + dice.below(25);
        if dice.happens(6) {
            lots *= 8;
        }
        let is_market = dice.happens(25);
        let limit = if is_market {
            lots = lots.min(self.ladder(resting).quantity_to(reach));
            reach
        } else {
            reach - i32::try_from(dice.below(3)).unwrap_or(0)
        };
        self.ladder_mut(resting).take(lots, limit);
        let price_ticks = (!is_market).then(|| price_of(resting, limit));
        Act::Take { side, price_ticks, lots }
    }

    /// Sizes of orders: small ones near the touch, more behind it, now and then a big one.
    fn lots(&self, dice: &mut Dice, level: i32) -> u32 {
        let lots = 1 + dice.below(10) + dice.below(1 + 2 * level.unsigned_abs());
        if dice.happens(5) { lots * 10 } else { lots }
    }

    /// The key at which a side's first level is quoted now.
    fn touch(&self, side: Side) -> i32 {
        match side {
            Side::Buy => self.half_spread - self.reference,
            Side::Sell => self.half_spread + self.reference,
        }
    }

    pub(super) fn ladder(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn ladder_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

fn price_of(side: Side, key: i32) -> i32 {
    match side {
        Side::Buy => -key,
        Side::Sell => key,
    }
}

// The lowest price quoted is that of the last level below the lowest reference (1,800 ticks).
const _: () = assert!(LEVELS < 1_000);
