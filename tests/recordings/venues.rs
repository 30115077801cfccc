//! What exchanges recorded: every one of their own checksums and best prices agrees with our book.

use std::collections::HashMap;

use sealfeed::config::{InstrumentConfig, SourceConfig};
use sealfeed::feed::{Book, Changes};
use sealfeed::types::{
    BookDecimals, Decimals, InstrumentId, MarketDepth, MarketEvent, MarketEventKind, Price, Quantity, Side,
    Symbol,
};
use serde_json::Value;

use crate::data::recorded;
use crate::messages;
use crate::replay::Replay;

const KRAKEN: &str = "KRAKEN.ws.50.0";
const OKX: &str = "OKX.ws.1.0";
const COINBASE: &str = "COINBASE.ws.28.0";
const BINANCE_SPOT: &str = "binance_spot_btcusdt_20240808.gz";
const BINANCE_USDM: &str = "binance_usdm_btcusdt_20240808.gz";

/// The feed's books of a recording, event by event.
struct Books {
    events: std::vec::IntoIter<MarketEvent>,
    books: HashMap<InstrumentId, Book>,
}

impl Books {
    fn of(replay: &Replay) -> Self {
        let events: Vec<_> = replay.events().copied().collect();
        Self { events: events.into_iter(), books: HashMap::new() }
    }

    /// Applies the next whole event that is received at this time, if there is one left.
    fn advance(&mut self, id: InstrumentId, received_ns: u64) -> &Book {
        let ahead = self.events.as_slice().first();
        if ahead.is_some_and(|event| event.instrument == id && event.ts_recv.0 == received_ns) {
            for event in self.events.by_ref() {
                let book = self.books.entry(event.instrument).or_default();
                book.apply(&event.kind);
                if event.last {
                    book.end_event(&mut Changes::default());
                    break;
                }
            }
        }
        self.books.entry(id).or_default()
    }
}

/// A line of a recording by cryptofeed: nanoseconds and message.
fn parse(line: &str) -> Option<(u64, Value)> {
    let (time, text) = line.split_once(": ").filter(|_| !line.starts_with("wss"))?;
    let (seconds, fraction) = time.split_once('.')?;
    let nanos = format!("{seconds}{fraction:0<9}");
    Some((nanos.parse().unwrap(), serde_json::from_str(text).unwrap()))
}

fn places(text: &Value) -> Decimals {
    let fraction = text.as_str().unwrap().split_once('.').map_or(0, |(_, fraction)| fraction.len());
    Decimals::new(u8::try_from(fraction).unwrap()).unwrap()
}

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

/// Kraken's rule, from the numbers of our book and the zeros that Kraken writes them with.
fn kraken_checksum(book: &Book, decimals: BookDecimals) -> u32 {
    let mut text = String::new();
    for level in book.levels(Side::Sell).take(10).chain(book.levels(Side::Buy).take(10)) {
        for number in [
            text_of(|out| level.price.write(out, decimals.price)),
            text_of(|out| level.quantity.write(out, decimals.quantity)),
        ] {
            text.push_str(number.replace('.', "").trim_start_matches('0'));
        }
    }
    crc32fast::hash(text.as_bytes())
}

#[test]
fn all_4269_checksums_of_kraken_agree() {
    let Some(path) = recorded(KRAKEN) else { return };
    let replay = Replay::of(&SourceConfig::Kraken(messages(&path))).unwrap();
    let counts = replay.ended();
    assert_eq!((counts.levels, counts.checksums, counts.faults, counts.left_out), (4_279, 4_269, 0, 0));
    assert_eq!(replay.instruments.count(), 10);

    // And again from what was handed on, into the feed's book.
    let mut books = Books::of(&replay);
    let mut decimals: HashMap<String, BookDecimals> = HashMap::new();
    let mut agreed = 0;
    for (received_ns, message) in std::fs::read_to_string(&path).unwrap().lines().filter_map(parse) {
        let Some(parts) = message.as_array() else { continue };
        let symbol = parts.last().unwrap().as_str().unwrap();
        let id = replay.instruments.by_symbol(symbol).unwrap().id;
        let book = books.advance(id, received_ns);
        if let Some(first) = parts[1]["as"].get(0) {
            decimals.insert(
                symbol.into(),
                BookDecimals { price: places(&first[0]), quantity: places(&first[1]) },
            );
        }
        let expected = parts.iter().find_map(|part| part["c"].as_str());
        if let Some(expected) = expected {
            assert_eq!(
                kraken_checksum(book, decimals[symbol]).to_string(),
                expected,
                "{symbol} at {received_ns}"
            );
            assert!(book.levels(Side::Buy).count() <= 1_000 && book.levels(Side::Sell).count() <= 1_000);
            agreed += 1;
        }
    }
    assert_eq!((agreed, books.events.len()), (4_269, 0), "every event was used");
}

