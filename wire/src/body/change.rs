//! Bodies that change what was ordered before: `order.replace`, `order.mass_cancel`, `order.dead_man`.

use super::{Body, BodyError, CL_ORD_ID, Refusal};
use crate::code::Code;
use crate::decimal::{Price, Quantity, Scaled};
use crate::ident::{ClientOrderId, Symbol};
use crate::object::Value;
use crate::term::{MassCancelScope, Side};

/// Shortest time that the dead-man timer is armed for, in milliseconds.
pub const DEAD_MAN_MS_MIN: u32 = 1_000;

/// Longest time that the dead-man timer is armed for, in milliseconds: an hour.
pub const DEAD_MAN_MS_MAX: u32 = 3_600_000;

/// Body of `order.replace`. At least one of quantity and price is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderReplace {
    /// The client's own id of the replace.
    pub cl_ord_id: ClientOrderId,
    /// The id of the order to change; another one than `cl_ord_id`, and the order keeps it.
    pub orig_cl_ord_id: ClientOrderId,
    /// The new total quantity, what has traded included (FIX tag 38); never zero. `None`: as it was.
    pub quantity: Option<Scaled<Quantity>>,
    /// The new limit price. `None`: as it was.
    pub price: Option<Scaled<Price>>,
}

/// Body of `order.mass_cancel`: cancels every open order that all of its terms cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderMassCancel {
    /// The client's own id of the mass cancel.
    pub cl_ord_id: ClientOrderId,
    /// Only orders in this instrument. `None`: in all.
    pub symbol: Option<Symbol>,
    /// Only orders of this side. `None`: of both.
    pub side: Option<Side>,
    /// Whose orders.
    pub scope: MassCancelScope,
}

/// Body of `order.dead_man`: unless it comes again in time, all open orders of the principal are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderDeadMan {
    /// [`DEAD_MAN_MS_MIN`] to [`DEAD_MAN_MS_MAX`]; 0 disarms.
    pub timeout_ms: u32,
}

const ORIG_CL_ORD_ID: usize = 1;
const QTY: usize = 2;
const PRICE: usize = 3;

const REPLACE: [&str; 4] = ["cl_ord_id", "orig_cl_ord_id", "qty", "price"];

fn place_replace(key: &str) -> Option<usize> {
    REPLACE.iter().position(|name| *name == key)
}

const SYMBOL: usize = 1;
const SIDE: usize = 2;
const SCOPE: usize = 3;

const MASS_CANCEL: [&str; 4] = ["cl_ord_id", "symbol", "side", "scope"];

fn place_mass_cancel(key: &str) -> Option<usize> {
    MASS_CANCEL.iter().position(|name| *name == key)
}

const DEAD_MAN: [&str; 1] = ["timeout_ms"];

fn place_dead_man(key: &str) -> Option<usize> {
    (key == DEAD_MAN[0]).then_some(0)
}

impl OrderReplace {
    /// Reads the raw body of an `order.replace` whose proof has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &REPLACE, place_replace);
        Self::from_fields(&body).map_err(|refusal| body.error(refusal))
    }

    fn from_fields(body: &Body<'_, { REPLACE.len() }>) -> Result<Self, Refusal> {
        body.check_form()?;
        let (cl_ord_id, orig_cl_ord_id) = body.two_ids(CL_ORD_ID, ORIG_CL_ORD_ID)?;
        let has = |index: usize| body.fields.get(index).is_some();
        let quantity = has(QTY).then(|| body.quantity(QTY)).transpose()?;
        let price = has(PRICE).then(|| body.price(PRICE)).transpose()?;
        if quantity.is_none() && price.is_none() {
            return Err((Code::OrdReplaceEmpty, "qty".into()));
        }
        Ok(Self { cl_ord_id, orig_cl_ord_id, quantity, price })
    }

    /// The body as JSON, ready to be signed and sent.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body =
            format!(r#"{{"cl_ord_id":"{}","orig_cl_ord_id":"{}""#, self.cl_ord_id, self.orig_cl_ord_id);
        if let Some(quantity) = self.quantity {
            body += &format!(r#","qty":"{quantity}""#);
        }
        if let Some(price) = self.price {
            body += &format!(r#","price":"{price}""#);
        }
        body.push('}');
        body
    }
}

impl OrderMassCancel {
    /// Reads the raw body of an `order.mass_cancel` whose proof has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &MASS_CANCEL, place_mass_cancel);
        Self::from_fields(&body).map_err(|refusal| body.error(refusal))
    }

    fn from_fields(body: &Body<'_, { MASS_CANCEL.len() }>) -> Result<Self, Refusal> {
        body.check_form()?;
        let cl_ord_id = body.need_parsed(CL_ORD_ID, ClientOrderId::new, Code::OrdClientOrderIdInvalid)?;
        let has_symbol = body.fields.get(SYMBOL).is_some();
        let symbol = has_symbol.then(|| body.need_parsed(SYMBOL, Symbol::new, Code::OrdSymbolUnknown));
        Ok(Self {
            cl_ord_id,
            symbol: symbol.transpose()?,
            side: body.optional_parsed(SIDE, Side::parse)?,
            scope: body.optional_parsed(SCOPE, MassCancelScope::parse)?.unwrap_or(MassCancelScope::Principal),
        })
    }

    /// The body as JSON, ready to be signed and sent. What is the default is left out.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body = format!(r#"{{"cl_ord_id":"{}""#, self.cl_ord_id);
        if let Some(symbol) = self.symbol {
            body += &format!(r#","symbol":"{symbol}""#);
        }
        if let Some(side) = self.side {
            body += &format!(r#","side":"{side}""#);
        }
        if self.scope != MassCancelScope::Principal {
            body += &format!(r#","scope":"{}""#, self.scope);
        }
        body.push('}');
        body
    }
}

impl OrderDeadMan {
    /// Reads the raw body of an `order.dead_man` whose proof has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &DEAD_MAN, place_dead_man);
        Self::from_fields(&body).map_err(|refusal| body.error(refusal))
    }

    fn from_fields(body: &Body<'_, { DEAD_MAN.len() }>) -> Result<Self, Refusal> {
        body.check_form()?;
        let name = DEAD_MAN[0];
        let timeout_ms = match body.fields.get(0) {
            None => return Err((Code::OrdBodyFieldMissing, name.into())),
            Some(Value::Integer(number)) => u32::try_from(*number).ok(),
            // Such as 1e3 and 1.5: numbers, but not of milliseconds.
            Some(Value::OtherNumber) => None,
            Some(_) => return Err((Code::OrdBodyFieldTypeWrong, name.into())),
        };
        let in_range = |ms: &u32| *ms == 0 || (DEAD_MAN_MS_MIN..=DEAD_MAN_MS_MAX).contains(ms);
        let timeout_ms = timeout_ms.filter(in_range).ok_or((Code::OrdDeadManTimeoutInvalid, name.into()))?;
        Ok(Self { timeout_ms })
    }

    /// The body as JSON, ready to be signed and sent.
    #[must_use]
    pub fn encode(&self) -> String {
        format!(r#"{{"timeout_ms":{}}}"#, self.timeout_ms)
    }
}
