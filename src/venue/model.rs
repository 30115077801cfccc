//! A venue so plain that it can be seen to be right: one list of orders, searched from end to end for everything.

use crate::types::{
    CancelOrder, CancelReason, Code, Execution, ExecutionKind, InstrumentId, MarketEventKind, NewOrder,
    OrderId, OrderKind, OwnerId, Phase, Price, Quantity, ReplaceOrder, SelfTrade, Side, TimeInForce,
};

use super::VenueEvent;

#[derive(Clone)]
struct Resting {
    /// As it was submitted or replaced: its quantity is the total one.
    order: NewOrder,
    price: Price,
    leaves: u64,
    arrival: u64,
}

struct Market {
    tradable: bool,
    phase: Phase,
    last: Option<Price>,
}

/// The naive venue. Every order rests in `resting`, whatever its instrument and side.
pub(super) struct ModelVenue {
    markets: Vec<Market>,
    tick: i64,
    resting_orders_max: usize,
    resting: Vec<Resting>,
    arrivals: u64,
    trades: u64,
}

impl ModelVenue {
    pub(super) fn new(tradable: &[bool], tick: i64, resting_orders_max: usize) -> Self {
        let market = |tradable: &bool| Market { tradable: *tradable, phase: Phase::Open, last: None };
        let markets = tradable.iter().map(market).collect();
        Self { markets, tick, resting_orders_max, resting: Vec::new(), arrivals: 0, trades: 0 }
    }

    pub(super) fn submit(&mut self, order: NewOrder) -> Result<Vec<VenueEvent>, Code> {
        if !self.markets[order.instrument.index()].tradable {
            return Err(Code::OrdSymbolNotTradable);
        }
        let may_rest = may_rest(&order);
        if order.post_only && !may_rest {
            return Err(Code::OrdOptionsContradict);
        }
        self.check_phase(order.instrument, may_rest && !order.post_only)?;
        let is_full = self.of(order.instrument).count() >= self.resting_orders_max;
        let is_auction = self.phase(order.instrument) == Phase::AuctionCall;
        let meets = !is_auction && !self.against(&order).is_empty();
        let fok = order.time_in_force == TimeInForce::FillOrKill;
        if meets && order.post_only {
            return Err(Code::OrdPostOnlyWouldTake);
        }
        if fok && self.fillable(&order) < u128::from(order.quantity.nanos()) {
            return Err(Code::OrdFillOrKillShort);
        }
        if !meets && order.kind == OrderKind::Market {
            return Err(Code::OrdNoLiquidity);
        }
        if !meets && may_rest && is_full {
            return Err(Code::RskVenueOrdersMax);
        }
        let whole = order.quantity.nanos();
        let mut events = vec![report(&order, ExecutionKind::New, whole, whole)];
        self.run(&order, whole, &mut events);
        Ok(with_last_marked(events))
    }

    /// Lets an order of which `leaves` are open trade and rest.
    fn run(&mut self, order: &NewOrder, mut leaves: u64, events: &mut Vec<VenueEvent>) {
        let is_own = |resting: &Resting| resting.order.owner == order.owner;
        let mut prevented = false;
        if self.phase(order.instrument) == Phase::AuctionCall {
            let own: Vec<OrderId> = self.against(order).iter().filter(|one| is_own(one)).map(id_of).collect();
            if let (Some(mode), Some(first)) = (order.self_trade, own.first()) {
                match mode {
                    SelfTrade::CancelTaker => {}
                    SelfTrade::CancelMaker => own.iter().for_each(|id| self.prevent(*id, events)),
                    SelfTrade::CancelBoth => self.prevent(*first, events),
                }
                prevented = mode != SelfTrade::CancelMaker;
            }
        } else {
            while leaves > 0 && !prevented {
                let Some(best) = self.against(order).first().cloned() else { break };
                match order.self_trade.filter(|_| is_own(&best)) {
                    None => leaves = self.trade(order, leaves, &best, events),
                    Some(mode) => {
                        if mode != SelfTrade::CancelTaker {
                            self.prevent(best.order.id, events);
                        }
                        prevented = mode != SelfTrade::CancelMaker;
                    }
                }
            }
        }
        let self_trade = ExecutionKind::Canceled { reason: CancelReason::SelfTrade };
        match order.kind {
            _ if leaves == 0 => {}
            _ if prevented => events.push(report(order, self_trade, 0, leaves)),
            OrderKind::Limit(price) if may_rest(order) => {
                self.arrivals += 1;
                self.resting.push(Resting { order: *order, price, leaves, arrival: self.arrivals });
                let quantity = Quantity::from_nanos(leaves);
                let add = MarketEventKind::Add { order: order.id, side: order.side, price, quantity };
                events.push(market(order.instrument, add));
            }
            _ => events.push(report(order, ExecutionKind::Expired, 0, leaves)),
        }
    }

