//! A recorded DBN file, replayed: MBO, MBP-1 or trades; at the pace of its times, N-fold, or as fast as possible.
//!
//! The file is never held in memory: one event and one batch are. Records of a snapshot are due at once; from the first
//! live record on, the gaps of the recording are kept (divided by the speed). An event is due when its last
//! record is.

mod file;
mod row;
mod survey;
#[cfg(test)]
mod tests;
mod translate;

use std::path::PathBuf;

use crate::config::{DbnSourceConfig, Speed};
use crate::types::{Instruments, MarketEvent, MarketEventKind, TimeArithmetic, UnixNanos};

use super::batch::{BATCH_COUNT_MAX, RecordCounts, SourceBatch, SourceStatus};
use super::error::SourceError;
use super::outlet::{Halt, Port, Stopped, Timer};

use file::RecordFile;
use translate::Translator;

/// Most records of one event. A snapshot of the book is one event, so this bounds the orders of a book.
const EVENT_RECORDS_MAX: usize = 1_000_000;

/// A file that is open, with its instruments registered.
#[derive(Debug)]
pub(super) struct Recording {
    path: PathBuf,
    speed: Speed,
    repeat: bool,
    wait_for_subscribers: u32,
    file: RecordFile,
    translator: Translator,
}

/// What reading an event came to.
enum Read {
    /// The event is whole; when it is due, if it has a time that means anything.
    Event(Option<UnixNanos>),
    /// The file is over. What was read of an unfinished event is to be handed on as it is.
    End(Option<UnixNanos>),
}

impl Recording {
    pub(super) fn open(config: &DbnSourceConfig, instruments: &mut Instruments) -> Result<Self, SourceError> {
        let surveyed = RecordFile::open(&config.path)?;
        let depth = survey::depth_of(surveyed.metadata())?;
        let recorded = survey::register(surveyed, instruments)?;
        Ok(Self {
            path: config.path.clone(),
            speed: config.speed,
            repeat: config.repeat,
            wait_for_subscribers: config.wait_for_subscribers,
            file: RecordFile::open(&config.path)?,
            translator: Translator::new(depth, recorded),
        })
    }

    /// What was read in the present run through the file.
    pub(super) fn counts(&self) -> RecordCounts {
        self.translator.counts()
    }

    /// Replays the file, again and again if so configured.
    pub(super) fn run<T: Timer>(
        &mut self,
        name: &std::sync::Arc<str>,
        port: &mut Port<T>,
    ) -> Result<(), Halt> {
        if self.wait_for_subscribers > 0 {
            port.wait_for_subscribers(self.wait_for_subscribers)?;
        }
        let mut is_first = true;
        loop {
            self.replay(port, is_first)?;
            if !self.repeat {
                return Ok(());
            }
            if self.counts().records() == 0 {
                // The file was emptied under us; beginning again at once would never end.
                return Err(SourceError::Empty.into());
            }
            let status = SourceStatus::Restarted { source: name.clone(), counts: self.counts() };
            port.send(SourceBatch::Status(status))?;
            self.rewind()?;
            is_first = false;
        }
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.file = RecordFile::open(&self.path)?;
        if survey::depth_of(self.file.metadata())? != self.translator.depth() {
            let found = self.file.metadata().schema.map_or("mixed".to_owned(), |schema| schema.to_string());
            return Err(SourceError::Schema { found });
        }
        self.translator.restart();
        Ok(())
    }

    /// One run through the file. Whatever ends it, every whole event in front of that was sent.
    fn replay<T: Timer>(&mut self, port: &mut Port<T>, is_first: bool) -> Result<(), Halt> {
        let mut pace = Pace::new(self.speed);
        let mut batch = Batch::default();
        let mut event = Vec::new();
        let mut clears = !is_first;
        loop {
            let (due, is_end) = match self.read_event(&mut event) {
                Ok(Read::Event(due)) => (due, false),
                Ok(Read::End(due)) => (due, true),
                Err(fault) => {
                    batch.flush(port)?;
                    return Err(fault.into());
                }
            };
            if let Some(wait_ns) = due.and_then(|due| pace.due_ns(due, port.now_ns())) {
                batch.flush(port)?;
                port.wait_until(wait_ns)?;
            }
            if let Some(first) = event.first().filter(|_| clears) {
                let cleared = MarketEvent { last: true, kind: MarketEventKind::Clear, ..*first };
                for instrument in self.translator.with_books() {
                    batch.push(&mut vec![MarketEvent { instrument, ..cleared }], port)?;
                }
                clears = false;
            }
            batch.push(&mut event, port)?;
            if is_end {
                return Ok(batch.flush(port)?);
            }
        }
    }

    /// Reads on to the next record that ends an event.
    ///
    /// Events of several instruments that are interleaved are taken as one: no record is moved.
    fn read_event(&mut self, event: &mut Vec<MarketEvent>) -> Result<Read, SourceError> {
        event.clear();
        let mut due = None;
        loop {
            let number = self.file.records() + 1;
            let Some(record) = self.file.next()? else { return Ok(Read::End(due)) };
            let progress = self.translator.translate(number, &record, event)?;
            due = progress.due.or(due);
            if progress.ends_event {
                return Ok(Read::Event(due));
            }
            if event.len() > EVENT_RECORDS_MAX {
                return Err(SourceError::EventTooLong { record: number, max: EVENT_RECORDS_MAX });
            }
        }
    }
}

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
