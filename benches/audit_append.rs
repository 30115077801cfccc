//! Durable entries a second with 64 submitters, against the bare synced write of the same groups in the same run.
//!
//! Submitters are threads of their own, each waiting for its entries one by one, or all of them served by one thread that follows the
//! durable watermark, as the server's pipeline does. Entries are 256 bytes. Two floors take turns with the log on the same disk:
//! `floor` writes as many bytes as the log's average group held, one synced write after the other, to a zero-filled file; it hashes
//! nothing and nobody waits for it. `hand-over` is a group commit that does nothing else: the same threads with as many in flight give
//! numbers to one writer, which writes a group of zeros for all that wait, at most as many as a group of the log holds, and wakes
//! those concerned.
//!
//! `SEALFEED_APPEND_LOAD=1x512` measures only that load. `SEALFEED_APPEND_AHEAD_MB=2048` makes segments of so many MiB and waits until
//! the next one is filled with zeros before it measures: what the filling costs the log is the difference to a run without it.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::Thread;
use std::time::Duration;

use rustix::fs::OFlags;
use sealfeed_audit::{Draft, InitOptions, Log, Options, init};
use support::{Table, per_second, percentile, process_cpu_ns, ratio, smoke, wall_ns};

const ORIGIN: &str = "bench.example/audit";
const SUBMITTERS: usize = 64;
/// With the header of 96 bytes an entry of 256.
const PAYLOAD_BYTES: usize = 160;
/// Bytes of the frame of such an entry, and of a group's seal.
const FRAME_BYTES: u64 = 280;
const SEAL_BYTES: u64 = 56;
const FLOOR_FILE_BYTES: usize = 32 << 20;
const GROUP_ENTRIES_MAX: u64 = 256;

/// What submitters submit to.
trait Target: Sync {
    /// Takes an entry; its number.
    fn append(&self) -> u64;
    /// Blocks until the entry is durable.
    fn wait(&self, seq: u64);
    /// How many are durable.
    fn durable(&self) -> u64;
    /// Groups written so far.
    fn groups(&self) -> u64;
}

impl Target for Log {
    fn append(&self) -> u64 {
        let draft = Draft { kind: 256, payload: vec![7; PAYLOAD_BYTES], ..Draft::default() };
        Log::append(self, draft).unwrap()
    }

    fn wait(&self, seq: u64) {
        self.wait_durable(seq).unwrap();
    }

    fn durable(&self) -> u64 {
        Log::durable(self)
    }

    fn groups(&self) -> u64 {
        self.stats().groups
    }
}

/// A group commit and nothing else.
#[derive(Default)]
struct HandOver {
    appended: Mutex<u64>,
    more: Condvar,
    durable: AtomicU64,
    groups: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Thread>>,
    stop: AtomicBool,
}

impl Target for HandOver {
    fn append(&self) -> u64 {
        let mut appended = self.appended.lock().unwrap();
        *appended += 1;
        self.more.notify_one();
        *appended - 1
    }

    fn wait(&self, seq: u64) {
        {
            let mut waiting = self.waiting.lock().unwrap();
            if self.durable() > seq {
                return;
            }
            // No two wait for the same entry.
            waiting.insert(seq, std::thread::current());
        }
        while self.durable() <= seq {
            std::thread::park();
        }
    }

    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }
}

impl HandOver {
    /// Writes until told to stop and nothing waits.
    fn write(&self, floor: &mut Floor) {
        loop {
            let done = self.durable();
            let mut appended = self.appended.lock().unwrap();
            while *appended == done {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                appended = self.more.wait(appended).unwrap();
            }
            let end = (*appended).min(done + GROUP_ENTRIES_MAX);
            drop(appended);
            floor.write_group(usize::try_from((end - done) * FRAME_BYTES + SEAL_BYTES).unwrap());
            self.groups.fetch_add(1, Ordering::Relaxed);
            self.durable.store(end, Ordering::Release);
            let called = {
                let mut waiting = self.waiting.lock().unwrap();
                let later = waiting.split_off(&end);
                std::mem::replace(&mut *waiting, later)
            };
            called.values().for_each(Thread::unpark);
        }
    }

    fn end(&self) {
        let _appended = self.appended.lock().unwrap();
        self.stop.store(true, Ordering::Relaxed);
        self.more.notify_one();
    }
}

/// What one way of submitting came to.
#[derive(Default)]
struct Measured {
    entries: u64,
    elapsed_ns: u64,
    cpu_ns: u64,
    groups: u64,
    latencies_ns: Vec<u64>,
}

impl Measured {
    /// Bytes of the average group.
    fn group_bytes(&self) -> usize {
        usize::try_from(self.entries * FRAME_BYTES / self.groups.max(1) + SEAL_BYTES).unwrap()
    }

    fn rate(&self) -> u64 {
        per_second(self.entries, self.elapsed_ns)
    }

    /// Appends for `duration_ns` from `threads` threads, each with `in_flight` entries on their way.
    fn append(&mut self, target: &dyn Target, (threads, in_flight): (usize, usize), duration_ns: u64) {
        let (before, stop) = ((target.durable(), target.groups()), AtomicBool::new(false));
        let (started_ns, cpu_before_ns) = (wall_ns(), process_cpu_ns());
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| submit(target, in_flight, &stop))).collect();
            std::thread::sleep(Duration::from_nanos(duration_ns));
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                self.latencies_ns.extend(thread.join().unwrap());
            }
        });
        self.elapsed_ns += wall_ns() - started_ns;
        self.cpu_ns += process_cpu_ns() - cpu_before_ns;
        self.entries += target.durable() - before.0;
        self.groups += target.groups() - before.1;
    }
}

