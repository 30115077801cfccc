//! Orders of the synthetic market: sealed in batches as inputs of the venue (docs/adr/0007), then executed like
//! anybody's.

use super::batch::Batch;
use super::core::Core;
use crate::execute::{Cause, synthetic_owner};
use crate::journal::event::{self, SyntheticInput};
use crate::journal::{JournalError, Space};
use crate::source::{Member, OrderSlot, SyntheticOrder, SyntheticTerms};
use crate::types::{OrderId, OrderKind, Side, TimeInForce, UnixNanos};

/// Inputs of one entry; keeps an entry far below its largest size.
const INPUTS_PER_ENTRY_MAX: usize = 1_000;

/// The venue's names for the synthetic market's resting orders, by slot. As long as the source has slots.
#[derive(Default)]
pub(super) struct SyntheticOrders {
    by_slot: Vec<Option<OrderId>>,
}

impl SyntheticOrders {
    fn put(&mut self, slot: OrderSlot, order: OrderId) {
        if self.by_slot.len() <= slot.index() {
            self.by_slot.resize(slot.index() + 1, None);
        }
        self.by_slot[slot.index()] = Some(order);
    }

    fn take(&mut self, slot: OrderSlot) -> Option<OrderId> {
        self.by_slot.get_mut(slot.index())?.take()
    }
}

impl Core {
    pub(super) fn trade_synthetic(
        &mut self,
        orders: &[SyntheticOrder],
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        // What rests of the log's disk is for cancels and for what must be said; the makers wait for better times.
        if self.journal.space() == Space::Critical {
            return Ok(());
        }
        for orders in orders.chunks(INPUTS_PER_ENTRY_MAX) {
            let inputs: Vec<SyntheticInput> = orders.iter().filter_map(|order| self.name(order)).collect();
            self.take_synthetic(&inputs, now, batch)?;
        }
        Ok(())
    }

    /// Seals inputs, no more than fit into an entry, and executes them.
    pub(super) fn take_synthetic(
        &mut self,
        inputs: &[SyntheticInput],
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        // What is executed is what was sealed, so that a re-execution of the entry executes the same.
        let entry = self.journal.record(event::Synthetic { inputs: inputs.to_vec(), admitted: now.0 })?;
        batch.depends_on(entry);
        let mut events = Vec::new();
        for input in inputs {
            let taker = self.engine.take_synthetic(input, &mut events);
            self.report(&events, Cause { taker, name: None }, now, batch)?;
            events.clear();
        }
        self.end_input()
    }

    fn name(&mut self, order: &SyntheticOrder) -> Option<SyntheticInput> {
        match order {
            SyntheticOrder::Rest { member, slot, order } => {
                let id = self.engine.next_id();
                self.synthetic.put(*slot, id);
                Some(input_of(*member, id, order))
            }
            SyntheticOrder::Take { member, order } => Some(input_of(*member, self.engine.next_id(), order)),
            SyntheticOrder::Cancel { member, slot } => {
                let order_id = self.synthetic.take(*slot)?.0;
                Some(SyntheticInput::Cancel { owner: synthetic_owner(member.0).0, order_id })
            }
        }
    }
}

fn input_of(member: Member, id: OrderId, terms: &SyntheticTerms) -> SyntheticInput {
    SyntheticInput::New {
        owner: synthetic_owner(member.0).0,
        order_id: id.0,
        instrument: terms.instrument.0,
        buys: terms.side == Side::Buy,
        price: match terms.kind {
            OrderKind::Limit(price) => Some(price.nanos()),
            OrderKind::Market => None,
        },
        rests: terms.time_in_force != TimeInForce::ImmediateOrCancel,
        quantity: terms.quantity.nanos(),
    }
}
