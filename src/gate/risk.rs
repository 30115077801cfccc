//! Bounds on what one order may be, and on what all orders of a principal and of its firm may lead to.
//!
//! One order of checks, the first failure answers: kill switch; restricted symbols (principal, firm); `reduce_only`; quantity, notional and price of the order; then,
//! of the principal and then of the firm: open orders, position, exposure, loss. Exact integers throughout; nothing rounds. What is not
//! known counts as beyond every bound. An order that can only reduce a position is held to no bound on position, exposure or loss: who is at
//! a bound must be able to get away from it.

use sealfeed_wire::Code;

use crate::types::{FirmLimits, OrderKind, OrderRights, Price, Quantity, RiskBounds, Side};

/// An order as risk looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// What it trades.
    pub symbol: &'a str,
    /// Buy or sell.
    pub side: Side,
    /// How much, in all.
    pub quantity: Quantity,
    /// Limit or market.
    pub kind: OrderKind,
    /// Whether what does not trade at once may rest.
    pub may_rest: bool,
    /// Whether its sender wants it refused where it could do more than reduce the position.
    pub reduce_only: bool,
}

/// What a principal, or a firm, holds and has open. The default knows nothing, which no bound on exposure or loss lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountRisk {
    /// Orders that rest at the venue.
    pub open_orders: u32,
    /// Net position in the order's instrument, in 1e-9; below zero: short.
    pub net: i128,
    /// Open quantity of the order's side in its instrument, in 1e-9.
    pub open_quantity: u128,
    /// Open orders at their limits and positions at the last trade prices, over all instruments, in 1e-18 of a currency unit; `None` if
    /// nobody knows.
    pub exposure: Option<u128>,
    /// Result of the trading day, in 1e-18 of a currency unit; `None` if nobody knows.
    pub result: Option<i128>,
}

/// What the market, the principal's other orders and its firm's look like at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RiskContext {
    /// Whether a kill switch stops the order.
    pub is_killed: bool,
    /// Best price of the opposite side, which values a market order; `None` if that side is empty, when a market
    /// order trades nothing.
    pub best_opposite: Option<Price>,
    /// Best price of the order's own side.
    pub best_same: Option<Price>,
    /// Price of the instrument's last trade.
    pub last_price: Option<Price>,
    /// The principal's account.
    pub principal: AccountRisk,
    /// The account of the principal's whole firm; looked at if the firm has bounds.
    pub firm: AccountRisk,
}

/// What of the order that is to be replaced is open now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its limit.
    pub price: Price,
    /// Its open quantity.
    pub leaves: Quantity,
    /// What has traded of it.
    pub traded: Quantity,
}

/// Nano-units of price times nano-units of quantity in one currency unit.
const PRODUCT_UNIT: u128 = 1_000_000_000 * 1_000_000_000;
/// Basis points in one.
const BASIS_POINTS: i128 = 10_000;

/// Codes of the bounds that a principal and a firm have alike.
struct Codes {
    open_orders: Code,
    position: Code,
    exposure: Code,
    loss: Code,
}

const OF_PRINCIPAL: Codes = Codes {
    open_orders: Code::RskOpenOrdersMax,
    position: Code::RskPositionMax,
    exposure: Code::RskExposureMax,
    loss: Code::RskLossMax,
};
const OF_FIRM: Codes = Codes {
    open_orders: Code::RskFirmOpenOrdersMax,
    position: Code::RskFirmPositionMax,
    exposure: Code::RskFirmExposureMax,
    loss: Code::RskFirmLossMax,
};

/// Checks a new order against the rights it is placed under and the bounds of the firm.
///
/// # Errors
/// The code of the first check that fails, in the order that stands above.
pub fn check(
    rights: &OrderRights,
    firm: Option<&FirmLimits>,
    order: &Proposal<'_>,
    context: &RiskContext,
) -> Result<(), Code> {
    judge(rights, firm, order, order.quantity, context)
}

/// Checks the order that would stand instead of an open one; `context` still has the open one in it. [`Proposal::quantity`] is the new total, what
/// has traded included. A replace that takes nothing but quantity away is a cancel of that part, and passes like one.
///
/// # Errors
/// As [`check`].
pub fn check_replace(
    rights: &OrderRights,
    firm: Option<&FirmLimits>,
    order: &Proposal<'_>,
    open: &OpenOrder,
    context: &RiskContext,
) -> Result<(), Code> {
    let leaves = Quantity::from_nanos(order.quantity.nanos().saturating_sub(open.traded.nanos()));
    if leaves.is_zero() || (order.kind == OrderKind::Limit(open.price) && leaves <= open.leaves) {
        return Ok(());
    }
    let context = RiskContext {
        principal: context.principal.without(open),
        firm: context.firm.without(open),
        ..*context
    };
    judge(rights, firm, order, leaves, &context)
}

