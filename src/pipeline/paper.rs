//! Recordings on which orders are filled on paper: what they show is sealed as an input of the venue where an order depends on it, and
//! nowhere else.

use std::collections::BTreeMap;

use super::batch::Batch;
use super::core::Core;
use crate::execute::Cause;
use crate::feed::Book;
use crate::gate::AdmittedReplace;
use crate::journal::event::{self, PaperInput};
use crate::journal::{JournalError, Space};
use crate::types::{
    InstrumentId, Instruments, MarketDepth, MarketEvent, MarketEventKind, OrderId, OrderKind, Price,
    Quantity, Side, UnixNanos,
};
use crate::venue::SHOWN_LEVELS_MAX;

/// Inputs of one entry; keeps an entry far below its largest size.
const INPUTS_PER_ENTRY_MAX: usize = 1_000;

/// What an order, or a replace, is to be shown: instrument, side, limit, quantity.
pub(super) type Looks = (InstrumentId, Side, Option<Price>, Quantity);

/// One recording, as far as orders on paper are concerned.
#[derive(Debug, Default)]
struct Recording {
    /// Its trades are told apart from its book, so that either may come first.
    has_levels: bool,
    last_price: Option<Price>,
    /// Of the open event: trades that may concern orders.
    inputs: Vec<PaperInput>,
    /// The book was cleared, and the venue does not know of it yet.
    is_cleared: bool,
}

/// Every instrument on paper. As many as the configuration names.
#[derive(Debug, Default)]
pub(super) struct Papers(BTreeMap<InstrumentId, Recording>);

impl Papers {
    pub(super) fn new(instruments: &Instruments) -> Self {
        let recording =
            |depth| Recording { has_levels: depth == MarketDepth::Levels, ..Recording::default() };
        Self(instruments.iter().filter(|one| one.paper).map(|one| (one.id, recording(one.depth))).collect())
    }
}

impl Core {
    /// Whether an order in this instrument would be filled against what may be out of date.
    pub(super) fn is_paper_unknown(&self, instrument: InstrumentId) -> bool {
        self.papers.0.contains_key(&instrument) && self.feed.is_stale(instrument)
    }

    /// What a replace looks at; `None` if its order is not on paper or keeps its place.
    pub(super) fn shown_for_replace(&self, id: OrderId, replace: &AdmittedReplace) -> Option<Looks> {
        let record = self.engine.order(id)?;
        let OrderKind::Limit(before) = record.kind else { return None };
        let price = replace.price().unwrap_or(before);
        let quantity = replace.quantity().unwrap_or(record.quantity);
        let keeps_place = price == before && quantity <= record.quantity;
        let open = quantity.nanos().saturating_sub(record.cumulative.nanos());
        (self.papers.0.contains_key(&record.instrument) && !keeps_place).then_some((
            record.instrument,
            record.side,
            Some(price),
            Quantity::from_nanos(open),
        ))
    }

    /// Seals what an order on paper can see. Right before the order's own entry; nothing if the instrument is not on paper.
    pub(super) fn show_paper(
        &mut self,
        (instrument, side, limit, quantity): Looks,
        now: UnixNanos,
    ) -> Result<(), JournalError> {
        let Some(recording) = self.papers.0.get(&instrument) else { return Ok(()) };
        let Some(book) = self.feed.book(instrument) else { return Ok(()) };
        let against = self.within_reach(book, (instrument, side, limit, quantity));
        let shown = PaperInput::Shown {
            against,
            beside: limit.map_or(0, |limit| book.quantity_at(side, limit).nanos()),
            last_price: recording.last_price.map(Price::nanos),
        };
        let entry = event::Paper { instrument: instrument.0, inputs: vec![shown], admitted: now.0 };
        self.journal.record(entry.clone())?;
        self.engine.take_paper(&entry, &mut Vec::new()).map(drop).map_err(unfit)
    }

    /// The levels that an order can take: those within its limit, until they have enough.
    fn within_reach(&self, book: &Book, (instrument, side, limit, quantity): Looks) -> Vec<(i64, u64)> {
        let mut missing = quantity.nanos();
        let mut levels = Vec::new();
        for level in book.levels(side.opposite()).take(SHOWN_LEVELS_MAX) {
            let is_within = limit.is_none_or(|limit| match side {
                Side::Buy => level.price <= limit,
                Side::Sell => level.price >= limit,
            });
            if missing == 0 || !is_within {
                break;
            }
            let taken = self.engine.paper_taken(instrument, side.opposite(), level.price, level.quantity);
            let free = level.quantity.nanos().saturating_sub(taken.nanos());
            missing = missing.saturating_sub(free);
            levels.push((level.price.nanos(), level.quantity.nanos()));
        }
        levels
    }

