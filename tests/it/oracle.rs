//! The simplest reader of streams, written from the protocol's text alone: an oracle that shares no code with the server
//! or the SDK, its CRC32 included.
//!
//! It fails the test as soon as a message does not continue what it has: a gap, another epoch, a level that was not
//! there, a book that is too deep, a checksum that does not fit, too many deltas without one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Follows the sequence of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    epoch: String,
    /// Position of the last message.
    pub(crate) seq: u64,
    /// Messages that continued it.
    pub(crate) messages: u64,
}

impl Chain {
    /// Starts where a `subscribed` reply, or a message that stands for the present state, says.
    pub(crate) fn at(stream: &Value) -> Self {
        Self { epoch: text(&stream["epoch"]), seq: stream["seq"].as_u64().unwrap(), messages: 0 }
    }

    /// Takes a data message; it must be the next one.
    pub(crate) fn follow(&mut self, message: &Value) {
        assert_eq!(message["epoch"], self.epoch.as_str(), "another epoch: {message}");
        assert_eq!(message["prev_seq"].as_u64(), Some(self.seq), "a gap in the stream: {message}");
        assert_eq!(message["seq"].as_u64(), Some(self.seq + 1), "a gap in the stream: {message}");
        self.seq += 1;
        self.messages += 1;
    }

    /// Takes a `heartbeat` or `stale`: nothing may be missing.
    pub(crate) fn beat(&self, message: &Value) {
        assert_eq!(message["epoch"], self.epoch.as_str(), "another epoch: {message}");
        assert_eq!(message["seq"].as_u64(), Some(self.seq), "something is missing: {message}");
    }
}

/// One price level, as the wire wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) price: String,
    pub(crate) quantity: String,
    pub(crate) orders: u64,
}

/// A book, followed from its snapshot.
#[derive(Clone, Debug)]
pub(crate) struct NaiveBook {
    pub(crate) chain: Chain,
    levels_max: usize,
    pub(crate) checksums: u64,
    unchecked: u64,
    /// By price, in units of its last decimal.
    bids: BTreeMap<i64, Line>,
    asks: BTreeMap<i64, Line>,
}

impl NaiveBook {
    /// From a snapshot; `depth` as in the request, 0 is the full book.
    pub(crate) fn new(depth: usize, snapshot: &Value) -> Self {
        assert_eq!(snapshot["type"], "snapshot", "a book begins with a snapshot: {snapshot}");
        assert!(snapshot["prev_seq"].is_null(), "a snapshot has no predecessor: {snapshot}");
        let mut book = Self {
            chain: Chain::at(snapshot),
            levels_max: if depth == 0 { usize::MAX } else { depth },
            checksums: 0,
            unchecked: 0,
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
        };
        for side in ["bids", "asks"] {
            let levels = snapshot[side].as_array().unwrap();
            assert!(levels.len() <= book.levels_max, "deeper than asked for");
            assert!(levels.iter().all(|level| level[1] != "0"), "an empty level in a snapshot");
            book.take(side, levels);
        }
        book.check(snapshot);
        assert_eq!(book.checksums, 1, "every snapshot carries a checksum");
        book
    }

    /// Applies a delta: all of it, then truncates, then checks.
    pub(crate) fn apply(&mut self, delta: &Value) {
        assert_eq!(delta["type"], "delta", "a book goes on with deltas: {delta}");
        self.chain.follow(delta);
        let (bids, asks) = (delta["bids"].as_array().unwrap(), delta["asks"].as_array().unwrap());
        assert!(!bids.is_empty() || !asks.is_empty(), "a delta that says nothing: {delta}");
        self.take("bids", bids);
        self.take("asks", asks);
        while self.bids.len() > self.levels_max {
            self.bids.pop_first();
        }
        while self.asks.len() > self.levels_max {
            self.asks.pop_last();
        }
        self.unchecked += 1;
        self.check(delta);
        assert!(self.unchecked < 100, "every 100th delta at least carries a checksum");
    }

    /// Bids, best first.
    pub(crate) fn bids(&self) -> Vec<Line> {
        self.bids.values().rev().cloned().collect()
    }

    /// Asks, best first.
    pub(crate) fn asks(&self) -> Vec<Line> {
        self.asks.values().cloned().collect()
    }

    /// The best levels of both sides.
    pub(crate) fn top(&self, levels: usize) -> (Vec<&Line>, Vec<&Line>) {
        (self.bids.values().rev().take(levels).collect(), self.asks.values().take(levels).collect())
    }

    /// Both sides, to compare.
    pub(crate) fn levels(&self) -> (Vec<Line>, Vec<Line>) {
        (self.bids(), self.asks())
    }

    /// What rests at a price of one side; `None` if nothing does.
    pub(crate) fn at(&self, side: &str, price: &str) -> Option<Line> {
        let levels = if side == "bids" { &self.bids } else { &self.asks };
        levels.values().find(|level| level.price == price).cloned()
    }

    fn take(&mut self, side: &str, levels: &[Value]) {
        let held = if side == "bids" { &mut self.bids } else { &mut self.asks };
        for level in levels {
            let line = Line {
                price: text(&level[0]),
                quantity: text(&level[1]),
                orders: level[2].as_u64().unwrap(),
            };
            let before = if digits(&line.quantity).is_empty() {
                let before = held.remove(&units(&line.price));
                assert!(before.is_some(), "a level is removed that was not there: {line:?}");
                continue;
            } else {
                held.insert(units(&line.price), line.clone())
            };
            assert_ne!(before, Some(line), "a level that did not change is sent");
        }
    }

