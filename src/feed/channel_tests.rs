//! The channels of records, bars and facts; records beside texts; conflation; and what is kept for readers who come back.

use dbn::decode::DecodeRecordRef as _;
use dbn::decode::dbn::RecordDecoder;
use dbn::{
    HasRType, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, OhlcvMsg, StatusMsg, TradeMsg,
    VersionUpgradePolicy,
};
use proptest::prelude::*;
use sealfeed_wire::market::{MboAction, TradingState};
use sealfeed_wire::{Conflation, Level, MarketMessage};

use super::client::{BookClient, decode};
use super::tests::{
    HEARTBEAT_NS, NOW, ORDERS, RINGS, TRADES, add, event, feed_of, kind, levels, reduce, request,
};
use super::*;
use crate::types::{
    Channel, Code, Decimals, Definition, Depth, MarketEventKind, OrderId, Price, Quantity, Sequence, Side,
    StatusReason, TimeArithmetic as _, UnixNanos,
};

const UNIT: u64 = 1_000_000_000;

/// A feed whose quantities are whole units, as records need it.
fn whole_feed() -> Feed {
    feed_of(Decimals::new(0).unwrap())
}

fn apply(feed: &mut Feed, kind: MarketEventKind, last: bool) -> Vec<Publication> {
    let mut out = Vec::new();
    feed.apply(&event(ORDERS, kind, last), NOW, &mut out);
    out
}

/// A trade of one unit.
fn trade(price: i64, aggressor: Option<Side>, trade_id: u64) -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(UNIT));
    MarketEventKind::Trade { price, quantity, aggressor, trade_id }
}

fn fill() -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(9), Quantity::from_nanos(UNIT));
    MarketEventKind::Fill { order: OrderId(7), side: Some(Side::Buy), price, quantity }
}

fn records(channel: Channel) -> StreamRequest {
    StreamRequest { encoding: Encoding::Dbn, ..request(channel) }
}

fn record<T: HasRType<Header = dbn::RecordHeader> + Clone>(bytes: &[u8]) -> T {
    assert_eq!(Encoding::of(bytes), Encoding::Dbn);
    let mut decoder =
        RecordDecoder::with_version(bytes, dbn::DBN_VERSION, VersionUpgradePolicy::AsIs, false).unwrap();
    let record = decoder.decode_record_ref().unwrap().unwrap().get::<T>().unwrap().clone();
    assert!(decoder.decode_record_ref().unwrap().is_none(), "one record a message");
    record
}

#[test]
fn every_record_of_an_instrument_with_orders_comes_as_it_is() {
    let mut feed = whole_feed();
    let subscribed = feed.subscribe(ORDERS, request(Channel::Mbo), NOW).unwrap();
    assert_eq!((subscribed.seq, subscribed.state), (Sequence::ZERO, None));
    for (kind, last, expected) in [
        (add(7, Side::Buy, 5, UNIT), false, (MboAction::Add, Some(7), Some(5), Some(UNIT))),
        (reduce(7, UNIT), true, (MboAction::Cancel, Some(7), Some(0), Some(UNIT))),
        (trade(9, Some(Side::Sell), 3), false, (MboAction::Trade, None, Some(9), Some(UNIT))),
        (fill(), false, (MboAction::Fill, Some(7), Some(9), Some(UNIT))),
        (MarketEventKind::Clear, true, (MboAction::Clear, None, None, None)),
    ] {
        let messages = apply(&mut feed, kind, last);
        let [message] = messages.as_slice() else { panic!("{messages:?}") };
        let MarketMessage::Mbo(mbo) = decode(&message.message) else { panic!("no record of an order") };
        let (price, quantity) = (mbo.price.map(Price::nanos), mbo.quantity.map(Quantity::nanos));
        assert_eq!((mbo.action, mbo.order_id, price, quantity), expected);
        assert_eq!(mbo.last, last);
    }
}

