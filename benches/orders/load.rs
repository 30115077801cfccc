//! The load: connects traders, lets them trade for a while, and measures the server meanwhile. All on one thread.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};

use super::process::Server;
use super::setup::{Ground, SYMBOLS, Trader};
use super::support::{thread_cpu_ns, wall_ns};
use super::trader::{Answered, Connection, Mix, Receipt};

/// How many connect at once.
const BATCH: usize = 32;
/// Longest wait for the last answers.
const ANSWERS_MAX: Duration = Duration::from_secs(60);

/// How much is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Traders, each with a connection and a certificate of its own.
    pub(crate) traders: u64,
    /// Orders that each has in flight.
    pub(crate) in_flight: usize,
    /// Trading before the measurement.
    pub(crate) warm_up: Duration,
    /// The measurement.
    pub(crate) measured: Duration,
}

/// What was measured with one server.
pub(crate) struct Outcome {
    /// Orders that were answered in the time of the measurement.
    pub(crate) orders: u64,
    /// That time.
    pub(crate) elapsed_ns: u64,
    /// The server's, in that time.
    pub(crate) cpu_ns: u64,
    /// The load's own.
    pub(crate) load_cpu_ns: u64,
    /// Of 1,000 orders the 500th, 990th and 999th, from the write to the answer.
    pub(crate) latency_ns: [u64; 3],
    /// Orders that were answered in all.
    pub(crate) orders_in_all: u64,
    /// Bytes of one answer.
    pub(crate) answer_bytes: u64,
    /// Of the last order of each trader.
    pub(crate) receipts: Vec<Receipt>,
}

/// Where everything stands at one moment.
struct Mark {
    time_ns: u64,
    cpu_ns: u64,
    load_cpu_ns: u64,
}

impl Mark {
    fn take(server: &Server) -> Self {
        Self { cpu_ns: server.cpu_ns(), load_cpu_ns: thread_cpu_ns(), time_ns: wall_ns() }
    }
}

/// So many traders, with certificates that nobody has had.
fn fresh_traders(ground: &Ground, count: u64) -> Vec<Trader> {
    (1..=count).map(|number| ground.trader(number)).collect()
}

/// Connects these traders, a batch at a time.
pub(crate) async fn connect(address: SocketAddr, traders: Vec<Trader>, mix: Mix) -> Vec<Connection> {
    let mut connections = Vec::with_capacity(traders.len());
    let mut traders = traders.into_iter();
    loop {
        let batch: JoinSet<_> =
            traders.by_ref().take(BATCH).map(|trader| Connection::connect(address, trader, mix)).collect();
        if batch.is_empty() {
            return connections;
        }
        connections.extend(batch.join_all().await);
    }
}

/// Takes what the synthetic market offers, so that traders meet nobody else.
async fn sweep(address: SocketAddr, ground: &Ground) {
    let mut connections = connect(address, vec![ground.trader(0)], Mix::Sweep).await;
    let sweeper = connections.pop().expect("a connection");
    sweeper.trade(1, |sent| sent < SYMBOLS.len() as u64).await;
}

/// Lets traders trade with a server, each over a connection of its own.
pub(crate) async fn measure(server: &Server, ground: &Ground, load: Load) -> Outcome {
    sweep(server.address, ground).await;
    let connections = connect(server.address, fresh_traders(ground, load.traders), Mix::HalfTrade).await;
    let goes_on = Rc::new(AtomicBool::new(true));
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    for connection in connections {
        let goes_on = Rc::clone(&goes_on);
        tasks.spawn_local_on(
            connection.trade(load.in_flight, move |_| goes_on.load(Ordering::Relaxed)),
            &local,
        );
    }
    let measured = async {
        tokio::time::sleep(load.warm_up).await;
        let begin = Mark::take(server);
        tokio::time::sleep(load.measured).await;
        let end = Mark::take(server);
        goes_on.store(false, Ordering::Relaxed);
        (begin, end)
    };
    let (begin, end) = local.run_until(measured).await;
    let mut connections = Vec::new();
    let all_answered = async {
        while let Some(ended) = tasks.join_next().await {
            connections.push(ended.expect("a trader without a fault"));
        }
    };
    let all_answered = local.run_until(tokio::time::timeout(ANSWERS_MAX, all_answered)).await;
    assert!(all_answered.is_ok(), "an order was not answered within {ANSWERS_MAX:?}");
    Outcome::new(&begin, &end, &connections)
}

impl Outcome {
    fn new(begin: &Mark, end: &Mark, connections: &[Connection]) -> Self {
        let answered = || connections.iter().flat_map(|connection| &connection.answered);
        let is_within = |one: &&Answered| (begin.time_ns..end.time_ns).contains(&one.at_ns);
        let mut latencies: Vec<u64> = answered().filter(is_within).map(|one| one.latency_ns).collect();
        assert!(!latencies.is_empty(), "no order was answered in time");
        latencies.sort_unstable();
        let last = latencies.len() - 1;
        let answer_bytes: u64 = connections.iter().map(|connection| connection.answer_bytes).sum();
        let orders_in_all = answered().count() as u64;
        Self {
            orders: latencies.len() as u64,
            elapsed_ns: end.time_ns - begin.time_ns,
            cpu_ns: end.cpu_ns - begin.cpu_ns,
            load_cpu_ns: end.load_cpu_ns - begin.load_cpu_ns,
            latency_ns: [500, 990, 999].map(|of_thousand| latencies[last * of_thousand / 1_000]),
            orders_in_all,
            answer_bytes: answer_bytes / orders_in_all,
            receipts: connections.iter().map(|connection| connection.receipt.clone()).collect(),
        }
    }

    pub(crate) fn per_second(&self) -> u64 {
        super::support::per_second(self.orders, self.elapsed_ns)
    }
}
