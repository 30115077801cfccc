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
use crate::execute::{Answer, Outcome};
use crate::gate::{AuthenticRequest, DecodedBody, Refused};
use crate::journal::{JournalError, OrderTrail, event};
use crate::types::{CancelOnDisconnect, ClientOrderId, Code, OrderId, OwnerId, UnixNanos};

/// Names beyond `orders.client_order_ids_max` that cancels may still use, besides a tenth of it.
const ANSWERS_RESERVED: usize = 1_000;

/// The client's names in an order message.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// Its own.
    pub(super) own: ClientOrderId,
    /// The order it cancels or replaces.
    pub(super) target: Option<ClientOrderId>,
}

/// One order message on its way through the checks.
pub(super) struct Message<'a> {
    pub(super) session: &'a Arc<SessionHandle>,
    pub(super) id: Option<RequestId>,
    pub(super) order: AuthenticRequest,
    pub(super) owner: OwnerId,
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
        if session.is_revoked() {
            return self.refuse(&message, Code::SesCertificateRevoked.into(), batch);
        }
        if let Err(code) = self.gate.spend(&message.order, owner, now) {
            return self.refuse(&message, code.into(), batch);
        }
        let body = match message.order.decoded() {
            Ok(body) => body,
            Err(error) => {
                let code = error.code;
                return self.refuse(&message, code.into(), batch);
            }
        };
        let Some((own, target)) = body.names() else {
            return match body {
                DecodedBody::DeadMan(_) => self.dead_man(&message, batch),
                DecodedBody::Kill(_) | DecodedBody::Trading(_) | DecodedBody::Reload(_) => {
                    self.operate(&message, batch)
                }
                _ => self.publish_from(&message, batch),
            };
        };
        let names = Names { own, target };
        if let Some(answer) = self.engine.answers().find(owner, own) {
            let answer = Arc::clone(answer);
            return self.repeat(&message, answer, batch);
        }
        // Who wants out still gets an answer when the names of the day are used up for everybody else.
        let is_way_out = matches!(body, DecodedBody::Cancel(_) | DecodedBody::MassCancel(_));
        let reserve = if is_way_out { self.answers_max / 10 + ANSWERS_RESERVED } else { 0 };
        if self.engine.answers().count() >= self.answers_max + reserve {
            return self.refuse(&message, Code::OrdVenueBusy.into(), batch);
        }
        match (body, target) {
            (DecodedBody::New(_), _) => self.new_order(&message, names, batch),
            (DecodedBody::Cancel(_), Some(target)) => self.cancel_order(&message, names, target, batch),
            (DecodedBody::Replace(_), Some(_)) => self.replace_order(&message, names, batch),
            (DecodedBody::MassCancel(_), _) => self.mass_cancel(&message, names, batch),
            _ => self.refuse(&message, Code::SesOpNotOffered.into(), batch),
        }
    }

    /// The order that this is a name of, and its events in the log.
    pub(super) fn named(&self, owner: OwnerId, name: ClientOrderId) -> Option<(OrderId, OrderTrail)> {
        let id = self.engine.answers().order_named(owner, name)?;
        self.engine.order(id).map(|record| (id, record.trail))
    }

    pub(super) fn answer(
        &mut self,
        message: &Message<'_>,
        names: Names,
        outcome: Outcome,
        entry: u64,
        batch: &mut Batch,
    ) {
        let answer = Answer {
            client_order_id: names.own,
            target: names.target,
            digest: *message.order.digest(),
            outcome,
            entry,
            receipt: OnceLock::new(),
        };
        let answer = self.engine.bind(message.owner, answer);
        let envelope = self.envelope(message);
        batch.outputs.push(Output::Answer { reader: message.session.number, answer, envelope });
    }

    fn envelope(&self, message: &Message<'_>) -> Envelope {
        Envelope { id: message.id.clone(), rate_limits: self.limits(message) }
    }

    pub(super) fn rate_limits(&self, message: &Message<'_>) -> Vec<RateLimit> {
        self.limits(message).into_iter().flatten().collect()
    }

    fn limits(&self, message: &Message<'_>) -> [Option<RateLimit>; 2] {
        [message.session.message_rate(), self.gate.order_rate(message.owner, message.now)]
    }

    /// The venue refused what was sealed as its input: for good, or, with a retryable code, for now.
    pub(super) fn refused_by_venue(
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
    pub(super) fn refuse_for_good(
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
        batch.send(message.session, encoded(&reply));
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
            reader: message.session.number,
            answer,
            envelope: self.envelope(message),
        });
        Ok(())
    }
}

/// The signature as it is sealed: 64 bytes or none.
pub(super) fn signature(order: &AuthenticRequest) -> event::Bytes {
    event::Bytes(order.sig().map(Vec::from).unwrap_or_default())
}

/// What is sealed of an order message that passed every check.
pub(super) fn order_event(
    message: &Message<'_>,
    id: Option<OrderId>,
    on_disconnect: CancelOnDisconnect,
) -> event::Order {
    let order = &message.order;
    event::Order {
        principal: message.session.principal.name_shared().into(),
        op: order.op().as_str().into(),
        order_id: id.map_or(0, |id| id.0),
        ts: order.ts().0,
        nonce: order.nonce().0,
        mac: order.mac().unwrap_or_default(),
        body: order.body().into(),
        received: order.received().0,
        admitted: message.now.0,
        sig: signature(order),
        on_disconnect: on_disconnect.to_byte(),
    }
}
