//! Post-only, fill or kill, and self-trade prevention in continuous trading.

use super::*;

fn post_only(order: NewOrder) -> NewOrder {
    NewOrder { post_only: true, ..order }
}

fn fok(order: NewOrder) -> NewOrder {
    NewOrder { time_in_force: TimeInForce::FillOrKill, ..order }
}

fn preventing(mode: SelfTrade, order: NewOrder) -> NewOrder {
    NewOrder { self_trade: Some(mode), ..order }
}

#[test]
fn a_post_only_order_rests_or_is_refused() {
    let resting = [limit(1, ALICE, Side::Sell, 3, 100)];
    let told = check(&resting, post_only(limit(2, BOB, Side::Buy, 3, 99))).unwrap();
    assert_eq!(told, ["2 new leaves 3 cum 0", "add 2 buy 3@99 last"]);
    let would_take = post_only(limit(2, BOB, Side::Buy, 3, 100));
    assert_eq!(check(&resting, would_take), Err(Code::OrdPostOnlyWouldTake));
    let own = preventing(SelfTrade::CancelMaker, post_only(limit(2, ALICE, Side::Buy, 3, 100)));
    assert_eq!(check(&resting, own), Err(Code::OrdPostOnlyWouldTake), "one's own orders count, too");
}

#[test]
fn a_post_only_order_that_never_rests_contradicts_itself() {
    let ioc = NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..limit(1, BOB, Side::Buy, 1, 9) };
    for order in [ioc, fok(limit(1, BOB, Side::Buy, 1, 9)), market(1, BOB, Side::Buy, 1)] {
        assert_eq!(check(&[], post_only(order)), Err(Code::OrdOptionsContradict));
    }
}

#[test]
fn a_fill_or_kill_order_trades_as_a_whole_or_is_refused() {
    let resting = [
        limit(1, ALICE, Side::Sell, 3, 100),
        limit(2, ALICE, Side::Sell, 3, 101),
        limit(3, ALICE, Side::Sell, 3, 102),
    ];
    let told = check(&resting, fok(limit(4, BOB, Side::Buy, 6, 101))).unwrap();
    assert_eq!(told.last().unwrap(), "reduce 2 sell 3@101 last");
    assert_eq!(check(&resting, fok(limit(4, BOB, Side::Buy, 7, 101))), Err(Code::OrdFillOrKillShort));
    assert_eq!(check(&resting, fok(limit(4, BOB, Side::Buy, 1, 99))), Err(Code::OrdFillOrKillShort));
    assert_eq!(check(&resting, fok(market(4, BOB, Side::Buy, 10))), Err(Code::OrdFillOrKillShort));
    assert_eq!(check(&resting, fok(market(4, BOB, Side::Buy, 9))).unwrap().len(), 1 + 3 * 4);
}

#[test]
fn without_prevention_an_owner_trades_with_itself() {
    let told = check(&[limit(1, ALICE, Side::Sell, 3, 100)], limit(2, ALICE, Side::Buy, 3, 100)).unwrap();
    assert_eq!(told.last().unwrap(), "reduce 1 sell 3@100 last");
}

/// Bob's 1 and Alice's 2 and Bob's 3 ask 100, in this order, 3 units each; Alice buys 7 of them.
fn prevented(mode: SelfTrade) -> Vec<String> {
    let resting = [
        limit(1, BOB, Side::Sell, 3, 100),
        limit(2, ALICE, Side::Sell, 3, 100),
        limit(3, BOB, Side::Sell, 3, 100),
    ];
    let told = check(&resting, preventing(mode, limit(4, ALICE, Side::Buy, 7, 100))).unwrap();
    let first = ["4 new leaves 7 cum 0", "4 fill#1 3@100 leaves 4 cum 3", "1 fill#1 3@100 leaves 0 cum 3"];
    assert_eq!(told[..3], first);
    told[5..].to_vec()
}

#[test]
fn prevention_that_cancels_the_taker_ends_it_at_the_first_order_of_its_owner() {
    assert_eq!(prevented(SelfTrade::CancelTaker), ["4 canceled:self_trade leaves 0 cum 3"]);
}

#[test]
fn prevention_that_cancels_the_maker_goes_on_behind_it() {
    let expected = [
        "2 canceled:self_trade leaves 0 cum 0",
        "reduce 2 sell 3@100",
        "4 fill#2 3@100 leaves 1 cum 6",
        "3 fill#2 3@100 leaves 0 cum 3",
        "trade#2 buy 3@100",
        "reduce 3 sell 3@100",
        "add 4 buy 1@100 last",
    ];
    assert_eq!(prevented(SelfTrade::CancelMaker), expected);
}

#[test]
fn prevention_that_cancels_both_ends_the_two_that_met() {
    let expected = [
        "2 canceled:self_trade leaves 0 cum 0",
        "reduce 2 sell 3@100 last",
        "4 canceled:self_trade leaves 0 cum 3",
    ];
    assert_eq!(prevented(SelfTrade::CancelBoth), expected);
}

#[test]
fn the_order_that_takes_decides_and_not_the_one_that_rests() {
    let resting = [preventing(SelfTrade::CancelBoth, limit(1, ALICE, Side::Sell, 3, 100))];
    let told = check(&resting, limit(2, ALICE, Side::Buy, 3, 100)).unwrap();
    assert_eq!(told.last().unwrap(), "reduce 1 sell 3@100 last");
}

#[test]
fn prevention_holds_for_market_and_immediate_orders() {
    let resting = [limit(1, ALICE, Side::Sell, 3, 100), limit(2, BOB, Side::Sell, 3, 101)];
    let order = preventing(SelfTrade::CancelMaker, market(3, ALICE, Side::Buy, 5));
    let told = check(&resting, order).unwrap();
    assert_eq!(told[1], "1 canceled:self_trade leaves 0 cum 0");
    assert_eq!(told[told.len() - 2..], ["reduce 2 sell 3@101 last", "3 expired leaves 0 cum 3"]);
    let ioc =
        NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..limit(3, ALICE, Side::Buy, 5, 101) };
    let told = check(&resting, preventing(SelfTrade::CancelTaker, ioc)).unwrap();
    assert_eq!(told[1..], ["3 canceled:self_trade leaves 0 cum 0"]);
}

#[test]
fn what_prevention_keeps_from_a_fill_or_kill_order_does_not_count_for_it() {
    let resting = [
        limit(1, BOB, Side::Sell, 2, 100),
        limit(2, ALICE, Side::Sell, 3, 100),
        limit(3, BOB, Side::Sell, 3, 101),
    ];
    let order = |mode, units| preventing(mode, fok(limit(4, ALICE, Side::Buy, units, 101)));
    assert_eq!(check(&resting, order(SelfTrade::CancelMaker, 6)), Err(Code::OrdFillOrKillShort));
    let told = check(&resting, order(SelfTrade::CancelMaker, 5)).unwrap();
    assert!(told.contains(&"2 canceled:self_trade leaves 0 cum 0".to_owned()));
    assert_eq!(told.last().unwrap(), "reduce 3 sell 3@101 last");
    for mode in [SelfTrade::CancelTaker, SelfTrade::CancelBoth] {
        assert_eq!(check(&resting, order(mode, 3)), Err(Code::OrdFillOrKillShort));
        assert_eq!(check(&resting, order(mode, 2)).unwrap().last().unwrap(), "reduce 1 sell 2@100 last");
    }
}
