//! Power cuts and disk errors at every operation, on a disk that loses any part of what was not synced.
//!
//! What must hold whatever happens: no entry that was acknowledged is lost, the log opens again, and no verdict is a false alarm.
//! A run prints its first seed, and a failure the command that repeats it. `SEALFEED_CRASH_CYCLES` sets how many power cuts there are.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sealfeed_audit::storage::Storage;
use sealfeed_audit::verify::{Anchors, Report, Verdict, verify_storage};
use sealfeed_audit::{
    AppendError, InitOptions, Initialised, Log, OpenError, Options, Receipt, init_storage, reader,
};
use support::clock::RestlessClock;
use support::disk::{Fault, FaultyDisk, Random};
use support::gate::Kept;
use support::{draft, init_options, options};

/// Power cuts in one run; `SEALFEED_CRASH_CYCLES` sets another number.
const CYCLES: u64 = 360;
const CUTS_PER_LIFE: u32 = 6;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A number from the environment, for longer runs and for repeated ones.
fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn crash_options() -> Options {
    Options {
        group_window_ns: 0,
        checkpoint_interval_ns: 2_000_000,
        epoch_interval_ns: 5_000_000,
        heartbeat_interval_ns: 20_000_000,
        clock: Arc::new(RestlessClock::default()),
        ..options()
    }
}

fn new_disk() -> (FaultyDisk, Initialised) {
    let disk = FaultyDisk::default();
    let initial = InitOptions { clock: Arc::new(RestlessClock::default()), ..init_options() };
    let initialised = init_storage(&disk, &initial).unwrap();
    (disk, initialised)
}

fn open(disk: &FaultyDisk) -> Result<Log, OpenError> {
    Log::open_storage(Arc::new(disk.clone()) as Arc<dyn Storage>, crash_options())
}

fn verify_disk(disk: &FaultyDisk, initialised: &Initialised, receipts: &[Receipt]) -> Report {
    let anchors = Anchors {
        key: Some(initialised.public_key.clone()),
        k0: Some(initialised.k0),
        receipts: receipts.to_vec(),
        ..Anchors::default()
    };
    verify_storage(disk, &anchors, &mut |_| {}).unwrap()
}

/// Appends until the disk fails or `entries` are written; keeps what was acknowledged.
fn work(log: &Log, entries: u64, random: &mut Random, acked: &mut Vec<Receipt>) {
    for _ in 0..entries {
        let length = if random.chance(20) { 20_000 } else { random.below(400) };
        let payload = vec![u8::try_from(random.below(256)).unwrap(); usize::try_from(length).unwrap()];
        let Ok(seq) = log.append(draft(&payload)) else { return };
        if random.chance(3) {
            match log.wait_durable(seq) {
                Ok(receipt) => acked.push(receipt),
                Err(_) => return,
            }
        }
        if random.chance(15) {
            log.rotate();
        }
    }
}

/// How a run of a seed is repeated.
fn again(seed: u64) -> String {
    format!(
        "again with: SEALFEED_CRASH_SEED={seed} SEALFEED_CRASH_CYCLES=1 cargo test -p sealfeed-audit --test crash"
    )
}

/// One life of a log: power cuts one after the other, then an orderly end. How many there were.
fn live_through_crashes(seed: u64) -> u64 {
    let again = again(seed);
    let mut random = Random(seed);
    let (mut disk, initialised) = new_disk();
    let (mut acked, mut cuts) = (Vec::new(), 0);
    for round in 0..CUTS_PER_LIFE {
        // Early cuts hit recovery itself, late ones the work.
        let after = 1 + if random.chance(2) { random.below(12) } else { random.below(150) };
        disk.arm(after, Fault::Crash);
        match open(&disk) {
            Ok(log) => {
                work(&log, 60, &mut random, &mut acked);
                // A stop that is cut short leaves the log as any other moment does.
                let _ = log.stop();
            }
            Err(error) => {
                assert!(disk.crashed(), "round {round}: refused to open: {error:?}; {again}");
            }
        }
        cuts += u64::from(disk.crashed());
        disk.cut_power();
        disk = disk.after_power_cut(&mut random);
        let report = verify_disk(&disk, &initialised, &acked);
        let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered | Verdict::Unclean);
        assert!(expected, "round {round}: {:#?}; {again}", report.findings);
    }
    let log = open(&disk).unwrap_or_else(|error| panic!("{error:?}; {again}"));
    work(&log, 10, &mut random, &mut acked);
    log.stop().unwrap();
    let report = verify_disk(&disk, &initialised, &acked);
    let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered);
    assert!(expected, "{:#?}; {again}", report.findings);
    assert_eq!(report.anchored_entries, report.entries, "{again}");
    cuts
}

