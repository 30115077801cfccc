//! One instrument on its way out: its book, its best bid and offer, its bars, its status, and its streams.

mod late;
mod orders;
mod publish;
mod save;
mod state;

use std::sync::Weak;

use bytes::Bytes;
use sealfeed_wire::market::{encode_heartbeat, encode_stale};
use sealfeed_wire::{Conflation, Level};

use super::bars::{Bars, Closed};
use super::book::{Book, Changes};
use super::depth::DepthView;
use super::encoding::Encoding;
use super::kind::{COUNTED_KINDS, StreamKind};
use super::orders::OrderSnapshot;
use super::ring::Missed;
use super::stream::{EventTimes, Outgoing, Stream, StreamId, Subscribed};
use crate::types::{
    Channel, Depth, Epoch, Instrument, InstrumentId, MarketDepth, MarketEvent, MarketEventKind, Sequence,
    Side, TopLevel, UnixNanos,
};
use state::{Facts, Versions};

/// An event that goes on for so many records without an end is cut and published: about 50 MB of them are held till then.
pub const EVENT_RECORDS_MAX: usize = 1 << 20;

/// Best bid and best offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Best {
    bid: Option<Level>,
    ask: Option<Level>,
}

/// Room for the changes of one event, shared by all instruments.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    changes: Changes,
    delta: Changes,
    closed: Vec<Closed>,
}

/// The place of a feed in its run, for a new subscriber.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Of the stream that is asked for, if it is not followed already.
    pub(super) epoch: Epoch,
    pub(super) now: UnixNanos,
}

/// A stream, and what of the market it has published.
#[derive(Debug)]
struct Published {
    stream: Stream,
    /// State of the market that its last message, or its present state, was made from; matters to a conflated stream.
    version: u64,
    /// The interval of a conflated stream in which its last message went out.
    slot: u64,
    /// Best bid and offer as published last; for `bbo`.
    best: Best,
    /// Levels as published last; for every live `book` but the full, unconflated one, which is the market's own.
    view: Option<DepthView>,
}

/// State of one instrument.
#[derive(Debug)]
pub(super) struct Market {
    instrument: Instrument,
    book: Book,
    /// As of the last event that ended, like everything that is published.
    best: Best,
    /// What the open event of a top-of-book source said last.
    best_next: Option<Best>,
    /// Trades to which the source gave no number.
    trades_counted: u64,
    bars: Bars,
    facts: Facts,
    versions: Versions,
    /// The version of the book from which it was last seen what an auction call comes to.
    indicated: Option<u64>,
    /// Times of the last record.
    times: EventTimes,
    is_stale: bool,
    /// Last numbers of the streams that are not conflated, which count whether or not anybody ever reads them.
    counted: [Sequence; COUNTED_KINDS.len()],
    /// How much later than the market it is published, if it is, in milliseconds.
    delayed_ms: Option<u64>,
    /// Its number in the tape whose events it is given; `None` where its streams do not have the numbers of one.
    taped: Option<InstrumentId>,
    /// Made at the first subscription and kept.
    streams: Vec<Published>,
    /// The resting orders as they were taken last for readers of records, by encoding, while that is sent to somebody.
    snapshots: [Weak<OrderSnapshot>; 2],
}

impl Market {
    pub(super) fn new(instrument: &Instrument) -> Self {
        Self {
            instrument: instrument.clone(),
            book: Book::default(),
            best: Best::default(),
            best_next: None,
            trades_counted: 0,
            bars: Bars::default(),
            facts: Facts::new(instrument),
            versions: Versions::default(),
            indicated: None,
            times: EventTimes::default(),
            is_stale: false,
            counted: COUNTED_KINDS.map(StreamKind::first),
            delayed_ms: None,
            taped: Some(instrument.id),
            streams: Vec::new(),
            snapshots: [Weak::new(), Weak::new()],
        }
    }

    /// The same market, published so much later: under another name for its streams, and marked in every message.
    pub(super) fn delayed(self, id: InstrumentId, delayed_ms: u64) -> Self {
        let instrument = Instrument { id, ..self.instrument };
        Self { instrument, delayed_ms: Some(delayed_ms), taped: None, ..self }
    }

    pub(super) const fn taped(&self) -> Option<InstrumentId> {
        self.taped
    }

    /// Epoch and last message of a stream that is followed.
    pub(super) fn followed(&self, kind: StreamKind) -> Option<(Epoch, Sequence)> {
        let found = self.streams.iter().find(|published| published.stream.kind == kind)?;
        found.stream.is_live().then(|| (found.stream.epoch(), found.stream.seq()))
    }

    pub(super) const fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    pub(super) const fn is_stale(&self) -> bool {
        self.is_stale
    }

    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// The best level of one side, as of the last event that ended.
    pub(super) fn best(&self, side: Side) -> Option<Level> {
        match side {
            Side::Buy => self.best.bid,
            Side::Sell => self.best.ask,
        }
    }

