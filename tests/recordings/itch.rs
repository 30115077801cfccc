//! ITCH 5.0: Nasdaq's own sample, and days made here from the specification, held against the simplest book there is.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use proptest::prelude::*;
use sealfeed::config::{ItchSourceConfig, SourceConfig, Speed};
use sealfeed::feed::{Book, Changes};
use sealfeed::source::{RecordCounts, SourceError, SourceStatus};
use sealfeed::types::{
    Code, Definition, InstrumentId, MarketDepth, MarketEventKind, Price, Quantity, Side, Symbol, TradingState,
};

use crate::data::recorded;
use crate::file_of;
use crate::replay::Replay;

const SAMPLE: &str = "itch50_20191230_first1000.itch";
const MIDNIGHT_NS: u64 = 1_577_682_000_000_000_000;

fn config(path: &Path) -> ItchSourceConfig {
    ItchSourceConfig {
        speed: Speed::Max,
        midnight: "2019-12-30T00:00:00-05:00".parse().unwrap(),
        ..ItchSourceConfig::new(path.to_owned())
    }
}

fn play(bytes: &[u8]) -> Result<Replay, SourceError> {
    Replay::of(&SourceConfig::Itch(config(file_of(bytes).path())))
}

/// Writes a day.
#[derive(Default)]
struct Day {
    bytes: Vec<u8>,
    time_ns: u64,
}

impl Day {
    /// A day whose directory lists these stocks, numbered from 1.
    fn of(stocks: &[&str]) -> Self {
        let mut day = Self { bytes: Vec::new(), time_ns: 1_000 };
        for (locate, stock) in (1..).zip(stocks) {
            let mut body = Vec::new();
            body.extend(name(stock));
            body.extend(b"QN");
            body.extend(100_u32.to_be_bytes());
            body.extend(b"NCZ PNN1N");
            body.extend(0_u32.to_be_bytes());
            body.extend(b"N");
            day.message(b'R', locate, &body);
        }
        day
    }

    fn message(&mut self, kind: u8, locate: u16, body: &[u8]) {
        let bytes = u16::try_from(11 + body.len()).unwrap();
        self.bytes.extend(bytes.to_be_bytes());
        self.bytes.push(kind);
        self.bytes.extend(locate.to_be_bytes());
        self.bytes.extend(0_u16.to_be_bytes());
        self.bytes.extend(&self.time_ns.to_be_bytes()[2..]);
        self.bytes.extend(body);
        self.time_ns += 1_000;
    }

    fn add(&mut self, locate: u16, stock: &str, order: u64, side: u8, shares: u32, price: u32) {
        let attribution: &[u8] = if order.is_multiple_of(2) { b"NSDQ" } else { b"" };
        let mut body = order.to_be_bytes().to_vec();
        body.push(side);
        body.extend(shares.to_be_bytes());
        body.extend(name(stock));
        body.extend(price.to_be_bytes());
        body.extend(attribution);
        self.message(if attribution.is_empty() { b'A' } else { b'F' }, locate, &body);
    }

    fn of_order(&mut self, kind: u8, locate: u16, order: u64, rest: &[&[u8]]) {
        let mut body = order.to_be_bytes().to_vec();
        rest.iter().for_each(|field| body.extend(*field));
        self.message(kind, locate, &body);
    }
}

fn name(stock: &str) -> [u8; 8] {
    let mut name = [b' '; 8];
    name[..stock.len()].copy_from_slice(stock.as_bytes());
    name
}

fn shares(count: u32) -> Quantity {
    Quantity::from_nanos(u64::from(count) * 1_000_000_000)
}

fn dollars(units: u32) -> Price {
    Price::from_nanos(i64::from(units) * 100_000)
}

