//! The gate of what changes orders that were sent before: replace, mass cancel, dead-man timer.

use sealfeed_wire::{Code, MassCancelScope, OrderMassCancel, OrderReplace};

use super::risk::{self, OpenOrder, Proposal};
use super::{AuthenticRequest, DecodedBody, Gate, Refused, RiskContext, freshness, on_lot, on_tick};
use crate::types::{
    ClientOrderId, Entitlement, Instrument, InstrumentId, Instruments, OrderId, OrderKind, OwnerId, Price,
    Quantity, SessionId, Side, UnixNanos,
};

/// The order that a replace is about, as it stands at the venue.
#[derive(Clone, Debug)]
pub struct StandingOrder {
    /// The venue's name for it.
    pub id: OrderId,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Limit, with the price it has now, or market.
    pub kind: OrderKind,
    /// Its total quantity now.
    pub quantity: Quantity,
    /// What of it is open.
    pub leaves: Quantity,
    /// What has traded of it.
    pub traded: Quantity,
    /// The market and the accounts, with this order in them.
    pub context: RiskContext,
}

/// A replace that passed every check. Only [`Gate::admit_replace`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmittedReplace {
    owner: OwnerId,
    replace: OrderReplace,
    id: OrderId,
    price: Option<Price>,
    quantity: Option<Quantity>,
}

impl AdmittedReplace {
    /// Whose it is.
    #[must_use]
    pub const fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The owner's own name for the replace.
    #[must_use]
    pub const fn client_order_id(&self) -> &ClientOrderId {
        &self.replace.cl_ord_id
    }

    /// The owner's own name for the order to change.
    #[must_use]
    pub const fn target(&self) -> &ClientOrderId {
        &self.replace.orig_cl_ord_id
    }

    /// The venue's name for the order to change.
    #[must_use]
    pub const fn id(&self) -> OrderId {
        self.id
    }

    /// Its new limit price; `None`: as it was.
    #[must_use]
    pub const fn price(&self) -> Option<Price> {
        self.price
    }

    /// Its new total quantity, never zero; `None`: as it was.
    #[must_use]
    pub const fn quantity(&self) -> Option<Quantity> {
        self.quantity
    }
}

/// A mass cancel that passed every check. Only [`Gate::admit_mass_cancel`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmittedMassCancel {
    owner: OwnerId,
    client_order_id: ClientOrderId,
    instrument: Option<InstrumentId>,
    side: Option<Side>,
    session: Option<SessionId>,
}

impl AdmittedMassCancel {
    /// Whose orders.
    #[must_use]
    pub const fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The owner's own name for the mass cancel.
    #[must_use]
    pub const fn client_order_id(&self) -> &ClientOrderId {
        &self.client_order_id
    }

    /// Only orders in this instrument; `None`: in all.
    #[must_use]
    pub const fn instrument(&self) -> Option<InstrumentId> {
        self.instrument
    }

    /// Only orders of this side; `None`: of both.
    #[must_use]
    pub const fn side(&self) -> Option<Side> {
        self.side
    }

    /// Only orders that were sent on this session; `None`: on all of the owner's.
    #[must_use]
    pub const fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }
}

/// A dead-man timer that passed every check. Only [`Gate::admit_dead_man`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmittedDeadMan {
    owner: OwnerId,
    session: SessionId,
    timeout_ms: u32,
}

impl AdmittedDeadMan {
    /// Whose orders: all of them.
    #[must_use]
    pub const fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The session that it came on.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }

    /// After how many milliseconds without another one; 0 disarms.
    #[must_use]
    pub const fn timeout_ms(&self) -> u32 {
        self.timeout_ms
    }
}

