//! Delayed market data: the same streams, read from the tape so much later, one reader for everybody with the same delay.
//!
//! A *delayed feed* is a second feed, with books and streams of its own, that is given the events of the tape when they are old enough. It comes into being with
//! the first subscription that is granted with its delay only, off the pipeline, as it stood then; requests wait for that. It is given up a while
//! after its last reader has left. Where the tape cannot be read, delayed data is refused (SF-SUB-025): never is live data sent in its place.
//!
//! Bounded: [`DELAYS_MAX`] delays at a time, [`WAITING_MAX`] requests that wait for one; a delayed feed holds a book of every instrument.

mod reader;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use sealfeed_wire::{RequestId, Subscribe};
use tokio::sync::mpsc::WeakSender;

use super::batch::Batch;
use super::core::Core;
use super::{Command, SessionHandle};
use crate::clock::Clock;
use crate::feed::tape::Keyframe;
use crate::feed::{Delivered, Feed, FeedOptions, StreamId, StreamRequest};
use crate::journal::JournalError;
use crate::types::{Code, InstrumentId, Instruments, MarketEvent, Symbol, TimeArithmetic as _, UnixNanos};
use reader::{Reading, Seed};

/// Different delays that can be read at a time.
const DELAYS_MAX: usize = 8;
/// Requests that may wait for one delayed feed.
const WAITING_MAX: usize = 256;

/// How long a delayed feed outlives its last reader at least: what had left for that is still to be said.
const KEEP_MIN_NS: u64 = 10_000_000_000;

/// What has become old enough.
#[derive(Debug)]
pub enum Due {
    /// Events of instruments of this run, each with the time at which it became due.
    Events(Vec<(MarketEvent, UnixNanos)>),
    /// Another run begins, in this state.
    Run(Box<Keyframe>),
}

/// What the reader of a delayed feed has for the pipeline.
pub enum Delayed {
    /// The feed, as the market stood so much earlier.
    Ready(Box<Feed>),
    /// What has become due since.
    Due(Due),
    /// The tape cannot be read: nothing more comes.
    Lost,
}

/// A request that waits for a delayed feed.
struct Waiting {
    session: Arc<SessionHandle>,
    id: Option<RequestId>,
    request: Subscribe,
}

/// One delay.
struct Slot {
    delay_ms: u64,
    /// Tells this life of the slot from those before.
    generation: u64,
    feed: Option<Box<Feed>>,
    /// The tape could not be read.
    is_lost: bool,
    waiting: VecDeque<Waiting>,
    readers: usize,
    /// When the last reader left, or the feed came into being.
    left_at: UnixNanos,
    reading: Reading,
}

/// All delayed feeds, each at its place.
#[derive(Default)]
pub(super) struct DelayedFeeds {
    slots: Vec<Option<Slot>>,
    generation: u64,
    start: Option<Start>,
    /// When the tape was given up.
    failed_at: Option<UnixNanos>,
}

/// What it takes to start a reader.
struct Start {
    directory: PathBuf,
    commands: WeakSender<Command>,
    clock: Clock,
    options: FeedOptions,
}

impl DelayedFeeds {
    /// Lets delayed feeds be made of the tape in `directory`.
    pub(super) fn start(
        &mut self,
        directory: PathBuf,
        commands: WeakSender<Command>,
        clock: Clock,
        options: FeedOptions,
    ) {
        self.start = Some(Start { directory, commands, clock, options });
    }

    fn place_of(&self, delay_ms: u64) -> Option<usize> {
        let is_it = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.delay_ms == delay_ms);
        self.slots.iter().position(is_it)
    }

    fn slot(&mut self, place: usize) -> Option<&mut Slot> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// The slot of a delay, whose reader is started if there is none yet; `None` where that cannot be.
    fn demand(&mut self, delay_ms: u64, instruments: &Arc<Instruments>, now: UnixNanos) -> Option<&mut Slot> {
        let place = match self.place_of(delay_ms) {
            Some(place) => place,
            None => self.open(delay_ms, instruments, now)?,
        };
        self.slot(place)
    }

    fn open(&mut self, delay_ms: u64, instruments: &Arc<Instruments>, now: UnixNanos) -> Option<usize> {
        let start = self.start.as_ref()?;
        let place = match self.slots.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.slots.len() < DELAYS_MAX => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return None,
        };
        self.generation += 1;
        let seed = Seed {
            directory: start.directory.clone(),
            commands: start.commands.clone(),
            clock: start.clock.clone(),
            instruments: Arc::clone(instruments),
            options: start.options,
            base: base(place, instruments)?,
            delay_ms,
            place,
            generation: self.generation,
        };
        let reading = match seed.start() {
            Ok(reading) => reading,
            Err(error) => {
                tracing::error!(%error, delay_ms, "no thread for a delayed feed");
                return None;
            }
        };
        self.slots[place] = Some(Slot {
            delay_ms,
            generation: self.generation,
            feed: None,
            is_lost: false,
            waiting: VecDeque::new(),
            readers: 0,
            left_at: now,
            reading,
        });
        Some(place)
    }
}

