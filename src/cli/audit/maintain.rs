//! What the commands that write into a stopped server's log have in common.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use sealfeed_audit::clock::DisciplinedClock;
use sealfeed_audit::retention::{RetentionError, origin};
use sealfeed_audit::storage::{DiskStorage, Storage};
use sealfeed_audit::{Options, SEGMENT_BYTES_MIN};

/// A log's folder as the library takes it.
pub(super) fn storage(directory: &Path) -> Arc<dyn Storage> {
    Arc::new(DiskStorage::new(directory))
}

/// How such a command opens the log: under the log's own name, with its command in the `START` entry.
pub(super) fn options(storage: &Arc<dyn Storage>, command: &str) -> Result<Options, RetentionError> {
    let build = format!("sealfeed {} (audit {command})", env!("CARGO_PKG_VERSION"));
    // A few entries: no need to fill a whole segment with zeros ahead.
    let clock = Arc::new(DisciplinedClock::sampled());
    Ok(Options { build, clock, segment_bytes: SEGMENT_BYTES_MIN, ..Options::new(&origin(storage)?) })
}

/// The policy and the directory that a configuration file names.
pub(super) fn configured(path: &Path) -> anyhow::Result<crate::config::LogConfig> {
    let config = crate::config::load(path).with_context(|| format!("cannot use {path:?}"))?;
    Ok(config.log)
}

/// The same of the tape that a configuration file names.
pub(super) fn configured_tape(path: &Path) -> anyhow::Result<crate::config::LogConfig> {
    let config = crate::config::load(path).with_context(|| format!("cannot use {path:?}"))?;
    Ok(config.tape.log(&config.log))
}
