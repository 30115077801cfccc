//! What has left for whom, as it stands in the log: by name, in entries of a bounded size.

use super::SessionHandle;
use super::core::Core;
use crate::feed::{Delivered, StreamId};
use crate::journal::event::DeliveredRange;
use crate::journal::{JournalError, event};
use crate::types::Epoch;

/// Ranges of one entry; keeps it far below its largest size.
const RANGES_PER_ENTRY_MAX: usize = 500;

impl Core {
    /// Records ranges of messages that were sealed for a session. Nothing waits for these entries.
    pub(super) fn delivered(
        &mut self,
        session: &SessionHandle,
        ranges: &[Delivered],
    ) -> Result<(), JournalError> {
        let mut left = ranges;
        while let Some(first) = left.first() {
            let run = self.run_of(first.stream);
            let alike = left.iter().take(RANGES_PER_ENTRY_MAX);
            let count = alike.take_while(|range| self.run_of(range.stream) == run).count();
            let (ranges, behind) = left.split_at(count);
            left = behind;
            let Some((epoch, delayed_ms)) = run else { continue };
            let named = ranges.iter().filter_map(|range| {
                Some(DeliveredRange {
                    channel: range.channel().as_str().to_owned(),
                    symbol: self.instruments.by_id(self.instrument_of(range.stream))?.symbol.to_string(),
                    depth: range.depth(),
                    first: range.first,
                    last: range.last,
                })
            });
            let event = event::Delivered {
                principal: session.principal.to_string(),
                epoch: epoch.to_string(),
                ranges: named.collect(),
                delayed_ms: Some(delayed_ms),
            };
            self.journal.record_in(&session.trail, event)?;
        }
        Ok(())
    }

    /// The run of a stream's numbers, and by how many milliseconds it is delayed; `None` once its feed was given up.
    fn run_of(&mut self, stream: StreamId) -> Option<(Epoch, u64)> {
        let epoch = self.feed_of(stream)?.epoch_of(stream);
        Some((epoch, self.delayed_ms(stream).unwrap_or_default()))
    }
}