    fn trade(&mut self, order: &NewOrder, leaves: u64, best: &Resting, events: &mut Vec<VenueEvent>) -> u64 {
        let traded = leaves.min(best.leaves);
        self.trades += 1;
        let (price, quantity, trade_id) = (best.price, Quantity::from_nanos(traded), self.trades);
        let fill = ExecutionKind::Fill { price, quantity, trade_id };
        events.push(report(order, fill, leaves - traded, leaves - traded));
        events.push(report(&best.order, fill, best.leaves - traded, best.leaves - traded));
        let trade = MarketEventKind::Trade { price, quantity, aggressor: Some(order.side), trade_id };
        events.push(market(order.instrument, trade));
        events.push(market(order.instrument, reduce(best, traded)));
        self.take_off(best.order.id, traded);
        self.markets[order.instrument.index()].last = Some(price);
        leaves - traded
    }

    fn take_off(&mut self, id: OrderId, quantity: u64) {
        let place = self.place(id).unwrap();
        self.resting[place].leaves -= quantity;
        self.resting.retain(|resting| resting.leaves > 0);
    }

    fn prevent(&mut self, id: OrderId, events: &mut Vec<VenueEvent>) {
        let resting = self.resting.remove(self.place(id).unwrap());
        events.extend(withdrawn(&resting, ExecutionKind::Canceled { reason: CancelReason::SelfTrade }));
    }

    pub(super) fn cancel(&mut self, cancel: CancelOrder) -> Result<Vec<VenueEvent>, Code> {
        let place = self.place_of_own(cancel.id, cancel.owner)?;
        let resting = self.resting.remove(place);
        Ok(with_last_marked(withdrawn(&resting, ExecutionKind::Canceled { reason: cancel.reason })))
    }

    pub(super) fn replace(&mut self, replace: ReplaceOrder) -> Result<Vec<VenueEvent>, Code> {
        let place = self.place_of_own(replace.id, replace.owner)?;
        let old = self.resting[place].clone();
        self.check_phase(old.order.instrument, true)?;
        let price = replace.price.unwrap_or(old.price);
        let quantity = replace.quantity.unwrap_or(old.order.quantity);
        let traded = old.order.quantity.nanos() - old.leaves;
        if quantity.nanos() <= traded {
            self.resting.remove(place);
            let kind = ExecutionKind::Canceled { reason: CancelReason::Replaced };
            return Ok(with_last_marked(withdrawn(&old, kind)));
        }
        let leaves = quantity.nanos() - traded;
        let new = NewOrder { quantity, kind: OrderKind::Limit(price), ..old.order };
        let mut events = vec![report(&new, ExecutionKind::Replaced { price, quantity }, leaves, leaves)];
        if price == old.price && quantity <= old.order.quantity {
            self.resting[place].order = new;
            self.resting[place].leaves = leaves;
            if leaves < old.leaves {
                events.push(market(new.instrument, reduce(&old, old.leaves - leaves)));
            }
            return Ok(with_last_marked(events));
        }
        if new.post_only {
            self.check_phase(new.instrument, false)?;
            if !self.against(&new).is_empty() {
                return Err(Code::OrdPostOnlyWouldTake);
            }
        }
        self.resting.remove(place);
        events.push(market(new.instrument, reduce(&old, old.leaves)));
        self.run(&new, leaves, &mut events);
        Ok(with_last_marked(events))
    }

