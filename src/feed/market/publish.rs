//! What an instrument publishes: its records, trades, bars, best prices and books, each message in the encodings that are read.

use sealfeed_wire::market::{
    Bbo, Delta, IntervalEnd, Mbo, MboAction, Ohlcv, Trade, encode_bbo, encode_delta, encode_interval_end,
    encode_mbo, encode_ohlcv, encode_trade,
};
use sealfeed_wire::{Aggressor, Conflation, Level, StreamHeader, TradeId, checksum};

use super::super::bars::{Bar, Closed};
use super::super::book::{Book, Changes};
use super::super::depth::DepthView;
use super::super::encoding::Encoding;
use super::super::kind::{OhlcvLength, StreamKind};
use super::super::records;
use super::super::stream::{EventTimes, Outgoing, Stream};
use super::{Market, Scratch};
use crate::types::{
    BookDecimals, Depth, Instrument, MarketDepth, MarketEvent, MarketEventKind, Price, Quantity, Side,
    TimeArithmetic as _,
};

/// Every so many deltas one carries a checksum; snapshots all do. The protocol promises every 100th at least.
const DELTAS_PER_CHECKSUM: u64 = 50;

impl Market {
    /// Publishes a record of an instrument that shows its orders as it is.
    pub(super) fn publish_record(&mut self, event: &MarketEvent, out: &mut Outgoing<'_>) {
        if self.instrument.depth != MarketDepth::Orders {
            return;
        }
        let Some(record) = Record::of(event) else { return };
        let (times, &Instrument { id, decimals, .. }) = (self.times, &self.instrument);
        let Some(stream) = self.counted_stream(StreamKind::Mbo) else { return };
        let Record { action, side, price, quantity, order_id } = record;
        stream.publish(times, out, |encoding, header, message| {
            let mbo = Mbo { header: *header, action, side, price, quantity, order_id, last: event.last };
            match encoding {
                Encoding::Json => encode_mbo(message, &mbo, decimals),
                Encoding::Dbn => records::write_mbo(message, id, &mbo),
            }
        });
    }

    pub(super) fn publish_trade(
        &mut self,
        price: Price,
        quantity: Quantity,
        aggressor: Option<Side>,
        trade_id: u64,
        out: &mut Outgoing<'_>,
    ) {
        let trade_id = if trade_id == 0 {
            self.trades_counted += 1;
            self.trades_counted
        } else {
            trade_id
        };
        let (times, &Instrument { id, decimals, .. }) = (self.times, &self.instrument);
        let side = aggressor.map_or(Aggressor::None, Aggressor::from);
        let Some(stream) = self.counted_stream(StreamKind::Trades) else { return };
        stream.publish(times, out, |encoding, header, message| {
            let trade_id = Some(TradeId::from(trade_id));
            let trade = Trade { header: *header, price, quantity, side, trade_id };
            match encoding {
                Encoding::Json => encode_trade(message, &trade, decimals),
                Encoding::Dbn => records::write_trade(message, id, &trade),
            }
        });
    }

    /// Moves the bars on to a record, and counts it if it is a trade.
    pub(super) fn advance_bars(
        &mut self,
        event: &MarketEvent,
        closed: &mut Vec<Closed>,
        out: &mut Outgoing<'_>,
    ) {
        let MarketEventKind::Trade { price, quantity, .. } = event.kind else {
            self.bars.record(event.ts_event, out.now, closed);
            return self.publish_closed(closed, out);
        };
        self.bars.restart_if_older(event.ts_event, closed);
        self.bars.record(event.ts_event, out.now, closed);
        self.publish_closed(closed, out);
        self.bars.trade(price, quantity, event.ts_recv);
    }

