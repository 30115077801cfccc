//! `order.status`: what became of an order. Reads only.

use std::sync::Arc;

use sealfeed_wire::reply::{OrderState as WireState, OrderStatus};
use sealfeed_wire::{RequestId, Scaled};

use super::SessionHandle;
use super::batch::{Batch, Output};
use super::core::Core;
use crate::execute::Outcome;
use crate::types::{ClientOrderId, OrderId, OrderState};

impl Core {
    /// Answers `order.status`. Reads only: an identifier never seen has the state `unknown`.
    pub(super) fn order_status(
        &self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        name: ClientOrderId,
        batch: &mut Batch,
    ) {
        let answer =
            self.engine.owner(&session.principal).and_then(|owner| self.engine.answers().find(owner, name));
        let mut status = OrderStatus {
            id,
            cl_ord_id: name,
            orig_cl_ord_id: None,
            order_id: None,
            state: WireState::Unknown,
            leaves_qty: None,
            cum_qty: None,
            avg_price: None,
            reason: None,
            receipt: None,
            rate_limits: session.rate_limits(),
        };
        let answer = answer.map(Arc::clone);
        if let Some(answer) = &answer {
            status.orig_cl_ord_id = answer.target;
            if let Some(order) = answer.outcome.order() {
                self.describe(order, &mut status);
            }
            if let Outcome::Refused(code) = answer.outcome {
                status.state = WireState::Rejected;
                status.reason = Some(code.into());
            }
        }
        batch.outputs.push(Output::Status { reader: session.number, status: Box::new(status), answer });
    }

    fn describe(&self, id: OrderId, status: &mut OrderStatus) {
        let Some(record) = self.engine.order(id) else { return };
        let decimals = self.instruments.by_id(record.instrument).map(|one| one.decimals).unwrap_or_default();
        let quantity = |quantity| Some(Scaled::new(quantity, decimals.quantity));
        status.order_id = Some(id.0.into());
        status.leaves_qty = quantity(record.leaves);
        status.cum_qty = quantity(record.cumulative);
        status.avg_price = record.average_price();
        status.state = match record.state {
            OrderState::New => WireState::New,
            OrderState::PartiallyFilled => WireState::PartiallyFilled,
            OrderState::Filled => WireState::Filled,
            OrderState::Canceled => WireState::Canceled,
            OrderState::Rejected => WireState::Rejected,
            OrderState::Expired => WireState::Expired,
        };
    }
}
