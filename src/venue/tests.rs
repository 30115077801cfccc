//! The venue's specification by sentence, and its agreement with the naive model over random operations.

mod order_terms;
mod phases;
mod random;
mod replaces;
mod restored;

use super::*;
use crate::types::{
    BookDecimals, CancelReason, ClientOrderId, Instrument, MarketDepth, ReplaceOrder, Symbol,
};

const ALICE: OwnerId = OwnerId(0);
const BOB: OwnerId = OwnerId(1);
const X: InstrumentId = InstrumentId(0);

fn instruments(tradable: &[bool]) -> Instruments {
    let mut instruments = Instruments::new();
    for (place, tradable) in tradable.iter().enumerate() {
        let symbol = Symbol::new(&format!("S{place}")).unwrap();
        let added = instruments.add(|id| Instrument {
            id,
            symbol,
            decimals: BookDecimals::default(),
            tick: price(1),
            lot: quantity(1),
            band: None,
            depth: MarketDepth::Orders,
            tradable: *tradable,
            paper: false,
        });
        assert!(added.is_some());
    }
    instruments
}

fn price(units: i64) -> Price {
    Price::from_nanos(units * 1_000_000_000)
}

fn quantity(units: u64) -> Quantity {
    Quantity::from_nanos(units * 1_000_000_000)
}

/// A day order unless changed by the caller.
fn limit(id: u64, owner: OwnerId, side: Side, units: u64, at: i64) -> NewOrder {
    NewOrder {
        id: OrderId(id),
        owner,
        client_order_id: ClientOrderId::new("c-1").unwrap(),
        instrument: X,
        side,
        quantity: quantity(units),
        kind: OrderKind::Limit(price(at)),
        time_in_force: TimeInForce::Day,
        post_only: false,
        self_trade: None,
    }
}

fn market(id: u64, owner: OwnerId, side: Side, units: u64) -> NewOrder {
    NewOrder { kind: OrderKind::Market, ..limit(id, owner, side, units, 0) }
}

/// A venue of one instrument that holds `resting`.
fn holding(resting: &[NewOrder]) -> Venue {
    let mut venue = Venue::new(&instruments(&[true]));
    for order in resting {
        venue.submit(*order, &mut Vec::new()).unwrap();
    }
    venue
}

/// Does something to a venue, and says in short what came out; what is refused must leave no trace.
fn saying<T>(
    venue: &mut Venue,
    act: impl FnOnce(&mut Venue, &mut Vec<VenueEvent>) -> Result<T, Code>,
) -> Result<Vec<String>, Code> {
    let (before, mut events) = (venue.state_digest(), Vec::new());
    let outcome = act(venue, &mut events);
    venue.check_invariants();
    if outcome.is_err() {
        assert_eq!((venue.state_digest(), &*events), (before, &[][..]), "refused, and not without a trace");
    }
    outcome.map(|_| events.iter().map(told).collect())
}

/// Submits to a venue that holds `resting`, and says in short what came out.
fn check(resting: &[NewOrder], order: NewOrder) -> Result<Vec<String>, Code> {
    saying(&mut holding(resting), |venue, events| venue.submit(order, events))
}

fn told(event: &VenueEvent) -> String {
    match event {
        VenueEvent::Execution(Execution { order, kind, leaves, cumulative, .. }) => {
            let kind = match kind {
                ExecutionKind::New => "new".to_owned(),
                ExecutionKind::Fill { price, quantity, trade_id } => {
                    format!("fill#{trade_id} {quantity}@{price}")
                }
                ExecutionKind::Canceled { reason: CancelReason::Requested } => "canceled".to_owned(),
                ExecutionKind::Canceled { reason } => format!("canceled:{reason}"),
                ExecutionKind::Replaced { price, quantity } => format!("replaced {quantity}@{price}"),
                ExecutionKind::Expired => "expired".to_owned(),
            };
            format!("{order} {kind} leaves {leaves} cum {cumulative}")
        }
        VenueEvent::Market { kind, last, .. } => {
            let kind = match kind {
                MarketEventKind::Add { order, side, price, quantity } => {
                    format!("add {order} {side} {quantity}@{price}")
                }
                MarketEventKind::Reduce { order, side, price, quantity } => {
                    format!("reduce {order} {side} {quantity}@{price}")
                }
                MarketEventKind::Trade { price, quantity, aggressor, trade_id } => {
                    let by = aggressor.map_or("auction", Side::as_str);
                    format!("trade#{trade_id} {by} {quantity}@{price}")
                }
                MarketEventKind::Status { state, reason: None } => format!("status {state}"),
                MarketEventKind::Status { state, reason: Some(reason) } => {
                    format!("status {state} {}", reason.as_str())
                }
                other => panic!("the venue never reports {other:?}"),
            };
            if *last { format!("{kind} last") } else { kind }
        }
    }
}

