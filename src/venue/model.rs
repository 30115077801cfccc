//! A venue so plain that it can be seen to be right: one list of orders, sorted before every search.

use crate::types::{
    CancelOrder, Code, Execution, ExecutionKind, InstrumentId, MarketEventKind, NewOrder, OrderKind, OwnerId,
    Price, Quantity, Side, TimeInForce,
};

use super::VenueEvent;

struct Resting {
    order: NewOrder,
    price: Price,
    leaves: u64,
    arrival: u64,
}

/// The naive venue. Every order rests in `resting`, whatever its instrument and side.
#[derive(Default)]
pub(super) struct ModelVenue {
    tradable: Vec<bool>,
    resting_orders_max: usize,
    resting: Vec<Resting>,
    arrivals: u64,
    trades: u64,
}

impl ModelVenue {
    pub(super) fn new(tradable: &[bool], resting_orders_max: usize) -> Self {
        Self { tradable: tradable.to_vec(), resting_orders_max, ..Self::default() }
    }

    pub(super) fn submit(&mut self, order: NewOrder) -> Result<Vec<VenueEvent>, Code> {
        if !self.tradable[order.instrument.index()] {
            return Err(Code::OrdSymbolNotTradable);
        }
        let may_rest = matches!(order.kind, OrderKind::Limit(_))
            && order.time_in_force != TimeInForce::ImmediateOrCancel;
        if self.best_against(&order).is_none() {
            if order.kind == OrderKind::Market {
                return Err(Code::OrdNoLiquidity);
            }
            let of_book = self.resting.iter().filter(|resting| resting.order.instrument == order.instrument);
            if may_rest && of_book.count() >= self.resting_orders_max {
                return Err(Code::RskVenueOrdersMax);
            }
        }
        let mut events =
            vec![report(&order, ExecutionKind::New, order.quantity.nanos(), order.quantity.nanos())];
        let mut leaves = order.quantity.nanos();
        while leaves > 0
            && let Some(best) = self.best_against(&order)
        {
            self.trades += 1;
            let maker = &mut self.resting[best];
            let traded = leaves.min(maker.leaves);
            leaves -= traded;
            maker.leaves -= traded;
            let (price, quantity, trade_id) = (maker.price, Quantity::from_nanos(traded), self.trades);
            let fill = ExecutionKind::Fill { price, quantity, trade_id };
            events.push(report(&order, fill, leaves, leaves));
            events.push(report(&maker.order, fill, maker.leaves, maker.leaves));
            let trade = MarketEventKind::Trade { price, quantity, aggressor: Some(order.side), trade_id };
            events.push(market(order.instrument, trade));
            events.push(market(order.instrument, reduce(maker, traded)));
            self.resting.retain(|resting| resting.leaves > 0);
        }
        match order.kind {
            OrderKind::Limit(price) if leaves > 0 && may_rest => {
                self.arrivals += 1;
                self.resting.push(Resting { order, price, leaves, arrival: self.arrivals });
                let quantity = Quantity::from_nanos(leaves);
                let add = MarketEventKind::Add { order: order.id, side: order.side, price, quantity };
                events.push(market(order.instrument, add));
            }
            _ if leaves > 0 => events.push(report(&order, ExecutionKind::Expired, 0, leaves)),
            _ => {}
        }
        Ok(with_last_marked(events))
    }

    pub(super) fn cancel(&mut self, cancel: CancelOrder) -> Result<Vec<VenueEvent>, Code> {
        let is_meant =
            |resting: &Resting| resting.order.id == cancel.id && resting.order.owner == cancel.owner;
        let place = self.resting.iter().position(is_meant).ok_or(Code::OrdOrderUnknown)?;
        let resting = self.resting.remove(place);
        Ok(with_last_marked(withdrawn(&resting, ExecutionKind::Canceled)))
    }

    pub(super) fn expire_day_orders(&mut self) -> Vec<VenueEvent> {
        let is_day = |resting: &Resting| resting.order.time_in_force == TimeInForce::Day;
        self.resting.sort_by_key(|resting| {
            let (price, side) = (i128::from(resting.price.nanos()), resting.order.side);
            let rank = if side == Side::Buy { -price } else { price };
            (resting.order.instrument, side == Side::Sell, rank, resting.arrival)
        });
        let mut all = Vec::new();
        for place in 0..self.tradable.len() {
            let is_here = |resting: &&Resting| is_day(resting) && resting.order.instrument.index() == place;
            let ending = self.resting.iter().filter(is_here);
            let events = ending.flat_map(|resting| withdrawn(resting, ExecutionKind::Expired)).collect();
            all.extend(with_last_marked(events));
        }
        self.resting.retain(|resting| !is_day(resting));
        all
    }

    pub(super) fn open_orders(&self, owner: OwnerId) -> usize {
        self.resting.iter().filter(|resting| resting.order.owner == owner).count()
    }

    /// Place of the resting order that `order` trades with first.
    fn best_against(&self, order: &NewOrder) -> Option<usize> {
        let is_within = |price: Price| match (order.kind, order.side) {
            (OrderKind::Market, _) => true,
            (OrderKind::Limit(limit), Side::Buy) => price <= limit,
            (OrderKind::Limit(limit), Side::Sell) => price >= limit,
        };
        let mut against: Vec<(i128, u64, usize)> = (0..self.resting.len())
            .filter(|place| {
                let resting = &self.resting[*place];
                resting.order.instrument == order.instrument
                    && resting.order.side != order.side
                    && is_within(resting.price)
            })
            .map(|place| {
                let price = i128::from(self.resting[place].price.nanos());
                (if order.side == Side::Buy { price } else { -price }, self.resting[place].arrival, place)
            })
            .collect();
        against.sort_unstable();
        against.first().map(|(_, _, place)| *place)
    }
}

/// `leaves` is what the report says; `open` is what had not traded, from which the cumulative quantity follows.
fn report(order: &NewOrder, kind: ExecutionKind, leaves: u64, open: u64) -> VenueEvent {
    VenueEvent::Execution(Execution {
        order: order.id,
        owner: order.owner,
        instrument: order.instrument,
        side: order.side,
        kind,
        leaves: Quantity::from_nanos(leaves),
        cumulative: Quantity::from_nanos(order.quantity.nanos() - open),
    })
}

fn reduce(resting: &Resting, quantity: u64) -> MarketEventKind {
    let (order, side, price) = (resting.order.id, resting.order.side, resting.price);
    MarketEventKind::Reduce { order, side, price, quantity: Quantity::from_nanos(quantity) }
}

fn withdrawn(resting: &Resting, kind: ExecutionKind) -> Vec<VenueEvent> {
    let order = &resting.order;
    vec![report(order, kind, 0, resting.leaves), market(order.instrument, reduce(resting, resting.leaves))]
}

fn market(instrument: InstrumentId, kind: MarketEventKind) -> VenueEvent {
    VenueEvent::Market { instrument, kind, last: false }
}

fn with_last_marked(mut events: Vec<VenueEvent>) -> Vec<VenueEvent> {
    let is_market = |event: &VenueEvent| matches!(event, VenueEvent::Market { .. });
    if let Some(place) = events.iter().rposition(is_market)
        && let VenueEvent::Market { last, .. } = &mut events[place]
    {
        *last = true;
    }
    events
}
