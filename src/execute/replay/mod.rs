//! Executes a log's inputs again and compares every output with what was sealed, byte for byte and in its place.
//!
//! The reader under it checks checksums and links; whether the log is what its writer wrote is `audit verify`'s affair. Each run of the
//! server begins with empty books, as the server does; where a snapshot of the state is sealed one day, it is loaded here. Outputs
//! that a crash kept from the log are counted and not missed: nobody was ever told of them.

mod input;
mod report;

pub use report::{Content, Divergence, How, Report, Verdict};

use std::collections::VecDeque;
use std::sync::Arc;

use sealfeed_audit::reader::{Entry, ReadError};
use sealfeed_audit::{StateHash, kind};

use super::{Engine, EngineOptions, instruments};
use crate::journal::{self, Event, OrderTrail, SCHEMA, event};
use crate::types::{Code, Instruments, OrderId};
use crate::venue::{RULES, VenueEvent};
use input::Operation;

/// First names of orders above this leave too little room to count on.
const FIRST_ID_MAX: u64 = u64::MAX / 2;

/// Executes the inputs among `entries` again, from the first one.
///
/// # Errors
/// The log cannot be read, or an entry does not follow the one before.
pub fn reexecute(entries: impl Iterator<Item = Result<Entry, ReadError>>) -> Result<Report, ReadError> {
    reexecute_with(entries, Engine::new)
}

/// As [`reexecute`], with engines made by `make`: for other rules.
///
/// # Errors
/// As [`reexecute`].
pub fn reexecute_with(
    entries: impl Iterator<Item = Result<Entry, ReadError>>,
    make: impl Fn(Arc<Instruments>, EngineOptions) -> Engine,
) -> Result<Report, ReadError> {
    let mut again = ReExecution::new(make);
    for entry in entries {
        if let Err(end) = again.take(entry?) {
            again.report.verdict = *end;
            return Ok(again.report);
        }
    }
    again.end_run();
    Ok(again.report)
}

/// An output that must come next.
struct Due {
    kind: u16,
    payload: Vec<u8>,
    trail: Trail,
}

/// Where an output's place in the life of its order is kept.
enum Trail {
    /// It belongs to no order.
    None,
    /// With the order.
    Of(OrderId),
    /// Here: the venue refused the order.
    Own(OrderTrail),
}

/// A venue that has begun and whose instruments are not all listed yet.
struct Beginning {
    options: EngineOptions,
    instruments: Instruments,
    count: usize,
}

struct ReExecution<F> {
    make: F,
    report: Report,
    beginning: Option<Beginning>,
    engine: Option<Engine>,
    due: VecDeque<Due>,
    /// Reading began in the middle of a run.
    is_headless: bool,
    /// Finished orders are forgotten once the outputs at hand are compared.
    day_ended: bool,
    agreed: Option<(u64, u64)>,
}

type Step = Result<(), Box<Verdict>>;

impl<F: Fn(Arc<Instruments>, EngineOptions) -> Engine> ReExecution<F> {
    fn new(make: F) -> Self {
        let report = Report {
            verdict: Verdict::Verified,
            end: 0,
            runs: 0,
            inputs: 0,
            outputs: 0,
            states: 0,
            cut: 0,
            headless: 0,
            versions: Vec::new(),
        };
        let due = VecDeque::new();
        Self {
            make,
            report,
            beginning: None,
            engine: None,
            due,
            is_headless: false,
            day_ended: false,
            agreed: None,
        }
    }

