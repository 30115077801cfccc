//! The feed as a whole: any interleaving of subscribing, publishing, coming back, reading slowly, changes of policy and restarts leaves
//! every reader with the book of a naive model, and never with a hole that it was not told of. Books that a publisher tells, and
//! orders that rest in the server's own venue.
//!
//! `SEALFEED_WHOLE_CASES` runs more cases, `SEALFEED_WHOLE_SEED` others.

mod books;
mod orders;
mod reader;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sealfeed::config::Config;

use crate::crash::{Dice, from_environment};
use crate::harness::Server;
use books::Books;
use orders::Orders;
use reader::{Followed, LATE, Met, Reader};

/// The one who makes the market.
const MAKER: &str = "acme/erin";
const STEPS: u64 = 120;
const RESTARTS_MAX: u64 = 3;

/// What happens in a market of two symbols, and a naive model of it.
trait Market: Sized {
    const SYMBOLS: [&'static str; 2];
    /// Steps of one burst and symbol, and changes in each: more than a reader's queue and what the kernel takes for it.
    const BURST: (u64, u64);
    /// What its readers hold.
    type Held: Followed;

    /// The market and its bounds.
    fn configure(config: &mut Config);

    /// What [`MAKER`] may do, and others.
    fn policy() -> String;

    fn new() -> Self;

    /// Its maker connects to a server that has just started.
    async fn comes(&mut self, server: &Server);

    /// Its maker is gone.
    fn leaves(&mut self);

    /// So many random changes.
    async fn change(&mut self, dice: &mut Dice, symbol: &'static str, count: u64);

    /// A change that tells readers, once they have it, that they have all before.
    async fn mark(&mut self, symbol: &'static str);

    /// Whether a reader has the last mark.
    fn is_through(&self, symbol: &str, held: &Self::Held) -> bool;

    /// Asserts that a reader with the last mark has what the model has.
    fn check(&self, symbol: &str, held: &Self::Held, who: &str);
}

struct World<M: Market> {
    dice: Dice,
    server: Option<Server>,
    market: M,
    readers: Vec<Reader<M::Held>>,
    /// Who may not read what.
    denied: BTreeSet<(&'static str, &'static str)>,
    met: Met,
    restarts: u64,
}

fn configure<M: Market>(config: &mut Config) {
    // Little of everything, so that everything is met.
    config.limits.out_queue_bytes_max = 65_536;
    config.limits.socket_unsent_bytes_max = 65_536;
    config.limits.out_bytes_max = 262_144;
    config.feed.resume_stream_bytes_max = 16_384;
    M::configure(config);
}

impl<M: Market> World<M> {
    async fn begin(seed: u64) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            server: None,
            market: M::new(),
            readers: ["alice", "bob", "carol", LATE].map(Reader::new).into(),
            denied: BTreeSet::new(),
            met: Met::default(),
            restarts: 0,
        };
        let server = Server::with_policy(&world.policy(), configure::<M>).await;
        world.market.comes(&server).await;
        world.server = Some(server);
        world.everybody_comes().await;
        world
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn policy(&self) -> String {
        let channel = M::Held::CHANNEL;
        let mut text = format!(
            "{}\n[[rule]]\nname = \"readers\"\nmatch = {{ firm = \"acme\" }}\nchannels = [\"{channel}\"]\nsymbols = [\"*\"]\n\
             [[rule]]\nname = \"late\"\nmatch = {{ user = \"{LATE}\" }}\nchannels = [\"{channel}\"]\nsymbols = [\"*\"]\ndelay = \"1s\"\n",
            M::policy()
        );
        for (user, symbol) in &self.denied {
            let _ = write!(
                text,
                "\n[[deny]]\nname = \"{user}-{symbol}\"\nmatch = {{ user = \"{user}\" }}\nchannels = [\"{channel}\"]\n\
                 symbols = [\"{symbol}\"]\n"
            );
        }
        text
    }

    fn symbol(&mut self) -> &'static str {
        M::SYMBOLS[usize::try_from(self.dice.below(M::SYMBOLS.len() as u64)).unwrap()]
    }

    async fn change(&mut self, symbol: &'static str, count: u64) {
        self.market.change(&mut self.dice, symbol, count).await;
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
                self.change(symbol, count).await;
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
        for _ in 0..M::BURST.0 {
            for symbol in M::SYMBOLS {
                self.change(symbol, M::BURST.1).await;
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
        self.market.leaves();
        let (_, folder) = self.server.take().unwrap().finish().await;
        let server = Server::try_start(folder, &self.policy(), configure::<M>).await.unwrap();
        self.market.comes(&server).await;
        self.server = Some(server);
        if self.dice.below(3) > 0 {
            self.everybody_comes().await;
        }
    }

    /// Everybody who reads has what the model has, once the next mark is through.
    async fn look(&mut self) {
        for symbol in M::SYMBOLS {
            self.market.mark(symbol).await;
        }
        // Who is late makes everybody wait, so it is looked at now and then only.
        let is_patient = self.dice.below(4) == 0;
        let Self { readers, market, met, server, .. } = self;
        let there = |reader: &&mut Reader<M::Held>| reader.is_there() && !reader.is_paused;
        for reader in readers.iter_mut().filter(there).filter(|reader| is_patient || !reader.is_late()) {
            loop {
                reader.settle(met).await;
                for symbol in M::SYMBOLS {
                    let is_through = |reader: &Reader<M::Held>| {
                        reader.of(symbol).is_none_or(|held| market.is_through(symbol, held))
                    };
                    reader.read_until(met, is_through).await;
                }
                if reader.is_there() {
                    break;
                }
                // Cut off for what it had not read before: it comes back for the rest.
                reader.come(server.as_ref().unwrap(), true).await;
            }
            for symbol in M::SYMBOLS {
                reader.of(symbol).inspect(|held| market.check(symbol, held, reader.user()));
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
        self.market.leaves();
        self.server.take().unwrap().finish().await;
        self.met
    }
}

/// The first seed and how many: a few more if chance, or the machine's pace, has left something out.
fn seeds() -> (u64, u64) {
    let first = from_environment("SEALFEED_WHOLE_SEED").unwrap_or(1);
    (first, from_environment("SEALFEED_WHOLE_CASES").unwrap_or(4))
}

async fn case<M: Market>(seed: u64, all: &mut Met) {
    let mut world = World::<M>::begin(seed).await;
    for _ in 0..STEPS {
        world.step().await;
    }
    all.add(&world.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_every_reader_has_the_book_of_the_model_and_was_told_of_every_hole() {
    let (mut all, (first, cases)) = (Met::default(), seeds());
    for seed in first..first + 3 * cases {
        if seed >= first + cases && all.is_everything() {
            break;
        }
        println!("SEALFEED_WHOLE_SEED={seed}");
        case::<Books>(seed, &mut all).await;
    }
    println!("{all:?}");
    assert!(all.is_everything(), "{all:?}");
    // All was published under one epoch, and is on the tape.
    assert!(all.lost.is_empty(), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_every_reader_has_the_queues_of_the_model_and_was_told_of_every_hole() {
    let (mut all, (first, cases)) = (Met::default(), seeds());
    for seed in first..first + 3 * cases {
        if seed >= first + cases && all.is_everything() {
            break;
        }
        println!("SEALFEED_WHOLE_SEED={seed}");
        case::<Orders>(seed, &mut all).await;
    }
    println!("{all:?}");
    assert!(all.is_everything(), "{all:?}");
    // All was published under one epoch, and is on the tape.
    assert!(all.lost.is_empty(), "{all:?}");
}
