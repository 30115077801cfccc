//! What each signed message brings about once its nonce is spent and its name is new: judged, sealed as an input of the venue, executed,
//! answered, reported.

use std::sync::Arc;

use sealfeed_wire::reply::Done;

use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use super::orders::{Message, Names, order_event, signature};
use super::{ReloadRequest, risk_context};
use crate::execute::{Cause, Engine, Mass, Origin, Outcome, dead_man_due};
use crate::feed::Feed;
use crate::gate::{AdminCommand, Refused, StandingOrder};
use crate::journal::{JournalError, OrderTrail, Space, event};
use crate::types::{
    CancelOnDisconnect, ClientOrderId, Code, Entitlement, Instruments, OrderKind, ReplaceOrder,
};

impl Core {
    pub(super) fn new_order(
        &mut self,
        message: &Message<'_>,
        names: Names,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if self.journal.space() == Space::Critical {
            return self.refuse(message, Code::AudLowSpace.into(), batch);
        }
        let (owner, now) = (message.owner, message.now);
        let (engine, entitlement) = ((&self.engine, &self.feed), message.session.entitlement());
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
            Err(refused) => return self.refuse_admission(message, names, refused, batch),
        };
        let on_disconnect =
            entitlement.orders.as_ref().map(|rights| rights.cancel_on_disconnect).unwrap_or_default();
        if self.is_paper_unknown(admitted.instrument()) {
            return self.refuse(message, Code::OrdInstrumentHalted.into(), batch);
        }
        let order = admitted.into_new_order(self.engine.next_id());
        let limit = match order.kind {
            OrderKind::Limit(price) => Some(price),
            OrderKind::Market => None,
        };
        self.show_paper((order.instrument, order.side, limit, order.quantity), now)?;
        let mut trail = OrderTrail::new(order.id.0);
        let origin = Origin { session: message.session.id(), on_disconnect };
        let event = order_event(message, Some(order.id), on_disconnect);
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

    pub(super) fn cancel_order(
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
            Err(refused) => return self.refuse_admission(message, names, refused, batch),
        };
        let Some((id, mut trail)) = self.named(message.owner, target) else {
            return self.refuse_for_good(message, names, Code::OrdOrderUnknown, None, batch);
        };
        let event = order_event(message, Some(id), CancelOnDisconnect::Off);
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

