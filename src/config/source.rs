//! `[[source]]`: where market data comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::types::{Decimals, Price, Quantity, Symbol};

/// One source.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SourceConfig {
    /// A Databento file, plain or zstd: MBO, MBP-1 or trades.
    Dbn(DbnSourceConfig),
    /// Kraken's WebSocket messages (version 1: book, trade), as recorded.
    Kraken(MessagesSourceConfig),
    /// OKX's WebSocket messages (version 5: books, trades), as recorded.
    Okx(MessagesSourceConfig),
    /// Binance's streams (spot and USD-M futures: depth, bookTicker, trade) and its snapshot, as recorded.
    Binance(MessagesSourceConfig),
    /// Coinbase's WebSocket messages (level2, matches), as recorded.
    Coinbase(MessagesSourceConfig),
    /// A file of Nasdaq TotalView-ITCH 5.0.
    Itch(ItchSourceConfig),
    /// The synthetic market, trading through the embedded venue.
    Synthetic(SyntheticSourceConfig),
    /// A client that publishes market data.
    Publisher(PublisherSourceConfig),
}

/// A client that publishes market data of its own instruments with the op `publish`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublisherSourceConfig {
    /// Who: `firm/user`, as `whoami` prints it. Its entitlement must grant `publish`, too.
    pub principal: String,
    /// Its instruments.
    #[serde(rename = "instrument")]
    pub instruments: Vec<PublishedInstrumentConfig>,
    /// Silence in an instrument after which it is stale, milliseconds; 0: never.
    #[serde(default)]
    pub stall_ms: u64,
}

/// One instrument of a publisher.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedInstrumentConfig {
    /// Its symbol.
    pub symbol: Symbol,
    /// What is published of it.
    pub shows: Shows,
    /// Decimals of its prices.
    pub price_decimals: Decimals,
    /// Decimals of its quantities.
    pub qty_decimals: Decimals,
}

/// What a publisher shows of an instrument, besides trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shows {
    /// The book: `snapshot` and `delta`.
    Book,
    /// The best prices: `bbo`.
    Bbo,
    /// Nothing else: `trade`.
    Trades,
}

impl SourceConfig {
    /// The file that it reads, if it reads one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Dbn(config) => Some(&config.path),
            Self::Kraken(config) | Self::Okx(config) | Self::Binance(config) | Self::Coinbase(config) => {
                Some(&config.path)
            }
            Self::Itch(config) => Some(&config.path),
            Self::Synthetic(_) | Self::Publisher(_) => None,
        }
    }

    pub(super) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Dbn(config) => Some(&mut config.path),
            Self::Kraken(config) | Self::Okx(config) | Self::Binance(config) | Self::Coinbase(config) => {
                Some(&mut config.path)
            }
            Self::Itch(config) => Some(&mut config.path),
            Self::Synthetic(_) | Self::Publisher(_) => None,
        }
    }
}

/// How any recording is replayed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Playback {
    /// Its pace.
    pub speed: Speed,
    /// Whether it begins again at its end.
    pub repeat: bool,
    /// Subscriptions that must stand before the first record; 0 starts at once.
    pub wait_for_subscribers: u32,
    /// Silence after which its instruments are stale, milliseconds of the replay; 0: never.
    pub stall_ms: u64,
}

/// Gives a configuration of a recording its defaults and its [`Playback`].
macro_rules! playback {
    ($config:ident { $($field:ident),* }) => {
        impl $config {
            /// The file at `path`, everything else at its default.
            #[must_use]
            pub fn new(path: PathBuf) -> Self {
                Self {
                    path,
                    $($field: Default::default(),)*
                    speed: Speed::default(),
                    repeat: false,
                    wait_for_subscribers: 0,
                    stall_ms: 0,
                    paper: false,
                }
            }

            /// How it is replayed.
            #[must_use]
            pub fn playback(&self) -> Playback {
                let Self { speed, repeat, wait_for_subscribers, stall_ms, .. } = *self;
                Playback { speed, repeat, wait_for_subscribers, stall_ms }
            }
        }
    };
}

