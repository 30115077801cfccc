//! The present state of an instrument, as new readers of a stream get it.

use bytes::Bytes;
use sealfeed_wire::market::{
    Bbo, Definition, Reason, Snapshot, Status, TradingState, encode_bbo, encode_definition, encode_snapshot,
    encode_status,
};
use sealfeed_wire::{Level, Price, Quantity, Scaled, StreamHeader, checksum};

use super::super::encoding::Encoding;
use super::super::kind::StreamKind;
use super::super::records;
use super::super::stream::EventTimes;
use super::{Market, Published, encoded};
use crate::types::{Instrument, Side, UnixNanos};

/// How often what is published has changed.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) best: u64,
    pub(super) book: u64,
    pub(super) status: u64,
    pub(super) definition: u64,
}

/// What the source says of the instrument besides its market.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) state: TradingState,
    pub(super) reason: Option<Reason>,
    pub(super) tick: Option<Price>,
    pub(super) lot: Option<Quantity>,
    pub(super) round_lot: Option<Quantity>,
    /// When the state was last said.
    pub(super) status_times: EventTimes,
    /// When anything of it was last said.
    pub(super) definition_times: EventTimes,
}

impl Facts {
    /// What is known from the start: all of an instrument of the venue, which trades until it says otherwise, and
    /// nothing of a recorded one, whose steps are only those of the records seen.
    pub(super) fn new(instrument: &Instrument) -> Self {
        let is_ours = instrument.tradable;
        Self {
            state: if is_ours { TradingState::Trading } else { TradingState::Unknown },
            reason: None,
            tick: is_ours.then_some(instrument.tick),
            lot: is_ours.then_some(instrument.lot),
            round_lot: None,
            status_times: EventTimes::default(),
            definition_times: EventTimes::default(),
        }
    }

    pub(super) fn status(&self, header: StreamHeader) -> Status {
        Status { header, state: self.state, reason: self.reason }
    }

    pub(super) fn definition(&self, header: StreamHeader, instrument: &Instrument) -> Definition {
        let decimals = instrument.decimals;
        let lot = |lot: Option<Quantity>| lot.map(|lot| Scaled::new(lot, decimals.quantity));
        Definition {
            header,
            decimals,
            tick: self.tick.map(|tick| Scaled::new(tick, decimals.price)),
            lot: lot(self.lot),
            round_lot: lot(self.round_lot),
            tradable: instrument.tradable,
            state: self.state,
        }
    }
}

impl Market {
    /// Which state of the market a stream of this kind shows.
    pub(super) const fn version(&self, kind: StreamKind) -> u64 {
        match kind {
            StreamKind::Bbo(_) => self.versions.best,
            StreamKind::Book(..) => self.versions.book,
            StreamKind::Status => self.versions.status,
            StreamKind::Definition => self.versions.definition,
            StreamKind::Trades | StreamKind::Mbo | StreamKind::Ohlcv(_) => 0,
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
            StreamKind::Status => {
                let status = self.facts.status(stream.state_header(self.facts.status_times, now));
                Some(encoded(|out| match encoding {
                    Encoding::Json => encode_status(out, &status),
                    Encoding::Dbn => records::write_status(out, id, &status),
                }))
            }
            StreamKind::Definition => {
                let header = stream.state_header(self.facts.definition_times, now);
                let definition = self.facts.definition(header, &self.instrument);
                Some(encoded(|out| match encoding {
                    Encoding::Json => encode_definition(out, &definition),
                    Encoding::Dbn => records::write_definition(out, id, &definition),
                }))
            }
        }
    }
}
