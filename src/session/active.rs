//! The state that reaches the gate, and its life: welcome, then reading and writing side by side, then the end.

use std::sync::Arc;
use std::time::Duration;

use sealfeed_wire::reply::ServerShutdown;
use sealfeed_wire::{CloseCode, SUBPROTOCOL_JSON, SessionId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::inbound::Reader;
use super::inbound::encoded;
use super::registry::PrincipalSlot;
use super::transport::{Inbound, Outbound};
use super::upgrade::{Refused, Upgrade};
use super::{Session, SessionContext, outbound, transport, welcome};
use crate::feed::{Ending, OutboundQueue};
use crate::identity::{Identified, Identity};
use crate::journal::{JournalError, SessionTrail, event};
use crate::pipeline::{Command, SessionHandle};
use crate::types::{Code, Entitlement, TimeArithmetic as _, UnixNanos};

/// Admitted: an entitled principal with a place of its own.
pub struct Active {
    pub(super) handle: Arc<SessionHandle>,
    pub(super) identity: Identified,
    slot: PrincipalSlot,
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// We close, for this reason.
    Close(Ending),
    /// The peer closed first, with this code if it gave one.
    Peer(Option<u16>),
    /// The connection broke, or takes nothing more.
    Broken,
}

impl End {
    /// We close with the code that belongs to this reason.
    pub(super) const fn because(reason: Code) -> Self {
        Self::Close(Ending::because(reason))
    }

    /// We go away: the log or the pipeline takes nothing more.
    pub(super) const GOING_AWAY: Self = Self::Close(Ending { close: CloseCode::GoingAway, reason: None });
}

/// How long answers to what was read may take when the session's time is over.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);
/// Number that the log shows for a connection that ended without a close frame (RFC 6455 section 7.4.1).
const NO_CLOSE_FRAME: u16 = 1006;
/// Number that the log shows for a close frame without a code.
const NO_CODE: u16 = 1005;

impl Active {
    pub(super) fn new(
        context: &Arc<SessionContext>,
        id: SessionId,
        identity: Identified,
        entitlement: Entitlement,
    ) -> Result<Self, Refused> {
        let slot = context
            .registry
            .begin(&identity.principal, entitlement.limits.sessions_max)
            .map_err(|code| Refused::new(code, "as many sessions as the entitlement allows"))?;
        let handle = Arc::new(SessionHandle {
            number: slot.number,
            principal: identity.principal.clone(),
            entitlement: Arc::new(entitlement),
            queue: Arc::new(OutboundQueue::new(context.limits.out_queue_bytes_max)),
            trail: SessionTrail::new(id),
        });
        Ok(Self { handle, identity, slot })
    }
}

impl Session<Active> {
    /// Runs the session to its end. The upgrade has been answered with 101.
    pub(super) async fn run<S>(self, stream: S, upgrade: Upgrade)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let context = Arc::clone(&self.context);
        let handle = Arc::clone(&self.state.handle);
        let bytes_max = context.limits.message_bytes_max;
        let user_agent = upgrade.user_agent;
        let (mut inbound, mut outbound) = transport::open(stream, upgrade.already_read, bytes_max).await;
        // Reachable for a reload from here on: one that lands between the upgrade's checks and this line is seen by
        // the look that follows.
        context.registry.enter(&handle, self.state.identity.clone());
        let verdict = verdict(&context.identity, &self.state.identity, &handle, context.clock.now());
        let mut reader = Reader::new(Arc::clone(&context), Arc::clone(&handle), self.state.identity.clone());
        let end = match (self.connected(&user_agent).await, verdict) {
            (Err(_), _) => End::GOING_AWAY,
            (Ok(()), Some(ending)) => End::Close(ending),
            (Ok(()), None) => {
                // The queue is empty, so the welcome fits.
                let _ = handle.queue.push(welcome::message(&context, &handle).into());
                self.converse(&mut reader, &mut inbound, &mut outbound).await
            }
        };
        self.closed(end, reader.received(), outbound.sent()).await;
        match end {
            End::Close(Ending { close, reason }) => {
                outbound::write_rest(&mut outbound, &handle.queue).await;
                outbound.close(inbound, close, reason.map_or(close.name(), Code::as_str)).await;
            }
            End::Peer(_) => outbound.finish().await,
            End::Broken => {}
        }
        drop(self.state.slot);
    }

    /// Reads and writes side by side until one of them ends the session, or its time is over. Then nothing more is
    /// read, and what was read before is still answered.
    async fn converse<S>(
        &self,
        reader: &mut Reader,
        inbound: &mut Inbound<S>,
        outbound: &mut Outbound<S>,
    ) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { context, state, .. } = self;
        let ping = Duration::from_millis(context.limits.idle_timeout_ms / 3);
        let writing = outbound::run(outbound, &state.handle.queue, ping, &context.clock);
        tokio::pin!(writing);
        let end = tokio::select! {
            end = reader.run(inbound) => return end,
            end = &mut writing => return end,
            end = self.times_out() => end,
        };
        let End::Close(ending) = end else { return end };
        // Told before the close frame, so that clients do not all come back at once.
        let notice = (ending.close == CloseCode::Drain)
            .then(|| encoded(&ServerShutdown { retry_after_ms: 1_000, ts: context.clock.now() }));
        let finish = Command::Finish { session: Arc::clone(&state.handle), ending, notice: notice.clone() };
        let answered = async {
            context.pipeline.send(finish).await.ok()?;
            Some(writing.await)
        };
        match tokio::time::timeout(ANSWERS_TIMEOUT, answered).await {
            Ok(Some(end)) => end,
            // The pipeline is stuck or gone: the notice leaves without it.
            Ok(None) | Err(_) => {
                notice.map(|notice| state.handle.queue.push(notice.into()));
                end
            }
        }
    }

    async fn connected(&self, user_agent: &str) -> Result<(), JournalError> {
        let Self { context, address, state } = self;
        let entry = context.journal.record_in(
            &state.handle.trail,
            event::Connect {
                address: address.to_string(),
                principal: state.handle.principal.to_string(),
                serial: state.identity.serial.clone(),
                certificate: sealfeed_wire::hex::encode(&state.identity.fingerprint),
                user_agent: user_agent.to_owned(),
                protocol: SUBPROTOCOL_JSON.to_owned(),
            },
        )?;
        context.journal.durable(entry).await
    }

    async fn closed(&self, end: End, received: u64, sent: u64) {
        let Self { context, state, .. } = self;
        let (close_code, reason) = match end {
            End::Close(Ending { close, reason: None }) => (close.number(), close.name().to_owned()),
            End::Close(Ending { close, reason: Some(code) }) => {
                (close.number(), format!("{}: {}", code.as_str(), code.message()))
            }
            End::Peer(Some(code)) => (code, "closed by the client".to_owned()),
            End::Peer(None) => (NO_CODE, "closed by the client without a code".to_owned()),
            End::Broken => {
                let code = Code::SesPeerLeft;
                (NO_CLOSE_FRAME, format!("{}: {}", code.as_str(), code.message()))
            }
        };
        let event = event::Disconnect {
            principal: state.handle.principal.to_string(),
            close_code,
            reason,
            received,
            sent,
        };
        // Recorded by the pipeline, behind every order of this session that still waits there.
        let closed = Command::Closed { session: Arc::clone(&state.handle), event: event.clone() };
        if context.pipeline.send(closed).await.is_err() {
            // If the journal is gone as well the server is stopping, and it knows why.
            let _ = context.journal.record_in(&state.handle.trail, event);
        }
    }

    /// Ends with the session's lifetime, its certificate, or the server.
    async fn times_out(&self) -> End {
        let context = &self.context;
        let now = context.clock.now();
        let lifetime = Duration::from_secs(context.limits.session_lifetime_s);
        let certificate = until(self.state.identity.not_after, now);
        let started = Instant::now();
        tokio::select! {
            () = tokio::time::sleep_until(started + lifetime) => End::because(Code::SesLifetimeReached),
            () = tokio::time::sleep_until(started + certificate) => End::because(Code::SesCertificateExpired),
            () = context.shutdown.wait() => End::because(Code::SesDraining),
        }
    }
}

/// Time left until `then`; at most ten years, which timers can hold.
fn until(then: UnixNanos, now: UnixNanos) -> Duration {
    Duration::from_nanos(then.since(now)).min(Duration::from_secs(10 * 365 * 24 * 60 * 60))
}

/// Why an open session has to end by the files in force now; `None` if it may go on.
///
/// A certificate that no longer holds, or an entitlement that is gone, ends it for good. An entitlement that is
/// another one now sends the client away to come back under it: nothing goes on under rights that were withdrawn.
pub fn verdict(
    identity: &Identity,
    session: &Identified,
    handle: &SessionHandle,
    now: UnixNanos,
) -> Option<Ending> {
    if let Err(code) = identity.still_valid(session, now) {
        return Some(Ending::because(code));
    }
    match identity.entitlement(session) {
        Err(_) => Some(Ending::because(Code::SesEntitlementWithdrawn)),
        Ok(entitlement) if entitlement != *handle.entitlement => {
            Some(Ending { close: CloseCode::GoingAway, reason: Some(Code::SesEntitlementWithdrawn) })
        }
        Ok(_) => None,
    }
}
