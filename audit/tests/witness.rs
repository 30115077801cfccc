//! A log and its witness: what was cosigned cannot be taken back.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "deadlines of waits, never what is tested")]

mod support;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sealfeed_audit::cosignature::{WitnessKey, WitnessSigner};
use sealfeed_audit::note::{Note, SigningKey, VerifierKey};
use sealfeed_audit::verify::Verdict;
use sealfeed_audit::witness::Keeper;
use sealfeed_audit::witness::watch::{
    LocalTransport, Outcome, Transport, Watch, WatchOptions, Witness, ask_before_start,
};
use sealfeed_audit::{Log, Options, checkpoint, kind, reader};
use support::{append_durably, copy, draft, init_log, key_and_k0, options, verify_with};

const OFTEN: WatchOptions = WatchOptions { interval_ns: 1_000_000, tolerance_ns: 20_000_000 };

fn quick() -> Options {
    Options { checkpoint_interval_ns: 1_000_000, ..options() }
}

fn keeper(folder: &Path, log: &VerifierKey) -> Arc<Keeper> {
    let signer = WitnessSigner::new(SigningKey::from_seed("witness.example/w1", &[5; 32]).unwrap()).unwrap();
    Arc::new(Keeper::open(folder, signer, vec![log.clone()]).unwrap())
}

fn local(keeper: &Arc<Keeper>) -> Witness {
    let transport = LocalTransport::new(Arc::clone(keeper), Box::new(|| 1_700_000_000));
    Witness::new(keeper.public().clone(), Box::new(transport))
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// The states that the WITNESS entries tell, one after the other, repetitions left out.
fn states(folder: &Path) -> Vec<String> {
    let entries = reader::entries(folder).unwrap().map(Result::unwrap);
    let told = entries.filter(|entry| entry.header.kind == kind::WITNESS).map(|entry| {
        let text = String::from_utf8(entry.payload).unwrap();
        assert!(text.starts_with("sealfeed/v1 witness\nname witness.example/w1\n"), "{text}");
        text.lines().nth(2).unwrap().to_owned()
    });
    let mut states: Vec<String> = told.collect();
    states.dedup();
    states
}

/// The newest cosigned checkpoint that the log kept.
fn cosigned(folder: &Path) -> Option<String> {
    let file = fs::read_dir(folder.join("witnessed")).ok()?.find_map(|file| {
        let path = file.unwrap().path();
        path.extension().is_some_and(|extension| extension == "checkpoint").then_some(path)
    })?;
    fs::read_to_string(file).ok()
}

#[test]
fn witness_cosigns_a_log_that_goes_on_and_the_log_says_so() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = init_log(folder.path());
    let keeper = keeper(memory.path(), &made.public_key);
    let log = Log::open(folder.path(), quick()).unwrap();
    let report = Box::new(|name: &str, outcome: &Outcome| panic!("{name}: {outcome:?}"));
    let watch = Watch::begin(log.clone(), folder.path(), vec![local(&keeper)], OFTEN, report).unwrap();
    let mut last = 0;
    for _ in 0..5 {
        for _ in 0..40 {
            last = append_durably(&log, draft(&[7; 300])).seq;
        }
        wait_for("a cosignature over this round", || {
            keeper.seen(support::ORIGIN).is_some_and(|head| head.size > last)
        });
        log.rotate();
    }
    drop(watch);
    log.stop().unwrap();
    assert_eq!(states(folder.path()), ["state cosigned"]);
    let note = cosigned(folder.path()).unwrap();
    let head = checkpoint::open(&note, &made.public_key).unwrap();
    assert_eq!(Some(head), keeper.seen(support::ORIGIN));
    assert_eq!(keeper.public().verify(&Note::parse(&note).unwrap()), Ok(1_700_000_000));
    let anchors = sealfeed_audit::verify::Anchors { checkpoints: vec![note], ..key_and_k0(&made) };
    assert_eq!(verify_with(folder.path(), &anchors).verdict, Verdict::Verified);
}

