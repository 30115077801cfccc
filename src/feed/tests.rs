//! The feed as its readers see it: by sentence, and with clients that follow random markets.

use proptest::prelude::*;
use sealfeed_wire::{Conflation, Level, MarketMessage};

use super::client::{BookClient, decode};
use super::*;
use crate::types::{
    BookDecimals, Channel, Code, Decimals, Depth, Epoch, Instrument, InstrumentId, Instruments, MarketDepth,
    MarketEvent, MarketEventKind, OrderId, Price, Quantity, Sequence, Side, Symbol, TopLevel, UnixNanos,
};

pub(super) const ORDERS: InstrumentId = InstrumentId(0);
const TOP: InstrumentId = InstrumentId(1);
pub(super) const TRADES: InstrumentId = InstrumentId(2);
const LEVELS: InstrumentId = InstrumentId(3);
pub(super) const NOW: UnixNanos = UnixNanos(1_000);
pub(super) const HEARTBEAT_NS: u64 = 500;
/// Streams are kept for a hundred heartbeats after their last reader.
pub(super) const RINGS: RingBounds =
    RingBounds { ring_bytes_max: 1 << 20, total_bytes_max: 1 << 24, keep_ns: 100 * HEARTBEAT_NS };

fn decimals() -> BookDecimals {
    decimals_of(Decimals::MAX)
}

pub(super) fn decimals_of(quantity: Decimals) -> BookDecimals {
    BookDecimals { price: Decimals::MAX, quantity }
}

fn feed() -> Feed {
    feed_of(Decimals::MAX)
}

/// One instrument of each market depth, with these decimals of quantities.
pub(super) fn feed_of(quantity: Decimals) -> Feed {
    feed_with(quantity, RINGS)
}

pub(super) fn feed_with(quantity: Decimals, rings: RingBounds) -> Feed {
    let mut instruments = Instruments::new();
    let depths = [
        ("O", MarketDepth::Orders),
        ("P", MarketDepth::Top),
        ("T", MarketDepth::Trades),
        ("L", MarketDepth::Levels),
    ];
    for (symbol, depth) in depths {
        let added = instruments.add(|id| Instrument {
            id,
            symbol: Symbol::new(symbol).unwrap(),
            decimals: decimals_of(quantity),
            tick: Price::from_nanos(1),
            lot: Quantity::from_nanos(1),
            band: (symbol == "O").then_some((Price::from_nanos(1), Price::from_nanos(900))),
            depth,
            tradable: false,
            paper: false,
        });
        assert!(added.is_some());
    }
    Feed::new(&instruments, FeedOptions { epoch: Epoch(0xe), heartbeat_ns: HEARTBEAT_NS, rings })
}

pub(super) fn event(instrument: InstrumentId, kind: MarketEventKind, last: bool) -> MarketEvent {
    MarketEvent { instrument, ts_event: UnixNanos(10), ts_recv: UnixNanos(20), last, kind }
}

pub(super) fn add(order: u64, side: Side, price: i64, quantity: u64) -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
    MarketEventKind::Add { order: OrderId(order), side, price, quantity }
}

pub(super) fn reduce(order: u64, quantity: u64) -> MarketEventKind {
    let (price, quantity) = (Price::ZERO, Quantity::from_nanos(quantity));
    MarketEventKind::Reduce { order: OrderId(order), side: Side::Buy, price, quantity }
}

pub(super) fn trade(price: i64, aggressor: Option<Side>, trade_id: u64) -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(1));
    MarketEventKind::Trade { price, quantity, aggressor, trade_id }
}

fn fill() -> MarketEventKind {
    let (price, quantity) = (Price::ZERO, Quantity::from_nanos(1));
    MarketEventKind::Fill { order: OrderId(1), side: Some(Side::Buy), price, quantity }
}

fn apply(feed: &mut Feed, instrument: InstrumentId, kind: MarketEventKind, last: bool) -> Vec<MarketMessage> {
    let mut out = Vec::new();
    feed.apply(&event(instrument, kind, last), NOW, &mut out);
    out.iter().map(|publication| decode(&publication.message)).collect()
}

