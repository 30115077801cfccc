//! A day of real order flow (`ESH4`, CME, order by order) through the venue, as orders.
//!
//! Every order that the recording adds, changes and takes out is submitted, replaced and cancelled. What an event with a trade did is
//! not told as orders: there the venue gets what must have caused it, and its own trades are compared with the recorded ones.
//!
//! - **Until the opening auction** the instrument is in an auction call, since orders may cross there. The auction itself is one event; the venue ends
//!   its call instead. Price, volume, and how much of each order traded must be as recorded. Some of the recorded fills are of orders that the recorded
//!   book never showed: they come in before, at the best prices there are.
//! - **An event without a trade**: each record is one operation (what an event takes off comes before what it adds: it happened at once), none of them may
//!   trade, and afterwards every order that the event names and both best
//!   prices are as recorded.
//! - **An event with a trade**: an order of the recorded side comes in for all that traded, immediate or cancel, with the worst recorded price as its limit
//!   (where the recording says that the order rested, that order is replaced). Its trades must be the recorded ones, order by order.
//!   The exchange knows more than it shows (hidden parts of orders, and who came first where two arrived in one instant), so some are not. Then the venue
//!   is brought back from the recorded book, and the event counts as one that differs.
//! - **Every thousandth event** the whole book is compared: every order, in the order in which they would trade.

use std::collections::{BTreeMap, HashMap};

use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed};
use sealfeed::types::{
    CancelOrder, CancelReason, ExecutionKind, MarketEvent, MarketEventKind, OrderId, Phase, Price, Quantity,
    ReplaceOrder, Side, TimeInForce,
};
use sealfeed::venue::{BookState, Counters, OrderIndex, RestingOrder, Venue, VenueEvent};

use super::{OWNER, X, data, instruments, limit, replay};

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";
const RESTING_MAX: u32 = 20_000;
/// Of the order that trades, where it did not rest: no recorded order has this name.
const TAKER: OrderId = OrderId(u64::MAX);

/// An order as the recording has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    side: Side,
    price: Price,
    quantity: u64,
    /// At one price the lower came first; a new price or more of it comes last again, as on the exchange.
    arrival: u64,
}

/// The recorded book: all orders, searched through.
#[derive(Default)]
struct Recorded {
    orders: HashMap<OrderId, Told>,
    arrivals: u64,
    /// How many rest at each price, for the best ones.
    prices: [BTreeMap<Price, usize>; 2],
}

impl Recorded {
    fn count(&mut self, order: Told, by: isize) {
        let prices = &mut self.prices[usize::from(order.side == Side::Sell)];
        let count = prices.entry(order.price).or_default();
        *count = count.checked_add_signed(by).unwrap();
        if *count == 0 {
            prices.remove(&order.price);
        }
    }

    fn put(&mut self, id: OrderId, side: Side, price: Price, quantity: u64) {
        let before = self.orders.remove(&id);
        if let Some(before) = before {
            self.count(before, -1);
        }
        let keeps = before.filter(|before| before.price == price && before.quantity >= quantity);
        let arrival = keeps.map_or(self.arrivals + 1, |before| before.arrival);
        self.arrivals = self.arrivals.max(arrival);
        if quantity > 0 {
            let order = Told { side, price, quantity, arrival };
            self.orders.insert(id, order);
            self.count(order, 1);
        }
    }

    fn apply(&mut self, kind: &MarketEventKind) {
        match *kind {
            MarketEventKind::Add { order, side, price, quantity }
            | MarketEventKind::Modify { order, side, price, quantity } => {
                self.put(order, side, price, quantity.nanos());
            }
            MarketEventKind::Reduce { order, quantity, .. } => {
                let told = self.orders[&order];
                self.put(order, told.side, told.price, told.quantity - quantity.nanos());
            }
            MarketEventKind::Trade { .. } | MarketEventKind::Fill { .. } => {}
            ref other => panic!("a day of orders has no {other:?}"),
        }
    }

    fn best(&self, side: Side) -> Option<Price> {
        match side {
            Side::Buy => self.prices[0].keys().next_back().copied(),
            Side::Sell => self.prices[1].keys().next().copied(),
        }
    }

