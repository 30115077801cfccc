//! Who gets which stream: the table of the thread that releases publications.
//!
//! It knows shards, not readers: a publication goes once to every shard that has a subscriber, whose own table says who
//! that is. Whatever concerns one reader goes to its shard in the same order.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::ending::Ending;
use super::inbox::{Delivery, Inbox, Inboxes, Item, ReaderId, Terms};
use super::orders::Orders;
use super::stream::{Publication, StreamId};
use super::ticket::Ticket;
use crate::types::Sequence;

/// Bytes of frames after which a delivery leaves even before its batch is over: the shards are to work meanwhile.
const DELIVERY_BYTES: usize = 64 * 1024;

/// Subscribers by shard and stream, and what is about to leave.
#[derive(Debug)]
pub struct Fanout {
    inboxes: Inboxes,
    /// By place.
    shards: Vec<Shard>,
    /// By stream: places of shards, and how many readers each has. Those with none are not listed.
    by_stream: Vec<Vec<(usize, usize)>>,
    readers: Readers,
}

#[derive(Debug)]
struct Shard {
    inbox: Arc<Inbox>,
    delivery: Delivery,
}

/// Who reads what. The pipeline knows that and is believed; builds with assertions check it, and only they hold anything here.
#[derive(Debug, Default)]
struct Readers(BTreeSet<(ReaderId, StreamId)>);

impl Readers {
    fn join(&mut self, reader: ReaderId, stream: StreamId) {
        if cfg!(debug_assertions) {
            assert!(self.0.insert((reader, stream)), "{reader} reads {stream:?} already");
        }
    }

    fn hold(&self, reader: ReaderId, stream: StreamId) {
        if cfg!(debug_assertions) {
            assert!(self.0.contains(&(reader, stream)), "{reader} does not read {stream:?}");
        }
    }

    fn leave(&mut self, reader: ReaderId, stream: StreamId) {
        if cfg!(debug_assertions) {
            assert!(self.0.remove(&(reader, stream)), "{reader} does not read {stream:?}");
        }
    }
}

impl Fanout {
    /// An empty table.
    #[must_use]
    pub fn new(inboxes: Inboxes) -> Self {
        let shard = |inbox: &Arc<Inbox>| Shard { inbox: Arc::clone(inbox), delivery: Delivery::default() };
        let shards = inboxes.iter().map(shard).collect();
        Self { inboxes, shards, by_stream: Vec::new(), readers: Readers::default() }
    }

    /// Lets a reader that does not read it get everything that is published to `stream` from now on, behind message `seq`.
    pub fn subscribe(&mut self, stream: StreamId, seq: Sequence, terms: Terms, reader: ReaderId) {
        self.readers.join(reader, stream);
        let shard = self.inboxes.shard_of(reader);
        if self.by_stream.len() <= stream.index() {
            self.by_stream.resize_with(stream.index() + 1, Vec::new);
        }
        let shards = &mut self.by_stream[stream.index()];
        match shards.iter_mut().find(|(place, _)| *place == shard) {
            Some((_, readers)) => *readers += 1,
            None => shards.push((shard, 1)),
        }
        self.shards[shard].delivery.items.push(Item::Join { stream, reader, seq: seq.get(), terms });
    }

    /// Lets a reader that was left behind go on behind message `seq`.
    pub fn rejoin(&mut self, stream: StreamId, seq: Sequence, reader: ReaderId) {
        self.readers.hold(reader, stream);
        self.tell(reader, Item::Rejoin { stream, reader, seq: seq.get() });
    }

    /// Ends that for a reader that reads it.
    pub fn unsubscribe(&mut self, stream: StreamId, reader: ReaderId) {
        self.forget(stream, reader);
        self.tell(reader, Item::Leave { stream, reader });
    }

    /// The same for one whose session has ended; its shard knows that.
    pub fn forget(&mut self, stream: StreamId, reader: ReaderId) {
        self.readers.leave(reader, stream);
        let shard = self.inboxes.shard_of(reader);
        let Some(shards) = self.by_stream.get_mut(stream.index()) else { return };
        let Some(place) = shards.iter().position(|(place, _)| *place == shard) else { return };
        shards[place].1 -= 1;
        if shards[place].1 == 0 {
            shards.swap_remove(place);
        }
    }

    /// Frames a publication for every shard with a subscriber.
    pub fn publish(&mut self, publication: &Publication) {
        for (shard, _) in self.by_stream.get(publication.stream.index()).into_iter().flatten() {
            let Shard { inbox, delivery } = &mut self.shards[*shard];
            let Publication { stream, encoding, seq, message } = publication;
            delivery.publish(*stream, seq.get(), encoding.frame(), message);
            if delivery.bytes.len() >= DELIVERY_BYTES {
                inbox.deliver(delivery);
            }
        }
    }

    /// Sends a message to one reader.
    pub fn send(&mut self, reader: ReaderId, message: Bytes) {
        self.tell(reader, Item::Message { reader, message });
    }

    /// Writes a text to one reader, straight into what leaves for its shard.
    pub fn write(&mut self, reader: ReaderId, encode: impl FnOnce(&mut Vec<u8>)) {
        let shard = self.inboxes.shard_of(reader);
        let Shard { inbox, delivery } = &mut self.shards[shard];
        delivery.write(reader, encode);
        if delivery.bytes.len() >= DELIVERY_BYTES {
            inbox.deliver(delivery);
        }
    }

    /// Sends framed messages to one reader.
    pub fn piece(&mut self, reader: ReaderId, frames: Bytes, messages: u64, ticket: Ticket) {
        self.tell(reader, Item::Piece { reader, frames, messages, ticket });
    }

