//! Bounds on what one order may be and on how many may rest. Exact integer arithmetic; nothing rounds.

use sealfeed_wire::Code;

use crate::types::{OrderKind, OrderRights, Price, Quantity, TimeInForce};

/// What the market and the principal's other orders look like at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RiskContext {
    /// The principal's orders that rest at the venue.
    pub open_orders: u32,
    /// Best price of the opposite side, which values a market order; `None` if that side is empty, when a market
    /// order trades nothing.
    pub best_opposite: Option<Price>,
}

/// Nano-units of price times nano-units of quantity in one currency unit.
const PRODUCT_UNIT: u128 = 1_000_000_000 * 1_000_000_000;

/// Checks one order against the rights it is placed under.
///
/// # Errors
/// [`Code::RskQuantityMax`], [`Code::RskNotionalMax`] or [`Code::RskOpenOrdersMax`], in that order.
pub fn check(
    rights: &OrderRights,
    quantity: Quantity,
    kind: OrderKind,
    time_in_force: TimeInForce,
    context: RiskContext,
) -> Result<(), Code> {
    if !rights.quantity_max.is_zero() && quantity > rights.quantity_max {
        return Err(Code::RskQuantityMax);
    }
    if rights.notional_max != 0 {
        let price = match kind {
            OrderKind::Limit(price) => Some(price),
            OrderKind::Market => context.best_opposite,
        };
        let notional = price.map_or(0, |price| notional(price, quantity));
        if notional > u128::from(rights.notional_max) * PRODUCT_UNIT {
            return Err(Code::RskNotionalMax);
        }
    }
    let may_rest = matches!(kind, OrderKind::Limit(_)) && time_in_force != TimeInForce::ImmediateOrCancel;
    if may_rest && rights.open_orders_max != 0 && context.open_orders >= rights.open_orders_max {
        return Err(Code::RskOpenOrdersMax);
    }
    Ok(())
}

/// Price times quantity without its sign, in nano-units squared; at most 2^63 * 2^64, so it cannot overflow.
fn notional(price: Price, quantity: Quantity) -> u128 {
    u128::from(price.nanos().unsigned_abs()) * u128::from(quantity.nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ProofDemand, SymbolPatterns};

    fn rights() -> OrderRights {
        OrderRights {
            rule: "r".into(),
            symbols: SymbolPatterns::new(["*"]),
            quantity_max: Quantity::parse("10").unwrap(),
            notional_max: 1_000,
            open_orders_max: 2,
            orders_per_second: 1,
            proof: ProofDemand::Mac,
        }
    }

    fn limit(price: &str) -> OrderKind {
        OrderKind::Limit(Price::parse(price).unwrap())
    }

    fn check(quantity: &str, kind: OrderKind, open_orders: u32) -> Result<(), Code> {
        let context = RiskContext { open_orders, best_opposite: Some(Price::parse("200").unwrap()) };
        super::check(&rights(), Quantity::parse(quantity).unwrap(), kind, TimeInForce::Day, context)
    }

    #[test]
    fn a_quantity_above_its_bound_is_refused() {
        assert_eq!(check("10", limit("1"), 0), Ok(()));
        assert_eq!(check("10.000000001", limit("1"), 0), Err(Code::RskQuantityMax));
    }

    #[test]
    fn a_notional_above_its_bound_is_refused_to_the_last_nano_unit() {
        assert_eq!(check("8", limit("125"), 0), Ok(()));
        assert_eq!(check("8", limit("125.000000001"), 0), Err(Code::RskNotionalMax));
        assert_eq!(
            check("8", limit("-125.000000001"), 0),
            Err(Code::RskNotionalMax),
            "the sign is no way out"
        );
    }

    #[test]
    fn a_market_order_is_valued_at_the_best_opposite_price() {
        assert_eq!(check("5", OrderKind::Market, 0), Ok(()));
        assert_eq!(check("5.1", OrderKind::Market, 0), Err(Code::RskNotionalMax));
    }

    #[test]
    fn one_more_resting_order_than_allowed_is_refused() {
        assert_eq!(check("1", limit("1"), 1), Ok(()));
        assert_eq!(check("1", limit("1"), 2), Err(Code::RskOpenOrdersMax));
        assert_eq!(check("1", OrderKind::Market, 2), Ok(()), "it never rests");
    }

    #[test]
    fn zero_means_no_bound_and_extremes_do_not_overflow() {
        let unbounded =
            OrderRights { quantity_max: Quantity::ZERO, notional_max: 0, open_orders_max: 0, ..rights() };
        let context = RiskContext { open_orders: u32::MAX, best_opposite: None };
        let (most, price) = (Quantity::from_nanos(u64::MAX), OrderKind::Limit(Price::from_nanos(i64::MIN)));
        assert_eq!(super::check(&unbounded, most, price, TimeInForce::Day, context), Ok(()));
        let bounded = OrderRights { notional_max: u64::MAX, ..unbounded };
        let answer = super::check(&bounded, most, price, TimeInForce::Day, context);
        assert_eq!(answer, Err(Code::RskNotionalMax), "1.7e20 is more than any bound");
    }
}