#[test]
fn a_stream_of_events_counts_from_the_epochs_beginning_whoever_reads() {
    let mut feed = whole_feed();
    for n in 0..5 {
        apply(&mut feed, trade(n, None, 0), true);
    }
    for channel in [Channel::Trades, Channel::Mbo] {
        assert_eq!(feed.subscribe(ORDERS, request(channel), NOW).unwrap().seq, Sequence::new(5).unwrap());
    }
}

#[test]
fn bars_come_with_their_intervals_end_and_are_counted_without_readers() {
    let mut feed = whole_feed();
    let at = |feed: &mut Feed, second: u64, price| {
        let mut out = Vec::new();
        let mut event = event(ORDERS, trade(price, None, 0), true);
        event.ts_event = UnixNanos((1_000 + second) * UNIT);
        feed.apply(&event, NOW, &mut out);
        out
    };
    at(&mut feed, 0, 1);
    at(&mut feed, 1, 2);
    let subscribed = feed.subscribe(ORDERS, request(Channel::Ohlcv1s), NOW).unwrap();
    assert_eq!(subscribed.seq, Sequence::new(1).unwrap());
    let messages: Vec<_> = at(&mut feed, 2, 3).iter().map(|one| decode(&one.message)).collect();
    let [MarketMessage::Ohlcv(bar), MarketMessage::IntervalEnd(end)] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!((bar.open, bar.trades, bar.header.seq), (Price::from_nanos(2), 1, subscribed.seq.next()));
    assert_eq!(bar.header.ts_event, UnixNanos(1_001 * UNIT));
    assert_eq!((end.seq, end.ts), (bar.header.seq, UnixNanos(1_002 * UNIT)));
    let mut out = Vec::new();
    feed.tick(NOW.plus_ns(2 * UNIT), &mut out);
    assert!(matches!(decode(&out[0].message), MarketMessage::Ohlcv(bar) if bar.open == Price::from_nanos(3)));
}

#[test]
fn status_and_definition_send_their_present_record_at_once() {
    let mut feed = whole_feed();
    let state = |feed: &mut Feed, channel| {
        decode(&feed.subscribe(ORDERS, request(channel), NOW).unwrap().state.unwrap())
    };
    let MarketMessage::Status(status) = state(&mut feed, Channel::Status) else { panic!("no status") };
    assert_eq!((status.state, status.reason), (TradingState::Unknown, None), "the source has not said");
    let MarketMessage::Definition(definition) = state(&mut feed, Channel::Definition) else {
        panic!("no definition")
    };
    assert_eq!((definition.tick, definition.tradable, definition.header.prev_seq), (None, false, None));
}

