//! The streams that a shard's connections read: a log and a list of subscriptions each.
//!
//! A subscription is a cursor. It is *ready* while its log has something behind the cursor; only ready ones are looked at
//! when their connection writes. Bounded: a log holds what its slowest subscription still needs, twice that at most, and never
//! more than one connection may lag behind; how much all of them hold is counted ([`Streams::bytes`]).

use std::num::NonZeroU32;

use sealfeed_wire::OnSlow;
use slab::Slab;

use crate::feed::{CHUNK_BYTES, Cursor, Delivered, Run, StreamId, StreamLog, Terms};

/// A subscription's place in the table.
pub(super) type Key = usize;

/// One connection's subscription to one stream.
#[derive(Debug)]
struct Subscription {
    cursor: Cursor,
    /// Number of the last message that was said to have left.
    reported: u64,
    /// Its number, as in [`Terms`].
    number: u64,
    /// Where it ends, if it is frozen.
    until: Option<Box<Cursor>>,
    stream: StreamId,
    /// Place of the connection in the shard.
    connection: u32,
    /// Its place in the stream's list; none if it is frozen or suspended.
    place: Option<Listed>,
    on_slow: OnSlow,
    /// Whether it stands in its connection's list of ready ones.
    is_ready: bool,
    /// It was left behind, and waits to go on.
    is_suspended: bool,
}

/// A place in a stream's list of readers, counted from 1.
type Listed = NonZeroU32;

// Thousands of idle readers hold one each, and every delivery touches those of its stream (docs/adr/0047).
const _: () = assert!(size_of::<Subscription>() <= 64);

/// A subscription that was left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspended {
    pub(super) stream: StreamId,
    /// Its number, as in [`Terms`].
    pub(super) subscription: u64,
    /// The last message that left.
    pub(super) left: u64,
}

#[derive(Debug, Default)]
struct Stream {
    log: StreamLog,
    readers: Vec<Key>,
    /// Readers that are ready.
    behind: usize,
    /// Whether it stands in the list of those with news.
    has_news: bool,
    /// Bytes of its log from which on it is worth finding out what its readers still need.
    look_at: usize,
    /// End of its log when its news was announced last.
    announced: u64,
}

impl Stream {
    /// Forgets what none of its readers needs; returns how many bytes that was.
    fn trim(&mut self, subscriptions: &Slab<Subscription>) -> usize {
        let (mut needed, mut behind) = (self.log.end().at, 0);
        for subscription in self.readers.iter().filter_map(|key| subscriptions.get(*key)) {
            needed = needed.min(subscription.cursor.at);
            behind += usize::from(subscription.is_ready);
        }
        // One that ends still reads, and is not listed: for the moment that it takes, everything is kept.
        if behind < self.behind {
            return 0;
        }
        let before = self.log.bytes();
        if needed == self.log.end().at {
            self.log.clear();
            self.log.shrink();
        } else {
            self.log.forget_before(needed);
        }
        before - self.log.bytes()
    }
}

/// A place in a table of connections or of what they have one of, narrow: there are fewer than descriptors, whose numbers have 31 bits.
pub(super) fn narrow(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// All streams of a shard.
#[derive(Debug)]
pub(super) struct Streams {
    by_id: Vec<Option<Box<Stream>>>,
    subscriptions: Slab<Subscription>,
    news: Vec<StreamId>,
    log_bytes_max: usize,
    /// Bytes of all logs.
    bytes: usize,
}

/// Bytes of a log that are kept without asking who needs them.
const UNASKED_BYTES: usize = 4 * CHUNK_BYTES;

/// What a subscription has to send.
pub(super) enum Piece<'a> {
    /// Whole frames; `rest` says whether there is more.
    Frames {
        /// The frames.
        frames: &'a [u8],
        /// How many messages, as far as known: a run over several pieces counts with its last.
        messages: u64,
        /// Whether there is more behind them.
        rest: bool,
    },
    /// What it needs is not held any more.
    Lost,
}

impl Streams {
    /// No streams yet; each will hold at most `log_bytes_max` bytes, in whole chunks.
    pub(super) const fn new(log_bytes_max: usize) -> Self {
        Self { by_id: Vec::new(), subscriptions: Slab::new(), news: Vec::new(), log_bytes_max, bytes: 0 }
    }

