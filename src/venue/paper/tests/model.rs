//! Paper trading so plain that it can be seen to be right: one list of orders, and every unit of quantity moved by itself.

use std::collections::BTreeMap;

use super::*;

/// What the recording displays.
#[derive(Default)]
pub(super) struct Displayed(BTreeMap<(bool, i64), u64>);

impl Displayed {
    pub(super) fn set(&mut self, side: Side, at: i64, units: u64) {
        self.0.insert((side == Side::Sell, at), units);
    }

    pub(super) fn take(&mut self, recorded: &Recorded) {
        match recorded {
            Recorded::Level { side, price, quantity } => self.set(*side, price.nanos(), quantity.nanos()),
            Recorded::Clear => self.0.clear(),
            Recorded::Trade { .. } => {}
        }
    }

    fn at(&self, side: Side, at: i64) -> u64 {
        self.0.get(&(side == Side::Sell, at)).copied().unwrap_or(0)
    }

    /// Levels of the other side within a limit, best first.
    fn against(&self, side: Side, limit: Option<i64>) -> Vec<(i64, u64)> {
        let other = side.opposite();
        let is_there = |((is_ask, at), units): &(&(bool, i64), &u64)| {
            let is_within = limit.is_none_or(|limit| match side {
                Side::Buy => *at <= limit,
                Side::Sell => *at >= limit,
            });
            *is_ask == (other == Side::Sell) && is_within && **units > 0
        };
        let mut levels: Vec<_> =
            self.0.iter().filter(is_there).map(|((_, at), units)| (*at, *units)).collect();
        if side == Side::Sell {
            levels.reverse();
        }
        levels
    }

    pub(super) fn shown(&self, side: Side, limit: Option<Price>) -> Shown {
        let against = self.against(side, limit.map(Price::nanos));
        Shown {
            against: against.into_iter().map(|(at, units)| (price(at), quantity(units))).collect(),
            beside: quantity(limit.map_or(0, |limit| self.at(side, limit.nanos()))),
            last_price: None,
        }
    }
}

#[derive(Clone)]
struct Resting {
    order: NewOrder,
    at: i64,
    whole: u64,
    leaves: u64,
    ahead: u64,
    gone: u64,
    arrival: u64,
}

/// The naive venue of one instrument.
pub(super) struct Model {
    most: usize,
    orders: Vec<Resting>,
    arrivals: u64,
    /// What is taken of a level since it changed.
    taken: BTreeMap<(bool, i64), u64>,
    /// What each level displays.
    seen: BTreeMap<(bool, i64), u64>,
}

