//! Turns the records of a DBN file into market events.
//!
//! | record | event |
//! |---|---|
//! | MBO `A` `M` `C` `R` | `Add` `Modify` `Reduce` `Clear` |
//! | MBO `T` | `Trade`; what it took off comes as `C` |
//! | MBO `F` | `Fill`: the other side of a `T`, without effect on the book |
//! | MBO `N` | none; if it ends its event, the record before it does so in its stead |
//! | MBP-1, any | `Trade` in front if it is a `T`, then `Top` |
//! | trades | `Trade`, each an event of its own: the records that would end it are not in such a file |
//!
//! The side of a trade is the aggressor's (`dbn::MboMsg::side`: "sell aggressor", "buy aggressor").

use std::collections::BTreeMap;

use ::dbn::{Action, RecordRef};

use crate::types::{
    Decimals, InstrumentId, MarketDepth, MarketEvent, MarketEventKind, Price, TimeArithmetic, UnixNanos,
};

use super::super::batch::RecordCounts;
use super::super::error::SourceError;
use super::row::Row;

/// An instrument of the recording.
#[derive(Debug)]
pub(super) struct Recorded {
    id: InstrumentId,
    price_decimals: Decimals,
    /// The venue whose records these are, once the first was read.
    publisher: Option<u16>,
}

impl Recorded {
    pub(super) fn new(id: InstrumentId, price_decimals: Decimals) -> Self {
        Self { id, price_decimals, publisher: None }
    }

    /// What a recording may not do, lest its book become a mixture or its prices be rounded.
    fn check(&mut self, row: &Row, depth: MarketDepth) -> Result<(), SourceError> {
        let (record, decimals) = (row.record, self.price_decimals.get());
        let unit = 10_i64.pow(u32::from(Decimals::MAX.get() - decimals));
        if row.prices().any(|price| price.nanos() % unit != 0) {
            return Err(SourceError::PriceTooFine { record, decimals });
        }
        if depth != MarketDepth::Trades && *self.publisher.get_or_insert(row.publisher) != row.publisher {
            return Err(SourceError::SeveralVenues { record });
        }
        Ok(())
    }
}

/// What a record means for the event that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Whether the event is whole with it.
    pub(super) ends_event: bool,
    /// When it is due; `None` for a record of a snapshot, which is a state and not a happening, or
    /// with a time that the recorder itself calls wrong.
    pub(super) due: Option<UnixNanos>,
}

/// Translates one run through a file.
#[derive(Debug)]
pub(super) struct Translator {
    depth: MarketDepth,
    instruments: BTreeMap<u32, Recorded>,
    counts: RecordCounts,
    /// Receipt of the latest record whose time is right.
    latest: UnixNanos,
}

impl Translator {
    pub(super) fn new(depth: MarketDepth, instruments: BTreeMap<u32, Recorded>) -> Self {
        Self { depth, instruments, counts: RecordCounts::default(), latest: UnixNanos::default() }
    }

    pub(super) fn depth(&self) -> MarketDepth {
        self.depth
    }

    pub(super) fn counts(&self) -> RecordCounts {
        self.counts
    }

    /// Every instrument that has a book, to be cleared.
    pub(super) fn with_books(&self) -> impl Iterator<Item = InstrumentId> {
        let has_book = self.depth != MarketDepth::Trades;
        self.instruments.values().filter(move |_| has_book).map(|recorded| recorded.id)
    }

    /// Begins again with the first record.
    pub(super) fn restart(&mut self) {
        self.counts = RecordCounts::default();
        self.latest = UnixNanos::default();
    }

