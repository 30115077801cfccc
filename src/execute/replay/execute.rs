//! Each input, executed again: what it must give is noted as due, and what it answers is bound.

use std::sync::Arc;

use sealfeed_audit::Receipt;
use sealfeed_audit::reader::Entry;

use super::due::{Due, Trail};
use super::input::{self, Operation};
use super::{ReExecution, Step};
use crate::execute::{
    Answer, Cause, Engine, EngineOptions, Outcome, ReportMessage, ReportStream, Withdrawn, dead_man_due,
};
use crate::journal::{OrderTrail, event};
use crate::types::{CancelOrder, Code, Instruments, OwnerId, ReplaceOrder, UnixNanos};
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

    pub(super) fn paper(&mut self, entry: &Entry, paper: &event::Paper) -> Step {
        let engine = self.ready(entry)?;
        let mut events = Vec::new();
        let taken = engine.take_paper(paper, &mut events);
        let is_input = taken.map_err(|what| self.bad_input(entry, what))?;
        if is_input {
            self.report.inputs += 1;
            self.expect(&events, Cause::default(), UnixNanos(paper.admitted));
            self.expect_state();
        }
        Ok(())
    }

    pub(super) fn order(&mut self, entry: &Entry, order: &event::Order) -> Step {
        let engine = self.ready(entry)?;
        let read = match input::read(engine, order, entry.header.session) {
            Ok(read) => read,
            Err(what) => return Err(self.bad_input(entry, what)),
        };
        let mut trail = match read.operation.order() {
            Some(id) => engine.order(id).map_or(OrderTrail::new(id.0), |record| record.trail),
            None => OrderTrail::new(0),
        };
        let link = read.operation.order().map(|_| trail.link());
        if entry.header.order != link {
            return Err(self.bad_input(entry, "it does not continue its order's life"));
        }
        trail.advance(entry.header.seq);
        let mut events = Vec::new();
        let admitted = UnixNanos(order.admitted);
        let (outcome, taker) = match read.operation {
            Operation::New(new, origin) => {
                let outcome = engine.submit(new, origin, trail, &mut events);
                (outcome.map(|()| Outcome::Accepted(new.id)), Some(new.id))
            }
            Operation::Cancel(cancel) => {
                let outcome = engine.cancel(cancel, trail, &mut events);
                (outcome.map(|()| Outcome::Canceled(cancel.id)), None)
            }
            Operation::Replace(replace) => {
                let outcome = engine.replace(replace, trail, &mut events);
                (outcome.map(|()| Outcome::Accepted(replace.id)), Some(replace.id))
            }
            Operation::MassCancel(mass) => {
                (Ok(Outcome::MassCanceled(engine.mass_cancel(read.owner, mass, &mut events))), None)
            }
            Operation::DeadMan(timeout_ms) => {
                engine.set_dead_man(read.owner, dead_man_due(timeout_ms, admitted));
                (Ok(Outcome::MassCanceled(0)), None)
            }
        };
        // The name of a new order is the order's own.
        let is_new = matches!(read.operation, Operation::New(..));
        let name = read.answer.as_ref().map(|answer| answer.client_order_id).filter(|_| !is_new);
        let cause = Cause { taker, name };
        self.report.inputs += 1;
        match (outcome, read.answer) {
            (Ok(outcome), Some(answer)) => self.bind(entry, read.owner, &Answer { outcome, ..answer }),
            (Ok(_), None) => {}
            (Err(code), answer) => {
                let trail = match read.operation {
                    Operation::Cancel(CancelOrder { id, .. })
                    | Operation::Replace(ReplaceOrder { id, .. }) => Trail::Of(id),
                    _ => Trail::Own(trail),
                };
                let answer = answer.filter(|_| !code.is_retryable()).map(|answer| {
                    (read.owner, Box::new(Answer { outcome: Outcome::Refused(code), ..answer }))
                });
                self.due.push_back(Due { answer, ..Due::event(refusal_of(order, code), trail) });
            }
        }
        self.expect(&events, cause, admitted);
        self.expect_state();
        Ok(())
    }

    pub(super) fn operate(&mut self, entry: &Entry, admin: &event::Admin) -> Step {
        let engine = self.ready(entry)?;
        let command = match input::read_admin(engine, admin) {
            Ok(command) => command,
            Err(what) => return Err(self.bad_input(entry, what)),
        };
        let mut events = Vec::new();
        // What it refuses changes nothing, and is told without an output of the venue.
        let _ = engine.operate(&command, &mut events);
        self.report.inputs += 1;
        self.expect(&events, Cause::default(), UnixNanos(admin.admitted));
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
                let stream = ReportStream::Owner(execution.owner);
                self.told.push(ReportMessage { stream, seq: report.seq, text });
                let text = report.encode_copy(execution, cause, epoch, at);
                let stream = ReportStream::Firm(report.principal.firm_shared());
                self.told.push(ReportMessage { stream, seq: report.firm_seq, text });
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
        principal: order.principal.to_string(),
        op: order.op.to_string(),
        code: code.as_str().to_owned(),
        ts: order.ts,
        nonce: order.nonce,
        mac: order.mac,
        body: order.body.to_string(),
        received: order.received,
        sig: order.sig.clone(),
        binds: !code.is_retryable(),
    }
}
