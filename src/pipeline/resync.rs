//! A reader that was left behind goes on: told what it does not get, and given the present state.

use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::StreamKey;
use sealfeed_wire::market::{Gap, encode_gap, encode_skipped};

use super::SessionHandle;
use super::batch::{Batch, Output};
use super::core::Core;
use crate::feed::{Delivered, StreamId};
use crate::types::{Sequence, UnixNanos};

impl Core {
    /// Lets a session go on with a stream whose messages behind `after` were left out for it: `skipped` and the present state
    /// where there is one, else `gap`. A subscription that was ended or replaced since gets nothing: whoever has replaced it was given
    /// its own beginning.
    pub(super) fn resync(
        &mut self,
        session: &Arc<SessionHandle>,
        (stream, subscription): (StreamId, u64),
        after: Sequence,
        now: UnixNanos,
        batch: &mut Batch,
    ) {
        if !self.subscriptions.holds(session.number, stream, subscription) {
            return;
        }
        let Some(present) = self.feed_of(stream).and_then(|feed| feed.present(stream, now)) else { return };
        let place = Delivered { stream, first: 0, last: 0 };
        let Some(instrument) = self.instruments.by_id(self.instrument_of(stream)) else { return };
        if after < present.seq {
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
            let encode = if present.state.is_some() { encode_skipped } else { encode_gap };
            encode(&mut notice, &gap);
            let messages = [Bytes::from(notice)].into_iter().chain(present.state).chain(present.stale);
            messages.for_each(|message| batch.send(&session.queue, message));
        }
        batch.outputs.push(Output::Rejoin { stream, seq: present.seq, queue: Arc::clone(&session.queue) });
    }
}
