//! What may leave a log, what keeps it, and that no crash on the way leaves anything but the log before or after.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::index::{Terms, Which, build_all};
use sealfeed_audit::reader::Entries;
use sealfeed_audit::retention::{
    Class, Policy, Pruned, Reason, RetentionError, hold, holds, plan, prune, record_stored, sealed,
};
use sealfeed_audit::storage::Storage;
use sealfeed_audit::verify::{Anchors, Verdict, verify_storage};
use sealfeed_audit::{
    Clock, Draft, Hold, HoldRange, Initialised, Log, Options, Prune, Stamp, Stored, SystemClock,
    init_storage, kind,
};
use support::disk::{Fault, FaultyDisk, Random};
use support::{append_durably, init_options, key_and_k0, options};

const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;
const NOW: u64 = 20_000 * DAY_NS;

/// A clock whose date a test moves.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Stamp {
        let utc_ns = self.0.fetch_add(1, Ordering::Relaxed);
        Stamp { utc_ns, ..SystemClock.now() }
    }
}

/// Four sealed segments and an open one, each a day younger than the one before; kinds 300, and 301 in the second.
struct Subject {
    disk: FaultyDisk,
    anchors: Anchors,
    clock: Arc<Hand>,
}

impl Subject {
    fn new() -> Self {
        let disk = FaultyDisk::default();
        let clock = Arc::new(Hand(AtomicU64::new(NOW)));
        let initialised: Initialised = init_storage(
            &disk,
            &sealfeed_audit::InitOptions { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..init_options() },
        )
        .unwrap();
        let subject = Self { disk, anchors: key_and_k0(&initialised), clock };
        let log = Log::open_storage(subject.storage(), subject.options()).unwrap();
        for day in 0..5 {
            if day > 0 {
                log.rotate();
            }
            subject.clock.0.store(NOW + day * DAY_NS, Ordering::Relaxed);
            append_durably(
                &log,
                Draft { kind: if day == 1 { 301 } else { 300 }, payload: vec![7; 30], ..Draft::default() },
            );
        }
        log.stop().unwrap();
        assert_eq!(subject.firsts().len(), 5);
        subject
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.disk.clone())
    }

    fn options(&self) -> Options {
        Options { clock: Arc::clone(&self.clock) as Arc<dyn Clock>, ..options() }
    }

    /// The same log on what a power cut left.
    fn after_power_cut(&self, random: &mut Random) -> Self {
        let disk = self.disk.after_power_cut(random);
        Self { disk, anchors: self.anchors.clone(), clock: Arc::clone(&self.clock) }
    }

    fn firsts(&self) -> Vec<u64> {
        let names = self.disk.list("segments").unwrap();
        names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok()).collect()
    }

    fn prune(&self, policy: &Policy) -> Result<Pruned, RetentionError> {
        prune(&self.storage(), self.options(), policy, &self.anchors, &mut |_| Ok(()))
    }

    fn set(&self, name: &str, range: Option<HoldRange>) -> Result<u64, RetentionError> {
        let it = Hold { name: name.into(), range, by: "compliance".into(), reason: "a lawsuit".into() };
        hold(&self.storage(), self.options(), &it)
    }

    fn reason(&self, policy: &Policy) -> (usize, Reason) {
        let plan = plan(&self.storage(), policy, self.clock.0.load(Ordering::Relaxed)).unwrap();
        (plan.leaving.len(), plan.reason)
    }
}

/// Everything is kept for so many days and a half.
fn days(days: u64) -> Policy {
    Policy { default_keep_ns: days * DAY_NS + DAY_NS / 2, classes: Vec::new(), require_stored: false }
}

#[test]
fn what_leaves_takes_its_index_along() {
    let subject = Subject::new();
    let terms = Terms { version: 1, of: |_, _| {} };
    let built = build_all(&subject.storage(), &terms, Which::Missing, &mut |_| {}).unwrap();
    assert_eq!(built.built, &subject.firsts()[..4]);
    let pruned = subject.prune(&days(2)).unwrap();
    assert!(!pruned.removed.is_empty());
    let names = subject.disk.list("index").unwrap();
    let left: Vec<u64> =
        names.iter().map(|name| name.strip_suffix(".idx").unwrap().parse().unwrap()).collect();
    assert!(left.iter().eq(built.built.iter().filter(|first| !pruned.removed.contains(first))), "{left:?}");
    let report = verify_storage(&subject.disk, &subject.anchors, &mut |_| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Recovered);
}

#[test]
fn only_what_is_old_enough_leaves_and_the_last_segment_never_does() {
    let subject = Subject::new();
    assert_eq!(subject.reason(&days(0)), (4, Reason::Last));
    let (leaving, reason) = subject.reason(&days(3));
    assert!(leaving == 1 && matches!(reason, Reason::TooYoung { .. }), "{leaving}: {reason}");
    assert_eq!(subject.reason(&days(100)).0, 0);
}

