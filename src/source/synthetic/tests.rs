//! The synthetic market through a naive venue: the oldest order at the best price trades first.

use std::collections::BTreeSet;

use super::*;
use crate::shutdown::Shutdown;
use crate::source::test_port::{JumpingTimer, drain, port};
use crate::types::Code;

/// Of the default configuration, in nano-units.
const TICK_NANOS: i64 = 10_000_000;
const LOT_NANOS: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
struct Resting {
    slot: OrderSlot,
    member: Member,
    instrument: InstrumentId,
    side: Side,
    price: Price,
    quantity: Quantity,
}

/// All resting orders, oldest first.
#[derive(Debug, Default)]
struct Venue {
    resting: Vec<Resting>,
    trades: u64,
    canceled: u64,
    gone: u64,
}

impl Venue {
    fn execute(&mut self, order: &SyntheticOrder) {
        match order {
            SyntheticOrder::Cancel { member, slot } => {
                match self.resting.iter().position(|resting| resting.slot == *slot) {
                    Some(index) => {
                        assert_eq!(self.resting.remove(index).member, *member, "members cancel their own");
                        self.canceled += 1;
                    }
                    None => self.gone += 1,
                }
            }
            SyntheticOrder::Take { member, order } => {
                assert_eq!(order.time_in_force, TimeInForce::ImmediateOrCancel);
                assert!((MAKERS..MEMBERS).contains(&member.0));
                self.trade(*member, order);
            }
            SyntheticOrder::Rest { member, slot, order } => {
                assert!(member.0 < MAKERS);
                assert_eq!(order.time_in_force, TimeInForce::GoodTillCancel);
                assert!(self.resting.iter().all(|resting| resting.slot != *slot), "slot {slot:?} is taken");
                let trades = self.trades;
                let quantity = self.trade(*member, order);
                assert_eq!(trades, self.trades, "makers never cross makers");
                let OrderKind::Limit(price) = order.kind else { panic!("a market order cannot rest") };
                let SyntheticTerms { instrument, side, .. } = *order;
                self.resting.push(Resting {
                    slot: *slot,
                    member: *member,
                    instrument,
                    side,
                    price,
                    quantity,
                });
            }
        }
    }

    /// Returns what did not trade.
    fn trade(&mut self, member: Member, order: &SyntheticTerms) -> Quantity {
        assert!(order.quantity.nanos() > 0 && order.quantity.nanos().is_multiple_of(LOT_NANOS));
        let mut left = order.quantity.nanos();
        while left > 0 {
            let best = self.best(order.instrument, order.side.opposite());
            let Some(index) = best.filter(|index| match order.kind {
                OrderKind::Market => true,
                OrderKind::Limit(limit) => is_better_or_same(order.side, limit, self.resting[*index].price),
            }) else {
                break;
            };
            let resting = &mut self.resting[index];
            assert_ne!(resting.member, member, "nobody trades with himself");
            let traded = left.min(resting.quantity.nanos());
            left -= traded;
            resting.quantity = Quantity::from_nanos(resting.quantity.nanos() - traded);
            self.trades += 1;
            if resting.quantity.is_zero() {
                self.resting.remove(index);
            }
        }
        Quantity::from_nanos(left)
    }

