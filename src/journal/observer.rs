//! Who sees every event on its way into the log: what counts, and what watches for alerts.

use super::Event;

/// Is shown every event once: those that were recorded, and those of unknown peers that are only counted there (see
/// [`super::summary`]).
///
/// Called on the thread that records, behind the queue of the log: it must neither wait nor fail, and may record nothing itself.
pub trait Observer: Send + Sync {
    /// An event happened.
    fn observe(&self, event: &Event);
}
