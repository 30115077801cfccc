//! Faults that need a log of many epochs, a disk that lies, or a clock that steps. What they share: a log in memory with a
//! checkpoint after every group. `tests/tidy/faults.rs` of the repository lists all faults with their tests.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sealfeed_audit::verify::{Anchors, Report, Verdict, verify, verify_storage};
use sealfeed_audit::{
    Clock, ClockState, EpochKey, InitOptions, Initialised, Log, OpenError, Options, Receipt, Stamp,
    init_storage, kind, reader, sha256,
};
use support::clock::StoppedClock;
use support::disk::{FaultyDisk, Image, Lie};
use support::{append_durably, draft, init_log, init_options, key_and_k0, key_of, options};

const SEGMENT: &str = "segments/00000000000000000000.seg";
const KEY: &str = "keys/epoch.key";
const NEVER_NS: u64 = u64::MAX / 2;
const EPOCH_NS: u64 = 1_000_000_000;
const STATE_OPEN: &[u8] = b"sealfeed/v1 state\nwriter open\n";

struct Subject {
    /// The log as it lay on the disk while its writer was at work, all of it durable.
    image: Image,
    initialised: Initialised,
    receipts: Vec<Receipt>,
    entries: Vec<reader::Entry>,
}

fn quiet(clock: Arc<dyn Clock>) -> Options {
    Options {
        group_window_ns: 0,
        checkpoint_interval_ns: NEVER_NS,
        epoch_interval_ns: EPOCH_NS,
        heartbeat_interval_ns: NEVER_NS,
        checkpoint_entries: 1,
        clock,
        ..options()
    }
}

fn new_disk(clock: &Arc<StoppedClock>) -> (FaultyDisk, Initialised) {
    let disk = FaultyDisk::default();
    let initial = InitOptions { clock: Arc::clone(clock) as Arc<dyn Clock>, ..init_options() };
    let initialised = init_storage(&disk, &initial).unwrap();
    (disk, initialised)
}

/// Three epochs of four groups and an `EPOCH_END` each, and the beginning of a fourth.
fn subject(checkpoint_entries: u64) -> Subject {
    let clock = Arc::new(StoppedClock::default());
    let (disk, initialised) = new_disk(&clock);
    let options = Options { checkpoint_entries, ..quiet(clock.clone()) };
    let log = Log::open_storage(Arc::new(disk.clone()), options).unwrap();
    let mut receipts = Vec::new();
    for number in 0..15u8 {
        let turns = number % 4 == 3;
        if turns {
            clock.now_ns.fetch_add(EPOCH_NS, Ordering::Relaxed);
        }
        let receipt = append_durably(&log, draft(&[number; 50]));
        let epoch = u64::from(number + 1) / 4;
        // The key is the last that a group changes, so the end of an epoch has its checkpoint by then.
        let size = if checkpoint_entries == 1 { receipt.seq + 1 } else { 0 };
        while log.stats().checkpoint_size < size || log.stats().epoch < epoch {
            std::thread::yield_now();
        }
        receipts.push(receipt);
    }
    let image = disk.image();
    drop(log);
    let storage = Arc::new(FaultyDisk::from_image(&image));
    let entries = reader::Entries::new(storage, 0).unwrap().map(Result::unwrap).collect();
    Subject { image, initialised, receipts, entries }
}

impl Subject {
    fn anchors(&self) -> Anchors {
        key_and_k0(&self.initialised)
    }

    /// Where the group of the last entry of an epoch ends, and one past that entry.
    fn end_of_epoch(&self, epoch: u64) -> (usize, u64) {
        let last =
            |entry: &&reader::Entry| entry.header.epoch == epoch && entry.header.kind == kind::EPOCH_END;
        let entry = self.entries.iter().find(last).unwrap();
        (self.end_of(entry), entry.header.seq + 1)
    }

    /// Where the group that ends with this entry ends.
    fn end_of(&self, entry: &reader::Entry) -> usize {
        let body = usize::try_from(entry.offset).unwrap();
        let length = u32::from_le_bytes(self.image[SEGMENT][body - 12..body - 8].try_into().unwrap());
        (body + usize::try_from(length).unwrap() + 4).next_multiple_of(8) + 56
    }

