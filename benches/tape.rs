//! What recording one market event costs, beside zstd alone on the same records.
//!
//! A made-up market of orders (adds, cancels, changes, trades near the touch) is recorded as the pipeline records it: `recorder` is the time of the
//! thread that publishes, `all` that of the whole process, with compression, hashing and synced writes. The floor
//! compresses the same records in blocks of the same size at the same level, and does nothing else. `read` is reading them back: hashes, chain,
//! decompression, decoding.
//!
//! `cargo bench --bench tape`, or `-- --smoke` for about a second.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

mod support;

use sealfeed::config::{ClockConfig, LogConfig, TapeConfig};
use sealfeed::feed::tape::{Item, Position, Reader, Recorder, RecorderOptions};
use sealfeed::feed::{Feed, FeedOptions, RingBounds};
use sealfeed::journal::tape::{BLOCK, BlockHeader, Tape};
use sealfeed::journal::{self, Journal};
use sealfeed::shutdown::Shutdown;
use sealfeed::types::{
    BookDecimals, Decimals, Epoch, Instrument, InstrumentId, Instruments, MarketDepth, MarketEvent,
    MarketEventKind, OrderId, Price, Quantity, Side, Symbol, UnixNanos,
};
use support::{Table, process_cpu_ns, ratio, smoke, thread_cpu_ns};
use tempfile::TempDir;

const UNIT: u64 = 1_000_000_000;
const TICK: i64 = 250_000_000;
const EPOCH: Epoch = Epoch(1);
const INSTRUMENTS: u32 = 4;

/// What one round came to, CPU nanoseconds of all events together.
#[derive(Default)]
struct Round {
    recorder: u64,
    all: u64,
    floor: u64,
    read: u64,
    packed_bytes: u64,
    floor_bytes: u64,
}

fn main() {
    let (events, rounds) = if smoke() { (100_000, 1) } else { (1_000_000, 5) };
    let market = market(events);
    println!(
        "tape: {events} events of {INSTRUMENTS} books of orders, CPU ns an event, least of {rounds} rounds"
    );
    let heads =
        ["level", "recorder", "all", "floor: zstd", "all / floor", "read", "bytes an event", "zstd alone"];
    let mut table = Table::new(&heads);
    for level in [1, 3] {
        let all: Vec<Round> = (0..rounds).map(|_| round(&market, level)).collect();
        let least = |of: fn(&Round) -> u64| all.iter().map(of).min().unwrap_or_default();
        let count = u64::try_from(events).unwrap();
        let each = |of: fn(&Round) -> u64| format!("{:.0}", ratio(least(of), count));
        let bytes = |of: fn(&Round) -> u64| format!("{:.1}", ratio(least(of), count));
        table.row(&[
            level.to_string(),
            each(|round| round.recorder),
            each(|round| round.all),
            each(|round| round.floor),
            format!("{:.2}", ratio(least(|round| round.all), least(|round| round.floor))),
            each(|round| round.read),
            bytes(|round| round.packed_bytes),
            bytes(|round| round.floor_bytes),
        ]);
    }
    table.print();
}

fn round(market: &[(MarketEvent, UnixNanos)], level: u8) -> Round {
    let folder = TempDir::new().unwrap();
    let log = LogConfig::new(&folder.path().join("log"), "bench.example/log");
    let tape = TapeConfig { compression_level: level, ..TapeConfig::default() };
    let journal = Journal::new(journal::open(&log, &ClockConfig::default(), b"").unwrap(), Shutdown::new());
    let opened = journal::tape::open(&tape, &log, &journal, b"").unwrap();
    let options = RecorderOptions {
        epoch: EPOCH,
        next: 0,
        block_events: tape.block_events,
        block_ns: u64::MAX,
        keyframe_blocks: tape.keyframe_blocks,
    };
    let instruments = instruments();
    let feed = Feed::new(
        &instruments,
        FeedOptions { epoch: EPOCH, heartbeat_ns: u64::MAX, rings: RingBounds::NONE },
    );
    let mut recorder = Recorder::new(Tape::start(opened, journal.clone()).unwrap(), &instruments, options);
    recorder.begin(&feed, UnixNanos(1));
    let mut round = Round::default();
    let (all, own) = (process_cpu_ns(), thread_cpu_ns());
    for (event, now) in market {
        recorder.record(event, *now);
    }
    round.recorder = thread_cpu_ns() - own;
    recorder.end(&feed);
    round.all = process_cpu_ns() - all;
    let directory = tape.log(&log).directory;
    let mut reader = Reader::open(&directory, Position::First).unwrap();
    let (before, mut read) = (thread_cpu_ns(), 0);
    while let Some(item) = reader.next().unwrap() {
        read += usize::from(matches!(item, Item::Event(_)));
    }
    round.read = thread_cpu_ns() - before;
    assert_eq!(read, market.len(), "the tape holds what was recorded");
    floor(&directory, level, &mut round);
    round
}