    /// Takes note of a record that was published; at the end of its event, seals and executes what of it concerns orders on paper.
    pub(super) fn take_paper_event(
        &mut self,
        event: &MarketEvent,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Some(recording) = self.papers.0.get_mut(&event.instrument) else { return Ok(()) };
        match event.kind {
            MarketEventKind::Trade { price, quantity, aggressor, .. } => {
                recording.last_price = Some(price);
                if self.engine.is_paper_at(event.instrument, price) {
                    recording.inputs.push(PaperInput::Trade {
                        price: price.nanos(),
                        quantity: quantity.nanos(),
                        sells: aggressor.map(|side| side == Side::Sell),
                        is_late: recording.has_levels,
                    });
                }
            }
            MarketEventKind::Clear => recording.is_cleared = true,
            _ => {}
        }
        if event.last {
            return self.end_paper_event(event.instrument, now, batch);
        }
        if recording.inputs.len() >= INPUTS_PER_ENTRY_MAX {
            let inputs = std::mem::take(&mut recording.inputs);
            return self.seal_recorded(event.instrument, inputs, now, batch);
        }
        Ok(())
    }

    fn end_paper_event(
        &mut self,
        instrument: InstrumentId,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Some(recording) = self.papers.0.get_mut(&instrument) else { return Ok(()) };
        let mut levels = self.engine.paper_levels(instrument).peekable();
        if levels.peek().is_none() {
            // No order rests and nothing is taken.
            recording.is_cleared = false;
            recording.inputs.clear();
            return Ok(());
        }
        let mut inputs = std::mem::take(&mut recording.inputs);
        let is_cleared = recording.is_cleared;
        if is_cleared {
            inputs.push(PaperInput::Clear);
        }
        let Some(book) = self.feed.book(instrument) else { return Ok(()) };
        for level in levels {
            let (side, price) = (level.side, level.price);
            let quantity = book.quantity_at(side, price);
            if quantity != if is_cleared { Quantity::ZERO } else { level.displayed } {
                let (price, quantity) = (price.nanos(), quantity.nanos());
                inputs.push(PaperInput::Level { sells: side == Side::Sell, price, quantity });
            }
        }
        if inputs.is_empty() {
            return Ok(());
        }
        self.seal_recorded(instrument, inputs, now, batch)
    }

    /// Seals inputs and executes them.
    fn seal_recorded(
        &mut self,
        instrument: InstrumentId,
        mut inputs: Vec<PaperInput>,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        // What rests of the log's disk is for cancels and for what must be said. Nobody is filled by a trade that is left out here, and
        // levels are compared again at the next event.
        if self.journal.space() == Space::Critical {
            return Ok(());
        }
        if let Some(recording) = self.papers.0.get_mut(&instrument) {
            recording.is_cleared &= !inputs.contains(&PaperInput::Clear);
        }
        while !inputs.is_empty() {
            let rest = inputs.split_off(inputs.len().min(INPUTS_PER_ENTRY_MAX));
            let entry = event::Paper { instrument: instrument.0, inputs, admitted: now.0 };
            batch.depends_on(self.journal.record(entry.clone())?);
            let mut events = Vec::new();
            self.engine.take_paper(&entry, &mut events).map_err(unfit)?;
            self.report(&events, Cause::default(), now, batch)?;
            self.end_input()?;
            inputs = rest;
        }
        Ok(())
    }

    /// Recordings begin anew with every run: what levels displayed, and what was taken of them, is over, and orders keep their places.
    pub(super) fn begin_papers(&mut self, now: UnixNanos, batch: &mut Batch) -> Result<(), JournalError> {
        self.papers.0.values_mut().for_each(|recording| recording.is_cleared = true);
        let known: Vec<InstrumentId> = self.papers.0.keys().copied().collect();
        for instrument in known {
            if self.engine.paper_levels(instrument).next().is_some() {
                self.seal_recorded(instrument, vec![PaperInput::Clear], now, batch)?;
            }
        }
        Ok(())
    }
}

/// What we sealed the engine must take, or the log and the state are no longer one.
fn unfit(what: &'static str) -> JournalError {
    JournalError::State(what.to_owned())
}
