//! What readers suffer from those who do not read.
//!
//! Readers of `trades`, and beside them heavy subscribers of `trades`, `bbo` and `book` of the same four symbols. In run A the
//! heavy ones take what comes, in run B they take nothing, with as small a receive buffer as the kernel allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::load::{Reading, now_ns, percentiles};
use super::process::Server;
use super::setup::SYNTHETIC_SYMBOLS;
use super::subscriber::{Fate, Receiving, Subscriber};
use super::support::Table;
use super::{Bench, market, market_requests, subscribe};

const ORDERS_PER_SECOND: u32 = 300;
/// Between the last subscription and the measurement.
const SETTLING: Duration = Duration::from_millis(500);
/// How often the heavy ones of run A take what has come, and the server's memory is looked at.
const TICK: Duration = Duration::from_millis(5);
/// How long one of them waits for news when it reads at last.
const PATIENCE: Duration = Duration::from_secs(2);
/// Defaults of `[limits]`, under which the server runs here.
const OUT_QUEUE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const OUT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How many take part, and how long. Longer than `limits.out_queue_age_max_ms` (10 s), so that it shows.
struct Size {
    readers: u64,
    heavy: u64,
    elapsed: Duration,
}

const FULL: Size = Size { readers: 450, heavy: 50, elapsed: Duration::from_secs(20) };
const SMOKE: Size = Size { readers: 20, heavy: 4, elapsed: Duration::from_secs(1) };

pub(crate) fn run(bench: &mut Bench, is_smoke: bool, rounds: u32) {
    let size = if is_smoke { SMOKE } else { FULL };
    let Size { readers, heavy, elapsed } = size;
    println!(
        "stuck: {readers} readers of trades, {heavy} of trades, bbo and book, {ORDERS_PER_SECOND} orders/s, \
        {} s; least p99 of {rounds} rounds by turns",
        elapsed.as_secs()
    );
    let (mut reading, mut stuck) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        reading.push(round(bench, &size, false));
        stuck.push(round(bench, &size, true));
    }
    let heads = [
        "run",
        "deliveries",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "CPU %",
        "end MB",
        "most MB",
        "ended",
        "left behind",
        "neither",
    ];
    let mut table = Table::new(&heads);
    let best = [("A: read", reading), ("B: stuck", stuck)].map(|(name, rounds)| {
        let all: Vec<_> = rounds.iter().map(|round| round.latency_ns[1] / 1_000).collect();
        eprintln!("{name}: p99 us of each round: {all:?}");
        let best = rounds.into_iter().min_by_key(|round| round.latency_ns[1]).expect("a round");
        table.row(&best.cells(name));
        best
    });
    table.print();
    let [read, stuck] = best;
    let ratios = [0, 1, 2].map(|place| ratio(stuck.latency_ns[place], read.latency_ns[place]));
    println!("B by A: p50 {:.2}, p99 {:.2}, p99.9 {:.2}", ratios[0], ratios[1], ratios[2]);
    let added = stuck.most_bytes.saturating_sub(read.most_bytes);
    let (one, all) = (heavy * OUT_QUEUE_BYTES_MAX / 1_000_000, OUT_BYTES_MAX / 1_000_000);
    println!(
        "memory that B held at most beyond A: {:.1} MB; bounds: {one} MB for {heavy} queues \
        (out_queue_bytes_max), {all} MB for all (out_bytes_max)",
        megabytes(added)
    );
    println!("every message of every reader came once and in order");
}

/// One run.
struct Round {
    deliveries: u64,
    latency_ns: [u64; 3],
    cpu_of_thousand: u64,
    end_bytes: u64,
    most_bytes: u64,
    fates: Vec<Fate>,
}

fn round(bench: &mut Bench, size: &Size, are_stuck: bool) -> Round {
    let server = bench.product(&market(ORDERS_PER_SECOND), false, "socket_unsent_bytes_max = 65536");
    bench.runtime.block_on(measure(bench, &server, size, are_stuck))
}

async fn measure(bench: &Bench, server: &Server, size: &Size, are_stuck: bool) -> Round {
    let client = &bench.client;
    let connected = async |count: u64, receiving| {
        let connect = |_| Subscriber::connect(server.address, Arc::clone(client), receiving);
        (0..count).map(connect).collect::<JoinSet<_>>().join_all().await
    };
    let readers = connected(size.readers, Receiving::AsUsual).await;
    let receiving = if are_stuck { Receiving::Little } else { Receiving::AsUsual };
    let heavy = connected(size.heavy, receiving).await;

    let requests: Arc<[String]> = [subscribe("trades", &SYNTHETIC_SYMBOLS)].into();
    let subscribing = readers.into_iter().map(|reader| reader.subscribed(Arc::clone(&requests)));
    let readers = subscribing.collect::<JoinSet<_>>().join_all().await;
    let counts: Vec<_> = readers.iter().map(|reader| Arc::clone(&reader.received)).collect();
    let mut reading = Reading::start(readers, u64::MAX);
    let requests: Arc<[String]> = market_requests().into();
    let subscribing = heavy.into_iter().map(|one| one.subscribed(Arc::clone(&requests)));
    let heavy = subscribing.collect::<JoinSet<_>>().join_all().await;

    let messages = || counts.iter().map(|received| received.get().0).sum::<u64>();
    let mut scratch = vec![0; 256 * 1024];
    let mut most_bytes = 0;
    // The readers are tasks and go on meanwhile; `go_on` sees whether one has failed.
    let mut go_on = async |elapsed: Duration| {
        let end = tokio::time::Instant::now() + elapsed;
        while tokio::time::Instant::now() < end {
            reading.go_on(TICK).await;
            if !are_stuck {
                heavy.iter().for_each(|one| one.throw_away(&mut scratch));
            }
            most_bytes = server.resident_bytes().max(most_bytes);
        }
    };
    go_on(SETTLING).await;
    counts.iter().for_each(|received| received.latencies.lock().clear());
    let (start_ns, cpu_ns, before) = (now_ns(), server.cpu_ns(), messages());
    go_on(size.elapsed).await;
    let (elapsed_ns, cpu_ns) = (now_ns() - start_ns, server.cpu_ns() - cpu_ns);
    let (deliveries, latency_ns) = (messages() - before, percentiles(&counts));
    let end_bytes = server.resident_bytes();
    let most_bytes = most_bytes.max(end_bytes);
    let fates = if are_stuck {
        heavy.into_iter().map(|one| one.fate(PATIENCE)).collect::<JoinSet<_>>().join_all().await
    } else {
        Vec::new()
    };
    let cpu_of_thousand = cpu_ns * 1_000 / elapsed_ns;
    Round { deliveries, latency_ns, cpu_of_thousand, end_bytes, most_bytes, fates }
}

impl Round {
    fn cells(&self, name: &str) -> Vec<String> {
        let us = |place: usize| (self.latency_ns[place] / 1_000).to_string();
        let count = |fate| self.fates.iter().filter(|one| **one == fate).count().to_string();
        vec![
            name.to_owned(),
            self.deliveries.to_string(),
            us(0),
            us(1),
            us(2),
            format!("{}", self.cpu_of_thousand / 10),
            format!("{:.1}", megabytes(self.end_bytes)),
            format!("{:.1}", megabytes(self.most_bytes)),
            count(Fate::Ended),
            count(Fate::LeftBehind),
            count(Fate::Kept),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}
