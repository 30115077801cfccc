//! Domain types that every stage shares: identifiers, instruments, orders, market events, entitlements.
//!
//! Layer 0: names only the `wire` crate. Nothing here does I/O, reads a clock or holds a lock. Types are made
//! valid once, at the edge, and never re-checked; none of them can be serialised (that is the edges' business).

pub mod auction;
pub mod entitlement;
pub mod instrument;
pub mod market;
pub mod network;
pub mod numbered;
pub mod order;
mod patterns;
pub mod principal;
pub mod proof;
pub mod report;
pub mod risk;
pub mod status;
pub mod time;

pub use auction::{Indication, Indicative};
pub use entitlement::{
    Access, Entitlement, Grant, OrderRights, PublishRights, SessionLimits, SessionsPolicy,
};
pub use instrument::{Instrument, InstrumentId, Instruments, MarketDepth};
pub use market::{BookSide, MarketEvent, MarketEventKind, TopLevel};
pub use network::{Network, NetworkError, one_address};
pub use numbered::{OrderMap, OwnerMap};
pub use order::{
    CancelOrder, NewOrder, OrderId, OrderKind, OrderState, OwnerId, ReplaceOrder, SelfTrade, TimeInForce,
};
pub use patterns::SymbolPatterns;
pub use principal::{Principal, Role};
pub use proof::{ProofDemand, SignatureKey};
pub use report::{CancelReason, Execution, ExecutionKind};
pub use risk::{CancelOnDisconnect, DuplicateLimit, FirmLimits, RiskBounds};
pub use status::{Definition, Phase, StatusReason, TradingState};
pub use time::{TimeArithmetic, UnixNanos};

pub use sealfeed_wire::{
    AdminVerb, BookDecimals, Channel, ClientOrderId, Code, Decimals, Depth, Epoch, Nonce, Price, Quantity,
    RequestId, Sequence, SessionId, Side, Symbol,
};
