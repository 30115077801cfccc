//! Watches the system's clock for the log, and tells the operator when it does not keep its tolerance.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sealfeed_audit::clock::{Breach, ClockStatus, ClockWatch, ClockWatchOptions, DisciplinedClock, Kernel};
use sealfeed_audit::{CLOCK_ERROR_UNKNOWN_NS, ClockEvidence, ClockState, Log, Stamp};

use crate::config::ClockConfig;
use crate::types::Code;

/// The system's clock, asked once before the log is opened, so that its very first entry states how good it is.
pub(super) struct SystemWatch {
    status: Arc<ClockStatus>,
    options: ClockWatchOptions,
    health: Arc<Health>,
}

/// What the watch found last, for whoever wants to know now.
#[derive(Debug, Default)]
pub(super) struct Health {
    breached: AtomicBool,
}

/// How good the clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// Whether something disciplines it, by what the system says.
    pub synchronised: bool,
    /// Bound of its error against UTC, in nanoseconds; `None` where nobody knows.
    pub error_ns: Option<u32>,
    /// Whether it was found outside its tolerance when it was last asked for: not disciplined, too far off, or set by too much.
    pub breached: bool,
}

impl Health {
    fn note(&self, evidence: &ClockEvidence) {
        self.breached.store(evidence.breach().is_some(), Ordering::Relaxed);
    }

    /// The same, with what a stamp of now says.
    pub(super) fn reading(&self, stamp: &Stamp) -> ClockReading {
        ClockReading {
            synchronised: stamp.clock_state == ClockState::Synchronised,
            error_ns: (stamp.clock_error_ns != CLOCK_ERROR_UNKNOWN_NS).then_some(stamp.clock_error_ns),
            breached: self.breached.load(Ordering::Relaxed),
        }
    }
}

impl SystemWatch {
    pub(super) fn new(config: &ClockConfig) -> Self {
        let status = Arc::new(ClockStatus::default());
        status.sample();
        let tolerance_ns = config.tolerance_us.saturating_mul(1_000);
        let options = ClockWatchOptions { tolerance_ns, ..ClockWatchOptions::default() };
        Self { status, options, health: Arc::default() }
    }

    /// The clock of the log.
    pub(super) fn clock(&self) -> DisciplinedClock {
        DisciplinedClock::new(Arc::clone(&self.status))
    }

    /// What the watch will have found.
    pub(super) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Begins to watch it for the open log.
    pub(super) fn begin(self, log: &Log) -> io::Result<ClockWatch> {
        let health = self.health;
        let report = move |now: &ClockEvidence, before: Option<&ClockEvidence>| {
            health.note(now);
            tell(now, before);
        };
        ClockWatch::begin(log.clone(), self.status, Box::new(Kernel), self.options, Box::new(report))
    }
}

/// Tells the operator what is new about the clock: one line for each change.
fn tell(now: &ClockEvidence, before: Option<&ClockEvidence>) {
    let code = Code::AudClockTolerance;
    let tolerance_us = now.tolerance_ns / 1_000;
    let error_us = now.discipline.map(|found| found.error_ns() / 1_000);
    let was_synchronised = before.is_some_and(|before| before.state() == ClockState::Synchronised);
    match now.breach() {
        None => tracing::info!(error_us, tolerance_us, "the clock is synchronised and keeps its tolerance"),
        Some(Breach::Step) => tracing::error!(
            %code,
            step_us = now.step_ns / 1_000,
            tolerance_us,
            "the clock was set by more than its tolerance: let an NTP client slew it, and find out who sets it"
        ),
        Some(Breach::Error) => tracing::error!(
            %code,
            error_us,
            tolerance_us,
            "the clock's error may be above its tolerance: let the NTP client poll more often (chrony: maxpoll 6)"
        ),
        Some(Breach::Unsynchronised) if was_synchronised => {
            tracing::error!(%code, "the clock is not synchronised any more: look after its NTP client");
        }
        Some(Breach::Unknown) if was_synchronised => {
            tracing::error!(%code, "the system does not say any more whether its clock is synchronised");
        }
        Some(Breach::Unsynchronised) => tracing::warn!(
            %code,
            "the clock is not synchronised: run chrony or another NTP client, in a container on its host"
        ),
        Some(Breach::Unknown) => tracing::warn!(
            %code,
            "the system does not say whether its clock is synchronised: allow the call adjtimex to this process"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use sealfeed_audit::clock::{Discipline, Leap};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the operator reads about this news.
    fn told(now: &ClockEvidence, before: Option<&ClockEvidence>) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || tell(now, before));
        let text = lines.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    fn found(synchronised: bool, max_error_ns: u64, step_ns: i64) -> ClockEvidence {
        let discipline = Discipline { synchronised, offset_ns: 0, max_error_ns, leap: Leap::None };
        ClockEvidence { discipline: Some(discipline), step_ns, tolerance_ns: 50_000_000 }
    }

    #[test]
    fn each_breach_is_one_line_with_the_code_and_what_to_do() {
        let (good, free) = (found(true, 7_000, 0), found(false, 0, 0));
        let unknown = ClockEvidence { discipline: None, ..free };
        for (now, before, level, says) in [
            (free, None, "WARN", "run chrony or another NTP client"),
            (free, Some(unknown), "WARN", "run chrony or another NTP client"),
            (free, Some(good), "ERROR", "not synchronised any more"),
            (unknown, None, "WARN", "adjtimex"),
            (unknown, Some(good), "ERROR", "does not say any more"),
            (found(true, 50_000_001, 0), Some(good), "ERROR", "error_us=50000 tolerance_us=50000"),
            (found(true, 0, -60_000_000), Some(good), "ERROR", "step_us=-60000"),
            (found(false, 0, 60_000_000), Some(free), "ERROR", "step_us=60000"),
        ] {
            let line = told(&now, before.as_ref());
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.contains(level) && line.contains(says) && line.contains("SF-AUD-006"), "{line}");
        }
    }

    #[test]
    fn a_good_clock_is_no_alert() {
        let line = told(&found(true, 50_000_000, -50_000_000), None);
        assert!(line.contains("INFO") && line.contains("error_us=50000") && !line.contains("SF-"), "{line}");
    }
}
