//! The limits in force: what `[limits]` says now, shared by all who hold somebody to them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::config::LimitsConfig;

/// Limits that can be replaced while the server runs. What has begun keeps the values it began with, where they are part of it
/// (deadlines, sizes of messages, faults that are allowed); counts and rates follow at once.
#[derive(Debug)]
pub struct Limits(ArcSwap<LimitsConfig>);

impl Limits {
    /// These limits.
    #[must_use]
    pub fn new(config: &LimitsConfig) -> Self {
        Self(ArcSwap::from_pointee(config.clone()))
    }

    /// What holds now. For one decision: ask again for the next.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<LimitsConfig>> {
        self.0.load()
    }

    /// Puts other limits in force. Nobody who is connected is sent away by lower ones. `out_bytes_max`, and
    /// what of `out_queue_bytes_max` exceeds its value at the start, take a restart.
    pub fn reconfigure(&self, config: &LimitsConfig) {
        self.0.store(Arc::new(config.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_limits_hold_for_the_next_who_asks() {
        let limits = Limits::new(&LimitsConfig::default());
        let before = limits.now();
        limits.reconfigure(&LimitsConfig { malformed_max: 3, ..LimitsConfig::default() });
        assert_eq!((before.malformed_max, limits.now().malformed_max), (10, 3));
    }
}
