//! The messages of one stream, made again from the tape: what a reader missed who was away for longer than memory reaches.
//!
//! The events behind a keyframe go through the market of one instrument, which publishes this one stream, in the one encoding. What comes out is byte
//! for byte what was published: streams that follow from the tape alone have their numbers and times from there. Memory: the instrument's
//! book, one block of the tape, and, while it begins, a keyframe.

use std::path::Path;

use super::error::TapeError;
use super::keyframe::Keyframe;
use super::reader::{Item, Reader, Taped};
use super::seek::seek;
use crate::feed::encoding::Encoding;
use crate::feed::frame::Joiner;
use crate::feed::market::{Market, Scratch};
use crate::feed::ring::{RingBounds, RingBudget};
use crate::feed::stream::{Encoder, Outgoing, StreamId};
use crate::journal::tape::MarketState;
use crate::types::{Epoch, Instrument, InstrumentId, Sequence, TimeArithmetic as _, UnixNanos};

/// What a reader misses of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The stream.
    pub stream: StreamId,
    /// The run of its sequence.
    pub epoch: Epoch,
    /// The last message that the reader has.
    pub after: Sequence,
    /// By how much the stream is delayed, in milliseconds; 0: not at all.
    pub delay_ms: u64,
    /// The run of the tape that it follows from.
    pub(in crate::feed) tape: Epoch,
    /// The instrument's number there, and the instrument as it is named here.
    pub(in crate::feed) taped: InstrumentId,
    pub(in crate::feed) instrument: Instrument,
}

impl Missing {
    /// The stream's number in a keyframe of its epoch.
    pub(super) fn saved(&self, markets: &[MarketState]) -> Option<Sequence> {
        let (_, kind, _) = self.stream.parts();
        let streams = &markets.get(self.taped.index())?.streams;
        let (channel, depth) = (kind.channel().as_str(), u32::from(kind.depth().get()));
        let found = streams.iter().find(|saved| saved.channel == channel && saved.depth == depth);
        match found {
            Some(saved) => Sequence::new(saved.seq),
            // What had no message yet is not listed.
            None => Some(kind.first()),
        }
    }
}

/// Why [`Retold::read`] has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// There is as much as was asked for.
    Full,
    /// So many events were read; there are more.
    Spent,
    /// The tape has no more yet.
    End,
}

/// Reads what is missing.
#[derive(Debug)]
pub struct Retold {
    reader: Reader,
    /// What was read of a delayed stream and is not due yet.
    held: Option<Taped>,
    market: Market,
    encoding: Encoding,
    missing: Missing,
    /// The stream's last message so far.
    seq: Sequence,
    scratch: Scratch,
    encoder: Encoder,
}

impl Retold {
    /// Finds the place on the tape in `folder`. Reads a segment twice, and a keyframe.
    ///
    /// # Errors
    /// [`TapeError::NotHeld`] where the tape does not reach back so far; what reading meets.
    pub fn find(folder: &Path, missing: Missing) -> Result<Self, TapeError> {
        let mut reader = Reader::at(folder, seek(folder, &missing)?)?;
        let Some(Item::Keyframe(keyframe)) = reader.next()? else { return Err(TapeError::NotHeld) };
        let Keyframe { epoch, ref instruments, ref markets, ref events, .. } = *keyframe;
        let (_, kind, encoding) = missing.stream.parts();
        let own = &missing.instrument;
        let (Some(listed), Some(state)) =
            (instruments.by_id(missing.taped), markets.get(missing.taped.index()))
        else {
            return Err(TapeError::Keyframe);
        };
        let seq = missing.saved(markets).ok_or(TapeError::Keyframe)?;
        let is_same = Instrument { id: own.id, ..listed.clone() } == *own;
        if epoch != missing.tape || !is_same || seq > missing.after {
            return Err(TapeError::NotHeld);
        }
        let (mut scratch, mut encoder) =
            (Scratch::default(), Encoder::new(RingBudget::new(RingBounds::NONE)));
        let mut market = Market::new(own);
        if missing.delay_ms != 0 {
            market = market.delayed(own.id, missing.delay_ms);
        }
        for event in events.iter().filter(|event| event.instrument == missing.taped) {
            let (now, publications) = (UnixNanos::default(), &mut Vec::new());
            market.apply(event, &mut scratch, &mut Outgoing { now, publications, encoder: &mut encoder });
        }
        if !market.load(state) {
            return Err(TapeError::Keyframe);
        }
        market.retell((kind, encoding), missing.epoch);
        Ok(Self { reader, held: None, market, encoding, missing, seq, scratch, encoder })
    }

    /// The stream's last message so far. Those behind the one that the reader has were handed out.
    #[must_use]
    pub const fn seq(&self) -> Sequence {
        self.seq
    }

    /// What is missing.
    #[must_use]
    pub const fn missing(&self) -> &Missing {
        &self.missing
    }

    /// Appends frames of missed messages to `out` until it holds `bytes_max`, at least one whatever its size, or until `events_max` events
    /// were read; how many messages, and why it stopped. Of a delayed stream nothing comes that is not due by `now`, and nothing behind
    /// message `until`: so far the feed has published it.
    ///
    /// # Errors
    /// [`TapeError`]: the tape cannot be read on, and nothing more comes.
    pub fn read(
        &mut self,
        (bytes_max, events_max): (usize, usize),
        (until, now): (Sequence, UnixNanos),
        out: &mut Vec<u8>,
    ) -> Result<(u64, Pause), TapeError> {
        let (mut publications, mut messages, mut joiner) = (Vec::new(), 0, Joiner::default());
        let delay_ms = self.missing.delay_ms;
        for _ in 0..events_max {
            if delay_ms != 0 && self.seq >= until {
                return Ok((messages, Pause::End));
            }
            let next = match self.held.take() {
                Some(taped) => Some(Item::Event(taped)),
                None => self.reader.next()?,
            };
            let taped = match next {
                Some(Item::Event(taped)) => taped,
                Some(Item::End) => continue,
                // Another epoch: the one that was asked for is over.
                Some(Item::Keyframe(_)) => return Err(TapeError::NotHeld),
                None => return Ok((messages, Pause::End)),
            };
            let due = taped.ts_out.plus_ns(delay_ms.saturating_mul(1_000_000));
            if delay_ms != 0 && due > now {
                self.held = Some(taped);
                return Ok((messages, Pause::End));
            }
            if taped.event.instrument == self.missing.taped {
                let Self { market, scratch, encoder, .. } = self;
                let outgoing = &mut Outgoing { now: due, publications: &mut publications, encoder };
                market.apply(&taped.event, scratch, outgoing);
            }
            for published in publications.drain(..) {
                self.seq = published.seq;
                if published.encoding == self.encoding && published.seq > self.missing.after {
                    joiner.push(out, self.encoding.frame(), &published.message);
                    messages += 1;
                }
            }
            if out.len() >= bytes_max {
                return Ok((messages, Pause::Full));
            }
        }
        Ok((messages, Pause::Spent))
    }
}
