//! Signed order messages: from authentic to answered.
//!
//! The order of checks is the protocol's: time, nonce, body, known identifier, order rate, entitlement, risk,
//! venue. The first failure answers. Every final answer binds the client order identifier; a retryable refusal
//! and everything before the identifier was known does not.

use std::sync::{Arc, OnceLock};

use sealfeed_wire::reply::{ErrorReply, OrderState as WireState, OrderStatus, RateLimit};
use sealfeed_wire::{RequestId, Scaled};

use super::SessionHandle;
use super::answers::{Answer, Envelope, Outcome, encoded};
use super::batch::{Batch, Output};
use super::core::Core;
use super::executions::Cause;
use super::risk_context;
use crate::gate::{AuthenticRequest, DecodedBody, Refused};
use crate::journal::{JournalError, OrderTrail, Space, event};
use crate::types::{ClientOrderId, Code, OrderId, OrderState, OwnerId, UnixNanos};

/// The client's names in an order message.
#[derive(Clone, Copy)]
struct Names {
    /// Its own.
    own: ClientOrderId,
    /// The order it cancels.
    cancels: Option<ClientOrderId>,
}

/// One order message on its way through the checks.
pub(super) struct Message<'a> {
    pub(super) session: &'a Arc<SessionHandle>,
    pub(super) id: Option<RequestId>,
    pub(super) order: AuthenticRequest,
    owner: OwnerId,
    pub(super) now: UnixNanos,
}

impl Core {
    pub(super) fn order(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        order: AuthenticRequest,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let owner = self.owner(&session.principal)?;
        let message = Message { session, id, order, owner, now };
        if let Err(code) = self.gate.spend(&message.order, owner, now) {
            return self.refuse(&message, code.into(), batch);
        }
        let names = match message.order.decoded() {
            Ok(DecodedBody::New(order)) => Names { own: order.cl_ord_id, cancels: None },
            Ok(DecodedBody::Cancel(cancel)) => {
                Names { own: cancel.cl_ord_id, cancels: Some(cancel.orig_cl_ord_id) }
            }
            Ok(DecodedBody::Publish(_)) => return self.publish_from(&message, batch),
            Err(error) => {
                let code = error.code;
                return self.refuse(&message, code.into(), batch);
            }
        };
        if let Some(answer) = self.answers.find(owner, names.own) {
            let answer = Arc::clone(answer);
            return self.repeat(&message, answer, batch);
        }
        if self.answers.count() >= self.answers_max {
            return self.refuse(&message, Code::OrdVenueBusy.into(), batch);
        }
        match names.cancels {
            None => self.new_order(&message, names, batch),
            Some(target) => self.cancel_order(&message, names, target, batch),
        }
    }

