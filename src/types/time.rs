//! Arithmetic on points in time; the type itself is the wire's.

pub use sealfeed_wire::UnixNanos;

/// Arithmetic that never wraps.
pub trait TimeArithmetic {
    /// How long ago `earlier` was, in nanoseconds; 0 if `earlier` lies in the future.
    #[must_use]
    fn since(self, earlier: Self) -> u64;

    /// This time plus `ns` nanoseconds; stays at the end of time instead of wrapping.
    #[must_use]
    fn plus_ns(self, ns: u64) -> Self;
}

impl TimeArithmetic for UnixNanos {
    fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    fn plus_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}
