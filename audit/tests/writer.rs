//! The writer as its users see it: numbers, durability, receipts, rotation, stop, order of entries.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::verify::{Anchors, Verdict, VerifyError, verify};
use sealfeed_audit::{
    AppendError, InitError, Log, OpenError, Options, OrderLink, PAYLOAD_BYTES_MAX, TryAppendError, init,
    kind, reader,
};
use support::{
    append_durably, draft, init_log, init_options, key_and_k0, key_of, linked, options, verify_with,
};

#[test]
fn entries_are_numbered_in_order_and_become_durable_with_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let callback = Arc::clone(&seen);
    log.on_durable(Box::new(move |durable| callback.store(durable, Ordering::Release)));
    let first = log.append(draft(b"a")).unwrap();
    let second = log.append(draft(b"b")).unwrap();
    assert_eq!(second, first + 1);
    let receipt = log.wait_durable(second).unwrap();
    assert_eq!((receipt.seq, receipt.log_id), (second, initialised.log_id));
    assert_eq!(log.receipt(second), Some(receipt));
    assert!(log.durable() > second);
    assert!(matches!(log.wait_durable(second + 1_000), Err(AppendError::NoSuchEntry(_))));
    log.stop().unwrap();
    assert!(seen.load(Ordering::Acquire) > second);
    assert!(matches!(log.append(draft(b"c")), Err(AppendError::Stopped)));

    let anchors = Anchors { receipts: vec![receipt], ..key_and_k0(&initialised) };
    let report = verify_with(folder.path(), &anchors);
    assert_eq!((report.verdict, report.first_bad), (Verdict::Verified, None));
    assert_eq!((report.entries, report.anchored_entries, report.stopped), (second + 2, second + 2, true));
    let unanchored = verify_with(folder.path(), &Anchors::default());
    assert_eq!(unanchored.verdict, Verdict::Unanchored);
}

#[test]
fn what_is_appended_in_one_turn_stands_in_one_group_which_waits_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    // Nothing but the end of a turn closes a group this side of an hour.
    let hour = Options { group_window_ns: 3_600_000_000_000, ..options() };
    let log = Log::open(folder.path(), hour).unwrap();
    let mut turns = Vec::new();
    for round in 1..20_u64 {
        let turn = log.turn();
        let mut seqs = Vec::new();
        for _ in 0..round % 5 + 1 {
            seqs.push(log.append(draft(b"of one turn")).unwrap());
            // Time for a writer that would not wait.
            std::thread::yield_now();
        }
        drop(turn);
        log.wait_durable(*seqs.last().unwrap()).unwrap();
        turns.push(seqs);
    }
    // A turn in which nothing came promises nothing.
    drop(log.turn());
    log.stop().unwrap();
    let entries: Vec<_> = reader::entries(folder.path()).unwrap().map(Result::unwrap).collect();
    for seqs in turns {
        let groups: Vec<_> =
            seqs.iter().map(|seq| entries[usize::try_from(*seq).unwrap()].header.group).collect();
        assert!(groups.iter().all(|group| *group == groups[0]), "{groups:?}");
    }
}

#[test]
fn who_waits_within_a_turn_waits_no_longer_than_the_window() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let (_one, _other) = (log.turn(), log.turn());
    let seq = log.append(draft(b"in two turns")).unwrap();
    assert_eq!(log.wait_durable(seq).unwrap().seq, seq);
    log.stop().unwrap();
}

#[test]
fn who_asks_or_waits_while_turns_of_others_go_on_waits_no_longer_than_the_window() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    for round in 0..200_u32 {
        let _turn = log.turn();
        let seq = log.append(draft(b"of somebody else")).unwrap();
        if round % 2 == 0 {
            while !log.is_durable(seq) {
                std::thread::yield_now();
            }
        } else {
            std::thread::scope(|scope| {
                scope.spawn(|| log.wait_durable(seq).unwrap());
            });
        }
        assert!(log.durable() > seq);
    }
    log.stop().unwrap();
}

#[test]
fn a_turn_that_appends_for_longer_than_the_window_is_written_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let _turn = log.turn();
    let first = log.append(draft(b"first")).unwrap();
    // Nobody waits by a call that the log could see.
    while log.durable() <= first {
        log.append(draft(b"more")).unwrap();
        std::thread::yield_now();
    }
    log.stop().unwrap();
}