    pub(super) fn set_phase(
        &mut self,
        instrument: InstrumentId,
        phase: Phase,
    ) -> Result<Vec<VenueEvent>, Code> {
        let market_here = &self.markets[instrument.index()];
        if !market_here.tradable {
            return Err(Code::OrdSymbolNotTradable);
        }
        let mut events = Vec::new();
        if market_here.phase != phase {
            if phase == Phase::Open || phase == Phase::Closed {
                self.auction(instrument, &mut events);
            }
            self.markets[instrument.index()].phase = phase;
            let (state, reason) = phase.to_status();
            events.push(market(instrument, MarketEventKind::Status { state, reason }));
        }
        Ok(with_last_marked(events))
    }

    /// Tries every price on the tick that there is, and then every pair of orders at the best one.
    fn auction(&mut self, instrument: InstrumentId, events: &mut Vec<VenueEvent>) {
        let prices = || self.of(instrument).map(|resting| resting.price.nanos());
        let (Some(low), Some(high)) = (prices().min(), prices().max()) else { return };
        let wants = |side, price: i64| -> i128 {
            let here = self.of(instrument).filter(|resting| resting.order.side == side);
            let willing = here.filter(|resting| match side {
                Side::Buy => resting.price.nanos() >= price,
                Side::Sell => resting.price.nanos() <= price,
            });
            willing.map(|resting| i128::from(resting.leaves)).sum()
        };
        let last = self.markets[instrument.index()].last;
        let rules = |price: &i64| {
            let (bought, sold) = (wants(Side::Buy, *price), wants(Side::Sell, *price));
            let distance = last.map_or(0, |last| (last.nanos() - price).abs());
            (-bought.min(sold), (bought - sold).abs(), distance, *price)
        };
        let steps = (high - low) / self.tick;
        let best = (0..=steps).map(|step| low + step * self.tick).min_by_key(rules).unwrap();
        if rules(&best).0 == 0 {
            return;
        }
        let price = Price::from_nanos(best);
        loop {
            let seller_at_the_price = NewOrder {
                id: OrderId(0),
                owner: OwnerId(0),
                side: Side::Sell,
                instrument,
                kind: OrderKind::Limit(price),
                ..self.resting[0].order
            };
            let buyer_at_the_price = NewOrder { side: Side::Buy, ..seller_at_the_price };
            let (bids, asks) = (self.against(&seller_at_the_price), self.against(&buyer_at_the_price));
            let (Some(bid), Some(ask)) = (bids.first(), asks.first()) else { return };
            let traded = bid.leaves.min(ask.leaves);
            self.trades += 1;
            let (quantity, trade_id) = (Quantity::from_nanos(traded), self.trades);
            let fill = ExecutionKind::Fill { price, quantity, trade_id };
            for one in [bid, ask] {
                events.push(report(&one.order, fill, one.leaves - traded, one.leaves - traded));
            }
            let trade = MarketEventKind::Trade { price, quantity, aggressor: None, trade_id };
            events.push(market(instrument, trade));
            for one in [bid, ask] {
                events.push(market(instrument, reduce(one, traded)));
                self.take_off(one.order.id, traded);
            }
            self.markets[instrument.index()].last = Some(price);
            if self.resting.is_empty() {
                return;
            }
        }
    }

