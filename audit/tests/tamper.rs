//! What is done to a log behind its back, and the verdict that must come.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use sealfeed_audit::verify::{Anchors, Report, Verdict, verify};
use sealfeed_audit::{EntryRef, Initialised, Log, Options, Receipt, leaf_hash, reader};
use support::{append_durably, copy, draft, init_log, key_and_k0, key_of, options, verify_with};

/// A log of three segments, stopped in good order, with what its users kept.
struct Subject {
    folder: tempfile::TempDir,
    initialised: Initialised,
    receipts: Vec<Receipt>,
    /// Checkpoints as somebody else kept them.
    checkpoints: String,
    entries: u64,
}

/// Checkpoints only at the close of segments and at the stop, so that it is known which entries each covers.
fn rare_checkpoints() -> Options {
    Options { checkpoint_interval_ns: u64::MAX / 2, ..options() }
}

fn subject() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), rare_checkpoints()).unwrap();
    let mut receipts = Vec::new();
    for index in 0..9u8 {
        if index % 3 == 0 && index > 0 {
            log.rotate();
        }
        receipts.push(append_durably(&log, draft(&vec![index; 20 + usize::from(index)])));
    }
    log.stop().unwrap();
    let checkpoints = fs::read_to_string(folder.path().join("checkpoints")).unwrap();
    let report = verify_with(folder.path(), &key_and_k0(&initialised));
    assert_eq!((report.verdict, report.segments, &report.findings[..]), (Verdict::Verified, 3, &[][..]));
    Subject { folder, initialised, receipts, checkpoints, entries: report.entries }
}

impl Subject {
    fn anchors(&self) -> Anchors {
        key_and_k0(&self.initialised)
    }

    /// A copy of the log to lay hands on.
    fn copy(&self) -> tempfile::TempDir {
        let target = tempfile::tempdir().unwrap();
        copy(self.folder.path(), target.path());
        target
    }

    /// Tampers with a copy and verifies it.
    fn after(&self, tamper: impl FnOnce(&Path)) -> Report {
        self.after_with(&self.anchors(), tamper)
    }