pub(super) fn request(channel: Channel) -> StreamRequest {
    StreamRequest { channel, depth: Depth::Ten, conflation: Conflation::Off, encoding: Encoding::Json }
}

fn subscribe(feed: &mut Feed, channel: Channel, instrument: InstrumentId) -> Subscribed {
    feed.subscribe(instrument, request(channel), NOW).unwrap()
}

pub(super) fn levels(levels: &[Level]) -> Vec<(i64, u64, u32)> {
    levels.iter().map(|level| (level.price.nanos(), level.quantity.nanos(), level.orders)).collect()
}

/// Rests bids at these prices, one event each, and returns the delta of depth 10 that `kind` causes then.
fn check_delta(prices: impl IntoIterator<Item = i64>, kind: MarketEventKind) -> Option<Vec<(i64, u64, u32)>> {
    let mut feed = feed();
    for (order, price) in (1..).zip(prices) {
        apply(&mut feed, ORDERS, add(order, Side::Buy, price, 5), true);
    }
    subscribe(&mut feed, Channel::Book, ORDERS);
    match apply(&mut feed, ORDERS, kind, true).as_slice() {
        [] => None,
        [MarketMessage::Delta(delta)] => Some(levels(&delta.bids)),
        other => panic!("not one delta: {other:?}"),
    }
}

#[test]
fn a_delta_carries_the_changed_level_alone() {
    assert_eq!(check_delta([99, 98], add(9, Side::Buy, 98, 2)), Some(vec![(98, 7, 2)]));
    assert_eq!(check_delta([99, 98], reduce(1, 5)), Some(vec![(99, 0, 0)]));
}

#[test]
fn a_level_that_moves_up_into_the_depth_is_sent() {
    assert_eq!(check_delta((0..11).rev(), reduce(1, 5)), Some(vec![(10, 0, 0), (0, 5, 1)]));
}

#[test]
fn a_level_that_is_pushed_out_of_the_depth_is_not_sent() {
    assert_eq!(check_delta(0..10, add(99, Side::Buy, 50, 1)), Some(vec![(50, 1, 1)]));
}

#[test]
fn a_change_outside_the_depth_publishes_nothing_and_takes_no_sequence_number() {
    assert_eq!(check_delta(0..10, add(99, Side::Buy, -1, 1)), None);
    let mut feed = feed();
    (0..10).for_each(|n| {
        drop(apply(&mut feed, ORDERS, add(n, Side::Buy, 50 + i64::try_from(n).unwrap(), 1), true))
    });
    let before = subscribe(&mut feed, Channel::Book, ORDERS).seq;
    apply(&mut feed, ORDERS, add(99, Side::Buy, 1, 1), true);
    assert_eq!(subscribe(&mut feed, Channel::Book, ORDERS).seq, before);
}

#[test]
fn nothing_of_a_book_is_published_before_the_last_record_of_an_event() {
    let mut feed = feed();
    subscribe(&mut feed, Channel::Book, ORDERS);
    subscribe(&mut feed, Channel::Bbo, ORDERS);
    assert_eq!(apply(&mut feed, ORDERS, add(1, Side::Buy, 99, 5), false), []);
    assert_eq!(apply(&mut feed, ORDERS, add(2, Side::Sell, 98, 5), false), []);
    let messages = apply(&mut feed, ORDERS, fill(), true);
    let [MarketMessage::Bbo(bbo), MarketMessage::Delta(delta)] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!(
        (bbo.bid.unwrap().price.nanos(), bbo.ask.unwrap().price.nanos()),
        (99, 98),
        "a crossed book stands"
    );
    assert_eq!((delta.bids.len(), delta.asks.len()), (1, 1));
    assert_eq!(
        (delta.header.ts_event, delta.header.ts_recv, delta.header.ts_out),
        (UnixNanos(10), UnixNanos(20), NOW)
    );
}