    /// The log as it would be had it ended at the end of `epoch`: segment, checkpoints and state.
    fn cut_after(&self, epoch: u64) -> Image {
        let mut image = self.image.clone();
        let (end, size) = self.end_of_epoch(epoch);
        image.get_mut(SEGMENT).unwrap()[end..].fill(0);
        image.insert("checkpoints".to_owned(), self.checkpoints_up_to(size));
        image
    }

    fn checkpoints_up_to(&self, size: u64) -> Vec<u8> {
        let text = String::from_utf8(self.image["checkpoints"].clone()).unwrap();
        let parts: Vec<_> = text.trim_end().split("\n\n").collect();
        let size_of = |note: &[&str]| note[0].lines().nth(1).unwrap().parse::<u64>().unwrap();
        let kept = parts.chunks(2).filter(|note| size_of(note) <= size);
        kept.map(|note| format!("{}\n\n{}\n\n", note[0], note[1])).collect::<String>().into_bytes()
    }
}

fn verify_image(image: &Image, anchors: &Anchors) -> Report {
    verify_storage(&FaultyDisk::from_image(image), anchors, &mut |_| {}).unwrap()
}

fn reopen(disk: &FaultyDisk) -> Result<Log, OpenError> {
    Log::open_storage(Arc::new(disk.clone()), quiet(Arc::<StoppedClock>::default()))
}

/// What a start makes of it; a refusal must leave every byte as it was.
fn refusal(image: &Image) -> OpenError {
    let disk = FaultyDisk::from_image(image);
    let error = reopen(&disk).map(drop).unwrap_err();
    assert_eq!(&disk.image(), image, "refused, and something was written");
    error
}

#[test]
fn cut_at_every_byte_of_the_last_three_groups_of_a_crashed_log_is_recovered() {
    let subject = subject(u64::MAX);
    let last = subject.entries.len() - 1;
    let ends: Vec<_> = subject.entries[last - 3..].iter().map(|entry| subject.end_of(entry)).collect();
    let bytes = &subject.image[SEGMENT];
    for cut in ends[0]..=ends[3] {
        for shortened in [false, true] {
            let mut image = subject.image.clone();
            let segment = image.get_mut(SEGMENT).unwrap();
            if shortened {
                segment.truncate(cut)
            } else {
                segment[cut..].fill(0)
            }
            // The zeros that pad a group to its end may be gone or not: to fill them in is to lose nothing.
            let whole = |end: &&usize| {
                if shortened {
                    **end <= cut
                } else {
                    !bytes[cut..**end.max(&&cut)].iter().any(|byte| *byte != 0)
                }
            };
            let index = ends.iter().rposition(|end| whole(&end)).unwrap();
            let kept = subject.entries[last - 3 + index].header.seq + 1;
            let clean = image[SEGMENT].len() <= ends[index]
                || image[SEGMENT][ends[index]..].iter().all(|byte| *byte == 0);
            let report = verify_image(&image, &subject.anchors());
            let expected = if clean { Verdict::Verified } else { Verdict::Unclean };
            assert_eq!(
                (report.verdict, report.entries),
                (expected, kept),
                "cut {cut}: {:#?}",
                report.findings
            );
            let disk = FaultyDisk::from_image(&image);
            reopen(&disk).unwrap().stop().unwrap();
            let report = verify_storage(&disk, &subject.anchors(), &mut |_| {}).unwrap();
            let expected = if clean { Verdict::Verified } else { Verdict::Recovered };
            assert_eq!(report.verdict, expected, "cut {cut}: {:#?}", report.findings);
        }
    }
}