    fn after_with(&self, anchors: &Anchors, tamper: impl FnOnce(&Path)) -> Report {
        let target = self.copy();
        tamper(target.path());
        verify_with(target.path(), anchors)
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    paths.sort();
    paths
}

/// Where every entry's body lies: sequence number, segment file, start, length.
fn bodies(folder: &Path) -> Vec<(u64, PathBuf, usize, usize)> {
    let place = |entry: reader::Entry| {
        let path = folder.join(format!("segments/{:020}.seg", entry.segment));
        let start = usize::try_from(entry.offset).unwrap();
        let bytes = fs::read(&path).unwrap();
        let length = u32::from_le_bytes(bytes[start - 12..start - 8].try_into().unwrap());
        (entry.header.seq, path, start, usize::try_from(length).unwrap())
    };
    reader::entries(folder).unwrap().map(|entry| place(entry.unwrap())).collect()
}

fn frame_bytes(body_bytes: usize) -> usize {
    (16 + body_bytes + 4).next_multiple_of(8)
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Writes the checksums of a frame anew after its body was edited.
fn mend_crc(bytes: &mut [u8], start: usize, length: usize) {
    let crc = crc32c::crc32c(&bytes[start..start + length]);
    bytes[start + length..start + length + 4].copy_from_slice(&crc.to_le_bytes());
}

fn check(report: &Report, verdict: Verdict, seq: u64) {
    assert_eq!(report.verdict, verdict, "{:#?}", report.findings);
    assert_eq!(report.first_bad.as_ref().map(|bad| bad.seq), Some(seq), "{:#?}", report.findings);
}

#[test]
fn edit_with_crc_fixed_is_found_at_the_entry_or_the_next_link() {
    let subject = subject();
    for (seq, ..) in bodies(subject.folder.path()) {
        let report = subject.after(|folder| {
            let (_, path, start, length) = bodies(folder).into_iter().find(|place| place.0 == seq).unwrap();
            edit(&path, |bytes| {
                bytes[start + length - 1] ^= 1;
                mend_crc(bytes, start, length);
            });
        });
        assert_eq!(report.verdict, Verdict::Tampered, "entry {seq}");
        let bad = report.first_bad.unwrap().seq;
        // The genesis and own entries of the log may be found out by what they say; all others by the link that follows,
        // by their group's seal, or by the checkpoint.
        assert!(bad == seq || bad == seq + 1, "entry {seq} found at {bad}");
    }
}

#[test]
fn edit_with_the_chain_recomputed_to_the_end_is_found_by_seal_checkpoint_and_receipt() {
    let subject = subject();
    let rewrite = |folder: &Path| {
        let places = bodies(folder);
        let (_, last_path, ..) = places.last().unwrap().clone();
        let mut previous: Option<[u8; 32]> = None;
        for (seq, path, start, length) in places.into_iter().filter(|(_, path, ..)| *path == last_path) {
            edit(&path, |bytes| {
                if let Some(previous) = previous {
                    bytes[start + 16..start + 48].copy_from_slice(&previous);
                } else {
                    bytes[start + length - 1] ^= 1;
                }
                mend_crc(bytes, start, length);
                assert_eq!(EntryRef::parse(&bytes[start..start + length]).unwrap().header.seq, seq);
                previous = Some(leaf_hash(&bytes[start..start + length]));
            });
        }
    };
    let first = bodies(subject.folder.path()).into_iter().rev().find(|place| place.2 == 4_112).unwrap().0;
    let with_k0 = subject.after(rewrite);
    check(&with_k0, Verdict::Tampered, first);
    assert!(with_k0.first_bad.unwrap().what.contains("seal"));
    let with_key = subject.after_with(&key_of(&subject.initialised), rewrite);
    check(&with_key, Verdict::Tampered, first);
    assert!(with_key.first_bad.unwrap().what.contains("checkpoint"));
    let with_receipt = Anchors { receipts: vec![subject.receipts[6]], ..Anchors::default() };
    let by_receipt = subject.after_with(&with_receipt, rewrite);
    assert_eq!(by_receipt.verdict, Verdict::Tampered);
    assert!(
        by_receipt
            .findings
            .iter()
            .any(|bad| bad.seq == subject.receipts[6].seq && bad.what.contains("receipt"))
    );
}

#[test]
fn entries_deleted_inserted_duplicated_swapped_are_found_at_their_place() {
    let subject = subject();
    let places = bodies(subject.folder.path());
    // Entries 2 and 3 are groups of their own in the first segment: an entry frame and a seal frame each.
    let group = |seq: usize| {
        let (_, _, start, length) = places[seq];
        start - 16..start - 16 + frame_bytes(length) + 56
    };
    let path = |folder: &Path| segments(folder)[0].clone();
    let deleted = subject.after(|folder| edit(&path(folder), |bytes| drop(bytes.drain(group(2)))));
    check(&deleted, Verdict::Tampered, 2);
    let duplicated = subject.after(|folder| {
        edit(&path(folder), |bytes| {
            let again = bytes[group(2)].to_vec();
            bytes.splice(group(2).end..group(2).end, again);
        });
    });
    check(&duplicated, Verdict::Tampered, 3);
    let swapped = subject.after(|folder| {
        edit(&path(folder), |bytes| {
            let both = [&bytes[group(3)], &bytes[group(2)]].concat();
            bytes.splice(group(2).start..group(3).end, both);
        });
    });
    check(&swapped, Verdict::Tampered, 2);
    // A forged group with the right number and link, under the seal of another.
    let inserted = subject.after(|folder| {
        edit(&path(folder), |bytes| {
            let (_, _, start, length) = places[2];
            let link = leaf_hash(&bytes[start..start + length]);
            let mut forged = bytes[group(2)].to_vec();
            forged[16 + 8..16 + 16].copy_from_slice(&3u64.to_le_bytes());
            forged[16 + 16..16 + 48].copy_from_slice(&link);
            let number = u64::from_le_bytes(forged[16 + 72..16 + 80].try_into().unwrap()) + 1;
            forged[16 + 72..16 + 80].copy_from_slice(&number.to_le_bytes());
            mend_crc(&mut forged, 16, length);
            bytes.splice(group(2).end..group(2).end, forged);
        });
    });
    check(&inserted, Verdict::Tampered, 3);
    let zeroed = subject.after(|folder| edit(&path(folder), |bytes| bytes[group(2)].fill(0)));
    check(&zeroed, Verdict::Tampered, 2);
}

#[test]
fn length_0_huge_past_the_end_is_found_at_its_entry() {
    let subject = subject();
    let (_, _, start, _) = bodies(subject.folder.path())[2];
    for length in [0u32, 1, 65_536, u32::MAX] {
        let report = subject.after(|folder| {
            edit(&segments(folder)[0], |bytes| {
                bytes[start - 12..start - 8].copy_from_slice(&length.to_le_bytes());
                let crc = crc32c::crc32c(&bytes[start - 16..start - 8]);
                bytes[start - 8..start - 4].copy_from_slice(&crc.to_le_bytes());
            });
        });
        check(&report, Verdict::Tampered, 2);
    }
}

#[test]
fn non_canonical_encoding_is_found_at_its_entry() {
    let subject = subject();
    let (_, _, start, length) = bodies(subject.folder.path())[2];
    // Version, a flag without meaning, clock state, the byte that is zero, a payload shorter than the entry.
    for (at, byte) in [(0, 2), (1, 0x81), (6, 3), (7, 1), (92, 1)] {
        let report = subject.after(|folder| {
            edit(&segments(folder)[0], |bytes| {
                bytes[start + at] = byte;
                mend_crc(bytes, start, length);
            });
        });
        check(&report, Verdict::Tampered, 2);
    }
}

#[test]
fn segments_removed_renamed_swapped_taken_from_another_log_are_found() {
    let subject = subject();
    let other = self::subject();
    let firsts: Vec<u64> = segments(subject.folder.path())
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    let path = |folder: &Path, index: usize| segments(folder)[index].clone();
    let removed = subject.after(|folder| fs::remove_file(path(folder, 1)).unwrap());
    check(&removed, Verdict::Tampered, firsts[1]);
    let first_removed = subject.after(|folder| fs::remove_file(path(folder, 0)).unwrap());
    check(&first_removed, Verdict::Tampered, 0);
    let last_removed = subject.after(|folder| fs::remove_file(path(folder, 2)).unwrap());
    check(&last_removed, Verdict::Truncated, firsts[2]);
    let renamed = subject.after(|folder| {
        fs::rename(path(folder, 1), folder.join(format!("segments/{:020}.seg", firsts[1] + 1))).unwrap();
    });
    check(&renamed, Verdict::Tampered, firsts[1]);
    let swapped = subject.after(|folder| {
        let (a, b) = (fs::read(path(folder, 0)).unwrap(), fs::read(path(folder, 1)).unwrap());
        fs::write(path(folder, 0), b).unwrap();
        fs::write(path(folder, 1), a).unwrap();
    });
    check(&swapped, Verdict::Tampered, 0);
    let foreign = subject.after(|folder| {
        fs::copy(path(other.folder.path(), 1), path(folder, 1)).unwrap();
    });
    check(&foreign, Verdict::Tampered, firsts[1]);
    let unsealed = subject.after(|folder| {
        fs::remove_file(folder.join(format!("segments/{:020}.seal", firsts[1]))).unwrap();
    });
    check(&unsealed, Verdict::Tampered, firsts[1]);
    let longer = subject.after(|folder| edit(&path(folder, 0), |bytes| bytes.push(0)));
    check(&longer, Verdict::Tampered, firsts[1]);
    let shorter = subject.after(|folder| edit(&path(folder, 0), |bytes| bytes.truncate(bytes.len() - 1)));
    assert_eq!(shorter.verdict, Verdict::Tampered);
    let no_checkpoints = subject.after(|folder| fs::remove_file(folder.join("checkpoints")).unwrap());
    assert_eq!(no_checkpoints.verdict, Verdict::Tampered);
    let stray = subject.after(|folder| fs::write(folder.join("segments/notes.txt"), "x").unwrap());
    assert_eq!((stray.verdict, stray.strays), (Verdict::Verified, vec!["segments/notes.txt".to_owned()]));
}

#[test]
fn cut_at_every_byte_of_the_last_three_groups_of_a_stopped_log_is_truncated() {
    let subject = subject();
    let places = bodies(subject.folder.path());
    let last = &places[places.len() - 3..];
    let end = last[2].2 + last[2].3;
    let original = fs::read(&segments(subject.folder.path())[2]).unwrap();
    for cut in last[0].2 - 16..end + 20 {
        let owner = |byte: usize| {
            let holds =
                |place: &&(u64, PathBuf, usize, usize)| byte < place.2 - 16 + frame_bytes(place.3) + 56;
            last.iter().find(holds).unwrap().0
        };
        let first_lost = owner(cut);
        let shortened = subject.after(|folder| edit(&segments(folder)[2], |bytes| bytes.truncate(cut)));
        check(&shortened, Verdict::Truncated, first_lost);
        // Zeros instead of bytes leave a group half there, and a checkpoint covers it.
        let zeroed = subject.after(|folder| edit(&segments(folder)[2], |bytes| bytes[cut..].fill(0)));
        let known = matches!(zeroed.verdict, Verdict::Truncated | Verdict::Tampered);
        let first_changed = owner(cut + original[cut..].iter().position(|byte| *byte != 0).unwrap());
        assert!(known && zeroed.first_bad.as_ref().unwrap().seq == first_changed, "{:#?}", zeroed.findings);
    }
}

#[test]
fn a_cut_that_takes_the_checkpoints_along_is_found_by_what_others_kept() {
    let subject = subject();
    let places = bodies(subject.folder.path());
    let cut = |folder: &Path| {
        // Back to the end of the second segment, checkpoints and state included: as if it had stopped there.
        let third = segments(folder)[2].clone();
        fs::remove_file(third).unwrap();
        let kept: Vec<_> = subject.checkpoints.split_inclusive("=\n\n").collect();
        let notes: Vec<&str> = subject.checkpoints.split("\n\n").collect();
        assert!(notes.len() >= 6 && !kept.is_empty());
        let text: String = notes[..notes.len() - 3].iter().map(|part| format!("{part}\n\n")).collect();
        fs::write(folder.join("checkpoints"), text).unwrap();
        fs::remove_file(folder.join("state")).unwrap();
        fs::remove_dir_all(folder.join("keys")).unwrap();
    };
    let kept = places.iter().find(|(.., start, _)| *start == 4_112).unwrap().0;
    assert_eq!(kept, 0);
    let alone = subject.after(cut);
    assert_eq!(
        (alone.verdict, &alone.findings[..]),
        (Verdict::Verified, &[][..]),
        "inside one epoch nothing shows"
    );
    let last_note =
        subject.checkpoints.trim_end().rsplit_once("\n\n").unwrap().0.rsplit_once("\n\n").unwrap();
    let last_note =
        format!("{}\n\n{}", last_note.1, subject.checkpoints.trim_end().rsplit_once("\n\n").unwrap().1);
    let anchors = [
        Anchors { receipts: vec![subject.receipts[8]], ..subject.anchors() },
        Anchors { expect_size: Some(subject.entries), ..subject.anchors() },
        Anchors { checkpoints: vec![last_note], ..subject.anchors() },
    ];
    for anchors in anchors {
        assert_eq!(subject.after_with(&anchors, cut).verdict, Verdict::Truncated, "{anchors:?}");
        assert_eq!(subject.after_with(&anchors, |_| {}).verdict, Verdict::Verified, "{anchors:?}");
    }
}

#[test]
fn damage_below_a_checkpoint_of_a_live_log_is_found_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), Options { checkpoint_entries: 1, ..options() }).unwrap();
    let receipts: Vec<_> = (0..4u8).map(|byte| append_durably(&log, draft(&[byte; 50]))).collect();
    while log.stats().checkpoint_size <= receipts[3].seq {
        std::thread::yield_now();
    }
    let anchors = key_and_k0(&initialised);
    let report = verify_with(folder.path(), &anchors);
    assert_eq!((report.verdict, report.live), (Verdict::Verified, true));
    let (seq, path, start, _) = bodies(folder.path())[2].clone();
    edit_in_place(&path, start + 20);
    check(&verify_with(folder.path(), &anchors), Verdict::Tampered, seq);
    edit_in_place(&path, start + 20);
    assert_eq!(verify_with(folder.path(), &anchors).verdict, Verdict::Verified);
    log.stop().unwrap();
}

