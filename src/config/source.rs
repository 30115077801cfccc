//! `[[source]]`: where market data comes from.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// One source.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SourceConfig {
    /// A Databento file, plain or zstd: MBO, MBP-1 or trades.
    Dbn(DbnSourceConfig),
    /// The synthetic market, trading through the embedded venue.
    Synthetic(SyntheticSourceConfig),
}

/// A recorded file, replayed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DbnSourceConfig {
    /// The file.
    pub path: PathBuf,
    /// `1` for the pace of the recording, `N` for N times that, `max` for as fast as possible.
    #[serde(default)]
    pub speed: Speed,
    /// Whether it begins again at its end.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
    /// Waits until this many subscriptions stand before the first record; 0 starts at once.
    #[serde(default)]
    pub wait_for_subscribers: u32,
}

/// A seeded market of makers and takers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticSourceConfig {
    /// Symbols to trade, at most 2,000.
    pub symbols: Vec<String>,
    /// Orders and cancels a second over all symbols; 0 means as fast as possible.
    pub messages_per_second: u32,
    /// Seed of everything it does: the same seed gives the same orders.
    pub seed: u64,
}

impl Default for SyntheticSourceConfig {
    fn default() -> Self {
        Self { symbols: vec!["SEAL".into(), "FEED".into()], messages_per_second: 200, seed: 1 }
    }
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// This many times the pace of its own time stamps; 1 is live. Never 0.
    Times(u32),
    /// As fast as the pipeline takes it.
    Max,
}

impl Default for Speed {
    fn default() -> Self {
        Self::Times(1)
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => {
                text.parse().ok().filter(|times| (1..=1_000_000).contains(times)).map(Self::Times).ok_or_else(
                    || format!("speed must be a whole number from 1 to 1000000 or `max`, not {text:?}"),
                )
            }
        }
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u32),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Number(times) => times.to_string(),
            Form::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}
