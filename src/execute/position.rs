//! One account's position in one instrument, in exact integers.
//!
//! Quantities are in 1e-9, prices times quantities in 1e-18 of a currency unit. What realised and unrealised result add up to is exact: the one
//! division, of the cost of a part of a position, moves its remainder from one to the other, against the account's realised result.

use crate::types::{Price, Quantity, Side};

/// What of an order is open: all that a position has to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenPart {
    /// The order's limit; `None` for a market order, which never rests and is not valued.
    pub limit: Option<Price>,
    /// How much of it is open.
    pub leaves: Quantity,
}

/// The open orders of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenSide {
    /// What would trade if all of them filled, in 1e-9.
    pub quantity: u128,
    /// At their limits and without signs, in 1e-18 of a currency unit.
    pub value: u128,
}

/// A position and the open orders that could change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bought less sold, in 1e-9; below zero: short.
    pub net: i128,
    /// What the net position was bought for, in 1e-18 of a currency unit; below zero for what was sold.
    pub cost: i128,
    /// Result of the day of what was closed, in 1e-18 of a currency unit.
    pub realised: i128,
    /// Open orders to buy.
    pub buys: OpenSide,
    /// Open orders to sell.
    pub sells: OpenSide,
    /// A sum left the range of its integer, 1.7e20 currency units: from then on the amounts count as beyond every bound, until the
    /// day ends with neither position nor open order.
    pub is_beyond: bool,
}

/// Price times quantity without its sign; at most 2^63 * 2^64, so it cannot overflow.
pub(super) fn value(price: Option<Price>, quantity: Quantity) -> u128 {
    price.map_or(0, |price| u128::from(price.nanos().unsigned_abs()) * u128::from(quantity.nanos()))
}

impl Position {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The open orders of a side.
    #[must_use]
    pub const fn open(&self, side: Side) -> &OpenSide {
        match side {
            Side::Buy => &self.buys,
            Side::Sell => &self.sells,
        }
    }

    /// The position at a price, without its sign, and all open orders, in 1e-18 of a currency unit; `None` if that is beyond any number.
    #[must_use]
    pub fn exposure(&self, mark: Option<Price>) -> Option<u128> {
        if self.is_beyond {
            return None;
        }
        // Only a fill makes a position, and a fill is a last trade: a position without a mark cannot be valued, so it is beyond.
        let held = match mark {
            Some(mark) => self.net.unsigned_abs().checked_mul(u128::from(mark.nanos().unsigned_abs()))?,
            None if self.net == 0 => 0,
            None => return None,
        };
        held.checked_add(self.buys.value)?.checked_add(self.sells.value)
    }

    /// Realised and unrealised result of the day at a price, in 1e-18 of a currency unit; `None` if that is beyond any number.
    #[must_use]
    pub fn result(&self, mark: Option<Price>) -> Option<i128> {
        if self.is_beyond {
            return None;
        }
        let worth = match mark {
            Some(mark) => self.net.checked_mul(i128::from(mark.nanos()))?,
            None if self.net == 0 => 0,
            None => return None,
        };
        worth.checked_sub(self.cost)?.checked_add(self.realised)
    }

    /// Takes a fill.
    pub(super) fn fill(&mut self, side: Side, price: Price, quantity: Quantity) {
        let price = i128::from(price.nanos());
        let quantity = i128::from(quantity.nanos());
        let signed = match side {
            Side::Buy => quantity,
            Side::Sell => -quantity,
        };
        let held = self.net.unsigned_abs();
        let opposes = self.net.signum() == -signed.signum();
        let closed = if opposes { quantity.unsigned_abs().min(held) } else { 0 };
        let closed = i128::try_from(closed).unwrap_or(i128::MAX) * signed.signum();
        if closed != 0 {
            let cost = part(self.cost, closed.unsigned_abs(), held);
            self.realised = self.sum(self.realised, -(price * closed));
            self.realised = self.difference(self.realised, cost);
            self.cost = self.difference(self.cost, cost);
        }
        self.cost = self.sum(self.cost, price * (signed - closed));
        self.net = self.sum(self.net, signed);
    }

    /// Takes over that an order had one part open and has another one now.
    pub(super) fn reopen(&mut self, side: Side, before: OpenPart, after: OpenPart) {
        let open = match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        };
        let more = open.value.checked_add(value(after.limit, after.leaves));
        self.is_beyond |= more.is_none();
        open.value = more.unwrap_or(u128::MAX).saturating_sub(value(before.limit, before.leaves));
        open.quantity = open.quantity.saturating_add(u128::from(after.leaves.nanos()));
        open.quantity = open.quantity.saturating_sub(u128::from(before.leaves.nanos()));
    }

    /// Ends the trading day: the result of the next one starts at zero, so a position is carried at the last trade price.
    pub(super) fn end_day(&mut self, mark: Option<Price>) {
        if self.net == 0 && self.buys.quantity == 0 && self.sells.quantity == 0 {
            *self = Self::default();
            return;
        }
        self.realised = 0;
        if let Some(mark) = mark {
            let worth = self.net.checked_mul(i128::from(mark.nanos()));
            self.is_beyond |= worth.is_none();
            self.cost = worth.unwrap_or(self.cost);
        }
    }

    fn sum(&mut self, one: i128, other: i128) -> i128 {
        let sum = one.checked_add(other);
        self.is_beyond |= sum.is_none();
        sum.unwrap_or(one)
    }

    fn difference(&mut self, one: i128, other: i128) -> i128 {
        let difference = one.checked_sub(other);
        self.is_beyond |= difference.is_none();
        difference.unwrap_or(one)
    }
}

