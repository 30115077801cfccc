//! The venue's whole state, out of it and back into one: for snapshots.
//!
//! What comes back is checked as if it came from anywhere: a venue never holds a state that no orders could have brought about in
//! what its own rules can tell.

use std::collections::HashSet;
use std::fmt;

use super::book::Book;
use super::ladder::LevelIndex;
use super::orders::{Order, OrderIndex};
use super::{Venue, book_of, open};
use crate::types::{
    InstrumentId, Instruments, OrderId, OwnerId, Phase, Price, Quantity, SelfTrade, Side, TimeInForce,
};

/// Owners have numbers below this in a state that is brought back: the venue keeps a counter for each number up to the highest.
const OWNERS_MAX: u32 = 1 << 24;

/// An order that rests, with all that decides what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestingOrder {
    /// Its name.
    pub id: OrderId,
    /// Whose it is.
    pub owner: OwnerId,
    /// In which instrument.
    pub instrument: InstrumentId,
    /// Where it rests.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// In all, what has traded included.
    pub quantity: Quantity,
    /// Still open; never zero.
    pub leaves: Quantity,
    /// Day or good till cancelled.
    pub time_in_force: TimeInForce,
    /// Whether a replace may not make it trade at once.
    pub post_only: bool,
    /// What happens where a replace would make it trade with its owner's own orders.
    pub self_trade: Option<SelfTrade>,
    /// At one price the lower number trades first; no two orders of a venue have the same.
    pub priority: u64,
}

impl RestingOrder {
    /// What has traded of it.
    #[must_use]
    pub fn cumulative(&self) -> Quantity {
        Quantity::from_nanos(self.quantity.nanos().saturating_sub(self.leaves.nanos()))
    }
}

impl From<&Order> for RestingOrder {
    fn from(order: &Order) -> Self {
        let Order { id, price, quantity, leaves, owner, instrument, .. } = *order;
        let Order { side, time_in_force, post_only, self_trade, priority, .. } = *order;
        Self {
            id,
            owner,
            instrument,
            side,
            price,
            quantity,
            leaves,
            time_in_force,
            post_only,
            self_trade,
            priority,
        }
    }
}

/// What a venue keeps of one instrument besides its orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookState {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Its phase.
    pub phase: Phase,
    /// Price of its last trade.
    pub last_price: Option<Price>,
    /// Nano-units of all orders taken in, and what replaces put on top.
    pub submitted: u128,
    /// Nano-units traded, counted once for each of the two orders.
    pub traded: u128,
    /// Nano-units cancelled, expired, or taken off by replaces.
    pub returned: u128,
}

/// What a venue counts over all instruments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Number of the last trade.
    pub last_trade_id: u64,
    /// Priority of the order that came to rest last.
    pub last_priority: u64,
}

/// Why a state cannot be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({})", Of(*.instrument, *.order))]
pub struct RestoreError {
    /// What is wrong with it.
    pub what: RestoreFault,
    /// In which instrument.
    pub instrument: InstrumentId,
    /// At which order, if it is the matter of one.
    pub order: Option<OrderId>,
}

struct Of(InstrumentId, Option<OrderId>);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instrument {}", self.0.0)?;
        self.1.map_or(Ok(()), |order| write!(f, ", order {order}"))
    }
}

/// What is wrong with a state that is to be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreFault {
    /// The venue does not trade the instrument.
    #[error("the venue does not trade the instrument")]
    NotTraded,
    /// An instrument comes twice.
    #[error("the instrument is told twice")]
    BookTwice,
    /// An instrument that the venue trades is missing.
    #[error("the instrument is not told of")]
    BookMissing,
    /// Two orders have one name.
    #[error("the order is told twice")]
    OrderTwice,
    /// Nothing is open of an order, or more than all of it.
    #[error("what is open of the order is zero, or more than its quantity")]
    Leaves,
    /// An order that never rests.
    #[error("an order of its time in force never rests")]
    NeverRests,
    /// An owner's number is higher than any can be.
    #[error("the owner has a number that no owner can have")]
    Owner,
    /// An order stands before one that comes before it, or has the priority of another one.
    #[error("the order does not stand where side, price and priority put it")]
    OutOfPlace,
    /// An order's priority was never given.
    #[error("the order has a priority that was never given")]
    Priority,
    /// More orders than may rest.
    #[error("more orders rest than may")]
    Full,
    /// Orders and accounts do not add up.
    #[error("what was taken in is not what rests, traded and was returned")]
    Accounts,
    /// What is kept of a recording is not that of the orders on paper.
    #[error("its places on paper are not those of its orders")]
    Paper,
    /// A book that may not be crossed is.
    #[error("the book is crossed, and not in an auction")]
    Crossed,
}