#[test]
fn crash_at_every_system_call_loses_no_acknowledged_entry_and_raises_no_false_alarm() {
    let cycles = number("SEALFEED_CRASH_CYCLES").unwrap_or(CYCLES);
    let first = number("SEALFEED_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20);
    println!("SEALFEED_CRASH_SEED={first} SEALFEED_CRASH_CYCLES={cycles}");
    let (cuts, next) = (AtomicU64::new(0), AtomicU64::new(first));
    let live = || {
        while cuts.load(Ordering::Relaxed) < cycles {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            cuts.fetch_add(live_through_crashes(seed), Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(live))));
    let lives = next.load(Ordering::Relaxed) - first;
    println!("{} power cuts in {lives} lives, no acknowledged entry lost", cuts.load(Ordering::Relaxed));
}

/// Power is cut at one operation of a short life (open, append, rotate, seal, checkpoint, evolve, stop), then at one operation of
/// the recovery. Whether the life was long enough to be struck.
fn cut_at(after: u64, seed: u64) -> bool {
    let place = format!("cut at operation {after}, seed {seed}");
    let mut random = Random(seed << 32 | after);
    let (disk, initialised) = new_disk();
    let mut acked = Vec::new();
    disk.arm(after, Fault::Crash);
    if let Ok(log) = open(&disk) {
        for round in 0..3 {
            work(&log, 30, &mut random, &mut acked);
            if round == 1 {
                log.rotate();
            }
        }
        let _ = log.stop();
    }
    let struck = disk.crashed();
    disk.cut_power();
    let disk = disk.after_power_cut(&mut random);
    disk.arm(1 + random.below(24), Fault::Crash);
    drop(open(&disk));
    disk.cut_power();
    let disk = disk.after_power_cut(&mut random);
    let found = verify_disk(&disk, &initialised, &acked);
    let expected = matches!(found.verdict, Verdict::Verified | Verdict::Recovered | Verdict::Unclean);
    assert!(expected, "{place}: {:#?}", found.findings);
    let log = open(&disk).unwrap_or_else(|error| panic!("{place}: {error:?}"));
    log.stop().unwrap();
    let report = verify_disk(&disk, &initialised, &acked);
    let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered);
    assert!(expected, "{place}: {:#?}", report.findings);
    struck
}

#[test]
fn crash_at_each_operation_in_turn_and_again_in_its_recovery_loses_nothing() {
    // How many there are depends on which entries happened to share a group.
    let cuts = |seed| (1..).take_while(|after| cut_at(*after, seed)).count();
    let least = (0..6).map(cuts).min().unwrap();
    assert!(least > 30, "{least} operations");
}

