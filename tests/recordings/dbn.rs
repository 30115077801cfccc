//! Files recorded by an exchange, replayed through the source as the server runs it.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed};
use sealfeed::shutdown::StopReason;
use sealfeed::source::{BATCH_COUNT_MAX, RecordCounts, SourceBatch, SourceError, SourceStatus};
use sealfeed::types::{
    Instruments, MarketDepth, MarketEvent, MarketEventKind, OrderId, Price, Quantity, Side, TopLevel,
};

use crate::data;
use crate::replay::{self, Replay, Running};

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";
const ESH4_SNAPSHOT: &str = "esh4-glbx-mdp3-20231224.mbo.dbn.zst";
const ESU4_TOP: &str = "esu4-glbx-mdp3-20240701.mbp-1.dbn.zst";
const ESU4_TRADES: &str = "esu4-glbx-mdp3-20240701.trades.dbn.zst";

fn config(path: &Path) -> DbnSourceConfig {
    DbnSourceConfig { speed: Speed::Max, ..DbnSourceConfig::new(path.to_owned()) }
}

fn play(path: &Path) -> Replay {
    Replay::of(&SourceConfig::Dbn(config(path))).unwrap()
}

fn start(config: DbnSourceConfig) -> (Running, Instruments) {
    replay::start(&SourceConfig::Dbn(config)).unwrap()
}

/// The simplest book there is: all orders, searched through.
#[derive(Default)]
struct NaiveBook(HashMap<OrderId, (Side, Price, u64)>);

impl NaiveBook {
    fn apply(&mut self, kind: &MarketEventKind) {
        match *kind {
            MarketEventKind::Add { order, side, price, quantity }
            | MarketEventKind::Modify { order, side, price, quantity } => {
                self.0.insert(order, (side, price, quantity.nanos()));
            }
            MarketEventKind::Reduce { order, quantity, .. } => {
                if let Some((_, _, left)) = self.0.get_mut(&order) {
                    *left = left.saturating_sub(quantity.nanos());
                    if *left == 0 {
                        self.0.remove(&order);
                    }
                }
            }
            MarketEventKind::Clear => self.0.clear(),
            MarketEventKind::Trade { .. } | MarketEventKind::Fill { .. } => {}
            MarketEventKind::Status { .. }
            | MarketEventKind::Indication(_)
            | MarketEventKind::Definition(_) => {}
            MarketEventKind::Top { .. } | MarketEventKind::Level { .. } => {
                panic!("a book of orders is told in orders: {kind:?}")
            }
        }
    }

    /// Best price and all that rests there.
    fn best(&self, side: Side) -> Option<(Price, Quantity)> {
        let prices = self.0.values().filter(|order| order.0 == side).map(|order| order.1);
        let best = if side == Side::Buy { prices.max() } else { prices.min() }?;
        let at_best = self.0.values().filter(|order| order.0 == side && order.1 == best);
        Some((best, Quantity::from_nanos(at_best.map(|order| order.2).sum())))
    }
}

fn level(price: &str, quantity: &str) -> (Price, Quantity) {
    (Price::parse(price).unwrap(), Quantity::parse(quantity).unwrap())
}

#[test]
fn every_record_of_a_day_arrives_and_leaves_the_book_that_the_exchange_had() {
    let Some(path) = data::recorded(ESH4) else { return };
    let replay = play(&path);
    let counts = replay.ended();
    let expected = RecordCounts {
        adds: 29_216,
        cancels: 17_999,
        modifies: 12_233,
        fills: 6_371,
        trades: 2_973,
        snapshots: 8_725,
        traded: 9_892,
        ..RecordCounts::default()
    };
    assert_eq!((counts, counts.records()), (expected, 68_792));
    assert_eq!(replay.traded_nanos(), 9_892 * 1_000_000_000);
    assert_eq!(replay.events().count(), 68_792);
    assert_eq!(replay.events().filter(|event| event.last).count(), 47_022);

    let mut book = NaiveBook::default();
    for event in replay.events() {
        book.apply(&event.kind);
    }
    assert_eq!(book.best(Side::Buy), Some(level("4810.00", "22")));
    assert_eq!(book.best(Side::Sell), Some(level("4810.25", "28")));
}

#[test]
fn the_decimals_and_the_tick_come_from_the_prices() {
    let Some(path) = data::recorded(ESH4) else { return };
    let (running, instruments) = start(config(&path));
    running.stop.stop(StopReason::Requested("test"));
    let esh4 = instruments.by_symbol("ESH4").unwrap();
    assert_eq!((esh4.decimals.price.get(), esh4.decimals.quantity.get()), (2, 0));
    assert_eq!(esh4.tick, Price::parse("0.25").unwrap());
    assert_eq!((esh4.depth, esh4.tradable, instruments.count()), (MarketDepth::Orders, false, 1));
    running.thread.join().unwrap();
}