#[test]
fn cut_below_a_checkpoint_is_truncated_and_refused() {
    let subject = subject(1);
    for entry in subject.entries.iter().rev().skip(1).filter(|entry| entry.header.group_end).take(6) {
        let mut image = subject.image.clone();
        image.get_mut(SEGMENT).unwrap()[subject.end_of(entry)..].fill(0);
        let report = verify_image(&image, &key_of(&subject.initialised));
        assert_eq!(report.verdict, Verdict::Truncated, "{:#?}", report.findings);
        assert_eq!(report.first_bad.unwrap().seq, entry.header.seq + 1);
        let error = refusal(&image);
        assert!(
            matches!(error, OpenError::Rollback { source_of_claim: "the log's own checkpoint", .. }),
            "{error:?}"
        );
    }
}

#[test]
fn cut_of_more_than_one_epoch_with_the_current_key_is_an_epoch_gap_and_refused() {
    let subject = subject(1);
    for epoch in [0, 1] {
        let image = subject.cut_after(epoch);
        let (_, size) = subject.end_of_epoch(epoch);
        let report = verify_image(&image, &subject.anchors());
        assert_eq!(report.verdict, Verdict::EpochGap, "{:#?}", report.findings);
        assert_eq!(report.first_bad.unwrap().seq, size);
        // Without K_0 the number in the key file still tells.
        assert_eq!(verify_image(&image, &key_of(&subject.initialised)).verdict, Verdict::Truncated);
        let error = refusal(&image);
        assert!(matches!(error, OpenError::Rollback { source_of_claim: "the epoch key", .. }), "{error:?}");
        // Nor does it help to take the key away.
        let mut without = image.clone();
        without.remove(KEY);
        let receipt = Anchors { receipts: vec![*subject.receipts.last().unwrap()], ..subject.anchors() };
        assert_eq!(verify_image(&without, &receipt).verdict, Verdict::Truncated);
        refusal(&without);
    }
}

/// The key of epoch 3, the only one that is still on the machine, in a key file that says it is of epoch `number`.
fn relabelled(subject: &Subject, number: u64) -> Vec<u8> {
    let file = &subject.image[KEY];
    let at = if file[..8] == *b"sfepoch1" { 0 } else { 4_096 };
    assert_eq!(file[at + 8..at + 16], 3u64.to_le_bytes(), "the log is in epoch 3");
    let mut slot = file[at..at + 48].to_vec();
    slot[8..16].copy_from_slice(&number.to_le_bytes());
    let check = sha256(&slot);
    slot.extend(check);
    let mut file = vec![0; file.len()];
    file[..slot.len()].copy_from_slice(&slot);
    file
}

#[test]
fn resume_after_a_cut_with_the_current_key_is_an_epoch_gap() {
    let subject = subject(1);
    for epoch in [0, 1] {
        let mut image = subject.cut_after(epoch);
        let (_, size) = subject.end_of_epoch(epoch);
        image.insert(KEY.to_owned(), relabelled(&subject, epoch + 1));
        image.insert("state".to_owned(), STATE_OPEN.to_vec());
        // Whoever holds the machine can make its writer go on; the epochs in between are gone all the same.
        let disk = FaultyDisk::from_image(&image);
        let log = reopen(&disk).unwrap();
        append_durably(&log, draft(b"a new history"));
        log.stop().unwrap();
        let report = verify_storage(&disk, &subject.anchors(), &mut |_| {}).unwrap();
        assert_eq!(report.verdict, Verdict::EpochGap, "{:#?}", report.findings);
        let bad = report.first_bad.unwrap();
        assert_eq!(bad.seq, size);
        assert!(bad.what.contains("sealed with the key of epoch 3"), "{bad}");
    }
    // In the middle of an epoch the seals that are left do not fit the key.
    let mut image = subject.image.clone();
    image.insert(KEY.to_owned(), relabelled(&subject, 0));
    image.get_mut(SEGMENT).unwrap()[subject.end_of(&subject.entries[3])..].fill(0);
    image.insert("checkpoints".to_owned(), subject.checkpoints_up_to(4));
    assert!(matches!(refusal(&image), OpenError::Corrupt { .. }));
}

