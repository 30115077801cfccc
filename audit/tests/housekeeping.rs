//! What the writer does beside writing: segments by UTC day, room on the disk, keys into escrow.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "deadlines of waits, never what is tested")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sealfeed_audit::storage::{DiskStorage, Storage};
use sealfeed_audit::verify::{Verdict, verify_storage};
use sealfeed_audit::{
    Clock, ESCROW_K0, ESCROW_KEY, InitError, InitOptions, Log, Options, Space, Stamp, escrow_fingerprint,
    hex, init, init_storage, kind, reader,
};
use support::disk::{Fault, FaultyDisk, Random};
use support::{append_durably, draft, init_log, init_options, key_and_k0, key_of, options, verify_with};

const DAY_NS: u64 = 86_400_000_000_000;
const NOON_NS: u64 = 20_000 * DAY_NS + DAY_NS / 2;

/// UTC as set by the test; the monotonic clock is the system's.
#[derive(Debug)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Stamp {
        Stamp { utc_ns: self.0.load(Ordering::Relaxed), ..sealfeed_audit::SystemClock.now() }
    }
}

fn segments(folder: &Path) -> usize {
    let names = fs::read_dir(folder.join("segments")).unwrap();
    names.filter(|name| name.as_ref().unwrap().path().extension().is_some_and(|e| e == "seg")).count()
}

#[test]
fn first_group_of_a_new_utc_day_begins_a_segment_and_a_clock_that_steps_back_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock(AtomicU64::new(NOON_NS)));
    let made = init(folder.path(), &InitOptions { clock: clock.clone(), ..init_options() }).unwrap();
    let log = Log::open(folder.path(), Options { clock: clock.clone(), ..options() }).unwrap();
    let at = |utc_ns: u64| {
        clock.0.store(utc_ns, Ordering::Relaxed);
        append_durably(&log, draft(b"x"));
        segments(folder.path())
    };
    assert_eq!(at(NOON_NS + 1), 1);
    assert_eq!(at(20_001 * DAY_NS - 1), 1, "the last nanosecond of the day");
    assert_eq!(at(20_001 * DAY_NS), 2, "midnight");
    assert_eq!(at(20_001 * DAY_NS + 5), 2);
    assert_eq!(at(NOON_NS), 2, "a step back");
    assert_eq!(at(20_001 * DAY_NS + 6), 2, "and forward again");
    assert_eq!(at(20_003 * DAY_NS), 3, "a day without entries has no segment");
    log.stop().unwrap();
    assert_eq!(verify_with(folder.path(), &key_and_k0(&made)).verdict, Verdict::Verified);
}

#[test]
fn segments_are_left_alone_at_midnight_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock(AtomicU64::new(NOON_NS)));
    init(folder.path(), &InitOptions { clock: clock.clone(), ..init_options() }).unwrap();
    let plain = Options { clock: clock.clone(), rotate_utc_day: false, ..options() };
    let log = Log::open(folder.path(), plain).unwrap();
    clock.0.store(20_005 * DAY_NS, Ordering::Relaxed);
    append_durably(&log, draft(b"x"));
    assert_eq!(segments(folder.path()), 1);
    log.stop().unwrap();
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Payloads of the SPACE entries, without their numbers.
fn space_entries(disk: &FaultyDisk) -> Vec<String> {
    let entries = reader::Entries::new(Arc::new(disk.clone()), 0).unwrap().map(Result::unwrap);
    let space = entries.filter(|entry| entry.header.kind == kind::SPACE);
    let state = |payload: Vec<u8>| String::from_utf8(payload).unwrap().lines().nth(1).unwrap().to_owned();
    space.map(|entry| state(entry.payload)).collect()
}

#[test]
fn low_and_critical_space_are_states_entries_and_the_end_of_the_reserve() {
    let disk = FaultyDisk::default();
    disk.set_space(50_000_000, 100_000_000);
    let made = init_storage(&disk, &init_options()).unwrap();
    let often = Options { space_interval_ns: 1_000_000, ..options() };
    let log = Log::open_storage(Arc::new(disk.clone()), often).unwrap();
    let becomes = |free: u64, space: Space| {
        disk.set_space(free, 100_000_000);
        wait_for(space.name(), || log.space() == space);
    };
    wait_for("a reserve", || disk.content("reserve").is_some_and(|reserve| !reserve.is_empty()));
    // The smallest segments: 16 of them are 4.3 MB, 4 are 1.1 MB.
    becomes(4_000_000, Space::Low);
    assert!(disk.content("reserve").is_some());
    becomes(1_000_000, Space::Critical);
    wait_for("the reserve given back", || disk.content("reserve").is_none());
    append_durably(&log, draft(b"what must be written still is"));
    becomes(4_000_000, Space::Low);
    wait_for("the reserve filled again", || disk.content("reserve").is_some());
    becomes(50_000_000, Space::Ample);
    log.stop().unwrap();
    assert_eq!(space_entries(&disk), ["state low", "state critical", "state low", "state ample"]);
    let report = verify_storage(&disk, &key_and_k0(&made), &mut |_| {}).unwrap();
    assert_eq!((report.verdict, report.strays), (Verdict::Verified, Vec::<String>::new()));
}

