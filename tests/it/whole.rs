//! The feed as a whole: any interleaving of subscribing, publishing, coming back, reading slowly, changes of policy and restarts leaves
//! every reader with the book of a naive model, and never with a hole that it was not told of.
//!
//! `SEALFEED_WHOLE_CASES` runs more cases, `SEALFEED_WHOLE_SEED` others.

mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sealfeed::config::{Config, PublishedInstrumentConfig, PublisherSourceConfig, Shows, SourceConfig};
use sealfeed_wire::{Decimals, SignedOp, Symbol};
use serde_json::json;

use crate::crash::{Dice, from_environment};
use crate::harness::{Client, POLICY, Pki, Server};
use reader::{LATE, Met, Reader};

const PUBLISHER: &str = "acme/erin";
const SYMBOLS: [&str; 2] = ["IDX1", "IDX2"];
const STEPS: u64 = 120;
const RESTARTS_MAX: u64 = 3;
/// Publishes of one burst and symbol, and changes in each: more than a reader's queue and what the kernel takes for it.
const BURST: (u64, u64) = (16, 60);
/// A price at which nothing is published but the marks that end a look at the books.
const MARK: u64 = 100;

/// Quantity by price in cents: of the market as it was published.
#[derive(Default)]
struct Model {
    bids: BTreeMap<u64, u64>,
    asks: BTreeMap<u64, u64>,
    published: u64,
}

