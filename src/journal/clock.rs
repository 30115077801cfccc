//! Watches the system's clock for the log, and tells the operator when it does not keep its tolerance.

use std::io;
use std::sync::Arc;

use sealfeed_audit::clock::{
    Breach, ClockStatus, ClockWatch, ClockWatchOptions, DisciplinedClock, Kernel, Source as _,
};
use sealfeed_audit::{Clock as _, ClockEvidence, ClockState, Log, SystemClock};

use crate::config::ClockConfig;
use crate::types::Code;

/// The system's clock, asked once before the log is opened, so that its very first entry states how good it is.
pub(super) struct SystemWatch {
    status: Arc<ClockStatus>,
    options: ClockWatchOptions,
}

impl SystemWatch {
    pub(super) fn new(config: &ClockConfig) -> Self {
        let status = Arc::new(ClockStatus::default());
        let now_ns = SystemClock.now().monotonic_ns;
        status.set(Kernel.discipline().as_ref(), now_ns);
        let tolerance_ns = config.tolerance_us.saturating_mul(1_000);
        Self { status, options: ClockWatchOptions { tolerance_ns, ..ClockWatchOptions::default() } }
    }

    /// The clock of the log.
    pub(super) fn clock(&self) -> DisciplinedClock {
        DisciplinedClock::new(Arc::clone(&self.status))
    }

    /// Begins to watch it for the open log.
    pub(super) fn begin(self, log: &Log) -> io::Result<ClockWatch> {
        ClockWatch::begin(log.clone(), self.status, Box::new(Kernel), self.options, Box::new(tell))
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
