//! The venue against the naive model, over random operations of every kind.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::venue::model::ModelVenue;

/// How many operations the long run makes, unless the environment of the build has `SEALFEED_VENUE_OPERATIONS`.
const OPERATIONS_DEFAULT: u64 = 20_000;
const OPERATIONS_WANTED: Option<&str> = option_env!("SEALFEED_VENUE_OPERATIONS");
const TRADABLE: [bool; 3] = [true, true, false];
const OWNERS: u32 = 3;

#[derive(Clone, Debug)]
enum Operation {
    Submit(NewOrder),
    Cancel(CancelOrder),
    Replace(ReplaceOrder),
    SetPhase(InstrumentId, Phase),
    EndDay,
    /// The venue is told out and brought back.
    Restart,
}

/// Words from a seed (`SplitMix64`: Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(u32::try_from(choices.len()).unwrap()) as usize]
    }
}

impl Operation {
    /// The operation that a word stands for; an order that it submits is to have the name `id`.
    fn of(word: u64, id: u64) -> Self {
        let mut dice = Dice(word);
        let owner = OwnerId(dice.below(OWNERS));
        let instrument = InstrumentId(dice.below(3));
        // Of the last orders, so that most of them still rest.
        let target = OrderId(id.saturating_sub(u64::from(dice.below(40))));
        let at = price(i64::from(95 + dice.below(11)));
        let units = u64::from(dice.below(9));
        match dice.below(400) {
            0..240 => {
                let kind = if dice.below(12) == 0 { OrderKind::Market } else { OrderKind::Limit(at) };
                let time_in_force = match dice.below(10) {
                    0..5 => TimeInForce::Day,
                    5..7 => TimeInForce::GoodTillCancel,
                    7..8 => TimeInForce::ImmediateOrCancel,
                    _ => TimeInForce::FillOrKill,
                };
                let side = dice.one_of(&[Side::Buy, Side::Sell]);
                let modes = [SelfTrade::CancelTaker, SelfTrade::CancelMaker, SelfTrade::CancelBoth];
                let self_trade = (dice.below(2) == 0).then(|| dice.one_of(&modes));
                let post_only = dice.below(6) == 0;
                let order = limit(id, owner, side, units + 1, 0);
                Self::Submit(NewOrder { instrument, kind, time_in_force, post_only, self_trade, ..order })
            }
            240..290 => Self::Cancel(CancelOrder { owner, id: target, reason: CancelReason::MassCancel }),
            290..375 => Self::Replace(ReplaceOrder {
                owner,
                id: target,
                price: (dice.below(3) > 0).then_some(at),
                quantity: (dice.below(3) > 0).then_some(quantity(units)),
            }),
            375..390 => Self::SetPhase(instrument, dice.one_of(Phase::ALL)),
            390..396 => Self::SetPhase(instrument, Phase::Open),
            396..397 => Self::EndDay,
            _ => Self::Restart,
        }
    }
}

/// What a caller says about where orders rest.
#[derive(Debug, Default)]
struct Hints {
    places: HashMap<OrderId, OrderIndex>,
    random: u64,
}

impl Hints {
    /// Right (unless the venue has been restored since), none, or any place whatever, inside the slab and outside.
    fn of(&mut self, id: OrderId) -> OrderIndex {
        self.random = self.random.wrapping_add(1).wrapping_mul(0xD134_2543_DE82_EF95);
        match self.random >> 62 {
            0 => OrderIndex::NONE,
            1 => OrderIndex::from_place(usize::try_from(self.random >> 32).unwrap() % 64),
            _ => self.places.get(&id).copied().unwrap_or(OrderIndex::NONE),
        }
    }

    /// Takes down where an order rests; the venue has to know it there.
    fn learn(&mut self, venue: &Venue, id: OrderId, place: OrderIndex) {
        assert_eq!(venue.is_resting(id), place != OrderIndex::NONE);
        assert_eq!(venue.is_resting_at(place, id), place != OrderIndex::NONE);
        self.places.insert(id, place);
    }
}

fn run(venue: &mut Venue, operation: &Operation, hints: &mut Hints) -> Result<Vec<VenueEvent>, Code> {
    let mut events = Vec::new();
    match operation {
        Operation::Submit(order) => {
            let place = venue.submit(*order, &mut events)?;
            hints.learn(venue, order.id, place);
        }
        Operation::Cancel(cancel) => venue.cancel_at(hints.of(cancel.id), *cancel, &mut events)?,
        Operation::Replace(replace) => {
            let place = venue.replace_at(hints.of(replace.id), *replace, &mut events)?;
            hints.learn(venue, replace.id, place);
        }
        Operation::SetPhase(instrument, phase) => venue.set_phase(*instrument, *phase, &mut events)?,
        Operation::EndDay => venue.expire_day_orders(&mut events),
        Operation::Restart => *venue = restored::again(venue, &instruments(&TRADABLE)),
    }
    Ok(events)
}

