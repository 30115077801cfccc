//! Threads that read from the tape what clients missed: off the pipeline, off the shards, a piece at a time.
//!
//! A *look-up* finds out whether the tape holds what a `subscribe` asks for, and comes back as a command with the places found. A *job* reads on
//! from such a place: it hands a piece to the pipeline, which keeps all order, and reads the next one when the piece's [`Ticket`] has come back, so
//! that a client who reads slowly holds up nobody and fills nothing. At the end of the tape the pipeline joins the client to the live
//! stream, or lets the job read what has come since.
//!
//! Bounded: [`PLACES_MAX`] places over all clients, [`PLACES_PER_SESSION_MAX`] of each, [`THREADS`] threads. Without a place a stream is not
//! recovered (SF-SUB-024). A place holds the book of one instrument, a block of the tape, and at most one piece.

mod job;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sealfeed_wire::{RequestId, Subscribe};
use tokio::sync::mpsc::WeakSender;
use tokio::time::Instant;

use super::{Command, SessionHandle};
use crate::clock::Clock;
use crate::feed::Ending;
use crate::feed::tape::{Missing, Retold, TapeError};
use crate::telemetry::chain;
use crate::types::{Code, Sequence, Symbol};

pub(super) use job::{Ask, Job};

/// Threads that read.
const THREADS: usize = 2;
/// Streams that can be looked up or read at once.
const PLACES_MAX: usize = 64;
/// Of these, for one session.
const PLACES_PER_SESSION_MAX: usize = 16;
/// How long a client may take to take one piece.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the threads look whether one took too long.
const LOOK: Duration = Duration::from_secs(1);

/// A place on the tape, and the right to read from it.
#[derive(Debug)]
pub struct Found {
    pub(super) retold: Retold,
    place: Place,
}

impl Found {
    /// What is read from there.
    pub(super) const fn missing(&self) -> &Missing {
        self.retold.missing()
    }
}

/// What a look-up has found of a stream, or why not.
pub(super) type Finding = (Symbol, Result<Box<Found>, Code>);

/// A `subscribe` on its way to the tape.
pub(super) struct LookUp {
    pub(super) session: Arc<SessionHandle>,
    pub(super) id: Option<RequestId>,
    pub(super) request: Subscribe,
    /// What is missed of each stream.
    pub(super) wanted: Vec<(Symbol, Missing)>,
}

enum Work {
    LookUp(Box<LookUp>, Vec<Option<Place>>),
    Read(Box<Job>),
}

impl Work {
    /// The answer to whoever waits for it, if it cannot be done.
    fn lost(&self) -> Command {
        match self {
            Self::LookUp(look_up, _) => {
                let LookUp { session, id, request, wanted } = &**look_up;
                let lost = |(symbol, _): &(Symbol, Missing)| (*symbol, Err(Code::SubResumeNotHeld));
                Command::LookedUp {
                    session: Arc::clone(session),
                    id: id.clone(),
                    request: request.clone(),
                    findings: wanted.iter().map(lost).collect(),
                }
            }
            Self::Read(job) => job.lost(Ending::because(Code::SesPositionLost)),
        }
    }
}

/// The threads, for the pipeline. They end when it is dropped.
pub(super) struct Recoveries(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    commands: WeakSender<Command>,
    clock: Clock,
    state: Mutex<State>,
    /// Notified when there is work, and at the end.
    work: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Work>,
    /// Jobs whose piece is on its way, or which wait for the pipeline's word; by number.
    parked: HashMap<u64, Parked>,
    /// Jobs that wait for the tape to grow.
    waiting: Vec<(Instant, Box<Job>)>,
    places: usize,
    by_session: HashMap<u64, usize>,
    next: u64,
    is_over: bool,
}

struct Parked {
    job: Box<Job>,
    since: Instant,
}

/// One of [`PLACES_MAX`]; given back when it is dropped.
struct Place {
    shared: Arc<Shared>,
    session: u64,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Place").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.places -= 1;
        if let Some(count) = state.by_session.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                state.by_session.remove(&self.session);
            }
        }
    }
}

impl Recoveries {
    /// Starts the threads that read the tape in `directory` and answer into `commands`.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(super) fn start(directory: PathBuf, commands: WeakSender<Command>, clock: Clock) -> io::Result<Self> {
        let (state, work) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { directory, commands, clock, state, work });
        let recoveries = Self(Arc::clone(&shared));
        for number in 0..THREADS {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("tape-read-{number}")).spawn(move || run(&shared))?;
        }
        Ok(recoveries)
    }

    /// Looks up what a request misses; what there is no place for is not looked up.
    pub(super) fn look_up(&self, look_up: LookUp) {
        let session = look_up.session.number;
        let places = look_up.wanted.iter().map(|_| self.place(session)).collect();
        self.0.push(Work::LookUp(Box::new(look_up), places));
    }

    /// Begins to read on from a place; the number of the job.
    pub(super) fn begin(&self, ask: Ask, found: Found) -> u64 {
        let number = {
            let mut state = self.0.state.lock();
            state.next += 1;
            state.next
        };
        self.0.push(Work::Read(Box::new(Job::new(number, ask, found))));
        number
    }

    /// Lets a job that asked read what has come since, up to message `until` at least.
    pub(super) fn go_on(&self, number: u64, until: Sequence) {
        let mut state = self.0.state.lock();
        if let Some(Parked { mut job, .. }) = state.parked.remove(&number) {
            job.read_until(until);
            state.waiting.push((Instant::now() + job::POLL, job));
            self.0.work.notify_one();
        }
    }

    /// Ends a job that waits; one that is reading ends when it asks next.
    pub(super) fn end(&self, number: u64) {
        let parked = self.0.state.lock().parked.remove(&number);
        // Its place is given back under the lock that was just let go.
        drop(parked);
    }

    fn place(&self, session: u64) -> Option<Place> {
        let mut state = self.0.state.lock();
        let own = state.by_session.get(&session).copied().unwrap_or_default();
        if state.places >= PLACES_MAX || own >= PLACES_PER_SESSION_MAX {
            return None;
        }
        state.places += 1;
        state.by_session.insert(session, own + 1);
        Some(Place { shared: Arc::clone(&self.0), session })
    }
}

