//! The entries of one order out of a large log: through indexes, against reading every entry of it in the same run.
//!
//! Also what an index costs: to build, and on disk; and what the tree's nodes cost with indexes, against reading the log for them. CPU time
//! of the process; the floor (`scan`) is the reader that checks links and checksums and decodes no payload.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use std::path::Path;
use std::sync::Arc;

use sealfeed_audit::index::{Key, Query, Search, Terms, Which, build_all};
use sealfeed_audit::nodes::Nodes;
use sealfeed_audit::storage::{DiskStorage, Storage};
use sealfeed_audit::{Draft, EntryRef, InitOptions, Log, Options, OrderLink, init, reader};
use support::{Table, process_cpu_ns, ratio, smoke, wall_ns};

const ORIGIN: &str = "bench.example/audit";
const HEADER_BYTES: usize = 96;
const ORDER_LINK_BYTES: usize = 24;
/// Entries of an order's life, and orders that live at the same time.
const LIFE: u64 = 4;
const AT_ONCE: u64 = 1_000;

/// Two terms an entry, one of which is its own: as principal and client's name of an order are.
fn terms_of(entry: &EntryRef<'_>, add: &mut dyn FnMut(&[u8])) {
    add(entry.payload.get(..8).unwrap_or_default());
    add(entry.payload.get(..1).unwrap_or_default());
}

const TERMS: Terms = Terms { version: 1, of: terms_of };

/// Which order an entry is of: lives of `LIFE` entries, `AT_ONCE` of them interleaved.
fn order_of(number: u64) -> u64 {
    number / (LIFE * AT_ONCE) * AT_ONCE + number % AT_ONCE
}

fn make_log(folder: &Path, entry_bytes: usize, entries: u64, segment_bytes: u64) {
    init(folder, &InitOptions { segment_bytes, ..InitOptions::new(ORIGIN) }).unwrap();
    let options = Options { segment_bytes, rotate_utc_day: false, ..Options::new(ORIGIN) };
    let log = Log::open(folder, options).unwrap();
    let mut payload = vec![7u8; entry_bytes - HEADER_BYTES - ORDER_LINK_BYTES];
    for number in 0..entries {
        payload[..8].copy_from_slice(&number.to_le_bytes());
        let order = OrderLink { id: order_of(number), previous: None, event: number / AT_ONCE % LIFE };
        let draft = Draft { kind: 256, order: Some(order), payload: payload.clone(), ..Draft::default() };
        log.append(draft).unwrap();
    }
    log.rotate();
    log.append(Draft { kind: 257, ..Draft::default() }).unwrap();
    log.stop().unwrap();
}

/// What a piece of work gives, and its wall and CPU time.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64, u64) {
    let (wall, cpu) = (wall_ns(), process_cpu_ns());
    let given = work();
    (given, wall_ns() - wall, process_cpu_ns() - cpu)
}

fn folder_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn main() {
    let (entries, segment_bytes) = if smoke() { (20_000, 1 << 20) } else { (4_000_000, 256 << 20) };
    let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    make_log(folder.path(), 256, entries, segment_bytes);
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(folder.path()));
    let id = order_of(entries / 3);
    let is_of_it = |entry: &reader::Entry| entry.header.order.is_some_and(|order| order.id == id);

    let scan = || reader::entries(folder.path()).unwrap().map(Result::unwrap).filter(is_of_it).count();
    scan();
    let (expected, scan_wall, scan_cpu) = timed(scan);
    let (plain, nodes_wall, nodes_cpu) = timed(|| Nodes::read(folder.path()).unwrap().root());
    let (built, build_wall, build_cpu) =
        timed(|| build_all(&storage, &TERMS, Which::All, &mut |_| {}).unwrap());
    let query = Query { all: vec![vec![Key::Order(id)]], ..Query::default() };
    let search = || {
        let search = Search::new(Arc::clone(&storage), TERMS, query.clone()).unwrap();
        search.map(Result::unwrap).filter(is_of_it).count()
    };
    let (found, search_wall, search_cpu) = timed(search);
    assert_eq!((found, u64::try_from(expected).unwrap()), (expected, LIFE));
    let (root, indexed_wall, indexed_cpu) = timed(|| Nodes::read(folder.path()).unwrap().root());
    assert_eq!(root, plain);

    let (log_bytes, index_bytes) =
        (folder_bytes(&folder.path().join("segments")), folder_bytes(&folder.path().join("index")));
    println!(
        "audit_index: {entries} entries of 256 bytes, {} MB in {} sealed segments; indexes {} MB",
        log_bytes / 1_000_000,
        built.built.len(),
        index_bytes / 1_000_000
    );
    let mut table = Table::new(&["work", "wall ms", "CPU ms", "CPU by scan"]);
    for (work, wall, cpu) in [
        ("scan: read every entry", scan_wall, scan_cpu),
        ("build all indexes", build_wall, build_cpu),
        ("one order, by index", search_wall, search_cpu),
        ("nodes, reading the log", nodes_wall, nodes_cpu),
        ("nodes, by index", indexed_wall, indexed_cpu),
    ] {
        let us = |ns: u64| format!("{:.1}", ratio(ns, 1_000_000));
        table.row(&[work.to_owned(), us(wall), us(cpu), format!("{:.4}", ratio(cpu, scan_cpu))]);
    }
    table.print();
}
