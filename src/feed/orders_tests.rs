//! What readers of `mbo` begin with: the orders as they stand, shared, and without a hole towards what follows.

use dbn::decode::DecodeRecordRef as _;
use dbn::decode::dbn::RecordDecoder;
use dbn::{MboMsg, VersionUpgradePolicy, flags};
use proptest::prelude::*;
use sealfeed_wire::market::{Mbo, MboAction, MboSnapshot};
use sealfeed_wire::{Aggressor, MarketMessage};

use super::client::decode;
use super::frame::FRAME_HEADER_BYTES_MAX;
use super::tests::{NOW, ORDERS, TRADES, add, event, feed_of, reduce, request};
use super::*;
use crate::types::{BookSide, Channel, Code, Decimals, MarketEventKind, OrderId, Price, Quantity, Side};

const UNIT: u64 = 1_000_000_000;

/// Number, side, price and quantity in units; in the places of the queue.
type Plain = (u64, BookSide, i64, u64);

/// The naive model: every order in one list, in the order in which they came to their places.
#[derive(Clone, Debug, Default)]
struct Naive(Vec<Plain>);

impl Naive {
    fn apply(&mut self, kind: &MarketEventKind) {
        match *kind {
            MarketEventKind::Add { order, side, price, quantity } => {
                self.0.retain(|held| held.0 != order.0);
                self.0.push((order.0, side, price.nanos(), quantity.nanos() / UNIT));
            }
            MarketEventKind::Modify { order, side, price, quantity } => {
                let now = (order.0, side, price.nanos(), quantity.nanos() / UNIT);
                let held = self.0.iter_mut().find(|held| held.0 == order.0);
                match held.filter(|held| (held.1, held.2) == (now.1, now.2) && held.3 >= now.3) {
                    Some(held) => *held = now,
                    None => {
                        self.0.retain(|held| held.0 != order.0);
                        self.0.push(now);
                    }
                }
            }
            MarketEventKind::Reduce { order, quantity, .. } => {
                if let Some(held) = self.0.iter_mut().find(|held| held.0 == order.0) {
                    held.3 = held.3.saturating_sub(quantity.nanos() / UNIT);
                }
            }
            MarketEventKind::Clear => self.0.clear(),
            _ => {}
        }
        self.0.retain(|held| held.3 > 0);
    }

    /// Bids first, the best price first.
    fn sorted(&self) -> Vec<Plain> {
        let mut all = self.0.clone();
        all.sort_by_key(|(_, side, price, _)| match side {
            Side::Buy => (0, -price),
            Side::Sell => (1, *price),
        });
        all
    }
}

fn plain_feed() -> Feed {
    feed_of(Decimals::new(0).unwrap())
}

fn read(encoding: Encoding) -> StreamRequest {
    StreamRequest { encoding, ..request(Channel::Mbo) }
}

/// The payload of a frame.
fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        126 => 4,
        127 => FRAME_HEADER_BYTES_MAX,
        _ => 2,
    };
    &frame[header..]
}

fn parts(snapshot: &OrderSnapshot) -> Vec<Part> {
    (0..snapshot.parts()).map(|place| snapshot.part(place).unwrap()).collect()
}

fn texts(snapshot: &OrderSnapshot) -> Vec<MboSnapshot> {
    let text = |part: &Part| match decode(payload(&part.frame)) {
        MarketMessage::MboSnapshot(text) => text,
        other => panic!("no snapshot: {other:?}"),
    };
    parts(snapshot).iter().map(text).collect()
}

fn records(snapshot: &OrderSnapshot) -> Vec<MboMsg> {
    let mut all = Vec::new();
    for part in parts(snapshot) {
        let mut decoder = RecordDecoder::with_version(
            payload(&part.frame),
            dbn::DBN_VERSION,
            VersionUpgradePolicy::AsIs,
            false,
        )
        .unwrap();
        let before = all.len();
        while let Some(record) = decoder.decode_record_ref().unwrap() {
            all.push(record.get::<MboMsg>().unwrap().clone());
        }
        assert_eq!((all.len() - before) as u64, part.messages);
    }
    all
}

fn of_texts(texts: &[MboSnapshot]) -> Vec<Plain> {
    let side = |side: BookSide| {
        texts.iter().flat_map(move |text| {
            let orders = if side == Side::Buy { &text.bids } else { &text.asks };
            orders.iter().map(move |one| (one.order_id, side, one.price.nanos(), one.quantity.nanos() / UNIT))
        })
    };
    side(Side::Buy).chain(side(Side::Sell)).collect()
}

