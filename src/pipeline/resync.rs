//! A reader that was left behind goes on: told what it does not get, and given the present state.

use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::StreamKey;
use sealfeed_wire::market::{Gap, encode_gap, encode_skipped};

use super::SessionHandle;
use super::batch::{Batch, Output};
use super::core::Core;
use crate::feed::{Delivered, Ending, StreamId};
use crate::journal::JournalError;
use crate::types::{Sequence, UnixNanos};

impl Core {
    /// Lets a session go on with a stream whose messages behind `after` were left out for it: `skipped` and the present state
    /// (of `mbo`, the resting orders) where there is one, else `gap`. A subscription that was ended or replaced since gets nothing: whoever has replaced it was given
    /// its own beginning.
    pub(super) fn resync(
        &mut self,
        session: &Arc<SessionHandle>,
        (stream, subscription): (StreamId, u64),
        after: Sequence,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if !self.subscriptions.holds(session.number, stream, subscription) {
            return Ok(());
        }
        let Some(feed) = self.feed_of(stream) else { return Ok(()) };
        let Some(present) = feed.present(stream, now) else { return Ok(()) };
        let is_behind = after < present.seq;
        // None that are older than what it has.
        let orders = if is_behind { feed.orders(stream, now, 0) } else { Ok(None) };
        let Ok(orders) = orders else {
            // Without them it cannot go on, and it was told of no loss yet: it comes back and begins anew.
            batch.finish(session, Ending::SLOW, None);
            return Ok(());
        };
        let place = Delivered { stream, first: 0, last: 0 };
        let Some(instrument) = self.instruments.by_id(self.instrument_of(stream)) else { return Ok(()) };
        if is_behind {
            let gap = Gap {
                stream: StreamKey {
                    channel: place.channel(),
                    symbol: instrument.symbol.into(),
                    epoch: present.epoch,
                    delayed_ms: self.delayed_ms(stream),
                },
                from: after.next(),
                to: present.seq,
            };
            let mut notice = Vec::with_capacity(160);
            let has_state = present.state.is_some() || orders.is_some();
            let encode = if has_state { encode_skipped } else { encode_gap };
            encode(&mut notice, &gap);
            let messages = [Bytes::from(notice)].into_iter().chain(present.state);
            messages.for_each(|message| batch.send(session, message));
            match orders {
                Some(orders) => self.send_orders(session, stream, orders, present.stale, batch)?,
                None => present.stale.into_iter().for_each(|stale| batch.send(session, stale)),
            }
        }
        batch.outputs.push(Output::Rejoin { stream, seq: present.seq, reader: session.number });
        Ok(())
    }
}
