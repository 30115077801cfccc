//! Bars of one second and one minute: open, high, low, close and volume of an instrument's trades by the venue's clock.
//!
//! In come the times of all records of the instrument, its trades, and ticks; out come intervals that are over. An
//! interval is over when a record shows that the venue's clock has passed its end, or when so much time has passed since
//! the last record that it must have, [`LATE_MAX_NS`] included. A trade that is reported after its interval was closed counts
//! in the open one, so that no volume is lost. A venue's clock that goes back by more than [`RESTART_NS`] with a trade is a
//! recording that began again: open bars are closed, and time starts from there.

use sealfeed_wire::{Price, Quantity};

use crate::types::{TimeArithmetic as _, UnixNanos};

/// How much later than others a record may come for its bar still to be open when nothing else comes.
pub(super) const LATE_MAX_NS: u64 = 500_000_000;

/// A trade that is older than the latest record by more than this starts the venue's time again.
const RESTART_NS: u64 = 60_000_000_000;

/// Lengths of the intervals, in nanoseconds.
const LENGTHS_NS: [u64; 2] = [1_000_000_000, 60_000_000_000];

/// The trades of one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) open: Price,
    pub(super) high: Price,
    pub(super) low: Price,
    pub(super) close: Price,
    /// In nano-units; cannot overflow.
    pub(super) volume: u128,
    pub(super) trades: u64,
    /// When the last of them was received.
    pub(super) received: UnixNanos,
}

impl Bar {
    /// The volume as the wire has it: beyond 18 billion units the largest number there is.
    pub(super) fn volume(&self) -> Quantity {
        Quantity::from_nanos(u64::try_from(self.volume).unwrap_or(u64::MAX))
    }
}

/// An interval that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    /// 0: one second; 1: one minute.
    pub(super) length: usize,
    /// Its trades, with the beginning of the interval; `None` if there were none.
    pub(super) bar: Option<(UnixNanos, Bar)>,
    /// Every interval up to here is over.
    pub(super) end: UnixNanos,
}

/// Open bars of one instrument.
#[derive(Debug, Default)]
pub(super) struct Bars {
    /// The latest time of a record by the venue's clock. Zero: none yet.
    time: UnixNanos,
    /// When that record came, by ours.
    heard_at: UnixNanos,
    intervals: [Interval; 2],
}

#[derive(Debug, Default)]
struct Interval {
    /// Beginning of the open interval.
    start: u64,
    bar: Option<Bar>,
}

impl Bars {
    /// Takes notice of the time of a record.
    pub(super) fn record(&mut self, ts_event: UnixNanos, now: UnixNanos, closed: &mut Vec<Closed>) {
        if self.time.0 == 0 {
            self.begin(ts_event);
        }
        if ts_event >= self.time {
            self.time = ts_event;
            self.heard_at = now;
            self.close_until(ts_event, closed);
        }
    }

    /// Counts a trade, whose record was noticed before.
    pub(super) fn trade(&mut self, price: Price, quantity: Quantity, received: UnixNanos) {
        for interval in &mut self.intervals {
            let bar = interval.bar.get_or_insert(Bar {
                open: price,
                high: price,
                low: price,
                close: price,
                volume: 0,
                trades: 0,
                received,
            });
            bar.high = bar.high.max(price);
            bar.low = bar.low.min(price);
            bar.close = price;
            bar.volume += u128::from(quantity.nanos());
            bar.trades += 1;
            bar.received = received;
        }
    }

    /// Begins again if a trade of this time can only be of a recording that did.
    pub(super) fn restart_if_older(&mut self, ts_event: UnixNanos, closed: &mut Vec<Closed>) {
        if self.time.since(ts_event) > RESTART_NS {
            for (length, (interval, length_ns)) in self.intervals.iter_mut().zip(LENGTHS_NS).enumerate() {
                let start = interval.start;
                let bar = interval.bar.take().map(|bar| (UnixNanos(start), bar));
                closed.push(Closed { length, bar, end: UnixNanos(start.saturating_add(length_ns)) });
            }
            self.begin(ts_event);
        }
    }

    /// Lets time pass without a record.
    pub(super) fn tick(&mut self, now: UnixNanos, closed: &mut Vec<Closed>) {
        if self.time.0 != 0 {
            let quiet_ns = now.since(self.heard_at).saturating_sub(LATE_MAX_NS);
            self.close_until(UnixNanos(self.time.0.saturating_add(quiet_ns)), closed);
        }
    }

    fn begin(&mut self, at: UnixNanos) {
        self.time = at;
        for (interval, length_ns) in self.intervals.iter_mut().zip(LENGTHS_NS) {
            interval.start = at.0 - at.0 % length_ns;
        }
    }

    fn close_until(&mut self, time: UnixNanos, closed: &mut Vec<Closed>) {
        for (length, (interval, length_ns)) in self.intervals.iter_mut().zip(LENGTHS_NS).enumerate() {
            if time.0.saturating_sub(interval.start) < length_ns {
                continue;
            }
            let start = std::mem::replace(&mut interval.start, time.0 - time.0 % length_ns);
            let bar = interval.bar.take().map(|bar| (UnixNanos(start), bar));
            closed.push(Closed { length, bar, end: UnixNanos(interval.start) });
        }
    }
}

#[cfg(test)]
#[path = "bars_tests.rs"]
mod tests;
