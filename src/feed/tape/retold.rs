//! The messages of one stream, made again from the tape: what a reader missed who was away for longer than memory reaches.
//!
//! The events behind a keyframe go through the market of one instrument, which publishes this one stream, in the one encoding. What comes out is byte
//! for byte what was published: streams that follow from the tape alone have their numbers and times from there. Memory: the instrument's
//! book, one block of the tape, and, while it begins, a keyframe.

use std::path::Path;

use super::error::TapeError;
use super::keyframe::Keyframe;
use super::reader::{Item, Reader};
use super::seek::seek;
use crate::feed::encoding::Encoding;
use crate::feed::frame::Joiner;
use crate::feed::kind::StreamKind;
use crate::feed::market::{Market, Scratch};
use crate::feed::ring::{RingBounds, RingBudget};
use crate::feed::stream::{Encoder, Outgoing, StreamId};
use crate::journal::tape::MarketState;
use crate::types::{Epoch, InstrumentId, Sequence, UnixNanos};

/// What a reader misses of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The stream.
    pub stream: StreamId,
    /// The run of its sequence.
    pub epoch: Epoch,
    /// The last message that the reader has.
    pub after: Sequence,
    /// Of a stream with a present state: the event behind which its number is known, and that number.
    pub(in crate::feed) from: Option<(u64, Sequence)>,
}

impl Missing {
    /// The stream's number in a keyframe of its epoch.
    pub(super) fn saved(&self, markets: &[MarketState]) -> Option<Sequence> {
        let (instrument, kind, _) = self.stream.parts();
        let streams = &markets.get(instrument.index())?.streams;
        let (channel, depth) = (kind.channel().as_str(), u32::from(kind.depth().get()));
        let found = streams.iter().find(|saved| saved.channel == channel && saved.depth == depth);
        match found {
            Some(saved) => Sequence::new(saved.seq),
            // What counts from the beginning is not listed before its first message.
            None => kind.event().map(|_| Sequence::ZERO),
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
    market: Market,
    instrument: InstrumentId,
    kind: StreamKind,
    encoding: Encoding,
    missing: Missing,
    /// The stream is published from the event of this number on, behind this message; `None` once it is.
    begins: Option<(u64, Sequence)>,
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
        let Keyframe { epoch, next, ref instruments, ref markets, ref events, .. } = *keyframe;
        let (instrument, kind, encoding) = missing.stream.parts();
        let (Some(listed), Some(state)) = (instruments.by_id(instrument), markets.get(instrument.index()))
        else {
            return Err(TapeError::Keyframe);
        };
        if epoch != missing.epoch {
            return Err(TapeError::NotHeld);
        }
        let (mut scratch, mut encoder) =
            (Scratch::default(), Encoder::new(RingBudget::new(RingBounds::NONE)));
        let mut market = Market::new(listed);
        for event in events.iter().filter(|event| event.instrument == instrument) {
            let (now, publications) = (UnixNanos::default(), &mut Vec::new());
            market.apply(event, &mut scratch, &mut Outgoing { now, publications, encoder: &mut encoder });
        }
        if !market.load(state, epoch) {
            return Err(TapeError::Keyframe);
        }
        let saved = missing.saved(markets);
        let begins = match missing.from {
            Some((number, seq)) if next <= number => (number, seq),
            _ => (next, saved.ok_or(TapeError::NotHeld)?),
        };
        if begins.1 > missing.after {
            return Err(TapeError::NotHeld);
        }
        let mut retold = Self {
            reader,
            market,
            instrument,
            kind,
            encoding,
            missing,
            begins: Some(begins),
            seq: begins.1,
            scratch,
            encoder,
        };
        retold.begin_at(next);
        Ok(retold)
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
    /// were read; how many messages, and why it stopped.
    ///
    /// # Errors
    /// [`TapeError`]: the tape cannot be read on, and nothing more comes.
    pub fn read(
        &mut self,
        bytes_max: usize,
        events_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(u64, Pause), TapeError> {
        let (mut publications, mut messages, mut joiner) = (Vec::new(), 0, Joiner::default());
        for _ in 0..events_max {
            let taped = match self.reader.next()? {
                Some(Item::Event(taped)) => taped,
                Some(Item::End) => continue,
                // Another epoch: the one that was asked for is over.
                Some(Item::Keyframe(_)) => return Err(TapeError::NotHeld),
                None => return Ok((messages, Pause::End)),
            };
            if taped.event.instrument == self.instrument {
                let Self { market, scratch, encoder, .. } = self;
                let outgoing = &mut Outgoing { now: taped.ts_out, publications: &mut publications, encoder };
                market.apply(&taped.event, scratch, outgoing);
            }
            for published in publications.drain(..) {
                self.seq = published.seq;
                if published.encoding == self.encoding && published.seq > self.missing.after {
                    joiner.push(out, self.encoding.frame(), &published.message);
                    messages += 1;
                }
            }
            self.begin_at(taped.number + 1);
            if out.len() >= bytes_max {
                return Ok((messages, Pause::Full));
            }
        }
        Ok((messages, Pause::Spent))
    }

    /// Begins to publish the stream if the event of this number is the first one.
    fn begin_at(&mut self, next: u64) {
        if let Some((_, seq)) = self.begins.filter(|(number, _)| *number <= next) {
            self.begins = None;
            self.market.retell((self.kind, self.encoding), self.missing.epoch, seq);
        }
    }
}