impl Venue {
    /// What is counted over all instruments.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters { last_trade_id: self.last_trade_id, last_priority: self.last_priority }
    }

    /// Every book, in the order of instruments.
    pub fn books(&self) -> impl Iterator<Item = BookState> {
        (0_u32..).zip(&self.books).filter_map(|(place, book)| {
            let book = book.as_ref()?;
            Some(BookState {
                instrument: InstrumentId(place),
                phase: book.phase,
                last_price: book.last_price,
                submitted: book.submitted,
                traded: book.traded,
                returned: book.returned,
            })
        })
    }

    /// Every order that rests: instrument by instrument, bids before asks, best price first, and at one price in the order in
    /// which they trade.
    pub fn resting(&self) -> impl Iterator<Item = RestingOrder> {
        self.books.iter().flatten().flat_map(|book| {
            let sides = [Side::Buy, Side::Sell].into_iter();
            sides
                .flat_map(|side| book.ladder(side).iter(&self.orders))
                .map(|index| (&self.orders[index]).into())
        })
    }

    /// Every order that rests, and where: in the order of [`Venue::resting`].
    pub fn places(&self) -> impl Iterator<Item = (OrderId, OrderIndex)> {
        let sides = |book| [Side::Buy, Side::Sell].into_iter().map(move |side| Book::ladder(book, side));
        let ladders = self.books.iter().flatten().flat_map(sides);
        ladders.flat_map(|ladder| ladder.iter(&self.orders)).map(|index| (self.orders[index].id, index))
    }

    /// An order, if it rests. Looks through all that do.
    #[must_use]
    pub fn order(&self, id: OrderId) -> Option<RestingOrder> {
        self.order_at(OrderIndex::NONE, id)
    }

    /// An order, if it rests; `hint` is where it should be.
    #[must_use]
    pub fn order_at(&self, hint: OrderIndex, id: OrderId) -> Option<RestingOrder> {
        self.orders.find(id, hint).map(|index| (&self.orders[index]).into())
    }

    /// A venue in the state that [`Venue::counters`], [`Venue::books`] and [`Venue::resting`] told, orders in the order in which
    /// they were told. It has the same [`Venue::state_digest`] and does the same from here on.
    ///
    /// # Errors
    /// The state is one that this venue, with these instruments and at most `resting_orders_max` orders in each, cannot be in.
    pub fn restore(
        instruments: &Instruments,
        resting_orders_max: u32,
        counters: Counters,
        books: impl IntoIterator<Item = BookState>,
        resting: impl IntoIterator<Item = RestingOrder>,
    ) -> Result<Self, RestoreError> {
        let mut venue = Self::new(instruments).with_resting_orders_max(resting_orders_max);
        venue.last_trade_id = counters.last_trade_id;
        venue.last_priority = counters.last_priority;
        let mut missing: Vec<bool> = venue.books.iter().map(Option::is_some).collect();
        for state in books {
            let fail = |what| RestoreError { what, instrument: state.instrument, order: None };
            let book =
                book_of(&mut venue.books, state.instrument).ok_or_else(|| fail(RestoreFault::NotTraded))?;
            if !std::mem::take(&mut missing[state.instrument.index()]) {
                return Err(fail(RestoreFault::BookTwice));
            }
            (book.phase, book.last_price) = (state.phase, state.last_price);
            (book.submitted, book.traded, book.returned) = (state.submitted, state.traded, state.returned);
        }
        if let Some(place) = missing.iter().position(|missing| *missing) {
            let instrument = InstrumentId(u32::try_from(place).unwrap_or(u32::MAX));
            return Err(RestoreError { what: RestoreFault::BookMissing, instrument, order: None });
        }
        let mut before: Option<RestingOrder> = None;
        let mut told = HashSet::new();
        for order in resting {
            if !told.insert(order.id) {
                let (instrument, id) = (order.instrument, Some(order.id));
                return Err(RestoreError { what: RestoreFault::OrderTwice, instrument, order: id });
            }
            venue.put_back(&order, before.as_ref()).map_err(|what| RestoreError {
                what,
                instrument: order.instrument,
                order: Some(order.id),
            })?;
            before = Some(order);
        }
        venue.check_books()?;
        Ok(venue)
    }

    /// Lets an order rest behind the one that was put back before it.
    fn put_back(&mut self, order: &RestingOrder, before: Option<&RestingOrder>) -> Result<(), RestoreFault> {
        let book = book_of(&mut self.books, order.instrument).ok_or(RestoreFault::NotTraded)?;
        if order.leaves.is_zero() || order.leaves > order.quantity {
            return Err(RestoreFault::Leaves);
        }
        if !order.time_in_force.may_rest() {
            return Err(RestoreFault::NeverRests);
        }
        if order.owner.0 >= OWNERS_MAX {
            return Err(RestoreFault::Owner);
        }
        if order.priority == 0 || order.priority > self.last_priority {
            return Err(RestoreFault::Priority);
        }
        if before.is_some_and(|before| place_of(before) >= place_of(order)) {
            return Err(RestoreFault::OutOfPlace);
        }
        if book.resting_orders() >= self.resting_orders_max {
            return Err(RestoreFault::Full);
        }
        let RestingOrder { id, owner, instrument, side, price, quantity, leaves, .. } = *order;
        let RestingOrder { time_in_force, post_only, self_trade, priority, .. } = *order;
        let order = Order {
            id,
            price,
            quantity,
            leaves,
            owner,
            instrument,
            side,
            time_in_force,
            post_only,
            self_trade,
            level: LevelIndex::NONE,
            priority,
        };
        self.sum.add(&order);
        let index = self.orders.insert(order);
        book.append(index, &mut self.orders);
        open(&mut self.open_orders, owner);
        Ok(())
    }

    /// What only the whole of a book can tell.
    fn check_books(&self) -> Result<(), RestoreError> {
        let mut priorities = Vec::with_capacity(self.orders.count());
        for (place, book) in (0_u32..).zip(&self.books) {
            let Some(book) = book else { continue };
            let fail = |what, order| RestoreError { what, instrument: InstrumentId(place), order };
            let best = |side| book.ladder(side).best_within(None).map(|(price, _)| price);
            let is_crossed = best(Side::Buy).zip(best(Side::Sell)).is_some_and(|(bid, ask)| bid >= ask);
            let may_cross = book.paper.is_some() || matches!(book.phase, Phase::AuctionCall | Phase::Halted);
            if is_crossed && !may_cross {
                return Err(fail(RestoreFault::Crossed, None));
            }
            let mut leaves = 0_u128;
            for index in
                [Side::Buy, Side::Sell].into_iter().flat_map(|side| book.ladder(side).iter(&self.orders))
            {
                leaves += u128::from(self.orders[index].leaves.nanos());
                priorities.push((self.orders[index].priority, index));
            }
            let accounted = leaves.checked_add(book.traded).and_then(|sum| sum.checked_add(book.returned));
            if accounted != Some(book.submitted) {
                return Err(fail(RestoreFault::Accounts, None));
            }
        }
        priorities.sort_unstable_by_key(|(priority, _)| *priority);
        let twice = priorities.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1);
        twice.map_or(Ok(()), |index: OrderIndex| {
            let Order { id, instrument, .. } = self.orders[index];
            Err(RestoreError { what: RestoreFault::OutOfPlace, instrument, order: Some(id) })
        })
    }
}

/// Where an order stands among all orders of a venue: smaller is earlier.
fn place_of(order: &RestingOrder) -> (InstrumentId, bool, i64, u64) {
    let price = order.price.nanos();
    let (is_ask, rank) = match order.side {
        Side::Buy => (false, !price),
        Side::Sell => (true, price),
    };
    (order.instrument, is_ask, rank, order.priority)
}
