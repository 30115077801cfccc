//! Entitlement: what a principal may not see, and how it is told.