#[test]
fn escrow_holds_public_key_and_k0_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (log, escrow) = (folder.path().join("log"), folder.path().join("escrow"));
    let with_escrow = || InitOptions { escrow: Some(Arc::new(DiskStorage::new(&escrow))), ..init_options() };
    let made = init(&log, &with_escrow()).unwrap();
    let kept = |name: &str| fs::read_to_string(escrow.join(name)).unwrap();
    assert_eq!(kept(ESCROW_KEY), format!("{}\n", made.public_key));
    assert_eq!(kept(ESCROW_K0), format!("{}\n", hex(&made.k0)));
    let mode = fs::metadata(escrow.join(ESCROW_K0)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "mode {mode:o}");
    assert!(matches!(init(&log, &with_escrow()), Err(InitError::Exists)));
    let other = init(&folder.path().join("other"), &with_escrow());
    assert!(matches!(other, Err(InitError::EscrowOccupied)));
    assert_eq!(kept(ESCROW_K0), format!("{}\n", hex(&made.k0)), "nothing was overwritten");
}

/// Power is cut after each operation of making a log, in the log's folder or in escrow; then it is made again.
#[test]
fn whatever_cuts_the_making_of_a_log_off_k0_of_the_log_is_in_escrow() {
    let seed = 20_261_123;
    let mut random = Random(seed);
    let mut cuts = 0;
    for in_escrow in [false, true] {
        for after in 1.. {
            let (disk, escrow) = (FaultyDisk::default(), FaultyDisk::default());
            let armed = if in_escrow { &escrow } else { &disk };
            armed.arm(after, Fault::Crash);
            let attempt = |disk: &FaultyDisk, escrow: &FaultyDisk| {
                let options = InitOptions { escrow: Some(Arc::new(escrow.clone())), ..init_options() };
                init_storage(disk, &options)
            };
            let first = attempt(&disk, &escrow);
            if !armed.crashed() {
                break;
            }
            cuts += 1;
            disk.cut_power();
            escrow.cut_power();
            let (disk, escrow) = (disk.after_power_cut(&mut random), escrow.after_power_cut(&mut random));
            let made = match attempt(&disk, &escrow) {
                // The first attempt had got so far that there is a log.
                Err(InitError::Exists) => None,
                other => Some(other.unwrap_or_else(|error| panic!("seed {seed}, cut {after}: {error}"))),
            };
            drop(first);
            let kept = escrow.content(ESCROW_K0).expect("K_0 is in escrow");
            let kept = sealfeed_audit::hash_from_hex(String::from_utf8(kept).unwrap().trim()).unwrap();
            assert!(made.is_none_or(|made| made.k0 == kept), "seed {seed}, cut {after}");
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            let genesis = reader::Entries::new(storage, 0).unwrap().next().unwrap().unwrap();
            let genesis = String::from_utf8(genesis.payload).unwrap();
            assert!(genesis.contains(&hex(&escrow_fingerprint(&kept))), "seed {seed}, cut {after}");
        }
    }
    assert!(cuts > 30, "{cuts} cuts");
}

#[cfg(target_os = "linux")]
#[test]
fn a_sealed_segment_is_immutable_on_request_and_verifies_as_ever() {
    use rustix::fs::{IFlags, ioctl_getflags};
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let log = Log::open(folder.path(), Options { immutable_segments: true, ..options() }).unwrap();
    append_durably(&log, draft(b"sealed"));
    log.rotate();
    append_durably(&log, draft(b"open"));
    log.stop().unwrap();
    let storage = DiskStorage::new(folder.path());
    let mut flagged = Vec::new();
    for name in storage.list("segments").unwrap() {
        let file = fs::File::open(folder.path().join("segments").join(&name)).unwrap();
        if ioctl_getflags(&file).is_ok_and(|flags| flags.contains(IFlags::IMMUTABLE)) {
            flagged.push(name);
        }
    }
    // Without the right, or on a file system without the flag, nothing is flagged and nothing is refused.
    let expected = ["00000000000000000000.seal", "00000000000000000000.seg"];
    assert!(flagged.is_empty() || flagged == expected, "{flagged:?}");
    println!("flagged: {flagged:?}");
    let report = verify_with(folder.path(), &key_of(&initialised));
    assert_eq!((report.verdict, report.segments), (Verdict::Verified, 2));
    // Or the folder could not be cleared away.
    for name in flagged {
        storage.remove(&format!("segments/{name}")).unwrap();
    }
}
