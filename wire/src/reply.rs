//! What the server says besides market data: `welcome`, replies, errors, the notice of its shutdown.
//!
//! Every type serialises on the server ([`Encode`]) and deserialises on the client
//! ([`crate::message::ServerMessage`]), which ignores unknown fields and takes unknown words as unknown.

mod account;
mod order;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::code::{AnyCode, Code};
use crate::decimal::{Decimals, Price, Quantity, Scaled};
use crate::ident::{ClientOrderId, OrderId, StreamSymbol};
use crate::term::{Channel, Conflation, Depth, OnSlow};
use crate::value::{EntryHash, Epoch, LogId, RequestId, Sequence, UnixNanos};

pub use account::{
    Certificate, Changed, ChangedStream, ChannelGrant, Ended, Entitlement, EntitlementChanged, FirmGrant,
    Limits, OrderGrant, RateCeiling, Welcome, Whoami,
};

/// Serialises a message of the server.
pub trait Encode: sealed::Sealed {
    /// Appends the JSON text.
    fn encode(&self, out: &mut Vec<u8>);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! encode {
    ($($name:ident)*) => {$(
        impl sealed::Sealed for $name {}

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                // Writing into a vector cannot fail and every map's keys are texts.
                let written = serde_json::to_writer(out, self);
                debug_assert!(written.is_ok(), "{written:?}");
            }
        }
    )*};
}

encode!(Welcome Whoami EntitlementChanged Subscribed Done Pong OrderStatus ErrorReply ServerShutdown Refused);

/// `ok`: done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "ok")]
pub struct Done {
    /// The request's id.
    pub id: Option<RequestId>,
    /// Of a renewed token: when it expires, and the session with it unless it is renewed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<UnixNanos>,
    /// The rate limits that the request counted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
}

/// `pong`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "pong")]
pub struct Pong {
    /// The request's id.
    pub id: Option<RequestId>,
    /// The ping's `echo`, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<String>,
    /// Now, by the server's clock.
    pub ts: UnixNanos,
    /// The rate limits that the request counted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
}

/// `subscribed`: what was granted, with the position of every stream, and what was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "subscribed")]
pub struct Subscribed {
    /// The request's id.
    pub id: Option<RequestId>,
    /// The kind of stream.
    pub channel: Channel,
    /// Levels a side; `None` (null) for other channels than `book`.
    pub depth: Option<Depth>,
    /// Conflation in force.
    pub conflate_ms: Conflation,
    /// Treatment of a slow reader in force.
    pub on_slow: OnSlow,
    /// The streams that stand.
    pub symbols: BTreeMap<StreamSymbol, SubscribedStream>,
    /// The symbols that were refused, each with its reason.
    pub refused: BTreeMap<StreamSymbol, Refused>,
    /// The rate limits that the request counted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
}

/// A stream that a subscription stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribedStream {
    /// The present epoch.
    pub epoch: Epoch,
    /// Position of the stream's last message; zero before the first.
    pub seq: Sequence,
    /// Whether every missed message follows; `None` (null) if the request did not resume.
    pub recovered: Option<bool>,
    /// Why not, when `recovered` is false.
    pub reason: Option<AnyCode>,
    /// Decimals of the instrument's prices; `None` for `"*"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_decimals: Option<Decimals>,
    /// Decimals of the instrument's quantities; `None` for `"*"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qty_decimals: Option<Decimals>,
    /// Smallest step of an order's price, for instruments of the venue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Scaled<Price>>,
    /// Smallest step of an order's quantity, for instruments of the venue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<Scaled<Quantity>>,
    /// Delay of the stream in milliseconds; `None`: real time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed_ms: Option<u64>,
    /// Whether orders in the instrument are filled on paper, against what its recording shows; left out where they are not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paper: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// A reason in three fields: a refused symbol, or the body of a refused upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Stable code.
    pub code: AnyCode,
    /// What was wrong.
    pub message: Cow<'static, str>,
    /// What to do.
    pub hint: Cow<'static, str>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code: code.into(), message: code.message().into(), hint: code.hint().into() }
    }
}

/// Where a request and its outcome stand in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The log.
    pub log: LogId,
    /// Position of the entry, from 0.
    pub seq: u64,
    /// Hash of the entry.
    pub hash: EntryHash,
}