impl Model {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, orders: Vec::new(), arrivals: 0, taken: BTreeMap::new(), seen: BTreeMap::new() }
    }

    pub(super) fn places(&self) -> Vec<(u64, u64, u64)> {
        let mut places: Vec<_> =
            self.orders.iter().map(|one| (one.order.id.0, one.ahead, one.gone)).collect();
        places.sort_unstable();
        places
    }

    pub(super) fn submit(&mut self, order: &NewOrder, displayed: &Displayed) -> Result<Vec<String>, Code> {
        let units = order.quantity.nanos();
        let rests = self.check(order, units, displayed, false)?;
        let mut said = vec![format!("{} new leaves {units}", order.id.0)];
        self.run(order, (units, units), rests, displayed, &mut said);
        Ok(said)
    }

    /// Why an order cannot come, or at which price it may rest.
    fn check(
        &self,
        order: &NewOrder,
        units: u64,
        displayed: &Displayed,
        has_place: bool,
    ) -> Result<Option<i64>, Code> {
        let limit = limit_of(order);
        let rests = limit.filter(|_| order.time_in_force.may_rest());
        if order.post_only && rests.is_none() {
            return Err(Code::OrdOptionsContradict);
        }
        let levels = displayed.against(order.side, limit);
        if order.post_only && !levels.is_empty() {
            return Err(Code::OrdPostOnlyWouldTake);
        }
        let other = order.side.opposite() == Side::Sell;
        let free: u64 =
            levels.iter().map(|(at, units)| units - self.taken.get(&(other, *at)).unwrap_or(&0)).sum();
        if order.time_in_force == TimeInForce::FillOrKill && free < units {
            return Err(Code::OrdFillOrKillShort);
        }
        if limit.is_none() && free == 0 {
            return Err(Code::OrdNoLiquidity);
        }
        if rests.is_some() && free < units && !has_place && self.orders.len() >= self.most {
            return Err(Code::RskVenueOrdersMax);
        }
        Ok(rests)
    }

    fn run(
        &mut self,
        order: &NewOrder,
        (whole, mut leaves): (u64, u64),
        rests: Option<i64>,
        displayed: &Displayed,
        said: &mut Vec<String>,
    ) {
        let other = order.side.opposite() == Side::Sell;
        for (at, units) in displayed.against(order.side, limit_of(order)) {
            let mut filled = 0;
            let taken = self.taken.entry((other, at)).or_default();
            while leaves > 0 && *taken < units {
                (*taken, leaves, filled) = (*taken + 1, leaves - 1, filled + 1);
            }
            if filled > 0 {
                said.push(format!("{} fill {filled}@{at} leaves {leaves}", order.id.0));
            }
        }
        match rests {
            _ if leaves == 0 => {}
            Some(at) => {
                self.arrivals += 1;
                let ahead = displayed.at(order.side, at);
                let (arrival, order) = (self.arrivals, *order);
                self.orders.push(Resting { order, at, whole, leaves, ahead, gone: 0, arrival });
            }
            None => said.push(format!("{} expired leaves 0", order.id.0)),
        }
    }

    fn find(&self, owner: OwnerId, id: OrderId) -> Result<usize, Code> {
        let is_it = |one: &Resting| one.order.id == id && one.order.owner == owner;
        self.orders.iter().position(is_it).ok_or(Code::OrdOrderUnknown)
    }

    pub(super) fn cancel(&mut self, owner: OwnerId, id: OrderId) -> Result<Vec<String>, Code> {
        let place = self.find(owner, id)?;
        self.orders.remove(place);
        Ok(vec![format!("{} canceled:requested leaves 0", id.0)])
    }

    pub(super) fn replace(
        &mut self,
        replace: &ReplaceOrder,
        displayed: &Displayed,
    ) -> Result<Vec<String>, Code> {
        let place = self.find(replace.owner, replace.id)?;
        let one = self.orders[place].clone();
        let id = one.order.id.0;
        let at = replace.price.map_or(one.at, Price::nanos);
        let whole = replace.quantity.map_or(one.whole, Quantity::nanos);
        let traded = one.whole - one.leaves;
        if whole <= traded {
            self.orders.remove(place);
            return Ok(vec![format!("{id} canceled:replaced leaves 0")]);
        }
        let leaves = whole - traded;
        let mut said = vec![format!("{id} replaced leaves {leaves}")];
        if at == one.at && whole <= one.whole {
            (self.orders[place].whole, self.orders[place].leaves) = (whole, leaves);
        } else {
            let order = NewOrder { kind: OrderKind::Limit(price(at)), ..one.order };
            let rests = self.check(&order, leaves, displayed, true)?;
            self.orders.remove(place);
            self.run(&order, (whole, leaves), rests, displayed, &mut said);
        }
        Ok(said)
    }

    pub(super) fn end_day(&mut self) -> Vec<String> {
        let mut ending: Vec<_> =
            self.orders.iter().filter(|one| one.order.time_in_force == TimeInForce::Day).cloned().collect();
        ending.sort_by_key(rank);
        self.orders.retain(|one| one.order.time_in_force != TimeInForce::Day);
        ending.iter().map(|one| format!("{} expired leaves 0", one.order.id.0)).collect()
    }

    pub(super) fn take(&mut self, recorded: &Recorded) -> Vec<String> {
        match *recorded {
            Recorded::Clear => {
                self.taken.clear();
                self.seen.clear();
                self.orders.iter_mut().for_each(|one| one.gone = 0);
                Vec::new()
            }
            Recorded::Level { side, price, quantity } => {
                self.taken.remove(&(side == Side::Sell, price.nanos()));
                self.shrink(side, price.nanos(), quantity.nanos());
                Vec::new()
            }
            Recorded::Trade { price, quantity, aggressor, is_late } => {
                self.trade(price.nanos(), quantity.nanos(), aggressor, is_late)
            }
        }
    }
}

impl Model {
    fn shrink(&mut self, side: Side, at: i64, units: u64) {
        // A level that grows leaves its orders where they are.
        let before = self.seen.insert((side == Side::Sell, at), units).unwrap_or(0);
        if units < before {
            for one in self.orders.iter_mut().filter(|one| one.order.side == side && one.at == at) {
                while one.ahead > units {
                    (one.ahead, one.gone) = (one.ahead - 1, one.gone + 1);
                }
            }
        }
    }

    /// Each unit goes along the orders that it can reach, and ends with the first one that it fills.
    fn trade(&mut self, at: i64, units: u64, aggressor: Option<Side>, is_late: bool) -> Vec<String> {
        self.orders.sort_by_key(rank);
        let mut filled = vec![0_u64; self.orders.len()];
        for _ in 0..units {
            for (one, filled) in self.orders.iter_mut().zip(&mut filled) {
                let (is_through, is_there) = match one.order.side {
                    Side::Buy => (one.at > at, one.at == at),
                    Side::Sell => (one.at < at, one.at == at),
                };
                let is_passed = is_there && aggressor != Some(one.order.side);
                if one.leaves == 0 || !(is_through || is_passed) {
                    continue;
                }
                if is_passed && is_late && one.gone > 0 {
                    one.gone -= 1;
                } else if is_passed && one.ahead > 0 {
                    one.ahead -= 1;
                } else {
                    (one.leaves, *filled) = (one.leaves - 1, *filled + 1);
                    break;
                }
            }
        }
        let said = self.orders.iter().zip(&filled).filter(|(_, filled)| **filled > 0);
        let said = said.map(|(one, filled)| {
            format!("{} fill {filled}@{} leaves {}", one.order.id.0, one.at, one.leaves)
        });
        let said = said.collect();
        self.orders.retain(|one| one.leaves > 0);
        said
    }
}

/// Bids before offers, the best price first, the oldest first.
fn rank(one: &Resting) -> (bool, i64, u64) {
    let is_ask = one.order.side == Side::Sell;
    (is_ask, if is_ask { one.at } else { -one.at }, one.arrival)
}

fn limit_of(order: &NewOrder) -> Option<i64> {
    match order.kind {
        OrderKind::Limit(price) => Some(price.nanos()),
        OrderKind::Market => None,
    }
}