#[test]
fn no_event_is_split_over_batches() {
    let Some(path) = data::recorded(ESH4) else { return };
    let replay = play(&path);
    // The snapshot ends nowhere: its 8,725 records and the first live one are a single event.
    assert_eq!(replay.batches[0].len(), 8_726);
    for batch in &replay.batches[1..] {
        assert!((1..=BATCH_COUNT_MAX).contains(&batch.len()));
        assert!(batch.last().unwrap().last);
    }
    assert!(replay.batches.len() < 300, "batches are full: {}", replay.batches.len());
}

#[test]
fn a_book_of_the_open_market_is_never_crossed_at_the_end_of_an_event() {
    let Some(path) = data::recorded(ESH4) else { return };
    // 23:00:00.0001 UTC: the opening auction is over.
    const OPEN_NS: u64 = 1_703_545_200_000_100_000;
    let replay = play(&path);
    let mut book = NaiveBook::default();
    let mut looked_at = 0;
    for event in replay.events() {
        book.apply(&event.kind);
        // The naive book is slow: every 50th look must do.
        if event.last && event.ts_event.0 >= OPEN_NS {
            looked_at += 1;
            if looked_at % 50 == 0 {
                let (bid, ask) = (book.best(Side::Buy).unwrap(), book.best(Side::Sell).unwrap());
                assert!(bid.0 < ask.0, "crossed at {}: {bid:?} {ask:?}", event.ts_event);
            }
        }
    }
    assert!(looked_at > 30_000, "{looked_at}");
}

#[test]
fn a_snapshot_alone_is_one_event() {
    let Some(path) = data::recorded(ESH4_SNAPSHOT) else { return };
    let replay = play(&path);
    let counts = replay.ended();
    assert_eq!((counts.adds, counts.snapshots, counts.records()), (8_725, 8_725, 8_725));
    assert_eq!(replay.batches.len(), 1);
    assert_eq!(replay.events().filter(|event| event.last).count(), 1);
}

#[test]
fn the_best_prices_of_a_top_of_book_recording_arrive_with_its_trades() {
    let Some(path) = data::recorded(ESU4_TOP) else { return };
    let replay = play(&path);
    let counts = replay.ended();
    assert_eq!((counts.records(), counts.trades), (2_288, 120));
    assert_eq!((counts.adds, counts.cancels, counts.modifies, counts.snapshots), (1_061, 989, 118, 1));
    assert_eq!(replay.traded_nanos(), counts.traded * 1_000_000_000);
    assert_eq!(replay.instruments.by_symbol("ESU4").unwrap().depth, MarketDepth::Top);
    let tops: Vec<_> = replay.events().filter(|event| is_top(event)).collect();
    assert_eq!((tops.len(), replay.events().count()), (2_288, 2_288 + 120));
    for event in tops.iter().filter(|event| event.last) {
        let MarketEventKind::Top { bid: Some(bid), ask: Some(ask) } = event.kind else {
            panic!("both sides are quoted throughout: {event:?}")
        };
        assert!(bid.price < ask.price && has_orders(bid) && has_orders(ask), "{event:?}");
    }
}

fn is_top(event: &MarketEvent) -> bool {
    matches!(event.kind, MarketEventKind::Top { .. })
}

fn has_orders(level: TopLevel) -> bool {
    !level.quantity.is_zero() && level.orders > 0
}

#[test]
fn the_trades_of_a_recording_are_the_same_in_both_of_its_kinds() {
    let (Some(trades), Some(top)) = (data::recorded(ESU4_TRADES), data::recorded(ESU4_TOP)) else { return };
    let (trades, top) = (play(&trades), play(&top));
    assert_eq!((trades.ended().records(), trades.ended().trades), (120, 120));
    assert!(trades.events().all(|event| event.last), "each trade is an event of its own");
    let told = |event: &MarketEvent| (event.ts_event, event.ts_recv, event.kind);
    let of_trades: Vec<_> = trades.events().map(told).collect();
    let of_top: Vec<_> = top.events().filter(|event| !is_top(event)).map(told).collect();
    assert_eq!(of_trades, of_top);
}

#[test]
fn every_version_of_the_format_reads_as_the_same_events() {
    for (kind, records) in [("mbo", 2), ("mbp-1", 2), ("trades", 2)] {
        let replays = ["v1", "v2", "v3"].map(|version| {
            let name = format!("dbn-samples/test_data.{kind}.{version}.dbn.zst");
            data::recorded(&name).map(|path| play(&path))
        });
        let [Some(v1), Some(v2), Some(v3)] = &replays else { return };
        assert_eq!(v1.ended().records(), records, "{kind}");
        assert_eq!((v1.ended(), &v1.batches), (v2.ended(), &v2.batches), "{kind}");
        assert_eq!((v1.ended(), &v1.batches), (v3.ended(), &v3.batches), "{kind}");
        assert!(v3.instruments.by_symbol("ESH1").is_some(), "{kind}");
    }
}

