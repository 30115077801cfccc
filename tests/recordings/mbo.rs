//! Joining the orders of a recorded day anywhere in it: what a client holds is what it would hold had it been there from the beginning.

use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed};
use sealfeed::feed::{Encoding, Feed, FeedOptions, Publication, RingBounds, StreamRequest};
use sealfeed::types::{Channel, Depth, Epoch, InstrumentId, Side, UnixNanos};
use sealfeed_client::{LocalOrders, OrdersUpdate};
use sealfeed_wire::market::MboOrder;
use sealfeed_wire::{Conflation, MarketMessage, ServerMessage, Symbol};

use crate::data;
use crate::replay::Replay;

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";
/// Readers who come, over the day.
const JOINS: usize = 40;

fn take(orders: &mut LocalOrders, text: &[u8]) {
    let text = std::str::from_utf8(text).unwrap();
    let ServerMessage::Market(message) = ServerMessage::decode(text).unwrap() else { panic!("{text}") };
    let update = match &message {
        MarketMessage::Mbo(record) => OrdersUpdate::Record(record),
        MarketMessage::MboSnapshot(part) => OrdersUpdate::Snapshot(part),
        other => panic!("nothing else comes: {other:?}"),
    };
    orders.apply(update).unwrap();
}

/// The payload of a frame of the server.
fn payload(frame: &[u8]) -> &[u8] {
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        _ => &frame[2..],
    }
}

/// Both sides, each order in its place.
fn held(orders: &LocalOrders) -> [Vec<MboOrder>; 2] {
    let view = orders.view().unwrap();
    [Side::Buy, Side::Sell].map(|side| view.orders(side).collect())
}

#[test]
fn whoever_joins_a_recorded_day_anywhere_holds_every_order_in_its_place_and_the_book_of_the_levels() {
    let Some(path) = data::recorded(ESH4) else { return };
    let config = DbnSourceConfig { speed: Speed::Max, ..DbnSourceConfig::new(path) };
    let replay = Replay::of(&SourceConfig::Dbn(config)).unwrap();
    let events: Vec<_> = replay.batches.concat();
    let (symbol, id) = (Symbol::new("ESH4").unwrap(), InstrumentId(0));
    let rings = RingBounds { ring_bytes_max: 1 << 20, total_bytes_max: 1 << 20, keep_ns: 1 };
    let options = FeedOptions { epoch: Epoch(1), heartbeat_ns: 1, rings };
    let mut feed = Feed::new(&replay.instruments, options);
    let request = StreamRequest {
        channel: Channel::Mbo,
        depth: Depth::Ten,
        conflation: Conflation::Off,
        encoding: Encoding::Json,
    };
    let now = UnixNanos(7);
    let stream = feed.subscribe(id, request, now).unwrap().stream;
    let join = |feed: &mut Feed| {
        let mut orders = LocalOrders::new(symbol);
        let begun = feed.orders(stream, now, usize::MAX).unwrap().unwrap();
        for place in 0..begun.snapshot.parts() {
            take(&mut orders, payload(&begun.snapshot.part(place).unwrap().frame));
        }
        begun.since.iter().for_each(|message| take(&mut orders, message));
        orders
    };
    let mut readers = vec![join(&mut feed)];
    let mut published: Vec<Publication> = Vec::new();
    let mut most = 0;
    for (place, event) in events.iter().enumerate() {
        feed.apply(event, now, &mut published);
        for one in published.drain(..) {
            readers.iter_mut().for_each(|orders| take(orders, &one.message));
        }
        // A prime, so that joins fall within events, too.
        if place % (events.len() / JOINS + 1) == 977 {
            let joined = join(&mut feed);
            let all = held(&readers[0]);
            assert_eq!(held(&joined), all, "behind event {place}");
            most = most.max(all[0].len() + all[1].len());
            readers.push(joined);
        }
        let view = readers[0].view().unwrap();
        if place % 500 == 0 && view.is_whole {
            let book = feed.book(id).unwrap();
            for side in [Side::Buy, Side::Sell] {
                assert_eq!(view.levels(side), book.levels(side).collect::<Vec<_>>(), "behind event {place}");
            }
        }
    }
    assert_eq!(readers.len(), JOINS + 1);
    let all = held(&readers[0]);
    for reader in &readers {
        assert_eq!(held(reader), all);
    }
    println!(
        "{} events, {JOINS} joins, {most} orders at most, {} at the end",
        events.len(),
        all.concat().len()
    );
}
