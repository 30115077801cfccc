//! `[clock]`: how good the clock must be.

use serde::Deserialize;

/// `[clock]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// Largest error against UTC, and largest step, that is no breach, microseconds, 1 to 10,000,000. A breach is reported and
    /// sealed; the server goes on.
    pub tolerance_us: u64,
}

impl Default for ClockConfig {
    fn default() -> Self {
        // FINRA rule 4590 and the CAT plan: 50 ms for members.
        Self { tolerance_us: 50_000 }
    }
}
