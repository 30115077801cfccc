//! Phases and auctions.

use super::*;

/// Puts the instrument into a phase, and says in short what came out.
fn turn(venue: &mut Venue, phase: Phase) -> Vec<String> {
    saying(venue, |venue, events| venue.set_phase(X, phase, events)).unwrap()
}

fn submit(venue: &mut Venue, order: NewOrder) -> Result<Vec<String>, Code> {
    saying(venue, |venue, events| venue.submit(order, events))
}

/// A venue in an auction call that has gathered these orders.
fn gathering(orders: &[NewOrder]) -> Venue {
    let mut venue = holding(&[]);
    turn(&mut venue, Phase::AuctionCall);
    for order in orders {
        venue.submit(*order, &mut Vec::new()).unwrap();
    }
    venue.check_invariants();
    venue
}

/// At which price, and how much, the auction over these bids and asks (units, price) trades after a trade at `last`.
fn auctioned(last: Option<i64>, bids: &[(u64, i64)], asks: &[(u64, i64)]) -> Option<(Price, u128)> {
    let mut venue = holding(&[]);
    if let Some(last) = last {
        venue.submit(limit(1, ALICE, Side::Sell, 1, last), &mut Vec::new()).unwrap();
        venue.submit(limit(2, BOB, Side::Buy, 1, last), &mut Vec::new()).unwrap();
    }
    turn(&mut venue, Phase::AuctionCall);
    let orders = bids.iter().map(|bid| (Side::Buy, bid)).chain(asks.iter().map(|ask| (Side::Sell, ask)));
    for (id, (side, (units, at))) in (10_u64..).zip(orders) {
        venue.submit(limit(id, ALICE, side, *units, *at), &mut Vec::new()).unwrap();
    }
    let indicative = venue.indicative(X);
    let before = venue.last_price(X);
    turn(&mut venue, Phase::Open);
    match indicative {
        Some(found) => assert_eq!(venue.last_price(X), Some(found.price)),
        None => assert_eq!(venue.last_price(X), before),
    }
    indicative.map(|found| (found.price, found.quantity / 1_000_000_000))
}

#[test]
fn the_market_hears_of_every_phase_once() {
    let mut venue = holding(&[]);
    assert_eq!(venue.phase(X), Some(Phase::Open));
    assert_eq!(turn(&mut venue, Phase::Open), [""; 0]);
    assert_eq!(turn(&mut venue, Phase::AuctionCall), ["status auction last"]);
    assert_eq!(turn(&mut venue, Phase::Halted), ["status halted last"]);
    assert_eq!(turn(&mut venue, Phase::Closed), ["status halted CLOSED last"]);
    assert_eq!(turn(&mut venue, Phase::Closed), [""; 0]);
    assert_eq!(turn(&mut venue, Phase::Open), ["status trading last"]);
    assert_eq!(venue.phase(InstrumentId(5)), None);
    let unknown = venue.set_phase(InstrumentId(5), Phase::Open, &mut Vec::new());
    assert_eq!(unknown, Err(Code::OrdSymbolNotTradable));
}

#[test]
fn a_halt_refuses_orders_and_replaces_and_takes_cancels() {
    let codes = [(Phase::Halted, Code::OrdInstrumentHalted), (Phase::Closed, Code::OrdInstrumentClosed)];
    for (phase, code) in codes {
        let mut venue = holding(&[limit(1, ALICE, Side::Buy, 5, 100)]);
        turn(&mut venue, phase);
        assert_eq!(submit(&mut venue, limit(2, BOB, Side::Sell, 5, 100)), Err(code));
        assert_eq!(submit(&mut venue, market(2, BOB, Side::Sell, 5)), Err(code));
        let less = ReplaceOrder { owner: ALICE, id: OrderId(1), price: None, quantity: Some(quantity(1)) };
        assert_eq!(saying(&mut venue, |venue, events| venue.replace(less, events)), Err(code));
        let cancel = CancelOrder { owner: ALICE, id: OrderId(1), reason: CancelReason::Requested };
        assert!(saying(&mut venue, |venue, events| venue.cancel(cancel, events)).is_ok());
    }
    assert!(Code::OrdInstrumentHalted.is_retryable() && !Code::OrdInstrumentClosed.is_retryable());
}

