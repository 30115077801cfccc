//! A client's copy of the orders that rest in one instrument: a snapshot, then every record of `mbo` in its place, or no copy at all.
//!
//! As with [`LocalBook`](crate::LocalBook), any doubt empties the copy, is returned as a [`BookError`], and stays until the next snapshot.
//! It takes a snapshot in either form: the parts of a JSON connection, or the records of a DBN connection, which come one at a time.
//! At one price orders stand in the order of the queue: a `modify` that leaves side and price and adds nothing keeps its order's place,
//! any other one gives it up. At most [`ORDERS_MAX`] orders.

use std::collections::{BTreeMap, HashMap};

use sealfeed_wire::decimal::{Price, Quantity};
use sealfeed_wire::ident::Symbol;
use sealfeed_wire::market::{Level, Mbo, MboAction, MboOrder, MboSnapshot, StreamHeader};
use sealfeed_wire::term::{Aggressor, Channel, Side};
use sealfeed_wire::value::{Epoch, Sequence};

use crate::book::BookError;
use crate::sequence::{Continuity, SequenceGuard};

/// Orders of a copy.
pub const ORDERS_MAX: usize = 4_000_000;

/// What changes the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrdersUpdate<'a> {
    /// A part of a snapshot.
    Snapshot(&'a MboSnapshot),
    /// A record; one without a predecessor is part of a snapshot.
    Record(&'a Mbo),
}

/// An order that rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resting {
    side: Side,
    price: Price,
    quantity: Quantity,
    /// At the same price, lower ones stand in front.
    place: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// There is no copy, for this reason.
    Gone(BookError),
    /// Parts of a snapshot have come, so many of so many; of records nobody says how many come.
    Begun { part: u32, parts: u32 },
    /// It is the server's.
    Live { header: StreamHeader, is_whole: bool },
}

/// The orders of one instrument, followed.
#[derive(Clone, Debug)]
pub struct LocalOrders {
    symbol: Symbol,
    guard: SequenceGuard,
    state: State,
    orders: HashMap<u64, Resting>,
    /// Price and place of every order of a side, and its number; bids by the complement of the price, so that the best one is first.
    bids: BTreeMap<(i64, u64), u64>,
    asks: BTreeMap<(i64, u64), u64>,
    last_place: u64,
}

/// A live copy.
#[derive(Clone, Copy, Debug)]
pub struct OrdersView<'a> {
    /// Header of the last message applied.
    pub header: &'a StreamHeader,
    /// Whether it lies between two events; within one, a book may be crossed.
    pub is_whole: bool,
    copy: &'a LocalOrders,
}

impl<'a> OrdersView<'a> {
    /// The orders of a side: the best price first, at a price the first of the queue.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = MboOrder> + 'a {
        let copy = self.copy;
        copy.side(side).values().filter_map(|order_id| {
            let Resting { price, quantity, .. } = *copy.orders.get(order_id)?;
            Some(MboOrder { order_id: *order_id, price, quantity })
        })
    }

    /// The levels of a side, best first, as the channel `book` has them.
    #[must_use]
    pub fn levels(&self, side: Side) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::new();
        for MboOrder { price, quantity, .. } in self.orders(side) {
            match levels.last_mut() {
                Some(level) if level.price == price => {
                    let sum = level.quantity.nanos().saturating_add(quantity.nanos());
                    level.quantity = Quantity::from_nanos(sum);
                    level.orders += 1;
                }
                _ => levels.push(Level { price, quantity, orders: 1 }),
            }
        }
        levels
    }
}

impl LocalOrders {
    /// An empty copy that waits for its first snapshot.
    #[must_use]
    pub fn new(symbol: Symbol) -> Self {
        Self {
            symbol,
            guard: SequenceGuard::new(),
            state: State::Gone(BookError::NoSnapshot),
            orders: HashMap::new(),
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            last_place: 0,
        }
    }

    /// The instrument.
    #[must_use]
    pub const fn symbol(&self) -> Symbol {
        self.symbol
    }

