//! Signed order messages: from authentic to answered.
//!
//! The order of checks is the protocol's: time, nonce, body, known identifier, order rate, entitlement, risk,
//! venue. The first failure answers. Every final answer binds the client order identifier; a retryable refusal
//! and everything before the identifier was known does not.

use std::sync::{Arc, OnceLock};

use sealfeed_wire::RequestId;
use sealfeed_wire::reply::{ErrorReply, RateLimit};

use super::SessionHandle;
use super::answers::{Envelope, encoded};
use super::batch::{Batch, Output};
use super::core::Core;
use super::risk_context;
use crate::execute::{Answer, Cause, OnDisconnect, Origin, Outcome};
use crate::gate::{AuthenticRequest, DecodedBody, Refused};
use crate::journal::{JournalError, OrderTrail, Space, event};
use crate::types::{ClientOrderId, Code, OrderId, OwnerId, UnixNanos};

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
            Ok(
                DecodedBody::Replace(_)
                | DecodedBody::MassCancel(_)
                | DecodedBody::DeadMan(_)
                | DecodedBody::Kill(_)
                | DecodedBody::Trading(_),
            ) => return self.refuse(&message, Code::SesOpNotOffered.into(), batch),
            Err(error) => {
                let code = error.code;
                return self.refuse(&message, code.into(), batch);
            }
        };
        if let Some(answer) = self.engine.answers().find(owner, names.own) {
            let answer = Arc::clone(answer);
            return self.repeat(&message, answer, batch);
        }
        if self.engine.answers().count() >= self.answers_max {
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
        let origin = Origin { session: message.session.id(), on_disconnect: OnDisconnect::Stays };
        let event = order_event(message, Some(order.id), origin.on_disconnect);
        let entry = self.journal.record_of_order(&mut trail, Some(&message.session.trail), event)?;
        batch.depends_on(entry);
        let mut events = Vec::new();
        if let Err(code) = self.engine.submit(order, origin, trail, &mut events) {
            self.refused_by_venue(message, names, code, &mut trail, batch)?;
            return self.end_input();
        }
        self.answer(message, names, Outcome::Accepted(order.id), entry, batch);
        self.report(&events, Cause { taker: Some(order.id), name: None }, now, batch)?;
        self.end_input()
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
        let Some((id, mut trail)) = self.named(message.owner, target) else {
            return self.refuse_for_good(message, names, Code::OrdOrderUnknown, None, batch);
        };
        let event = order_event(message, Some(id), OnDisconnect::Stays);
        let entry = self.journal.record_of_order(&mut trail, Some(&message.session.trail), event)?;
        batch.depends_on(entry);
        let mut events = Vec::new();
        if let Err(code) = self.engine.cancel(admitted.into_cancel_order(id), trail, &mut events) {
            self.refused_by_venue(message, names, code, &mut trail, batch)?;
            self.engine.keep_trail(id, trail);
            return self.end_input();
        }
        self.answer(message, names, Outcome::Canceled(id), entry, batch);
        self.report(&events, Cause { taker: None, name: Some(names.own) }, message.now, batch)?;
        self.end_input()
    }

    /// The order that this is a name of, and its events in the log.
    fn named(&self, owner: OwnerId, name: ClientOrderId) -> Option<(OrderId, OrderTrail)> {
        let id = self.engine.answers().order_named(owner, name)?;
        self.engine.order(id).map(|record| (id, record.trail))
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
            target: names.cancels,
            digest: *message.order.digest(),
            outcome,
            entry,
            receipt: OnceLock::new(),
        };
        let answer = self.engine.bind(message.owner, answer);
        let envelope = self.envelope(message);
        batch.outputs.push(Output::Answer { queue: Arc::clone(&message.session.queue), answer, envelope });
    }

    fn envelope(&self, message: &Message<'_>) -> Envelope {
        Envelope { id: message.id.clone(), rate_limits: self.rate_limits(message) }
    }

    fn rate_limits(&self, message: &Message<'_>) -> Vec<RateLimit> {
        self.gate.order_rate(message.owner, message.now).into_iter().collect()
    }

    /// The venue refused what was sealed as its input: for good, or, with a retryable code, for now.
    fn refused_by_venue(
        &mut self,
        message: &Message<'_>,
        names: Names,
        code: Code,
        trail: &mut OrderTrail,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if code.is_retryable() {
            batch.depends_on(self.record_refusal(message, code, false, Some(trail))?);
            self.send_refusal(message, code.into(), batch);
            return Ok(());
        }
        self.refuse_for_good(message, names, code, Some(trail), batch)
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
        let entry = self.record_refusal(message, code, true, trail)?;
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
        batch.depends_on(self.record_refusal(message, refused.code, false, None)?);
        self.send_refusal(message, refused, batch);
        Ok(())
    }

    fn send_refusal(&self, message: &Message<'_>, refused: Refused, batch: &mut Batch) {
        let reply = ErrorReply {
            retry_after_ms: refused.retry_after_ms,
            rate_limits: self.rate_limits(message),
            cl_ord_id: message.order.decoded().ok().and_then(DecodedBody::client_order_id),
            ..ErrorReply::new(message.id.clone(), refused.code)
        };
        batch.send(&message.session.queue, encoded(&reply));
    }

    fn record_refusal(
        &self,
        message: &Message<'_>,
        code: Code,
        binds: bool,
        trail: Option<&mut OrderTrail>,
    ) -> Result<u64, JournalError> {
        let order = &message.order;
        let event = event::OrderRefused {
            principal: message.session.principal.to_string(),
            op: order.op().as_str().to_owned(),
            code: code.as_str().to_owned(),
            ts: order.ts().0,
            nonce: order.nonce().0,
            mac: order.mac().unwrap_or_default(),
            body: order.body().to_string(),
            received: order.received().0,
            sig: signature(order),
            binds,
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

/// The signature as it is sealed: 64 bytes or none.
fn signature(order: &AuthenticRequest) -> event::Bytes {
    event::Bytes(order.sig().map(Vec::from).unwrap_or_default())
}

/// What is sealed of an order message that passed every check.
fn order_event(message: &Message<'_>, id: Option<OrderId>, on_disconnect: OnDisconnect) -> event::Order {
    let order = &message.order;
    event::Order {
        principal: message.session.principal.to_string(),
        op: order.op().as_str().to_owned(),
        order_id: id.map_or(0, |id| id.0),
        ts: order.ts().0,
        nonce: order.nonce().0,
        mac: order.mac().unwrap_or_default(),
        body: order.body().to_string(),
        received: order.received().0,
        admitted: message.now.0,
        sig: signature(order),
        on_disconnect: on_disconnect.to_byte(),
    }
}
