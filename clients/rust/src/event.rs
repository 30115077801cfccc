//! What comes from the server without being asked for, one typed value at a time.
//!
//! Losses are values of the stream, not log lines: [`Event::Gap`] stands exactly where the missing messages
//! would, whether the server announced it or the client found it in the sequence.

use std::fmt;

use sealfeed_wire::close::Reconnect;
use sealfeed_wire::market::{
    Bbo, BookMessage, Definition, Exec, Gap, Heartbeat, IntervalEnd, Mbo, MboSnapshot, Ohlcv, Slow, Status,
    StreamHeader, StreamKey, Trade,
};
use sealfeed_wire::message::ServerMessage;
use sealfeed_wire::reply::{EntitlementChanged, ServerShutdown};
use sealfeed_wire::value::Sequence;

use crate::book::BookUpdate;
use crate::orders::OrdersUpdate;
use crate::tls::CertificateRefusal;

/// An event of the connection or of one of its streams.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Market data.
    Market(Market),
    /// Market data with the record that it came in, in place of [`Event::Market`] where records are kept.
    Record(Box<Record>),
    /// An execution report of the private channel `orders`.
    Execution(Box<Exec>),
    /// An execution report of the private channel `drop_copy`: of any principal of our firm, [`Exec::principal`] says whose.
    DropCopy(Box<Exec>),
    /// A stream was idle and nothing of it is missing.
    Heartbeat(Heartbeat),
    /// Every bar of a stream of bars up to a time has come.
    IntervalEnd(IntervalEnd),
    /// The source of a stream stalls: what is known of it may be old.
    Stale(Heartbeat),
    /// Messages of a stream did not come. A book must be rebuilt from a snapshot.
    Gap {
        /// Stream and positions, both ends inclusive.
        gap: Gap,
        /// Who noticed.
        origin: GapOrigin,
    },
    /// The server left messages of a state channel or of `mbo` out because this client reads slowly; the latest state follows.
    Skipped(Gap),
    /// A message that is not later than one seen before. It was withheld.
    Repeated {
        /// The stream.
        stream: StreamKey,
        /// Position of the message.
        seq: Sequence,
    },
    /// The server's queue towards this client is half full or more.
    Slow(Slow),
    /// An operator has changed what we may do; subscriptions may have ended.
    Entitlement(Box<EntitlementChanged>),
    /// The server drains and will close with 1012.
    ServerShutdown(ServerShutdown),
    /// A reply that no request of this client waits for: to a raw message, or after the wait ended.
    Reply(Box<ServerMessage>),
    /// A message of a type that this version does not know.
    Unknown {
        /// Its type.
        kind: String,
    },
    /// The connection has ended. The last event.
    Closed(Closed),
}

/// A DBN record as the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says. Its symbol is the one that the server gave the record's number.
    pub market: Market,
    /// The record, 16 to 1,020 bytes, DBN version 3. Its number of the instrument holds for one run of the server.
    pub bytes: Box<[u8]>,
}

/// One message of market data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Market {
    /// A trade.
    Trade(Trade),
    /// Best bid and offer.
    Bbo(Bbo),
    /// A whole book, for [`LocalBook`](crate::LocalBook).
    Snapshot(BookMessage),
    /// The levels that one event changed, for [`LocalBook`](crate::LocalBook).
    Delta(BookMessage),
    /// A record of an order-by-order feed.
    Mbo(Mbo),
    /// A part of all orders that rest, for [`LocalOrders`](crate::LocalOrders); on a DBN connection these are records, too.
    MboSnapshot(MboSnapshot),
    /// The trades of one interval.
    Ohlcv(Ohlcv),
    /// What may happen in an instrument.
    Status(Status),
    /// What an instrument is.
    Definition(Definition),
}

impl Market {
    /// Stream and position of the message.
    #[must_use]
    pub const fn header(&self) -> &StreamHeader {
        match self {
            Self::Trade(message) => &message.header,
            Self::Bbo(message) => &message.header,
            Self::Snapshot(message) | Self::Delta(message) => &message.header,
            Self::Mbo(message) => &message.header,
            Self::MboSnapshot(message) => &message.header,
            Self::Ohlcv(message) => &message.header,
            Self::Status(message) => &message.header,
            Self::Definition(message) => &message.header,
        }
    }

    /// The message as [`LocalBook::apply`](crate::LocalBook::apply) takes it; `None` if it is not of a book.
    #[must_use]
    pub const fn book_update(&self) -> Option<BookUpdate<'_>> {
        match self {
            Self::Snapshot(message) => Some(BookUpdate::Snapshot(message)),
            Self::Delta(message) => Some(BookUpdate::Delta(message)),
            _ => None,
        }
    }

    /// The message as [`LocalOrders::apply`](crate::LocalOrders::apply) takes it; `None` if it is not of orders.
    #[must_use]
    pub const fn orders_update(&self) -> Option<OrdersUpdate<'_>> {
        match self {
            Self::MboSnapshot(part) => Some(OrdersUpdate::Snapshot(part)),
            Self::Mbo(record) => Some(OrdersUpdate::Record(record)),
            _ => None,
        }
    }
}

/// Who noticed a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapOrigin {
    /// The server said so.
    Announced,
    /// The client found it: a message named another predecessor than the one that came.
    Detected,
}

/// How and why the connection ended, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Number in the server's close frame; `None`: there was no close frame.
    pub code: Option<u16>,
    /// The server's words, or ours where it said nothing.
    pub reason: String,
    /// Whether to connect again.
    pub reconnect: Reconnect,
    /// Who ended it.
    pub cause: CloseCause,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The server, with a close frame.
    Server,
    /// This client, because its user asked for it.
    Client,
    /// The network, or a server that vanished.
    Lost,
    /// Nothing came for so long, not even the answer to a ping, that the server must be gone.
    Silent,
    /// The server refused our certificate by an alert.
    CertificateRefused(CertificateRefusal),
    /// This client, because a message broke the protocol.
    ProtocolBroken,
}

impl Closed {
    pub(crate) fn by_server(code: u16, reason: &str) -> Self {
        let reason = reason.chars().filter(|character| !character.is_control()).collect();
        Self { code: Some(code), reason, reconnect: Reconnect::advice(code), cause: CloseCause::Server }
    }

    pub(crate) fn without_frame(cause: CloseCause, reason: impl Into<String>) -> Self {
        let reconnect = match cause {
            CloseCause::Lost | CloseCause::Silent | CloseCause::Server => Reconnect::Yes,
            CloseCause::Client | CloseCause::CertificateRefused(_) | CloseCause::ProtocolBroken => {
                Reconnect::No
            }
        };
        Self { code: None, reason: reason.into(), reconnect, cause }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code} {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}