    /// Publishes the bars of intervals that are over, and tells that they are.
    pub(super) fn publish_closed(&mut self, closed: &mut Vec<Closed>, out: &mut Outgoing<'_>) {
        for Closed { length, bar, end } in closed.drain(..) {
            let length = if length == 0 { OhlcvLength::Second } else { OhlcvLength::Minute };
            let kind = StreamKind::Ohlcv(length);
            if let Some((start, bar)) = bar {
                let times = EventTimes { event: start, received: bar.received };
                let Instrument { id, decimals, .. } = self.instrument;
                if let Some(stream) = self.counted_stream(kind) {
                    stream.publish(times, out, |encoding, header, message| match encoding {
                        Encoding::Json => encode_ohlcv(message, &to_wire(header, &bar), decimals),
                        Encoding::Dbn => records::write_bar(message, id, length, header, &bar),
                    });
                }
            }
            if let Some(published) = self.streams.iter_mut().find(|published| published.stream.kind == kind) {
                let (stream, seq) = (published.stream.key(), published.stream.seq());
                published
                    .stream
                    .notify(out, |text| encode_interval_end(text, &IntervalEnd { stream, seq, ts: end }));
            }
        }
    }

    pub(super) fn publish_best(&mut self, out: &mut Outgoing<'_>) {
        let kind = StreamKind::Bbo(Conflation::Off);
        self.publish_best_of(|published| published == kind, out);
    }

    fn publish_best_of(&mut self, is_due: impl Fn(StreamKind) -> bool, out: &mut Outgoing<'_>) {
        let (times, best, &Instrument { id, decimals, .. }) = (self.times, self.best, &self.instrument);
        for published in &mut self.streams {
            let is_bbo = matches!(published.stream.kind, StreamKind::Bbo(_));
            if !is_bbo
                || !published.stream.is_live()
                || published.best == best
                || !is_due(published.stream.kind)
            {
                continue;
            }
            (published.best, published.version) = (best, self.versions.best);
            published.slot = slot(published.stream.kind, out);
            published.stream.publish(times, out, |encoding, header, message| match encoding {
                Encoding::Json => {
                    encode_bbo(message, &Bbo { header: *header, bid: best.bid, ask: best.ask }, decimals);
                }
                Encoding::Dbn => records::write_bbo(message, id, header, best.bid, best.ask),
            });
        }
    }

    /// Publishes the event that has just ended on every unconflated stream of the book.
    pub(super) fn publish_books(&mut self, scratch: &mut Scratch, out: &mut Outgoing<'_>) {
        let Scratch { changes, delta, .. } = scratch;
        for &depth in Depth::ALL {
            if self.book.has_changed(depth) {
                self.count(StreamKind::Book(depth, Conflation::Off));
            }
        }
        let Self { book, instrument, times, streams, .. } = self;
        for published in streams {
            let StreamKind::Book(depth, Conflation::Off) = published.stream.kind else { continue };
            if !published.stream.is_live() || !book.has_changed(depth) {
                continue;
            }
            let sent = match &mut published.view {
                Some(view) => {
                    view.follow(book, changes, delta);
                    &*delta
                }
                None => &*changes,
            };
            publish_delta(
                &mut published.stream,
                sent,
                &Top { view: published.view.as_ref(), book },
                instrument,
                *times,
                out,
            );
        }
    }

    /// Publishes on every conflated stream whose interval is over what has changed since its last message.
    pub(super) fn publish_conflated(&mut self, scratch: &mut Scratch, out: &mut Outgoing<'_>) {
        let now = out.now;
        let due: Vec<StreamKind> = self
            .streams
            .iter()
            .filter(|published| published.stream.kind.interval_ns() != 0 && published.stream.is_live())
            .filter(|published| published.slot != now.0 / published.stream.kind.interval_ns())
            .map(|published| published.stream.kind)
            .collect();
        if due.is_empty() {
            return;
        }
        self.publish_best_of(|kind| due.contains(&kind), out);
        let Self { book, instrument, times, streams, versions, .. } = self;
        for published in streams.iter_mut().filter(|published| due.contains(&published.stream.kind)) {
            let Some(view) = &mut published.view else { continue };
            if published.version == versions.book {
                continue;
            }
            published.version = versions.book;
            published.slot = slot(published.stream.kind, out);
            view.follow_whole(book, &mut scratch.delta);
            if scratch.delta.is_empty() {
                continue;
            }
            let top = Top { view: Some(&*view), book };
            publish_delta(&mut published.stream, &scratch.delta, &top, instrument, *times, out);
        }
    }
}

