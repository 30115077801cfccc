//! The embedded venue: matches orders by price, then by time of arrival.
//!
//! In come [`NewOrder`]s, [`CancelOrder`]s and [`ReplaceOrder`](crate::types::ReplaceOrder)s that the gate let through, in the one order that the pipeline
//! gives them; out come [`VenueEvent`]s. The same inputs always give the same events, because there is no
//! clock, no I/O, no floating point and no hash-map iteration in here: replaying the log re-executes a day.
//!
//! - A fill happens at the price of the order that rested; in an auction at the one price of the auction (`auction`).
//! - A limit order rests with what did not trade, unless its time in force forbids it; a market order never rests.
//! - An order that could do nothing is refused: a market order that meets nobody, a fill-or-kill order that cannot trade as a whole,
//!   a post-only order that would trade (with anybody, its owner included).
//! - Where self-trade prevention is asked for, no order trades with one of the same owner; the order that takes says what becomes
//!   of the two (`matching`).
//! - A replace keeps the order's place if price and side of the queue stay and its quantity does not grow (`replace`).
//! - Each instrument has a phase, which says what it takes (`phase`).
//! - Resting orders are bounded per instrument ([`Venue::with_resting_orders_max`]); beyond that, orders that
//!   would rest are refused and those that trade go on.
//! - Where an instrument is traded on paper, orders meet what its recording shows, and never one another (`paper`).
//! - Whoever gives an order in is told where it rests, and says so again with its cancel or replace. That is a hint: whatever it is, the
//!   outcome is the same (`orders`).
//! - A refused request changes nothing and reports nothing.

mod auction;
mod book;
mod event;
mod export;
mod ladder;
mod matching;
mod orders;
mod paper;
mod phase;
mod replace;
mod state;

use book::Book;
pub use event::VenueEvent;
pub use export::{BookState, Counters, RestingOrder, RestoreError, RestoreFault};
use ladder::LevelIndex;
pub use orders::OrderIndex;
use orders::{Order, Orders};
use paper::Paper;
pub use paper::{PAPER_LEVELS_MAX, PaperLevel, PaperPlace, PaperState, Recorded, SHOWN_LEVELS_MAX, Shown};
use state::OrderSum;

use crate::types::{
    CancelOrder, Code, Execution, ExecutionKind, Instrument, InstrumentId, Instruments, MarketEventKind,
    NewOrder, OrderId, OrderKind, OwnerId, Phase, Price, Quantity, SelfTrade, Side, TimeInForce,
};

/// Resting orders of one instrument unless told otherwise. A full book of them takes about 10 MB.
pub const RESTING_ORDERS_MAX_DEFAULT: u32 = 100_000;
/// Version of the rules: raised by every change after which the same inputs have other outputs. A log whose orders were
/// executed under other rules is not re-executed.
///
/// 2: priority has a number of its own, and the digest of the state covers it; post-only, fill or kill, self-trade prevention,
/// replace, phases.
pub const RULES: u32 = 2;

/// All books of the embedded venue, and the orders that rest in them.
pub struct Venue {
    /// By instrument; `None` where the venue does not trade it.
    books: Vec<Option<Book>>,
    orders: Orders,
    /// Orders resting now, by owner. Owners are numbered densely by the pipeline.
    open_orders: Vec<u32>,
    /// Number of the last trade; the first one is 1.
    last_trade_id: u64,
    /// Priority of the order that came to rest last; the first one is 1.
    last_priority: u64,
    resting_orders_max: u32,
    /// Of `orders`, for the digest of the state.
    sum: OrderSum,
    /// A rule that no venue has, to show that a re-execution notices: the newest order of a price trades first.
    #[cfg(test)]
    newest_first: bool,
}

