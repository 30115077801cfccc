//! The book by sentence.

use super::*;

fn add(order: u64, side: Side, price: i64, quantity: u64) -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
    MarketEventKind::Add { order: OrderId(order), side, price, quantity }
}

fn modify(order: u64, side: Side, price: i64, quantity: u64) -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
    MarketEventKind::Modify { order: OrderId(order), side, price, quantity }
}

fn reduce(order: u64, quantity: u64) -> MarketEventKind {
    let (price, quantity) = (Price::ZERO, Quantity::from_nanos(quantity));
    MarketEventKind::Reduce { order: OrderId(order), side: Side::Buy, price, quantity }
}

/// Price, quantity and orders of a level.
type Plain = (i64, u64, u32);

/// Applies the records and gives the bids, then the asks.
fn check(kinds: &[MarketEventKind]) -> (Vec<Plain>, Vec<Plain>) {
    let mut book = Book::default();
    kinds.iter().for_each(|kind| book.apply(kind));
    let side = |side| book.levels(side).map(tuple).collect();
    (side(Side::Buy), side(Side::Sell))
}

fn tuple(level: Level) -> Plain {
    (level.price.nanos(), level.quantity.nanos(), level.orders)
}

#[test]
fn orders_of_one_price_form_one_level() {
    let (bids, asks) = check(&[
        add(1, Side::Buy, 99, 5),
        add(2, Side::Buy, 99, 7),
        add(3, Side::Buy, -1, 1),
        add(4, Side::Sell, 101, 2),
    ]);
    assert_eq!(bids, [(99, 12, 2), (-1, 1, 1)]);
    assert_eq!(asks, [(101, 2, 1)]);
}

#[test]
fn a_modify_replaces_price_quantity_and_side() {
    let (bids, asks) =
        check(&[add(1, Side::Buy, 99, 5), modify(1, Side::Sell, 98, 4), modify(2, Side::Buy, 97, 3)]);
    assert_eq!(bids, [(97, 3, 1)], "an unknown order is added");
    assert_eq!(asks, [(98, 4, 1)]);
    assert_eq!(check(&[add(1, Side::Buy, 99, 5), modify(1, Side::Buy, 99, 0)]).0, []);
}

#[test]
fn a_reduce_takes_its_quantity_off_and_at_zero_the_order_is_gone() {
    assert_eq!(check(&[add(1, Side::Buy, 99, 5), reduce(1, 2)]).0, [(99, 3, 1)]);
    assert_eq!(check(&[add(1, Side::Buy, 99, 5), reduce(1, 2), reduce(1, 3)]).0, []);
    assert_eq!(check(&[add(1, Side::Buy, 99, 5), reduce(1, 6), reduce(1, 6)]).0, []);
}

#[test]
fn a_reduce_of_an_unknown_order_is_counted_and_changes_nothing() {
    let mut book = Book::default();
    book.apply(&add(1, Side::Buy, 99, 5));
    book.apply(&reduce(7, 1));
    assert_eq!(book.unknown_orders(), 1);
    assert_eq!(book.best(Side::Buy).map(tuple), Some((99, 5, 1)));
}

#[test]
fn trades_and_fills_do_not_change_the_book() {
    let trade = MarketEventKind::Trade {
        price: Price::from_nanos(99),
        quantity: Quantity::from_nanos(5),
        aggressor: Some(Side::Sell),
        trade_id: 1,
    };
    let fill = MarketEventKind::Fill {
        order: OrderId(1),
        side: Some(Side::Buy),
        price: Price::from_nanos(99),
        quantity: Quantity::from_nanos(1),
    };
    assert_eq!(check(&[add(1, Side::Buy, 99, 5), trade, fill]).0, [(99, 5, 1)]);
}

#[test]
fn a_crossed_book_stands() {
    let (bids, asks) = check(&[add(1, Side::Buy, 105, 5), add(2, Side::Sell, 95, 5)]);
    assert_eq!((bids, asks), (vec![(105, 5, 1)], vec![(95, 5, 1)]));
}

