//! Power cuts and disk errors at every operation, on a disk that loses any part of what was not synced.
//!
//! What must hold whatever happens: no entry that was acknowledged is lost, the log opens again, and no verdict is a false alarm.
//! A run prints its first seed, and a failure the command that repeats it. `SEALFEED_CRASH_CYCLES` sets how many power cuts there are.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::storage::Storage;
use sealfeed_audit::verify::{Anchors, Report, Verdict, verify_storage};
use sealfeed_audit::{AppendError, InitOptions, Initialised, Log, OpenError, Options, Receipt, init_storage};
use support::clock::RestlessClock;
use support::disk::{Fault, FaultyDisk, Random};
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
