//! Orders on paper, over the wire, in a recording of a futures exchange: what fills them is what an independent pass over the recording's
//! file computes, a restart in the middle included, and the log alone executes it again.
//!
//! The recording comes through pipes, so that an order meets it at a place that the test knows.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::dbn::decode::{DbnDecoder, DbnMetadata as _, DecodeRecordRef as _};
use ::dbn::encode::EncodeRecord as _;
use ::dbn::encode::dbn::Encoder as DbnEncoder;
use ::dbn::{FlagSet, MboMsg, Metadata};
use sealfeed::config::{Config, DbnSourceConfig, SourceConfig, Speed};
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::recorded;
use crate::harness::{Client, Logged, POLICY, Pki, Server};
use crate::orders::assert_accepted;

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";
/// Records until the test's orders come, about; and behind them, until the server ends.
const BEFORE: usize = 20_000;
const BETWEEN: usize = 6_000;
const BID: i8 = b'B'.cast_signed();
const ASK: i8 = b'A'.cast_signed();
/// Fillers rest at multiples of this price, where the market is not.
const NOWHERE: i64 = 250_000_000;

struct Recording {
    metadata: Metadata,
    symbol: String,
    before: Vec<MboMsg>,
    between: Vec<MboMsg>,
}

impl Recording {
    fn read(path: &Path) -> Self {
        let mut decoder = DbnDecoder::new(zstd::Decoder::new(File::open(path).unwrap()).unwrap()).unwrap();
        let metadata = decoder.metadata().clone();
        let mut records = Vec::new();
        while let Some(record) = decoder.decode_record_ref().unwrap() {
            records.push(record.get::<MboMsg>().unwrap().clone());
        }
        let end = |from: usize| {
            let rest = &records[from..];
            from + rest.iter().position(|record| record.flags.is_last()).unwrap() + 1
        };
        let first = end(BEFORE);
        let second = end(first + BETWEEN);
        let symbol = metadata.mappings[0].raw_symbol.clone();
        let (before, between) = (records[..first].to_vec(), records[first..second].to_vec());
        Self { metadata, symbol, before, between }
    }

    /// As much of a file as has these records.
    fn bytes(&self, records: &[MboMsg]) -> Vec<u8> {
        let mut encoder = DbnEncoder::new(Vec::new(), &self.metadata).unwrap();
        records.iter().for_each(|record| encoder.encode_record(record).unwrap());
        encoder.get_ref().clone()
    }

    fn header_bytes(&self) -> usize {
        self.bytes(&[]).len()
    }

    /// Orders that come and go far from the market, more than a batch of the source holds; the last one stays, with this size.
    fn filler(&self, size: u32) -> Vec<MboMsg> {
        let like = if size == 2 { self.before.last() } else { self.between.last() }.unwrap();
        let place = i64::from(size);
        let one = |order_id: u64, action: u8, size: u32| MboMsg {
            order_id,
            price: NOWHERE * place,
            size,
            side: BID,
            action: action.cast_signed(),
            flags: FlagSet::new(::dbn::flags::LAST),
            ..like.clone()
        };
        let name = u64::MAX - u64::from(size) * 1_000;
        let mut filler = vec![one(name, b'A', size)];
        filler.extend((1..300).flat_map(|next| [one(name + next, b'A', 1), one(name + next, b'C', 1)]));
        filler
    }
}

/// All orders of the recording, and what rests at each price of a side.
#[derive(Clone, Default)]
struct NaiveBook {
    orders: HashMap<u64, (i8, i64, u32)>,
    levels: HashMap<(i8, i64), u64>,
}

impl NaiveBook {
    fn take(&mut self, record: &MboMsg) {
        match record.action.cast_unsigned() {
            b'A' | b'M' => {
                self.remove(record.order_id, u32::MAX);
                self.orders.insert(record.order_id, (record.side, record.price, record.size));
                *self.levels.entry((record.side, record.price)).or_default() += u64::from(record.size);
            }
            b'C' => self.remove(record.order_id, record.size),
            b'R' => *self = Self::default(),
            _ => {}
        }
    }