fn price(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn rows(side: &BTreeMap<u64, u64>) -> Vec<(String, String)> {
    side.iter().map(|(cents, quantity)| (price(*cents), quantity.to_string())).collect()
}

impl Model {
    /// As a reader has it: best first.
    fn levels(&self) -> [Vec<(String, String)>; 2] {
        let mut bids = rows(&self.bids);
        bids.reverse();
        [bids, rows(&self.asks)]
    }
}

struct World {
    dice: Dice,
    server: Option<Server>,
    publisher: Option<Client>,
    market: BTreeMap<&'static str, Model>,
    readers: Vec<Reader>,
    /// Who may not read what.
    denied: BTreeSet<(&'static str, &'static str)>,
    marks: u64,
    met: Met,
    restarts: u64,
}

fn configure(config: &mut Config) {
    let instrument = |symbol: &str| PublishedInstrumentConfig {
        symbol: Symbol::new(symbol).unwrap(),
        shows: Shows::Book,
        price_decimals: Decimals::new(2).unwrap(),
        qty_decimals: Decimals::new(0).unwrap(),
    };
    config.sources = vec![SourceConfig::Publisher(PublisherSourceConfig {
        principal: PUBLISHER.to_owned(),
        instruments: SYMBOLS.map(instrument).into(),
        stall_ms: 0,
    })];
    // Little of everything, so that everything is met.
    config.limits.out_queue_bytes_max = 65_536;
    config.limits.socket_unsent_bytes_max = 65_536;
    config.limits.out_bytes_max = 262_144;
    config.feed.resume_stream_bytes_max = 16_384;
}

impl World {
    async fn begin(seed: u64) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            server: None,
            publisher: None,
            market: SYMBOLS.into_iter().map(|symbol| (symbol, Model::default())).collect(),
            readers: ["alice", "bob", "carol", LATE].map(Reader::new).into(),
            denied: BTreeSet::new(),
            marks: 0,
            met: Met::default(),
            restarts: 0,
        };
        world.server = Some(Server::with_policy(&world.policy(), configure).await);
        world.publisher_comes().await;
        world.everybody_comes().await;
        world
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn policy(&self) -> String {
        let mut text = format!(
            "{POLICY}\n[[rule]]\nname = \"index\"\nmatch = {{ firm = \"acme\", user = \"erin\" }}\n\
             [rule.publish]\nsymbols = [\"*\"]\n\n\
             [[rule]]\nname = \"late\"\nmatch = {{ user = \"{LATE}\" }}\nchannels = [\"book\"]\nsymbols = [\"*\"]\ndelay = \"1s\"\n"
        );
        for (user, symbol) in &self.denied {
            let _ = write!(
                text,
                "\n[[deny]]\nname = \"{user}-{symbol}\"\nmatch = {{ user = \"{user}\" }}\nchannels = [\"book\"]\n\
                 symbols = [\"{symbol}\"]\n"
            );
        }
        text
    }

    fn symbol(&mut self) -> &'static str {
        SYMBOLS[usize::try_from(self.dice.below(SYMBOLS.len() as u64)).unwrap()]
    }

    /// Its books begin with what it has: a whole state.
    async fn publisher_comes(&mut self) {
        self.publisher = Some(self.server().connect(&Pki::get().client(PUBLISHER)).await);
        for symbol in SYMBOLS {
            let sides = |side: &BTreeMap<u64, u64>| {
                rows(side)
                    .into_iter()
                    .map(|(price, quantity)| json!([price, quantity, 1]))
                    .collect::<Vec<_>>()
            };
            let model = &self.market[symbol];
            let (bids, asks) = (sides(&model.bids), sides(&model.asks));
            let snapshot = json!({"type": "snapshot", "ts_event": "1", "bids": bids, "asks": asks});
            self.publish(symbol, &[snapshot]).await;
        }
    }

    async fn publish(&mut self, symbol: &str, messages: &[serde_json::Value]) {
        let model = self.market.get_mut(symbol).unwrap();
        model.published += 1;
        let body = json!({"pub_seq": model.published, "symbol": symbol, "messages": messages}).to_string();
        let publisher = self.publisher.as_mut().unwrap();
        let reply = publisher.order(SignedOp::Publish, &body).await;
        assert_eq!(reply["type"], "ok", "{body}: {reply}");
    }

    /// A random change of one level.
    fn change(&mut self, symbol: &str) -> serde_json::Value {
        let is_bid = self.dice.below(2) == 0;
        let cents = if is_bid { 9_000 + self.dice.below(40) } else { 10_000 + self.dice.below(40) };
        let mut quantity = self.dice.below(9);
        let model = self.market.get_mut(symbol).unwrap();
        let side = if is_bid { &mut model.bids } else { &mut model.asks };
        if quantity == 0 && side.remove(&cents).is_none() {
            quantity = 1;
        }
        if quantity > 0 {
            side.insert(cents, quantity);
        }
        self.delta(is_bid, cents, quantity)
    }

    fn delta(&self, is_bid: bool, cents: u64, quantity: u64) -> serde_json::Value {
        let level = json!([[price(cents), quantity.to_string(), u64::from(quantity > 0)]]);
        let (bids, asks) = if is_bid { (level, json!([])) } else { (json!([]), level) };
        json!({"type": "delta", "ts_event": "2", "bids": bids, "asks": asks})
    }

    async fn publish_changes(&mut self, symbol: &'static str, count: u64) {
        let changes: Vec<_> = (0..count).map(|_| self.change(symbol)).collect();
        self.publish(symbol, &changes).await;
        for reader in self.readers.iter_mut().filter(|reader| !reader.is_paused) {
            reader.read_some(&mut self.met).await;
        }
    }

    async fn step(&mut self) {
        let who = usize::try_from(self.dice.below(self.readers.len() as u64)).unwrap();
        let symbol = self.symbol();
        match self.dice.below(22) {
            0..=5 => {
                let count = 1 + self.dice.below(10);
                self.publish_changes(symbol, count).await;
            }
            6 => self.burst().await,
            7..=9 => {
                let on_slow = if self.dice.below(3) == 0 { "disconnect" } else { "conflate" };
                self.readers[who].subscribe(symbol, on_slow).await;
            }
            10 => self.readers[who].unsubscribe(symbol).await,
            11..=12 => self.readers[who].leave(),
            13..=15 => self.everybody_comes().await,
            // It does not read while much is published.
            16..=18 => {
                self.readers[who].is_paused = self.readers[who].is_there();
                self.burst().await;
            }
            19 => self.readers.iter_mut().for_each(|reader| reader.is_paused = false),
            20 => self.change_policy(who, symbol).await,
            _ => {
                if self.restarts < RESTARTS_MAX {
                    self.restart().await;
                }
            }
        }
        if self.dice.below(8) == 0 {
            self.look().await;
        }
    }

    async fn burst(&mut self) {
        for _ in 0..BURST.0 {
            for symbol in SYMBOLS {
                self.publish_changes(symbol, BURST.1).await;
            }
        }
    }

    /// Whoever is away comes back, mostly to go on where it was.
    async fn everybody_comes(&mut self) {
        for who in 0..self.readers.len() {
            let resumes = self.dice.below(6) > 0;
            if !self.readers[who].is_there() {
                let server = self.server.as_ref().unwrap();
                self.readers[who].come(server, resumes).await;
            }
        }
    }

    async fn change_policy(&mut self, who: usize, symbol: &'static str) {
        let key = (self.readers[who].user(), symbol);
        if !self.denied.remove(&key) {
            self.denied.insert(key);
        }
        let file = self.server().config.identity.entitlements.clone();
        std::fs::write(file, self.policy()).unwrap();
        let reloaded = self.server().running().reload().await.unwrap();
        assert_eq!(reloaded.sessions_ended, 0);
    }

    /// Stops in order and starts again on the same log: everybody comes back, or not.
    async fn restart(&mut self) {
        self.restarts += 1;
        self.readers.iter_mut().for_each(Reader::leave);
        self.readers.iter_mut().for_each(|reader| reader.comes_after_restart = true);
        self.publisher = None;
        let (_, folder) = self.server.take().unwrap().finish().await;
        self.server = Some(Server::try_start(folder, &self.policy(), configure).await.unwrap());
        self.publisher_comes().await;
        if self.dice.below(3) > 0 {
            self.everybody_comes().await;
        }
    }

    /// Everybody who reads has the model's books, once the next mark is through.
    async fn look(&mut self) {
        self.marks += 1;
        for symbol in SYMBOLS {
            self.market.get_mut(symbol).unwrap().bids.insert(MARK, self.marks);
            let mark = self.delta(true, MARK, self.marks);
            self.publish(symbol, &[mark]).await;
        }
        // Who is late makes everybody wait, so it is looked at now and then only.
        let is_patient = self.dice.below(4) == 0;
        let World { readers, market, met, marks, server, .. } = self;
        let there = |reader: &&mut Reader| reader.is_there() && !reader.is_paused;
        for reader in readers.iter_mut().filter(there).filter(|reader| is_patient || !reader.is_late()) {
            loop {
                reader.settle(met).await;
                for symbol in SYMBOLS {
                    let is_through = |reader: &Reader| {
                        !reader.subscribed().contains(&symbol.to_owned())
                            || reader.bid(symbol, &price(MARK)) == Some(*marks)
                    };
                    reader.read_until(met, is_through).await;
                }
                if reader.is_there() {
                    break;
                }
                // Cut off for what it had not read before: it comes back for the rest.
                reader.come(server.as_ref().unwrap(), true).await;
            }
            for symbol in reader.subscribed() {
                let model = market[symbol.as_str()].levels();
                assert_eq!(reader.levels(&symbol), model, "{}'s {symbol}", reader.user());
            }
        }
    }

    async fn end(mut self) -> Met {
        for who in 0..self.readers.len() {
            self.readers[who].is_paused = false;
            if !self.readers[who].is_there() {
                let server = self.server.as_ref().unwrap();
                self.readers[who].come(server, true).await;
            }
        }
        self.look().await;
        self.readers.iter_mut().for_each(Reader::leave);
        self.publisher = None;
        self.server.take().unwrap().finish().await;
        self.met
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_every_reader_has_the_book_of_the_model_and_was_told_of_every_hole() {
    let cases = from_environment("SEALFEED_WHOLE_CASES").unwrap_or(4);
    let first = from_environment("SEALFEED_WHOLE_SEED").unwrap_or(1);
    let mut all = Met::default();
    for seed in first..first + cases {
        println!("SEALFEED_WHOLE_SEED={seed}");
        let mut world = World::begin(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        all.add(&world.end().await);
    }
    println!("{all:?}");
    assert!(
        all.deltas > 0 && all.skipped > 0 && all.recovered > 0 && all.withdrawn > 0 && all.refused > 0,
        "{all:?}"
    );
    assert!(all.over_restart > 0 && all.late > 0, "{all:?}");
    // All was published under one epoch, and is on the tape.
    assert!(all.lost.is_empty(), "{all:?}");
}
