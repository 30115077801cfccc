//! sealfeed: a mutual-TLS trading data feed server.
//!
//! Data walks one way:
//!
//! ```text
//! accept -> identity -> session -> gate -> pipeline[ venue -> feed ] -> fan-out -> session -> socket
//!                             source -> pipeline[ feed ]         everything -> journal -> audit
//! ```
//!
//! ARCHITECTURE.md in the repository is the map; `tests/tidy.rs` holds the layers to it.

pub mod alerts;
pub mod cli;
pub mod clock;
pub mod config;
pub mod execute;
pub mod feed;
pub mod gate;
pub mod identity;
pub mod journal;
pub mod metrics;
pub mod outbound;
pub mod pipeline;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod source;
pub mod telemetry;
pub mod types;
pub mod venue;
