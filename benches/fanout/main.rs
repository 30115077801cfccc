//! What a delivery costs the server in CPU time, over real mutual-TLS sockets, beside two bare servers as its floors.
//!
//! Loads, with 50, 500 or 2,000 subscribers:
//! - `burst`: a recording of trades, all due at one moment.
//! - `200/s` to `20,000/s`: the same, so many trades a second.
//! - `market`: the synthetic market with 1,000 orders a second on 4 symbols, sealed in the log, to subscribers of
//!   `trades`, `bbo` and `book` of all of them.
//!
//! The server is the release binary on one processor, the load this process on another. `server` is its whole CPU
//! time by deliveries; `bare` and `tokio` are those of the floors at the same number, rate and size of messages: an own
//! record layer over one loop (`bare`), and tokio-rustls over the same log (`floor`). `ratio` is `server` by `bare`.
//! Latencies are from the time of publication in a message to its reader. Every message of every subscriber is
//! checked: a gap, a message too few or a closed connection ends the bench with an error.
//!
//! Scenes beside this table: `idle` (what thousands of quiet connections hold), `stuck` (what readers suffer from those
//! who do not read), `growth` (the cost of a delivery as subscribers and symbols grow, as plots; `--step 1000` for one step, without).
//!
//! `cargo bench --bench fanout`; `-- --load burst` for one load, `-- --rounds 5`; `-- --scene idle` for a scene; `-- --smoke`
//! or `SEALFEED_BENCH_SMOKE=1` for 10 subscribers and some seconds, and every scene as small.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench prints its numbers and may stop"
)]

mod bare;
mod floor;
mod growth;
mod idle;
mod load;
mod plot;
mod process;
#[path = "../../src/cli/bench/sequence.rs"]
mod sequence;
mod setup;
mod stuck;
mod subscriber;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tls.rs"]
mod tls;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::runtime::Runtime;

use floor::{FloorOptions, Layer};
use load::{Outcome, Until, client_configuration, measure};
use process::{Processors, Server};
use setup::{Ground, RECORDED_SYMBOL, SYNTHETIC_SYMBOLS};
use support::Table;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == floor::ARGUMENT) {
        floor::serve(FloorOptions::parse(&arguments[place + 1..]));
        return;
    }
    let is_smoke = arguments.iter().any(|argument| argument == "--smoke")
        || std::env::var_os("SEALFEED_BENCH_SMOKE").is_some();
    // Before the first process changes what this one may use.
    let wide = Processors::two_for_the_server();
    let mut bench = Bench::prepare(wide);
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let rounds = value("--rounds").map(|text| text.parse().expect("a number"));
    let rounds = |usual: u32| rounds.unwrap_or(if is_smoke { 1 } else { usual });
    match value("--scene").as_deref() {
        None => {
            table(&mut bench, is_smoke, rounds(2), value("--load").as_deref());
            if is_smoke {
                idle::run(&mut bench, true);
                stuck::run(&mut bench, true, rounds(1));
                growth::run(&mut bench, true, rounds(1), None);
            }
        }
        Some("idle") => idle::run(&mut bench, is_smoke),
        Some("stuck") => stuck::run(&mut bench, is_smoke, rounds(3)),
        Some("growth") => {
            let step = value("--step").map(|text| text.parse().expect("a number"));
            growth::run(&mut bench, is_smoke, rounds(2), step);
        }
        Some(other) => panic!("no scene `{other}`: idle, stuck or growth"),
    }
}