fn of_records(records: &[MboMsg]) -> Vec<Plain> {
    let plain = |record: &MboMsg| {
        let side = if record.side().unwrap() == dbn::Side::Bid { Side::Buy } else { Side::Sell };
        (record.order_id, side, record.price, u64::from(record.size))
    };
    records.iter().map(plain).collect()
}

/// What a record of the stream does to the model.
fn follow(model: &mut Naive, mbo: &Mbo) {
    let (Some(order), Some(price), Some(quantity)) = (mbo.order_id.map(OrderId), mbo.price, mbo.quantity)
    else {
        return model.apply(&MarketEventKind::Clear);
    };
    let side = if mbo.side == Aggressor::Buy { Side::Buy } else { Side::Sell };
    model.apply(&match mbo.action {
        MboAction::Add => MarketEventKind::Add { order, side, price, quantity },
        MboAction::Modify => MarketEventKind::Modify { order, side, price, quantity },
        _ => MarketEventKind::Reduce { order, side, price, quantity },
    });
}

fn record() -> impl Strategy<Value = MarketEventKind> {
    (0_u64..40, any::<bool>(), 90_i64..110, 1_u64..6, 0..100_u32).prop_map(
        |(order, buys, price, units, what)| {
            let (side, quantity) = (if buys { Side::Buy } else { Side::Sell }, units * UNIT);
            let (price, amount) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
            match what {
                0 => MarketEventKind::Clear,
                1..45 => add(order, side, price.nanos(), quantity),
                45..65 => MarketEventKind::Modify { order: OrderId(order), side, price, quantity: amount },
                _ => reduce(order, quantity),
            }
        },
    )
}

proptest! {
    #[test]
    fn whoever_joins_anywhere_has_the_orders_of_the_naive_model_then_and_after_every_record(
        before in prop::collection::vec((record(), any::<bool>()), 0..120),
        after in prop::collection::vec((record(), any::<bool>()), 0..60),
    ) {
        let (mut feed, mut naive) = (plain_feed(), Naive::default());
        let mut out = Vec::new();
        for (kind, last) in &before {
            feed.apply(&event(ORDERS, *kind, *last), NOW, &mut out);
            naive.apply(kind);
        }
        let text = feed.subscribe(ORDERS, read(Encoding::Json), NOW).unwrap();
        let binary = feed.subscribe(ORDERS, read(Encoding::Dbn), NOW).unwrap();
        prop_assert_eq!(text.seq.get(), before.len() as u64);
        let snapshot = feed.orders(text.stream, NOW, 0).unwrap().unwrap().snapshot;
        prop_assert_eq!(snapshot.seq(), text.seq);
        let texts = texts(&snapshot);
        let mut followed = Naive(of_texts(&texts));
        prop_assert_eq!(&followed.0, &naive.sorted());
        let records = records(&feed.orders(binary.stream, NOW, 0).unwrap().unwrap().snapshot);
        let (clear, adds) = records.split_first().unwrap();
        prop_assert_eq!(clear.action().unwrap(), dbn::Action::Clear);
        prop_assert_eq!(of_records(adds), naive.sorted());
        prop_assert!(records.iter().all(|one| one.flags.is_snapshot()
            && u64::from(one.sequence) == text.seq.get()));
        let is_whole = texts.last().unwrap().last;
        let ends = records.iter().map(|one| one.flags.is_last()).collect::<Vec<_>>();
        prop_assert_eq!(ends.iter().filter(|last| **last).count(), usize::from(is_whole));
        prop_assert_eq!(ends.last(), Some(&is_whole));
        prop_assert!(is_whole || !before.last().is_none_or(|(_, last)| *last), "between events it is whole");

        out.clear();
        for (kind, last) in &after {
            feed.apply(&event(ORDERS, *kind, *last), NOW, &mut out);
            naive.apply(kind);
        }
        let mut seq = snapshot.seq();
        for one in out.iter().filter(|one| one.stream == text.stream) {
            let MarketMessage::Mbo(mbo) = decode(&one.message) else { panic!("a record") };
            prop_assert_eq!(mbo.header.prev_seq, Some(seq), "no hole and no overlap");
            seq = mbo.header.seq;
            follow(&mut followed, &mbo);
        }
        prop_assert_eq!(followed.sorted(), naive.sorted());
    }
}