impl Gate {
    /// Judges an `order.replace` whose nonce was spent and whose client order id is new. `standing` finds the order that
    /// it names among those of the owner.
    ///
    /// # Errors
    /// [`Refused`] by the first check that fails: order rate, right to trade, order, entitlement, decimals, tick, lot,
    /// risk (of the order as it is to be), time.
    pub fn admit_replace(
        &mut self,
        request: &AuthenticRequest,
        owner: OwnerId,
        entitlement: &Entitlement,
        instruments: &Instruments,
        standing: impl FnOnce(&ClientOrderId) -> Option<StandingOrder>,
        now: UnixNanos,
    ) -> Result<AdmittedReplace, Refused> {
        let DecodedBody::Replace(replace) = *request.decoded().map_err(|error| error.code)? else {
            return Err(Code::SesOpNotOffered.into());
        };
        let rights = entitlement.orders.as_ref().ok_or(Code::OrdNotEntitled)?;
        self.charge_order(owner, rights.orders_per_second, now)?;
        let order = standing(&replace.orig_cl_ord_id).ok_or(Code::OrdOrderUnknown)?;
        let instrument = instruments.by_id(order.instrument).ok_or(Code::OrdSymbolUnknown)?;
        let rights = entitlement.may_trade(instrument.symbol.as_str())?;
        let (price, quantity) = replacement(&replace, order.kind, instrument)?;
        let firm = entitlement.firm.as_deref();
        let proposal = Proposal {
            symbol: instrument.symbol.as_str(),
            side: order.side,
            quantity: quantity.unwrap_or(order.quantity),
            kind: price.map_or(order.kind, OrderKind::Limit),
            may_rest: true,
            reduce_only: false,
        };
        // A market order never rests: it is finished, and the venue says so.
        if let OrderKind::Limit(price) = order.kind {
            let open = OpenOrder { price, leaves: order.leaves, traded: order.traded };
            risk::check_replace(rights, firm, &proposal, &open, &order.context)?;
        }
        firm.map_or(Ok(()), |firm| self.firm_rates.charge(firm, now))?;
        freshness::check(request.ts(), now, self.window_ns)?;
        Ok(AdmittedReplace { owner, replace, id: order.id, price, quantity })
    }

    /// Judges an `order.mass_cancel` whose nonce was spent and whose client order id is new. As with a cancel, the right
    /// to trade is not needed.
    ///
    /// # Errors
    /// [`Refused`] by order rate, instrument or time.
    pub fn admit_mass_cancel(
        &mut self,
        request: &AuthenticRequest,
        owner: OwnerId,
        entitlement: &Entitlement,
        instruments: &Instruments,
        now: UnixNanos,
    ) -> Result<AdmittedMassCancel, Refused> {
        let DecodedBody::MassCancel(cancel) = *request.decoded().map_err(|error| error.code)? else {
            return Err(Code::SesOpNotOffered.into());
        };
        if let Some(rights) = &entitlement.orders {
            self.charge_order(owner, rights.orders_per_second, now)?;
        }
        let OrderMassCancel { cl_ord_id: client_order_id, symbol, side, scope } = cancel;
        let find = |symbol: crate::types::Symbol| {
            instruments.by_symbol(symbol.as_str()).map(|one| one.id).ok_or(Code::OrdSymbolUnknown)
        };
        let instrument = symbol.map(find).transpose()?;
        let session = match scope {
            MassCancelScope::Session => Some(*request.session()),
            MassCancelScope::Principal => None,
        };
        freshness::check(request.ts(), now, self.window_ns)?;
        Ok(AdmittedMassCancel { owner, client_order_id, instrument, side, session })
    }

    /// Judges an `order.dead_man` whose nonce was spent. It costs no order rate: whoever is at its limit needs it most.
    ///
    /// # Errors
    /// [`Refused`] by time.
    pub fn admit_dead_man(
        &self,
        request: &AuthenticRequest,
        owner: OwnerId,
        now: UnixNanos,
    ) -> Result<AdmittedDeadMan, Refused> {
        let DecodedBody::DeadMan(dead_man) = *request.decoded().map_err(|error| error.code)? else {
            return Err(Code::SesOpNotOffered.into());
        };
        freshness::check(request.ts(), now, self.window_ns)?;
        Ok(AdmittedDeadMan { owner, session: *request.session(), timeout_ms: dead_man.timeout_ms })
    }
}

/// Reads a replace's body in the terms of its instrument: the one way from what was signed to what the venue takes, at the first
/// execution and at every later one. `kind` is that of the order as it stands.
///
/// # Errors
/// Price or quantity do not fit decimals, tick, band or lot, or a market order is to have a price.
pub fn replacement(
    replace: &OrderReplace,
    kind: OrderKind,
    instrument: &Instrument,
) -> Result<(Option<Price>, Option<Quantity>), Code> {
    if replace.price.is_some() && kind == OrderKind::Market {
        return Err(Code::OrdPriceNotAllowed);
    }
    let price = replace.price.map(|price| on_tick(price, instrument)).transpose()?;
    let quantity = replace.quantity.map(|quantity| on_lot(quantity, instrument)).transpose()?;
    Ok((price, quantity))
}