/// The table of loads.
fn table(bench: &mut Bench, is_smoke: bool, rounds: u32, only: Option<&str>) {
    let processors = if bench.processors.are_apart { "one processor each" } else { "one processor for both" };
    println!(
        "fanout: CPU of the server in ns a delivery; server and load on {processors}; least of {rounds} rounds, each server by turns"
    );
    let heads = [
        "N",
        "load",
        "bytes",
        "/s",
        "server",
        "bare",
        "tokio",
        "ratio",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "connect ms",
        "idle KB",
        "loaded KB",
    ];
    let mut table = Table::new(&heads);
    for case in if is_smoke { &SMOKE[..] } else { &FULL[..] } {
        if only.is_some_and(|load| load != case.load.name()) {
            continue;
        }
        let rows: Vec<Row> = (0..rounds).map(|_| bench.row(case)).collect();
        let cells = Row::least(&rows).cells(case);
        eprintln!("{}", cells.join("  "));
        table.row(&cells);
    }
    table.print();
    println!("every message of every subscriber came once and in order; no connection was closed");
    println!("latencies, connect ms and KB: server/bare; connect for a connection up to its welcome");
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
    /// Its name, how many trades, and how many nanoseconds apart.
    Paced(&'static str, u32, u64),
    /// The synthetic market for so many milliseconds.
    Market(u64),
}

// 20,000/s to 500, and more than 200/s to 2,000, is more than the load can check.
const FULL: [Case; 12] = [
    Case { subscribers: 50, load: Load::Burst(10_000) },
    Case { subscribers: 500, load: Load::Burst(5_000) },
    Case { subscribers: 2_000, load: Load::Burst(2_000) },
    Case { subscribers: 50, load: Load::Paced("200/s", 600, 5_000_000) },
    Case { subscribers: 500, load: Load::Paced("200/s", 600, 5_000_000) },
    Case { subscribers: 2_000, load: Load::Paced("200/s", 600, 5_000_000) },
    Case { subscribers: 50, load: Load::Paced("1,000/s", 3_000, 1_000_000) },
    Case { subscribers: 500, load: Load::Paced("1,000/s", 3_000, 1_000_000) },
    Case { subscribers: 50, load: Load::Paced("5,000/s", 15_000, 200_000) },
    Case { subscribers: 50, load: Load::Paced("20,000/s", 40_000, 50_000) },
    Case { subscribers: 500, load: Load::Paced("5,000/s", 15_000, 200_000) },
    Case { subscribers: 50, load: Load::Market(3_000) },
];

const SMOKE: [Case; 3] = [
    Case { subscribers: 10, load: Load::Burst(2_000) },
    Case { subscribers: 10, load: Load::Paced("1,000/s", 300, 1_000_000) },
    Case { subscribers: 10, load: Load::Market(300) },
];

const ORDERS_PER_SECOND: u32 = 1_000;

struct Bench {
    ground: Ground,
    /// One processor for the server.
    processors: Processors,
    /// Two.
    wide: Processors,
    client: Arc<ClientConfig>,
    runtime: Runtime,
}

impl Bench {
    fn prepare(wide: Processors) -> Self {
        let ground = Ground::prepare();
        let client = client_configuration(&ground.pki());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { ground, processors: Processors::divide(), wide, client, runtime }
    }

    fn row(&mut self, case: &Case) -> Row {
        let server = self.server(case.load, case.subscribers);
        let [bare, tokio] = [Layer::Bare, Layer::TokioRustls].map(|layer| self.floor(case, &server, layer));
        Row { server, bare, tokio }
    }

    /// The product, with this source, on one processor or two, and with these limits beside those of the ground.
    fn product(&mut self, source: &str, is_wide: bool, limits: &str) -> Server {
        let configuration = self.ground.configuration(source, limits);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
        command.arg("serve").arg("--config").arg(configuration);
        Server::start(command, if is_wide { &self.wide } else { &self.processors })
    }

    /// A floor, on one processor.
    fn floor_server(&self, options: &FloorOptions) -> Server {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(options.arguments());
        Server::start(command, &self.processors)
    }

    /// The product under one load of the table.
    fn server(&mut self, load: Load, subscribers: u64) -> Outcome {
        let (source, requests) = match load {
            Load::Burst(trades) => (self.recording(trades, 0, 1, subscribers), trade_request()),
            Load::Paced(_, trades, gap_ns) => {
                (self.recording(trades, gap_ns, 1, subscribers), trade_request())
            }
            Load::Market(_) => (market(ORDERS_PER_SECOND), market_requests()),
        };
        let server = self.product(&source, false, "");
        self.runtime.block_on(measure(&server, &self.client, subscribers, &requests, load.until()))
    }

    /// The floor, with as many messages a second of the same mean size.
    fn floor(&self, case: &Case, server: &Outcome, layer: Layer) -> Outcome {
        let messages_per_second = match case.load {
            Load::Burst(_) => 0,
            Load::Paced(_, _, gap_ns) => 1_000_000_000 / gap_ns,
            Load::Market(_) => server.deliveries * 1_000_000_000 / (server.elapsed_ns * case.subscribers),
        };
        let messages = match case.load {
            Load::Burst(trades) | Load::Paced(_, trades, _) => trades.into(),
            Load::Market(_) => u64::MAX,
        };
        let options = FloorOptions {
            pki: self.ground.pki(),
            subscribers: case.subscribers,
            messages,
            messages_per_second,
            message_bytes: server.bytes / server.deliveries,
            layer,
        };
        let server = self.floor_server(&options);
        let until = case.load.until();
        self.runtime.block_on(measure(&server, &self.client, case.subscribers, &trade_request(), until))
    }

    /// A source that waits for so many subscriptions.
    fn recording(&self, trades: u32, gap_ns: u64, symbols: u32, subscriptions: u64) -> String {
        let path = self.ground.recording(trades, gap_ns, symbols);
        format!(
            "type = \"dbn\"\npath = \"{}\"\nspeed = 1\nwait_for_subscribers = {subscriptions}",
            path.display()
        )
    }
}

impl Load {
    fn until(self) -> Until {
        match self {
            Self::Burst(trades) | Self::Paced(_, trades, _) => Until::Messages(trades.into()),
            Self::Market(milliseconds) => Until::Elapsed(Duration::from_millis(milliseconds)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Burst(_) => "burst",
            Self::Paced(name, ..) => name,
            Self::Market(_) => "market",
        }
    }
}

fn market(orders_per_second: u32) -> String {
    format!(
        "type = \"synthetic\"\nsymbols = {SYNTHETIC_SYMBOLS:?}\nmessages_per_second = {orders_per_second}"
    )
}

fn trade_request() -> Vec<String> {
    vec![subscribe("trades", &[RECORDED_SYMBOL])]
}

fn market_requests() -> Vec<String> {
    ["trades", "bbo", "book"].map(|channel| subscribe(channel, &SYNTHETIC_SYMBOLS)).into()
}

fn subscribe(channel: &str, symbols: &[impl std::fmt::Debug]) -> String {
    format!(r#"{{"op":"subscribe","id":1,"channel":"{channel}","symbols":{symbols:?}}}"#)
}

/// One case, measured once.
struct Row {
    server: Outcome,
    bare: Outcome,
    tokio: Outcome,
}

#[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
impl Row {
    /// The round that cost least, for each server by itself: what others do on the machine only adds to it.
    fn least(rows: &[Self]) -> Self {
        let least = |of: fn(&Self) -> &Outcome| {
            let all = rows.iter().map(of);
            *all.min_by(|one, other| delivery_ns(one).total_cmp(&delivery_ns(other))).expect("a round")
        };
        Self {
            server: least(|row| &row.server),
            bare: least(|row| &row.bare),
            tokio: least(|row| &row.tokio),
        }
    }

    fn ratio(&self) -> f64 {
        delivery_ns(&self.server) / delivery_ns(&self.bare)
    }

    fn cells(&self, case: &Case) -> Vec<String> {
        let Self { server, bare, tokio } = self;
        let per_second = server.deliveries as f64 * 1e9 / server.elapsed_ns as f64;
        let pair =
            |one: u64, other: u64, unit: f64| format!("{:.2}/{:.2}", one as f64 / unit, other as f64 / unit);
        let latency =
            |place: usize| format!("{}/{}", server.latency_ns[place] / 1_000, bare.latency_ns[place] / 1_000);
        vec![
            case.subscribers.to_string(),
            case.load.name().to_owned(),
            (server.bytes / server.deliveries).to_string(),
            format!("{per_second:.0}"),
            format!("{:.0}", delivery_ns(server)),
            format!("{:.0}", delivery_ns(bare)),
            format!("{:.0}", delivery_ns(tokio)),
            format!("{:.2}", self.ratio()),
            latency(0),
            latency(1),
            latency(2),
            pair(server.connect_cpu_ns, bare.connect_cpu_ns, 1e6),
            pair(server.idle_bytes, bare.idle_bytes, 1024.0),
            pair(server.loaded_bytes, bare.loaded_bytes, 1024.0),
        ]
    }
}

/// CPU nanoseconds of a delivery.
#[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
fn delivery_ns(outcome: &Outcome) -> f64 {
    outcome.cpu_ns as f64 / outcome.deliveries as f64
}
