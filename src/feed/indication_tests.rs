//! What is said of an auction call, and when.

use sealfeed_wire::market::{Indication, Status, TradingState as Told};
use sealfeed_wire::{MarketMessage, Scaled};

use super::client::decode;
use super::tests::{HEARTBEAT_NS, NOW, RINGS, add, reduce, request};
use super::*;
use crate::types::{
    BookDecimals, Channel, Decimals, Epoch, Instrument, InstrumentId, Instruments, MarketDepth, MarketEvent,
    MarketEventKind, Price, Quantity, Sequence, Side, StatusReason, Symbol, TradingState,
};

/// Matched here, traded on paper, and recorded.
const OURS: InstrumentId = InstrumentId(0);
const PAPER: InstrumentId = InstrumentId(1);
const RECORDED: InstrumentId = InstrumentId(2);

const UNIT: u64 = 1_000_000_000;

fn feed() -> Feed {
    let mut instruments = Instruments::new();
    for (symbol, tradable, paper) in [("O", true, false), ("P", true, true), ("R", false, false)] {
        let added = instruments.add(|id| Instrument {
            id,
            symbol: Symbol::new(symbol).unwrap(),
            decimals: BookDecimals { price: Decimals::MAX, quantity: Decimals::default() },
            tick: Price::from_nanos(1),
            lot: Quantity::from_nanos(UNIT),
            band: None,
            depth: MarketDepth::Orders,
            tradable,
            paper,
        });
        assert!(added.is_some());
    }
    Feed::new(&instruments, FeedOptions { epoch: Epoch(0xe), heartbeat_ns: HEARTBEAT_NS, rings: RINGS })
}

fn auction() -> MarketEventKind {
    MarketEventKind::Status { state: TradingState::Auction, reason: None }
}

/// What the channel says of an event.
fn apply(feed: &mut Feed, instrument: InstrumentId, kind: MarketEventKind, last: bool) -> Vec<Status> {
    give(feed, &MarketEvent { instrument, ts_event: NOW, ts_recv: NOW, last, kind })
}

fn give(feed: &mut Feed, event: &MarketEvent) -> Vec<Status> {
    let mut out = Vec::new();
    feed.apply(event, NOW, &mut out);
    let told = out.iter().map(|one| decode(&one.message));
    told.map(|message| match message {
        MarketMessage::Status(status) => status,
        other => panic!("nobody reads {other:?}"),
    })
    .collect()
}

/// What is said at the end of a turn.
fn end_turn(feed: &mut Feed) -> Vec<Status> {
    let said = feed.indications(NOW, |_| None);
    said.iter().flat_map(|event| give(feed, event)).collect()
}

/// What a new subscriber is told.
fn present(feed: &mut Feed, instrument: InstrumentId) -> Status {
    match decode(&feed.subscribe(instrument, request(Channel::Status), NOW).unwrap().state.unwrap()) {
        MarketMessage::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

/// Price, quantity, and what is left over.
fn uncrosses(price: i64, units: u64, imbalance_side: Option<Side>, left: u64) -> Option<Indication> {
    let whole = |units| Scaled::new(Quantity::from_nanos(units * UNIT), Decimals::default());
    Some(Indication::Uncrosses {
        price: Scaled::new(Price::from_nanos(price), Decimals::MAX),
        quantity: whole(units),
        imbalance_side,
        imbalance_quantity: whole(left),
    })
}

/// A feed whose channel is read, with a call that has gathered a bid of 5 at 110 and an ask of 3 at 90.
fn gathered() -> Feed {
    let mut feed = feed();
    present(&mut feed, OURS);
    apply(&mut feed, OURS, auction(), true);
    apply(&mut feed, OURS, add(1, Side::Buy, 110, 5 * UNIT), true);
    apply(&mut feed, OURS, add(2, Side::Sell, 90, 3 * UNIT), true);
    feed
}

#[test]
fn a_call_begins_with_nothing_and_says_at_the_end_of_a_turn_what_all_of_the_turn_comes_to() {
    let mut feed = feed();
    assert_eq!(present(&mut feed, OURS).indication, None, "no call");
    let begun = apply(&mut feed, OURS, auction(), true);
    assert_eq!((begun[0].state, begun[0].indication), (Told::Auction, Some(Indication::Nothing)));
    assert_eq!(apply(&mut feed, OURS, add(1, Side::Buy, 110, 5 * UNIT), true), []);
    assert_eq!(end_turn(&mut feed), [], "nothing would trade still");
    assert_eq!(apply(&mut feed, OURS, add(2, Side::Sell, 90, 3 * UNIT), true), []);
    assert_eq!(apply(&mut feed, OURS, add(3, Side::Sell, 110, UNIT), true), []);
    let told = end_turn(&mut feed);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].indication, uncrosses(110, 4, Some(Side::Buy), 1));
    assert_eq!(told[0].header.seq, begun[0].header.seq.next());
    assert_eq!(told[0].header.prev_seq, Some(begun[0].header.seq));
    assert_eq!(end_turn(&mut feed), [], "said once");
}