#[test]
fn a_turn_of_more_entries_than_the_queue_holds_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let small = Options { queue_entries_max: 4, group_entries_max: 4, ..options() };
    let log = Log::open(folder.path(), small).unwrap();
    for _ in 0..50 {
        let turn = log.turn();
        let last = (0..30_u8).fold(0, |_, number| log.append(draft(&[number])).unwrap());
        drop(turn);
        assert_eq!(log.wait_durable(last).unwrap().seq, last);
    }
    log.stop().unwrap();
}

#[test]
fn small_and_large_groups_by_turns_stand_in_the_log_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let mut appended = Vec::new();
    for round in 0..300_u32 {
        let turn = log.turn();
        // The writer writes the small ones by itself and hands the others over.
        let count = [1, 40, 3, 200, 2][round as usize % 5];
        for number in 0..count {
            let payload = [round.to_le_bytes(), u32::to_le_bytes(number)].concat();
            appended.push((log.append(draft(&payload)).unwrap(), payload));
        }
        drop(turn);
        if round % 3 == 0 {
            log.wait_durable(appended.last().unwrap().0).unwrap();
        }
    }
    log.stop().unwrap();
    let entries: Vec<_> = reader::entries(folder.path()).unwrap().map(Result::unwrap).collect();
    for (seq, payload) in appended {
        assert_eq!(entries[usize::try_from(seq).unwrap()].payload, payload);
    }
    let report = verify_with(folder.path(), &key_and_k0(&initialised));
    assert_eq!((report.verdict, report.first_bad), (Verdict::Verified, None));
}

#[test]
fn many_submitters_share_groups_segments_rotate_and_the_reader_returns_every_entry() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let appended: Vec<(u64, u8)> = std::thread::scope(|scope| {
        let submit = |submitter: u8| {
            let log = log.clone();
            scope.spawn(move || {
                let mut seqs = Vec::new();
                for _ in 0..200 {
                    seqs.push((append_durably(&log, draft(&[submitter; 700])).seq, submitter));
                }
                seqs
            })
        };
        let threads: Vec<_> = (0..8).map(submit).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let stats = log.stats();
    assert!(stats.groups < 1_600, "groups are shared: {stats:?}");
    log.stop().unwrap();
    let reopened = Log::open(folder.path(), options()).unwrap();
    reopened.stop().unwrap();

    let entries: Vec<_> = reader::entries(folder.path()).unwrap().map(Result::unwrap).collect();
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.header.seq, index as u64);
    }
    for (seq, submitter) in appended {
        assert_eq!(entries[usize::try_from(seq).unwrap()].payload, [submitter; 700]);
    }
    let later: Vec<_> = reader::entries_from(folder.path(), 1_000).unwrap().map(Result::unwrap).collect();
    assert_eq!(later[..], entries[1_000..]);
    let report = verify_with(folder.path(), &key_and_k0(&initialised));
    assert_eq!((report.verdict, report.first_bad), (Verdict::Verified, None));
    assert!(report.segments >= 4, "{} segments", report.segments);
    assert_eq!((report.entries, report.runs), (entries.len() as u64, 2));
}

#[test]
fn a_full_queue_gives_the_draft_back_and_a_waiting_append_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let small = Options { queue_entries_max: 4, group_entries_max: 4, ..options() };
    let log = Log::open(folder.path(), small).unwrap();
    let mut full = 0;
    for index in 0..20_000u32 {
        match log.try_append(draft(&index.to_le_bytes())) {
            Ok(_) => {}
            Err(TryAppendError::Full(returned)) => {
                assert_eq!(returned.payload, index.to_le_bytes());
                full += 1;
                log.append(*returned).unwrap();
            }
            Err(TryAppendError::Refused(error)) => panic!("{error}"),
        }
    }
    assert!(full > 0);
    log.stop().unwrap();
    let payloads =
        reader::entries(folder.path()).unwrap().map(Result::unwrap).filter(|entry| entry.header.kind == 300);
    assert!(payloads.map(|entry| entry.payload).eq((0..20_000u32).map(|index| index.to_le_bytes().to_vec())));
}

