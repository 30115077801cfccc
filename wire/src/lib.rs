//! The sealfeed wire contract, version 1: what server and clients say to each other. No I/O.
//!
//! The reference for people is `docs/PROTOCOL.md`; golden vectors for every language lie in `tests/vectors/`.
//!
//! | for | use |
//! |---|---|
//! | exact numbers | [`Price`], [`Quantity`] (nano-units), [`Scaled`] (with their printed decimals), [`Decimals`] |
//! | identifiers | [`Symbol`], [`ClientOrderId`], [`OrderId`], [`TradeId`], [`ExecId`], [`StreamSymbol`] |
//! | times, positions, hashes | [`UnixNanos`], [`Sequence`], [`Epoch`], [`SessionId`], [`Nonce`], [`value`] |
//! | words | [`Channel`], [`Side`], [`OrderType`], [`TimeInForce`] and the rest of [`term`] |
//! | refusals and their reasons | [`Code`], the one table; [`AnyCode`] on the client |
//! | close frames | [`CloseCode`], [`Reconnect`] |
//! | server: a client's frame | [`request::parse`], then [`SessionMac::verifies`], then [`OrderNew::decode`] |
//! | server: answers | [`reply`] with [`reply::Encode`] |
//! | server: market data | `encode_*` of [`market`] |
//! | client: requests | [`Request::encode`], [`OrderNew::encode`], [`SessionMac::sign`], [`request::encode_signed`] |
//! | client: the server's frames | [`ServerMessage::decode`] |
//! | both: is the book right? | [`checksum::checksum`] |
//!
//! Closed on the server, open on the client: the server refuses every word and field it does not know, a client
//! ignores them. Within version 1 the wire only grows.

pub mod base64url;
pub mod body;
pub mod checksum;
pub mod close;
pub mod code;
pub mod decimal;
pub mod hex;
pub mod ident;
pub mod market;
pub mod message;
mod object;
pub mod publish;
pub mod reply;
pub mod request;
mod sha256;
pub mod signing;
pub mod term;
pub mod value;

pub use body::{
    AdminKill, AdminReload, AdminTrading, BodyError, KillTarget, OperatorReason, OrderCancel, OrderDeadMan,
    OrderMassCancel, OrderNew, OrderReplace,
};
pub use close::{CloseCode, Reconnect};
pub use code::{AnyCode, Area, Code, Retry};
pub use decimal::{DecimalError, Decimals, Price, Quantity, Scaled};
pub use ident::{ClientOrderId, ExecId, OrderId, StreamSymbol, Symbol, TradeId};
pub use market::{BookDecimals, Level, MarketMessage, StreamHeader, StreamKey};
pub use message::{MessageError, ServerMessage};
pub use publish::Publish;
pub use request::{Op, Proof, Request, RequestError, Signed, Subscribe, Symbols};
pub use sha256::{CompressPair, sha256};
pub use signing::{KeyedMac, OrderKey, SessionMac};
pub use term::{
    AdminVerb, Aggressor, Channel, Conflation, Depth, KillAction, KillScope, MassCancelScope, OnSlow,
    OrderType, ProofDemand, Side, SignedOp, Stp, TimeInForce, TradingPhase,
};
pub use value::{CertificateHash, EntryHash, Epoch, LogId, Nonce, RequestId, Sequence, SessionId, UnixNanos};

/// Path of the WebSocket endpoint.
pub const PATH: &str = "/v1/feed";

/// The sub-protocol of this version: JSON text frames both ways.
pub const SUBPROTOCOL_JSON: &str = "sealfeed.v1.json";

/// The sub-protocol whose market data is binary frames of DBN records; requests, replies and notices are JSON text frames.
pub const SUBPROTOCOL_DBN: &str = "sealfeed.v1.dbn";
