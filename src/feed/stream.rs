//! A stream: one channel of one instrument at one depth and conflation, sequenced once, and encoded once in each encoding that
//! is read.

use bytes::Bytes;
use sealfeed_wire::market::Heartbeat;
use sealfeed_wire::{Conflation, StreamHeader, StreamKey, StreamSymbol};

use super::encoding::Encoding;
use super::kind::{KINDS, StreamKind};
use super::ring::{Missed, Ring, RingBudget};
use crate::types::{Channel, Depth, Epoch, InstrumentId, Sequence, Symbol, TimeArithmetic as _, UnixNanos};

/// Places of one instrument in tables over all streams: 22 streams in two encodings each. A place that nobody reads is
/// nothing but a number.
pub const STREAMS_PER_INSTRUMENT: u32 = KINDS * 2;

/// A stream in one encoding, as readers subscribe to it: its place in tables over all of them; never leaves the process.
///
/// The encodings of a stream share its sequence: they are two forms of the same messages.
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

    /// The stream of an instrument, or `None` for a channel that has no public stream, or at the end of the range.
    pub(super) fn of(instrument: InstrumentId, kind: StreamKind, encoding: Encoding) -> Option<Self> {
        let place = kind.number() * 2 + encoding as u32;
        instrument.0.checked_mul(STREAMS_PER_INSTRUMENT)?.checked_add(place).map(Self)
    }

    /// As [`Self::of`], unconflated and in JSON.
    #[cfg(test)]
    pub(super) fn new(instrument: InstrumentId, channel: Channel, depth: Depth) -> Option<Self> {
        Self::of(instrument, StreamKind::of(channel, depth, Conflation::Off)?, Encoding::Json)
    }

    /// What its readers have asked for.
    #[must_use]
    pub fn request(self) -> StreamRequest {
        let (_, kind, encoding) = self.parts();
        StreamRequest {
            channel: kind.channel(),
            depth: kind.depth(),
            conflation: kind.conflation(),
            encoding,
        }
    }

    /// What [`Self::of`] was given.
    pub(super) fn parts(self) -> (InstrumentId, StreamKind, Encoding) {
        let place = self.0 % STREAMS_PER_INSTRUMENT;
        let encoding = Encoding::ALL[(place % 2) as usize];
        (InstrumentId(self.0 / STREAMS_PER_INSTRUMENT), StreamKind::from_number(place / 2), encoding)
    }
}

/// What a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRequest {
    /// The channel.
    pub channel: Channel,
    /// Levels a side; matters to `book` alone.
    pub depth: Depth,
    /// Shortest time between messages; matters to `bbo` and `book` alone.
    pub conflation: Conflation,
    /// The reader's encoding.
    pub encoding: Encoding,
}

/// One message of a stream, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Whose subscribers get it.
    pub stream: StreamId,
    /// What the bytes are. Notices about a stream (heartbeats and their like) are JSON for the readers of records, too.
    pub encoding: Encoding,
    /// Where the stream stands with it: its own number, or the last one before a notice, which has none.
    pub seq: Sequence,
    /// A JSON text, or one record; shared by all of them.
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
    /// The present state, to be sent at once unless the reader resumes; `None` for a channel of events: what the readers of `mbo` begin with is
    /// taken by [`Feed::orders`](super::Feed::orders).
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

/// Where messages go.
pub(super) struct Outgoing<'a> {
    pub(super) now: UnixNanos,
    pub(super) publications: &'a mut Vec<Publication>,
    pub(super) encoder: &'a mut Encoder,
}

/// What all streams share for encoding.
#[derive(Debug)]
pub(super) struct Encoder {
    /// Room for one message.
    buffer: Vec<u8>,
    pub(super) rings: RingBudget,
}

impl Encoder {
    pub(super) const fn new(rings: RingBudget) -> Self {
        Self { buffer: Vec::new(), rings }
    }
}

/// One encoding of a stream.
#[derive(Debug, Default)]
struct Outlet {
    readers: u32,
    /// There as long as the encoding is written: while somebody reads it, and for a while after that.
    ring: Option<Ring>,
    /// When the last reader left.
    left_at: UnixNanos,
}

/// Position and readers of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    instrument: InstrumentId,
    pub(super) kind: StreamKind,
    symbol: Symbol,
    epoch: Epoch,
    seq: Sequence,
    /// How much later than the market it is published, if it is, in milliseconds.
    pub(super) delayed_ms: Option<u64>,
    outlets: [Outlet; 2],
    /// When the last message or heartbeat went out.
    last_out: UnixNanos,
}

impl Stream {
    /// A stream whose last message has the number `seq`.
    pub(super) fn new(
        instrument: InstrumentId,
        kind: StreamKind,
        symbol: Symbol,
        epoch: Epoch,
        seq: Sequence,
    ) -> Self {
        let outlets = [Outlet::default(), Outlet::default()];
        Self {
            instrument,
            kind,
            symbol,
            epoch,
            seq,
            delayed_ms: None,
            outlets,
            last_out: UnixNanos::default(),
        }
    }

    pub(super) const fn seq(&self) -> Sequence {
        self.seq
    }