    fn remove(&mut self, order: u64, size: u32) {
        let Some((side, price, left)) = self.orders.get_mut(&order) else { return };
        let taken = size.min(*left);
        *left -= taken;
        *self.levels.get_mut(&(*side, *price)).unwrap() -= u64::from(taken);
        if *left == 0 {
            self.orders.remove(&order);
        }
    }

    fn at(&self, side: i8, price: i64) -> u64 {
        self.levels.get(&(side, price)).copied().unwrap_or(0)
    }

    /// Prices of a side, best first.
    fn prices(&self, side: i8) -> Vec<i64> {
        let held = self.levels.iter().filter(|((of, _), quantity)| *of == side && **quantity > 0);
        let mut prices: Vec<i64> = held.map(|((_, price), _)| *price).collect();
        prices.sort_unstable();
        if side == BID {
            prices.reverse();
        }
        prices
    }
}

/// A bid that waits, by the rules of `docs/PAPER.md`.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    price: i64,
    leaves: u64,
    ahead: u64,
    displayed: u64,
}

impl Waiting {
    /// What fills it while these records pass.
    fn pass(&mut self, book: &mut NaiveBook, records: &[MboMsg]) -> Vec<u64> {
        let mut fills = Vec::new();
        let mut cleared = false;
        for record in records {
            book.take(record);
            cleared |= record.action == b'R'.cast_signed();
            if record.action == b'T'.cast_signed() && self.leaves > 0 {
                let mut reaches = u64::from(record.size);
                if record.price == self.price && record.side != BID {
                    let ahead = self.ahead.min(reaches);
                    self.ahead -= ahead;
                    reaches -= ahead;
                } else if record.price >= self.price {
                    reaches = 0;
                }
                let fill = reaches.min(self.leaves);
                self.leaves -= fill;
                if fill > 0 {
                    fills.push(fill);
                }
            }
            if record.flags.is_last() {
                let now = book.at(BID, self.price);
                if now < self.displayed && !cleared {
                    self.ahead = self.ahead.min(now);
                }
                (self.displayed, cleared) = (now, false);
            }
        }
        fills
    }
}

/// A pipe, and what is written into it.
struct Pipe(File);

impl Pipe {
    fn make(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    /// Waits for its reader.
    fn open(path: &Path) -> Self {
        Self(File::options().write(true).open(path).unwrap())
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }
}

/// The server's source in `folder`, and who writes it: first all of it for the survey of the file, then only its header.
fn piped(folder: &Path, run: &str, recording: &Recording) -> (PathBuf, std::thread::JoinHandle<Pipe>) {
    let path = folder.join(format!("{run}.dbn"));
    let pipes = [folder.join(format!("{run}-survey")), folder.join(format!("{run}-records"))];
    pipes.iter().for_each(|pipe| Pipe::make(pipe));
    std::os::unix::fs::symlink(&pipes[0], &path).unwrap();
    let all = recording.bytes(&[&recording.before[..], &recording.between, &recording.filler(1)].concat());
    let header = all[..recording.header_bytes()].to_vec();
    let name = path.clone();
    let writer = std::thread::spawn(move || {
        let mut survey = Pipe::open(&pipes[0]);
        // The name is opened again only when the survey has come to the end of this pipe.
        std::fs::remove_file(&name).unwrap();
        std::os::unix::fs::symlink(&pipes[1], &name).unwrap();
        survey.write(&all);
        drop(survey);
        let mut records = Pipe::open(&pipes[1]);
        records.write(&header);
        records
    });
    (path, writer)
}

fn on_paper(config: &mut Config, path: PathBuf) {
    let source = DbnSourceConfig { speed: Speed::Max, paper: true, ..DbnSourceConfig::new(path) };
    config.sources = vec![SourceConfig::Dbn(source)];
    config.limits.out_queue_bytes_max = 1 << 30;
    config.limits.out_queue_age_max_ms = 600_000;
}

/// The policy, with room for what futures are worth.
fn policy() -> String {
    POLICY.replace("notional_max = 1000000", "notional_max = 10000000")
}

/// A trader who follows the recording's book and its own reports.
struct Trader {
    client: Client,
    fills: Vec<(String, u64, String)>,
}

impl Trader {
    async fn connect(server: &Server, symbol: &str) -> Self {
        let mut client = server.connect(&Pki::get().client("acme/bob")).await;
        let book = json!({"op": "subscribe", "channel": "book", "symbols": [symbol], "depth": 0});
        let reply = client.request(book).await;
        assert_eq!(reply["symbols"][symbol]["paper"], true, "{reply}");
        assert_eq!(reply["symbols"][symbol]["lot"], "1", "{reply}");
        client.request(json!({"op": "subscribe", "channel": "orders", "symbols": ["*"]})).await;
        Self { client, fills: Vec::new() }
    }

