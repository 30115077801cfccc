//! Verification of a log while its writer is at work: never a false alarm.
//!
//! `SEALFEED_LIVE_SECONDS` sets how long; the default is short.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that runs for a set time")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sealfeed_audit::storage::DiskStorage;
use sealfeed_audit::verify::{Plan, Verdict, verify_planned};
use sealfeed_audit::{Log, Options};
use support::{draft, init_log, key_and_k0, options};

#[test]
fn a_log_is_verified_again_and_again_while_it_grows_and_there_is_no_false_alarm() {
    let seconds = std::env::var("SEALFEED_LIVE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let until = Instant::now() + Duration::from_secs(seconds);
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    // Segments of a few groups, checkpoints and epochs of a few milliseconds: everything that can change changes all the time.
    let options = Options { checkpoint_interval_ns: 2_000_000, epoch_interval_ns: 5_000_000, ..options() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Several runs, so that logs are opened, stopped and opened again under the verifier's eyes.
            while !done.load(Ordering::Relaxed) {
                let log = Log::open(folder.path(), options.clone()).unwrap();
                let run_ends = Instant::now() + Duration::from_millis(700);
                let mut count = 0usize;
                while Instant::now() < run_ends && !done.load(Ordering::Relaxed) {
                    let seq = log.append(draft(&vec![7; count * 37 % 900])).unwrap();
                    count += 1;
                    if count.is_multiple_of(64) {
                        // The disk sets the pace: a log that outgrows every verification proves nothing more.
                        log.wait_durable(seq).unwrap();
                    }
                }
                log.stop().unwrap();
            }
        });
        let (mut rounds, mut entries, mut largest) = (0u64, 0, 0);
        let anchors = key_and_k0(&initialised);
        while Instant::now() < until || rounds < 2 {
            let plan = Plan { threads: Some(1 + usize::try_from(rounds % 3).unwrap()), ..Plan::default() };
            let report = verify_planned(&DiskStorage::new(folder.path()), &anchors, &plan, &mut |_| {});
            let report = report.unwrap_or_else(|error| {
                done.store(true, Ordering::Relaxed);
                panic!("round {rounds}: {error:?}")
            });
            if report.verdict != Verdict::Verified || report.entries < largest {
                done.store(true, Ordering::Relaxed);
                panic!("round {rounds}: {report:#?}");
            }
            largest = report.entries;
            entries += report.entries;
            rounds += 1;
        }
        done.store(true, Ordering::Relaxed);
        println!("{rounds} rounds, {entries} entries verified, {largest} in the last");
    });
}
