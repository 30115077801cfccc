//! `sealfeed serve`: the server, until SIGTERM or SIGINT; SIGHUP reads certificates, lists, keys and policy again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, DbnSourceConfig, SourceConfig, Speed};
use crate::server::{self, Running, StartError};
use crate::shutdown::StopReason;
use crate::telemetry;
use crate::types::Code;

/// The sealed log failed while running.
const EXIT_LOG_FAILED: u8 = 70;
/// The state of the sealed log forbids to start.
const EXIT_LOG_REFUSED: u8 = 71;
/// The configuration cannot be used.
const EXIT_CONFIGURATION: u8 = 78;

/// Descriptors for everything but connections: segments, sources, shards, logs for the operator.
const OTHER_DESCRIPTORS: u64 = 512;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Replay this Databento file instead of the configured sources.
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// Pace of the replay: 1 is live, N is N times that, max is as fast as possible.
    #[arg(long, requires = "source", default_value = "1", value_name = "1|N|max")]
    speed: Speed,
    /// Begin the replay again at its end.
    #[arg(long = "loop", requires = "source")]
    repeat: bool,
}

pub(super) fn run(arguments: &ServeArgs) -> anyhow::Result<ExitCode> {
    let (config, text) = match load(arguments) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&telemetry::chain(&error), Some(error.code()));
            return Ok(ExitCode::from(EXIT_CONFIGURATION));
        }
    };
    let _telemetry = telemetry::start(&config.telemetry);
    allow_descriptors(config.limits.connections_max);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(&config, &text))
}

/// Raises the soft limit of open files to what so many connections need, if the hard one allows it.
fn allow_descriptors(connections_max: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let needed = connections_max as u64 + OTHER_DESCRIPTORS;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= needed) {
        return;
    }
    let allowed = limit.maximum.map_or(needed, |hard| hard.min(needed));
    limit.current = Some(allowed);
    let raised = setrlimit(Resource::Nofile, limit);
    if raised.is_err() || allowed < needed {
        tracing::warn!(
            allowed,
            needed,
            "the system allows too few open files for limits.connections_max: raise the hard limit (LimitNOFILE in a \
             systemd unit), or connections will wait unaccepted"
        );
    }
}

fn load(arguments: &ServeArgs) -> Result<(Config, Vec<u8>), ConfigError> {
    let path = &arguments.config;
    // Read once: what is loaded is what is hashed into the log.
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    let mut config = config::load_text(&text, path)?;
    config.file = Some(path.clone());
    if let Some(path) = &arguments.source {
        config.sources = vec![SourceConfig::Dbn(DbnSourceConfig {
            speed: arguments.speed,
            repeat: arguments.repeat,
            ..DbnSourceConfig::new(path.clone())
        })];
    }
    Ok((config, text.into_bytes()))
}

async fn serve(config: &Config, text: &[u8]) -> anyhow::Result<ExitCode> {
    // Before anything is opened: from here on, a signal is a request and no longer the end of the process.
    let mut signals = Signals::listen()?;
    let running = match server::start(config, text, Clock::System).await {
        Ok(running) => running,
        Err(error) => return Ok(start_failed(&error)),
    };
    anstream::eprintln!("sealfeed: listening on wss://{}{}", running.address(), sealfeed_wire::PATH);
    until_stopped(&running, &mut signals).await;
    match running.stop().await {
        Ok(StopReason::LogFailed(detail)) => {
            anstream::eprintln!("sealfeed: error: the sealed log failed: {detail}");
            Ok(ExitCode::from(EXIT_LOG_FAILED))
        }
        Ok(StopReason::StageFailed(stage)) => anyhow::bail!("the stage `{stage}` ended by itself"),
        Ok(StopReason::Requested(_)) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            anstream::eprintln!("sealfeed: error: {}", telemetry::chain(&error));
            Ok(ExitCode::from(EXIT_LOG_FAILED))
        }
    }
}

fn start_failed(error: &StartError) -> ExitCode {
    complain(&telemetry::chain(error), error.code());
    ExitCode::from(match error.code() {
        Some(Code::AudStartRefused | Code::AudLogLocked | Code::AudStateRefused) => EXIT_LOG_REFUSED,
        Some(Code::AudLogFailed) => EXIT_LOG_FAILED,
        _ => EXIT_CONFIGURATION,
    })
}

/// What happened, what to do, and where to read more.
fn complain(what: &str, code: Option<Code>) {
    anstream::eprintln!("sealfeed: error: {what}");
    if let Some(code) = code {
        anstream::eprintln!("  fix:   {}", code.hint());
        anstream::eprintln!("  code:  {code} (sealfeed explain {code})");
    }
}

/// The signals that a server acts on. One that comes while it starts is acted on when it has started.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Taken so that it does not end the process: the write that met the limit fails, and the log says so.
    _file_too_large: Signal,
}

/// `SIGXFSZ`: a file would have grown beyond the process's limit.
const FILE_TOO_LARGE: i32 = 25;

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
            _file_too_large: listen(SignalKind::from_raw(FILE_TOO_LARGE), "SIGXFSZ")?,
        })
    }
}

async fn until_stopped(running: &Running, signals: &mut Signals) {
    let reason = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break "SIGTERM",
            _ = signals.interrupt.recv() => break "SIGINT",
            () = running.shutdown().wait() => return,
            _ = signals.hangup.recv() => {
                // A refused reload is logged and sealed, and changes nothing.
                let _ = running.reload().await;
            }
        }
    };
    running.shutdown().stop(StopReason::Requested(reason));
}
