//! Paper trading: orders in a recorded instrument meet what the recording shows, and never one another.
//!
//! Nothing here knows the recording. What it showed where it decided something comes in as an input, and stands in the log as one:
//! [`Shown`] in front of an order, and [`Recorded`] while orders rest or something is taken.
//!
//! - An order trades with the displayed levels of the other side, within its limit. What is taken of a level stays taken until the recording
//!   changes what it displays there.
//! - An order comes to rest behind all that is displayed at its price. That is an assumption, and so is how it moves forward: by trades
//!   at its price, from the front; by quantity that goes away without one only as far as what is left cannot be all in front of it.
//! - It fills, at its own price, with what of a recorded trade goes beyond its place, or from a trade at a worse price. All orders
//!   together get no more of a trade than it had, the best price first, then the oldest.
//! - What is displayed across a resting order fills nothing: only trades do.
//! - The market hears nothing of it.

mod kept;

pub(super) use kept::Paper;
use kept::{Level, Place, key};
pub use kept::{PaperLevel, PaperPlace, PaperState};

use super::orders::{Order, OrderIndex};
use super::{Taker, Venue, VenueEvent, book_of, minus, phase};
use crate::types::{
    CancelReason, Code, Execution, ExecutionKind, InstrumentId, Phase, Price, Quantity, Side, TimeInForce,
};

/// Levels that an order is shown, and so can take, at most.
pub const SHOWN_LEVELS_MAX: usize = 1_000;
/// Levels of an instrument of which something is kept: where orders rest and what is taken. Orders that need more are refused.
pub const PAPER_LEVELS_MAX: usize = 4_000;

/// What the recording displays when an order comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Levels of the other side within the order's limit, best first: as many as the order can take, at most [`SHOWN_LEVELS_MAX`].
    pub against: Vec<(Price, Quantity)>,
    /// What is displayed on its own side at its limit.
    pub beside: Quantity,
    /// Price of the recording's last trade.
    pub last_price: Option<Price>,
}

/// What the recording showed that orders on paper may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// A trade.
    Trade {
        /// At which price.
        price: Price,
        /// How much.
        quantity: Quantity,
        /// Whose order took; `None` if the recording does not say.
        aggressor: Option<Side>,
        /// Whether the level may have shown the trade before this says so.
        is_late: bool,
    },
    /// A level displays this much now.
    Level {
        /// Which side.
        side: Side,
        /// At which price.
        price: Price,
        /// All that rests there.
        quantity: Quantity,
    },
    /// The recording begins its book anew. That takes nobody forward.
    Clear,
}

/// What an order on paper may do: what it takes, and what it may find when it rests.
struct Granted {
    takes: Vec<(Price, Quantity, Quantity)>,
    beside: Quantity,
    /// More levels may stand behind those that it was shown.
    is_cut: bool,
}

impl Venue {
    /// Whether an instrument is traded on paper.
    #[must_use]
    pub fn is_paper(&self, instrument: InstrumentId) -> bool {
        self.book(instrument).is_some_and(|book| book.paper.is_some())
    }

    /// The last price of a recording on which orders are filled on paper: not theirs, but the recording's.
    #[must_use]
    pub fn paper_mark(&self, instrument: InstrumentId) -> Option<Price> {
        let book = self.book(instrument)?;
        book.paper.as_ref().and(book.last_price)
    }

