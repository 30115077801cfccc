//! Order rates of firms, over all their principals.

use std::collections::HashMap;
use std::sync::Arc;

use sealfeed_wire::Code;

use super::Refused;
use super::rate::{RateExceeded, RateLimiter};
use crate::types::{FirmLimits, UnixNanos};

/// Fewest firms at which idle ones are looked for.
const FIRMS_MIN: usize = 256;

/// A limiter for each firm that has a rate and sent something. Bounded by the firms that policies name.
#[derive(Debug)]
pub(super) struct FirmRates {
    limiters: HashMap<Arc<str>, RateLimiter>,
    /// At how many limiters idle ones are dropped next; twice of what was left, so the cost stays constant.
    prune_at: usize,
}

impl Default for FirmRates {
    fn default() -> Self {
        Self { limiters: HashMap::new(), prune_at: FIRMS_MIN }
    }
}

impl FirmRates {
    /// Counts one order, if the firm has a rate.
    ///
    /// # Errors
    /// [`Code::RskFirmOrderRate`], with the time to wait.
    pub(super) fn charge(&mut self, firm: &FirmLimits, now: UnixNanos) -> Result<(), Refused> {
        let limit = firm.orders_per_second;
        if limit == 0 {
            return Ok(());
        }
        if self.limiters.len() >= self.prune_at && !self.limiters.contains_key(&firm.name) {
            self.limiters.retain(|_, limiter| !limiter.is_idle(now));
            self.prune_at = (2 * self.limiters.len()).max(FIRMS_MIN);
        }
        let limiter =
            self.limiters.entry(Arc::clone(&firm.name)).or_insert_with(|| RateLimiter::per_second(limit));
        limiter.set_limit(limit);
        limiter.take(now).map_err(|RateExceeded { retry_after_ms }| Refused {
            code: Code::RskFirmOrderRate,
            retry_after_ms: Some(retry_after_ms),
        })
    }
}
