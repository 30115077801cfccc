//! The venue against `matchcore`, another price-time engine: the same orders, the same trades, the same book.
//!
//! The two mean the same by: good till cancelled, immediate or cancel, fill or kill, post-only, market, cancel; and by an amend of a price, of a quantity
//! (less keeps its place, more does not), or both. What is left out, because they mean something else or it has no such thing:
//!
//! - A limit order that takes all that rests within its limit, asks for more, and finds something beyond: `matchcore` 0.4.0 trades
//!   beyond the limit ([`the_other_engine_trades_beyond_a_limit_and_the_venue_does_not`]). Such an order is cut to what rests within.
//! - An amended post-only order that would trade: there it is cancelled, here it stays.
//! - Self-trade prevention, phases, auctions, owners, the end of the day: it has none.

use matchcore as other;
use sealfeed::types::{
    CancelOrder, CancelReason, Code, ExecutionKind, OrderId, OrderKind, Price, Quantity, ReplaceOrder, Side,
    TimeInForce,
};
use sealfeed::venue::{Venue, VenueEvent};

use super::{OWNER, instruments, limit};

/// So many operations, unless `SEALFEED_VENUE_OPERATIONS` says otherwise.
const OPERATIONS: u64 = 40_000;
/// More orders than this are not wanted, so that books stay thin and much trades.
const RESTING_MAX: usize = 60;

/// `SplitMix64` (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What an operation does in either engine: who rested and traded at which price for how much, and whether what was left of the order
/// did not come to rest.
type Done = (Vec<(u64, u64, u64)>, bool);

#[derive(Clone, Copy, Debug)]
struct Order {
    side: Side,
    /// `None`: a market order.
    price: Option<u64>,
    quantity: u64,
    time_in_force: TimeInForce,
    post_only: bool,
}

struct Both {
    venue: Venue,
    other: other::OrderBook,
    sequence: u64,
}

impl Both {
    fn new() -> Self {
        let venue = Venue::new(&instruments(Price::from_nanos(1)));
        Self { venue, other: other::OrderBook::new("X"), sequence: 0 }
    }

    fn submit(&mut self, order: Order) -> (Done, Done) {
        let side = match order.side {
            Side::Buy => other::Side::Buy,
            Side::Sell => other::Side::Sell,
        };
        let time_in_force = match order.time_in_force {
            TimeInForce::Day | TimeInForce::GoodTillCancel => other::TimeInForce::Gtc,
            TimeInForce::ImmediateOrCancel => other::TimeInForce::Ioc,
            TimeInForce::FillOrKill => other::TimeInForce::Fok,
        };
        let quantity = other::Quantity(order.quantity);
        let theirs = match order.price {
            None => other::NewOrder::Market(other::MarketOrder::new(quantity, side, false)),
            Some(price) => other::NewOrder::Limit(other::LimitOrder::new(
                other::Price(price),
                other::QuantityPolicy::Standard { quantity },
                other::OrderFlags::new(side, order.post_only, time_in_force),
            )),
        };
        let kind = other::CommandKind::Submit(other::SubmitCmd { order: theirs });
        let (id, theirs) = self.execute(kind);
        let mut ours = limit(OrderId(id), order.side, nanos(order.price.unwrap_or(0)), units(order.quantity));
        ours.time_in_force = order.time_in_force;
        ours.post_only = order.post_only;
        if order.price.is_none() {
            ours.kind = OrderKind::Market;
        }
        let mut events = Vec::new();
        let outcome = self.venue.submit(ours, &mut events).map(drop);
        (done(id, outcome, &events), theirs)
    }

    fn cancel(&mut self, id: u64) -> (Done, Done) {
        let kind = other::CommandKind::Cancel(other::CancelCmd {
            order_id: other::OrderId(id),
            order_kind: other::OrderKind::Limit,
        });
        let (_, theirs) = self.execute(kind);
        let cancel = CancelOrder { owner: OWNER, id: OrderId(id), reason: CancelReason::Requested };
        let outcome = self.venue.cancel(cancel, &mut Vec::new());
        ((Vec::new(), outcome.is_ok()), theirs)
    }