    /// Levels of which something is kept; none where an instrument is not on paper.
    pub fn paper_levels(&self, instrument: InstrumentId) -> impl Iterator<Item = PaperLevel> + '_ {
        let paper = self.book(instrument).and_then(|book| book.paper.as_ref());
        paper.into_iter().flat_map(|paper| &paper.levels).map(|((is_ask, price), level)| PaperLevel {
            side: if *is_ask { Side::Sell } else { Side::Buy },
            price: Price::from_nanos(*price),
            displayed: level.displayed,
            taken: level.taken,
        })
    }

    /// What is taken of a level that displays so much.
    #[must_use]
    pub fn paper_taken(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: Price,
        displayed: Quantity,
    ) -> Quantity {
        let paper = self.book(instrument).and_then(|book| book.paper.as_ref());
        let level = paper.and_then(|paper| paper.levels.get(&key(side, price)));
        level.filter(|level| level.displayed == displayed).map_or(Quantity::ZERO, |level| level.taken)
    }

    /// Whether a recorded trade at this price may concern an order on paper.
    #[must_use]
    pub fn is_paper_at(&self, instrument: InstrumentId, price: Price) -> bool {
        let rests =
            |side| self.book(instrument).is_some_and(|book| book.ladder(side).has_within(Some(price)));
        self.is_paper(instrument) && (rests(Side::Buy) || rests(Side::Sell))
    }

    /// Keeps what the recording shows for the order, or the replace, that comes next in this instrument.
    ///
    /// # Errors
    /// The instrument is not on paper, or more is shown than an order can take.
    pub fn show_paper(&mut self, instrument: InstrumentId, shown: Shown) -> Result<(), Code> {
        let book = book_of(&mut self.books, instrument).ok_or(Code::OrdSymbolNotTradable)?;
        let paper = book.paper.as_mut().ok_or(Code::OrdSymbolNotTradable)?;
        if shown.against.len() > SHOWN_LEVELS_MAX {
            return Err(Code::OrdVenueBusy);
        }
        book.last_price = shown.last_price.or(book.last_price);
        paper.shown = Some(shown);
        Ok(())
    }

    /// Takes what the recording showed. Events are appended to `events`.
    pub fn take_recorded(
        &mut self,
        instrument: InstrumentId,
        recorded: &Recorded,
        events: &mut Vec<VenueEvent>,
    ) {
        if !self.is_paper(instrument) {
            return;
        }
        match *recorded {
            Recorded::Trade { price, quantity, aggressor, is_late } => {
                let Some(book) = book_of(&mut self.books, instrument) else { return };
                book.last_price = Some(price);
                if book.phase != Phase::Open {
                    return;
                }
                let mut budget = quantity;
                for side in [Side::Buy, Side::Sell] {
                    // A trade that was taken from the other side passes nobody who waits at its price on this one.
                    let is_queue = aggressor != Some(side);
                    self.pass_trade(instrument, side, price, (is_queue, is_late), &mut budget, events);
                }
            }
            Recorded::Level { side, price, quantity } => {
                let Self { books, orders, .. } = self;
                let Some(book) = book_of(books, instrument) else { return };
                let Some(mut paper) = book.paper.take() else { return };
                paper.change_level(side, price, quantity, book.ladder(side).iter_at(price, orders), orders);
                book.paper = Some(paper);
            }
            Recorded::Clear => {
                let Self { books, .. } = self;
                let Some(book) = book_of(books, instrument) else { return };
                let Some(mut paper) = book.paper.take() else { return };
                paper.levels.retain(|(is_ask, price), level| {
                    *level = Level::default();
                    let side = if *is_ask { Side::Sell } else { Side::Buy };
                    book.ladder(side).has_at(Price::from_nanos(*price))
                });
                paper.places.values_mut().for_each(|place| place.gone = Quantity::ZERO);
                book.paper = Some(paper);
            }
        }
    }

    /// Lets a trade pass the orders of a side that rest at its price or a better one.
    fn pass_trade(
        &mut self,
        instrument: InstrumentId,
        side: Side,
        price: Price,
        (is_queue, is_late): (bool, bool),
        budget: &mut Quantity,
        events: &mut Vec<VenueEvent>,
    ) {
        let Some(book) = self.book(instrument) else { return };
        let met: Vec<OrderIndex> = book.ladder(side).iter_within(Some(price), &self.orders).collect();
        for index in met {
            if budget.is_zero() {
                return;
            }
            let order = self.orders[index];
            let mut reaches = *budget;
            if order.price == price {
                if !is_queue {
                    return;
                }
                let Some(book) = book_of(&mut self.books, instrument) else { return };
                let Some(place) = book.paper.as_mut().and_then(|paper| paper.places.get_mut(&order.id))
                else {
                    continue;
                };
                if is_late {
                    let known = place.gone.min(reaches);
                    place.gone = minus(place.gone, known);
                    reaches = minus(reaches, known);
                }
                let ahead = place.ahead.min(reaches);
                place.ahead = minus(place.ahead, ahead);
                reaches = minus(reaches, ahead);
            }
            let quantity = reaches.min(order.leaves);
            if quantity.is_zero() {
                continue;
            }
            *budget = minus(*budget, quantity);
            self.fill_on_paper(index, quantity, events);
        }
    }

    fn fill_on_paper(&mut self, index: OrderIndex, quantity: Quantity, events: &mut Vec<VenueEvent>) {
        let order = self.orders[index];
        self.last_trade_id += 1;
        let fill = ExecutionKind::Fill { price: order.price, quantity, trade_id: self.last_trade_id };
        // What it tells the market is dropped: the market is the recording's.
        let _ = self.fill(index, quantity, fill, events);
        if let Some(book) = book_of(&mut self.books, order.instrument) {
            book.traded += u128::from(quantity.nanos());
            if quantity == order.leaves {
                book.leave_paper(&order);
            }
        }
    }

    /// As [`Venue::submit`], against what was shown for this order.
    pub(super) fn submit_on_paper(
        &mut self,
        taker: Taker,
        events: &mut Vec<VenueEvent>,
    ) -> Result<OrderIndex, Code> {
        let granted = self.grant(&taker, None)?;
        let Some(book) = book_of(&mut self.books, taker.instrument) else {
            return Err(Code::OrdSymbolNotTradable);
        };
        book.submitted += u128::from(taker.quantity.nanos());
        events.push(VenueEvent::Execution(taker.execution(ExecutionKind::New, taker.leaves)));
        Ok(self.run_on_paper(taker, granted, events))
    }

    /// As [`Venue::replace`] of the order at `index`, of which `wanted` has limit and quantity as they are to be.
    pub(super) fn replace_on_paper(
        &mut self,
        index: OrderIndex,
        wanted: Taker,
        events: &mut Vec<VenueEvent>,
    ) -> Result<OrderIndex, Code> {
        let order = self.orders[index];
        let traded = minus(order.quantity, order.leaves);
        let Some(price) = wanted.limit.filter(|_| wanted.quantity > traded) else {
            self.withdraw(index, ExecutionKind::Canceled { reason: CancelReason::Replaced }, events);
            return Ok(OrderIndex::NONE);
        };
        let leaves = minus(wanted.quantity, traded);
        let taker = Taker { leaves, ..wanted };
        let keeps_place = price == order.price && wanted.quantity <= order.quantity;
        let granted = if keeps_place { None } else { Some(self.grant(&taker, Some(&order))?) };
        let Some(book) = book_of(&mut self.books, order.instrument) else {
            return Err(Code::OrdSymbolNotTradable);
        };
        if leaves > order.leaves {
            book.submitted += u128::from(minus(leaves, order.leaves).nanos());
        } else {
            book.returned += u128::from(minus(order.leaves, leaves).nanos());
        }
        let replaced = ExecutionKind::Replaced { price, quantity: wanted.quantity };
        events.push(VenueEvent::Execution(Execution { leaves, ..taker.execution(replaced, leaves) }));
        match granted {
            None => {
                let changed = &mut self.orders[index];
                self.sum.subtract(changed);
                (changed.quantity, changed.leaves) = (wanted.quantity, leaves);
                self.sum.add(changed);
                Ok(index)
            }
            Some(granted) => {
                self.take_out(index, events);
                Ok(self.run_on_paper(taker, granted, events))
            }
        }
    }

    /// Every reason to refuse an order on paper, or one that takes the place of `before`; what it may do where there is none. Uses up what
    /// was shown.
    fn grant(&mut self, taker: &Taker, before: Option<&Order>) -> Result<Granted, Code> {
        let most = self.resting_orders_max;
        let book = book_of(&mut self.books, taker.instrument).ok_or(Code::OrdSymbolNotTradable)?;
        let (phase, resting) = (book.phase, book.resting_orders());
        let paper = book.paper.as_mut().ok_or(Code::OrdSymbolNotTradable)?;
        // Without it nobody knows what the order would meet: it does not come from the pipeline.
        let shown = paper.shown.take().ok_or(Code::OrdVenueBusy)?;
        let may_rest = taker.may_rest();
        if taker.post_only && !may_rest {
            return Err(Code::OrdOptionsContradict);
        }
        phase::check_order(phase, may_rest && !taker.post_only)?;
        if taker.post_only && !shown.against.is_empty() {
            return Err(Code::OrdPostOnlyWouldTake);
        }
        let takes = paper.takes(&shown, taker);
        let sum: u128 = takes.iter().map(|(_, quantity, _)| u128::from(quantity.nanos())).sum();
        let is_short = sum < u128::from(taker.leaves.nanos());
        if is_short && taker.time_in_force == TimeInForce::FillOrKill {
            return Err(Code::OrdFillOrKillShort);
        }
        if takes.is_empty() && taker.limit.is_none() {
            return Err(Code::OrdNoLiquidity);
        }
        if is_short && may_rest && before.is_none() && resting >= most {
            return Err(Code::RskVenueOrdersMax);
        }
        if paper.levels.len() + takes.len() + usize::from(may_rest) > PAPER_LEVELS_MAX {
            return Err(Code::OrdVenueBusy);
        }
        let is_cut = shown.against.len() == SHOWN_LEVELS_MAX;
        Ok(Granted { takes, beside: shown.beside, is_cut })
    }

    fn run_on_paper(
        &mut self,
        mut taker: Taker,
        granted: Granted,
        events: &mut Vec<VenueEvent>,
    ) -> OrderIndex {
        for (price, quantity, displayed) in granted.takes {
            self.last_trade_id += 1;
            let fill = ExecutionKind::Fill { price, quantity, trade_id: self.last_trade_id };
            taker.leaves = minus(taker.leaves, quantity);
            events.push(VenueEvent::Execution(taker.execution(fill, taker.leaves)));
            let Some(book) = book_of(&mut self.books, taker.instrument) else { return OrderIndex::NONE };
            book.traded += u128::from(quantity.nanos());
            if let Some(paper) = &mut book.paper {
                paper.take(key(taker.side.opposite(), price), quantity, displayed);
            }
        }
        match taker.limit {
            _ if taker.leaves.is_zero() => {}
            Some(price) if taker.may_rest() && !granted.is_cut => {
                let told = events.len();
                let index = self.rest(&taker, price, events);
                // What it tells the market.
                events.truncate(told);
                let Some(book) = book_of(&mut self.books, taker.instrument) else { return index };
                let Some(paper) = &mut book.paper else { return index };
                let level = paper.levels.entry(key(taker.side, price)).or_default();
                if level.displayed != granted.beside {
                    *level = Level { displayed: granted.beside, taken: Quantity::ZERO };
                }
                let place = Place { ahead: granted.beside, gone: Quantity::ZERO };
                paper.places.insert(taker.id, place);
                return index;
            }
            _ => self.end_rest(&taker, ExecutionKind::Expired, events),
        }
        OrderIndex::NONE
    }
}

#[cfg(test)]
mod tests;
