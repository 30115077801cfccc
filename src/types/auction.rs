//! The single price at which a crossed book trades.
//!
//! Of all prices on the instrument's tick between the best ask and the best bid, the one at which
//!
//! 1. the most trades,
//! 2. then, the least is left over of what buyers and sellers want at it,
//! 3. then, the last trade is nearest; without one all are alike,
//! 4. then, the lower one.
//!
//! The rule stands here, and not in the venue, because there are two who go by it: the venue that trades, and the feed that says
//! beforehand what would.

use super::{Price, Quantity, Side};

/// What a crossed book would trade, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indicative {
    /// At which price.
    pub price: Price,
    /// How much, in nano-units.
    pub quantity: u128,
    /// How much more than that buyers (positive) or sellers (negative) want at the price, in nano-units.
    pub imbalance: i128,
}

/// The same as it is published: quantities beyond the largest one of the wire are that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indication {
    /// At which price.
    pub price: Price,
    /// How much.
    pub quantity: Quantity,
    /// Who would be left with orders at the price or better, and with how much, never zero; `None`: nobody.
    pub imbalance: Option<(Side, Quantity)>,
}

impl From<Indicative> for Indication {
    fn from(indicative: Indicative) -> Self {
        let Indicative { price, quantity, imbalance } = indicative;
        let shown = |nanos: u128| Quantity::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let side = if imbalance > 0 { Side::Buy } else { Side::Sell };
        let imbalance = (imbalance != 0).then(|| (side, shown(imbalance.unsigned_abs())));
        Self { price, quantity: shown(quantity), imbalance }
    }
}

/// What two sides of a book would trade by the rules above; `None` if they are not crossed. Each side comes price by price, the best one
/// first, with all that rests there in nano-units, and is read as far as it is crossed. `tick` is the smallest price step, at least 1e-9.
#[must_use]
pub fn uncrossing(
    bids: impl IntoIterator<Item = (Price, u128)>,
    asks: impl IntoIterator<Item = (Price, u128)>,
    tick: Price,
    last: Option<Price>,
) -> Option<Indicative> {
    let (mut bids, mut asks) = (bids.into_iter().peekable(), asks.into_iter().peekable());
    let (highest, lowest) = (bids.peek()?.0, asks.peek()?.0);
    if highest < lowest {
        return None;
    }
    let nanos = |(price, quantity): (Price, u128)| (price.nanos(), quantity);
    let mut demand: Vec<_> = bids.take_while(|(price, _)| *price >= lowest).map(nanos).collect();
    demand.reverse();
    let supply: Vec<_> = asks.take_while(|(price, _)| *price <= highest).map(nanos).collect();
    best(&demand, &supply, tick.nanos().max(1), last)
}

/// The price for what is wanted at each price, in ascending order. Demand and supply change at these prices alone:
/// every price, and every stretch between two, is judged once.
fn best(
    demand: &[(i64, u128)],
    supply: &[(i64, u128)],
    tick: i64,
    last: Option<Price>,
) -> Option<Indicative> {
    let reference = last.map(Price::nanos);
    let mut best = Choice::default();
    let (mut bids, mut asks) = (demand.iter().peekable(), supply.iter().peekable());
    let mut bought: u128 = demand.iter().map(|(_, quantity)| quantity).sum();
    let mut sold = 0_u128;
    let mut at = demand.first().into_iter().chain(supply.first()).map(|(price, _)| *price).min();
    while let Some(price) = at {
        sold += asks.next_if(|(ask, _)| *ask == price).map_or(0, |(_, quantity)| *quantity);
        best.offer(bought, sold, price, reference);
        bought -= bids.next_if(|(bid, _)| *bid == price).map_or(0, |(_, quantity)| *quantity);
        at = bids.peek().into_iter().chain(asks.peek()).map(|(price, _)| *price).min();
        if let Some(next) = at
            && let Some(between) = between(price, next, tick, reference)
        {
            best.offer(bought, sold, between, reference);
        }
    }
    best.found.map(|(_, found)| found)
}

/// The best price so far: first what the rules compare, the smaller the better.
#[derive(Default)]
struct Choice {
    found: Option<((u128, u128, u64, i64), Indicative)>,
}