#[test]
fn an_auction_call_gathers_limit_orders_and_nothing_trades() {
    let mut venue = gathering(&[limit(1, ALICE, Side::Sell, 5, 90)]);
    let told = submit(&mut venue, limit(2, BOB, Side::Buy, 5, 110)).unwrap();
    assert_eq!(told, ["2 new leaves 5 cum 0", "add 2 buy 5@110 last"]);
    let forever = TimeInForce::GoodTillCancel;
    assert!(
        submit(&mut venue, NewOrder { time_in_force: forever, ..limit(3, BOB, Side::Buy, 5, 110) }).is_ok()
    );
    assert_eq!(venue.last_price(X), None);
}

#[test]
fn an_auction_call_refuses_what_must_trade_at_once_or_must_not() {
    let mut venue = gathering(&[limit(1, ALICE, Side::Sell, 5, 90)]);
    let order = limit(2, BOB, Side::Buy, 5, 80);
    let refused = [
        market(2, BOB, Side::Buy, 5),
        NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..order },
        NewOrder { time_in_force: TimeInForce::FillOrKill, ..order },
        NewOrder { post_only: true, ..order },
    ];
    for order in refused {
        assert_eq!(submit(&mut venue, order), Err(Code::OrdNotInAuction));
    }
}

#[test]
fn a_post_only_order_from_before_an_auction_may_become_smaller_and_nothing_else() {
    let mut venue = holding(&[NewOrder { post_only: true, ..limit(1, ALICE, Side::Buy, 5, 100) }]);
    turn(&mut venue, Phase::AuctionCall);
    let replace =
        |units| ReplaceOrder { owner: ALICE, id: OrderId(1), price: None, quantity: Some(quantity(units)) };
    assert!(saying(&mut venue, |venue, events| venue.replace(replace(4), events)).is_ok());
    let more = saying(&mut venue, |venue, events| venue.replace(replace(6), events));
    assert_eq!(more, Err(Code::OrdNotInAuction));
}

#[test]
fn the_end_of_an_auction_call_trades_at_one_price_in_the_order_of_price_and_time() {
    let mut venue = gathering(&[
        limit(1, ALICE, Side::Buy, 3, 102),
        limit(2, BOB, Side::Buy, 3, 103),
        limit(3, BOB, Side::Buy, 3, 102),
        limit(4, ALICE, Side::Sell, 4, 100),
        limit(5, BOB, Side::Sell, 4, 102),
        limit(6, BOB, Side::Sell, 4, 105),
    ]);
    let expected = [
        "2 fill#1 3@102 leaves 0 cum 3",
        "4 fill#1 3@102 leaves 1 cum 3",
        "trade#1 auction 3@102",
        "reduce 2 buy 3@103",
        "reduce 4 sell 3@100",
        "1 fill#2 1@102 leaves 2 cum 1",
        "4 fill#2 1@102 leaves 0 cum 4",
        "trade#2 auction 1@102",
        "reduce 1 buy 1@102",
        "reduce 4 sell 1@100",
        "1 fill#3 2@102 leaves 0 cum 3",
        "5 fill#3 2@102 leaves 2 cum 2",
        "trade#3 auction 2@102",
        "reduce 1 buy 2@102",
        "reduce 5 sell 2@102",
        "3 fill#4 2@102 leaves 1 cum 2",
        "5 fill#4 2@102 leaves 0 cum 4",
        "trade#4 auction 2@102",
        "reduce 3 buy 2@102",
        "reduce 5 sell 2@102",
        "status trading last",
    ];
    assert_eq!(turn(&mut venue, Phase::Open), expected);
}

#[test]
fn an_auction_trades_the_most_that_can_trade() {
    assert_eq!(auctioned(None, &[(5, 105), (5, 103)], &[(4, 101), (9, 103)]), Some((price(103), 10)));
    assert_eq!(auctioned(None, &[(5, 99)], &[(5, 100)]), None, "not crossed");
    assert_eq!(auctioned(Some(50), &[(5, 100)], &[(5, 100)]), Some((price(100), 5)));
}

#[test]
fn of_prices_with_the_same_volume_the_one_with_the_least_left_over_is_taken() {
    // At 100 buyers want 15 and sellers 10, at 104 the other way round; between them 10 and 10.
    let (bids, asks) = ([(10, 104), (5, 100)], [(10, 100), (5, 104)]);
    assert_eq!(auctioned(None, &bids, &asks), Some((price(101), 10)));
    assert_eq!(auctioned(Some(104), &bids, &asks), Some((price(103), 10)));
    assert_eq!(auctioned(Some(102), &bids, &asks), Some((price(102), 10)));
    // No price on the tick lies between: 5 are left over at either, and the lower one is taken.
    assert_eq!(auctioned(None, &[(10, 101), (5, 100)], &[(10, 100), (5, 101)]), Some((price(100), 10)));
}