/// Number of the interval of a conflated stream that `now` lies in.
fn slot(kind: StreamKind, out: &Outgoing<'_>) -> u64 {
    out.now.since(sealfeed_wire::UnixNanos(0)).checked_div(kind.interval_ns()).unwrap_or_default()
}

/// Where the best levels of a book are.
struct Top<'a> {
    view: Option<&'a DepthView>,
    book: &'a Book,
}

impl Top<'_> {
    /// At least the ten best levels of a side, if there are so many.
    fn with<T>(&self, then: impl FnOnce(&[Level], &[Level]) -> T) -> T {
        let Some(view) = self.view else {
            let top = |side| self.book.levels(side).take(checksum::CHECKSUM_LEVELS).collect::<Vec<Level>>();
            return then(&top(Side::Buy), &top(Side::Sell));
        };
        then(view.bids(), view.asks())
    }
}

fn publish_delta(
    stream: &mut Stream,
    sent: &Changes,
    top: &Top<'_>,
    instrument: &Instrument,
    times: EventTimes,
    out: &mut Outgoing<'_>,
) {
    let Instrument { id, decimals, .. } = *instrument;
    stream.publish(times, out, |encoding, header, message| match encoding {
        Encoding::Json => {
            let is_due = header.seq.get().is_multiple_of(DELTAS_PER_CHECKSUM);
            let checksum = is_due.then(|| book_checksum(top, decimals));
            let delta = Delta { header: *header, bids: &sent.bids, asks: &sent.asks, checksum };
            encode_delta(message, &delta, decimals);
        }
        Encoding::Dbn => top.with(|bids, asks| records::write_book(message, id, header, bids, asks)),
    });
}

/// The checksum of the book: the same at every depth, because it is over the ten best levels.
fn book_checksum(top: &Top<'_>, decimals: BookDecimals) -> u32 {
    top.with(|bids, asks| checksum::checksum(bids, asks, decimals))
}

fn to_wire(header: &StreamHeader, bar: &Bar) -> Ohlcv {
    let Bar { open, high, low, close, trades, .. } = *bar;
    Ohlcv { header: *header, open, high, low, close, volume: bar.volume(), trades }
}

/// What a record of an order-by-order feed says.
struct Record {
    action: MboAction,
    side: Aggressor,
    price: Option<Price>,
    quantity: Option<Quantity>,
    order_id: Option<u64>,
}

impl Record {
    /// `None` for events that are no records of orders.
    fn of(event: &MarketEvent) -> Option<Self> {
        let nothing =
            |action| Self { action, side: Aggressor::None, price: None, quantity: None, order_id: None };
        let (action, order, side, price, quantity) = match event.kind {
            MarketEventKind::Add { order, side, price, quantity } => {
                (MboAction::Add, order, side, price, quantity)
            }
            MarketEventKind::Modify { order, side, price, quantity } => {
                (MboAction::Modify, order, side, price, quantity)
            }
            MarketEventKind::Reduce { order, side, price, quantity } => {
                (MboAction::Cancel, order, side, price, quantity)
            }
            MarketEventKind::Trade { price, quantity, aggressor, .. } => {
                let side = aggressor.map_or(Aggressor::None, Aggressor::from);
                let (price, quantity) = (Some(price), Some(quantity));
                return Some(Self { action: MboAction::Trade, side, price, quantity, order_id: None });
            }
            MarketEventKind::Clear => return Some(nothing(MboAction::Clear)),
            MarketEventKind::Fill { order, side, price, quantity } => {
                let side = side.map_or(Aggressor::None, Aggressor::from);
                let (price, quantity, order_id) = (Some(price), Some(quantity), Some(order.0));
                return Some(Self { action: MboAction::Fill, side, price, quantity, order_id });
            }
            MarketEventKind::Level { .. }
            | MarketEventKind::Top { .. }
            | MarketEventKind::Status { .. }
            | MarketEventKind::Indication(_)
            | MarketEventKind::Definition(_) => return None,
        };
        let (side, price, quantity) = (Aggressor::from(side), Some(price), Some(quantity));
        Some(Self { action, side, price, quantity, order_id: Some(order.0) })
    }
}
