//! All orders that rest in an instrument, on their way to readers of `mbo`: taken as they stand, put into their places and encoded where
//! they are sent.
//!
//! The pipeline only copies the orders out of the book. The first shard that sends a snapshot sorts them, and each part is encoded once, by
//! the shard that needs it first, for everybody who is sent the same snapshot; a reader has one part at a time in its outbox. Bounded: all
//! snapshots of a feed that somebody is still sent take at most [`SNAPSHOT_BYTES_MAX`]; one that does not fit in beside them is refused
//! (SF-SUB-030). A snapshot is let go with the last of its readers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use sealfeed_wire::market::{Mbo, MboAction, MboOrder, MboSnapshot, encode_mbo_snapshot};
use sealfeed_wire::{Aggressor, BookDecimals, StreamHeader};

use super::book::RestingOrder;
use super::encoding::Encoding;
use super::frame::push_frame;
use super::records;
use crate::types::{Code, InstrumentId, Sequence, Side};

/// Bytes of all snapshots of a feed that are on their way, about 600,000 orders.
pub(super) const SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an order takes: its copy, and at most what it is encoded as (a record of 56 bytes, or a number, a price and a quantity as text).
const ORDER_BYTES: usize = size_of::<RestingOrder>() + 72;

/// What a snapshot takes besides its orders.
const SNAPSHOT_OVERHEAD_BYTES: usize = 1024;

/// Orders of one part: less than a full TLS record in either encoding.
const ORDERS_PER_PART: usize = 256;

/// What the snapshots of a feed take.
#[derive(Debug, Default)]
pub(super) struct SnapshotBudget(Arc<AtomicUsize>);

/// A share of a [`SnapshotBudget`], given back when it is dropped.
struct Reserved {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl SnapshotBudget {
    fn reserve(&self, bytes: usize) -> Result<Reserved, Code> {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= SNAPSHOT_BYTES_MAX);
        let reserved = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        reserved.map_err(|_| Code::SubOrdersTooMany)?;
        Ok(Reserved { used: Arc::clone(&self.0), bytes })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a snapshot is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotOf {
    /// Whose number stands in records.
    pub(super) instrument: InstrumentId,
    pub(super) decimals: BookDecimals,
    pub(super) encoding: Encoding,
    /// Stream and position.
    pub(super) header: StreamHeader,
    /// The position lies between two events.
    pub(super) is_whole: bool,
}

/// All orders of an instrument as of one message of its stream, in one encoding.
pub struct OrderSnapshot {
    of: SnapshotOf,
    parts: usize,
    work: Mutex<Work>,
    reserved: Reserved,
}

struct Work {
    orders: Vec<RestingOrder>,
    is_sorted: bool,
    encoded: Vec<Option<Part>>,
}

/// A part of a snapshot, framed.
#[derive(Clone, Debug)]
pub struct Part {
    /// One frame.
    pub frame: Bytes,
    /// Messages in it: one text, or so many records.
    pub messages: u64,
}

/// What a reader is sent before the stream of an instrument's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// The orders.
    pub snapshot: Arc<OrderSnapshot>,
    /// What was published since the snapshot was taken.
    pub since: Vec<Bytes>,
}

impl fmt::Debug for OrderSnapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OrderSnapshot").field("of", &self.of).finish_non_exhaustive()
    }
}

/// One snapshot is another one if it was taken another time.
impl PartialEq for OrderSnapshot {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for OrderSnapshot {}

impl OrderSnapshot {
    /// Takes the orders, in any order.
    ///
    /// # Errors
    /// [`Code::SubOrdersTooMany`]: there is no room for so many beside the snapshots that are on their way.
    pub(super) fn new(
        of: SnapshotOf,
        count: usize,
        orders: impl Iterator<Item = RestingOrder>,
        budget: &SnapshotBudget,
    ) -> Result<Arc<Self>, Code> {
        let bytes = count.saturating_mul(ORDER_BYTES).saturating_add(SNAPSHOT_OVERHEAD_BYTES);
        let reserved = budget.reserve(bytes)?;
        let mut taken = Vec::with_capacity(count);
        taken.extend(orders.take(count));
        let parts = taken.len().div_ceil(ORDERS_PER_PART).max(1);
        let work = Mutex::new(Work { orders: taken, is_sorted: false, encoded: vec![None; parts] });
        Ok(Arc::new(Self { of, parts, work, reserved }))
    }