impl Drop for Recoveries {
    fn drop(&mut self) {
        let (ready, parked, waiting) = {
            let mut state = self.0.state.lock();
            state.is_over = true;
            let State { ready, parked, waiting, .. } = &mut *state;
            (std::mem::take(ready), std::mem::take(parked), std::mem::take(waiting))
        };
        self.0.work.notify_all();
        drop((ready, parked, waiting));
    }
}

impl Shared {
    /// Work for a thread; once the pipeline is gone it is let go.
    fn push(&self, work: Work) {
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            return drop(work);
        }
        state.ready.push_back(work);
        drop(state);
        self.work.notify_one();
    }

    /// Parks a job before its piece leaves, so that the ticket finds it.
    fn park(&self, job: Box<Job>) {
        let mut state = self.state.lock();
        if !state.is_over {
            let parked = Parked { job, since: Instant::now() };
            state.parked.insert(parked.job.number(), parked);
            return;
        }
        drop(state);
        drop(job);
    }

    /// A piece has left for its client, or never will: the job reads on, and hears from the pipeline if nobody wants it.
    fn returned(&self, number: u64) {
        let mut state = self.state.lock();
        if let Some(Parked { job, .. }) = state.parked.remove(&number) {
            state.ready.push_back(Work::Read(job));
            drop(state);
            self.work.notify_one();
        }
    }

    fn wait(&self, job: Box<Job>) {
        let mut state = self.state.lock();
        if !state.is_over {
            state.waiting.push((Instant::now() + job::POLL, job));
            return;
        }
        drop(state);
        drop(job);
    }

    /// The next thing to do; `None` at the end.
    fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if state.is_over {
                return None;
            }
            let now = Instant::now();
            if let Some(due) = state.waiting.iter().position(|(at, _)| *at <= now) {
                let (_, job) = state.waiting.swap_remove(due);
                return Some(Work::Read(job));
            }
            if let Some(work) = state.ready.pop_front() {
                return Some(work);
            }
            let late = state.parked.iter().find(|(_, parked)| parked.since + PIECE_TIMEOUT <= now);
            if let Some(number) = late.map(|(number, _)| *number)
                && let Some(Parked { mut job, .. }) = state.parked.remove(&number)
            {
                job.give_up(Ending::SLOW);
                return Some(Work::Read(job));
            }
            let next = state.waiting.iter().map(|(at, _)| *at).min().unwrap_or(now + LOOK);
            self.work.wait_for(&mut state, next.min(now + LOOK).saturating_duration_since(now));
        }
    }

    /// Hands a command to the pipeline; waits while its queue is full. Once it is gone, nobody wants it.
    fn send(&self, command: Command) {
        if let Some(commands) = self.commands.upgrade() {
            // The pipeline has ended: so do we.
            let _ = commands.blocking_send(command);
        }
    }
}

fn run(shared: &Arc<Shared>) {
    while let Some(work) = shared.next() {
        let lost = work.lost();
        answer(shared, lost, || match work {
            Work::LookUp(look_up, places) => look(shared, *look_up, places),
            Work::Read(job) => job.step(shared),
        });
    }
}

/// Works through one thing. Should that panic, it costs this one and not the thread: whoever waits for it is told that it is `lost`, and
/// its place was given back on the way. What is shared stands behind a lock that is held for moves of whole things only.
fn answer(shared: &Shared, lost: Command, work: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
        tracing::error!("a thread panicked while it read the tape for a client who resumes");
        shared.send(lost);
    }
}

fn look(shared: &Shared, look_up: LookUp, places: Vec<Option<Place>>) {
    let LookUp { session, id, request, wanted } = look_up;
    let find = |missing, place: Option<Place>| {
        let place = place.ok_or(Code::SubResumeBusy)?;
        match Retold::find(&shared.directory, missing) {
            Ok(retold) => Ok(Box::new(Found { retold, place })),
            Err(TapeError::NotHeld) => Err(Code::SubResumeNotHeld),
            Err(error) => {
                tracing::error!(error = chain(&error), "the tape cannot be read for a client who resumes");
                Err(Code::SubResumeNotHeld)
            }
        }
    };
    let findings =
        wanted.into_iter().zip(places).map(|((symbol, missing), place)| (symbol, find(missing, place)));
    let findings = findings.collect();
    shared.send(Command::LookedUp { session, id, request, findings });
}

#[cfg(test)]
mod tests;
