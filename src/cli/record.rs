//! `sealfeed record SYMBOL... -o FILE.dbn.zst`: what a subscriber receives, as a DBN file that Databento's decoders read.
//!
//! Market data comes by the sub-protocol `sealfeed.v1.dbn`; its records go into the file as they come. A connection that ends is made again,
//! and its streams are resumed: what the server still has is in the file without a seam, what it has not is a gap. Every gap is told
//! on standard error with its code, and changes the exit code. However the recording ends, the file is whole.
//!
//! Memory is the client's queue of events (4 MiB), what zstd needs, and a position for each stream.

mod file;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sealfeed_client::{Client, Closed, Event, GapOrigin, Record, clock, subscription};
use sealfeed_wire::request::ResumePoint;
use sealfeed_wire::{Channel, Code, Conflation, Reconnect, StreamSymbol, Symbol};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use self::file::{Contents, Recording};
use super::context::{ConnectArgs, EXIT_NOT_ENTITLED, EXIT_USAGE, Problem, Target, refusal_exit};
use super::duration::parse_duration;
use super::plain::plain;
use super::watch::{WatchChannel, parse_conflation};

/// The recording is whole as a file, but messages are missing in it.
const EXIT_GAPS: u8 = 7;
/// The output exists or cannot be written.
const EXIT_CANNOT_CREATE: u8 = 73;
/// Symbols of one request: it stays far below the 8 KiB that servers take.
const SYMBOLS_PER_REQUEST: usize = 32;
/// Most symbols of a recording.
const SYMBOLS_MAX: usize = 1_000;
/// First and longest pause before connecting again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Arguments of `record`.
#[derive(Debug, Args)]
#[command(
    after_help = "The file is a plain DBN file (version 3, zstd). It appears under its name when it is whole: after --for, --records, Ctrl-C or SIGTERM, or \
    when the connection does not come back. Exit codes: 0 recorded without a gap; 1 failed; 2 usage; 3 cannot connect, or the connection was lost \
    (SF-CLI-002; the file has what came before); 4 not entitled; 7 recorded with gaps (SF-CLI-001, each told on standard error); 73 the output exists or \
    cannot be written (SF-CLI-003, SF-CLI-004)."
)]
pub(super) struct RecordArgs {
    /// What to record: up to 1,000 symbols.
    #[arg(required = true, value_name = "SYMBOL")]
    symbols: Vec<Symbol>,
    /// What of it; may be given several times.
    #[arg(long, value_enum, default_value = "book")]
    channel: Vec<WatchChannel>,
    /// The file, which must not exist yet.
    #[arg(short, long, value_name = "FILE.dbn.zst")]
    output: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// End after this time: 500ms, 90s, 15m, 8h.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    length: Option<Duration>,
    /// End after so many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Shortest time between two messages of bbo and book, in milliseconds: 0, 100, 250 or 1000.
    #[arg(long, value_name = "MS", value_parser = parse_conflation)]
    conflate_ms: Option<Conflation>,
    /// How long to try to connect again after a connection was lost.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    reconnect_for: Duration,
    #[command(flatten)]
    connection: ConnectArgs,
}

#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments the same way")]
pub(super) fn run(arguments: RecordArgs) -> anyhow::Result<ExitCode> {
    // The connection has a thread of its own, so that a slow disk does not keep it from reading.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    Ok(match runtime.block_on(record(&arguments)) {
        Ok(code) => code,
        Err(problem) => problem.tell(),
    })
}

