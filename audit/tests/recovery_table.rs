//! Recovery, case by case: where the last complete group ends (G), what is known to have been durable (H, from each of its
//! sources), what lies behind G, and what the writer must do about it.
//!
//! One log is written with a checkpoint after every group and two changes of the epoch. Every case is cut out of it: groups up to
//! G, own checkpoints up to one size, a checkpoint kept elsewhere of another, the key file of some epoch, and damage. What must
//! come is computed from the case alone, by [`Case::expected`]. A refusal must leave every byte as it was.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealfeed_audit::verify::{Anchors, Verdict, verify_storage};
use sealfeed_audit::{
    IN_FLIGHT_BYTES, InitOptions, Initialised, Log, OpenError, Options, Recovery, Torn, init_storage, kind,
    reader, sha256,
};
use support::clock::StoppedClock;
use support::disk::{Fault, FaultyDisk, Image, Random};
use support::{draft, init_options, key_and_k0, options};

const SEGMENT: &str = "segments/00000000000000000000.seg";
const EPOCH_NS: u64 = 1_000_000_000;
const NEVER_NS: u64 = u64::MAX / 2;

/// A group of the log that all cases are cut out of.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// One past its last entry.
    end_seq: u64,
    end: usize,
    epoch: u64,
    ends_epoch: bool,
}

struct Whole {
    image: Image,
    initialised: Initialised,
    groups: Vec<Group>,
    /// Notes of the own checkpoints by the group they end with.
    notes: Vec<String>,
    /// The key file in epochs 0, 1 and 2.
    keys: Vec<Vec<u8>>,
}

fn whole() -> Whole {
    let disk = FaultyDisk::default();
    let clock = Arc::new(StoppedClock::default());
    let initial = InitOptions { clock: clock.clone(), ..init_options() };
    let initialised = init_storage(&disk, &initial).unwrap();
    let mut keys = vec![disk.content("keys/epoch.key").unwrap()];
    let busy = Options { epoch_interval_ns: EPOCH_NS, checkpoint_entries: 1, ..quiet(clock.clone()) };
    let log = Log::open_storage(Arc::new(disk.clone()), busy).unwrap();
    for number in 0..9u8 {
        let turns = matches!(number, 2 | 5);
        if turns {
            clock.now_ns.fetch_add(EPOCH_NS, Ordering::Relaxed);
        }
        let seq = log.append(draft(&[number; 60])).unwrap();
        log.wait_durable(seq).unwrap();
        let epoch = keys.len() as u64 - 1 + u64::from(turns);
        // The key is the last that a group changes, so the end of an epoch has its checkpoint by then.
        while log.stats().checkpoint_size <= seq || log.stats().epoch < epoch {
            std::thread::yield_now();
        }
        if turns {
            keys.push(disk.content("keys/epoch.key").unwrap());
        }
    }
    let image = disk.image();
    drop(log);
    let entries: Vec<_> = reader::Entries::new(Arc::new(FaultyDisk::from_image(&image)), 0)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.header.group_end) {
        let body = usize::try_from(entry.offset).unwrap();
        let length = u32::from_le_bytes(image[SEGMENT][body - 12..body - 8].try_into().unwrap());
        // Behind the entry's frame stands the seal's, of 56 bytes.
        let end = (body + usize::try_from(length).unwrap() + 4).next_multiple_of(8) + 56;
        let ends_epoch = entry.header.kind == kind::EPOCH_END;
        groups.push(Group { end_seq: entry.header.seq + 1, end, epoch: entry.header.epoch, ends_epoch });
    }
    let text = String::from_utf8(image["checkpoints"].clone()).unwrap();
    let parts: Vec<_> = text.trim_end().split("\n\n").collect();
    let notes: Vec<_> = parts.chunks(2).map(|note| format!("{}\n\n{}\n", note[0], note[1])).collect();
    assert_eq!(notes.len(), groups.len(), "a checkpoint for every group");
    Whole { image, initialised, groups, notes, keys }
}

