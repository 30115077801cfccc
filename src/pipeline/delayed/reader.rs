//! The thread that reads the tape for one delay.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::WeakSender;

use super::{Delayed, Due};
use crate::clock::Clock;
use crate::feed::tape::{Item, Keyframe, Position, Reader, TapeError};
use crate::feed::{Feed, FeedOptions};
use crate::pipeline::Command;
use crate::telemetry::chain;
use crate::types::{Epoch, InstrumentId, Instruments, MarketEvent, TimeArithmetic as _, UnixNanos};

/// How often it looks whether something has become due, and whether anybody still wants it.
const LOOK: Duration = Duration::from_millis(10);
/// How long it waits for a tape that has just begun.
const BEGIN_TRIES_MAX: u32 = 500;
/// Events handed over at a time.
const EVENTS_MAX: usize = 1_024;
/// What may wait for the pipeline of one delay.
const HANDED_MAX: u32 = 4;
/// So much before the moment it begins to read: the longest bar that may be open then.
const BARS_NS: u64 = 61_000_000_000;

/// What a reader starts with.
pub(super) struct Seed {
    pub(super) directory: PathBuf,
    pub(super) commands: WeakSender<Command>,
    pub(super) clock: Clock,
    pub(super) instruments: Arc<Instruments>,
    pub(super) options: FeedOptions,
    pub(super) base: u32,
    pub(super) delay_ms: u64,
    pub(super) place: usize,
    pub(super) generation: u64,
}

/// A reader at work; it ends when this is dropped.
pub(super) struct Reading(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Handed over and not taken yet.
    handed: AtomicU32,
}

