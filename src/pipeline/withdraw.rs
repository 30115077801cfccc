//! Orders that the server cancels: sealed as an input of the venue, with the reason, before they are.

use std::sync::Arc;

use super::batch::Batch;
use super::core::Core;
use super::{Revoked, SessionHandle};
use crate::execute::{Cause, Withdrawn};
use crate::journal::{JournalError, event};
use crate::types::{OwnerId, UnixNanos};

impl Core {
    /// Cancels what this covers of an owner's orders, if there is anything for it to do.
    pub(super) fn withdraw(
        &mut self,
        owner: OwnerId,
        why: Withdrawn,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Some(principal) =
            self.engine.principal(owner).filter(|_| self.engine.has_to_withdraw(owner, why))
        else {
            return Ok(());
        };
        let (cause, session) = why.to_log();
        let principal = principal.to_string();
        let event = event::Withdrawal { cause: cause.to_owned(), principal, session, admitted: now.0 };
        batch.depends_on(self.journal.record(event)?);
        let mut events = Vec::new();
        self.engine.withdraw(owner, why, &mut events);
        self.report(&events, Cause::default(), now, batch)?;
        self.end_input()
    }

    /// Cancels the orders of everybody whose dead-man timer has run out.
    pub(super) fn fire_dead_men(&mut self, now: UnixNanos, batch: &mut Batch) -> Result<(), JournalError> {
        let due = self.engine.dead_men(now);
        due.into_iter().try_for_each(|owner| self.withdraw(owner, Withdrawn::DeadMan, now, batch))
    }

    /// A certificate holds no more: every order of its principal is cancelled, whichever session it came on, unless the policy keeps them, and nothing more is taken
    /// from the sessions of the certificate. One entry says what ended with it; none is written if nothing did.
    pub(super) fn revoke(
        &mut self,
        revoked: &Revoked,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Revoked { principal, serial, issuer, certificate, why, keeps_orders, sessions } = revoked;
        sessions.iter().for_each(|session| session.revoke());
        let mut orders = Vec::new();
        if let Some(owner) = self.engine.owner(principal).filter(|_| !keeps_orders) {
            orders = self.engine.resting_of(owner);
            self.withdraw(owner, Withdrawn::Revoked, now, batch)?;
            let left = self.engine.resting_of(owner);
            orders.retain(|order| !left.contains(order));
        }
        if sessions.is_empty() && orders.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            %principal, serial, why, sessions = sessions.len(), orders = orders.len(), "a certificate holds no more"
        );
        let event = event::Revocation {
            principal: principal.to_string(),
            serial: serial.clone(),
            issuer: issuer.clone(),
            certificate: sealfeed_wire::hex::encode(certificate),
            why: why.clone(),
            sessions: sessions.iter().map(|session| session.id().to_string()).collect(),
            orders: orders.iter().map(|order| order.0).collect(),
        };
        batch.depends_on(self.journal.record(event)?);
        Ok(())
    }

    /// Cancels what was to go with a session that has ended. `is_last`: its principal has no other one.
    pub(super) fn withdraw_with(
        &mut self,
        session: &Arc<SessionHandle>,
        ending: SessionEnd,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Some(owner) = self.engine.owner(&session.principal) else { return Ok(()) };
        match ending {
            SessionEnd::LoggedOut { cancel_orders: false } => Ok(()),
            SessionEnd::LoggedOut { cancel_orders: true } => {
                self.withdraw(owner, Withdrawn::Logout(session.id()), now, batch)
            }
            SessionEnd::Revoked => self.withdraw(owner, Withdrawn::Revoked, now, batch),
            SessionEnd::Gone { is_last } => {
                self.withdraw(owner, Withdrawn::Disconnect(session.id()), now, batch)?;
                if is_last { self.withdraw(owner, Withdrawn::LastDisconnect, now, batch) } else { Ok(()) }
            }
        }
    }
}

/// How a session ended, as far as its orders are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// By its own wish.
    LoggedOut {
        /// It asked for the end of its orders, too.
        cancel_orders: bool,
    },
    /// Its certificate was revoked.
    Revoked,
    /// In any other way.
    Gone {
        /// Its principal has no other session.
        is_last: bool,
    },
}