fn quiet(clock: Arc<StoppedClock>) -> Options {
    Options {
        group_window_ns: 0,
        checkpoint_interval_ns: NEVER_NS,
        epoch_interval_ns: NEVER_NS,
        heartbeat_interval_ns: NEVER_NS,
        clock,
        ..options()
    }
}

/// What lies behind the last complete group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// The group in flight without its last byte.
    GroupCutShort,
    /// The group in flight, its seal missing.
    GroupWithoutSeal,
    /// Its first bytes lost, its last ones there.
    GroupWithoutHead,
    /// One byte at the very end of the in-flight window.
    LastByteOfWindow,
    /// One byte behind the window.
    FirstByteBeyondWindow,
    /// The next group is damaged, the one after it is not.
    IntactGroupBeyond,
}

const DAMAGES: [Damage; 7] = [
    Damage::None,
    Damage::GroupCutShort,
    Damage::GroupWithoutSeal,
    Damage::GroupWithoutHead,
    Damage::LastByteOfWindow,
    Damage::FirstByteBeyondWindow,
    Damage::IntactGroupBeyond,
];

/// What lies behind the last good checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notes {
    Whole,
    Incomplete,
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    No,
    /// Stopped with the entries up to the end of this group.
    At(usize),
}

/// Groups are given by their index in the whole log.
#[derive(Clone, Copy, Debug)]
struct Case {
    kept: usize,
    own: usize,
    witness: Option<usize>,
    key: u64,
    damage: Damage,
    notes: Notes,
    stopped: Stopped,
}

/// What must come of a case.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Opens(Option<Recovery>),
    Rollback(&'static str, u64),
    Corrupt,
    KeyTooOld,
}

impl Case {
    fn image(&self, whole: &Whole) -> Image {
        let mut image = whole.image.clone();
        let end = whole.groups[self.kept].end;
        let full = whole.image[SEGMENT].clone();
        let segment = image.get_mut(SEGMENT).unwrap();
        segment[end..].fill(0);
        let next = whole.groups[self.kept + 1];
        let window = end + usize::try_from(IN_FLIGHT_BYTES).unwrap();
        match self.damage {
            Damage::None => {}
            Damage::GroupCutShort => {
                // The last bytes of a group are a checksum and zeros; the cut goes through the checksum.
                segment[end..next.end - 7].copy_from_slice(&full[end..next.end - 7]);
            }
            Damage::GroupWithoutSeal => {
                segment[end..next.end - 56].copy_from_slice(&full[end..next.end - 56]);
            }
            Damage::GroupWithoutHead => {
                segment[end + 20..next.end].copy_from_slice(&full[end + 20..next.end]);
            }
            Damage::LastByteOfWindow => segment[window - 1] = 7,
            Damage::FirstByteBeyondWindow => segment[window] = 7,
            Damage::IntactGroupBeyond => {
                let after = whole.groups[self.kept + 2].end;
                segment[end..after].copy_from_slice(&full[end..after]);
                segment[end + 30] ^= 1;
            }
        }
        let mut checkpoints = self.own_notes(whole);
        match self.notes {
            Notes::Whole => {}
            Notes::Incomplete => checkpoints.push_str(&whole.notes[self.own + 1][..50]),
            Notes::Malformed => checkpoints.push_str("this is\n\nno checkpoint\n\n"),
        }
        image.insert("checkpoints".to_owned(), checkpoints.into_bytes());
        image.insert("keys/epoch.key".to_owned(), whole.keys[usize::try_from(self.key).unwrap()].clone());
        let state = match self.stopped {
            Stopped::No => "sealfeed/v1 state\nwriter open\n".to_owned(),
            Stopped::At(group) => {
                format!("sealfeed/v1 state\nwriter closed\nsize {}\n", whole.groups[group].end_seq)
            }
        };
        image.insert("state".to_owned(), state.into_bytes());
        image
    }