#[test]
fn a_status_and_a_definition_are_published_when_they_are_news_in_both_encodings() {
    let mut feed = whole_feed();
    for channel in [Channel::Status, Channel::Definition] {
        feed.subscribe(ORDERS, request(channel), NOW).unwrap();
        feed.subscribe(ORDERS, records(channel), NOW).unwrap();
    }
    let halt = MarketEventKind::Status {
        state: crate::types::TradingState::Halted,
        reason: StatusReason::new("T1"),
    };
    let texts = |out: &[Publication]| {
        let texts = out.iter().filter(|one| one.encoding == Encoding::Json);
        texts.map(|one| decode(&one.message)).collect::<Vec<_>>()
    };
    let out = apply(&mut feed, halt, true);
    let told = texts(&out);
    let [MarketMessage::Status(status), MarketMessage::Definition(definition)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((status.state, status.reason.unwrap().as_str()), (TradingState::Halted, "T1"));
    assert_eq!((definition.state, definition.tick), (TradingState::Halted, None));
    assert_eq!(record::<StatusMsg>(&out[1].message).action, dbn::StatusAction::Halt as u16);
    assert_eq!(apply(&mut feed, halt, true), [], "no news");
    let finer = Definition { tick: Some(Price::from_nanos(5)), ..Definition::default() };
    let out = apply(&mut feed, MarketEventKind::Definition(finer), true);
    assert!(
        matches!(&texts(&out)[..], [MarketMessage::Definition(one)] if one.tick.unwrap().value == Price::from_nanos(5))
    );
    assert!(
        matches!(&texts(&out)[..], [MarketMessage::Definition(one)] if one.band.unwrap().1.value == Price::from_nanos(900))
    );
    let written = record::<InstrumentDefMsg>(&out[1].message);
    assert_eq!((written.low_limit_price, written.high_limit_price), (1, 900));
    assert_eq!((written.min_price_increment, written.raw_symbol().unwrap()), (5, "O"));
}

#[test]
fn an_instrument_with_smaller_units_or_a_deeper_book_is_refused_as_records() {
    let mut fine = feed_of(Decimals::new(1).unwrap());
    assert_eq!(fine.subscribe(ORDERS, records(Channel::Trades), NOW), Err(Code::SubRecordsNotOffered));
    let mut whole = whole_feed();
    let deep = StreamRequest { depth: Depth::Full, ..records(Channel::Book) };
    assert_eq!(whole.subscribe(ORDERS, deep, NOW), Err(Code::SubRecordsNotOffered));
    assert!(whole.subscribe(ORDERS, records(Channel::Book), NOW).is_ok());
}

#[test]
fn records_and_texts_of_a_stream_share_its_numbers_and_each_is_made_for_readers_only() {
    let mut feed = whole_feed();
    let text = feed.subscribe(ORDERS, request(Channel::Trades), NOW).unwrap();
    assert_eq!(apply(&mut feed, trade(1, None, 0), true).len(), 1);
    let binary = feed.subscribe(ORDERS, records(Channel::Trades), NOW).unwrap();
    assert_eq!(binary.seq, text.seq.next());
    let both = apply(
        &mut feed,
        MarketEventKind::Trade {
            price: Price::from_nanos(-3),
            quantity: Quantity::from_nanos(4 * UNIT),
            aggressor: Some(Side::Sell),
            trade_id: 9,
        },
        true,
    );
    let [json, dbn] = both.as_slice() else { panic!("{both:?}") };
    assert_eq!((json.encoding, json.stream), (Encoding::Json, text.stream));
    assert_eq!((dbn.encoding, dbn.stream), (Encoding::Dbn, binary.stream));
    let message = record::<TradeMsg>(&dbn.message);
    assert_eq!((message.price, message.size, message.side().unwrap()), (-3, 4, dbn::Side::Ask));
    assert_eq!((u64::from(message.sequence), message.hd.instrument_id), (binary.seq.next().get(), 1));
    feed.unsubscribed(text.stream, NOW);
    let one = apply(&mut feed, trade(1, None, 0), true);
    assert!(matches!(one.as_slice(), [one] if one.encoding == Encoding::Dbn));
    let mut beats = Vec::new();
    feed.tick(NOW.plus_ns(HEARTBEAT_NS), &mut beats);
    let [beat] = beats.as_slice() else { panic!("{beats:?}") };
    assert_eq!(
        (beat.stream, beat.encoding),
        (binary.stream, Encoding::Json),
        "notices are texts for everybody"
    );
}

#[test]
fn a_size_that_does_not_fit_a_record_is_unknown_and_never_another_one() {
    let mut feed = whole_feed();
    feed.subscribe(ORDERS, records(Channel::Mbo), NOW).unwrap();
    for (units, expected) in
        [(u64::from(u32::MAX) - 1, u32::MAX - 1), (u64::from(u32::MAX) + 1, dbn::UNDEF_ORDER_SIZE)]
    {
        let out = apply(&mut feed, add(1, Side::Buy, 5, units * UNIT), true);
        assert_eq!(record::<MboMsg>(&out[0].message).size, expected);
    }
}

#[test]
fn a_conflated_stream_sends_the_latest_state_once_an_interval_and_only_if_it_changed() {
    let mut feed = whole_feed();
    let wanted = StreamRequest { conflation: Conflation::Ms250, ..request(Channel::Bbo) };
    let mut seq = feed.subscribe(ORDERS, wanted, UnixNanos(0)).unwrap().seq;
    let interval = 250_000_000;
    let tick = |feed: &mut Feed, now| {
        let mut out = Vec::new();
        feed.tick(UnixNanos(now), &mut out);
        let bbos = out.iter().map(|one| decode(&one.message)).filter_map(|message| match message {
            MarketMessage::Bbo(bbo) => Some(bbo),
            _ => None,
        });
        bbos.collect::<Vec<_>>()
    };
    for n in 1..=3 {
        assert_eq!(apply(&mut feed, add(n, Side::Buy, 5, UNIT), true), []);
    }
    assert_eq!(tick(&mut feed, interval - 1), [], "one message an interval, and the state was the first");
    let bbos = tick(&mut feed, interval);
    assert_eq!(levels(&[bbos[0].bid.unwrap()]), [(5, 3 * UNIT, 3)]);
    assert_eq!((bbos[0].header.prev_seq, bbos[0].header.seq), (Some(seq), seq.next()));
    seq = seq.next();
    apply(&mut feed, add(9, Side::Buy, 6, UNIT), true);
    assert_eq!(tick(&mut feed, 2 * interval - 1), []);
    assert_eq!(tick(&mut feed, 2 * interval)[0].header.seq, seq.next());
    assert_eq!(tick(&mut feed, 9 * interval), []);
}

#[test]
fn what_was_missed_is_held_while_somebody_reads_and_for_a_while_after() {
    let mut feed = whole_feed();
    let subscribed = feed.subscribe(ORDERS, request(Channel::Trades), NOW).unwrap();
    let sent: Vec<_> =
        (0..3).flat_map(|n| apply(&mut feed, trade(n, None, 0), true)).map(|one| one.message).collect();
    feed.unsubscribed(subscribed.stream, NOW);
    assert_eq!(apply(&mut feed, trade(3, None, 0), true), [], "nobody reads");
    let Missed::Held(held) = feed.missed(subscribed.stream, subscribed.seq) else { panic!("not held") };
    assert_eq!((&held[..3], held.len()), (&sent[..], 4));
    let mut out = Vec::new();
    feed.tick(NOW.plus_ns(RINGS.keep_ns - 1), &mut out);
    assert_ne!(feed.missed(subscribed.stream, subscribed.seq), Missed::NotHeld);
    feed.tick(NOW.plus_ns(RINGS.keep_ns), &mut out);
    assert_eq!(feed.missed(subscribed.stream, subscribed.seq), Missed::NotHeld);
    let again = feed.subscribe(ORDERS, request(Channel::Trades), NOW).unwrap();
    assert_eq!(again.seq, Sequence::new(4).unwrap());
    assert_eq!(feed.missed(again.stream, again.seq), Missed::Held(Vec::new()));
}

#[test]
fn a_book_that_nobody_followed_has_counted_its_changes() {
    let mut feed = whole_feed();
    let first = feed.subscribe(ORDERS, request(Channel::Book), NOW).unwrap();
    feed.unsubscribed(first.stream, NOW);
    feed.tick(NOW.plus_ns(RINGS.keep_ns), &mut Vec::new());
    let same = feed.subscribe(ORDERS, request(Channel::Book), NOW).unwrap();
    assert_eq!(same.seq, first.seq);
    feed.unsubscribed(same.stream, NOW);
    feed.tick(NOW.plus_ns(2 * RINGS.keep_ns), &mut Vec::new());
    apply(&mut feed, add(1, Side::Buy, 5, UNIT), true);
    apply(&mut feed, add(2, Side::Buy, 4, UNIT), true);
    let changed = feed.subscribe(ORDERS, request(Channel::Book), NOW).unwrap();
    assert_eq!(changed.seq, first.seq.next().next());
    let MarketMessage::Snapshot(book) = decode(&changed.state.unwrap()) else { panic!("no snapshot") };
    assert_eq!(levels(&book.bids), [(5, UNIT, 1), (4, UNIT, 1)]);
}

#[test]
fn bars_and_best_prices_have_their_records() {
    let mut feed = whole_feed();
    feed.subscribe(ORDERS, records(Channel::Bbo), NOW).unwrap();
    let out = apply(&mut feed, add(1, Side::Sell, 5, 2 * UNIT), true);
    let [level] = record::<Mbp1Msg>(&out[0].message).levels;
    assert_eq!((level.ask_px, level.ask_sz, level.ask_ct, level.bid_px), (5, 2, 1, dbn::UNDEF_PRICE));
    feed.subscribe(TRADES, records(Channel::Ohlcv1m), NOW).unwrap();
    let mut out = Vec::new();
    for minute in [10, 11] {
        let kind = MarketEventKind::Trade {
            price: Price::from_nanos(3),
            quantity: Quantity::from_nanos(7 * UNIT),
            aggressor: None,
            trade_id: 0,
        };
        let event = crate::types::MarketEvent {
            ts_event: UnixNanos(minute * 60 * UNIT),
            ..event(TRADES, kind, true)
        };
        feed.apply(&event, NOW, &mut out);
    }
    let bar = record::<OhlcvMsg>(&out[0].message);
    assert_eq!(
        (bar.volume, bar.close, bar.hd.ts_event, bar.hd.rtype),
        (7, 3, 600 * UNIT, dbn::rtype::OHLCV_1M)
    );
    assert!(matches!(decode(&out[1].message), MarketMessage::IntervalEnd(_)));
}

/// A reader that goes and comes back, in either encoding.
enum Reader {
    Text(BookClient),
    Records { seq: Sequence, bids: Vec<(i64, u32, u32)>, asks: Vec<(i64, u32, u32)> },
}

impl Reader {
    fn new(encoding: Encoding, levels_max: usize, state: &[u8], seq: Sequence) -> Self {
        if encoding == Encoding::Json {
            let decimals = tests::decimals_of(Decimals::new(0).unwrap());
            return Self::Text(BookClient::new(levels_max, decimals, state));
        }
        let mut reader = Self::Records { seq, bids: Vec::new(), asks: Vec::new() };
        assert!(record::<Mbp10Msg>(state).flags.is_snapshot());
        reader.take(state);
        reader
    }

    fn seq(&self) -> Sequence {
        match self {
            Self::Text(client) => client.seq,
            Self::Records { seq, .. } => *seq,
        }
    }

    fn apply(&mut self, message: &[u8]) {
        match self {
            Self::Text(client) => client.apply(message),
            Self::Records { seq, .. } => {
                *seq = seq.next();
                assert!(!record::<Mbp10Msg>(message).flags.is_snapshot());
                self.take(message);
            }
        }
    }

    fn take(&mut self, message: &[u8]) {
        let Self::Records { seq, bids, asks } = self else { unreachable!("only records are taken whole") };
        let book = record::<Mbp10Msg>(message);
        assert_eq!(u64::from(book.sequence), seq.get(), "a record is missing");
        *bids = book
            .levels
            .iter()
            .filter(|level| level.bid_ct > 0)
            .map(|level| (level.bid_px, level.bid_sz, level.bid_ct))
            .collect();
        *asks = book
            .levels
            .iter()
            .filter(|level| level.ask_ct > 0)
            .map(|level| (level.ask_px, level.ask_sz, level.ask_ct))
            .collect();
    }

    fn sides(&self) -> [Vec<(i64, u32, u32)>; 2] {
        let units = |levels: Vec<Level>| {
            let unit = |level: &Level| {
                (level.price.nanos(), u32::try_from(level.quantity.nanos() / UNIT).unwrap(), level.orders)
            };
            levels.iter().map(unit).collect()
        };
        match self {
            Self::Text(client) => [units(client.bids()), units(client.asks())],
            Self::Records { bids, asks, .. } => [bids.clone(), asks.clone()],
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Record(MarketEventKind, bool),
    /// A reader leaves, and so many steps later comes back and resumes.
    Leave(u64),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let whole = kind().prop_map(|mut kind| {
        if let MarketEventKind::Add { quantity, .. }
        | MarketEventKind::Modify { quantity, .. }
        | MarketEventKind::Reduce { quantity, .. } = &mut kind
        {
            *quantity = Quantity::from_nanos(quantity.nanos() * UNIT);
        }
        kind
    });
    prop_oneof![
        40 => (whole, prop::bool::weighted(0.7)).prop_map(|(kind, last)| Step::Record(kind, last)),
        2 => (1_u64..60).prop_map(Step::Leave),
        3 => (1_u64..200_000_000).prop_map(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whenever a reader is there, it holds the book's top, whether it resumed with all that it missed or had to start afresh;
    /// no message is ever missing in between without being told.
    #[test]
    fn a_reader_that_leaves_and_resumes_holds_the_book_in_either_encoding(
        steps in prop::collection::vec(step(), 1..400),
        records in any::<bool>(),
        conflation in prop::sample::select(Conflation::ALL),
        ring_bytes_max in prop::sample::select(&[0_usize, 2_000, 1 << 20][..]),
    ) {
        let rings = RingBounds { ring_bytes_max, total_bytes_max: 1 << 20, keep_ns: 400_000_000 };
        let mut feed = tests::feed_with(Decimals::new(0).unwrap(), rings);
        let encoding = if records { Encoding::Dbn } else { Encoding::Json };
        let wanted = StreamRequest { conflation, encoding, ..request(Channel::Book) };
        let (mut now, mut away, mut is_whole) = (NOW, 0_u64, true);
        let subscribed = feed.subscribe(ORDERS, wanted, now).unwrap();
        let mut reader = Reader::new(encoding, 10, &subscribed.state.unwrap(), subscribed.seq);
        for step in steps {
            let mut out = Vec::new();
            match step {
                Step::Record(kind, last) => {
                    feed.apply(&event(ORDERS, kind, last), now, &mut out);
                    is_whole = last;
                }
                Step::Leave(steps) if away == 0 => {
                    feed.unsubscribed(subscribed.stream, now);
                    away = steps;
                }
                Step::Leave(_) => {}
                Step::Tick(ns) => {
                    now = now.plus_ns(ns);
                    feed.tick(now, &mut out);
                }
            }
            if away > 0 {
                prop_assert_eq!(&out, &[]);
                away -= 1;
                if away == 0 {
                    let again = feed.subscribe(ORDERS, wanted, now).unwrap();
                    prop_assert_eq!(again.stream, subscribed.stream);
                    match feed.missed(again.stream, reader.seq()) {
                        Missed::Held(missed) => missed.iter().for_each(|message| reader.apply(message)),
                        Missed::NotHeld => reader = Reader::new(encoding, 10, &again.state.unwrap(), again.seq),
                    }
                    prop_assert_eq!(reader.seq(), again.seq);
                }
                continue;
            }
            out.iter().filter(|one| one.encoding == encoding && !is_notice(&one.message)).for_each(|one| reader.apply(&one.message));
            if is_whole && conflation == Conflation::Off {
                prop_assert_eq!(reader.sides(), top(&feed));
            }
        }
        if away == 0 {
            // The end of an event and of an interval: everybody has caught up.
            let mut out = Vec::new();
            feed.apply(&event(ORDERS, fill(), true), now, &mut out);
            feed.tick(now.plus_ns(2 * UNIT), &mut out);
            out.iter().filter(|one| one.encoding == encoding && !is_notice(&one.message)).for_each(|one| reader.apply(&one.message));
            prop_assert_eq!(reader.sides(), top(&feed));
        }
    }
}

fn is_notice(message: &[u8]) -> bool {
    Encoding::of(message) == Encoding::Json && matches!(decode(message), MarketMessage::Heartbeat(_))
}

/// The ten best levels of both sides of the book itself.
fn top(feed: &Feed) -> [Vec<(i64, u32, u32)>; 2] {
    [Side::Buy, Side::Sell].map(|side| {
        let levels = feed.book(ORDERS).unwrap().levels(side).take(10);
        levels
            .map(|level| {
                (level.price.nanos(), u32::try_from(level.quantity.nanos() / UNIT).unwrap(), level.orders)
            })
            .collect()
    })
}
