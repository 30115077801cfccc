//! What recordings showed to orders on paper, between the log and the venue.

use super::Engine;
use crate::journal::event::{self, PaperInput};
use crate::journal::state;
use crate::types::{InstrumentId, OrderId, Price, Quantity, Side};
use crate::venue::{PaperLevel, PaperPlace, PaperState, Recorded, Shown, VenueEvent};

/// Whether an entry is what is displayed to the order that is next: a part of that input, and none of its own.
pub(super) fn is_shown(paper: &event::Paper) -> bool {
    matches!(paper.inputs[..], [PaperInput::Shown { .. }])
}

impl Engine {
    /// Whether orders in an instrument are filled against its recording.
    #[must_use]
    pub fn is_paper(&self, instrument: InstrumentId) -> bool {
        self.venue.is_paper(instrument)
    }

    /// Levels of a recording of which something is kept.
    pub fn paper_levels(&self, instrument: InstrumentId) -> impl Iterator<Item = PaperLevel> + '_ {
        self.venue.paper_levels(instrument)
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
        self.venue.paper_taken(instrument, side, price, displayed)
    }

    /// Whether a recorded trade at this price may concern an order on paper.
    #[must_use]
    pub fn is_paper_at(&self, instrument: InstrumentId, price: Price) -> bool {
        self.venue.is_paper_at(instrument, price)
    }

    /// Takes what a recording showed, as it was sealed. What the venue does is appended to `events`. Whether it was an input: what is
    /// displayed to the order that is next counts with that.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take_paper(
        &mut self,
        paper: &event::Paper,
        events: &mut Vec<VenueEvent>,
    ) -> Result<bool, &'static str> {
        let instrument = InstrumentId(paper.instrument);
        if !self.venue.is_paper(instrument) {
            return Err("the venue does not trade the instrument on paper");
        }
        if let [PaperInput::Shown { against, beside, last_price }] = &paper.inputs[..] {
            let level =
                |(price, quantity): &(i64, u64)| (Price::from_nanos(*price), Quantity::from_nanos(*quantity));
            let shown = Shown {
                against: against.iter().map(level).collect(),
                beside: Quantity::from_nanos(*beside),
                last_price: last_price.map(Price::from_nanos),
            };
            let too_much = |_| "more is shown than an order can take";
            self.venue.show_paper(instrument, shown).map_err(too_much)?;
            self.mark_paper(instrument);
            return Ok(false);
        }
        let recorded: Option<Vec<Recorded>> = paper.inputs.iter().map(recorded).collect();
        let recorded = recorded.ok_or("what is shown to an order does not stand alone")?;
        self.inputs += 1;
        for one in &recorded {
            self.venue.take_recorded(instrument, one, events);
        }
        self.mark_paper(instrument);
        Ok(true)
    }

    fn mark_paper(&mut self, instrument: InstrumentId) {
        if let Some(price) = self.venue.paper_mark(instrument) {
            self.positions.restore_mark(instrument, price);
        }
    }
}

fn recorded(input: &PaperInput) -> Option<Recorded> {
    match *input {
        PaperInput::Shown { .. } => None,
        PaperInput::Trade { price, quantity, sells, is_late } => Some(Recorded::Trade {
            price: Price::from_nanos(price),
            quantity: Quantity::from_nanos(quantity),
            aggressor: sells.map(side),
            is_late,
        }),
        PaperInput::Level { sells, price, quantity } => Some(Recorded::Level {
            side: side(sells),
            price: Price::from_nanos(price),
            quantity: Quantity::from_nanos(quantity),
        }),
        PaperInput::Clear => Some(Recorded::Clear),
    }
}

const fn side(sells: bool) -> Side {
    if sells { Side::Sell } else { Side::Buy }
}

pub(super) fn to_state(paper: &PaperState) -> state::Paper {
    let level = |level: &PaperLevel| {
        let PaperLevel { side, price, displayed, taken } = *level;
        (side == Side::Sell, price.nanos(), displayed.nanos(), taken.nanos())
    };
    let place = |place: &PaperPlace| (place.order.0, place.ahead.nanos(), place.gone.nanos());
    state::Paper {
        instrument: paper.instrument.0,
        levels: paper.levels.iter().map(level).collect(),
        places: paper.places.iter().map(place).collect(),
    }
}

pub(super) fn from_state(paper: &state::Paper) -> PaperState {
    let quantity = Quantity::from_nanos;
    let level = |(sells, price, displayed, taken): &(bool, i64, u64, u64)| PaperLevel {
        side: side(*sells),
        price: Price::from_nanos(*price),
        displayed: quantity(*displayed),
        taken: quantity(*taken),
    };
    let place = |(order, ahead, gone): &(u64, u64, u64)| PaperPlace {
        order: OrderId(*order),
        ahead: quantity(*ahead),
        gone: quantity(*gone),
    };
    PaperState {
        instrument: InstrumentId(paper.instrument),
        levels: paper.levels.iter().map(level).collect(),
        places: paper.places.iter().map(place).collect(),
    }
}