    /// Every order, in the order in which a venue tells them.
    fn resting(&self) -> Vec<RestingOrder> {
        let mut all: Vec<RestingOrder> = self.orders.iter().map(|(id, told)| resting(*id, told)).collect();
        all.sort_by_key(|order| {
            let price = order.price.nanos();
            match order.side {
                Side::Buy => (0, -price, order.priority),
                Side::Sell => (1, price, order.priority),
            }
        });
        all
    }
}

fn resting(id: OrderId, told: &Told) -> RestingOrder {
    let quantity = Quantity::from_nanos(told.quantity);
    RestingOrder {
        id,
        owner: OWNER,
        instrument: X,
        side: told.side,
        price: told.price,
        quantity,
        leaves: quantity,
        time_in_force: TimeInForce::GoodTillCancel,
        post_only: false,
        self_trade: None,
        priority: told.arrival,
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    operations: u64,
    quiet_events: u64,
    orders_compared: u64,
    books_compared: u64,
    trades_agreeing: u64,
    trades_differing: u64,
    auctions: Vec<(Price, u128)>,
    hidden_in_auctions: u64,
}

struct Day {
    venue: Venue,
    /// Where orders rest in it, as it told.
    places: HashMap<OrderId, OrderIndex>,
    recorded: Recorded,
    tick: Price,
    counts: Counts,
    events: Vec<VenueEvent>,
}

impl Day {
    fn new(tick: Price) -> Self {
        let mut venue = Venue::new(&instruments(tick)).with_resting_orders_max(RESTING_MAX);
        let mut events = Vec::new();
        venue.set_phase(X, Phase::AuctionCall, &mut events).unwrap();
        let (places, recorded) = (HashMap::new(), Recorded::default());
        Self { venue, places, recorded, tick, counts: Counts::default(), events }
    }

    /// Gives the venue the operation after which an order is as the recording has it, if it is not so already.
    fn settle(&mut self, id: OrderId) {
        let hint = self.places.get(&id).copied().unwrap_or(OrderIndex::NONE);
        let have = self.order(id);
        let outcome = match (have, self.recorded.orders.get(&id)) {
            (None, None) => return,
            (None, Some(told)) => {
                let quantity = Quantity::from_nanos(told.quantity);
                let order = limit(id, told.side, told.price, quantity);
                self.venue.submit(order, &mut self.events).map(|place| self.places.insert(id, place))
            }
            (Some(_), None) => {
                let cancel = CancelOrder { owner: OWNER, id, reason: CancelReason::Requested };
                self.venue.cancel_at(hint, cancel, &mut self.events).map(|()| self.places.remove(&id))
            }
            (Some(have), Some(told)) => {
                let total = have.cumulative().nanos() + told.quantity;
                let (price, quantity) = (Some(told.price), Some(Quantity::from_nanos(total)));
                let replace = ReplaceOrder { owner: OWNER, id, price, quantity };
                let place = self.venue.replace_at(hint, replace, &mut self.events);
                place.map(|place| self.places.insert(id, place))
            }
        };
        outcome.unwrap();
        self.counts.operations += 1;
    }

    /// An order as the venue has it, if it rests there.
    fn order(&self, id: OrderId) -> Option<RestingOrder> {
        self.places.get(&id).and_then(|place| self.venue.order_at(*place, id))
    }

    /// A venue with the recorded book.
    fn bring_back(&mut self) {
        let resting = self.recorded.resting();
        let submitted = resting.iter().map(|order| u128::from(order.leaves.nanos())).sum();
        let (phase, last_price) = (Phase::Open, self.venue.last_price(X));
        let book = BookState { instrument: X, phase, last_price, submitted, traded: 0, returned: 0 };
        let counters = Counters {
            last_trade_id: self.venue.counters().last_trade_id,
            last_priority: self.recorded.arrivals,
        };
        self.venue = Venue::restore(&instruments(self.tick), RESTING_MAX, counters, [book], resting).unwrap();
        self.places = self.venue.places().collect();
    }

    fn take(&mut self, event: &[MarketEvent]) {
        self.events.clear();
        let trades = event.iter().filter_map(|record| match record.kind {
            MarketEventKind::Trade { price, quantity, aggressor, .. } => Some((price, quantity, aggressor)),
            _ => None,
        });
        let trades: Vec<_> = trades.collect();
        match trades.first() {
            None => self.quiet(event),
            Some((price, _, None)) => self.auction(event, *price),
            Some((_, _, Some(side))) => {
                let limit = trades.iter().map(|trade| trade.0);
                let limit = if *side == Side::Buy { limit.max() } else { limit.min() }.unwrap();
                let quantity = trades.iter().map(|trade| trade.1.nanos()).sum();
                self.trade(event, *side, limit, Quantity::from_nanos(quantity));
            }
        }
    }

    fn quiet(&mut self, event: &[MarketEvent]) {
        self.counts.quiet_events += 1;
        let takes_off = |record: &&MarketEvent| matches!(record.kind, MarketEventKind::Reduce { .. });
        let others = event.iter().filter(|record| !takes_off(record));
        for record in event.iter().filter(takes_off).chain(others) {
            self.recorded.apply(&record.kind);
            self.settle(named(&record.kind).unwrap());
        }
        assert_eq!(fills(&self.events), [], "nothing trades where the recording has no trade: {event:?}");
        self.compare(event);
    }

    fn auction(&mut self, event: &[MarketEvent], price: Price) {
        let expected: Vec<(OrderId, u64)> = event.iter().filter_map(filled).collect();
        self.bring_hidden(&expected);
        let indicative = self.venue.indicative(X).unwrap();
        self.events.clear();
        self.venue.set_phase(X, Phase::Open, &mut self.events).unwrap();
        assert_eq!((indicative.price, self.venue.last_price(X)), (price, Some(price)), "the auction's price");
        self.venue.check_invariants();
        let mut got = fills(&self.events);
        let mut expected = expected;
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "who traded how much in the auction");
        self.counts.auctions.push((price, indicative.quantity / 1_000_000_000));
        event.iter().for_each(|record| self.recorded.apply(&record.kind));
        self.bring_back();
        self.compare(event);
    }

    /// Submits what traded in the auction and never stood in the recorded book: as bids until what was bought is half of all, then as
    /// asks, at the best prices there are, so that they say nothing about the price of the auction.
    fn bring_hidden(&mut self, filled: &[(OrderId, u64)]) {
        let side = |id| self.recorded.orders.get(&id).map(|told: &Told| told.side);
        let total: u64 = filled.iter().map(|fill| fill.1).sum();
        let shown = filled.iter().filter(|fill| side(fill.0) == Some(Side::Buy));
        let mut bought: u64 = shown.map(|fill| fill.1).sum();
        let hidden: Vec<_> = filled.iter().filter(|fill| side(fill.0).is_none()).copied().collect();
        for (id, quantity) in hidden {
            let is_bid = bought + quantity <= total / 2;
            bought += if is_bid { quantity } else { 0 };
            let side = if is_bid { Side::Buy } else { Side::Sell };
            let price = self.recorded.best(side).unwrap();
            let order = limit(id, side, price, Quantity::from_nanos(quantity));
            let place = self.venue.submit(order, &mut self.events).unwrap();
            self.places.insert(id, place);
            self.counts.hidden_in_auctions += 1;
        }
    }

    fn trade(&mut self, event: &[MarketEvent], side: Side, price: Price, quantity: Quantity) {
        let mut expected: Vec<(OrderId, u64)> = Vec::new();
        let mut rested = None;
        for record in event {
            let MarketEventKind::Fill { order, side: at, quantity, .. } = record.kind else { continue };
            if at == Some(side) {
                rested = Some(order);
            } else if let Some(same) = expected.iter_mut().find(|fill| fill.0 == order) {
                same.1 += quantity.nanos();
            } else {
                expected.push((order, quantity.nanos()));
            }
        }
        match rested.and_then(|id| self.order(id)) {
            Some(order) => {
                let total = Quantity::from_nanos(order.cumulative().nanos() + quantity.nanos());
                let (price, quantity) = (Some(price), Some(total));
                let replace = ReplaceOrder { owner: OWNER, id: order.id, price, quantity };
                let place = self.venue.replace(replace, &mut self.events).unwrap();
                self.places.insert(order.id, place);
            }
            None => {
                let mut order = limit(TAKER, side, price, quantity);
                order.time_in_force = TimeInForce::ImmediateOrCancel;
                self.venue.submit(order, &mut self.events).unwrap();
            }
        }
        self.counts.operations += 1;
        let mut got = fills(&self.events);
        got.retain(|(id, _)| *id != TAKER && Some(*id) != rested);
        event.iter().for_each(|record| self.recorded.apply(&record.kind));
        if got == expected {
            self.counts.trades_agreeing += 1;
            event.iter().filter_map(|record| named(&record.kind)).for_each(|id| self.settle(id));
        } else {
            self.counts.trades_differing += 1;
            self.bring_back();
        }
        self.compare(event);
    }

    /// Both best prices and all orders that an event names.
    fn compare(&mut self, event: &[MarketEvent]) {
        for side in [Side::Buy, Side::Sell] {
            assert_eq!(self.venue.best_price(X, side), self.recorded.best(side), "{event:?}");
        }
        for id in event.iter().filter_map(|record| named(&record.kind)) {
            let have = self.order(id).map(|order| (order.side, order.price, order.leaves.nanos()));
            let told = self.recorded.orders.get(&id).map(|told| (told.side, told.price, told.quantity));
            assert_eq!(have, told, "order {id}");
            self.counts.orders_compared += 1;
        }
    }

    fn compare_whole(&mut self) {
        self.venue.check_invariants();
        let told = |order: RestingOrder| (order.id, order.side, order.price, order.leaves);
        let have: Vec<_> = self.venue.resting().map(told).collect();
        let recorded: Vec<_> = self.recorded.resting().into_iter().map(told).collect();
        assert_eq!(have, recorded);
        self.counts.books_compared += 1;
    }
}

