//! Who the client is and what it may do: `welcome` and `whoami`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RateLimit, Refused};
use crate::decimal::Quantity;
use crate::ident::StreamSymbol;
use crate::term::{Channel, Conflation};
use crate::value::{CertificateHash, Epoch, RequestId, Sequence, SessionId, UnixNanos};

/// `welcome`: the first message of every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "welcome")]
pub struct Welcome {
    /// The TLS exporter value of this connection: part of every signing string.
    pub session: SessionId,
    /// How the session id is bound to the connection: [`Welcome::BINDING`].
    pub binding: Cow<'static, str>,
    /// Who the certificate names: `firm/user`.
    pub principal: String,
    /// Name and version of the server's software.
    pub server: Cow<'static, str>,
    /// Now, by the server's clock.
    pub ts: UnixNanos,
    /// What the principal may do.
    pub entitlement: Entitlement,
    /// The ceilings of this connection.
    pub limits: Limits,
    /// How old a signed request may be, in milliseconds.
    pub order_window_ms: u64,
    /// After how long without a message a stream's heartbeat comes, in milliseconds.
    pub heartbeat_ms: u64,
    /// When the token that came with the upgrade expires, and the session with it unless it is renewed; `None`: it came with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<UnixNanos>,
}

impl Welcome {
    /// The session id is the connection's TLS exporter value (RFC 9266).
    pub const BINDING: &str = "tls-exporter";

    /// Label of the exporter; the context is empty and the length 32 bytes.
    pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
}

/// `whoami`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "whoami")]
pub struct Whoami {
    /// The request's id.
    pub id: Option<RequestId>,
    /// Who the certificate names: `firm/user`.
    pub principal: String,
    /// The certificate this connection was opened with.
    pub certificate: Certificate,
    /// What the principal may do now; every line names the rule that granted it.
    pub entitlement: Entitlement,
    /// The ceilings of this connection.
    pub limits: Limits,
    /// The rate limits that the request counted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
}

/// `entitlement`: an operator has changed what the principal may do. Holds from here on, for requests that were answered
/// before this message as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "entitlement")]
pub struct EntitlementChanged {
    /// Now, by the server's clock.
    pub ts: UnixNanos,
    /// What the principal may do now.
    pub entitlement: Entitlement,
    /// The ceilings of this connection now.
    pub limits: Limits,
    /// Subscriptions that are no longer covered: nothing of them comes behind this message.
    pub ended: Vec<Ended>,
    /// Subscriptions that go on with another delay, as other streams: nothing of the ones before comes behind this message.
    /// Left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
}

impl EntitlementChanged {
    /// Why the subscription to a symbol of a channel has ended; `None` if it goes on, or never stood.
    #[must_use]
    pub fn ended(&self, channel: Channel, symbol: impl Into<StreamSymbol>) -> Option<&Refused> {
        let symbol = symbol.into();
        let mut of_channel = self.ended.iter().filter(|ended| ended.channel == channel);
        of_channel.find_map(|ended| ended.symbols.get(&symbol))
    }

    /// The stream with which the subscription to a symbol of a channel goes on; `None` if it is the one before, or never stood.
    #[must_use]
    pub fn changed(&self, channel: Channel, symbol: impl Into<StreamSymbol>) -> Option<&ChangedStream> {
        let symbol = symbol.into();
        let mut of_channel = self.changed.iter().filter(|changed| changed.channel == channel);
        of_channel.find_map(|changed| changed.symbols.get(&symbol))
    }
}

/// Subscriptions of one channel that a change of the entitlement has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The kind of stream.
    pub channel: Channel,
    /// The symbols, each with the code that answers the same subscription now.
    pub symbols: BTreeMap<StreamSymbol, Refused>,
}

/// Subscriptions of one channel that go on with another delay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The kind of stream.
    pub channel: Channel,
    /// The symbols, each with the stream that takes the place of the one before. Depth, conflation and all else stay what they were.
    pub symbols: BTreeMap<StreamSymbol, ChangedStream>,
}

/// The stream with which a subscription goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedStream {
    /// Its delay in milliseconds; `None`: real time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed_ms: Option<u64>,
    /// The run of its numbers; `None` (null) as long as its beginning is being read. Another `entitlement` message follows then.
    pub epoch: Option<Epoch>,
    /// Position of its last message, zero before the first; `None` (null) with `epoch`.
    pub seq: Option<Sequence>,
}

impl ChangedStream {
    /// Where it stands; `None` as long as it waits.
    #[must_use]
    pub fn position(&self) -> Option<(Epoch, Sequence)> {
        self.epoch.zip(self.seq)
    }
}

/// A client certificate, in brief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Subject, for people.
    pub subject: String,
    /// Issuer, for people.
    pub issuer: String,
    /// Serial number in lower-case hexadecimal digits.
    pub serial: String,
    /// Start of validity.
    pub not_before: UnixNanos,
    /// End of validity.
    pub not_after: UnixNanos,
    /// SHA-256 of the DER form: part of the order key's derivation.
    pub sha256: CertificateHash,
}

