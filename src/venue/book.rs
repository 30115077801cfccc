//! The two sides of one instrument: price levels, each a queue of orders in the order of arrival.

use std::collections::BTreeMap;

use super::orders::{Links, OrderIndex, Orders};
use super::paper::Paper;
use crate::types::{Phase, Price, Side};

/// One instrument's resting orders, and the account of every quantity that ever came in.
pub(super) struct Book {
    bids: Ladder,
    asks: Ladder,
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
        Self {
            bids: Ladder::new(Side::Buy),
            asks: Ladder::new(Side::Sell),
            resting_orders: 0,
            // A tick of zero is none: the table of instruments has none.
            tick: tick.nanos().max(1),
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
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
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
        let ladder = self.ladder_mut(orders[index].side);
        let rank = ladder.rank(orders[index].price);
        let head = ladder.levels.get(&rank).map_or(OrderIndex::NONE, |queue| queue.head);
        if head == index {
            return;
        }
        ladder.unlink(index, orders);
        orders.links_mut(head).previous = index;
        *orders.links_mut(index) = Links { previous: OrderIndex::NONE, next: head };
        if let Some(queue) = ladder.levels.get_mut(&rank) {
            queue.head = index;
        }
    }

    /// Takes an order out of its queue; its price level goes with its last order.
    pub(super) fn unlink(&mut self, index: OrderIndex, orders: &mut Orders) {
        self.ladder_mut(orders[index].side).unlink(index, orders);
        self.resting_orders -= 1;
    }

    fn ladder_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

/// The orders at one price, oldest first. Never empty.
#[derive(Clone, Copy, Debug)]
struct Queue {
    head: OrderIndex,
    tail: OrderIndex,
}

/// One side of a book.
pub(super) struct Ladder {
    side: Side,
    /// By rank: a lower rank is a better price.
    levels: BTreeMap<i64, Queue>,
}

impl Ladder {
    fn new(side: Side) -> Self {
        Self { side, levels: BTreeMap::new() }
    }

    /// The best price and its oldest order, if that price is `limit` or better for the one who takes.
    pub(super) fn best_within(&self, limit: Option<Price>) -> Option<(Price, OrderIndex)> {
        let (rank, queue) = self.levels.first_key_value()?;
        let is_within = limit.is_none_or(|limit| *rank <= self.rank(limit));
        is_within.then(|| (self.price(*rank), queue.head))
    }

    /// Whether anything rests at `limit` or better.
    pub(super) fn has_within(&self, limit: Option<Price>) -> bool {
        self.best_within(limit).is_some()
    }

    /// Every order, best price first, oldest first.
    pub(super) fn iter<'a>(&'a self, orders: &'a Orders) -> impl Iterator<Item = OrderIndex> + 'a {
        self.iter_within(None, orders)
    }

    /// Every order at `limit` or better, best price first, oldest first.
    pub(super) fn iter_within<'a>(
        &'a self,
        limit: Option<Price>,
        orders: &'a Orders,
    ) -> impl Iterator<Item = OrderIndex> + 'a {
        let is_order = |index: OrderIndex| (index != OrderIndex::NONE).then_some(index);
        let worst = limit.map_or(i64::MAX, |limit| self.rank(limit));
        self.levels.range(..=worst).flat_map(move |(_, queue)| {
            std::iter::successors(Some(queue.head), move |index| is_order(orders.links(*index).next))
        })
    }

    /// Whether anything rests at this price.
    pub(super) fn has_at(&self, price: Price) -> bool {
        self.levels.contains_key(&self.rank(price))
    }

    /// Every order at this price, oldest first.
    pub(super) fn iter_at<'a>(
        &'a self,
        price: Price,
        orders: &'a Orders,
    ) -> impl Iterator<Item = OrderIndex> + 'a {
        let is_order = |index: OrderIndex| (index != OrderIndex::NONE).then_some(index);
        let queue = self.levels.get(&self.rank(price));
        std::iter::successors(queue.map(|queue| queue.head), move |index| is_order(orders.links(*index).next))
    }

    fn append(&mut self, index: OrderIndex, orders: &mut Orders) {
        let rank = self.rank(orders[index].price);
        let queue = self.levels.entry(rank).or_insert(Queue { head: index, tail: OrderIndex::NONE });
        let previous = std::mem::replace(&mut queue.tail, index);
        orders.links_mut(index).previous = previous;
        if previous != OrderIndex::NONE {
            orders.links_mut(previous).next = index;
        }
    }

    fn unlink(&mut self, index: OrderIndex, orders: &mut Orders) {
        let Links { previous, next } = orders.links(index);
        if previous != OrderIndex::NONE {
            orders.links_mut(previous).next = next;
        }
        if next != OrderIndex::NONE {
            orders.links_mut(next).previous = previous;
        }
        // Only the ends of a queue are known to its level: an order in the middle leaves without a search.
        if previous != OrderIndex::NONE && next != OrderIndex::NONE {
            return;
        }
        let rank = self.rank(orders[index].price);
        if previous == OrderIndex::NONE && next == OrderIndex::NONE {
            self.levels.remove(&rank);
        } else if let Some(queue) = self.levels.get_mut(&rank) {
            if previous == OrderIndex::NONE {
                queue.head = next;
            } else {
                queue.tail = previous;
            }
        }
    }

    /// Ascending order of ranks is best price first on either side; `!` turns the order round without overflow.
    fn rank(&self, price: Price) -> i64 {
        match self.side {
            Side::Buy => !price.nanos(),
            Side::Sell => price.nanos(),
        }
    }

    fn price(&self, rank: i64) -> Price {
        match self.side {
            Side::Buy => Price::from_nanos(!rank),
            Side::Sell => Price::from_nanos(rank),
        }
    }
}