    /// Whether its source shows enough for this channel.
    pub(super) fn offers(&self, channel: Channel) -> bool {
        match channel {
            Channel::Bbo => self.instrument.depth != MarketDepth::Trades,
            Channel::Book => self.instrument.depth.has_book(),
            Channel::Mbo => self.instrument.depth == MarketDepth::Orders,
            Channel::Trades | Channel::Ohlcv1s | Channel::Ohlcv1m | Channel::Status | Channel::Definition => {
                true
            }
            Channel::Orders | Channel::DropCopy => false,
        }
    }

    /// Whether a stream can be written as DBN records: sizes are whole units there, and a book has ten levels.
    pub(super) fn offers_records(&self, kind: StreamKind) -> bool {
        let is_whole = self.instrument.decimals.quantity.get() == 0;
        is_whole && !matches!(kind, StreamKind::Book(Depth::Fifty | Depth::Full, _))
    }

    /// Applies one record, and publishes what it completes.
    pub(super) fn apply(&mut self, event: &MarketEvent, scratch: &mut Scratch, out: &mut Outgoing<'_>) {
        self.is_stale &= !self.is_lively(&event.kind);
        self.times = EventTimes { event: event.ts_event, received: event.ts_recv };
        self.advance_bars(event, &mut scratch.closed, out);
        self.publish_record(event, out);
        match (event.kind, self.instrument.depth) {
            (MarketEventKind::Trade { price, quantity, aggressor, trade_id }, _) => {
                self.publish_trade(price, quantity, aggressor, trade_id, out);
            }
            (MarketEventKind::Top { bid, ask }, MarketDepth::Top) => {
                self.best_next = Some(Best { bid: bid.map(level), ask: ask.map(level) });
            }
            (MarketEventKind::Clear, MarketDepth::Top) => self.best_next = Some(Best::default()),
            (MarketEventKind::Status { state, reason }, _) => self.set_status(state, reason, out),
            (MarketEventKind::Indication(indication), _) => self.set_indication(indication, out),
            (MarketEventKind::Definition(definition), _) => self.set_definition(&definition, out),
            (kind, depth) if depth.has_book() => self.book.apply(&kind),
            _ => {}
        }
        if event.last || self.book.open_records() >= EVENT_RECORDS_MAX {
            self.end_event(scratch, out);
        }
    }

    /// Whether a record proves that what the market shows is up to date again. Where there are quotes, trades do not: they go on while a
    /// book is broken; nor does what is said about the instrument.
    fn is_lively(&self, kind: &MarketEventKind) -> bool {
        match kind {
            MarketEventKind::Trade { .. } | MarketEventKind::Fill { .. } => {
                self.instrument.depth == MarketDepth::Trades
            }
            MarketEventKind::Status { .. }
            | MarketEventKind::Indication(_)
            | MarketEventKind::Definition(_) => false,
            _ => true,
        }
    }

    /// Counts a new subscriber in, and says what it needs to follow. The stream is made if it is the first one ever.
    pub(super) fn subscribe(
        &mut self,
        id: StreamId,
        (kind, encoding): (StreamKind, Encoding),
        moment: Moment,
    ) -> Subscribed {
        let now = moment.now;
        let place = self.follow((kind, encoding), moment);
        let stream = &self.streams[place].stream;
        let (epoch, seq, beat) = (stream.epoch(), stream.seq(), stream.beat(now));
        let stale = self.is_stale.then(|| encoded(|out| encode_stale(out, &beat)));
        let state = self.state(&self.streams[place], encoding, now);
        Subscribed { stream: id, epoch, seq, state, stale }
    }

    /// Counts a follower of a stream in; the stream's place.
    fn follow(&mut self, (kind, encoding): (StreamKind, Encoding), Moment { epoch, now }: Moment) -> usize {
        let place = self.place(kind, epoch);
        let (version, best, counted) = (self.version(kind), self.best, self.counted(kind));
        let published = &mut self.streams[place];
        if !published.stream.is_live() {
            match counted {
                Some(seq) => published.stream.begin(epoch, seq),
                // Nobody followed: the present state is a message that nobody got, unless it is the one of before.
                None if published.version != version => {
                    published.stream.begin(epoch, published.stream.seq().next());
                }
                None => {}
            }
            (published.version, published.best) = (version, best);
            published.view = view(kind, &self.book);
        }
        published.stream.join(encoding, now);
        place
    }

    /// Counts a subscriber out.
    pub(super) fn unsubscribed(&mut self, kind: StreamKind, encoding: Encoding, now: UnixNanos) {
        if let Some(published) = self.streams.iter_mut().find(|published| published.stream.kind == kind) {
            published.stream.leave(encoding, now);
        }
    }

