//! Evidence about the clock: in a real server's log before anybody came in, told to the operator, and reported.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use sealfeed_audit::clock::{
    ClockStatus, ClockWatch, ClockWatchOptions, Discipline, DisciplinedClock, Leap, Source,
};
use sealfeed_audit::reader::entries;
use sealfeed_audit::{ClockEvidence, InitOptions, Log, Options, SEGMENT_BYTES_MIN, init, kind};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::Pki;
use crate::process::{ServerProcess, configure, connect, replay, run};

/// Nothing here takes so long.
const LIMIT: Duration = Duration::from_secs(60);

fn text(arguments: &[&str], log: &Path) -> String {
    let arguments = [&["audit", "report", "clock", log.to_str().unwrap()], arguments].concat();
    let output = run(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn report(arguments: &[&str], log: &Path) -> Vec<Value> {
    text(arguments, log).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values of one column.
fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a str> {
    rows.iter().map(|row| row[name].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_log_says_how_good_the_clock_is_before_anybody_comes_in() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, "[clock]\ntolerance_us = 1");
    let log = folder.path().join("log");
    let server = ServerProcess::start(&config).unwrap();
    let said_before_listening = server.said().to_owned();
    drop(connect(server.address, &Pki::get().client("acme/bob")).await);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().status.code(), Some(0));

    let kinds: Vec<_> =
        replay(&log, &[]).iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect();
    let place = |kind: &str| kinds.iter().position(|one| one == kind).unwrap();
    assert_eq!(kinds.iter().filter(|kind| *kind == "log.clock").count(), 1, "{kinds:?}");
    assert!(place("log.start") < place("log.clock") && place("log.clock") < place("start"), "{kinds:?}");
    assert!(place("start") < place("connect"));

    let all: Vec<_> = entries(&log).unwrap().map(Result::unwrap).collect();
    let clock = all.iter().find(|entry| entry.header.kind == kind::CLOCK).unwrap();
    let evidence = ClockEvidence::from_payload(&clock.payload).unwrap();
    assert_eq!((evidence.tolerance_ns, evidence.step_ns), (1_000, 0));
    for entry in &all {
        assert_eq!(entry.header.stamp.clock_state, evidence.state(), "entry {}", entry.header.seq);
    }
    let alert = evidence.breach().is_some();
    assert_eq!(said_before_listening.contains("SF-AUD-006"), alert, "{said_before_listening}");
    assert_eq!(report(&["--breaches"], &log).len(), usize::from(alert));
    assert_eq!(column(&report(&[], &log), "breach"), [if alert { "yes" } else { "no" }]);
}

/// A system that says what the test wants.
#[derive(Debug)]
struct Told(Arc<Mutex<Option<Discipline>>>);

impl Source for Told {
    fn discipline(&mut self) -> Option<Discipline> {
        *self.0.lock().unwrap()
    }
}

/// A log in which the clock's system said these things, one after the other.
fn log_of(folder: &Path, found: &[Option<Discipline>]) {
    let origin = "clock.example/log";
    init(folder, &InitOptions::new(origin)).unwrap();
    let status = Arc::new(ClockStatus::default());
    let clock = Arc::new(DisciplinedClock::new(Arc::clone(&status)));
    let options = Options { clock, segment_bytes: SEGMENT_BYTES_MIN, ..Options::new(origin) };
    let log = Log::open(folder, options).unwrap();
    let told = Arc::new(Mutex::new(found[0]));
    let (sender, news) = sync_channel(10);
    let report = Box::new(move |now: &ClockEvidence, _: Option<&ClockEvidence>| sender.send(*now).unwrap());
    let options = ClockWatchOptions { sample_interval_ns: 1_000_000, ..ClockWatchOptions::default() };
    let watch =
        ClockWatch::begin(log.clone(), status, Box::new(Told(Arc::clone(&told))), options, report).unwrap();
    for found in found {
        *told.lock().unwrap() = *found;
        assert_eq!(news.recv_timeout(LIMIT).unwrap().discipline, *found);
    }
    drop(watch);
    log.stop().unwrap();
}

#[test]
fn the_report_shows_every_sample_and_from_when_until_when_the_tolerance_was_not_kept() {
    let folder = TempDir::new().unwrap();
    let log = folder.path();
    let synchronised = |offset_ns, max_error_ns| {
        Some(Discipline { synchronised: true, offset_ns, max_error_ns, leap: Leap::Insert })
    };
    let free = Discipline { synchronised: false, offset_ns: 0, max_error_ns: 1, leap: Leap::None };
    let good = synchronised(-20_000_000, 30_000_000);
    log_of(log, &[Some(free), good, synchronised(-20_000_000, 30_000_001), None, good]);

    let samples = report(&[], log);
    assert_eq!(column(&samples, "breach"), ["yes", "no", "yes", "yes", "no"]);
    assert_eq!(column(&samples, "why"), ["unsynchronised", "", "error", "unknown", ""]);
    assert_eq!(column(&samples, "offset-ns"), ["0", "-20000000", "-20000000", "", "-20000000"]);
    assert_eq!(column(&samples, "max-error-ns")[2], "30000001");
    assert_eq!(column(&samples, "leap"), ["none", "insert", "insert", "", "insert"]);
    assert_eq!(column(&samples, "tolerance-ns"), ["50000000"; 5]);
    let table = text(&["--output", "table"], log);
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(table.starts_with("seq") && table.contains("unsynchronised"), "{table}");

    let breaches = report(&["--breaches"], log);
    assert_eq!(column(&breaches, "why"), ["unsynchronised", "error", "unknown"]);
    assert_eq!(column(&breaches, "ended-by"), ["tolerance kept", "another breach", "tolerance kept"]);
    assert_eq!(column(&breaches, "error-ns-max"), ["1", "50000001", ""]);
    let times = column(&samples, "time");
    assert_eq!(column(&breaches, "from"), [times[0], times[2], times[3]]);
    assert_eq!(column(&breaches, "until"), [times[1], times[3], times[4]]);
    assert!(text(&["--breaches", "--output", "table"], log).contains("tolerance kept"));
    assert_eq!(report(&["--breaches", "--until", times[1]], log).len(), 1);
    assert_eq!(column(&report(&["--breaches", "--from", times[4]], log), "why"), ["unknown"]);
}