    /// Sends the orders that rest in the instrument of a stream to one reader.
    pub fn orders(&mut self, stream: StreamId, orders: Orders, notice: Option<Bytes>, reader: ReaderId) {
        self.tell(reader, Item::Orders { stream, reader, orders, notice });
    }

    /// Ends a reader's connection after everything before.
    pub fn finish(&mut self, reader: ReaderId, ending: Ending, notice: Option<Bytes>) {
        self.tell(reader, Item::Finish { reader, ending, notice });
    }

    /// Lets everything leave. Waits for shards that have too much to do.
    pub fn flush(&mut self) {
        for Shard { inbox, delivery } in &mut self.shards {
            inbox.deliver(delivery);
        }
    }

    /// How many readers get this stream.
    #[must_use]
    pub fn subscribers(&self, stream: StreamId) -> usize {
        let shards = self.by_stream.get(stream.index()).into_iter().flatten();
        shards.map(|(_, readers)| readers).sum()
    }

    fn tell(&mut self, reader: ReaderId, item: Item) {
        let shard = self.inboxes.shard_of(reader);
        self.shards[shard].delivery.items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Encoding;
    use crate::types::{Channel, Depth, InstrumentId};

    const TERMS: Terms = Terms { subscription: 1, on_slow: sealfeed_wire::OnSlow::Disconnect };

    fn stream(instrument: u32) -> StreamId {
        StreamId::new(InstrumentId(instrument), Channel::Trades, Depth::Ten).unwrap()
    }

    fn publication(instrument: u32, message: &'static str) -> Publication {
        let message = Bytes::from_static(message.as_bytes());
        Publication {
            stream: stream(instrument),
            seq: Sequence::ZERO.next(),
            encoding: Encoding::of(&message),
            message,
        }
    }

    fn inbox() -> Arc<Inbox> {
        Arc::new(Inbox::new(|| {}))
    }

    fn taken(inbox: &Inbox) -> Delivery {
        let mut taken = Delivery::default();
        inbox.take(&mut taken);
        taken
    }

    #[test]
    fn a_shard_gets_its_readers_streams_once_and_nobody_elses() {
        let (one, two) = (inbox(), inbox());
        let mut fanout = Fanout::new(Inboxes::new([Arc::clone(&two), Arc::clone(&one)]));
        let readers = [1, 3, 2];
        fanout.subscribe(stream(1), Sequence::ZERO, TERMS, readers[0]);
        fanout.subscribe(stream(1), Sequence::ZERO, TERMS, readers[1]);
        fanout.subscribe(stream(7), Sequence::ZERO, TERMS, readers[2]);
        assert_eq!(fanout.subscribers(stream(1)), 2);
        for (instrument, text) in [(1, "{a"), (7, "b"), (9, "c")] {
            fanout.publish(&publication(instrument, text));
        }
        assert!(taken(&one).is_empty(), "nothing leaves before the batch is over");
        fanout.flush();
        let (first, second) = (taken(&one), taken(&two));
        assert_eq!((&*first.bytes, &*second.bytes), (&b"\x81\x02{a"[..], &b"\x82\x01b"[..]));
        assert_eq!(
            first.items,
            [
                Item::Join { stream: stream(1), reader: 1, seq: 0, terms: TERMS },
                Item::Join { stream: stream(1), reader: 3, seq: 0, terms: TERMS },
                Item::Frames { stream: stream(1), bytes: 0..4, messages: 1, last: 1 },
            ]
        );
    }

    #[test]
    fn messages_to_a_reader_keep_their_place_among_those_of_its_streams() {
        let (inbox, reader) = (inbox(), 5);
        let mut fanout = Fanout::new(Inboxes::new([Arc::clone(&inbox)]));
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        fanout.send(reader, text("snapshot"));
        fanout.subscribe(stream(1), Sequence::ZERO, TERMS, reader);
        fanout.publish(&publication(1, "a"));
        fanout.send(reader, text("fill"));
        fanout.write(reader, |bytes| bytes.extend_from_slice(b"answer"));
        fanout.publish(&publication(1, "b"));
        fanout.finish(reader, Ending::SLOW, None);
        fanout.flush();
        assert_eq!(
            taken(&inbox).items,
            [
                Item::Message { reader: 5, message: text("snapshot") },
                Item::Join { stream: stream(1), reader: 5, seq: 0, terms: TERMS },
                Item::Frames { stream: stream(1), bytes: 0..3, messages: 1, last: 1 },
                Item::Message { reader: 5, message: text("fill") },
                Item::Text { reader: 5, bytes: 3..9 },
                Item::Frames { stream: stream(1), bytes: 9..12, messages: 1, last: 1 },
                Item::Finish { reader: 5, ending: Ending::SLOW, notice: None },
            ]
        );
    }

    #[test]
    fn after_the_last_reader_of_a_shard_left_nothing_more_comes() {
        let inbox = inbox();
        let mut fanout = Fanout::new(Inboxes::new([Arc::clone(&inbox)]));
        let readers = [1, 2];
        readers.into_iter().for_each(|reader| fanout.subscribe(stream(0), Sequence::ZERO, TERMS, reader));
        fanout.subscribe(stream(1), Sequence::ZERO, TERMS, readers[1]);
        fanout.unsubscribe(stream(0), readers[0]);
        assert_eq!(fanout.subscribers(stream(0)), 1);
        fanout.forget(stream(0), readers[1]);
        fanout.forget(stream(1), readers[1]);
        fanout.publish(&publication(0, "a"));
        fanout.publish(&publication(1, "b"));
        fanout.flush();
        let taken = taken(&inbox);
        assert!(taken.bytes.is_empty());
        assert_eq!(taken.items.last(), Some(&Item::Leave { stream: stream(0), reader: 1 }));
        assert!(fanout.by_stream.iter().all(Vec::is_empty));
    }
}
