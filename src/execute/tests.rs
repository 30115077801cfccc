//! The digest of the state: the same on every machine and in every build, and different for different states.

use super::*;
use crate::types::{BookDecimals, MarketDepth, Symbol};

/// The digest after [`script`]. It changes only with the meaning of the digest, and then `STATE_OF` does too.
const GOLDEN: &str = "e3dcbed67eb6b9ea9f5f0528bb31bd6bddc464c2a9ad67a78a87497a3527b2dc";

fn instruments() -> Arc<Instruments> {
    let mut instruments = Instruments::new();
    for symbol in ["A", "B"] {
        let build = |id| Instrument {
            id,
            symbol: Symbol::new(symbol).unwrap(),
            decimals: BookDecimals::default(),
            tick: Price::from_nanos(1),
            lot: Quantity::from_nanos(1),
            band: None,
            depth: MarketDepth::Orders,
            tradable: true,
            paper: false,
        };
        instruments.add(build).unwrap();
    }
    Arc::new(instruments)
}

/// 20,000 inputs from a fixed generator (`SplitMix64`: Steele, Lea, Flood 2014): orders on both sides that rest, trade in part and in
/// full, and cancels of orders that may be gone.
fn script() -> Vec<SyntheticInput> {
    let mut word = 0_u64;
    let mut dice = |bound: u64| {
        word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = word;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    };
    let mut next_id = 1;
    let mut input = |_| {
        let owner = u32::try_from(dice(4) * 2 + 1).unwrap();
        if next_id > 1 && dice(5) < 2 {
            return SyntheticInput::Cancel { owner, order_id: 1 + dice(next_id - 1) };
        }
        next_id += 1;
        SyntheticInput::New {
            owner,
            order_id: next_id - 1,
            instrument: u32::try_from(dice(2)).unwrap(),
            buys: dice(2) == 0,
            price: (dice(20) > 0).then(|| 100 + i64::try_from(dice(40)).unwrap()),
            rests: dice(4) > 0,
            quantity: 1 + dice(9),
        }
    };
    (0..20_000).map(&mut input).collect()
}

fn executed(script: &[SyntheticInput]) -> Engine {
    let mut engine = Engine::new(instruments(), EngineOptions::default());
    let mut events = Vec::new();
    for input in script {
        if matches!(input, SyntheticInput::New { .. }) {
            engine.next_id();
        }
        engine.take_synthetic(input, &mut events);
    }
    engine
}

#[test]
fn the_state_after_a_fixed_script_has_the_same_digest_in_every_build() {
    let engine = executed(&script());
    engine.venue.check_invariants();
    assert!(engine.venue.resting_orders() > 100);
    let state = engine.state();
    assert_eq!((&*state.of, state.inputs), ("venue/2", 20_000));
    assert_eq!(sealfeed_audit::hex(&state.digest), GOLDEN);
}

#[test]
fn orders_that_differ_in_anything_rest_in_different_states() {
    let digest = |orders: &[(u32, u32, bool, i64, u64)]| {
        let input = |(place, order): (usize, &(u32, u32, bool, i64, u64))| {
            let &(owner, instrument, buys, price, quantity) = order;
            let (order_id, price) = (1 + place as u64, Some(price));
            SyntheticInput::New { owner, order_id, instrument, buys, price, rests: true, quantity }
        };
        let engine = executed(&orders.iter().enumerate().map(input).collect::<Vec<_>>());
        assert_eq!(engine.venue.resting_orders(), orders.len());
        engine.state().digest
    };
    let (x, y) = ((1, 0, true, 100, 5), (3, 0, true, 100, 6));
    let states = [
        digest(&[]),
        digest(&[x]),
        digest(&[(3, 0, true, 100, 5)]),
        digest(&[(1, 1, true, 100, 5)]),
        digest(&[(1, 0, false, 100, 5)]),
        digest(&[(1, 0, true, 101, 5)]),
        digest(&[(1, 0, true, 100, 4)]),
        // Who came first at one price.
        digest(&[x, y]),
        digest(&[y, x]),
    ];
    for (place, state) in states.iter().enumerate() {
        assert!(!states[..place].contains(state), "state {place}");
    }
}

#[test]
fn a_state_that_was_reached_by_another_way_is_the_same_but_for_what_it_counts() {
    let mut short = executed(&script()[..3_000]);
    let before = short.state().digest;
    let mut events = Vec::new();
    let cancel = SyntheticInput::Cancel { owner: 1, order_id: u64::MAX };
    short.take_synthetic(&cancel, &mut events);
    assert_eq!((short.state().digest, events.len()), (before, 0), "what has no effect leaves no trace");
    let order_id = short.next_id().0;
    let new = SyntheticInput::New {
        owner: 1,
        order_id,
        instrument: 0,
        buys: true,
        price: Some(1),
        rests: true,
        quantity: 1,
    };
    short.take_synthetic(&new, &mut events);
    assert_ne!(short.state().digest, before);
}

#[test]
fn the_digest_is_due_after_so_many_inputs_and_not_before() {
    let options = EngineOptions { state_hash_inputs: 3, ..EngineOptions::default() };
    let mut engine = Engine::new(instruments(), options);
    let mut due = Vec::new();
    for input in &script()[..10] {
        engine.take_synthetic(input, &mut Vec::new());
        due.push(engine.state_if_due().map(|state| state.inputs));
    }
    let expected = [None, None, Some(3), None, None, Some(6), None, None, Some(9), None];
    assert_eq!(due, expected);
}
