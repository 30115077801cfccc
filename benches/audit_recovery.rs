//! A start after a crash: from opening the folder of a log whose open segment is full and torn to the first durable entry.
//!
//! The crash is a copy of the log's files while its writer was at work, with half a group behind the last. The floor is
//! reading the open segment and hashing it once with `sha2`. CPU time of the process beside wall time: a busy machine shows in one only.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::fs;
use std::path::Path;

use sealfeed_audit::{Draft, InitOptions, Log, Options, init, kind, reader};
use sha2::{Digest, Sha256};
use support::{Table, process_cpu_ns, ratio, smoke, wall_ns};

const ORIGIN: &str = "bench.example/audit";
const HEADER_BYTES: usize = 96;
const TORN_BYTES: usize = 30_000;

fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, rotate_utc_day: false, ..Options::new(ORIGIN) }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "ahead.tmp" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A log in `crashed` whose one segment holds as many entries as it can, and the bytes it holds.
fn crash(folder: &Path, crashed: &Path, entry_bytes: usize, segment_bytes: u64) -> u64 {
    init(folder, &InitOptions { segment_bytes, ..InitOptions::new(ORIGIN) }).unwrap();
    let log = Log::open(folder, options(segment_bytes)).unwrap();
    let frame_bytes = (16 + entry_bytes + 4).next_multiple_of(8);
    // A group's worth of room is left for the torn one; seals take 56 bytes a group of up to 64 KiB.
    let entries = (segment_bytes - 200_000) / u64::try_from(frame_bytes + 1).unwrap();
    let payload = vec![7u8; entry_bytes - HEADER_BYTES];
    let mut last = 0;
    for _ in 0..entries {
        last = log.append(Draft { kind: 256, payload: payload.clone(), ..Draft::default() }).unwrap();
    }
    log.wait_durable(last).unwrap();
    copy(folder, crashed);
    log.stop().unwrap();
    let path = crashed.join("segments/00000000000000000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let torn = used.next_multiple_of(8);
    // Some of a group's blocks reached the disk, and not the first.
    bytes[torn + 8..torn + TORN_BYTES].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    u64::try_from(used).unwrap()
}

/// Reads the segment once and hashes it: wall and CPU time.
fn floor(crashed: &Path) -> (u64, u64) {
    let (wall, cpu) = (wall_ns(), process_cpu_ns());
    let bytes = fs::read(crashed.join("segments/00000000000000000000.seg")).unwrap();
    std::hint::black_box(Sha256::digest(&bytes));
    (wall_ns() - wall, process_cpu_ns() - cpu)
}

fn main() {
    let segment_bytes: u64 = if smoke() { 4 << 20 } else { 256 << 20 };
    let rounds = if smoke() { 1 } else { 3 };
    let mut table = Table::new(&[
        "entry bytes",
        "segment MB",
        "entries",
        "wall ms",
        "CPU ms",
        "floor wall ms",
        "floor CPU ms",
        "CPU by floor",
    ]);
    for entry_bytes in [256, 1_024] {
        for _ in 0..rounds {
            let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
            let crashed = folder.path().join("crashed");
            let used = crash(&folder.path().join("log"), &crashed, entry_bytes, segment_bytes);
            let (floor_wall, floor_cpu) = floor(&crashed);
            let (wall, cpu) = (wall_ns(), process_cpu_ns());
            let log = Log::open(&crashed, options(segment_bytes)).unwrap();
            let seq = log.append(Draft { kind: 256, payload: vec![1], ..Draft::default() }).unwrap();
            log.wait_durable(seq).unwrap();
            let (wall, cpu) = (wall_ns() - wall, process_cpu_ns() - cpu);
            log.stop().unwrap();
            let recovered = reader::entries(&crashed).unwrap().map(Result::unwrap);
            let declared = recovered.filter(|entry| entry.header.kind == kind::RECOVERY).count();
            assert_eq!(declared, 1, "the crash was one, and was declared");
            let ms = |ns: u64| (ns / 1_000_000).to_string();
            table.row(&[
                entry_bytes.to_string(),
                (used / 1_000_000).to_string(),
                seq.to_string(),
                ms(wall),
                ms(cpu),
                ms(floor_wall),
                ms(floor_cpu),
                format!("{:.2}", ratio(cpu, floor_cpu)),
            ]);
        }
    }
    println!("audit_recovery: from the start to the first durable entry, the open segment full and torn");
    table.print();
}
