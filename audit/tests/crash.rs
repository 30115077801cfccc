//! Power cuts and disk errors at every operation, on a disk that loses any part of what was not synced.
//!
//! What must hold whatever happens: no entry that was acknowledged is lost, the log opens again, and no verdict is a false alarm.
//! Every failure names its seed. `SEALFEED_CRASH_SEEDS` sets how many seeds run (60 by default, six power cuts each).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::storage::Storage;
use sealfeed_audit::verify::{Anchors, Report, Verdict, verify_storage};
use sealfeed_audit::{
    AppendError, Clock, ClockState, InitOptions, Initialised, Log, OpenError, Options, Receipt, Stamp,
    init_storage,
};
use support::disk::{Fault, FaultyDisk, Random};
use support::{draft, init_options, options};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A clock that moves on with every look at it, so that epochs and checkpoints come thick and fast.
#[derive(Debug, Default)]
struct RestlessClock {
    now_ns: AtomicU64,
}

impl Clock for RestlessClock {
    fn now(&self) -> Stamp {
        let now_ns = self.now_ns.fetch_add(50_000, Ordering::Relaxed);
        Stamp {
            utc_ns: now_ns,
            monotonic_ns: now_ns,
            clock_error_ns: 0,
            clock_state: ClockState::Synchronised,
        }
    }
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

/// One life of a log: power cuts one after the other, then an orderly end.
fn live_through_crashes(seed: u64) {
    let mut random = Random(seed);
    let (mut disk, initialised) = new_disk();
    let mut acked = Vec::new();
    for round in 0..6 {
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
                assert!(disk.crashed(), "seed {seed}, round {round}: refused to open: {error:?}");
            }
        }
        disk.cut_power();
        disk = disk.after_power_cut(&mut random);
        let report = verify_disk(&disk, &initialised, &acked);
        let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered | Verdict::Unclean);
        assert!(expected, "seed {seed}, round {round}: {:#?}", report.findings);
    }
    let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    work(&log, 10, &mut random, &mut acked);
    log.stop().unwrap();
    let report = verify_disk(&disk, &initialised, &acked);
    let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered);
    assert!(expected, "seed {seed}: {:#?}", report.findings);
    assert_eq!(report.anchored_entries, report.entries, "seed {seed}");
}

#[test]
fn no_acknowledged_entry_is_lost_and_no_alarm_is_false_through_hundreds_of_power_cuts() {
    let seeds = std::env::var("SEALFEED_CRASH_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        live_through_crashes(seed);
    }
}

#[test]
fn an_error_of_the_disk_is_final_and_what_was_acknowledged_stays() {
    for (index, code) in [EIO, ENOSPC].into_iter().cycle().take(120).enumerate() {
        let seed = index as u64;
        let mut random = Random(seed ^ 0xd15c);
        let (disk, initialised) = new_disk();
        let mut acked = Vec::new();
        let log = open(&disk).unwrap();
        disk.arm(1 + random.below(60), Fault::Once(code));
        work(&log, 200, &mut random, &mut acked);
        let _ = log.stop();
        // The error may strike the file that is being filled ahead and thrown away by the stop: that is no failure.
        if let Some(failure) = log.failure() {
            assert!(matches!(log.append(draft(b"late")), Err(AppendError::Failed(_))), "seed {seed}");
            assert_eq!(log.stop().unwrap_err().to_string(), failure.to_string());
            let durable = log.durable();
            assert!(log.wait_durable(durable).is_err(), "seed {seed}");
        }
        drop(log);
        let disk = disk.after_power_cut(&mut random);
        let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        log.stop().unwrap();
        let report = verify_disk(&disk, &initialised, &acked);
        let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered);
        assert!(expected, "seed {seed}: {:#?}", report.findings);
    }
}

#[test]
fn a_log_put_back_from_an_old_copy_is_refused_and_found_truncated() {
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
