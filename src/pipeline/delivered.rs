//! What has left for whom, as it stands in the log: by name, in entries of a bounded size.

use super::SessionHandle;
use super::core::Core;
use crate::feed::Delivered;
use crate::journal::event::DeliveredRange;
use crate::journal::{JournalError, event};

/// Ranges of one entry; keeps it far below its largest size.
const RANGES_PER_ENTRY_MAX: usize = 500;

impl Core {
    /// Records ranges of messages that were sealed for a session. Nothing waits for these entries.
    pub(super) fn delivered(
        &self,
        session: &SessionHandle,
        ranges: &[Delivered],
    ) -> Result<(), JournalError> {
        for ranges in ranges.chunks(RANGES_PER_ENTRY_MAX) {
            let named = ranges.iter().filter_map(|range| {
                Some(DeliveredRange {
                    channel: range.channel().as_str().to_owned(),
                    symbol: self.instruments.by_id(range.instrument())?.symbol.to_string(),
                    depth: range.depth(),
                    first: range.first,
                    last: range.last,
                })
            });
            let event = event::Delivered {
                principal: session.principal.to_string(),
                epoch: self.feed.epoch().to_string(),
                ranges: named.collect(),
            };
            self.journal.record_in(&session.trail, event)?;
        }
        Ok(())
    }
}