    fn check(&mut self, message: &Value) {
        let Some(expected) = message["checksum"].as_u64() else { return };
        let mut text = String::new();
        for line in self.asks.values().take(10).chain(self.bids.values().rev().take(10)) {
            text.push_str(&digits(&line.price));
            text.push_str(&digits(&line.quantity));
        }
        assert_eq!(u64::from(crc32(text.as_bytes())), expected, "the books differ at {}", self.chain.seq);
        self.checksums += 1;
        self.unchecked = 0;
    }
}

/// All streams of one connection, each followed from its `subscribed` reply.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Books by symbol; `None` between the reply and the snapshot. With the depth that was granted.
    books: BTreeMap<String, (usize, Option<NaiveBook>)>,
    /// Everything else, by channel and symbol; `None` before the first `bbo`.
    chains: BTreeMap<(String, String), Option<Chain>>,
    /// Streams that ended: channel and symbol.
    ended: BTreeSet<(String, String)>,
    /// Streams whose source has ended or stalled since their last message.
    pub(crate) stale: BTreeSet<(String, String)>,
}

impl Streams {
    /// Takes any message of the server, in the order of arrival, and checks what it says of a stream.
    pub(crate) fn take(&mut self, message: &Value) {
        match message["type"].as_str().unwrap() {
            "subscribed" => self.subscribed(message),
            "snapshot" => {
                let (depth, book) = self.books.get_mut(&text(&message["symbol"])).expect("a book asked for");
                assert!(book.is_none(), "a snapshot nobody asked for");
                *book = Some(NaiveBook::new(*depth, message));
            }
            "delta" => self.book_mut(message).apply(message),
            "bbo" | "trade" | "exec" => self.advance(message),
            "heartbeat" => self.chain(message).beat(message),
            "stale" => {
                self.chain(message).beat(message);
                self.stale.insert(key(message));
            }
            other => assert!(!matches!(other, "gap" | "skipped" | "slow"), "{message}"),
        }
    }

    /// From here on, nothing of this stream may come.
    pub(crate) fn unsubscribed(&mut self, channel: &str, symbol: &str) {
        let key = (channel.to_owned(), symbol.to_owned());
        self.books.remove(symbol).map(drop).or_else(|| self.chains.remove(&key).map(drop)).unwrap();
        self.ended.insert(key);
    }

    /// The book of a symbol.
    pub(crate) fn book(&self, symbol: &str) -> &NaiveBook {
        self.books[symbol].1.as_ref().expect("the snapshot has come")
    }

    /// Whether the book of a symbol has come.
    pub(crate) fn has_book(&self, symbol: &str) -> bool {
        self.books.get(symbol).is_some_and(|(_, book)| book.is_some())
    }

    /// Any other stream.
    pub(crate) fn of(&self, channel: &str, symbol: &str) -> &Chain {
        self.chains[&(channel.to_owned(), symbol.to_owned())].as_ref().expect("its state has come")
    }

    fn subscribed(&mut self, reply: &Value) {
        assert_eq!(reply["refused"], serde_json::json!({}), "{reply}");
        let channel = text(&reply["channel"]);
        for (symbol, stream) in reply["symbols"].as_object().unwrap() {
            let key = (channel.clone(), symbol.clone());
            self.ended.remove(&key);
            match channel.as_str() {
                "book" => {
                    let depth = usize::try_from(reply["depth"].as_u64().unwrap()).unwrap();
                    self.books.insert(symbol.clone(), (depth, None));
                }
                "bbo" => drop(self.chains.insert(key, None)),
                _ => drop(self.chains.insert(key, Some(Chain::at(stream)))),
            }
        }
    }

    fn advance(&mut self, message: &Value) {
        let mut key = key(message);
        assert!(!self.ended.contains(&key), "a stream that was ended goes on: {message}");
        self.stale.remove(&key);
        if key.0 == "orders" {
            key.1 = "*".to_owned();
        }
        match self.chains.get_mut(&key) {
            Some(Some(chain)) => chain.follow(message),
            Some(first) => {
                assert!(message["prev_seq"].is_null(), "the present state comes first: {message}");
                *first = Some(Chain::at(message));
            }
            None => panic!("nobody asked for this stream: {message}"),
        }
    }

    fn book_mut(&mut self, message: &Value) -> &mut NaiveBook {
        self.stale.remove(&key(message));
        let book = self.books.get_mut(message["symbol"].as_str().unwrap());
        book.and_then(|(_, book)| book.as_mut()).unwrap_or_else(|| panic!("no snapshot before {message}"))
    }

    fn chain(&self, message: &Value) -> &Chain {
        let (channel, symbol) = key(message);
        if channel == "book" { &self.book(&symbol).chain } else { self.of(&channel, &symbol) }
    }
}

fn key(message: &Value) -> (String, String) {
    (text(&message["channel"]), text(&message["symbol"]))
}

/// A JSON text's content.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// A price in units of its last decimal. All prices of an instrument have as many decimals.
pub(crate) fn units(price: &str) -> i64 {
    price.replace('.', "").parse().unwrap()
}

/// Without point and leading zeros; a sign stays.
fn digits(number: &str) -> String {
    let digits = number.replace('.', "");
    match digits.strip_prefix('-') {
        Some(digits) => format!("-{}", digits.trim_start_matches('0')),
        None => digits.trim_start_matches('0').to_owned(),
    }
}

/// CRC32 (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn the_oracles_checksum_is_the_one_of_the_standard() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    assert_eq!(
        (digits("0.050"), digits("-0.5"), digits("4810.25")),
        ("50".into(), "-5".into(), "481025".into())
    );
}
