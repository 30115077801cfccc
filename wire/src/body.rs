//! Bodies of signed requests: decoded on the server after the MAC has verified, encoded on the client before signing.
//!
//! Decoding is as strict as that of the envelope, with `SF-ORD-*` codes. A number keeps how many decimals it was
//! written with, because only the instrument says how many there may be ([`Scaled::within`]).

use std::borrow::Cow;

mod admin;
mod change;

pub use admin::{
    AdminKill, AdminReload, AdminTrading, KillTarget, OPERATOR_REASON_BYTES_MAX, OperatorReason,
};
pub use change::{DEAD_MAN_MS_MAX, DEAD_MAN_MS_MIN, OrderDeadMan, OrderMassCancel, OrderReplace};

use crate::code::Code;
use crate::decimal::{DecimalError, Price, Quantity, Scaled};
use crate::ident::{ClientOrderId, Symbol};
use crate::object::{Fault, Fields, Keys, Value};
use crate::term::{OrderType, Side, Stp, TimeInForce};
use crate::value::UnixNanos;

/// Body of `order.new`. A limit order has a price, a market order has none, and the quantity is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderNew {
    /// The client's own id of the order.
    pub cl_ord_id: ClientOrderId,
    /// What to trade.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// How much; never zero.
    pub quantity: Scaled<Quantity>,
    /// Limit price; `None` for a market order.
    pub price: Option<Scaled<Price>>,
    /// How long it stays.
    pub time_in_force: TimeInForce,
    /// Refuse rather than take liquidity.
    pub post_only: bool,
    /// Refuse rather than do more than reduce the position; with a time in force that never rests.
    pub reduce_only: bool,
    /// What is cancelled rather than trade with an order of the same owner; `None`: nothing, they trade.
    pub stp: Option<Stp>,
    /// Refused if the venue's turn comes after this time.
    pub deadline: Option<UnixNanos>,
}

/// Body of `order.cancel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderCancel {
    /// The client's own id of the cancel.
    pub cl_ord_id: ClientOrderId,
    /// The id of the order to cancel; another one than `cl_ord_id`.
    pub orig_cl_ord_id: ClientOrderId,
}

/// Why a body is not what its op needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}", code.message())]
pub struct BodyError {
    /// The stable code.
    pub code: Code,
    /// The client order id, if one could be read.
    pub cl_ord_id: Option<ClientOrderId>,
    /// Which field, in a few printable words. Not stable.
    pub detail: Cow<'static, str>,
}

/// The raw fields of a body and the names of its keys.
struct Body<'a, const N: usize> {
    fields: Fields<'a, N>,
    names: &'static [&'static str; N],
}

