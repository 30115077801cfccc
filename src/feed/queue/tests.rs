//! The outbound queue by sentence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;

fn message(bytes: usize) -> Bytes {
    vec![b'x'; bytes].into()
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn messages_come_out_in_the_order_in_which_they_went_in() {
    let queue = OutboundQueue::new(1000);
    let mut drained = Vec::new();
    for round in 1..4 {
        queue.push(message(round)).unwrap();
        queue.push(message(round + 1)).unwrap();
        drained.clear();
        assert_eq!(queue.drain(&mut drained), None);
        assert_eq!(drained, [message(round), message(round + 1)]);
        assert_eq!(queue.waiting_bytes(), 0);
    }
}

#[test]
fn a_queue_holds_exactly_its_bytes() {
    let queue = OutboundQueue::new(2 * (10 + MESSAGE_OVERHEAD_BYTES));
    queue.push(message(10)).unwrap();
    queue.push(message(10)).unwrap();
    assert_eq!(queue.waiting_bytes(), queue.bytes_max());
    assert_eq!(queue.push(message(0)), Err(Overflow), "an empty message takes a place too");
}

#[test]
fn a_queue_that_overflowed_is_empty_and_slow_for_good() {
    let queue = OutboundQueue::new(100);
    queue.push(message(10)).unwrap();
    assert_eq!(queue.push(message(60)), Err(Overflow));
    assert_eq!(queue.push(message(1)), Err(Overflow));
    queue.close_with(Ending { close: CloseCode::Normal, reason: Some(Code::SesDraining) });
    let mut drained = Vec::new();
    assert_eq!(queue.drain(&mut drained), Some(Ending::SLOW));
    assert_eq!(drained, [] as [Bytes; 0]);
}

#[test]
fn the_first_ending_stands_and_what_was_queued_before_it_is_still_delivered() {
    let queue = OutboundQueue::new(1000);
    let revoked = Ending { close: CloseCode::CertificateRevoked, reason: Some(Code::SesCertificateRevoked) };
    queue.push(message(1)).unwrap();
    queue.close_with(revoked);
    queue.close_with(Ending { close: CloseCode::Drain, reason: Some(Code::SesDraining) });
    assert_eq!(queue.push(message(2)), Err(Overflow));
    let mut drained = Vec::new();
    assert_eq!(queue.drain(&mut drained), Some(revoked));
    assert_eq!(drained, [message(1)]);
}

#[test]
fn the_reader_is_woken_once_a_batch() {
    let queue = OutboundQueue::new(1000);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let mut ready = Box::pin(queue.ready());
    assert_eq!(ready.as_mut().poll(&mut context), Poll::Pending);
    for _ in 0..3 {
        queue.push(message(1)).unwrap();
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(ready.as_mut().poll(&mut context), Poll::Ready(()));
}

#[test]
fn a_reader_who_comes_late_does_not_wait() {
    for act in [
        (|queue| assert_eq!(queue.push(message(1)), Ok(()))) as fn(&OutboundQueue),
        |queue| assert_eq!(queue.push(message(1000)), Err(Overflow)),
        |queue| queue.close_with(Ending::SLOW),
    ] {
        let queue = OutboundQueue::new(100);
        act(&queue);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Box::pin(queue.ready()).as_mut().poll(&mut context), Poll::Ready(()));
    }
}

#[test]
fn a_wake_up_left_over_from_a_drained_batch_does_not_end_the_wait() {
    let queue = OutboundQueue::new(1000);
    queue.push(message(1)).unwrap();
    queue.drain(&mut Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    let mut ready = Box::pin(queue.ready());
    assert_eq!(ready.as_mut().poll(&mut context), Poll::Pending);
    queue.push(message(1)).unwrap();
    assert_eq!(ready.as_mut().poll(&mut context), Poll::Ready(()));
}
