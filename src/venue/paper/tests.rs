//! Paper trading by sentence, and its agreement with a model that moves one unit of quantity at a time.

mod model;

use proptest::prelude::*;

use super::*;
use crate::types::{
    BookDecimals, CancelOrder, ClientOrderId, Instrument, Instruments, MarketDepth, NewOrder, OrderId,
    OrderKind, OwnerId, ReplaceOrder, Symbol,
};
use model::{Displayed, Model};

const ALICE: OwnerId = OwnerId(0);
const BOB: OwnerId = OwnerId(2);
const X: InstrumentId = InstrumentId(0);

fn price(nanos: i64) -> Price {
    Price::from_nanos(nanos)
}

fn quantity(nanos: u64) -> Quantity {
    Quantity::from_nanos(nanos)
}

fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    let added = instruments.add(|id| Instrument {
        id,
        symbol: Symbol::new("REC").unwrap(),
        decimals: BookDecimals::default(),
        tick: price(1),
        lot: quantity(1),
        band: None,
        depth: MarketDepth::Orders,
        tradable: true,
        paper: true,
    });
    assert_eq!(added, Some(X));
    instruments
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

/// A venue, and the recording that its orders meet.
struct Floor {
    venue: Venue,
    displayed: Displayed,
}

impl Floor {
    /// Ten are bid at 99, and ten each offered at 101 and 102.
    fn open() -> Self {
        let mut displayed = Displayed::default();
        for (side, at) in [(Side::Buy, 99), (Side::Sell, 101), (Side::Sell, 102)] {
            displayed.set(side, at, 10);
        }
        Self { venue: Venue::new(&instruments()), displayed }
    }

    fn submit(&mut self, order: NewOrder) -> Result<Vec<String>, Code> {
        let mut events = Vec::new();
        let limit = match order.kind {
            OrderKind::Limit(price) => Some(price),
            OrderKind::Market => None,
        };
        self.venue.show_paper(X, self.displayed.shown(order.side, limit))?;
        self.venue.submit(order, &mut events)?;
        self.venue.check_invariants();
        Ok(events.iter().map(told).collect())
    }

    fn replace(&mut self, id: u64, at: Option<i64>, units: Option<u64>) -> Result<Vec<String>, Code> {
        let order = self.venue.order(OrderId(id)).unwrap();
        let limit = at.map_or(order.price, price);
        self.venue.show_paper(X, self.displayed.shown(order.side, Some(limit)))?;
        let (price, quantity) = (at.map(price), units.map(quantity));
        let replace = ReplaceOrder { owner: order.owner, id: order.id, price, quantity };
        let mut events = Vec::new();
        self.venue.replace(replace, &mut events)?;
        self.venue.check_invariants();
        Ok(events.iter().map(told).collect())
    }

    fn recorded(&mut self, recorded: Recorded) -> Vec<String> {
        let mut events = Vec::new();
        self.venue.take_recorded(X, &recorded, &mut events);
        self.venue.check_invariants();
        events.iter().map(told).collect()
    }

    fn level(&mut self, side: Side, at: i64, units: u64) {
        self.displayed.set(side, at, units);
        let told = self.recorded(Recorded::Level { side, price: price(at), quantity: quantity(units) });
        assert_eq!(told, [""; 0], "a level fills nobody");
    }

    /// A trade of an order to sell, told in front of what it does to its level.
    fn sold(&mut self, at: i64, units: u64) -> Vec<String> {
        self.traded(at, units, Some(Side::Sell), false)
    }

    fn traded(&mut self, at: i64, units: u64, aggressor: Option<Side>, is_late: bool) -> Vec<String> {
        self.recorded(Recorded::Trade { price: price(at), quantity: quantity(units), aggressor, is_late })
    }
}

fn told(event: &VenueEvent) -> String {
    let VenueEvent::Execution(execution) = event else { return format!("the market hears of {event:?}") };
    let kind = match execution.kind {
        ExecutionKind::New => "new".to_owned(),
        ExecutionKind::Fill { price, quantity, .. } => format!("fill {}@{}", quantity.nanos(), price.nanos()),
        ExecutionKind::Replaced { .. } => "replaced".to_owned(),
        ExecutionKind::Canceled { reason } => format!("canceled:{reason}"),
        ExecutionKind::Expired => "expired".to_owned(),
    };
    format!("{} {kind} leaves {}", execution.order.0, execution.leaves.nanos())
}

