//! What one operation of the venue costs, in CPU time, beside the floor of the maps it cannot do without.
//!
//! A fixed, seeded mix (40 % adds, 40 % cancels and 10 % replaces of a random order, 10 % takes of about one order) holds the number
//! of resting orders level while it runs. Half of the replaces ask for less at the same price, half for another price. The floor does
//! the same inserts and removals in one ordered map of prices and one hash map of identifiers, and nothing else: no queues, no fills,
//! no reports, no digest of the state.
//!
//! A cancel or replace comes with the place that the venue told, as from the engine, which has it in the same record as the order's number; what
//! finding that record costs is the caller's, here as for the number itself. The floor gets no such knowledge: it looks its orders up by
//! number, as before the venue could do without (docs/adr/0051-orders-by-place.md).
//!
//! `cargo bench --bench venue`, or `-- --smoke` for about a second. Goal: 150 ns at 100,000 resting orders. Then the bytes that a resting
//! order takes.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench prints its numbers and may stop")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;

use sealfeed::types::{
    BookDecimals, CancelOrder, CancelReason, ClientOrderId, Instrument, InstrumentId, Instruments,
    MarketDepth, MarketEventKind, NewOrder, OrderId, OrderKind, OwnerId, Price, Quantity, ReplaceOrder, Side,
    Symbol, TimeInForce,
};
use sealfeed::venue::{OrderIndex, Venue, VenueEvent};

const OWNERS: u32 = 64;
const MID: i64 = 1_000_000;
const TICK_NANOS: i64 = 10_000_000;