impl Choice {
    fn offer(&mut self, bought: u128, sold: u128, price: i64, reference: Option<i64>) {
        let quantity = bought.min(sold);
        if quantity == 0 {
            return;
        }
        let distance = reference.map_or(0, |reference| reference.abs_diff(price));
        let key = (u128::MAX - quantity, bought.abs_diff(sold), distance, price);
        if self.found.is_none_or(|(least, _)| key < least) {
            let difference = i128::try_from(bought.abs_diff(sold)).unwrap_or(i128::MAX);
            let imbalance = if bought >= sold { difference } else { -difference };
            self.found = Some((key, Indicative { price: Price::from_nanos(price), quantity, imbalance }));
        }
    }
}

/// The price on the tick strictly between two that is nearest to `reference`, the lower one of two; without a reference the lowest. What
/// would lie beyond the range of prices does not lie between any two.
fn between(low: i64, high: i64, tick: i64, reference: Option<i64>) -> Option<i64> {
    let lowest = low.div_euclid(tick).checked_add(1)?.checked_mul(tick)?;
    if lowest >= high {
        return None;
    }
    let highest = (high - 1).div_euclid(tick).checked_mul(tick)?;
    let reference = reference.unwrap_or(lowest).clamp(lowest, highest);
    let above = reference.rem_euclid(tick);
    // Never beyond the highest, which is on the tick.
    Some(if above > tick - above { reference - above + tick } else { reference - above })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by looking at every price on the tick and every price of an order.
    fn naive(bids: &[(i64, u64)], asks: &[(i64, u64)], tick: i64, last: Option<i64>) -> Option<Indicative> {
        let lowest = asks.iter().map(|ask| ask.0).min()?;
        let highest = bids.iter().map(|bid| bid.0).max()?;
        let is_of_an_order = |price: i64| bids.iter().chain(asks).any(|one| one.0 == price);
        let prices = (lowest..=highest).filter(|price| price.rem_euclid(tick) == 0 || is_of_an_order(*price));
        prices
            .filter_map(|price| {
                let sum = |side: &[(i64, u64)], wants: &dyn Fn(i64) -> bool| {
                    side.iter().filter(|one| wants(one.0)).map(|one| i128::from(one.1)).sum::<i128>()
                };
                let (bought, sold) = (sum(bids, &|bid| bid >= price), sum(asks, &|ask| ask <= price));
                let quantity = bought.min(sold);
                let distance = last.map_or(0, |last| last.abs_diff(price));
                let key = (-quantity, (bought - sold).abs(), distance, price);
                let (imbalance, price) = (bought - sold, Price::from_nanos(price));
                let quantity = quantity.cast_unsigned();
                (quantity > 0).then_some((key, Indicative { price, quantity, imbalance }))
            })
            .min_by_key(|found| found.0)
            .map(|found| found.1)
    }

    fn side() -> impl Strategy<Value = std::collections::BTreeMap<i64, u64>> {
        prop::collection::btree_map(-30..30_i64, 1..9_u64, 0..12)
    }

    proptest! {
        #[test]
        fn the_price_is_the_one_that_is_found_by_looking_at_all(
            bids in side(),
            asks in side(),
            tick in 1..9_i64,
            last in prop::option::of(-40..40_i64),
        ) {
            let [bids, asks] = [bids, asks].map(|side| side.into_iter().collect::<Vec<_>>());
            let exact = |one: &(i64, u64)| (Price::from_nanos(one.0), u128::from(one.1));
            let (best_bids, best_asks) = (bids.iter().rev().map(exact), asks.iter().map(exact));
            let (step, reference) = (Price::from_nanos(tick), last.map(Price::from_nanos));
            let found = uncrossing(best_bids, best_asks, step, reference);
            prop_assert_eq!(found, naive(&bids, &asks, tick, last));
        }
    }

    #[test]
    fn a_price_between_two_is_on_the_tick_and_nearest_also_at_the_ends_of_the_range() {
        assert_eq!(between(0, 10, 10, None), None);
        assert_eq!(between(0, 11, 10, None), Some(10));
        assert_eq!(between(0, 40, 10, Some(25)), Some(20), "the lower one of two");
        assert_eq!(between(0, 40, 10, Some(26)), Some(30));
        assert_eq!(between(0, 40, 10, Some(-7)), Some(10));
        assert_eq!(between(0, 40, 10, Some(77)), Some(30));
        assert_eq!(between(-15, 15, 10, Some(-9)), Some(-10));
        assert_eq!(between(i64::MIN, i64::MAX, i64::MAX, Some(3)), Some(0));
        assert_eq!(between(i64::MAX - 1, i64::MAX, 10, None), None);
        assert_eq!(between(i64::MIN, i64::MIN + 1, 10, None), None);
        assert_eq!(between(i64::MIN, i64::MAX, 1, Some(i64::MIN)), Some(i64::MIN + 1));
    }
}