/// `cost * closed / held`, rounded up, so that what is realised is rounded down. `closed` is at most `held`, which is not zero.
fn part(cost: i128, closed: u128, held: u128) -> i128 {
    let (Ok(whole), Ok(part)) = (i128::try_from(held), i128::try_from(closed)) else { return cost };
    let (quotient, remainder) = (cost.div_euclid(whole), cost.rem_euclid(whole));
    // The remainder is below `held`: only a position of more than nine billion units gets past the end of the range, and is then rounded
    // up by as much as the remainder, less than held times 1e-18.
    let rest = remainder
        .checked_mul(part)
        .map_or(remainder, |product| product / whole + i128::from(product % whole != 0));
    quotient * part + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(nanos: i64) -> Price {
        Price::from_nanos(nanos)
    }

    fn quantity(nanos: u64) -> Quantity {
        Quantity::from_nanos(nanos)
    }

    fn filled(fills: &[(Side, i64, u64)]) -> Position {
        let mut position = Position::default();
        for (side, at, size) in fills {
            position.fill(*side, price(*at), quantity(*size));
        }
        position
    }

    #[test]
    fn what_is_closed_is_realised_at_the_average_cost_of_what_was_held() {
        let position = filled(&[(Side::Buy, 100, 10), (Side::Buy, 110, 10), (Side::Sell, 120, 10)]);
        assert_eq!((position.net, position.cost, position.realised), (10, 1_050, 150));
        assert_eq!(position.result(Some(price(90))), Some(150 + 900 - 1_050));
        assert_eq!(position.exposure(Some(price(90))), Some(900));
    }

    #[test]
    fn a_fill_beyond_the_position_closes_it_and_opens_the_other_side() {
        let position = filled(&[(Side::Buy, 100, 10), (Side::Sell, 90, 25)]);
        assert_eq!((position.net, position.cost, position.realised), (-15, -1_350, -100));
        let back = filled(&[(Side::Sell, 100, 10), (Side::Buy, 90, 25)]);
        assert_eq!((back.net, back.cost, back.realised), (15, 1_350, 100));
        assert_eq!(back.result(Some(price(-1))), Some(100 - 15 - 1_350));
    }

    #[test]
    fn a_cost_that_does_not_divide_is_rounded_against_the_realised_result_and_nothing_is_lost() {
        // 10 for 3: a third of it cost 3 and a third, which counts as 4.
        let long = filled(&[(Side::Buy, 3, 2), (Side::Buy, 4, 1), (Side::Sell, 5, 1)]);
        assert_eq!((long.realised, long.cost), (1, 6));
        assert_eq!(long.result(Some(price(5))), Some(3 * 5 - 10));
        // Sold for 10: a third of it came to 3 and a third, which counts as 3.
        let short = filled(&[(Side::Sell, 3, 2), (Side::Sell, 4, 1), (Side::Buy, 5, 1)]);
        assert_eq!((short.realised, short.cost), (-2, -7));
        assert_eq!(short.result(Some(price(5))), Some(10 - 3 * 5));
    }

    #[test]
    fn open_orders_count_at_their_limits_as_long_as_they_are_open() {
        let part = |limit, leaves| OpenPart { limit: Some(price(limit)), leaves: quantity(leaves) };
        let mut position = Position::default();
        position.reopen(Side::Buy, OpenPart::default(), part(100, 10));
        position.reopen(Side::Sell, OpenPart::default(), part(-120, 5));
        assert_eq!(position.buys, OpenSide { quantity: 10, value: 1_000 });
        assert_eq!(position.sells, OpenSide { quantity: 5, value: 600 });
        position.reopen(Side::Buy, part(100, 10), part(90, 4));
        assert_eq!(position.exposure(None), Some(360 + 600));
        position.reopen(Side::Buy, part(90, 4), part(90, 0));
        position.reopen(Side::Sell, part(-120, 5), part(-120, 0));
        assert!(position.is_empty());
    }

    #[test]
    fn a_sum_beyond_the_integers_counts_as_beyond_every_bound_and_never_as_small() {
        let most = OpenPart { limit: Some(price(i64::MIN)), leaves: quantity(u64::MAX) };
        let mut position = Position::default();
        position.reopen(Side::Sell, OpenPart::default(), most);
        assert_eq!(position.exposure(None), Some((1 << 127) - (1 << 63)));
        position.reopen(Side::Sell, OpenPart::default(), most);
        assert!(!position.is_beyond, "2^128 - 2^64 is in range");
        position.reopen(Side::Sell, OpenPart::default(), most);
        assert_eq!((position.exposure(None), position.result(None)), (None, None));
        let mut traded = filled(&[(Side::Buy, i64::MAX, u64::MAX); 2]);
        assert_eq!(traded.result(Some(price(0))), None);
        traded.end_day(Some(price(1)));
        assert_eq!(traded.result(Some(price(1))), None, "it is still held");
        let net = quantity(u64::MAX);
        traded.fill(Side::Sell, price(1), net);
        traded.fill(Side::Sell, price(1), net);
        traded.end_day(Some(price(1)));
        assert!(traded.is_empty());
    }

    #[test]
    fn the_day_ends_at_the_last_trade_price_and_the_next_result_starts_at_zero() {
        let mut position = filled(&[(Side::Buy, 100, 10), (Side::Sell, 130, 4)]);
        position.end_day(Some(price(120)));
        assert_eq!(position.result(Some(price(120))), Some(0));
        assert_eq!(position.result(Some(price(119))), Some(-6));
    }
}