#[test]
fn old_epoch_resealed_with_any_later_key_is_an_epoch_gap() {
    let subject = subject(1);
    let mut key = EpochKey::first(subject.initialised.k0);
    let group = subject.entries.iter().find(|entry| entry.header.seq == 3 && entry.header.group_end).unwrap();
    let at = subject.end_of(group) - 40;
    for epoch in 1..4 {
        key = key.next();
        let seal = key.seal(&subject.initialised.log_id, 3, &group.hash);
        let mut image = subject.image.clone();
        let segment = image.get_mut(SEGMENT).unwrap();
        segment[at..at + 32].copy_from_slice(&seal);
        let crc = crc32c::crc32c(&seal);
        segment[at + 32..at + 36].copy_from_slice(&crc.to_le_bytes());
        let report = verify_image(&image, &subject.anchors());
        assert_eq!(report.verdict, Verdict::EpochGap, "{:#?}", report.findings);
        let bad = report.first_bad.unwrap();
        assert_eq!(bad.seq, 3);
        assert!(bad.what.contains(&format!("sealed with the key of epoch {epoch}")), "{bad}");
    }
}

/// A log written on a disk that lies about one write to `file`, then stopped as if nothing had happened.
fn lied_to(file: &str, nth: u64, lie: Lie) -> (FaultyDisk, Initialised, Vec<Receipt>) {
    let clock = Arc::new(StoppedClock::default());
    let (disk, initialised) = new_disk(&clock);
    let log = Log::open_storage(Arc::new(disk.clone()), quiet(clock)).unwrap();
    while log.stats().checkpoint_size < 2 {
        std::thread::yield_now();
    }
    disk.arm_lie(file, nth, lie);
    let mut receipts = Vec::new();
    for number in 0..8u8 {
        let receipt = append_durably(&log, draft(&[number; 400]));
        while log.stats().checkpoint_size <= receipt.seq {
            std::thread::yield_now();
        }
        receipts.push(receipt);
    }
    log.stop().unwrap();
    (disk, initialised, receipts)
}

#[test]
fn lost_misdirected_and_torn_writes_are_found_at_their_entry_and_refused() {
    for lie in [Lie::Lost, Lie::Torn, Lie::Misdirected(4_096), Lie::Misdirected(-512)] {
        // The ninth write to the segment is the last: STOP.
        for nth in 1..=9 {
            let (disk, initialised, receipts) = lied_to(SEGMENT, nth, lie);
            let report = verify_storage(&disk, &key_and_k0(&initialised), &mut |_| {}).unwrap();
            let damaged = matches!(report.verdict, Verdict::Tampered | Verdict::Truncated);
            assert!(damaged, "{lie:?} of write {nth}: {} {:#?}", report.verdict, report.findings);
            // A write that went back has struck entries before its own.
            let seq = receipts[0].seq + nth - 1;
            let bad = report.first_bad.unwrap();
            let place = if lie == Lie::Misdirected(-512) { bad.seq < seq } else { bad.seq == seq };
            assert!(place, "{lie:?} of write {nth}: {bad}");
            let before = disk.image();
            let error = refusal(&before);
            let refused = matches!(error, OpenError::Corrupt { .. } | OpenError::Rollback { .. });
            assert!(refused, "{lie:?} of write {nth}: {error:?}");
        }
    }
    for lie in [Lie::Lost, Lie::Torn, Lie::Misdirected(64), Lie::Misdirected(-64)] {
        for nth in 1..=9 {
            let (disk, initialised, _) = lied_to("checkpoints", nth, lie);
            let report = verify_storage(&disk, &key_and_k0(&initialised), &mut |_| {}).unwrap();
            let noticed = matches!(report.verdict, Verdict::Tampered | Verdict::Truncated | Verdict::Unclean);
            assert!(noticed, "{lie:?} of checkpoint {nth}: {}", report.verdict);
        }
    }
}

/// Steps back and forth with every look, both clocks: more than any clock does.
#[derive(Debug, Default)]
struct SteppingClock {
    looks: AtomicU64,
}

