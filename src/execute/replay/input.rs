//! From a sealed order entry back to what the venue took.
//!
//! The entry was written by a program that let nothing wrong through; here it is bytes of a file, so everything is checked again.

use std::sync::OnceLock;

use sealfeed_audit::SessionLink;
use sealfeed_wire::{MassCancelScope, SignedOp};

use crate::execute::{Answer, Engine, Mass, Origin, Outcome};
use crate::gate::{self, AdminCommand, DecodedBody};
use crate::journal::event::{self, SyntheticInput};
use crate::types::{
    CancelOnDisconnect, CancelOrder, CancelReason, ClientOrderId, Code, NewOrder, OrderId, OwnerId,
    Principal, ReplaceOrder, SessionId, Symbol,
};

const NO_SUCH_OPERATION: &str = "the venue has no such operation";

/// Members of the synthetic market have numbers below this; the venue keeps a counter for each.
const SYNTHETIC_OWNERS_MAX: u32 = 1 << 21;

/// A client's message under the venue's names.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    New(NewOrder, Origin),
    Cancel(CancelOrder),
    Replace(ReplaceOrder),
    MassCancel(Mass),
    /// For so many milliseconds; 0 disarms.
    DeadMan(u32),
}

impl Operation {
    /// The order whose life the message is an event of.
    pub(super) const fn order(&self) -> Option<OrderId> {
        match self {
            Self::New(order, _) => Some(order.id),
            Self::Cancel(cancel) => Some(cancel.id),
            Self::Replace(replace) => Some(replace.id),
            Self::MassCancel(_) | Self::DeadMan(_) => None,
        }
    }
}

/// A client's message, as it stands in the log.
pub(super) struct Read {
    pub(super) owner: OwnerId,
    pub(super) operation: Operation,
    /// Its answer, but for the outcome and the entry; `None` where its name is not bound, because it has none.
    pub(super) answer: Option<Answer>,
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
    let body = gate::decode(op, &entry.body).map_err(|_| "its body is none of its operation")?;
    let session = session.map(|link| SessionId(link.id)).ok_or("it came on no session")?;
    let instruments = engine.instruments().clone();
    let operation = match &body {
        DecodedBody::New(order) => {
            let instrument =
                instruments.by_symbol(order.symbol.as_str()).ok_or("the venue has no such instrument")?;
            let terms = gate::terms(order, instrument).map_err(|_| "its terms are not the venue's")?;
            let on_disconnect = CancelOnDisconnect::from_byte(entry.on_disconnect)
                .ok_or("nobody knows what becomes of it at a disconnect")?;
            if engine.next_id() != id {
                return Err("its order has another name than the next one");
            }
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
            Operation::New(order, Origin { session, on_disconnect })
        }
        DecodedBody::Cancel(cancel) => {
            named(engine, owner, cancel.orig_cl_ord_id, id)?;
            Operation::Cancel(CancelOrder { owner, id, reason: CancelReason::Requested })
        }
        DecodedBody::Replace(replace) => {
            named(engine, owner, replace.orig_cl_ord_id, id)?;
            let record = engine.order(id).ok_or("there is no order of this name")?;
            let instrument =
                instruments.by_id(record.instrument).ok_or("the venue has no such instrument")?;
            let (price, quantity) = gate::replacement(replace, record.kind, instrument)
                .map_err(|_| "its terms are not the venue's")?;
            Operation::Replace(ReplaceOrder { owner, id, price, quantity })
        }
        DecodedBody::MassCancel(cancel) => {
            let find = |symbol: Symbol| {
                instruments
                    .by_symbol(symbol.as_str())
                    .map(|one| one.id)
                    .ok_or("the venue has no such instrument")
            };
            let instrument = cancel.symbol.map(find).transpose()?;
            let session = (cancel.scope == MassCancelScope::Session).then_some(session);
            Operation::MassCancel(Mass { instrument, side: cancel.side, session })
        }
        DecodedBody::DeadMan(dead_man) => Operation::DeadMan(dead_man.timeout_ms),
        _ => return Err(NO_SUCH_OPERATION),
    };
    let answer = body.names().map(|(own, target)| answer(op, &entry.body, own, target));
    Ok(Read { owner, operation, answer })
}

/// Reads an operator's entry; says what is wrong with one that cannot have been carried out.
pub(super) fn read_admin(engine: &Engine, entry: &event::Admin) -> Result<AdminCommand, &'static str> {
    let op = SignedOp::parse(&entry.op).map_err(|_| NO_SUCH_OPERATION)?;
    let body = gate::decode(op, &entry.body).map_err(|_| "its body is none of its operation")?;
    gate::command(&body, engine.instruments()).map_err(|_| "it cannot be carried out")
}

fn named(engine: &Engine, owner: OwnerId, name: ClientOrderId, id: OrderId) -> Result<(), &'static str> {
    let is_named = engine.answers().order_named(owner, name) == Some(id);
    if is_named { Ok(()) } else { Err("its body names another order") }
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
