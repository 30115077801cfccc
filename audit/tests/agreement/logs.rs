//! The logs that the cases begin with.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealfeed_audit::retention::{Policy, prune};
use sealfeed_audit::storage::Storage;
use sealfeed_audit::verify::Anchors;
use sealfeed_audit::{Initialised, Log, Options, Receipt, init_storage};

use crate::support::clock::StoppedClock;
use crate::support::disk::{FaultyDisk, Image};
use crate::support::{append_durably, init_options, linked, options};

const NEVER_NS: u64 = u64::MAX / 2;
const EPOCH_NS: u64 = 1_000_000_000;

/// A log and what was kept of it elsewhere.
pub(crate) struct Kept {
    pub(crate) initialised: Initialised,
    pub(crate) receipts: Vec<Receipt>,
    /// A complete set of checkpoints, as somebody else kept them.
    pub(crate) notes: Vec<String>,
}

/// The logs that the cases begin with.
pub(crate) struct Logs {
    /// Three segments, three epochs, two runs, stopped.
    pub(crate) closed: Image,
    /// As `closed` before the second run: one whose writer was cut off between two groups.
    pub(crate) running: Image,
    /// As `running`, with half a group behind the last.
    pub(crate) torn: Image,
    /// `torn` after a start, with more entries, stopped.
    pub(crate) recovered: Image,
    /// `closed` without its first segment, with a PRUNE.
    pub(crate) pruned: Image,
    pub(crate) kept: Kept,
    /// Another log with the same name and another key.
    pub(crate) other: Image,
    pub(crate) other_kept: Kept,
}

pub(crate) fn quiet(clock: &Arc<StoppedClock>) -> Options {
    Options {
        group_window_ns: 0,
        checkpoint_interval_ns: NEVER_NS,
        epoch_interval_ns: EPOCH_NS,
        heartbeat_interval_ns: NEVER_NS,
        checkpoint_entries: 1,
        clock: clock.clone(),
        ..options()
    }
}

/// One run of a writer: `groups` groups, a new segment and a new epoch every third.
pub(crate) fn run(disk: &FaultyDisk, clock: &Arc<StoppedClock>, groups: u8) -> (Log, Vec<Receipt>) {
    let log = Log::open_storage(Arc::new(disk.clone()), quiet(clock)).unwrap();
    let mut receipts = Vec::new();
    for number in 0..groups {
        let turns = number % 3 == 2;
        // Before the clock moves: the writer may notice at any time after that, before or after the entry below.
        let epoch = log.stats().epoch + u64::from(turns);
        if turns {
            log.rotate();
            clock.now_ns.fetch_add(EPOCH_NS, Ordering::Relaxed);
        }
        receipts.push(append_durably(&log, linked(number.into(), 4, None, &[number; 50])));
        // The key is the last that a group changes, so the end of an epoch has its checkpoint by then.
        let size = receipts.last().unwrap().seq + 1;
        while log.stats().checkpoint_size < size || log.stats().epoch < epoch {
            std::thread::yield_now();
        }
    }
    (log, receipts)
}

pub(crate) fn notes_of(image: &Image) -> Vec<String> {
    let text = String::from_utf8(image["checkpoints"].clone()).unwrap();
    let parts: Vec<_> = text.trim_end().split("\n\n").collect();
    parts.chunks(2).map(|note| format!("{}\n\n{}\n", note[0], note[1])).collect()
}

pub(crate) fn logs() -> Logs {
    let make = || {
        let clock = Arc::new(StoppedClock::default());
        let disk = FaultyDisk::default();
        let initial = sealfeed_audit::InitOptions { clock: clock.clone(), ..init_options() };
        let initialised = init_storage(&disk, &initial).unwrap();
        let (log, receipts) = run(&disk, &clock, 8);
        let running = disk.image();
        log.stop().unwrap();
        drop(log);
        (clock, disk, initialised, receipts, running)
    };
    let (clock, disk, initialised, receipts, running) = make();
    let (log, _) = run(&disk, &clock, 4);
    log.stop().unwrap();
    drop(log);
    let closed = disk.image();
    let mut torn = running.clone();
    let (open, end) = end_of_data(&torn);
    let later = disk.content(&open).unwrap();
    // Of the group that follows in the finished log, without its seal and the end of its entry.
    torn.get_mut(&open).unwrap()[end..end + 100].copy_from_slice(&later[end..end + 100]);
    let disk = FaultyDisk::from_image(&torn);
    let (log, _) = run(&disk, &clock, 2);
    log.stop().unwrap();
    drop(log);
    let recovered = disk.image();
    let disk = FaultyDisk::from_image(&closed);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let anchors = Anchors { key: Some(initialised.public_key.clone()), ..Anchors::default() };
    prune_one(&storage, &clock, &anchors);
    let pruned = disk.image();
    let (_, other_disk, other_initialised, other_receipts, _) = make();
    let other = other_disk.image();
    let kept = Kept { initialised, receipts, notes: notes_of(&closed) };
    let notes = notes_of(&other);
    let other_kept = Kept { initialised: other_initialised, receipts: other_receipts, notes };
    Logs { closed, running, torn, recovered, pruned, kept, other, other_kept }
}

pub(crate) fn prune_one(storage: &Arc<dyn Storage>, clock: &Arc<StoppedClock>, anchors: &Anchors) {
    let policy = Policy { default_keep_ns: 2 * EPOCH_NS, classes: Vec::new(), require_stored: false };
    let pruned = prune(storage, quiet(clock), &policy, anchors, &mut |_| Ok(())).unwrap();
    assert!(!pruned.removed.is_empty() && pruned.declared.is_some(), "{pruned:?}");
}

/// Name of the last segment, and where its data ends.
pub(crate) fn end_of_data(image: &Image) -> (String, usize) {
    let name = image.keys().rfind(|name| name.ends_with(".seg")).unwrap().clone();
    let end = image[&name].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (name, end.next_multiple_of(8))
}
