//! The server: opens the log, loads who may do what, binds the listener, and runs everything to its end.
//!
//! Order at start: log, identity, sources and instruments, pipeline, listener: nothing is accepted before every
//! stage stands and the `start` entry is durable. Order at stop: no new connections, sessions end with 1012,
//! sources and pipeline end, then the log writes STOP.

mod accept;
mod continuation;
mod ops;
pub mod proxy;
mod proxy_header;
mod reload;
mod start;
mod watch;

pub use reload::{ReloadError, Reloaded, Trigger};
pub use start::{Running, StartError, start};