/// Judges an order of which `leaves` could still trade.
fn judge(
    rights: &OrderRights,
    firm: Option<&FirmLimits>,
    order: &Proposal<'_>,
    leaves: Quantity,
    context: &RiskContext,
) -> Result<(), Code> {
    if context.is_killed {
        return Err(Code::RskKilled);
    }
    if rights.bounds.restricted_symbols.cover(order.symbol) {
        return Err(Code::RskSymbolRestricted);
    }
    if firm.is_some_and(|firm| firm.bounds.restricted_symbols.cover(order.symbol)) {
        return Err(Code::RskFirmSymbolRestricted);
    }
    if order.reduce_only && !context.principal.would_shrink_by(order.side, leaves) {
        return Err(Code::RskReduceOnly);
    }
    if !rights.quantity_max.is_zero() && order.quantity > rights.quantity_max {
        return Err(Code::RskQuantityMax);
    }
    let price = match order.kind {
        OrderKind::Limit(price) => Some(price),
        OrderKind::Market => context.best_opposite,
    };
    if rights.notional_max != 0 && value(price, order.quantity) > in_products(rights.notional_max) {
        return Err(Code::RskNotionalMax);
    }
    if rights.price_collar_bps != 0
        && price.is_some_and(|price| is_outside(price, order.side, rights.price_collar_bps, context))
    {
        return Err(Code::RskPriceCollar);
    }
    let part = Part { side: order.side, leaves, value: value(price, leaves), may_rest: order.may_rest };
    check_account(&rights.bounds, rights.open_orders_max, &part, &context.principal, &OF_PRINCIPAL)?;
    firm.map_or(Ok(()), |firm| {
        check_account(&firm.bounds, firm.open_orders_max, &part, &context.firm, &OF_FIRM)
    })
}

/// What an order adds to an account.
struct Part {
    side: Side,
    leaves: Quantity,
    /// In 1e-18 of a currency unit.
    value: u128,
    may_rest: bool,
}

fn check_account(
    bounds: &RiskBounds,
    open_orders_max: u32,
    order: &Part,
    account: &AccountRisk,
    codes: &Codes,
) -> Result<(), Code> {
    if order.may_rest && open_orders_max != 0 && account.open_orders >= open_orders_max {
        return Err(codes.open_orders);
    }
    if account.can_only_shrink(order) {
        return Ok(());
    }
    if !bounds.position_max.is_zero()
        && account.position_after(order) > i128::from(bounds.position_max.nanos())
    {
        return Err(codes.position);
    }
    if bounds.exposure_max != 0 {
        let exposure = account.exposure.and_then(|exposure| exposure.checked_add(order.value));
        if exposure.is_none_or(|exposure| exposure > in_products(bounds.exposure_max)) {
            return Err(codes.exposure);
        }
    }
    if bounds.loss_max != 0 {
        let loss = account.result.map(|result| if result < 0 { result.unsigned_abs() } else { 0 });
        if loss.is_none_or(|loss| loss >= in_products(bounds.loss_max)) {
            return Err(codes.loss);
        }
    }
    Ok(())
}

impl AccountRisk {
    /// Net position in the direction of the order if it and everything open on its side filled, in 1e-9.
    fn position_after(&self, order: &Part) -> i128 {
        let net = match order.side {
            Side::Buy => self.net,
            Side::Sell => self.net.saturating_neg(),
        };
        let open = self.open_quantity.saturating_add(u128::from(order.leaves.nanos()));
        net.saturating_add(i128::try_from(open).unwrap_or(i128::MAX))
    }

    /// Whether the order takes the position towards zero and not past it, whatever else of its side fills.
    fn can_only_shrink(&self, order: &Part) -> bool {
        self.position_after(order) <= 0
    }

    /// Whether so much more on this side, and nothing else, takes the position towards zero and not past it.
    const fn would_shrink_by(&self, side: Side, quantity: Quantity) -> bool {
        let held = match side {
            Side::Buy => self.net.saturating_neg(),
            Side::Sell => self.net,
        };
        held > 0 && quantity.nanos() as i128 <= held
    }

    /// The account as it would be without an open order of the same side and instrument.
    fn without(self, open: &OpenOrder) -> Self {
        Self {
            open_orders: self.open_orders.saturating_sub(1),
            open_quantity: self.open_quantity.saturating_sub(u128::from(open.leaves.nanos())),
            exposure: self.exposure.map(|sum| sum.saturating_sub(value(Some(open.price), open.leaves))),
            ..self
        }
    }
}

/// Whether a price is farther from the market than the collar allows, on the side where it harms: a buy above, a sell below. The last trade and the best
/// opposite price both count; if there is neither, the best price of the own side does; if that is missing too there is nothing to compare with.
fn is_outside(price: Price, side: Side, collar_bps: u32, context: &RiskContext) -> bool {
    let fallback = if context.last_price.is_none() && context.best_opposite.is_none() {
        context.best_same
    } else {
        None
    };
    [context.last_price, context.best_opposite, fallback].into_iter().flatten().any(|reference| {
        let (price, reference) = (i128::from(price.nanos()), i128::from(reference.nanos()));
        let beyond = match side {
            Side::Buy => price - reference,
            Side::Sell => reference - price,
        };
        beyond * BASIS_POINTS > reference.abs() * i128::from(collar_bps)
    })
}

/// Whole currency units in 1e-18 of one.
fn in_products(units: u64) -> u128 {
    u128::from(units) * PRODUCT_UNIT
}

/// Price times quantity without its sign, in nano-units squared; at most 2^63 * 2^64, so it cannot overflow. Nothing without a price: a market
/// order that finds nobody trades nothing.
fn value(price: Option<Price>, quantity: Quantity) -> u128 {
    price.map_or(0, |price| u128::from(price.nanos().unsigned_abs()) * u128::from(quantity.nanos()))
}

#[cfg(test)]
#[path = "risk_tests.rs"]
mod tests;
