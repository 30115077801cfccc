//! Orders of the synthetic market: sealed in batches as inputs of the venue (docs/adr/0007), then executed like
//! anybody's.

use super::batch::Batch;
use super::core::{Core, Owners};
use super::executions::Cause;
use crate::journal::event::{self, SyntheticInput};
use crate::journal::{JournalError, Space};
use crate::source::{Member, OrderSlot, SyntheticOrder, SyntheticTerms};
use crate::types::{CancelOrder, ClientOrderId, NewOrder, OrderId, OrderKind, Side, UnixNanos};

/// Inputs of one entry; keeps an entry far below its largest size.
const INPUTS_PER_ENTRY_MAX: usize = 1_000;
/// Name of every synthetic order: its owner reads no reports.
const NAME: &str = "synthetic";

/// The venue's names for the synthetic market's resting orders, by slot. As long as the source has slots.
pub(super) struct SyntheticOrders {
    by_slot: Vec<Option<OrderId>>,
    name: Option<ClientOrderId>,
}

impl Default for SyntheticOrders {
    fn default() -> Self {
        Self { by_slot: Vec::new(), name: ClientOrderId::new(NAME).ok() }
    }
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

/// A synthetic order under the venue's names.
enum Operation {
    New(NewOrder),
    Cancel(CancelOrder),
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
            let operations: Vec<Operation> = orders.iter().filter_map(|order| self.name(order)).collect();
            let inputs = operations.iter().map(Operation::to_input).collect();
            let entry = self.journal.record(event::Synthetic { inputs, admitted: now.0 })?;
            batch.depends_on(entry);
            let mut events = Vec::new();
            for operation in operations {
                // What the venue refuses (an order that is gone, nothing to trade against) has no effect, here
                // as in a re-execution of the entry.
                let cause = match operation {
                    Operation::New(order) => {
                        let _ = self.venue.submit(order, &mut events);
                        Cause { taker: Some(order.id), cancel: None }
                    }
                    Operation::Cancel(cancel) => {
                        let _ = self.venue.cancel(cancel, &mut events);
                        Cause::default()
                    }
                };
                self.report(&events, cause, now, batch)?;
                events.clear();
            }
        }
        Ok(())
    }

    fn name(&mut self, order: &SyntheticOrder) -> Option<Operation> {
        match order {
            SyntheticOrder::Rest { member, slot, order } => {
                let order = self.order_of(*member, order)?;
                self.synthetic.put(*slot, order.id);
                Some(Operation::New(order))
            }
            SyntheticOrder::Take { member, order } => self.order_of(*member, order).map(Operation::New),
            SyntheticOrder::Cancel { member, slot } => {
                let id = self.synthetic.take(*slot)?;
                Some(Operation::Cancel(CancelOrder { owner: Owners::synthetic(member.0), id }))
            }
        }
    }

    fn order_of(&mut self, member: Member, terms: &SyntheticTerms) -> Option<NewOrder> {
        Some(NewOrder {
            id: self.orders.next_id(),
            owner: Owners::synthetic(member.0),
            client_order_id: self.synthetic.name?,
            instrument: terms.instrument,
            side: terms.side,
            quantity: terms.quantity,
            kind: terms.kind,
            time_in_force: terms.time_in_force,
        })
    }
}

impl Operation {
    fn to_input(&self) -> SyntheticInput {
        match self {
            Self::New(order) => SyntheticInput::New {
                owner: order.owner.0,
                order_id: order.id.0,
                instrument: order.instrument.0,
                buys: order.side == Side::Buy,
                price: match order.kind {
                    OrderKind::Limit(price) => Some(price.nanos()),
                    OrderKind::Market => None,
                },
                rests: order.time_in_force != crate::types::TimeInForce::ImmediateOrCancel,
                quantity: order.quantity.nanos(),
            },
            Self::Cancel(cancel) => SyntheticInput::Cancel { owner: cancel.owner.0, order_id: cancel.id.0 },
        }
    }
}
