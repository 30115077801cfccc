//! What a delivery costs the server in CPU time, over real mutual-TLS sockets, beside a bare server as its floor.
//!
//! Three loads, each with 50 and 500 subscribers (the last with 50):
//! - `burst`: a recording of trades, all due at one moment. What waits for a reader at its end is less than
//!   the queue that a reader may have by default, so that nobody is closed for being slow.
//! - `1,000/s`: the same, one trade a millisecond.
//! - `market`: the synthetic market with 1,000 orders a second on 4 symbols, sealed in the log, to subscribers of
//!   `trades`, `bbo` and `book` of all of them.
//!
//! The server is the release binary on one processor, the load this process on another. `server` is its whole CPU
//! time by deliveries; `marginal` is what is left when the same load to one subscriber is taken off, and so the fan-out
//! alone; `floor` is the whole CPU time of `floor`'s server at the same number, rate and size of messages. Every message
//! of every subscriber is checked: a gap, a message too few or a closed connection ends the bench with an error.
//!
//! `cargo bench --bench fanout`; `-- --smoke` or `SEALFEED_BENCH_SMOKE=1` for 10 subscribers and some seconds.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench prints its numbers and may stop"
)]

mod floor;
mod load;
mod process;
mod sequence;
mod setup;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::runtime::Runtime;

use floor::FloorOptions;
use load::{Outcome, Until, client_configuration, measure};
use process::{Processors, Server};
use setup::{Ground, RECORDED_SYMBOL, SYNTHETIC_SYMBOLS};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == floor::ARGUMENT) {
        floor::serve(FloorOptions::parse(&arguments[place + 1..]));
        return;
    }
    let is_smoke = arguments.iter().any(|argument| argument == "--smoke")
        || std::env::var_os("SEALFEED_BENCH_SMOKE").is_some();
    let mut bench = Bench::prepare();
    let processors = if bench.processors.are_apart { "one processor each" } else { "one processor for both" };
    let rounds = if is_smoke { 1 } else { 3 };
    println!(
        "fanout: CPU of the server in ns a delivery; server and load on {processors}; median of {rounds} rounds"
    );
    println!(
        "{:>5} {:>8} {:>6} {:>9} {:>9} {:>8} {:>9} {:>7} {:>6} {:>10} {:>11}",
        "N",
        "load",
        "bytes",
        "messages",
        "/s",
        "server",
        "marginal",
        "floor",
        "ratio",
        "connect ms",
        "idle KB"
    );
    for case in if is_smoke { &SMOKE[..] } else { &FULL[..] } {
        let mut rows: Vec<Row> = (0..rounds).map(|_| bench.row(case)).collect();
        rows.sort_by(|one, other| one.server_ns().total_cmp(&other.server_ns()));
        rows[rows.len() / 2].print(case);
    }
    println!("every message of every subscriber came once and in order; no connection was closed");
    println!("connect ms and idle KB: server/floor, for a connection up to its welcome");
}

/// What is measured in one row.
struct Case {
    subscribers: u64,
    load: Load,
}

#[derive(Clone, Copy)]
enum Load {
    /// So many trades at once.
    Burst(u32),
    /// So many trades, a millisecond apart.
    Paced(u32),
    /// The synthetic market for so many milliseconds.
    Market(u64),
}

const FULL: [Case; 5] = [
    Case { subscribers: 50, load: Load::Burst(10_000) },
    Case { subscribers: 500, load: Load::Burst(5_000) },
    Case { subscribers: 50, load: Load::Paced(3_000) },
    Case { subscribers: 500, load: Load::Paced(3_000) },
    Case { subscribers: 50, load: Load::Market(3_000) },
];

const SMOKE: [Case; 3] = [
    Case { subscribers: 10, load: Load::Burst(2_000) },
    Case { subscribers: 10, load: Load::Paced(300) },
    Case { subscribers: 10, load: Load::Market(300) },
];

const ORDERS_PER_SECOND: u32 = 1_000;

struct Bench {
    ground: Ground,
    processors: Processors,
    client: Arc<ClientConfig>,
    runtime: Runtime,
}

impl Bench {
    fn prepare() -> Self {
        let ground = Ground::prepare();
        let client = client_configuration(&ground.pki());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { ground, processors: Processors::divide(), client, runtime }
    }

    fn row(&mut self, case: &Case) -> Row {
        let server = self.server(case.load, case.subscribers);
        let alone = self.server(case.load, 1);
        let floor = self.floor(case, &server);
        Row { server, alone, floor }
    }