#[test]
fn what_changes_the_book_and_not_what_would_trade_is_no_news() {
    let mut feed = gathered();
    assert_eq!(end_turn(&mut feed)[0].indication, uncrosses(90, 3, Some(Side::Buy), 2));
    apply(&mut feed, OURS, add(3, Side::Buy, 80, UNIT), true);
    apply(&mut feed, OURS, add(4, Side::Sell, 120, UNIT), true);
    assert_eq!(end_turn(&mut feed), []);
    apply(&mut feed, OURS, reduce(1, 2 * UNIT), true);
    assert_eq!(end_turn(&mut feed)[0].indication, uncrosses(90, 3, None, 0));
    apply(&mut feed, OURS, reduce(2, 3 * UNIT), true);
    assert_eq!(end_turn(&mut feed)[0].indication, Some(Indication::Nothing));
}

#[test]
fn of_prices_that_are_alike_the_nearest_to_the_last_trade_is_told_as_the_venue_would_take_it() {
    let mut feed = gathered();
    apply(&mut feed, OURS, reduce(1, 2 * UNIT), true);
    let last = |instrument| {
        assert_eq!(instrument, OURS);
        Some(Price::from_nanos(97))
    };
    let said = feed.indications(NOW, last);
    assert_eq!(give(&mut feed, &said[0])[0].indication, uncrosses(97, 3, None, 0));
}

#[test]
fn nothing_is_said_between_the_records_of_an_event() {
    let mut feed = gathered();
    end_turn(&mut feed);
    apply(&mut feed, OURS, add(3, Side::Sell, 90, 2 * UNIT), false);
    assert_eq!(end_turn(&mut feed), []);
    apply(&mut feed, OURS, reduce(3, UNIT), true);
    assert_eq!(end_turn(&mut feed)[0].indication, uncrosses(90, 4, Some(Side::Buy), 1));
}

#[test]
fn another_state_says_nothing_of_a_call_and_the_next_call_begins_anew() {
    let mut feed = gathered();
    end_turn(&mut feed);
    let halt = MarketEventKind::Status { state: TradingState::Halted, reason: StatusReason::new("T1") };
    assert_eq!(apply(&mut feed, OURS, halt, true)[0].indication, None);
    assert_eq!(end_turn(&mut feed), []);
    assert_eq!(apply(&mut feed, OURS, MarketEventKind::Indication(None), true), [], "said of no call");
    assert_eq!(apply(&mut feed, OURS, auction(), true)[0].indication, Some(Indication::Nothing));
    assert_eq!(
        end_turn(&mut feed)[0].indication,
        uncrosses(90, 3, Some(Side::Buy), 2),
        "the book is as it was"
    );
}

#[test]
fn whoever_comes_late_is_told_the_same_under_the_number_of_the_last_message() {
    let mut feed = gathered();
    let told = end_turn(&mut feed);
    let late = present(&mut feed, OURS);
    assert_eq!((late.state, late.indication), (Told::Auction, told[0].indication));
    assert_eq!((late.header.seq, late.header.prev_seq), (told[0].header.seq, None));
    assert_eq!(late.header.seq, Sequence::new(3).unwrap(), "trading, a call, what it comes to");
}

#[test]
fn of_calls_that_are_not_held_here_nothing_is_told_whatever_the_book_shows() {
    for instrument in [PAPER, RECORDED] {
        let mut feed = feed();
        present(&mut feed, instrument);
        let begun = apply(&mut feed, instrument, auction(), true);
        assert_eq!((begun[0].state, begun[0].indication), (Told::Auction, None));
        apply(&mut feed, instrument, add(1, Side::Buy, 110, UNIT), true);
        apply(&mut feed, instrument, add(2, Side::Sell, 90, UNIT), true);
        assert_eq!(end_turn(&mut feed), []);
        assert_eq!(present(&mut feed, instrument).indication, None);
    }
}

#[test]
fn quantities_beyond_the_largest_of_the_wire_are_told_as_that() {
    let mut feed = feed();
    present(&mut feed, OURS);
    apply(&mut feed, OURS, auction(), true);
    for order in 0..3 {
        apply(&mut feed, OURS, add(order, Side::Buy, 100, u64::MAX), true);
        apply(&mut feed, OURS, add(order + 10, Side::Sell, 100, u64::MAX), true);
    }
    apply(&mut feed, OURS, add(20, Side::Sell, 100, 2 * UNIT), true);
    let told = end_turn(&mut feed)[0].indication;
    let Some(Indication::Uncrosses { quantity, imbalance_side, imbalance_quantity, .. }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(quantity.value, Quantity::from_nanos(u64::MAX));
    assert_eq!(
        (imbalance_side, imbalance_quantity.value),
        (Some(Side::Sell), Quantity::from_nanos(2 * UNIT))
    );
}
