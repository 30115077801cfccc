//! The resting orders of all books: a slab whose places are reused, and the index from identifier to place.
//!
//! Orders of one price form a queue by links inside the slab, so that adding, taking and cancelling allocate nothing
//! once the slab has grown to its largest size.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Index, IndexMut};

use crate::types::{
    Execution, ExecutionKind, InstrumentId, NewOrder, OrderId, OwnerId, Price, Quantity, Side, TimeInForce,
};

/// Place of an order in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderIndex(u32);

impl OrderIndex {
    /// No order: the end of a queue.
    pub(super) const NONE: Self = Self(u32::MAX);

    fn place(self) -> usize {
        self.0 as usize
    }
}

/// An order that rests. It fills one cache line and never straddles two.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Order {
    pub(super) id: OrderId,
    pub(super) price: Price,
    /// As it was submitted.
    pub(super) quantity: Quantity,
    /// Still open; never zero between operations.
    pub(super) leaves: Quantity,
    pub(super) owner: OwnerId,
    pub(super) instrument: InstrumentId,
    /// The order in front of it in the queue of its price.
    pub(super) previous: OrderIndex,
    /// The order behind it.
    pub(super) next: OrderIndex,
    pub(super) side: Side,
    pub(super) time_in_force: TimeInForce,
}

const _: () = assert!(size_of::<Order>() == 64);

impl Order {
    /// What is left of `order`, resting at `price`, not in a queue yet.
    pub(super) fn resting(order: &NewOrder, price: Price, leaves: Quantity) -> Self {
        Self {
            id: order.id,
            price,
            quantity: order.quantity,
            leaves,
            owner: order.owner,
            instrument: order.instrument,
            previous: OrderIndex::NONE,
            next: OrderIndex::NONE,
            side: order.side,
            time_in_force: order.time_in_force,
        }
    }

    /// A report to its owner about its present state.
    pub(super) fn execution(&self, kind: ExecutionKind) -> Execution {
        Execution {
            order: self.id,
            owner: self.owner,
            instrument: self.instrument,
            side: self.side,
            kind,
            leaves: self.leaves,
            cumulative: Quantity::from_nanos(self.quantity.nanos() - self.leaves.nanos()),
        }
    }
}

/// Spreads order identifiers, which the pipeline counts up, over the index.
///
/// Nobody outside chooses an identifier, so it need not withstand chosen keys; being fixed, it keeps runs alike.
#[derive(Default)]
struct OrderIdHasher(u64);

impl Hasher for OrderIdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The odd constant next to 2^64 divided by the golden ratio (Knuth): neighbours land far apart.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All resting orders. The index is looked up and never iterated.
#[derive(Default)]
pub(super) struct Orders {
    slab: Vec<Order>,
    free: Vec<OrderIndex>,
    by_id: HashMap<OrderId, OrderIndex, BuildHasherDefault<OrderIdHasher>>,
}

impl Orders {
    /// Stores an order and says where.
    pub(super) fn insert(&mut self, order: Order) -> OrderIndex {
        let index = match self.free.pop() {
            Some(index) => {
                self.slab[index.place()] = order;
                index
            }
            None => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "4 G orders of 64 bytes do not fit in memory"
                )]
                let index = OrderIndex(self.slab.len() as u32);
                self.slab.push(order);
                index
            }
        };
        let replaced = self.by_id.insert(order.id, index);
        debug_assert!(replaced.is_none(), "an order identifier was given twice");
        index
    }

    /// Forgets an order that is in no queue any more.
    pub(super) fn remove(&mut self, index: OrderIndex) {
        self.by_id.remove(&self.slab[index.place()].id);
        self.free.push(index);
    }

    /// Where this order is, if it rests.
    pub(super) fn find(&self, id: OrderId) -> Option<OrderIndex> {
        self.by_id.get(&id).copied()
    }

    /// How many rest.
    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }
}

impl Index<OrderIndex> for Orders {
    type Output = Order;

    fn index(&self, index: OrderIndex) -> &Order {
        &self.slab[index.place()]
    }
}

impl IndexMut<OrderIndex> for Orders {
    fn index_mut(&mut self, index: OrderIndex) -> &mut Order {
        &mut self.slab[index.place()]
    }
}
