//! The writer as its users see it: numbers, durability, receipts, rotation, stop, failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::{AppendError, Draft, InitOptions, Log, Options, SEGMENT_BYTES_MIN, init};

const ORIGIN: &str = "log.example/audit";

fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES_MIN, queue_entries_max: 512, ..Options::new(ORIGIN) }
}

fn new_log(folder: &std::path::Path) -> Log {
    let initial = InitOptions { segment_bytes: SEGMENT_BYTES_MIN, ..InitOptions::new(ORIGIN) };
    init(folder, &initial).unwrap();
    Log::open(folder, options()).unwrap()
}

fn draft(payload: &[u8]) -> Draft {
    Draft { kind: 300, schema: 1, payload: payload.to_vec(), ..Draft::default() }
}

#[test]
fn entries_are_numbered_in_order_and_become_durable_with_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let log = new_log(folder.path());
    let seen = Arc::new(AtomicU64::new(0));
    let callback = Arc::clone(&seen);
    log.on_durable(Box::new(move |durable| callback.store(durable, Ordering::Release)));
    let first = log.append(draft(b"a")).unwrap();
    let second = log.append(draft(b"b")).unwrap();
    assert_eq!(second, first + 1);
    let receipt = log.wait_durable(second).unwrap();
    assert_eq!(receipt.seq, second);
    assert_eq!(log.receipt(second), Some(receipt));
    assert!(log.durable() > second);
    log.stop().unwrap();
    assert!(seen.load(Ordering::Acquire) > second);
    assert!(matches!(log.append(draft(b"c")), Err(AppendError::Stopped)));
}

#[test]
fn many_submitters_share_groups_and_segments_rotate() {
    let folder = tempfile::tempdir().unwrap();
    let log = new_log(folder.path());
    std::thread::scope(|scope| {
        for submitter in 0..8u8 {
            let log = log.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    let seq = log.append(draft(&[submitter; 700])).unwrap();
                    log.wait_durable(seq).unwrap();
                }
            });
        }
    });
    let stats = log.stats();
    assert!(stats.groups < 1_600, "groups are shared: {stats:?}");
    log.stop().unwrap();
    let segments = std::fs::read_dir(folder.path().join("segments")).unwrap();
    let names: Vec<_> = segments.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().filter(|name| name.ends_with(".seg")).count() >= 4, "{names:?}");
    let reopened = Log::open(folder.path(), options()).unwrap();
    assert!(reopened.durable() >= 1_600);
    reopened.stop().unwrap();
}
