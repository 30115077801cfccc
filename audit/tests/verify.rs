//! Ways to verify: threads change nothing in a report, and a checkpoint kept elsewhere can be started from.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sealfeed_audit::storage::DiskStorage;
use sealfeed_audit::verify::{Anchors, Plan, Report, Verdict, verify_planned};
use sealfeed_audit::{Initialised, Log, Options, Receipt};
use support::{append_durably, copy, draft, init_log, key_and_k0, options, verify_with};

fn planned(folder: &Path, anchors: &Anchors, plan: &Plan) -> Report {
    verify_planned(&DiskStorage::new(folder), anchors, plan, &mut |_| {}).unwrap()
}

fn with_threads(folder: &Path, anchors: &Anchors, threads: usize) -> Report {
    planned(folder, anchors, &Plan { threads: Some(threads), ..Plan::default() })
}

struct Subject {
    folder: tempfile::TempDir,
    initialised: Initialised,
    receipts: Vec<Receipt>,
}

/// Seven segments in two runs, several epochs, checkpoints within segments and a recovered segment.
fn subject() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let mut receipts = Vec::new();
    for run in 0..2u8 {
        let options =
            Options { checkpoint_interval_ns: 1_000_000, epoch_interval_ns: 3_000_000, ..options() };
        let log = Log::open(folder.path(), options).unwrap();
        for index in 0..60u8 {
            if index % 20 == 19 {
                log.rotate();
            }
            receipts.push(append_durably(&log, draft(&vec![index; 20 + usize::from(index) * 7])));
        }
        log.stop().unwrap();
        if run == 0 {
            // What a crash leaves behind the last group.
            let last = files(folder.path(), "segments").into_iter().rfind(|path| is(path, "seg")).unwrap();
            let mut bytes = fs::read(&last).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 8 * 8 + 16;
            bytes[end..end + 5].copy_from_slice(b"SFE1x");
            fs::write(&last, bytes).unwrap();
            fs::write(folder.path().join("state"), "sealfeed/v1 state\nwriter open\n").unwrap();
        }
    }
    Subject { folder, initialised, receipts }
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn files(folder: &Path, part: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder.join(part)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// What is done to a log; numbers choose file and place.
#[derive(Clone, Debug)]
enum Damage {
    Flip { file: prop::sample::Index, at: prop::sample::Index, bit: u8 },
    Cut { file: prop::sample::Index, at: prop::sample::Index },
    Remove { file: prop::sample::Index },
    Swap { first: prop::sample::Index, second: prop::sample::Index },
    Checkpoints { at: prop::sample::Index, bit: u8 },
    DropCheckpoint { which: prop::sample::Index },
}

fn damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    prop_oneof![
        6 => (any::<Index>(), any::<Index>(), 0u8..8).prop_map(|(file, at, bit)| Damage::Flip { file, at, bit }),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(file, at)| Damage::Cut { file, at }),
        1 => any::<Index>().prop_map(|file| Damage::Remove { file }),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(first, second)| Damage::Swap { first, second }),
        2 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Checkpoints { at, bit }),
        1 => any::<Index>().prop_map(|which| Damage::DropCheckpoint { which }),
    ]
}

fn apply(folder: &Path, damage: &Damage) {
    let all = files(folder, "segments");
    let flip = |path: &Path, at: &prop::sample::Index, bit: u8| {
        let mut bytes = fs::read(path).unwrap();
        // Most of a segment that is not full is zeros: what holds something is hit more often.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used > 0 {
            let at = at.index(used);
            bytes[at] ^= 1 << bit;
            fs::write(path, bytes).unwrap();
        }
    };
    match damage {
        Damage::Flip { file, at, bit } => flip(file.get(&all[..]).as_path(), at, *bit),
        Damage::Cut { file, at } => {
            let path = file.get(&all);
            let bytes = fs::read(path).unwrap();
            if !bytes.is_empty() {
                fs::write(path, &bytes[..at.index(bytes.len())]).unwrap();
            }
        }
        Damage::Remove { file } => fs::remove_file(file.get(&all)).unwrap(),
        Damage::Swap { first, second } => {
            let (first, second) = (first.get(&all), second.get(&all));
            let bytes = [fs::read(first).unwrap(), fs::read(second).unwrap()];
            fs::write(first, &bytes[1]).unwrap();
            fs::write(second, &bytes[0]).unwrap();
        }
        Damage::Checkpoints { at, bit } => flip(&folder.join("checkpoints"), at, *bit),
        Damage::DropCheckpoint { which } => {
            let text = fs::read(folder.join("checkpoints")).unwrap();
            let text = String::from_utf8_lossy(&text).into_owned();
            let parts: Vec<_> = text.split_inclusive("\n\n").collect();
            // A checkpoint is two parts: text and signatures.
            let drop = which.index(parts.len() / 2 + 1) * 2;
            let kept: String = parts
                .iter()
                .enumerate()
                .filter(|(at, _)| at / 2 * 2 != drop)
                .map(|(_, part)| *part)
                .collect();
            fs::write(folder.join("checkpoints"), kept).unwrap();
        }
    }
}

