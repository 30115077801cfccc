//! Books of two symbols as a publisher tells them.

use std::collections::BTreeMap;

use sealfeed::config::{Config, PublishedInstrumentConfig, PublisherSourceConfig, Shows, SourceConfig};
use sealfeed_wire::{Decimals, SignedOp, Symbol};
use serde_json::{Value, json};

use super::reader::Followed;
use super::{MAKER, Market};
use crate::crash::Dice;
use crate::harness::{Client, POLICY, Pki, Server};
use crate::oracle::{Line, NaiveBook};

/// A price at which nothing is published but the marks that end a look at the books.
const MARK: u64 = 100;

/// A book of a reader.
#[derive(Debug)]
pub(super) enum Held {
    /// The next thing that comes must be a snapshot.
    Awaited,
    /// Followed without a hole, and its epoch.
    Live(Box<NaiveBook>, String),
}

impl Followed for Held {
    const CHANNEL: &'static str = "book";

    fn asked() -> Value {
        json!({"depth": 0})
    }

    fn awaited(_: &str) -> Self {
        Self::Awaited
    }

    fn stands(&self) -> Option<(String, u64)> {
        let Self::Live(book, epoch) = self else { return None };
        Some((epoch.clone(), book.chain.seq))
    }

    fn take(&mut self, message: &Value) -> bool {
        match (message["type"].as_str().unwrap(), &mut *self) {
            ("snapshot", Self::Awaited) => {
                let epoch = message["epoch"].as_str().unwrap().to_owned();
                *self = Self::Live(Box::new(NaiveBook::new(0, message)), epoch);
                false
            }
            // The chain asserts that nothing is missing.
            ("delta", Self::Live(book, _)) => {
                book.apply(message);
                true
            }
            (_, held) => panic!("{held:?} gets {message}"),
        }
    }

    fn beat(&mut self, message: &Value) {
        if let Self::Live(book, _) = self {
            book.chain.beat(message);
        }
    }
}

/// Quantity by price in cents: of one symbol as it was published.
#[derive(Default)]
struct Model {
    bids: BTreeMap<u64, u64>,
    asks: BTreeMap<u64, u64>,
    published: u64,
}

/// The market.
pub(super) struct Books {
    publisher: Option<Client>,
    models: BTreeMap<&'static str, Model>,
    marks: u64,
}

fn price(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn rows(side: &BTreeMap<u64, u64>) -> Vec<(String, String)> {
    side.iter().map(|(cents, quantity)| (price(*cents), quantity.to_string())).collect()
}

fn delta(is_bid: bool, cents: u64, quantity: u64) -> Value {
    let level = json!([[price(cents), quantity.to_string(), u64::from(quantity > 0)]]);
    let (bids, asks) = if is_bid { (level, json!([])) } else { (json!([]), level) };
    json!({"type": "delta", "ts_event": "2", "bids": bids, "asks": asks})
}

impl Model {
    /// As a reader has it: best first.
    fn levels(&self) -> [Vec<(String, String)>; 2] {
        let mut bids = rows(&self.bids);
        bids.reverse();
        [bids, rows(&self.asks)]
    }

    /// A random change of one level.
    fn change(&mut self, dice: &mut Dice) -> Value {
        let is_bid = dice.below(2) == 0;
        let cents = if is_bid { 9_000 + dice.below(40) } else { 10_000 + dice.below(40) };
        let mut quantity = dice.below(9);
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        if quantity == 0 && side.remove(&cents).is_none() {
            quantity = 1;
        }
        if quantity > 0 {
            side.insert(cents, quantity);
        }
        delta(is_bid, cents, quantity)
    }
}

impl Books {
    async fn publish(&mut self, symbol: &str, messages: &[Value]) {
        let model = self.models.get_mut(symbol).unwrap();
        model.published += 1;
        let body = json!({"pub_seq": model.published, "symbol": symbol, "messages": messages}).to_string();
        let reply = self.publisher.as_mut().unwrap().order(SignedOp::Publish, &body).await;
        assert_eq!(reply["type"], "ok", "{body}: {reply}");
    }
}

impl Market for Books {
    const SYMBOLS: [&'static str; 2] = ["IDX1", "IDX2"];
    const BURST: (u64, u64) = (16, 60);
    type Held = Held;

    fn configure(config: &mut Config) {
        let instrument = |symbol: &str| PublishedInstrumentConfig {
            symbol: Symbol::new(symbol).unwrap(),
            shows: Shows::Book,
            price_decimals: Decimals::new(2).unwrap(),
            qty_decimals: Decimals::new(0).unwrap(),
        };
        config.sources = vec![SourceConfig::Publisher(PublisherSourceConfig {
            principal: MAKER.to_owned(),
            instruments: Self::SYMBOLS.map(instrument).into(),
            stall_ms: 0,
        })];
    }

    fn policy() -> String {
        format!(
            "{POLICY}\n[[rule]]\nname = \"index\"\nmatch = {{ firm = \"acme\", user = \"erin\" }}\n\
             [rule.publish]\nsymbols = [\"*\"]\n"
        )
    }

    fn new() -> Self {
        let models = Self::SYMBOLS.into_iter().map(|symbol| (symbol, Model::default())).collect();
        Self { publisher: None, models, marks: 0 }
    }

    /// Its books begin with what it has: a whole state.
    async fn comes(&mut self, server: &Server) {
        self.publisher = Some(server.connect(&Pki::get().client(MAKER)).await);
        for symbol in Self::SYMBOLS {
            let sides = |side: &BTreeMap<u64, u64>| {
                rows(side)
                    .into_iter()
                    .map(|(price, quantity)| json!([price, quantity, 1]))
                    .collect::<Vec<_>>()
            };
            let model = &self.models[symbol];
            let (bids, asks) = (sides(&model.bids), sides(&model.asks));
            let snapshot = json!({"type": "snapshot", "ts_event": "1", "bids": bids, "asks": asks});
            self.publish(symbol, &[snapshot]).await;
        }
    }

    fn leaves(&mut self) {
        self.publisher = None;
    }

    async fn change(&mut self, dice: &mut Dice, symbol: &'static str, count: u64) {
        let model = self.models.get_mut(symbol).unwrap();
        let changes: Vec<_> = (0..count).map(|_| model.change(dice)).collect();
        self.publish(symbol, &changes).await;
    }

    async fn mark(&mut self, symbol: &'static str) {
        self.marks += 1;
        self.models.get_mut(symbol).unwrap().bids.insert(MARK, self.marks);
        self.publish(symbol, &[delta(true, MARK, self.marks)]).await;
    }

    fn is_through(&self, symbol: &str, held: &Held) -> bool {
        let Held::Live(book, _) = held else { return false };
        let quantity = self.models[symbol].bids[&MARK].to_string();
        book.bids().iter().any(|line| line.price == price(MARK) && line.quantity == quantity)
    }

    fn check(&self, symbol: &str, held: &Held, who: &str) {
        let Held::Live(book, _) = held else { panic!("{who} has no book of {symbol}") };
        let plain =
            |lines: Vec<Line>| lines.into_iter().map(|line| (line.price, line.quantity)).collect::<Vec<_>>();
        assert_eq!(
            [plain(book.bids()), plain(book.asks())],
            self.models[symbol].levels(),
            "{who}'s {symbol}"
        );
    }
}
