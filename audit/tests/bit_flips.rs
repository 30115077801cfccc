//! Every single bit of a 64 KiB log flipped: each flip is reported, and at the right place.
//!
//! A bit of a segment's header belongs to the segment's first entry, a bit of an entry's frame to that entry, a bit of a group's
//! seal to the group's last entry, a bit of a segment's seal to that segment's first entry. A bit of a checkpoint is reported no
//! later than the entries which the checkpoint covers. All 524,288 and more flips are tried when `SEALFEED_FLIPS=all`; without it
//! every bit of one in [`STRIDE`] bytes, beginning at a byte that is printed (`SEALFEED_FLIPS=<number>` begins there).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sealfeed_audit::verify::{Anchors, Bad, Verdict, verify_storage};
use sealfeed_audit::{Initialised, Log, Options, init_storage, reader};
use support::disk::{FaultyDisk, Image};
use support::{append_durably, draft, init_options, key_and_k0, options};

/// Of so many bytes one is tried in a short run. A prime, so that no field is always stepped over.
const STRIDE: usize = 13;
/// Flips that a thread takes at a time.
const BITS_AT_ONCE: usize = 2_048;

struct Subject {
    image: Image,
    initialised: Initialised,
    entries: Vec<reader::Entry>,
    /// The files with the bits to flip, and their lengths in bits.
    files: Vec<(String, usize)>,
}

/// A stopped log of two segments that takes 64 KiB: groups of one entry and of several, large entries and small.
fn subject() -> Subject {
    let disk = FaultyDisk::default();
    let initialised = init_storage(&disk, &init_options()).unwrap();
    let rare = Options { checkpoint_interval_ns: u64::MAX / 2, ..options() };
    let log = Log::open_storage(Arc::new(disk.clone()), rare).unwrap();
    for index in 0..40u8 {
        if index == 20 {
            log.rotate();
        }
        for _ in 0..index % 3 {
            log.append(draft(&[index; 300])).unwrap();
        }
        append_durably(&log, draft(&vec![index; 40 + usize::from(index) * 43]));
    }
    log.stop().unwrap();
    let mut image = disk.image();
    let last = image.keys().rfind(|name| name.ends_with(".seg")).unwrap().clone();
    // The zeros of the open segment are cut short; some stay to be flipped.
    let segment = image.get_mut(&last).unwrap();
    segment.truncate(segment.iter().rposition(|byte| *byte != 0).unwrap() + 40);
    let disk = FaultyDisk::from_image(&image);
    let entries = reader::Entries::new(Arc::new(disk), 0).unwrap().map(Result::unwrap).collect();
    let of_log =
        |name: &&String| name.ends_with(".seg") || name.ends_with(".seal") || name.as_str() == "checkpoints";
    let files: Vec<_> =
        image.keys().filter(of_log).map(|name| (name.clone(), image[name].len() * 8)).collect();
    let bits: usize = files.iter().map(|(_, bits)| bits).sum();
    assert!(bits >= 524_288 && files.len() == 4, "{bits} bits in {files:?}");
    Subject { image, initialised, entries, files }
}

impl Subject {
    /// Whether what was found about a flipped byte is what must be found.
    fn right(&self, name: &str, byte: usize, verdict: Verdict, bad: &Bad) -> bool {
        let last = self.entries.last().unwrap().header.seq;
        if name == "checkpoints" {
            // The last note may read as one that a crash cut short, but the log was stopped.
            return matches!(verdict, Verdict::Tampered | Verdict::Truncated | Verdict::Fork)
                && bad.seq <= last;
        }
        let first: u64 = name[9..29].parse().unwrap();
        if name.ends_with(".seal") {
            return verdict == Verdict::Tampered && bad.seq == first;
        }
        let data_end = self.image[name].iter().rposition(|byte| *byte != 0).unwrap() + 1;
        if byte >= data_end.next_multiple_of(8) {
            // Behind the last group of a stopped log nothing may be but zeros.
            return matches!(verdict, Verdict::Tampered | Verdict::Corrupt) && bad.seq > last;
        }
        let inside = self.entries.iter().filter(|entry| entry.segment == first);
        // A frame begins 16 bytes before its body and ends where the next begins; a seal's is its group's last entry's.
        let owner = inside.rev().find(|entry| byte as u64 >= entry.offset - 16);
        verdict == Verdict::Tampered && bad.seq == owner.map_or(first, |entry| entry.header.seq)
    }

    /// Flips one bit of the disk's, verifies, and flips it back.
    fn check(&self, disk: &FaultyDisk, anchors: &Anchors, name: &str, bit: usize) {
        disk.flip(name, bit);
        let report = verify_storage(disk, anchors, &mut |_| {}).unwrap();
        let bad = report.first_bad.unwrap_or_else(|| panic!("bit {bit} of {name} went unnoticed"));
        let right = self.right(name, bit / 8, report.verdict, &bad);
        assert!(right, "bit {bit} of {name}: {}, {bad}", report.verdict);
        disk.flip(name, bit);
    }
}

#[test]
fn every_bit_of_a_small_log_flipped_is_reported_at_its_entry() {
    let subject = subject();
    let anchors = key_and_k0(&subject.initialised);
    let whole = verify_storage(&FaultyDisk::from_image(&subject.image), &anchors, &mut |_| {}).unwrap();
    assert_eq!((whole.verdict, whole.segments), (Verdict::Verified, 2));
    let chosen = std::env::var("SEALFEED_FLIPS").unwrap_or_else(|_| (std::process::id() % 13).to_string());
    let (stride, start) =
        if chosen == "all" { (1, 0) } else { (STRIDE, chosen.parse::<usize>().unwrap() % STRIDE) };
    let flips: Vec<(&str, usize)> = subject
        .files
        .iter()
        .flat_map(|(name, bits)| (0..*bits).map(move |bit| (name.as_str(), bit)))
        .enumerate()
        .filter(|(index, _)| index / 8 % stride == start)
        .map(|(_, flip)| flip)
        .collect();
    println!("SEALFEED_FLIPS={chosen}: {} flips", flips.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let disk = FaultyDisk::from_image(&subject.image);
        while let Some(part) = flips.chunks(BITS_AT_ONCE).nth(next.fetch_add(1, Ordering::Relaxed)) {
            part.iter().for_each(|(name, bit)| subject.check(&disk, &anchors, name, *bit));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    assert!(flips.len() >= 524_288 / stride, "{} flips", flips.len());
}