    /// Appends what record `number` says to the `event` that it belongs to.
    pub(super) fn translate(
        &mut self,
        number: u64,
        record: &RecordRef<'_>,
        event: &mut Vec<MarketEvent>,
    ) -> Result<Progress, SourceError> {
        let Some(row) = Row::read(number, record, self.depth)? else {
            self.counts.others += 1;
            return Ok(Progress { ends_event: false, due: None });
        };
        let recorded = self
            .instruments
            .get_mut(&row.instrument)
            .ok_or(SourceError::InstrumentUnmapped { number: row.instrument })?;
        recorded.check(&row, self.depth)?;
        let id = recorded.id;
        self.count(&row)?;
        let due = self.due(&row)?;
        let last = row.flags.is_last() || self.depth == MarketDepth::Trades;
        let market_event = |last, kind| MarketEvent {
            instrument: id,
            ts_event: row.ts_event,
            ts_recv: row.ts_recv,
            last,
            kind,
        };
        match self.depth {
            MarketDepth::Orders => match of_order(&row)? {
                Some(kind) => event.push(market_event(last, kind)),
                None if last => end_event(event, id),
                None => {}
            },
            MarketDepth::Top => {
                if row.action == Action::Trade {
                    event.push(market_event(false, trade(&row)?));
                }
                let (bid, ask) = row.top.unwrap_or_default();
                event.push(market_event(last, MarketEventKind::Top { bid, ask }));
            }
            MarketDepth::Trades if row.action == Action::Trade => {
                event.push(market_event(true, trade(&row)?));
            }
            // No file that is opened shows levels: `survey::depth_of` knows no such schema.
            MarketDepth::Trades | MarketDepth::Levels => {
                return Err(SourceError::Unusable { record: number, field: "action" });
            }
        }
        Ok(Progress { ends_event: last, due })
    }

    fn count(&mut self, row: &Row) -> Result<(), SourceError> {
        let counts = &mut self.counts;
        match row.action {
            Action::Add => counts.adds += 1,
            Action::Cancel => counts.cancels += 1,
            Action::Modify => counts.modifies += 1,
            Action::Clear => counts.clears += 1,
            Action::Trade => {
                counts.trades += 1;
                counts.traded += u64::from(row.size()?);
            }
            Action::Fill => counts.fills += 1,
            Action::None => counts.nones += 1,
        }
        if row.flags.is_snapshot() {
            counts.snapshots += 1;
        }
        Ok(())
    }

    /// When the record is due, if its time means anything; files are in the order of receipt.
    fn due(&mut self, row: &Row) -> Result<Option<UnixNanos>, SourceError> {
        if row.flags.is_snapshot() || row.flags.is_bad_ts_recv() {
            return Ok(None);
        }
        let by_ns = self.latest.since(row.ts_recv);
        if by_ns > 0 {
            return Err(SourceError::Backwards { record: row.record, by_ns });
        }
        self.latest = row.ts_recv;
        Ok(Some(row.ts_recv))
    }
}

/// What a record of a single order says.
fn of_order(row: &Row) -> Result<Option<MarketEventKind>, SourceError> {
    if row.flags.is_tob() || row.flags.is_mbp() {
        // A whole level in an order's clothes: no book of orders can be built from it.
        return Err(SourceError::Unusable { record: row.record, field: "order" });
    }
    let order = row.order;
    Ok(Some(match row.action {
        Action::Add => {
            MarketEventKind::Add { order, side: row.side()?, price: row.price()?, quantity: row.quantity()? }
        }
        Action::Modify => MarketEventKind::Modify {
            order,
            side: row.side()?,
            price: row.price()?,
            quantity: row.quantity()?,
        },
        Action::Cancel => MarketEventKind::Reduce {
            order,
            side: row.side()?,
            price: row.price()?,
            quantity: row.quantity()?,
        },
        Action::Clear => MarketEventKind::Clear,
        Action::Trade => trade(row)?,
        Action::Fill => {
            MarketEventKind::Fill { order, side: row.side, price: row.price()?, quantity: row.quantity()? }
        }
        Action::None => return Ok(None),
    }))
}

fn trade(row: &Row) -> Result<MarketEventKind, SourceError> {
    let (price, quantity): (Price, _) = (row.price()?, row.quantity()?);
    // DBN does not carry the venue's number of a trade.
    Ok(MarketEventKind::Trade { price, quantity, aggressor: row.side, trade_id: 0 })
}

/// A record that becomes no event ends its event: the last one that did takes its place.
fn end_event(event: &mut [MarketEvent], instrument: InstrumentId) {
    if let Some(last) = event.iter_mut().rev().find(|earlier| earlier.instrument == instrument) {
        last.last = true;
    }
}