#[test]
fn the_parts_of_a_snapshot_are_small_say_how_many_they_are_and_only_the_last_ends_it() {
    let mut feed = plain_feed();
    for order in 0..1_000 {
        feed.apply(&event(ORDERS, add(order, Side::Sell, 100, UNIT), true), NOW, &mut Vec::new());
    }
    for (encoding, expected) in [(Encoding::Json, 4), (Encoding::Dbn, 1_001)] {
        let joined = feed.subscribe(ORDERS, read(encoding), NOW).unwrap();
        let snapshot = feed.orders(joined.stream, NOW, 0).unwrap().unwrap().snapshot;
        let parts = parts(&snapshot);
        assert_eq!(parts.len(), 4);
        assert!(parts.iter().all(|part| part.frame.len() < 16 * 1024));
        assert_eq!(parts.iter().map(|part| part.messages).sum::<u64>(), expected);
        assert!(snapshot.part(4).is_none());
        if encoding == Encoding::Json {
            let said: Vec<_> = texts(&snapshot).iter().map(|one| (one.part, one.parts, one.last)).collect();
            assert_eq!(said, [(1, 4, false), (2, 4, false), (3, 4, false), (4, 4, true)]);
        }
    }
}

#[test]
fn a_snapshot_of_an_empty_book_is_one_part_that_says_so() {
    let mut feed = plain_feed();
    let joined = feed.subscribe(ORDERS, read(Encoding::Dbn), NOW).unwrap();
    let records = records(&feed.orders(joined.stream, NOW, 0).unwrap().unwrap().snapshot);
    let [clear] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(clear.action().unwrap(), dbn::Action::Clear);
    assert_eq!(clear.flags.raw(), flags::SNAPSHOT | flags::LAST);
}

#[test]
fn who_joins_while_a_snapshot_is_on_its_way_shares_it_and_gets_what_came_since() {
    let mut feed = plain_feed();
    for order in 0..500 {
        feed.apply(&event(ORDERS, add(order, Side::Buy, 100, UNIT), true), NOW, &mut Vec::new());
    }
    let joined = feed.subscribe(ORDERS, read(Encoding::Json), NOW).unwrap();
    let first = feed.orders(joined.stream, NOW, usize::MAX).unwrap().unwrap();
    feed.apply(&event(ORDERS, reduce(7, UNIT), true), NOW, &mut Vec::new());
    let second = feed.orders(joined.stream, NOW, usize::MAX).unwrap().unwrap();
    assert!(std::ptr::eq(&*first.snapshot, &*second.snapshot));
    assert_eq!((first.since.len(), second.since.len()), (0, 1));
    assert_eq!(decode_seq(&second.since[0]), first.snapshot.seq().next().get());
    let exact = feed.orders(joined.stream, NOW, 0).unwrap().unwrap();
    assert_eq!((exact.snapshot.seq(), exact.since.len()), (first.snapshot.seq().next(), 0));
    drop((first, second, exact));
    let afresh = feed.orders(joined.stream, NOW, usize::MAX).unwrap().unwrap();
    assert!(afresh.since.is_empty(), "nobody is sent the old one any more");
}

fn decode_seq(message: &[u8]) -> u64 {
    let MarketMessage::Mbo(mbo) = decode(message) else { panic!("a record") };
    mbo.header.seq.get()
}

#[test]
fn what_snapshots_take_is_bounded_and_given_back() {
    let mut feed = plain_feed();
    for order in 0..200_000 {
        feed.apply(&event(ORDERS, add(order, Side::Buy, 100, UNIT), true), NOW, &mut Vec::new());
    }
    let joined = feed.subscribe(ORDERS, read(Encoding::Dbn), NOW).unwrap();
    let mut held = Vec::new();
    let refused = loop {
        feed.apply(&event(ORDERS, add(1_000_000, Side::Buy, 100, UNIT), true), NOW, &mut Vec::new());
        match feed.orders(joined.stream, NOW, 0) {
            Ok(orders) => held.push(orders),
            Err(code) => break code,
        }
    };
    assert_eq!((held.len(), refused), (2, Code::SubOrdersTooMany));
    held.pop();
    assert!(feed.orders(joined.stream, NOW, 0).is_ok());
}

#[test]
fn no_other_stream_begins_with_orders() {
    let mut feed = plain_feed();
    for (instrument, channel) in [(TRADES, Channel::Trades), (ORDERS, Channel::Book)] {
        let joined = feed.subscribe(instrument, request(channel), NOW).unwrap();
        assert_eq!(feed.orders(joined.stream, NOW, 0), Ok(None));
    }
}
