//! What every test here stands on: one PKI for the process, servers on ports of their own, clients, the log.
//!
//! Nothing is simulated: the PKI script makes the certificates, the server runs as `sealfeed serve` would run it, and
//! what the tests know of the log they read from its files.

mod client;
mod figures;
mod log;
mod pki;
mod receiver;
mod scene;
mod server;
mod telemetry;
mod tls;

pub(crate) use client::{Client, Ended, Frame, Received, frame_text, fresh_nonce};
pub(crate) use figures::Figures;
pub(crate) use log::{Logged, assert_executes_again, events_of, logged_in};
pub(crate) use pki::{Identity, Pki, self_signed};
pub(crate) use receiver::{Answer, Posted, Receiver, secret, secret_text};
pub(crate) use scene::Scene;
pub(crate) use server::{POLICY, Server, wait_until};
pub(crate) use tls::{HttpAnswer, UPGRADE, configuration, fresh_address, read_answer, tcp_from};

use std::time::Duration;

/// How long anything may take that must happen: long, because it only bounds failures.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, happens).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {LIMIT:?}"),
    }
}