#[test]
fn all_290_checksums_of_okx_agree() {
    let Some(path) = recorded(OKX) else { return };
    let replay = Replay::of(&SourceConfig::Okx(messages(&path))).unwrap();
    let counts = replay.ended();
    assert_eq!((counts.levels, counts.checksums, counts.faults, counts.left_out), (290, 290, 0, 0));
    let symbols: Vec<_> = replay.instruments.iter().map(|one| one.symbol.to_string()).collect();
    assert_eq!(symbols, ["BTC-USD-220527", "BTC-USDT", "UNI-USD-SWAP"]);

    let mut books = Books::of(&replay);
    let mut agreed = 0;
    for (received_ns, message) in std::fs::read_to_string(&path).unwrap().lines().filter_map(parse) {
        let symbol = message["arg"]["instId"].as_str().unwrap_or_default();
        let (true, Some(one)) = (message["data"].is_array(), replay.instruments.by_symbol(symbol)) else {
            continue;
        };
        let book = books.advance(one.id, received_ns);
        if message["arg"]["channel"] != "books" {
            continue;
        }
        let (mut bids, mut asks) = (book.levels(Side::Buy), book.levels(Side::Sell));
        let levels = (0..25).flat_map(|_| [bids.next(), asks.next()]).flatten();
        // OKX writes no zeros that a number does not need.
        let texts: Vec<_> = levels.map(|level| format!("{}:{}", level.price, level.quantity)).collect();
        let computed = crc32fast::hash(texts.join(":").as_bytes()).cast_signed();
        assert_eq!(
            i64::from(computed),
            message["data"][0]["checksum"].as_i64().unwrap(),
            "{symbol} at {received_ns}"
        );
        agreed += 1;
    }
    assert_eq!((agreed, books.events.len()), (290, 0));
}

/// Best bid and offer of a book.
fn best(book: &Book) -> Option<[(Price, Quantity); 2]> {
    let side = |side| book.best(side).map(|level| (level.price, level.quantity));
    Some([side(Side::Buy)?, side(Side::Sell)?])
}

/// After each depth event, the book's best prices are those of the last bookTicker that is not ahead of it. Returns how many agreed and
/// how many did not.
fn compare_tops(replay: &Replay, path: &std::path::Path) -> (u64, u64) {
    let text = {
        let mut text = String::new();
        let mut file = flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap());
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        text
    };
    let id = replay.instruments.by_symbol("BTCUSDT").unwrap().id;
    let (mut books, mut tops) = (Books::of(replay), Vec::new());
    let (mut agreed, mut differing, mut is_whole) = (0, 0, false);
    for line in text.lines() {
        let (received, message) = line.split_once(' ').unwrap();
        let received_ns: u64 = received.parse().unwrap();
        let message: Value = serde_json::from_str(message).unwrap();
        let data = &message["data"];
        let number = |name: &str| data[name].as_str().unwrap();
        match message["stream"].as_str().and_then(|stream| stream.split('@').nth(1)) {
            Some("bookTicker") => {
                let side = |price: &str, quantity: &str| {
                    (Price::parse(number(price)).unwrap(), Quantity::parse(number(quantity)).unwrap())
                };
                tops.push((data["u"].as_u64().unwrap(), [side("b", "B"), side("a", "A")]));
            }
            Some("depth") => {
                let book = books.advance(id, received_ns);
                let update = data["u"].as_u64().unwrap();
                if let (true, Some((_, top))) =
                    (is_whole, tops.iter().rev().find(|(number, _)| *number <= update))
                {
                    if best(book) == Some(*top) { agreed += 1 } else { differing += 1 }
                }
            }
            Some("trade") => drop(books.advance(id, received_ns)),
            _ => {
                // The snapshot, and the updates that waited for it.
                while books.events.as_slice().first().is_some_and(|event| event.ts_recv.0 == received_ns) {
                    books.advance(id, received_ns);
                }
                is_whole = true;
            }
        }
    }
    (agreed, differing)
}

