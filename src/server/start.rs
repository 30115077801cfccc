//! Starting and stopping a server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle as ThreadHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::continuation::{self, Continuation};
use super::ops::Ops;
use super::reload::{ReloadError, Reloaded, Reloader, Trigger};
use super::{accept, watch};
use crate::alerts::WebhookError;
use crate::clock::Clock;
use crate::config::{AlertsConfig, Config, SourceConfig, SyntheticSourceConfig};
use crate::execute::{self, EngineOptions, RestoreError, Restored};
use crate::feed::tape::{Recorder, RecorderOptions};
use crate::identity::{Identity, IdentityError, InForce};
use crate::journal::summary::Summary;
use crate::journal::tape::Tape;
use crate::journal::{self, Journal, JournalError, OpenLogError, event};
use crate::metrics::MetricsFileError;
use crate::pipeline::{Core, Pipeline, PipelineOptions, RELOADS_MAX, day_of};
use crate::session::{
    self, Bans, Limits, Pressure, Registry, SessionContext, ShardThreads, Shards, UpgradeRules,
};
use crate::shutdown::{Shutdown, StopReason};
use crate::source::{self, Outlet, PublisherTerms, Source, SourceError};
use crate::types::{Code, Epoch, InstrumentId, Instruments, UnixNanos};

