//! From a sealed order entry back to what the venue took.
//!
//! The entry was written by a program that let nothing wrong through; here it is bytes of a file, so everything is checked again.

use sealfeed_wire::{OrderCancel, OrderNew};

use crate::execute::Engine;
use crate::gate;
use crate::journal::event::{self, SyntheticInput};
use crate::types::{CancelOrder, CancelReason, NewOrder, OrderId, OwnerId, Principal};

/// Members of the synthetic market have numbers below this; the venue keeps a counter for each.
const SYNTHETIC_OWNERS_MAX: u32 = 1 << 21;

/// A client's message under the venue's names.
pub(super) enum Operation {
    New(NewOrder),
    Cancel(CancelOrder),
}

/// Reads an order entry; says what is wrong with one that the venue cannot have taken.
pub(super) fn operation(engine: &mut Engine, entry: &event::Order) -> Result<Operation, &'static str> {
    let owner = owner(engine, &entry.principal).ok_or("its principal has no number")?;
    let id = OrderId(entry.order_id);
    match &*entry.op {
        "order.new" => {
            let order = OrderNew::decode(&entry.body).map_err(|_| "its body is no order")?;
            let instruments = engine.instruments().clone();
            let instrument =
                instruments.by_symbol(order.symbol.as_str()).ok_or("the venue has no such instrument")?;
            let terms = gate::terms(&order, instrument).map_err(|_| "its terms are not the venue's")?;
            if engine.next_id() != id {
                return Err("its order has another name than the next one");
            }
            Ok(Operation::New(NewOrder {
                id,
                owner,
                client_order_id: order.cl_ord_id,
                instrument: instrument.id,
                side: order.side,
                quantity: terms.quantity,
                kind: terms.kind,
                time_in_force: terms.time_in_force,
                post_only: terms.post_only,
                self_trade: terms.self_trade,
            }))
        }
        "order.cancel" => {
            let cancel = OrderCancel::decode(&entry.body).map_err(|_| "its body is no cancel")?;
            let record = engine.order(id).ok_or("there is no order of this name")?;
            if record.client_order_id != cancel.orig_cl_ord_id {
                return Err("its body names another order");
            }
            Ok(Operation::Cancel(CancelOrder { owner, id, reason: CancelReason::Requested }))
        }
        _ => Err("the venue has no such operation"),
    }
}

fn owner(engine: &Engine, principal: &str) -> Option<OwnerId> {
    engine.owner(&principal_of(principal)?)
}

/// A principal from its text, `firm/user`.
pub(super) fn principal_of(text: &str) -> Option<Principal> {
    let (firm, user) = text.split_once('/')?;
    Principal::new(firm, user)
}

/// Checks an input of the synthetic market before the venue takes it, and gives out the name it has.
pub(super) fn check_synthetic(engine: &mut Engine, input: &SyntheticInput) -> Result<(), &'static str> {
    let (SyntheticInput::New { owner, .. } | SyntheticInput::Cancel { owner, .. }) = *input;
    if owner.is_multiple_of(2) || owner >= SYNTHETIC_OWNERS_MAX {
        return Err("its owner is no member of the synthetic market");
    }
    if let SyntheticInput::New { order_id, quantity, .. } = *input {
        if quantity == 0 {
            return Err("its quantity is zero");
        }
        if engine.next_id() != OrderId(order_id) {
            return Err("its order has another name than the next one");
        }
    }
    Ok(())
}
