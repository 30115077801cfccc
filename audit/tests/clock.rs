//! Evidence about the clock in a log that the real writer wrote: headers, CLOCK entries, and the thread that makes both.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sealfeed_audit::clock::{
    Breach, ClockStatus, ClockWatch, ClockWatchOptions, Discipline, DisciplinedClock, Kernel, Leap, Source,
};
use sealfeed_audit::reader::{Entry, entries};
use sealfeed_audit::{CLOCK_ERROR_UNKNOWN_NS, Clock, ClockEvidence, ClockState, Log, Options, Stamp, kind};
use support::clock::StoppedClock;
use support::{append_durably, draft, init_log, options};
use tempfile::TempDir;

const SECOND: u64 = 1_000_000_000;
const TOLERANCE_NS: u64 = 50_000_000;
/// Longer than any of these tests may take.
const LIMIT: Duration = Duration::from_secs(60);

fn good(max_error_ns: u64) -> Option<Discipline> {
    Some(Discipline { synchronised: true, offset_ns: 0, max_error_ns, leap: Leap::None })
}

fn free() -> Option<Discipline> {
    Some(Discipline { synchronised: false, offset_ns: 0, max_error_ns: 16 * SECOND, leap: Leap::None })
}

/// A system that says what the test wants.
#[derive(Clone, Debug)]
struct Told(Arc<Mutex<Option<Discipline>>>);

impl Source for Told {
    fn discipline(&mut self) -> Option<Discipline> {
        *self.0.lock().unwrap()
    }
}

/// A clock that only the test moves, and sets: UTC is ahead of the monotonic clock by what it was set forward.
#[derive(Debug, Default)]
struct Settable {
    time: StoppedClock,
    ahead_ns: AtomicU64,
}

impl Clock for Settable {
    fn now(&self) -> Stamp {
        let now = self.time.now();
        Stamp { utc_ns: now.utc_ns + self.ahead_ns.load(Ordering::Relaxed), ..now }
    }
}

/// A log under such a clock, and what its system says.
struct Watched {
    folder: TempDir,
    log: Log,
    clock: Arc<Settable>,
    told: Told,
    watch: ClockWatch,
    /// What was reported: the news, and whether there was any before.
    news: Receiver<(ClockEvidence, bool)>,
}

fn watched(first: Option<Discipline>) -> Watched {
    let folder = TempDir::new().unwrap();
    init_log(folder.path());
    let status = Arc::new(ClockStatus::default());
    let clock = Arc::new(Settable::default());
    clock.time.now_ns.store(1_000_000 * SECOND, Ordering::Relaxed);
    let stamps = Arc::new(DisciplinedClock::over(Arc::clone(&clock) as _, Arc::clone(&status)));
    // A clock that stands still lets no group wait for others.
    let log = Log::open(folder.path(), Options { clock: stamps, group_window_ns: 0, ..options() }).unwrap();
    let told = Told(Arc::new(Mutex::new(first)));
    let (sender, news) = sync_channel(100);
    let report = move |found: &ClockEvidence, before: Option<&ClockEvidence>| {
        sender.send((*found, before.is_some())).unwrap();
    };
    let options = ClockWatchOptions {
        tolerance_ns: TOLERANCE_NS,
        sample_interval_ns: 1_000_000,
        record_interval_ns: 60 * SECOND,
    };
    let watch =
        ClockWatch::begin(log.clone(), status, Box::new(told.clone()), options, Box::new(report)).unwrap();
    Watched { folder, log, clock, told, watch, news }
}

impl Watched {
    /// The system says something else from now on; what is reported about that.
    fn says(&self, discipline: Option<Discipline>) -> ClockEvidence {
        *self.told.0.lock().unwrap() = discipline;
        self.news.recv_timeout(LIMIT).unwrap().0
    }

    /// Ends thread and log; its entries.
    fn finish(self) -> Vec<Entry> {
        drop(self.watch);
        self.log.stop().unwrap();
        all(self.folder.path())
    }
}

fn all(folder: &Path) -> Vec<Entry> {
    entries(folder).unwrap().map(Result::unwrap).collect()
}

fn evidence(entries: &[Entry]) -> Vec<ClockEvidence> {
    let clock = entries.iter().filter(|entry| entry.header.kind == kind::CLOCK);
    clock.map(|entry| ClockEvidence::from_payload(&entry.payload).unwrap()).collect()
}

#[test]
fn the_first_sample_is_in_the_log_before_anything_else_can_be_and_headers_carry_it_from_then_on() {
    let watched = watched(good(1_000));
    let after = append_durably(&watched.log, draft(b"after")).seq;
    let entries = watched.finish();
    let clock = entries.iter().find(|entry| entry.header.kind == kind::CLOCK).unwrap();
    assert!(clock.header.seq < after);
    let start = entries.iter().find(|entry| entry.header.kind == kind::START).unwrap();
    assert_eq!(start.header.stamp.clock_state, ClockState::Unknown, "nobody had been asked yet");
    assert_eq!(start.header.stamp.clock_error_ns, CLOCK_ERROR_UNKNOWN_NS);
    for entry in entries.iter().filter(|entry| entry.header.seq >= clock.header.seq) {
        let stamp = entry.header.stamp;
        assert_eq!(stamp.clock_state, ClockState::Synchronised);
        assert!((1_000..100_000).contains(&stamp.clock_error_ns), "{stamp:?}");
    }
}