    fn own_notes(&self, whole: &Whole) -> String {
        whole.notes[..=self.own].iter().map(|note| format!("{note}\n")).collect()
    }

    fn witnessed(&self, whole: &Whole) -> Vec<String> {
        self.witness.iter().map(|group| whole.notes[*group].clone()).collect()
    }

    /// The rules, said once more and without the log's code.
    fn expected(&self, whole: &Whole, image: &Image) -> Expected {
        let size = |group: usize| whole.groups[group].end_seq;
        let kept = whole.groups[self.kept];
        if self.notes == Notes::Malformed {
            return Expected::Corrupt;
        }
        match self.witness {
            Some(witness) if witness > self.kept && witness >= self.own => {
                // Of two equal claims the one from outside is named: it cannot have been forged here.
                return Expected::Rollback("a checkpoint kept elsewhere", size(witness));
            }
            _ if self.own > self.kept => {
                return Expected::Rollback("the log's own checkpoint", size(self.own));
            }
            _ => {}
        }
        let due = kept.epoch + u64::from(kept.ends_epoch);
        if self.key > due {
            return Expected::Rollback("the epoch key", self.key);
        }
        if self.key < due && !(kept.ends_epoch && self.key == kept.epoch) {
            return Expected::KeyTooOld;
        }
        if let Stopped::At(group) = self.stopped {
            if group > self.kept {
                return Expected::Rollback("the state of a stopped log", size(group));
            }
            if group == self.kept && (self.own < group || self.damage != Damage::None) {
                return Expected::Corrupt;
            }
        }
        if matches!(self.damage, Damage::FirstByteBeyondWindow | Damage::IntactGroupBeyond) {
            return Expected::Corrupt;
        }
        if self.damage == Damage::None && self.notes == Notes::Whole {
            return Expected::Opens(None);
        }
        let torn = |file: &str, from: usize| {
            let bytes = &image[file][from..];
            let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            Torn { offset: from as u64, bytes: length as u64, sha256: sha256(&bytes[..length]) }
        };
        Expected::Opens(Some(Recovery {
            kept: kept.end_seq,
            segment: 0,
            torn_segment: torn(SEGMENT, kept.end),
            torn_checkpoint: torn("checkpoints", self.own_notes(whole).len()),
            checkpoint_size: size(self.own),
            witness_size: self.witness.map_or(0, size),
            key_epoch: due,
        }))
    }

    fn options(&self, whole: &Whole) -> Options {
        Options { witnessed: self.witnessed(whole), ..quiet(Arc::default()) }
    }
}

/// Opens, and says what came of it in the words of the table.
fn outcome(disk: &FaultyDisk, options: Options, entries_before: u64) -> Result<Expected, OpenError> {
    match Log::open_storage(Arc::new(disk.clone()), options) {
        Ok(log) => {
            log.stop().unwrap();
            Ok(Expected::Opens(recoveries(disk, entries_before).pop()))
        }
        Err(OpenError::Rollback { claimed, source_of_claim, .. }) => {
            Ok(Expected::Rollback(source_of_claim, claimed))
        }
        Err(OpenError::Corrupt { .. }) => Ok(Expected::Corrupt),
        Err(OpenError::WrongLog { .. }) => Ok(Expected::KeyTooOld),
        Err(other) => Err(other),
    }
}

