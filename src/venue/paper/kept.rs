//! What is kept of a recording on which orders are filled: levels where orders rest or of which something is taken, and where in the queue
//! orders stand.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::super::book::Book;
use super::super::orders::{Order, OrderIndex, Orders};
use super::super::{Taker, Venue, book_of, minus};
use super::{PAPER_LEVELS_MAX, Shown};
use crate::types::{InstrumentId, OrderId, Price, Quantity, Side};

/// A level of which something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperLevel {
    /// Which side of the recording.
    pub side: Side,
    /// At which price.
    pub price: Price,
    /// What it displays.
    pub displayed: Quantity,
    /// What of that is taken.
    pub taken: Quantity,
}

/// Where an order stands in the queue of its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperPlace {
    /// Which order.
    pub order: OrderId,
    /// Quantity of the recording in front of it.
    pub ahead: Quantity,
    /// What of the quantity in front went away without a trade, so far: a trade that is told late may have been that.
    pub gone: Quantity,
}

/// What is kept of one instrument on paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaperState {
    /// Which instrument.
    pub instrument: InstrumentId,
    /// In the order of sides (buy first) and prices.
    pub levels: Vec<PaperLevel>,
    /// In the order of orders.
    pub places: Vec<PaperPlace>,
}

/// Whether it is an offer, and the price in nano-units.
pub(super) type LevelKey = (bool, i64);

pub(super) const fn key(side: Side, price: Price) -> LevelKey {
    (matches!(side, Side::Sell), price.nanos())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) displayed: Quantity,
    pub(super) taken: Quantity,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ahead: Quantity,
    pub(super) gone: Quantity,
}

/// One instrument's levels and places. Every price at which an order rests has a level.
#[derive(Debug, Default)]
pub(in crate::venue) struct Paper {
    pub(super) levels: BTreeMap<LevelKey, Level>,
    pub(super) places: BTreeMap<OrderId, Place>,
    /// For the order that comes next.
    pub(super) shown: Option<Shown>,
}

impl Paper {
    /// What an order takes of the levels it is shown: price, quantity, and what the level displays.
    pub(super) fn takes(&self, shown: &Shown, taker: &Taker) -> Vec<(Price, Quantity, Quantity)> {
        let mut missing = taker.leaves;
        let mut takes = Vec::new();
        for (price, displayed) in &shown.against {
            let (price, displayed) = (*price, *displayed);
            let is_within = taker.limit.is_none_or(|limit| match taker.side {
                Side::Buy => price <= limit,
                Side::Sell => price >= limit,
            });
            if missing.is_zero() || !is_within {
                break;
            }
            let level = self.levels.get(&key(taker.side.opposite(), price));
            let taken =
                level.filter(|level| level.displayed == displayed).map_or(Quantity::ZERO, |one| one.taken);
            let quantity = missing.min(minus(displayed, taken.min(displayed)));
            if !quantity.is_zero() {
                missing = minus(missing, quantity);
                takes.push((price, quantity, displayed));
            }
        }
        takes
    }

    pub(super) fn take(&mut self, key: LevelKey, quantity: Quantity, displayed: Quantity) {
        let level = self.levels.entry(key).or_default();
        if level.displayed != displayed {
            *level = Level { displayed, taken: Quantity::ZERO };
        }
        level.taken = Quantity::from_nanos(level.taken.nanos() + quantity.nanos());
    }

    pub(in crate::venue) fn digest_into(&self, hash: &mut Sha256) {
        hash.update((self.levels.len() as u64).to_le_bytes());
        for ((is_ask, price), Level { displayed, taken }) in &self.levels {
            hash.update([u8::from(*is_ask)]);
            hash.update(price.to_le_bytes());
            [displayed, taken].iter().for_each(|quantity| hash.update(quantity.nanos().to_le_bytes()));
        }
        hash.update((self.places.len() as u64).to_le_bytes());
        for (order, Place { ahead, gone }) in &self.places {
            [order.0, ahead.nanos(), gone.nanos()]
                .iter()
                .for_each(|number| hash.update(number.to_le_bytes()));
        }
    }

