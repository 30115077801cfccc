//! Verification of a log while its writer is at work: never a false alarm.
//!
//! `SEALFEED_LIVE_SECONDS` sets how long; the default is short.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that runs for a set time")]

mod support;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sealfeed_audit::storage::{Access, DiskStorage, File, FreeSpace, Lock, Storage};
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

/// A disk on which something happens just before the segments are listed for the first time.
struct Meanwhile {
    disk: DiskStorage,
    event: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Storage for Meanwhile {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.disk.open(name, access)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        if let Some(event) = self.event.lock().unwrap().take() {
            event();
        }
        self.disk.list(folder)
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.make_folder(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn make_read_only(&self, name: &str) -> io::Result<()> {
        self.disk.make_read_only(name)
    }
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(name)
    }
    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(name)
    }
    fn space(&self) -> io::Result<FreeSpace> {
        self.disk.space()
    }
}

#[test]
fn a_writer_that_starts_or_runs_under_the_verifiers_eyes_raises_no_false_alarm() {
    for stops in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let initialised = init_log(folder.path());
        // Checkpoints as rare as can be: what is appended meanwhile is under none.
        let options = Options { checkpoint_interval_ns: 60_000_000_000, ..options() };
        Log::open(folder.path(), options.clone()).unwrap().stop().unwrap();
        let running = Arc::new(Mutex::new(None));
        let (path, keep) = (folder.path().to_owned(), Arc::clone(&running));
        let event = move || {
            let log = Log::open(&path, options).unwrap();
            for _ in 0..10 {
                let seq = log.append(draft(b"meanwhile")).unwrap();
                log.wait_durable(seq).unwrap();
            }
            if stops {
                log.stop().unwrap();
            } else {
                *keep.lock().unwrap() = Some(log);
            }
        };
        let disk = DiskStorage::new(folder.path());
        let storage = Meanwhile { disk, event: Mutex::new(Some(Box::new(event))) };
        let anchors = key_and_k0(&initialised);
        let report = verify_planned(&storage, &anchors, &Plan::default(), &mut |_| {}).unwrap();
        assert_eq!(report.verdict, Verdict::Verified, "stops: {stops}: {:#?}", report.findings);
        if let Some(log) = running.lock().unwrap().take() {
            log.stop().unwrap();
        }
    }
}