impl Venue {
    /// A venue with an empty, open book for every tradable instrument of the table.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        let book = |one: &Instrument| {
            let mut book = one.tradable.then(|| Book::new(one.tick))?;
            book.paper = one.paper.then(|| Box::new(Paper::default()));
            Some(book)
        };
        Self {
            books: instruments.iter().map(book).collect(),
            orders: Orders::default(),
            open_orders: Vec::new(),
            last_trade_id: 0,
            last_priority: 0,
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

    /// Matches an order and lets the rest of it rest or expire; in an auction call it only rests. Events are appended to `events`.
    ///
    /// The caller gives every order an identifier that no resting order has, and a quantity above zero. It gets the place at which the
    /// order rests now, [`OrderIndex::NONE`] if it does not.
    ///
    /// # Errors
    /// The venue does not trade the instrument, or not in this phase; post-only and the order would trade, or never rests; a market
    /// order finds nobody to trade with, a fill-or-kill order not enough; the order would rest and the book is full. Nothing is
    /// appended then.
    pub fn submit(&mut self, order: NewOrder, events: &mut Vec<VenueEvent>) -> Result<OrderIndex, Code> {
        debug_assert!(!order.quantity.is_zero(), "the gate lets no empty order through");
        let taker = Taker::of(&order);
        if self.is_paper(order.instrument) {
            return self.submit_on_paper(taker, events);
        }
        let phase = self.check_submit(&order, &taker)?;
        let book = book_of(&mut self.books, order.instrument).ok_or(Code::OrdSymbolNotTradable)?;
        book.submitted += u128::from(order.quantity.nanos());
        let start = events.len();
        events.push(VenueEvent::Execution(taker.execution(ExecutionKind::New, taker.leaves)));
        let index = self.run(taker, phase, events);
        event::mark_last(&mut events[start..]);
        Ok(index)
    }

    /// Every reason to refuse an order; the phase that it comes into where there is none.
    fn check_submit(&self, order: &NewOrder, taker: &Taker) -> Result<Phase, Code> {
        let book = self.book(order.instrument).ok_or(Code::OrdSymbolNotTradable)?;
        let may_rest = taker.may_rest();
        if order.post_only && !may_rest {
            return Err(Code::OrdOptionsContradict);
        }
        phase::check_order(book.phase, may_rest && !order.post_only)?;
        let is_full = book.resting_orders() >= self.resting_orders_max;
        if book.phase == Phase::AuctionCall {
            // It does not trade before it rests.
            return if is_full { Err(Code::RskVenueOrdersMax) } else { Ok(book.phase) };
        }
        if !book.ladder(taker.side.opposite()).has_within(taker.limit) {
            if order.time_in_force == TimeInForce::FillOrKill {
                return Err(Code::OrdFillOrKillShort);
            }
            if order.kind == OrderKind::Market {
                return Err(Code::OrdNoLiquidity);
            }
            // An order that trades and still rests has used up at least one resting order, so it finds room.
            return if may_rest && is_full { Err(Code::RskVenueOrdersMax) } else { Ok(book.phase) };
        }
        if order.post_only {
            return Err(Code::OrdPostOnlyWouldTake);
        }
        if order.time_in_force == TimeInForce::FillOrKill && !self.can_fill(book, taker) {
            return Err(Code::OrdFillOrKillShort);
        }
        Ok(book.phase)
    }

    /// Takes a resting order out of the book, in any phase, wherever it is. Events are appended to `events`.
    ///
    /// # Errors
    /// As [`Venue::cancel_at`], which is much faster.
    pub fn cancel(&mut self, cancel: CancelOrder, events: &mut Vec<VenueEvent>) -> Result<(), Code> {
        self.cancel_at(OrderIndex::NONE, cancel, events)
    }

    /// Takes a resting order out of the book, in any phase; `hint` is where it should be. Events are appended to `events`.
    ///
    /// # Errors
    /// No such order rests, or it is somebody else's: one answer for both, so that nobody can probe for others' orders.
    pub fn cancel_at(
        &mut self,
        hint: OrderIndex,
        cancel: CancelOrder,
        events: &mut Vec<VenueEvent>,
    ) -> Result<(), Code> {
        let index = self.find_own(cancel.id, cancel.owner, hint)?;
        let start = events.len();
        self.withdraw(index, ExecutionKind::Canceled { reason: cancel.reason }, events);
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

    /// Whether this order rests now. Looks through all that do.
    #[must_use]
    pub fn is_resting(&self, order: OrderId) -> bool {
        self.orders.find(order, OrderIndex::NONE).is_some()
    }

    /// Whether this order rests now, and here.
    #[must_use]
    pub fn is_resting_at(&self, hint: OrderIndex, order: OrderId) -> bool {
        self.orders.is_at(order, hint)
    }

    /// Best price that rests on a side of an instrument's book; `None` if there is none, or no such book.
    #[must_use]
    pub fn best_price(&self, instrument: InstrumentId, side: Side) -> Option<Price> {
        self.book(instrument)?.ladder(side).best_within(None).map(|(price, _)| price)
    }

    /// Price of the last trade in an instrument; `None` before the first one, or if there is no such book.
    #[must_use]
    pub fn last_price(&self, instrument: InstrumentId) -> Option<Price> {
        self.book(instrument)?.last_price
    }

    /// The phase of an instrument; `None` where the venue does not trade it.
    #[must_use]
    pub fn phase(&self, instrument: InstrumentId) -> Option<Phase> {
        self.book(instrument).map(|book| book.phase)
    }

    /// How many orders rest now, over all owners and instruments.
    #[must_use]
    pub fn resting_orders(&self) -> usize {
        self.orders.count()
    }

    /// Bytes that the resting orders have been given, for benches and metrics; price levels come on top.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.orders.allocated_bytes()
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.books.get(instrument.index())?.as_ref()
    }

    /// Where this owner's order rests.
    fn find_own(&self, id: OrderId, owner: OwnerId, hint: OrderIndex) -> Result<OrderIndex, Code> {
        let index = self.orders.find(id, hint).ok_or(Code::OrdOrderUnknown)?;
        if self.orders[index].owner == owner { Ok(index) } else { Err(Code::OrdOrderUnknown) }
    }

    /// Lets what is left of a limit order rest at `price`, behind all that rest there already; says where.
    fn rest(&mut self, taker: &Taker, price: Price, events: &mut Vec<VenueEvent>) -> OrderIndex {
        let Some(book) = book_of(&mut self.books, taker.instrument) else { return OrderIndex::NONE };
        self.last_priority += 1;
        let resting = taker.resting(price, self.last_priority);
        self.sum.add(&resting);
        let index = self.orders.insert(resting);
        book.append(index, &mut self.orders);
        #[cfg(test)]
        if self.newest_first {
            book.put_first(index, &mut self.orders);
        }
        open(&mut self.open_orders, taker.owner);
        let add = MarketEventKind::Add { order: taker.id, side: taker.side, price, quantity: taker.leaves };
        events.push(VenueEvent::market(taker.instrument, add));
        index
    }

    /// Ends what is left of an order that does not rest: expired or cancelled.
    fn end_rest(&mut self, taker: &Taker, kind: ExecutionKind, events: &mut Vec<VenueEvent>) {
        if let Some(book) = book_of(&mut self.books, taker.instrument) {
            book.returned += u128::from(taker.leaves.nanos());
        }
        let execution = Execution { leaves: Quantity::ZERO, ..taker.execution(kind, taker.leaves) };
        events.push(VenueEvent::Execution(execution));
    }

    /// Takes a resting order out and reports it as `kind`: cancelled or expired.
    fn withdraw(&mut self, index: OrderIndex, kind: ExecutionKind, events: &mut Vec<VenueEvent>) {
        let order = &self.orders[index];
        if let Some(book) = book_of(&mut self.books, order.instrument) {
            book.returned += u128::from(order.leaves.nanos());
        }
        let execution = Execution { leaves: Quantity::ZERO, ..order.execution(kind) };
        events.push(VenueEvent::Execution(execution));
        self.take_out(index, events);
    }

    /// Takes a resting order out of the book, whatever becomes of what was left of it, and tells the market.
    fn take_out(&mut self, index: OrderIndex, events: &mut Vec<VenueEvent>) {
        let order = self.orders[index];
        let Some(book) = book_of(&mut self.books, order.instrument) else { return };
        // First, while the order itself is on its way from memory: so its neighbours come along.
        book.unlink(index, &mut self.orders);
        self.orders.remove(index);
        self.sum.subtract(&order);
        close(&mut self.open_orders, order.owner);
        if book.paper.is_some() {
            return book.leave_paper(&order);
        }
        let (side, price, quantity) = (order.side, order.price, order.leaves);
        let reduce = MarketEventKind::Reduce { order: order.id, side, price, quantity };
        events.push(VenueEvent::market(order.instrument, reduce));
    }
}

