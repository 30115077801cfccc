//! Orders of the synthetic market: sealed in batches as inputs of the venue (docs/adr/0007), then executed like
//! anybody's.

use std::collections::HashMap;

use super::batch::Batch;
use super::core::{Core, Owners};
use crate::journal::event::{self, SyntheticInput};
use crate::journal::JournalError;
use crate::source::SyntheticOrder;
use crate::types::{CancelOrder, ClientOrderId, NewOrder, OrderId, OrderKind, Side, TimeInForce, UnixNanos};

/// Inputs of one entry; keeps an entry far below its largest size.
const INPUTS_PER_ENTRY_MAX: usize = 1_000;

/// The venue's names for the synthetic market's resting orders, by member and token.
#[derive(Default)]
pub(super) struct SyntheticOrders {
    by_token: HashMap<(u32, u64), OrderId>,
}

impl Core {
    pub(super) fn trade_synthetic(
        &mut self,
        orders: &[SyntheticOrder],
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        for orders in orders.chunks(INPUTS_PER_ENTRY_MAX) {
            let operations: Vec<Operation> = orders.iter().filter_map(|order| self.name(order)).collect();
            let inputs = operations.iter().map(Operation::to_input).collect();
            let entry = self.journal.record(event::Synthetic { inputs, admitted: now.0 })?;
            batch.depends_on(entry);
            let mut events = Vec::new();
            for operation in operations {
                // What the venue refuses (an order that is gone, nothing to trade against) has no effect, here
                // as in a re-execution of the entry.
                let _ = match operation {
                    Operation::New(order) => self.venue.submit(order, &mut events),
                    Operation::Cancel(cancel, _) => self.venue.cancel(cancel, &mut events),
                };
                self.report(&events, now, batch)?;
                events.clear();
            }
        }
        Ok(())
    }

    fn name(&mut self, order: &SyntheticOrder) -> Option<Operation> {
        match *order {
            SyntheticOrder::New { member, token, instrument, side, price, quantity } => {
                let id = self.orders.next_id();
                let kind = price.map_or(OrderKind::Market, OrderKind::Limit);
                if price.is_some() {
                    self.synthetic.by_token.insert((member, token), id);
                }
                Some(Operation::New(NewOrder {
                    id,
                    owner: Owners::synthetic(member),
                    client_order_id: ClientOrderId::new("synthetic").ok()?,
                    instrument,
                    side,
                    quantity,
                    kind,
                    time_in_force: TimeInForce::GoodTillCancel,
                }))
            }
            SyntheticOrder::Cancel { member, token } => {
                let id = self.synthetic.by_token.remove(&(member, token))?;
                Some(Operation::Cancel(CancelOrder { owner: Owners::synthetic(member), id }, member))
            }
        }
    }
}

enum Operation {
    New(NewOrder),
    Cancel(CancelOrder, u32),
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
                quantity: order.quantity.nanos(),
            },
            Self::Cancel(cancel, _) => {
                SyntheticInput::Cancel { owner: cancel.owner.0, order_id: cancel.id.0 }
            }
        }
    }
}
