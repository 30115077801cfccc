//! Records what the feed is given, on the pipeline's thread: a record into a buffer, and now and then a buffer to the tape's thread.

use std::sync::Arc;

use super::codec::{EVENT_BYTES_MAX, Origin, encode};
use super::instruments::{to_tape, unit};
use super::keyframe;
use crate::feed::Feed;
use crate::journal::tape::{Block, BlockHeader, Keyframe, Tape, TapedInstrument, UNPACKED_BYTES_MAX};
use crate::types::{Epoch, Instruments, MarketEvent, TimeArithmetic as _, UnixNanos};

/// Most bytes of one piece of a block: what does not compress at all still fits an entry.
const PIECE_BYTES_MAX: usize = 60_000;

/// Bounds of blocks and of what lies between keyframes.
#[derive(Clone, Copy, Debug)]
pub struct RecorderOptions {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// Number of the first event: 0 but where an epoch goes on.
    pub next: u64,
    /// A block ends with this many events, at least 1; it never exceeds four megabytes either.
    pub block_events: u32,
    /// A block ends when its first event is so old, nanoseconds.
    pub block_ns: u64,
    /// A keyframe follows after this many blocks, at least 1.
    pub keyframe_blocks: u32,
}

/// Records market events.
#[derive(Debug)]
pub struct Recorder {
    tape: Tape,
    options: RecorderOptions,
    /// The unit of sizes, by instrument.
    units: Vec<u64>,
    instruments: Arc<[TapedInstrument]>,
    block: Block,
    /// Events in the block at hand.
    block_events: u32,
    /// When the first of them was published.
    block_began: UnixNanos,
    blocks: u32,
    /// Number of the next event.
    next: u64,
    last_out: UnixNanos,
}

impl Recorder {
    /// A recorder of markets in these instruments.
    #[must_use]
    pub fn new(tape: Tape, instruments: &Instruments, options: RecorderOptions) -> Self {
        Self {
            tape,
            units: instruments.iter().map(unit).collect(),
            instruments: instruments.iter().map(to_tape).collect(),
            block: Block::default(),
            block_events: 0,
            block_began: UnixNanos::default(),
            blocks: 0,
            next: options.next,
            last_out: UnixNanos::default(),
            options,
        }
    }

    /// Begins the run: lists the instruments and states where the streams begin. Before the first event.
    pub fn begin(&mut self, feed: &Feed, now: UnixNanos) {
        self.last_out = now;
        self.keyframe(feed);
    }

    /// Records an event that the feed is given at `now`. Waits while too much waits for the tape; does nothing once it was given up.
    pub fn record(&mut self, event: &MarketEvent, now: UnixNanos) {
        let Some(unit) = self.units.get(event.instrument.index()) else {
            // The feed ignores it too.
            return;
        };
        if self.block_events == 0 {
            if self.tape.has_failed() {
                return;
            }
            self.block_began = now;
        }
        let before = self.block.records.len();
        encode(event, now, *unit, Origin::Live, &mut self.block.records);
        let bytes = self.block.records.len() - before;
        self.count(u32::try_from(bytes).unwrap_or(u32::MAX), now);
        let is_full = self.block_events >= self.options.block_events
            || self.block.records.len() + EVENT_BYTES_MAX > UNPACKED_BYTES_MAX;
        if is_full || now.since(self.block_began) >= self.options.block_ns {
            self.flush();
        }
    }

    fn count(&mut self, bytes: u32, now: UnixNanos) {
        match self.block.pieces.last_mut() {
            Some(piece) if piece.bytes as usize + bytes as usize <= PIECE_BYTES_MAX => {
                piece.events += 1;
                piece.bytes += bytes;
                piece.last_out = now;
            }
            _ => self.block.pieces.push(BlockHeader {
                epoch: self.options.epoch,
                first: self.next,
                first_out: now,
                last_out: now,
                events: 1,
                bytes,
            }),
        }
        self.block_events += 1;
        self.next += 1;
        self.last_out = now;
    }

    /// Ends a turn of the pipeline: hands over a block that is old enough, and a keyframe when one is due. The feed must have been
    /// given all that was recorded.
    pub fn end_turn(&mut self, feed: &Feed, now: UnixNanos) {
        if self.block_events > 0 && now.since(self.block_began) >= self.options.block_ns {
            self.flush();
        }
        if self.blocks >= self.options.keyframe_blocks || self.tape.wants_keyframe() {
            self.keyframe(feed);
        }
    }

    /// Ends the run and closes the tape; waits until all is written. It ends in good order if the feed is not in the middle of an event.
    pub fn end(mut self, feed: &Feed) {
        self.flush();
        self.keyframe(feed);
        self.tape.end();
    }

    /// Hands over what was recorded so far, without waiting for the block to be full.
    pub fn flush(&mut self) {
        if self.block_events == 0 {
            return;
        }
        let records = self.tape.buffer();
        let block = std::mem::replace(&mut self.block, Block { pieces: Vec::new(), records });
        self.block_events = 0;
        self.blocks = self.blocks.saturating_add(1);
        self.tape.block(block);
    }

    /// Whether the tape was given up: nothing is recorded any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.tape.has_failed()
    }

    /// Between the records of an event there is none: the next turn tries again.
    fn keyframe(&mut self, feed: &Feed) {
        if self.tape.has_failed() {
            return;
        }
        let Some(content) = keyframe::content(feed, &self.units, self.last_out) else { return };
        self.flush();
        self.blocks = 0;
        self.tape.keyframe(Keyframe {
            epoch: self.options.epoch,
            next: self.next,
            ts_out: self.last_out,
            instruments: Arc::clone(&self.instruments),
            content,
        });
    }
}