#[test]
fn an_event_reports_each_changed_level_once_and_what_came_back_to_what_it_was_not_at_all() {
    let mut book = Book::default();
    let mut changes = Changes::default();
    [add(1, Side::Buy, 99, 5), add(2, Side::Buy, 98, 5)].iter().for_each(|kind| book.apply(kind));
    book.end_event(&mut changes);
    assert_eq!(changes.bids.iter().copied().map(tuple).collect::<Vec<_>>(), [(99, 5, 1), (98, 5, 1)]);
    let back_and_forth =
        [reduce(1, 5), add(3, Side::Buy, 97, 1), add(4, Side::Buy, 97, 1), modify(1, Side::Buy, 99, 5)];
    back_and_forth.iter().for_each(|kind| book.apply(kind));
    book.end_event(&mut changes);
    assert_eq!(changes.bids.iter().copied().map(tuple).collect::<Vec<_>>(), [(97, 2, 2)]);
    book.apply(&MarketEventKind::Clear);
    book.end_event(&mut changes);
    assert_eq!(
        changes.bids.iter().copied().map(tuple).collect::<Vec<_>>(),
        [(99, 0, 0), (98, 0, 0), (97, 0, 0)]
    );
}

#[test]
fn in_an_open_event_the_whole_book_is_the_one_before() {
    let mut book = Book::default();
    book.apply(&add(1, Side::Sell, 99, 5));
    book.end_event(&mut Changes::default());
    [MarketEventKind::Clear, add(2, Side::Sell, 99, 1), add(3, Side::Sell, 98, 1)]
        .iter()
        .for_each(|kind| book.apply(kind));
    assert_eq!(book.whole_levels(Side::Sell, 9).into_iter().map(tuple).collect::<Vec<_>>(), [(99, 5, 1)]);
    book.end_event(&mut Changes::default());
    assert_eq!(book.whole_levels(Side::Sell, 9).len(), 2);
}

fn set(side: Side, price: i64, quantity: u64, orders: u32) -> MarketEventKind {
    let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
    MarketEventKind::Level { side, price, quantity, orders }
}

#[test]
fn a_level_holds_what_was_said_last_and_zero_removes_it() {
    let (bids, asks) = check(&[
        set(Side::Buy, 99, 5, 2),
        set(Side::Buy, 98, 7, 0),
        set(Side::Buy, 99, 3, 0),
        set(Side::Sell, 101, 4, 1),
        set(Side::Sell, 101, 0, 0),
        set(Side::Sell, 102, 0, 0),
    ]);
    assert_eq!(bids, [(99, 3, 0), (98, 7, 0)]);
    assert_eq!(asks, []);
}

#[test]
fn levels_without_a_count_of_orders_are_reported_and_remembered_like_others() {
    let mut book = Book::default();
    let mut changes = Changes::default();
    book.apply(&set(Side::Sell, 101, 4, 0));
    book.end_event(&mut changes);
    assert_eq!(changes.asks.iter().copied().map(tuple).collect::<Vec<_>>(), [(101, 4, 0)]);
    [set(Side::Sell, 101, 0, 0), set(Side::Sell, 100, 1, 0)].iter().for_each(|kind| book.apply(kind));
    assert_eq!(book.whole_levels(Side::Sell, 9).into_iter().map(tuple).collect::<Vec<_>>(), [(101, 4, 0)]);
    book.apply(&set(Side::Sell, 101, 4, 0));
    book.end_event(&mut changes);
    assert_eq!(changes.asks.iter().copied().map(tuple).collect::<Vec<_>>(), [(100, 1, 0)]);
}

#[test]
fn a_level_too_large_for_the_wire_stays_exact_inside() {
    let (bids, _) = check(&[add(1, Side::Buy, 9, u64::MAX), add(2, Side::Buy, 9, 5), reduce(1, u64::MAX)]);
    assert_eq!(bids, [(9, 5, 1)]);
}

/// The orders of a book in their places.
fn queue(book: &Book) -> Vec<u64> {
    let mut orders: Vec<RestingOrder> = book.resting().collect();
    orders.sort_unstable_by_key(RestingOrder::place);
    orders.into_iter().map(|order| order.order.0).collect()
}

#[test]
fn an_order_keeps_its_place_where_it_shrinks_and_gives_it_up_where_it_grows_moves_or_is_added_again() {
    for (change, expected) in [
        (modify(1, Side::Buy, 99, 5), [1, 2, 3]),
        (modify(1, Side::Buy, 99, 4), [1, 2, 3]),
        (reduce(1, 4), [1, 2, 3]),
        (modify(1, Side::Buy, 99, 6), [2, 3, 1]),
        (add(1, Side::Buy, 99, 5), [2, 3, 1]),
        (modify(3, Side::Buy, 100, 1), [3, 1, 2]),
        (modify(1, Side::Sell, 99, 5), [2, 3, 1]),
    ] {
        let mut book = Book::default();
        for order in 1..=3 {
            book.apply(&add(order, Side::Buy, 99, 5));
        }
        book.apply(&change);
        assert_eq!(queue(&book), expected, "{change:?}");
    }
}