/// What a principal may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// Market data.
    pub channels: Vec<ChannelGrant>,
    /// Orders; `None` (null): none.
    pub orders: Option<OrderGrant>,
    /// Operator verbs; left out if there are none. Texts, because a newer server may have more of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admin: Vec<Cow<'static, str>>,
    /// Whether the execution reports of the whole firm may be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop_copy: bool,
    /// Whether the user is a professional one, as exchanges count them; left out if the server's policy does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub professional: Option<bool>,
    /// Whether the data is for display to a person (`false`: for use by programs); left out if the policy does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<bool>,
    /// When this may change because something in the policy begins or ends; left out if nothing does. An `entitlement` message tells of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_at: Option<UnixNanos>,
}

/// One line of a market data entitlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelGrant {
    /// The channel. A text, because a newer server may have more of them.
    pub channel: Cow<'static, str>,
    /// Symbols and patterns, `*` for any run of characters.
    pub symbols: Vec<String>,
    /// Most levels a side of `book`; 0: all; `None` (null) for other channels.
    pub depth_max: Option<u16>,
    /// Shortest `conflate_ms` of `bbo` and `book`, if not every message may be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflate_ms_min: Option<Conflation>,
    /// Delay in milliseconds; `None`: real time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed_ms: Option<u64>,
    /// The rule that grants it; in `whoami` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// Order rights. A limit that is `None` (null) does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderGrant {
    /// Symbols and patterns, `*` for any run of characters.
    pub symbols: Vec<String>,
    /// Most quantity of one order.
    pub qty_max: Option<Quantity>,
    /// Most price times quantity of one order, in whole units of the quote currency.
    pub notional_max: Option<u64>,
    /// Most open orders at once.
    pub open_orders_max: Option<u32>,
    /// Symbols and patterns that may not be traded, whatever `symbols` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restricted_symbols: Vec<String>,
    /// How far a buy may be above the market and a sell below it, in basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_collar_bps: Option<u32>,
    /// Most net position in one symbol, long or short, if all open orders of a side filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_max: Option<Quantity>,
    /// Most value of open orders and positions over all symbols, in whole units of the quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure_max: Option<u64>,
    /// Loss of the trading day from which on only orders that reduce a position pass, in whole units of the quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_max: Option<u64>,
    /// Most orders with the same symbol, side, type, quantity and price within `duplicates_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates_max: Option<u32>,
    /// In milliseconds; there if `duplicates_max` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates_ms: Option<u64>,
    /// `connection` or `principal` if resting orders are cancelled when a session ends without `logout`; `None`: they are not. A text,
    /// because a newer server may have more of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_on_disconnect: Option<Cow<'static, str>>,
    /// Bounds on all principals of the firm together, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firm: Option<FirmGrant>,
    /// The rule that grants it; in `whoami` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What signed requests must carry: `sig` or `both`; left out where the MAC is what is demanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Cow<'static, str>>,
}

/// What all principals of a firm may do together. A limit that is absent does not exist; each is meant as in [`OrderGrant`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmGrant {
    /// Symbols and patterns that may not be traded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restricted_symbols: Vec<String>,
    /// Most open orders at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_orders_max: Option<u32>,
    /// Most net position in one symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_max: Option<Quantity>,
    /// Most value of open orders and positions, in whole units of the quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure_max: Option<u64>,
    /// Loss of the trading day from which on only orders that reduce a position of the firm pass, in whole units of the quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_max: Option<u64>,
    /// New orders and replaces a second; cancels are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders_per_second: Option<u32>,
}

/// Ceilings of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest message of a client, in bytes; above it 1009.
    pub message_bytes_max: u32,
    /// Most subscriptions (channel and symbol) of a connection.
    pub subscriptions_max: u32,
    /// Most simultaneous sessions of the principal.
    pub sessions_max: u32,
    /// What becomes of one more: `evict` (the oldest ends with 4004) or `count` (it is let in); left out: it is refused. A text, because a newer
    /// server may have more of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions_policy: Option<Cow<'static, str>>,
    /// Bytes that may wait for this connection; above it 4001.
    pub queue_bytes_max: u64,
    /// How long the oldest of them may wait while the connection takes nothing, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_age_ms_max: Option<u64>,
    /// Malformed or unauthenticated messages that are borne in `malformed_interval_ms`; then 4505.
    pub malformed_max: u32,
    /// The interval of `malformed_max`, in milliseconds.
    pub malformed_interval_ms: u64,
    /// Rate limits.
    pub rates: Vec<RateCeiling>,
}

/// A rate limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateCeiling {
    /// What is limited: `messages`, `orders`.
    pub name: Cow<'static, str>,
    /// How many in the interval.
    pub limit: u32,
    /// The interval, in milliseconds.
    pub interval_ms: u64,
}