    fn stream(&mut self, id: StreamId) -> &mut Stream {
        if self.by_id.len() <= id.index() {
            self.by_id.resize_with(id.index() + 1, || None);
        }
        self.by_id[id.index()].get_or_insert_with(Box::default)
    }

    /// Lets a connection read a stream from here on, behind message `seq`.
    pub(super) fn join(&mut self, id: StreamId, connection: usize, seq: u64, terms: Terms) -> Key {
        let cursor = Cursor { seq, ..self.stream(id).log.stand_at_end() };
        let key = self.subscriptions.insert(Subscription {
            cursor,
            reported: seq,
            number: terms.subscription,
            until: None,
            stream: id,
            connection: narrow(connection),
            place: None,
            on_slow: terms.on_slow,
            is_ready: false,
            is_suspended: false,
        });
        self.list(id, key);
        key
    }

    /// Which stream a subscription reads.
    pub(super) fn stream_of(&self, key: Key) -> Option<StreamId> {
        self.subscriptions.get(key).map(|subscription| subscription.stream)
    }

    /// Lets a subscription get nothing that is not in its log yet; what is there it still gets. Whether that makes it ready.
    pub(super) fn freeze(&mut self, key: Key) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return false };
        let (id, place) = (subscription.stream, subscription.place.take());
        self.unlist(id, place);
        let stream = self.stream(id);
        let end = stream.log.stand_at_end();
        let Some(subscription) = self.subscriptions.get_mut(key) else { return false };
        subscription.until.get_or_insert_with(|| Box::new(end));
        let is_behind = !subscription.is_suspended && subscription.cursor.at != end.at;
        let becomes_ready = !subscription.is_ready && is_behind;
        subscription.is_ready |= becomes_ready;
        self.stream(id).behind += usize::from(becomes_ready);
        becomes_ready
    }

    /// Leaves a ready subscription behind, if it may be: it gets nothing more until it goes on. Returns where it stands.
    pub(super) fn suspend(&mut self, key: Key) -> Option<Suspended> {
        let subscription = self.subscriptions.get_mut(key)?;
        if subscription.on_slow == OnSlow::Disconnect || !subscription.is_ready {
            return None;
        }
        let place = subscription.place.take()?;
        let (id, seq, number) = (subscription.stream, subscription.cursor.seq, subscription.number);
        (subscription.is_ready, subscription.is_suspended) = (false, true);
        self.unlist(id, Some(place));
        let stream = self.stream(id);
        stream.behind -= 1;
        self.drop_if_unread(id);
        Some(Suspended { stream: id, subscription: number, left: seq })
    }

    /// Lets a subscription that was left behind go on from here, behind message `seq`. Whether it was.
    pub(super) fn resume(&mut self, key: Key, seq: u64) -> bool {
        let Some(subscription) = self.subscriptions.get(key).filter(|one| one.is_suspended) else {
            return false;
        };
        let id = subscription.stream;
        let cursor = Cursor { seq, ..self.stream(id).log.stand_at_end() };
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.cursor = cursor;
            (subscription.is_suspended, subscription.reported) = (false, seq);
        }
        self.list(id, key);
        true
    }

    /// Ends a subscription.
    pub(super) fn leave(&mut self, key: Key) {
        let Some(subscription) = self.subscriptions.try_remove(key) else { return };
        self.unlist(subscription.stream, subscription.place);
        let stream = self.stream(subscription.stream);
        stream.behind -= usize::from(subscription.is_ready);
        self.drop_if_unread(subscription.stream);
    }

    /// Forgets a stream that has neither readers nor news.
    fn drop_if_unread(&mut self, id: StreamId) {
        if let Some(place) = self.by_id.get_mut(id.index())
            && let Some(stream) = place
            && stream.readers.is_empty()
            && stream.behind == 0
            && !stream.has_news
        {
            self.bytes -= stream.log.bytes();
            *place = None;
        }
    }

    /// Bytes of all logs together.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets what nobody needs, in every log.
    pub(super) fn trim(&mut self) {
        let Self { by_id, subscriptions, bytes, .. } = self;
        for stream in by_id.iter_mut().flatten() {
            *bytes -= stream.trim(subscriptions);
        }
    }

    /// Puts a subscription at the end of a stream's list of readers.
    fn list(&mut self, id: StreamId, key: Key) {
        let readers = &mut self.stream(id).readers;
        readers.push(key);
        let place = Listed::new(narrow(readers.len()));
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.place = place;
        }
    }

    /// Takes the entry at a place out of a stream's list of readers.
    fn unlist(&mut self, id: StreamId, listed: Option<Listed>) {
        let Some(listed) = listed else { return };
        let place = listed.get() as usize - 1;
        let stream = self.stream(id);
        stream.readers.swap_remove(place);
        let moved = stream.readers.get(place).copied();
        if let Some(moved) = moved.and_then(|key| self.subscriptions.get_mut(key)) {
            moved.place = Some(listed);
        }
    }

    /// What has left on a subscription since this was asked last.
    pub(super) fn delivered(&mut self, key: Key) -> Option<Delivered> {
        let subscription = self.subscriptions.get_mut(key)?;
        let (stream, last) = (subscription.stream, subscription.cursor.seq);
        let first = std::mem::replace(&mut subscription.reported, last) + 1;
        (first <= last).then_some(Delivered { stream, first, last })
    }

    /// Appends frames to a stream.
    pub(super) fn append(&mut self, id: StreamId, run: Run<'_>) {
        let log_bytes_max = self.log_bytes_max;
        self.stream(id);
        let Self { by_id, subscriptions, bytes, .. } = self;
        let Some(Some(stream)) = by_id.get_mut(id.index()) else { return };
        let before = stream.log.bytes();
        if stream.behind == 0 && !stream.has_news {
            stream.log.clear();
        }
        stream.log.append(run);
        if stream.log.bytes() > stream.look_at {
            stream.trim(subscriptions);
            stream.look_at = (2 * stream.log.bytes()).max(UNASKED_BYTES);
        }
        stream.log.trim(log_bytes_max);
        *bytes = *bytes + stream.log.bytes() - before;
        if !std::mem::replace(&mut stream.has_news, true) {
            self.news.push(id);
        }
    }

    /// Calls `tell` with the connection of every subscription whose stream has news, with the subscription if it has become
    /// ready by them, and with how many bytes more it has to send.
    pub(super) fn announce(&mut self, mut tell: impl FnMut(usize, Option<Key>, usize)) {
        let Self { by_id, subscriptions, news, bytes, .. } = self;
        for id in news.drain(..) {
            let Some(Some(stream)) = by_id.get_mut(id.index()) else { continue };
            stream.has_news = false;
            let end = stream.log.end();
            let more = |from: u64| usize::try_from(end.at - from).unwrap_or(usize::MAX);
            let before = std::mem::replace(&mut stream.announced, end.at);
            for key in &stream.readers {
                let Some(subscription) = subscriptions.get_mut(*key) else { continue };
                if subscription.is_ready {
                    tell(subscription.connection as usize, None, more(before));
                } else if subscription.cursor.at != end.at {
                    subscription.is_ready = true;
                    stream.behind += 1;
                    tell(subscription.connection as usize, Some(*key), more(subscription.cursor.at));
                }
            }
            if stream.readers.is_empty() && stream.behind == 0 {
                *bytes -= stream.log.bytes();
                by_id[id.index()] = None;
            }
        }
    }

    /// The next piece of a ready subscription; it moves on behind it.
    pub(super) fn next(&mut self, key: Key) -> Piece<'_> {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return Piece::Lost };
        let Some(Some(stream)) = self.by_id.get_mut(subscription.stream.index()) else { return Piece::Lost };
        let end = subscription.until.as_deref().copied().unwrap_or_else(|| stream.log.end());
        let Some((mut frames, mut next)) = stream.log.read(subscription.cursor) else { return Piece::Lost };
        if next.at >= end.at {
            frames = &frames[..frames.len() - usize::try_from(next.at - end.at).unwrap_or(frames.len())];
            next = end;
        }
        let messages = next.messages.saturating_sub(subscription.cursor.messages);
        subscription.cursor = next;
        let rest = next.at != end.at;
        if !rest {
            subscription.is_ready = false;
            stream.behind -= 1;
        }
        Piece::Frames { frames, messages, rest }
    }

    /// Bytes that a subscription has to send.
    pub(super) fn lag(&self, key: Key) -> usize {
        let Some(subscription) = self.subscriptions.get(key) else { return 0 };
        let Some(Some(stream)) = self.by_id.get(subscription.stream.index()) else { return 0 };
        usize::try_from(stream.log.end().at.saturating_sub(subscription.cursor.at)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
