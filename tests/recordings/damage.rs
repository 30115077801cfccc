//! Recordings that are cut off or damaged anywhere: told, never a panic, never half an event, never a changed price under a checksum unreported.

use std::collections::HashMap;
use std::sync::OnceLock;

use proptest::prelude::*;
use sealfeed::config::SourceConfig;
use sealfeed::feed::{Book, Changes};
use sealfeed::source::{SourceError, SourceStatus};
use sealfeed::types::{Code, InstrumentId, MarketEvent, Side};

use crate::data::recorded;
use crate::play;
use crate::replay::{Replay, Sent};

/// The first part of a real recording, small enough to be damaged many times.
fn excerpt(name: &str, lines: usize, symbol: &str) -> Option<Vec<u8>> {
    let text = std::fs::read_to_string(recorded(name)?).unwrap();
    let kept = text.lines().filter(|line| line.contains(symbol) && !line.starts_with("wss")).take(lines);
    Some(kept.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes())
}

fn kraken() -> Option<&'static [u8]> {
    static EXCERPT: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    EXCERPT.get_or_init(|| excerpt("KRAKEN.ws.50.0", 40, "\"XBT/CHF\"")).as_deref()
}

fn okx() -> Option<&'static [u8]> {
    static EXCERPT: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    EXCERPT.get_or_init(|| excerpt("OKX.ws.1.0", 40, "BTC-USD-220527")).as_deref()
}

/// Every whole event in turn, with the ten best levels of the book after it. Nothing may be left over.
fn tops(replay: &Replay) -> Vec<(MarketEvent, Vec<String>)> {
    let mut books: HashMap<InstrumentId, Book> = HashMap::new();
    let mut tops = Vec::new();
    let mut is_open = false;
    for event in replay.events() {
        let book = books.entry(event.instrument).or_default();
        book.apply(&event.kind);
        is_open = !event.last;
        if event.last {
            book.end_event(&mut Changes::default());
            let side =
                |side| book.levels(side).take(10).map(|level| format!("{}x{}", level.price, level.quantity));
            tops.push((*event, side(Side::Sell).chain(side(Side::Buy)).collect()));
        }
    }
    assert!(!is_open, "half an event was sent");
    tops
}

fn is_reported(replay: &Replay) -> bool {
    let is_stale = replay.sent.iter().any(|sent| matches!(sent, Sent::Stale(..)));
    is_stale || matches!(replay.status, SourceStatus::Failed { .. })
}

/// Cuts a recording at every byte of its last lines and at some of all others.
fn check_cuts(exchange: crate::Exchange, bytes: &[u8]) {
    let whole = tops(&play(exchange, bytes).unwrap());
    let ends: Vec<_> = (0..bytes.len()).filter(|index| bytes[*index] == b'\n').collect();
    let from = ends[ends.len() - 4];
    for length in (0..from).step_by(977).chain(from..bytes.len()) {
        // A message without its line's end is whole, too.
        let is_whole = length == 0 || bytes[length - 1] == b'\n' || bytes[length] == b'\n';
        match play(exchange, &bytes[..length]) {
            Ok(replay) => {
                let tops = tops(&replay);
                assert_eq!(tops[..], whole[..tops.len()], "{length} bytes");
                match &replay.status {
                    SourceStatus::Ended { .. } => assert!(is_whole, "{length} bytes"),
                    SourceStatus::Failed { error, .. } => {
                        assert!(
                            !is_whole && error.code() == Code::PubSourceTruncated,
                            "{length} bytes: {error}"
                        );
                    }
                    other => panic!("{other:?}"),
                }
            }
            Err(error) => {
                let is_expected = matches!(error, SourceError::Truncated { .. } | SourceError::Empty);
                assert!(is_expected, "{length} bytes: {error}");
            }
        }
    }
}

#[test]
fn a_recording_of_messages_cut_anywhere_plays_its_whole_lines_and_tells_of_the_cut() {
    let (Some(kraken), Some(okx)) = (kraken(), okx()) else { return };
    check_cuts(SourceConfig::Kraken, kraken);
    check_cuts(SourceConfig::Okx, okx);
}

#[test]
fn a_compressed_recording_that_is_cut_off_says_so() {
    let Some(bytes) = kraken() else { return };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, bytes).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(bytes, 1).unwrap();
    let whole = tops(&play(SourceConfig::Kraken, bytes).unwrap());
    for compressed in [gzip, zstd] {
        let replay = play(SourceConfig::Kraken, &compressed).unwrap();
        assert_eq!(tops(&replay), whole);
        for length in (1..compressed.len()).step_by(compressed.len() / 40) {
            match play(SourceConfig::Kraken, &compressed[..length]) {
                Ok(replay) => assert!(is_reported(&replay), "{length} bytes"),
                Err(
                    SourceError::Truncated { .. } | SourceError::Unusable { .. } | SourceError::Open { .. },
                ) => {}
                Err(other) => panic!("{length} bytes: {other:?}"),
            }
        }
    }
}

/// Flips bits of a recording whose updates carry a checksum: as long as nothing was reported, what stands at the top is what stood there.
fn check_flips(exchange: crate::Exchange, bytes: &[u8], first: usize, flips: &[(prop::sample::Index, u8)]) {
    let whole = tops(&play(exchange, bytes).unwrap());
    let mut damaged = bytes.to_vec();
    for (index, bit) in flips {
        // The snapshot of Kraken has no checksum: its damage shows with the first update, which is then refused.
        let index = first + index.index(bytes.len() - first);
        damaged[index] ^= 1 << (bit % 8);
    }
    let Ok(replay) = play(exchange, &damaged) else { return };
    let found = tops(&replay);
    if is_reported(&replay) {
        return;
    }
    let by_time: HashMap<_, _> = whole.iter().map(|(event, top)| (event.ts_recv, top)).collect();
    for (event, top) in &found {
        // A damaged time of receipt is not under the checksum; the book at it still is one of the exchange's.
        let same = by_time.get(&event.ts_recv).is_some_and(|expected| *expected == top);
        assert!(same || whole.iter().any(|(_, expected)| expected == top), "a changed price: {top:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_bits_under_a_checksum_never_show_an_unreported_price(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        if let Some(bytes) = kraken() {
            let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            check_flips(SourceConfig::Kraken, bytes, first, &flips);
        }
        if let Some(bytes) = okx() {
            let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            check_flips(SourceConfig::Okx, bytes, first, &flips);
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_or_other_data_but_never_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let exchanges: [crate::Exchange; 4] =
            [SourceConfig::Kraken, SourceConfig::Okx, SourceConfig::Binance, SourceConfig::Coinbase];
        for bytes in [kraken(), okx()].into_iter().flatten() {
            let mut bytes = bytes.to_vec();
            for (index, byte) in &damage {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            for exchange in exchanges {
                if let Ok(replay) = play(exchange, &bytes) {
                    tops(&replay);
                }
            }
        }
    }
}