fn run_model(model: &mut ModelVenue, operation: &Operation) -> Result<Vec<VenueEvent>, Code> {
    match operation {
        Operation::Submit(order) => model.submit(*order),
        Operation::Cancel(cancel) => model.cancel(*cancel),
        Operation::Replace(replace) => model.replace(*replace),
        Operation::SetPhase(instrument, phase) => model.set_phase(*instrument, *phase),
        Operation::EndDay => Ok(model.expire_day_orders()),
        Operation::Restart => Ok(Vec::new()),
    }
}

/// What came out of the operations, counted: a comparison of nothing but refusals would say little.
#[derive(Debug, Default)]
struct Seen {
    fills: u64,
    auction_trades: u64,
    replaced: u64,
    self_trades: u64,
    refusals: std::collections::BTreeSet<Code>,
}

impl Seen {
    fn count(&mut self, outcome: &Result<Vec<VenueEvent>, Code>) {
        match outcome {
            Err(code) => {
                self.refusals.insert(*code);
            }
            Ok(events) => events.iter().for_each(|event| match event {
                VenueEvent::Execution(execution) => match execution.kind {
                    ExecutionKind::Fill { .. } => self.fills += 1,
                    ExecutionKind::Replaced { .. } => self.replaced += 1,
                    ExecutionKind::Canceled { reason: CancelReason::SelfTrade } => self.self_trades += 1,
                    _ => {}
                },
                VenueEvent::Market { kind: MarketEventKind::Trade { aggressor: None, .. }, .. } => {
                    self.auction_trades += 1;
                }
                VenueEvent::Market { .. } => {}
            }),
        }
    }
}

/// Runs what the words stand for through both, and compares all that can be seen after each operation.
fn agree(words: impl Iterator<Item = u64>, resting_orders_max: u32) -> Seen {
    let mut venue = Venue::new(&instruments(&TRADABLE)).with_resting_orders_max(resting_orders_max);
    let mut model = ModelVenue::new(&TRADABLE, price(1).nanos(), resting_orders_max as usize);
    let mut seen = Seen::default();
    let mut hints = Hints::default();
    for (id, word) in (1_u64..).zip(words) {
        let operation = Operation::of(word, id);
        let expected = run_model(&mut model, &operation);
        let got = run(&mut venue, &operation, &mut hints);
        assert_eq!(got, expected, "operation {id}: {operation:?}");
        seen.count(&got);
        venue.check_invariants();
        for owner in (0..OWNERS).map(OwnerId) {
            assert_eq!(venue.open_orders(owner) as usize, model.open_orders(owner));
        }
        let mut resting = venue.resting();
        for instrument in (0..3).map(InstrumentId) {
            assert_eq!(venue.last_price(instrument), model.last_price(instrument));
            for side in [Side::Buy, Side::Sell] {
                let queue = model.queue(instrument, side);
                let here = resting.by_ref().take(queue.len());
                let here: Vec<_> = here.map(|one| (one.id, one.leaves, one.quantity)).collect();
                assert_eq!(here, queue, "operation {id}: {operation:?}");
            }
        }
        assert_eq!(resting.next(), None);
    }
    seen
}

#[test]
fn a_long_random_run_agrees_with_the_naive_model() {
    let operations =
        OPERATIONS_WANTED.map_or(OPERATIONS_DEFAULT, |text| text.parse().expect("a number of operations"));
    let seen = agree((0..operations).map(|place| place.wrapping_mul(0xD134_2543_DE82_EF95)), 25);
    println!("{operations} operations: {seen:?}");
    if operations >= OPERATIONS_DEFAULT {
        let counts = [seen.fills, seen.auction_trades, seen.replaced, seen.self_trades];
        assert!(counts.iter().all(|count| *count > operations / 1_000), "too little happened: {seen:?}");
        let refusals = [
            Code::OrdSymbolNotTradable,
            Code::OrdOrderUnknown,
            Code::OrdNoLiquidity,
            Code::OrdPostOnlyWouldTake,
            Code::OrdFillOrKillShort,
            Code::OrdNotInAuction,
            Code::OrdInstrumentHalted,
            Code::OrdInstrumentClosed,
            Code::OrdOptionsContradict,
            Code::RskVenueOrdersMax,
        ];
        assert_eq!(seen.refusals, refusals.into());
    }
}

proptest! {
    #[test]
    fn the_venue_agrees_with_the_naive_model(words in prop::collection::vec(any::<u64>(), 1..150)) {
        agree(words.into_iter(), 12);
    }

    #[test]
    fn the_same_operations_always_give_the_same_events_and_states_with_any_hints(
        words in prop::collection::vec(any::<u64>(), 1..150),
        seeds in any::<[u64; 2]>(),
    ) {
        let run_all = |random| -> Vec<_> {
            let mut hints = Hints { random, ..Hints::default() };
            let mut venue = Venue::new(&instruments(&TRADABLE)).with_resting_orders_max(12);
            let operations = (1_u64..).zip(&words).map(|(id, word)| Operation::of(*word, id));
            operations.map(|operation| (run(&mut venue, &operation, &mut hints), venue.state_digest())).collect()
        };
        prop_assert_eq!(run_all(seeds[0]), run_all(seeds[1]));
    }
}