#[test]
fn an_event_that_changes_nothing_publishes_nothing() {
    let mut feed = feed();
    apply(&mut feed, ORDERS, add(1, Side::Buy, 99, 5), true);
    subscribe(&mut feed, Channel::Book, ORDERS);
    subscribe(&mut feed, Channel::Bbo, ORDERS);
    apply(&mut feed, ORDERS, reduce(1, 5), false);
    assert_eq!(apply(&mut feed, ORDERS, add(2, Side::Buy, 99, 5), true), []);
}

#[test]
fn the_bbo_is_published_when_price_quantity_or_orders_of_a_best_level_change() {
    let mut feed = feed();
    let mut subscribed = subscribe(&mut feed, Channel::Bbo, ORDERS);
    let MarketMessage::Bbo(state) = decode(&subscribed.state.take().unwrap()) else { panic!("no bbo") };
    assert_eq!(
        (state.bid, state.ask, state.header.prev_seq, state.header.seq),
        (None, None, None, subscribed.seq)
    );
    for (kind, expected) in [
        (add(1, Side::Buy, 99, 5), Some((99, 5, 1))),
        (add(2, Side::Buy, 98, 5), None),
        (add(3, Side::Buy, 99, 5), Some((99, 10, 2))),
        (reduce(1, 2), Some((99, 8, 2))),
        (reduce(2, 1), None),
        (trade(99, None, 0), None),
        (MarketEventKind::Clear, Some((0, 0, 0))),
    ] {
        let messages = apply(&mut feed, ORDERS, kind, true);
        let bid = messages.first().map(|message| match message {
            MarketMessage::Bbo(bbo) => bbo.bid.map_or((0, 0, 0), |level| levels(&[level])[0]),
            other => panic!("not a bbo: {other:?}"),
        });
        assert_eq!(bid, expected, "{kind:?}");
    }
}

#[test]
fn trades_are_published_at_once_and_counted_where_the_source_gives_no_number() {
    let mut feed = feed();
    let subscribed = subscribe(&mut feed, Channel::Trades, TRADES);
    assert_eq!((subscribed.seq, subscribed.state), (Sequence::ZERO, None));
    let mut seq = subscribed.seq;
    for (trade_id, expected) in [(0, "1"), (77, "77"), (0, "2")] {
        let messages = apply(&mut feed, TRADES, trade(5, Some(Side::Sell), trade_id), false);
        let [MarketMessage::Trade(trade)] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!(trade.trade_id.unwrap().as_str(), expected);
        assert_eq!((trade.header.prev_seq, trade.header.seq), (Some(seq), seq.next()));
        seq = seq.next();
    }
}

#[test]
fn a_source_of_best_prices_gives_bbo_and_trades_only() {
    let mut feed = feed();
    subscribe(&mut feed, Channel::Bbo, TOP);
    let bid = Some(TopLevel { price: Price::from_nanos(9), quantity: Quantity::from_nanos(5), orders: 0 });
    let top = MarketEventKind::Top { bid, ask: None };
    assert_eq!(apply(&mut feed, TOP, top, false), []);
    assert_eq!(apply(&mut feed, TOP, top, true).len(), 1);
    assert_eq!(apply(&mut feed, TOP, top, true), []);
    assert_eq!(apply(&mut feed, TOP, MarketEventKind::Clear, true).len(), 1);
}

#[test]
fn a_channel_that_the_source_does_not_show_is_refused() {
    let mut feed = feed();
    for (instrument, channel, expected) in [
        (TOP, Channel::Book, Code::SubChannelNotOffered),
        (TRADES, Channel::Bbo, Code::SubChannelNotOffered),
        (TOP, Channel::Mbo, Code::SubChannelNotOffered),
        (InstrumentId(9), Channel::Trades, Code::SubSymbolUnknown),
    ] {
        assert!(!feed.offers(channel, instrument));
        assert_eq!(feed.subscribe(instrument, request(channel), NOW), Err(expected));
    }
}