    /// `quantity` is what is to be open.
    fn amend(&mut self, id: u64, price: Option<u64>, quantity: Option<u64>) -> (Done, Done) {
        let policy = |quantity| other::QuantityPolicy::Standard { quantity: other::Quantity(quantity) };
        let patch = other::LimitOrderPatch {
            price: price.map(other::Price),
            quantity_policy: quantity.map(policy),
            ..other::LimitOrderPatch::new()
        };
        let patch = other::AmendPatch::Limit(patch);
        let kind = other::CommandKind::Amend(other::AmendCmd { order_id: other::OrderId(id), patch });
        let (_, theirs) = self.execute(kind);
        let traded = self.venue.order(OrderId(id)).unwrap().cumulative().nanos();
        let replace = ReplaceOrder {
            owner: OWNER,
            id: OrderId(id),
            price: price.map(nanos),
            quantity: quantity.map(|open| Quantity::from_nanos(traded + open)),
        };
        let mut events = Vec::new();
        let outcome = self.venue.replace(replace, &mut events).map(drop);
        (done(id, outcome, &events), theirs)
    }

    /// Has the other engine execute a command, whose number is the name of an order that it submits.
    fn execute(&mut self, kind: other::CommandKind) -> (u64, Done) {
        let (sequence_number, timestamp) = (other::SequenceNumber(self.sequence), other::Timestamp(0));
        let meta = other::CommandMeta { sequence_number, timestamp };
        let outcome = self.other.execute(&other::Command { meta, kind });
        let effects = match outcome {
            other::CommandOutcome::Applied(
                other::CommandReport::Submit(effects) | other::CommandReport::Amend(effects),
            ) => effects,
            other::CommandOutcome::Applied(other::CommandReport::Cancel) => {
                self.sequence += 1;
                return (self.sequence - 1, (Vec::new(), true));
            }
            other::CommandOutcome::Rejected(failure) => panic!("{failure}"),
        };
        self.sequence += 1;
        let target = effects.target_order();
        let trades = target.match_result().map_or(&[][..], |result| result.trades());
        let trades =
            trades.iter().map(|trade| (trade.maker_order_id().0, trade.price().0, trade.quantity().0));
        (self.sequence - 1, (trades.collect(), target.cancel_reason().is_some()))
    }

    /// Every order of either book: name, side, price and what is open.
    fn assert_same_books(&self) {
        let ours = self.venue.resting().map(|order| {
            let price = u64::try_from(order.price.nanos()).unwrap();
            (order.id.0, order.side == Side::Buy, price, order.leaves.nanos())
        });
        let mut ours: Vec<_> = ours.collect();
        ours.sort_unstable();
        let theirs = self.other.limit().orders().iter().map(|(id, order)| {
            (id.0, order.side() == other::Side::Buy, order.price().0, order.total_quantity().0)
        });
        let mut theirs: Vec<_> = theirs.collect();
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
    }

    /// How much rests on the other side within a limit, and beyond it.
    fn against(&self, side: Side, limit: u64) -> (u64, u64) {
        let (mut within, mut beyond) = (0, 0);
        for order in self.venue.resting().filter(|order| order.side != side) {
            let is_within = match side {
                Side::Buy => order.price <= nanos(limit),
                Side::Sell => order.price >= nanos(limit),
            };
            *(if is_within { &mut within } else { &mut beyond }) += order.leaves.nanos();
        }
        (within, beyond)
    }

    /// A quantity that both mean the same by, for an order with this limit.
    fn alike(&self, side: Side, limit: u64, quantity: u64) -> u64 {
        let (within, beyond) = self.against(side, limit);
        if within > 0 && beyond > 0 { quantity.min(within) } else { quantity }
    }
}

fn nanos(price: u64) -> Price {
    Price::from_nanos(i64::try_from(price).unwrap())
}

fn units(quantity: u64) -> Quantity {
    Quantity::from_nanos(quantity)
}

