//! A client's copy of one book: a snapshot, then every delta in its place, or no book at all.
//!
//! The copy is either live or not there. Any doubt (a missing message, a new epoch without a snapshot, a wrong
//! checksum, levels that are no book) empties it, is returned as a [`BookError`], and stays until the next
//! snapshot; a stale book is never shown as a live one. To get a new snapshot, subscribe again.
//!
//! Bids run from high to low, asks from low to high, at most `depth` levels a side. A crossed book is legitimate
//! (before an opening auction) and no error.

use sealfeed_wire::checksum::checksum;
use sealfeed_wire::decimal::{Decimals, Price};
use sealfeed_wire::ident::Symbol;
use sealfeed_wire::market::{BookDecimals, BookMessage, Level, StreamHeader};
use sealfeed_wire::term::{Channel, Depth};
use sealfeed_wire::value::{Epoch, Sequence};

use crate::sequence::{Continuity, SequenceGuard};

/// Why there is no live book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// No snapshot came yet, or none since the last error. Deltas are of no use before it.
    #[error("waiting for a snapshot")]
    NoSnapshot,
    /// The message belongs to another channel or symbol. The book is unchanged.
    #[error("the message belongs to another stream")]
    OtherStream,
    /// Messages are missing.
    #[error("messages {from} to {to} are missing")]
    Gap {
        /// First missing position.
        from: Sequence,
        /// Last missing position.
        to: Sequence,
    },
    /// The server said that it left messages out; the snapshot is to follow.
    #[error("the server skipped messages up to {to}")]
    Skipped {
        /// Last position left out.
        to: Sequence,
    },
    /// A message that is not later than the last one.
    #[error("message {seq} came again or too late")]
    Repeated {
        /// Its position.
        seq: Sequence,
    },
    /// The sequence started again, and no snapshot of the new epoch came.
    #[error("epoch {epoch} began without a snapshot")]
    EpochChanged {
        /// The new epoch.
        epoch: Epoch,
    },
    /// The book is not the server's.
    #[error("the checksum is {computed}, the server's {announced}")]
    Checksum {
        /// What the message says.
        announced: u32,
        /// What our levels give.
        computed: u32,
    },
    /// A snapshot whose levels are not in order, repeat a price, are empty or exceed the depth.
    #[error("the snapshot is no book of this depth")]
    SnapshotInvalid,
    /// A level with more decimals than the instrument has.
    #[error("a level has more decimals than the instrument")]
    DecimalsExceeded,
    /// A record of an order that does not say all of it, or whose quantity did not fit into a DBN record.
    #[error("a record does not say what it does to its order")]
    RecordIncomplete,
    /// More orders than a copy holds ([`ORDERS_MAX`](crate::ORDERS_MAX)).
    #[error("more orders rest than a copy holds")]
    TooManyOrders,
    /// The connection ended, or the user said so.
    #[error("the stream was interrupted")]
    Interrupted,
    /// An operator has changed the delay of the market data: the snapshot of another stream follows.
    #[error("the stream goes on with another delay")]
    Moved,
}

/// A snapshot or a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookUpdate<'a> {
    /// Replaces the book.
    Snapshot(&'a BookMessage),
    /// Changes levels of it.
    Delta(&'a BookMessage),
}

/// A live book.
#[derive(Clone, Copy, Debug)]
pub struct BookView<'a> {
    /// Bids from high to low.
    pub bids: &'a [Level],
    /// Asks from low to high.
    pub asks: &'a [Level],
    /// Header of the last message applied.
    pub header: &'a StreamHeader,
    /// Position of the last message whose checksum was compared and right.
    pub checked_seq: Sequence,
}

/// One book of a stream, followed.
#[derive(Clone, Debug)]
pub struct LocalBook {
    symbol: Symbol,
    depth: Depth,
    decimals: BookDecimals,
    guard: SequenceGuard,
    state: Result<Live, BookError>,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    header: StreamHeader,
    checked_seq: Sequence,
}

impl LocalBook {
    /// An empty book that waits for its first snapshot. Depth and decimals are those of the `subscribed` reply.
    #[must_use]
    pub const fn new(symbol: Symbol, depth: Depth, decimals: BookDecimals) -> Self {
        Self {
            symbol,
            depth,
            decimals,
            guard: SequenceGuard::new(),
            state: Err(BookError::NoSnapshot),
            bids: Vec::new(),
            asks: Vec::new(),
        }
    }

    /// The instrument.
    #[must_use]
    pub const fn symbol(&self) -> Symbol {
        self.symbol
    }

    /// Decimals of its prices and quantities.
    #[must_use]
    pub const fn decimals(&self) -> BookDecimals {
        self.decimals
    }

