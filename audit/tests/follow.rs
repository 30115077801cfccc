//! Following a log that is being written, and making proofs from a log on disk.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;
use std::thread;

use sealfeed_audit::follow::Follower;
use sealfeed_audit::merkle::Frontier;
use sealfeed_audit::nodes::{NodeError, Nodes};
use sealfeed_audit::reader::{self, ReadError};
use sealfeed_audit::tail::{Tail, TailError};
use sealfeed_audit::{Hash, Log, proof, segment_name};
use support::{append_durably, draft, init_log, options};

/// Enough for four of the smallest segments.
const ENTRIES: u64 = 2_600;

fn payload(number: u64) -> Vec<u8> {
    let length = usize::try_from(100 + number % 500).unwrap();
    number.to_le_bytes().into_iter().cycle().take(length).collect()
}

fn write(folder: &Path) -> u64 {
    init_log(folder);
    let log = Log::open(folder, options()).unwrap();
    for number in 0..ENTRIES {
        log.append(draft(&payload(number))).unwrap();
    }
    log.stop().unwrap();
    log.durable()
}

fn leaves(folder: &Path) -> Vec<Hash> {
    reader::entries(folder).unwrap().map(|entry| entry.unwrap().hash).collect()
}

fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

/// First sequence numbers of the segments in a folder.
fn segments(folder: &Path) -> Vec<u64> {
    let names = fs::read_dir(folder.join("segments")).unwrap();
    let mut firsts: Vec<u64> = names
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".seg")?.parse().ok())
        .collect();
    firsts.sort_unstable();
    firsts
}

#[test]
fn follower_sees_every_entry_of_a_live_log_once_and_in_order_across_rotation() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let writer = thread::spawn({
        let log = log.clone();
        move || {
            for number in 0..ENTRIES {
                let receipt = append_durably(&log, draft(&payload(number)));
                if number % 700 == 699 {
                    log.rotate();
                }
                assert_eq!(log.receipt(receipt.seq), Some(receipt));
            }
            log.stop().unwrap();
            log.durable()
        }
    });
    let mut follower = Follower::new(folder.path(), 0).unwrap();
    let mut seen = Vec::new();
    let mut ended = false;
    while !ended {
        // What is durable once the writer has ended is all there will be.
        ended = writer.is_finished();
        while follower.next_group(|entry, hash, _| seen.push((entry.header.seq, *hash))).unwrap() {}
        thread::yield_now();
    }
    let size = writer.join().unwrap();
    let expected: Vec<_> = (0u64..).zip(leaves(folder.path())).collect();
    assert_eq!((seen.len() as u64, follower.tree().size()), (size, size));
    assert!(seen == expected, "the follower's entries are the reader's");
    assert!(segments(folder.path()).len() > 3);
}

#[test]
fn follower_stops_at_what_does_not_continue_the_log() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let second = segments(folder.path())[1];
    let file = folder.path().join("segments").join(segment_name(second));
    let other = tempfile::tempdir().unwrap();
    write(other.path());
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(&file, permissions).unwrap();
    // The header of its own, the groups of another log.
    let mut bytes = fs::read(&file).unwrap();
    let foreign = fs::read(other.path().join("segments").join(segment_name(0))).unwrap();
    bytes.truncate(4_096);
    bytes.extend_from_slice(&foreign[4_096..]);
    fs::write(&file, bytes).unwrap();
    let mut follower = Follower::new(folder.path(), 0).unwrap();
    let stopped = loop {
        match follower.next_group(|_, _, _| {}) {
            Ok(true) => {}
            Ok(false) => panic!("the foreign group was taken for the end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(stopped, ReadError::Broken { seq, .. } if seq == second), "{stopped}");
}

#[test]
fn proofs_from_disk_hold_for_every_kind_of_place_and_size() {
    let folder = tempfile::tempdir().unwrap();
    let size = write(folder.path());
    let leaves = leaves(folder.path());
    let mut nodes = Nodes::read(folder.path()).unwrap();
    assert_eq!((nodes.size(), nodes.first(), nodes.root()), (size, 0, root(&leaves)));
    let mut indexes = segments(folder.path());
    indexes.extend(segments(folder.path()).iter().skip(1).map(|first| first - 1));
    indexes.extend([0, 1, 255, 256, 257, 511, 512, 1_023, 1_024, size - 1, size - 2, size & !255]);
    for of in [size, size - 1, 2_048, 2_049, 2_303, 1_025, 257, 256] {
        let whole = root(&leaves[..usize::try_from(of).unwrap()]);
        for index in indexes.iter().filter(|index| **index < of) {
            let path = proof::inclusion(&mut nodes, *index, of).unwrap();
            let leaf = &leaves[usize::try_from(*index).unwrap()];
            assert!(proof::verify_inclusion(leaf, *index, of, &path, &whole), "{index} of {of}");
        }
        for old in indexes.iter().filter(|old| **old > 0 && **old < of) {
            let path = proof::consistency(&mut nodes, *old, of).unwrap();
            let before = root(&leaves[..usize::try_from(*old).unwrap()]);
            assert!(proof::verify_consistency(*old, &before, of, &whole, &path), "{old} to {of}");
        }
    }
    let beyond = proof::inclusion(&mut nodes, 0, size + 300);
    assert!(matches!(beyond, Err(NodeError::NotYet(_))));
}

#[test]
fn proofs_of_what_is_kept_hold_after_the_beginning_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let size = write(folder.path());
    let leaves = leaves(folder.path());
    let firsts = segments(folder.path());
    for first in &firsts[..2] {
        fs::remove_file(folder.path().join("segments").join(segment_name(*first))).unwrap();
    }
    let kept = firsts[2];
    assert!(!kept.is_multiple_of(256), "the first kept entry lies inside a block");
    let mut nodes = Nodes::read(folder.path()).unwrap();
    assert_eq!((nodes.first(), nodes.root()), (kept, root(&leaves)));
    for index in (kept..size).step_by(37).chain([kept, size - 1]) {
        let path = proof::inclusion(&mut nodes, index, size).unwrap();
        let leaf = &leaves[usize::try_from(index).unwrap()];
        assert!(proof::verify_inclusion(leaf, index, size, &path, &root(&leaves)), "{index}");
    }
    for old in (kept..size).step_by(101) {
        let path = proof::consistency(&mut nodes, old, size).unwrap();
        let before = root(&leaves[..usize::try_from(old).unwrap()]);
        assert!(proof::verify_consistency(old, &before, size, &root(&leaves), &path), "{old}");
    }
    let gone = proof::inclusion(&mut nodes, 1, size);
    assert!(matches!(gone, Err(NodeError::Pruned { first }) if first == kept));
}

#[test]
fn nodes_advance_with_a_log_that_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let mut nodes = Nodes::read(folder.path()).unwrap();
    let mut heads = Vec::new();
    for number in 0..900 {
        append_durably(&log, draft(&payload(number)));
        if number % 90 == 0 {
            nodes.advance().unwrap();
            heads.push((nodes.size(), nodes.root()));
        }
    }
    let (new, new_root) = *heads.last().unwrap();
    for (old, old_root) in &heads {
        let path = proof::consistency(&mut nodes, *old, new).unwrap();
        assert!(proof::verify_consistency(*old, old_root, new, &new_root, &path), "{old} to {new}");
    }
    log.stop().unwrap();
}

