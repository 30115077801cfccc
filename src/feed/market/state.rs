//! The present state of an instrument, as new readers of a stream get it.

use bytes::Bytes;
use sealfeed_wire::decimal::Nanos;
use sealfeed_wire::market::{
    Bbo, Definition, Indication, Reason, Snapshot, Status, TradingState, encode_bbo, encode_definition,
    encode_snapshot, encode_status,
};
use sealfeed_wire::{Decimals, Level, Price, Quantity, Scaled, StreamHeader, checksum};

use super::super::encoding::Encoding;
use super::super::kind::StreamKind;
use super::super::records;
use super::super::stream::{EventTimes, Outgoing};
use super::{Market, Published, encoded};
use crate::types::auction::uncrossing;
use crate::types::{
    Definition as Said, Indication as SaidIndication, Instrument, MarketEventKind, Side, StatusReason,
    TradingState as SaidState, UnixNanos,
};

/// How often what conflated streams show has changed.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) best: u64,
    pub(super) book: u64,
}

/// What the source says of the instrument besides its market.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) state: TradingState,
    pub(super) reason: Option<Reason>,
    /// What the auction call comes to, while there is one; `None`: nothing would trade.
    pub(super) indication: Option<SaidIndication>,
    pub(super) tick: Option<Price>,
    pub(super) lot: Option<Quantity>,
    pub(super) round_lot: Option<Quantity>,
    /// When the state, or what it comes to, was last said.
    pub(super) status_times: EventTimes,
    /// When anything of it was last said.
    pub(super) definition_times: EventTimes,
}

impl Facts {
    /// What is known from the start: all of an instrument of the venue, which trades until it says otherwise, and
    /// nothing of a recorded one, on paper or not, whose steps are only those of the records seen.
    pub(super) fn new(instrument: &Instrument) -> Self {
        let is_ours = instrument.is_matched_here();
        Self {
            state: if is_ours { TradingState::Trading } else { TradingState::Unknown },
            reason: None,
            indication: None,
            tick: is_ours.then_some(instrument.tick),
            lot: is_ours.then_some(instrument.lot),
            round_lot: None,
            status_times: EventTimes::default(),
            definition_times: EventTimes::default(),
        }
    }

    /// Whether the embedded venue gathers orders for one price. Others' calls have rules, and orders, that nobody here knows.
    fn is_in_call(&self, instrument: &Instrument) -> bool {
        self.state == TradingState::Auction && instrument.is_matched_here()
    }

    pub(super) fn status(&self, header: StreamHeader, instrument: &Instrument) -> Status {
        let indication = self.is_in_call(instrument).then(|| to_wire_indication(self.indication, instrument));
        Status { header, state: self.state, reason: self.reason, indication }
    }

    pub(super) fn definition(&self, header: StreamHeader, instrument: &Instrument) -> Definition {
        let decimals = instrument.decimals;
        let lot = |lot: Option<Quantity>| lot.map(|lot| scaled(lot, decimals.quantity));
        Definition {
            header,
            decimals,
            tick: self.tick.map(|tick| scaled(tick, decimals.price)),
            lot: lot(self.lot),
            round_lot: lot(self.round_lot),
            tradable: instrument.tradable,
            state: self.state,
            band: instrument
                .band
                .map(|(lowest, highest)| (scaled(lowest, decimals.price), scaled(highest, decimals.price))),
        }
    }
}

impl Market {
    /// Takes what the venue lets happen now, and publishes it if it is news.
    pub(super) fn set_status(
        &mut self,
        state: SaidState,
        reason: Option<StatusReason>,
        out: &mut Outgoing<'_>,
    ) {
        let reason = reason.and_then(|reason| Reason::new(reason.as_str()));
        let state = to_wire(state);
        let is_other_state = state != self.facts.state;
        if !is_other_state && reason == self.facts.reason {
            return;
        }
        (self.facts.state, self.facts.reason, self.facts.status_times) = (state, reason, self.times);
        if is_other_state {
            // What comes of the call at hand is said behind this.
            (self.facts.indication, self.indicated) = (None, None);
        }
        self.publish_facts(StreamKind::Status, out);
        if is_other_state {
            self.publish_definition(out);
        }
    }

    /// Takes what the auction call comes to now, and publishes it if it is news; without a call it says nothing.
    pub(super) fn set_indication(&mut self, indication: Option<SaidIndication>, out: &mut Outgoing<'_>) {
        if !self.is_in_call() || indication == self.facts.indication {
            return;
        }
        (self.facts.indication, self.facts.status_times) = (indication, self.times);
        self.publish_facts(StreamKind::Status, out);
    }

    /// Whether the embedded venue gathers orders in it for one price.
    pub(in crate::feed) fn is_in_call(&self) -> bool {
        self.facts.is_in_call(&self.instrument)
    }

    /// What the auction call comes to now, to be said, if it is something else than was said; `None`, too, where there is no call, and
    /// between the records of an event. Looks at the crossed part of the book, if the book has changed since it was asked last.
    pub(in crate::feed) fn indicate(&mut self, last: Option<Price>) -> Option<MarketEventKind> {
        let version = Some(self.versions.book);
        let is_whole = self.book.open_records() == 0;
        if !self.is_in_call() || self.indicated == version || !is_whole {
            return None;
        }
        self.indicated = version;
        let [bids, asks] = [Side::Buy, Side::Sell].map(|side| self.book.totals(side));
        let found = uncrossing(bids, asks, self.instrument.tick, last).map(SaidIndication::from);
        (found != self.facts.indication).then_some(MarketEventKind::Indication(found))
    }