    fn of(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = (usize, &Resting)> {
        let is_of = move |resting: &Resting| resting.instrument == instrument && resting.side == side;
        self.resting.iter().enumerate().filter(move |(_, resting)| is_of(resting))
    }

    fn best(&self, instrument: InstrumentId, side: Side) -> Option<usize> {
        let key = |price: Price| if side == Side::Buy { -price.nanos() } else { price.nanos() };
        self.of(instrument, side)
            .min_by_key(|(index, resting)| (key(resting.price), *index))
            .map(|(index, _)| index)
    }

    fn levels(&self, instrument: InstrumentId, side: Side) -> usize {
        self.of(instrument, side).map(|(_, resting)| resting.price).collect::<BTreeSet<_>>().len()
    }

    fn spread_ticks(&self, instrument: InstrumentId) -> i64 {
        let price = |side| self.resting[self.best(instrument, side).unwrap()].price.nanos();
        (price(Side::Sell) - price(Side::Buy)) / TICK_NANOS
    }
}

fn is_better_or_same(taker: Side, limit: Price, price: Price) -> bool {
    match taker {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

fn market(symbols: &[&str], messages_per_second: u32, seed: u64) -> (SyntheticMarket, Instruments) {
    let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    let config =
        SyntheticSourceConfig { symbols, messages_per_second, seed, ..SyntheticSourceConfig::default() };
    let mut instruments = Instruments::new();
    (SyntheticMarket::open(&config, &mut instruments).unwrap(), instruments)
}

#[test]
fn the_book_stays_deep_uncrossed_and_bounded_while_it_trades() {
    for seed in [1, 2, 3] {
        let (mut market, _) = market(&["SEAL", "FEED"], 0, seed);
        let slots = market.order_slots() as usize;
        let mut venue = Venue::default();
        for order in market.opening(slots) {
            venue.execute(&order);
        }
        let (mut spreads, mut levels_min) = (BTreeSet::new(), usize::MAX);
        for _ in 0..6_000 {
            for order in market.acts(1) {
                venue.execute(&order);
            }
            for instrument in [InstrumentId(0), InstrumentId(1)] {
                let levels = [Side::Buy, Side::Sell].map(|side| venue.levels(instrument, side));
                levels_min = levels_min.min(levels[0]).min(levels[1]);
                spreads.insert(venue.spread_ticks(instrument));
            }
            assert!(venue.resting.len() <= slots);
        }
        assert!(levels_min >= 15, "seed {seed}: {levels_min} levels");
        assert!(venue.resting.len() > slots * 8 / 10, "seed {seed}: {} orders rest", venue.resting.len());
        assert!(spreads.first() >= Some(&1) && spreads.len() >= 4, "seed {seed}: spreads {spreads:?}");
        assert!(venue.trades > 300 && venue.canceled > 4_000, "seed {seed}: {venue:?}");
        // The market knows what its own takers took: with no client about, most cancels come in time.
        assert!(venue.gone * 4 < venue.canceled, "seed {seed}: {} of {}", venue.gone, venue.canceled);
        for (instrument, book) in &market.books {
            for side in [Side::Buy, Side::Sell] {
                let believed = book.ladder(side).count();
                assert_eq!(venue.of(*instrument, side).count(), believed, "belief and venue agree");
            }
        }
    }
}

#[test]
fn a_client_who_takes_everything_finds_a_full_book_again() {
    let (mut market, _) = market(&["SEAL"], 0, 5);
    let slots = market.order_slots() as usize;
    let mut venue = Venue::default();
    for order in market.opening(slots) {
        venue.execute(&order);
    }
    venue.resting.retain(|resting| resting.side == Side::Buy);
    for order in market.acts(4_000) {
        venue.execute(&order);
    }
    assert!(venue.levels(InstrumentId(0), Side::Sell) >= 15, "{venue:?}");
    assert!(venue.resting.len() <= slots);
}

#[test]
fn the_same_seed_gives_the_same_orders_on_every_machine() {
    let orders = |seed| {
        let (mut market, _) = market(&["SEAL", "FEED"], 0, seed);
        let mut orders = market.opening(1_000);
        orders.extend(market.acts(10_000));
        orders.iter().map(line).collect::<String>()
    };
    assert_eq!(orders(1), orders(1));
    assert_ne!(orders(1), orders(2));
    // Changes only when the market is meant to behave otherwise.
    assert_eq!(crc32fast::hash(orders(1).as_bytes()), 0x6eb6_fd1c);
}

fn line(order: &SyntheticOrder) -> String {
    let terms = |order: &SyntheticTerms| {
        let price = match order.kind {
            OrderKind::Limit(price) => price.to_string(),
            OrderKind::Market => "market".to_owned(),
        };
        format!("{} {} {} at {price}", order.instrument.0, order.side, order.quantity)
    };
    match order {
        SyntheticOrder::Rest { member, slot, order } => format!("{} {} {}\n", member.0, slot.0, terms(order)),
        SyntheticOrder::Take { member, order } => format!("{} {}\n", member.0, terms(order)),
        SyntheticOrder::Cancel { member, slot } => format!("{} {} cancel\n", member.0, slot.0),
    }
}

#[test]
fn prices_stay_on_the_tick_and_near_where_they_began() {
    let (mut market, instruments) = market(&["SEAL"], 0, 9);
    let first = first_price(&mut market);
    for order in market.acts(200_000) {
        if let SyntheticOrder::Rest { order: SyntheticTerms { kind: OrderKind::Limit(price), .. }, .. } =
            order
        {
            assert_eq!(price.nanos() % instruments.by_symbol("SEAL").unwrap().tick.nanos(), 0);
            let away = (price.nanos() - first.nanos()).abs();
            assert!(away * 7 < first.nanos(), "{price} is far from {first}");
        }
    }
}

fn first_price(market: &mut SyntheticMarket) -> Price {
    match market.opening(1)[0] {
        SyntheticOrder::Rest { order: SyntheticTerms { kind: OrderKind::Limit(price), .. }, .. } => price,
        other => panic!("the book opens with orders that rest, not {other:?}"),
    }
}

#[test]
fn the_pace_holds_and_a_pause_is_not_followed_by_a_flood() {
    for messages_per_second in [1, 200, 3_000, 50_000] {
        let mut pace = Pace::new(messages_per_second, 0);
        let (mut now_ns, mut sent) = (0, 0_u64);
        while now_ns < 10 * NANOS_PER_SECOND {
            match pace.due(now_ns) {
                Due::Now(count) => {
                    assert!(count as u64 <= u64::from(messages_per_second / 50).max(1));
                    pace.sent(count);
                    sent += count as u64;
                }
                // A timer that is up to a millisecond late.
                Due::At(moment_ns) => now_ns = moment_ns + 999_999,
            }
        }
        let expected = 10 * u64::from(messages_per_second);
        assert!(sent.abs_diff(expected) <= expected / 100 + 2, "{sent} instead of {expected}");
        assert_eq!(pace.due(3_600 * NANOS_PER_SECOND), Due::Now((messages_per_second as usize / 50).max(1)));
    }
}

#[test]
fn slow_markets_send_each_order_when_it_is_due_and_full_batches_only_when_told_to_hurry() {
    let (mut market, _) = market(&["SEAL"], 100, 1);
    let stop = Shutdown::new();
    let timer = JumpingTimer { stop_at: Some((NANOS_PER_SECOND, stop.clone())), ..JumpingTimer::default() };
    let (mut port, receiver) = port(timer, stop, 1_000);
    assert_eq!(market.run(&mut port), Stopped);
    let sizes: Vec<usize> = drain(receiver)
        .into_iter()
        .map(|batch| match batch {
            SourceBatch::Orders(orders) => orders.len(),
            other => panic!("a synthetic market sends orders, not {other:?}"),
        })
        .collect();
    assert_eq!(sizes[0], 160, "the opening book comes at once");
    let paced: usize = sizes[1..].iter().sum();
    assert!((98..=102).contains(&paced), "{paced} messages in the first second");
    assert!(sizes[1..].iter().all(|size| *size <= 3), "{sizes:?}");
}

#[test]
fn two_thousand_symbols_are_the_most() {
    let names = |count: usize| (0..count).map(|number| format!("S{number}")).collect();
    let open = |symbols: Vec<String>| {
        let config = SyntheticSourceConfig { symbols, ..SyntheticSourceConfig::default() };
        SyntheticMarket::open(&config, &mut Instruments::new())
    };
    assert_eq!(open(names(2_000)).unwrap().order_slots(), 320_000);
    assert!(matches!(open(names(2_001)), Err(SourceError::SymbolCount { count: 2_001, max: SYMBOLS_MAX })));
    assert!(matches!(open(names(0)), Err(SourceError::SymbolCount { count: 0, .. })));
    assert!(matches!(open(vec!["A".into(), "A".into()]), Err(SourceError::SymbolTaken { .. })));
    assert!(matches!(open(vec!["A B".into()]), Err(SourceError::SymbolName { .. })));
}

#[test]
fn tick_lot_and_band_are_those_of_the_configuration() {
    let text = |tick: &str, lot: &str, band: Option<(&str, &str)>| {
        let price = |text| Price::parse(text).unwrap();
        let config = SyntheticSourceConfig {
            tick: price(tick),
            lot: Quantity::parse(lot).unwrap(),
            band: band.map(|(lowest, highest)| (price(lowest), price(highest))),
            ..SyntheticSourceConfig::default()
        };
        let mut instruments = Instruments::new();
        SyntheticMarket::open(&config, &mut instruments).map(|market| (market, instruments))
    };
    let (mut market, instruments) = text("0.25", "0.5", Some(("-3.5", "13775"))).unwrap();
    let seal = instruments.by_symbol("SEAL").unwrap();
    assert_eq!((seal.decimals.price.get(), seal.decimals.quantity.get()), (2, 1));
    assert_eq!(seal.band.unwrap().0, Price::parse("-3.5").unwrap());
    for order in market.opening(320) {
        let (SyntheticOrder::Rest { order, .. } | SyntheticOrder::Take { order, .. }) = order else {
            continue;
        };
        let OrderKind::Limit(price) = order.kind else { continue };
        assert_eq!((price.nanos() % seal.tick.nanos(), order.quantity.nanos() % seal.lot.nanos()), (0, 0));
    }
    assert!(text("1000", "1000000", None).is_ok() && text("0.000000001", "0.000000001", None).is_ok());
    let refused = [
        ("0", "1", None),
        ("-1", "1", None),
        ("1000.1", "1", None),
        ("1", "0", None),
        ("1", "1000000.1", None),
        ("1", "1", Some(("0.5", "60000"))),
        ("1", "1", Some(("1701", "60000"))),
        ("1", "1", Some(("0", "55099"))),
    ];
    for (tick, lot, band) in refused {
        let error = text(tick, lot, band).unwrap_err();
        assert_eq!(error.code(), Code::CfgInstrumentInvalid, "{tick} {lot} {band:?}");
    }
}

#[test]
fn members_stay_within_what_a_band_leaves_them() {
    for seed in 0..12 {
        let (mut market, _) = market(&["SEAL"], 0, seed);
        let mut orders = market.opening(160);
        (0..100).for_each(|_| orders.extend(market.acts(100)));
        for order in orders {
            let (SyntheticOrder::Rest { order, .. } | SyntheticOrder::Take { order, .. }) = order else {
                continue;
            };
            let OrderKind::Limit(price) = order.kind else { continue };
            let ticks = price.nanos() / market.tick;
            assert!((REACH_TICKS.0..=REACH_TICKS.1).contains(&ticks), "seed {seed}: {ticks}");
        }
    }
}
