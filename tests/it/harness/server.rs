//! A server in this process, with its own folder, policy and log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sealfeed::clock::Clock;
use sealfeed::config::{Config, load_text};
use sealfeed::server::{Running, StartError};
use tempfile::TempDir;

use super::log::{
    Logged, assert_executes_again, assert_holds_no_secret, assert_holds_none_of, assert_tape_verified,
    assert_verified, events_of, logged_in, read,
};
use super::{Pki, telemetry};

/// The policy of [`Server::start`].
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "viewers"
match = { role = "viewer" }
channels = ["trades", "bbo", "book"]
symbols = ["*"]

[[rule]]
name = "traders"
match = { firm = "acme", role = "trader" }
channels = ["trades", "bbo", "book"]
symbols = ["*"]
[rule.orders]
symbols = ["*"]
quantity_max = "1000"
notional_max = 1000000
open_orders_max = 100
orders_per_second = 1000
[rule.limits]
messages_per_second = 2000

[[rule]]
name = "beta"
match = { firm = "beta", role = "trader" }
channels = ["trades", "book"]
symbols = ["SEAL"]
depth_max = 10
[rule.orders]
symbols = ["SEAL"]
quantity_max = "10"
notional_max = 5000
open_orders_max = 2
orders_per_second = 3
"#;

const CONFIGURATION: &str = r#"
[server]
listen = "127.0.0.1:0"
origins = ["https://desk.example"]
[tls]
certificate = "servers/localhost/server.pem"
key = "servers/localhost/server.key"
client_authorities = "ca/clients.pem"
client_revocation_lists = "crl/clients.pem"
[identity]
entitlements = "entitlements.toml"
master_key = "master/current.hex"
previous_master_key = "master/previous.hex"
[log]
directory = "log"
segment_bytes = 4194304
[[source]]
type = "synthetic"
symbols = ["SEAL", "FEED"]
messages_per_second = 20
"#;

/// A running server.
pub(crate) struct Server {
    running: Running,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The configuration it runs with.
    pub(crate) config: Box<Config>,
    /// What must neither be traced nor stand in the log, beside the secrets of the PKI.
    pub(crate) secrets: Vec<String>,
    folder: TempDir,
}

impl Server {
    /// Starts a server under [`POLICY`], after `change` had its way with the configuration. Its market is the
    /// synthetic one (`SEAL`, `FEED`), slow enough not to be in the way.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_policy(POLICY, change).await
    }

    /// As [`Server::start`], under another policy.
    pub(crate) async fn with_policy(policy: &str, change: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::new().unwrap();
        Self::try_start(folder, policy, change).await.unwrap()
    }

    /// Starts a server in `folder`: as before, if there was one.
    pub(crate) async fn try_start(
        folder: TempDir,
        policy: &str,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        Self::try_start_by(Clock::System, folder, policy, change).await
    }

    /// As [`Server::try_start`], by another clock than the system's.
    pub(crate) async fn try_start_by(
        clock: Clock,
        folder: TempDir,
        policy: &str,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        telemetry::collect();
        let entitlements = folder.path().join("entitlements.toml");
        std::fs::write(&entitlements, policy).unwrap();
        let mut config = load_text(CONFIGURATION, &Pki::get().folder.join("sealfeed.toml")).unwrap();
        config.identity.entitlements = entitlements;
        config.log.directory = folder.path().join("log");
        // Reloads come when a test says so; tests of the watch switch it on.
        config.server.watch_files = false;
        // Places that a test holds by connections that say nothing must not come free because the machine is slow; tests of
        // the timeouts set their own.
        (config.limits.handshake_timeout_ms, config.limits.upgrade_timeout_ms) = (60_000, 60_000);
        change(&mut config);
        let running = sealfeed::server::start(&config, CONFIGURATION.as_bytes(), clock).await?;
        Ok(Self {
            address: running.address(),
            running,
            config: Box::new(config),
            secrets: Vec::new(),
            folder,
        })
    }

    /// The folder of its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.config.log.directory.clone()
    }

    /// The server itself.
    pub(crate) const fn running(&self) -> &Running {
        &self.running
    }

    /// Every event in the log so far.
    pub(crate) fn events(&self) -> Vec<Logged> {
        read(&self.log())
    }

    /// Events of one kind in the log so far.
    pub(crate) fn log_events(&self, kind: &str) -> Vec<Logged> {
        events_of(&self.log(), kind)
    }

    /// The first event of this kind for which `is_it` holds, as soon as it stands in the log.
    pub(crate) async fn logged(&self, kind: &str, is_it: impl Fn(&Logged) -> bool) -> Logged {
        logged_in(&self.log(), kind, is_it).await
    }

    /// Stops the server, asserts that its log verifies and holds no secret, and returns the log and the folder.
    pub(crate) async fn finish(self) -> (Vec<Logged>, TempDir) {
        let Self { running, config, folder, secrets, .. } = self;
        super::soon("the stop", running.stop()).await.unwrap();
        let log = &config.log.directory;
        assert_verified(log);
        if config.tape.enabled {
            assert_tape_verified(log);
        }
        assert_executes_again(log);
        let traced = telemetry::traced();
        assert_holds_no_secret(log, &Pki::get().folder, &traced);
        assert_holds_none_of(log, &secrets, &traced);
        (read(log), folder)
    }
}

/// Waits until `state` holds; whether it did within `limit`.
pub(crate) async fn wait_until(limit: Duration, mut state: impl FnMut() -> bool) -> bool {
    let waiting = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            if tokio::task::block_in_place(&mut state) {
                break;
            }
        }
    };
    tokio::time::timeout(limit, waiting).await.is_ok()
}
