//! What a market needs to go on from a moment, for keyframes of the tape.
//!
//! Saved are what was said of the instrument, its book, its best prices, and the numbers of its streams, but for conflated ones. Conflated streams follow the ticks and open
//! bars the venue's clock, neither of which is on the tape: they begin anew.

use sealfeed_wire::{Conflation, Level};

use super::{Best, Market, Moment};
use crate::feed::book::RestingOrder;
use crate::feed::encoding::Encoding;
use crate::feed::kind::{COUNTED_KINDS, StreamKind};
use crate::feed::stream::EventTimes;
use crate::journal::tape::{MarketState, StreamState};
use crate::types::{
    Channel, Definition, Depth, Epoch, InstrumentId, MarketDepth, MarketEvent, MarketEventKind, Sequence,
    Side, StatusReason, TopLevel, TradingState, UnixNanos,
};

impl Market {
    /// What the market needs to go on from here; appends to `events` what makes its book again. `None` between the records of an
    /// event.
    pub(in crate::feed) fn save(
        &self,
        id: InstrumentId,
        events: &mut Vec<MarketEvent>,
    ) -> Option<MarketState> {
        if self.book.open_records() > 0 || self.best_next.is_some() {
            return None;
        }
        let EventTimes { event, received } = self.times;
        let of = |kind, last| MarketEvent { instrument: id, ts_event: event, ts_recv: received, last, kind };
        if self.instrument.depth == MarketDepth::Top && self.best != Best::default() {
            let (bid, ask) = (self.best.bid.map(top), self.best.ask.map(top));
            events.push(of(MarketEventKind::Top { bid, ask }, true));
        }
        self.save_facts(id, events);
        let parts = self.book_parts();
        if !parts.is_empty() {
            events.push(of(MarketEventKind::Clear, false));
        }
        let last = parts.len().saturating_sub(1);
        events.extend(parts.into_iter().enumerate().map(|(index, kind)| of(kind, index == last)));
        Some(MarketState {
            trades_counted: self.trades_counted,
            ts_event: event.0,
            ts_recv: received.0,
            is_stale: self.is_stale,
            streams: self.stream_states(),
        })
    }

    /// What the source has said of the instrument, as it would say it: nothing where it has said nothing.
    fn save_facts(&self, id: InstrumentId, events: &mut Vec<MarketEvent>) {
        let facts = &self.facts;
        let mut say = |times: EventTimes, kind| {
            let EventTimes { event: ts_event, received: ts_recv } = times;
            if (ts_event, ts_recv) != (UnixNanos(0), UnixNanos(0)) {
                events.push(MarketEvent { instrument: id, ts_event, ts_recv, last: true, kind });
            }
        };
        if let Some(state) = said(facts.state) {
            let reason = facts.reason.as_ref().map(|reason| String::from_utf8_lossy(reason.as_bytes()));
            let reason = reason.and_then(|reason| StatusReason::new(&reason));
            say(facts.status_times, MarketEventKind::Status { state, reason });
            if facts.indication.is_some() {
                say(facts.status_times, MarketEventKind::Indication(facts.indication));
            }
        }
        let definition =
            Definition { price_decimals: None, tick: facts.tick, lot: facts.lot, round_lot: facts.round_lot };
        say(facts.definition_times, MarketEventKind::Definition(definition));
    }

    /// The numbers of the streams that are counted, of those that had a message or are followed.
    fn stream_states(&self) -> Vec<StreamState> {
        let counted = COUNTED_KINDS.into_iter().zip(self.counted);
        let states = counted.filter_map(|(kind, seq)| {
            let found = self.streams.iter().find(|published| published.stream.kind == kind);
            let is_followed = |encoding| found.is_some_and(|found| found.stream.is_kept(encoding));
            let (texts, records) = (is_followed(Encoding::Json), is_followed(Encoding::Dbn));
            (seq > kind.first() || texts || records).then(|| StreamState {
                channel: kind.channel().as_str().to_owned(),
                depth: u32::from(kind.depth().get()),
                seq: seq.get(),
                texts,
                records,
            })
        });
        states.collect()
    }

