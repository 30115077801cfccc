//! The demo's stage: a directory, a throw-away PKI made with the bundled script, a configuration, a server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use sealfeed_client::{Client, ClientConfig, Context, FeedUrl};
use sealfeed_wire::Symbol;

use super::steps::Steps;
use crate::clock::Clock;
use crate::config;
use crate::server::{self, Running};

/// The bundled script: the binary needs no other file.
const PKI_SCRIPT: &str = include_str!("../../../pki/pki.sh");

/// Symbol of the synthetic market that the demo trades.
pub(super) const SYMBOL: &str = "SEAL";

const ENTITLEMENTS: &str = r#"# Who may do what. Rules that match add up; deny wins.
[[rule]]
name = "market-data"
match = { firm = "acme" }
channels = ["trades", "bbo", "book"]
symbols = ["*"]

[[rule]]
name = "desk"
match = { firm = "acme", role = "trader" }
[rule.orders]
symbols = ["SEAL", "FEED"]
quantity_max = "1000"
notional_max = 1000000
open_orders_max = 50
orders_per_second = 50
"#;

const CONFIGURATION: &str = r#"# A sealfeed server on one machine. Paths are relative to this file.
[server]
listen = "127.0.0.1:9443"

[tls]
certificate = "pki/servers/localhost/server.pem"
key = "pki/servers/localhost/server.key"
client_authorities = "pki/ca/clients.pem"
client_revocation_lists = "pki/crl/clients.pem"

[identity]
entitlements = "entitlements.toml"
master_key = "pki/master/current.hex"
previous_master_key = "pki/master/previous.hex"

[log]
directory = "log"
origin = "sealfeed.demo/log"
segment_bytes = 16777216

[feed]
heartbeat_ms = 1000

[telemetry]
level = "warn"

[[source]]
type = "synthetic"
symbols = ["SEAL", "FEED"]
messages_per_second = 400
seed = 1
"#;

/// Where the demo's files are.
pub(super) struct Place {
    root: PathBuf,
    /// Deletes the directory at the end; `None` if it is kept.
    _temporary: Option<tempfile::TempDir>,
    is_kept: bool,
}

impl Place {
    fn make(keep: Option<PathBuf>) -> anyhow::Result<Self> {
        match keep {
            Some(root) => {
                if root.exists() && std::fs::read_dir(&root).is_ok_and(|mut files| files.next().is_some()) {
                    bail!("{root:?} is not empty: name a new directory");
                }
                std::fs::create_dir_all(&root).with_context(|| format!("cannot make {root:?}"))?;
                Ok(Self { root, _temporary: None, is_kept: true })
            }
            None => {
                let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
                let root = temporary.path().to_owned();
                Ok(Self { root, _temporary: Some(temporary), is_kept: false })
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))?;
        Ok(path)
    }

