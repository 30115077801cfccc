//! One side of a book: price levels, each a queue of orders in the order of arrival.
//!
//! An ordered map knows which prices there are. A walk down such a map makes the processor guess a way several times, and it is wrong as
//! often as not. So what happens all the time goes past the map: the best level is kept, an order knows the level that it stands at, and a
//! table remembers for prices where their level was found. The table is a memory and not an index: each price has one place in it, whoever
//! comes later takes that place, and who finds another price there walks the map. Prices chosen to meet in it cost that walk, nothing more.

use std::collections::BTreeMap;

use super::orders::{Links, OrderIndex, Orders};
use crate::types::{Price, Side};

/// Place of a level among the levels of its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelIndex(u32);

impl LevelIndex {
    /// No level.
    pub(super) const NONE: Self = Self(u32::MAX);

    fn place(self) -> usize {
        self.0 as usize
    }
}

/// The orders at one price. A level without orders is free.
#[derive(Clone, Copy, Debug)]
struct Level {
    rank: i64,
    /// The oldest order; [`OrderIndex::NONE`] where the level is free.
    head: OrderIndex,
    /// The newest one.
    tail: OrderIndex,
}

/// One side of a book.
pub(super) struct Ladder {
    side: Side,
    /// Nano-units between two prices; at least 1.
    tick: i64,
    levels: Vec<Level>,
    free: Vec<LevelIndex>,
    /// By rank: a lower rank is a better price.
    by_rank: BTreeMap<i64, LevelIndex>,
    /// The first one of `by_rank`.
    best: LevelIndex,
    /// Where the level of a price was found last, by its number of ticks. A power of two of places, at least twice as many as there were
    /// ever levels at once.
    found: Vec<LevelIndex>,
}

impl Ladder {
    pub(super) fn new(side: Side, tick: i64) -> Self {
        Self {
            side,
            tick,
            levels: Vec::new(),
            free: Vec::new(),
            by_rank: BTreeMap::new(),
            best: LevelIndex::NONE,
            found: Vec::new(),
        }
    }

    /// The best price and its oldest order, if that price is `limit` or better for the one who takes.
    pub(super) fn best_within(&self, limit: Option<Price>) -> Option<(Price, OrderIndex)> {
        let level = self.levels.get(self.best.place())?;
        let is_within = limit.is_none_or(|limit| level.rank <= self.rank(limit));
        is_within.then(|| (self.price(level.rank), level.head))
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
        let worst = limit.map_or(i64::MAX, |limit| self.rank(limit));
        self.by_rank.range(..=worst).flat_map(move |(_, level)| self.iter_level(*level, orders))
    }

    /// Whether anything rests at this price.
    pub(super) fn has_at(&self, price: Price) -> bool {
        self.by_rank.contains_key(&self.rank(price))
    }