impl Reading {
    /// The pipeline has taken what was handed over.
    pub(super) fn took(&self) {
        self.0.handed.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
impl Reading {
    /// Of nobody.
    pub(super) fn none() -> Self {
        Self(Arc::default())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

impl Seed {
    /// Starts the thread.
    pub(super) fn start(self) -> std::io::Result<Reading> {
        let shared = Arc::new(Shared::default());
        let reading = Reading(Arc::clone(&shared));
        let name = format!("tape-late-{}", self.place);
        std::thread::Builder::new().name(name).spawn(move || {
            let mut late = Late { shared, seed: self, places: Vec::new(), next: None };
            late.end_with(Late::run);
        })?;
        Ok(reading)
    }
}

struct Late {
    seed: Seed,
    shared: Arc<Shared>,
    /// The instruments of this run by those of the run that is read.
    places: Vec<Option<InstrumentId>>,
    /// What was read and is not due yet.
    next: Option<Item>,
}

impl Late {
    /// Reads until nobody wants it any more. Whatever else ends it, a panic, too, the pipeline is told: nobody waits for what never comes.
    fn end_with(&mut self, run: impl FnOnce(&mut Self) -> Result<(), TapeError>) {
        let delay_ms = self.seed.delay_ms;
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(self))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                let error = chain(&error);
                tracing::error!(error, delay_ms, "the tape cannot be read on for delayed market data");
            }
            Err(_) => tracing::error!(delay_ms, "the thread that reads delayed market data panicked"),
        }
        self.send(Delayed::Lost);
    }

    fn run(&mut self) -> Result<(), TapeError> {
        let Some(mut reader) = self.open()? else { return Ok(()) };
        let Seed { clock, instruments, options, base, delay_ms, .. } = &self.seed;
        // Names the sequences that do not follow from the tape: another one with every new reader.
        let options = FeedOptions { epoch: Epoch(clock.now().0), ..*options };
        let mut feed = Box::new(Feed::delayed(instruments, options, *base, *delay_ms));
        let mut published = Vec::new();
        while let Some(item) = self.due(&mut reader)? {
            if self.is_over() {
                return Ok(());
            }
            match item {
                Item::Keyframe(keyframe) => {
                    self.map(&keyframe);
                    feed.take_over(&keyframe, self.out(keyframe.ts_out), &mut published);
                }
                Item::Event(taped) => {
                    if let Some(event) = self.here(&taped.event) {
                        feed.apply(&event, self.out(taped.ts_out), &mut published);
                    }
                }
                Item::End => {}
            }
            published.clear();
        }
        if let Some(Item::Keyframe(keyframe)) =
            self.next.take_if(|next| !feed.follows_tape() && is_blank(next))
        {
            // The tape is younger than the delay. Where it begins, there is nothing to see yet but its name.
            self.map(&keyframe);
            feed.take_over(&keyframe, self.out(keyframe.ts_out), &mut published);
        }
        self.send(Delayed::Ready(feed));
        self.follow(&mut reader)
    }

    /// Opens the tape and reads its first item; waits for a tape that has just begun. `None` if nobody wants it any more.
    fn open(&mut self) -> Result<Option<Reader>, TapeError> {
        let mut tries = 0;
        loop {
            let Seed { directory, clock, delay_ms, .. } = &self.seed;
            let since =
                clock.now().0.saturating_sub(delay_ms.saturating_mul(1_000_000)).saturating_sub(BARS_NS);
            let opened = Reader::open(directory, Position::Time(UnixNanos(since)));
            let begun = opened.and_then(|mut reader| Ok((reader.next()?.ok_or(TapeError::NotHeld)?, reader)));
            match begun {
                Ok((first, reader)) => {
                    self.next = Some(first);
                    return Ok(Some(reader));
                }
                Err(error) if tries >= BEGIN_TRIES_MAX => return Err(error),
                Err(_) if self.is_over() => return Ok(None),
                Err(_) => {
                    tries += 1;
                    std::thread::sleep(LOOK);
                }
            }
        }
    }

    /// Hands over what becomes due, as long as somebody wants it.
    fn follow(&mut self, reader: &mut Reader) -> Result<(), TapeError> {
        while !self.is_over() {
            if self.shared.handed.load(Ordering::Acquire) >= HANDED_MAX {
                std::thread::sleep(LOOK);
                continue;
            }
            let mut events = Vec::new();
            let mut run = None;
            while events.len() < EVENTS_MAX && run.is_none() {
                match self.due(reader)? {
                    Some(Item::Event(taped)) => {
                        events.extend(self.here(&taped.event).map(|event| (event, self.out(taped.ts_out))));
                    }
                    Some(Item::Keyframe(keyframe)) => {
                        self.map(&keyframe);
                        run = Some(keyframe);
                    }
                    Some(Item::End) => {}
                    None => break,
                }
            }
            let is_idle = events.is_empty() && run.is_none();
            if !events.is_empty() {
                self.hand_over(Due::Events(events));
            }
            if let Some(keyframe) = run {
                self.hand_over(Due::Run(keyframe));
            }
            if is_idle {
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// The next item that is old enough; `None` where there is none now.
    fn due(&mut self, reader: &mut Reader) -> Result<Option<Item>, TapeError> {
        if self.next.is_none() {
            self.next = reader.next()?;
        }
        let is_due = match &self.next {
            Some(Item::Keyframe(keyframe)) => self.is_old_enough(keyframe.ts_out),
            Some(Item::Event(taped)) => self.is_old_enough(taped.ts_out),
            Some(Item::End) => true,
            None => false,
        };
        Ok(if is_due { self.next.take() } else { None })
    }

    fn is_old_enough(&self, ts_out: UnixNanos) -> bool {
        self.out(ts_out) <= self.seed.clock.now()
    }

    /// When what was published then is published here.
    fn out(&self, ts_out: UnixNanos) -> UnixNanos {
        ts_out.plus_ns(self.seed.delay_ms.saturating_mul(1_000_000))
    }

    /// Learns which instruments of the run that is read there are in this one.
    fn map(&mut self, keyframe: &Keyframe) {
        let of = |taped: &crate::types::Instrument| {
            let own = self.seed.instruments.by_symbol(taped.symbol.as_str())?;
            ((taped.decimals, taped.depth) == (own.decimals, own.depth)).then_some(own.id)
        };
        self.places = keyframe.instruments.iter().map(of).collect();
    }

    fn here(&self, event: &MarketEvent) -> Option<MarketEvent> {
        let instrument = self.places.get(event.instrument.index()).copied().flatten()?;
        Some(MarketEvent { instrument, ..*event })
    }

    fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    fn hand_over(&self, due: Due) {
        self.shared.handed.fetch_add(1, Ordering::AcqRel);
        self.send(Delayed::Due(due));
    }

    fn send(&self, delayed: Delayed) {
        let Seed { place, generation, commands, .. } = &self.seed;
        match commands.upgrade() {
            Some(commands) => {
                let command = Command::Delayed { slot: (*place, *generation), delayed };
                if commands.blocking_send(command).is_err() {
                    self.shared.is_over.store(true, Ordering::Release);
                }
            }
            None => self.shared.is_over.store(true, Ordering::Release),
        }
    }
}

/// Whether it is the beginning of a run in which nothing has happened yet.
fn is_blank(item: &Item) -> bool {
    matches!(item, Item::Keyframe(keyframe) if keyframe.next == 0 && keyframe.events.is_empty())
}

#[cfg(test)]
mod tests;