    /// Whether this can be kept of what rests in `book`.
    fn fits(&self, book: &Book, orders: &Orders) -> bool {
        let mut resting = [Side::Buy, Side::Sell].into_iter().flat_map(|side| book.ladder(side).iter(orders));
        let has_its_own = |index: OrderIndex| {
            let order = &orders[index];
            self.places.contains_key(&order.id) && self.levels.contains_key(&key(order.side, order.price))
        };
        let is_used = |(key, level): (&LevelKey, &Level)| {
            let side = if key.0 { Side::Sell } else { Side::Buy };
            let price = Price::from_nanos(key.1);
            level.taken <= level.displayed
                && (!level.taken.is_zero() || book.ladder(side).iter_at(price, orders).next().is_some())
        };
        self.places.len() == book.resting_orders() as usize
            && self.levels.len() <= PAPER_LEVELS_MAX
            && resting.all(has_its_own)
            && self.levels.iter().all(is_used)
    }

    /// # Panics
    /// A place, a level or an order is missing: our own mistake.
    pub(in crate::venue) fn check(&self, book: &Book, orders: &Orders) {
        assert!(self.fits(book, orders), "places and levels are not those of what rests on paper: {self:?}");
    }
}

impl Book {
    /// An order on paper has left the book, whatever became of it.
    pub(in crate::venue) fn leave_paper(&mut self, order: &Order) {
        let has_others = self.ladder(order.side).has_at(order.price);
        let Some(paper) = &mut self.paper else { return };
        paper.places.remove(&order.id);
        let key = key(order.side, order.price);
        if !has_others && paper.levels.get(&key).is_some_and(|level| level.taken.is_zero()) {
            paper.levels.remove(&key);
        }
    }
}

impl Venue {
    /// What is kept of every instrument on paper, in the order of instruments.
    pub fn papers(&self) -> impl Iterator<Item = PaperState> + '_ {
        (0_u32..).zip(&self.books).filter_map(|(place, book)| {
            let paper = book.as_ref()?.paper.as_ref()?;
            let instrument = InstrumentId(place);
            let place = |(order, place): (&OrderId, &Place)| PaperPlace {
                order: *order,
                ahead: place.ahead,
                gone: place.gone,
            };
            let levels = self.paper_levels(instrument).collect();
            Some(PaperState { instrument, levels, places: paper.places.iter().map(place).collect() })
        })
    }

    /// Puts back what [`Venue::papers`] told, after the orders; a book of which nothing is told has nothing.
    ///
    /// # Errors
    /// The instrument that is not on paper, or whose orders have other places.
    pub fn restore_papers(
        &mut self,
        states: impl IntoIterator<Item = PaperState>,
    ) -> Result<(), InstrumentId> {
        for PaperState { instrument, levels, places } in states {
            let book = book_of(&mut self.books, instrument).ok_or(instrument)?;
            let paper = book.paper.as_mut().ok_or(instrument)?;
            let level = |one: &PaperLevel| Level { displayed: one.displayed, taken: one.taken };
            paper.levels = levels.iter().map(|one| (key(one.side, one.price), level(one))).collect();
            let place = |one: &PaperPlace| Place { ahead: one.ahead, gone: one.gone };
            paper.places = places.iter().map(|one| (one.order, place(one))).collect();
            if (paper.levels.len(), paper.places.len()) != (levels.len(), places.len()) {
                return Err(instrument);
            }
        }
        for (place, book) in (0_u32..).zip(&self.books) {
            let Some(book) = book else { continue };
            if book.paper.as_ref().is_some_and(|paper| !paper.fits(book, &self.orders)) {
                return Err(InstrumentId(place));
            }
        }
        Ok(())
    }
}

impl Paper {
    /// A level displays so much now: what is taken of it is free again, and of the orders at its price, none has more in front of it
    /// than that, unless it had before it grew.
    pub(super) fn change_level(
        &mut self,
        side: Side,
        price: Price,
        quantity: Quantity,
        at_price: impl Iterator<Item = OrderIndex>,
        orders: &Orders,
    ) {
        let Some(level) = self.levels.get_mut(&key(side, price)) else { return };
        let shrinks = quantity < level.displayed;
        *level = Level { displayed: quantity, taken: Quantity::ZERO };
        let mut is_used = false;
        for index in at_price {
            is_used = true;
            if !shrinks {
                break;
            }
            if let Some(place) = self.places.get_mut(&orders[index].id) {
                let ahead = place.ahead.min(quantity);
                let gone = minus(place.ahead, ahead).nanos();
                place.gone = Quantity::from_nanos(place.gone.nanos().saturating_add(gone));
                place.ahead = ahead;
            }
        }
        if !is_used {
            self.levels.remove(&key(side, price));
        }
    }
}