/// Flips a bit without replacing the file, which its writer holds open.
fn edit_in_place(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0u8; 1];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at as u64).unwrap();
}

#[test]
fn two_histories_under_one_key_are_a_fork() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let twin = tempfile::tempdir().unwrap();
    copy(folder.path(), twin.path());
    let mut last = Vec::new();
    for (path, word) in [(folder.path(), "one"), (twin.path(), "two")] {
        let log = Log::open(path, rare_checkpoints()).unwrap();
        append_durably(&log, draft(word.as_bytes()));
        log.stop().unwrap();
        let text = fs::read_to_string(path.join("checkpoints")).unwrap();
        let parts: Vec<_> = text.trim_end().split("\n\n").collect();
        last.push(parts[parts.len() - 2..].join("\n\n"));
    }
    let anchors = Anchors { checkpoints: vec![last[1].clone()], ..key_and_k0(&initialised) };
    assert_eq!(verify_with(folder.path(), &anchors).verdict, Verdict::Fork);
    let own = Anchors { checkpoints: vec![last[0].clone()], ..key_and_k0(&initialised) };
    assert_eq!(verify_with(folder.path(), &own).verdict, Verdict::Verified);
}

#[test]
fn wrong_k_0_or_key_never_verifies_and_no_anchor_proves_nothing() {
    let subject = subject();
    let other = self::subject();
    let wrong_key = Anchors { key: Some(other.initialised.public_key.clone()), ..Anchors::default() };
    assert_eq!(subject.after_with(&wrong_key, |_| {}).verdict, Verdict::Tampered);
    for byte in 0..32 {
        let mut k0 = subject.initialised.k0;
        k0[byte] ^= 0x10;
        let wrong = Anchors { k0: Some(k0), ..key_of(&subject.initialised) };
        check(&subject.after_with(&wrong, |_| {}), Verdict::Tampered, 0);
    }
    assert_eq!(subject.after_with(&Anchors::default(), |_| {}).verdict, Verdict::Unanchored);
    let foreign = Anchors { receipts: vec![other.receipts[0]], ..Anchors::default() };
    let target = subject.copy();
    assert_eq!(verify(target.path(), &foreign, &mut |_| {}).unwrap_err().exit_code(), 2);
}