/// The order that a record puts into another state.
fn named(kind: &MarketEventKind) -> Option<OrderId> {
    match *kind {
        MarketEventKind::Add { order, .. }
        | MarketEventKind::Modify { order, .. }
        | MarketEventKind::Reduce { order, .. } => Some(order),
        _ => None,
    }
}

/// The order that a record says was filled, and how much of it.
fn filled(record: &MarketEvent) -> Option<(OrderId, u64)> {
    match record.kind {
        MarketEventKind::Fill { order, quantity, .. } => Some((order, quantity.nanos())),
        _ => None,
    }
}

/// Who traded how much, in this order, each once.
fn fills(events: &[VenueEvent]) -> Vec<(OrderId, u64)> {
    let mut fills: Vec<(OrderId, u64)> = Vec::new();
    for event in events {
        let VenueEvent::Execution(execution) = event else { continue };
        let ExecutionKind::Fill { quantity, .. } = execution.kind else { continue };
        match fills.iter_mut().find(|fill| fill.0 == execution.order) {
            Some(same) => same.1 += quantity.nanos(),
            None => fills.push((execution.order, quantity.nanos())),
        }
    }
    fills
}

#[test]
fn a_recorded_day_of_orders_leaves_the_recorded_book_and_trades_as_recorded() {
    let Some(path) = data::recorded(ESH4) else { return };
    let config = DbnSourceConfig { speed: Speed::Max, ..DbnSourceConfig::new(path) };
    let recording = replay::Replay::of(&SourceConfig::Dbn(config)).unwrap();
    let tick = recording.instruments.by_symbol("ESH4").unwrap().tick;
    let mut day = Day::new(tick);
    let records: Vec<MarketEvent> = recording.events().copied().collect();
    for (number, event) in records.split_inclusive(|record| record.last).enumerate() {
        day.take(event);
        if number % 1_000 == 0 {
            day.compare_whole();
        }
    }
    day.compare_whole();
    assert_eq!(recording.ended().records(), 68_792);
    let expected = Counts {
        operations: 56_748,
        quiet_events: 44_188,
        orders_compared: 59_448,
        books_compared: 49,
        trades_agreeing: 2_680,
        trades_differing: 153,
        auctions: vec![(Price::parse("4800.25").unwrap(), 44)],
        hidden_in_auctions: 7,
    };
    assert_eq!(day.counts, expected);
}