playback!(DbnSourceConfig {});
playback!(MessagesSourceConfig { symbols, instruments });
playback!(ItchSourceConfig { symbols, midnight });

/// Recorded WebSocket messages of an exchange, a line each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessagesSourceConfig {
    /// The file: plain, gzip or zstd.
    pub path: PathBuf,
    /// What of it is published, by the exchange's names; everything when empty.
    #[serde(default)]
    pub symbols: Vec<Symbol>,
    /// What the file does not say, or says otherwise than wanted, by the exchange's names.
    #[serde(default)]
    pub instruments: BTreeMap<Symbol, InstrumentConfig>,
    /// As in a DBN source.
    #[serde(default)]
    pub speed: Speed,
    /// As in a DBN source.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
    /// As in a DBN source.
    #[serde(default)]
    pub wait_for_subscribers: u32,
    /// As in a DBN source.
    #[serde(default)]
    pub stall_ms: u64,
    /// As in a DBN source.
    #[serde(default)]
    pub paper: bool,
}

/// One instrument of a recording of messages.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstrumentConfig {
    /// Its symbol on our wire; the exchange's name when absent.
    pub symbol: Option<Symbol>,
    /// Decimals of its prices; found in the file when absent.
    pub price_decimals: Option<Decimals>,
    /// Decimals of its quantities; found in the file when absent.
    pub qty_decimals: Option<Decimals>,
}

/// A file of TotalView-ITCH 5.0 messages, each with its length in front.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItchSourceConfig {
    /// The file: plain, gzip or zstd.
    pub path: PathBuf,
    /// What of it is published; everything when empty.
    #[serde(default)]
    pub symbols: Vec<Symbol>,
    /// Midnight in New York of the day of the file, such as `2019-12-30T00:00:00-05:00`: its times count from there.
    pub midnight: Midnight,
    /// As in a DBN source.
    #[serde(default)]
    pub speed: Speed,
    /// As in a DBN source.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
    /// As in a DBN source.
    #[serde(default)]
    pub wait_for_subscribers: u32,
    /// As in a DBN source.
    #[serde(default)]
    pub stall_ms: u64,
    /// As in a DBN source.
    #[serde(default)]
    pub paper: bool,
}

/// The beginning of a day somewhere, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Midnight(pub u64);

impl FromStr for Midnight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let format = &time::format_description::well_known::Rfc3339;
        time::OffsetDateTime::parse(text, format)
            .ok()
            .filter(|moment| moment.time() == time::Time::MIDNIGHT)
            .and_then(|moment| u64::try_from(moment.unix_timestamp_nanos()).ok())
            .map(Self)
            .ok_or_else(|| format!("midnight must be like `2019-12-30T00:00:00-05:00`, not {text:?}"))
    }
}

impl<'de> Deserialize<'de> for Midnight {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
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
    /// Silence after which its instruments are stale, milliseconds of the replay; 0: never.
    #[serde(default)]
    pub stall_ms: u64,
    /// Whether clients may order in its instruments on paper (`docs/PAPER.md`).
    #[serde(default)]
    pub paper: bool,
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
    /// Smallest price step of its symbols, 0.000000001 to 1000: they trade at some 2,000 to 55,000 steps.
    pub tick: Price,
    /// Smallest quantity step of its symbols, 0.000000001 to 1000000.
    pub lot: Quantity,
    /// Lowest and highest price that an order in its symbols may have, both multiples of the tick; none by default. Its own members
    /// need 1,700 to 55,100 ticks.
    pub band: Option<(Price, Price)>,
}

impl Default for SyntheticSourceConfig {
    fn default() -> Self {
        Self {
            symbols: vec!["SEAL".into(), "FEED".into()],
            messages_per_second: 200,
            seed: 1,
            tick: Price::from_nanos(10_000_000),
            lot: Quantity::from_nanos(1_000_000_000),
            band: None,
        }
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
