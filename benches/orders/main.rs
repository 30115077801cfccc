//! From a signed order to its durable answer, over real mutual TLS: orders a second, latency and CPU time of the server, beside a
//! bare server that syncs as much before it answers, and beside the disk alone.
//!
//! 1 to 256 traders, each with a certificate and a connection of its own and 1 or 8 orders in flight: of four orders two rest for
//! good and two meet, so that every second trades. Every answer must be an acceptance with a receipt; the log must hold every
//! order answered, and the entries that the last receipts name.
//!
//! The server is the release binary on one processor, the load this process on another. `floor` answers with as many bytes after
//! the same synced writes (`floor`), in the place of the server, to the same load; `stages` is the same floor, which besides decodes, hashes, matches and
//! seals each order as barely as can be (`stages`). `disk` are synced writes of 4 KiB one after the other, from
//! this process, between the two.
//!
//! `cargo bench --bench orders`; `-- --load 64x8` for one load, `-- --rounds 5`; `-- --scene memory` for what orders and principals hold in
//! memory; `-- --group-window-us 0` for another window of the log and the floor; `-- --smoke` or `SEALFEED_BENCH_SMOKE=1` for some seconds.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench prints its numbers and may stop"
)]

mod floor;
mod load;
mod memory;
#[expect(dead_code, reason = "each bench uses its own part")]
#[path = "../fanout/process.rs"]
mod process;
mod sealed;
mod setup;
mod stages;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tls.rs"]
mod tls;
mod trader;

use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;

use floor::{FloorOptions, SyncedFile};
use load::{Load, Outcome, measure};
use process::{Processors, Server};
use sealed::{Sealed, wait_until_filled};
use setup::{Configuration, Ground};
use support::{Table, percentile, ratio, smoke, wall_ns};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == floor::ARGUMENT) {
        floor::serve(FloorOptions::parse(&arguments[place + 1..]));
        return;
    }
    let is_smoke = smoke();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).map(String::as_str)
    };
    let rounds = value("--rounds").map(|text| text.parse().expect("a number"));
    let rounds = rounds.unwrap_or(if is_smoke { 1 } else { 3 });
    let window_us = value("--group-window-us").map(|text| text.parse().expect("a number"));
    let mut bench = Bench::prepare(is_smoke, window_us.unwrap_or(GROUP_WINDOW_US));
    match value("--scene") {
        None => {
            table(&mut bench, is_smoke, rounds, value("--load"));
            if is_smoke {
                memory::run(&mut bench, true);
            }
        }
        Some("memory") => memory::run(&mut bench, is_smoke),
        Some(other) => panic!("no scene `{other}`: memory"),
    }
}

/// How long the first entry of a group waits for others, by default.
const GROUP_WINDOW_US: u64 = 200;

/// Traders, and orders that each has in flight.
const FULL: [(u64, usize); 8] = [(1, 1), (16, 1), (64, 1), (256, 1), (1, 8), (16, 8), (64, 8), (256, 8)];
const SMOKE: [(u64, usize); 2] = [(1, 1), (8, 8)];

/// The table of loads.
fn table(bench: &mut Bench, is_smoke: bool, rounds: usize, only: Option<&str>) {
    let processors = if bench.processors.are_apart { "one processor each" } else { "one processor for both" };
    println!(
        "orders: signed order to durable answer; server and load on {processors}; {rounds} rounds, by turns"
    );
    let heads = [
        "traders x in flight",
        "orders/s",
        "floor/s",
        "ratio",
        "stages/s",
        "ratio",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "disk p50/p99 us",
        "p99 by bound",
        "CPU us/order",
        "load %",
        "entries/order",
        "log B/order",
        "split %",
    ];
    let mut table = Table::new(&heads);
    for (traders, in_flight) in if is_smoke { &SMOKE[..] } else { &FULL[..] } {
        if only.is_some_and(|load| load != format!("{traders}x{in_flight}")) {
            continue;
        }
        let (warm_up, measured) = if is_smoke { (100, 300) } else { (500, 3_000) };
        let (warm_up, measured) = (Duration::from_millis(warm_up), Duration::from_millis(measured));
        let load = Load { traders: *traders, in_flight: *in_flight, warm_up, measured };
        let rows: Vec<Row> = (0..rounds).map(|_| bench.row(load)).collect();
        let cells = Row::best(rows).cells(load);
        assert!(cells.iter().all(|cell| !cell.is_empty()), "every figure is there");
        eprintln!("{}", cells.join("  "));
        table.row(&cells);
    }
    table.print();
    println!("every answer was an acceptance with a receipt of its own; the log holds every order answered");
    println!(
        "split: orders with a report that missed the order's own group, so that the answer waited for two writes"
    );
    println!(
        "stages: the floor, which besides does to each order the least that decoding, MAC, nonce, book and log cost"
    );
    println!("us: server/floor, from the order's write to its answer; ratio: goal at least 0.90");
    println!("bound: 1.5 x the disk's p99 + the group window; p99 by bound: server/floor, goal at most 1.00");
}

pub(crate) struct Bench {
    ground: Ground,
    processors: Processors,
    runtime: Runtime,
    disk: SyncedFile,
    /// How long the disk is written to at a time.
    disk_slice_ns: u64,
}

/// Bytes of the file for writes to the disk alone, and of one write.
const DISK_FILE_BYTES: u64 = 32 * 1024 * 1024;
const DISK_WRITE_BYTES: usize = 4 * 1024;

