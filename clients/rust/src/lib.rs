//! Rust client of the sealfeed market data and order protocol.
//!
//! - [`Client::connect`] opens a mutual-TLS connection from a [`Context`] file and proves that the server's
//!   `welcome` belongs to that very connection before anything is signed.
//! - [`Client::next_event`] yields typed [`Event`]s; a loss is an event of its own, never only a log line.
//! - [`LocalBook`] follows a book and shows it only while it is provably the server's; [`BookFollower`] also mends it;
//!   [`LocalOrders`] follows the orders behind it.
//! - [`Client::order_new`] and its siblings sign and send a request once; the [`OrderOutcome`] is accepted, rejected or unknown.
//!
//! The types of messages are those of the `wire` crate, re-exported as [`wire`].

mod book;
mod client;
pub mod clock;
mod config;
mod connect;
mod connection;
mod error;
mod event;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod order;
mod orders;
mod queue;
mod raw;
mod records;
mod sequence;
mod signature;
mod streams;
mod tls;
mod token;
mod upgrade;
mod url;

pub use book::{BookError, BookUpdate, BookView, LocalBook};
pub use client::{Client, clock_offset_ns, subscription};
pub use config::{ClientConfig, ClientIdentity, ConfigError, Context, Protocol, read_certificates};
pub use error::{ConnectError, RequestError, Stage};
pub use event::{CloseCause, Closed, Event, GapOrigin, Market, Record};
pub use follow::{BookFollower, FollowError, Followed, SNAPSHOTS_MAX};
pub use order::{OrderOutcome, PreparedOrder, Signer, UnknownCause, random_nonce};
pub use orders::{LocalOrders, ORDERS_MAX, OrdersUpdate, OrdersView};
pub use raw::RawFeed;
pub use sequence::{Continuity, SequenceGuard};
pub use signature::CertificateKey;
pub use tls::{CertificateRefusal, connect_tls, exporter};
pub use token::TokenSource;
pub use upgrade::UpgradeRefusal;
pub use url::{FeedUrl, UrlError};

pub use sealfeed_wire as wire;