#[test]
fn an_order_takes_what_is_displayed_within_its_limit_and_rests_with_the_rest() {
    let mut floor = Floor::open();
    let told = floor.submit(limit(1, ALICE, Side::Buy, 15, 101)).unwrap();
    assert_eq!(told, ["1 new leaves 15", "1 fill 10@101 leaves 5"]);
    assert!(floor.venue.is_resting(OrderId(1)));
}

#[test]
fn what_is_taken_stays_taken_until_the_recording_changes_the_level() {
    let ioc = |id| NewOrder {
        time_in_force: TimeInForce::ImmediateOrCancel,
        ..limit(id, if id == 1 { ALICE } else { BOB }, Side::Buy, 8, 101)
    };
    let mut floor = Floor::open();
    assert_eq!(floor.submit(ioc(1)).unwrap(), ["1 new leaves 8", "1 fill 8@101 leaves 0"]);
    assert_eq!(
        floor.submit(ioc(2)).unwrap(),
        ["2 new leaves 8", "2 fill 2@101 leaves 6", "2 expired leaves 0"]
    );
    floor.level(Side::Sell, 102, 11);
    assert_eq!(floor.submit(ioc(3)).unwrap(), ["3 new leaves 8", "3 expired leaves 0"], "of another level");
    floor.level(Side::Sell, 101, 9);
    assert_eq!(floor.submit(ioc(4)).unwrap(), ["4 new leaves 8", "4 fill 8@101 leaves 0"]);
}

#[test]
fn orders_of_owners_never_meet_one_another() {
    let mut floor = Floor::open();
    assert_eq!(floor.submit(limit(1, ALICE, Side::Buy, 5, 100)).unwrap(), ["1 new leaves 5"]);
    assert_eq!(floor.submit(limit(2, BOB, Side::Sell, 5, 100)).unwrap(), ["2 new leaves 5"]);
}

#[test]
fn post_only_fill_or_kill_and_market_orders_are_refused_as_at_the_venue() {
    let mut floor = Floor::open();
    let post_only = NewOrder { post_only: true, ..limit(1, ALICE, Side::Buy, 5, 101) };
    assert_eq!(floor.submit(post_only), Err(Code::OrdPostOnlyWouldTake));
    let kill = NewOrder { time_in_force: TimeInForce::FillOrKill, ..limit(2, ALICE, Side::Buy, 21, 102) };
    assert_eq!(floor.submit(kill), Err(Code::OrdFillOrKillShort));
    floor.displayed = Displayed::default();
    let market = NewOrder {
        kind: OrderKind::Market,
        time_in_force: TimeInForce::ImmediateOrCancel,
        ..limit(3, ALICE, Side::Buy, 1, 0)
    };
    assert_eq!(floor.submit(market), Err(Code::OrdNoLiquidity));
    assert_eq!(floor.venue.resting_orders(), 0);
}

#[test]
fn an_order_that_nothing_was_shown_to_is_refused() {
    let mut venue = Venue::new(&instruments());
    let refused = venue.submit(limit(1, ALICE, Side::Buy, 5, 100), &mut Vec::new());
    assert_eq!(refused, Err(Code::OrdVenueBusy));
}

#[test]
fn a_resting_order_fills_when_trades_have_gone_through_all_that_was_in_front_of_it() {
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    assert_eq!(floor.sold(99, 10), [""; 0], "all of them were in front");
    assert_eq!(floor.sold(99, 2), ["1 fill 2@99 leaves 3"]);
    assert_eq!(floor.sold(99, 7), ["1 fill 3@99 leaves 0"]);
}

#[test]
fn a_trade_below_a_bid_fills_it_at_its_own_price_with_no_more_than_the_trade_had() {
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    floor.submit(limit(2, BOB, Side::Buy, 5, 100)).unwrap();
    assert_eq!(floor.sold(98, 7), ["2 fill 5@100 leaves 0", "1 fill 2@99 leaves 3"]);
}

#[test]
fn a_trade_that_was_taken_from_the_other_side_passes_no_order_at_its_price() {
    let mut floor = Floor::open();
    floor.displayed = Displayed::default();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    assert_eq!(floor.traded(99, 3, Some(Side::Buy), false), [""; 0]);
    assert_eq!(floor.traded(99, 3, None, false), ["1 fill 3@99 leaves 2"], "an auction is both sides'");
}

