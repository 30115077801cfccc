//! Cursors over logs, and what is counted of them.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::feed::{FrameKind, push_frame};

const CONFLATE: Terms = Terms { subscription: 7, on_slow: OnSlow::Conflate };
const DISCONNECT: Terms = Terms { subscription: 8, on_slow: OnSlow::Disconnect };

fn frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    push_frame(&mut frame, FrameKind::Text, text.as_bytes());
    frame
}

fn streams() -> Streams {
    Streams::new(100_000)
}

fn stream(number: u32) -> StreamId {
    StreamId::from_index(number)
}

/// Appends one message, whose number is one above the last one's.
fn append(streams: &mut Streams, number: u32, text: &str) {
    let last = streams.stream(stream(number)).log.end().seq + 1;
    streams.append(stream(number), Run { frames: &frame(text), messages: 1, last });
}

/// Whom an announcement makes ready, by connection, and who was so before.
fn announced(streams: &mut Streams) -> (Vec<(usize, Key)>, Vec<usize>) {
    let (mut ready, mut behind) = (Vec::new(), Vec::new());
    streams.announce(|connection, key, _| match key {
        Some(key) => ready.push((connection, key)),
        None => behind.push(connection),
    });
    (ready, behind)
}

fn read(streams: &mut Streams, key: Key) -> Option<(Vec<u8>, u64, bool)> {
    match streams.next(key) {
        Piece::Frames { frames, messages, rest } => Some((frames.to_vec(), messages, rest)),
        Piece::Lost => None,
    }
}

#[test]
fn a_subscription_reads_what_comes_after_it_joined_and_is_announced_once() {
    let mut streams = streams();
    let first = streams.join(stream(1), 10, 0, CONFLATE);
    append(&mut streams, 1, "a");
    let second = streams.join(stream(1), 20, 1, CONFLATE);
    append(&mut streams, 1, "b");
    assert_eq!(announced(&mut streams), (vec![(10, first), (20, second)], vec![]));
    assert_eq!(read(&mut streams, second), Some((frame("b"), 1, false)));
    append(&mut streams, 1, "c");
    assert_eq!(announced(&mut streams), (vec![(20, second)], vec![10]));
    assert_eq!(read(&mut streams, first), Some(([frame("a"), frame("b"), frame("c")].concat(), 3, false)));
    assert_eq!(streams.lag(second), frame("c").len());
    let range = |first, last| Some(Delivered { stream: stream(1), first, last });
    assert_eq!([streams.delivered(first), streams.delivered(first)], [range(1, 3), None]);
    read(&mut streams, second);
    assert_eq!(streams.delivered(second), range(2, 3), "it joined behind the first");
}

#[test]
fn who_left_is_not_announced_and_an_unread_stream_is_forgotten() {
    let mut streams = streams();
    let keys = [1, 2, 3].map(|connection| streams.join(stream(7), connection, 0, CONFLATE));
    append(&mut streams, 7, "a");
    assert_eq!(announced(&mut streams).0.len(), 3);
    streams.leave(keys[0]);
    streams.freeze(keys[1]);
    append(&mut streams, 7, "b");
    assert_eq!(announced(&mut streams), (vec![], vec![3]));
    assert_eq!(read(&mut streams, keys[1]), Some((frame("a"), 1, false)), "it still gets what stood there");
    streams.leave(keys[1]);
    streams.leave(keys[2]);
    assert!(streams.by_id.iter().all(Option::is_none) && streams.subscriptions.is_empty());
}

#[test]
fn a_subscription_that_lags_behind_the_log_is_told() {
    let mut streams = streams();
    let key = streams.join(stream(1), 1, 0, CONFLATE);
    for _ in 0..10 {
        append(&mut streams, 1, &"x".repeat(30_000));
    }
    announced(&mut streams);
    assert_eq!(read(&mut streams, key), None);
}

