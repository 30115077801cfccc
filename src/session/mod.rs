//! One client connection, from the end of its TLS handshake to its close frame.
//!
//! States are types: [`Session<Identified>`] knows who is there and may only upgrade; [`Session<Active>`] alone
//! reaches the gate. Handshake and upgrade run on tokio; then a **shard** owns the connection for life: one thread a
//! processor that reads, parses, answers and writes (`shard`), with session logic that sees neither sockets nor TLS
//! (`inbound`). In: messages of the client. Out: commands to the pipeline, and what it and the streams have for the
//! client. Invariants: every session has a `connect` and a `disconnect` entry; none gets its `101`, and no message of the client is
//! acted on, before the `connect` entry is durable; every end has its close frame.

mod abuse;
mod active;
mod bans;
mod frames;
mod inbound;
mod limits;
mod outbox;
mod pressure;
mod registry;
mod shard;
mod shared;
pub mod tls;
pub mod token;
pub mod upgrade;
pub mod websocket;
mod weights;
mod welcome;
mod withdrawn;

pub use active::{Active, standing, verdict};
pub use bans::Bans;
pub use limits::Limits;
pub use pressure::Pressure;
pub use registry::{ConnectionSlot, Met, Registry, Swept, Verdict};
pub use shard::{ShardThreads, Shards, prepare};
pub use upgrade::{Refused, UpgradeRules};
pub use welcome::changed;
pub use withdrawn::RevokedCertificate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use sealfeed_wire::{Code, SessionId};
use tokio::io::AsyncRead;

use tls::TlsStream;
use token::Authorization;

use crate::clock::Clock;
use crate::feed::Encoding;
use crate::gate::NonceFill;
use crate::identity::{Identity, Refusal};
use crate::journal::summary::Summary;
use crate::journal::{Journal, event};
use crate::pipeline::PipelineHandle;
use crate::shutdown::Shutdown;

/// What all sessions of a server share.
pub struct SessionContext {
    /// Where events go.
    pub journal: Journal,
    /// Where events of unknown peers go.
    pub summary: Arc<Summary>,
    /// Where requests go.
    pub pipeline: PipelineHandle,
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// Who serves them.
    pub shards: Shards,
    /// Who may do what.
    pub identity: Arc<Identity>,
    /// What time it is.
    pub clock: Clock,
    /// Bounds on what a peer can cause.
    pub limits: Arc<Limits>,
    /// Who is sent away for a while.
    pub bans: Bans,
    /// How close the server is to its own bounds.
    pub pressure: Arc<Pressure>,
    /// How full the memory of nonces is.
    pub nonces: NonceFill,
    /// Bytes that may wait for all readers together, as the shards were started with.
    pub out_bytes_max: usize,
    /// What an upgrade is checked against.
    pub upgrade: UpgradeRules,
    /// How old a signed message may be, in milliseconds.
    pub order_window_ms: u64,
    /// After how long an idle stream sends a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// The signal to stop.
    pub shutdown: Shutdown,
}

/// One connection in state `S`.
pub struct Session<S> {
    context: Arc<SessionContext>,
    address: SocketAddr,
    state: S,
}

/// TLS is up and the certificate verified; who it names, or why it names nobody.
pub struct Identified {
    identity: Result<crate::identity::Identified, Refusal>,
    presented: Vec<CertificateDer<'static>>,
    id: SessionId,
}

impl Session<Identified> {
    /// A connection whose TLS handshake has succeeded. `id` is the exporter value of the connection, `presented` the
    /// client's certificates, which only the journal takes.
    #[must_use]
    pub const fn new(
        context: Arc<SessionContext>,
        address: SocketAddr,
        id: SessionId,
        identity: Result<crate::identity::Identified, Refusal>,
        presented: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { context, address, state: Identified { identity, presented, id } }
    }

    /// Takes the upgrade and hands the session to its shard. A refusal is recorded before it is answered.
    pub async fn serve(self, mut stream: TlsStream, slot: ConnectionSlot) {
        let (is_unknown, address) = (self.state.identity.is_err(), self.address);
        match self.upgrade(&mut stream).await {
            Ok((session, upgrade)) => session.begin(stream, upgrade, slot),
            Err((context, refused)) => {
                if is_unknown {
                    context.unknown_peer(&slot, address);
                }
                let answer = upgrade::refuse(&mut stream, &refused);
                let deadline = Duration::from_millis(context.limits.now().upgrade_timeout_ms);
                // A peer that does not take its answer loses it; the connection ends either way.
                let _ = tokio::time::timeout(deadline, answer).await;
            }
        }
    }

    async fn upgrade<S: AsyncRead + Unpin>(
        self,
        stream: &mut S,
    ) -> Result<(Session<Active>, upgrade::Upgrade), (Arc<SessionContext>, Refused)> {
        let context = Arc::clone(&self.context);
        let deadline = Duration::from_millis(context.limits.now().upgrade_timeout_ms);
        let address = self.address;
        let principal = self.state.identity.as_ref().ok().map(|identity| identity.principal.to_string());
        let header_bytes_max = context.limits.now().header_bytes_max;
        let receiving = upgrade::receive(stream, &context.upgrade, header_bytes_max);
        let received = tokio::time::timeout(deadline, receiving).await;
        let result = match received {
            Ok(Ok(upgrade)) => {
                self.admit(upgrade.encoding, &upgrade.authorization).map(|session| (session, upgrade))
            }
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(Refused::new(Code::SesUpgradeTimeout, "no whole request before the deadline")),
        };
        result.map_err(|refused| {
            let event = event::UpgradeRefused {
                address: address.to_string(),
                principal,
                code: refused.code.as_str().to_owned(),
                status: refused.status,
                detail: refused.detail.clone(),
            };
            // The journal tells the server to stop when it fails; the refusal stands either way.
            let _ = context.summary.record(address.ip(), event);
            (context, refused)
        })
    }

    /// The checks that need to know who it is.
    fn admit(self, encoding: Encoding, authorization: &Authorization) -> Result<Session<Active>, Refused> {
        let Self { context, address, state } = self;
        let identity = state
            .identity
            .map_err(|refusal| Refused::new(Code::SesEntitlementMissing, refusal.to_string()))?;
        if context.shutdown.is_stopping() {
            return Err(Refused::new(Code::SesDraining, "the server is stopping"));
        }
        if !context.journal.is_available() {
            return Err(Refused::new(Code::AudLogUnavailable, "the sealed log takes no entries"));
        }
        if let Some(retry_after_ms) = context.banned_for(&identity.principal, address.ip()) {
            let code = Code::SesPrincipalBanned;
            context.met(address, Some(&identity.principal), "ban", code);
            return Err(Refused { retry_after_ms, ..Refused::new(code, "the principal is banned") });
        }
        let token = token::admit(&context, &identity, authorization)?;
        let entitlement = context
            .identity
            .entitlement(&identity)
            .map_err(|error| Refused::new(error.code(), error.to_string()))?;
        Active::new(&context, state.id, (identity, token), entitlement, state.presented, encoding)
            .map(|state| Session { context, address, state })
    }
}