/// A log that a witness has seen to its end, and a copy of it from before.
fn seen_to_the_end() -> (tempfile::TempDir, tempfile::TempDir, Arc<Keeper>, VerifierKey) {
    let (folder, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("log");
    let key = init_log(&path).public_key;
    let keeper = keeper(memory.path(), &key);
    let log = Log::open(&path, quick()).unwrap();
    append_durably(&log, draft(b"before"));
    log.stop().unwrap();
    copy(&path, &folder.path().join("old"));
    let log = Log::open(&path, quick()).unwrap();
    append_durably(&log, draft(b"after"));
    log.stop().unwrap();
    assert!(matches!(ask_before_start(&path, &key, &mut local(&keeper)), Ok(Outcome::Cosigned { .. })));
    (folder, memory, keeper, key)
}

#[test]
fn an_old_copy_put_back_is_behind_its_witness() {
    let (folder, _memory, keeper, key) = seen_to_the_end();
    let seen = keeper.seen(support::ORIGIN).unwrap();
    let outcome = ask_before_start(&folder.path().join("old"), &key, &mut local(&keeper)).unwrap();
    assert_eq!(outcome, Outcome::Ahead { size: seen.size });
}

#[test]
fn an_old_copy_that_was_written_on_is_another_history_to_its_witness() {
    let (folder, _memory, keeper, key) = seen_to_the_end();
    let old = folder.path().join("old");
    let log = Log::open(&old, quick()).unwrap();
    for _ in 0..20 {
        append_durably(&log, draft(b"something else"));
    }
    log.stop().unwrap();
    let seen = keeper.seen(support::ORIGIN).unwrap();
    let outcome = ask_before_start(&old, &key, &mut local(&keeper)).unwrap();
    assert_eq!(outcome, Outcome::Inconsistent { size: seen.size });
    assert_eq!(keeper.seen(support::ORIGIN), Some(seen), "the witness keeps its word");
}

/// Answers with a status of the test's choice, or asks the keeper if that is 0.
struct Fickle {
    status: Arc<AtomicU16>,
    asked: Arc<Mutex<u64>>,
    real: LocalTransport,
}

impl Transport for Fickle {
    fn ask(&mut self, body: &str) -> io::Result<(u16, String)> {
        *self.asked.lock() += 1;
        match self.status.load(Ordering::Relaxed) {
            0 => self.real.ask(body),
            1 => Err(io::Error::from(io::ErrorKind::TimedOut)),
            status => Ok((status, "no\n".to_owned())),
        }
    }
}

#[test]
fn silence_and_refusal_of_a_witness_are_told_once_and_its_return_is_too() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = init_log(folder.path());
    let keeper = keeper(memory.path(), &made.public_key);
    let log = Log::open(folder.path(), quick()).unwrap();
    let (status, asked) = (Arc::new(AtomicU16::new(0)), Arc::new(Mutex::new(0)));
    let real = LocalTransport::new(Arc::clone(&keeper), Box::new(|| 1));
    let fickle = Fickle { status: Arc::clone(&status), asked: Arc::clone(&asked), real };
    let reports = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reports);
    let witness = Witness::new(keeper.public().clone(), Box::new(fickle));
    let report = Box::new(move |_: &str, outcome: &Outcome| told.lock().push(outcome.clone()));
    let watch = Watch::begin(log.clone(), folder.path(), vec![witness], OFTEN, report).unwrap();
    append_durably(&log, draft(b"x"));
    let seen = || keeper.seen(support::ORIGIN).map_or(0, |head| head.size);
    wait_for("the first cosignature", || seen() > 0);
    let becomes = |new: u16, count: usize| {
        status.store(new, Ordering::Relaxed);
        wait_for("a report", || reports.lock().len() == count);
        let now = *asked.lock();
        append_durably(&log, draft(b"x"));
        wait_for("a few more rounds", || *asked.lock() > now + 5);
        assert_eq!(reports.lock().len(), count, "it is told once");
    };
    becomes(1, 1);
    status.store(0, Ordering::Relaxed);
    let before = seen();
    wait_for("its return", || seen() > before);
    becomes(403, 2);
    assert_eq!(*reports.lock(), [Outcome::Silent, Outcome::Refused { status: 403 }]);
    drop(watch);
    log.stop().unwrap();
    let told = states(folder.path());
    assert_eq!(told, ["state cosigned", "state silent", "state cosigned", "state refused"]);
}

#[test]
fn a_cosignature_of_another_key_is_refused() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = init_log(folder.path());
    let keeper = keeper(memory.path(), &made.public_key);
    let other = WitnessKey::new("witness.example/w1", *made.public_key.bytes()).unwrap();
    let transport = LocalTransport::new(Arc::clone(&keeper), Box::new(|| 1));
    let mut witness = Witness::new(other, Box::new(transport));
    let outcome = ask_before_start(folder.path(), &made.public_key, &mut witness).unwrap();
    assert_eq!(outcome, Outcome::Refused { status: 200 });
}