#[test]
fn an_order_that_meets_nobody_rests() {
    let told = check(&[], limit(1, ALICE, Side::Buy, 3, 100)).unwrap();
    assert_eq!(told, ["1 new leaves 3 cum 0", "add 1 buy 3@100 last"]);
}

#[test]
fn a_trade_is_made_at_the_price_that_rested() {
    let told = check(&[limit(1, ALICE, Side::Sell, 3, 100)], limit(2, BOB, Side::Buy, 3, 105)).unwrap();
    let expected = [
        "2 new leaves 3 cum 0",
        "2 fill#1 3@100 leaves 0 cum 3",
        "1 fill#1 3@100 leaves 0 cum 3",
        "trade#1 buy 3@100",
        "reduce 1 sell 3@100 last",
    ];
    assert_eq!(told, expected);
}

#[test]
fn better_prices_trade_first_and_at_one_price_the_older_order() {
    let resting = [
        limit(1, ALICE, Side::Buy, 1, 99),
        limit(2, ALICE, Side::Buy, 1, 100),
        limit(3, BOB, Side::Buy, 1, 100),
        limit(4, BOB, Side::Buy, 1, 101),
    ];
    let told = check(&resting, limit(5, ALICE, Side::Sell, 4, 99)).unwrap();
    let makers: Vec<&str> = told.iter().filter_map(|line| line.strip_prefix("reduce ")).collect();
    assert_eq!(makers, ["4 buy 1@101", "2 buy 1@100", "3 buy 1@100", "1 buy 1@99 last"]);
}

#[test]
fn a_partly_filled_order_keeps_its_place() {
    let resting = [
        limit(1, ALICE, Side::Sell, 5, 100),
        limit(2, BOB, Side::Sell, 5, 100),
        limit(3, BOB, Side::Buy, 2, 100),
    ];
    let told = check(&resting, limit(4, BOB, Side::Buy, 4, 100)).unwrap();
    let makers: Vec<&str> = told.iter().filter_map(|line| line.strip_prefix("reduce ")).collect();
    assert_eq!(makers, ["1 sell 3@100", "2 sell 1@100 last"]);
}

#[test]
fn a_limit_order_never_trades_beyond_its_limit() {
    let resting = [limit(1, ALICE, Side::Sell, 1, 100), limit(2, ALICE, Side::Sell, 1, 101)];
    let told = check(&resting, limit(3, BOB, Side::Buy, 5, 100)).unwrap();
    assert_eq!(told.last().unwrap(), "add 3 buy 4@100 last");
    assert!(!told.iter().any(|line| line.contains("reduce 2")));
}

#[test]
fn an_immediate_or_cancel_order_never_rests() {
    let ioc = NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..limit(2, BOB, Side::Buy, 5, 100) };
    assert_eq!(check(&[], ioc).unwrap(), ["2 new leaves 5 cum 0", "2 expired leaves 0 cum 0"]);
    let told = check(&[limit(1, ALICE, Side::Sell, 2, 100)], ioc).unwrap();
    assert_eq!(told[told.len() - 2..], ["reduce 1 sell 2@100 last", "2 expired leaves 0 cum 2"]);
}

#[test]
fn a_market_order_takes_any_price_and_the_rest_of_it_expires() {
    let resting = [limit(1, ALICE, Side::Sell, 1, 100), limit(2, ALICE, Side::Sell, 1, 9_000)];
    let told = check(&resting, market(3, BOB, Side::Buy, 5)).unwrap();
    assert_eq!(told[told.len() - 2..], ["reduce 2 sell 1@9000 last", "3 expired leaves 0 cum 2"]);
}

#[test]
fn a_market_order_that_meets_nobody_is_refused() {
    assert_eq!(check(&[], market(1, BOB, Side::Buy, 5)), Err(Code::OrdNoLiquidity));
    let same_side = [limit(1, ALICE, Side::Buy, 1, 100)];
    assert_eq!(check(&same_side, market(2, BOB, Side::Buy, 5)), Err(Code::OrdNoLiquidity));
}

#[test]
fn an_instrument_that_is_not_tradable_takes_no_orders() {
    let mut venue = Venue::new(&instruments(&[false]));
    let order = limit(1, ALICE, Side::Buy, 1, 100);
    let mut events = Vec::new();
    assert_eq!(venue.submit(order, &mut events), Err(Code::OrdSymbolNotTradable));
    let unknown = NewOrder { instrument: InstrumentId(7), ..order };
    assert_eq!(venue.submit(unknown, &mut events), Err(Code::OrdSymbolNotTradable));
    assert_eq!(events, []);
}