#[test]
fn other_kinds_of_records_are_refused_by_name() {
    for kind in ["mbp-10", "definition"] {
        let name = format!("dbn-samples/test_data.{kind}.v3.dbn.zst");
        let Some(path) = data::recorded(&name) else { return };
        let refusal = Replay::of(&SourceConfig::Dbn(config(&path))).err().expect("it is refused");
        assert!(matches!(&refusal, SourceError::Schema { found } if found == kind), "{refusal:?}");
    }
}

#[test]
fn a_file_that_is_cut_off_plays_up_to_the_cut_and_says_so() {
    let Some(path) = data::recorded(ESH4) else { return };
    let compressed = std::fs::read(&path).unwrap();
    let plain = zstd::stream::decode_all(compressed.as_slice()).unwrap();
    for bytes in [&compressed[..compressed.len() / 2], &plain[..plain.len() / 2 + 1]] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let replay = play(file.path());
        let SourceStatus::Failed { error: SourceError::Truncated { record }, counts, .. } = &replay.status
        else {
            panic!("the cut should be told, not {:?}", replay.status)
        };
        assert_eq!(counts.records() + 1, *record);
        assert!(counts.records() > 10_000, "{counts:?}");
        assert!(replay.events().last().unwrap().last, "nothing of the broken event is sent");
    }
}

#[test]
fn a_plain_file_reads_as_its_compressed_one() {
    let Some(path) = data::recorded(ESU4_TOP) else { return };
    let mut plain = tempfile::NamedTempFile::new().unwrap();
    let compressed = std::fs::File::open(&path).unwrap();
    plain.write_all(&zstd::stream::decode_all(compressed).unwrap()).unwrap();
    let (plain, compressed) = (play(plain.path()), play(&path));
    assert_eq!((plain.ended(), plain.batches), (compressed.ended(), compressed.batches));
}

#[test]
fn a_looping_recording_clears_the_book_and_begins_again() {
    let Some(path) = data::recorded(ESU4_TOP) else { return };
    let once: Vec<_> = play(&path).batches.concat();
    let (mut running, _) = start(DbnSourceConfig { repeat: true, ..config(&path) });
    let mut runs = vec![Vec::new()];
    while runs.len() < 4 {
        match running.batches.blocking_recv().unwrap() {
            SourceBatch::Market(events) => runs.last_mut().unwrap().extend(events),
            SourceBatch::Status(SourceStatus::Restarted { counts, .. }) => {
                assert_eq!(counts.records(), 2_288);
                runs.push(Vec::new());
            }
            other => panic!("a loop has no end: {other:?}"),
        }
    }
    assert_eq!(runs[0], once);
    for run in &runs[1..3] {
        let (clear, events) = run.split_first().unwrap();
        assert_eq!((clear.kind, clear.last), (MarketEventKind::Clear, true));
        assert_eq!((clear.ts_event, clear.ts_recv), (once[0].ts_event, once[0].ts_recv));
        assert_eq!(events, once);
    }
    running.stop.stop(StopReason::Requested("test"));
    running.thread.join().unwrap();
}

#[test]
fn nothing_is_sent_before_the_awaited_subscribers_are_there() {
    let Some(path) = data::recorded(ESU4_TRADES) else { return };
    let waiting = || start(DbnSourceConfig { wait_for_subscribers: 2, ..config(&path) }).0;

    let mut stopped = waiting();
    stopped.subscribers.send_replace(1);
    stopped.stop.stop(StopReason::Requested("test"));
    assert!(stopped.batches.blocking_recv().is_none(), "one subscriber is not enough");
    stopped.thread.join().unwrap();

    let mut served = waiting();
    served.subscribers.send_replace(2);
    assert!(matches!(served.batches.blocking_recv(), Some(SourceBatch::Market(_))));
    drop(served.batches);
    served.thread.join().unwrap();
}

#[test]
fn stopping_ends_a_wait_for_the_next_record_and_a_wait_for_room() {
    let Some(path) = data::recorded(ESH4) else { return };
    // At the pace of the recording, minutes pass between the first live records.
    let (mut slow, _) = start(DbnSourceConfig { speed: Speed::Times(1), ..config(&path) });
    let Some(SourceBatch::Market(first)) = slow.batches.blocking_recv() else { panic!("data comes first") };
    assert_eq!(first.len(), 8_726);
    slow.stop.stop(StopReason::Requested("test"));
    slow.thread.join().unwrap();

    // Nobody reads: the source stands in front of the full channel.
    let (full, _) = start(config(&path));
    full.stop.stop(StopReason::Requested("test"));
    full.thread.join().unwrap();
}