/// An order on its way through the book: one that came in, or one that a replace takes out of its place.
#[derive(Clone, Copy, Debug)]
struct Taker {
    id: OrderId,
    owner: OwnerId,
    instrument: InstrumentId,
    side: Side,
    /// The worst price it trades at; `None` for any price.
    limit: Option<Price>,
    /// In all, what has traded included.
    quantity: Quantity,
    /// Still open.
    leaves: Quantity,
    time_in_force: TimeInForce,
    post_only: bool,
    self_trade: Option<SelfTrade>,
}

impl Taker {
    fn of(order: &NewOrder) -> Self {
        Self {
            id: order.id,
            owner: order.owner,
            instrument: order.instrument,
            side: order.side,
            limit: match order.kind {
                OrderKind::Limit(price) => Some(price),
                OrderKind::Market => None,
            },
            quantity: order.quantity,
            leaves: order.quantity,
            time_in_force: order.time_in_force,
            post_only: order.post_only,
            self_trade: order.self_trade,
        }
    }

    /// What is open of an order that rests.
    const fn of_resting(order: &Order) -> Self {
        Self {
            id: order.id,
            owner: order.owner,
            instrument: order.instrument,
            side: order.side,
            limit: Some(order.price),
            quantity: order.quantity,
            leaves: order.leaves,
            time_in_force: order.time_in_force,
            post_only: order.post_only,
            self_trade: order.self_trade,
        }
    }

    const fn may_rest(&self) -> bool {
        self.limit.is_some() && self.time_in_force.may_rest()
    }

    /// What is left of it, resting at `price`, not in a queue yet.
    fn resting(&self, price: Price, priority: u64) -> Order {
        Order {
            id: self.id,
            price,
            quantity: self.quantity,
            leaves: self.leaves,
            owner: self.owner,
            instrument: self.instrument,
            side: self.side,
            time_in_force: self.time_in_force,
            post_only: self.post_only,
            self_trade: self.self_trade,
            level: LevelIndex::NONE,
            priority,
        }
    }

    /// A report to its owner, when so much of it is open.
    fn execution(&self, kind: ExecutionKind, leaves: Quantity) -> Execution {
        Execution {
            order: self.id,
            owner: self.owner,
            instrument: self.instrument,
            side: self.side,
            kind,
            leaves,
            cumulative: minus(self.quantity, leaves),
        }
    }
}

/// The book of an instrument that the venue trades.
fn book_of(books: &mut [Option<Book>], instrument: InstrumentId) -> Option<&mut Book> {
    books.get_mut(instrument.index()).and_then(Option::as_mut)
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
