//! The configuration file: one TOML file, every key listed here, unknown keys refused.
//!
//! Paths in it are relative to the file. Secrets stand in files of their own, never in the configuration.

mod alerts;
mod clock;
mod limits;
mod load;
mod proxy;
mod retention;
mod source;
mod tape;
mod tls;
mod tokens;

pub use alerts::{AlertsConfig, CountThreshold, WEBHOOKS_MAX, WebhookConfig};
pub use clock::ClockConfig;
pub use limits::{BanConfig, LimitsConfig, TrustedConfig};
pub use load::{ConfigError, load, load_text};
pub use proxy::ProxyConfig;
pub use retention::{Keep, RetentionClassConfig, RetentionConfig};
pub use source::{
    DbnSourceConfig, InstrumentConfig, ItchSourceConfig, MessagesSourceConfig, Midnight, Playback,
    PublishedInstrumentConfig, PublisherSourceConfig, Shows, SourceConfig, Speed, SyntheticSourceConfig,
};
pub use tape::{TapeConfig, tape_directory};
pub use tls::{AuthorityConfig, TlsConfig};
pub use tokens::{TokenAlgorithm, TokensConfig};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it was read from; `None` if it was put together by a program.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The listener.
    pub server: ServerConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Who may do what.
    pub identity: IdentityConfig,
    /// Tokens of an identity provider beside certificates; `None`: they are off.
    #[serde(default)]
    pub tokens: Option<TokensConfig>,
    /// The sealed log.
    pub log: LogConfig,
    /// The record of all market data.
    #[serde(default)]
    pub tape: TapeConfig,
    /// How good the clock must be.
    #[serde(default)]
    pub clock: ClockConfig,
    /// Bounds on what a peer can cause.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Signed orders.
    #[serde(default)]
    pub orders: OrdersConfig,
    /// Market data.
    #[serde(default)]
    pub feed: FeedConfig,
    /// Where market data comes from; the synthetic market when the list is empty.
    #[serde(default, rename = "source")]
    pub sources: Vec<SourceConfig>,
    /// Logs for operators (not the sealed log).
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// What operators are told of at once.
    #[serde(default)]
    pub alerts: AlertsConfig,
}

/// `[server]`: the listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Values of `Origin` that browsers may send; empty refuses every browser.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Where the address that was bound is written once the server is ready (for scripts); none by default.
    #[serde(default)]
    pub ready_file: Option<PathBuf>,
    /// Whether a change of this file, or of a file of `[tls]`, `[identity]` or `[tokens]`, is acted on at once, as SIGHUP is. On by default: a
    /// revocation list works from the moment it lands.
    #[serde(default = "watches_files")]
    pub watch_files: bool,
    /// Load balancers that announce their clients.
    #[serde(default)]
    pub proxy: ProxyConfig,
}

const fn watches_files() -> bool {
    true
}

/// `[identity]`: policy and order keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// The entitlement policy, TOML.
    pub entitlements: PathBuf,
    /// Master secret of order keys: 64 hex digits on one line.
    pub master_key: PathBuf,
    /// The master before, honoured until its clients have their new keys; a missing file means there is none.
    #[serde(default)]
    pub previous_master_key: Option<PathBuf>,
}

