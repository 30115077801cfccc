//! Links to another log: what they vouch for, and what becomes of it when the other log was cut, changed or replaced. All three verifiers.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use sealfeed_audit::checkpoint;
use sealfeed_audit::verify::{Anchors, Report, Verdict, verify, verify_tape};
use sealfeed_audit::{Draft, Initialised, Log, TapeLink, kind, segment_name};
use support::disk::Random;
use support::{append_durably, draft, init_log, options};
use tempfile::TempDir;

const RANDOM_CASES: u32 = 30;

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
                assert_eq!(document.status.code(), Some(expected), "{said}\n{report:?}");
                if let Some(bad) = report.first_bad.as_ref().filter(|bad| bad.until.is_none()) {
                    let place = format!("  {}: entry {}: ", bad.verdict, bad.seq);
                    let first = said.lines().next().unwrap_or_default();
                    assert!(first.contains("about ") || first.starts_with(&place), "{place}\n{said}");
                    assert_eq!(
                        bad.what.contains("of the tape"),
                        first.contains("of the tape"),
                        "{bad}\n{said}"
                    );
                }
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
fn another_tape_in_its_place_is_tampered() {
    let mut pair = Pair::new();
    let other = TempDir::new().unwrap();
    init_log(other.path());
    pair.tape = other;
    let report = pair.check();
    assert_eq!(report.verdict, Verdict::Tampered, "{report:?}");
    assert_eq!(report.tape.unwrap().other_links, 3);
}

#[test]
fn a_damaged_tape_gets_the_verdict_of_its_damage_and_a_cut_one_is_truncated() {
    let pair = Pair::new();
    let [first, second, last] = pair.segments()[..] else { panic!("three segments") };
    let path = |first: u64| pair.tape.path().join("segments").join(segment_name(first));
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    type Damage<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;
    // What, in which segment, how, the verdict, and what the finding must name.
    let cases: [(&str, u64, Damage<'_>, Verdict, &str); 9] = [
        ("a flipped byte in the first segment", first, Box::new(flip(6_000)), Verdict::Tampered, "byte"),
        ("a flipped byte in the second segment", second, Box::new(flip(5_000)), Verdict::Tampered, "byte"),
        ("a flipped byte in the last segment", last, Box::new(flip(5_000)), Verdict::Tampered, "byte"),
        (
            "a flipped byte in the header of the first",
            first,
            Box::new(flip(100)),
            Verdict::Tampered,
            "header",
        ),
        (
            "a flipped byte in the header of the second",
            second,
            Box::new(flip(100)),
            Verdict::Tampered,
            "header",
        ),
        (
            "a frame of the last segment made zeros",
            last,
            Box::new(|bytes| bytes[5_000..5_100].fill(0)),
            Verdict::Tampered,
            "byte",
        ),
        (
            "the last group of all with a flipped byte",
            last,
            Box::new(|bytes| {
                let at = used(bytes) - 40;
                bytes[at] ^= 1;
            }),
            Verdict::Tampered,
            "byte",
        ),
        (
            "the end of the last segment cut off",
            last,
            Box::new(|bytes| bytes.truncate(used(bytes) - 100)),
            Verdict::Truncated,
            "entry",
        ),
        (
            "the end of the second segment cut off",
            second,
            Box::new(|bytes| bytes.truncate(used(bytes) - 100)),
            Verdict::Tampered,
            "entry",
        ),
    ];
    for (name, segment, damage, verdict, named) in cases {
        let good = fs::read(path(segment)).unwrap();
        let mut bad = good.clone();
        damage(&mut bad);
        replace(&path(segment), &bad);
        let report = pair.check();
        assert_eq!(report.verdict, verdict, "{name}: {report:?}");
        let first_bad = report.first_bad.unwrap().to_string();
        assert!(first_bad.contains("of the tape: ") && first_bad.contains(named), "{name}: {first_bad}");
        assert!(first_bad.contains("(tape)/segments/"), "{name}: {first_bad}");
        replace(&path(segment), &good);
    }
    assert_eq!(pair.check().verdict, Verdict::Verified);
}

#[test]
fn a_missing_seal_or_segment_of_the_tape_is_tampered() {
    let pair = Pair::new();
    let folder = pair.tape.path().join("segments");
    let seal = folder.join(segment_name(pair.segments()[0])).with_extension("seal");
    for file in [seal, folder.join(segment_name(pair.segments()[1]))] {
        let away = file.with_extension("away");
        fs::rename(&file, &away).unwrap();
        let report = pair.check();
        assert_eq!(report.verdict, Verdict::Tampered, "{file:?}: {report:?}");
        assert!(report.first_bad.unwrap().what.starts_with("of the tape: "), "{file:?}");
        fs::rename(&away, &file).unwrap();
    }
    assert_eq!(pair.check().verdict, Verdict::Verified);
}

#[test]
fn what_is_wrong_with_the_tape_behind_its_last_link_is_not_the_logs_to_say() {
    let pair = Pair::new();
    {
        let tape = Log::open(pair.tape.path(), options()).unwrap();
        for number in 0..9 {
            append_durably(&tape, draft(&[number]));
        }
        tape.stop().unwrap();
    }
    let path = pair.tape.path().join("segments").join(segment_name(*pair.segments().last().unwrap()));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.iter().rposition(|byte| *byte != 0).unwrap() - 40;
    bytes[at] ^= 1;
    replace(&path, &bytes);
    assert_eq!(pair.check().verdict, Verdict::Verified);
    let by_itself = verify(pair.tape.path(), &Anchors::default(), &mut |_| {}).unwrap();
    assert_eq!(by_itself.verdict, Verdict::Tampered, "{by_itself:?}");
}

#[test]
fn three_verifiers_agree_on_tapes_damaged_at_random() {
    let seed = std::env::var("SEALFEED_SEED").map_or(20_261_126, |text| text.parse().unwrap());
    println!("seed {seed}");
    let (pair, mut random) = (Pair::new(), Random(seed));
    let folder = pair.tape.path().join("segments");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.push(pair.tape.path().join("checkpoints"));
    files.sort();
    for number in 0..RANDOM_CASES {
        let file = &files[usize::try_from(random.below(files.len() as u64)).unwrap()];
        let good = fs::read(file).unwrap();
        let mut bad = good.clone();
        // Mostly where something is written.
        let used = bad.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 100;
        let at = usize::try_from(random.below(used)).unwrap().min(bad.len().saturating_sub(1));
        match random.below(3) {
            0 => bad.truncate(at),
            1 => {
                let end = (at + 64).min(bad.len());
                bad[at..end].fill(0);
            }
            _ => bad.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        }
        println!("{number}: {} at {at}", file.display());
        replace(file, &bad);
        pair.check();
        replace(file, &good);
    }
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
