//! Executes a log's inputs again and compares every output with what was sealed, byte for byte and in its place.
//!
//! The reader under it checks checksums and links; whether the log is what its writer wrote is `audit verify`'s affair. A run of the
//! server goes on with the state in which the one before ended, and first writes the outputs that a crash kept from the log: nobody was
//! told of them before. Where the beginning of a log was pruned, execution begins at the first snapshot of the state. Every later
//! one is compared, like any output.

mod due;
mod execute;
mod input;
mod report;

pub use due::{Due, Output, Trail};
pub(super) use input::principal_of;
pub use report::{Content, Divergence, How, Report, Verdict};

use std::collections::VecDeque;
use std::sync::Arc;

use sealfeed_audit::reader::{Entry, ReadError};
use sealfeed_audit::{Genesis, Hash, Receipt, StateHash, kind, log_id};

use super::{Answer, Cause, Engine, EngineOptions, ReportMessage, instruments};
use crate::journal::{self, Event, SCHEMA, event};
use crate::types::{Instruments, UnixNanos};
use crate::venue::RULES;

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
    let mut again = ReExecution::new(make, Told::default());
    for entry in entries {
        if let Err(end) = again.take(entry?) {
            again.report.verdict = *end;
            return Ok(again.report);
        }
    }
    again.end_venue();
    Ok(again.report)
}

/// Executes the inputs among `entries` again and keeps what comes of it: the state at the end, the outputs that are not in the log, and
/// the newest execution reports, at most `told_bytes_max` of them. `log` is what receipts name.
///
/// # Errors
/// As [`reexecute`].
pub fn follow(
    entries: impl Iterator<Item = Result<Entry, ReadError>>,
    log: Hash,
    told_bytes_max: usize,
) -> Result<Followed, ReadError> {
    let mut again = ReExecution::new(Engine::new, Told::bounded(told_bytes_max));
    again.log = log;
    for entry in entries {
        if let Err(end) = again.take(entry?) {
            again.report.verdict = *end;
            again.engine = None;
            break;
        }
    }
    let ReExecution { report, engine, due, told, snapshot_at, .. } = again;
    Ok(Followed { report, engine, due: due.into(), told: told.messages.into(), snapshot_at })
}

/// What following a log came to.
pub struct Followed {
    /// What was executed and compared.
    pub report: Report,
    /// The state at the end; `None` if no venue has begun, or the verdict is another one than [`Verdict::Verified`].
    pub engine: Option<Engine>,
    /// Outputs that are not in the log, in order.
    pub due: Vec<Due>,
    /// The newest reports, in order.
    pub told: Vec<ReportMessage>,
    /// Inputs that the last snapshot covers; 0 if there was none.
    pub snapshot_at: u64,
}

/// The newest reports, as their readers get them.
#[derive(Default)]
struct Told {
    messages: VecDeque<ReportMessage>,
    bytes: usize,
    bytes_max: usize,
}

impl Told {
    fn bounded(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    fn push(&mut self, message: ReportMessage) {
        self.bytes += message.text.len();
        self.messages.push_back(message);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }
}

/// Parts of a snapshot, as they come.
#[derive(Default)]
struct Parts {
    next: u32,
    bytes: Vec<u8>,
}

/// A venue that has begun, or goes on, and whose instruments are not all listed yet.
struct Beginning {
    options: EngineOptions,
    instruments: Instruments,
    count: usize,
    continues: bool,
}

struct ReExecution<F> {
    make: F,
    report: Report,
    beginning: Option<Beginning>,
    engine: Option<Engine>,
    due: VecDeque<Due>,
    told: Told,
    log: Hash,
    /// Reading began in the middle of a venue's life.
    is_headless: bool,
    /// A run has ended, in good order or not, and the next one has not said whether its venue goes on.
    is_between_runs: bool,
    /// A snapshot that is being read: to begin with, or to be compared.
    parts: Parts,
    /// Inputs that the last one covers.
    snapshot_at: u64,
    /// Finished orders are forgotten once the outputs at hand are compared.
    day_ended: bool,
    agreed: Option<(u64, u64)>,
}

type Step = Result<(), Box<Verdict>>;

impl<F: Fn(Arc<Instruments>, EngineOptions) -> Engine> ReExecution<F> {
    fn new(make: F, told: Told) -> Self {
        let report = Report {
            verdict: Verdict::Verified,
            end: 0,
            runs: 0,
            inputs: 0,
            outputs: 0,
            states: 0,
            snapshots: 0,
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
            told,
            log: Hash::default(),
            is_headless: false,
            is_between_runs: false,
            parts: Parts::default(),
            snapshot_at: 0,
            day_ended: false,
            agreed: None,
        }
    }

