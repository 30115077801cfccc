//! A stream: one channel of one instrument at one depth, sequenced and encoded once whoever reads it.

use bytes::Bytes;
use sealfeed_wire::{StreamHeader, StreamKey, StreamSymbol};

use crate::types::{Channel, Depth, Epoch, InstrumentId, Sequence, Symbol, UnixNanos};

/// Streams of one instrument: `trades`, `bbo`, and `book` at three depths.
pub const STREAMS_PER_INSTRUMENT: u32 = 5;

/// A stream's place in tables over all streams; never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The stream at a place, for tests of what does not know instruments.
    #[cfg(test)]
    pub(crate) const fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Its place in a table indexed by stream.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The stream of an instrument, or `None` for a channel that has no public stream. Depth matters to `book` alone.
    pub(super) fn new(instrument: InstrumentId, channel: Channel, depth: Depth) -> Option<Self> {
        let kind = StreamKind::of(channel, depth)?;
        instrument.0.checked_mul(STREAMS_PER_INSTRUMENT)?.checked_add(kind as u32).map(Self)
    }

    /// The instrument and the kind that [`Self::new`] was given.
    pub(super) fn parts(self) -> (InstrumentId, StreamKind) {
        let kind = StreamKind::ALL[(self.0 % STREAMS_PER_INSTRUMENT) as usize];
        (InstrumentId(self.0 / STREAMS_PER_INSTRUMENT), kind)
    }
}

/// Which of an instrument's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Trades,
    Bbo,
    Book10,
    Book50,
    BookFull,
}

impl StreamKind {
    pub(super) const ALL: [Self; STREAMS_PER_INSTRUMENT as usize] =
        [Self::Trades, Self::Bbo, Self::Book10, Self::Book50, Self::BookFull];

    /// The kind of this channel at this depth, which matters to `book` alone.
    pub(super) fn of(channel: Channel, depth: Depth) -> Option<Self> {
        match (channel, depth) {
            (Channel::Trades, _) => Some(Self::Trades),
            (Channel::Bbo, _) => Some(Self::Bbo),
            (Channel::Book, Depth::Ten) => Some(Self::Book10),
            (Channel::Book, Depth::Fifty) => Some(Self::Book50),
            (Channel::Book, Depth::Full) => Some(Self::BookFull),
            _ => None,
        }
    }

    /// The depth that [`Self::of`] took; the full one where there is none.
    pub(super) fn depth(self) -> Depth {
        match self {
            Self::Book10 => Depth::Ten,
            Self::Book50 => Depth::Fifty,
            Self::Trades | Self::Bbo | Self::BookFull => Depth::Full,
        }
    }

    pub(super) fn channel(self) -> Channel {
        match self {
            Self::Trades => Channel::Trades,
            Self::Bbo => Channel::Bbo,
            Self::Book10 | Self::Book50 | Self::BookFull => Channel::Book,
        }
    }
}

/// One message of a stream, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Whose subscribers get it.
    pub stream: StreamId,
    /// Where the stream stands with it: its own number, or the last one before a notice, which has none.
    pub seq: Sequence,
    /// The JSON text, shared by all of them.
    pub message: Bytes,
}

/// What a new subscriber needs to follow a stream from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The stream.
    pub stream: StreamId,
    /// The run of its sequence.
    pub epoch: Epoch,
    /// Its last message so far; the next one is the one after. Zero: none yet.
    pub seq: Sequence,
    /// The present state (`snapshot` or `bbo`), to be sent at once; `None` for trades.
    pub state: Option<Bytes>,
    /// The `stale` notice, to be sent after the state, if the source has stalled or ended.
    pub stale: Option<Bytes>,
}

/// When an event happened and was received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EventTimes {
    pub(super) event: UnixNanos,
    pub(super) received: UnixNanos,
}

/// Position and readers of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    symbol: Symbol,
    epoch: Epoch,
    seq: Sequence,
    /// With none, the sequence goes on and nothing is encoded.
    pub(super) subscribers: u32,
    /// When the last message or heartbeat went out.
    pub(super) last_out: UnixNanos,
}

impl Stream {
    /// A stream that starts now. What has a present state starts with that as message 1; events start at 0, none yet.
    pub(super) fn new(id: StreamId, symbol: Symbol, epoch: Epoch) -> Self {
        let (_, kind) = id.parts();
        let seq = if kind.channel().is_state() { Sequence::ZERO.next() } else { Sequence::ZERO };
        Self { id, symbol, epoch, seq, subscribers: 0, last_out: UnixNanos::default() }
    }

    /// The stream as it stood when it had sent message `seq`, without readers.
    pub(super) fn restored(id: StreamId, symbol: Symbol, epoch: Epoch, seq: Sequence) -> Self {
        Self { seq, ..Self::new(id, symbol, epoch) }
    }

    pub(super) fn seq(&self) -> Sequence {
        self.seq
    }

    /// Takes the next sequence number for a message, and encodes it if anybody reads.
    pub(super) fn publish(
        &mut self,
        times: EventTimes,
        now: UnixNanos,
        out: &mut Vec<Publication>,
        encode: impl FnOnce(StreamHeader, &mut Vec<u8>),
    ) {
        let prev_seq = self.seq;
        self.seq = prev_seq.next();
        if self.subscribers == 0 {
            return;
        }
        self.last_out = now;
        let header = StreamHeader { prev_seq: Some(prev_seq), ..self.state_header(times, now) };
        let mut message = Vec::with_capacity(MESSAGE_BYTES_USUAL);
        encode(header, &mut message);
        out.push(Publication { stream: self.id, seq: self.seq, message: message.into() });
    }

    /// The header of the present state: the position it contains, and no predecessor.
    pub(super) fn state_header(&self, times: EventTimes, now: UnixNanos) -> StreamHeader {
        let (_, kind) = self.id.parts();
        StreamHeader {
            channel: kind.channel(),
            symbol: self.symbol,
            epoch: self.epoch,
            seq: self.seq,
            prev_seq: None,
            ts_event: times.event,
            ts_recv: times.received,
            ts_out: now,
            delayed_ms: None,
        }
    }

    /// Heartbeat content as of now; `stale` has the same.
    pub(super) fn beat(&self, now: UnixNanos) -> sealfeed_wire::market::Heartbeat {
        let (_, kind) = self.id.parts();
        let symbol = StreamSymbol::One(self.symbol);
        let stream = StreamKey { channel: kind.channel(), symbol, epoch: self.epoch, delayed_ms: None };
        sealfeed_wire::market::Heartbeat { stream, seq: self.seq, ts: now }
    }
}

/// Room that a message gets at first: enough for most deltas.
const MESSAGE_BYTES_USUAL: usize = 512;
