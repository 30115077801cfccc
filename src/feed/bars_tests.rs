//! Bars by sentence, and against a model that looks at all trades at once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = LENGTHS_NS[0];

fn at(ns: u64) -> UnixNanos {
    UnixNanos(1_000 * SECOND + ns)
}

fn price(nanos: i64) -> Price {
    Price::from_nanos(nanos)
}

/// One trade as the feed hands it over; returns the one-second intervals that it closes.
fn trade(bars: &mut Bars, ts: UnixNanos, nanos: i64, now: u64) -> Vec<Closed> {
    let mut closed = Vec::new();
    bars.restart_if_older(ts, &mut closed);
    bars.record(ts, at(now), &mut closed);
    bars.trade(price(nanos), Quantity::from_nanos(2), ts);
    closed.retain(|closed| closed.length == 0);
    closed
}

fn tick(bars: &mut Bars, now: u64) -> Vec<Closed> {
    let mut closed = Vec::new();
    bars.tick(at(now), &mut closed);
    closed.retain(|closed| closed.length == 0);
    closed
}

#[test]
fn a_bar_closes_with_the_first_record_behind_its_end_and_carries_its_beginning() {
    let mut bars = Bars::default();
    for (ns, nanos) in [(0, 5), (1, 9), (2, 3), (SECOND - 1, 4)] {
        assert_eq!(trade(&mut bars, at(ns), nanos, 0), []);
    }
    let mut closed = Vec::new();
    bars.record(at(SECOND), at(0), &mut closed);
    let [Closed { length: 0, bar: Some((start, bar)), end }] = closed[..] else { panic!("{closed:?}") };
    assert_eq!((start, end), (at(0), at(SECOND)));
    assert_eq!((bar.open, bar.high, bar.low, bar.close), (price(5), price(9), price(3), price(4)));
    assert_eq!((bar.volume().nanos(), bar.trades, bar.received), (8, 4, at(SECOND - 1)));
}

#[test]
fn an_interval_without_trades_has_an_end_and_no_bar() {
    let mut bars = Bars::default();
    trade(&mut bars, at(0), 1, 0);
    assert!(matches!(trade(&mut bars, at(5 * SECOND), 1, 0)[..], [Closed { bar: Some(_), .. }]));
    let mut closed = Vec::new();
    bars.record(at(6 * SECOND), at(0), &mut closed);
    bars.record(at(9 * SECOND + 1), at(0), &mut closed);
    let ends: Vec<_> = closed.iter().map(|closed| (closed.bar.is_some(), closed.end)).collect();
    assert_eq!(ends, [(true, at(6 * SECOND)), (false, at(9 * SECOND))], "one word for many empty intervals");
}

#[test]
fn a_bar_closes_by_the_tick_when_nothing_more_comes() {
    let mut bars = Bars::default();
    trade(&mut bars, at(SECOND / 2), 1, 0);
    assert_eq!(tick(&mut bars, SECOND / 2 + LATE_MAX_NS - 1), []);
    assert!(matches!(tick(&mut bars, SECOND / 2 + LATE_MAX_NS)[..], [Closed { bar: Some(_), .. }]));
    assert_eq!(tick(&mut bars, SECOND / 2 + LATE_MAX_NS), []);
}

#[test]
fn a_trade_that_comes_after_its_bar_was_closed_counts_in_the_open_one() {
    let mut bars = Bars::default();
    trade(&mut bars, at(0), 1, 0);
    assert_eq!(tick(&mut bars, SECOND + LATE_MAX_NS).len(), 1);
    assert_eq!(trade(&mut bars, at(SECOND - 1), 7, 2 * SECOND), []);
    let closed = trade(&mut bars, at(2 * SECOND), 1, 2 * SECOND);
    let [Closed { bar: Some((start, bar)), .. }] = closed[..] else { panic!("{closed:?}") };
    assert_eq!((start, bar.close), (at(SECOND), price(7)));
}

#[test]
fn a_recording_that_begins_again_closes_what_is_open_and_starts_its_time_again() {
    let mut bars = Bars::default();
    trade(&mut bars, at(200 * SECOND), 1, 0);
    let closed = trade(&mut bars, at(0), 2, 0);
    assert!(matches!(closed[..], [Closed { bar: Some((start, _)), .. }] if start == at(200 * SECOND)));
    let closed = trade(&mut bars, at(SECOND), 3, 0);
    assert!(matches!(closed[..], [Closed { bar: Some((start, _)), .. }] if start == at(0)));
}

proptest! {
    #[test]
    fn bars_are_those_of_a_model_that_sorts_all_trades_into_intervals(
        steps in prop::collection::vec((0_u64..90 * SECOND / 10, 1_i64..50, any::<bool>()), 1..200),
    ) {
        let (mut bars, mut closed, mut now) = (Bars::default(), Vec::new(), 0);
        let mut model = BTreeMap::<(usize, u64), Vec<i64>>::new();
        for (gap, nanos, is_trade) in steps {
            now += gap;
            bars.tick(at(now), &mut closed);
            bars.record(at(now), at(now), &mut closed);
            if is_trade {
                bars.trade(price(nanos), Quantity::from_nanos(2), at(now));
                for (length, length_ns) in LENGTHS_NS.into_iter().enumerate() {
                    let start = at(now).0 / length_ns * length_ns;
                    model.entry((length, start)).or_default().push(nanos);
                }
            }
        }
        bars.tick(at(now + 100 * SECOND), &mut closed);
        let got: BTreeMap<_, _> = closed
            .iter()
            .filter_map(|closed| closed.bar.map(|(start, bar)| ((closed.length, start.0), bar)))
            .collect();
        prop_assert_eq!(got.len(), model.len());
        for (key, trades) in model {
            let bar = got[&key];
            let expected = (trades[0], *trades.iter().max().unwrap(), *trades.iter().min().unwrap(), *trades.last().unwrap());
            prop_assert_eq!((bar.open.nanos(), bar.high.nanos(), bar.low.nanos(), bar.close.nanos()), expected);
            prop_assert_eq!((bar.volume, bar.trades), (2 * trades.len() as u128, trades.len() as u64));
        }
        for length in 0..2 {
            let ends: Vec<_> = closed.iter().filter(|closed| closed.length == length).map(|closed| closed.end).collect();
            prop_assert!(ends.is_sorted_by(|earlier, later| earlier < later), "ends go forward");
        }
    }
}