    fn take(&mut self, entry: Entry) -> Step {
        let header = &entry.header;
        self.is_headless |= self.report.end == 0 && header.seq > 0;
        self.report.end = header.seq + 1;
        match header.kind {
            kind::GENESIS => {
                if let Some(genesis) = Genesis::from_payload(&entry.payload) {
                    self.log = log_id(&genesis.origin, &genesis.random);
                }
                return Ok(());
            }
            kind::START | kind::RECOVERY => {
                self.is_between_runs = true;
                // What had not begun when the run before ended begins again, or not at all.
                self.beginning = None;
                return Ok(());
            }
            kind::STOP => return self.nothing_due(&entry),
            kind::STATE_HASH if self.is_headless => return Ok(()),
            kind::STATE_HASH => return self.compare_state(entry),
            _ => {}
        }
        let event = match journal::decode(header.kind, header.schema, &entry.payload) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(()),
            Err(_) => return Err(refused(&entry, "its payload cannot be read".to_owned())),
        };
        match event {
            Event::Venue(venue) if !self.is_headless || !venue.continues => self.begin(&entry, &venue),
            Event::Snapshot(part) => self.snapshot(entry, part),
            event if self.is_headless => {
                self.report.headless += inputs_in(&event);
                Ok(())
            }
            Event::Start(start) => {
                if !self.report.versions.contains(&start.version) {
                    self.report.versions.push(start.version);
                }
                Ok(())
            }
            Event::Stop(_) => self.nothing_due(&entry),
            Event::Instruments(list) => self.list(&entry, &list),
            Event::Owner(owner) => self.own(&entry, &owner),
            Event::DayEnd(end) => self.end_day(&entry, &end),
            Event::Order(order) => self.order(&entry, &order),
            Event::Synthetic(batch) => self.synthetic(&entry, &batch),
            Event::Paper(paper) => self.paper(&entry, &paper),
            Event::Withdrawal(withdrawal) => self.withdraw(&entry, &withdrawal),
            Event::Admin(admin) => self.operate(&entry, &admin),
            Event::Execution(_) => self.compare(entry),
            Event::OrderRefused(_) if header.order.is_some() => self.compare(entry),
            // It was refused before it came to the venue.
            Event::OrderRefused(refused) if refused.binds => self.bind_refused(&entry, &refused),
            _ => Ok(()),
        }
    }

    /// The life of a venue is over.
    fn end_venue(&mut self) {
        self.report.cut += self.due.len() as u64;
        self.due.clear();
        self.engine = None;
        self.day_ended = false;
        self.agreed = None;
    }

