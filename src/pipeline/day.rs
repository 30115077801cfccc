//! The end of the trading day, 00:00 UTC: day orders expire, and the names of finished orders are free again.

use super::batch::Batch;
use super::core::Core;
use super::executions::Cause;
use crate::journal::JournalError;
use crate::types::UnixNanos;

const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

impl Core {
    /// Ends the day if `now` lies in a later one.
    pub(super) fn end_day_if_over(&mut self, now: UnixNanos, batch: &mut Batch) -> Result<(), JournalError> {
        let day = now.0 / DAY_NS;
        if day <= self.day {
            return Ok(());
        }
        let is_first = self.day == 0;
        self.day = day;
        if is_first {
            return Ok(());
        }
        let mut events = Vec::new();
        self.venue.expire_day_orders(&mut events);
        self.report(&events, Cause::default(), now, batch)?;
        self.orders.forget_finished();
        self.answers.end_day(|order| self.orders.is_open(order));
        Ok(())
    }
}