#[test]
fn of_prices_that_are_alike_the_nearest_to_the_last_trade_is_taken_and_then_the_lowest() {
    let (bids, asks) = ([(5, 110)], [(5, 90)]);
    assert_eq!(auctioned(None, &bids, &asks), Some((price(90), 5)));
    assert_eq!(auctioned(Some(97), &bids, &asks), Some((price(97), 5)));
    assert_eq!(auctioned(Some(200), &bids, &asks), Some((price(110), 5)));
    assert_eq!(auctioned(Some(1), &bids, &asks), Some((price(90), 5)));
    // 5 are left over at 100 and at 104 alike; 102 is as near to either.
    let (bids, asks) = ([(10, 104), (10, 100)], [(10, 100), (10, 104)]);
    assert_eq!(auctioned(Some(102), &bids, &asks), Some((price(102), 10)));
}

#[test]
fn an_auction_that_ends_in_a_close_trades_and_one_that_is_halted_keeps_what_gathered() {
    let orders = [limit(1, ALICE, Side::Sell, 5, 90), limit(2, BOB, Side::Buy, 5, 110)];
    let mut venue = gathering(&orders);
    assert_eq!(turn(&mut venue, Phase::Closed).len(), 6);
    let mut venue = gathering(&orders);
    assert_eq!(turn(&mut venue, Phase::Halted), ["status halted last"]);
    assert_eq!(venue.resting_orders(), 2);
    assert_eq!(turn(&mut venue, Phase::Open).len(), 6, "and trades it when the halt ends");
}

#[test]
fn prices_at_the_ends_of_the_range_can_be_auctioned() {
    let at = |order: NewOrder, nanos| NewOrder { kind: OrderKind::Limit(Price::from_nanos(nanos)), ..order };
    let mut venue = gathering(&[
        at(limit(1, ALICE, Side::Buy, u64::MAX / 1_000_000_000, 0), i64::MAX),
        at(limit(2, BOB, Side::Buy, u64::MAX / 1_000_000_000, 0), i64::MAX),
        at(limit(3, BOB, Side::Sell, 5, 0), i64::MIN),
    ]);
    turn(&mut venue, Phase::Open);
    assert!(venue.last_price(X).is_some());
}

/// Alice asks 90 with her 1, Bob asks 95 with his 2, Alice asks 95 with her 3; then she bids 100.
fn prevented(mode: SelfTrade) -> (Vec<String>, usize) {
    let mut venue = gathering(&[
        limit(1, ALICE, Side::Sell, 1, 90),
        limit(2, BOB, Side::Sell, 1, 95),
        limit(3, ALICE, Side::Sell, 1, 95),
    ]);
    let bid = NewOrder { self_trade: Some(mode), ..limit(4, ALICE, Side::Buy, 2, 100) };
    let told = submit(&mut venue, bid).unwrap();
    (told[1..].to_vec(), venue.resting_orders())
}

#[test]
fn in_an_auction_call_prevention_acts_when_the_younger_order_comes_in() {
    let taker = (vec!["4 canceled:self_trade leaves 0 cum 0".to_owned()], 3);
    assert_eq!(prevented(SelfTrade::CancelTaker), taker);
    let (told, resting) = prevented(SelfTrade::CancelMaker);
    let expected = [
        "1 canceled:self_trade leaves 0 cum 0",
        "reduce 1 sell 1@90",
        "3 canceled:self_trade leaves 0 cum 0",
        "reduce 3 sell 1@95",
        "add 4 buy 2@100 last",
    ];
    assert_eq!((told, resting), (expected.map(str::to_owned).to_vec(), 2));
    let (told, resting) = prevented(SelfTrade::CancelBoth);
    let expected = [
        "1 canceled:self_trade leaves 0 cum 0",
        "reduce 1 sell 1@90 last",
        "4 canceled:self_trade leaves 0 cum 0",
    ];
    assert_eq!((told, resting), (expected.map(str::to_owned).to_vec(), 2));
}

#[test]
fn a_full_book_takes_no_more_in_an_auction_call() {
    let mut venue = Venue::new(&instruments(&[true])).with_resting_orders_max(1);
    turn(&mut venue, Phase::AuctionCall);
    submit(&mut venue, limit(1, ALICE, Side::Sell, 1, 90)).unwrap();
    let crossing = limit(2, BOB, Side::Buy, 1, 90);
    assert_eq!(submit(&mut venue, crossing), Err(Code::RskVenueOrdersMax));
}