    fn take(&mut self, entry: Entry) -> Step {
        let header = &entry.header;
        self.is_headless |= self.report.end == 0 && header.seq > 0;
        self.report.end = header.seq + 1;
        match header.kind {
            kind::GENESIS | kind::START | kind::RECOVERY => {
                self.is_headless = false;
                self.end_run();
                return Ok(());
            }
            _ if self.is_headless => {
                let event = journal::decode(header.kind, header.schema, &entry.payload);
                self.report.headless += event.map_or(0, |event| event.map_or(0, |event| inputs_in(&event)));
                return Ok(());
            }
            kind::STOP => return self.nothing_due(&entry),
            kind::STATE_HASH => return self.compare_state(entry),
            _ => {}
        }
        let event = match journal::decode(header.kind, header.schema, &entry.payload) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(()),
            Err(_) => return Err(refused(&entry, "its payload cannot be read".to_owned())),
        };
        match event {
            Event::Start(start) => {
                if !self.report.versions.contains(&start.version) {
                    self.report.versions.push(start.version);
                }
                Ok(())
            }
            Event::Stop(_) => self.nothing_due(&entry),
            Event::Venue(venue) => self.begin(&entry, &venue),
            Event::Instruments(list) => self.list(&entry, &list),
            Event::Owner(owner) => self.own(&entry, &owner),
            Event::DayEnd(end) => self.end_day(&entry, &end),
            Event::Order(order) => self.order(&entry, &order),
            Event::Synthetic(batch) => self.synthetic(&entry, &batch),
            Event::Execution(_) => self.compare(entry),
            // Without an order's link it was refused before it came to the venue.
            Event::OrderRefused(_) if header.order.is_some() => self.compare(entry),
            _ => Ok(()),
        }
    }

    /// A run is over, in good order or not.
    fn end_run(&mut self) {
        self.report.cut += self.due.len() as u64;
        self.due.clear();
        self.engine = None;
        self.beginning = None;
        self.day_ended = false;
        self.agreed = None;
    }

    fn begin(&mut self, entry: &Entry, venue: &event::Venue) -> Step {
        if self.engine.is_some() || self.beginning.is_some() {
            return Err(self.bad_input(entry, "a venue has begun already"));
        }
        if venue.rules != RULES {
            let why =
                format!("its orders were executed under rules {}, this program has {RULES}", venue.rules);
            return Err(refused(entry, why));
        }
        if venue.first_id > FIRST_ID_MAX || venue.state_hash_inputs == 0 {
            return Err(self.bad_input(entry, "a venue cannot begin so"));
        }
        let options = EngineOptions {
            first_id: venue.first_id,
            day: venue.day,
            resting_orders_max: venue.resting_orders_max,
            state_hash_inputs: venue.state_hash_inputs,
        };
        self.report.runs += 1;
        let count = venue.instruments as usize;
        self.beginning = Some(Beginning { options, instruments: Instruments::new(), count });
        self.make_if_listed();
        Ok(())
    }

    fn list(&mut self, entry: &Entry, list: &event::Instruments) -> Step {
        let taken =
            self.beginning.as_mut().map(|beginning| instruments::add(&mut beginning.instruments, list));
        if taken.flatten().is_none() {
            return Err(self.bad_input(entry, "the list of instruments does not go on like this"));
        }
        self.make_if_listed();
        Ok(())
    }

    fn make_if_listed(&mut self) {
        if let Some(done) = self.beginning.take_if(|some| some.instruments.count() >= some.count) {
            self.engine = Some((self.make)(Arc::new(done.instruments), done.options));
        }
    }

    fn own(&mut self, entry: &Entry, owner: &event::Owner) -> Step {
        let engine = self.ready(entry)?;
        let principal = input::principal_of(&owner.principal);
        let new = principal.filter(|principal| engine.owner(principal).is_none());
        match new.map(|principal| engine.add_owner(&principal)) {
            Some(expected) if expected == *owner => Ok(()),
            _ => Err(self.bad_input(entry, "the owner has another number, or had one before")),
        }
    }

    fn end_day(&mut self, entry: &Entry, end: &event::DayEnd) -> Step {
        let engine = self.ready(entry)?;
        let mut events = Vec::new();
        engine.end_day(end.day, &mut events);
        self.report.inputs += 1;
        self.day_ended = true;
        self.expect(entry, &events)?;
        self.expect_state();
        Ok(())
    }

    fn synthetic(&mut self, entry: &Entry, batch: &event::Synthetic) -> Step {
        let mut events = Vec::new();
        let engine = self.ready(entry)?;
        let checked = batch.inputs.iter().try_for_each(|input| input::check_synthetic(engine, input));
        checked.map_err(|what| self.bad_input(entry, what))?;
        for input in &batch.inputs {
            self.ready_engine(entry)?.take_synthetic(input, &mut events);
            self.report.inputs += 1;
            self.expect(entry, &events)?;
            events.clear();
        }
        self.expect_state();
        Ok(())
    }

    fn order(&mut self, entry: &Entry, order: &event::Order) -> Step {
        let engine = self.ready(entry)?;
        let operation = match input::operation(engine, order) {
            Ok(operation) => operation,
            Err(what) => return Err(self.bad_input(entry, what)),
        };
        let mut trail = match &operation {
            Operation::New(new) => OrderTrail::new(new.id.0),
            Operation::Cancel(cancel) => {
                engine.order(cancel.id).map_or(OrderTrail::new(cancel.id.0), |record| record.trail)
            }
        };
        if entry.header.order != Some(trail.link()) {
            return Err(self.bad_input(entry, "it does not continue its order's life"));
        }
        trail.advance(entry.header.seq);
        let mut events = Vec::new();
        let (outcome, refusal) = match operation {
            Operation::New(new) => (engine.submit(new, trail, &mut events), Trail::Own(trail)),
            Operation::Cancel(cancel) => (engine.cancel(cancel, trail, &mut events), Trail::Of(cancel.id)),
        };
        self.report.inputs += 1;
        if let Err(code) = outcome {
            let event = Event::from(refusal_of(order, code));
            let payload = encoded(entry, &event)?;
            self.due.push_back(Due { kind: event.kind(), payload, trail: refusal });
        }
        self.expect(entry, &events)?;
        self.expect_state();
        Ok(())
    }

    /// Turns what the venue did into the outputs that must follow.
    fn expect(&mut self, entry: &Entry, events: &[VenueEvent]) -> Step {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        for event in events {
            let VenueEvent::Execution(execution) = event else { continue };
            let Some(report) = engine.report(execution) else { continue };
            let event = Event::from(report.event);
            let payload = encoded(entry, &event)?;
            self.due.push_back(Due { kind: event.kind(), payload, trail: Trail::Of(execution.order) });
        }
        Ok(())
    }

    fn expect_state(&mut self) {
        if let Some(state) = self.engine.as_mut().and_then(Engine::state_if_due) {
            let payload = state.to_payload();
            self.due.push_back(Due { kind: kind::STATE_HASH, payload, trail: Trail::None });
        }
    }

    /// Compares an output with the one that is due.
    fn compare(&mut self, entry: Entry) -> Step {
        let seq = entry.header.seq;
        let got = content(entry);
        let Some(due) = self.due.pop_front() else {
            return Err(self.diverged(seq, How::Extra, None, got));
        };
        let trail = match &due.trail {
            Trail::None => None,
            Trail::Own(trail) => Some(*trail),
            Trail::Of(id) => {
                self.engine.as_ref().and_then(|engine| engine.order(*id)).map(|order| order.trail)
            }
        };
        let expected = Content {
            kind: due.kind,
            schema: SCHEMA,
            order: trail.map(|trail| trail.link()),
            payload: due.payload,
        };
        if expected != got {
            let is_state = expected.kind == kind::STATE_HASH && got.kind == kind::STATE_HASH;
            let how = if is_state { How::State } else { How::Output };
            return Err(self.diverged(seq, how, Some(expected), got));
        }
        if let (Trail::Of(id), Some(mut trail), Some(engine)) = (due.trail, trail, &mut self.engine) {
            trail.advance(seq);
            engine.keep_trail(id, trail);
        }
        if got.kind == kind::STATE_HASH {
            self.agree(seq, &got);
        } else {
            self.report.outputs += 1;
        }
        Ok(())
    }

    /// Compares a digest of the state: one that is due, or that of the beginning or the end of a run.
    fn compare_state(&mut self, entry: Entry) -> Step {
        if !self.due.is_empty() {
            return self.compare(entry);
        }
        let seq = entry.header.seq;
        let state = self.ready(&entry)?.state();
        let expected =
            Content { kind: kind::STATE_HASH, schema: SCHEMA, order: None, payload: state.to_payload() };
        let got = content(entry);
        if expected != got {
            return Err(self.diverged(seq, How::State, Some(expected), got));
        }
        self.agree(seq, &got);
        Ok(())
    }

    fn agree(&mut self, seq: u64, state: &Content) {
        self.report.states += 1;
        self.agreed = StateHash::from_payload(&state.payload).map(|state| (seq, state.inputs));
    }

    /// The engine, before an input: all outputs of the input before must have come.
    fn ready(&mut self, entry: &Entry) -> Result<&mut Engine, Box<Verdict>> {
        self.nothing_due(entry)?;
        let day_ended = std::mem::take(&mut self.day_ended);
        let engine = self.ready_engine(entry)?;
        if day_ended {
            engine.forget_finished();
        }
        Ok(engine)
    }

    fn ready_engine(&mut self, entry: &Entry) -> Result<&mut Engine, Box<Verdict>> {
        self.engine.as_mut().ok_or_else(|| {
            refused(entry, "no venue has begun before it: an older program wrote this log".to_owned())
        })
    }

    fn nothing_due(&mut self, entry: &Entry) -> Step {
        let Some(due) = self.due.pop_front() else { return Ok(()) };
        let expected = Content { kind: due.kind, schema: SCHEMA, order: None, payload: due.payload };
        Err(self.diverged(entry.header.seq, How::Missing, Some(expected), content(entry.clone())))
    }

    fn bad_input(&self, entry: &Entry, what: &'static str) -> Box<Verdict> {
        self.diverged(entry.header.seq, How::Input(what), None, content(entry.clone()))
    }

    fn diverged(&self, seq: u64, how: How, expected: Option<Content>, got: Content) -> Box<Verdict> {
        let agreed = self.agreed;
        Box::new(Verdict::Diverged(Box::new(Divergence { seq, how, expected, got, agreed })))
    }
}

/// How many inputs of the venue an entry holds.
fn inputs_in(event: &Event) -> u64 {
    match event {
        Event::Order(_) | Event::DayEnd(_) => 1,
        Event::Synthetic(batch) => batch.inputs.len() as u64,
        _ => 0,
    }
}

fn content(entry: Entry) -> Content {
    let header = entry.header;
    Content { kind: header.kind, schema: header.schema, order: header.order, payload: entry.payload }
}

fn refused(entry: &Entry, why: String) -> Box<Verdict> {
    Box::new(Verdict::Refused { seq: entry.header.seq, why })
}

fn encoded(entry: &Entry, event: &Event) -> Result<Vec<u8>, Box<Verdict>> {
    event.encode().map_err(|_| refused(entry, "an output of it cannot be encoded".to_owned()))
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
    }
}
