//! Lets nothing through that it did not check.
//!
//! Order of checks, first failure answers: (size, envelope: the session) message rate, MAC: [`SessionGate`], on the
//! session's task; time, nonce: [`Gate::spend`]; body schema: [`AuthenticRequest::decoded`]; known client order id:
//! the pipeline; order rate, entitlement, risk, time again: [`Gate::admit`] and its siblings for other ops, on the one
//! thread that owns the gate. Risk ends with the memory of repeated orders and the rate of the firm: only an order that passed everything
//! else counts there. Each stage's result has private fields and one maker, so an order that skipped a check
//! cannot be written down.
//!
//! No clock, no locks, no I/O: time is an argument. Names neither identity nor venue.

mod admin;
mod change;
pub mod duplicates;
mod fill;
mod firm_rate;
pub mod freshness;
mod publish;
pub mod rate;
pub mod replay;
pub mod risk;
mod session;
mod signature;

pub use admin::{AdminCommand, AdmittedAdmin, command};
pub use change::{AdmittedDeadMan, AdmittedMassCancel, AdmittedReplace, StandingOrder, replacement};
pub use fill::NonceFill;
pub use publish::AdmittedPublish;
pub use rate::{PublishedRate, RateExceeded, RateLimiter, SharedRate};
pub use replay::ReplayCache;
pub use risk::{AccountRisk, RiskContext};
pub use session::{AuthenticRequest, DecodedBody, SessionGate, decode, digest, names};

use sealfeed_wire::reply::RateLimit;
use sealfeed_wire::{Code, OrderCancel, OrderNew, OrderType, Scaled, Stp, TimeInForce as WireTimeInForce};

use crate::config::OrdersConfig;
use crate::types::{
    CancelOrder, CancelReason, ClientOrderId, Entitlement, Instrument, InstrumentId, Instruments, NewOrder,
    OrderId, OrderKind, OwnerId, OwnerMap, Price, Quantity, SelfTrade, Side, TimeInForce, UnixNanos,
};
use duplicates::{Duplicates, Look};
use firm_rate::FirmRates;
use risk::Proposal;

/// Fewest rate limiters at which idle ones are looked for.
const LIMITERS_MIN: usize = 1024;

/// The pipeline's half of the gate. One owner; every method that changes something takes `&mut self`.
#[derive(Debug)]
pub struct Gate {
    window_ns: u64,
    replay: ReplayCache,
    nonces: NonceFill,
    order_rates: OwnerMap<RateLimiter>,
    firm_rates: FirmRates,
    duplicates: Duplicates,
    /// At how many limiters idle ones are dropped next; twice of what was left, so the cost stays constant.
    prune_at: usize,
}

/// Why a request got no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The answer.
    pub code: Code,
    /// When to try again, if that helps and is known.
    pub retry_after_ms: Option<u64>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, retry_after_ms: None }
    }
}

/// An order that passed every check. Only [`Gate::admit`] makes one, and the venue takes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmittedOrder {
    owner: OwnerId,
    client_order_id: ClientOrderId,
    instrument: InstrumentId,
    side: Side,
    quantity: Quantity,
    kind: OrderKind,
    time_in_force: TimeInForce,
    post_only: bool,
    self_trade: Option<SelfTrade>,
}

impl AdmittedOrder {
    /// Whose it is.
    #[must_use]
    pub const fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The owner's own name for it.
    #[must_use]
    pub const fn client_order_id(&self) -> &ClientOrderId {
        &self.client_order_id
    }

    /// What to trade.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    /// Buy or sell.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// How much; never zero.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// Limit or market.
    #[must_use]
    pub const fn kind(&self) -> OrderKind {
        self.kind
    }

