//! What a server does by itself about files that change, and about what time changes.
//!
//! Files are looked at, not listened for: that holds on network mounts, for files that are replaced, and for the links to directories
//! that orchestrators swap. A change counts when it looks the same twice: a file that is being written is not read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::reload::{Reloader, Trigger};
use crate::config::Config;
use crate::identity;
use crate::pipeline::{Command, ReloadRequest};
use crate::types::Code;

/// How often files are looked at. A change is acted on within three times that, and the time of a reload.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often sessions are judged by what time has changed.
const TIME_INTERVAL: Duration = Duration::from_secs(1);

/// What is seen of one file from outside; `None` if it cannot be seen.
pub(super) type Seen = Option<(SystemTime, u64, u64)>;

/// Watches until the stop signal. `seen` is what was in force at first; nothing where files are not watched.
pub(super) async fn run(
    reloader: Arc<Reloader>,
    seen: Option<Vec<(PathBuf, Seen)>>,
    mut requests: mpsc::Receiver<ReloadRequest>,
) {
    let shutdown = reloader.context().shutdown.clone();
    let mut tick = tokio::time::interval(LOOK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut files = seen.map(Files::new);
    let mut judged = Instant::now();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            Some(request) = requests.recv() => {
                serve(&reloader, request).await;
                continue;
            }
            _ = tick.tick() => {}
        }
        if judged.elapsed() >= TIME_INTERVAL {
            judged = Instant::now();
            reloader.let_time_pass().await;
        }
        let Some(files) = &mut files else { continue };
        let paths = reloader.files().await;
        // A file system that does not answer must not take a worker of the runtime with it.
        let Ok(seen) = tokio::task::spawn_blocking(move || look(&paths)).await else { continue };
        if files.has_changed(seen) {
            // A refused reload is logged and sealed, and changes nothing; the next change is another chance.
            let _ = reloader.reload(Trigger::Files).await;
        }
    }
}

/// Does what an operator asked for.
async fn serve(reloader: &Reloader, request: ReloadRequest) {
    let ReloadRequest { session, id, entry } = request;
    let context = reloader.context();
    // If the log fails the server stops.
    if context.journal.durable(entry).await.is_err() {
        return;
    }
    let reloaded = reloader.reload(Trigger::Operator(session.principal.to_string())).await;
    let result = reloaded.map(drop).map_err(|error| error.code().unwrap_or(Code::AudLogUnavailable));
    context.pipeline.send(Command::Reloaded { session, id, result }).await;
}

/// Every file that a reload reads.
pub(super) fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = identity::files(&config.tls, &config.identity, config.tokens.as_ref());
    files.extend(config.file.clone());
    files
}

/// What the files look like from outside.
pub(super) fn look(paths: &[PathBuf]) -> Vec<(PathBuf, Seen)> {
    paths.iter().map(|path| (path.clone(), seen(path))).collect()
}

#[cfg(unix)]
fn seen(path: &std::path::Path) -> Seen {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// What was seen of the files.
#[derive(Debug)]
struct Files {
    /// What the last reload acted on, or what was there at first.
    acted_on: Vec<(PathBuf, Seen)>,
    /// At the last look.
    last: Vec<(PathBuf, Seen)>,
}

impl Files {
    fn new(seen: Vec<(PathBuf, Seen)>) -> Self {
        Self { acted_on: seen.clone(), last: seen }
    }

    /// Whether the files are others than they were, and have stopped changing.
    fn has_changed(&mut self, seen: Vec<(PathBuf, Seen)>) -> bool {
        let has_changed = seen == self.last && seen != self.acted_on;
        if has_changed {
            self.acted_on.clone_from(&seen);
        }
        self.last = seen;
        has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(size: u64) -> Vec<(PathBuf, Seen)> {
        vec![(PathBuf::from("crl.pem"), Some((SystemTime::UNIX_EPOCH, size, 1)))]
    }

    #[test]
    fn a_change_counts_once_and_not_before_it_has_settled() {
        let mut files = Files::new(at(1));
        assert!(!files.has_changed(at(1)));
        assert!(!files.has_changed(at(2)), "it may still be written");
        assert!(!files.has_changed(at(3)));
        assert!(files.has_changed(at(3)));
        assert!(!files.has_changed(at(3)), "it was acted on");
        assert!(!files.has_changed(at(2)));
        assert!(files.has_changed(at(2)), "and back again is a change, too");
    }

    #[test]
    fn a_file_that_goes_and_comes_back_as_it_was_is_no_change() {
        let mut files = Files::new(at(1));
        assert!(!files.has_changed(vec![(PathBuf::from("crl.pem"), None)]));
        assert!(!files.has_changed(at(1)));
        assert!(!files.has_changed(at(1)));
    }

    #[test]
    fn what_is_seen_of_a_file_changes_with_its_content_and_when_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crl.pem");
        assert_eq!(seen(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = seen(&path);
        let other = folder.path().join("other");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(seen(&path), first);
    }
}
