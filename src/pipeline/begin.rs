//! How a run begins, and how it ends: with the state that the runs before left, and with the same for the next one.
//!
//! First come the outputs that a crash kept from the log, then the venue, then what cannot outlive a run: orders in instruments that are
//! not traded any more, those of the synthetic market, whose members begin anew, and those that were to go with their connection.

use std::sync::Arc;

use sealfeed_audit::{Receipt, StateHash};

use super::batch::Batch;
use super::core::Core;
use crate::execute::replay::{Due, Output as DueOutput};
use crate::execute::{Cause, Restored, Withdrawn};
use crate::journal::event::{self, SyntheticInput};
use crate::journal::{JournalError, state};
use crate::types::{InstrumentId, MarketEvent, MarketEventKind, Phase, Side, UnixNanos};
use crate::venue::{RestingOrder, VenueEvent};

/// Entries after which the state is sealed even where little happens: a start looks for the last snapshot from the log's end.
const SNAPSHOT_ENTRIES: u64 = 2_000_000;
/// Inputs of one entry of the synthetic market.
const CANCELS_PER_ENTRY_MAX: usize = 1_000;

/// When the whole state is sealed.
#[derive(Debug)]
pub(super) struct Snapshots {
    every: u64,
    /// Inputs that the last one covers, and the entry that it ends with.
    at: (u64, u64),
}

impl Snapshots {
    pub(super) const fn every(inputs: u64) -> Self {
        Self { every: inputs, at: (0, 0) }
    }
}

impl Core {
    /// The same core, which goes on with what the runs before left, if they left anything.
    #[must_use]
    pub fn going_on_with(mut self, restored: Option<Restored>) -> Self {
        self.restored = restored.map(Box::new);
        self
    }

    /// Seals what the venue begins with, and what the tape does. Before everything else.
    pub(super) fn open(&mut self, now: UnixNanos) -> Result<(), JournalError> {
        if let Some(tape) = &mut self.tape {
            tape.begin(&self.feed, now);
        }
        self.snapshots.at.1 = self.journal.recorded();
        match self.restored.take() {
            None => {
                self.record_opening(false)?;
                self.show_books(now);
            }
            Some(restored) => self.go_on_from(*restored, now)?,
        }
        // There are no readers yet: whoever comes first finds it said.
        self.indicate(now, &mut Batch::default());
        self.await_publishers();
        self.seal_state()?;
        self.snapshot_if_due()
    }

    fn go_on_from(&mut self, restored: Restored, now: UnixNanos) -> Result<(), JournalError> {
        let Restored { engine, due, told, snapshot_at, .. } = restored;
        self.engine = engine;
        self.snapshots.at.0 = snapshot_at;
        self.reports.take_over(self.engine.principals(), told, now);
        due.into_iter().try_for_each(|due| self.record_due(due))?;
        self.record_opening(true)?;
        let instruments = Arc::clone(&self.instruments);
        // There are no readers yet: what leaves goes nowhere, what is to be told later is kept where it always is.
        let mut batch = Batch::default();
        let mut events = Vec::new();
        self.engine.leave_out(&instruments, &mut events);
        // Of what is not traded any more there is no market to tell.
        events.retain(|event| matches!(event, VenueEvent::Execution(_)));
        self.report(&events, Cause::default(), now, &mut batch)?;
        if let Err(error) = self.engine.go_on(instruments, self.engine_options) {
            return Err(JournalError::State(error.to_string()));
        }
        self.show_books(now);
        self.begin_papers(now, &mut batch)?;
        self.withdraw_synthetic(now, &mut batch)?;
        let owners: Vec<_> = self.engine.owners_with_orders().collect();
        for owner in owners {
            self.withdraw(owner, Withdrawn::Restart, now, &mut batch)?;
        }
        Ok(())
    }

    fn record_opening(&self, continues: bool) -> Result<(), JournalError> {
        let mut opening = self.engine.opening(&self.instruments, &self.engine_options, continues);
        opening.try_for_each(|event| self.journal.record(event).map(drop))
    }

    /// Writes an output that a crash kept from the log. Its receipt is asked for at once: the log keeps those of the newest entries only.
    fn record_due(&mut self, due: Due) -> Result<(), JournalError> {
        let mut trail = due.trail(&self.engine);
        let seq = match (&due.output, &mut trail) {
            (DueOutput::Event(event), Some(trail)) => {
                self.journal.record_of_order(trail, None, event.as_ref().clone())?
            }
            (DueOutput::Event(event), None) => self.journal.record(event.as_ref().clone())?,
            (DueOutput::State(state), _) => self.journal.record_state(state)?,
        };
        if let Some((owner, answer)) = due.done(&mut self.engine, seq, trail) {
            let receipt: Receipt = self.journal.wait_durable(seq)?;
            let answer = self.engine.bind(owner, answer);
            answer.receipt.get_or_init(|| receipt);
        }
        Ok(())
    }

