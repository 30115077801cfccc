//! Trading a crossed book at one price, which [`crate::types::auction`] finds.
//!
//! At that price all bids at or above it trade with all asks at or below it, best price first and oldest first, each pair for as much as
//! the smaller one has. After that the book is not crossed: an ask that is left below a bid that is left would have traded at their price,
//! and more than the most.

use super::book::Book;
use super::{Venue, VenueEvent, book_of};
use crate::types::auction::{Indicative, uncrossing};
use crate::types::{ExecutionKind, InstrumentId, MarketEventKind, Price, Side};

impl Venue {
    /// What trades if the auction of this instrument ends now; `None` if nothing would, or there is no such book. Visits the
    /// orders of the crossed part of the book, and of one price beyond it.
    #[must_use]
    pub fn indicative(&self, instrument: InstrumentId) -> Option<Indicative> {
        let book = self.book(instrument)?;
        let tick = Price::from_nanos(book.tick);
        uncrossing(self.totals(book, Side::Buy), self.totals(book, Side::Sell), tick, book.last_price)
    }

    /// Trades a crossed book at one price.
    pub(super) fn uncross(&mut self, instrument: InstrumentId, events: &mut Vec<VenueEvent>) {
        let Some(Indicative { price, .. }) = self.indicative(instrument) else { return };
        loop {
            let Some(book) = book_of(&mut self.books, instrument) else { return };
            let next = |side| book.ladder(side).best_within(Some(price)).map(|(_, index)| index);
            let (Some(bid), Some(ask)) = (next(Side::Buy), next(Side::Sell)) else { return };
            let quantity = self.orders[bid].leaves.min(self.orders[ask].leaves);
            self.last_trade_id += 1;
            let trade_id = self.last_trade_id;
            let fill = ExecutionKind::Fill { price, quantity, trade_id };
            let reduces = [bid, ask].map(|index| self.fill(index, quantity, fill, events));
            let trade = MarketEventKind::Trade { price, quantity, aggressor: None, trade_id };
            events.push(VenueEvent::market(instrument, trade));
            events.extend(reduces.map(|reduce| VenueEvent::market(instrument, reduce)));
            self.count_trade(instrument, price, quantity);
        }
    }

    /// What rests on a side, price by price, the best one first, in nano-units.
    fn totals<'a>(&'a self, book: &'a Book, side: Side) -> impl Iterator<Item = (Price, u128)> + 'a {
        let mut orders = book.ladder(side).iter(&self.orders).map(|index| &self.orders[index]).peekable();
        std::iter::from_fn(move || {
            let price = orders.peek()?.price;
            let at_price = std::iter::from_fn(|| orders.next_if(|order| order.price == price));
            Some((price, at_price.map(|order| u128::from(order.leaves.nanos())).sum()))
        })
    }
}