#[test]
fn without_subscribers_the_sequence_goes_on_and_nothing_is_encoded() {
    let mut feed = feed();
    let first = subscribe(&mut feed, Channel::Book, ORDERS);
    feed.unsubscribed(first.stream, NOW);
    assert_eq!(apply(&mut feed, ORDERS, add(1, Side::Buy, 99, 5), true), []);
    let again = subscribe(&mut feed, Channel::Book, ORDERS);
    assert_eq!((again.stream, again.epoch), (first.stream, first.epoch));
    assert_eq!(again.seq, first.seq.next());
    assert_eq!(apply(&mut feed, ORDERS, add(2, Side::Buy, 98, 5), true).len(), 1);
}

#[test]
fn a_stream_that_is_read_and_idle_gets_heartbeats() {
    let mut feed = feed();
    let trades = subscribe(&mut feed, Channel::Trades, TRADES);
    let book = subscribe(&mut feed, Channel::Book, ORDERS);
    feed.unsubscribed(book.stream, NOW);
    let mut beats_at = |now| {
        let mut out = Vec::new();
        feed.tick(UnixNanos(now), &mut out);
        out
    };
    let due = NOW.0 + HEARTBEAT_NS;
    assert_eq!(beats_at(due - 1), []);
    let beats = beats_at(due);
    let [beat] = beats.as_slice() else { panic!("{beats:?}") };
    assert_eq!(beat.stream, trades.stream);
    let MarketMessage::Heartbeat(heartbeat) = decode(&beat.message) else { panic!("no heartbeat") };
    assert_eq!(
        (heartbeat.seq, heartbeat.ts, heartbeat.stream.epoch),
        (trades.seq, UnixNanos(due), trades.epoch)
    );
    assert_eq!(beats_at(due + HEARTBEAT_NS - 1), []);
    assert_eq!(beats_at(due + HEARTBEAT_NS).len(), 1);
}

#[test]
fn a_source_that_ends_is_told_to_every_reader_once_and_to_later_ones() {
    let mut feed = feed();
    assert_eq!(subscribe(&mut feed, Channel::Trades, ORDERS).stale, None);
    let mut out = Vec::new();
    feed.mark_stale(ORDERS, NOW, &mut out);
    feed.mark_stale(ORDERS, NOW, &mut out);
    assert!(matches!(out.as_slice(), [stale] if matches!(decode(&stale.message), MarketMessage::Stale(_))));
    let late = subscribe(&mut feed, Channel::Bbo, ORDERS).stale.unwrap();
    assert!(matches!(decode(&late), MarketMessage::Stale(_)));
    apply(&mut feed, ORDERS, add(1, Side::Buy, 9, 1), true);
    assert_eq!(subscribe(&mut feed, Channel::Book, ORDERS).stale, None);
}

