//! Where a source's batches go, and how it passes time.
//!
//! A source runs on a thread of its own and blocks here: until its channel has room (back-pressure: it never
//! drops), until a moment has come, until somebody subscribes. Each of these waits ends at once when the server
//! stops or the reader of the channel is gone. Wake-ups are exact to about a millisecond, never early.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::shutdown::Shutdown;

use super::batch::SourceBatch;
use super::error::SourceError;

/// What a source is given to run with.
#[derive(Debug)]
pub struct Outlet {
    /// Takes the batches; when it is full the source waits.
    pub sender: mpsc::Sender<SourceBatch>,
    /// How many subscriptions stand, for `wait_for_subscribers`.
    pub subscribers: watch::Receiver<u32>,
    /// Ends the source.
    pub stop: Shutdown,
}

/// The server stops, or nobody reads the channel any more: the source ends without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped;

/// Why a source ends before it has sent `Ended`.
#[derive(Debug)]
pub(super) enum Halt {
    Stopped,
    Failed(SourceError),
}

impl From<Stopped> for Halt {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<SourceError> for Halt {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

/// How time passes for a source; nanoseconds from an arbitrary start, never decreasing.
pub(super) trait Timer {
    fn now_ns(&self) -> u64;

    fn until(&mut self, due_ns: u64) -> impl Future<Output = ()>;
}

/// Time as it passes outside. Monotonic: a step of the system's clock does not stall a replay.
#[derive(Debug)]
pub(super) struct RealTimer {
    start: Instant,
}

impl RealTimer {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Timer for RealTimer {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn until(&mut self, due_ns: u64) -> impl Future<Output = ()> {
        // A moment beyond the clock's range never comes; only stopping ends that wait.
        let due = self.start.checked_add(Duration::from_nanos(due_ns));
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// What a source's thread blocks on. It must not be a thread of another runtime.
pub(super) fn runtime() -> Result<Runtime, SourceError> {
    Builder::new_current_thread().enable_time().build().map_err(SourceError::Timer)
}

/// An [`Outlet`] with what is needed to block on it.
#[derive(Debug)]
pub(super) struct Port<T> {
    outlet: Outlet,
    runtime: Runtime,
    timer: T,
}

impl<T: Timer> Port<T> {
    pub(super) fn new(outlet: Outlet, runtime: Runtime, timer: T) -> Self {
        Self { outlet, runtime, timer }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.timer.now_ns()
    }

    /// Sends a batch, as soon as there is room for it.
    pub(super) fn send(&self, batch: SourceBatch) -> Result<(), Stopped> {
        let Self { outlet: Outlet { sender, stop, .. }, runtime, .. } = self;
        if stop.is_stopping() {
            return Err(Stopped);
        }
        match sender.try_send(batch) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
            Err(mpsc::error::TrySendError::Full(batch)) => {
                let sent = block_on(runtime, stop, sender.send(batch))?;
                sent.map_err(|_| Stopped)
            }
        }
    }

    /// Waits until `due_ns` of the timer.
    pub(super) fn wait_until(&mut self, due_ns: u64) -> Result<(), Stopped> {
        block_on(&self.runtime, &self.outlet.stop, self.timer.until(due_ns))
    }

    /// Waits until at least `count` subscriptions stand.
    pub(super) fn wait_for_subscribers(&mut self, count: u32) -> Result<(), Stopped> {
        let Self { outlet: Outlet { subscribers, stop, .. }, runtime, .. } = self;
        let reached = block_on(runtime, stop, subscribers.wait_for(|standing| *standing >= count))?;
        reached.map(|_| ()).map_err(|_| Stopped)
    }
}

/// Blocks this thread until `wait` is over or the server stops.
fn block_on<F: Future>(runtime: &Runtime, stop: &Shutdown, wait: F) -> Result<F::Output, Stopped> {
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = stop.wait() => Err(Stopped),
            output = wait => Ok(output),
        }
    })
}