    /// The order as the venue takes it, under the name it is to have.
    #[must_use]
    pub const fn into_new_order(self, id: OrderId) -> NewOrder {
        NewOrder {
            id,
            owner: self.owner,
            client_order_id: self.client_order_id,
            instrument: self.instrument,
            side: self.side,
            quantity: self.quantity,
            kind: self.kind,
            time_in_force: self.time_in_force,
            post_only: self.post_only,
            self_trade: self.self_trade,
        }
    }
}

/// A cancel that passed every check. Only [`Gate::admit_cancel`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmittedCancel {
    owner: OwnerId,
    cancel: OrderCancel,
}

impl AdmittedCancel {
    /// Whose it is.
    #[must_use]
    pub const fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The owner's own name for the cancel.
    #[must_use]
    pub const fn client_order_id(&self) -> &ClientOrderId {
        &self.cancel.cl_ord_id
    }

    /// The owner's own name for the order to cancel.
    #[must_use]
    pub const fn target(&self) -> &ClientOrderId {
        &self.cancel.orig_cl_ord_id
    }

    /// The cancel as the venue takes it; `id` is the order that [`AdmittedCancel::target`] names.
    #[must_use]
    pub const fn into_cancel_order(self, id: OrderId) -> CancelOrder {
        CancelOrder { owner: self.owner, id, reason: CancelReason::Requested }
    }
}

impl Gate {
    /// A gate with an empty memory. The index of nonces is allocated here, once: 12 bytes for each that may come.
    #[must_use]
    pub fn new(config: &OrdersConfig) -> Self {
        let window_ns = config.window_ms.saturating_mul(1_000_000);
        Self {
            window_ns,
            replay: ReplayCache::new(window_ns, config.nonces_max, config.nonces_per_principal_max),
            nonces: NonceFill::new(config.nonces_max, window_ns.saturating_add(2 * freshness::SKEW_NS)),
            order_rates: OwnerMap::default(),
            firm_rates: FirmRates::default(),
            duplicates: Duplicates::default(),
            prune_at: LIMITERS_MIN,
        }
    }

    /// Checks the time and spends the nonce of an authentic request. Every fresh, authentic request spends its nonce,
    /// whatever is decided about it later; a stale one does not.
    ///
    /// `owner` is the pipeline's number for [`AuthenticRequest::principal`].
    ///
    /// # Errors
    /// [`Code::OrdTimestampStale`], [`Code::OrdTimestampFuture`], [`Code::OrdNonceReplayed`] or
    /// [`Code::OrdReplayCacheFull`].
    pub fn spend(&mut self, request: &AuthenticRequest, owner: OwnerId, now: UnixNanos) -> Result<(), Code> {
        freshness::check(request.ts(), now, self.window_ns)?;
        let outcome = self.replay.insert_once(owner, request.nonce(), request.ts(), now);
        self.nonces.set(self.replay.count(), now);
        outcome
    }

    /// How full the memory of nonces is, to be watched.
    #[must_use]
    pub fn nonce_fill(&self) -> NonceFill {
        self.nonces.clone()
    }