    /// Shows the books of the venue as they stand, and the phases that are not the ordinary one: books of the run before are cleared where
    /// the feed goes on with them, like any other event, and each order comes anew.
    fn show_books(&mut self, now: UnixNanos) {
        let instruments = Arc::clone(&self.instruments);
        let resting: Vec<RestingOrder> = self.engine.resting().collect();
        // Both are in the order of instruments.
        let mut resting = resting.into_iter().peekable();
        for instrument in instruments.iter().filter(|one| one.is_matched_here()) {
            let id = instrument.id;
            let shown = |side| self.feed.best(id, side).is_some();
            let mut kinds = Vec::new();
            if self.goes_on && (shown(Side::Buy) || shown(Side::Sell)) {
                kinds.push(MarketEventKind::Clear);
            }
            // Paper orders show in no book.
            while resting.next_if(|order| order.instrument < id).is_some() {}
            while let Some(order) = resting.next_if(|order| order.instrument == id) {
                let RestingOrder { id: order, side, price, leaves: quantity, .. } = order;
                kinds.push(MarketEventKind::Add { order, side, price, quantity });
            }
            // What trades as usual needs no word.
            if let Some(phase) = self.engine.phase(id).filter(|phase| *phase != Phase::Open) {
                let (state, reason) = phase.to_status();
                kinds.push(MarketEventKind::Status { state, reason });
            }
            self.show(id, kinds, now);
        }
    }

    fn show(&mut self, instrument: InstrumentId, kinds: Vec<MarketEventKind>, now: UnixNanos) {
        let count = kinds.len();
        for (place, kind) in kinds.into_iter().enumerate() {
            let last = place + 1 == count;
            let event = MarketEvent { instrument, ts_event: now, ts_recv: now, last, kind };
            // There are no readers yet.
            self.publish(&event, now, &mut Batch::default());
        }
    }

    /// Cancels what members of the synthetic market left: this run's members do not know of it.
    fn withdraw_synthetic(&mut self, now: UnixNanos, batch: &mut Batch) -> Result<(), JournalError> {
        let left: Vec<SyntheticInput> = self
            .engine
            .resting()
            .filter(|order| !order.owner.0.is_multiple_of(2))
            .map(|order| SyntheticInput::Cancel { owner: order.owner.0, order_id: order.id.0 })
            .collect();
        for inputs in left.chunks(CANCELS_PER_ENTRY_MAX) {
            self.take_synthetic(inputs, now, batch)?;
        }
        Ok(())
    }

    /// Seals the state that the venue ends in, whole, and ends the tape. After everything else.
    pub(super) fn close(&mut self) -> Result<(), JournalError> {
        if let Some(tape) = self.tape.take() {
            tape.end(&self.feed);
        }
        self.seal_state()?;
        self.seal_snapshot()
    }

    fn seal_state(&mut self) -> Result<(), JournalError> {
        self.journal.record_state(&self.engine.state()).map(drop)
    }

    /// After the outputs of every entry that holds inputs: seals the digest of the state, or all of it, if it is time to.
    pub(super) fn end_input(&mut self) -> Result<(), JournalError> {
        let due: Option<StateHash> = self.engine.state_if_due();
        due.map_or(Ok(()), |state| self.journal.record_state(&state).map(drop))?;
        self.snapshot_if_due()
    }

    /// The larger the state, the rarer: what a snapshot costs stays a small part of what was done since the last one.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), JournalError> {
        let (inputs, entry) = self.snapshots.at;
        let items = u64::try_from(self.engine.snapshot_items()).unwrap_or(u64::MAX);
        let is_due = self.engine.inputs() - inputs >= self.snapshots.every.max(items.saturating_mul(2))
            || self.journal.recorded().saturating_sub(entry) >= SNAPSHOT_ENTRIES.max(items);
        if is_due { self.seal_snapshot() } else { Ok(()) }
    }

    fn seal_snapshot(&mut self) -> Result<(), JournalError> {
        // The newest answers may still wait for their receipts, which are a part of the state.
        for answer in self.engine.answers().without_receipt() {
            let receipt = self.journal.wait_durable(answer.entry)?;
            answer.receipt.get_or_init(|| receipt);
        }
        let bytes = self.engine.snapshot();
        let inputs = self.engine.inputs();
        let parts = u32::try_from(bytes.len().div_ceil(state::PART_BYTES_MAX)).unwrap_or(u32::MAX);
        for (part, bytes) in (0..).zip(bytes.chunks(state::PART_BYTES_MAX)) {
            let bytes = event::Bytes(bytes.to_vec());
            self.journal.record(event::Snapshot { part, parts, inputs, bytes })?;
        }
        self.snapshots.at = (inputs, self.journal.recorded());
        Ok(())
    }
}
