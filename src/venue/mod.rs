//! The embedded venue: matches orders by price, then by time of arrival.
//!
//! In come [`NewOrder`]s and [`CancelOrder`]s that the gate let through, in the one order that the pipeline
//! gives them; out come [`VenueEvent`]s. The same inputs always give the same events, because there is no
//! clock, no I/O, no floating point and no hash-map iteration in here: replaying the log re-executes a day.
//!
//! - A fill happens at the price of the order that rested.
//! - A limit order rests with what did not trade, unless its time in force forbids it; a market order never rests.
//! - Resting orders are bounded per instrument ([`Venue::with_resting_orders_max`]); beyond that, orders that
//!   would rest are refused and those that trade go on.
//! - A refused request changes nothing and reports nothing.

mod book;
mod event;
mod index;
mod orders;
mod state;

use book::Book;
pub use event::VenueEvent;
use orders::{Order, OrderIndex, Orders};
use state::OrderSum;

use crate::types::{
    CancelOrder, Code, Execution, ExecutionKind, InstrumentId, Instruments, MarketEventKind, NewOrder,
    OrderId, OrderKind, OwnerId, Price, Quantity, Side, TimeInForce,
};

/// Resting orders of one instrument unless told otherwise. A full book of them takes about 8 MB.
pub const RESTING_ORDERS_MAX_DEFAULT: u32 = 100_000;
/// Version of the rules: raised by every change after which the same inputs have other outputs. A log whose orders were
/// executed under other rules is not re-executed.
pub const RULES: u32 = 1;

/// All books of the embedded venue, and the orders that rest in them.
pub struct Venue {
    /// By instrument; `None` where the venue does not trade it.
    books: Vec<Option<Book>>,
    orders: Orders,
    /// Orders resting now, by owner. Owners are numbered densely by the pipeline.
    open_orders: Vec<u32>,
    /// Number of the last trade; the first one is 1.
    last_trade_id: u64,
    resting_orders_max: u32,
    /// Of `orders`, for the digest of the state.
    sum: OrderSum,
    /// A rule that no venue has, to show that a re-execution notices: the newest order of a price trades first.
    #[cfg(test)]
    newest_first: bool,
}