/// The disk refuses one operation (a write after half of its bytes) and works again: the log must not.
fn fail_once(after: u64, code: i32) -> bool {
    let mut random = Random(after ^ 0xd15c);
    let (disk, initialised) = new_disk();
    let mut acked = Vec::new();
    let place = format!("error {code} at operation {after}");
    disk.arm(after, Fault::Once(code));
    let opened = open(&disk);
    if let Ok(log) = &opened {
        work(log, 60, &mut random, &mut acked);
        let _ = log.stop();
        // The error may strike the file that is being filled ahead and thrown away by the stop: that is no failure.
        if let Some(failure) = log.failure() {
            assert!(matches!(log.append(draft(b"late")), Err(AppendError::Failed(_))), "{place}");
            assert_eq!(log.stop().unwrap_err().to_string(), failure.to_string(), "{place}");
            let durable = log.durable();
            assert!(log.wait_durable(durable).is_err(), "{place}");
        }
    }
    drop(opened);
    let struck = !disk.armed();
    let disk = disk.after_power_cut(&mut random);
    let log = open(&disk).unwrap_or_else(|error| panic!("{place}: {error:?}"));
    log.stop().unwrap();
    let report = verify_disk(&disk, &initialised, &acked);
    let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered);
    assert!(expected, "{place}: {:#?}", report.findings);
    struck
}

#[test]
fn eio_once_then_success_is_final_and_what_was_acknowledged_stays() {
    let steps = (1..).take_while(|after| fail_once(*after, EIO)).count();
    assert!(steps > 30, "{steps} steps");
}

#[test]
fn enospc_and_short_writes_at_each_step_are_final_and_what_was_acknowledged_stays() {
    let steps = (1..).take_while(|after| fail_once(*after, ENOSPC)).count();
    assert!(steps > 30, "{steps} steps");
}

#[test]
fn restored_old_copy_is_refused_and_found_truncated_or_an_epoch_gap() {
    let (disk, initialised) = new_disk();
    let log = open(&disk).unwrap();
    log.stop().unwrap();
    let files = ["segments/00000000000000000000.seg", "checkpoints", "state"];
    let old: Vec<_> = files.iter().map(|name| disk.content(name).unwrap()).collect();
    let log = open(&disk).unwrap();
    let mut acked = Vec::new();
    work(&log, 200, &mut Random(1), &mut acked);
    log.stop().unwrap();
    // Only the segment: the log's own checkpoints know better.
    let segments = disk.list("segments").unwrap();
    assert!(segments.iter().filter(|name| name.ends_with(".seg")).count() > 1);
    for name in segments.iter().filter(|name| !name.starts_with("00000000000000000000.")) {
        disk.remove(&format!("segments/{name}")).unwrap();
    }
    disk.remove("segments/00000000000000000000.seal").unwrap();
    disk.tamper(files[0], old[0].clone());
    assert!(matches!(
        open(&disk),
        Err(OpenError::Rollback { source_of_claim: "the log's own checkpoint", .. })
    ));
    assert_eq!(verify_disk(&disk, &initialised, &[]).verdict, Verdict::Truncated);
    // Everything but the keys: the epoch has moved on.
    for (name, content) in files.iter().zip(&old) {
        disk.tamper(name, content.clone());
    }
    assert!(matches!(open(&disk), Err(OpenError::Rollback { source_of_claim: "the epoch key", .. })));
    assert_eq!(verify_disk(&disk, &initialised, &[]).verdict, Verdict::EpochGap);
    assert_eq!(verify_disk(&disk, &initialised, &acked).verdict, Verdict::Truncated);
}

/// Entries that fill a group below, and a queue. As many wake the writer while the disk is busy.
const GROUP_ENTRIES: usize = 64;
/// Payload of the entries behind the one whose write is kept.
const BEHIND: &[u8] = b"behind the one that is kept";

/// A log that does nothing but at a test's word: groups end when they are full or when the disk is free, and no clock wakes anybody.
/// And whatever it tells of becoming durable.
fn open_for_overlap(disk: &FaultyDisk) -> (Log, Arc<Mutex<Vec<u64>>>) {
    let never_ns = u64::MAX / 2;
    let options = Options {
        group_entries_max: GROUP_ENTRIES,
        queue_entries_max: GROUP_ENTRIES,
        group_window_ns: never_ns,
        checkpoint_interval_ns: never_ns,
        epoch_interval_ns: never_ns,
        heartbeat_interval_ns: never_ns,
        space_interval_ns: never_ns,
        ..crash_options()
    };
    let log = Log::open_storage(Arc::new(disk.clone()) as Arc<dyn Storage>, options).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    log.on_durable(Box::new(move |size| telling.lock().push(size)));
    (log, told)
}