    fn note(&mut self, message: &Value) {
        if message["type"] == "exec" && message["last_qty"].is_string() {
            let text = |field: &str| message[field].as_str().unwrap().to_owned();
            let quantity = text("last_qty").parse().unwrap();
            self.fills.push((text("cl_ord_id"), quantity, text("last_price")));
        }
    }

    /// Reads until the filler of this size is displayed and so many fills came.
    async fn until(&mut self, size: u32, fills: usize) {
        let price = text(NOWHERE * i64::from(size));
        let mut is_there = false;
        while !is_there || self.fills.len() < fills {
            let message = self.client.message().await;
            assert_ne!(message["type"], "stale", "the recording has ended: {message}");
            self.note(&message);
            let bids = message["bids"].as_array().into_iter().flatten();
            is_there |=
                bids.map(ToString::to_string).any(|bid| bid.contains(&format!("\"{price}\",\"{size}\"")));
        }
    }

    async fn status(&mut self, name: &str) -> (String, u64) {
        let status = self.client.request(json!({"op": "order.status", "cl_ord_id": name})).await;
        let cumulative = status["cum_qty"].as_str().unwrap().parse().unwrap();
        (status["state"].as_str().unwrap().to_owned(), cumulative)
    }
}

/// A fill as it is sealed: name, quantity, price.
fn fill(event: &Logged) -> (String, u64, String) {
    let quantity = event.fields["quantity"].as_u64().unwrap() / 1_000_000_000;
    (event.text("cl_ord_id").to_owned(), quantity, text(event.fields["price"].as_i64().unwrap()))
}

fn text(price: i64) -> String {
    format!("{}.{:02}", price / 1_000_000_000, price % 1_000_000_000 / 10_000_000)
}

fn order(name: &str, symbol: &str, quantity: u64, price: i64, tif: &str) -> String {
    let (quantity, price) = (quantity.to_string(), text(price));
    json!({
        "cl_ord_id": name, "symbol": symbol, "side": "buy", "type": "limit", "qty": quantity, "price": price, "tif": tif,
    })
    .to_string()
}

/// A bid, of those near the market, that waits behind others and is filled in part in each run.
fn waits(recording: &Recording, book: &NaiveBook) -> (Waiting, [Vec<u64>; 2], Waiting) {
    let prices = book.prices(BID);
    for price in prices.into_iter().take(40) {
        let displayed = book.at(BID, price);
        for leaves in [40, 200, 900] {
            let bid = Waiting { price, leaves, ahead: displayed, displayed };
            let mut waiting = bid;
            let first = waiting.pass(&mut book.clone(), &recording.between);
            let kept = waiting;
            waiting.displayed = 0;
            let all = [&recording.before[..], &recording.between].concat();
            let second = waiting.pass(&mut NaiveBook::default(), &all);
            if !first.is_empty() && !second.is_empty() && kept.leaves > 0 && displayed > 0 {
                return (bid, [first, second], waiting);
            }
        }
    }
    panic!("no bid near the market is filled in part by both runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_on_paper_fill_as_an_independent_pass_over_the_recording_computes() {
    let Some(path) = recorded(ESH4) else { return };
    let recording = Recording::read(&path);
    let symbol = recording.symbol.clone();
    let mut book = NaiveBook::default();
    recording.before.iter().for_each(|record| book.take(record));
    let (bid, [first, second], last) = waits(&recording, &book);
    println!("{bid:?} fills {first:?}, and after the restart {second:?}: {last:?}");
    let pipes = TempDir::new().unwrap();
    let bytes = |records: &[MboMsg]| recording.bytes(records)[recording.header_bytes()..].to_vec();

    let (source, writer) = piped(pipes.path(), "first", &recording);
    let folder = TempDir::new().unwrap();
    let server = Server::try_start(folder, &policy(), |config| on_paper(config, source)).await.unwrap();
    let mut pipe = writer.join().unwrap();
    let mut bob = Trader::connect(&server, &symbol).await;
    pipe.write(&bytes(&[&recording.before[..], &recording.filler(2)].concat()));
    bob.until(2, 0).await;

    // One takes two levels and a part of the third, another one what it left of them.
    let asks: Vec<(i64, u64)> =
        book.prices(ASK).into_iter().take(3).map(|price| (price, book.at(ASK, price))).collect();
    let quantity: u64 = asks.iter().map(|(_, quantity)| quantity).sum();
    let taken = order("takes", &symbol, quantity - 1, asks[2].0, "ioc");
    assert_accepted(&bob.client.order(SignedOp::OrderNew, &taken).await);
    let left = order("left", &symbol, quantity, asks[2].0, "ioc");
    assert_accepted(&bob.client.order(SignedOp::OrderNew, &left).await);
    let waiting = order("waits", &symbol, bid.leaves, bid.price, "gtc");
    assert_accepted(&bob.client.order(SignedOp::OrderNew, &waiting).await);
    let mut expected: Vec<(String, u64, String)> = Vec::new();
    for (place, (price, quantity)) in asks.iter().enumerate() {
        let quantity = quantity - u64::from(place == 2);
        if quantity > 0 {
            expected.push(("takes".to_owned(), quantity, text(*price)));
        }
    }
    expected.push(("left".to_owned(), 1, text(asks[2].0)));
    let waited = |fills: &[u64]| -> Vec<_> {
        fills.iter().map(|fill| ("waits".to_owned(), *fill, text(bid.price))).collect()
    };
    expected.extend(waited(&first));
    pipe.write(&bytes(&[&recording.between[..], &recording.filler(3)].concat()));
    bob.until(3, first.len()).await;
    assert_eq!(bob.fills, waited(&first));
    let filled: u64 = first.iter().sum();
    assert_eq!(bob.status("waits").await, ("partially_filled".to_owned(), filled));
    drop(pipe);
    drop(bob);
    let (log, folder) = server.finish().await;
    let fills: Vec<_> = log.iter().filter(|event| event.text("exec").ends_with("fill")).map(fill).collect();
    assert_eq!(fills, expected);
    let sealed = log.iter().filter(|event| event.kind == "paper").count();
    assert!(sealed > 3 && sealed < recording.between.len() / 2, "{sealed} entries of what was shown");

    let (source, writer) = piped(pipes.path(), "second", &recording);
    let server = Server::try_start(folder, &policy(), |config| on_paper(config, source)).await.unwrap();
    let mut pipe = writer.join().unwrap();
    let mut bob = Trader::connect(&server, &symbol).await;
    assert_eq!(bob.status("waits").await, ("partially_filled".to_owned(), filled));
    pipe.write(&bytes(&[&recording.before[..], &recording.between, &recording.filler(4)].concat()));
    bob.until(4, second.len()).await;
    assert_eq!(bob.fills, waited(&second));
    let (_, cumulative) = bob.status("waits").await;
    assert_eq!(cumulative, bid.leaves - last.leaves);
    drop(pipe);
    drop(bob);
    server.finish().await;
}
