//! The copy of the orders that rest: live or not there, in either form of a snapshot, and every order in its place.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use sealfeed_client::{BookError, LocalOrders, OrdersUpdate};
use sealfeed_wire::market::{Mbo, MboAction, MboOrder, MboSnapshot};
use sealfeed_wire::{
    Aggressor, Channel, Epoch, Price, Quantity, Sequence, Side, StreamHeader, Symbol, UnixNanos,
};

fn symbol() -> Symbol {
    Symbol::new("ESH4").unwrap()
}

fn seq(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn header(at: u64, prev: Option<u64>) -> StreamHeader {
    StreamHeader {
        channel: Channel::Mbo,
        symbol: symbol(),
        epoch: Epoch(1),
        seq: seq(at),
        prev_seq: prev.map(seq),
        ts_event: UnixNanos(1),
        ts_recv: UnixNanos(1),
        ts_out: UnixNanos(1),
        delayed_ms: None,
    }
}

fn order(order_id: u64, price: i64, quantity: u64) -> MboOrder {
    MboOrder { order_id, price: Price::from_nanos(price), quantity: Quantity::from_nanos(quantity) }
}

/// A part of the snapshot as of message 10, with these bids.
fn part(part: u32, parts: u32, bids: &[MboOrder]) -> MboSnapshot {
    let (bids, asks) = (bids.to_vec(), Vec::new());
    MboSnapshot { header: header(10, None), part, parts, bids, asks, last: part == parts }
}

fn record(header: StreamHeader, action: MboAction, order: Option<MboOrder>, last: bool) -> Mbo {
    Mbo {
        header,
        action,
        side: if order.is_some() { Aggressor::Buy } else { Aggressor::None },
        price: order.map(|order| order.price),
        quantity: order.map(|order| order.quantity),
        order_id: order.map(|order| order.order_id),
        last,
    }
}

/// The record behind message `at` - 1.
fn event(at: u64, action: MboAction, order: MboOrder) -> Mbo {
    record(header(at, Some(at - 1)), action, Some(order), true)
}

fn bids(orders: &LocalOrders) -> Vec<u64> {
    orders.view().unwrap().orders(Side::Buy).map(|order| order.order_id).collect()
}

/// Live, with orders 1 to 3 of five each at one price, as of message 10.
fn live() -> LocalOrders {
    let mut orders = LocalOrders::new(symbol());
    let all = [order(1, 100, 5), order(2, 100, 5), order(3, 100, 5)];
    orders.apply(OrdersUpdate::Snapshot(&part(1, 1, &all))).unwrap();
    orders
}

#[test]
fn the_copy_is_there_when_the_last_part_has_come_and_not_before() {
    let mut orders = LocalOrders::new(symbol());
    assert_eq!(orders.view().unwrap_err(), BookError::NoSnapshot);
    orders.apply(OrdersUpdate::Snapshot(&part(1, 2, &[order(7, 101, 1)]))).unwrap();
    assert_eq!(orders.view().unwrap_err(), BookError::NoSnapshot);
    orders.apply(OrdersUpdate::Snapshot(&part(2, 2, &[order(5, 100, 2)]))).unwrap();
    assert_eq!(bids(&orders), [7, 5]);
    assert!(orders.view().unwrap().is_whole);
}

#[test]
fn a_snapshot_in_records_is_taken_one_by_one_and_ends_with_the_first_record_behind_it() {
    for ends in [true, false] {
        let mut orders = LocalOrders::new(symbol());
        let state = header(10, None);
        orders.apply(OrdersUpdate::Record(&record(state, MboAction::Clear, None, false))).unwrap();
        for (number, last) in [(2, false), (1, ends)] {
            let add = record(state, MboAction::Add, Some(order(number, 100, 5)), last);
            orders.apply(OrdersUpdate::Record(&add)).unwrap();
        }
        assert_eq!(orders.view().is_ok(), ends);
        orders.apply(OrdersUpdate::Record(&event(11, MboAction::Add, order(9, 100, 1)))).unwrap();
        assert_eq!(bids(&orders), [2, 1, 9]);
    }
}

#[test]
fn orders_keep_their_places_where_they_shrink_and_give_them_up_otherwise() {
    for (action, change, expected) in [
        (MboAction::Modify, order(1, 100, 4), vec![1, 2, 3]),
        (MboAction::Cancel, order(1, 100, 4), vec![1, 2, 3]),
        (MboAction::Cancel, order(1, 100, 5), vec![2, 3]),
        (MboAction::Cancel, order(8, 100, 5), vec![1, 2, 3]),
        (MboAction::Modify, order(1, 100, 6), vec![2, 3, 1]),
        (MboAction::Modify, order(3, 101, 5), vec![3, 1, 2]),
        (MboAction::Modify, order(8, 100, 1), vec![1, 2, 3, 8]),
        (MboAction::Add, order(4, 99, 1), vec![1, 2, 3, 4]),
        (MboAction::Fill, order(1, 100, 5), vec![1, 2, 3]),
    ] {
        let mut orders = live();
        orders.apply(OrdersUpdate::Record(&event(11, action, change))).unwrap();
        assert_eq!(bids(&orders), expected, "{action:?} {change:?}");
    }
}

#[test]
fn a_hole_a_repetition_and_a_new_epoch_take_the_copy_away_until_the_next_snapshot() {
    let add = order(9, 100, 1);
    let elsewhere = StreamHeader { epoch: Epoch(2), ..header(1, Some(0)) };
    for (message, expected) in [
        (event(13, MboAction::Add, add), BookError::Gap { from: seq(11), to: seq(12) }),
        (event(10, MboAction::Add, add), BookError::Repeated { seq: seq(10) }),
        (record(elsewhere, MboAction::Add, Some(add), true), BookError::EpochChanged { epoch: Epoch(2) }),
        (record(header(11, Some(10)), MboAction::Add, None, true), BookError::RecordIncomplete),
    ] {
        let mut orders = live();
        assert_eq!(orders.apply(OrdersUpdate::Record(&message)), Err(expected));
        assert_eq!(orders.view().unwrap_err(), expected);
        let next = event(11, MboAction::Add, add);
        assert_eq!(orders.apply(OrdersUpdate::Record(&next)), Err(BookError::NoSnapshot));
        assert_eq!(orders.view().unwrap_err(), expected, "why it went stays known");
        orders.apply(OrdersUpdate::Snapshot(&part(1, 1, &[add]))).unwrap();
        assert_eq!(bids(&orders), [9]);
    }
}

#[test]
fn parts_that_do_not_follow_one_another_are_no_snapshot() {
    let one = [order(1, 100, 5)];
    let other = MboSnapshot { header: header(11, None), ..part(2, 2, &[]) };
    for second in [part(3, 3, &[]), part(2, 3, &[]), part(2, 2, &one), other] {
        let mut orders = LocalOrders::new(symbol());
        orders.apply(OrdersUpdate::Snapshot(&part(1, 2, &one))).unwrap();
        assert_eq!(orders.apply(OrdersUpdate::Snapshot(&second)), Err(BookError::SnapshotInvalid));
    }
    let mut orders = LocalOrders::new(symbol());
    orders.apply(OrdersUpdate::Snapshot(&part(1, 2, &one))).unwrap();
    let early = event(11, MboAction::Add, order(2, 100, 1));
    assert_eq!(orders.apply(OrdersUpdate::Record(&early)), Err(BookError::SnapshotInvalid));
}

#[test]
fn what_is_of_another_stream_changes_nothing() {
    let mut orders = live();
    let mut other = event(11, MboAction::Add, order(9, 100, 1));
    other.header.symbol = Symbol::new("NQH4").unwrap();
    assert_eq!(orders.apply(OrdersUpdate::Record(&other)), Err(BookError::OtherStream));
    assert_eq!(bids(&orders), [1, 2, 3]);
    assert_eq!(orders.heartbeat(Epoch(1), seq(10)), Ok(()));
    assert_eq!(orders.heartbeat(Epoch(1), seq(11)), Err(BookError::Gap { from: seq(11), to: seq(11) }));
}