impl Venue {
    /// A venue with an empty book for every tradable instrument of the table.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        Self {
            books: instruments.iter().map(|instrument| instrument.tradable.then(Book::default)).collect(),
            orders: Orders::default(),
            open_orders: Vec::new(),
            last_trade_id: 0,
            resting_orders_max: RESTING_ORDERS_MAX_DEFAULT,
            sum: OrderSum::default(),
            #[cfg(test)]
            newest_first: false,
        }
    }

    /// The same venue with at most `orders` orders resting in each instrument.
    #[must_use]
    pub fn with_resting_orders_max(mut self, orders: u32) -> Self {
        self.resting_orders_max = orders;
        self
    }

    /// The same venue under the rule that the newest order of a price trades first.
    #[cfg(test)]
    pub(crate) fn with_newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Numbers trades from the one after `trade_id`: a venue that starts again must not give out a number twice.
    #[must_use]
    pub fn with_trade_ids_after(mut self, trade_id: u64) -> Self {
        self.last_trade_id = trade_id;
        self
    }

    /// Matches an order and lets the rest of it rest or expire. Events are appended to `events`.
    ///
    /// The caller gives every order an identifier that no resting order has, and a quantity above zero.
    ///
    /// # Errors
    /// The venue does not trade the instrument; a market order finds nobody to trade with; the order would
    /// rest and the book is full. Nothing is appended then.
    pub fn submit(&mut self, order: NewOrder, events: &mut Vec<VenueEvent>) -> Result<(), Code> {
        debug_assert!(!order.quantity.is_zero(), "the gate lets no empty order through");
        let book = book_of(&mut self.books, order.instrument).ok_or(Code::OrdSymbolNotTradable)?;
        let may_rest = matches!(order.kind, OrderKind::Limit(_))
            && order.time_in_force != TimeInForce::ImmediateOrCancel;
        if !book.ladder(order.side.opposite()).has_within(limit_of(&order)) {
            if order.kind == OrderKind::Market {
                return Err(Code::OrdNoLiquidity);
            }
            // An order that trades and still rests has used up at least one resting order, so it finds room.
            if may_rest && book.resting_orders() >= self.resting_orders_max {
                return Err(Code::RskVenueOrdersMax);
            }
        }
        book.submitted += u128::from(order.quantity.nanos());
        let start = events.len();
        let leaves = order.quantity;
        events.push(VenueEvent::Execution(taker_execution(&order, ExecutionKind::New, leaves)));
        let leaves = self.take(&order, leaves, events);
        if !leaves.is_zero() {
            match order.kind {
                OrderKind::Limit(price) if may_rest => self.rest(&order, price, leaves, events),
                OrderKind::Limit(_) | OrderKind::Market => self.expire_rest(&order, leaves, events),
            }
        }
        event::mark_last(&mut events[start..]);
        Ok(())
    }

    /// Takes a resting order out of the book. Events are appended to `events`.
    ///
    /// # Errors
    /// No such order rests, or it is somebody else's: one answer for both, so that nobody can probe for others' orders.
    pub fn cancel(&mut self, cancel: CancelOrder, events: &mut Vec<VenueEvent>) -> Result<(), Code> {
        let index = self.orders.find(cancel.id).ok_or(Code::OrdOrderUnknown)?;
        if self.orders[index].owner != cancel.owner {
            return Err(Code::OrdOrderUnknown);
        }
        let start = events.len();
        self.withdraw(index, ExecutionKind::Canceled, events);
        event::mark_last(&mut events[start..]);
        Ok(())
    }

    /// Ends the trading day: every resting day order expires, instrument by instrument, bids before asks,
    /// best price first, oldest first. Each instrument's changes form one market event.
    pub fn expire_day_orders(&mut self, events: &mut Vec<VenueEvent>) {
        for place in 0..self.books.len() {
            let Some(book) = &self.books[place] else { continue };
            let is_day = |index: &OrderIndex| self.orders[*index].time_in_force == TimeInForce::Day;
            let ending: Vec<OrderIndex> = [Side::Buy, Side::Sell]
                .into_iter()
                .flat_map(|side| book.ladder(side).iter(&self.orders))
                .filter(is_day)
                .collect();
            let start = events.len();
            for index in ending {
                self.withdraw(index, ExecutionKind::Expired, events);
            }
            event::mark_last(&mut events[start..]);
        }
    }

    /// How many orders of this owner rest now, over all instruments.
    #[must_use]
    pub fn open_orders(&self, owner: OwnerId) -> u32 {
        self.open_orders.get(owner.0 as usize).copied().unwrap_or(0)
    }

    /// Whether this order rests now.
    #[must_use]
    pub fn is_resting(&self, order: OrderId) -> bool {
        self.orders.find(order).is_some()
    }

    /// Best price that rests on a side of an instrument's book; `None` if there is none, or no such book.
    #[must_use]
    pub fn best_price(&self, instrument: InstrumentId, side: Side) -> Option<Price> {
        let book = self.books.get(instrument.index())?.as_ref()?;
        book.ladder(side).best_within(None).map(|(price, _)| price)
    }

    /// How many orders rest now, over all owners and instruments.
    #[must_use]
    pub fn resting_orders(&self) -> usize {
        self.orders.count()
    }

    /// Trades `order` against the other side as far as price and quantity go; returns what is left of it.
    fn take(&mut self, order: &NewOrder, mut leaves: Quantity, events: &mut Vec<VenueEvent>) -> Quantity {
        let Self { books, orders, open_orders, last_trade_id, sum, .. } = self;
        let Some(book) = book_of(books, order.instrument) else { return leaves };
        let limit = limit_of(order);
        while !leaves.is_zero() {
            let Some((price, index)) = book.ladder(order.side.opposite()).best_within(limit) else { break };
            *last_trade_id += 1;
            let trade_id = *last_trade_id;
            let maker = &mut orders[index];
            sum.subtract(maker);
            let quantity = leaves.min(maker.leaves);
            leaves = minus(leaves, quantity);
            maker.leaves = minus(maker.leaves, quantity);
            let maker = *maker;
            let fill = ExecutionKind::Fill { price, quantity, trade_id };
            events.push(VenueEvent::Execution(taker_execution(order, fill, leaves)));
            events.push(VenueEvent::Execution(maker.execution(fill)));
            let trade = MarketEventKind::Trade { price, quantity, aggressor: Some(order.side), trade_id };
            events.push(VenueEvent::market(order.instrument, trade));
            let side = maker.side;
            let reduce = MarketEventKind::Reduce { order: maker.id, side, price, quantity };
            events.push(VenueEvent::market(order.instrument, reduce));
            book.traded += 2 * u128::from(quantity.nanos());
            if maker.leaves.is_zero() {
                book.unlink(index, orders);
                orders.remove(index);
                close(open_orders, maker.owner);
            } else {
                sum.add(&maker);
            }
        }
        leaves
    }

    /// Lets what is left of a limit order rest at `price`, behind all that rest there already.
    fn rest(&mut self, order: &NewOrder, price: Price, leaves: Quantity, events: &mut Vec<VenueEvent>) {
        let Some(book) = book_of(&mut self.books, order.instrument) else { return };
        let resting = Order::resting(order, price, leaves);
        self.sum.add(&resting);
        let index = self.orders.insert(resting);
        book.append(index, &mut self.orders);
        #[cfg(test)]
        if self.newest_first {
            book.put_first(index, &mut self.orders);
        }
        open(&mut self.open_orders, order.owner);
        let add = MarketEventKind::Add { order: order.id, side: order.side, price, quantity: leaves };
        events.push(VenueEvent::market(order.instrument, add));
    }

    /// Ends what is left of an order that may not rest.
    fn expire_rest(&mut self, order: &NewOrder, leaves: Quantity, events: &mut Vec<VenueEvent>) {
        if let Some(book) = book_of(&mut self.books, order.instrument) {
            book.returned += u128::from(leaves.nanos());
        }
        let mut execution = taker_execution(order, ExecutionKind::Expired, leaves);
        execution.leaves = Quantity::ZERO;
        events.push(VenueEvent::Execution(execution));
    }

    /// Takes a resting order out and reports it as `kind`: cancelled or expired.
    fn withdraw(&mut self, index: OrderIndex, kind: ExecutionKind, events: &mut Vec<VenueEvent>) {
        let order = self.orders[index];
        let Some(book) = book_of(&mut self.books, order.instrument) else { return };
        self.sum.subtract(&order);
        book.unlink(index, &mut self.orders);
        book.returned += u128::from(order.leaves.nanos());
        self.orders.remove(index);
        close(&mut self.open_orders, order.owner);
        let execution = Execution { leaves: Quantity::ZERO, ..order.execution(kind) };
        events.push(VenueEvent::Execution(execution));
        let (side, price, quantity) = (order.side, order.price, order.leaves);
        let reduce = MarketEventKind::Reduce { order: order.id, side, price, quantity };
        events.push(VenueEvent::market(order.instrument, reduce));
    }
}

