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
        &mut self,
        session: &SessionHandle,
        ranges: &[Delivered],
    ) -> Result<(), JournalError> {
        let mut epoch_of =
            |range: &Delivered| self.feed_of(range.stream).map(|feed| feed.epoch_of(range.stream));
        let of_one_epoch: Vec<_> = ranges.chunk_by(|one, next| epoch_of(one) == epoch_of(next)).collect();
        for ranges in of_one_epoch.into_iter().flat_map(|ranges| ranges.chunks(RANGES_PER_ENTRY_MAX)) {
            let feed = ranges.first().and_then(|range| Some((range.stream, self.feed_of(range.stream)?)));
            let Some(epoch) = feed.map(|(stream, feed)| feed.epoch_of(stream)) else { continue };
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
            };
            self.journal.record_in(&session.trail, event)?;
        }
        Ok(())
    }
}
