//! Where the log takes time from, and what is known of that clock's quality.
//!
//! Only stamps and the pace of checkpoints, epochs and heartbeats come from here; nothing that is verified depends on a clock
//! that never steps back. Epochs are a counter.
//!
//! The kernel knows whether its clock is disciplined and how wrong it can be at most ([`Kernel`]). [`ClockWatch`] asks it every few
//! seconds: the answer stands in the header of each entry ([`DisciplinedClock`]), and in CLOCK entries ([`ClockEvidence`]).

mod discipline;
mod evidence;
mod kernel;
mod monitor;
mod status;
mod watch;

pub use discipline::{Discipline, Kernel, Leap, Source};
pub use evidence::{Breach, ClockEvidence};
pub use status::{ClockStatus, DisciplinedClock};
pub use watch::{ClockReport, ClockWatch, ClockWatchOptions};

use std::fmt::Debug;

use rustix::time::{ClockId, clock_gettime};

use crate::entry::{CLOCK_ERROR_UNKNOWN_NS, ClockState, Stamp};

/// A clock as the log reads it.
pub trait Clock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> Stamp;
}

/// The clocks of the operating system: real time and monotonic, with no claim about their error.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        Stamp {
            utc_ns: read(ClockId::Realtime),
            monotonic_ns: read(ClockId::Monotonic),
            clock_error_ns: CLOCK_ERROR_UNKNOWN_NS,
            clock_state: ClockState::Unknown,
        }
    }
}

fn read(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
