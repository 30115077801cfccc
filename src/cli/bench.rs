//! `sealfeed bench fanout`: how a running server delivers to many connections of one client.
//!
//! Every connection is a real one: mutual TLS, a proven session, its own subscriptions. Every message is held against its stream, so a
//! figure without gaps is one of complete delivery. Memory: some 150 KiB a connection for buffers of TLS and WebSocket, two histograms of
//! 15 KiB, nothing that grows with the number of messages.

mod histogram;
mod load;
mod sequence;
#[cfg(test)]
mod sequence_tests;

use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use sealfeed_client::subscription;
use sealfeed_wire::request::{Op, Request};
use sealfeed_wire::{Channel, Code, Depth, OnSlow, RequestId, Symbol};
use serde_json::{Value, json};

use self::histogram::Histogram;
use self::load::{Load, Seen, measure};
use super::context::{ConnectArgs, EXIT_USAGE, Problem};
use super::duration::parse_duration;
use super::watch::{WatchChannel, parse_depth};

/// It was measured, and messages were missing or connections ended.
const EXIT_GAPS: u8 = 7;
/// Most connections.
const CONNECTIONS_MAX: usize = 10_000;
/// Most of them that are begun in a second.
const CONNECT_RATE_MAX: u32 = 10_000;
/// Most symbols.
const SYMBOLS_MAX: usize = 1_000;
/// Symbols of one request: it stays far below the 8 KiB that servers take.
const SYMBOLS_PER_REQUEST: usize = 32;
/// Shortest and longest measurement.
const LENGTHS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(24 * 60 * 60));

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Many connections that subscribe to the same: connect time, messages a second, latency.
    Fanout(FanoutArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Latency is from ts_out, when the server published a message, to this process. It needs the clock of the server: run it on the same host, or \
    keep both clocks with PTP or a good NTP and read the figures no finer than these keep them. All connections are of one certificate: its entitlement must \
    allow as many sessions, and the address as many connections. Exit codes: 0 measured, every message of every stream came; 1 failed, or nothing came \
    (SF-CLI-006); 2 usage (SF-CLI-005); 3 cannot connect; 4 not entitled; 7 measured, but messages were missing (SF-CLI-001) or connections ended (SF-CLI-002)."
)]
struct FanoutArgs {
    /// What to subscribe to: up to 1,000 symbols.
    #[arg(required = true, value_name = "SYMBOL")]
    symbols: Vec<Symbol>,
    /// What of it; may be given several times.
    #[arg(long, value_enum, default_value = "trades")]
    channel: Vec<WatchChannel>,
    /// Levels a side of books: 10, 50, or 0 for all.
    #[arg(long, value_parser = parse_depth)]
    depth: Option<Depth>,
    /// Connections, 1 to 10,000.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    connections: usize,
    /// Connections that are begun each second, 1 to 10,000: servers limit what comes from one address.
    #[arg(long, value_name = "N", default_value_t = 100)]
    connect_rate: u32,
    /// How long to measure, 100ms to 24h.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    length: Duration,
    /// How to print; a table on a terminal, one JSON object in a pipe.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
    #[command(flatten)]
    connection: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Auto,
    Table,
    Json,
}

pub(super) fn run(arguments: BenchArgs) -> anyhow::Result<ExitCode> {
    let Command::Fanout(arguments) = arguments.command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(fanout(&arguments));
    // Readers that still wait are not waited for.
    runtime.shutdown_background();
    Ok(match outcome {
        Ok(code) => code,
        Err(problem) => problem.tell(),
    })
}

async fn fanout(arguments: &FanoutArgs) -> Result<ExitCode, Problem> {
    let channels = check(arguments)?;
    let target = arguments.connection.target()?;
    let (config, seen) = (target.config()?, Arc::new(Seen::new()));
    let requests = requests(arguments, &channels);
    let load = Load {
        config,
        connections: arguments.connections,
        connect_pause: Duration::from_secs(1) / arguments.connect_rate,
        requests,
        length: arguments.length,
    };
    let measured = measure(load, &seen).await;
    let elapsed = measured.map_err(|problem| problem.at(target.place()))?;
    if seen.messages.load(Ordering::Relaxed) == 0 {
        return Err(Problem::new(Code::CliNothingReceived.message())
            .at(target.place())
            .fix(Code::CliNothingReceived.hint())
            .code(Code::CliNothingReceived.into()));
    }
    let result = result(arguments, elapsed, &seen);
    match arguments.output {
        Output::Json => anstream::println!("{result}"),
        Output::Auto if !std::io::stdout().is_terminal() => anstream::println!("{result}"),
        Output::Auto | Output::Table => print_table(&result),
    }
    Ok(judge(&seen))
}