fn main() {
    let is_smoke = support::smoke();
    let (operations, rounds) = if is_smoke { (50_000, 3) } else { (500_000, 9) };
    println!(
        "venue: mixed add/cancel/replace/take, CPU ns per operation, {rounds} rounds of {operations}: median (least)"
    );
    println!("{:>10} {:>8} {:>16} {:>16} {:>6}", "resting", "levels", "venue", "floor", "ratio");
    let mut books = vec![(1_000, 100), (100_000, 1_000), (100_000, 20_000)];
    if !is_smoke {
        books.push((1_000_000, 20_000));
    }
    for (resting, levels) in books.iter().copied() {
        let plan = Plan::new(resting, levels, operations);
        // In turns, so that what else the machine does meets both alike.
        let rounds: Vec<(f64, f64)> = (0..rounds).map(|_| (plan.time_venue(), plan.time_floor())).collect();
        let (venue, venue_least) = median_and_least(rounds.iter().map(|round| round.0));
        let (floor, floor_least) = median_and_least(rounds.iter().map(|round| round.1));
        let ratio = venue / floor;
        println!(
            "{resting:>10} {levels:>8} {venue:>8.1} ({venue_least:>5.1}) {floor:>8.1} ({floor_least:>5.1}) {ratio:>6.2}"
        );
    }
    println!("bytes a resting order takes, by the capacity of what holds it; a price level comes on top:");
    for (resting, levels) in books.into_iter().skip(1) {
        println!("{resting:>10} {levels:>8} {:>8.1}", bytes_an_order(resting, levels));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a measurement, not an amount")]
fn bytes_an_order(resting: u64, levels: u64) -> f64 {
    let mut maker = PlanMaker::new(levels);
    for _ in 0..resting {
        maker.add();
    }
    maker.venue.allocated_bytes() as f64 / maker.venue.resting_orders() as f64
}

#[derive(Clone, Copy)]
enum Operation {
    Submit(NewOrder),
    Cancel(OrderIndex, CancelOrder),
    Replace(OrderIndex, ReplaceOrder),
}

/// What an operation means to the two maps of the floor.
#[derive(Clone, Copy)]
enum Step {
    Insert(u64, i64),
    Find(u64),
    Remove(u64),
}

/// The operations, made once by running them, so that every cancel names an order that rests.
struct Plan {
    warm: Vec<Operation>,
    mixed: Vec<Operation>,
    warm_steps: Vec<Step>,
    mixed_steps: Vec<Step>,
}

impl Plan {
    fn new(resting: u64, levels: u64, operations: usize) -> Self {
        let mut maker = PlanMaker::new(levels);
        let warm: Vec<Operation> = (0..resting).map(|_| maker.add()).collect();
        let warm_steps = std::mem::take(&mut maker.steps);
        let mut mixed = Vec::with_capacity(operations);
        while mixed.len() < operations {
            // What takes have used up is added on top of the mix, so that the book stays as full as it is.
            let choice =
                if maker.venue.resting_orders() as u64 + 10 < resting { 0 } else { maker.random.below(100) };
            mixed.push(match choice {
                0..40 => maker.add(),
                40..80 => maker.cancel(),
                80..90 => maker.replace(),
                _ => maker.take(),
            });
        }
        maker.venue.check_invariants();
        Self { warm, mixed, warm_steps, mixed_steps: maker.steps }
    }

    /// CPU nanoseconds an operation in a venue warmed up afresh.
    fn time_venue(&self) -> f64 {
        let mut venue = venue();
        let mut events = Vec::new();
        for operation in &self.warm {
            apply(&mut venue, *operation, &mut events);
        }
        let start = cpu_ns();
        for operation in &self.mixed {
            black_box(apply(&mut venue, *operation, &mut events));
            black_box(&events);
        }
        per_operation(start, self.mixed.len())
    }

    /// The same for the floor.
    fn time_floor(&self) -> f64 {
        let mut floor = Floor::default();
        for step in &self.warm_steps {
            floor.apply(*step);
        }
        let start = cpu_ns();
        for step in &self.mixed_steps {
            floor.apply(*step);
        }
        black_box(&floor.levels);
        per_operation(start, self.mixed.len())
    }
}

fn apply(venue: &mut Venue, operation: Operation, events: &mut Vec<VenueEvent>) -> OrderIndex {
    events.clear();
    let outcome = match operation {
        Operation::Submit(order) => venue.submit(order, events),
        Operation::Cancel(hint, cancel) => venue.cancel_at(hint, cancel, events).map(|()| OrderIndex::NONE),
        Operation::Replace(hint, replace) => venue.replace_at(hint, replace, events),
    };
    outcome.expect("the plan has no refused operation")
}

struct PlanMaker {
    venue: Venue,
    random: Random,
    levels: u64,
    last_id: u64,
    client_order_id: ClientOrderId,
    /// Orders that rest and their places in the venue, in no particular order, and where each stands in the list.
    open: Vec<(OrderIndex, CancelOrder)>,
    place: HashMap<OrderId, usize>,
    events: Vec<VenueEvent>,
    steps: Vec<Step>,
}

impl PlanMaker {
    fn new(levels: u64) -> Self {
        Self {
            venue: venue(),
            random: Random(0x5eed),
            levels,
            last_id: 0,
            client_order_id: ClientOrderId::new("bench").expect("an id"),
            open: Vec::new(),
            place: HashMap::new(),
            events: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn add(&mut self) -> Operation {
        let side = if self.random.below(2) == 0 { Side::Buy } else { Side::Sell };
        let price = self.price(side);
        self.submit(side, OrderKind::Limit(price), TimeInForce::Day)
    }

    /// A price that never meets the other side.
    fn price(&mut self, side: Side) -> Price {
        let ticks = i64::try_from(1 + self.random.below(self.levels)).unwrap_or(1);
        Price::from_nanos(match side {
            Side::Buy => (MID - ticks) * TICK_NANOS,
            Side::Sell => (MID + ticks) * TICK_NANOS,
        })
    }

    fn take(&mut self) -> Operation {
        let side = if self.random.below(2) == 0 { Side::Buy } else { Side::Sell };
        self.submit(side, OrderKind::Market, TimeInForce::ImmediateOrCancel)
    }

    fn submit(&mut self, side: Side, kind: OrderKind, time_in_force: TimeInForce) -> Operation {
        self.last_id += 1;
        let order = NewOrder {
            id: OrderId(self.last_id),
            owner: OwnerId(u32::try_from(self.random.below(u64::from(OWNERS))).unwrap_or(0)),
            client_order_id: self.client_order_id,
            instrument: InstrumentId(0),
            side,
            quantity: Quantity::from_nanos((1 + self.random.below(9)) * 1_000_000_000),
            kind,
            time_in_force,
            post_only: false,
            self_trade: None,
        };
        self.run(Operation::Submit(order))
    }

    fn cancel(&mut self) -> Operation {
        let place = usize::try_from(self.random.below(self.open.len() as u64)).unwrap_or(0);
        let (hint, cancel) = self.open[place];
        self.run(Operation::Cancel(hint, cancel))
    }

    /// Less of an order at its price, or another price on its side.
    fn replace(&mut self) -> Operation {
        let place = usize::try_from(self.random.below(self.open.len() as u64)).unwrap_or(0);
        let (hint, CancelOrder { owner, id, .. }) = self.open[place];
        let order = self.venue.order_at(hint, id).expect("it rests");
        let (mut price, mut quantity) = (None, None);
        if self.random.below(2) == 0 {
            let less = order.leaves.nanos() / 2;
            quantity = Some(Quantity::from_nanos(order.quantity.nanos() - less));
        } else {
            price = Some(self.price(order.side));
        }
        self.run(Operation::Replace(hint, ReplaceOrder { owner, id, price, quantity }))
    }

    /// Runs an operation, and keeps track of what rests and of what the floor has to do.
    fn run(&mut self, operation: Operation) -> Operation {
        let at = apply(&mut self.venue, operation, &mut self.events);
        // A replace with a new price takes the order out and puts it back, unless it is the old price.
        let moves = matches!(operation, Operation::Replace(..)) && self.events.len() > 2;
        for event in &self.events {
            let VenueEvent::Market { kind, .. } = event else { continue };
            match *kind {
                MarketEventKind::Add { order, price, .. } => {
                    let owner = match operation {
                        Operation::Submit(NewOrder { owner, .. })
                        | Operation::Replace(_, ReplaceOrder { owner, .. }) => owner,
                        Operation::Cancel(..) => continue,
                    };
                    self.place.insert(order, self.open.len());
                    self.open.push((at, CancelOrder { owner, id: order, reason: CancelReason::Requested }));
                    self.steps.push(Step::Insert(order.0, price.nanos()));
                }
                MarketEventKind::Reduce { order, .. } => {
                    let Some(place) = self.place.get(&order).copied() else { continue };
                    if !moves && self.venue.is_resting_at(self.open[place].0, order) {
                        self.steps.push(Step::Find(order.0));
                        continue;
                    }
                    self.place.remove(&order);
                    self.open.swap_remove(place);
                    if let Some(moved) = self.open.get(place) {
                        self.place.insert(moved.1.id, place);
                    }
                    self.steps.push(Step::Remove(order.0));
                }
                _ => {}
            }
        }
        operation
    }
}

/// One ordered map of prices, one hash map of identifiers.
#[derive(Default)]
struct Floor {
    levels: BTreeMap<i64, u32>,
    orders: HashMap<u64, i64, BuildHasherDefault<Multiplicative>>,
}

impl Floor {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Insert(id, price) => {
                self.orders.insert(id, price);
                *self.levels.entry(price).or_insert(0) += 1;
            }
            Step::Find(id) => {
                black_box(self.orders.get(&id));
            }
            Step::Remove(id) => {
                let Some(price) = self.orders.remove(&id) else { return };
                let Some(count) = self.levels.get_mut(&price) else { return };
                *count -= 1;
                if *count == 0 {
                    self.levels.remove(&price);
                }
            }
        }
    }
}

#[derive(Default)]
struct Multiplicative(u64);

impl Hasher for Multiplicative {
    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// xorshift64*: seeded, the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn venue() -> Venue {
    Venue::new(&instruments()).with_resting_orders_max(1 << 21)
}

fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    let symbol = Symbol::new("BENCH").expect("a symbol");
    instruments.add(|id| Instrument {
        id,
        symbol,
        decimals: BookDecimals::default(),
        tick: Price::from_nanos(TICK_NANOS),
        lot: Quantity::from_nanos(1_000_000_000),
        band: None,
        depth: MarketDepth::Orders,
        tradable: true,
        paper: false,
    });
    instruments
}

fn median_and_least(results: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut results: Vec<f64> = results.collect();
    results.sort_by(f64::total_cmp);
    (results[results.len() / 2], results[0])
}

#[expect(clippy::cast_precision_loss, reason = "a measurement, not an amount")]
fn per_operation(start_ns: i128, operations: usize) -> f64 {
    (cpu_ns() - start_ns) as f64 / operations as f64
}

/// CPU time of this thread, in nanoseconds: what other processes do on the machine does not count.
fn cpu_ns() -> i128 {
    i128::from(support::thread_cpu_ns())
}