#[test]
fn the_sample_of_nasdaq_is_read_exactly() {
    let Some(path) = recorded(SAMPLE) else { return };
    let replay = Replay::of(&SourceConfig::Itch(config(&path))).unwrap();
    // R 993 and H 3 are states; Y 3 and S 1 say nothing of a market.
    let expected = RecordCounts { states: 996, others: 4, ..RecordCounts::default() };
    assert_eq!((replay.ended(), replay.ended().records()), (expected, 1_000));
    // All but the warrants, rights, units and when-issued stocks, whose names have `+`, `^`, `=` and `#`.
    assert_eq!(replay.instruments.count(), 985);
    let symbols: Vec<_> = replay.instruments.iter().take(3).map(|one| one.symbol.to_string()).collect();
    assert_eq!(symbols, ["A", "AA", "AAAU"]);

    let events: Vec<_> = replay.events().collect();
    assert_eq!(events.len(), 985 + 3, "each is one event");
    assert!(events.iter().all(|event| event.last));
    let first = MarketEventKind::Definition(Definition {
        price_decimals: sealfeed::types::Decimals::new(4),
        tick: None,
        lot: None,
        round_lot: Some(shares(100)),
    });
    assert_eq!((events[0].kind, events[0].instrument), (first, InstrumentId(0)));
    // 0x0a53a2887058 nanoseconds since midnight: 03:09:14 in New York.
    assert_eq!(events[0].ts_event.0, MIDNIGHT_NS + 0x0a53_a288_7058);
    let is_status =
        |event: &&&sealfeed::types::MarketEvent| matches!(event.kind, MarketEventKind::Status { .. });
    let states: Vec<_> = events.iter().filter(is_status).map(|event| event.kind).collect();
    assert_eq!(states, [MarketEventKind::Status { state: TradingState::Trading, reason: None }; 3]);
}

#[test]
fn only_configured_stocks_are_published_and_an_absent_one_is_refused() {
    let Some(path) = recorded(SAMPLE) else { return };
    let symbol = |text: &str| Symbol::new(text).unwrap();
    let wanted = ItchSourceConfig { symbols: vec![symbol("AAAU")], ..config(&path) };
    let replay = Replay::of(&SourceConfig::Itch(wanted)).unwrap();
    let one = replay.instruments.by_symbol("AAAU").unwrap();
    assert_eq!(
        (one.depth, one.decimals.price.get(), one.decimals.quantity.get()),
        (MarketDepth::Orders, 4, 0)
    );
    assert_eq!(replay.instruments.count(), 1);
    assert!(replay.events().all(|event| event.instrument == one.id));
    let absent = ItchSourceConfig { symbols: vec![symbol("NOSUCH")], ..config(&path) };
    let refusal = Replay::of(&SourceConfig::Itch(absent)).err().unwrap();
    assert!(matches!(refusal, SourceError::SymbolAbsent { .. }), "{refusal}");
}

#[test]
fn every_message_about_an_order_becomes_its_records() {
    let mut day = Day::of(&["X"]);
    day.add(1, "X", 7, b'B', 300, 100_000);
    day.of_order(b'E', 1, 7, &[&100_u32.to_be_bytes(), &1_u64.to_be_bytes()]);
    let other_price = |printable: &[u8]| {
        [&50_u32.to_be_bytes()[..], &2_u64.to_be_bytes(), printable, &99_000_u32.to_be_bytes()].concat()
    };
    day.of_order(b'C', 1, 7, &[&other_price(b"Y")]);
    day.of_order(b'C', 1, 7, &[&other_price(b"N")]);
    day.of_order(b'X', 1, 7, &[&10_u32.to_be_bytes()]);
    day.of_order(b'U', 1, 7, &[&9_u64.to_be_bytes(), &40_u32.to_be_bytes(), &101_000_u32.to_be_bytes()]);
    day.of_order(b'D', 1, 9, &[]);
    let hidden =
        [&b"B"[..], &5_u32.to_be_bytes(), &name("X"), &100_500_u32.to_be_bytes(), &3_u64.to_be_bytes()];
    day.of_order(b'P', 1, 0, &hidden);
    let cross = |count: u64| {
        [&count.to_be_bytes()[..], &name("X"), &100_000_u32.to_be_bytes(), &4_u64.to_be_bytes(), b"O"]
            .concat()
    };
    day.message(b'Q', 1, &cross(1_000));
    day.message(b'Q', 1, &cross(0));
    day.message(b'B', 1, &4_u64.to_be_bytes());
    day.message(b'H', 1, &[&name("X")[..], b"H", b" ", b"T1  "].concat());

    let replay = play(&day.bytes).unwrap();
    let reduce = |order, price, count| MarketEventKind::Reduce {
        order: sealfeed::types::OrderId(order),
        side: Side::Buy,
        price: dollars(price),
        quantity: shares(count),
    };
    let add = |order, price, count| MarketEventKind::Add {
        order: sealfeed::types::OrderId(order),
        side: Side::Buy,
        price: dollars(price),
        quantity: shares(count),
    };
    let trade = |price, count, aggressor, trade_id| MarketEventKind::Trade {
        price: dollars(price),
        quantity: shares(count),
        aggressor,
        trade_id,
    };
    let expected = [
        (add(7, 100_000, 300), true),
        (trade(100_000, 100, Some(Side::Sell), 1), false),
        (reduce(7, 100_000, 100), true),
        (trade(99_000, 50, Some(Side::Sell), 2), false),
        (reduce(7, 100_000, 50), true),
        (reduce(7, 100_000, 50), true),
        (reduce(7, 100_000, 10), true),
        (reduce(7, 100_000, 90), false),
        (add(9, 101_000, 40), true),
        (reduce(9, 101_000, 40), true),
        (trade(100_500, 5, None, 3), true),
        (trade(100_000, 1_000, None, 4), true),
        (
            MarketEventKind::Status {
                state: TradingState::Halted,
                reason: sealfeed::types::StatusReason::new("T1"),
            },
            true,
        ),
    ];
    let events: Vec<_> = replay.events().skip(1).map(|event| (event.kind, event.last)).collect();
    assert_eq!(events, expected);
    assert_eq!(replay.ended().broken_trades, 1);
}