#[test]
fn the_book_of_binance_spot_has_the_best_prices_after_all_3448_depth_events() {
    let Some(path) = recorded(BINANCE_SPOT) else { return };
    let replay = Replay::of(&SourceConfig::Binance(messages(&path))).unwrap();
    let counts = replay.ended();
    // One of the three events in front of the snapshot reaches beyond it.
    assert_eq!((counts.levels, counts.left_out, counts.faults), (3_452, 3, 0));
    assert_eq!((counts.trades, counts.tops_equal, counts.tops_differing), (9_757, 3_449, 0));
    let one = replay.instruments.by_symbol("BTCUSDT").unwrap();
    assert_eq!((one.decimals.price.get(), one.depth), (2, MarketDepth::Levels));
    assert_eq!(compare_tops(&replay, &path), (3_448, 0));
}

/// Of a futures book, `bookTicker` is another stream with other moments: it need not agree, and makes nothing stale.
#[test]
fn the_updates_of_binance_futures_follow_each_other_without_a_gap() {
    let Some(path) = recorded(BINANCE_USDM) else { return };
    let replay = Replay::of(&SourceConfig::Binance(messages(&path))).unwrap();
    let counts = replay.ended();
    assert_eq!((counts.levels, counts.left_out, counts.faults), (6_552, 6, 0));
    assert_eq!((counts.tops_equal, counts.tops_differing), (6_317, 230));
    let (agreed, differing) = compare_tops(&replay, &path);
    assert!(agreed > 6_300 && agreed + differing >= 6_545, "{agreed} {differing}");
}

#[test]
fn coinbase_plays_to_its_end_and_no_book_is_crossed() {
    let Some(path) = recorded(COINBASE) else { return };
    let replay = Replay::of(&SourceConfig::Coinbase(messages(&path))).unwrap();
    let counts = replay.ended();
    assert_eq!((counts.faults, counts.left_out), (0, 0));
    assert!(counts.levels > 9_000 && counts.trades > 0, "{counts:?}");
    let mut books: HashMap<InstrumentId, Book> = HashMap::new();
    for event in replay.events() {
        let book = books.entry(event.instrument).or_default();
        book.apply(&event.kind);
        if let (true, Some([bid, ask])) = (event.last, best(book)) {
            assert!(bid.0 < ask.0, "crossed at {}: {bid:?} {ask:?}", event.ts_event);
        }
    }
    assert_eq!(books.len(), 10);
}

#[test]
fn only_what_is_configured_is_published_under_the_configured_name() {
    let Some(path) = recorded(KRAKEN) else { return };
    let symbol = |text: &str| Symbol::new(text).unwrap();
    let mut config = messages(&path);
    config.symbols = vec![symbol("XBT/CHF"), symbol("XMR/USD")];
    let settings = InstrumentConfig {
        symbol: Some(symbol("XBT-CHF.K")),
        price_decimals: Decimals::new(5),
        qty_decimals: None,
    };
    config.instruments = [(symbol("XBT/CHF"), settings)].into();
    let replay = Replay::of(&SourceConfig::Kraken(config.clone())).unwrap();
    let named: Vec<_> =
        replay.instruments.iter().map(|one| (one.symbol.to_string(), one.decimals.price.get())).collect();
    assert_eq!(named, [("XBT-CHF.K".to_owned(), 5), ("XMR/USD".to_owned(), 2)]);
    assert_eq!(replay.instruments.by_symbol("XMR/USD").unwrap().tick, Price::parse("0.01").unwrap());

    config.instruments = [(
        symbol("XBT/CHF"),
        InstrumentConfig { price_decimals: Decimals::new(0), ..InstrumentConfig::default() },
    )]
    .into();
    let replay = Replay::of(&SourceConfig::Kraken(config.clone())).unwrap();
    let status = format!("{:?}", replay.status);
    assert!(status.contains("TooFine") && status.contains("price"), "nothing is ever rounded: {status}");

    config.symbols.push(symbol("NO/SUCH"));
    let refusal = Replay::of(&SourceConfig::Kraken(config)).err().unwrap().to_string();
    assert_eq!(refusal, "the file has nothing of NO/SUCH");
}

#[test]
fn trades_name_the_aggressor() {
    let Some(path) = recorded(OKX) else { return };
    let replay = Replay::of(&SourceConfig::Okx(messages(&path))).unwrap();
    let trades: Vec<_> =
        replay.events().filter(|event| matches!(event.kind, MarketEventKind::Trade { .. })).collect();
    assert_eq!(trades.len() as u64, replay.ended().trades);
    let first = MarketEventKind::Trade {
        price: Price::parse("30218.8").unwrap(),
        quantity: Quantity::parse("1").unwrap(),
        aggressor: Some(Side::Buy),
        trade_id: 7_849,
    };
    assert_eq!((trades[0].kind, trades[0].ts_event.0), (first, 1_652_459_199_958_000_000));
}