/// Orders, prices and quantities few enough that records meet, and levels enough that depth 50 overflows.
pub(super) fn kind() -> impl Strategy<Value = MarketEventKind> {
    let side = || prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let order = || 1_u64..300;
    prop_oneof![
        200 => (order(), side(), -70_i64..70, 1_u64..4).prop_map(|(order, side, price, quantity)| add(order, side, price, quantity)),
        40 => (order(), side(), -70_i64..70, 0_u64..4).prop_map(|(order, side, price, quantity)| {
            let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
            MarketEventKind::Modify { order: OrderId(order), side, price, quantity }
        }),
        80 => (order(), 1_u64..4).prop_map(|(order, quantity)| reduce(order, quantity)),
        20 => (-70_i64..70).prop_map(|price| trade(price, None, 0)),
        5 => Just(fill()),
        1 => Just(MarketEventKind::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Some subscribe at the start, some in mid-way, some between the records of an event; some leave.
    #[test]
    fn every_client_holds_the_books_top_after_every_event(
        records in prop::collection::vec((kind(), prop::bool::weighted(0.7)), 1..900),
        arrivals in prop::collection::vec((0_usize..900, prop::sample::select(Depth::ALL)), 1..8),
    ) {
        let mut feed = feed();
        let mut clients: Vec<(StreamId, Depth, BookClient)> = Vec::new();
        let mut out = Vec::new();
        for (place, (kind, last)) in records.iter().enumerate() {
            for (_, depth) in arrivals.iter().filter(|(arrival, _)| *arrival == place) {
                let wanted = StreamRequest { depth: *depth, ..request(Channel::Book) };
                let subscribed = feed.subscribe(ORDERS, wanted, NOW).unwrap();
                let client = BookClient::new(depth.levels_max(), decimals(), &subscribed.state.unwrap());
                prop_assert_eq!(client.seq, subscribed.seq);
                clients.push((subscribed.stream, *depth, client));
                if place % 5 == 4 {
                    let (left, _, _) = clients.remove(0);
                    feed.unsubscribed(left, NOW);
                }
            }
            out.clear();
            feed.apply(&event(ORDERS, *kind, *last), NOW, &mut out);
            prop_assert!(*last || out.is_empty());
            for (stream, depth, client) in &mut clients {
                let mut messages = out.iter().filter(|publication| publication.stream == *stream);
                messages.by_ref().take(1).for_each(|publication| client.apply(&publication.message));
                prop_assert!(messages.next().is_none(), "one delta an event");
                if *last {
                    let book = feed.book(ORDERS).unwrap();
                    let top = |side| book.levels(side).take(depth.levels_max()).collect::<Vec<Level>>();
                    prop_assert_eq!(client.bids(), top(Side::Buy));
                    prop_assert_eq!(client.asks(), top(Side::Sell));
                }
            }
        }
    }
}

/// The best levels of both sides, at each depth.
fn tops(book: &Book) -> Vec<[Vec<Level>; 2]> {
    let top = |depth: &Depth| {
        [Side::Buy, Side::Sell].map(|side| book.levels(side).take(depth.levels_max()).collect())
    };
    Depth::ALL.iter().map(top).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_event_is_a_message_of_a_depth_exactly_if_its_best_levels_are_others_than_before(
        records in prop::collection::vec((kind(), prop::bool::weighted(0.7)), 1..900),
    ) {
        let (mut book, mut changes) = (Book::default(), Changes::default());
        let mut before = tops(&book);
        for (kind, last) in records {
            book.apply(&kind);
            if last {
                book.end_event(&mut changes);
                let now = tops(&book);
                for (depth, (before, now)) in Depth::ALL.iter().zip(before.iter().zip(&now)) {
                    prop_assert_eq!(book.has_changed(*depth), before != now, "{:?} after {:?}", depth, kind);
                }
                before = now;
            }
        }
    }

    #[test]
    fn a_stream_has_the_same_numbers_whoever_reads_it_and_whenever(
        records in prop::collection::vec((kind(), prop::bool::weighted(0.7)), 1..600),
        arrival in 0_usize..600,
    ) {
        let (mut read, mut unread) = (feed(), feed());
        let streams = Depth::ALL.iter().map(|depth| StreamRequest { depth: *depth, ..request(Channel::Book) });
        let streams: Vec<_> = streams.chain([request(Channel::Bbo), request(Channel::Mbo)]).collect();
        let subscribe = |feed: &mut Feed| -> Vec<Subscribed> {
            streams.iter().map(|wanted| feed.subscribe(ORDERS, *wanted, NOW).unwrap()).collect()
        };
        let mut early = subscribe(&mut read);
        let mut out = Vec::new();
        for (place, (kind, last)) in records.iter().enumerate() {
            if place == arrival {
                let late = subscribe(&mut unread);
                for (early, late) in early.iter().zip(&late) {
                    prop_assert_eq!((early.stream, early.seq), (late.stream, late.seq));
                }
            }
            out.clear();
            read.apply(&event(ORDERS, *kind, *last), NOW, &mut out);
            for published in &out {
                let stream = early.iter_mut().find(|stream| stream.stream == published.stream).unwrap();
                prop_assert_eq!(published.seq, stream.seq.next());
                stream.seq = published.seq;
                if let MarketMessage::Delta(delta) = decode(&published.message) {
                    prop_assert!(!delta.bids.is_empty() || !delta.asks.is_empty());
                }
            }
            let mut same = Vec::new();
            unread.apply(&event(ORDERS, *kind, *last), NOW, &mut same);
            prop_assert!(place < arrival && same.is_empty() || place >= arrival && same == out);
        }
    }
}

#[test]
fn a_client_meets_a_checksum_at_least_every_hundredth_delta() {
    let mut feed = feed();
    let subscribed = subscribe(&mut feed, Channel::Book, ORDERS);
    let mut client = BookClient::new(10, decimals(), &subscribed.state.unwrap());
    for n in 0..1000_u64 {
        let mut out = Vec::new();
        feed.apply(&event(ORDERS, add(n, Side::Sell, 1, 1), true), NOW, &mut out);
        out.iter().for_each(|publication| client.apply(&publication.message));
    }
    assert_eq!((client.deltas, client.checksums), (1000, 1 + 20));
}

fn set(side: Side, price: i64, quantity: u64) -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
    MarketEventKind::Level { side, price, quantity, orders: 0 }
}

#[test]
fn an_instrument_shown_in_levels_has_trades_best_prices_and_every_depth_of_its_book() {
    let mut feed = feed();
    for (channel, depth) in [
        (Channel::Trades, Depth::Full),
        (Channel::Bbo, Depth::Full),
        (Channel::Book, Depth::Ten),
        (Channel::Book, Depth::Fifty),
        (Channel::Book, Depth::Full),
    ] {
        feed.subscribe(LEVELS, StreamRequest { depth, ..request(channel) }, NOW).unwrap();
    }
    assert_eq!(apply(&mut feed, LEVELS, set(Side::Buy, 99, 5), false), []);
    let messages = apply(&mut feed, LEVELS, set(Side::Sell, 101, 4), true);
    let bbo = messages.iter().find_map(|message| match message {
        MarketMessage::Bbo(bbo) => Some((bbo.bid, bbo.ask)),
        _ => None,
    });
    let level = |price, quantity| {
        Some(Level { price: Price::from_nanos(price), quantity: Quantity::from_nanos(quantity), orders: 0 })
    };
    assert_eq!(bbo, Some((level(99, 5), level(101, 4))));
    let deltas = messages.iter().filter(|message| matches!(message, MarketMessage::Delta(_))).count();
    assert_eq!((deltas, messages.len()), (3, 4));
    assert_eq!(apply(&mut feed, LEVELS, set(Side::Buy, 99, 5), true), [], "nothing changed");
}

#[test]
fn trades_do_not_lift_the_stale_mark_of_a_book_and_the_next_record_of_the_book_does() {
    let mut feed = feed();
    let full = StreamRequest { depth: Depth::Full, ..request(Channel::Book) };
    feed.subscribe(LEVELS, full, NOW).unwrap();
    apply(&mut feed, LEVELS, set(Side::Buy, 99, 5), true);
    let mut out = Vec::new();
    feed.mark_stale(LEVELS, NOW, &mut out);
    assert_eq!(out.len(), 1);
    let is_stale = |feed: &mut Feed| {
        let subscribed = feed.subscribe(LEVELS, full, NOW).unwrap();
        feed.unsubscribed(subscribed.stream, NOW);
        subscribed.stale.is_some()
    };
    apply(&mut feed, LEVELS, trade(99, None, 1), true);
    assert!(is_stale(&mut feed));
    apply(&mut feed, LEVELS, MarketEventKind::Clear, false);
    apply(&mut feed, LEVELS, set(Side::Buy, 98, 5), true);
    assert!(!is_stale(&mut feed));
    feed.mark_stale(TRADES, NOW, &mut out);
    feed.apply(&event(TRADES, trade(1, None, 2), true), NOW, &mut out);
    let trades = subscribe(&mut feed, Channel::Trades, TRADES);
    assert!(trades.stale.is_none(), "where there are only trades, a trade is all there can be");
}