/// Number of the first instrument of the delayed feed at a place, among names of streams. The market's own come first.
fn base(place: usize, instruments: &Instruments) -> Option<u32> {
    u32::try_from((place + 1).checked_mul(instruments.count())?).ok()
}

impl Core {
    /// The feed that has a stream: the market's own, or a delayed one; `None` once that was given up.
    pub(super) fn feed_of(&mut self, stream: StreamId) -> Option<&mut Feed> {
        match self.place_of(stream) {
            None => Some(&mut self.feed),
            Some(place) => self.delayed.slot(place)?.feed.as_deref_mut(),
        }
    }

    /// Place of the delayed feed that has a stream; `None` for the market's own.
    fn place_of(&self, stream: StreamId) -> Option<usize> {
        let named = Delivered { stream, first: 0, last: 0 }.instrument();
        named.index().checked_div(self.instruments.count()).and_then(|feed| feed.checked_sub(1))
    }

    /// The instrument of a stream, whichever feed has it.
    pub(super) fn instrument_of(&self, stream: StreamId) -> InstrumentId {
        let named = Delivered { stream, first: 0, last: 0 }.instrument();
        let count = u32::try_from(self.instruments.count()).unwrap_or(u32::MAX);
        InstrumentId(named.0.checked_rem(count).unwrap_or_default())
    }

    /// By how much a stream is delayed, if it is, in milliseconds.
    pub(super) fn delayed_ms(&self, stream: StreamId) -> Option<u64> {
        let slot = self.delayed.slots.get(self.place_of(stream)?)?;
        slot.as_ref().map(|slot| slot.delay_ms)
    }

    /// Counts a reader of a stream out.
    pub(super) fn leave(&mut self, stream: StreamId, now: UnixNanos) {
        if let Some(feed) = self.feed_of(stream) {
            feed.unsubscribed(stream, now);
        }
        if let Some(slot) = self.place_of(stream).and_then(|place| self.delayed.slot(place)) {
            slot.readers = slot.readers.saturating_sub(1);
            slot.left_at = now;
        }
    }

    /// The feed from which a stream with this delay is had, with its reader counted in.
    ///
    /// # Errors
    /// [`Code::SubDelayUnavailable`].
    pub(super) fn feed_with_delay(&mut self, delay_ms: u64) -> Result<&mut Feed, Code> {
        if delay_ms == 0 {
            return Ok(&mut self.feed);
        }
        let is_taped = self.is_taped();
        let slot = self.delayed.place_of(delay_ms).and_then(|place| self.delayed.slot(place));
        let slot = slot.filter(|slot| is_taped && !slot.is_lost).ok_or(Code::SubDelayUnavailable)?;
        slot.feed.as_deref_mut().ok_or(Code::SubDelayUnavailable)
    }

    /// A subscription with this delay stands from now on.
    pub(super) fn joined_with_delay(&mut self, delay_ms: u64) {
        if let Some(slot) = self.delayed.place_of(delay_ms).and_then(|place| self.delayed.slot(place)) {
            slot.readers += 1;
        }
    }

