//! The thread that asks about the clock's synchronisation every few seconds, keeps the entries' headers up to date, and writes
//! CLOCK entries.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::monitor::{Monitor, difference_ns};
use super::{ClockEvidence, ClockStatus, Source};
use crate::entry::{Draft, Stamp};
use crate::error::AppendError;
use crate::kind;
use crate::log::Log;

/// How often the clock is read for one sample.
const READINGS: usize = 3;

/// How the clock is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockWatchOptions {
    /// Error and step that are allowed, nanoseconds.
    pub tolerance_ns: u64,
    /// How often the system is asked, nanoseconds; at least one millisecond.
    pub sample_interval_ns: u64,
    /// After how long without a CLOCK entry one is written although nothing changed, nanoseconds, by the log's monotonic clock.
    pub record_interval_ns: u64,
}

impl Default for ClockWatchOptions {
    fn default() -> Self {
        Self {
            // What FINRA rule 4590 and the CAT plan ask of members.
            tolerance_ns: 50_000_000,
            sample_interval_ns: 5_000_000_000,
            record_interval_ns: 60_000_000_000,
        }
    }
}

/// Told of news only: what was found at the start and whenever state or verdict change or the clock was set; and what the news
/// before was.
pub type ClockReport = Box<dyn Fn(&ClockEvidence, Option<&ClockEvidence>) + Send>;

/// The thread that watches the clock. Ends when dropped; must be dropped before the log is stopped.
#[derive(Debug)]
pub struct ClockWatch {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ClockWatch {
    /// Begins to watch. The first CLOCK entry is in the queue when this returns.
    ///
    /// `status` is what the log's own clock takes its headers from ([`super::DisciplinedClock`]).
    ///
    /// # Errors
    /// When there is no thread. That the log takes no more entries is for those to say who depend on them.
    pub fn begin(
        log: Log,
        status: Arc<ClockStatus>,
        source: Box<dyn Source>,
        options: ClockWatchOptions,
        report: ClockReport,
    ) -> io::Result<Self> {
        let monitor = Monitor::new(options.tolerance_ns, options.record_interval_ns);
        let mut round = Round { log, status, source, monitor, report, news: None };
        let _ = round.run();
        let (stop, stopped) = sync_channel(1);
        let interval = Duration::from_nanos(options.sample_interval_ns.max(1_000_000));
        let thread = std::thread::Builder::new()
            .name("audit-clock".to_owned())
            .spawn(move || watch(&mut round, &stopped, interval))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ClockWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread ends the evidence, not the log; it was printed.
            let _ = thread.join();
        }
    }
}

fn watch(round: &mut Round, stopped: &Receiver<()>, interval: Duration) {
    while matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
        if round.run().is_err() {
            // The log takes nothing any more.
            return;
        }
    }
}

struct Round {
    log: Log,
    status: Arc<ClockStatus>,
    source: Box<dyn Source>,
    monitor: Monitor,
    report: ClockReport,
    news: Option<ClockEvidence>,
}

impl Round {
    fn run(&mut self) -> Result<(), AppendError> {
        let now = self.now();
        let discipline = self.source.discipline();
        self.status.set(discipline.as_ref(), now.monotonic_ns);
        let Some(noted) = self.monitor.look(&now, discipline) else { return Ok(()) };
        let payload = noted.evidence.to_payload();
        // Few and small: it does not wait for room in the queue, so nothing holds up whoever ends this thread.
        self.log.append_own(Draft { kind: kind::CLOCK, payload, ..Draft::default() })?;
        if noted.is_news {
            (self.report)(&noted.evidence, self.news.as_ref());
            self.news = Some(noted.evidence);
        }
        Ok(())
    }

    /// The time. UTC is read before the monotonic clock, so an interruption between the two makes their difference smaller and
    /// looks like a step back: the reading with the largest difference was interrupted least.
    fn now(&self) -> Stamp {
        let mut best = self.log.now();
        for _ in 1..READINGS {
            let again = self.log.now();
            if difference_ns(&again) >= difference_ns(&best) {
                best = again;
            }
        }
        best
    }
}