/// Compresses the records of the tape's own blocks again, in memory.
fn floor(directory: &std::path::Path, level: u8, round: &mut Round) {
    let blocks: Vec<Vec<u8>> = sealfeed_audit::reader::entries(directory)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.header.kind == BLOCK)
        .map(|entry| {
            let (header, packed) = BlockHeader::from_payload(&entry.payload).unwrap();
            round.packed_bytes += entry.payload.len() as u64;
            zstd::bulk::decompress(packed, header.bytes as usize).unwrap()
        })
        .collect();
    let mut packer = zstd::bulk::Compressor::new(i32::from(level)).unwrap();
    let before = thread_cpu_ns();
    for block in &blocks {
        round.floor_bytes += packer.compress(block).unwrap().len() as u64;
    }
    round.floor = thread_cpu_ns() - before;
}

fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    for number in 0..INSTRUMENTS {
        let (price, quantity) = (Decimals::new(2).unwrap(), Decimals::new(0).unwrap());
        instruments.add(|id| Instrument {
            id,
            symbol: Symbol::new(&format!("S{number}")).unwrap(),
            decimals: BookDecimals { price, quantity },
            tick: Price::from_nanos(TICK),
            lot: Quantity::from_nanos(UNIT),
            band: None,
            depth: MarketDepth::Orders,
            tradable: false,
            paper: false,
        });
    }
    instruments
}

/// A market that a seed decides: half adds, a third cancels, the rest changes and trades, a few microseconds apart.
fn market(events: usize) -> Vec<(MarketEvent, UnixNanos)> {
    let mut state = 1_u64;
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    };
    let mut resting: Vec<(u64, Side, Price, Quantity)> = Vec::new();
    let (mut time, mut next, mut mid) = (1_790_000_000_000_000_000, 1, 19_000_i64);
    let mut market = Vec::with_capacity(events);
    while market.len() < events {
        time += below(20_000);
        mid += i64::try_from(below(3)).unwrap() - 1;
        let side = if below(2) == 0 { Side::Buy } else { Side::Sell };
        let away = i64::try_from(below(40)).unwrap();
        let price = Price::from_nanos(TICK * if side == Side::Buy { mid - away } else { mid + 1 + away });
        let quantity = Quantity::from_nanos(UNIT * (1 + below(20)));
        let kind = match below(100) {
            50..=84 if !resting.is_empty() => {
                let at = usize::try_from(below(resting.len() as u64)).unwrap();
                let (order, side, price, quantity) = resting.swap_remove(at);
                MarketEventKind::Reduce { order: OrderId(order), side, price, quantity }
            }
            85..=93 if !resting.is_empty() => {
                let at = usize::try_from(below(resting.len() as u64)).unwrap();
                resting[at].3 = quantity;
                let (order, side, price, _) = resting[at];
                MarketEventKind::Modify { order: OrderId(order), side, price, quantity }
            }
            94..=99 => MarketEventKind::Trade { price, quantity, aggressor: Some(side), trade_id: 0 },
            _ => {
                next += 1;
                resting.push((next, side, price, quantity));
                MarketEventKind::Add { order: OrderId(next), side, price, quantity }
            }
        };
        let instrument = InstrumentId(u32::try_from(below(u64::from(INSTRUMENTS))).unwrap());
        let (ts_event, ts_recv) = (UnixNanos(time - below(50_000) - 1_000), UnixNanos(time));
        let event = MarketEvent { instrument, ts_event, ts_recv, last: true, kind };
        market.push((event, UnixNanos(time + below(10_000))));
    }
    market
}
