//! Each input, executed again: what it must give is noted as due, and what it answers is bound.

use std::sync::Arc;

use sealfeed_audit::Receipt;
use sealfeed_audit::reader::Entry;

use super::due::{Due, Trail};
use super::input::{self, Operation};
use super::{ReExecution, Step};
use crate::execute::{Answer, Cause, Engine, EngineOptions, Outcome, ReportMessage, Withdrawn};
use crate::journal::{OrderTrail, event};
use crate::types::{Code, Instruments, OwnerId, UnixNanos};
use crate::venue::VenueEvent;

impl<F: Fn(Arc<Instruments>, EngineOptions) -> Engine> ReExecution<F> {
    pub(super) fn end_day(&mut self, entry: &Entry, end: &event::DayEnd) -> Step {
        let engine = self.ready(entry)?;
        let mut events = Vec::new();
        engine.end_day(end.day, &mut events);
        self.report.inputs += 1;
        self.day_ended = true;
        self.expect(&events, Cause::default(), UnixNanos(end.admitted));
        self.expect_state();
        Ok(())
    }

    pub(super) fn withdraw(&mut self, entry: &Entry, withdrawal: &event::Withdrawal) -> Step {
        let engine = self.ready(entry)?;
        let owner = input::owner(engine, &withdrawal.principal);
        let why = Withdrawn::from_log(&withdrawal.cause, &withdrawal.session);
        let mut events = Vec::new();
        match (owner, why) {
            (Some(owner), Some(why)) => engine.withdraw(owner, why, &mut events),
            _ => return Err(self.bad_input(entry, "nobody's orders are cancelled so")),
        };
        self.report.inputs += 1;
        self.expect(&events, Cause::default(), UnixNanos(withdrawal.admitted));
        self.expect_state();
        Ok(())
    }

    pub(super) fn synthetic(&mut self, entry: &Entry, batch: &event::Synthetic) -> Step {
        let mut events = Vec::new();
        let engine = self.ready(entry)?;
        let checked = batch.inputs.iter().try_for_each(|input| input::check_synthetic(engine, input));
        checked.map_err(|what| self.bad_input(entry, what))?;
        for input in &batch.inputs {
            let taker = self.ready_engine(entry)?.take_synthetic(input, &mut events);
            self.report.inputs += 1;
            self.expect(&events, Cause { taker, name: None }, UnixNanos(batch.admitted));
            events.clear();
        }
        self.expect_state();
        Ok(())
    }

    pub(super) fn order(&mut self, entry: &Entry, order: &event::Order) -> Step {
        let engine = self.ready(entry)?;
        let read = match input::read(engine, order, entry.header.session) {
            Ok(read) => read,
            Err(what) => return Err(self.bad_input(entry, what)),
        };
        let mut trail = match read.operation {
            Operation::New(new, _) => Some(OrderTrail::new(new.id.0)),
            Operation::Cancel(cancel) => {
                let kept = engine.order(cancel.id).map(|record| record.trail);
                Some(kept.unwrap_or(OrderTrail::new(cancel.id.0)))
            }
        };
        if entry.header.order != trail.map(|trail| trail.link()) {
            return Err(self.bad_input(entry, "it does not continue its order's life"));
        }
        if let Some(trail) = &mut trail {
            trail.advance(entry.header.seq);
        }
        let mut events = Vec::new();
        let at = trail.unwrap_or(OrderTrail::new(0));
        let (outcome, cause) = match read.operation {
            Operation::New(new, origin) => (
                engine.submit(new, origin, at, &mut events).map(|()| Outcome::Accepted(new.id)),
                Cause { taker: Some(new.id), name: None },
            ),
            Operation::Cancel(cancel) => (
                engine.cancel(cancel, at, &mut events).map(|()| Outcome::Canceled(cancel.id)),
                Cause { taker: None, name: Some(read.answer.client_order_id) },
            ),
        };
        self.report.inputs += 1;
        match outcome {
            Ok(outcome) => self.bind(entry, read.owner, &Answer { outcome, ..read.answer }),
            Err(code) => {
                let trail = match read.operation {
                    Operation::New(..) => Trail::Own(at),
                    Operation::Cancel(cancel) => Trail::Of(cancel.id),
                };
                let answer = Box::new(Answer { outcome: Outcome::Refused(code), ..read.answer });
                let answer = (!code.is_retryable()).then_some((read.owner, answer));
                self.due.push_back(Due { answer, ..Due::event(refusal_of(order, code), trail) });
            }
        }
        self.expect(&events, cause, UnixNanos(order.admitted));
        self.expect_state();
        Ok(())
    }

    /// A message that was refused for good before it came to the venue.
    pub(super) fn bind_refused(&mut self, entry: &Entry, refused: &event::OrderRefused) -> Step {
        let engine = self.ready(entry)?;
        match input::read_refused(engine, refused) {
            Ok((owner, answer)) => {
                self.bind(entry, owner, &answer);
                Ok(())
            }
            Err(what) => Err(self.bad_input(entry, what)),
        }
    }

    /// Binds an answer that stands on this entry.
    fn bind(&mut self, entry: &Entry, owner: OwnerId, answer: &Answer) {
        let seq = entry.header.seq;
        let receipt = Receipt { log_id: self.log, seq, hash: entry.hash };
        if let Some(engine) = &mut self.engine {
            engine.bind(owner, Answer { entry: seq, receipt: receipt.into(), ..answer.clone() });
        }
    }

    /// Turns what the venue did into the outputs that must follow.
    pub(super) fn expect(&mut self, events: &[VenueEvent], cause: Cause, at: UnixNanos) {
        let Some(engine) = &mut self.engine else { return };
        let epoch = engine.epoch();
        for event in events {
            let VenueEvent::Execution(execution) = event else { continue };
            let Some((event, report)) = engine.report(execution, cause) else { continue };
            if self.told.bytes_max > 0 {
                let text = report.encode(execution, cause, epoch, at);
                self.told.push(ReportMessage { owner: execution.owner, seq: report.seq, text });
            }
            self.due.push_back(Due::event(event, Trail::Of(execution.order)));
        }
    }

    fn expect_state(&mut self) {
        if let Some(state) = self.engine.as_mut().and_then(Engine::state_if_due) {
            self.due.push_back(Due::state(state));
        }
    }
}

/// What is sealed when the venue refuses an order or cancel.
fn refusal_of(order: &event::Order, code: Code) -> event::OrderRefused {
    event::OrderRefused {
        principal: order.principal.clone(),
        op: order.op.clone(),
        code: code.as_str().to_owned(),
        ts: order.ts,
        nonce: order.nonce,
        mac: order.mac,
        body: order.body.clone(),
        received: order.received,
        sig: order.sig.clone(),
        binds: !code.is_retryable(),
    }
}