#[test]
fn quantity_that_goes_without_a_trade_is_taken_for_what_stood_behind_as_long_as_that_can_be() {
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    floor.level(Side::Buy, 99, 16);
    floor.level(Side::Buy, 99, 10);
    assert_eq!(floor.sold(99, 10), [""; 0], "the six that went came after the order");
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    floor.level(Side::Buy, 99, 4);
    assert_eq!(floor.sold(99, 5), ["1 fill 1@99 leaves 4"], "six of those in front went");
}

#[test]
fn a_trade_that_is_told_after_its_level_counts_once() {
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    floor.level(Side::Buy, 99, 6);
    assert_eq!(floor.traded(99, 4, Some(Side::Sell), true), [""; 0]);
    assert_eq!(floor.traded(99, 6, Some(Side::Sell), true), [""; 0], "six were still in front");
    assert_eq!(floor.traded(99, 1, Some(Side::Sell), true), ["1 fill 1@99 leaves 4"]);
}

#[test]
fn a_book_that_begins_anew_takes_nobody_forward() {
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    floor.recorded(Recorded::Clear);
    floor.level(Side::Buy, 99, 3);
    assert_eq!(floor.sold(99, 10), [""; 0]);
    assert_eq!(floor.sold(99, 1), ["1 fill 1@99 leaves 4"]);
}

#[test]
fn less_at_the_same_price_keeps_the_place_and_anything_else_gives_it_up() {
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 99)).unwrap();
    assert_eq!(floor.sold(99, 10), [""; 0]);
    assert_eq!(floor.replace(1, None, Some(3)).unwrap(), ["1 replaced leaves 3"]);
    assert_eq!(floor.sold(99, 1), ["1 fill 1@99 leaves 2"]);
    assert_eq!(floor.replace(1, None, Some(6)).unwrap(), ["1 replaced leaves 5"]);
    assert_eq!(floor.sold(99, 10), [""; 0], "behind all that is displayed again");
    assert_eq!(floor.replace(1, Some(102), None).unwrap(), ["1 replaced leaves 5", "1 fill 5@101 leaves 0"]);
}

#[test]
fn nothing_fills_while_the_instrument_is_halted() {
    let mut floor = Floor::open();
    floor.submit(limit(1, ALICE, Side::Buy, 5, 100)).unwrap();
    let mut events = Vec::new();
    floor.venue.set_phase(X, Phase::Halted, &mut events).unwrap();
    assert_eq!(events, [], "its status is the recording's");
    assert_eq!(floor.sold(90, 100), [""; 0]);
    assert_eq!(floor.submit(limit(2, ALICE, Side::Buy, 5, 99)), Err(Code::OrdInstrumentHalted));
    assert_eq!(floor.venue.set_phase(X, Phase::AuctionCall, &mut events), Err(Code::OrdSymbolNotTradable));
}

#[test]
fn an_order_that_needs_more_levels_than_are_kept_is_refused_for_now() {
    let mut floor = Floor::open();
    for id in 0..PAPER_LEVELS_MAX as u64 {
        floor.submit(limit(id + 1, ALICE, Side::Buy, 1, -i64::try_from(id).unwrap())).unwrap();
    }
    assert_eq!(floor.submit(limit(9_999, ALICE, Side::Buy, 1, 50)), Err(Code::OrdVenueBusy));
}