#[test]
fn seals_stripped_or_old_epoch_resealed_are_epoch_gaps_under_k_0() {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let quick = Options { epoch_interval_ns: 3_000_000, ..rare_checkpoints() };
    let log = Log::open(folder.path(), quick).unwrap();
    while log.stats().epoch < 3 {
        append_durably(&log, draft(b"x"));
    }
    log.stop().unwrap();
    let anchors = key_and_k0(&initialised);
    assert_eq!(verify_with(folder.path(), &anchors).verdict, Verdict::Verified);
    let entries: Vec<_> = reader::entries(folder.path()).unwrap().map(Result::unwrap).collect();
    let of_epoch_0 = entries.iter().find(|entry| entry.header.group_end && entry.header.seq > 0).unwrap();
    // Under load the group has several entries; what is wrong with its seal concerns all of them, from the first on.
    let group = of_epoch_0.header.group;
    let first = entries.iter().find(|entry| entry.header.group == group).unwrap().header.seq;
    let key_of_epoch_2 = sealfeed_audit::EpochKey::first(initialised.k0).next().next();
    let stale = key_of_epoch_2.seal(&initialised.log_id, of_epoch_0.header.seq, &of_epoch_0.hash);
    for (seal, word) in [([0; 32], "stripped"), (stale, "epoch 2")] {
        let target = tempfile::tempdir().unwrap();
        copy(folder.path(), target.path());
        let start = usize::try_from(of_epoch_0.offset).unwrap();
        edit(&segments(target.path())[0], |bytes| {
            let length = u32::from_le_bytes(bytes[start - 12..start - 8].try_into().unwrap());
            let at = start - 16 + frame_bytes(usize::try_from(length).unwrap()) + 16;
            bytes[at..at + 32].copy_from_slice(&seal);
            mend_crc(bytes, at, 32);
        });
        let report = verify_with(target.path(), &anchors);
        check(&report, Verdict::EpochGap, first);
        assert!(report.first_bad.unwrap().what.contains(word), "{word}");
    }
}