/// `[log]`: the sealed log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Its directory; made at first start.
    pub directory: PathBuf,
    /// Name of the log in checkpoints, such as `feed.acme.example/prod`. Fixed once the log exists.
    #[serde(default = "defaults::origin")]
    pub origin: String,
    /// Where `log.pub` and `k0.hex` are put when the log is made; `<directory>.escrow` when absent.
    #[serde(default)]
    pub escrow: Option<PathBuf>,
    /// Bytes of one segment file, 1 MiB to 1 GiB.
    #[serde(default = "defaults::segment_bytes")]
    pub segment_bytes: u64,
    /// Longest time an entry waits for others to share its write, microseconds, 0 to 100,000. Nothing turns syncing off.
    #[serde(default = "defaults::group_window_us")]
    pub group_window_us: u64,
    /// A checkpoint is signed this often, milliseconds, 10 to 60,000.
    #[serde(default = "defaults::checkpoint_ms")]
    pub checkpoint_ms: u64,
    /// Length of an epoch, seconds, 1 to 3,600: what is older cannot be forged with today's keys.
    #[serde(default = "defaults::epoch_seconds")]
    pub epoch_seconds: u64,
    /// Silence after which a heartbeat is written, seconds, 1 to 3,600.
    #[serde(default = "defaults::heartbeat_seconds")]
    pub heartbeat_seconds: u64,
    /// Whether a UTC day begins a segment.
    #[serde(default = "defaults::rotate_utc_day")]
    pub rotate_utc_day: bool,
    /// Whether sealed segments get the file system's immutable flag, where the process may set it.
    #[serde(default)]
    pub immutable_segments: bool,
    /// Below this share of the disk, percent, 0 to 90, or 16 segments, whichever is less, space is low: an alert.
    #[serde(default = "defaults::space_low_percent")]
    pub space_low_percent: u8,
    /// Below this share, percent, at most `space_low_percent`, or 4 segments, whichever is less, new orders are refused.
    #[serde(default = "defaults::space_critical_percent")]
    pub space_critical_percent: u8,
    /// How long it is kept.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// Who keeps its checkpoints elsewhere.
    #[serde(default, rename = "witness")]
    pub witnesses: Vec<WitnessConfig>,
    /// How often witnesses are shown the newest checkpoint, milliseconds, 10 to 3,600,000.
    #[serde(default = "defaults::witness_interval_ms")]
    pub witness_interval_ms: u64,
    /// Silence of a witness after which it is reported, milliseconds, 10 to 86,400,000.
    #[serde(default = "defaults::witness_tolerance_ms")]
    pub witness_tolerance_ms: u64,
}

impl LogConfig {
    /// A log in `directory` called `origin`, everything else at its default.
    #[must_use]
    pub fn new(directory: &Path, origin: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            origin: origin.to_owned(),
            escrow: None,
            segment_bytes: defaults::segment_bytes(),
            group_window_us: defaults::group_window_us(),
            checkpoint_ms: defaults::checkpoint_ms(),
            epoch_seconds: defaults::epoch_seconds(),
            heartbeat_seconds: defaults::heartbeat_seconds(),
            rotate_utc_day: defaults::rotate_utc_day(),
            immutable_segments: false,
            space_low_percent: defaults::space_low_percent(),
            space_critical_percent: defaults::space_critical_percent(),
            retention: RetentionConfig::default(),
            witnesses: Vec::new(),
            witness_interval_ms: defaults::witness_interval_ms(),
            witness_tolerance_ms: defaults::witness_tolerance_ms(),
        }
    }

    /// Where `log.pub` and `k0.hex` go.
    #[must_use]
    pub fn escrow_directory(&self) -> PathBuf {
        self.escrow.clone().unwrap_or_else(|| escrow_directory(&self.directory))
    }
}

/// `[[log.witness]]`: one witness, by directory or by URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// A directory on another disk or mount, in which this server keeps a witness of its own.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Address of a witness on another machine, `http://` or `https://`, without `/add-checkpoint`.
    #[serde(default)]
    pub url: Option<String>,
    /// With `url`: the witness's key, as `sealfeed witness` prints it.
    #[serde(default)]
    pub key: Option<String>,
    /// With an `https://` URL: authorities that its certificate must come from, PEM.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
}

/// Where the escrow of a log goes unless another place is configured: beside it.
#[must_use]
pub fn escrow_directory(log: &Path) -> PathBuf {
    let mut name = log.file_name().unwrap_or_default().to_owned();
    name.push(".escrow");
    log.with_file_name(name)
}