#[derive(Clone, Debug)]
enum Operation {
    Submit(NewOrder),
    Cancel(OwnerId, OrderId),
    Replace(ReplaceOrder),
    Recorded(Recorded),
    EndDay,
    /// The venue is told out and brought back.
    Restart,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let side = || prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let at = || (95_i64..106).prop_map(price);
    let owner = || prop_oneof![Just(ALICE), Just(BOB)];
    let lives = prop_oneof![
        4 => Just(TimeInForce::Day),
        1 => Just(TimeInForce::GoodTillCancel),
        1 => Just(TimeInForce::ImmediateOrCancel),
        1 => Just(TimeInForce::FillOrKill),
    ];
    let submit = (owner(), side(), 1_u64..12, 95_i64..106, lives, 0_u8..8).prop_map(
        |(owner, side, units, at, time_in_force, special)| {
            let order = NewOrder { time_in_force, ..limit(0, owner, side, units, at) };
            Operation::Submit(match special {
                0 => NewOrder {
                    kind: OrderKind::Market,
                    time_in_force: TimeInForce::ImmediateOrCancel,
                    ..order
                },
                1 => NewOrder { post_only: true, ..order },
                _ => order,
            })
        },
    );
    let target = || (1_u64..60).prop_map(OrderId);
    let replace = (owner(), target(), prop::option::of(at()), prop::option::of(0_u64..14)).prop_map(
        |(owner, id, price, units)| {
            Operation::Replace(ReplaceOrder { owner, id, price, quantity: units.map(quantity) })
        },
    );
    let trade = (at(), 1_u64..15, prop::option::of(side()), any::<bool>()).prop_map(
        |(price, units, aggressor, is_late)| {
            Operation::Recorded(Recorded::Trade { price, quantity: quantity(units), aggressor, is_late })
        },
    );
    let level = (side(), at(), 0_u64..12).prop_map(|(side, price, units)| {
        Operation::Recorded(Recorded::Level { side, price, quantity: quantity(units) })
    });
    let one = prop_oneof![
        30 => submit,
        4 => (owner(), target()).prop_map(|(owner, id)| Operation::Cancel(owner, id)),
        6 => replace,
        20 => trade,
        40 => level,
        1 => Just(Operation::Recorded(Recorded::Clear)),
        1 => Just(Operation::EndDay),
        2 => Just(Operation::Restart),
    ];
    prop::collection::vec(one, 1..120)
}

fn again(venue: &Venue) -> Venue {
    let (books, resting): (Vec<_>, Vec<_>) = (venue.books().collect(), venue.resting().collect());
    let mut next = Venue::restore(&instruments(), 12, venue.counters(), books, resting).unwrap();
    next.restore_papers(venue.papers()).unwrap();
    assert_eq!(next.state_digest(), venue.state_digest());
    next
}

proptest! {
    #[test]
    fn paper_trading_agrees_with_a_model_that_moves_one_unit_at_a_time(operations in operations()) {
        let mut venue = Venue::new(&instruments()).with_resting_orders_max(12);
        let (mut model, mut displayed) = (Model::new(12), Displayed::default());
        for (id, operation) in (1_u64..).zip(operations) {
            let mut events = Vec::new();
            let (got, expected) = match operation.clone() {
                Operation::Submit(order) => {
                    let order = NewOrder { id: OrderId(id), ..order };
                    let limit = match order.kind {
                        OrderKind::Limit(price) => Some(price),
                        OrderKind::Market => None,
                    };
                    venue.show_paper(X, displayed.shown(order.side, limit)).unwrap();
                    (venue.submit(order, &mut events).map(drop), model.submit(&order, &displayed))
                }
                Operation::Replace(replace) => {
                    if let Some(order) = venue.order(replace.id) {
                        let limit = replace.price.unwrap_or(order.price);
                        venue.show_paper(X, displayed.shown(order.side, Some(limit))).unwrap();
                    }
                    (venue.replace(replace, &mut events).map(drop), model.replace(&replace, &displayed))
                }
                Operation::Cancel(owner, order) => {
                    let cancel = CancelOrder { owner, id: order, reason: CancelReason::Requested };
                    (venue.cancel(cancel, &mut events), model.cancel(owner, order))
                }
                Operation::Recorded(recorded) => {
                    displayed.take(&recorded);
                    venue.take_recorded(X, &recorded, &mut events);
                    (Ok(()), Ok(model.take(&recorded)))
                }
                Operation::EndDay => {
                    venue.expire_day_orders(&mut events);
                    (Ok(()), Ok(model.end_day()))
                }
                Operation::Restart => {
                    venue = again(&venue);
                    (Ok(()), Ok(Vec::new()))
                }
            };
            let got = got.map(|()| events.iter().map(told).collect::<Vec<_>>());
            prop_assert_eq!(got, expected, "operation {}: {:?}", id, operation);
            venue.check_invariants();
            let places: Vec<_> = venue.papers().flat_map(|paper| paper.places).collect();
            let places: Vec<_> =
                places.iter().map(|one| (one.order.0, one.ahead.nanos(), one.gone.nanos())).collect();
            prop_assert_eq!(places, model.places());
        }
    }
}