    /// Goes on behind this message of this epoch; for a stream that nobody has followed.
    pub(super) const fn begin(&mut self, epoch: Epoch, seq: Sequence) {
        (self.epoch, self.seq) = (epoch, seq);
    }

    /// The run of its sequence.
    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether messages are encoded: somebody reads, or may come back soon.
    pub(super) fn is_live(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.ring.is_some())
    }

    /// Whether messages are encoded so.
    pub(super) fn is_kept(&self, encoding: Encoding) -> bool {
        self.outlets[encoding as usize].ring.is_some()
    }

    pub(super) fn is_read(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.readers > 0)
    }

    /// Counts a reader in.
    pub(super) fn join(&mut self, encoding: Encoding, now: UnixNanos) {
        if !self.is_read() {
            self.last_out = now;
        }
        let outlet = &mut self.outlets[encoding as usize];
        outlet.readers = outlet.readers.saturating_add(1);
        outlet.ring.get_or_insert_default();
    }

    /// Counts a reader out.
    pub(super) fn leave(&mut self, encoding: Encoding, now: UnixNanos) {
        let outlet = &mut self.outlets[encoding as usize];
        outlet.readers = outlet.readers.saturating_sub(1);
        outlet.left_at = now;
    }

    /// Stops encoding what nobody has read for long enough.
    pub(super) fn expire(&mut self, now: UnixNanos, rings: &mut RingBudget) {
        let keep_ns = rings.keep_ns();
        for outlet in &mut self.outlets {
            if outlet.readers == 0
                && now.since(outlet.left_at) >= keep_ns
                && let Some(mut ring) = outlet.ring.take()
            {
                ring.clear(rings);
            }
        }
    }

    /// The messages behind `after` up to the last one.
    pub(super) fn missed(&self, encoding: Encoding, after: Sequence) -> Missed {
        self.outlets[encoding as usize]
            .ring
            .as_ref()
            .map_or(Missed::NotHeld, |ring| ring.missed(after, self.seq))
    }

    /// Takes the next number for a message, and encodes it in every encoding that is live.
    pub(super) fn publish(
        &mut self,
        times: EventTimes,
        out: &mut Outgoing<'_>,
        encode: impl Fn(Encoding, &StreamHeader, &mut Vec<u8>),
    ) {
        let prev_seq = self.seq;
        self.seq = prev_seq.next();
        if !self.is_live() {
            return;
        }
        let header = StreamHeader { prev_seq: Some(prev_seq), ..self.state_header(times, out.now) };
        let Encoder { buffer, rings } = &mut *out.encoder;
        for encoding in Encoding::ALL {
            let outlet = &mut self.outlets[encoding as usize];
            let Some(ring) = &mut outlet.ring else { continue };
            buffer.clear();
            encode(encoding, &header, buffer);
            // Copied, so that what is kept takes no more room than its bytes.
            let message = Bytes::copy_from_slice(buffer);
            ring.push(&message, rings);
            if outlet.readers > 0
                && let Some(stream) = StreamId::of(self.instrument, self.kind, encoding)
            {
                self.last_out = out.now;
                out.publications.push(Publication { stream, encoding, seq: self.seq, message });
            }
        }
    }

    /// Sends a notice, which takes no number, to all readers.
    pub(super) fn notify(&mut self, out: &mut Outgoing<'_>, encode: impl FnOnce(&mut Vec<u8>)) {
        if !self.is_read() {
            return;
        }
        self.last_out = out.now;
        let buffer = &mut out.encoder.buffer;
        buffer.clear();
        encode(buffer);
        let message = Bytes::copy_from_slice(buffer);
        for reads in Encoding::ALL {
            if self.outlets[reads as usize].readers > 0
                && let Some(stream) = StreamId::of(self.instrument, self.kind, reads)
            {
                let (encoding, message) = (Encoding::Json, message.clone());
                out.publications.push(Publication { stream, encoding, seq: self.seq, message });
            }
        }
    }

    /// Whether it is read and had nothing to say for so long.
    pub(super) fn is_idle(&self, idle_ns: u64, now: UnixNanos) -> bool {
        self.is_read() && now.since(self.last_out) >= idle_ns
    }

    /// The header of the present state: the position it contains, and no predecessor.
    pub(super) fn state_header(&self, times: EventTimes, now: UnixNanos) -> StreamHeader {
        StreamHeader {
            channel: self.kind.channel(),
            symbol: self.symbol,
            epoch: self.epoch,
            seq: self.seq,
            prev_seq: None,
            ts_event: times.event,
            ts_recv: times.received,
            ts_out: now,
            delayed_ms: self.delayed_ms,
        }
    }

    /// Heartbeat content as of now; `stale` has the same.
    pub(super) fn beat(&self, now: UnixNanos) -> Heartbeat {
        Heartbeat { stream: self.key(), seq: self.seq, ts: now }
    }

    /// The stream's name in notices.
    pub(super) const fn key(&self) -> StreamKey {
        let symbol = StreamSymbol::One(self.symbol);
        StreamKey { channel: self.kind.channel(), symbol, epoch: self.epoch, delayed_ms: self.delayed_ms }
    }
}
