//! The end of the trading day, 00:00 UTC: day orders expire, and the names of finished orders are free again.

use super::batch::Batch;
use super::core::Core;
use crate::execute::Cause;
use crate::journal::{JournalError, event};
use crate::types::UnixNanos;

const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// The trading day of a moment, in days since 1970-01-01 UTC.
#[must_use]
pub const fn day_of(time: UnixNanos) -> u64 {
    time.0 / DAY_NS
}

impl Core {
    /// Ends the day if `now` lies in a later one.
    pub(super) fn end_day_if_over(&mut self, now: UnixNanos, batch: &mut Batch) -> Result<(), JournalError> {
        let day = day_of(now);
        if day <= self.engine.day() {
            return Ok(());
        }
        batch.depends_on(self.journal.record(event::DayEnd { day, admitted: now.0 })?);
        let mut events = Vec::new();
        self.engine.end_day(day, &mut events);
        self.report(&events, Cause::default(), now, batch)?;
        self.engine.forget_finished();
        self.end_input()
    }
}
