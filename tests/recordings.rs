//! Recordings of exchanges' own protocols, replayed through the source as the server runs it: those that exchanges made, and those made here.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/data.rs"]
mod data;
#[path = "support/replay.rs"]
mod replay;

#[path = "recordings/damage.rs"]
mod damage;
#[path = "recordings/dbn.rs"]
mod dbn;
#[path = "recordings/itch.rs"]
mod itch;
#[path = "recordings/mbo.rs"]
mod mbo;
#[path = "recordings/rules.rs"]
mod rules;
#[path = "recordings/venues.rs"]
mod venues;

use std::io::Write;
use std::path::Path;

use sealfeed::config::{MessagesSourceConfig, SourceConfig, Speed};
use tempfile::NamedTempFile;

/// A recording of messages, as fast as possible.
fn messages(path: &Path) -> MessagesSourceConfig {
    MessagesSourceConfig { speed: Speed::Max, ..MessagesSourceConfig::new(path.to_owned()) }
}

/// A file of these bytes.
fn file_of(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Which exchange wrote a recording.
type Exchange = fn(MessagesSourceConfig) -> SourceConfig;

/// Plays these lines as messages of an exchange.
fn play(exchange: Exchange, lines: &[u8]) -> Result<replay::Replay, sealfeed::source::SourceError> {
    replay::Replay::of(&exchange(messages(file_of(lines).path())))
}
