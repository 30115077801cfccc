//! Who gets which stream: the table that the releasing thread walks for every publication.

use std::collections::HashMap;
use std::sync::Arc;

use super::queue::OutboundQueue;
use super::stream::{Publication, StreamId};

/// Subscriber queues by stream. A queue stands at most once in each list.
#[derive(Debug, Default)]
pub struct Fanout {
    by_stream: Vec<Vec<Arc<OutboundQueue>>>,
    /// The streams of every queue, by the queue's address: stable and unique while the table holds the queue.
    by_queue: HashMap<usize, Vec<StreamId>>,
}

impl Fanout {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `queue` get everything that is published to `stream` from now on. Subscribing again changes nothing.
    pub fn subscribe(&mut self, stream: StreamId, queue: &Arc<OutboundQueue>) {
        let streams = self.by_queue.entry(address(queue)).or_default();
        if streams.contains(&stream) {
            return;
        }
        streams.push(stream);
        if self.by_stream.len() <= stream.index() {
            self.by_stream.resize_with(stream.index() + 1, Vec::new);
        }
        self.by_stream[stream.index()].push(Arc::clone(queue));
    }

    /// Ends that. A queue that was not subscribed stays so.
    pub fn unsubscribe(&mut self, stream: StreamId, queue: &Arc<OutboundQueue>) {
        let address = address(queue);
        let Some(streams) = self.by_queue.get_mut(&address) else { return };
        let Some(place) = streams.iter().position(|subscribed| *subscribed == stream) else { return };
        streams.swap_remove(place);
        if streams.is_empty() {
            self.by_queue.remove(&address);
        }
        self.forget(stream, queue);
    }

    /// Ends all subscriptions of a queue, as when its session has ended. Returns the streams it was subscribed to.
    pub fn remove_all(&mut self, queue: &Arc<OutboundQueue>) -> Vec<StreamId> {
        let streams = self.by_queue.remove(&address(queue)).unwrap_or_default();
        for stream in &streams {
            self.forget(*stream, queue);
        }
        streams
    }

    /// Appends a publication to the queue of every subscriber. Queues that have ended, or end now because it does not fit,
    /// are passed over; their sessions remove them.
    pub fn publish(&self, publication: &Publication) {
        for queue in self.by_stream.get(publication.stream.index()).into_iter().flatten() {
            // The queue itself tells its reader.
            let _ended = queue.push(publication.message.clone());
        }
    }

    /// How many queues get this stream.
    #[must_use]
    pub fn subscribers(&self, stream: StreamId) -> usize {
        self.by_stream.get(stream.index()).map_or(0, Vec::len)
    }

    fn forget(&mut self, stream: StreamId, queue: &Arc<OutboundQueue>) {
        let Some(queues) = self.by_stream.get_mut(stream.index()) else { return };
        if let Some(place) = queues.iter().position(|subscribed| Arc::ptr_eq(subscribed, queue)) {
            queues.swap_remove(place);
        }
    }
}

fn address(queue: &Arc<OutboundQueue>) -> usize {
    Arc::as_ptr(queue).addr()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::feed::Ending;
    use crate::types::{Channel, Depth, InstrumentId};

    fn stream(instrument: u32) -> StreamId {
        StreamId::new(InstrumentId(instrument), Channel::Trades, Depth::Ten).unwrap()
    }

    fn publication(instrument: u32, message: &'static str) -> Publication {
        Publication { stream: stream(instrument), message: Bytes::from_static(message.as_bytes()) }
    }

    fn queue() -> Arc<OutboundQueue> {
        Arc::new(OutboundQueue::new(200))
    }

    fn drained(queue: &OutboundQueue) -> Vec<Bytes> {
        let mut messages = Vec::new();
        queue.drain(&mut messages);
        messages
    }

    #[test]
    fn subscribers_get_their_streams_once_and_nobody_elses() {
        let mut fanout = Fanout::new();
        let (one, both) = (queue(), queue());
        fanout.subscribe(stream(1), &one);
        fanout.subscribe(stream(1), &one);
        fanout.subscribe(stream(1), &both);
        fanout.subscribe(stream(7), &both);
        fanout.publish(&publication(1, "a"));
        fanout.publish(&publication(7, "b"));
        fanout.publish(&publication(9, "c"));
        assert_eq!(drained(&one), ["a"]);
        assert_eq!(drained(&both), ["a", "b"]);
    }

    #[test]
    fn every_subscriber_gets_the_same_bytes_without_a_copy() {
        let mut fanout = Fanout::new();
        let queues = [queue(), queue()];
        queues.iter().for_each(|queue| fanout.subscribe(stream(0), queue));
        fanout.publish(&publication(0, "shared"));
        let places = queues.map(|queue| drained(&queue)[0].as_ptr());
        assert_eq!(places[0], places[1]);
    }

    #[test]
    fn after_unsubscribing_nothing_more_comes() {
        let mut fanout = Fanout::new();
        let queue = queue();
        fanout.subscribe(stream(0), &queue);
        fanout.subscribe(stream(1), &queue);
        fanout.unsubscribe(stream(0), &queue);
        fanout.unsubscribe(stream(0), &queue);
        fanout.publish(&publication(0, "a"));
        fanout.publish(&publication(1, "b"));
        assert_eq!(drained(&queue), ["b"]);
        assert_eq!(fanout.remove_all(&queue), [stream(1)]);
        fanout.publish(&publication(1, "b"));
        assert_eq!(drained(&queue), [] as [Bytes; 0]);
        assert_eq!(Arc::strong_count(&queue), 1, "nothing of it is kept");
    }

    #[test]
    fn a_slow_subscriber_is_ended_and_others_are_not() {
        let mut fanout = Fanout::new();
        let (slow, brisk) = (queue(), queue());
        fanout.subscribe(stream(0), &slow);
        fanout.subscribe(stream(0), &brisk);
        for _ in 0..100 {
            fanout.publish(&publication(0, "tick"));
            assert_eq!(drained(&brisk), ["tick"]);
        }
        assert_eq!((slow.ending(), brisk.ending()), (Some(Ending::SLOW), None));
        assert_eq!(slow.waiting_bytes(), 0);
    }
}
