//! A venue out of its state and back into one.

use super::*;

/// The venue that a venue's own word about itself brings back.
pub(super) fn again(venue: &Venue, instruments: &Instruments) -> Venue {
    let max = venue.resting_orders_max;
    let back = Venue::restore(instruments, max, venue.counters(), venue.books(), venue.resting()).unwrap();
    assert_eq!(back.state_digest(), venue.state_digest());
    back
}

/// A venue with a little of everything, in an auction call in its first instrument.
fn busy() -> Venue {
    let mut venue = Venue::new(&instruments(&[true, false, true])).with_trade_ids_after(70);
    let mut events = Vec::new();
    let here = InstrumentId(2);
    venue.submit(limit(1, ALICE, Side::Buy, 5, 100), &mut events).unwrap();
    venue.submit(limit(2, BOB, Side::Sell, 2, 100), &mut events).unwrap();
    venue.submit(limit(3, BOB, Side::Buy, 2, 100), &mut events).unwrap();
    venue.submit(NewOrder { instrument: here, ..limit(4, BOB, Side::Sell, 9, 7) }, &mut events).unwrap();
    venue.set_phase(X, Phase::AuctionCall, &mut events).unwrap();
    venue.submit(limit(5, BOB, Side::Sell, 1, 90), &mut events).unwrap();
    venue
}

type State = (Counters, Vec<BookState>, Vec<RestingOrder>);

/// What is wrong with the state of [`busy`] after a change of it.
fn fault(change: impl FnOnce(&mut State)) -> RestoreFault {
    let venue = busy();
    let mut state = (venue.counters(), venue.books().collect(), venue.resting().collect());
    change(&mut state);
    let (counters, books, resting) = state;
    let instruments = instruments(&[true, false, true]);
    Venue::restore(&instruments, 4, counters, books, resting)
        .err()
        .expect("a state that no venue can have")
        .what
}

#[test]
fn a_restored_venue_has_the_same_state_and_goes_on_alike() {
    let mut before = busy();
    let mut after = again(&before, &instruments(&[true, false, true]));
    after.check_invariants();
    assert_eq!(after.last_price(X), Some(price(100)));
    assert_eq!(after.phase(X), Some(Phase::AuctionCall));
    assert_eq!(after.order(OrderId(1)).unwrap().cumulative(), quantity(2));
    assert_eq!(after.open_orders(BOB), 3);
    let mut events = (Vec::new(), Vec::new());
    before.set_phase(X, Phase::Open, &mut events.0).unwrap();
    after.set_phase(X, Phase::Open, &mut events.1).unwrap();
    assert_eq!(events.0, events.1);
    assert!(events.0.len() > 5, "it traded");
    assert_eq!(before.state_digest(), after.state_digest());
}

#[test]
fn a_state_that_no_venue_can_have_is_refused_with_what_is_wrong() {
    assert_eq!(fault(|state| state.1[0].instrument = InstrumentId(1)), RestoreFault::NotTraded);
    assert_eq!(fault(|state| state.2[0].instrument = InstrumentId(9)), RestoreFault::NotTraded);
    assert_eq!(fault(|state| state.1[1] = state.1[0]), RestoreFault::BookTwice);
    assert_eq!(fault(|state| state.1.truncate(1)), RestoreFault::BookMissing);
    assert_eq!(fault(|state| state.2[1].id = state.2[0].id), RestoreFault::OrderTwice);
    assert_eq!(fault(|state| state.2[0].leaves = Quantity::ZERO), RestoreFault::Leaves);
    assert_eq!(fault(|state| state.2[0].quantity = quantity(1)), RestoreFault::Leaves);
    let never = TimeInForce::ImmediateOrCancel;
    assert_eq!(fault(|state| state.2[0].time_in_force = never), RestoreFault::NeverRests);
    assert_eq!(fault(|state| state.2[0].owner = OwnerId(u32::MAX)), RestoreFault::Owner);
    assert_eq!(fault(|state| state.2.swap(0, 1)), RestoreFault::OutOfPlace);
    assert_eq!(fault(|state| state.2[3].priority = state.2[0].priority), RestoreFault::OutOfPlace);
    assert_eq!(fault(|state| state.2[3].priority = 0), RestoreFault::Priority);
    assert_eq!(fault(|state| state.0.last_priority = 3), RestoreFault::Priority);
    assert_eq!(fault(|state| state.1[0].traded += 1), RestoreFault::Accounts);
    assert_eq!(fault(|state| state.1[0].traded = u128::MAX), RestoreFault::Accounts);
    assert_eq!(fault(|state| state.2.truncate(3)), RestoreFault::Accounts);
    assert_eq!(fault(|state| state.1[0].phase = Phase::Open), RestoreFault::Crossed);
    let more = |state: &mut State| {
        let last = *state.2.last().unwrap();
        let next = |count| RestingOrder { id: OrderId(90 + count), priority: last.priority + count, ..last };
        state.0.last_priority += 9;
        state.2.extend((1..=4).map(next));
    };
    assert_eq!(fault(more), RestoreFault::Full);
}

#[test]
fn a_refused_state_names_instrument_and_order() {
    let error =
        RestoreError { what: RestoreFault::OrderTwice, instrument: InstrumentId(3), order: Some(OrderId(8)) };
    assert_eq!(error.to_string(), "the order is told twice (instrument 3, order 8)");
}

#[test]
fn everything_that_decides_what_comes_next_is_in_the_digest() {
    let order = limit(1, ALICE, Side::Buy, 5, 100);
    let later = NewOrder { post_only: true, ..order };
    let modes = [SelfTrade::CancelTaker, SelfTrade::CancelMaker, SelfTrade::CancelBoth];
    let mut venues: Vec<Venue> = vec![holding(&[]), holding(&[order]), holding(&[later])];
    venues.extend(modes.map(|mode| holding(&[NewOrder { self_trade: Some(mode), ..order }])));
    for phase in [Phase::AuctionCall, Phase::Halted, Phase::Closed] {
        let mut venue = holding(&[order]);
        venue.set_phase(X, phase, &mut Vec::new()).unwrap();
        venues.push(venue);
    }
    let mut traded_at = |at| {
        let mut venue = holding(&[limit(1, ALICE, Side::Buy, 5, 100)]);
        let traded = [limit(2, ALICE, Side::Sell, 1, at), limit(3, BOB, Side::Buy, 1, at)];
        for order in traded {
            venue.submit(order, &mut Vec::new()).unwrap();
        }
        venues.push(venue);
    };
    traded_at(101);
    traded_at(102);
    // Who stands first, with all else alike.
    let pair = [order, limit(2, ALICE, Side::Buy, 5, 100)];
    venues.push(holding(&pair));
    venues.push(holding(&[pair[1], pair[0]]));
    let digests: Vec<_> = venues.iter().map(Venue::state_digest).collect();
    for (place, digest) in digests.iter().enumerate() {
        assert!(!digests[..place].contains(digest), "state {place}");
    }
}