async fn record(arguments: &RecordArgs) -> Result<ExitCode, Problem> {
    let channels = check(arguments)?;
    let target = arguments.connection.target()?;
    let mut stop = Stop::new()?;
    let mut streams = Streams::new(arguments, channels);
    let client = tokio::select! {
        client = Box::pin(target.connect_to_keep_records()) => client?,
        () = stop.asked() => return Err(Problem::new("stopped before the connection stood").fix("Nothing was recorded.")),
    };
    streams.subscribe(&client).await.map_err(|problem| problem.at(target.place()))?;
    let contents = Contents {
        symbols: &arguments.symbols,
        channels: &streams.channels,
        start: clock::system_time(),
        length: arguments.length,
    };
    let refused = |error: std::io::Error| unwritable(arguments, &error);
    let recording = Recording::create(&arguments.output, &contents).map_err(refused)?;
    // One deadline for all connections.
    stop.deadline = arguments.length.map(|length| Instant::now() + length);
    let mut recorder = Recorder { arguments, target, streams, recording, stop };
    let ended = recorder.run(client).await?;
    let Recorder { streams, recording, .. } = recorder;
    let records = recording.finish(arguments.force).map_err(refused)?;
    let gaps = streams.gaps;
    anstream::eprintln!("sealfeed: {records} records in {:?}, {gaps} gaps", arguments.output);
    match ended {
        Some(problem) => Ok(problem.tell()),
        None if gaps > 0 => Ok(ExitCode::from(EXIT_GAPS)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Refuses what makes no sense, before anything is done; the channels that are meant.
fn check(arguments: &RecordArgs) -> Result<Vec<Channel>, Problem> {
    let wrong = |what: String, fix: &str| {
        Err(Problem::new(what)
            .at("the arguments")
            .fix(fix)
            .code(Code::CliArgumentsInvalid.into())
            .exit(EXIT_USAGE))
    };
    let mut seen = HashSet::new();
    if let Some(twice) = arguments.symbols.iter().find(|symbol| !seen.insert(**symbol)) {
        return wrong(format!("{twice} is named twice"), "Name each symbol once.");
    }
    if seen.len() > SYMBOLS_MAX {
        return wrong(format!("{} symbols are named", seen.len()), "Name 1,000 symbols at most.");
    }
    let channels: Vec<Channel> = arguments.channel.iter().map(|channel| (*channel).into()).collect();
    if let Some(twice) =
        channels.iter().enumerate().find(|(at, one)| channels.iter().take(*at).any(|other| other == *one))
    {
        return wrong(format!("the channel {} is named twice", twice.1.as_str()), "Name each channel once.");
    }
    if arguments.conflate_ms.is_some() && !channels.iter().any(|channel| can_conflate(*channel)) {
        return wrong(
            "only bbo and book can be conflated".to_owned(),
            "Leave --conflate-ms out, or record --channel book or bbo.",
        );
    }
    if !arguments.force && arguments.output.symlink_metadata().is_ok() {
        return Err(exists(arguments));
    }
    Ok(channels)
}

fn can_conflate(channel: Channel) -> bool {
    matches!(channel, Channel::Bbo | Channel::Book)
}

fn exists(arguments: &RecordArgs) -> Problem {
    Problem::new(Code::CliOutputExists.message())
        .at(arguments.output.display().to_string())
        .fix(Code::CliOutputExists.hint())
        .code(Code::CliOutputExists.into())
        .exit(EXIT_CANNOT_CREATE)
}

fn unwritable(arguments: &RecordArgs, error: &std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return exists(arguments);
    }
    Problem::of_error(error)
        .prefixed(Code::CliOutputUnwritable.message())
        .at(arguments.output.display().to_string())
        .fix(Code::CliOutputUnwritable.hint())
        .code(Code::CliOutputUnwritable.into())
        .exit(EXIT_CANNOT_CREATE)
}

/// What ends a recording from outside.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
}

impl Stop {
    fn new() -> Result<Self, Problem> {
        let listen = |kind| {
            let refused = |error| Problem::of_error(&error).fix("Tell the operator of this machine.");
            signal(kind).map_err(refused)
        };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, deadline: None })
    }

    /// Waits for a signal or the deadline. May be cancelled.
    async fn asked(&mut self) {
        let deadline = self.deadline;
        let passed = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = passed => {}
        }
    }
}

/// What is subscribed, and how far each stream has come.
struct Streams {
    symbols: Vec<Symbol>,
    channels: Vec<Channel>,
    conflate_ms: Option<Conflation>,
    positions: HashMap<(Channel, Symbol), ResumePoint>,
    /// Where streams of orders stood of which only part of the resting orders has come: that cannot be gone on from.
    begun: HashMap<(Channel, Symbol), ResumePoint>,
    /// Streams whose loss was counted at the subscription: the server's own words on it follow.
    unrecovered: HashSet<(Channel, StreamSymbol)>,
    gaps: u64,
}

