//! `[server.proxy]`: load balancers that announce their clients with the PROXY protocol, version 2.

use serde::{Deserialize, Deserializer};

use crate::types::Network;

/// Who may, and must, say for whom a connection is. Takes effect at a restart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Address ranges of the load balancers. A connection from one of them must begin with a PROXY protocol header of version 2; no
    /// other connection is looked at for one. Empty: there are none. A range that names every address is refused.
    #[serde(deserialize_with = "networks")]
    pub from: Vec<Network>,
    /// Milliseconds in which the header must have come, 100 to 60,000.
    pub timeout_ms: u64,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self { from: Vec::new(), timeout_ms: 5_000 }
    }
}

/// A list of address ranges.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let texts: Vec<String> = Vec::deserialize(deserializer)?;
    let parsed = texts.iter().map(|text| text.parse::<Network>());
    // The word in front is what tells `ConfigError::code` that a value is wrong, and not the form of the file.
    parsed
        .map(|one| one.map_err(|error| serde::de::Error::custom(format!("invalid value: {error}"))))
        .collect()
}
