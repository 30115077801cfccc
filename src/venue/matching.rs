//! How an order goes through the other side of the book: what it trades, what it leaves, and whom it does not trade with.
//!
//! Self-trade prevention is a matter of one owner: the order that takes says what happens where the next order to trade with is its
//! owner's own. In continuous trading that is known when it comes up. In an auction call it is known when the order comes in: orders
//! that could trade with each other at some price are on two sides of a crossed book, so the younger one meets the older one then, and
//! the auction itself never has two orders to keep apart.

use super::book::Book;
use super::orders::OrderIndex;
use super::{Taker, Venue, VenueEvent, book_of, close, minus};
use crate::types::{
    CancelReason, ExecutionKind, InstrumentId, MarketEventKind, Phase, Price, Quantity, SelfTrade,
};

const SELF_TRADE: ExecutionKind = ExecutionKind::Canceled { reason: CancelReason::SelfTrade };

/// Why an order stopped taking before price or quantity ended it.
enum Stopped {
    No,
    /// By self-trade prevention: the rest of it is cancelled.
    SelfTrade,
}

impl Venue {
    /// Lets an order trade and rest as the phase allows, and ends what is left of one that may not rest. Says where it rests.
    pub(super) fn run(&mut self, mut taker: Taker, phase: Phase, events: &mut Vec<VenueEvent>) -> OrderIndex {
        let stopped = match phase {
            Phase::AuctionCall => self.keep_apart(&taker, events),
            Phase::Open | Phase::Halted | Phase::Closed => self.take(&mut taker, events),
        };
        match (stopped, taker.limit) {
            _ if taker.leaves.is_zero() => {}
            (Stopped::SelfTrade, _) => self.end_rest(&taker, SELF_TRADE, events),
            (Stopped::No, Some(price)) if taker.may_rest() => return self.rest(&taker, price, events),
            (Stopped::No, _) => self.end_rest(&taker, ExecutionKind::Expired, events),
        }
        OrderIndex::NONE
    }

    /// Whether all of an order can trade at once, self-trade prevention regarded. Visits orders until they are enough.
    pub(super) fn can_fill(&self, book: &Book, taker: &Taker) -> bool {
        let mut missing = taker.leaves;
        for index in book.ladder(taker.side.opposite()).iter_within(taker.limit, &self.orders) {
            let maker = &self.orders[index];
            match taker.self_trade {
                Some(SelfTrade::CancelTaker | SelfTrade::CancelBoth) if maker.owner == taker.owner => break,
                Some(SelfTrade::CancelMaker) if maker.owner == taker.owner => continue,
                _ => {}
            }
            missing = minus(missing, missing.min(maker.leaves));
            if missing.is_zero() {
                return true;
            }
        }
        false
    }

    /// Trades an order against the other side as far as price and quantity go.
    fn take(&mut self, taker: &mut Taker, events: &mut Vec<VenueEvent>) -> Stopped {
        while !taker.leaves.is_zero() {
            let Some(book) = book_of(&mut self.books, taker.instrument) else { break };
            let Some((price, index)) = book.ladder(taker.side.opposite()).best_within(taker.limit) else {
                break;
            };
            if let Some(mode) = taker.self_trade
                && self.orders[index].owner == taker.owner
            {
                if mode != SelfTrade::CancelTaker {
                    self.withdraw(index, SELF_TRADE, events);
                }
                if mode != SelfTrade::CancelMaker {
                    return Stopped::SelfTrade;
                }
                continue;
            }
            let quantity = taker.leaves.min(self.orders[index].leaves);
            self.last_trade_id += 1;
            let fill = ExecutionKind::Fill { price, quantity, trade_id: self.last_trade_id };
            taker.leaves = minus(taker.leaves, quantity);
            events.push(VenueEvent::Execution(taker.execution(fill, taker.leaves)));
            let reduce = self.fill(index, quantity, fill, events);
            let (aggressor, trade_id) = (Some(taker.side), self.last_trade_id);
            let trade = MarketEventKind::Trade { price, quantity, aggressor, trade_id };
            events.push(VenueEvent::market(taker.instrument, trade));
            events.push(VenueEvent::market(taker.instrument, reduce));
            self.count_trade(taker.instrument, price, quantity);
        }
        Stopped::No
    }

    /// Takes a fill off a resting order and reports it to its owner; returns what the market is to hear of it.
    pub(super) fn fill(
        &mut self,
        index: OrderIndex,
        quantity: Quantity,
        fill: ExecutionKind,
        events: &mut Vec<VenueEvent>,
    ) -> MarketEventKind {
        let maker = &mut self.orders[index];
        self.sum.subtract(maker);
        maker.leaves = minus(maker.leaves, quantity);
        let maker = *maker;
        events.push(VenueEvent::Execution(maker.execution(fill)));
        if maker.leaves.is_zero() {
            if let Some(book) = book_of(&mut self.books, maker.instrument) {
                book.unlink(index, &mut self.orders);
            }
            self.orders.remove(index);
            close(&mut self.open_orders, maker.owner);
        } else {
            self.sum.add(&maker);
        }
        MarketEventKind::Reduce { order: maker.id, side: maker.side, price: maker.price, quantity }
    }

    /// Puts a trade into the accounts of its book.
    pub(super) fn count_trade(&mut self, instrument: InstrumentId, price: Price, quantity: Quantity) {
        if let Some(book) = book_of(&mut self.books, instrument) {
            book.traded += 2 * u128::from(quantity.nanos());
            book.last_price = Some(price);
        }
    }

    /// In an auction call: keeps an order from those of its owner that it could trade with.
    fn keep_apart(&mut self, taker: &Taker, events: &mut Vec<VenueEvent>) -> Stopped {
        let Some(mode) = taker.self_trade else { return Stopped::No };
        let Some(book) = self.book(taker.instrument) else { return Stopped::No };
        // Who has no orders, or who has seen all of them, need not look further.
        let open = self.open_orders(taker.owner) as usize;
        let most = if mode == SelfTrade::CancelMaker { open } else { open.min(1) };
        let own = |index: &OrderIndex| self.orders[*index].owner == taker.owner;
        let met: Vec<OrderIndex> = if most == 0 {
            Vec::new()
        } else {
            let against = book.ladder(taker.side.opposite()).iter_within(taker.limit, &self.orders);
            against.filter(own).take(most).collect()
        };
        if mode != SelfTrade::CancelTaker {
            for index in &met {
                self.withdraw(*index, SELF_TRADE, events);
            }
        }
        if mode == SelfTrade::CancelMaker || met.is_empty() { Stopped::No } else { Stopped::SelfTrade }
    }
}