/// State of one rate limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// What is limited: `messages`, `principal_messages`, `orders`.
    pub name: Cow<'static, str>,
    /// How many in the interval.
    pub limit: u32,
    /// The interval, in milliseconds.
    pub interval_ms: u64,
    /// How many of them are used up.
    pub used: u32,
}

/// `order`: the answer to `order.new`, `order.cancel`, `order.replace` and `order.mass_cancel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "order")]
pub struct OrderReply {
    /// The request's id.
    pub id: Option<RequestId>,
    /// The request's client order id.
    pub cl_ord_id: ClientOrderId,
    /// The order that a cancel or a replace is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orig_cl_ord_id: Option<ClientOrderId>,
    /// The venue's id of the order; `None` (null) if it has none (yet).
    pub order_id: Option<OrderId>,
    /// Outcome of the request.
    pub status: OrderOutcome,
    /// The audit entry of the outcome.
    pub receipt: Option<Receipt>,
    /// The rate limits that the request counted for.
    pub rate_limits: Vec<RateLimit>,
    /// How many orders a mass cancel has cancelled; for no other request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canceled: Option<u32>,
}

/// What became of a request to the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderOutcome {
    /// The venue took it. What follows comes on the channel `orders`.
    Accepted,
    /// The venue refused it. Not used by servers of this version: a refusal is an `error`.
    Rejected,
    /// Not known: ask `order.status`, or send the same body again.
    #[serde(other)]
    Unknown,
}

/// `order_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "order_status")]
pub struct OrderStatus {
    /// The request's id.
    pub id: Option<RequestId>,
    /// The client order id asked for.
    pub cl_ord_id: ClientOrderId,
    /// The order, if the id asked for is that of a cancel; the state is the order's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orig_cl_ord_id: Option<ClientOrderId>,
    /// The venue's id of the order.
    pub order_id: Option<OrderId>,
    /// Its state.
    pub state: OrderState,
    /// Quantity still open; `None` (null) for an unknown or refused order, as the next two.
    pub leaves_qty: Option<Scaled<Quantity>>,
    /// Quantity filled so far.
    pub cum_qty: Option<Scaled<Quantity>>,
    /// Average price of what was filled, nine decimals; `None` before the first fill.
    pub avg_price: Option<Scaled<Price>>,
    /// Why it was refused or canceled by the venue.
    pub reason: Option<AnyCode>,
    /// Receipt of the first answer to this id.
    pub receipt: Option<Receipt>,
    /// The rate limits that the request counted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
}

/// State of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// In the book, nothing filled.
    New,
    /// In the book, filled in part.
    PartiallyFilled,
    /// Filled completely.
    Filled,
    /// Canceled.
    Canceled,
    /// Refused.
    Rejected,
    /// Its time in force ended.
    Expired,
    /// The server knows no order of this id.
    #[serde(other)]
    Unknown,
}

/// `error`: the request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "error")]
pub struct ErrorReply {
    /// The request's id; `None` (null) if it had none that could be read.
    pub id: Option<RequestId>,
    /// Stable code.
    pub code: AnyCode,
    /// What was wrong.
    pub message: Cow<'static, str>,
    /// What to do.
    pub hint: Cow<'static, str>,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// When to try again; `None` (null) where the server cannot say.
    pub retry_after_ms: Option<u64>,
    /// Which field or value of the request. For people; not stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'static, str>>,
    /// The client order id of a refused order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cl_ord_id: Option<ClientOrderId>,
    /// The audit entry of a final refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// The rate limits, in an error about one and in every answer to a signed request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
}

impl ErrorReply {
    /// The error of a code, with its fixed texts and nothing else.
    #[must_use]
    pub fn new(id: Option<RequestId>, code: Code) -> Self {
        Self {
            id,
            code: code.into(),
            message: code.message().into(),
            hint: code.hint().into(),
            retryable: code.is_retryable(),
            retry_after_ms: None,
            detail: None,
            cl_ord_id: None,
            receipt: None,
            rate_limits: Vec::new(),
        }
    }
}

impl From<crate::request::RequestError> for ErrorReply {
    fn from(error: crate::request::RequestError) -> Self {
        let detail = Some(error.detail).filter(|detail| !detail.is_empty());
        Self { detail, ..Self::new(error.id, error.code) }
    }
}

/// `server_shutdown`: the connection will be closed with 1012.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "server_shutdown")]
pub struct ServerShutdown {
    /// When to connect again, in milliseconds.
    pub retry_after_ms: u64,
    /// Now, by the server's clock.
    pub ts: UnixNanos,
}