impl Bench {
    fn prepare(is_smoke: bool, group_window_us: u64) -> Self {
        let ground = Ground::prepare(is_smoke, group_window_us);
        let disk = SyncedFile::make(&ground.path().join("disk"), DISK_FILE_BYTES);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let disk_slice_ns = if is_smoke { 100_000_000 } else { 1_000_000_000 };
        Self { ground, processors: Processors::divide(), runtime, disk, disk_slice_ns }
    }

    /// The product, ready: with its log.
    fn product(&mut self) -> (Server, Configuration) {
        let configuration = self.ground.configuration();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
        command.arg("serve").arg("--config").arg(&configuration.file);
        let server = Server::start(command, &self.processors);
        wait_until_filled(&configuration.log, configuration.segment_bytes);
        (server, configuration)
    }

    fn floor(&self, product: &Outcome, sealed: &Sealed, has_stages: bool) -> Server {
        let options = FloorOptions {
            pki: self.ground.pki(),
            file: self.ground.path().join("floor"),
            order_bytes: sealed.order_bytes,
            entries_of_thousand: sealed.entries_of_thousand,
            answer_bytes: product.answer_bytes,
            group_window_us: self.ground.group_window_us,
            has_stages,
        };
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(options.arguments());
        Server::start(command, &self.processors)
    }

    /// Everything once.
    fn row(&mut self, load: Load) -> Row {
        let (server, Configuration { log, .. }) = self.product();
        let product = self.measure(&server, load);
        drop(server);
        let sealed = Sealed::read(&log, &product);
        for folder in [sealfeed::config::tape_directory(&log), log] {
            std::fs::remove_dir_all(folder).expect("the log is removed");
        }
        let disk_ns = self.write_to_disk();
        let [floor, stages] = [false, true].map(|has_stages| {
            let server = self.floor(&product, &sealed, has_stages);
            self.measure(&server, load)
        });
        Row { product, floor, stages, sealed, disk_ns, group_window_us: self.ground.group_window_us }
    }

    fn measure(&self, server: &Server, load: Load) -> Outcome {
        self.runtime.block_on(measure(server, &self.ground, load))
    }

    /// Synced writes one after the other: the 50th and the 99th of 100.
    fn write_to_disk(&mut self) -> [u64; 2] {
        let (began_ns, mut writes_ns) = (wall_ns(), Vec::new());
        while wall_ns() - began_ns < self.disk_slice_ns {
            let before_ns = wall_ns();
            self.disk.write(&[7; DISK_WRITE_BYTES]);
            writes_ns.push(wall_ns() - before_ns);
        }
        [50, 99].map(|percent| percentile(&mut writes_ns, percent))
    }
}

/// One load, measured once.
struct Row {
    product: Outcome,
    floor: Outcome,
    /// The floor with the stages of an order.
    stages: Outcome,
    sealed: Sealed,
    disk_ns: [u64; 2],
    group_window_us: u64,
}

impl Row {
    /// The best round of each, by itself: what others do on the machine only takes from it.
    fn best(rows: Vec<Self>) -> Self {
        rows.into_iter()
            .reduce(|best, row| {
                let (product, sealed) = if row.product.per_second() > best.product.per_second() {
                    (row.product, row.sealed)
                } else {
                    (best.product, best.sealed)
                };
                let faster = |one: Outcome, other: Outcome| {
                    if one.per_second() > other.per_second() { one } else { other }
                };
                let (floor, stages) = (faster(row.floor, best.floor), faster(row.stages, best.stages));
                let is_calmer = row.disk_ns[1] < best.disk_ns[1];
                let disk_ns = if is_calmer { row.disk_ns } else { best.disk_ns };
                Self { product, floor, stages, sealed, disk_ns, ..row }
            })
            .expect("a round")
    }

    #[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
    fn cells(&self, load: Load) -> Vec<String> {
        let Self { product, floor, stages, sealed, disk_ns, group_window_us } = self;
        let latency = |place: usize| {
            format!("{}/{}", product.latency_ns[place] / 1_000, floor.latency_ns[place] / 1_000)
        };
        let bound_ns = disk_ns[1] * 3 / 2 + group_window_us * 1_000;
        let cpu_us = |outcome: &Outcome| outcome.cpu_ns as f64 / outcome.orders as f64 / 1e3;
        vec![
            format!("{} x {}", load.traders, load.in_flight),
            product.per_second().to_string(),
            floor.per_second().to_string(),
            format!("{:.2}", ratio(product.per_second(), floor.per_second())),
            stages.per_second().to_string(),
            format!("{:.2}", ratio(product.per_second(), stages.per_second())),
            latency(0),
            latency(1),
            latency(2),
            format!("{}/{}", disk_ns[0] / 1_000, disk_ns[1] / 1_000),
            format!(
                "{:.2}/{:.2}",
                ratio(product.latency_ns[1], bound_ns),
                ratio(floor.latency_ns[1], bound_ns)
            ),
            format!("{:.1}/{:.1}/{:.1}", cpu_us(product), cpu_us(floor), cpu_us(stages)),
            format!("{}/{}", percent_busy(product), percent_busy(floor)),
            format!("{:.2}", sealed.entries_of_thousand as f64 / 1e3),
            sealed.order_bytes.to_string(),
            format!("{:.1}", sealed.split_of_thousand as f64 / 10.0),
        ]
    }
}

/// How much of its processor the load used.
fn percent_busy(outcome: &Outcome) -> u64 {
    outcome.load_cpu_ns * 100 / outcome.elapsed_ns
}

/// Nanoseconds since 1970.
pub(crate) fn utc_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("a time since 1970")
}
