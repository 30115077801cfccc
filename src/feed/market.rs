//! One instrument on its way out: its book, its best bid and offer, and its streams.

use bytes::Bytes;
use sealfeed_wire::market::{
    Bbo, Delta, Snapshot, Trade, encode_bbo, encode_delta, encode_heartbeat, encode_snapshot, encode_stale,
    encode_trade,
};
use sealfeed_wire::{Aggressor, Level, TradeId, checksum};

use super::book::{Book, Changes};
use super::depth::DepthView;
use super::stream::{
    EventTimes, Publication, STREAMS_PER_INSTRUMENT, Stream, StreamId, StreamKind, Subscribed,
};
use crate::journal::tape::{MarketState, StreamState};
use crate::types::{
    BookDecimals, Channel, Depth, Epoch, Instrument, InstrumentId, MarketDepth, MarketEvent, MarketEventKind,
    Price, Quantity, Sequence, Side, Symbol, TimeArithmetic, TopLevel, UnixNanos,
};

/// An event that goes on for so many records without an end is cut and published: about 50 MB of them are held till then.
pub const EVENT_RECORDS_MAX: usize = 1 << 20;

/// Every so many deltas one carries a checksum; snapshots all do. The protocol promises every 100th at least.
const DELTAS_PER_CHECKSUM: u64 = 50;

/// Best bid and best offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Best {
    bid: Option<Level>,
    ask: Option<Level>,
}

/// Room for the changes of one event, shared by all instruments.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    changes: Changes,
    delta: Changes,
}

/// State of one instrument.
#[derive(Debug)]
pub(super) struct Market {
    symbol: Symbol,
    decimals: BookDecimals,
    depth: MarketDepth,
    book: Book,
    /// As of the last event that ended, like everything that is published.
    best: Best,
    /// What the open event of a top-of-book source said last.
    best_next: Option<Best>,
    /// Trades to which the source gave no number.
    trades_counted: u64,
    /// Times of the last record.
    times: EventTimes,
    is_stale: bool,
    /// By kind; made at the first subscription and kept.
    streams: [Option<Stream>; STREAMS_PER_INSTRUMENT as usize],
    /// What the streams of depth 10 and 50 have published, once they exist.
    views: [Option<DepthView>; 2],
}

