//! Verified entries a second and core, against plain SHA-256 of the same bytes in the same run.
//!
//! `openssl dgst -sha256` over the same bytes is the other floor. `SEALFEED_VERIFY_GB=10` makes a log of so many gigabytes instead
//! and says how much memory its verification takes at most; `SEALFEED_VERIFY_BYTES=1024` measures only entries of so many bytes, in more rounds.
//!
//! CPU time of the process, so that a busy machine does not count. Chain, tree, checksums, signatures and segment hashes are all
//! checked; with `K_0` the seal of every group too.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::path::Path;

use sealfeed_audit::storage::DiskStorage;
use sealfeed_audit::verify::{Anchors, Plan, Report, Verdict, verify_planned};
use sealfeed_audit::{Draft, InitOptions, Initialised, Log, Options, init};
use sha2::{Digest, Sha256};
use support::{Table, per_second, process_cpu_ns, ratio, smoke, wall_ns};

const ORIGIN: &str = "bench.example/audit";
const HEADER_BYTES: usize = 96;

fn make_log(folder: &Path, entry_bytes: usize, entries: u64, segment_bytes: u64) -> Initialised {
    let initialised = init(folder, &InitOptions { segment_bytes, ..InitOptions::new(ORIGIN) }).unwrap();
    let log = Log::open(folder, Options { segment_bytes, ..Options::new(ORIGIN) }).unwrap();
    let payload = vec![7u8; entry_bytes - HEADER_BYTES];
    for _ in 0..entries {
        log.append(Draft { kind: 256, payload: payload.clone(), ..Draft::default() }).unwrap();
    }
    log.stop().unwrap();
    initialised
}

/// SHA-256 of all segments, read the way the verifier reads them; bytes and CPU time.
fn plain_hash(folder: &Path) -> (u64, u64) {
    let mut bytes = 0u64;
    let before_ns = process_cpu_ns();
    for entry in std::fs::read_dir(folder.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            let mut file = std::fs::File::open(path).unwrap();
            let mut hasher = Sha256::new();
            let mut buffer = vec![0u8; 1 << 20];
            loop {
                let read = std::io::Read::read(&mut file, &mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
                bytes += u64::try_from(read).unwrap();
            }
            std::hint::black_box(hasher.finalize());
        }
    }
    (bytes, process_cpu_ns() - before_ns)
}

/// CPU time of `openssl dgst -sha256` over the same bytes, nanoseconds; `None` where there is no such command.
fn openssl_ns(folder: &Path) -> Option<u64> {
    // The kernel counts the time of children in hundredths of a second: the same files several times over make that fine enough.
    let repeat = if smoke() { 1 } else { 8 };
    let files: Vec<_> = std::fs::read_dir(folder.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    let before = children_cpu_ns();
    let mut command = std::process::Command::new("openssl");
    command.args(["dgst", "-sha256"]).stdout(std::process::Stdio::null());
    for _ in 0..repeat {
        command.args(&files);
    }
    let ended_well = command.status().ok()?.success();
    ended_well.then(|| (children_cpu_ns() - before) / repeat)
}

/// CPU time of children that have ended, nanoseconds, in steps of ten milliseconds.
fn children_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    ticks * 10_000_000
}

/// One verification: report, CPU time and wall-clock time.
fn verify_once(folder: &Path, anchors: &Anchors, threads: usize) -> (Report, u64, u64) {
    let plan = Plan { threads: Some(threads), ..Plan::default() };
    let (cpu_ns, wall) = (process_cpu_ns(), wall_ns());
    let report = verify_planned(&DiskStorage::new(folder), anchors, &plan, &mut |_| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Verified);
    (report, process_cpu_ns() - cpu_ns, wall_ns() - wall)
}

/// Makes a log of so many gigabytes, verifies it and says how much memory that took.
fn memory(gigabytes: usize) {
    let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    let entries = u64::try_from((gigabytes << 30) / 1_024).unwrap();
    let initialised = make_log(folder.path(), 1_024, entries, 256 << 20);
    let anchors =
        Anchors { key: Some(initialised.public_key.clone()), k0: Some(initialised.k0), ..Anchors::default() };
    // The largest memory so far is that of the writer: counted anew from here.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let (report, _, wall) = verify_once(folder.path(), &anchors, threads);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!(
        "{} bytes, {} segments, {threads} threads: {} MB/s, {peak}",
        report.bytes,
        report.segments,
        per_second(report.bytes, wall) / 1_000_000
    );
}

fn main() {
    if let Some(gigabytes) = std::env::var("SEALFEED_VERIFY_GB").ok().and_then(|text| text.parse().ok()) {
        memory(gigabytes);
        return;
    }
    let only: Option<usize> = std::env::var("SEALFEED_VERIFY_BYTES").ok().and_then(|text| text.parse().ok());
    let (total_bytes, rounds) = match only {
        _ if smoke() => (1 << 20, 1),
        Some(_) => (128 << 20, 9),
        None => (128 << 20, 3),
    };
    let segment_bytes = if smoke() { 1 << 20 } else { 16 << 20 };
    let mut table = Table::new(&[
        "entry bytes",
        "anchors",
        "entries/s and core",
        "ns/entry",
        "sha2 ns/entry",
        "openssl ns/entry",
        "speed / sha2",
        "speed / openssl",
        "2 threads: wall efficiency",
        "2 threads: CPU efficiency",
    ]);
    for entry_bytes in only.map_or(vec![128, 256, 1_024, 4_096], |bytes| vec![bytes]) {
        let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
        let entries = u64::try_from(total_bytes / entry_bytes).unwrap();
        let initialised = make_log(folder.path(), entry_bytes, entries, segment_bytes);
        let key = Anchors { key: Some(initialised.public_key.clone()), ..Anchors::default() };
        let both = Anchors { k0: Some(initialised.k0), ..key.clone() };
        for (name, anchors) in [("key", key), ("key, K_0", both)] {
            // The best of a few rounds of each: noise only ever adds.
            let (mut one, mut two, mut plain_ns, mut openssl) =
                ((u64::MAX, u64::MAX), (u64::MAX, u64::MAX), u64::MAX, u64::MAX);
            let mut checked = 0;
            for _ in 0..rounds {
                plain_ns = plain_ns.min(plain_hash(folder.path()).1);
                openssl = openssl.min(openssl_ns(folder.path()).unwrap_or(u64::MAX));
                let (report, cpu_ns, wall) = verify_once(folder.path(), &anchors, 1);
                one = (one.0.min(cpu_ns), one.1.min(wall));
                let (_, cpu_ns, wall) = verify_once(folder.path(), &anchors, 2);
                two = (two.0.min(cpu_ns), two.1.min(wall));
                checked = report.entries;
            }
            let openssl_known = openssl != u64::MAX;
            let or_dash = |text: String| if openssl_known { text } else { "-".to_owned() };
            table.row(&[
                entry_bytes.to_string(),
                name.to_owned(),
                per_second(checked, one.0).to_string(),
                (one.0 / checked).to_string(),
                (plain_ns / checked).to_string(),
                or_dash((openssl / checked).to_string()),
                format!("{:.2}", ratio(plain_ns, one.0)),
                or_dash(format!("{:.2}", ratio(openssl, one.0))),
                format!("{:.2}", ratio(one.1, 2 * two.1)),
                format!("{:.2}", ratio(one.0, two.0)),
            ]);
        }
    }
    println!("audit_verify: CPU time of one thread; sha2 and openssl hash the same files once");
    table.print();
}
