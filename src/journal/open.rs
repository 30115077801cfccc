//! Opening the sealed log, and making it at the first start.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use sealfeed_audit::{InitError, InitOptions, Initialised, Log, OpenError, Options};

use crate::config::LogConfig;
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
    /// Its escrow files could not be written.
    #[error("cannot write the log's escrow files in {directory:?}")]
    Escrow {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
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
            Self::Init { .. } | Self::Escrow { .. } => Code::CfgDirectoryUnusable,
            Self::Open { source: OpenError::Locked, .. } => Code::AudLogLocked,
            Self::Open { .. } => Code::AudStartRefused,
        }
    }
}

/// Name of this build, in the log.
const BUILD: &str = concat!("sealfeed ", env!("CARGO_PKG_VERSION"));

/// Opens the log; makes it, with its escrow files, if there is none. `configuration` are the bytes of the
/// configuration, whose hash goes into the log.
///
/// # Errors
/// [`OpenLogError`].
pub fn open(config: &LogConfig, configuration: &[u8]) -> Result<Log, OpenLogError> {
    let directory = &config.directory;
    let hash = sealfeed_audit::sha256(configuration);
    if is_to_be_made(directory) {
        let mut options = InitOptions::new(&config.origin);
        options.build = BUILD.to_owned();
        options.configuration_hash = hash;
        options.segment_bytes = config.segment_bytes;
        let made = sealfeed_audit::init(directory, &options)
            .map_err(|source| OpenLogError::Init { directory: directory.clone(), source })?;
        write_escrow(directory, &made)?;
    }
    let mut options = Options::new(&config.origin);
    options.build = BUILD.to_owned();
    options.configuration_hash = hash;
    options.segment_bytes = config.segment_bytes;
    Log::open(directory, options)
        .map_err(|source| OpenLogError::Open { directory: directory.clone(), source })
}

/// Whether there is no log yet, or one whose making was cut off: its first segment comes last. Where segments are
/// missing from a log that was in use, its checkpoints tell, and nothing is made in its place.
fn is_to_be_made(directory: &Path) -> bool {
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

/// Where the public key (`log.pub`) and the first epoch key (`k0.hex`) are put when a log is made: beside it, to
/// be taken to another place. `k0.hex` belongs into compliance's safe and then off this machine.
#[must_use]
pub fn escrow_directory(log: &Path) -> PathBuf {
    let mut name = log.file_name().unwrap_or_default().to_owned();
    name.push(".escrow");
    log.with_file_name(name)
}

fn write_escrow(log: &Path, made: &Initialised) -> Result<(), OpenLogError> {
    let directory = escrow_directory(log);
    let failed = |source| OpenLogError::Escrow { directory: directory.clone(), source };
    std::fs::create_dir_all(&directory).map_err(failed)?;
    for (name, text) in [("log.pub", made.public_key.to_string()), ("k0.hex", sealfeed_audit::hex(&made.k0))]
    {
        let mut file = tempfile::NamedTempFile::new_in(&directory).map_err(failed)?;
        writeln!(file, "{text}").map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(directory.join(name)).map_err(|error| failed(error.error))?;
    }
    tracing::warn!(
        directory = %directory.display(),
        "a new sealed log was made: keep log.pub where the log cannot be changed, take k0.hex off this machine"
    );
    Ok(())
}