    /// What makes the book out of an empty one: its orders, by name, or its levels.
    fn book_parts(&self) -> Vec<MarketEventKind> {
        if self.instrument.depth == MarketDepth::Levels {
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
        // In their places, so that they stand in them again where they are added one after the other.
        let mut orders: Vec<RestingOrder> = self.book.resting().collect();
        orders.sort_unstable_by_key(RestingOrder::place);
        let adds = orders.into_iter();
        adds.map(|RestingOrder { order, side, price, quantity, .. }| MarketEventKind::Add {
            order,
            side,
            price,
            quantity,
        })
        .collect()
    }

    /// Puts a market whose book was made again into the state that was saved with it; `false` if it cannot have been its own.
    pub(in crate::feed) fn load(&mut self, state: &MarketState) -> bool {
        self.trades_counted = state.trades_counted;
        self.times = EventTimes { event: UnixNanos(state.ts_event), received: UnixNanos(state.ts_recv) };
        self.is_stale = state.is_stale;
        // The records that made the book again are no messages.
        self.load_numbers(state).is_some()
    }

    /// Counts on from the numbers that were saved.
    pub(in crate::feed) fn load_numbers(&mut self, state: &MarketState) -> Option<()> {
        self.counted = COUNTED_KINDS.map(StreamKind::first);
        for saved in &state.streams {
            let place = kind_of(saved).filter(|kind| self.offers(kind.channel()))?.counted()?;
            self.counted[place] = Sequence::new(saved.seq)?;
        }
        Some(())
    }

    /// Begins a run in the state that was loaded: what does not follow from the tape counts from the beginning, and what was followed when
    /// the run before ended is kept from here on, for those who come back.
    pub(in crate::feed) fn begin_run(&mut self, state: &MarketState, moment: Moment) {
        for (counted, kind) in self.counted.iter_mut().zip(COUNTED_KINDS) {
            if !kind.is_taped() {
                *counted = kind.first();
            }
        }
        for saved in &state.streams {
            let Some(kind) = kind_of(saved).filter(|kind| kind.is_taped()) else { continue };
            let encodings = [(Encoding::Json, saved.texts), (Encoding::Dbn, saved.records)];
            for (encoding, _) in encodings.into_iter().filter(|(_, is_followed)| *is_followed) {
                self.follow((kind, encoding), moment);
                self.unsubscribed(kind, encoding, moment.now);
            }
        }
    }

    /// Publishes one stream from here on, and no other one.
    pub(in crate::feed) fn retell(&mut self, (kind, encoding): (StreamKind, Encoding), epoch: Epoch) {
        self.streams.clear();
        self.follow((kind, encoding), Moment { epoch, now: UnixNanos::default() });
    }
}

/// Which stream it is the state of.
fn kind_of(saved: &StreamState) -> Option<StreamKind> {
    let depth = Depth::try_from(u16::try_from(saved.depth).ok()?).ok()?;
    StreamKind::of(Channel::parse(&saved.channel).ok()?, depth, Conflation::Off)
}

/// A state as a source says it; `None` if none has.
const fn said(state: sealfeed_wire::market::TradingState) -> Option<TradingState> {
    use sealfeed_wire::market::TradingState as Wire;
    Some(match state {
        Wire::Trading => TradingState::Trading,
        Wire::Halted => TradingState::Halted,
        Wire::Paused => TradingState::Paused,
        Wire::Quoting => TradingState::Quoting,
        Wire::Auction => TradingState::Auction,
        Wire::Unknown => return None,
    })
}

fn top(level: Level) -> TopLevel {
    TopLevel { price: level.price, quantity: level.quantity, orders: level.orders }
}
