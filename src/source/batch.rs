//! What a source hands to the pipeline.

use std::sync::Arc;

use crate::types::{InstrumentId, MarketEvent, OrderKind, Quantity, Side, TimeInForce};

use super::error::SourceError;
use super::fault::SourceFault;

/// Most events or orders in one batch, unless a single market event is longer: events are never split.
pub const BATCH_COUNT_MAX: usize = 256;

/// One message on a source's channel. Sources never send an empty batch.
#[derive(Debug)]
pub enum SourceBatch {
    /// Recorded market data, in order, cut only behind a record that ends its event.
    Market(Vec<MarketEvent>),
    /// Orders of the synthetic market, to be executed in this order.
    Orders(Vec<SyntheticOrder>),
    /// Where the source stands. After `Ended` or `Failed` nothing follows.
    Status(SourceStatus),
}

/// Where a source stands.
#[derive(Debug)]
pub enum SourceStatus {
    /// A looping recording came to its end and begins again; the next batch starts with a clear book.
    Restarted {
        /// Name of the source.
        source: Arc<str>,
        /// What this run through the file held.
        counts: RecordCounts,
    },
    /// The recording is over.
    Ended {
        /// Name of the source.
        source: Arc<str>,
        /// What this run through the file held.
        counts: RecordCounts,
    },
    /// One instrument's market broke a rule of its exchange: nothing of its book follows until the exchange gives a snapshot.
    Stale {
        /// Name of the source.
        source: Arc<str>,
        /// Which instrument.
        instrument: InstrumentId,
        /// What was found.
        fault: SourceFault,
    },
    /// A snapshot has made an instrument whole again; the events before this have it.
    Whole {
        /// Name of the source.
        source: Arc<str>,
        /// Which instrument.
        instrument: InstrumentId,
    },
    /// No record came for so long.
    Stalled {
        /// Name of the source.
        source: Arc<str>,
        /// How long, milliseconds.
        silent_ms: u64,
    },
    /// Records come again after a stall.
    Resumed {
        /// Name of the source.
        source: Arc<str>,
    },
    /// The source cannot go on. All whole events before the fault were sent, nothing of the broken one.
    Failed {
        /// Name of the source.
        source: Arc<str>,
        /// Why.
        error: SourceError,
        /// What was read before the fault, records of the broken event included.
        counts: RecordCounts,
    },
}

/// Records of a recording by action, as read from the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// `A`: an order was added.
    pub adds: u64,
    /// `C`: an order was cancelled in part or in full.
    pub cancels: u64,
    /// `M`: an order was modified.
    pub modifies: u64,
    /// `R`: the book was cleared.
    pub clears: u64,
    /// `T`: a trade.
    pub trades: u64,
    /// `F`: a resting order was filled.
    pub fills: u64,
    /// `N`: no effect on the book.
    pub nones: u64,
    /// Records of other kinds than the file's schema (heartbeats of a live capture, say): not replayed.
    pub others: u64,
    /// Of all these, records of a snapshot of the book.
    pub snapshots: u64,
    /// Quantity of all trades, in whole units of the recording.
    pub traded: u64,
    /// Snapshots and updates of whole levels (sources that show levels).
    pub levels: u64,
    /// Messages about an instrument's status or definition.
    pub states: u64,
    /// Of the updates, those whose checksum agreed.
    pub checksums: u64,
    /// Best prices that the exchange sends beside its book: those that agreed with the book.
    pub tops_equal: u64,
    /// And those that did not.
    pub tops_differing: u64,
    /// Times that an instrument became stale.
    pub faults: u64,
    /// Updates that were left out while their instrument was stale or had no snapshot.
    pub left_out: u64,
    /// Asks at prices beyond what ours can say: left out, and the worst of their side.
    pub beyond: u64,
    /// Trades that the exchange took back.
    pub broken_trades: u64,
}

impl RecordCounts {
    /// All records, whatever their action.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.adds
            + self.cancels
            + self.modifies
            + self.clears
            + self.trades
            + self.fills
            + self.nones
            + self.levels
            + self.states
            + self.broken_trades
            + self.others
    }
}

/// A member of the synthetic market, from 0 and below [`super::Source::members`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member(pub u32);

/// A place for one resting order of the synthetic market, from 0 and below [`super::Source::order_slots`].
///
/// Every [`SyntheticOrder::Rest`] into a slot but the first is preceded by a [`SyntheticOrder::Cancel`] of it,
/// so that a table of the last order of each slot is all the memory that the executing side needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderSlot(pub u32);

impl OrderSlot {
    /// This slot's place in a table indexed by slot.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One order or cancel of the synthetic market. It names its orders by slots; who executes it names them
/// as the venue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntheticOrder {
    /// A limit order that comes to rest, unless it meets a client's order.
    Rest {
        /// Whose it is.
        member: Member,
        /// Where it is remembered.
        slot: OrderSlot,
        /// The order itself; good till cancelled.
        order: SyntheticTerms,
    },
    /// An order that trades at once or expires: it never rests and needs no slot.
    Take {
        /// Whose it is.
        member: Member,
        /// The order itself; immediate or cancel.
        order: SyntheticTerms,
    },
    /// Cancels the order last put into a slot. It may be gone (filled): then there is nothing to do.
    Cancel {
        /// Whose order it is.
        member: Member,
        /// Which order.
        slot: OrderSlot,
    },
}

/// What a synthetic order wants to trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntheticTerms {
    /// What to trade.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// How much: a multiple of the lot, never zero.
    pub quantity: Quantity,
    /// Limit (at a multiple of the tick) or market.
    pub kind: OrderKind,
    /// How long it lives.
    pub time_in_force: TimeInForce,
}