/// Appends entries and keeps the write of their group waiting, with the next group sealed and handed over behind it, in a new segment
/// if it `rotates`. A whole group, in one turn: a small one would be written by the thread that seals.
fn seal_behind_one_that_is_kept<'a>(log: &Log, disk: &'a FaultyDisk, rotates: bool) -> (Kept<'a>, Vec<u64>) {
    let kept = disk.gate.keep_next();
    let turn = log.turn();
    let mut seqs: Vec<u64> = (0..GROUP_ENTRIES).map(|_| log.append(draft(b"kept")).unwrap()).collect();
    drop(turn);
    kept.until_there();
    if rotates {
        log.rotate();
    }
    // `append` waits while a whole group's entries are in the queue, so once it has taken those of three groups the writer has taken
    // those of two. It takes one group's at most at a time, and only when all it took before is in groups and the full ones are handed
    // over: the next group is. With more entries than these the last call would wait for the disk, which holds two groups at most.
    seqs.extend((0..3 * GROUP_ENTRIES).map(|_| log.append(draft(BEHIND)).unwrap()));
    (kept, seqs)
}

fn holds(disk: &FaultyDisk, payload: &[u8]) -> bool {
    disk.image().values().any(|content| content.windows(payload.len()).any(|bytes| bytes == payload))
}

/// Verifies what a fault left, opens the log, stops it and verifies again.
fn comes_back(disk: &FaultyDisk, initialised: &Initialised, receipts: &[Receipt], place: &str) {
    let report = verify_disk(disk, initialised, receipts);
    let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered | Verdict::Unclean);
    assert!(expected, "{place}: {:#?}", report.findings);
    open(disk).unwrap_or_else(|error| panic!("{place}: {error:?}")).stop().unwrap();
    let report = verify_disk(disk, initialised, receipts);
    let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered);
    assert!(expected, "{place}: {:#?}", report.findings);
}

#[test]
fn of_a_group_sealed_behind_one_that_fails_nothing_is_written_and_nobody_is_told() {
    for fault in [Fault::Crash, Fault::Once(EIO), Fault::Once(ENOSPC)] {
        let (disk, initialised) = new_disk();
        let (log, told) = open_for_overlap(&disk);
        let durable = log.durable();
        let (kept, seqs) = seal_behind_one_that_is_kept(&log, &disk, false);
        disk.arm_synced(fault);
        kept.let_go();
        for seq in seqs {
            assert!(matches!(log.wait_durable(seq), Err(AppendError::Failed(_))), "{fault:?}: entry {seq}");
        }
        assert!(matches!(log.append(draft(b"late")), Err(AppendError::Failed(_))), "{fault:?}");
        assert!(log.stop().is_err(), "{fault:?}");
        assert_eq!(log.durable(), durable, "{fault:?}");
        let told = told.lock().clone();
        assert!(!told.is_empty() && told.iter().all(|size| *size == durable), "{fault:?}: {told:?}");
        drop(log);
        assert!(!holds(&disk, BEHIND), "{fault:?}");
        disk.cut_power();
        for seed in 0..20 {
            let disk = disk.after_power_cut(&mut Random(seed));
            assert!(!holds(&disk, BEHIND), "{fault:?}, seed {seed}");
            comes_back(&disk, &initialised, &[], &format!("{fault:?}, seed {seed}"));
        }
    }
}