#[test]
fn drafts_that_no_log_may_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let long = draft(&vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert!(matches!(log.append(long), Err(AppendError::TooLong { .. })));
    let mut own = draft(b"");
    own.kind = kind::GENESIS;
    assert!(matches!(log.append(own), Err(AppendError::Kind(kind::GENESIS))));
    for previous in [0, 1 << 40] {
        let link = Some(OrderLink { id: 1, previous: Some(previous), event: 2 });
        let refused = log.append(sealfeed_audit::Draft { order: link, ..draft(b"") });
        assert!(matches!(refused, Err(AppendError::Link(_))), "{refused:?}");
    }
    let largest = linked(1, 2, None, &vec![7; PAYLOAD_BYTES_MAX]);
    let receipts: Vec<_> = (0..5).map(|_| append_durably(&log, largest.clone())).collect();
    log.stop().unwrap();
    let read = reader::entries_from(folder.path(), receipts[4].seq).unwrap().next().unwrap().unwrap();
    assert_eq!((read.payload, read.hash), (largest.payload, receipts[4].hash));
    assert_eq!((read.header.session, read.header.order), (largest.session, largest.order));
}

#[test]
fn epochs_turn_heartbeats_fill_silence_and_every_group_keeps_its_seal() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let quick = Options { epoch_interval_ns: 4_000_000, heartbeat_interval_ns: 1_000_000, ..options() };
    for _ in 0..2 {
        let log = Log::open(folder.path(), quick.clone()).unwrap();
        let until = log.stats().epoch + 4;
        while log.stats().epoch < until {
            append_durably(&log, draft(b"x"));
            std::thread::yield_now();
        }
        let quiet_since = log.durable();
        while log.durable() < quiet_since + 8 {
            std::thread::yield_now();
        }
        log.stop().unwrap();
    }
    let kinds: Vec<_> =
        reader::entries(folder.path()).unwrap().map(|entry| entry.unwrap().header.kind).collect();
    for wanted in [kind::GENESIS, kind::START, kind::STOP, kind::HEARTBEAT, kind::EPOCH_END] {
        assert!(kinds.contains(&wanted), "{}", kind::name(wanted).unwrap());
    }
    let report = verify_with(folder.path(), &key_and_k0(&initialised));
    assert_eq!((report.verdict, report.first_bad), (Verdict::Verified, None));
    assert!(report.epochs >= 9);
}

#[test]
fn rotation_on_request_begins_a_segment_and_a_live_log_verifies_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    for round in 0..20u8 {
        append_durably(&log, draft(&[round; 100]));
        if round % 3 == 0 {
            log.rotate();
        }
        let report = verify_with(folder.path(), &key_and_k0(&initialised));
        assert_eq!((report.verdict, report.first_bad, report.live), (Verdict::Verified, None, true));
    }
    log.stop().unwrap();
    let report = verify_with(folder.path(), &key_of(&initialised));
    assert_eq!((report.verdict, report.segments), (Verdict::Verified, 8));
    assert_eq!(report.strays, Vec::<String>::new());
}

#[test]
fn two_writers_on_one_log_two_geneses_and_a_wrong_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Log::open(folder.path(), options()), Err(OpenError::NoLog)));
    assert!(matches!(verify(folder.path(), &Anchors::default(), &mut |_| {}), Err(VerifyError::NoLog)));
    init_log(folder.path());
    assert!(matches!(init(folder.path(), &init_options()), Err(InitError::Exists)));
    let log = Log::open(folder.path(), options()).unwrap();
    assert!(matches!(Log::open(folder.path(), options()), Err(OpenError::Locked)));
    log.stop().unwrap();
    let other = Options { origin: "other.example".to_owned(), ..options() };
    assert!(matches!(Log::open(folder.path(), other), Err(OpenError::WrongLog { .. })));
    Log::open(folder.path(), options()).unwrap().stop().unwrap();
}

#[test]
fn the_last_handle_that_goes_stops_the_log_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    log.append(draft(b"not waited for")).unwrap();
    drop(log);
    let report = verify_with(folder.path(), &key_of(&initialised));
    assert_eq!((report.verdict, report.entries, report.stopped), (Verdict::Verified, 4, true));
}