#[test]
fn a_segment_is_kept_as_long_as_the_strictest_of_its_kinds() {
    let subject = Subject::new();
    let mut policy = days(0);
    policy.classes = vec![
        Class { kinds: vec![301, 302], keep_ns: 50 * DAY_NS },
        Class { kinds: vec![301], keep_ns: 10 * DAY_NS },
    ];
    let (leaving, reason) = subject.reason(&policy);
    assert!(leaving == 1 && matches!(reason, Reason::TooYoung { .. }), "{leaving}: {reason}");
    // A class of its own may also be shorter than the default.
    let mut policy = days(100);
    policy.classes = vec![Class { kinds: (0..=301).collect(), keep_ns: 0 }];
    assert_eq!(subject.reason(&policy), (4, Reason::Last));
}

#[test]
fn a_legal_hold_keeps_its_range_and_its_own_entry_until_it_is_lifted() {
    let subject = Subject::new();
    let firsts = subject.firsts();
    let third = HoldRange::Entries { first: firsts[2], end: firsts[2] + 1 };
    let seq = subject.set("case 7", Some(third)).unwrap();
    assert_eq!(subject.reason(&days(0)), (2, Reason::Held { name: "case 7".into(), seq }));
    let second_day = HoldRange::Time { from: NOW + DAY_NS, until: NOW + DAY_NS + 1 };
    subject.set("case 8", Some(second_day)).unwrap();
    assert_eq!(subject.reason(&days(0)).0, 1);
    subject.set("everything", Some(HoldRange::All)).unwrap();
    assert_eq!(subject.reason(&days(0)).0, 0);
    assert_eq!(holds(&subject.storage()).unwrap().len(), 3);
    for name in ["everything", "case 8", "case 7"] {
        subject.set(name, None).unwrap();
    }
    assert_eq!(subject.reason(&days(0)), (4, Reason::Last));
    assert!(matches!(subject.set("case 7", None), Err(RetentionError::NoSuchHold(_))));
    assert!(matches!(subject.set("two\nlines", Some(HoldRange::All)), Err(RetentionError::Hold)));

    // The entry that set it lies in a segment of its own: without it nobody would know of the hold.
    let seq = subject.set("own", Some(HoldRange::Entries { first: 1_000_000, end: 1_000_001 })).unwrap();
    let log = Log::open_storage(subject.storage(), subject.options()).unwrap();
    log.rotate();
    append_durably(&log, Draft { kind: 300, ..Draft::default() });
    log.stop().unwrap();
    assert_eq!(subject.reason(&days(0)), (4, Reason::Held { name: "own".into(), seq }));
}

#[test]
fn what_must_be_stored_elsewhere_stays_until_an_entry_says_that_it_is() {
    let subject = Subject::new();
    let policy = Policy { require_stored: true, ..days(0) };
    assert_eq!(subject.reason(&policy), (0, Reason::NotStored));
    let all = sealed(&subject.storage()).unwrap();
    assert_eq!(all.len(), 4);
    let copies: Vec<Stored> = all[..2]
        .iter()
        .map(|(first, end, _)| Stored {
            first: *first,
            end: *end,
            sha256: [0; 32],
            place: "file:///x".into(),
        })
        .collect();
    record_stored(&subject.storage(), subject.options(), &copies).unwrap();
    assert_eq!(subject.reason(&policy), (2, Reason::NotStored));
    assert_eq!(sealed(&subject.storage()).unwrap()[1].2, copies[1..2]);
}