    fn begin(&mut self, entry: &Entry, venue: &event::Venue) -> Step {
        if self.beginning.is_some() || (self.engine.is_some() && !self.is_between_runs) {
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
        if venue.continues {
            // What a crash kept from the log was to be written before.
            self.nothing_due(entry)?;
            let goes_on = |engine: &Engine| (engine.epoch().0, engine.day()) == (venue.first_id, venue.day);
            if !self.engine.as_ref().is_some_and(goes_on) {
                return Err(self.bad_input(entry, "it goes on from another state than the log has"));
            }
        } else {
            self.end_venue();
        }
        (self.is_between_runs, self.is_headless) = (false, false);
        self.report.runs += 1;
        let count = venue.instruments as usize;
        let instruments = Instruments::new();
        self.beginning = Some(Beginning { options, instruments, count, continues: venue.continues });
        self.make_if_listed(entry)
    }

    fn list(&mut self, entry: &Entry, list: &event::Instruments) -> Step {
        let taken =
            self.beginning.as_mut().map(|beginning| instruments::add(&mut beginning.instruments, list));
        if taken.flatten().is_none() {
            return Err(self.bad_input(entry, "the list of instruments does not go on like this"));
        }
        self.make_if_listed(entry)
    }

    fn make_if_listed(&mut self, entry: &Entry) -> Step {
        let Some(done) = self.beginning.take_if(|some| some.instruments.count() >= some.count) else {
            return Ok(());
        };
        let instruments = Arc::new(done.instruments);
        if !done.continues {
            self.engine = Some((self.make)(instruments, done.options));
            return Ok(());
        }
        let mut events = Vec::new();
        if let Some(engine) = &mut self.engine {
            engine.leave_out(&instruments, &mut events);
        }
        // Nobody was there to cancel: what these orders were in is not traded any more.
        self.expect(&events, Cause::default(), UnixNanos(entry.header.stamp.utc_ns));
        if let Some(engine) = &mut self.engine {
            engine.go_on(instruments, done.options).map_err(|error| refused(entry, error.to_string()))?;
        }
        Ok(())
    }

    /// Begins with a snapshot, or compares one.
    fn snapshot(&mut self, entry: Entry, part: event::Snapshot) -> Step {
        if !self.is_headless {
            self.nothing_due(&entry)?;
        }
        if part.part == 0 {
            self.parts = Parts::default();
        }
        if part.part != self.parts.next || part.part >= part.parts {
            // The rest of one whose beginning was pruned.
            return if self.is_headless {
                Ok(())
            } else {
                Err(self.bad_input(&entry, "the parts of a snapshot do not follow one another"))
            };
        }
        self.parts.next += 1;
        self.parts.bytes.extend(part.bytes.0);
        if self.parts.next < part.parts {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.parts).bytes;
        if self.is_headless {
            self.engine = Some(
                Engine::from_snapshot(&bytes, self.log)
                    .map_err(|error| refused(&entry, error.to_string()))?,
            );
            self.is_headless = false;
            (self.snapshot_at, self.report.snapshots) = (part.inputs, self.report.snapshots + 1);
            return Ok(());
        }
        if self.ready(&entry)?.snapshot() == bytes {
            (self.snapshot_at, self.report.snapshots) = (part.inputs, self.report.snapshots + 1);
            return Ok(());
        }
        Err(self.diverged(entry.header.seq, How::Snapshot, None, content(entry)))
    }

    fn own(&mut self, entry: &Entry, owner: &event::Owner) -> Step {
        let engine = self.ready(entry)?;
        let principal = principal_of(&owner.principal);
        let new = principal.filter(|principal| engine.owner(principal).is_none());
        match new.map(|principal| engine.add_owner(&principal)) {
            Some(expected) if expected == *owner => Ok(()),
            _ => Err(self.bad_input(entry, "the owner has another number, or had one before")),
        }
    }

    /// Compares an output with the one that is due.
    fn compare(&mut self, entry: Entry) -> Step {
        let (seq, hash) = (entry.header.seq, entry.hash);
        let Some(due) = self.due.pop_front() else {
            return Err(self.diverged(seq, How::Extra, None, content(entry)));
        };
        let mut trail = self.engine.as_ref().and_then(|engine| due.trail(engine));
        let Some(expected) = due.content(trail) else {
            return Err(refused(&entry, "an output of it cannot be encoded".to_owned()));
        };
        let got = content(entry);
        if expected != got {
            let is_state = expected.kind == kind::STATE_HASH && got.kind == kind::STATE_HASH;
            let how = if is_state { How::State } else { How::Output };
            return Err(self.diverged(seq, how, Some(expected), got));
        }
        if let Some(trail) = &mut trail {
            trail.advance(seq);
        }
        if let Some(engine) = &mut self.engine
            && let Some((owner, answer)) = due.done(engine, seq, trail)
        {
            let receipt = Receipt { log_id: self.log, seq, hash };
            engine.bind(owner, Answer { receipt: receipt.into(), ..answer });
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
        if self.engine.is_some() && (self.is_between_runs || self.beginning.is_some()) {
            return Err(self.bad_input(entry, "the run has not said what its venue begins with"));
        }
        self.engine.as_mut().ok_or_else(|| {
            refused(entry, "no venue has begun before it: an older program wrote this log".to_owned())
        })
    }

    fn nothing_due(&mut self, entry: &Entry) -> Step {
        let Some(due) = self.due.pop_front() else { return Ok(()) };
        let trail = self.engine.as_ref().and_then(|engine| due.trail(engine));
        let expected = due.content(trail);
        Err(self.diverged(entry.header.seq, How::Missing, expected, content(entry.clone())))
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
        Event::Order(_) | Event::DayEnd(_) | Event::Withdrawal(_) | Event::Admin(_) => 1,
        Event::Synthetic(batch) => batch.inputs.len() as u64,
        Event::Paper(paper) => u64::from(!super::paper::is_shown(paper)),
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