#[test]
fn every_change_becomes_an_entry_and_is_reported_once() {
    let watched = watched(free());
    let (first, any_before) = watched.news.recv_timeout(LIMIT).unwrap();
    assert_eq!((first.breach(), any_before), (Some(Breach::Unsynchronised), false));
    append_durably(&watched.log, draft(b"running free"));
    assert_eq!(watched.says(good(TOLERANCE_NS)).breach(), None);
    append_durably(&watched.log, draft(b"disciplined"));
    assert_eq!(watched.says(good(TOLERANCE_NS + 1)).breach(), Some(Breach::Error));
    assert_eq!(watched.says(None).breach(), Some(Breach::Unknown));
    assert_eq!(watched.says(good(0)).breach(), None);
    let news = watched.news.try_recv();
    assert!(news.is_err(), "{news:?}");
    let entries = watched.finish();
    let breaches: Vec<_> = evidence(&entries).iter().map(ClockEvidence::breach).collect();
    let expected = [Some(Breach::Unsynchronised), None, Some(Breach::Error), Some(Breach::Unknown), None];
    assert_eq!(breaches, expected);
    let stamp = |payload: &[u8]| {
        entries.iter().find(|entry| entry.payload == payload).map(|entry| entry.header.stamp).unwrap()
    };
    let running_free = stamp(b"running free");
    assert_eq!(running_free.clock_state, ClockState::Unsynchronised);
    assert_eq!(running_free.clock_error_ns, CLOCK_ERROR_UNKNOWN_NS);
    assert_eq!(stamp(b"disciplined").clock_state, ClockState::Synchronised);
}

#[test]
fn a_minute_of_the_logs_clock_makes_an_entry_that_is_no_news() {
    let watched = watched(good(7));
    watched.news.recv_timeout(LIMIT).unwrap();
    let (sender, durable) = sync_channel(1_000);
    watched.log.on_durable(Box::new(move |_| sender.try_send(()).unwrap()));
    for minute in 1..=3u64 {
        watched.clock.time.now_ns.fetch_add(60 * SECOND, Ordering::Relaxed);
        let count = usize::try_from(minute).unwrap() + 1;
        while evidence(&all(watched.folder.path())).len() < count {
            durable.recv_timeout(LIMIT).unwrap();
        }
    }
    assert!(watched.news.try_recv().is_err());
    assert_eq!(evidence(&watched.finish()).len(), 4);
}

#[test]
fn a_clock_that_is_set_is_a_breach_that_says_by_how_much_and_is_over_with_the_next_sample() {
    let watched = watched(good(0));
    watched.news.recv_timeout(LIMIT).unwrap();
    let hour = 3_600 * SECOND;
    for (ahead_ns, step_ns) in
        [(hour, hour.cast_signed()), (SECOND, (SECOND.cast_signed() - hour.cast_signed()))]
    {
        watched.clock.ahead_ns.store(ahead_ns, Ordering::Relaxed);
        let (stepped, _) = watched.news.recv_timeout(LIMIT).unwrap();
        assert_eq!((stepped.step_ns, stepped.breach()), (step_ns, Some(Breach::Step)));
        let (over, _) = watched.news.recv_timeout(LIMIT).unwrap();
        assert_eq!((over.step_ns, over.breach()), (0, None));
    }
    let entries = watched.finish();
    let steps: Vec<_> = evidence(&entries).iter().map(|found| found.step_ns).collect();
    assert_eq!(steps, [0, hour.cast_signed(), 0, SECOND.cast_signed() - hour.cast_signed(), 0]);
    let set_back = entries.windows(2).any(|pair| pair[1].header.stamp.utc_ns < pair[0].header.stamp.utc_ns);
    assert!(set_back, "the log goes on while UTC runs backwards");
}

#[test]
fn the_thread_ends_at_once_however_long_it_would_sleep() {
    let folder = TempDir::new().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let options = ClockWatchOptions { sample_interval_ns: 3_600 * SECOND, ..ClockWatchOptions::default() };
    let status = Arc::new(ClockStatus::default());
    let watch =
        ClockWatch::begin(log.clone(), status, Box::new(Kernel), options, Box::new(|_, _| {})).unwrap();
    let (sender, ended) = sync_channel(1);
    let ending = thread::spawn(move || {
        drop(watch);
        sender.send(()).unwrap();
    });
    ended.recv_timeout(LIMIT).unwrap();
    ending.join().unwrap();
    log.stop().unwrap();
    assert_eq!(evidence(&all(folder.path())).len(), 1);
}

#[test]
fn this_machine_says_something_that_can_be_written_and_read() {
    let found = Kernel.discipline();
    let evidence = ClockEvidence { discipline: found, step_ns: 0, tolerance_ns: TOLERANCE_NS };
    assert_eq!(ClockEvidence::from_payload(&evidence.to_payload()), Some(evidence));
    if let Some(found) = found {
        // What the kernel allows: 16 s, and half a second of phase.
        assert!(found.max_error_ns <= 16 * SECOND && found.offset_ns.unsigned_abs() <= SECOND, "{found:?}");
    }
}