    /// Position of the last message that it contains.
    #[must_use]
    pub const fn seq(&self) -> Sequence {
        self.of.header.seq
    }

    /// The run of the sequence.
    pub(super) const fn header(&self) -> &StreamHeader {
        &self.of.header
    }

    /// What it takes, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.reserved.bytes
    }

    /// How many parts it has: at least one.
    #[must_use]
    pub const fn parts(&self) -> usize {
        self.parts
    }

    /// The part at a place, below [`Self::parts`]; `None` behind the last. Whoever asks first sorts, and encodes the part.
    #[must_use]
    pub fn part(&self, place: usize) -> Option<Part> {
        let mut work = self.work.lock();
        let Work { orders, is_sorted, encoded } = &mut *work;
        let known = encoded.get_mut(place)?;
        if !std::mem::replace(is_sorted, true) {
            orders.sort_unstable_by_key(RestingOrder::place);
        }
        let start = place * ORDERS_PER_PART;
        let end = (start + ORDERS_PER_PART).min(orders.len());
        let part = known.get_or_insert_with(|| self.encode(place, &orders[start..end]));
        Some(part.clone())
    }

    fn encode(&self, place: usize, orders: &[RestingOrder]) -> Part {
        let mut payload = Vec::with_capacity((orders.len() + 8) * 64);
        let messages = match self.of.encoding {
            Encoding::Json => self.encode_text(place, orders, &mut payload),
            Encoding::Dbn => self.encode_records(place, orders, &mut payload),
        };
        let mut frame = Vec::with_capacity(payload.len() + 10);
        push_frame(&mut frame, self.of.encoding.frame(), &payload);
        Part { frame: frame.into(), messages }
    }

    fn encode_text(&self, place: usize, orders: &[RestingOrder], out: &mut Vec<u8>) -> u64 {
        let SnapshotOf { header, decimals, .. } = self.of;
        let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let side = |side| {
            let of_side = orders.iter().filter(move |order| order.side == side);
            let plain = |order: &RestingOrder| MboOrder {
                order_id: order.order.0,
                price: order.price,
                quantity: order.quantity,
            };
            of_side.map(plain).collect()
        };
        let part = MboSnapshot {
            header,
            part: number(place + 1),
            parts: number(self.parts),
            bids: side(Side::Buy),
            asks: side(Side::Sell),
            last: self.ends_with(place),
        };
        encode_mbo_snapshot(out, &part, decimals);
        1
    }

    /// A `Clear`, and a record for each order: as Databento's own snapshots begin.
    fn encode_records(&self, place: usize, orders: &[RestingOrder], out: &mut Vec<u8>) -> u64 {
        let SnapshotOf { header, instrument, .. } = self.of;
        let ends = self.ends_with(place);
        let nothing = Mbo {
            header,
            action: MboAction::Clear,
            side: Aggressor::None,
            price: None,
            quantity: None,
            order_id: None,
            last: ends && orders.is_empty(),
        };
        let mut messages = 0;
        if place == 0 {
            records::write_mbo(out, instrument, &nothing);
            messages += 1;
        }
        for (index, order) in orders.iter().enumerate() {
            let add = Mbo {
                action: MboAction::Add,
                side: order.side.into(),
                price: Some(order.price),
                quantity: Some(order.quantity),
                order_id: Some(order.order.0),
                last: ends && index + 1 == orders.len(),
                ..nothing
            };
            records::write_mbo(out, instrument, &add);
            messages += 1;
        }
        messages
    }

    /// Whether the book is whole behind this part.
    const fn ends_with(&self, place: usize) -> bool {
        self.of.is_whole && place + 1 == self.parts
    }
}
