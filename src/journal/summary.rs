//! Keeps unknown peers from filling the log: the first few events of an address in a second are written in full,
//! the rest are counted and written as one entry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::event::Suppressed;
use super::{Event, Journal, JournalError};
use crate::clock::Clock;
use crate::types::{TimeArithmetic as _, UnixNanos};

/// Events written in full, for each address and second.
pub const IN_FULL_PER_SECOND: u32 = 5;
/// Addresses remembered at once; beyond that, events are counted under `*`.
pub const ADDRESSES_MAX: usize = 4_096;

/// Counts of one second.
#[derive(Default)]
struct Second {
    started: UnixNanos,
    written: HashMap<IpAddr, u32>,
    suppressed: HashMap<(Option<IpAddr>, &'static str), u64>,
}

/// The gate in front of the journal for what unknown peers cause.
pub struct Summary {
    journal: Journal,
    clock: Clock,
    second: Mutex<Second>,
}

impl Summary {
    /// A summary in front of `journal`.
    #[must_use]
    pub fn new(journal: Journal, clock: Clock) -> Self {
        Self { journal, clock, second: Mutex::default() }
    }

    /// Records the event, or counts it if its address has had its share of this second.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn record(&self, address: IpAddr, event: impl Into<Event>) -> Result<(), JournalError> {
        let event = event.into();
        self.flush_if_due()?;
        let in_full = {
            let mut second = self.second.lock();
            let is_known = second.written.contains_key(&address);
            let has_room = second.written.len() < ADDRESSES_MAX;
            if is_known || has_room {
                let written = second.written.entry(address).or_default();
                *written += 1;
                let in_full = *written <= IN_FULL_PER_SECOND;
                if !in_full {
                    *second.suppressed.entry((Some(address), event.name())).or_default() += 1;
                }
                in_full
            } else {
                *second.suppressed.entry((None, event.name())).or_default() += 1;
                false
            }
        };
        if in_full {
            return self.journal.record(event).map(|_| ());
        }
        // It happened all the same: whoever counts must not miss it.
        self.journal.observe(&event);
        Ok(())
    }

    /// Writes the counts of a second that is over. Called by `record`, and by the server once a second.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn flush_if_due(&self) -> Result<(), JournalError> {
        let now = self.clock.now();
        let over = {
            let mut second = self.second.lock();
            let elapsed = u128::from(now.since(second.started));
            if elapsed < Duration::from_secs(1).as_nanos() && now >= second.started {
                return Ok(());
            }
            std::mem::replace(&mut *second, Second { started: now, ..Second::default() })
        };
        self.write(over)
    }

    /// Writes the counts of the second that is running: at stop.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn flush(&self) -> Result<(), JournalError> {
        let over = std::mem::take(&mut *self.second.lock());
        self.write(over)
    }

    fn write(&self, second: Second) -> Result<(), JournalError> {
        for ((address, what), count) in second.suppressed {
            let address = address.map_or_else(|| "*".to_owned(), |address| address.to_string());
            self.journal.record(Suppressed { what: what.to_owned(), address, count })?;
        }
        Ok(())
    }
}
