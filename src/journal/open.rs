//! Opening the sealed log, and making it at the first start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealfeed_audit::clock::{ClockWatch, DisciplinedClock};
use sealfeed_audit::storage::DiskStorage;
use sealfeed_audit::witness::watch::Watch;
use sealfeed_audit::{Clock, InitError, InitOptions, Initialised, Log, OpenError, Options};

use super::clock::{Health, SystemWatch};
use super::witness::{WitnessError, Witnesses};
use crate::config::{ClockConfig, LogConfig};
use crate::types::Code;

/// Why the log cannot be used. The server does not start without it.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// It could not be made.
    #[error("cannot make a log in {directory:?}")]
    Init {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: InitError,
    },
    /// Its witnesses cannot be used, or forbid to start.
    #[error("the log's witnesses")]
    Witness(#[from] WitnessError),
    /// There is no thread that watches the clock.
    #[error("the thread that watches the clock could not be started")]
    Clock(#[source] std::io::Error),
    /// It could not be opened, or its state forbids to start.
    #[error("cannot open the log in {directory:?}")]
    Open {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
}

impl OpenLogError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Witness(WitnessError::Configuration { .. }) => Code::CfgValueInvalid,
            Self::Witness(_) => Code::AudStartRefused,
            Self::Clock(_) => Code::AudLogUnavailable,
            Self::Init { .. } => Code::CfgDirectoryUnusable,
            Self::Open { source: OpenError::Locked, .. } => Code::AudLogLocked,
            Self::Open { .. } => Code::AudStartRefused,
        }
    }
}

/// Name of this build, in the log.
const BUILD: &str = concat!("sealfeed ", env!("CARGO_PKG_VERSION"));

/// Makes a log, with its keys in escrow first. `configuration` are the bytes of the configuration, whose hash goes into the log.
///
/// # Errors
/// [`OpenLogError::Init`]; where an earlier attempt was cut off, this one goes on with its keys.
pub fn make(config: &LogConfig, configuration: &[u8]) -> Result<Initialised, OpenLogError> {
    let escrow = config.escrow_directory();
    let mut options = InitOptions::new(&config.origin);
    BUILD.clone_into(&mut options.build);
    options.configuration_hash = sealfeed_audit::sha256(configuration);
    options.segment_bytes = config.segment_bytes;
    options.clock = Arc::new(DisciplinedClock::sampled());
    options.escrow = Some(Arc::new(DiskStorage::new(&escrow)));
    let directory = &config.directory;
    let made = sealfeed_audit::init(directory, &options)
        .map_err(|source| OpenLogError::Init { directory: directory.clone(), source })?;
    tracing::warn!(
        directory = %escrow.display(),
        "a new sealed log was made: keep log.pub where the log cannot be changed, take k0.hex off this machine"
    );
    Ok(made)
}

/// Opens the log; makes it if there is none. `configuration` are the bytes of the configuration, whose hash goes into the log.
/// When this returns, the log's next entry says how well the clock is synchronised.
///
/// # Errors
/// [`OpenLogError`].
pub fn open(config: &LogConfig, clock: &ClockConfig, configuration: &[u8]) -> Result<Opened, OpenLogError> {
    let directory = &config.directory;
    if is_to_be_made(directory) {
        make(config, configuration)?;
    }
    let mut witnesses = Witnesses::new(config)?;
    let witnessed = match &mut witnesses {
        Some(witnesses) => witnesses.ask(config)?,
        None => Vec::new(),
    };
    let clock = SystemWatch::new(clock);
    let disciplined: Arc<dyn Clock> = Arc::new(clock.clock());
    let options = Options { clock: Arc::clone(&disciplined), witnessed, ..options(config, configuration) };
    let log = Log::open(directory, options)
        .map_err(|source| OpenLogError::Open { directory: directory.clone(), source })?;
    let health = clock.health();
    let clock = clock.begin(&log).map_err(OpenLogError::Clock)?;
    let witnesses = match witnesses {
        Some(witnesses) => Some(witnesses.watch(&log, config)?),
        None => None,
    };
    Ok(Opened { log, clock, disciplined, health, witnesses })
}

/// An open log, and the threads that watch the clock and show it to its witnesses.
#[derive(Debug)]
pub struct Opened {
    pub(super) log: Log,
    pub(super) clock: ClockWatch,
    pub(super) disciplined: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
    pub(super) witnesses: Option<Watch>,
}

pub(super) fn options(config: &LogConfig, configuration: &[u8]) -> Options {
    Options {
        build: BUILD.to_owned(),
        configuration_hash: sealfeed_audit::sha256(configuration),
        segment_bytes: config.segment_bytes,
        group_window_ns: config.group_window_us.saturating_mul(1_000),
        checkpoint_interval_ns: config.checkpoint_ms.saturating_mul(1_000_000),
        epoch_interval_ns: config.epoch_seconds.saturating_mul(1_000_000_000),
        heartbeat_interval_ns: config.heartbeat_seconds.saturating_mul(1_000_000_000),
        rotate_utc_day: config.rotate_utc_day,
        immutable_segments: config.immutable_segments,
        space_low_percent: config.space_low_percent,
        space_critical_percent: config.space_critical_percent,
        ..Options::new(&config.origin)
    }
}

/// Whether there is no log yet, or one whose making was cut off: its first segment comes last. Where segments are
/// missing from a log that was in use, its checkpoints tell, and nothing is made in its place.
pub(super) fn is_to_be_made(directory: &Path) -> bool {
    let has_segments = std::fs::read_dir(directory.join("segments")).is_ok_and(|files| {
        files.flatten().any(|file| file.path().extension().is_some_and(|extension| extension == "seg"))
    });
    let was_used = match std::fs::read_to_string(directory.join("checkpoints")) {
        // One note is six lines; the making of a log signs one, over its first entry.
        Ok(notes) => notes.lines().count() > 6 || notes.lines().nth(1) != Some("1"),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    !has_segments && !was_used
}