#[test]
fn a_prefix_leaves_only_after_its_declaration_is_under_a_checkpoint() {
    let subject = Subject::new();
    let firsts = subject.firsts();
    let before: Vec<_> = Entries::new(subject.storage(), 0).unwrap().map(Result::unwrap).collect();
    let storage = subject.storage();
    let mut asked = 0;
    let refusing = &mut |size| {
        asked = size;
        Err(std::io::Error::other("no witness answers"))
    };
    let refused = prune(&storage, subject.options(), &days(3), &subject.anchors, refusing);
    assert!(matches!(refused, Err(RetentionError::Io { .. })), "{refused:?}");
    assert_eq!(subject.firsts(), firsts, "nothing left without the witness");

    // The declaration stands; the next call finishes it, and declares nothing new.
    let pruned = subject.prune(&days(3)).unwrap();
    assert_eq!((&pruned.removed[..], pruned.kept, pruned.declared), (&firsts[..1], firsts[1], None));
    assert_eq!(subject.firsts(), firsts[1..]);
    let after: Vec<_> = Entries::new(subject.storage(), 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(after[0], before[usize::try_from(firsts[1]).unwrap()], "what is kept is as it was");
    let declarations: Vec<_> = after.iter().filter(|entry| entry.header.kind == kind::PRUNE).collect();
    assert_eq!(declarations.len(), 1);
    let declared = Prune::from_payload(&declarations[0].payload).unwrap();
    assert_eq!((declared.first_seq(), declared.frontier.size()), (firsts[1], firsts[1]));
    assert!(asked > declarations[0].header.seq, "the checkpoint covers the declaration");
}

#[test]
fn nothing_leaves_a_log_that_does_not_verify_or_is_at_work() {
    let subject = Subject::new();
    let firsts = subject.firsts();
    let unanchored =
        prune(&subject.storage(), subject.options(), &days(0), &Anchors::default(), &mut |_| Ok(()));
    assert!(
        matches!(unanchored, Err(RetentionError::NotVerified(report)) if report.verdict == Verdict::Unanchored)
    );
    let log = Log::open_storage(subject.storage(), subject.options()).unwrap();
    assert!(matches!(subject.prune(&days(0)), Err(RetentionError::Locked)));
    assert!(matches!(subject.set("case", Some(HoldRange::All)), Err(RetentionError::Locked)));
    log.stop().unwrap();
    drop(log);
    // The seal of a segment that would leave.
    let name = format!("segments/{:020}.seal", firsts[0]);
    let mut seal = subject.disk.content(&name).unwrap();
    let last = seal.len() - 10;
    seal[last] ^= 1;
    subject.disk.tamper(&name, seal);
    let refused = subject.prune(&days(0));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(subject.firsts(), firsts);
}

#[test]
fn a_hold_that_comes_between_declaration_and_removal_wins() {
    let subject = Subject::new();
    let refused = prune(&subject.storage(), subject.options(), &days(0), &subject.anchors, &mut |_| {
        Err(std::io::Error::other("no witness answers"))
    });
    assert!(refused.is_err());
    subject.set("late", Some(HoldRange::All)).unwrap();
    assert!(matches!(subject.prune(&days(0)), Err(RetentionError::HeldNow(_))));
    assert_eq!(subject.firsts().len(), 5);
    subject.set("late", None).unwrap();
    assert_eq!(subject.prune(&days(0)).unwrap().removed.len(), 4);
}

#[test]
fn a_crash_at_any_step_leaves_no_hole_and_the_next_call_finishes() {
    let count = {
        let subject = Subject::new();
        let before = subject.disk.operations();
        assert_eq!(subject.prune(&days(0)).unwrap().removed.len(), 4);
        subject.disk.operations() - before
    };
    let (mut untouched, mut declared, mut partly, mut gone) = (0, 0, 0, 0);
    for step in 0..count + 2 {
        let subject = Subject::new();
        let firsts = subject.firsts();
        subject.disk.arm(step, Fault::Crash);
        // Whether it got to its end does not matter here: an operation more or less is a matter of timing.
        let _ = subject.prune(&days(0));
        let found = subject.after_power_cut(&mut Random(step));
        let there = found.firsts();
        // Opening it anew after the crash may have begun a segment.
        let missing = firsts.iter().filter(|first| !there.contains(first)).count();
        assert!(there.starts_with(&firsts[missing..]), "step {step}: no hole: {there:?}");
        // A server that starts in between takes the log up, in whatever state it is.
        let log = Log::open_storage(found.storage(), found.options()).unwrap();
        log.stop().unwrap();
        drop(log);
        if missing == 0 {
            let report = verify_storage(&found.disk, &found.anchors, &mut |_| {}).unwrap();
            let sound = matches!(report.verdict, Verdict::Verified | Verdict::Recovered);
            assert!(sound, "step {step}: {report:?}");
        }
        let declares = |entry: &sealfeed_audit::reader::Entry| entry.header.kind == kind::PRUNE;
        let is_declared = || Entries::new(found.storage(), 0).unwrap().any(|entry| declares(&entry.unwrap()));
        match missing {
            0 if is_declared() => declared += 1,
            0 => untouched += 1,
            4 => gone += 1,
            _ => partly += 1,
        }
        assert!(missing == 0 || is_declared(), "step {step}: something left undeclared");
        // Too young to leave is only what was not declared before.
        found.prune(&if missing == 0 { days(0) } else { days(1_000) }).unwrap();
        let left = found.disk.list("segments").unwrap();
        let is_old =
            |name: &String| firsts[..4].iter().any(|first| name.starts_with(&format!("{first:020}")));
        assert!(!left.iter().any(is_old), "step {step}: {left:?}");
        assert!(is_declared(), "step {step}");
    }
    assert!(
        untouched > 0 && declared > 0 && partly > 0 && gone > 0,
        "{untouched} {declared} {partly} {gone}"
    );
}