impl Streams {
    fn new(arguments: &RecordArgs, channels: Vec<Channel>) -> Self {
        Self {
            symbols: arguments.symbols.clone(),
            channels,
            conflate_ms: arguments.conflate_ms,
            positions: HashMap::new(),
            begun: HashMap::new(),
            unrecovered: HashSet::new(),
            gaps: 0,
        }
    }

    fn conflation(&self, channel: Channel) -> Option<Conflation> {
        self.conflate_ms.filter(|_| can_conflate(channel))
    }

    /// Subscribes to everything, from where each stream had come.
    async fn subscribe(&mut self, client: &Client) -> Result<(), Problem> {
        for channel in self.channels.clone() {
            for symbols in self.symbols.clone().chunks(SYMBOLS_PER_REQUEST) {
                self.subscribe_some(client, channel, symbols).await?;
            }
        }
        Ok(())
    }

    async fn subscribe_some(
        &mut self,
        client: &Client,
        channel: Channel,
        symbols: &[Symbol],
    ) -> Result<(), Problem> {
        let mut wanted = subscription(channel, symbols.iter().copied());
        wanted.conflate_ms = self.conflation(channel);
        // What a conflated stream leaves out is no loss: it begins anew with the present state.
        if wanted.conflate_ms.is_none() {
            let position = |symbol: &Symbol| Some((Some(*symbol), *self.positions.get(&(channel, *symbol))?));
            wanted.resume = symbols.iter().filter_map(position).collect();
        }
        let granted = client.subscribe(wanted).await.map_err(|error| Problem::of_request(&error))?;
        if let Some((symbol, refused)) = granted.refused.iter().next() {
            return Err(Problem::new(format!(
                "{} of {symbol} is refused: {}",
                channel.as_str(),
                refused.message
            ))
            .fix(refused.hint.clone())
            .code(refused.code.clone())
            .exit(refusal_exit(&refused.code, 1)));
        }
        for (symbol, stream) in &granted.symbols {
            let StreamSymbol::One(name) = symbol else { continue };
            let key = (channel, *name);
            let before = self.positions.get(&key).copied().filter(|_| stream.recovered == Some(false));
            // What began anew in the middle goes on from another place than it began at.
            let here = ResumePoint { epoch: stream.epoch, seq: stream.seq };
            let before = before.or_else(|| self.begun.remove(&key).filter(|begun| *begun != here));
            if let Some(before) = before {
                let reason = stream.reason.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
                self.missing(
                    channel,
                    *symbol,
                    &format!("what came behind {} of epoch {}{reason}", before.seq, before.epoch),
                );
                if !channel.begins_with_state() {
                    self.unrecovered.insert((channel, *symbol));
                }
                self.positions.remove(&key);
            }
            // An event stream goes on from here; a state stream begins with its state, and orders with those that rest.
            if !channel.begins_with_state() {
                self.positions.entry(key).or_insert(here);
            }
        }
        Ok(())
    }

    fn missing(&mut self, channel: Channel, symbol: StreamSymbol, what: &str) {
        self.gaps += 1;
        anstream::eprintln!(
            "sealfeed: {}: {} of {symbol}: {what} is missing",
            Code::CliMessagesMissing,
            channel.as_str()
        );
    }
}

struct Recorder<'a> {
    arguments: &'a RecordArgs,
    target: Target,
    streams: Streams,
    recording: Recording,
    stop: Stop,
}

/// Why one connection is no longer read.
enum Left {
    /// The recording is over.
    Over,
    /// The connection is.
    Closed(Closed),
}