    /// The messages of a stream behind `after`.
    pub(super) fn missed(&self, kind: StreamKind, encoding: Encoding, after: Sequence) -> Missed {
        let found = self.streams.iter().find(|published| published.stream.kind == kind);
        found.map_or(Missed::NotHeld, |published| published.stream.missed(encoding, after))
    }

    /// Whether there are messages of a stream behind `after` in this epoch, all of which follow from the tape.
    pub(super) fn follows_from_tape(&self, kind: StreamKind, epoch: Epoch, after: Sequence) -> bool {
        let is_other = self.followed(kind).is_some_and(|(followed, _)| followed != epoch);
        kind.is_taped() && !is_other && self.counted(kind).is_some_and(|seq| after < seq)
    }

    /// Lets time pass: bars that are over, conflated streams that are due, heartbeats on what was silent for `idle_ns` (`stale`
    /// in their place as long as the source says nothing), and the end of what nobody has read for long.
    pub(super) fn tick(&mut self, idle_ns: u64, scratch: &mut Scratch, out: &mut Outgoing<'_>) {
        self.bars.tick(out.now, &mut scratch.closed);
        self.publish_closed(&mut scratch.closed, out);
        self.publish_conflated(scratch, out);
        let encode = if self.is_stale { encode_stale } else { encode_heartbeat };
        for published in &mut self.streams {
            if published.stream.is_idle(idle_ns, out.now) {
                let beat = published.stream.beat(out.now);
                published.stream.notify(out, |text| encode(text, &beat));
            }
            published.stream.expire(out.now, &mut out.encoder.rings);
            if !published.stream.is_live() {
                published.view = None;
            }
        }
    }

    /// Tells every reader, once, that the source has stalled or ended. The next record that proves otherwise lifts it.
    pub(super) fn mark_stale(&mut self, out: &mut Outgoing<'_>) {
        if std::mem::replace(&mut self.is_stale, true) {
            return;
        }
        for published in &mut self.streams {
            let beat = published.stream.beat(out.now);
            published.stream.notify(out, |text| encode_stale(text, &beat));
        }
    }

    /// The stream of a kind; made now if it is asked for the first time.
    fn place(&mut self, kind: StreamKind, epoch: Epoch) -> usize {
        if let Some(place) = self.streams.iter().position(|published| published.stream.kind == kind) {
            return place;
        }
        let seq = self.counted(kind).unwrap_or(kind.first());
        let Instrument { id, symbol, .. } = self.instrument;
        let mut stream = Stream::new(id, kind, symbol, epoch, seq);
        stream.delayed_ms = self.delayed_ms;
        let (version, best) = (self.version(kind), self.best);
        self.streams.push(Published { stream, version, slot: 0, best, view: None });
        self.streams.len() - 1
    }

    /// The last number of a stream that is counted.
    fn counted(&self, kind: StreamKind) -> Option<Sequence> {
        kind.counted().map(|place| self.counted[place])
    }

    /// Counts a message of a stream.
    const fn count(&mut self, kind: StreamKind) {
        if let Some(place) = kind.counted() {
            self.counted[place] = self.counted[place].next();
        }
    }

    /// Counts a message of a stream, and gives the stream if it is followed.
    fn counted_stream(&mut self, kind: StreamKind) -> Option<&mut Stream> {
        self.count(kind);
        let mut streams = self.streams.iter_mut().map(|published| &mut published.stream);
        streams.find(|stream| stream.kind == kind && stream.is_live())
    }

    fn end_event(&mut self, scratch: &mut Scratch, out: &mut Outgoing<'_>) {
        let has_book = self.instrument.depth.has_book();
        let best = if has_book {
            self.book.end_event(&mut scratch.changes);
            if scratch.changes.is_empty() {
                return;
            }
            self.versions.book += 1;
            Best { bid: self.book.best(Side::Buy), ask: self.book.best(Side::Sell) }
        } else {
            self.best_next.take().unwrap_or(self.best)
        };
        if best != self.best {
            self.best = best;
            self.versions.best += 1;
            self.count(StreamKind::Bbo(Conflation::Off));
            self.publish_best(out);
        }
        if has_book {
            self.publish_books(scratch, out);
        }
    }
}

/// The view that a live stream of this kind needs.
fn view(kind: StreamKind, book: &Book) -> Option<DepthView> {
    match kind {
        StreamKind::Book(Depth::Full, Conflation::Off) => None,
        StreamKind::Book(depth, _) => Some(DepthView::new(depth.levels_max(), book)),
        _ => None,
    }
}

fn level(top: TopLevel) -> Level {
    Level { price: top.price, quantity: top.quantity, orders: top.orders }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut message = Vec::new();
    encode(&mut message);
    message.into()
}
