//! The state that reaches the gate, and how it begins and ends: its entries, its limits in time, its verdict.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use sealfeed_wire::{CloseCode, SessionId};

use super::registry::{ConnectionSlot, PrincipalSlot, Verdict};
use super::shard::Arrival;
use super::tls::TlsStream;
use super::upgrade::{Refused, Upgrade, protocol};
use super::{Session, SessionContext, token};
use crate::feed::{Encoding, Ending};
use crate::identity::{Identified, Identity, Token};
use crate::journal::{JournalError, event};
use crate::pipeline::SessionHandle;
use crate::types::{Code, Entitlement, TimeArithmetic as _, UnixNanos};

/// Admitted: an entitled principal with a place of its own.
pub struct Active {
    pub(super) handle: Arc<SessionHandle>,
    pub(super) identity: Arc<Identified>,
    /// The token of its upgrade.
    token: Option<Arc<Token>>,
    /// Until they stand in the log.
    presented: Vec<CertificateDer<'static>>,
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
    /// The peer broke TLS: it got an alert, and nothing can be sealed for it any more.
    BrokenTls,
}

impl End {
    /// We close with the code that belongs to this reason.
    pub(super) const fn because(reason: Code) -> Self {
        Self::Close(Ending::because(reason))
    }
}

/// We go away: the log or the pipeline takes nothing more.
pub(super) const GOING_AWAY: Ending = Ending { close: CloseCode::GoingAway, reason: None };

/// Number that the log shows for a connection that ended without a close frame (RFC 6455 section 7.4.1).
const NO_CLOSE_FRAME: u16 = 1006;
/// Number that the log shows for a close frame without a code.
const NO_CODE: u16 = 1005;

impl Active {
    pub(super) fn new(
        context: &Arc<SessionContext>,
        id: SessionId,
        (identity, token): (Identified, Option<Arc<Token>>),
        entitlement: Entitlement,
        presented: Vec<CertificateDer<'static>>,
        encoding: Encoding,
    ) -> Result<Self, Refused> {
        let identity = context.registry.identities.share(identity);
        let slot = context
            .registry
            .begin(&identity, &entitlement.limits)
            .map_err(|code| Refused::new(code, "as many sessions as the entitlement allows"))?;
        let handle = SessionHandle::new(
            (slot.number, id),
            identity.principal.clone(),
            context.registry.entitlements.share(entitlement),
            encoding,
            context.limits.now().out_queue_bytes_max / 2,
            Arc::clone(context.shards.inboxes().of(slot.number)),
        );
        Ok(Self { handle: Arc::new(handle), identity, token, presented, slot })
    }
}

impl Session<Active> {
    /// Hands the session to its shard, which answers the upgrade once the session's beginning is durable.
    pub(super) fn begin(mut self, stream: TlsStream, upgrade: Upgrade, mut connection_slot: ConnectionSlot) {
        let context = Arc::clone(&self.context);
        // Reachable for a reload from here on; one that landed between the upgrade's checks and this line shows in the
        // verdict.
        let now = context.clock.now();
        let judge = |session: &Identified, entitlement: &Entitlement, token: Option<&Token>| {
            verdict(&context.identity, session, entitlement, token, now)
        };
        let Active { handle, identity, token, .. } = &self.state;
        let verdict = context.registry.enter(handle, Arc::clone(identity), token.clone(), judge);
        let verdict = match verdict {
            Verdict::Holds => None,
            Verdict::Changes(entitlement) => {
                self.state.handle.set_entitlement(entitlement);
                None
            }
            Verdict::Ends(ending, _) => Some(ending),
        };
        connection_slot.session_begins(now);
        let is_trusted = context.trusts(&self.state.handle.principal, self.address.ip());
        let presented = std::mem::take(&mut self.state.presented);
        // The journal has told the server to stop: whose beginning stands in no log gets no `101`.
        let Ok(entry) = self.connected(&upgrade.user_agent, &presented) else { return };
        drop(presented);
        let Active { handle, token, slot, .. } = self.state;
        let parts = match stream.into_parts() {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!(%error, "a connection could not be handed over");
                let closed = closed(&handle, End::Broken, 0, 0);
                // If the journal fails the server stops.
                let _ = context.journal.record_in(&handle.trail, closed);
                return;
            }
        };
        let read = [upgrade.already_read, parts.plain].concat();
        let arrival = Arrival {
            entry,
            answer: upgrade.answer,
            socket: parts.socket,
            tls: parts.tls,
            read,
            handle,
            token,
            ending: verdict,
            is_trusted,
            connection_slot,
            slot,
        };
        context.shards.hand_over(arrival, &context.journal);
    }

    /// Records the session's beginning; its last entry.
    fn connected(
        &self,
        user_agent: &str,
        presented: &[CertificateDer<'static>],
    ) -> Result<u64, JournalError> {
        let Self { context, address, state } = self;
        let entitlement = state.handle.entitlement();
        let (professional, display) = (entitlement.professional, entitlement.display);
        drop(entitlement);
        context.journal.record_certificate(state.identity.fingerprint, presented)?;
        let entry = context.journal.record_in(
            &state.handle.trail,
            event::Connect {
                address: address.to_string(),
                principal: state.handle.principal.to_string(),
                serial: state.identity.serial(),
                certificate: sealfeed_wire::hex::encode(&state.identity.fingerprint),
                user_agent: user_agent.to_owned(),
                protocol: protocol(state.handle.encoding).to_owned(),
                role: state.identity.role.as_ref().map(|role| role.as_str().to_owned()).unwrap_or_default(),
                sessions: state.slot.at_once,
                professional,
                display,
            },
        )?;
        let granted = state.token.as_ref().map(|token| token::accepted(&state.handle, "granted", token));
        let granted =
            granted.map(|event| context.journal.record_in(&state.handle.trail, event)).transpose()?;
        Ok(granted.unwrap_or(entry))
    }
}