    pub(super) fn expire_day_orders(&mut self) -> Vec<VenueEvent> {
        let is_day = |resting: &Resting| resting.order.time_in_force == TimeInForce::Day;
        self.resting.sort_by_key(|resting| {
            let (price, side) = (i128::from(resting.price.nanos()), resting.order.side);
            let rank = if side == Side::Buy { -price } else { price };
            (resting.order.instrument, side == Side::Sell, rank, resting.arrival)
        });
        let mut all = Vec::new();
        for place in 0..self.markets.len() {
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

    pub(super) fn last_price(&self, instrument: InstrumentId) -> Option<Price> {
        self.markets[instrument.index()].last
    }

    /// Name, open and total quantity of every order, in the order in which those of a side trade.
    pub(super) fn queue(&self, instrument: InstrumentId, side: Side) -> Vec<(OrderId, Quantity, Quantity)> {
        let mut here: Vec<&Resting> =
            self.of(instrument).filter(|resting| resting.order.side == side).collect();
        here.sort_by_key(|resting| (rank_for(side.opposite(), resting.price), resting.arrival));
        let told = |one: &&Resting| (one.order.id, Quantity::from_nanos(one.leaves), one.order.quantity);
        here.iter().map(told).collect()
    }

    fn phase(&self, instrument: InstrumentId) -> Phase {
        self.markets[instrument.index()].phase
    }

    fn check_phase(&self, instrument: InstrumentId, gathers: bool) -> Result<(), Code> {
        match self.phase(instrument) {
            Phase::Open => Ok(()),
            Phase::AuctionCall if gathers => Ok(()),
            Phase::AuctionCall => Err(Code::OrdNotInAuction),
            Phase::Halted => Err(Code::OrdInstrumentHalted),
            Phase::Closed => Err(Code::OrdInstrumentClosed),
        }
    }

    fn of(&self, instrument: InstrumentId) -> impl Iterator<Item = &Resting> {
        self.resting.iter().filter(move |resting| resting.order.instrument == instrument)
    }

    fn place(&self, id: OrderId) -> Option<usize> {
        self.resting.iter().position(|resting| resting.order.id == id)
    }

    fn place_of_own(&self, id: OrderId, owner: OwnerId) -> Result<usize, Code> {
        let place = self.place(id).filter(|place| self.resting[*place].order.owner == owner);
        place.ok_or(Code::OrdOrderUnknown)
    }

    /// The orders that `order` could trade with, in the order in which it would.
    fn against(&self, order: &NewOrder) -> Vec<Resting> {
        let is_within = |price: Price| match (order.kind, order.side) {
            (OrderKind::Market, _) => true,
            (OrderKind::Limit(limit), Side::Buy) => price <= limit,
            (OrderKind::Limit(limit), Side::Sell) => price >= limit,
        };
        let mut against: Vec<Resting> = self
            .of(order.instrument)
            .filter(|resting| resting.order.side != order.side && is_within(resting.price))
            .cloned()
            .collect();
        against.sort_by_key(|resting| (rank_for(order.side, resting.price), resting.arrival));
        against
    }

    /// How much of `order` could trade at once.
    fn fillable(&self, order: &NewOrder) -> u128 {
        let against = self.against(order);
        let is_own = |resting: &&Resting| resting.order.owner == order.owner;
        let leaves = |resting: &Resting| u128::from(resting.leaves);
        match order.self_trade {
            None => against.iter().map(leaves).sum(),
            Some(SelfTrade::CancelMaker) => against.iter().filter(|one| !is_own(one)).map(leaves).sum(),
            Some(SelfTrade::CancelTaker | SelfTrade::CancelBoth) => {
                against.iter().take_while(|one| !is_own(one)).map(leaves).sum()
            }
        }
    }
}

fn may_rest(order: &NewOrder) -> bool {
    let stays = [TimeInForce::Day, TimeInForce::GoodTillCancel].contains(&order.time_in_force);
    order.kind != OrderKind::Market && stays
}

fn id_of(resting: &Resting) -> OrderId {
    resting.order.id
}

/// The smaller, the sooner an order of this side trades with it.
fn rank_for(side: Side, price: Price) -> i128 {
    let price = i128::from(price.nanos());
    if side == Side::Buy { price } else { -price }
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
