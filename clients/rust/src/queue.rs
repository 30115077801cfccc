//! The bounded queue of events between the connection's task and the user.
//!
//! When it is full the task stops reading the socket: TCP then slows the server down, which warns (`slow`) and in
//! the end conflates or closes (4001), as the subscription says. Nothing is dropped on the client's side.
//! While a request waits for its reply the queue may grow to its reserve, so that an unread event does not keep
//! the reply from coming. Limits: 4 MiB, with the reserve 16 MiB, by the bytes of the frames plus 256 an event.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::Event;

/// Bytes of events that may wait before the socket is left alone.
pub(crate) const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Bytes of events that may wait while a request waits for its reply.
pub(crate) const RESERVE_BYTES_MAX: usize = 16 << 20;

/// What an event costs besides the text it came in.
const EVENT_BYTES: usize = 256;

#[derive(Default)]
pub(crate) struct EventQueue {
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    /// Requests that wait for a reply.
    waiting: usize,
    /// No further event will come.
    is_ended: bool,
    /// Nobody will ask for events any more.
    is_abandoned: bool,
}

impl EventQueue {
    /// Adds an event that came in a frame of so many bytes. The caller waits for room before it reads the next.
    pub(crate) fn push(&self, event: Event, frame_bytes: usize) {
        let mut state = self.lock();
        if state.is_abandoned {
            return;
        }
        let bytes = frame_bytes + EVENT_BYTES;
        state.bytes += bytes;
        state.events.push_back((event, bytes));
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until the next frame may be read.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            if self.lock().has_room() {
                return;
            }
            drained.await;
        }
    }

    /// The next event; `None` when all were taken and no more will come. May be cancelled without loss.
    pub(crate) async fn next(&self) -> Option<Event> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                if let Some((event, bytes)) = state.events.pop_front() {
                    state.bytes -= bytes;
                    let has_room = state.has_room();
                    drop(state);
                    if has_room {
                        self.drained.notify_one();
                    }
                    return Some(event);
                }
                if state.is_ended {
                    // Whoever else waits must learn it too.
                    self.filled.notify_one();
                    return None;
                }
            }
            filled.await;
        }
    }

    /// One more request waits for its reply.
    pub(crate) fn request_begins(&self) {
        self.lock().waiting += 1;
        self.drained.notify_one();
    }

    /// One request less waits for its reply.
    pub(crate) fn request_ends(&self) {
        let mut state = self.lock();
        state.waiting = state.waiting.saturating_sub(1);
    }

    /// No event comes after those that are there.
    pub(crate) fn end(&self) {
        self.lock().is_ended = true;
        self.filled.notify_one();
    }

    /// Drops all events, those to come as well, so that the connection can be closed in order.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        state.events.clear();
        state.bytes = 0;
        drop(state);
        self.drained.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic; if it did, the numbers would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn has_room(&self) -> bool {
        let bytes_max = if self.waiting > 0 { RESERVE_BYTES_MAX } else { QUEUE_BYTES_MAX };
        self.is_abandoned || self.bytes < bytes_max
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(kind: usize) -> Event {
        Event::Unknown { kind: kind.to_string() }
    }

    async fn has_room(queue: &EventQueue) -> bool {
        tokio::time::timeout(Duration::ZERO, queue.room()).await.is_ok()
    }

    #[tokio::test]
    async fn events_come_out_in_order_and_then_the_end() {
        let queue = EventQueue::default();
        queue.push(event(1), 0);
        queue.push(event(2), 0);
        queue.end();
        for expected in ["1", "2"] {
            assert!(matches!(queue.next().await, Some(Event::Unknown { kind }) if kind == expected));
        }
        assert!(queue.next().await.is_none());
        assert!(queue.next().await.is_none());
    }

    #[tokio::test]
    async fn a_full_queue_stops_the_reader_until_an_event_is_taken() {
        let queue = EventQueue::default();
        assert!(has_room(&queue).await);
        queue.push(event(1), QUEUE_BYTES_MAX);
        assert!(!has_room(&queue).await);
        queue.next().await;
        assert!(has_room(&queue).await);
    }

    #[tokio::test]
    async fn a_waiting_request_opens_the_reserve_and_no_more() {
        let queue = EventQueue::default();
        queue.push(event(1), QUEUE_BYTES_MAX);
        queue.request_begins();
        assert!(has_room(&queue).await);
        queue.push(event(2), RESERVE_BYTES_MAX - QUEUE_BYTES_MAX);
        assert!(!has_room(&queue).await);
        queue.request_ends();
        assert!(!has_room(&queue).await);
    }

    #[tokio::test]
    async fn an_abandoned_queue_never_stops_the_reader() {
        let queue = EventQueue::default();
        queue.push(event(1), RESERVE_BYTES_MAX);
        queue.abandon();
        queue.push(event(2), RESERVE_BYTES_MAX);
        assert!(has_room(&queue).await);
    }
}