type Refusal = (Code, Cow<'static, str>);

impl<'a, const N: usize> Body<'a, N> {
    #[inline]
    fn read(text: &'a str, names: &'static [&'static str; N], place: fn(&str) -> Option<usize>) -> Self {
        Self { fields: Fields::read(text, Keys { place, raw: 0, long: 0 }), names }
    }

    fn check_form(&self) -> Result<(), Refusal> {
        match &self.fields.fault {
            None => Ok(()),
            Some(Fault::DuplicateKey(index)) => Err((Code::OrdBodyKeyDuplicate, self.names[*index].into())),
            Some(Fault::UnknownKey(name)) => Err((Code::OrdBodyFieldUnknown, name.clone().into())),
            Some(Fault::NotAnObject | Fault::Malformed | Fault::TrailingBytes) => {
                Err((Code::OrdBodyNotObject, "body".into()))
            }
        }
    }

    fn need_text(&self, index: usize) -> Result<&str, Refusal> {
        let value = self.fields.get(index).ok_or((Code::OrdBodyFieldMissing, self.names[index].into()))?;
        value.text().ok_or((Code::OrdBodyFieldTypeWrong, self.names[index].into()))
    }

    fn need_parsed<T, E>(
        &self,
        index: usize,
        parse: fn(&str) -> Result<T, E>,
        code: Code,
    ) -> Result<T, Refusal> {
        parse(self.need_text(index)?).map_err(|_| (code, self.names[index].into()))
    }

    fn optional_parsed<T, E>(
        &self,
        index: usize,
        parse: fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Refusal> {
        if self.fields.get(index).is_none() {
            return Ok(None);
        }
        self.need_parsed(index, parse, Code::OrdBodyFieldValueInvalid).map(Some)
    }

    /// A quantity above zero.
    fn quantity(&self, index: usize) -> Result<Scaled<Quantity>, Refusal> {
        let quantity = Scaled::<Quantity>::parse(self.need_text(index)?).map_err(|error| {
            let is_decimals = matches!(error, DecimalError::TooManyDecimals { .. });
            (if is_decimals { Code::OrdQuantityDecimals } else { Code::OrdQuantityInvalid }, "qty".into())
        })?;
        if quantity.value.is_zero() {
            return Err((Code::OrdQuantityZero, "qty".into()));
        }
        Ok(quantity)
    }

    fn price(&self, index: usize) -> Result<Scaled<Price>, Refusal> {
        Scaled::<Price>::parse(self.need_text(index)?).map_err(|error| {
            let is_decimals = matches!(error, DecimalError::TooManyDecimals { .. });
            (if is_decimals { Code::OrdPriceDecimals } else { Code::OrdPriceInvalid }, "price".into())
        })
    }

    /// The names of a request about another one: its own, and the other's, which must differ.
    fn two_ids(&self, own: usize, other: usize) -> Result<(ClientOrderId, ClientOrderId), Refusal> {
        let own = self.need_parsed(own, ClientOrderId::new, Code::OrdClientOrderIdInvalid)?;
        let name = self.names[other];
        let other = self.need_parsed(other, ClientOrderId::new, Code::OrdClientOrderIdInvalid)?;
        if own == other {
            return Err((Code::OrdClientOrderIdReused, name.into()));
        }
        Ok((own, other))
    }

    fn truth(&self, index: usize) -> Result<bool, Refusal> {
        match self.fields.get(index) {
            None => Ok(false),
            Some(Value::Truth(truth)) => Ok(*truth),
            Some(_) => Err((Code::OrdBodyFieldTypeWrong, self.names[index].into())),
        }
    }

    fn error(&self, (code, detail): Refusal) -> BodyError {
        let has_id = self.names[CL_ORD_ID] == "cl_ord_id";
        let text = self.fields.get(CL_ORD_ID).filter(|_| has_id).and_then(Value::text);
        let cl_ord_id = text.and_then(|text| ClientOrderId::new(text).ok());
        BodyError { code, cl_ord_id, detail }
    }
}

/// In every body that has it the first key of the list.
const CL_ORD_ID: usize = 0;

const SYMBOL: usize = 1;
const SIDE: usize = 2;
const TYPE: usize = 3;
const QTY: usize = 4;
const PRICE: usize = 5;
const TIF: usize = 6;
const POST_ONLY: usize = 7;
const REDUCE_ONLY: usize = 8;
const STP: usize = 9;
const DEADLINE: usize = 10;

const NEW: [&str; 11] = [
    "cl_ord_id",
    "symbol",
    "side",
    "type",
    "qty",
    "price",
    "tif",
    "post_only",
    "reduce_only",
    "stp",
    "deadline",
];

/// The place of a key in [`NEW`]. A `match`, because the compiler decides by length first.
fn place_new(key: &str) -> Option<usize> {
    Some(match key {
        "cl_ord_id" => CL_ORD_ID,
        "symbol" => SYMBOL,
        "side" => SIDE,
        "type" => TYPE,
        "qty" => QTY,
        "price" => PRICE,
        "tif" => TIF,
        "post_only" => POST_ONLY,
        "reduce_only" => REDUCE_ONLY,
        "stp" => STP,
        "deadline" => DEADLINE,
        _ => return None,
    })
}

const CANCEL: [&str; 2] = ["cl_ord_id", "orig_cl_ord_id"];

fn place_cancel(key: &str) -> Option<usize> {
    CANCEL.iter().position(|name| *name == key)
}

impl OrderNew {
    /// Reads the raw body of an `order.new` whose MAC has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &NEW, place_new);
        Self::from_fields(&body).map_err(|refusal| body.error(refusal))
    }

    fn from_fields(body: &Body<'_, { NEW.len() }>) -> Result<Self, Refusal> {
        body.check_form()?;
        let cl_ord_id = body.need_parsed(CL_ORD_ID, ClientOrderId::new, Code::OrdClientOrderIdInvalid)?;
        let symbol = body.need_parsed(SYMBOL, Symbol::new, Code::OrdSymbolUnknown)?;
        let side = body.need_parsed(SIDE, Side::parse, Code::OrdBodyFieldValueInvalid)?;
        let order_type = body.need_parsed(TYPE, OrderType::parse, Code::OrdBodyFieldValueInvalid)?;
        let quantity = body.quantity(QTY)?;
        let price = match (order_type, body.fields.get(PRICE)) {
            (OrderType::Market, None) => None,
            (OrderType::Market, Some(_)) => return Err((Code::OrdPriceNotAllowed, "price".into())),
            (OrderType::Limit, None) => return Err((Code::OrdPriceMissing, "price".into())),
            (OrderType::Limit, Some(_)) => Some(body.price(PRICE)?),
        };
        Ok(Self {
            cl_ord_id,
            symbol,
            side,
            order_type,
            quantity,
            price,
            time_in_force: body.need_parsed(TIF, TimeInForce::parse, Code::OrdBodyFieldValueInvalid)?,
            post_only: body.truth(POST_ONLY)?,
            reduce_only: body.truth(REDUCE_ONLY)?,
            stp: body.optional_parsed(STP, Stp::parse)?,
            deadline: body.optional_parsed(DEADLINE, UnixNanos::parse)?,
        })
    }

    /// The body as JSON, ready to be signed and sent. Options that are off are left out.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body = format!(
            r#"{{"cl_ord_id":"{}","symbol":"{}","side":"{}","type":"{}","qty":"{}""#,
            self.cl_ord_id, self.symbol, self.side, self.order_type, self.quantity
        );
        if let Some(price) = self.price {
            body += &format!(r#","price":"{price}""#);
        }
        body += &format!(r#","tif":"{}""#, self.time_in_force);
        if self.post_only {
            body += r#","post_only":true"#;
        }
        if self.reduce_only {
            body += r#","reduce_only":true"#;
        }
        if let Some(stp) = self.stp {
            body += &format!(r#","stp":"{stp}""#);
        }
        if let Some(deadline) = self.deadline {
            body += &format!(r#","deadline":"{deadline}""#);
        }
        body.push('}');
        body
    }
}

impl OrderCancel {
    /// Reads the raw body of an `order.cancel` whose MAC has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &CANCEL, place_cancel);
        Self::from_fields(&body).map_err(|refusal| body.error(refusal))
    }

    fn from_fields(body: &Body<'_, { CANCEL.len() }>) -> Result<Self, Refusal> {
        body.check_form()?;
        let (cl_ord_id, orig_cl_ord_id) = body.two_ids(CL_ORD_ID, 1)?;
        Ok(Self { cl_ord_id, orig_cl_ord_id })
    }

    /// The body as JSON, ready to be signed and sent.
    #[must_use]
    pub fn encode(&self) -> String {
        format!(r#"{{"cl_ord_id":"{}","orig_cl_ord_id":"{}"}}"#, self.cl_ord_id, self.orig_cl_ord_id)
    }
}