    /// The book, if it is live.
    ///
    /// # Errors
    /// The [`BookError`] that took it away.
    pub fn view(&self) -> Result<BookView<'_>, BookError> {
        match &self.state {
            Ok(Live { header, checked_seq }) => {
                Ok(BookView { bids: &self.bids, asks: &self.asks, header, checked_seq: *checked_seq })
            }
            Err(error) => Err(*error),
        }
    }

    /// Applies one message: all of it, or none and the book is gone until the next snapshot.
    ///
    /// # Errors
    /// [`BookError`]; the book is unchanged for [`BookError::OtherStream`] only.
    pub fn apply(&mut self, update: BookUpdate<'_>) -> Result<(), BookError> {
        let (BookUpdate::Snapshot(message) | BookUpdate::Delta(message)) = update;
        if message.header.channel != Channel::Book || message.header.symbol != self.symbol {
            return Err(BookError::OtherStream);
        }
        let applied = match update {
            _ if !self.fits_decimals(message) => Err(BookError::DecimalsExceeded),
            BookUpdate::Snapshot(message) => self.replace(message),
            BookUpdate::Delta(message) => self.change(message),
        };
        match applied {
            Ok(live) => self.state = Ok(live),
            // A delta that cannot be used says nothing new about a book that is gone already.
            Err(BookError::NoSnapshot) => return Err(BookError::NoSnapshot),
            Err(error) => self.interrupt(error),
        }
        applied.map(|_| ())
    }

    /// Takes notice of a heartbeat of this stream: silence is no loss only if the position is ours.
    ///
    /// # Errors
    /// [`BookError`] when messages before it are missing; the book is gone.
    pub fn heartbeat(&mut self, epoch: Epoch, seq: Sequence) -> Result<(), BookError> {
        self.view()?;
        let error = match self.guard.follow_heartbeat(epoch, seq) {
            Continuity::Next | Continuity::Afresh => return Ok(()),
            Continuity::Gap { from, to } => BookError::Gap { from, to },
            Continuity::NewEpoch => BookError::EpochChanged { epoch },
            Continuity::Repeated => BookError::Repeated { seq },
        };
        self.interrupt(error);
        Err(error)
    }

    /// Empties the book until the next snapshot: after `skipped` or `gap`, or when the connection ended.
    pub fn interrupt(&mut self, reason: BookError) {
        self.bids.clear();
        self.asks.clear();
        self.state = Err(reason);
    }

    fn replace(&mut self, message: &BookMessage) -> Result<Live, BookError> {
        // A snapshot stands for itself: whatever came before it is over, so its position is simply taken.
        self.guard.skip_to(message.header.epoch, message.header.seq);
        let levels_max = self.depth.levels_max();
        let is_side = |levels: &[Level], is_better: fn(Price, Price) -> bool| {
            levels.len() <= levels_max
                && levels.iter().all(|level| !level.quantity.is_zero())
                && levels.is_sorted_by(|better, worse| is_better(better.price, worse.price))
        };
        if !is_side(&message.bids, higher) || !is_side(&message.asks, lower) {
            return Err(BookError::SnapshotInvalid);
        }
        self.bids.clone_from(&message.bids);
        self.asks.clone_from(&message.asks);
        // A snapshot without a checksum breaks the protocol, so it is as bad as a wrong one.
        let announced = message.checksum.ok_or(BookError::SnapshotInvalid)?;
        self.compare(announced)?;
        Ok(Live { header: message.header, checked_seq: message.header.seq })
    }

    fn change(&mut self, message: &BookMessage) -> Result<Live, BookError> {
        let header = message.header;
        let Ok(live) = self.state else { return Err(BookError::NoSnapshot) };
        match self.guard.follow(&header) {
            Continuity::Next => {}
            Continuity::Gap { from, to } if header.epoch == live.header.epoch => {
                return Err(BookError::Gap { from, to });
            }
            Continuity::Gap { .. } | Continuity::NewEpoch => {
                return Err(BookError::EpochChanged { epoch: header.epoch });
            }
            // A delta without a predecessor follows nothing.
            Continuity::Repeated | Continuity::Afresh => return Err(BookError::Repeated { seq: header.seq }),
        }
        let levels_max = self.depth.levels_max();
        apply_levels(&mut self.bids, &message.bids, levels_max, higher);
        apply_levels(&mut self.asks, &message.asks, levels_max, lower);
        let mut checked_seq = live.checked_seq;
        if let Some(announced) = message.checksum {
            self.compare(announced)?;
            checked_seq = header.seq;
        }
        Ok(Live { header, checked_seq })
    }

    /// The checksum is over texts of the instrument's decimals, so every number must have one.
    fn fits_decimals(&self, message: &BookMessage) -> bool {
        let step = |decimals: Decimals| 10_u64.pow(u32::from(Decimals::MAX.get() - decimals.get()));
        let (price_step, quantity_step) = (step(self.decimals.price), step(self.decimals.quantity));
        message.bids.iter().chain(&message.asks).all(|level| {
            level.price.nanos().unsigned_abs().is_multiple_of(price_step)
                && level.quantity.nanos().is_multiple_of(quantity_step)
        })
    }

    fn compare(&self, announced: u32) -> Result<(), BookError> {
        let computed = checksum(&self.bids, &self.asks, self.decimals);
        if computed == announced { Ok(()) } else { Err(BookError::Checksum { announced, computed }) }
    }
}

fn higher(one: Price, other: Price) -> bool {
    one > other
}

fn lower(one: Price, other: Price) -> bool {
    one < other
}

/// Sets or removes every changed level, then cuts off what is deeper than the book.
fn apply_levels(
    side: &mut Vec<Level>,
    changes: &[Level],
    levels_max: usize,
    is_better: fn(Price, Price) -> bool,
) {
    for change in changes {
        let place = side.partition_point(|level| is_better(level.price, change.price));
        let is_there = side.get(place).is_some_and(|level| level.price == change.price);
        match (is_there, change.quantity.is_zero()) {
            (true, true) => {
                side.remove(place);
            }
            (true, false) => side[place] = *change,
            (false, false) => side.insert(place, *change),
            // The level lay beyond our depth, or another change of this event removed it.
            (false, true) => {}
        }
    }
    side.truncate(levels_max);
}