/// The book of an instrument that the venue trades.
fn book_of(books: &mut [Option<Book>], instrument: InstrumentId) -> Option<&mut Book> {
    books.get_mut(instrument.index()).and_then(Option::as_mut)
}

/// The worst price an order trades at; `None` for any price.
fn limit_of(order: &NewOrder) -> Option<Price> {
    match order.kind {
        OrderKind::Limit(price) => Some(price),
        OrderKind::Market => None,
    }
}

/// A report to the owner of the incoming order.
fn taker_execution(order: &NewOrder, kind: ExecutionKind, leaves: Quantity) -> Execution {
    Execution {
        order: order.id,
        owner: order.owner,
        instrument: order.instrument,
        side: order.side,
        kind,
        leaves,
        cumulative: minus(order.quantity, leaves),
    }
}

/// `a - b`, where `b` is at most `a` by construction.
fn minus(a: Quantity, b: Quantity) -> Quantity {
    debug_assert!(b <= a);
    Quantity::from_nanos(a.nanos() - b.nanos())
}

/// Counts one more open order of `owner`.
fn open(open_orders: &mut Vec<u32>, owner: OwnerId) {
    let place = owner.0 as usize;
    if place >= open_orders.len() {
        open_orders.resize(place + 1, 0);
    }
    open_orders[place] += 1;
}

/// Counts one open order of `owner` less.
fn close(open_orders: &mut [u32], owner: OwnerId) {
    open_orders[owner.0 as usize] -= 1;
}

mod check;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