/// Refuses what makes no sense, before anything is done; the channels that are meant.
fn check(arguments: &FanoutArgs) -> Result<Vec<Channel>, Problem> {
    let wrong = |what: String, fix: &str| {
        let problem = Problem::new(what).at("the arguments").fix(fix);
        Err(problem.code(Code::CliArgumentsInvalid.into()).exit(EXIT_USAGE))
    };
    if !(1..=CONNECTIONS_MAX).contains(&arguments.connections) {
        return wrong(format!("{} connections", arguments.connections), "Ask for 1 to 10,000 connections.");
    }
    if !(1..=CONNECT_RATE_MAX).contains(&arguments.connect_rate) {
        let what = format!("{} connections a second", arguments.connect_rate);
        return wrong(what, "Begin 1 to 10,000 connections a second.");
    }
    if !(LENGTHS.0..=LENGTHS.1).contains(&arguments.length) {
        return wrong(format!("a measurement of {:?}", arguments.length), "Measure for 100ms to 24h.");
    }
    let mut symbols = HashSet::new();
    if let Some(twice) = arguments.symbols.iter().find(|symbol| !symbols.insert(**symbol)) {
        return wrong(format!("{twice} is named twice"), "Name each symbol once.");
    }
    if symbols.len() > SYMBOLS_MAX {
        return wrong(format!("{} symbols are named", symbols.len()), "Name 1,000 symbols at most.");
    }
    let (mut channels, mut seen) = (Vec::new(), HashSet::new());
    for channel in arguments.channel.iter().map(|channel| Channel::from(*channel)) {
        if !seen.insert(channel) {
            return wrong(
                format!("the channel {} is named twice", channel.as_str()),
                "Name each channel once.",
            );
        }
        channels.push(channel);
    }
    if arguments.depth.is_some() && !channels.contains(&Channel::Book) {
        return wrong("only a book has a depth".to_owned(), "Leave --depth out, or measure --channel book.");
    }
    Ok(channels)
}

fn requests(arguments: &FanoutArgs, channels: &[Channel]) -> Vec<String> {
    let mut requests = Vec::new();
    for channel in channels {
        for symbols in arguments.symbols.chunks(SYMBOLS_PER_REQUEST) {
            let mut wanted = subscription(*channel, symbols.iter().copied());
            // Whoever is left behind is to be seen, not spared.
            wanted.on_slow = Some(OnSlow::Disconnect);
            wanted.depth = arguments.depth.filter(|_| *channel == Channel::Book);
            let id = i64::try_from(requests.len()).unwrap_or(i64::MAX);
            requests.push(Request { id: Some(RequestId::Integer(id)), op: Op::Subscribe(wanted) }.encode());
        }
    }
    requests
}

/// Everything that was measured.
fn result(arguments: &FanoutArgs, elapsed: Duration, seen: &Seen) -> Value {
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = |count: u64| u128::from(count) * 1_000 / u128::from(elapsed_ms);
    let (messages, bytes) = (get(&seen.messages), get(&seen.bytes));
    let shares = |histogram: &Histogram| {
        json!({
            "p50": histogram.of_thousand(500), "p99": histogram.of_thousand(990),
            "p99_9": histogram.of_thousand(999), "max": histogram.largest(),
        })
    };
    json!({
        "connections": arguments.connections,
        "connect_ns": shares(&seen.connect),
        "elapsed_ms": elapsed_ms,
        "messages": messages, "messages_per_second": u64::try_from(per_second(messages)).unwrap_or(u64::MAX),
        "bytes": bytes, "bytes_per_second": u64::try_from(per_second(bytes)).unwrap_or(u64::MAX),
        "latency_ns": shares(&seen.latency),
        "from_the_future": get(&seen.from_the_future),
        "gaps": get(&seen.gaps), "missing": get(&seen.missing),
        "connections_ended": get(&seen.ended),
    })
}

fn print_table(result: &Value) {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let shares = |name: &str, unit: u64| {
        let share = |of: &str| number(&result[name][of]) / unit;
        format!("p50 {}, p99 {}, p99.9 {}, max {}", share("p50"), share("p99"), share("p99_9"), share("max"))
    };
    let plain = |name: &str| number(&result[name]);
    let rows = [
        ("connections", format!("{}, {} of them ended", plain("connections"), plain("connections_ended"))),
        ("connect, ms", shares("connect_ns", 1_000_000)),
        ("measured, ms", plain("elapsed_ms").to_string()),
        ("messages", format!("{}, {} a second", plain("messages"), plain("messages_per_second"))),
        ("bytes", format!("{}, {} a second", plain("bytes"), plain("bytes_per_second"))),
        ("latency, us", shares("latency_ns", 1_000)),
        ("gaps", format!("{}, {} messages missing", plain("gaps"), plain("missing"))),
    ];
    for (name, text) in rows {
        anstream::println!("{name:<13} {text}");
    }
}

/// What the figures cannot say, on standard error, and the exit code.
fn judge(seen: &Seen) -> ExitCode {
    let future = seen.from_the_future.load(Ordering::Relaxed);
    anstream::eprintln!(
        "sealfeed: latency is from the server's ts_out to this process: it is right on the server's own host, or where both clocks are kept as finely"
    );
    if future > 0 {
        anstream::eprintln!(
            "sealfeed: {future} messages came before they were sent: this clock is behind the server's, and latencies are too small"
        );
    }
    let (gaps, ended) = (seen.gaps.load(Ordering::Relaxed), seen.ended.load(Ordering::Relaxed));
    if gaps > 0 {
        let missing = seen.missing.load(Ordering::Relaxed);
        anstream::eprintln!("sealfeed: {}: {gaps} gaps, {missing} messages", Code::CliMessagesMissing);
    }
    if let Some(first) = &*seen.first_end.lock() {
        let what = format!("{ended} connections ended, the first so: {first}");
        anstream::eprintln!("sealfeed: {}: {what}", Code::CliConnectionLost);
    }
    if gaps + ended > 0 { ExitCode::from(EXIT_GAPS) } else { ExitCode::SUCCESS }
}
