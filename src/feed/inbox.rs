//! The way from the releasing thread into a shard: one batch of bytes and what to do with them, in one order.
//!
//! The releasing thread fills a [`Delivery`] and hands it over as a whole; the shard takes all that waits at once. Their
//! memory goes back and forth, so that nothing is allocated for a delivery. Bounded: at [`INBOX_BYTES_MAX`] or
//! [`INBOX_ITEMS_MAX`] the releasing thread waits, since a shard never waits for anybody and only lacks time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use sealfeed_wire::OnSlow;

use super::ending::Ending;
use super::frame::{FrameKind, push_frame};
use super::orders::Orders;
use super::stream::StreamId;
use super::ticket::Ticket;

/// Bytes of frames that may wait for a shard.
const INBOX_BYTES_MAX: usize = 1024 * 1024;
/// Things that may wait for a shard.
const INBOX_ITEMS_MAX: usize = 65_536;

/// Number of a reader: a session, in this process; never reused.
pub type ReaderId = u64;

/// How a reader reads a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Names this subscription among all of this process, before and after; a later one to the same stream is another.
    pub subscription: u64,
    /// What becomes of the reader when it lags too far behind.
    pub on_slow: OnSlow,
}

/// One thing that a shard is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// Frames of a stream, for everybody who reads it.
    Frames {
        /// Which stream.
        stream: StreamId,
        /// Where in the bytes of the delivery.
        bytes: Range<usize>,
        /// How many messages.
        messages: u64,
        /// Sequence number of the last; each is one above the one before.
        last: u64,
    },
    /// From here on, a reader gets a stream.
    Join {
        /// Which stream.
        stream: StreamId,
        /// Who.
        reader: ReaderId,
        /// Number of the stream's last message before.
        seq: u64,
        /// How.
        terms: Terms,
    },
    /// From here on, a reader that was left behind gets a stream again.
    Rejoin {
        /// Which stream.
        stream: StreamId,
        /// Who.
        reader: ReaderId,
        /// Number of the stream's last message before.
        seq: u64,
    },
    /// From here on, it does not, not even what it has not got yet.
    Leave {
        /// Which stream.
        stream: StreamId,
        /// Who.
        reader: ReaderId,
    },
    /// A text message to one reader.
    Message {
        /// Who.
        reader: ReaderId,
        /// JSON text.
        message: Bytes,
    },
    /// A text message to one reader that nobody else gets or keeps.
    Text {
        /// Who.
        reader: ReaderId,
        /// JSON text, not framed: where in the bytes of the delivery.
        bytes: Range<usize>,
    },
    /// Messages to one reader that are framed already.
    Piece {
        /// Who.
        reader: ReaderId,
        /// Whole frames.
        frames: Bytes,
        /// How many.
        messages: u64,
        /// Kept until they have left.
        ticket: Ticket,
    },
    /// All orders that rest in an instrument to one reader, and then what was published since.
    Orders {
        /// Which stream they begin.
        stream: StreamId,
        /// Who.
        reader: ReaderId,
        /// What is sent.
        orders: Orders,
        /// A notice behind it, if there is one.
        notice: Option<Bytes>,
    },
    /// The reader's connection is to be closed after everything before this.
    Finish {
        /// Who.
        reader: ReaderId,
        /// How.
        ending: Ending,
        /// Its last message, if it gets one.
        notice: Option<Bytes>,
    },
}

/// What a shard is told at once.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Frames, and texts to single readers, behind one another.
    pub bytes: Vec<u8>,
    /// What is to be done, in this order.
    pub items: Vec<Item>,
}

impl Delivery {
    /// Appends a message of a stream.
    pub fn publish(&mut self, stream: StreamId, seq: u64, kind: FrameKind, message: &[u8]) {
        let start = self.bytes.len();
        push_frame(&mut self.bytes, kind, message);
        let end = self.bytes.len();
        match self.items.last_mut() {
            Some(Item::Frames { stream: before, bytes, messages, last })
                if *before == stream && seq == *last + 1 =>
            {
                bytes.end = end;
                *messages += 1;
                *last = seq;
            }
            _ => self.items.push(Item::Frames { stream, bytes: start..end, messages: 1, last: seq }),
        }
    }

    /// Appends a text to one reader, as `encode` writes it.
    pub fn write(&mut self, reader: ReaderId, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        self.items.push(Item::Text { reader, bytes: start..self.bytes.len() });
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Empties it; its memory stays, unless that was for a burst.
    pub fn clear(&mut self) {
        self.items.clear();
        self.items.shrink_to(ITEMS_KEPT_MAX);
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT_MAX);
    }

    fn append(&mut self, other: &mut Self) {
        let offset = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.items.extend(other.items.drain(..).map(|item| match item {
            Item::Frames { stream, bytes, messages, last } => {
                let bytes = bytes.start + offset..bytes.end + offset;
                Item::Frames { stream, bytes, messages, last }
            }
            Item::Text { reader, bytes } => {
                Item::Text { reader, bytes: bytes.start + offset..bytes.end + offset }
            }
            other => other,
        }));
    }
}

/// Memory that an empty delivery keeps.
const BYTES_KEPT_MAX: usize = 1024 * 1024;
/// Things that an empty delivery keeps room for.
const ITEMS_KEPT_MAX: usize = 1_024;

/// Where a shard is told things.
pub struct Inbox {
    state: Mutex<State>,
    /// Notified when the shard has taken what waited, and when it is gone.
    room: Condvar,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct State {
    delivery: Delivery,
    is_open: bool,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    /// An empty inbox; `wake` lets its shard look, from any thread, and must not block.
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        let state = State { delivery: Delivery::default(), is_open: true };
        Self { state: Mutex::new(state), room: Condvar::new(), wake: Box::new(wake) }
    }

