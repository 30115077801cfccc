//! Replace: what keeps its place and what loses it.

use super::*;

/// Replaces in a venue, and says in short what came out.
fn replace(
    venue: &mut Venue,
    id: u64,
    owner: OwnerId,
    at: Option<i64>,
    units: Option<u64>,
) -> Result<Vec<String>, Code> {
    let replace =
        ReplaceOrder { owner, id: OrderId(id), price: at.map(price), quantity: units.map(quantity) };
    saying(venue, |venue, events| venue.replace(replace, events))
}

/// Alice's 1 and Bob's 2, 5 units each, bid 100; of Alice's, 2 units have traded.
fn two_bids() -> Venue {
    holding(&[
        limit(1, ALICE, Side::Buy, 5, 100),
        limit(2, BOB, Side::Buy, 5, 100),
        limit(3, BOB, Side::Sell, 2, 100),
    ])
}

/// The bids in the order in which they trade.
fn bids(venue: &Venue) -> Vec<(u64, Quantity)> {
    let bids = venue.resting().filter(|order| order.side == Side::Buy);
    bids.map(|order| (order.id.0, order.leaves)).collect()
}

#[test]
fn less_at_the_same_price_keeps_its_place() {
    let mut venue = two_bids();
    let told = replace(&mut venue, 1, ALICE, Some(100), Some(3)).unwrap();
    assert_eq!(told, ["1 replaced 3@100 leaves 1 cum 2", "reduce 1 buy 2@100 last"]);
    assert_eq!(bids(&venue), [(1, quantity(1)), (2, quantity(5))]);
}

#[test]
fn more_at_the_same_price_goes_to_the_end_of_the_queue() {
    let mut venue = two_bids();
    let told = replace(&mut venue, 1, ALICE, None, Some(6)).unwrap();
    let expected = ["1 replaced 6@100 leaves 4 cum 2", "reduce 1 buy 3@100", "add 1 buy 4@100 last"];
    assert_eq!(told, expected);
    assert_eq!(bids(&venue), [(2, quantity(5)), (1, quantity(4))]);
}

#[test]
fn another_price_loses_the_place_even_when_it_comes_back() {
    let mut venue = two_bids();
    let told = replace(&mut venue, 1, ALICE, Some(99), None).unwrap();
    let expected = ["1 replaced 5@99 leaves 3 cum 2", "reduce 1 buy 3@100", "add 1 buy 3@99 last"];
    assert_eq!(told, expected);
    replace(&mut venue, 1, ALICE, Some(100), None).unwrap();
    assert_eq!(bids(&venue), [(2, quantity(5)), (1, quantity(3))]);
}

#[test]
fn a_replace_that_changes_nothing_is_reported_and_keeps_the_place() {
    let mut venue = two_bids();
    let before = venue.state_digest();
    for (at, units) in [(None, None), (Some(100), None), (None, Some(5))] {
        let told = replace(&mut venue, 1, ALICE, at, units).unwrap();
        assert_eq!(told, ["1 replaced 5@100 leaves 3 cum 2"]);
    }
    assert_eq!(venue.state_digest(), before);
}

#[test]
fn a_total_quantity_at_or_below_what_has_traded_cancels_the_rest() {
    for units in [0, 1, 2] {
        let told = replace(&mut two_bids(), 1, ALICE, None, Some(units)).unwrap();
        assert_eq!(told, ["1 canceled:replaced leaves 0 cum 2", "reduce 1 buy 3@100 last"]);
    }
}

#[test]
fn a_replaced_order_trades_as_a_new_one_would() {
    let mut venue = two_bids();
    venue.submit(limit(4, BOB, Side::Sell, 1, 101), &mut Vec::new()).unwrap();
    let told = replace(&mut venue, 1, ALICE, Some(102), Some(6)).unwrap();
    let expected = [
        "1 replaced 6@102 leaves 4 cum 2",
        "reduce 1 buy 3@100",
        "1 fill#2 1@101 leaves 3 cum 3",
        "4 fill#2 1@101 leaves 0 cum 1",
        "trade#2 buy 1@101",
        "reduce 4 sell 1@101",
        "add 1 buy 3@102 last",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_replaced_post_only_order_that_would_trade_stays_as_it_was() {
    let bid = NewOrder { post_only: true, ..limit(1, ALICE, Side::Buy, 5, 99) };
    let mut venue = holding(&[bid, limit(2, BOB, Side::Sell, 5, 101)]);
    assert_eq!(replace(&mut venue, 1, ALICE, Some(101), None), Err(Code::OrdPostOnlyWouldTake));
    assert_eq!(venue.order(OrderId(1)).map(|order| order.price), Some(price(99)));
    assert!(replace(&mut venue, 1, ALICE, Some(100), None).is_ok());
}

#[test]
fn a_replaced_order_keeps_its_self_trade_prevention() {
    let ask = limit(2, ALICE, Side::Sell, 5, 101);
    let bid = limit(1, ALICE, Side::Buy, 5, 99);
    let bid = |mode| NewOrder { self_trade: Some(mode), ..bid };
    let mut venue = holding(&[bid(SelfTrade::CancelTaker), ask]);
    let told = replace(&mut venue, 1, ALICE, Some(101), None).unwrap();
    let expected =
        ["1 replaced 5@101 leaves 5 cum 0", "reduce 1 buy 5@99 last", "1 canceled:self_trade leaves 0 cum 0"];
    assert_eq!(told, expected);
    assert_eq!(venue.resting_orders(), 1);
    let mut venue = holding(&[bid(SelfTrade::CancelMaker), ask]);
    let told = replace(&mut venue, 1, ALICE, Some(101), None).unwrap();
    assert_eq!(told.last().unwrap(), "add 1 buy 5@101 last");
}

#[test]
fn only_the_owner_replaces_and_only_what_rests() {
    let mut venue = two_bids();
    assert_eq!(replace(&mut venue, 1, BOB, None, Some(1)), Err(Code::OrdOrderUnknown));
    assert_eq!(replace(&mut venue, 3, BOB, None, Some(1)), Err(Code::OrdOrderUnknown));
}

#[test]
fn a_full_book_still_takes_replaces() {
    let mut venue = Venue::new(&instruments(&[true])).with_resting_orders_max(2);
    venue.submit(limit(1, ALICE, Side::Buy, 5, 99), &mut Vec::new()).unwrap();
    venue.submit(limit(2, ALICE, Side::Buy, 5, 99), &mut Vec::new()).unwrap();
    assert!(replace(&mut venue, 1, ALICE, Some(98), Some(7)).is_ok());
    assert_eq!(bids(&venue), [(2, quantity(5)), (1, quantity(7))]);
}
