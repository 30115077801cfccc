//! What the gate has to know of the market and of accounts to judge an order.

use crate::execute::{Account, Engine};
use crate::feed::Feed;
use crate::gate::{AccountRisk, RiskContext};
use crate::types::{Entitlement, Instrument, InstrumentId, OwnerId, Principal, RiskBounds, Side};

/// What stands around an order of `owner` on a side of an instrument. Exposure and result are added up over all positions only where the
/// entitlement bounds them; elsewhere they are left unknown.
pub(super) fn of(
    (engine, feed): (&Engine, &Feed),
    (owner, principal): (OwnerId, &Principal),
    entitlement: &Entitlement,
    instrument: &Instrument,
    side: Side,
) -> RiskContext {
    let positions = engine.positions();
    let best = |side| {
        // On paper, what rests in the venue is no market.
        if instrument.paper {
            feed.best(instrument.id, side).map(|level| level.price)
        } else {
            engine.best_price(instrument.id, side)
        }
    };
    let (id, bounds) = (instrument.id, entitlement.orders.as_ref().map(|rights| &rights.bounds));
    let firm_bounds = entitlement.firm.as_ref().map(|firm| &firm.bounds);
    let account = |account: Option<&Account>, bounds| account_risk(engine, account, bounds, id, side);
    RiskContext {
        is_killed: engine.kill_switches().blocks(principal, &instrument.symbol).is_some(),
        best_opposite: best(side.opposite()),
        best_same: best(side),
        last_price: positions.last_price(id),
        principal: AccountRisk {
            open_orders: engine.open_orders(owner),
            ..account(positions.of_owner(owner), bounds)
        },
        firm: account(positions.of_firm(owner), firm_bounds),
    }
}

fn account_risk(
    engine: &Engine,
    account: Option<&Account>,
    bounds: Option<&RiskBounds>,
    instrument: InstrumentId,
    side: Side,
) -> AccountRisk {
    let positions = engine.positions();
    let has = |bound: fn(&RiskBounds) -> u64| bounds.is_some_and(|bounds| bound(bounds) != 0);
    let (has_exposure, has_loss) = (has(|bounds| bounds.exposure_max), has(|bounds| bounds.loss_max));
    let Some(account) = account else {
        // Before the first report there is nothing, and that is known.
        return AccountRisk { exposure: Some(0), result: Some(0), ..AccountRisk::default() };
    };
    let position = account.position(instrument);
    AccountRisk {
        open_orders: account.open_orders(),
        net: position.net,
        open_quantity: position.open(side).quantity,
        exposure: if has_exposure { positions.exposure(account) } else { None },
        result: if has_loss { positions.result(account) } else { None },
    }
}
