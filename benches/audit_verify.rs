//! Verified entries a second and core, against plain SHA-256 of the same bytes in the same run.
//!
//! CPU time of the process, so that a busy machine does not count. Chain, tree, checksums, signatures and segment hashes are all
//! checked; with `K_0` the seal of every group too.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::path::Path;

use sealfeed_audit::verify::{Anchors, Verdict, verify};
use sealfeed_audit::{Draft, InitOptions, Initialised, Log, Options, init};
use sha2::{Digest, Sha256};
use support::{Table, per_second, process_cpu_ns, ratio, smoke};

const ORIGIN: &str = "bench.example/audit";
const HEADER_BYTES: usize = 96;

fn make_log(folder: &Path, entry_bytes: usize, entries: u64) -> Initialised {
    let segment_bytes = if smoke() { 1 << 20 } else { 32 << 20 };
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

fn main() {
    let (total_bytes, rounds) = if smoke() { (1 << 20, 1) } else { (128 << 20, 3) };
    let mut table = Table::new(&[
        "entry bytes",
        "anchors",
        "entries",
        "entries/s and core",
        "ns/entry",
        "plain SHA-256 ns/entry",
        "speed / plain SHA-256",
    ]);
    for entry_bytes in [128, 256, 1_024, 4_096] {
        let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
        let entries = u64::try_from(total_bytes / entry_bytes).unwrap();
        let initialised = make_log(folder.path(), entry_bytes, entries);
        let key = Anchors { key: Some(initialised.public_key.clone()), ..Anchors::default() };
        let both = Anchors { k0: Some(initialised.k0), ..key.clone() };
        for (name, anchors) in [("key", key), ("key, K_0", both)] {
            // The best of a few rounds of each: noise only ever adds.
            let (mut best_ns, mut plain_ns, mut checked) = (u64::MAX, u64::MAX, 0);
            for _ in 0..rounds {
                plain_ns = plain_ns.min(plain_hash(folder.path()).1);
                let before_ns = process_cpu_ns();
                let report = verify(folder.path(), &anchors, &mut |_| {}).unwrap();
                best_ns = best_ns.min(process_cpu_ns() - before_ns);
                assert_eq!(report.verdict, Verdict::Verified);
                checked = report.entries;
            }
            table.row(&[
                entry_bytes.to_string(),
                name.to_owned(),
                checked.to_string(),
                per_second(checked, best_ns).to_string(),
                (best_ns / checked).to_string(),
                (plain_ns / checked).to_string(),
                format!("{:.2}", ratio(plain_ns, best_ns)),
            ]);
        }
    }
    println!("audit_verify: one thread, CPU time; plain SHA-256 hashes the same files");
    table.print();
}
