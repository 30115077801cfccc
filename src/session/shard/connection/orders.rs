//! Snapshots of resting orders on their way to one client: a part at a time, in front of the stream that they begin.
//!
//! Other streams of the client go on meanwhile; the one that a snapshot begins waits in its log, and counts as what the client lags behind.
//! The orders themselves belong to all clients who are sent the same snapshot and do not count. Bounded: one snapshot a subscription, taken
//! whole within [`TAKE_TIMEOUT`], or the client is too slow.

use std::time::Duration;

use bytes::Bytes;

use super::{Connection, Moment, Turn};
use crate::feed::{FrameKind, Joiner, Orders, StreamId};

/// How long a client may take to take one snapshot.
const TAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of what was published since that go in one piece, about: as a part of a snapshot.
const PIECE_BYTES: usize = 16 * 1024;

/// One snapshot.
struct Pending {
    stream: StreamId,
    orders: Orders,
    notice: Option<Bytes>,
    /// The part that comes next; behind the last part, how many of the messages since have left.
    next: usize,
    by: Moment,
}

impl Pending {
    /// Appends the next piece; whether it was the last one, and how many messages it had.
    fn next(&mut self, plain: &mut Vec<u8>) -> (bool, u64) {
        let Orders { snapshot, since } = &self.orders;
        if let Some(part) = snapshot.part(self.next) {
            plain.extend_from_slice(&part.frame);
            self.next += 1;
            let is_last = self.next == snapshot.parts() && since.is_empty() && self.notice.is_none();
            return (is_last, part.messages);
        }
        let end = plain.len() + PIECE_BYTES;
        let (mut messages, mut joiner) = (0, Joiner::default());
        let behind = since.iter().chain(&self.notice);
        for message in behind.skip(self.next - snapshot.parts()) {
            if plain.len() >= end {
                return (false, messages);
            }
            joiner.push(plain, FrameKind::of(message), message);
            (self.next, messages) = (self.next + 1, messages + 1);
        }
        (true, messages)
    }
}

/// Snapshots that one client is sent, in the order in which it asked.
#[derive(Default)]
pub(super) struct PendingOrders(Vec<Pending>);

impl PendingOrders {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a stream waits for its snapshot.
    pub(super) fn holds(&self, stream: Option<StreamId>) -> bool {
        stream.is_some_and(|stream| self.0.iter().any(|pending| pending.stream == stream))
    }

    /// A stream ends: its snapshot does not go on.
    pub(super) fn leave(&mut self, stream: StreamId) {
        self.0.retain(|pending| pending.stream != stream);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// When the first of them is to have been taken.
    pub(super) fn due_at(&self) -> Option<Moment> {
        self.0.iter().map(|pending| pending.by).min()
    }

    /// Appends the next piece of the first snapshot: a part of it, or of what came since and the notice behind it. Returns how many
    /// messages that were.
    pub(super) fn next(&mut self, plain: &mut Vec<u8>) -> u64 {
        let Some(pending) = self.0.first_mut() else { return 0 };
        let (is_last, messages) = pending.next(plain);
        if is_last {
            self.0.remove(0);
        }
        messages
    }
}

impl Connection {
    /// The orders that rest in the instrument of a stream, for this client alone.
    pub(in crate::session::shard) fn orders(
        &mut self,
        stream: StreamId,
        orders: Orders,
        notice: Option<Bytes>,
        turn: &mut Turn<'_>,
    ) {
        if self.may_join() {
            let pending = self.seldom.pending_or_default();
            pending.leave(stream);
            let by = Moment::of(turn.now + TAKE_TIMEOUT);
            pending.0.push(Pending { stream, orders, notice, next: 0, by });
            self.check_slow(turn);
        }
    }
}
