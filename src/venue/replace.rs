//! Replace: another limit or another quantity for an order that rests, under the same name.
//!
//! Less of it at the same price keeps its place in the queue. Anything else gives up the place: the order is taken out and goes through
//! the book as a new one would, for what is open of it, and rests at the end of the queue. Of both the market hears as one event.

use super::orders::OrderIndex;
use super::{Taker, Venue, VenueEvent, book_of, event, minus, phase};
use crate::types::{
    CancelReason, Code, Execution, ExecutionKind, MarketEventKind, Price, Quantity, ReplaceOrder,
};

/// What a replace asks for, with what stays filled in.
struct Wanted {
    price: Price,
    quantity: Quantity,
}

impl Venue {
    /// Gives a resting order another limit, another total quantity, or both, wherever it is. Events are appended to `events`.
    ///
    /// # Errors
    /// As [`Venue::replace_at`], which is much faster.
    pub fn replace(
        &mut self,
        replace: ReplaceOrder,
        events: &mut Vec<VenueEvent>,
    ) -> Result<OrderIndex, Code> {
        self.replace_at(OrderIndex::NONE, replace, events)
    }

    /// Gives a resting order another limit, another total quantity, or both; `hint` is where it should be. Events are appended to `events`.
    ///
    /// A total quantity at or below what has traded cancels the rest ([`CancelReason::Replaced`]). A replace that changes nothing is
    /// reported and keeps the place. Returns where the order rests now, [`OrderIndex::NONE`] if it does not.
    ///
    /// # Errors
    /// No such order rests, or it is somebody else's; the instrument is halted or closed; the order is post-only and would trade, or
    /// lose its place in an auction call. The order stays as it was then, and nothing is appended.
    pub fn replace_at(
        &mut self,
        hint: OrderIndex,
        replace: ReplaceOrder,
        events: &mut Vec<VenueEvent>,
    ) -> Result<OrderIndex, Code> {
        let index = self.find_own(replace.id, replace.owner, hint)?;
        let order = self.orders[index];
        let book = book_of(&mut self.books, order.instrument).ok_or(Code::OrdSymbolNotTradable)?;
        let phase = book.phase;
        phase::check_order(phase, true)?;
        let wanted = Wanted {
            price: replace.price.unwrap_or(order.price),
            quantity: replace.quantity.unwrap_or(order.quantity),
        };
        let traded = minus(order.quantity, order.leaves);
        if book.paper.is_some() {
            let wanted =
                Taker { limit: Some(wanted.price), quantity: wanted.quantity, ..Taker::of_resting(&order) };
            return self.replace_on_paper(index, wanted, events);
        }
        let start = events.len();
        if wanted.quantity <= traded {
            self.withdraw(index, ExecutionKind::Canceled { reason: CancelReason::Replaced }, events);
            event::mark_last(&mut events[start..]);
            return Ok(OrderIndex::NONE);
        }
        let leaves = minus(wanted.quantity, traded);
        let replaced = ExecutionKind::Replaced { price: wanted.price, quantity: wanted.quantity };
        let rests_at = if wanted.price == order.price && wanted.quantity <= order.quantity {
            let less = minus(order.leaves, leaves);
            book.returned += u128::from(less.nanos());
            let changed = &mut self.orders[index];
            self.sum.subtract(changed);
            (changed.quantity, changed.leaves) = (wanted.quantity, leaves);
            self.sum.add(changed);
            events.push(VenueEvent::Execution(changed.execution(replaced)));
            if !less.is_zero() {
                let (side, price) = (order.side, order.price);
                let reduce = MarketEventKind::Reduce { order: order.id, side, price, quantity: less };
                events.push(VenueEvent::market(order.instrument, reduce));
            }
            index
        } else {
            if order.post_only {
                phase::check_order(phase, false)?;
                if book.ladder(order.side.opposite()).has_within(Some(wanted.price)) {
                    return Err(Code::OrdPostOnlyWouldTake);
                }
            }
            if leaves > order.leaves {
                book.submitted += u128::from(minus(leaves, order.leaves).nanos());
            } else {
                book.returned += u128::from(minus(order.leaves, leaves).nanos());
            }
            let execution = Execution { leaves, ..order.execution(replaced) };
            events.push(VenueEvent::Execution(execution));
            self.take_out(index, events);
            let (limit, quantity) = (Some(wanted.price), wanted.quantity);
            let taker = Taker { limit, quantity, leaves, ..Taker::of_resting(&order) };
            self.run(taker, phase, events)
        };
        event::mark_last(&mut events[start..]);
        Ok(rests_at)
    }
}