/// The entry of a session's end.
pub(super) fn closed(handle: &SessionHandle, end: End, received: u64, sent: u64) -> event::Disconnect {
    let (close_code, reason) = match end {
        End::Close(Ending { close, reason: None }) => (close.number(), close.name().to_owned()),
        End::Close(Ending { close, reason: Some(code) }) => {
            (close.number(), format!("{}: {}", code.as_str(), code.message()))
        }
        End::Peer(Some(code)) => (code, "closed by the client".to_owned()),
        End::Peer(None) => (NO_CODE, "closed by the client without a code".to_owned()),
        End::Broken | End::BrokenTls => {
            let code = if matches!(end, End::BrokenTls) { Code::SesTlsBroken } else { Code::SesPeerLeft };
            (NO_CLOSE_FRAME, format!("{}: {}", code.as_str(), code.message()))
        }
    };
    event::Disconnect { principal: handle.principal.to_string(), close_code, reason, received, sent }
}

/// Time left until `then`; at most ten years, which timers can hold.
pub(super) fn until(then: UnixNanos, now: UnixNanos) -> Duration {
    Duration::from_nanos(then.since(now)).min(Duration::from_secs(10 * 365 * 24 * 60 * 60))
}

/// What time alone says of an open session since it was judged last.
pub fn standing(
    identity: &Identity,
    session: &Identified,
    entitlement: &Entitlement,
    token: Option<&Token>,
    now: UnixNanos,
) -> Verdict {
    let is_other_now = entitlement.changes_at.is_some_and(|then| then <= now)
        || token.is_some_and(|token| token.expires <= now);
    if is_other_now {
        return verdict(identity, session, entitlement, token, now);
    }
    match identity.still_valid(session, now) {
        Err((code, why)) => Verdict::Ends(Ending::because(code), why),
        Ok(()) => Verdict::Holds,
    }
}

/// What the files in force now say of an open session that has `entitlement`. A certificate or token that no longer holds, or an
/// entitlement of which nothing is left, ends it for good; one that is another now goes on with the session.
pub fn verdict(
    identity: &Identity,
    session: &Identified,
    entitlement: &Entitlement,
    token: Option<&Token>,
    now: UnixNanos,
) -> Verdict {
    let holds = identity.still_valid(session, now).and_then(|()| identity.token_holds(token, session, now));
    if let Err((code, why)) = holds {
        return Verdict::Ends(Ending::because(code), why);
    }
    match identity.entitlement_at(session, now) {
        Err(error) => Verdict::Ends(Ending::because(Code::SesEntitlementWithdrawn), error.to_string()),
        Ok(other) if other != *entitlement => Verdict::Changes(Arc::new(other)),
        Ok(_) => Verdict::Holds,
    }
}
