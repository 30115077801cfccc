//! The venue's own audit of its books, for tests, benches and tools.

use super::Venue;
use super::orders::OrderIndex;
use crate::types::{InstrumentId, Phase, Side};

impl Venue {
    /// Checks every book against the orders and the accounts. Visits every order.
    ///
    /// # Panics
    /// A book is crossed that may not be, a queue is broken, an order rests at the wrong place, a count is wrong, or a quantity
    /// appeared from nowhere: all of them our own mistakes.
    pub fn check_invariants(&self) {
        let mut open_orders = vec![0_u32; self.open_orders.len()];
        let mut resting = 0;
        let mut ids = Vec::with_capacity(self.resting_orders());
        for (place, book) in self.books.iter().enumerate() {
            let Some(book) = book else { continue };
            let mut of_book = 0_u32;
            let mut leaves = 0_u128;
            for side in [Side::Buy, Side::Sell] {
                let mut before: Option<OrderIndex> = None;
                for index in book.ladder(side).iter(&self.orders) {
                    let order = &self.orders[index];
                    assert!(self.orders.is_at(order.id, index), "{} rests and is gone", order.id);
                    ids.push(order.id);
                    assert_eq!(Some(order.instrument), u32::try_from(place).ok().map(InstrumentId));
                    assert_eq!(order.side, side);
                    assert!(!order.leaves.is_zero(), "{} rests with nothing left", order.id);
                    assert!(order.leaves <= order.quantity, "{} grew", order.id);
                    assert!(order.priority <= self.last_priority && order.time_in_force.may_rest());
                    if let Some(before) = before {
                        let (better, worse) = (&self.orders[before], order);
                        let (is_ordered, is_same) = match side {
                            Side::Buy => (better.price > worse.price, better.price == worse.price),
                            Side::Sell => (better.price < worse.price, better.price == worse.price),
                        };
                        assert!(is_ordered || is_same, "{} rests before a better price", better.id);
                        assert_eq!(
                            is_same,
                            self.orders.links(index).previous == before,
                            "the queue is broken at {}",
                            worse.id
                        );
                        assert!(
                            !is_same || better.priority < worse.priority,
                            "{} jumped the queue",
                            better.id
                        );
                    }
                    before = Some(index);
                    open_orders[order.owner.0 as usize] += 1;
                    of_book += 1;
                    leaves += u128::from(order.leaves.nanos());
                }
            }
            let best = |side| book.ladder(side).best_within(None).map(|(price, _)| price);
            if let (Some(bid), Some(ask)) = (best(Side::Buy), best(Side::Sell))
                && matches!(book.phase, Phase::Open | Phase::Closed)
                && book.paper.is_none()
            {
                assert!(bid < ask, "the book is crossed: {bid} bid, {ask} asked");
            }
            if let Some(paper) = &book.paper {
                paper.check(book, &self.orders);
            }
            assert_eq!(of_book, book.resting_orders());
            assert!(of_book <= self.resting_orders_max);
            assert_eq!(
                book.submitted,
                leaves + book.traded + book.returned,
                "a quantity appeared or vanished"
            );
            resting += of_book as usize;
        }
        assert_eq!(resting, self.resting_orders());
        ids.sort_unstable();
        assert!(ids.is_sorted_by(|one, other| one < other), "an identifier was given twice");
        assert_eq!(open_orders, self.open_orders);
        assert_eq!(self.sum_of_all(), self.sum, "the digest of the state is of another one");
    }
}