impl Clock for SteppingClock {
    fn now(&self) -> Stamp {
        const HOUR_NS: u64 = 3_600_000_000_000;
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        let utc_ns = match look % 5 {
            0 => 0,
            1 => u64::MAX,
            2 => 1_700_000_000_000_000_000,
            3 => 1_700_000_000_000_000_000 - HOUR_NS,
            _ => 1_700_000_000_000_000_000 + HOUR_NS,
        };
        let monotonic_ns = if look % 7 == 6 { 0 } else { look * 10_000 };
        Stamp { utc_ns, monotonic_ns, clock_error_ns: u32::MAX, clock_state: ClockState::Unsynchronised }
    }
}

#[test]
fn clock_steps_change_neither_order_nor_verdict() {
    let disk = FaultyDisk::default();
    let clock: Arc<dyn Clock> = Arc::new(SteppingClock::default());
    let initialised =
        init_storage(&disk, &InitOptions { clock: Arc::clone(&clock), ..init_options() }).unwrap();
    let mut appended = Vec::new();
    for run in 0..3u8 {
        let options =
            Options { epoch_interval_ns: 1_000_000, checkpoint_entries: 16, ..quiet(Arc::clone(&clock)) };
        let log = Log::open_storage(Arc::new(disk.clone()), options).unwrap();
        for number in 0..40u8 {
            let payload = vec![run, number];
            appended.push((append_durably(&log, draft(&payload)).seq, payload));
        }
        log.stop().unwrap();
        let report = verify_storage(&disk, &key_and_k0(&initialised), &mut |_| {}).unwrap();
        assert_eq!((report.verdict, report.first_bad), (Verdict::Verified, None));
    }
    let entries = reader::Entries::new(Arc::new(disk), 0).unwrap().map(Result::unwrap);
    let own = entries.filter(|entry| entry.header.kind == 300);
    assert!(own.map(|entry| (entry.header.seq, entry.payload)).eq(appended));
}

/// Verifications of one log, which grows all the while; `SEALFEED_LIVE_LOGS` says of how many logs.
const VERIFICATIONS: u64 = 150;
/// Appended while one of them goes on, at most.
const ENTRIES_PER_VERIFICATION: u64 = 250;

#[test]
fn verify_while_appending_raises_no_false_alarm() {
    let logs: u64 = std::env::var("SEALFEED_LIVE_LOGS").map_or(1, |text| text.parse().unwrap());
    for log in 1..=logs {
        let entries = verify_a_live_log();
        println!(
            "log {log} of {logs}: {VERIFICATIONS} verifications, the last over {entries} entries, no false alarm"
        );
    }
}

fn verify_a_live_log() -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let quick = Options { epoch_interval_ns: 5_000_000, checkpoint_interval_ns: 1_000_000, ..options() };
    let log = Log::open(folder.path(), quick).unwrap();
    let (done, begun) = (AtomicBool::new(false), AtomicU64::new(0));
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0u64.. {
                // Unbounded, it could outgrow what is verified by more each time.
                while number >= begun.load(Ordering::Relaxed) * ENTRIES_PER_VERIFICATION
                    && !done.load(Ordering::Relaxed)
                {
                    std::thread::yield_now();
                }
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let length = usize::try_from(number * 37 % 3_000).unwrap();
                append_durably(&log, draft(&vec![7; length]));
                if number % 200 == 199 {
                    log.rotate();
                }
            }
        });
        // Whatever happens here, the thread above ends.
        let judge = || {
            let mut seen = 0;
            for _ in 0..VERIFICATIONS {
                begun.fetch_add(1, Ordering::Relaxed);
                let report = verify(folder.path(), &key_and_k0(&initialised), &mut |_| {}).unwrap();
                if report.verdict != Verdict::Verified || !report.live || report.entries < seen {
                    return Err(Box::new(report));
                }
                seen = report.entries;
            }
            Ok(seen)
        };
        let judged = judge();
        done.store(true, Ordering::Relaxed);
        judged.unwrap_or_else(|report| panic!("{}: {:#?}", report.verdict, report.findings))
    });
    log.stop().unwrap();
    seen
}