    /// Lets a request wait if it is granted streams with a delay whose feed does not stand yet. Whether it waits.
    pub(super) fn waits_for_delayed(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<&RequestId>,
        request: &Subscribe,
        stream: StreamRequest,
        symbols: &[Symbol],
        now: UnixNanos,
    ) -> bool {
        if !self.is_taped() {
            return false;
        }
        let StreamRequest { channel, depth, conflation, .. } = stream;
        for symbol in symbols {
            let entitlement = session.entitlement();
            let access = entitlement.may_subscribe(channel, symbol.as_str(), depth, conflation);
            let Some(delay_ms) = access.ok().map(|access| access.delay_ms).filter(|delay_ms| *delay_ms != 0)
            else {
                continue;
            };
            if self.instruments.by_symbol(symbol.as_str()).is_none() {
                continue;
            }
            let instruments = Arc::clone(&self.instruments);
            let slot = self.delayed.demand(delay_ms, &instruments, now);
            let Some(slot) = slot.filter(|slot| slot.feed.is_none() && !slot.is_lost) else { continue };
            if slot.waiting.len() >= WAITING_MAX {
                continue;
            }
            let (session, id, request) = (Arc::clone(session), id.cloned(), request.clone());
            let number = session.number;
            slot.waiting.push_back(Waiting { session, id, request });
            self.retellings.asks(number);
            return true;
        }
        false
    }

    /// Whether the feed of a delay is being made, from now on if there is none yet.
    pub(super) fn is_being_made(&mut self, delay_ms: u64, now: UnixNanos) -> bool {
        if delay_ms == 0 || !self.is_taped() {
            return false;
        }
        let instruments = Arc::clone(&self.instruments);
        let slot = self.delayed.demand(delay_ms, &instruments, now);
        slot.is_some_and(|slot| slot.feed.is_none() && !slot.is_lost)
    }

    /// Takes what the reader of a delayed feed has.
    pub(super) fn take_delayed(
        &mut self,
        (place, generation): (usize, u64),
        delayed: Delayed,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let slot = self.delayed.slot(place).filter(|slot| slot.generation == generation);
        let Some(slot) = slot else { return Ok(()) };
        let delay_ms = slot.delay_ms;
        let waiting = match delayed {
            Delayed::Ready(feed) => {
                (slot.feed, slot.left_at) = (Some(feed), now);
                std::mem::take(&mut slot.waiting)
            }
            Delayed::Due(due) => {
                slot.reading.took();
                if let Some(feed) = &mut slot.feed {
                    match due {
                        Due::Events(events) => {
                            // By the time that follows from the tape, so that it is the same message whenever it is told.
                            for (event, due) in &events {
                                feed.apply(event, *due, &mut batch.publications);
                            }
                        }
                        Due::Run(keyframe) => feed.take_over(&keyframe, now, &mut batch.publications),
                    }
                    batch.publish();
                }
                return Ok(());
            }
            Delayed::Lost => {
                slot.is_lost = true;
                if let Some(feed) = &mut slot.feed {
                    for instrument in self.instruments.iter() {
                        feed.mark_stale(instrument.id, now, &mut batch.publications);
                    }
                    batch.publish();
                }
                std::mem::take(&mut slot.waiting)
            }
        };
        // Before requests: they were sent while these stood.
        self.go_on_with_delay(delay_ms, now, batch)?;
        for Waiting { session, id, request } in waiting {
            if self.retellings.answers(session.number) {
                self.subscribe_with(&session, id, &request, None, now, batch)?;
            }
        }
        Ok(())
    }

    /// Lets time pass in the delayed feeds, and gives up those that nobody has read for long.
    pub(super) fn tick_delayed(&mut self, now: UnixNanos, batch: &mut Batch) {
        if self.is_given_up() {
            self.delayed.failed_at.get_or_insert(now);
        }
        let DelayedFeeds { slots, failed_at, start, .. } = &mut self.delayed;
        let keep_ns = start.as_ref().map_or(0, |start| start.options.rings.keep_ns).max(KEEP_MIN_NS);
        for place in slots {
            let Some(slot) = place else { continue };
            if let Some(feed) = &mut slot.feed {
                // What was recorded before is still due; behind that nothing comes any more.
                if failed_at.is_some_and(|at| now.since(at) >= slot.delay_ms.saturating_mul(1_000_000)) {
                    for instrument in self.instruments.iter() {
                        feed.mark_stale(instrument.id, now, &mut batch.publications);
                    }
                }
                feed.tick(now, &mut batch.publications);
            }
            let is_awaited = !slot.waiting.is_empty() || self.moves.wait_for(slot.delay_ms);
            if slot.readers == 0 && !is_awaited && now.since(slot.left_at) >= keep_ns {
                *place = None;
            }
        }
        batch.publish();
    }
}

#[cfg(test)]
mod tests;
