//! Any text frame of the server, as a client reads it.
//!
//! Open: unknown fields are ignored, and a message that this version does not know (another `type`, or a known
//! one with a word that is not in its list) is [`ServerMessage::Unknown`], never an error that ends a session.
//! Only a frame that is no JSON object with a `type`, or whose known fields have wrong types, is an error.

use std::borrow::Cow;

use serde::Deserialize;

use crate::market::MarketMessage;
use crate::reply::{
    Done, EntitlementChanged, ErrorReply, OrderReply, OrderStatus, Pong, ServerShutdown, Subscribed, Welcome,
    Whoami,
};

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// `welcome`.
    Welcome(Box<Welcome>),
    /// `ok`.
    Done(Done),
    /// `subscribed`.
    Subscribed(Box<Subscribed>),
    /// `pong`.
    Pong(Pong),
    /// `whoami`.
    Whoami(Box<Whoami>),
    /// `order`.
    Order(Box<OrderReply>),
    /// `order_status`.
    OrderStatus(Box<OrderStatus>),
    /// `error`.
    Error(Box<ErrorReply>),
    /// `entitlement`.
    Entitlement(Box<EntitlementChanged>),
    /// `server_shutdown`.
    Shutdown(ServerShutdown),
    /// Market data, execution reports, and notices about their streams.
    Market(MarketMessage),
    /// A message of a type that this version does not know.
    Unknown {
        /// Its `type`.
        kind: String,
    },
}

/// Why a frame of the server cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a {kind} message from the server cannot be read")]
pub struct MessageError {
    /// Its `type`; empty if there is none.
    pub kind: String,
    /// What the JSON reader found.
    #[source]
    pub source: serde_json::Error,
}

impl ServerMessage {
    /// Reads one text frame.
    ///
    /// # Errors
    /// [`MessageError`] for text that is no JSON object with a `type`, and for fields that cannot be read.
    pub fn decode(frame: &str) -> Result<Self, MessageError> {
        #[derive(Deserialize)]
        struct TypeOnly<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
        }

        let kind = match leading_type(frame) {
            Some(kind) => Cow::Borrowed(kind),
            None => {
                serde_json::from_str::<TypeOnly<'_>>(frame)
                    .map_err(|source| MessageError { kind: String::new(), source })?
                    .kind
            }
        };
        let decoded = match kind.as_ref() {
            "welcome" => boxed(frame).map(Self::Welcome),
            "ok" => serde_json::from_str(frame).map(Self::Done),
            "subscribed" => boxed(frame).map(Self::Subscribed),
            "pong" => serde_json::from_str(frame).map(Self::Pong),
            "whoami" => boxed(frame).map(Self::Whoami),
            "order" => boxed(frame).map(Self::Order),
            "order_status" => boxed(frame).map(Self::OrderStatus),
            "error" => boxed(frame).map(Self::Error),
            "entitlement" => boxed(frame).map(Self::Entitlement),
            "server_shutdown" => serde_json::from_str(frame).map(Self::Shutdown),
            other => match MarketMessage::decode(other, frame) {
                Some(message) => message.map(Self::Market),
                None => return Ok(Self::Unknown { kind: kind.into_owned() }),
            },
        };
        decoded.map_err(|source| MessageError { kind: kind.into_owned(), source })
    }
}

fn boxed<'a, T: Deserialize<'a>>(frame: &'a str) -> serde_json::Result<Box<T>> {
    serde_json::from_str(frame).map(Box::new)
}

/// The type of a frame that begins with it, as those of this server do: saves a first pass over the text.
fn leading_type(frame: &str) -> Option<&str> {
    let (kind, _) = frame.strip_prefix("{\"type\":\"")?.split_once('"')?;
    kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(kind)
}