#[test]
fn a_log_holds_no_more_than_twice_what_its_slowest_reader_needs() {
    let mut streams = Streams::new(10_000_000);
    let keys = [1, 2].map(|connection| streams.join(stream(1), connection, 0, CONFLATE));
    let mut most = 0;
    for round in 0..100 {
        for _ in 0..10 {
            append(&mut streams, 1, &"x".repeat(10_000));
        }
        announced(&mut streams);
        // One reads everything, the other is always a little behind.
        while read(&mut streams, keys[0]).is_some_and(|(_, _, rest)| rest) {}
        while streams.lag(keys[1]) > 50_000 {
            assert!(read(&mut streams, keys[1]).is_some(), "what it needs is there in round {round}");
        }
        most = most.max(streams.bytes());
    }
    assert!(most <= 2 * 150_000 + UNASKED_BYTES, "{most} bytes were kept of 10 MB");
    streams.trim();
    assert!(streams.bytes() <= 50_000 + CHUNK_BYTES);
    streams.leave(keys[0]);
    streams.leave(keys[1]);
    assert_eq!(streams.bytes(), 0);
}

proptest! {
    #[test]
    fn what_logs_hold_and_what_readers_lag_is_counted_whatever_happens(
        steps in prop::collection::vec((0_u8..9, 0_u32..3, 0_usize..6), 1..200),
    ) {
        let mut streams = Streams::new(200_000);
        // Each of a connection of its own, with what that was told.
        let (mut keys, mut behind, mut joined) = (Vec::<(Key, usize)>::new(), HashMap::new(), 0);
        for (what, number, which) in steps {
            let reader = keys.get(which).copied();
            match (what, reader) {
                (0, _) => {
                    keys.push((streams.join(stream(number), joined, 0, CONFLATE), joined));
                    behind.insert(joined, 0);
                    joined += 1;
                }
                (1, Some((key, _))) => {
                    streams.leave(key);
                    keys.swap_remove(which);
                }
                (2, Some((key, connection))) => {
                    if streams.suspend(key).is_some() {
                        behind.insert(connection, 0);
                    }
                }
                // Who ends does not go on.
                (3, Some((key, _))) if streams.subscriptions[key].until.is_none() => {
                    streams.resume(key, 0);
                }
                (4, Some((key, connection))) => {
                    if streams.subscriptions[key].is_ready
                        && let Some((frames, ..)) = read(&mut streams, key)
                    {
                        *behind.entry(connection).or_default() -= frames.len();
                    }
                }
                (5, Some((key, connection))) => {
                    streams.freeze(key);
                    behind.insert(connection, streams.lag(key));
                }
                // What comes is announced before anybody reads.
                _ => {
                    (0..10).for_each(|_| append(&mut streams, number, &"x".repeat(900)));
                    streams.announce(|connection, _, bytes| *behind.entry(connection).or_default() += bytes);
                    for (key, connection) in &keys {
                        let subscription = &streams.subscriptions[*key];
                        if subscription.is_ready && subscription.until.is_none() {
                            prop_assert_eq!(behind[connection], streams.lag(*key));
                        }
                    }
                }
            }
            let held: usize = streams.by_id.iter().flatten().map(|stream| stream.log.bytes()).sum();
            prop_assert_eq!(streams.bytes(), held);
        }
    }
}

#[test]
fn a_subscription_that_was_left_behind_gets_nothing_until_it_goes_on_from_there() {
    let mut streams = streams();
    let (slow, strict) = (streams.join(stream(1), 1, 0, CONFLATE), streams.join(stream(1), 2, 0, DISCONNECT));
    append(&mut streams, 1, "a");
    announced(&mut streams);
    read(&mut streams, slow);
    append(&mut streams, 1, "b");
    announced(&mut streams);
    let suspended = Suspended { stream: stream(1), subscription: 7, left: 1 };
    assert_eq!(streams.suspend(slow), Some(suspended));
    assert_eq!((streams.suspend(slow), streams.suspend(strict)), (None, None));
    append(&mut streams, 1, "c");
    assert_eq!(announced(&mut streams), (vec![], vec![2]));
    assert!(streams.resume(slow, 3) && !streams.resume(slow, 3));
    append(&mut streams, 1, "d");
    assert_eq!(announced(&mut streams), (vec![(1, slow)], vec![2]));
    assert_eq!(streams.delivered(slow), None, "what was left out has not left");
    assert_eq!(read(&mut streams, strict).unwrap().1, 4);
    assert!(streams.resume(strict, 9).then_some(()).is_none());
    streams.leave(slow);
    streams.leave(strict);
    assert!(streams.by_id.iter().all(Option::is_none) && streams.subscriptions.is_empty());
}
