//! Replays any recording: at the pace of its times, N-fold, or as fast as possible; once or again and again.
//!
//! A recording hands out its whole events one after the other; nothing but one event and one batch is held. Records of a snapshot
//! are due at once; from the first live record on, the gaps of the recording are kept (divided by the speed). An event is due
//! when its last record is. A gap longer than `stall_ms` is a stall for whoever follows: it is told, and told to be over.

use std::sync::Arc;

use crate::config::{Playback, Speed};
use crate::types::{InstrumentId, MarketEvent, MarketEventKind, TimeArithmetic, UnixNanos};

use super::batch::{BATCH_COUNT_MAX, RecordCounts, SourceBatch, SourceStatus};
use super::error::SourceError;
use super::fault::SourceFault;
use super::outlet::{Halt, Port, Stopped, Timer};

/// Most records of one event. A snapshot of the book is one event, so this bounds the orders of a book.
pub(super) const EVENT_RECORDS_MAX: usize = 1_000_000;

/// What is known of one instrument besides its market.
#[derive(Debug)]
pub(super) enum Notice {
    /// What it shows is no longer up to date, and is not published on.
    Stale(InstrumentId, SourceFault),
    /// It is up to date again.
    Whole(InstrumentId),
}

/// What reading on came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A whole event, or several, or none; when it is due, if it has a time that means anything.
    Event(Option<UnixNanos>),
    /// The file is over. What was read of an unfinished event is to be handed on as it is.
    End(Option<UnixNanos>),
}

/// A recording that is open, with its instruments registered.
pub(super) trait Records: std::fmt::Debug {
    /// Reads on to the next record that ends an event, and appends what it says. Notices come after the events.
    fn read(&mut self, event: &mut Vec<MarketEvent>, notices: &mut Vec<Notice>) -> Result<Read, SourceError>;

    /// What was read in the present run through the file.
    fn counts(&self) -> RecordCounts;

    /// Every instrument that has a book, to be cleared.
    fn books(&self) -> Vec<InstrumentId>;

    /// Begins again with the first record.
    fn rewind(&mut self) -> Result<(), SourceError>;
}

/// One replay.
#[derive(Debug)]
pub(super) struct Replay<'a, T> {
    name: &'a Arc<str>,
    playback: Playback,
    port: &'a mut Port<T>,
    batch: Batch,
}

impl<'a, T: Timer> Replay<'a, T> {
    pub(super) fn new(name: &'a Arc<str>, playback: Playback, port: &'a mut Port<T>) -> Self {
        Self { name, playback, port, batch: Batch::default() }
    }

    /// Replays the file, again and again if so configured. Whatever ends it, every whole event in front of that was sent.
    pub(super) fn run(&mut self, records: &mut dyn Records) -> Result<(), Halt> {
        if self.playback.wait_for_subscribers > 0 {
            self.port.wait_for_subscribers(self.playback.wait_for_subscribers)?;
        }
        let mut clears = false;
        loop {
            self.once(records, clears)?;
            if !self.playback.repeat {
                return Ok(());
            }
            if records.counts().records() == 0 {
                // The file was emptied under us; beginning again at once would never end.
                return Err(SourceError::Empty.into());
            }
            self.tell(SourceStatus::Restarted { source: self.name.clone(), counts: records.counts() })?;
            records.rewind()?;
            clears = true;
        }
    }

    /// One run through the file.
    fn once(&mut self, records: &mut dyn Records, mut clears: bool) -> Result<(), Halt> {
        let mut pace = Pace::new(self.playback.speed);
        let (mut event, mut notices) = (Vec::new(), Vec::new());
        loop {
            let (due, is_end) = match records.read(&mut event, &mut notices) {
                Ok(Read::Event(due)) => (due, false),
                Ok(Read::End(due)) => (due, true),
                Err(fault) => {
                    self.batch.flush(self.port)?;
                    return Err(fault.into());
                }
            };
            if let Some(due_ns) = due.and_then(|due| pace.due_ns(due, self.port.now_ns())) {
                self.wait(due_ns)?;
            }
            if let Some(first) = event.first().filter(|_| clears) {
                let cleared = MarketEvent { last: true, kind: MarketEventKind::Clear, ..*first };
                for instrument in records.books() {
                    self.batch.push(&mut vec![MarketEvent { instrument, ..cleared }], self.port)?;
                }
                clears = false;
            }
            self.batch.push(&mut event, self.port)?;
            for notice in notices.drain(..) {
                let source = self.name.clone();
                self.tell(match notice {
                    Notice::Stale(instrument, fault) => SourceStatus::Stale { source, instrument, fault },
                    Notice::Whole(instrument) => SourceStatus::Whole { source, instrument },
                })?;
            }
            if is_end {
                return Ok(self.batch.flush(self.port)?);
            }
        }
    }

    /// Waits until the next event is due, and tells of the silence if it is one.
    fn wait(&mut self, due_ns: u64) -> Result<(), Stopped> {
        self.batch.flush(self.port)?;
        let stall_ms = self.playback.stall_ms;
        let stalls_ns = self.port.now_ns().saturating_add(stall_ms.saturating_mul(NANOS_PER_MILLISECOND));
        if stall_ms == 0 || due_ns <= stalls_ns {
            return self.port.wait_until(due_ns);
        }
        self.port.wait_until(stalls_ns)?;
        self.tell(SourceStatus::Stalled { source: self.name.clone(), silent_ms: stall_ms })?;
        self.port.wait_until(due_ns)?;
        self.tell(SourceStatus::Resumed { source: self.name.clone() })
    }

    /// Sends a status behind all that was read before it.
    fn tell(&mut self, status: SourceStatus) -> Result<(), Stopped> {
        self.batch.flush(self.port)?;
        self.port.send(SourceBatch::Status(status))
    }
}

const NANOS_PER_MILLISECOND: u64 = 1_000_000;

/// Whole events on their way out.
#[derive(Debug, Default)]
struct Batch(Vec<MarketEvent>);

impl Batch {
    /// Takes an event, and sends what was there before if there is no room for both.
    fn push<T: Timer>(&mut self, event: &mut Vec<MarketEvent>, port: &Port<T>) -> Result<(), Stopped> {
        if self.0.len() + event.len() > BATCH_COUNT_MAX {
            self.flush(port)?;
        }
        self.0.append(event);
        Ok(())
    }

    fn flush<T: Timer>(&mut self, port: &Port<T>) -> Result<(), Stopped> {
        if self.0.is_empty() {
            return Ok(());
        }
        port.send(SourceBatch::Market(std::mem::take(&mut self.0)))
    }
}

/// Recorded times on the timer of the replay.
#[derive(Debug)]
struct Pace {
    speed: Speed,
    /// The first live record: its time in the recording, and on the timer.
    start: Option<(UnixNanos, u64)>,
}

impl Pace {
    fn new(speed: Speed) -> Self {
        Self { speed, start: None }
    }

    /// The moment on the timer at which a record of this time is due; `None` if that is now or was before.
    fn due_ns(&mut self, recorded: UnixNanos, now_ns: u64) -> Option<u64> {
        let Speed::Times(times) = self.speed else { return None };
        let (start, start_ns) = *self.start.get_or_insert((recorded, now_ns));
        let due_ns = start_ns.saturating_add(recorded.since(start) / u64::from(times.max(1)));
        (due_ns > now_ns).then_some(due_ns)
    }
}