#[test]
fn what_cannot_be_ends_the_source_at_its_message() {
    type Break = fn(&mut Day);
    let cases: [(Break, Code, &str); 11] = [
        (|day| day.of_order(b'D', 1, 8, &[]), Code::PubRecordUnusable, "it does not rest"),
        (|day| day.add(1, "X", 7, b'B', 1, 1), Code::PubRecordUnusable, "it rests already"),
        (|day| day.add(1, "X", 8, b'B', 0, 1), Code::PubRecordUnusable, "it comes with nothing"),
        (|day| day.add(1, "X", 8, b'?', 1, 1), Code::PubRecordUnusable, "field of this kind"),
        (|day| day.add(1, "Y", 8, b'B', 1, 1), Code::PubRecordUnusable, "no usable stock"),
        (
            |day| day.of_order(b'X', 1, 7, &[&101_u32.to_be_bytes()]),
            Code::PubRecordUnusable,
            "more is taken off than it has",
        ),
        (
            |day| day.of_order(b'X', 1, 7, &[&0_u32.to_be_bytes()]),
            Code::PubRecordUnusable,
            "nothing is taken off",
        ),
        (|day| day.of_order(b'D', 2, 7, &[]), Code::PubRecordUnusable, "it is another instrument's"),
        (|day| day.message(b'z', 1, &[0; 8]), Code::PubRecordUnusable, "kind 'z', 19 bytes"),
        (
            |day| {
                day.time_ns = 5;
                day.of_order(b'D', 1, 7, &[]);
            },
            Code::PubSequenceBackwards,
            "ns older",
        ),
        (
            |day| {
                day.time_ns = 90_001_000_000_000;
                day.of_order(b'D', 1, 7, &[]);
            },
            Code::PubRecordUnusable,
            "no usable time",
        ),
    ];
    for (damage, code, reason) in cases {
        let mut day = Day::of(&["X", "Z"]);
        day.add(1, "X", 7, b'B', 100, 1);
        damage(&mut day);
        let replay = play(&day.bytes).unwrap();
        let SourceStatus::Failed { error, counts, .. } = &replay.status else { panic!("{reason}: it ended") };
        assert!(error.to_string().contains(reason), "{reason}: {error}");
        assert_eq!(error.code(), code, "{reason}");
        assert_eq!(replay.events().count(), 3, "{reason}");
        assert!(counts.records() >= 3);
    }
}

#[test]
fn a_day_cut_anywhere_plays_its_whole_messages_and_tells_of_the_cut() {
    let mut day = Day::of(&["X"]);
    let mut ends = vec![0, day.bytes.len()];
    for order in 1..=4 {
        day.add(1, "X", order, b'S', 100, 10_000);
        ends.push(day.bytes.len());
    }
    for length in 0..=day.bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length).count() - 1;
        let is_cut = !ends.contains(&length);
        match play(&day.bytes[..length]) {
            Ok(replay) => {
                assert_eq!(replay.events().count(), whole, "{length} bytes");
                match &replay.status {
                    SourceStatus::Failed { error, .. } => {
                        assert!(
                            is_cut && error.code() == Code::PubSourceTruncated,
                            "{length} bytes: {error}"
                        );
                    }
                    _ => assert!(!is_cut, "{length} bytes"),
                }
            }
            Err(error) => assert!(whole == 0, "{length} bytes: {error}"),
        }
    }
}

/// The simplest book there is: all orders, searched through.
#[derive(Default)]
struct Naive(BTreeMap<u64, (u8, u32, u32)>);