    pub(super) fn replace_order(
        &mut self,
        message: &Message<'_>,
        names: Names,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if self.journal.space() == Space::Critical {
            return self.refuse(message, Code::AudLowSpace.into(), batch);
        }
        let (engine, entitlement) = ((&self.engine, &self.feed), message.session.entitlement());
        let standing = |target: &ClientOrderId| {
            standing_order(engine, &self.instruments, message, &entitlement, *target)
        };
        let (owner, now) = (message.owner, message.now);
        let admitted =
            self.gate.admit_replace(&message.order, owner, &entitlement, &self.instruments, standing, now);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse_admission(message, names, refused, batch),
        };
        let id = admitted.id();
        let Some(mut trail) = self.engine.order(id).map(|record| record.trail) else {
            return self.refuse_for_good(message, names, Code::OrdOrderUnknown, None, batch);
        };
        if let Some(looks) = self.shown_for_replace(id, &admitted) {
            if self.is_paper_unknown(looks.0) {
                return self.refuse(message, Code::OrdInstrumentHalted.into(), batch);
            }
            self.show_paper(looks, now)?;
        }
        let event = order_event(message, Some(id), CancelOnDisconnect::Off);
        let entry = self.journal.record_of_order(&mut trail, Some(&message.session.trail), event)?;
        batch.depends_on(entry);
        let replace = ReplaceOrder { owner, id, price: admitted.price(), quantity: admitted.quantity() };
        let mut events = Vec::new();
        if let Err(code) = self.engine.replace(replace, trail, &mut events) {
            self.refused_by_venue(message, names, code, &mut trail, batch)?;
            self.engine.keep_trail(id, trail);
            return self.end_input();
        }
        self.answer(message, names, Outcome::Accepted(id), entry, batch);
        self.report(&events, Cause { taker: Some(id), name: Some(names.own) }, now, batch)?;
        self.end_input()
    }

    pub(super) fn mass_cancel(
        &mut self,
        message: &Message<'_>,
        names: Names,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let (owner, now) = (message.owner, message.now);
        let entitlement = message.session.entitlement();
        let admitted =
            self.gate.admit_mass_cancel(&message.order, owner, &entitlement, &self.instruments, now);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse_admission(message, names, refused, batch),
        };
        let event = order_event(message, None, CancelOnDisconnect::Off);
        let entry = self.journal.record_in(&message.session.trail, event)?;
        batch.depends_on(entry);
        let mass = Mass {
            instrument: admitted.instrument(),
            side: admitted.side(),
            session: admitted.session().copied(),
        };
        let mut events = Vec::new();
        let count = self.engine.mass_cancel(owner, mass, &mut events);
        self.answer(message, names, Outcome::MassCanceled(count), entry, batch);
        self.report(&events, Cause { taker: None, name: Some(names.own) }, now, batch)?;
        self.end_input()
    }

    pub(super) fn dead_man(&mut self, message: &Message<'_>, batch: &mut Batch) -> Result<(), JournalError> {
        let (owner, now) = (message.owner, message.now);
        let admitted = match self.gate.admit_dead_man(&message.order, owner, now) {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(message, refused, batch),
        };
        let event = order_event(message, None, CancelOnDisconnect::Off);
        batch.depends_on(self.journal.record_in(&message.session.trail, event)?);
        self.engine.set_dead_man(owner, dead_man_due(admitted.timeout_ms(), now));
        batch.send(
            message.session,
            encoded(&Done {
                id: message.id.clone(),
                token_expires: None,
                rate_limits: self.rate_limits(message),
            }),
        );
        self.end_input()
    }

    pub(super) fn operate(&mut self, message: &Message<'_>, batch: &mut Batch) -> Result<(), JournalError> {
        let entitlement = message.session.entitlement();
        let admitted = self.gate.admit_admin(&message.order, &entitlement, &self.instruments, message.now);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(message, refused, batch),
        };
        let reload = if *admitted.command() == AdminCommand::Reload {
            match self.reloads.try_reserve() {
                Ok(place) => Some(place),
                Err(code) => return self.refuse(message, code.into(), batch),
            }
        } else {
            None
        };
        let order = &message.order;
        let event = event::Admin {
            principal: message.session.principal.to_string(),
            op: order.op().as_str().to_owned(),
            ts: order.ts().0,
            nonce: order.nonce().0,
            mac: order.mac().unwrap_or_default(),
            sig: signature(order),
            body: order.body().to_string(),
            received: order.received().0,
            admitted: message.now.0,
        };
        let entry = self.journal.record_in(&message.session.trail, event)?;
        batch.depends_on(entry);
        tracing::warn!(
            principal = %message.session.principal, op = order.op().as_str(), reason = %admitted.reason(),
            "an operator's command"
        );
        // What a call comes to when it ends is what was said of it last, whatever came in before it in this turn.
        self.indicate(message.now, batch);
        let mut events = Vec::new();
        if let Err(code) = self.engine.operate(admitted.command(), &mut events) {
            self.refuse(message, code.into(), batch)?;
            return self.end_input();
        }
        match reload {
            // Answered when it has been tried.
            Some(place) => {
                let (session, id) = (Arc::clone(message.session), message.id.clone());
                place.send(ReloadRequest { session, id, entry });
            }
            None => batch.send(
                message.session,
                encoded(&Done {
                    id: message.id.clone(),
                    token_expires: None,
                    rate_limits: self.rate_limits(message),
                }),
            ),
        }
        self.report(&events, Cause::default(), message.now, batch)?;
        self.end_input()
    }

    /// What the gate did not admit: refused for now, or for good.
    fn refuse_admission(
        &mut self,
        message: &Message<'_>,
        names: Names,
        refused: Refused,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if refused.code.is_retryable() {
            return self.refuse(message, refused, batch);
        }
        self.refuse_for_good(message, names, refused.code, None, batch)
    }
}

/// The order that a replace names, as it stands, with what surrounds it.
fn standing_order(
    (engine, feed): (&Engine, &Feed),
    instruments: &Arc<Instruments>,
    message: &Message<'_>,
    entitlement: &Entitlement,
    target: ClientOrderId,
) -> Option<StandingOrder> {
    let id = engine.answers().order_named(message.owner, target)?;
    let record = engine.order(id)?;
    let instrument = instruments.by_id(record.instrument)?;
    let who = (message.owner, &message.session.principal);
    Some(StandingOrder {
        id,
        instrument: record.instrument,
        side: record.side,
        kind: record.kind,
        quantity: record.quantity,
        leaves: record.leaves,
        traded: record.cumulative,
        context: risk_context::of((engine, feed), who, entitlement, instrument, record.side),
    })
}
