//! From a sealed order entry back to what the venue took.
//!
//! The entry was written by a program that let nothing wrong through; here it is bytes of a file, so everything is checked again.

use std::sync::OnceLock;

use sealfeed_audit::SessionLink;
use sealfeed_wire::{OrderCancel, OrderNew, SignedOp};

use crate::execute::{Answer, Engine, OnDisconnect, Origin, Outcome};
use crate::gate;
use crate::journal::event::{self, SyntheticInput};
use crate::types::{
    CancelOrder, CancelReason, ClientOrderId, Code, NewOrder, OrderId, OwnerId, Principal, SessionId,
};

const NO_SUCH_OPERATION: &str = "the venue has no such operation";

/// Members of the synthetic market have numbers below this; the venue keeps a counter for each.
const SYNTHETIC_OWNERS_MAX: u32 = 1 << 21;

/// A client's message under the venue's names.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    New(NewOrder, Origin),
    Cancel(CancelOrder),
}

/// A client's message, as it stands in the log.
pub(super) struct Read {
    pub(super) owner: OwnerId,
    pub(super) operation: Operation,
    /// Its answer, but for the outcome and the entry.
    pub(super) answer: Answer,
}

/// Reads an order entry; says what is wrong with one that the venue cannot have taken.
pub(super) fn read(
    engine: &mut Engine,
    entry: &event::Order,
    session: Option<SessionLink>,
) -> Result<Read, &'static str> {
    let owner = owner(engine, &entry.principal).ok_or("its principal has no number")?;
    let id = OrderId(entry.order_id);
    let op = SignedOp::parse(&entry.op).map_err(|_| NO_SUCH_OPERATION)?;
    match op {
        SignedOp::OrderNew => {
            let order = OrderNew::decode(&entry.body).map_err(|_| "its body is no order")?;
            let instruments = engine.instruments().clone();
            let instrument =
                instruments.by_symbol(order.symbol.as_str()).ok_or("the venue has no such instrument")?;
            let terms = gate::terms(&order, instrument).map_err(|_| "its terms are not the venue's")?;
            let session = session.ok_or("it came on no session")?;
            let on_disconnect =
                OnDisconnect::from_byte(entry.on_disconnect).ok_or("it ends in no known way")?;
            if engine.next_id() != id {
                return Err("its order has another name than the next one");
            }
            let origin = Origin { session: SessionId(session.id), on_disconnect };
            let order = NewOrder {
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
            };
            let answer = answer(op, &entry.body, order.client_order_id, None);
            Ok(Read { owner, operation: Operation::New(order, origin), answer })
        }
        SignedOp::OrderCancel => {
            let cancel = OrderCancel::decode(&entry.body).map_err(|_| "its body is no cancel")?;
            if engine.answers().order_named(owner, cancel.orig_cl_ord_id) != Some(id) {
                return Err("its body names another order");
            }
            let answer = answer(op, &entry.body, cancel.cl_ord_id, Some(cancel.orig_cl_ord_id));
            Ok(Read {
                owner,
                operation: Operation::Cancel(CancelOrder { owner, id, reason: CancelReason::Requested }),
                answer,
            })
        }
        _ => Err(NO_SUCH_OPERATION),
    }
}

/// Reads a message that was refused for good before it came to the venue.
pub(super) fn read_refused(
    engine: &Engine,
    entry: &event::OrderRefused,
) -> Result<(OwnerId, Answer), &'static str> {
    let owner = owner(engine, &entry.principal).ok_or("its principal has no number")?;
    let op = SignedOp::parse(&entry.op).map_err(|_| NO_SUCH_OPERATION)?;
    let code = Code::parse(&entry.code).ok_or("it was refused with an unknown code")?;
    let (own, target) = gate::names(op, &entry.body).ok_or("its body has no name")?;
    Ok((owner, Answer { outcome: Outcome::Refused(code), ..answer(op, &entry.body, own, target) }))
}

/// An answer without its outcome and its entry.
fn answer(op: SignedOp, body: &str, own: ClientOrderId, target: Option<ClientOrderId>) -> Answer {
    Answer {
        client_order_id: own,
        target,
        digest: gate::digest(op, body),
        outcome: Outcome::MassCanceled(0),
        entry: 0,
        receipt: OnceLock::new(),
    }
}

pub(super) fn owner(engine: &Engine, principal: &str) -> Option<OwnerId> {
    engine.owner(&principal_of(principal)?)
}

/// A principal from its text, `firm/user`.
pub(in crate::execute) fn principal_of(text: &str) -> Option<Principal> {
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
