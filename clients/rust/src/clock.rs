//! The client's one clock: the system clock, read here and nowhere else.
//!
//! A signed request is accepted only near the server's time (`order_window_ms` in `welcome`), so the system clock
//! must be kept by NTP or PTP. What comes from here is never used to order events.

use std::time::{SystemTime, UNIX_EPOCH};

use sealfeed_wire::value::UnixNanos;

/// Nanoseconds since the Unix epoch by the system clock; zero for a clock before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the client's clock")]
pub fn system_time() -> UnixNanos {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}