    /// Judges an `order.new` whose nonce was spent and whose client order id is new. `context` is asked only about
    /// an order that came as far as risk.
    ///
    /// # Errors
    /// [`Refused`] by the first check that fails: order rate, entitlement, instrument, what the venue offers,
    /// decimals, tick, lot, risk ([`risk::check`]), repeated orders, the firm's order rate, time, the order's own deadline.
    pub fn admit(
        &mut self,
        request: &AuthenticRequest,
        owner: OwnerId,
        entitlement: &Entitlement,
        instruments: &Instruments,
        context: impl FnOnce(&Instrument, Side) -> RiskContext,
        now: UnixNanos,
    ) -> Result<AdmittedOrder, Refused> {
        let DecodedBody::New(order) = request.decoded().map_err(|error| error.code)? else {
            return Err(Code::SesOpNotOffered.into());
        };
        let rights = entitlement.orders.as_ref().ok_or(Code::OrdNotEntitled)?;
        self.charge_order(owner, rights.orders_per_second, now)?;
        let rights = entitlement.may_trade(order.symbol.as_str())?;
        let instrument = instruments.of_symbol(&order.symbol).ok_or(Code::OrdSymbolUnknown)?;
        if !instrument.tradable {
            return Err(Code::OrdSymbolNotTradable.into());
        }
        let Terms { quantity, kind, time_in_force, post_only, self_trade } = terms(order, instrument)?;
        let firm = entitlement.firm.as_deref();
        let proposal = Proposal {
            symbol: order.symbol.as_str(),
            side: order.side,
            quantity,
            kind,
            may_rest: matches!(kind, OrderKind::Limit(_)) && time_in_force.may_rest(),
            reduce_only: order.reduce_only,
        };
        risk::check(rights, firm, &proposal, &context(instrument, order.side))?;
        let look = Look { instrument: instrument.id, side: order.side, limit: limit_of(kind), quantity };
        rights.duplicates.map_or(Ok(()), |limit| self.duplicates.check(owner, &look, limit, now))?;
        firm.map_or(Ok(()), |firm| self.firm_rates.charge(firm, now))?;
        freshness::check(request.ts(), now, self.window_ns)?;
        if order.deadline.is_some_and(|deadline| now > deadline) {
            return Err(Code::OrdDeadlinePassed.into());
        }
        if let Some(limit) = rights.duplicates {
            self.duplicates.remember(owner, look, limit, now);
        }
        Ok(AdmittedOrder {
            owner,
            client_order_id: order.cl_ord_id,
            instrument: instrument.id,
            side: order.side,
            quantity,
            kind,
            time_in_force,
            post_only,
            self_trade,
        })
    }

    /// Judges an `order.cancel` whose nonce was spent and whose client order id is new. A principal that lost the
    /// right to trade may still cancel what it has.
    ///
    /// # Errors
    /// [`Refused`] by order rate or time.
    pub fn admit_cancel(
        &mut self,
        request: &AuthenticRequest,
        owner: OwnerId,
        entitlement: &Entitlement,
        now: UnixNanos,
    ) -> Result<AdmittedCancel, Refused> {
        let DecodedBody::Cancel(cancel) = *request.decoded().map_err(|error| error.code)? else {
            return Err(Code::SesOpNotOffered.into());
        };
        if let Some(rights) = &entitlement.orders {
            self.charge_order(owner, rights.orders_per_second, now)?;
        }
        freshness::check(request.ts(), now, self.window_ns)?;
        Ok(AdmittedCancel { owner, cancel })
    }

    /// State of the owner's order rate, for replies; `None` if it never sent an order.
    #[must_use]
    pub fn order_rate(&self, owner: OwnerId, now: UnixNanos) -> Option<RateLimit> {
        self.order_rates.get(&owner).map(|limiter| limiter.state("orders", now))
    }

    /// Nonces in memory, for metrics.
    #[must_use]
    pub const fn nonce_count(&self) -> usize {
        self.replay.count()
    }

    fn charge_order(&mut self, owner: OwnerId, limit: u32, now: UnixNanos) -> Result<(), Refused> {
        if self.order_rates.len() >= self.prune_at && !self.order_rates.contains_key(&owner) {
            self.order_rates.retain(|_, limiter| !limiter.is_idle(now));
            self.prune_at = (2 * self.order_rates.len()).max(LIMITERS_MIN);
        }
        let limiter = self.order_rates.entry(owner).or_insert_with(|| RateLimiter::per_second(limit));
        limiter.set_limit(limit);
        limiter.take(now).map_err(|RateExceeded { retry_after_ms }| Refused {
            code: Code::OrdOrderRate,
            retry_after_ms: Some(retry_after_ms),
        })
    }
}

/// What an order asks of the venue, in the venue's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How much; never zero.
    pub quantity: Quantity,
    /// Limit or market.
    pub kind: OrderKind,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// Whether it is refused where it would trade at once.
    pub post_only: bool,
    /// What happens where it would trade with its owner's own orders.
    pub self_trade: Option<SelfTrade>,
}

