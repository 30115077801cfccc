//! The resting orders of all books: a slab whose places are reused.
//!
//! Orders of one price form a queue by links inside the slab, so that adding, taking and cancelling allocate nothing
//! once the slab has grown to its largest size.
//!
//! There is no index from identifier to place. Whoever gives an order in is told its place and keeps it beside what else it keeps of the
//! order; the order at that place says whether it is the one that is meant. Where it is not, all places are looked through
//! (`docs/adr/0051-orders-by-place.md`).

use std::ops::{Index, IndexMut};

use super::ladder::LevelIndex;
use crate::types::{
    Execution, ExecutionKind, InstrumentId, OrderId, OwnerId, Price, Quantity, SelfTrade, Side, TimeInForce,
};

/// Where an order rests among all that rest. It stays the same as long as the order is not replaced, and is another order's once it is
/// gone: a hint where to look, of which nothing but speed depends, and so no part of any state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderIndex(u32);

impl OrderIndex {
    /// Nowhere: of an order that does not rest, or of which it is not known. Inside the venue, the end of a queue.
    pub const NONE: Self = Self(u32::MAX);

    pub(super) fn from_place(place: usize) -> Self {
        debug_assert!(place < u32::MAX as usize);
        #[expect(clippy::cast_possible_truncation, reason = "4 G orders of 64 bytes do not fit in memory")]
        Self(place as u32)
    }

    pub(super) fn place(self) -> usize {
        self.0 as usize
    }
}

/// Neighbours of an order in the queue of its price; [`OrderIndex::NONE`] at the ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    /// The order in front of it.
    pub(super) previous: OrderIndex,
    /// The order behind it.
    pub(super) next: OrderIndex,
}

impl Default for Links {
    fn default() -> Self {
        Self { previous: OrderIndex::NONE, next: OrderIndex::NONE }
    }
}

/// An order that rests. It fills one cache line and never straddles two.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Order {
    pub(super) id: OrderId,
    pub(super) price: Price,
    /// In all, what has traded included: as it was submitted, or replaced.
    pub(super) quantity: Quantity,
    /// Still open; never zero between operations.
    pub(super) leaves: Quantity,
    pub(super) owner: OwnerId,
    pub(super) instrument: InstrumentId,
    pub(super) side: Side,
    pub(super) time_in_force: TimeInForce,
    pub(super) post_only: bool,
    pub(super) self_trade: Option<SelfTrade>,
    /// The level whose queue it is in; none before it is in one.
    pub(super) level: LevelIndex,
    /// At one price the lower number trades first. Given when the order comes to rest, and anew when it loses its place.
    pub(super) priority: u64,
}

const _: () = assert!(size_of::<Order>() == 64);

impl Order {
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

/// All resting orders. A place is reused when its order is gone.
#[derive(Default)]
pub(super) struct Orders {
    slab: Vec<Order>,
    /// By place, apart from the orders: taking one out of its queue changes the links of its neighbours and nothing
    /// else of them, and all links together fit into a processor's own cache.
    links: Vec<Links>,
    /// Places of the slab without an order. What was there last has nothing left.
    free: Vec<OrderIndex>,
}

impl Orders {
    /// Stores an order, in no queue yet, and says where.
    pub(super) fn insert(&mut self, order: Order) -> OrderIndex {
        match self.free.pop() {
            Some(index) => {
                self.slab[index.place()] = order;
                self.links[index.place()] = Links::default();
                index
            }
            None => {
                let index = OrderIndex::from_place(self.slab.len());
                self.slab.push(order);
                self.links.push(Links::default());
                index
            }
        }
    }

    /// Forgets an order that is in no queue any more.
    pub(super) fn remove(&mut self, index: OrderIndex) {
        self.slab[index.place()].leaves = Quantity::ZERO;
        self.free.push(index);
    }

    /// Where this order is, if it rests: at the hint, or wherever else.
    pub(super) fn find(&self, id: OrderId, hint: OrderIndex) -> Option<OrderIndex> {
        if self.is_at(id, hint) { Some(hint) } else { self.search(id) }
    }

    /// Whether this order rests at this place.
    pub(super) fn is_at(&self, id: OrderId, index: OrderIndex) -> bool {
        self.slab.get(index.place()).is_some_and(|order| order.id == id && !order.leaves.is_zero())
    }

    /// Where this order is, if it rests. Looks through all places one after the other, for a millisecond where there are 100,000.
    #[cold]
    fn search(&self, id: OrderId) -> Option<OrderIndex> {
        (0..self.slab.len()).map(OrderIndex::from_place).find(|index| self.is_at(id, *index))
    }

    /// Bytes that orders and links have been given; the levels of the books come on top.
    pub(super) fn allocated_bytes(&self) -> usize {
        self.slab.capacity() * size_of::<Order>()
            + self.links.capacity() * size_of::<Links>()
            + self.free.capacity() * size_of::<OrderIndex>()
    }

    /// How many rest.
    pub(super) fn count(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// An order's neighbours in its queue.
    pub(super) fn links(&self, index: OrderIndex) -> Links {
        self.links[index.place()]
    }

    /// An order's neighbours, to change.
    pub(super) fn links_mut(&mut self, index: OrderIndex) -> &mut Links {
        &mut self.links[index.place()]
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
