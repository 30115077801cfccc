//! Signed orders: forged, stale, replayed, repeated, malformed, and beyond every limit.
