//! The only caller of the sealed log: turns events into entries and tells when they are durable.
//!
//! Nothing is dropped. When the log's queue is full, the caller waits (back-pressure to the sockets). When the
//! log has failed, every call fails, and the server stops. What an unknown peer can cause in numbers goes through
//! [`summary::Summary`], so that nobody can fill the disk from outside.

mod certificates;
mod clock;
pub mod event;
mod observer;
mod open;
pub mod state;
pub mod summary;
pub mod tape;
mod trail;
mod witness;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sealfeed_audit::clock::ClockWatch;
use sealfeed_audit::witness::watch::Watch;
use sealfeed_audit::{AppendError, Clock, Draft, Hash, Log, Receipt, StateHash, TapeLink, Turn, kind};
use tokio::sync::watch;

pub use clock::ClockReading;
pub use event::Event;
pub use observer::Observer;
pub use open::{OpenLogError, Opened, make, open};
pub use sealfeed_audit::Space;
pub use witness::WitnessError;

pub use crate::config::escrow_directory;
pub use trail::{OrderTrail, SessionTrail};

use crate::shutdown::{Shutdown, StopReason};

/// Why an event could not be recorded. What depended on it must not happen.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The log has failed or is stopped.
    #[error("the sealed log takes no more entries")]
    Log(#[source] AppendError),
    /// The event cannot be encoded: a bug of ours.
    #[error("an event could not be encoded")]
    Encode(#[source] postcard::Error),
    /// What the log holds cannot be gone on with: the text says why.
    #[error("the venue cannot go on with the state that the log holds: {0}")]
    State(String),
}

/// Handle to the journal; clones share it.
#[derive(Clone)]
pub struct Journal {
    log: Log,
    /// End before the log does.
    watches: Arc<Mutex<Option<Watches>>>,
    durable: Arc<watch::Sender<u64>>,
    /// One above the last entry that was recorded here.
    recorded: Arc<AtomicU64>,
    certificates: Arc<Mutex<certificates::Known>>,
    /// The clock of the log, whose quality is watched.
    clock: Arc<dyn Clock>,
    /// Whether the clock keeps its tolerance.
    health: Arc<clock::Health>,
    observers: Arc<[Arc<dyn Observer>]>,
    shutdown: Shutdown,
}

/// The threads that append entries of their own accord.
#[derive(Debug)]
struct Watches {
    _clock: ClockWatch,
    _witnesses: Option<Watch>,
}

thread_local! {
    /// Memory of the payload that this thread recorded last, for the next one.
    static PAYLOAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Memory of a larger payload is given back.
const PAYLOAD_BYTES_KEPT_MAX: usize = 4_096;

/// Version of the payloads that are the log's own kinds: digests of the state, links to the tape.
pub const SCHEMA: u16 = 1;

impl Journal {
    /// A journal over an open log. A failure of the log gives the stop signal.
    #[must_use]
    pub fn new(opened: Opened, shutdown: Shutdown) -> Self {
        let Opened { log, clock, disciplined, health, witnesses } = opened;
        let durable = Arc::new(watch::Sender::new(log.durable()));
        let sender = Arc::clone(&durable);
        log.on_durable(Box::new(move |entries| {
            sender.send_replace(entries);
        }));
        let watches = Watches { _clock: clock, _witnesses: witnesses };
        Self {
            log,
            watches: Arc::new(Mutex::new(Some(watches))),
            durable,
            recorded: Arc::default(),
            certificates: Arc::default(),
            clock: disciplined,
            health,
            observers: Arc::new([]),
            shutdown,
        }
    }

    /// The same journal, every event of which is shown to `observers` from here on. Clones that were made before show them nothing.
    #[must_use]
    pub fn observed_by(self, observers: Vec<Arc<dyn Observer>>) -> Self {
        Self { observers: observers.into(), ..self }
    }

    /// Shows an event to those who count: one that was recorded, or one that [`summary::Summary`] only counts.
    fn observe(&self, event: &Event) {
        for observer in &*self.observers {
            observer.observe(event);
        }
    }

    /// Records an event and returns its sequence number. It is not durable yet.
    ///
    /// Waits while the log's queue is full.
    ///
    /// # Errors
    /// [`JournalError`]; the stop signal was given.
    pub fn record(&self, event: impl Into<Event>) -> Result<u64, JournalError> {
        let event = event.into();
        let sequence = self.append(self.draft(&event)?)?;
        self.observe(&event);
        Ok(sequence)
    }

    /// As [`Journal::record`], as the next event of a session.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn record_in(&self, session: &SessionTrail, event: impl Into<Event>) -> Result<u64, JournalError> {
        let event = event.into();
        let mut draft = self.draft(&event)?;
        let sequence = session.append(|link| {
            draft.session = Some(link);
            self.append(draft)
        })?;
        self.observe(&event);
        Ok(sequence)
    }

    /// As [`Journal::record`], as the next event of an order, and of a session if there is one.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn record_of_order(
        &self,
        order: &mut OrderTrail,
        session: Option<&SessionTrail>,
        event: impl Into<Event>,
    ) -> Result<u64, JournalError> {
        let event = event.into();
        let mut draft = self.draft(&event)?;
        draft.order = Some(order.link());
        let sequence = match session {
            Some(session) => session.append(|link| {
                draft.session = Some(link);
                self.append(draft)
            }),
            None => self.append(draft),
        }?;
        order.advance(sequence);
        self.observe(&event);
        Ok(sequence)
    }

    /// The log's identifier, which receipts name.
    #[must_use]
    pub fn log_id(&self) -> Hash {
        self.log.id()
    }

    /// One above the last entry that was recorded here; 0 before the first.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Acquire)
    }

    /// Says that several entries are coming that belong together, until the turn is dropped; see [`Log::turn`].
    #[must_use = "the turn ends when this is dropped"]
    pub fn turn(&self) -> Turn {
        self.log.turn()
    }

    /// How much room the log's disk has.
    #[must_use]
    pub fn space(&self) -> Space {
        self.log.space()
    }

    /// How good the clock is that stamps the entries.
    #[must_use]
    pub fn clock_reading(&self) -> ClockReading {
        self.health.reading(&self.clock.now())
    }

    /// Records the digest of the application's state; see [`Journal::record`].
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn record_state(&self, state: &StateHash) -> Result<u64, JournalError> {
        let payload = state.to_payload();
        self.append(Draft { kind: kind::STATE_HASH, schema: SCHEMA, session: None, order: None, payload })
    }

    /// Records how far the tape has got; see [`Journal::record`].
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn record_tape_link(&self, link: &TapeLink) -> Result<u64, JournalError> {
        let payload = link.to_payload();
        self.append(Draft { kind: kind::TAPE_LINK, schema: SCHEMA, session: None, order: None, payload })
    }

    /// Waits, blocking the thread, until the entry is durable, and returns its receipt.
    ///
    /// # Errors
    /// [`JournalError::Log`] if the log failed before.
    pub fn wait_durable(&self, sequence: u64) -> Result<Receipt, JournalError> {
        self.log.wait_durable(sequence).map_err(|error| self.failed(error))
    }

    /// Waits, blocking the thread, until everything is durable that was recorded before this call.
    ///
    /// # Errors
    /// [`JournalError::Log`] if the log failed before.
    pub fn wait_all_durable(&self) -> Result<(), JournalError> {
        match self.recorded.load(Ordering::Acquire).checked_sub(1) {
            Some(last) => self.wait_durable(last).map(drop),
            None => Ok(()),
        }
    }

    /// Waits until the entry is durable. Cancel-safe.
    ///
    /// # Errors
    /// [`JournalError::Log`] if the log failed before.
    pub async fn durable(&self, sequence: u64) -> Result<(), JournalError> {
        let mut receiver = self.durable.subscribe();
        loop {
            if *receiver.borrow_and_update() > sequence {
                return Ok(());
            }
            // Whoever waits says so: the receiver alone does not. Its news come a moment after the log's own.
            let is_durable = self.log.is_durable(sequence);
            if is_durable || self.log.failure().is_some() {
                // The log answers at once now; its own error says why.
                return self.wait_durable(sequence).map(|_| ());
            }
            tokio::select! {
                changed = receiver.changed() => if changed.is_err() { return self.wait_durable(sequence).map(|_| ()) },
                () = self.shutdown.wait() => return tokio::task::block_in_place(|| self.wait_durable(sequence).map(|_| ())),
            }
        }
    }

    /// Whether the entry is durable.
    ///
    /// # Errors
    /// [`JournalError::Log`] if the log failed before it was.
    pub fn is_durable(&self, sequence: u64) -> Result<bool, JournalError> {
        // The log itself, because its news comes to the others a moment later.
        if self.log.is_durable(sequence) {
            return Ok(true);
        }
        // The log answers at once now; its own error says why.
        if self.log.failure().is_some() { self.wait_durable(sequence).map(|_| true) } else { Ok(false) }
    }

    /// Calls `notify` whenever more entries are durable, and when the log fails, from the log's own thread: it must not wait.
    pub fn on_durable(&self, notify: impl Fn() + Send + Sync + 'static) {
        self.log.on_durable(Box::new(move |_| notify()));
    }

    /// Whether the log still takes entries.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.log.failure().is_none()
    }

    /// Writes the last entries, a checkpoint, and closes the log.
    ///
    /// # Errors
    /// [`JournalError::Log`] if the log failed before or while it stopped.
    pub fn stop(&self) -> Result<(), JournalError> {
        drop(self.watches.lock().take());
        self.log.stop().map_err(|failure| JournalError::Log(AppendError::Failed(failure)))
    }

    fn draft(&self, event: &Event) -> Result<Draft, JournalError> {
        let payload = event.encode_into(PAYLOAD.take()).map_err(|error| {
            self.shutdown.stop(StopReason::LogFailed(error.to_string()));
            JournalError::Encode(error)
        })?;
        Ok(Draft { kind: event.kind(), schema: event.schema(), session: None, order: None, payload })
    }

    fn append(&self, mut draft: Draft) -> Result<u64, JournalError> {
        let appended = match self.log.try_append_copy(&draft) {
            Ok(Some(sequence)) => {
                draft.payload.clear();
                if draft.payload.capacity() <= PAYLOAD_BYTES_KEPT_MAX {
                    PAYLOAD.set(draft.payload);
                }
                Ok(sequence)
            }
            Ok(None) => blocking(|| self.log.append(draft)),
            Err(error) => Err(error),
        };
        let sequence = appended.map_err(|error| self.failed(error))?;
        self.recorded.fetch_max(sequence + 1, Ordering::Release);
        Ok(sequence)
    }

    fn failed(&self, error: AppendError) -> JournalError {
        self.shutdown.stop(StopReason::LogFailed(crate::telemetry::chain(&error)));
        JournalError::Log(error)
    }
}

/// Runs what may block the thread; tells the runtime if this is one of its workers.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}

/// The event that an entry of the log holds.
///
/// `None` for the log's own entries and for kinds that this version does not know.
///
/// # Errors
/// The payload does not decode: written by a newer version, or damaged before it was sealed.
pub fn decode(kind: u16, schema: u16, payload: &[u8]) -> Result<Option<Event>, postcard::Error> {
    Event::decode(kind, schema, payload)
}