    /// Runs the PKI script; returns what it printed.
    pub(super) fn pki(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("bash")
            .arg(self.path("pki.sh"))
            .arg("--dir")
            .arg(self.path("pki"))
            .args(arguments)
            .output()
            .context("cannot run bash for the PKI script")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            bail!("pki.sh {} failed: {}", arguments.join(" "), text.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(super) fn context(&self, user: &str) -> PathBuf {
        self.path("pki/clients/acme").join(user).join("context.toml")
    }

    pub(super) fn print_next(&self) {
        let program = std::env::args().next().unwrap_or_else(|| "sealfeed".to_owned());
        anstream::println!("Try next:");
        if self.is_kept {
            let show = |path: PathBuf| path.display().to_string();
            anstream::println!("  {program} serve --config {}", show(self.path("sealfeed.toml")));
            anstream::println!("  {program} watch {SYMBOL} --context {}", show(self.context("alice")));
            anstream::println!(
                "  {program} audit replay {} --kind order --output table",
                show(self.path("log"))
            );
        } else {
            anstream::println!("  {program} demo --keep demo");
            anstream::println!("  {program} serve --config demo/sealfeed.toml");
            anstream::println!(
                "  {program} watch {SYMBOL} --context demo/pki/clients/acme/alice/context.toml"
            );
        }
    }
}

/// A place with a server that runs.
pub(super) struct Stage {
    pub(super) place: Place,
    pub(super) server: Running,
    /// The symbol to watch: the recording's, or the synthetic market's.
    pub(super) watched: Symbol,
    /// Whether that symbol comes from a recording, which ends.
    pub(super) is_recorded: bool,
}

impl Stage {
    /// Makes certificates and configuration, and starts the server.
    pub(super) async fn set(
        keep: Option<PathBuf>,
        source: Option<PathBuf>,
        steps: &mut Steps,
    ) -> anyhow::Result<Self> {
        let place = Place::make(keep)?;
        certificates(&place, steps)?;
        place.write("entitlements.toml", ENTITLEMENTS)?;
        let mut text = CONFIGURATION.to_owned();
        let is_recorded = source.is_some();
        let mut watched = Symbol::new(SYMBOL).context("the demo's symbol")?;
        if let Some(file) = &source {
            watched = recorded_symbol(file)?;
            text.push_str(&recording(file)?);
        }
        let path = place.write("sealfeed.toml", &text)?;
        let mut config = config::load_text(&text, &path)?;
        // Whatever runs on the configured port is left alone.
        config.server.listen.set_port(0);
        let server = server::start(&config, text.as_bytes(), Clock::System).await?;
        let is_listening = server.address().ip().is_loopback() && server.address().port() != 0;
        let came = format!("wss://localhost:{}{}", server.address().port(), sealfeed_wire::PATH);
        let expected = "a listener that speaks mutual TLS only";
        steps.step("server", expected, &if is_listening { Ok(came) } else { Err(came) });
        Ok(Self { place, server, watched, is_recorded })
    }

    /// What connects `user` of firm acme to this server.
    pub(super) fn client_config(&self, user: &str) -> anyhow::Result<ClientConfig> {
        let mut config = ClientConfig::from_context(&Context::load(self.place.context(user))?)?;
        let address = format!("wss://localhost:{}{}", self.server.address().port(), sealfeed_wire::PATH);
        config.url = FeedUrl::parse(&address)?;
        Ok(config)
    }

    /// Connects `user` of firm acme.
    pub(super) async fn connect(&self, user: &str) -> anyhow::Result<Client> {
        Client::connect_with(&self.client_config(user)?)
            .await
            .with_context(|| format!("{user} cannot connect"))
    }

    /// Stops the server in order.
    pub(super) async fn stop(self, steps: &mut Steps) -> anyhow::Result<Place> {
        let stopped = self.server.stop().await;
        let came = match &stopped {
            Ok(_) => Ok("stopped, the log closed".to_owned()),
            Err(error) => Err(crate::telemetry::chain(error)),
        };
        steps.step("graceful stop", "every session ended and the log closed", &came);
        stopped?;
        Ok(self.place)
    }
}

fn certificates(place: &Place, steps: &mut Steps) -> anyhow::Result<()> {
    place.write("pki.sh", PKI_SCRIPT)?;
    place.pki(&["init", "--demo"])?;
    place.pki(&["server", "localhost", "--san", "DNS:localhost,IP:127.0.0.1"])?;
    for (user, role) in [("alice", "viewer"), ("bob", "trader"), ("carol", "viewer")] {
        place.pki(&["client", &format!("acme/{user}"), "--role", role])?;
    }
    let issued = place.pki(&["list"])?;
    let count =
        ["acme/alice", "acme/bob", "acme/carol"].iter().filter(|name| issued.contains(**name)).count();
    let came = format!("{count} client certificates, with order keys and context files");
    let expected = "3 client certificates, with order keys and context files";
    steps.equal("certificates, by the bundled pki.sh", expected, came);
    Ok(())
}

/// The first symbol of a recording, as the server will name it.
fn recorded_symbol(file: &Path) -> anyhow::Result<Symbol> {
    let mut instruments = crate::types::Instruments::new();
    let config = config::DbnSourceConfig {
        speed: config::Speed::Max,
        ..config::DbnSourceConfig::new(file.to_owned())
    };
    crate::source::open(&config::SourceConfig::Dbn(config), &mut instruments)
        .with_context(|| format!("cannot replay {file:?}"))?;
    instruments.iter().next().map(|one| one.symbol).context("the file names no instrument")
}

/// The configuration of the recording: as fast as possible once somebody watches, and room for a reader who is
/// slower than that.
fn recording(file: &Path) -> anyhow::Result<String> {
    let path = file.canonicalize().with_context(|| format!("cannot find {file:?}"))?;
    let path = path.to_str().context("the path is not UTF-8")?;
    Ok(format!(
        "\n[[source]]\ntype = \"dbn\"\npath = {}\nspeed = \"max\"\nwait_for_subscribers = 1\n\n\
         [limits]\nout_queue_bytes_max = 268435456\n",
        toml::Value::from(path)
    ))
}