fn done(id: u64, outcome: Result<(), Code>, events: &[VenueEvent]) -> Done {
    let mut done = (Vec::new(), outcome.is_err());
    for event in events {
        let VenueEvent::Execution(execution) = event else { continue };
        match execution.kind {
            ExecutionKind::Fill { price, quantity, .. } if execution.order.0 != id => {
                let price = u64::try_from(price.nanos()).unwrap();
                done.0.push((execution.order.0, price, quantity.nanos()));
            }
            ExecutionKind::Expired => done.1 = true,
            _ => {}
        }
    }
    done
}

#[test]
fn another_engine_makes_the_same_trades_and_keeps_the_same_book() {
    let (mut both, mut dice) = (Both::new(), Dice(7));
    let (mut trades, mut ended, mut amended) = (0, 0, 0);
    let wanted = std::env::var("SEALFEED_VENUE_OPERATIONS").ok();
    let operations = wanted.map_or(OPERATIONS, |text| text.parse().expect("a number of operations"));
    for _ in 0..operations {
        let resting: Vec<_> = both.venue.resting().collect();
        let price = 95 + dice.below(11);
        let quantity = 1 + dice.below(9);
        let wants_more = resting.is_empty() || (dice.below(100) < 60 && resting.len() < RESTING_MAX);
        let (ours, theirs) = if wants_more {
            let side = if dice.below(2) == 0 { Side::Buy } else { Side::Sell };
            let (time_in_force, post_only) = match dice.below(10) {
                0 => (TimeInForce::ImmediateOrCancel, false),
                1 => (TimeInForce::FillOrKill, false),
                2 => (TimeInForce::GoodTillCancel, true),
                _ => (TimeInForce::GoodTillCancel, false),
            };
            let order = match dice.below(12) {
                0 => {
                    let time_in_force = TimeInForce::ImmediateOrCancel;
                    Order { side, price: None, quantity, time_in_force, post_only: false }
                }
                _ => {
                    let is_cut = time_in_force != TimeInForce::FillOrKill;
                    let quantity = if is_cut { both.alike(side, price, quantity) } else { quantity };
                    Order { side, price: Some(price), quantity, time_in_force, post_only }
                }
            };
            both.submit(order)
        } else {
            let picked = resting[usize::try_from(dice.below(resting.len() as u64)).unwrap()];
            if dice.below(2) == 0 {
                both.cancel(picked.id.0)
            } else {
                amended += 1;
                let at = nanos(price);
                let new_price = (dice.below(2) == 0 && at != picked.price).then_some(price);
                let would_take = new_price.is_some_and(|price| both.against(picked.side, price).0 > 0);
                let new_price = new_price.filter(|_| !(picked.post_only && would_take));
                let mut open = if dice.below(2) == 0 { picked.leaves.nanos() } else { quantity };
                if let Some(price) = new_price {
                    open = both.alike(picked.side, price, open);
                }
                both.amend(picked.id.0, new_price, Some(open))
            }
        };
        assert_eq!(ours, theirs, "operation {}", both.sequence);
        trades += ours.0.len();
        ended += usize::from(ours.1);
        both.assert_same_books();
    }
    both.venue.check_invariants();
    println!(
        "{operations} operations: {trades} trades, {ended} ended at once or cancelled, {amended} amended"
    );
    let least = usize::try_from(operations / 8).unwrap();
    assert!(trades > least && ended > least && amended > least);
}

#[test]
fn the_other_engine_trades_beyond_a_limit_and_the_venue_does_not() {
    let mut both = Both::new();
    let ask = |price| Order {
        side: Side::Sell,
        price: Some(price),
        quantity: 1,
        time_in_force: TimeInForce::GoodTillCancel,
        post_only: false,
    };
    both.submit(ask(100));
    both.submit(ask(101));
    let (ours, theirs) = both.submit(Order { side: Side::Buy, quantity: 2, ..ask(100) });
    assert_eq!(ours.0, [(0, 100, 1)]);
    assert_eq!(theirs.0, [(0, 100, 1), (1, 101, 1)]);
}