#[test]
fn tail_hands_out_every_entry_once_it_is_signed_across_rotation_and_restart() {
    let folder = tempfile::tempdir().unwrap();
    let key = init_log(folder.path()).public_key;
    let mut tail = Tail::new(folder.path(), 0, Some(key)).unwrap();
    let mut seen = Vec::new();
    let quick = || sealfeed_audit::Options { checkpoint_interval_ns: 1_000_000, ..options() };
    for run in 0..3u64 {
        let log = Log::open(folder.path(), quick()).unwrap();
        for number in 0..300 {
            append_durably(&log, draft(&payload(number)));
            if number % 120 == run {
                log.rotate();
            }
            seen.extend(tail.poll().unwrap().into_iter().map(|entry| (entry.header.seq, entry.hash)));
        }
        log.stop().unwrap();
        // STOP is under a checkpoint: nothing is held back.
        seen.extend(tail.poll().unwrap().into_iter().map(|entry| (entry.header.seq, entry.hash)));
        assert_eq!(seen.len() as u64, log.durable());
    }
    let expected: Vec<_> = (0u64..).zip(leaves(folder.path())).collect();
    assert!(seen == expected);
}

#[test]
fn tail_ends_where_what_was_signed_is_gone_or_changed_behind_its_back() {
    let folder = tempfile::tempdir().unwrap();
    let key = init_log(folder.path()).public_key;
    let quick = || sealfeed_audit::Options { checkpoint_interval_ns: 1_000_000, ..options() };
    let log = Log::open(folder.path(), quick()).unwrap();
    let mut tail = Tail::new(folder.path(), 0, Some(key)).unwrap();
    let before = append_durably(&log, draft(b"before")).seq;
    let mut last = 0;
    while last < before {
        last = tail.poll().unwrap().last().map_or(last, |entry| entry.header.seq);
    }
    let place = reader::entries(folder.path()).unwrap().last().unwrap().unwrap();
    let target = append_durably(&log, draft(b"to be changed")).seq;
    log.stop().unwrap();
    let file = folder.path().join("segments").join(segment_name(0));
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(13).position(|part| part == b"to be changed").unwrap();
    assert!(at as u64 > place.offset);
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let ended = loop {
        match tail.poll() {
            Ok(entries) => assert!(entries.iter().all(|entry| entry.header.seq < target)),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(ended, TailError::Missing { covered, readable } if covered > target && readable <= target),
        "{ended}"
    );
}

#[test]
fn follower_hands_out_what_is_durable_at_the_first_call_after_it() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let mut follower = Follower::new(folder.path(), 0).unwrap();
    for number in 0..50 {
        let receipt = append_durably(&log, draft(&payload(number)));
        let mut last = None;
        // What it read ahead with an earlier group was not written yet then: it must not take that for the end.
        while last != Some(receipt.seq) {
            let is_more = follower.next_group(|entry, _, _| last = Some(entry.header.seq)).unwrap();
            assert!(is_more, "entry {} is durable and was not handed out", receipt.seq);
        }
    }
    log.stop().unwrap();
}
