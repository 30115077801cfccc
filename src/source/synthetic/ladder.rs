//! One side of one synthetic book as its makers believe it to be: which orders rest, at which prices.
//!
//! The belief is exact as long as no client trades. It is a belief: nothing here hears of fills. Where it is wrong,
//! an order is cancelled that is gone already, and the slot is filled anew.
//!
//! Prices are kept as *keys*: ticks, negated for bids, so that on both sides a lower key is a better price.

/// Price levels at which a side is quoted, from the touch.
pub(super) const LEVELS: usize = 20;

/// Orders quoted at each level.
const ORDERS_PER_LEVEL: usize = 4;

/// Orders of a side.
pub(super) const SLOTS: usize = LEVELS * ORDERS_PER_LEVEL;

/// The key of a slot without an order: worse than every price.
pub(super) const NONE: i32 = i32::MAX;

/// One side's orders, by slot.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    keys: [i32; SLOTS],
    /// In lots.
    quantities: [u32; SLOTS],
    /// Time priority among orders of one price.
    placed: [u64; SLOTS],
    placements: u64,
    count: usize,
}

impl Ladder {
    pub(super) const fn new() -> Self {
        Self { keys: [NONE; SLOTS], quantities: [0; SLOTS], placed: [0; SLOTS], placements: 0, count: 0 }
    }

    /// Orders that rest.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The best key, [`NONE`] if the side is empty.
    pub(super) fn best(&self) -> i32 {
        self.keys.iter().copied().min().unwrap_or(NONE)
    }

    /// Which level from the touch the slot is for.
    pub(super) const fn level_of(slot: usize) -> usize {
        slot / ORDERS_PER_LEVEL
    }

    /// Some slot without an order.
    pub(super) fn vacant(&self) -> Option<usize> {
        self.keys.iter().position(|key| *key == NONE)
    }

    /// The slot whose order is farthest from where it would be quoted now, `touch` being the key of the first level.
    pub(super) fn most_stale(&self, touch: i32) -> Option<usize> {
        (0..SLOTS).filter(|slot| self.keys[*slot] != NONE).max_by_key(|slot| {
            let quoted = touch.saturating_add_unsigned(u32::try_from(Self::level_of(*slot)).unwrap_or(0));
            self.keys[*slot].abs_diff(quoted)
        })
    }

    pub(super) fn place(&mut self, slot: usize, key: i32, quantity: u32) {
        debug_assert!(self.keys[slot] == NONE && key != NONE && quantity > 0);
        self.placements += 1;
        self.keys[slot] = key;
        self.quantities[slot] = quantity;
        self.placed[slot] = self.placements;
        self.count += 1;
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if self.keys[slot] != NONE {
            self.keys[slot] = NONE;
            self.quantities[slot] = 0;
            self.count -= 1;
        }
    }

    /// All that rests at `limit` or better.
    pub(super) fn quantity_to(&self, limit: i32) -> u32 {
        (0..SLOTS).filter(|slot| self.keys[*slot] <= limit).map(|slot| self.quantities[slot]).sum()
    }

    /// Trades `quantity` against orders at `limit` or better, in price-time priority, as the venue will.
    pub(super) fn take(&mut self, mut quantity: u32, limit: i32) {
        debug_assert!(limit != NONE);
        while quantity > 0 {
            let next = (0..SLOTS)
                .filter(|slot| self.keys[*slot] <= limit)
                .min_by_key(|slot| (self.keys[*slot], self.placed[*slot]));
            let Some(slot) = next else { return };
            let traded = quantity.min(self.quantities[slot]);
            quantity -= traded;
            self.quantities[slot] -= traded;
            if self.quantities[slot] == 0 {
                self.remove(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_take_the_best_price_first_and_the_oldest_order_within_it() {
        let mut ladder = Ladder::new();
        ladder.place(5, 11, 4);
        ladder.place(1, 10, 4);
        ladder.place(0, 10, 4);
        ladder.take(6, 11);
        assert_eq!((ladder.keys[1], ladder.quantities[0], ladder.quantities[5]), (NONE, 2, 4));
        ladder.take(100, 10);
        assert_eq!((ladder.best(), ladder.count()), (11, 1));
        ladder.take(100, 11);
        assert_eq!((ladder.best(), ladder.count(), ladder.quantity_to(11)), (NONE, 0, 0));
    }

    #[test]
    fn the_stalest_order_is_the_one_farthest_from_its_level() {
        let mut ladder = Ladder::new();
        ladder.place(0, 100, 1);
        ladder.place(ORDERS_PER_LEVEL, 101, 1);
        ladder.place(2 * ORDERS_PER_LEVEL, 95, 1);
        assert_eq!(ladder.most_stale(100), Some(2 * ORDERS_PER_LEVEL));
        assert_eq!(ladder.vacant(), Some(1));
    }
}
