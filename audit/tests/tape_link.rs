//! Links to another log: what they vouch for, and what becomes of it when the other log was cut, changed or replaced. All three verifiers.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use sealfeed_audit::checkpoint;
use sealfeed_audit::verify::{Anchors, Report, Verdict, verify, verify_tape};
use sealfeed_audit::{Draft, Initialised, Log, TapeLink, kind, segment_name};
use support::{append_durably, draft, init_log, options};
use tempfile::TempDir;

/// A log with links to a tape, and the tape; three links, the last over all of it.
struct Pair {
    log: TempDir,
    tape: TempDir,
    made: Initialised,
    sizes: Vec<u64>,
}

impl Pair {
    fn new() -> Self {
        let (log, tape) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let made = init_log(log.path());
        init_log(tape.path());
        let (writer, taped) =
            (Log::open(log.path(), options()).unwrap(), Log::open(tape.path(), options()).unwrap());
        let mut sizes = Vec::new();
        for round in 0..3_u8 {
            for number in 0..40_u8 {
                append_durably(&taped, draft(&[round, number, 7]));
            }
            // A checkpoint comes with the end of a segment, and with the stop.
            if round < 2 {
                taped.rotate();
                append_durably(&taped, draft(b"first of a segment"));
            } else {
                taped.stop().unwrap();
            }
            let link = link(&taped);
            sizes.push(link.size);
            append_link(&writer, &link);
            append_durably(&writer, draft(b"something else"));
        }
        writer.stop().unwrap();
        assert!(sizes.is_sorted() && sizes[0] > 40);
        Self { log, tape, made, sizes }
    }

    /// What the library, `sealfeed-verify` and `verify.py` say, which must be the same.
    fn check(&self) -> Report {
        let anchors = Anchors { key: Some(self.made.public_key.clone()), ..Anchors::default() };
        let mut report = verify(self.log.path(), &anchors, &mut |_| {}).unwrap();
        assert_eq!(report.verdict, Verdict::Verified, "by itself the log is good: {report:?}");
        verify_tape(&mut report, self.log.path(), self.tape.path()).unwrap();
        let expected = i32::from(report.verdict.exit_code());
        let ran = |command: &mut Command| {
            let log = command.arg(self.log.path()).arg("--key").arg(self.made.public_key.to_string());
            log.arg("--tape").arg(self.tape.path()).output()
        };
        let program = ran(&mut Command::new(env!("CARGO_BIN_EXE_sealfeed-verify"))).unwrap();
        assert_eq!(program.status.code(), Some(expected), "{}", String::from_utf8_lossy(&program.stdout));
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify.py");
        match ran(Command::new("python3").arg("-B").arg(document)) {
            Ok(document) => {
                let said = String::from_utf8_lossy(&document.stdout).into_owned();
                assert_eq!(document.status.code(), Some(expected), "{said}");
            }
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "python3 is missing: {error}");
                println!("left out: verify.py, for want of python3");
            }
        }
        report
    }

    /// The segments of the tape, the oldest first.
    fn segments(&self) -> Vec<u64> {
        sealfeed_audit::follow::Follower::segments(self.tape.path()).unwrap()
    }
}

fn link(tape: &Log) -> TapeLink {
    let note = loop {
        // The checkpoint of a segment's end is written by the log's own threads.
        if let Some(note) = tape.latest_checkpoint() {
            break note;
        }
        std::thread::yield_now();
    };
    let head = checkpoint::open(&note, tape.public_key()).unwrap();
    TapeLink {
        log: tape.id(),
        origin: "log.example/audit".to_owned(),
        size: head.size,
        root: head.root,
        reason: "test".to_owned(),
        epoch: 1,
        count: 40,
    }
}

fn append_link(log: &Log, link: &TapeLink) {
    let payload = link.to_payload();
    append_durably(log, Draft { kind: kind::TAPE_LINK, schema: 1, payload, ..Draft::default() });
}

fn replace(path: &Path, bytes: &[u8]) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(path, permissions).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_tape_that_is_what_the_links_say_leaves_the_verdict_as_it_is() {
    let pair = Pair::new();
    let report = pair.check();
    assert_eq!(report.verdict, Verdict::Verified);
    let tape = report.tape.unwrap();
    assert_eq!((tape.links, tape.size, tape.links_unchecked, tape.other_links), (3, pair.sizes[2], 0, 0));
}

#[test]
fn a_tape_without_its_last_segment_is_truncated() {
    let pair = Pair::new();
    let last = *pair.segments().last().unwrap();
    fs::remove_file(pair.tape.path().join("segments").join(segment_name(last))).unwrap();
    let report = pair.check();
    assert_eq!(report.verdict, Verdict::Truncated, "{report:?}");
    assert_eq!(report.tape.unwrap().links, 2, "up to there it is what the links say");
}

#[test]
fn a_tape_that_was_written_again_with_its_own_keys_is_tampered() {
    let mut pair = Pair::new();
    // Same name, same key, another history: what only the links can tell.
    let other = TempDir::new().unwrap();
    for folder in ["", "segments", "keys", "quarantine"] {
        let from = pair.tape.path().join(folder);
        let Ok(files) = fs::read_dir(from) else { continue };
        fs::create_dir_all(other.path().join(folder)).unwrap();
        for file in files.map(Result::unwrap).filter(|file| file.file_type().unwrap().is_file()) {
            fs::copy(file.path(), other.path().join(folder).join(file.file_name())).unwrap();
        }
    }
    let link = {
        let tape = Log::open(other.path(), options()).unwrap();
        append_durably(&tape, draft(b"one more"));
        tape.stop().unwrap();
        link(&tape)
    };
    {
        let log = Log::open(pair.log.path(), options()).unwrap();
        append_link(&log, &link);
        log.stop().unwrap();
        let tape = Log::open(pair.tape.path(), options()).unwrap();
        append_durably(&tape, draft(b"one other"));
        append_durably(&tape, draft(b"and some more"));
        tape.stop().unwrap();
    }
    let report = pair.check();
    assert_eq!(report.verdict, Verdict::Tampered, "{report:?}");
    // And the other one is right.
    pair.tape = other;
    assert_eq!(pair.check().verdict, Verdict::Verified);
}

#[test]
fn another_tape_in_its_place_is_tampered_and_a_damaged_one_is_not_reached() {
    let mut pair = Pair::new();
    let path = pair.tape.path().join("segments").join(segment_name(pair.segments()[1]));
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[5_000] ^= 1;
    replace(&path, &bad);
    let report = pair.check();
    assert_eq!(report.verdict, Verdict::Truncated, "{report:?}");
    assert!(report.first_bad.unwrap().what.contains("good entries"));
    replace(&path, &good);
    let other = TempDir::new().unwrap();
    init_log(other.path());
    pair.tape = other;
    let report = pair.check();
    assert_eq!(report.verdict, Verdict::Tampered, "{report:?}");
    assert_eq!(report.tape.unwrap().other_links, 3);
}

#[test]
fn without_a_tape_there_is_no_verdict() {
    let pair = Pair::new();
    let nothing = TempDir::new().unwrap();
    let anchors = Anchors::default();
    let mut report = verify(pair.log.path(), &anchors, &mut |_| {}).unwrap();
    let error = verify_tape(&mut report, pair.log.path(), nothing.path()).unwrap_err();
    assert_eq!(error.exit_code(), 66);
}