fn recoveries(disk: &FaultyDisk, from: u64) -> Vec<Recovery> {
    let entries = reader::Entries::new(Arc::new(disk.clone()), from).unwrap().map(Result::unwrap);
    let recoveries = entries.filter(|entry| entry.header.kind == kind::RECOVERY);
    recoveries.map(|entry| Recovery::from_payload(&entry.payload).unwrap()).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // In the middle of an epoch, at the end of one, at the start of the next.
    for kept in [3, 4, 5] {
        for own in [kept - 1, kept, kept + 1] {
            for witness in [None, Some(kept - 2), Some(kept), Some(kept + 1), Some(kept + 2)] {
                for key in 0..3 {
                    for damage in DAMAGES {
                        for notes in [Notes::Whole, Notes::Incomplete, Notes::Malformed] {
                            for stopped in [Stopped::No, Stopped::At(kept), Stopped::At(kept + 1)] {
                                // What was malformed needs no other dimension, and a stopped log few.
                                let plain = witness.is_none() && damage == Damage::None;
                                let calm = notes == Notes::Whole && witness.is_none();
                                if (notes == Notes::Malformed && !plain) || (stopped != Stopped::No && !calm)
                                {
                                    continue;
                                }
                                cases.push(Case { kept, own, witness, key, damage, notes, stopped });
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

#[test]
fn every_case_of_kept_claimed_and_damaged_opens_declares_or_refuses_as_the_rules_say() {
    let whole = whole();
    let (mut opened, mut declared, mut refused) = (0, 0, 0);
    for case in cases() {
        let image = case.image(&whole);
        let disk = FaultyDisk::from_image(&image);
        let expected = case.expected(&whole, &image);
        let kept = whole.groups[case.kept].end_seq;
        let found =
            outcome(&disk, case.options(&whole), kept).unwrap_or_else(|error| panic!("{case:?}: {error:?}"));
        assert_eq!(found, expected, "{case:?}");
        match expected {
            Expected::Opens(recovery) => {
                opened += 1;
                declared += u32::from(recovery.is_some());
                keeps_what_was(&disk, &image, &case, &whole);
                let anchors =
                    Anchors { checkpoints: case.witnessed(&whole), ..key_and_k0(&whole.initialised) };
                let report = verify_storage(&disk, &anchors, &mut |_| {}).unwrap();
                let verdict = if recovery.is_some() { Verdict::Recovered } else { Verdict::Verified };
                assert_eq!(report.verdict, verdict, "{case:?}: {:#?}", report.findings);
            }
            Expected::Rollback(..) | Expected::Corrupt | Expected::KeyTooOld => {
                refused += 1;
                assert_eq!(disk.image(), image, "refused, and something was written: {case:?}");
            }
        }
    }
    assert!(opened > 100 && declared > 100 && refused > 300, "{opened} {declared} {refused}");
}

/// What was in complete groups, what was torn and the checkpoints are where they were.
fn keeps_what_was(disk: &FaultyDisk, before: &Image, case: &Case, whole: &Whole) {
    let after = disk.image();
    let data = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let length = data(&before[SEGMENT]).max(whole.groups[case.kept].end);
    assert_eq!(after[SEGMENT][..length], before[SEGMENT][..length], "{case:?}");
    assert!(after["checkpoints"].starts_with(&before["checkpoints"]), "{case:?}");
}

#[test]
fn a_recovery_cut_off_at_any_operation_is_taken_up_and_declares_the_same() {
    let whole = whole();
    let base = Case {
        kept: 4,
        own: 3,
        witness: Some(2),
        key: 0,
        damage: Damage::GroupWithoutSeal,
        notes: Notes::Incomplete,
        stopped: Stopped::No,
    };
    let others = [
        base,
        Case { notes: Notes::Whole, ..base },
        Case { damage: Damage::None, ..base },
        Case { damage: Damage::None, notes: Notes::Whole, ..base },
        Case { kept: 5, key: 1, damage: Damage::LastByteOfWindow, ..base },
    ];
    for (index, case) in others.into_iter().enumerate() {
        let image = case.image(&whole);
        let Expected::Opens(expected) = case.expected(&whole, &image) else { panic!("{case:?}") };
        let kept = whole.groups[case.kept].end_seq;
        for seed in 0..8u64 {
            for after in 1.. {
                let mut random = Random(seed << 32 | after << 8 | index as u64);
                let disk = FaultyDisk::from_image(&image);
                disk.arm(after, Fault::Crash);
                let opened = Log::open_storage(Arc::new(disk.clone()), case.options(&whole));
                let done = opened.is_ok();
                drop(opened);
                disk.cut_power();
                let disk = disk.after_power_cut(&mut random);
                let log = Log::open_storage(Arc::new(disk.clone()), case.options(&whole))
                    .unwrap_or_else(|error| panic!("{case:?}, {after}, seed {seed}: {error:?}"));
                log.stop().unwrap();
                keeps_what_was(&disk, &image, &case, &whole);
                let said = recoveries(&disk, kept);
                if let Some(expected) = expected {
                    // Where the segment was not torn, the group with the declaration itself may be what is torn now.
                    let same = |said: &Recovery| {
                        let segment =
                            said.torn_segment == expected.torn_segment || case.damage == Damage::None;
                        (said.kept, said.torn_checkpoint) == (expected.kept, expected.torn_checkpoint)
                            && segment
                    };
                    assert!(said.iter().any(same), "{case:?}, {after}, seed {seed}: {said:#?}");
                }
                let report = verify_storage(&disk, &key_and_k0(&whole.initialised), &mut |_| {}).unwrap();
                let fine = matches!(report.verdict, Verdict::Recovered | Verdict::Verified);
                assert!(fine, "{case:?}, {after}, seed {seed}: {:#?}", report.findings);
                if done {
                    break;
                }
            }
        }
    }
}

/// The number of the new run is unknown when its first group is the damaged one; the seals behind it tell all the same.
#[test]
fn a_run_whose_first_group_is_damaged_is_not_taken_for_a_torn_one() {
    let whole = whole();
    let case = Case {
        kept: 0,
        own: 0,
        witness: None,
        key: 0,
        damage: Damage::IntactGroupBeyond,
        notes: Notes::Whole,
        stopped: Stopped::No,
    };
    let image = case.image(&whole);
    let disk = FaultyDisk::from_image(&image);
    assert_eq!(outcome(&disk, case.options(&whole), 0).unwrap(), Expected::Corrupt);
    assert_eq!(disk.image(), image);
    let torn = Case { damage: Damage::GroupCutShort, ..case };
    let image = torn.image(&whole);
    let disk = FaultyDisk::from_image(&image);
    assert_eq!(outcome(&disk, torn.options(&whole), 0).unwrap(), torn.expected(&whole, &image));
}

#[test]
fn a_checkpoint_known_from_elsewhere_must_be_this_logs_and_agree_with_it() {
    let other = whole();
    let whole = whole();
    let case = Case {
        kept: 4,
        own: 4,
        witness: None,
        key: 1,
        damage: Damage::None,
        notes: Notes::Whole,
        stopped: Stopped::No,
    };
    let image = case.image(&whole);
    let open = |notes: Vec<String>| {
        let disk = FaultyDisk::from_image(&image);
        let options = Options { witnessed: notes, ..quiet(Arc::default()) };
        let result = Log::open_storage(Arc::new(disk.clone()), options);
        if result.is_err() {
            assert_eq!(disk.image(), image, "refused, and something was written");
        }
        result.map(drop)
    };
    let good = whole.notes[3].clone();
    open(vec![good.clone()]).unwrap();
    let cosigned = format!("{good}\u{2014} witness.example AAAAAAEBAQEBAQEB\n");
    open(vec![cosigned]).unwrap();
    let edited = good.replacen(&format!("\n{}\n", whole.groups[3].end_seq), "\n4444\n", 1);
    for bad in [other.notes[3].clone(), edited, String::new(), "no note".to_owned()] {
        let error = open(vec![good.clone(), bad]).unwrap_err();
        assert!(matches!(error, OpenError::Witnessed { index: 1, .. }), "{error:?}");
    }
}
