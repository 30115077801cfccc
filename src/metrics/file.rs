//! The file of figures, for the text file collector of Prometheus' `node_exporter`: written whole or not at all.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Metrics, Read};
use crate::types::Code;

/// Why there is no file of figures. The server does not start without one that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot write telemetry.metrics_file {path:?}")]
pub struct MetricsFileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl MetricsFileError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::CfgMetricsFileUnusable
    }
}

/// The thread that writes the file. Dropping it writes the file a last time and ends the thread.
pub struct MetricsFile {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsFile {
    /// Writes the file once, then every `interval`.
    ///
    /// # Errors
    /// [`MetricsFileError`] if it cannot be written now. Later failures are logged once, and it is tried again.
    pub fn start(
        path: &Path,
        interval: Duration,
        metrics: Arc<Metrics>,
        read: Read,
    ) -> Result<Self, MetricsFileError> {
        let failed = |source| MetricsFileError { path: path.to_owned(), source };
        write(path, &metrics.encode(&read())).map_err(failed)?;
        let (stop, stopped) = sync_channel(0);
        let written = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("metrics-file".to_owned())
            .spawn(move || run(&written, interval, &metrics, &read, &stopped))
            .map_err(failed)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for MetricsFile {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the metrics file panicked");
        }
    }
}

fn run(path: &Path, interval: Duration, metrics: &Metrics, read: &Read, stopped: &Receiver<()>) {
    let mut works = true;
    loop {
        let is_last = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
        let written = write(path, &metrics.encode(&read()));
        if let Err(error) = &written
            && works
        {
            let code = Code::CfgMetricsFileUnusable;
            tracing::error!(%code, path = ?path, error = %error, "the metrics file cannot be written: its figures are old");
        }
        works = written.is_ok();
        if is_last {
            return;
        }
    }
}

/// Replaces the file at once, so that a reader sees all of the old one or all of the new one. Not synced: after a power cut it is
/// written again.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().prefix(".sealfeed-metrics-").suffix(".new").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    // The collector is another user's.
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}