impl Naive {
    /// Price and quantity of every level, best first.
    fn levels(&self, side: u8) -> Vec<(Price, Quantity, u32)> {
        let mut levels: BTreeMap<u32, (u64, u32)> = BTreeMap::new();
        for (_, price, count) in self.0.values().filter(|order| order.0 == side) {
            let level = levels.entry(*price).or_default();
            *level = (level.0 + u64::from(*count), level.1 + 1);
        }
        let ascending = levels.into_iter().map(|(price, (count, orders))| {
            (dollars(price), Quantity::from_nanos(count * 1_000_000_000), orders)
        });
        if side == b'B' { ascending.rev().collect() } else { ascending.collect() }
    }
}

/// One random step, made to fit what rests.
type Step = (u8, u16, u32, u32, prop::sample::Index);

/// Writes a random day and keeps what must be after each message.
fn random_day(steps: &[Step]) -> (Day, Vec<(u16, Naive)>, u64) {
    let stocks = ["AB", "CDE"];
    let mut day = Day::of(&stocks);
    let mut books = [Naive::default(), Naive::default()];
    let (mut states, mut next, mut traded) = (Vec::new(), 1, 0);
    for (kind, which, count, price, pick) in steps {
        let book = &mut books[usize::from(*which)];
        let locate = which + 1;
        let side = if price.is_multiple_of(2) { b'B' } else { b'S' };
        if book.0.is_empty() || *kind == 0 {
            day.add(locate, stocks[usize::from(*which)], next, side, *count, *price);
            book.0.insert(next, (side, *price, *count));
            next += 1;
        } else {
            let (order, (side, rests_at, rests)) = book
                .0
                .iter()
                .map(|(order, resting)| (*order, *resting))
                .nth(pick.index(book.0.len()))
                .unwrap();
            let taken = count % rests + 1;
            let fields = (taken.to_be_bytes(), next.to_be_bytes(), price.to_be_bytes());
            match kind {
                1 => day.of_order(b'E', locate, order, &[&fields.0, &fields.1]),
                2 => day.of_order(b'C', locate, order, &[&fields.0, &fields.1, b"Y", &fields.2]),
                3 => day.of_order(b'X', locate, order, &[&fields.0]),
                4 => day.of_order(b'D', locate, order, &[]),
                _ => day.of_order(b'U', locate, order, &[&fields.1, &count.to_be_bytes(), &fields.2]),
            }
            traded += if matches!(kind, 1 | 2) { u64::from(taken) } else { 0 };
            match kind {
                1..=3 if taken < rests => drop(book.0.insert(order, (side, rests_at, rests - taken))),
                1..=4 => drop(book.0.remove(&order)),
                _ => {
                    book.0.remove(&order);
                    book.0.insert(next, (side, *price, *count));
                    next += 1;
                }
            }
        }
        states.push((*which, Naive(book.0.clone())));
    }
    (day, states, traded)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_book_is_that_of_the_simplest_one_after_every_message_of_a_random_day(
        steps in prop::collection::vec(
            (0_u8..6, 0_u16..2, 1_u32..500, 1_u32..40, any::<prop::sample::Index>()), 1..200
        )
    ) {
        let (day, states, traded) = random_day(&steps);
        let replay = play(&day.bytes).unwrap();
        let mut books: HashMap<InstrumentId, Book> = HashMap::new();
        let mut states = states.iter();
        // Behind the directory, every event is one message.
        for event in replay.events().skip(2) {
            let book = books.entry(event.instrument).or_default();
            book.apply(&event.kind);
            if !event.last {
                continue;
            }
            book.end_event(&mut Changes::default());
            let (which, naive) = states.next().unwrap();
            prop_assert_eq!(event.instrument, InstrumentId(u32::from(*which)));
            for (side, letter) in [(Side::Buy, b'B'), (Side::Sell, b'S')] {
                let levels: Vec<_> = book.levels(side).map(|one| (one.price, one.quantity, one.orders)).collect();
                prop_assert_eq!(levels, naive.levels(letter));
            }
            prop_assert_eq!(book.unknown_orders(), 0);
        }
        prop_assert!(states.next().is_none());
        prop_assert_eq!(replay.ended().records(), steps.len() as u64 + 2);
        prop_assert_eq!(replay.traded_nanos(), traded * 1_000_000_000);
    }

    #[test]
    fn damaged_bytes_of_a_day_are_an_error_or_other_data_but_never_a_panic(
        steps in prop::collection::vec(
            (0_u8..6, 0_u16..2, 1_u32..500, 1_u32..40, any::<prop::sample::Index>()), 1..40
        ),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let (mut day, _, _) = random_day(&steps);
        for (index, byte) in damage {
            let index = index.index(day.bytes.len());
            day.bytes[index] = byte;
        }
        if let Ok(replay) = play(&day.bytes) {
            prop_assert!(replay.events().last().is_none_or(|event| event.last), "half an event was sent");
        }
    }
}
