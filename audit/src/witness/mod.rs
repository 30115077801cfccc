//! Witnesses: somebody elsewhere who keeps the largest checkpoint of a log and never accepts one that does not continue it.
//!
//! What a witness has seen, the log cannot take back, whoever controls its machine. [`protocol`] is what log and witness say to
//! each other (C2SP tlog-witness `add-checkpoint`), [`Keeper`] the witness's memory and judgement. Transport is the caller's: this crate
//! opens no sockets. Specification: <https://c2sp.org/tlog-witness>.

mod keeper;
pub mod protocol;
pub mod watch;

pub use keeper::{Keeper, KeeperError};
pub use protocol::{Answer, Request};