    /// The product.
    fn server(&mut self, load: Load, subscribers: u64) -> Outcome {
        let (source, requests) = match load {
            Load::Burst(trades) => (self.recording(trades, 0, subscribers), trade_request()),
            Load::Paced(trades) => (self.recording(trades, 1_000_000, subscribers), trade_request()),
            Load::Market(_) => (market(), market_requests()),
        };
        let configuration = self.ground.configuration(&source);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
        command.arg("serve").arg("--config").arg(configuration);
        let server = Server::start(command, &self.processors);
        self.runtime.block_on(measure(&server, &self.client, subscribers, &requests, load.until()))
    }

    /// The floor, with as many messages a second of the same mean size.
    fn floor(&self, case: &Case, server: &Outcome) -> Outcome {
        let messages_per_second = match case.load {
            Load::Burst(_) => 0,
            Load::Paced(_) => 1_000,
            Load::Market(_) => server.deliveries * 1_000_000_000 / (server.elapsed_ns * case.subscribers),
        };
        let messages = match case.load {
            Load::Burst(trades) | Load::Paced(trades) => trades.into(),
            Load::Market(_) => u64::MAX,
        };
        let options = FloorOptions {
            pki: self.ground.pki(),
            subscribers: case.subscribers,
            messages,
            messages_per_second,
            message_bytes: server.bytes / server.deliveries,
        };
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(options.arguments());
        let server = Server::start(command, &self.processors);
        let until = case.load.until();
        self.runtime.block_on(measure(&server, &self.client, case.subscribers, &trade_request(), until))
    }

    fn recording(&self, trades: u32, gap_ns: u64, subscribers: u64) -> String {
        let path = self.ground.recording(trades, gap_ns);
        format!(
            "type = \"dbn\"\npath = \"{}\"\nspeed = 1\nwait_for_subscribers = {subscribers}",
            path.display()
        )
    }
}

impl Load {
    fn until(self) -> Until {
        match self {
            Self::Burst(trades) | Self::Paced(trades) => Until::Messages(trades.into()),
            Self::Market(milliseconds) => Until::Elapsed(Duration::from_millis(milliseconds)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Burst(_) => "burst",
            Self::Paced(_) => "1,000/s",
            Self::Market(_) => "market",
        }
    }
}

fn market() -> String {
    format!(
        "type = \"synthetic\"\nsymbols = {SYNTHETIC_SYMBOLS:?}\nmessages_per_second = {ORDERS_PER_SECOND}"
    )
}

fn trade_request() -> Vec<String> {
    vec![format!(r#"{{"op":"subscribe","id":1,"channel":"trades","symbols":["{RECORDED_SYMBOL}"]}}"#)]
}

fn market_requests() -> Vec<String> {
    let request = |channel| {
        format!(r#"{{"op":"subscribe","id":1,"channel":"{channel}","symbols":{SYNTHETIC_SYMBOLS:?}}}"#)
    };
    ["trades", "bbo", "book"].map(request).into()
}

/// One case, measured once.
struct Row {
    server: Outcome,
    alone: Outcome,
    floor: Outcome,
}

#[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
impl Row {
    fn server_ns(&self) -> f64 {
        self.server.cpu_ns as f64 / self.server.deliveries as f64
    }

    /// CPU time and deliveries beyond those of one subscriber, at the same length of time.
    fn marginal_ns(&self) -> f64 {
        let (server, alone) = (&self.server, &self.alone);
        let more_ns = server.cpu_ns as f64 - alone.cpu_ns as f64;
        more_ns / (server.deliveries as f64 - alone.deliveries as f64)
    }

    fn print(&self, case: &Case) {
        let Self { server, floor, .. } = self;
        let floor_ns = floor.cpu_ns as f64 / floor.deliveries as f64;
        let per_second = server.deliveries as f64 * 1e9 / server.elapsed_ns as f64;
        let pair =
            |one: u64, other: u64, unit: f64| format!("{:.2}/{:.2}", one as f64 / unit, other as f64 / unit);
        println!(
            "{:>5} {:>8} {:>6} {:>9} {:>9.0} {:>8.0} {:>9.0} {:>7.0} {:>6.2} {:>10} {:>11}",
            case.subscribers,
            case.load.name(),
            server.bytes / server.deliveries,
            server.deliveries,
            per_second,
            self.server_ns(),
            self.marginal_ns(),
            floor_ns,
            self.server_ns() / floor_ns,
            pair(server.connect_cpu_ns, floor.connect_cpu_ns, 1e6),
            pair(server.idle_bytes, floor.idle_bytes, 1024.0),
        );
    }
}
