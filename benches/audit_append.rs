//! Durable entries a second with 64 submitters, against the bare synced write of the same groups in the same run.
//!
//! Submitters are threads of their own, each waiting for its entries one by one, or all of them served by one thread that follows the
//! durable watermark, as the server's pipeline does. Entries are 256 bytes. The floor writes as many bytes as the log's average group held, one synced write after the other, to a
//! zero-filled file on the same disk, taking turns with the log; it hashes nothing and nobody waits for it.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::OFlags;
use sealfeed_audit::{Draft, InitOptions, Log, Options, init};
use support::{Table, per_second, percentile, process_cpu_ns, ratio, smoke, wall_ns};

const ORIGIN: &str = "bench.example/audit";
const SUBMITTERS: usize = 64;
/// With the header of 96 bytes an entry of 256.
const PAYLOAD_BYTES: usize = 160;
const FLOOR_FILE_BYTES: usize = 32 << 20;

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
    /// Bytes of the average group: 280 for the frame of an entry of 256, 56 for the group's seal.
    fn group_bytes(&self) -> usize {
        usize::try_from(self.entries * 280 / self.groups.max(1) + 56).unwrap()
    }

    /// Appends for `duration_ns` from `threads` threads, each with `in_flight` entries on their way.
    fn append(&mut self, log: &Log, (threads, in_flight): (usize, usize), duration_ns: u64) {
        let (before, stop) = (log.stats(), AtomicBool::new(false));
        let (started_ns, cpu_before_ns) = (wall_ns(), process_cpu_ns());
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| submit(log, in_flight, &stop))).collect();
            std::thread::sleep(Duration::from_nanos(duration_ns));
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                self.latencies_ns.extend(thread.join().unwrap());
            }
        });
        let after = log.stats();
        self.elapsed_ns += wall_ns() - started_ns;
        self.cpu_ns += process_cpu_ns() - cpu_before_ns;
        self.entries += after.durable_entries - before.durable_entries;
        self.groups += after.groups - before.groups;
    }
}

fn submit(log: &Log, in_flight: usize, stop: &AtomicBool) -> Vec<u64> {
    let (mut latencies_ns, mut waiting) = (Vec::new(), VecDeque::new());
    while !stop.load(Ordering::Relaxed) || !waiting.is_empty() {
        if !stop.load(Ordering::Relaxed) {
            let draft = Draft { kind: 256, payload: vec![7; PAYLOAD_BYTES], ..Draft::default() };
            waiting.push_back((wall_ns(), log.append(draft).unwrap()));
            if waiting.len() < in_flight {
                continue;
            }
        }
        let (_, oldest) = *waiting.front().unwrap();
        log.wait_durable(oldest).unwrap();
        // Whatever else has become durable by now leaves with it.
        let (now_ns, durable) = (wall_ns(), log.durable());
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
}

impl Floor {
    fn new(folder: &Path) -> Self {
        let path = folder.join("floor");
        std::fs::write(&path, vec![0u8; FLOOR_FILE_BYTES]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let flags = i32::try_from(OFlags::DSYNC.bits()).unwrap();
        Self { file: OpenOptions::new().write(true).custom_flags(flags).open(&path).unwrap(), offset: 0 }
    }

    /// Writes `bytes` at a time for `duration_ns`; how long each write took.
    fn write(&mut self, bytes: usize, duration_ns: u64, latencies_ns: &mut Vec<u64>) {
        let group = vec![7u8; bytes];
        let started_ns = wall_ns();
        while wall_ns() - started_ns < duration_ns {
            if self.offset + bytes > FLOOR_FILE_BYTES {
                self.offset = 0;
            }
            let began_ns = wall_ns();
            self.file.write_all_at(&group, u64::try_from(self.offset).unwrap()).unwrap();
            latencies_ns.push(wall_ns() - began_ns);
            self.offset += bytes;
        }
    }
}

fn main() {
    let (slices, slice_ns) = if smoke() { (1, 60_000_000) } else { (8, 250_000_000) };
    let mut table = Table::new(&[
        "threads x in flight",
        "entries/s",
        "floor/s",
        "ratio",
        "entries/group",
        "p50 us",
        "p99 us",
        "write p50 us",
        "write p99 us",
        "CPU ns/entry",
    ]);
    let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    init(folder.path(), &InitOptions::new(ORIGIN)).unwrap();
    let options =
        Options { segment_bytes: if smoke() { 16 << 20 } else { 256 << 20 }, ..Options::new(ORIGIN) };
    let log = Log::open(folder.path(), options).unwrap();
    let mut floor = Floor::new(folder.path());
    let each = [(SUBMITTERS, 1), (SUBMITTERS, 8), (SUBMITTERS, 64)];
    let together = [(1, SUBMITTERS), (1, SUBMITTERS * 8), (1, SUBMITTERS * 64)];
    for load in each.into_iter().chain(together) {
        let (mut measured, mut writes_ns) = (Measured::default(), Vec::new());
        // In turns, because a shared disk is not as fast in one second as in the next.
        for _ in 0..slices {
            measured.append(&log, load, slice_ns);
            floor.write(measured.group_bytes(), slice_ns, &mut writes_ns);
        }
        let writes = u64::try_from(writes_ns.len()).unwrap();
        let group_entries = measured.entries / measured.groups.max(1);
        let floor_rate = per_second(writes * group_entries, writes_ns.iter().sum());
        let rate = per_second(measured.entries, measured.elapsed_ns);
        table.row(&[
            format!("{} x {}", load.0, load.1),
            rate.to_string(),
            floor_rate.to_string(),
            format!("{:.2}", ratio(rate, floor_rate)),
            group_entries.to_string(),
            (percentile(&mut measured.latencies_ns, 50) / 1_000).to_string(),
            (percentile(&mut measured.latencies_ns, 99) / 1_000).to_string(),
            (percentile(&mut writes_ns, 50) / 1_000).to_string(),
            (percentile(&mut writes_ns, 99) / 1_000).to_string(),
            (measured.cpu_ns / measured.entries.max(1)).to_string(),
        ]);
    }
    log.stop().unwrap();
    println!(
        "audit_append: 256-byte entries, {SUBMITTERS} submitters; floor = bare synced writes of the same size"
    );
    table.print();
}