    /// The copy, if it is live.
    ///
    /// # Errors
    /// The [`BookError`] that took it away; [`BookError::NoSnapshot`] while a snapshot is on its way.
    pub const fn view(&self) -> Result<OrdersView<'_>, BookError> {
        match &self.state {
            State::Live { header, is_whole } => Ok(OrdersView { header, is_whole: *is_whole, copy: self }),
            State::Begun { .. } => Err(BookError::NoSnapshot),
            State::Gone(error) => Err(*error),
        }
    }

    /// Applies one message; if it cannot be applied, the copy is gone until the next snapshot.
    ///
    /// # Errors
    /// [`BookError`]; the copy is unchanged for [`BookError::OtherStream`] only.
    pub fn apply(&mut self, update: OrdersUpdate<'_>) -> Result<(), BookError> {
        let header = match update {
            OrdersUpdate::Snapshot(part) => &part.header,
            OrdersUpdate::Record(record) => &record.header,
        };
        if header.channel != Channel::Mbo || header.symbol != self.symbol {
            return Err(BookError::OtherStream);
        }
        let applied = match update {
            OrdersUpdate::Snapshot(part) => self.part(part),
            OrdersUpdate::Record(record) if record.header.prev_seq.is_none() => self.begin(record),
            OrdersUpdate::Record(record) => self.record(record),
        };
        match applied {
            Ok(state) => self.state = state,
            // A record that cannot be used says nothing new about a copy that is gone already.
            Err(BookError::NoSnapshot) => return Err(BookError::NoSnapshot),
            Err(error) => self.interrupt(error),
        }
        applied.map(|_| ())
    }

    /// Takes notice of a heartbeat of this stream: silence is no loss only if the position is ours.
    ///
    /// # Errors
    /// [`BookError`] when messages before it are missing; the copy is gone.
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

    /// Empties the copy until the next snapshot: after `skipped` or `gap`, or when the connection ended.
    pub fn interrupt(&mut self, reason: BookError) {
        self.clear();
        self.state = State::Gone(reason);
    }

    fn part(&mut self, part: &MboSnapshot) -> Result<State, BookError> {
        let header = part.header;
        let before = match self.state {
            _ if part.part == 1 => 0,
            // Nothing of the stream lies between the parts.
            State::Begun { part: before, parts }
                if parts == part.parts && self.guard.position() == Some((header.epoch, header.seq)) =>
            {
                before
            }
            State::Begun { .. } => return Err(BookError::SnapshotInvalid),
            // The rest of one of which the beginning was refused.
            State::Live { .. } | State::Gone(_) => return Err(BookError::NoSnapshot),
        };
        if part.part != before + 1 || part.part > part.parts {
            return Err(BookError::SnapshotInvalid);
        }
        if part.part == 1 {
            self.clear();
            self.guard.skip_to(header.epoch, header.seq);
        }
        for (side, orders) in [(Side::Buy, &part.bids), (Side::Sell, &part.asks)] {
            for order in orders {
                if order.quantity.is_zero() || self.orders.contains_key(&order.order_id) {
                    return Err(BookError::SnapshotInvalid);
                }
                self.put(order.order_id, side, order.price, order.quantity, None)?;
            }
        }
        if part.part == part.parts {
            return Ok(State::Live { header, is_whole: part.last });
        }
        Ok(State::Begun { part: part.part, parts: part.parts })
    }

    /// A record of a snapshot.
    fn begin(&mut self, record: &Mbo) -> Result<State, BookError> {
        let header = record.header;
        match (record.action, self.state) {
            (MboAction::Clear, _) => {
                self.clear();
                self.guard.skip_to(header.epoch, header.seq);
            }
            (MboAction::Add, State::Begun { .. }) => {
                if self.guard.position() != Some((header.epoch, header.seq)) {
                    return Err(BookError::SnapshotInvalid);
                }
                self.change(record)?;
            }
            (_, State::Live { .. } | State::Gone(_)) => return Err(BookError::NoSnapshot),
            _ => return Err(BookError::SnapshotInvalid),
        }
        if record.last {
            return Ok(State::Live { header, is_whole: true });
        }
        Ok(State::Begun { part: 0, parts: 0 })
    }

    fn record(&mut self, record: &Mbo) -> Result<State, BookError> {
        let header = record.header;
        match self.state {
            State::Gone(_) => return Err(BookError::NoSnapshot),
            // Behind parts that are missing. Behind records it is the first one that is no part of the snapshot.
            State::Begun { parts: 1.., .. } => return Err(BookError::SnapshotInvalid),
            State::Begun { .. } | State::Live { .. } => {}
        }
        let epoch = self.guard.position().map(|(epoch, _)| epoch);
        match self.guard.follow(&header) {
            Continuity::Next => {}
            Continuity::Gap { from, to } if epoch == Some(header.epoch) => {
                return Err(BookError::Gap { from, to });
            }
            Continuity::Gap { .. } | Continuity::NewEpoch => {
                return Err(BookError::EpochChanged { epoch: header.epoch });
            }
            Continuity::Repeated | Continuity::Afresh => return Err(BookError::Repeated { seq: header.seq }),
        }
        self.change(record)?;
        Ok(State::Live { header, is_whole: record.last })
    }

    fn change(&mut self, record: &Mbo) -> Result<(), BookError> {
        match record.action {
            MboAction::Clear => {
                self.clear();
                return Ok(());
            }
            MboAction::Trade | MboAction::Fill | MboAction::Unknown => return Ok(()),
            MboAction::Add | MboAction::Modify | MboAction::Cancel => {}
        }
        let (Some(order_id), Some(price), Some(quantity)) = (record.order_id, record.price, record.quantity)
        else {
            return Err(BookError::RecordIncomplete);
        };
        let before = self.orders.get(&order_id).copied();
        if record.action == MboAction::Cancel {
            // Who began in mid-life of an order that was not known then does not know it now.
            let Some(Resting { side, price, quantity: held, place }) = before else { return Ok(()) };
            let left = Quantity::from_nanos(held.nanos().saturating_sub(quantity.nanos()));
            self.take(order_id);
            return if left.is_zero() { Ok(()) } else { self.put(order_id, side, price, left, Some(place)) };
        }
        let side = match record.side {
            Aggressor::Buy => Side::Buy,
            Aggressor::Sell => Side::Sell,
            Aggressor::None => return Err(BookError::RecordIncomplete),
        };
        let kept = before.filter(|before| {
            record.action == MboAction::Modify
                && (before.side, before.price) == (side, price)
                && quantity <= before.quantity
        });
        self.take(order_id);
        if quantity.is_zero() {
            return Ok(());
        }
        self.put(order_id, side, price, quantity, kept.map(|kept| kept.place))
    }

    /// Puts an order that is not there at its place, or at the end of the queue.
    fn put(
        &mut self,
        order_id: u64,
        side: Side,
        price: Price,
        quantity: Quantity,
        place: Option<u64>,
    ) -> Result<(), BookError> {
        if self.orders.len() >= ORDERS_MAX {
            return Err(BookError::TooManyOrders);
        }
        let place = place.unwrap_or_else(|| {
            self.last_place += 1;
            self.last_place
        });
        self.orders.insert(order_id, Resting { side, price, quantity, place });
        self.side_mut(side).insert((rank(side, price), place), order_id);
        Ok(())
    }

    fn take(&mut self, order_id: u64) {
        if let Some(Resting { side, price, place, .. }) = self.orders.remove(&order_id) {
            self.side_mut(side).remove(&(rank(side, price), place));
        }
    }

    fn clear(&mut self) {
        self.orders.clear();
        self.bids.clear();
        self.asks.clear();
    }

    const fn side(&self, side: Side) -> &BTreeMap<(i64, u64), u64> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    const fn side_mut(&mut self, side: Side) -> &mut BTreeMap<(i64, u64), u64> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

/// Ascending ranks are descending quality on either side.
const fn rank(side: Side, price: Price) -> i64 {
    match side {
        Side::Buy => !price.nanos(),
        Side::Sell => price.nanos(),
    }
}
