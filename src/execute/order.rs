//! What is remembered of one order of a client, for the trading day.

use sealfeed_wire::{Decimals, Scaled};

use super::position::OpenPart;
use crate::journal::OrderTrail;
use crate::types::{
    CancelOnDisconnect, ClientOrderId, Execution, ExecutionKind, InstrumentId, NewOrder, OrderKind,
    OrderState, OwnerId, Price, Quantity, SessionId, Side, TimeInForce,
};
use crate::venue::OrderIndex;

/// Where an order came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The session whose message it was.
    pub session: SessionId,
    /// What becomes of it when that ends.
    pub on_disconnect: CancelOnDisconnect,
}

/// An order of a client.
#[derive(Clone, Debug)]
pub struct OrderRecord {
    /// The client's name for it.
    pub client_order_id: ClientOrderId,
    /// Whose it is.
    pub owner: OwnerId,
    /// Where it came from.
    pub origin: Origin,
    /// What it trades.
    pub instrument: InstrumentId,
    /// Which way.
    pub side: Side,
    /// Limit or market.
    pub kind: OrderKind,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// As it was submitted, or replaced.
    pub quantity: Quantity,
    /// Still open.
    pub leaves: Quantity,
    /// Traded in all.
    pub cumulative: Quantity,
    /// Where it stands.
    pub state: OrderState,
    /// Its events in the log.
    pub trail: OrderTrail,
    /// Where it rests in the venue, if it does: a hint for its cancel or replace, and so no part of the state.
    pub(super) place: OrderIndex,
    /// Sum of price times quantity over the fills, in 1e-18.
    pub(super) notional: i128,
}

impl OrderRecord {
    pub(super) fn new(order: &NewOrder, origin: Origin, trail: OrderTrail, place: OrderIndex) -> Self {
        Self {
            client_order_id: order.client_order_id,
            owner: order.owner,
            origin,
            instrument: order.instrument,
            side: order.side,
            kind: order.kind,
            time_in_force: order.time_in_force,
            quantity: order.quantity,
            leaves: order.quantity,
            cumulative: Quantity::default(),
            state: OrderState::New,
            trail,
            place,
            notional: 0,
        }
    }

    /// Takes over what an execution says.
    pub(super) fn advance(&mut self, execution: &Execution) {
        self.leaves = execution.leaves;
        self.cumulative = execution.cumulative;
        self.state = match execution.kind {
            ExecutionKind::New => OrderState::New,
            ExecutionKind::Replaced { price, quantity } => {
                (self.kind, self.quantity) = (OrderKind::Limit(price), quantity);
                if execution.cumulative.is_zero() { OrderState::New } else { OrderState::PartiallyFilled }
            }
            ExecutionKind::Fill { price, quantity, .. } => {
                let notional = i128::from(price.nanos()).saturating_mul(i128::from(quantity.nanos()));
                self.notional = self.notional.saturating_add(notional);
                if execution.leaves.is_zero() { OrderState::Filled } else { OrderState::PartiallyFilled }
            }
            ExecutionKind::Canceled { .. } => OrderState::Canceled,
            ExecutionKind::Expired => OrderState::Expired,
        };
    }

    /// What of it is open, by what has been reported.
    pub(super) const fn open_part(&self) -> OpenPart {
        let limit = match self.kind {
            OrderKind::Limit(price) => Some(price),
            OrderKind::Market => None,
        };
        OpenPart { limit, leaves: self.leaves }
    }

    /// Average price of what was filled, nine decimals; `None` before the first fill.
    #[must_use]
    pub fn average_price(&self) -> Option<Scaled<Price>> {
        let nine = Decimals::new(9).unwrap_or_default();
        Price::average(self.notional, self.cumulative).map(|price| Scaled::new(price, nine))
    }

    /// Whether it rests or may still trade.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, OrderState::New | OrderState::PartiallyFilled)
    }
}
