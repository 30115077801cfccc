//! Indexes from the command line: every query says the same with them as without, and what an index hides is never hidden silently.

use std::fs;
use std::path::{Path, PathBuf};

use sealfeed_audit::{Log, Options, SEGMENT_BYTES_MIN};

use crate::process::{replay, run, verify};
use crate::query::past;

/// Bytes of the fixed part of an index's head, of a piece in it, and of a page; see `audit/src/index/file.rs`.
const FIXED: usize = 112;
const PIECE: usize = 56;
const PAGE: usize = 4_096;

/// Seals the segment that a stopped server left open: only sealed ones have indexes.
fn seal(log: &Path) {
    let options = Options { segment_bytes: SEGMENT_BYTES_MIN, ..Options::new("sealfeed.local/log") };
    let writer = Log::open(log, options).unwrap();
    writer.rotate();
    writer.stop().unwrap();
}

fn told(arguments: &[&str]) -> (String, String) {
    let output = run(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{arguments:?}: {err}");
    (out, err)
}

fn indexes(log: &Path) -> Vec<PathBuf> {
    let Ok(folder) = fs::read_dir(log.join("index")) else { return Vec::new() };
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_by_index_what_it_finds_in_the_whole_log() {
    let past = past().await;
    seal(&past.log);
    let log = past.log.to_str().unwrap();
    let all = replay(&past.log, &[]);
    let session = all.iter().find_map(|row| row["session"].as_str()).unwrap().to_owned();
    let filters: [&[&str]; 16] = [
        &[],
        &["--principal", "acme/bob"],
        &["--principal", "acme"],
        &["--firm", "acme"],
        &["--firm", "nobody"],
        &["--symbol", "SEAL"],
        &["--symbol", "OTTER"],
        &["--symbol", "NONE"],
        &["--symbol", "OTTER", "--kind", "synthetic"],
        &["--order", &past.canceled],
        &["--order", "rests"],
        &["--session", &session],
        &["--session", &session[..9]],
        &["--kind", "execution", "--kind", "log.start", "--principal", "acme/bob"],
        &["--code", "SF-ORD-003"],
        &["--until", &past.midway, "--kind", "connect"],
    ];
    for filter in filters {
        let by_index = [filter, &["--index"][..]].concat();
        assert_eq!(replay(&past.log, &by_index), replay(&past.log, filter), "{filter:?}");
    }
    assert_eq!(indexes(&past.log).len(), 1, "the first of them built it");
    let (_, said) = told(&["audit", "replay", log, "--index", "--order", "rests"]);
    assert!(said.contains("1 segments searched") && said.contains("everything is read"), "{said}");
    let code = all.iter().find_map(|row| row["event"]["code"].as_str()).unwrap();
    let with_code = ["--code", code];
    assert!(!replay(&past.log, &with_code).is_empty());
    assert_eq!(replay(&past.log, &["--code", code, "--index"]), replay(&past.log, &with_code));
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_index_builds_them_and_a_build_from_scratch_is_the_same() {
    let past = past().await;
    seal(&past.log);
    let log = past.log.to_str().unwrap();
    let key = crate::process::public_key(&past.log);
    let before = verify(&past.log, &["--key", &key]).word().to_owned();
    let (said, _) = told(&["audit", "index", log]);
    assert!(said.starts_with("1 indexes built, 0 were there, 0 without"), "{said}");
    assert_eq!(said.lines().count(), 2, "the open segment has none: {said}");
    let built = fs::read(&indexes(&past.log)[0]).unwrap();
    assert!(told(&["audit", "index", log]).0.starts_with("0 indexes built, 1 were there"));
    assert!(told(&["audit", "index", log, "--rebuild"]).0.starts_with("1 indexes built, 0 were there"));
    assert_eq!(fs::read(&indexes(&past.log)[0]).unwrap(), built);
    assert_eq!(verify(&past.log, &["--key", &key]).word(), before);
}

/// The same index, of which every row leads to another piece, with the checksums of whoever knows how.
fn misleading(mut index: Vec<u8>, to: u32) -> Vec<u8> {
    let count = |at: usize| u32::from_le_bytes(index[at..at + 4].try_into().unwrap()) as usize;
    let head = FIXED + count(96) * PIECE + count(100) * 8;
    for page in index[head + 4..].chunks_exact_mut(PAGE) {
        for row in page[..PAGE - 8].chunks_exact_mut(8) {
            row[..4].copy_from_slice(&to.to_le_bytes());
        }
        let crc = crc32c::crc32c(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    index
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_hides_entries_of_an_order_changes_no_trace_and_no_replay_that_reads_everything() {
    let past = past().await;
    seal(&past.log);
    let log = past.log.to_str().unwrap();
    let trace =
        |order: &str, more: &[&str]| told(&[&["audit", "trace", log, "--order", order][..], more].concat());
    let (whole, said) = trace(&past.canceled, &["--scan"]);
    assert!(whole.lines().count() >= 3 && said.ends_with("complete\n"), "{said}");
    assert!(indexes(&past.log).is_empty(), "--scan neither uses an index nor makes one");
    let (by_index, said) = trace(&past.canceled, &[]);
    assert_eq!(by_index, whole);
    assert!(said.contains("complete up to its end; found by index"), "what was not checked is said: {said}");
    assert_eq!(trace("rests", &[]).0, whole);

    let [path] = &indexes(&past.log)[..] else { panic!("one segment is sealed") };
    let right = fs::read(path).unwrap();
    let replayed = replay(&past.log, &["--order", "rests"]);
    let pieces = u32::from_le_bytes(right[96..100].try_into().unwrap());
    // Each piece in turn is the only one that the index still leads to; the order's life begins in one and may end in another.
    for piece in 0..pieces {
        fs::write(path, misleading(right.clone(), piece)).unwrap();
        assert_eq!(trace(&past.canceled, &[]).0, whole, "piece {piece}");
        assert_eq!(trace("rests", &[]).0, whole, "piece {piece}");
        assert_eq!(replay(&past.log, &["--order", "rests"]), replayed);
    }
    let never = run(&["audit", "trace", log, "--order", "987654321"]);
    assert_eq!(never.status.code(), Some(66));
}