/// Why a server did not start. Nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The sealed log cannot be opened.
    #[error("cannot open the sealed log")]
    Log(#[from] OpenLogError),
    /// The record of market data cannot be opened.
    #[error("cannot open the tape; verify it, move it away, or set tape.enabled = false")]
    Tape(#[source] OpenLogError),
    /// Certificates, revocation lists, keys or policy cannot be used.
    #[error("cannot load certificates and policy")]
    Identity(#[source] IdentityError),
    /// A source of market data cannot be used.
    #[error("cannot open a source of market data")]
    Source(#[source] SourceError),
    /// Two synthetic markets were configured.
    #[error("there can be one synthetic market only; list its symbols in one [[source]]")]
    TwoSyntheticMarkets,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A receiver of alerts cannot be used.
    #[error("cannot send alerts")]
    Webhook(#[from] WebhookError),
    /// The file of figures cannot be written.
    #[error("cannot show figures")]
    MetricsFile(#[from] MetricsFileError),
    /// The operating system refuses a thread or a file.
    #[error("the operating system refuses {what}")]
    System {
        /// What was asked.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The first entries could not be written.
    #[error("cannot write to the sealed log")]
    Journal(#[from] JournalError),
    /// What the runs before left of orders and answers cannot be rebuilt.
    #[error("cannot rebuild open orders and answers from the log")]
    Restore(#[from] RestoreError),
}

impl StartError {
    /// The stable code of this error; `None` where the operating system refused something of its own.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Log(error) | Self::Tape(error) => Some(error.code()),
            Self::Identity(error) => Some(error.code()),
            Self::Source(SourceError::InstrumentInvalid { .. } | SourceError::PaperWithoutBook { .. }) => {
                Some(Code::CfgInstrumentInvalid)
            }
            Self::Source(_) => Some(Code::CfgSourceUnusable),
            Self::TwoSyntheticMarkets => Some(Code::CfgValueInvalid),
            Self::Listen { .. } => Some(Code::CfgListenFailed),
            Self::Journal(_) => Some(Code::AudLogFailed),
            Self::Webhook(error) => Some(error.code()),
            Self::MetricsFile(error) => Some(error.code()),
            Self::Restore(_) => Some(Code::AudStateRefused),
            Self::System { .. } => None,
        }
    }
}

/// A running server.
pub struct Running {
    address: SocketAddr,
    context: Arc<SessionContext>,
    accepting: JoinHandle<()>,
    pipeline: Pipeline,
    shards: ShardThreads,
    sources: Vec<ThreadHandle<()>>,
    stop_sources: Shutdown,
    journal: Journal,
    ops: Ops,
    reloader: Arc<Reloader>,
    watching: JoinHandle<()>,
}

/// Starts a server; it accepts connections when this returns. `configuration` are the bytes it was read from.
///
/// # Errors
/// [`StartError`].
pub async fn start(config: &Config, configuration: &[u8], clock: Clock) -> Result<Running, StartError> {
    // Before any of them is read: a change from here on is one.
    let watched = config.server.watch_files.then(|| watch::look(&watch::files(config)));
    let shutdown = Shutdown::new();
    let (mut ops, journal) = open_journal(config, configuration, &clock, &shutdown)?;
    let identity = Identity::load(&config.tls, &config.identity, config.tokens.as_ref(), clock.clone())
        .map_err(StartError::Identity)?;
    let Opened { instruments, sources, source_instruments, publishers } = open_sources(config)?;
    let (listener, address) = bind(config.server.listen).await?;
    // Before this run says that it began: a link of the run before counts, none of an earlier one.
    let tape = if config.tape.enabled { Some(open_tape(config, configuration, &journal)?) } else { None };
    let continuation = continuation::of(tape.as_ref(), &instruments, &recordings(&sources));
    let restored = restore_state(config, &journal, &mut ops)?;
    record_start(&journal, configuration, &identity, &instruments, address).await?;

    let now = clock.now();
    let options = PipelineOptions {
        instruments: Arc::new(instruments),
        source_instruments,
        publishers,
        orders: config.orders.clone(),
        feed: config.feed.clone(),
        epoch: Epoch(now.0),
        engine: engine_options(config, now),
    };
    let mut core = Core::new(&options, journal.clone()).going_on_with(restored);
    let epoch = begin_epoch(&mut core, continuation, now, &journal)?;
    if let Some((tape, directory)) = tape {
        core = core.with_tape(recorder(tape, config, &journal, &options, epoch)?, directory);
    }
    let (reload_sender, reload_requests) = mpsc::channel(RELOADS_MAX);
    let core = core.with_reloads(reload_sender);
    let subscribers = core.subscription_count();
    let system = |what| move |source| StartError::System { what, source };
    let flush_interval = Duration::from_micros(config.feed.flush_interval_us);
    let (shards, mut shard_threads) = session::prepare(shard_count()).map_err(system("a shard"))?;
    let ways = (flush_interval, shards.inboxes().clone());
    let pipeline = Pipeline::start(core, journal.clone(), clock.clone(), shutdown.clone(), ways)
        .map_err(system("the pipeline's threads"))?;
    let stop_sources = Shutdown::new();
    let outlet = || Outlet {
        sender: pipeline.sources.clone(),
        subscribers: subscribers.clone(),
        stop: stop_sources.clone(),
    };
    let threads = sources.into_iter().map(|source| source.spawn(outlet())).collect::<Result<Vec<_>, _>>();
    let threads = threads.map_err(system("a source's thread"))?;
    let context = Arc::new(context(config, &journal, &pipeline, identity, clock, shutdown, shards));
    shard_threads.start(&context).map_err(system("a shard's thread"))?;
    ops.start(config, &context)?;
    let proxy = Arc::new(config.server.proxy.clone());
    let accepting = tokio::spawn(accept::run(listener, Arc::clone(&context), proxy));
    let reloader = Arc::new(Reloader::new(Arc::clone(&context), ops.thresholds(), config, configuration));
    let watching = tokio::spawn(watch::run(Arc::clone(&reloader), watched, reload_requests));
    if let Some(path) = &config.server.ready_file {
        write_new(path, &format!("{address}\n")).map_err(system("the ready file"))?;
    }
    tracing::info!(%address, "listening");
    Ok(Running {
        address,
        context,
        accepting,
        pipeline,
        shards: shard_threads,
        sources: threads,
        stop_sources,
        journal,
        ops,
        reloader,
        watching,
    })
}

/// Sources that tell the market from its beginning at every start.
fn recordings(sources: &[Source]) -> Vec<&str> {
    sources.iter().filter(|one| one.begins_anew()).map(|one| &**one.name()).collect()
}

fn engine_options(config: &Config, now: UnixNanos) -> EngineOptions {
    EngineOptions {
        // Names of orders and trades grow from the microsecond of the start: no two runs of one log share any.
        first_id: now.0 / 1_000,
        day: day_of(now),
        state_hash_inputs: config.orders.state_hash_inputs,
        ..EngineOptions::default()
    }
}

/// The listener, and where it really is.
async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    Ok((listener, address))
}

/// The sealed log, and who sees every event from the first one on.
fn open_journal(
    config: &Config,
    configuration: &[u8],
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<(Ops, Journal), StartError> {
    let ops = Ops::new(&config.alerts, clock)?;
    let opened = journal::open(&config.log, &config.clock, configuration)?;
    let journal = Journal::new(opened, shutdown.clone()).observed_by(ops.observers());
    Ok((ops, journal))
}

/// As many as processors that this process may use.
fn shard_count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn context(
    config: &Config,
    journal: &Journal,
    pipeline: &Pipeline,
    identity: Identity,
    clock: Clock,
    shutdown: Shutdown,
    shards: Shards,
) -> SessionContext {
    let limits = Arc::new(Limits::new(&config.limits));
    let pressure = Arc::new(Pressure::default());
    SessionContext {
        journal: journal.clone(),
        summary: Arc::new(Summary::new(journal.clone(), clock.clone())),
        pipeline: pipeline.handle.clone(),
        registry: Registry::new(Arc::clone(&limits), Arc::clone(&pressure)),
        pressure,
        nonces: pipeline.nonces.clone(),
        out_bytes_max: config.limits.out_bytes_max,
        bans: Bans::new(Arc::clone(&limits)),
        shards,
        identity: Arc::new(identity),
        clock,
        limits,
        upgrade: UpgradeRules { origins: config.server.origins.clone() },
        order_window_ms: config.orders.window_ms,
        heartbeat_ms: config.feed.heartbeat_ms,
        shutdown,
    }
}

/// Writes a file that only its owner can read, all of it or nothing.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Opens the record of market data, and says where it is.
fn open_tape(
    config: &Config,
    configuration: &[u8],
    journal: &Journal,
) -> Result<(journal::tape::Opened, PathBuf), StartError> {
    let directory = config.tape.log(&config.log).directory;
    let opened = journal::tape::open(&config.tape, &config.log, journal, configuration);
    Ok((opened.map_err(StartError::Tape)?, directory))
}

/// What the runs before left of orders and answers, before this run says that it began.
fn restore_state(config: &Config, journal: &Journal, ops: &mut Ops) -> Result<Option<Restored>, StartError> {
    let restored = execute::restore(&config.log.directory, journal.log_id(), config.feed.resume_bytes_max)?;
    if let Some(restored) = &restored {
        ops.engaged(restored.engine.kill_switches());
        tracing::info!(
            from_entry = restored.from,
            inputs = restored.inputs,
            open_orders = restored.engine.resting().count(),
            answers = restored.engine.answers().count(),
            outputs_to_write = restored.due.len(),
            "orders and answers rebuilt from the log"
        );
    }
    Ok(restored)
}

/// Lets the core go on where the run before ended, if it may, and seals which it is: the feed's epoch and the number of its next event.
fn begin_epoch(
    core: &mut Core,
    continuation: Continuation,
    now: UnixNanos,
    journal: &Journal,
) -> Result<(Epoch, u64), StartError> {
    let run = Epoch(now.0);
    let (begins, why) = match continuation {
        Ok(keyframe) if core.go_on(&keyframe, now) => {
            ((keyframe.epoch, keyframe.next), "goes on from the tape".to_owned())
        }
        Ok(_) => ((run, 0), "begins: the keyframe of the run before does not fit".to_owned()),
        Err(why) => ((run, 0), format!("begins: {}", crate::telemetry::chain(&why))),
    };
    let (epoch, next) = begins;
    tracing::info!(%epoch, next, why, "epoch of market data");
    journal.record(event::Configuration {
        what: "epoch".to_owned(),
        sha256: String::new(),
        summary: format!("{epoch} from event {next}: {why}"),
    })?;
    Ok(begins)
}

fn recorder(
    opened: journal::tape::Opened,
    config: &Config,
    journal: &Journal,
    options: &PipelineOptions,
    (epoch, next): (Epoch, u64),
) -> Result<Recorder, StartError> {
    let tape = &config.tape;
    let system = |source| StartError::System { what: "the tape's thread", source };
    let writer = Tape::start(opened, journal.clone()).map_err(system)?;
    let recorder = RecorderOptions {
        epoch,
        next,
        block_events: tape.block_events,
        block_ns: tape.block_ms.saturating_mul(1_000_000),
        keyframe_blocks: tape.keyframe_blocks,
    };
    Ok(Recorder::new(writer, &options.instruments, recorder))
}

/// Sources that are open, and what they feed.
struct Opened {
    instruments: Instruments,
    sources: Vec<Source>,
    source_instruments: HashMap<Arc<str>, Vec<InstrumentId>>,
    publishers: Vec<PublisherTerms>,
}

fn open_sources(config: &Config) -> Result<Opened, StartError> {
    let embedded = [SourceConfig::Synthetic(SyntheticSourceConfig::default())];
    let configured = if config.sources.is_empty() { &embedded[..] } else { &config.sources };
    let synthetic = configured.iter().filter(|source| matches!(source, SourceConfig::Synthetic(_)));
    if synthetic.count() > 1 {
        return Err(StartError::TwoSyntheticMarkets);
    }
    let mut opened = Opened {
        instruments: Instruments::new(),
        sources: Vec::new(),
        source_instruments: HashMap::new(),
        publishers: Vec::new(),
    };
    for source in configured {
        if let SourceConfig::Publisher(config) = source {
            let terms =
                source::open_publisher(config, &mut opened.instruments).map_err(StartError::Source)?;
            opened.publishers.push(terms);
            continue;
        }
        let before = opened.instruments.count();
        let source = source::open(source, &mut opened.instruments).map_err(StartError::Source)?;
        let fed = opened.instruments.iter().skip(before).map(|one| one.id);
        // Of two files of one name in two folders, either one's end makes the instruments of both stale.
        opened.source_instruments.entry(Arc::clone(source.name())).or_default().extend(fed);
        opened.sources.push(source);
    }
    Ok(opened)
}

async fn record_start(
    journal: &Journal,
    configuration: &[u8],
    identity: &Identity,
    instruments: &Instruments,
    address: SocketAddr,
) -> Result<(), StartError> {
    journal.record(event::Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: address.to_string(),
        symbols: instruments.iter().map(|one| one.symbol.to_string()).collect(),
    })?;
    journal.record(event::Configuration {
        what: "configuration".to_owned(),
        sha256: sealfeed_audit::hex(&sealfeed_audit::sha256(configuration)),
        summary: String::new(),
    })?;
    let entry = record_in_force(journal, &identity.in_force())?;
    journal.durable(entry).await?;
    Ok(())
}

/// Seals which files decide from here on; returns the last entry. Of secrets only the use is recorded.
pub(super) fn record_in_force(journal: &Journal, in_force: &InForce) -> Result<u64, JournalError> {
    for file in &in_force.files {
        journal.record(event::Configuration {
            what: file.role.to_string(),
            sha256: file.sha256.map(|hash| sealfeed_wire::hex::encode(&hash)).unwrap_or_default(),
            summary: file.path.display().to_string(),
        })?;
    }
    journal.record(event::Configuration {
        what: "in_force".to_owned(),
        sha256: String::new(),
        summary: in_force.summary.clone(),
    })
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The signal that stops it; give it, then call [`Running::stop`].
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.context.shutdown
    }

    /// Sessions there are now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.context.registry.sessions()
    }

    /// Connections there are now, in any state.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.context.registry.connections()
    }

    /// All figures as they are now, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.ops.figures()
    }

    /// Judges alerts by other thresholds from now on, for a program that puts its configuration together itself. Their receivers stay
    /// as they are.
    pub fn reconfigure_alerts(&self, config: &AlertsConfig) {
        self.ops.thresholds().store(Arc::new(config.clone()));
    }

    /// Reads the configuration file, certificates, revocation lists, keys and policy again; see `docs/RELOAD.md`.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed then, unless the log failed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.reloader.reload(Trigger::Asked).await
    }

    /// Stops: no new connections, every session ends with a close frame, everything recorded leaves, the log is
    /// closed. Returns why it stopped.
    ///
    /// # Errors
    /// [`StartError::Journal`] if the log failed, before or at its end: exit code 70.
    pub async fn stop(self) -> Result<StopReason, StartError> {
        self.context.shutdown.stop(StopReason::Requested("stop"));
        let reason = self.context.shutdown.reason().unwrap_or(StopReason::Requested("stop"));
        if self.accepting.await.is_err() {
            tracing::error!("the listener's task panicked");
        }
        self.stop_sources.stop(StopReason::Requested("stop"));
        if self.watching.await.is_err() {
            tracing::error!("the task that watches files panicked");
        }
        drop(self.reloader);
        // The sessions' handle to the pipeline goes with the context, so that the pipeline sees its end.
        drop(self.context);
        let (pipeline, shards, sources, journal) = (self.pipeline, self.shards, self.sources, self.journal);
        let ops = self.ops;
        let stopped = tokio::task::spawn_blocking(move || {
            for source in sources {
                if source.join().is_err() {
                    tracing::error!("a source's thread panicked");
                }
            }
            shards.stop();
            pipeline.stop();
            ops.stop();
            journal.record(event::Stop { reason: format!("{reason:?}") })?;
            journal.stop()?;
            Ok(reason)
        });
        match stopped.await {
            Ok(result) => result.map_err(StartError::Journal),
            Err(_) => Ok(StopReason::StageFailed("stop")),
        }
    }
}