#[test]
fn a_full_book_refuses_what_would_rest_and_takes_what_trades() {
    let mut venue = Venue::new(&instruments(&[true])).with_resting_orders_max(2);
    let mut events = Vec::new();
    venue.submit(limit(1, ALICE, Side::Sell, 1, 100), &mut events).unwrap();
    venue.submit(limit(2, ALICE, Side::Sell, 1, 101), &mut events).unwrap();
    events.clear();
    assert_eq!(venue.submit(limit(3, BOB, Side::Buy, 1, 99), &mut events), Err(Code::RskVenueOrdersMax));
    assert_eq!(events, []);
    venue.submit(limit(4, BOB, Side::Buy, 2, 100), &mut events).unwrap();
    assert_eq!(events.last().map(told).unwrap(), "add 4 buy 1@100 last");
    venue.check_invariants();
}

#[test]
fn only_the_owner_cancels_and_only_once() {
    let mut venue = Venue::new(&instruments(&[true]));
    let mut events = Vec::new();
    venue.submit(limit(1, ALICE, Side::Sell, 3, 100), &mut events).unwrap();
    venue.submit(limit(2, BOB, Side::Buy, 1, 100), &mut events).unwrap();
    events.clear();
    let cancel = CancelOrder { owner: ALICE, id: OrderId(1), reason: CancelReason::Requested };
    assert_eq!(venue.cancel(CancelOrder { owner: BOB, ..cancel }, &mut events), Err(Code::OrdOrderUnknown));
    assert_eq!(venue.cancel(cancel, &mut events), Ok(()));
    assert_eq!(venue.cancel(cancel, &mut events), Err(Code::OrdOrderUnknown));
    let told: Vec<String> = events.iter().map(told).collect();
    assert_eq!(told, ["1 canceled leaves 0 cum 1", "reduce 1 sell 2@100 last"]);
    assert_eq!(venue.resting_orders(), 0);
    venue.check_invariants();
}

#[test]
fn open_orders_count_what_rests_and_nothing_else() {
    let mut venue = Venue::new(&instruments(&[true]));
    let mut events = Vec::new();
    assert_eq!(venue.open_orders(BOB), 0);
    venue.submit(limit(1, BOB, Side::Sell, 3, 100), &mut events).unwrap();
    venue.submit(limit(2, BOB, Side::Sell, 3, 101), &mut events).unwrap();
    venue.submit(limit(3, ALICE, Side::Buy, 4, 101), &mut events).unwrap();
    assert_eq!((venue.open_orders(ALICE), venue.open_orders(BOB)), (0, 1));
}

#[test]
fn the_end_of_the_day_expires_day_orders_and_no_others() {
    let mut venue = Venue::new(&instruments(&[true]));
    let mut events = Vec::new();
    let forever =
        NewOrder { time_in_force: TimeInForce::GoodTillCancel, ..limit(1, ALICE, Side::Buy, 1, 99) };
    venue.submit(forever, &mut events).unwrap();
    venue.submit(limit(2, ALICE, Side::Sell, 1, 101), &mut events).unwrap();
    venue.submit(limit(3, BOB, Side::Buy, 1, 98), &mut events).unwrap();
    events.clear();
    venue.expire_day_orders(&mut events);
    let told: Vec<String> = events.iter().map(told).collect();
    let expected = [
        "3 expired leaves 0 cum 0",
        "reduce 3 buy 1@98",
        "2 expired leaves 0 cum 0",
        "reduce 2 sell 1@101 last",
    ];
    assert_eq!(told, expected);
    assert_eq!((venue.open_orders(ALICE), venue.open_orders(BOB)), (1, 0));
    venue.check_invariants();
}

#[test]
fn the_lowest_and_the_highest_price_there_are_can_rest_and_trade() {
    let mut venue = Venue::new(&instruments(&[true]));
    let mut events = Vec::new();
    let at = |order: NewOrder, nanos| NewOrder { kind: OrderKind::Limit(Price::from_nanos(nanos)), ..order };
    venue.submit(at(limit(1, ALICE, Side::Buy, 1, 0), i64::MIN), &mut events).unwrap();
    venue.submit(at(limit(2, ALICE, Side::Sell, 1, 0), i64::MAX), &mut events).unwrap();
    venue.check_invariants();
    venue.submit(at(limit(3, BOB, Side::Buy, 1, 0), i64::MAX), &mut events).unwrap();
    venue.submit(at(limit(4, BOB, Side::Sell, 1, 0), i64::MIN), &mut events).unwrap();
    assert_eq!(venue.resting_orders(), 0);
    venue.check_invariants();
}