fn submit(target: &dyn Target, in_flight: usize, stop: &AtomicBool) -> Vec<u64> {
    let (mut latencies_ns, mut waiting) = (Vec::new(), VecDeque::new());
    while !stop.load(Ordering::Relaxed) || !waiting.is_empty() {
        if !stop.load(Ordering::Relaxed) {
            waiting.push_back((wall_ns(), target.append()));
            if waiting.len() < in_flight {
                continue;
            }
        }
        let (_, oldest) = *waiting.front().unwrap();
        target.wait(oldest);
        // Whatever else has become durable by now leaves with it.
        let (now_ns, durable) = (wall_ns(), target.durable());
        while let Some((began_ns, _)) = waiting.front().filter(|(_, seq)| *seq < durable) {
            latencies_ns.push(now_ns - began_ns);
            waiting.pop_front();
        }
    }
    latencies_ns
}

/// A zero-filled file for bare synced writes.
struct Floor {
    file: File,
    offset: usize,
    group: Vec<u8>,
}

impl Floor {
    fn new(folder: &Path) -> Self {
        let path = folder.join("floor");
        std::fs::write(&path, vec![0u8; FLOOR_FILE_BYTES]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let flags = i32::try_from(OFlags::DSYNC.bits()).unwrap();
        let file = OpenOptions::new().write(true).custom_flags(flags).open(&path).unwrap();
        Self { file, offset: 0, group: vec![7; 1 << 17] }
    }

    /// Writes `bytes` at a time for `duration_ns`; how long each write took.
    fn write(&mut self, bytes: usize, duration_ns: u64, latencies_ns: &mut Vec<u64>) {
        let started_ns = wall_ns();
        while wall_ns() - started_ns < duration_ns {
            let began_ns = wall_ns();
            self.write_group(bytes);
            latencies_ns.push(wall_ns() - began_ns);
        }
    }

    fn write_group(&mut self, bytes: usize) {
        if self.offset + bytes > FLOOR_FILE_BYTES {
            self.offset = 0;
        }
        let group = &self.group[..bytes];
        self.file.write_all_at(group, u64::try_from(self.offset).unwrap()).unwrap();
        self.offset += bytes;
    }
}

fn main() {
    let (slices, slice_ns) = if smoke() { (1, 60_000_000) } else { (8, 250_000_000) };
    let mut table = Table::new(&[
        "threads x in flight",
        "entries/s",
        "floor/s",
        "ratio",
        "hand-over/s",
        "ratio",
        "entries/group",
        "p50 us",
        "p99 us",
        "write p50 us",
        "write p99 us",
        "CPU ns/entry",
        "hand-over",
    ]);
    let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    let ahead_mb: Option<u64> =
        std::env::var("SEALFEED_APPEND_AHEAD_MB").ok().and_then(|text| text.parse().ok());
    let segment_bytes = if smoke() { 16 << 20 } else { ahead_mb.unwrap_or(256) << 20 };
    // The first segment is made with the log, so it is as long as those to come.
    init(folder.path(), &InitOptions { segment_bytes, ..InitOptions::new(ORIGIN) }).unwrap();
    let log = Log::open(folder.path(), Options { segment_bytes, ..Options::new(ORIGIN) }).unwrap();
    let ahead = folder.path().join("segments").join("ahead.tmp");
    while ahead_mb.is_some() && std::fs::metadata(&ahead).map_or(0, |file| file.len()) < segment_bytes {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut floor = Floor::new(folder.path());
    let each = [(SUBMITTERS, 1), (SUBMITTERS, 8), (SUBMITTERS, 64)];
    let together = [(1, SUBMITTERS), (1, SUBMITTERS * 8), (1, SUBMITTERS * 64)];
    let only = std::env::var("SEALFEED_APPEND_LOAD").ok();
    let asked =
        |load: &(usize, usize)| only.as_ref().is_none_or(|only| *only == format!("{}x{}", load.0, load.1));
    for load in each.into_iter().chain(together).filter(asked) {
        let (mut measured, mut bare, mut writes_ns) = (Measured::default(), Measured::default(), Vec::new());
        // In turns, because a shared disk is not as fast in one second as in the next.
        for _ in 0..slices {
            measured.append(&log, load, slice_ns);
            floor.write(measured.group_bytes(), slice_ns, &mut writes_ns);
            let hand_over = HandOver::default();
            std::thread::scope(|scope| {
                scope.spawn(|| hand_over.write(&mut floor));
                bare.append(&hand_over, load, slice_ns);
                hand_over.end();
            });
        }
        let writes = u64::try_from(writes_ns.len()).unwrap();
        let group_entries = measured.entries / measured.groups.max(1);
        let floor_rate = per_second(writes * group_entries, writes_ns.iter().sum());
        let rate = measured.rate();
        table.row(&[
            format!("{} x {}", load.0, load.1),
            rate.to_string(),
            floor_rate.to_string(),
            format!("{:.2}", ratio(rate, floor_rate)),
            bare.rate().to_string(),
            format!("{:.2}", ratio(rate, bare.rate())),
            group_entries.to_string(),
            (percentile(&mut measured.latencies_ns, 50) / 1_000).to_string(),
            (percentile(&mut measured.latencies_ns, 99) / 1_000).to_string(),
            (percentile(&mut writes_ns, 50) / 1_000).to_string(),
            (percentile(&mut writes_ns, 99) / 1_000).to_string(),
            (measured.cpu_ns / measured.entries.max(1)).to_string(),
            (bare.cpu_ns / bare.entries.max(1)).to_string(),
        ]);
    }
    log.stop().unwrap();
    println!(
        "audit_append: 256-byte entries, {SUBMITTERS} submitters; floor = bare synced writes of the same size, hand-over = the same threads and writes without a log"
    );
    table.print();
}