impl Recorder<'_> {
    /// Records until the end; what went wrong if it was not the one that was asked for.
    async fn run(&mut self, mut client: Client) -> Result<Option<Problem>, Problem> {
        loop {
            let left = self.follow(&client).await;
            client.close().await;
            let closed = match left? {
                Left::Over => return Ok(None),
                Left::Closed(closed) => closed,
            };
            if closed.reconnect == Reconnect::No {
                return Ok(Some(self.lost(Problem::of_close(&closed))));
            }
            let closed = closed.to_string();
            anstream::eprintln!("sealfeed: the connection ended: {}; connecting again", plain(&closed));
            client = match self.again().await {
                Ok(Some(client)) => client,
                Ok(None) => return Ok(None),
                Err(problem) => return Ok(Some(self.lost(problem))),
            };
            anstream::eprintln!("sealfeed: connected again");
        }
    }

    fn lost(&self, problem: Problem) -> Problem {
        let problem = problem.at(self.target.place()).prefixed(Code::CliConnectionLost.message());
        problem.code_if_none(Code::CliConnectionLost.into())
    }

    /// Connects and subscribes again; `None` when the recording ends meanwhile.
    async fn again(&mut self) -> Result<Option<Client>, Problem> {
        let (mut pause, longest) = PAUSES;
        let give_up = Instant::now() + self.arguments.reconnect_for;
        loop {
            let Self { target, streams, stop, .. } = self;
            let attempt = async {
                let client = Box::pin(target.connect_to_keep_records()).await?;
                streams.subscribe(&client).await?;
                Ok(client)
            };
            let attempted: Result<Client, Problem> = tokio::select! {
                attempted = attempt => attempted,
                () = stop.asked() => return Ok(None),
            };
            match attempted {
                Ok(client) => return Ok(Some(client)),
                Err(problem) if problem.exit_code() == EXIT_NOT_ENTITLED => return Err(problem),
                Err(problem) if Instant::now() + pause >= give_up => return Err(problem),
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.asked() => return Ok(None),
            }
            pause = (pause * 2).min(longest);
        }
    }

    async fn follow(&mut self, client: &Client) -> Result<Left, Problem> {
        loop {
            let event = tokio::select! {
                event = client.next_event() => event,
                () = self.stop.asked() => return Ok(Left::Over),
            };
            match event {
                Ok(Event::Record(record)) => {
                    if self.take(&record)? {
                        return Ok(Left::Over);
                    }
                }
                Ok(Event::Closed(closed)) | Err(closed) => return Ok(Left::Closed(closed)),
                Ok(other) => self.notice(&other),
            }
        }
    }

    /// Writes a record; true when it was the last one.
    fn take(&mut self, record: &Record) -> Result<bool, Problem> {
        self.recording.write(record).map_err(|error| unwritable(self.arguments, &error))?;
        let header = record.market.header();
        let position = ResumePoint { epoch: header.epoch, seq: header.seq };
        let key = (header.channel, header.symbol);
        if header.channel == Channel::Mbo && header.prev_seq.is_none() {
            // Part of the resting orders: they are whole when the first record behind them comes.
            self.streams.positions.remove(&key);
            self.streams.begun.insert(key, position);
        } else {
            self.streams.begun.remove(&key);
            self.streams.positions.insert(key, position);
        }
        Ok(self.arguments.records.is_some_and(|records| self.recording.records() >= records))
    }

    fn notice(&mut self, event: &Event) {
        let (gap, is_announced) = match event {
            Event::Gap { gap, origin } => (gap, *origin == GapOrigin::Announced),
            Event::Skipped(gap) => (gap, false),
            Event::Slow(_) => {
                return anstream::eprintln!("sealfeed: the server says that this reads too slowly");
            }
            Event::ServerShutdown(_) => return anstream::eprintln!("sealfeed: the server is shutting down"),
            _ => return,
        };
        let key = (gap.stream.channel, gap.stream.symbol);
        if is_announced && self.streams.unrecovered.remove(&key) {
            // Counted when the subscription was not recovered.
            return;
        }
        let what = format!("{} to {} of epoch {}", gap.from, gap.to, gap.stream.epoch);
        self.streams.missing(key.0, key.1, &what);
        // The stream goes on behind what is missing.
        if let StreamSymbol::One(symbol) = key.1 {
            let position = ResumePoint { epoch: gap.stream.epoch, seq: gap.to };
            self.streams.positions.insert((key.0, symbol), position);
        }
    }
}