/// Defaults of `[log]`.
mod defaults {
    pub(super) fn origin() -> String {
        "sealfeed.local/log".to_owned()
    }

    pub(super) const fn segment_bytes() -> u64 {
        256 * 1024 * 1024
    }

    pub(super) const fn group_window_us() -> u64 {
        200
    }

    pub(super) const fn checkpoint_ms() -> u64 {
        1_000
    }

    pub(super) const fn epoch_seconds() -> u64 {
        10
    }

    pub(super) const fn heartbeat_seconds() -> u64 {
        5
    }

    pub(super) const fn witness_interval_ms() -> u64 {
        10_000
    }

    pub(super) const fn witness_tolerance_ms() -> u64 {
        60_000
    }

    pub(super) const fn rotate_utc_day() -> bool {
        true
    }

    pub(super) const fn space_low_percent() -> u8 {
        20
    }

    pub(super) const fn space_critical_percent() -> u8 {
        10
    }
}

/// `[orders]`: freshness and memory of signed orders.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrdersConfig {
    /// How old a signed message may be, in milliseconds, 100 to 60,000.
    pub window_ms: u64,
    /// Nonces remembered in all; at that many, orders are refused until some have expired.
    pub nonces_max: usize,
    /// Nonces remembered of one principal.
    pub nonces_per_principal_max: usize,
    /// Client order identifiers remembered in all; at that many, new orders are refused.
    pub client_order_ids_max: usize,
    /// After how many orders and cancels, the synthetic market's included, the digest of the venue's state is sealed, 1 to
    /// 1,000,000.
    pub state_hash_inputs: u64,
    /// After how many of them the whole state is sealed, so that the next start has to execute no more than twice as many again, 1,000 to
    /// 100,000,000; later while the state itself is larger than half of that.
    pub snapshot_inputs: u64,
}

impl Default for OrdersConfig {
    fn default() -> Self {
        Self {
            window_ms: 5_000,
            nonces_max: 1_000_000,
            nonces_per_principal_max: 100_000,
            client_order_ids_max: 1_000_000,
            state_hash_inputs: 10_000,
            snapshot_inputs: 100_000,
        }
    }
}

/// `[feed]`: market data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedConfig {
    /// After how long an idle stream sends a heartbeat, in milliseconds, 100 to 60,000.
    pub heartbeat_ms: u64,
    /// Bytes of the newest messages of each stream and encoding that are kept for clients who resume, at most 256 MiB; 0 keeps none.
    pub resume_stream_bytes_max: usize,
    /// Bytes kept over all streams; the private ones of execution reports may take as much again.
    pub resume_bytes_max: usize,
    /// How long a stream is kept after its last reader has left, in milliseconds, at most 86,400,000.
    pub resume_keep_ms: u64,
    /// How long market data may wait for more of it, so that one write takes it all, in microseconds, at most 100,000; 0: it
    /// leaves when it comes. Replies and reports never wait, and take along what waits.
    pub flush_interval_us: u64,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 5_000,
            resume_stream_bytes_max: 1024 * 1024,
            resume_bytes_max: 256 * 1024 * 1024,
            resume_keep_ms: 60_000,
            flush_interval_us: 0,
        }
    }
}

/// `[telemetry]`: logs for operators.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Text for people or JSON lines for machines.
    pub format: LogFormat,
    /// Level or filter, such as `info`.
    pub level: String,
    /// Directory of daily files; standard error when absent.
    pub directory: Option<PathBuf>,
    /// File for figures in Prometheus' text format, as the text file collector of `node_exporter` reads it (its name must end in `.prom`);
    /// none by default.
    pub metrics_file: Option<PathBuf>,
    /// How often that file is written, milliseconds, 100 to 3,600,000.
    pub metrics_interval_ms: u64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
            directory: None,
            metrics_file: None,
            metrics_interval_ms: 5_000,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