/// Reads an order's body in the terms of its instrument: the one way from what was signed to what the venue takes, at the
/// first execution and at every later one.
///
/// # Errors
/// The venue does not offer an option, options exclude each other, or price or quantity do not fit decimals, tick, band or lot.
pub fn terms(order: &OrderNew, instrument: &Instrument) -> Result<Terms, Code> {
    let (kind, time_in_force) = offered(order, instrument)?;
    let quantity = on_lot(order.quantity, instrument)?;
    let self_trade = order.stp.map(|stp| match stp {
        Stp::CancelTaker => SelfTrade::CancelTaker,
        Stp::CancelMaker => SelfTrade::CancelMaker,
        Stp::CancelBoth => SelfTrade::CancelBoth,
    });
    Ok(Terms { quantity, kind, time_in_force, post_only: order.post_only, self_trade })
}

/// Type and time in force, if the venue offers them; an option that it would not honour is refused, not ignored.
fn offered(order: &OrderNew, instrument: &Instrument) -> Result<(OrderKind, TimeInForce), Code> {
    let time_in_force = match order.time_in_force {
        WireTimeInForce::Day => TimeInForce::Day,
        WireTimeInForce::Gtc => TimeInForce::GoodTillCancel,
        WireTimeInForce::Ioc => TimeInForce::ImmediateOrCancel,
        WireTimeInForce::Fok => TimeInForce::FillOrKill,
    };
    let kind = match (order.order_type, order.price) {
        (OrderType::Market, None) if time_in_force.may_rest() => {
            return Err(Code::OrdTifNotOffered);
        }
        (OrderType::Market, None) => OrderKind::Market,
        (OrderType::Market, Some(_)) => return Err(Code::OrdPriceNotAllowed),
        (OrderType::Limit, None) => return Err(Code::OrdPriceMissing),
        (OrderType::Limit, Some(limit)) => OrderKind::Limit(on_tick(limit, instrument)?),
    };
    if order.post_only && (kind == OrderKind::Market || !time_in_force.may_rest()) {
        return Err(Code::OrdOptionsContradict);
    }
    // While one rested, the position could go away from under it (docs/adr/0053).
    if order.reduce_only && time_in_force.may_rest() {
        return Err(Code::OrdOptionsContradict);
    }
    Ok((kind, time_in_force))
}

/// A limit in the terms of its instrument: on the tick, and within the band.
fn on_tick(price: Scaled<Price>, instrument: &Instrument) -> Result<Price, Code> {
    let price = price.within(instrument.decimals.price).map_err(|_| Code::OrdPriceDecimals)?;
    if !is_on_tick(price, instrument.tick) {
        return Err(Code::OrdPriceOffTick);
    }
    if instrument.band.is_some_and(|(lowest, highest)| price < lowest || price > highest) {
        return Err(Code::OrdPriceOutOfBand);
    }
    Ok(price)
}

/// A quantity with the instrument's decimals, above zero and a multiple of the lot.
fn on_lot(quantity: Scaled<Quantity>, instrument: &Instrument) -> Result<Quantity, Code> {
    let quantity = quantity.within(instrument.decimals.quantity).map_err(|_| Code::OrdQuantityDecimals)?;
    if quantity.is_zero() {
        return Err(Code::OrdQuantityZero);
    }
    if quantity.nanos().checked_rem(instrument.lot.nanos()) != Some(0) {
        return Err(Code::OrdQuantityOffLot);
    }
    Ok(quantity)
}

const fn limit_of(kind: OrderKind) -> Option<Price> {
    match kind {
        OrderKind::Limit(price) => Some(price),
        OrderKind::Market => None,
    }
}

fn is_on_tick(price: Price, tick: Price) -> bool {
    price.nanos().checked_rem(tick.nanos()) == Some(0)
}

#[cfg(test)]
mod tests;