#[test]
fn groups_sealed_behind_one_another_are_written_one_at_a_time_and_acknowledged_in_order() {
    for rotates in [false, true] {
        let (disk, initialised) = new_disk();
        let (log, told) = open_for_overlap(&disk);
        let (kept, mut seqs) = seal_behind_one_that_is_kept(&log, &disk, rotates);
        let (durable, written_early) = (log.durable(), holds(&disk, BEHIND));
        kept.let_go();
        assert_eq!(durable, seqs[0], "nothing is durable before its write has ended");
        assert!(!written_early, "nothing is written before what is ahead of it");
        // Too few to wake the writer while the disk is busy: what wakes it is the disk.
        let turn = log.turn();
        seqs.extend((0..GROUP_ENTRIES / 2).map(|_| log.append(draft(BEHIND)).unwrap()));
        drop(turn);
        let receipts: Vec<Receipt> = seqs.iter().map(|seq| log.wait_durable(*seq).unwrap()).collect();
        log.stop().unwrap();
        let told = told.lock().clone();
        assert!(told.is_sorted() && told.last() == Some(&log.durable()), "{told:?}");
        assert!((1..=3).all(|groups| told.contains(&(durable + groups * GROUP_ENTRIES as u64))), "{told:?}");
        assert_eq!(disk.gate.most_under_way(), 1);
        assert!(holds(&disk, BEHIND));
        assert_eq!(verify_disk(&disk, &initialised, &receipts).verdict, Verdict::Verified);
    }
}

/// Strikes at an operation while one group is on its way to the disk and the next is sealed behind it, or later. Whether there was
/// such an operation.
fn struck_with_the_next_group_sealed(after: u64, fault: Fault, rotates: bool, seed: u64) -> bool {
    let place = format!("{fault:?} at operation {after}, rotates: {rotates}, seed {seed}");
    let (disk, initialised) = new_disk();
    let (log, told) = open_for_overlap(&disk);
    let (kept, mut seqs) = seal_behind_one_that_is_kept(&log, &disk, rotates);
    disk.arm(after, fault);
    kept.let_go();
    let turn = log.turn();
    seqs.extend((0..GROUP_ENTRIES / 2).map_while(|_| log.append(draft(BEHIND)).ok()));
    drop(turn);
    let acked: Vec<_> = seqs.iter().map(|seq| log.wait_durable(*seq).ok()).collect();
    assert!(acked.is_sorted_by_key(Option::is_none), "{place}: acknowledged behind a refusal: {acked:?}");
    let stopped = log.stop();
    let (durable, told) = (log.durable(), told.lock().clone());
    assert!(told.is_sorted() && told.last() == Some(&durable), "{place}: {told:?}, {durable}");
    assert!(stopped.is_err() || acked.iter().all(Option::is_some), "{place}: {acked:?}");
    assert_eq!(disk.gate.most_under_way(), 1, "{place}");
    drop(log);
    let struck = !disk.armed();
    disk.cut_power();
    let disk = match fault {
        Fault::Crash => disk.after_power_cut(&mut Random(seed << 32 | after)),
        Fault::Once(_) => FaultyDisk::from_image(&disk.image()),
    };
    // The group that was struck may be there in part or as a whole. What was sealed behind it is not.
    let entries = reader::Entries::new(Arc::new(disk.clone()), 0).unwrap();
    let readable = entries.filter_map(Result::ok).count() as u64;
    assert!(readable <= durable + GROUP_ENTRIES as u64, "{place}: {readable} written, {durable} durable");
    let receipts: Vec<Receipt> = acked.into_iter().flatten().collect();
    comes_back(&disk, &initialised, &receipts, &place);
    struck
}

#[test]
fn crash_and_errors_at_each_operation_with_the_next_group_sealed_lose_nothing_acknowledged() {
    for rotates in [false, true] {
        let steps = |fault, seed| {
            (1..).take_while(|after| struck_with_the_next_group_sealed(*after, fault, rotates, seed)).count()
        };
        let crashes = (0..4).map(|seed| steps(Fault::Crash, seed)).min().unwrap();
        let errors = steps(Fault::Once(EIO), 0);
        println!("rotates: {rotates}, {crashes} power cuts and {errors} errors at least");
        assert!(crashes > 6 && errors > 6, "{crashes} power cuts, {errors} errors");
    }
}
