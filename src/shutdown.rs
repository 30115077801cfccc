//! One signal that everything stops on.
//!
//! The first reason given stays the reason. Waiting is cancel-safe.

use std::sync::Arc;

use tokio::sync::watch;

/// Why the server stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A signal or a caller asked for it.
    Requested(&'static str),
    /// The sealed log failed: nothing more may be admitted or acknowledged.
    LogFailed(String),
    /// A stage ended that must not end.
    StageFailed(&'static str),
}

/// Handle to the stop signal; clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    sender: Arc<watch::Sender<Option<StopReason>>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(None)) }
    }
}

impl Shutdown {
    /// A signal that nobody has given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal; later reasons are ignored.
    pub fn stop(&self, reason: StopReason) {
        self.sender.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(reason);
            }
            is_first
        });
    }

    /// Why it stops, once the signal was given.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.sender.borrow().clone()
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.sender.borrow().is_some()
    }

    /// Waits until the signal is given. Cancel-safe.
    pub async fn wait(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as `self`, so this cannot fail before the signal is given.
        let _ = receiver.wait_for(Option::is_some).await;
    }
}