    fn new_order(
        &mut self,
        message: &Message<'_>,
        names: Names,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if self.journal.space() == Space::Critical {
            return self.refuse(message, Code::AudLowSpace.into(), batch);
        }
        let (owner, now) = (message.owner, message.now);
        let (engine, entitlement) = (&self.engine, message.session.entitlement());
        let admitted = self.gate.admit(
            &message.order,
            owner,
            &entitlement,
            &self.instruments,
            |instrument, side| {
                let who = (owner, &message.session.principal);
                risk_context::of(engine, who, &entitlement, instrument, side)
            },
            now,
        );
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) if refused.code.is_retryable() => return self.refuse(message, refused, batch),
            Err(refused) => return self.refuse_for_good(message, names, refused.code, None, batch),
        };
        let order = admitted.into_new_order(self.engine.next_id());
        let mut trail = OrderTrail::new(order.id.0);
        let entry = self.record_order(message, order.id, &mut trail)?;
        batch.depends_on(entry);
        let mut events = Vec::new();
        if let Err(code) = self.engine.submit(order, trail, &mut events) {
            self.refuse_for_good(message, names, code, Some(&mut trail), batch)?;
            return self.seal_state_if_due();
        }
        self.answer(message, names, Outcome::Accepted(order.id), entry, batch);
        self.report(&events, Cause { taker: Some(order.id), cancel: None }, now, batch)?;
        self.seal_state_if_due()
    }

    fn cancel_order(
        &mut self,
        message: &Message<'_>,
        names: Names,
        target: ClientOrderId,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let entitlement = message.session.entitlement();
        let admitted = match self.gate.admit_cancel(&message.order, message.owner, &entitlement, message.now)
        {
            Ok(admitted) => admitted,
            Err(refused) if refused.code.is_retryable() => return self.refuse(message, refused, batch),
            Err(refused) => return self.refuse_for_good(message, names, refused.code, None, batch),
        };
        // The name of a cancel is no order's name, though its answer carries the order it cancelled.
        let found = self.answers.find(message.owner, target).filter(|answer| answer.cancels.is_none());
        let found = found.and_then(|answer| match answer.outcome {
            Outcome::Accepted(id) => self.engine.order(id).map(|record| (id, record.trail)),
            Outcome::Refused(_) => None,
        });
        let Some((id, mut trail)) = found else {
            return self.refuse_for_good(message, names, Code::OrdOrderUnknown, None, batch);
        };
        let entry = self.record_order(message, id, &mut trail)?;
        batch.depends_on(entry);
        let mut events = Vec::new();
        if let Err(code) = self.engine.cancel(admitted.into_cancel_order(id), trail, &mut events) {
            self.refuse_for_good(message, names, code, Some(&mut trail), batch)?;
            self.engine.keep_trail(id, trail);
            return self.seal_state_if_due();
        }
        self.answer(message, names, Outcome::Accepted(id), entry, batch);
        self.report(&events, Cause { taker: None, cancel: Some(names.own) }, message.now, batch)?;
        self.seal_state_if_due()
    }

    fn record_order(
        &self,
        message: &Message<'_>,
        id: OrderId,
        trail: &mut OrderTrail,
    ) -> Result<u64, JournalError> {
        let order = &message.order;
        let event = event::Order {
            principal: message.session.principal.to_string(),
            op: order.op().as_str().to_owned(),
            order_id: id.0,
            ts: order.ts().0,
            nonce: order.nonce().0,
            mac: *order.mac(),
            body: order.body().to_string(),
            received: order.received().0,
            admitted: message.now.0,
        };
        self.journal.record_of_order(trail, Some(&message.session.trail), event)
    }

    fn answer(
        &mut self,
        message: &Message<'_>,
        names: Names,
        outcome: Outcome,
        entry: u64,
        batch: &mut Batch,
    ) {
        let answer = Answer {
            client_order_id: names.own,
            cancels: names.cancels,
            digest: *message.order.digest(),
            outcome,
            entry,
            receipt: OnceLock::new(),
        };
        let answer = self.answers.bind(message.owner, answer);
        let envelope = self.envelope(message);
        batch.outputs.push(Output::Answer { queue: Arc::clone(&message.session.queue), answer, envelope });
    }

    fn envelope(&self, message: &Message<'_>) -> Envelope {
        Envelope { id: message.id.clone(), rate_limits: self.rate_limits(message) }
    }

    fn rate_limits(&self, message: &Message<'_>) -> Vec<RateLimit> {
        self.gate.order_rate(message.owner, message.now).into_iter().collect()
    }

    /// A final refusal: binds the identifier, carries a receipt.
    fn refuse_for_good(
        &mut self,
        message: &Message<'_>,
        names: Names,
        code: Code,
        trail: Option<&mut OrderTrail>,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let entry = self.record_refusal(message, code, trail)?;
        batch.depends_on(entry);
        self.answer(message, names, Outcome::Refused(code), entry, batch);
        Ok(())
    }

    /// A refusal that leaves the identifier free.
    pub(super) fn refuse(
        &mut self,
        message: &Message<'_>,
        refused: Refused,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        batch.depends_on(self.record_refusal(message, refused.code, None)?);
        let reply = ErrorReply {
            retry_after_ms: refused.retry_after_ms,
            rate_limits: self.rate_limits(message),
            cl_ord_id: message.order.decoded().ok().and_then(|body| match body {
                DecodedBody::New(order) => Some(order.cl_ord_id),
                DecodedBody::Cancel(cancel) => Some(cancel.cl_ord_id),
                DecodedBody::Publish(_) => None,
            }),
            ..ErrorReply::new(message.id.clone(), refused.code)
        };
        batch.send(&message.session.queue, encoded(&reply));
        Ok(())
    }

    fn record_refusal(
        &self,
        message: &Message<'_>,
        code: Code,
        trail: Option<&mut OrderTrail>,
    ) -> Result<u64, JournalError> {
        let order = &message.order;
        let event = event::OrderRefused {
            principal: message.session.principal.to_string(),
            op: order.op().as_str().to_owned(),
            code: code.as_str().to_owned(),
            ts: order.ts().0,
            nonce: order.nonce().0,
            mac: *order.mac(),
            body: order.body().to_string(),
            received: order.received().0,
        };
        match trail {
            Some(trail) => self.journal.record_of_order(trail, Some(&message.session.trail), event),
            None => self.journal.record_in(&message.session.trail, event),
        }
    }

    /// The same body again gets the first answer again; another body under the same name is refused.
    fn repeat(
        &mut self,
        message: &Message<'_>,
        answer: Arc<Answer>,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if answer.digest != *message.order.digest() {
            return self.refuse(message, Code::OrdClientOrderIdReused.into(), batch);
        }
        let event = event::OrderRepeated {
            principal: message.session.principal.to_string(),
            op: message.order.op().as_str().to_owned(),
            cl_ord_id: answer.client_order_id.to_string(),
            nonce: message.order.nonce().0,
            answer: answer.entry,
        };
        batch.depends_on(self.journal.record_in(&message.session.trail, event)?);
        batch.outputs.push(Output::Answer {
            queue: Arc::clone(&message.session.queue),
            answer,
            envelope: self.envelope(message),
        });
        Ok(())
    }
}

impl Core {
    /// Answers `order.status`. Reads only: an identifier never seen has the state `unknown`.
    pub(super) fn order_status(
        &self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        name: ClientOrderId,
        batch: &mut Batch,
    ) {
        let answer = self.engine.owner(&session.principal).and_then(|owner| self.answers.find(owner, name));
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
        };
        let answer = answer.map(Arc::clone);
        if let Some(answer) = &answer {
            status.orig_cl_ord_id = answer.cancels;
            match answer.outcome {
                Outcome::Accepted(order) => self.describe(order, &mut status),
                Outcome::Refused(code) => {
                    status.state = WireState::Rejected;
                    status.reason = Some(code.into());
                }
            }
        }
        batch.outputs.push(Output::Status {
            queue: Arc::clone(&session.queue),
            status: Box::new(status),
            answer,
        });
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
