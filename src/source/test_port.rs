//! A port whose time passes at once, for tests of sources.

use std::future::{Future, ready};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};

use crate::shutdown::Shutdown;

use super::batch::SourceBatch;
use super::outlet::{Outlet, Port, Timer, runtime};

/// Jumps to whatever moment is waited for, and remembers these moments.
#[derive(Clone, Debug, Default)]
pub(super) struct JumpingTimer {
    /// The moment it shows.
    pub(super) now_ns: u64,
    /// Moments waited for, in nanoseconds of the timer.
    pub(super) moments: Arc<Mutex<Vec<u64>>>,
    /// Gives the stop signal when the wait would go beyond this moment.
    pub(super) stop_at: Option<(u64, Shutdown)>,
}

impl Timer for JumpingTimer {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn until(&mut self, due_ns: u64) -> impl Future<Output = ()> {
        self.now_ns = due_ns;
        self.moments.lock().unwrap().push(due_ns);
        if let Some((end_ns, stop)) = &self.stop_at
            && due_ns > *end_ns
        {
            stop.stop(crate::shutdown::StopReason::Requested("test"));
        }
        ready(())
    }
}

/// A port into a channel with room for this many batches.
pub(super) fn port(
    timer: JumpingTimer,
    stop: Shutdown,
    batches: usize,
) -> (Port<JumpingTimer>, mpsc::Receiver<SourceBatch>) {
    let (sender, receiver) = mpsc::channel(batches);
    let subscribers = watch::channel(0).1;
    (Port::new(Outlet { sender, subscribers, stop }, runtime().unwrap(), timer), receiver)
}

/// All batches that are in the channel.
pub(super) fn drain(mut receiver: mpsc::Receiver<SourceBatch>) -> Vec<SourceBatch> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}