impl Market {
    pub(super) fn new(instrument: &Instrument) -> Self {
        Self {
            symbol: instrument.symbol,
            decimals: instrument.decimals,
            depth: instrument.depth,
            book: Book::default(),
            best: Best::default(),
            best_next: None,
            trades_counted: 0,
            times: EventTimes::default(),
            is_stale: false,
            streams: [const { None }; STREAMS_PER_INSTRUMENT as usize],
            views: [None, None],
        }
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
            Channel::Trades => true,
            Channel::Bbo => self.depth != MarketDepth::Trades,
            Channel::Book => self.depth.has_book(),
            _ => false,
        }
    }

    /// Applies one record, and publishes what it completes.
    pub(super) fn apply(
        &mut self,
        event: &MarketEvent,
        now: UnixNanos,
        scratch: &mut Scratch,
        out: &mut Vec<Publication>,
    ) {
        self.is_stale &= !self.is_lively(&event.kind);
        self.times = EventTimes { event: event.ts_event, received: event.ts_recv };
        match (event.kind, self.depth) {
            (MarketEventKind::Trade { price, quantity, aggressor, trade_id }, _) => {
                self.publish_trade(price, quantity, aggressor, trade_id, now, out);
            }
            (MarketEventKind::Top { bid, ask }, MarketDepth::Top) => {
                self.best_next = Some(Best { bid: bid.map(level), ask: ask.map(level) });
            }
            (MarketEventKind::Clear, MarketDepth::Top) => self.best_next = Some(Best::default()),
            (kind, depth) if depth.has_book() => self.book.apply(&kind),
            _ => {}
        }
        if event.last || self.book.open_records() >= EVENT_RECORDS_MAX {
            self.end_event(now, scratch, out);
        }
    }

    /// Whether a record proves that what the market shows is up to date again. Where there are quotes, trades do not: they go on while a
    /// book is broken; nor does what is said about the instrument.
    fn is_lively(&self, kind: &MarketEventKind) -> bool {
        match kind {
            MarketEventKind::Trade { .. } | MarketEventKind::Fill { .. } => self.depth == MarketDepth::Trades,
            MarketEventKind::Status { .. } | MarketEventKind::Definition(_) => false,
            _ => true,
        }
    }

    /// What the market needs to go on from here, for a keyframe of the tape; appends to `events` what makes its book again. `None`
    /// between the records of an event.
    pub(super) fn save(&self, id: InstrumentId, events: &mut Vec<MarketEvent>) -> Option<MarketState> {
        if self.book.open_records() > 0 || self.best_next.is_some() {
            return None;
        }
        let EventTimes { event, received } = self.times;
        let of = |kind, last| MarketEvent { instrument: id, ts_event: event, ts_recv: received, last, kind };
        if self.depth == MarketDepth::Top && self.best != Best::default() {
            let (bid, ask) = (self.best.bid.map(top), self.best.ask.map(top));
            events.push(of(MarketEventKind::Top { bid, ask }, true));
        }
        let parts = self.book_parts();
        if !parts.is_empty() {
            events.push(of(MarketEventKind::Clear, false));
        }
        let last = parts.len().saturating_sub(1);
        events.extend(parts.into_iter().enumerate().map(|(index, kind)| of(kind, index == last)));
        let streams = self.streams.iter().flatten().map(|stream| {
            let (_, kind) = stream.id.parts();
            let channel = kind.channel().as_str().to_owned();
            StreamState { channel, depth: u32::from(kind.depth().get()), seq: stream.seq().get() }
        });
        Some(MarketState {
            trades_counted: self.trades_counted,
            ts_event: event.0,
            ts_recv: received.0,
            is_stale: self.is_stale,
            streams: streams.collect(),
        })
    }

    /// What makes the book out of an empty one: its orders, by name, or its levels.
    fn book_parts(&self) -> Vec<MarketEventKind> {
        if self.depth == MarketDepth::Levels {
            let side = |side| {
                let levels = self.book.levels(side);
                levels.map(move |Level { price, quantity, orders }| MarketEventKind::Level {
                    side,
                    price,
                    quantity,
                    orders,
                })
            };
            return side(Side::Buy).chain(side(Side::Sell)).collect();
        }
        let mut orders: Vec<_> = self.book.orders().collect();
        orders.sort_unstable_by_key(|(order, ..)| *order);
        let adds = orders.into_iter();
        adds.map(|(order, side, price, quantity)| MarketEventKind::Add { order, side, price, quantity })
            .collect()
    }

    /// Puts a market whose book was made again into the state that was saved with it; `false` if it cannot have been its own.
    pub(super) fn load(&mut self, id: InstrumentId, state: &MarketState, epoch: Epoch) -> bool {
        self.trades_counted = state.trades_counted;
        self.times = EventTimes { event: UnixNanos(state.ts_event), received: UnixNanos(state.ts_recv) };
        self.is_stale = state.is_stale;
        state.streams.iter().all(|saved| self.load_stream(id, saved, epoch).is_some())
    }

    fn load_stream(&mut self, id: InstrumentId, saved: &StreamState, epoch: Epoch) -> Option<()> {
        let channel = Channel::parse(&saved.channel).ok().filter(|channel| self.offers(*channel))?;
        let depth = Depth::try_from(u16::try_from(saved.depth).ok()?).ok()?;
        let (kind, seq) = (StreamKind::of(channel, depth)?, Sequence::new(saved.seq)?);
        let stream = Stream::restored(StreamId::new(id, channel, depth)?, self.symbol, epoch, seq);
        self.make_view(kind);
        self.streams[kind as usize] = Some(stream);
        Some(())
    }

    /// Counts a new subscriber in, and says what it needs to follow. The stream is made if it is the first one ever.
    pub(super) fn subscribe(&mut self, id: StreamId, epoch: Epoch, now: UnixNanos) -> Subscribed {
        let (_, kind) = id.parts();
        self.make_view(kind);
        let symbol = self.symbol;
        let stream = self.streams[kind as usize].get_or_insert_with(|| Stream::new(id, symbol, epoch));
        stream.subscribers = stream.subscribers.saturating_add(1);
        if stream.subscribers == 1 {
            stream.last_out = now;
        }
        let (seq, beat) = (stream.seq(), stream.beat(now));
        let stale = self.is_stale.then(|| encoded(|out| encode_stale(out, &beat)));
        Subscribed { stream: id, epoch, seq, state: self.state(kind, now), stale }
    }

    /// Counts a subscriber out.
    pub(super) fn unsubscribed(&mut self, kind: StreamKind) {
        if let Some(stream) = &mut self.streams[kind as usize] {
            stream.subscribers = stream.subscribers.saturating_sub(1);
        }
    }

    /// A heartbeat for every stream that is read and had nothing to say for `idle_ns`.
    /// Sends a heartbeat on every idle stream that is read; `stale` in its place as long as the source says nothing.
    pub(super) fn heartbeats(&mut self, idle_ns: u64, now: UnixNanos, out: &mut Vec<Publication>) {
        let encode = if self.is_stale { encode_stale } else { encode_heartbeat };
        for stream in self.streams.iter_mut().flatten() {
            if stream.subscribers > 0 && now.since(stream.last_out) >= idle_ns {
                stream.last_out = now;
                let beat = stream.beat(now);
                let message = encoded(|out| encode(out, &beat));
                out.push(Publication { stream: stream.id, seq: beat.seq, message });
            }
        }
    }

    /// Tells every reader, once, that the source has stalled or ended. The next record that proves otherwise lifts it.
    pub(super) fn mark_stale(&mut self, now: UnixNanos, out: &mut Vec<Publication>) {
        if std::mem::replace(&mut self.is_stale, true) {
            return;
        }
        for stream in self.streams.iter_mut().flatten().filter(|stream| stream.subscribers > 0) {
            stream.last_out = now;
            let beat = stream.beat(now);
            let message = encoded(|out| encode_stale(out, &beat));
            out.push(Publication { stream: stream.id, seq: beat.seq, message });
        }
    }

    fn publish_trade(
        &mut self,
        price: Price,
        quantity: Quantity,
        aggressor: Option<Side>,
        trade_id: u64,
        now: UnixNanos,
        out: &mut Vec<Publication>,
    ) {
        let trade_id = if trade_id == 0 {
            self.trades_counted += 1;
            self.trades_counted
        } else {
            trade_id
        };
        let Some(stream) = &mut self.streams[StreamKind::Trades as usize] else { return };
        let decimals = self.decimals;
        let side = aggressor.map_or(Aggressor::None, Aggressor::from);
        stream.publish(self.times, now, out, |header, message| {
            let trade = Trade { header, price, quantity, side, trade_id: Some(TradeId::from(trade_id)) };
            encode_trade(message, &trade, decimals);
        });
    }

    fn end_event(&mut self, now: UnixNanos, scratch: &mut Scratch, out: &mut Vec<Publication>) {
        let best = if self.depth.has_book() {
            self.book.end_event(&mut scratch.changes);
            if scratch.changes.is_empty() {
                return;
            }
            Best { bid: self.book.best(Side::Buy), ask: self.book.best(Side::Sell) }
        } else {
            self.best_next.take().unwrap_or(self.best)
        };
        if best != self.best {
            self.best = best;
            self.publish_best(now, out);
        }
        if self.depth.has_book() {
            self.publish_books(now, scratch, out);
        }
    }

    fn publish_best(&mut self, now: UnixNanos, out: &mut Vec<Publication>) {
        let Some(stream) = &mut self.streams[StreamKind::Bbo as usize] else { return };
        let (best, decimals) = (self.best, self.decimals);
        stream.publish(self.times, now, out, |header, message| {
            encode_bbo(message, &Bbo { header, bid: best.bid, ask: best.ask }, decimals);
        });
    }

    fn publish_books(&mut self, now: UnixNanos, scratch: &mut Scratch, out: &mut Vec<Publication>) {
        let Self { book, decimals, times, streams, views, .. } = self;
        let Scratch { changes, delta } = scratch;
        for kind in [StreamKind::Book10, StreamKind::Book50, StreamKind::BookFull] {
            let Some(stream) = &mut streams[kind as usize] else { continue };
            let sent = match view_mut(views, kind) {
                Some(view) => {
                    view.follow(book, changes, delta);
                    &*delta
                }
                None => &*changes,
            };
            if sent.is_empty() {
                continue;
            }
            stream.publish(*times, now, out, |header, message| {
                let is_due = header.seq.get().is_multiple_of(DELTAS_PER_CHECKSUM);
                let checksum = is_due.then(|| book_checksum(book, *decimals));
                encode_delta(
                    message,
                    &Delta { header, bids: &sent.bids, asks: &sent.asks, checksum },
                    *decimals,
                );
            });
        }
    }

    /// The present state of a stream, encoded; `None` for a channel of events.
    fn state(&self, kind: StreamKind, now: UnixNanos) -> Option<Bytes> {
        let header = self.streams[kind as usize].as_ref()?.state_header(self.times, now);
        let decimals = self.decimals;
        let snapshot = |bids: &[Level], asks: &[Level]| {
            let checksum = checksum::checksum(bids, asks, decimals);
            encoded(|out| encode_snapshot(out, &Snapshot { header, bids, asks, checksum }, decimals))
        };
        match kind {
            StreamKind::Trades => None,
            StreamKind::Bbo => {
                let bbo = Bbo { header, bid: self.best.bid, ask: self.best.ask };
                Some(encoded(|out| encode_bbo(out, &bbo, decimals)))
            }
            StreamKind::Book10 => self.views[0].as_ref().map(|view| snapshot(view.bids(), view.asks())),
            StreamKind::Book50 => self.views[1].as_ref().map(|view| snapshot(view.bids(), view.asks())),
            StreamKind::BookFull => {
                let whole = |side| self.book.whole_levels(side, usize::MAX);
                Some(snapshot(&whole(Side::Buy), &whole(Side::Sell)))
            }
        }
    }

    /// Makes the view that a stream of this kind needs, at its first subscription.
    fn make_view(&mut self, kind: StreamKind) {
        let (place, levels_max) = match kind {
            StreamKind::Book10 => (0, 10),
            StreamKind::Book50 => (1, 50),
            StreamKind::Trades | StreamKind::Bbo | StreamKind::BookFull => return,
        };
        let book = &self.book;
        self.views[place].get_or_insert_with(|| DepthView::new(levels_max, book));
    }
}

fn view_mut(views: &mut [Option<DepthView>; 2], kind: StreamKind) -> Option<&mut DepthView> {
    match kind {
        StreamKind::Book10 => views[0].as_mut(),
        StreamKind::Book50 => views[1].as_mut(),
        StreamKind::Trades | StreamKind::Bbo | StreamKind::BookFull => None,
    }
}

/// The checksum of the book as it is now: the same at every depth, because it is over the ten best levels.
fn book_checksum(book: &Book, decimals: BookDecimals) -> u32 {
    let top = |side| book.levels(side).take(checksum::CHECKSUM_LEVELS).collect::<Vec<Level>>();
    checksum::checksum(&top(Side::Buy), &top(Side::Sell), decimals)
}

fn top(level: Level) -> TopLevel {
    TopLevel { price: level.price, quantity: level.quantity, orders: level.orders }
}

fn level(top: TopLevel) -> Level {
    Level { price: top.price, quantity: top.quantity, orders: top.orders }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut message = Vec::new();
    encode(&mut message);
    message.into()
}
