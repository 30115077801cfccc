//! The pace of a replay, its stalls and its repetitions, with time that passes at once.

use std::io::Write;

use crate::config::{MessagesSourceConfig, Playback, Speed};
use crate::shutdown::{Shutdown, StopReason};
use crate::types::{Code, Instruments, MarketEventKind};

use super::batch::{SourceBatch, SourceStatus};
use super::error::SourceError;
use super::messages::{self, Exchange};
use super::replay::Replay;
use super::test_port::{JumpingTimer, drain, port};

const MILLISECOND: u64 = 1_000_000;

/// Best prices at these times, in milliseconds.
fn tops(times_ms: &[u64]) -> String {
    let line = |time: &u64| {
        format!(
            "{} {{\"stream\":\"ab@bookTicker\",\"data\":{{\"u\":{time},\"s\":\"AB\",\"b\":\"1\",\"B\":\"{time}\",\"a\":\"2\",\"A\":\"1\"}}}}\n",
            time * MILLISECOND
        )
    };
    times_ms.iter().map(line).collect()
}

/// What a replay of them sends, in words, and the moments it waits for, in milliseconds.
fn check(times_ms: &[u64], playback: Playback) -> (Vec<String>, Vec<u64>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(tops(times_ms).as_bytes()).unwrap();
    let config = MessagesSourceConfig::new(file.path().to_owned());
    let mut records = messages::open(Exchange::Binance, &config, &mut Instruments::new()).unwrap();
    let timer = JumpingTimer::default();
    let moments = timer.moments.clone();
    let (mut port, receiver) = port(timer, Shutdown::new(), 1_000);
    let outcome = Replay::new(&"file".into(), playback, &mut port).run(&mut *records);
    assert!(outcome.is_ok(), "{outcome:?}");
    let words = drain(receiver).into_iter().map(|batch| match batch {
        SourceBatch::Market(events) => format!("{} events", events.len()),
        SourceBatch::Status(SourceStatus::Stalled { silent_ms, .. }) => format!("stalled {silent_ms}"),
        SourceBatch::Status(SourceStatus::Resumed { .. }) => "resumed".to_owned(),
        other => panic!("{other:?}"),
    });
    let moments = moments.lock().unwrap().iter().map(|moment| moment / MILLISECOND).collect();
    (words.collect(), moments)
}

#[test]
fn silence_beyond_the_limit_is_told_and_told_to_be_over() {
    let playback = Playback { stall_ms: 100, ..Playback::default() };
    let (words, moments) = check(&[1_000, 1_100, 1_500, 1_501], playback);
    assert_eq!(words, ["1 events", "1 events", "stalled 100", "resumed", "1 events", "1 events"]);
    assert_eq!(moments, [100, 200, 500, 501]);
}

#[test]
fn a_source_that_cannot_be_read_has_its_code() {
    let failed = std::io::Error::other("the disk is gone");
    let unreadable = SourceError::Read { record: 7, source: failed };
    assert_eq!(unreadable.code(), Code::PubSourceUnreadable);
    assert_eq!(SourceError::Empty.code(), Code::PubSourceUnreadable);
    assert_eq!(SourceError::HeaderTruncated.code(), Code::PubSourceTruncated);
}

#[test]
fn silence_is_that_of_the_replay_and_not_of_the_recording() {
    let playback = Playback { stall_ms: 100, speed: Speed::Times(10), ..Playback::default() };
    assert_eq!(check(&[1_000, 2_000, 4_000], playback).1, [100, 200, 300]);
    let never = Playback { stall_ms: 0, ..Playback::default() };
    assert_eq!(check(&[1_000, 9_000], never).0, ["1 events", "1 events"]);
    let at_once = Playback { stall_ms: 1, speed: Speed::Max, ..Playback::default() };
    assert_eq!(check(&[1_000, 9_000], at_once), (vec!["2 events".to_owned()], vec![]));
}

#[test]
fn best_prices_without_a_book_are_published_as_such_and_cleared_in_front_of_a_repetition() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(tops(&[1, 2]).as_bytes()).unwrap();
    let config = MessagesSourceConfig::new(file.path().to_owned());
    let mut records = messages::open(Exchange::Binance, &config, &mut Instruments::new()).unwrap();
    let stop = Shutdown::new();
    let (mut port, mut receiver) = port(JumpingTimer::default(), stop.clone(), 4);
    let playback = Playback { speed: Speed::Max, repeat: true, ..Playback::default() };
    let thread = std::thread::spawn(move || {
        // It ends when it is stopped.
        let _ = Replay::new(&"file".into(), playback, &mut port).run(&mut *records);
    });
    let mut runs = Vec::new();
    while runs.len() < 2 {
        match receiver.blocking_recv().unwrap() {
            SourceBatch::Market(events) => runs.push(events),
            SourceBatch::Status(SourceStatus::Restarted { counts, .. }) => assert_eq!(counts.records(), 2),
            other => panic!("{other:?}"),
        }
    }
    stop.stop(StopReason::Requested("test"));
    drop(receiver);
    thread.join().unwrap();
    assert!(runs[0].iter().all(|event| matches!(event.kind, MarketEventKind::Top { .. })));
    assert_eq!(runs[1][0].kind, MarketEventKind::Clear);
    assert_eq!(runs[1][1..], runs[0][..]);
}
