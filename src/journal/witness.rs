//! The witnesses of the log: made from the configuration, asked before the log is opened, and shown it while it is written.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealfeed_audit::Log;
use sealfeed_audit::follow::Follower;
use sealfeed_audit::note::VerifierKey;
use sealfeed_audit::witness::Keeper;
use sealfeed_audit::witness::protocol::{PATH, REQUEST_BYTES_MAX};
use sealfeed_audit::witness::watch::{
    LocalTransport, Outcome, Transport, Watch, WatchError, WatchOptions, Witness, ask_before_start,
};

use crate::clock::Clock;
use crate::config::{LogConfig, WitnessConfig};

/// A witness that does not answer within this time is silent for this round.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Name of a witness that this server keeps itself, behind the origin of the log.
const LOCAL_NAME: &str = "/witness";

/// Why witnesses forbid to start, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The configuration of one cannot be used.
    #[error("[[log.witness]] number {number} cannot be used: {what}")]
    Configuration {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong.
        what: String,
    },
    /// The log on disk is behind what a witness has seen, or another history.
    #[error(
        "witness {name} knows more of this log than there is on disk ({what}): an old copy was put back, or it was rewritten"
    )]
    History {
        /// The witness.
        name: String,
        /// What it said.
        what: String,
    },
    /// The log cannot be read to ask about it.
    #[error("the log could not be shown to witness {name}")]
    Watch {
        /// The witness.
        name: String,
        /// Why.
        #[source]
        source: WatchError,
    },
    /// There is no thread for them.
    #[error("the thread for witnesses could not be started")]
    Thread(#[source] io::Error),
}

/// The witnesses of the configuration.
pub(super) struct Witnesses {
    list: Vec<Witness>,
    options: WatchOptions,
}

impl Witnesses {
    /// Makes them for the log that lies in the configured directory.
    pub(super) fn new(config: &LogConfig) -> Result<Option<Self>, WitnessError> {
        if config.witnesses.is_empty() {
            return Ok(None);
        }
        let unusable = |number: usize, what: String| WitnessError::Configuration { number, what };
        let key = log_key(&config.directory).map_err(|what| unusable(1, what))?;
        let make = |(index, witness): (usize, &WitnessConfig)| {
            one(witness, config, &key).map_err(|what| unusable(index + 1, what))
        };
        let list = config.witnesses.iter().enumerate().map(make).collect::<Result<_, _>>()?;
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let options = WatchOptions {
            interval_ns: ns(config.witness_interval_ms),
            tolerance_ns: ns(config.witness_tolerance_ms),
        };
        Ok(Some(Self { list, options }))
    }

    /// Asks each about the log on disk, before anything is written to it: what they cosigned. One that does not answer does not hinder.
    pub(super) fn ask(&mut self, config: &LogConfig) -> Result<Vec<String>, WitnessError> {
        let mut cosigned = Vec::new();
        let key =
            log_key(&config.directory).map_err(|what| WitnessError::Configuration { number: 1, what })?;
        for witness in &mut self.list {
            let name = witness.name().to_owned();
            match ask_before_start(&config.directory, &key, witness) {
                Ok(Outcome::Ahead { size }) => {
                    return Err(WitnessError::History { name, what: format!("{size} entries") });
                }
                Ok(Outcome::Inconsistent { size }) => {
                    let what = format!("another history of the first {size} entries");
                    return Err(WitnessError::History { name, what });
                }
                Ok(Outcome::Cosigned { note, .. }) => cosigned.push(note),
                Ok(outcome) => tell(&name, &outcome),
                Err(source) => return Err(WitnessError::Watch { name, source }),
            }
        }
        Ok(cosigned)
    }

    /// Begins to show them the open log.
    pub(super) fn watch(self, log: &Log, config: &LogConfig) -> Result<Watch, WitnessError> {
        Watch::begin(log.clone(), &config.directory, self.list, self.options, Box::new(tell))
            .map_err(WitnessError::Thread)
    }
}

/// Tells the operator what a witness's answer, or its silence, means.
fn tell(name: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Cosigned { .. } => {}
        Outcome::Silent => tracing::error!(witness = name, "a witness of the log does not answer"),
        Outcome::Refused { status } => tracing::error!(
            witness = name,
            status,
            "a witness refuses the log: does it know this log's key, and is its own key the configured one?"
        ),
        Outcome::Ahead { size } => tracing::error!(
            witness = name,
            size,
            "a witness has seen more of the log than there is: stop the server and verify"
        ),
        Outcome::Inconsistent { size } => tracing::error!(
            witness = name,
            size,
            "a witness knows another history of the log: stop the server and verify"
        ),
    }
}

/// The key that the log on disk states. What is shown is signed by it anyway; a wrong one is refused by the witness.
fn log_key(directory: &Path) -> Result<VerifierKey, String> {
    let follower = Follower::new(directory, 0).map_err(|error| error.to_string())?;
    let header = follower.header();
    VerifierKey::new(&header.origin, header.key).map_err(|error| error.to_string())
}

fn one(config: &WitnessConfig, log: &LogConfig, key: &VerifierKey) -> Result<Witness, String> {
    match (&config.directory, &config.url, &config.key) {
        (Some(directory), None, None) => {
            let name = format!("{}{LOCAL_NAME}", log.origin);
            let keeper = Keeper::open_or_make(directory, &name, vec![key.clone()]);
            let keeper = Arc::new(keeper.map_err(|error| crate::telemetry::chain(&error))?);
            let seconds = || Clock::System.now().0 / 1_000_000_000;
            let public = keeper.public().clone();
            Ok(Witness::new(public, Box::new(LocalTransport::new(keeper, Box::new(seconds)))))
        }
        (None, Some(url), Some(text)) => {
            let key = text.parse().map_err(|_| "`key` is no witness's key".to_owned())?;
            let transport = HttpTransport::new(url, config.authorities.as_deref())?;
            Ok(Witness::new(key, Box::new(transport)))
        }
        _ => Err("it needs either `directory`, or `url` and `key`".to_owned()),
    }
}

/// A witness behind HTTP, as C2SP specifies it.
struct HttpTransport {
    agent: ureq::Agent,
    url: String,
}

impl HttpTransport {
    fn new(url: &str, authorities: Option<&Path>) -> Result<Self, String> {
        let authorities = match (url.starts_with("https://"), authorities) {
            (true, None) => return Err("an https:// URL needs `authorities`".to_owned()),
            (true, some) => some,
            (false, _) if url.starts_with("http://") => None,
            (false, _) => return Err("`url` must begin with http:// or https://".to_owned()),
        };
        let agent = crate::outbound::agent(TIMEOUT, authorities)?;
        let url = format!("{}{PATH}", url.trim_end_matches('/'));
        Ok(Self { agent, url })
    }
}

impl Transport for HttpTransport {
    fn ask(&mut self, body: &str) -> io::Result<(u16, String)> {
        let mut answer = self.agent.post(&self.url).send(body).map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let limited = answer.body_mut().with_config().limit(REQUEST_BYTES_MAX as u64);
        Ok((status, limited.read_to_string().map_err(io::Error::other)?))
    }
}