#[test]
fn threads_change_nothing_in_the_report_of_a_damaged_log() {
    let subject = subject();
    let good = with_threads(subject.folder.path(), &key_and_k0(&subject.initialised), 1);
    assert_eq!((good.verdict, good.recoveries.len()), (Verdict::Recovered, 1), "{:#?}", good.findings);
    assert!(good.segments >= 7 && good.epochs >= 3 && good.checkpoints >= 9, "{good:?}");
    let cases = std::env::var("SEALFEED_DAMAGED_LOGS").ok().and_then(|text| text.parse().ok()).unwrap_or(96);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    let strategy = (prop::collection::vec(damage(), 0..3), any::<bool>(), any::<prop::sample::Index>());
    runner
        .run(&strategy, |(damages, with_k0, receipt)| {
            let target = tempfile::tempdir().unwrap();
            copy(subject.folder.path(), target.path());
            for damage in &damages {
                if fs::read_dir(target.path().join("segments")).unwrap().count() > 2 {
                    apply(target.path(), damage);
                }
            }
            let mut anchors = key_and_k0(&subject.initialised);
            if !with_k0 {
                anchors.k0 = None;
            }
            anchors.receipts.push(*receipt.get(&subject.receipts));
            let alone = with_threads(target.path(), &anchors, 1);
            for threads in [2, 5] {
                let together = with_threads(target.path(), &anchors, threads);
                prop_assert_eq!(&together, &alone, "{} threads", threads);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn from_a_checkpoint_on_only_what_follows_is_read_and_the_rest_is_said_not_to_be_checked() {
    let subject = subject();
    let folder = subject.folder.path();
    let text = fs::read_to_string(folder.join("checkpoints")).unwrap();
    let parts: Vec<_> = text.split_inclusive("\n\n").collect();
    let notes: Vec<String> = parts.chunks_exact(2).map(<[&str]>::concat).collect();
    let whole = verify_with(folder, &key_and_k0(&subject.initialised));
    for note in &notes {
        let plan = Plan { from_checkpoint: Some(note.clone()), ..Plan::default() };
        let anchors = key_and_k0(&subject.initialised);
        let report = planned(folder, &anchors, &plan);
        assert!(matches!(report.verdict, Verdict::Verified | Verdict::Recovered), "{:?}", report.findings);
        assert_eq!((report.entries, report.root), (whole.entries, whole.root));
        let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        assert!(report.checked_from <= size);
        let said = report.not_checked.iter().any(|what| what.contains("left out on request"));
        assert_eq!(said, report.checked_from > 0, "{:?}", report.not_checked);
        assert_eq!(report.segments < whole.segments, report.checked_from > 0);
    }
    // Damage before the checkpoint is not looked at; damage behind it is found.
    let last = Plan { from_checkpoint: notes.last().cloned(), ..Plan::default() };
    let target = tempfile::tempdir().unwrap();
    copy(folder, target.path());
    let segments: Vec<_> =
        files(target.path(), "segments").into_iter().filter(|path| is(path, "seg")).collect();
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[4_200] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    flip(&segments[0]);
    let report = planned(target.path(), &key_and_k0(&subject.initialised), &last);
    assert_eq!(report.verdict, Verdict::Verified, "{:?}", report.findings);
    flip(segments.last().unwrap());
    let report = planned(target.path(), &key_and_k0(&subject.initialised), &last);
    assert_eq!(report.verdict, Verdict::Tampered, "{:?}", report.findings);
    assert!(report.first_bad.unwrap().seq >= report.checked_from);
}

#[test]
fn a_checkpoint_of_another_log_cannot_be_started_from() {
    let (subject, other) = (subject(), subject());
    let text = fs::read_to_string(subject.folder.path().join("checkpoints")).unwrap();
    let parts: Vec<_> = text.split_inclusive("\n\n").collect();
    let note = parts[parts.len() - 2..].concat();
    let plan = Plan { from_checkpoint: Some(note), ..Plan::default() };
    let unusable = verify_planned(
        &DiskStorage::new(other.folder.path()),
        &key_and_k0(&other.initialised),
        &plan,
        &mut |_| {},
    );
    assert_eq!(unusable.unwrap_err().exit_code(), 2);
}
