//! Recordings of exchanges: DBN, ITCH 5.0 and JSON messages, through a file, as the server reads them.

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sealfeed::config::{
    DbnSourceConfig, InstrumentConfig, ItchSourceConfig, MessagesSourceConfig, Midnight, SourceConfig,
};
use sealfeed::source::fuzzing::read;
use sealfeed::telemetry::chain;
use sealfeed_wire::{Decimals, Symbol};
use tempfile::NamedTempFile;

/// First bytes of gzip and zstd: what they decompress to is bounded by time alone, and they are not ours.
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];

thread_local! {
    static FILE: RefCell<Option<NamedTempFile>> = const { RefCell::new(None) };
}

/// Gives the bytes as a file.
fn with_file(bytes: &[u8], then: impl FnOnce(PathBuf)) {
    if COMPRESSED.iter().any(|magic| bytes.starts_with(magic)) {
        return;
    }
    let memory = Path::new("/dev/shm");
    let make = || if memory.is_dir() { NamedTempFile::new_in(memory) } else { NamedTempFile::new() };
    FILE.with_borrow_mut(|kept| {
        let mut file = match kept.take() {
            Some(file) => file,
            None => make().unwrap_or_else(|error| panic!("no file can be made: {error}")),
        };
        let written = file
            .as_file()
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(bytes));
        written.unwrap_or_else(|error| panic!("the file cannot be written: {error}"));
        then(file.path().to_owned());
        *kept = Some(file);
    });
}

/// Reads a recording to its end, and looks at what comes out.
fn check(config: &SourceConfig) {
    let mut events = 0_usize;
    let outcome = read(config, |instruments, batch| {
        events += batch.len();
        for event in batch {
            assert!(instruments.by_id(event.instrument).is_some(), "an event of nothing that is listed");
        }
    });
    if let Err(error) = outcome {
        assert!(!chain(&error).chars().any(char::is_control), "control characters: {:?}", chain(&error));
    }
}

pub(crate) fn dbn(bytes: &[u8]) {
    with_file(bytes, |path| check(&SourceConfig::Dbn(DbnSourceConfig::new(path))));
}

pub(crate) fn itch(bytes: &[u8]) {
    with_file(bytes, |path| {
        let midnight = Midnight(1_577_682_000_000_000_000);
        check(&SourceConfig::Itch(ItchSourceConfig { midnight, ..ItchSourceConfig::new(path) }));
    });
}

/// The first byte says whose messages these are.
pub(crate) fn messages(bytes: &[u8]) {
    let Some((exchange, lines)) = bytes.split_first() else { return };
    let (Ok(symbol), Some(decimals)) = (Symbol::new("BTCUSDT"), Decimals::new(8)) else { return };
    let one = InstrumentConfig { symbol: None, price_decimals: Some(decimals), qty_decimals: Some(decimals) };
    with_file(lines, |path| {
        let mut config = MessagesSourceConfig::new(path);
        if exchange & 4 != 0 {
            config.instruments.insert(symbol, one);
        }
        check(&match exchange % 4 {
            0 => SourceConfig::Kraken(config),
            1 => SourceConfig::Okx(config),
            2 => SourceConfig::Binance(config),
            _ => SourceConfig::Coinbase(config),
        });
    });
}
