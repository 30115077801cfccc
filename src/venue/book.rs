//! The book of one instrument: its two sides, and the account of what came in and went.

use super::ladder::Ladder;
use super::orders::{OrderIndex, Orders};
use super::paper::Paper;
use crate::types::{Phase, Price, Side};

/// One instrument's resting orders, and the account of every quantity that ever came in.
pub(super) struct Book {
    /// Bids, then asks.
    ladders: [Ladder; 2],
    resting_orders: u32,
    /// Nano-units between two prices at which an auction can trade.
    pub(super) tick: i64,
    pub(super) phase: Phase,
    /// Where orders are filled against a recording: what is kept of that.
    pub(super) paper: Option<Box<Paper>>,
    /// Price of the last trade; on paper, of the recording's last one as it was sealed.
    pub(super) last_price: Option<Price>,
    /// Nano-units of all orders taken in, and what replaces put on top.
    pub(super) submitted: u128,
    /// Nano-units traded, counted once for each of the two orders.
    pub(super) traded: u128,
    /// Nano-units cancelled, expired, or taken off by replaces. `submitted` is what rests plus `traded` plus `returned`.
    pub(super) returned: u128,
}

impl Book {
    /// An empty book, open, that has not seen a trade.
    pub(super) fn new(tick: Price) -> Self {
        // A tick of zero is none: the table of instruments has none.
        let tick = tick.nanos().max(1);
        Self {
            ladders: [Side::Buy, Side::Sell].map(|side| Ladder::new(side, tick)),
            resting_orders: 0,
            tick,
            phase: Phase::Open,
            paper: None,
            last_price: None,
            submitted: 0,
            traded: 0,
            returned: 0,
        }
    }

    /// The side on which buyers or sellers rest.
    pub(super) fn ladder(&self, side: Side) -> &Ladder {
        &self.ladders[place_of(side)]
    }

    /// How many orders rest on both sides.
    pub(super) fn resting_orders(&self) -> u32 {
        self.resting_orders
    }

    /// Puts an order at the end of the queue of its price.
    pub(super) fn append(&mut self, index: OrderIndex, orders: &mut Orders) {
        self.ladder_mut(orders[index].side).append(index, orders);
        self.resting_orders += 1;
    }

    /// Moves the last order of its price to the front.
    #[cfg(test)]
    pub(super) fn put_first(&mut self, index: OrderIndex, orders: &mut Orders) {
        self.ladder_mut(orders[index].side).put_first(index, orders);
    }

    /// Takes an order out of its queue; its price level goes with its last order.
    pub(super) fn unlink(&mut self, index: OrderIndex, orders: &mut Orders) {
        self.ladder_mut(orders[index].side).unlink(index, orders);
        self.resting_orders -= 1;
    }

    fn ladder_mut(&mut self, side: Side) -> &mut Ladder {
        &mut self.ladders[place_of(side)]
    }
}

/// Computed, not chosen: which side an order is on is as good as random, and a processor that guesses it guesses wrong half the time.
fn place_of(side: Side) -> usize {
    usize::from(side == Side::Sell)
}