    /// Every order at this price, oldest first.
    pub(super) fn iter_at<'a>(
        &'a self,
        price: Price,
        orders: &'a Orders,
    ) -> impl Iterator<Item = OrderIndex> + 'a {
        let level = self.by_rank.get(&self.rank(price));
        level.into_iter().flat_map(move |level| self.iter_level(*level, orders))
    }

    fn iter_level<'a>(
        &'a self,
        level: LevelIndex,
        orders: &'a Orders,
    ) -> impl Iterator<Item = OrderIndex> + 'a {
        let is_order = |index: OrderIndex| (index != OrderIndex::NONE).then_some(index);
        let head = is_order(self.levels[level.place()].head);
        std::iter::successors(head, move |index| is_order(orders.links(*index).next))
    }

    /// Puts an order at the end of the queue of its price.
    pub(super) fn append(&mut self, index: OrderIndex, orders: &mut Orders) {
        let rank = self.rank(orders[index].price);
        let at = self.level_of(rank);
        orders[index].level = at;
        let level = &mut self.levels[at.place()];
        let previous = std::mem::replace(&mut level.tail, index);
        *orders.links_mut(index) = Links { previous, next: OrderIndex::NONE };
        if previous == OrderIndex::NONE {
            level.head = index;
        } else {
            orders.links_mut(previous).next = index;
        }
    }

    /// Takes an order out of its queue; its price level goes with its last order.
    pub(super) fn unlink(&mut self, index: OrderIndex, orders: &mut Orders) {
        let Links { previous, next } = orders.links(index);
        if previous != OrderIndex::NONE {
            orders.links_mut(previous).next = next;
        }
        if next != OrderIndex::NONE {
            orders.links_mut(next).previous = previous;
        }
        // Only the ends of a queue are known to its level: an order in the middle leaves without it.
        if previous != OrderIndex::NONE && next != OrderIndex::NONE {
            return;
        }
        let at = orders[index].level;
        let level = &mut self.levels[at.place()];
        if previous == OrderIndex::NONE {
            level.head = next;
        }
        if next == OrderIndex::NONE {
            level.tail = previous;
        }
        if level.head == OrderIndex::NONE {
            self.close(at);
        }
    }

    /// Moves the last order of its price to the front.
    #[cfg(test)]
    pub(super) fn put_first(&mut self, index: OrderIndex, orders: &mut Orders) {
        let at = orders[index].level;
        let head = self.levels[at.place()].head;
        if head == index {
            return;
        }
        self.unlink(index, orders);
        orders.links_mut(head).previous = index;
        *orders.links_mut(index) = Links { previous: OrderIndex::NONE, next: head };
        self.levels[at.place()].head = index;
    }

    /// The level of a rank, made where there is none: then it has no order yet.
    fn level_of(&mut self, rank: i64) -> LevelIndex {
        let place = self.found_at(rank);
        if let Some(remembered) = self.found.get(place)
            && let Some(level) = self.levels.get(remembered.place())
            && level.rank == rank
            && level.head != OrderIndex::NONE
        {
            return *remembered;
        }
        let level = match self.by_rank.get(&rank) {
            Some(level) => *level,
            None => self.open(rank),
        };
        let place = self.found_at(rank);
        self.found[place] = level;
        level
    }

    fn open(&mut self, rank: i64) -> LevelIndex {
        let level = Level { rank, head: OrderIndex::NONE, tail: OrderIndex::NONE };
        let at = if let Some(at) = self.free.pop() {
            self.levels[at.place()] = level;
            at
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "there are no more levels than orders")]
            let at = LevelIndex(self.levels.len() as u32);
            self.levels.push(level);
            at
        };
        self.by_rank.insert(rank, at);
        if self.levels.get(self.best.place()).is_none_or(|best| rank < best.rank) {
            self.best = at;
        }
        if self.found.len() < 2 * self.levels.len() {
            // What is forgotten is found again by one walk each.
            self.found = vec![LevelIndex::NONE; (2 * self.levels.len()).next_power_of_two()];
        }
        at
    }

    fn close(&mut self, at: LevelIndex) {
        self.by_rank.remove(&self.levels[at.place()].rank);
        self.free.push(at);
        if at == self.best {
            self.best = self.by_rank.first_key_value().map_or(LevelIndex::NONE, |(_, level)| *level);
        }
    }

    /// Where a rank is remembered; nowhere before there is a level. Prices next to each other are next to each other there.
    fn found_at(&self, rank: i64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "only the lower bits are wanted")]
        let ticks = (rank / self.tick).cast_unsigned() as usize;
        ticks & self.found.len().wrapping_sub(1)
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::super::orders::Order;
    use super::*;
    use crate::types::{InstrumentId, OrderId, OwnerId, Quantity, TimeInForce};

    const TICK: i64 = 10;

    fn order(id: u64, side: Side, price: Price) -> Order {
        Order {
            id: OrderId(id),
            price,
            quantity: Quantity::from_nanos(1),
            leaves: Quantity::from_nanos(1),
            owner: OwnerId(0),
            instrument: InstrumentId(0),
            side,
            time_in_force: TimeInForce::Day,
            post_only: false,
            self_trade: None,
            level: LevelIndex::NONE,
            priority: id,
        }
    }

    proptest! {
        /// Among prices next to each other, prices that meet in the table of found levels, prices off the tick and below zero.
        #[test]
        fn a_side_agrees_with_a_map_of_queues(
            side in prop::sample::select(vec![Side::Buy, Side::Sell]),
            steps in prop::collection::vec((0_i64..6, -2_i64..3, 0_i64..2, any::<prop::sample::Index>(), 0_u8..5), 1..300),
        ) {
            let (mut ladder, mut orders) = (Ladder::new(side, TICK), Orders::default());
            let mut model: BTreeMap<i64, VecDeque<OrderIndex>> = BTreeMap::new();
            let mut resting: Vec<OrderIndex> = Vec::new();
            for (id, (ticks, far, off, pick, action)) in (1..).zip(steps) {
                if action < 3 || resting.is_empty() {
                    let price = Price::from_nanos((ticks + (far << 20)) * TICK + off);
                    let index = orders.insert(order(id, side, price));
                    ladder.append(index, &mut orders);
                    let rank = if side == Side::Buy { -price.nanos() } else { price.nanos() };
                    model.entry(rank).or_default().push_back(index);
                    resting.push(index);
                } else {
                    let index = resting.swap_remove(pick.index(resting.len()));
                    ladder.unlink(index, &mut orders);
                    orders.remove(index);
                    model.values_mut().for_each(|queue| queue.retain(|other| *other != index));
                    model.retain(|_, queue| !queue.is_empty());
                }
                let queues: Vec<OrderIndex> = model.values().flatten().copied().collect();
                prop_assert_eq!(ladder.iter(&orders).collect::<Vec<_>>(), queues);
                let best = model.values().next().map(|queue| (orders[queue[0]].price, queue[0]));
                prop_assert_eq!(ladder.best_within(None), best);
                for queue in model.values() {
                    let price = orders[queue[0]].price;
                    prop_assert!(ladder.has_at(price));
                    prop_assert_eq!(ladder.has_within(Some(price)), true);
                    prop_assert_eq!(&ladder.iter_at(price, &orders).collect::<VecDeque<_>>(), queue);
                }
            }
        }
    }

    #[test]
    fn prices_that_meet_in_the_table_of_found_levels_keep_their_own_queues() {
        let (mut ladder, mut orders) = (Ladder::new(Side::Sell, TICK), Orders::default());
        // Equal in so many lower bits that no table of this many levels tells them apart.
        let prices: Vec<Price> = (1..=64).map(|far| Price::from_nanos((far << 20) * TICK)).collect();
        for (id, price) in (1..).zip(prices.iter().chain(&prices)) {
            let index = orders.insert(order(id, Side::Sell, *price));
            ladder.append(index, &mut orders);
        }
        for (id, price) in (1..).zip(&prices) {
            let queue: Vec<u64> = ladder.iter_at(*price, &orders).map(|index| orders[index].id.0).collect();
            assert_eq!(queue, [id, id + 64]);
        }
    }
}