    /// Hands a delivery over and empties it. Waits while too much is waiting already. A shard that is gone takes
    /// nothing: its readers are gone with it.
    pub fn deliver(&self, delivery: &mut Delivery) {
        if delivery.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        while state.is_open
            && (state.delivery.bytes.len() >= INBOX_BYTES_MAX
                || state.delivery.items.len() >= INBOX_ITEMS_MAX)
        {
            self.room.wait(&mut state);
        }
        let was_empty = state.delivery.is_empty();
        if state.is_open {
            if was_empty {
                std::mem::swap(&mut state.delivery, delivery);
            } else {
                state.delivery.append(delivery);
            }
        }
        drop(state);
        delivery.clear();
        if was_empty {
            (self.wake)();
        }
    }

    /// Tells one thing, from any thread, without waiting. For what there can be only so much of: the end of a session.
    pub fn tell(&self, item: Item) {
        let mut state = self.state.lock();
        if !state.is_open {
            return;
        }
        let was_empty = state.delivery.is_empty();
        state.delivery.items.push(item);
        drop(state);
        if was_empty {
            (self.wake)();
        }
    }

    /// Exchanges what waits for `taken`, which must be empty.
    pub fn take(&self, taken: &mut Delivery) {
        debug_assert!(taken.is_empty());
        let mut state = self.state.lock();
        std::mem::swap(&mut state.delivery, taken);
        drop(state);
        self.room.notify_all();
    }

    /// Lets the shard look, whatever waits.
    pub fn wake(&self) {
        (self.wake)();
    }

    /// The shard takes nothing more, and nobody waits for it.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        state.delivery = Delivery::default();
        drop(state);
        self.room.notify_all();
    }
}

/// The inboxes of all shards, and so which shard has which reader.
#[derive(Clone, Debug)]
pub struct Inboxes(Arc<[Arc<Inbox>]>);

impl Inboxes {
    /// Those of the shards in their order.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn new(shards: impl IntoIterator<Item = Arc<Inbox>>) -> Self {
        let inboxes: Arc<[Arc<Inbox>]> = shards.into_iter().collect();
        assert!(!inboxes.is_empty(), "a server has a shard");
        Self(inboxes)
    }

    /// The place of the shard that has this reader.
    #[must_use]
    pub fn shard_of(&self, reader: ReaderId) -> usize {
        usize::try_from(reader % self.0.len() as u64).unwrap_or_default()
    }

    /// Where the shard of this reader is told things.
    #[must_use]
    pub fn of(&self, reader: ReaderId) -> &Arc<Inbox> {
        &self.0[self.shard_of(reader)]
    }

    /// All of them, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Inbox>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::types::{Channel, Depth, InstrumentId};

    const TERMS: Terms = Terms { subscription: 1, on_slow: OnSlow::Disconnect };

    fn stream(instrument: u32) -> StreamId {
        StreamId::new(InstrumentId(instrument), Channel::Trades, Depth::Ten).unwrap()
    }

    fn inbox() -> (Arc<AtomicUsize>, Inbox) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        (wakes, Inbox::new(count))
    }

    #[test]
    fn a_shard_is_woken_once_for_all_that_waits_and_gets_it_in_order() {
        let (wakes, inbox) = inbox();
        let mut batch = Delivery::default();
        for n in 0..3 {
            batch.publish(stream(1), 2 * n + 1, FrameKind::Text, b"a");
            batch.publish(stream(1), 2 * n + 2, FrameKind::Text, b"b");
            batch.publish(stream(2), 7, FrameKind::Text, b"c");
            batch.items.push(Item::Join { stream: stream(1), reader: n, seq: 0, terms: TERMS });
            batch.write(n, |text| text.extend_from_slice(b"{}"));
            inbox.deliver(&mut batch);
            assert!(batch.is_empty());
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        let mut taken = Delivery::default();
        inbox.take(&mut taken);
        assert_eq!(taken.bytes, b"\x81\x01a\x81\x01b\x81\x01c{}".repeat(3));
        let frames = |stream, bytes, messages, last| Item::Frames { stream, bytes, messages, last };
        let expected = (0..3).flat_map(|n: u64| {
            let start = 11 * usize::try_from(n).unwrap();
            [
                frames(stream(1), start..start + 6, 2, 2 * n + 2),
                frames(stream(2), start + 6..start + 9, 1, 7),
                Item::Join { stream: stream(1), reader: n, seq: 0, terms: TERMS },
                Item::Text { reader: n, bytes: start + 9..start + 11 },
            ]
        });
        assert_eq!(taken.items, expected.collect::<Vec<_>>());
        taken.clear();
        inbox.tell(Item::Leave { stream: stream(1), reader: 0 });
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_inbox_makes_the_releasing_thread_wait_until_the_shard_takes_or_goes() {
        for closes in [false, true] {
            let (_, inbox) = inbox();
            let inbox = Arc::new(inbox);
            let mut batch = Delivery::default();
            batch.publish(stream(1), 1, FrameKind::Text, &vec![b'x'; INBOX_BYTES_MAX]);
            inbox.deliver(&mut batch);
            let releasing = Arc::clone(&inbox);
            let thread = std::thread::spawn(move || {
                batch.publish(stream(1), 2, FrameKind::Text, b"next");
                releasing.deliver(&mut batch);
            });
            let mut taken = Delivery::default();
            if closes {
                inbox.close();
            } else {
                inbox.take(&mut taken);
                assert_eq!(taken.items.len(), 1);
            }
            thread.join().unwrap();
            taken.clear();
            inbox.take(&mut taken);
            assert_eq!(taken.items.len(), usize::from(!closes));
        }
    }
}
