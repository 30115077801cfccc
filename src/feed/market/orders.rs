//! The orders that rest in an instrument, for a reader of its records.

use std::sync::Arc;

use super::super::encoding::Encoding;
use super::super::kind::StreamKind;
use super::super::orders::{OrderSnapshot, Orders, SnapshotBudget, SnapshotOf};
use super::super::ring::Missed;
use super::Market;
use crate::types::{Code, UnixNanos};

/// A snapshot that is on its way is given to others, too, with what was published since, as long as that is at most this part of it.
const SINCE_PART: usize = 4;

impl Market {
    /// The orders as of the last message of the stream of records, which must be read in this encoding already, or as of one before with
    /// what was published since, at most `since_bytes_max` of it.
    ///
    /// # Errors
    /// [`Code::SubOrdersTooMany`].
    pub(in crate::feed) fn orders(
        &mut self,
        encoding: Encoding,
        now: UnixNanos,
        since_bytes_max: usize,
        budget: &SnapshotBudget,
    ) -> Result<Orders, Code> {
        let found = self.streams.iter().find(|published| published.stream.kind == StreamKind::Mbo);
        let stream = &found.ok_or(Code::SubChannelNotOffered)?.stream;
        let taken = &mut self.snapshots[encoding as usize];
        if let Some(snapshot) = taken.upgrade().filter(|one| one.header().epoch == stream.epoch())
            && let Missed::Held(since) = stream.missed(encoding, snapshot.seq())
        {
            let bytes: usize = since.iter().map(bytes::Bytes::len).sum();
            if bytes <= since_bytes_max.min(snapshot.bytes() / SINCE_PART) {
                return Ok(Orders { snapshot, since });
            }
        }
        let of = SnapshotOf {
            instrument: self.instrument.id,
            decimals: self.instrument.decimals,
            encoding,
            header: stream.state_header(self.times, now),
            is_whole: self.book.open_records() == 0,
        };
        let snapshot = OrderSnapshot::new(of, self.book.order_count(), self.book.resting(), budget)?;
        *taken = Arc::downgrade(&snapshot);
        Ok(Orders { snapshot, since: Vec::new() })
    }
}