    /// Takes what the venue says of the instrument; what it does not say stays as it was.
    pub(super) fn set_definition(&mut self, said: &Said, out: &mut Outgoing<'_>) {
        let facts = &mut self.facts;
        let before = (facts.tick, facts.lot, facts.round_lot);
        facts.tick = said.tick.or(facts.tick);
        facts.lot = said.lot.or(facts.lot);
        facts.round_lot = said.round_lot.or(facts.round_lot);
        if before != (facts.tick, facts.lot, facts.round_lot) {
            self.publish_definition(out);
        }
    }

    fn publish_definition(&mut self, out: &mut Outgoing<'_>) {
        self.facts.definition_times = self.times;
        self.publish_facts(StreamKind::Definition, out);
    }

    pub(super) fn publish_facts(&mut self, kind: StreamKind, out: &mut Outgoing<'_>) {
        self.count(kind);
        let Self { streams, facts, instrument, times, .. } = self;
        let Some(published) = streams.iter_mut().find(|published| published.stream.kind == kind) else {
            return;
        };
        if !published.stream.is_live() {
            return;
        }
        published.stream.publish(*times, out, |encoding, header, message| {
            encode_facts(facts, instrument, kind, encoding, *header, message);
        });
    }

    /// Which state of the market a conflated stream of this kind shows.
    pub(super) const fn version(&self, kind: StreamKind) -> u64 {
        match kind {
            StreamKind::Bbo(_) => self.versions.best,
            StreamKind::Book(..) => self.versions.book,
            // Their messages are counted.
            _ => 0,
        }
    }

    /// The state that a stream has published, encoded; `None` for a channel of events.
    pub(super) fn state(&self, published: &Published, encoding: Encoding, now: UnixNanos) -> Option<Bytes> {
        let Published { stream, best, view, .. } = published;
        let Instrument { id, decimals, .. } = self.instrument;
        let header = stream.state_header(self.times, now);
        match stream.kind {
            StreamKind::Trades | StreamKind::Mbo | StreamKind::Ohlcv(_) => None,
            StreamKind::Bbo(_) => Some(encoded(|out| match encoding {
                Encoding::Json => encode_bbo(out, &Bbo { header, bid: best.bid, ask: best.ask }, decimals),
                Encoding::Dbn => records::write_bbo(out, id, &header, best.bid, best.ask),
            })),
            StreamKind::Book(..) => {
                let snapshot = |bids: &[Level], asks: &[Level]| {
                    encoded(|out| match encoding {
                        Encoding::Json => {
                            let checksum = checksum::checksum(bids, asks, decimals);
                            encode_snapshot(out, &Snapshot { header, bids, asks, checksum }, decimals);
                        }
                        Encoding::Dbn => records::write_book(out, id, &header, bids, asks),
                    })
                };
                let whole = |side| self.book.whole_levels(side, usize::MAX);
                Some(match view {
                    Some(view) => snapshot(view.bids(), view.asks()),
                    None => snapshot(&whole(Side::Buy), &whole(Side::Sell)),
                })
            }
            kind @ (StreamKind::Status | StreamKind::Definition) => {
                let facts = &self.facts;
                let is_status = kind == StreamKind::Status;
                let header = stream
                    .state_header(if is_status { facts.status_times } else { facts.definition_times }, now);
                Some(encoded(|out| encode_facts(facts, &self.instrument, kind, encoding, header, out)))
            }
        }
    }
}

/// Appends a `definition`, or a `status` for every other kind.
fn encode_facts(
    facts: &Facts,
    instrument: &Instrument,
    kind: StreamKind,
    encoding: Encoding,
    header: StreamHeader,
    out: &mut Vec<u8>,
) {
    if kind == StreamKind::Definition {
        let definition = facts.definition(header, instrument);
        match encoding {
            Encoding::Json => encode_definition(out, &definition),
            Encoding::Dbn => records::write_definition(out, instrument.id, &definition),
        }
    } else {
        let status = facts.status(header, instrument);
        match encoding {
            Encoding::Json => encode_status(out, &status),
            Encoding::Dbn => records::write_status(out, instrument.id, &status),
        }
    }
}

fn to_wire(state: SaidState) -> TradingState {
    match state {
        SaidState::Trading => TradingState::Trading,
        SaidState::Halted => TradingState::Halted,
        SaidState::Paused => TradingState::Paused,
        SaidState::Quoting => TradingState::Quoting,
        SaidState::Auction => TradingState::Auction,
    }
}

fn to_wire_indication(indication: Option<SaidIndication>, instrument: &Instrument) -> Indication {
    let Some(SaidIndication { price, quantity, imbalance }) = indication else { return Indication::Nothing };
    let decimals = instrument.decimals;
    let (imbalance_side, left) = imbalance.map_or((None, Quantity::ZERO), |(side, left)| (Some(side), left));
    Indication::Uncrosses {
        price: scaled(price, decimals.price),
        quantity: scaled(quantity, decimals.quantity),
        imbalance_side,
        imbalance_quantity: scaled(left, decimals.quantity),
    }
}

/// A number with the decimals of the instrument, or with more if it needs them: a step may be finer than any price so far.
fn scaled<T: Nanos>(value: T, decimals: Decimals) -> Scaled<T> {
    let shortest = Scaled::shortest(value);
    if shortest.decimals <= decimals { Scaled::new(shortest.value, decimals) } else { shortest }
}
