//! Orders that are cancelled without being named one by one: by their owner, or by the server for one of the reasons that it states.
//!
//! Always in the order in which the venue took them, which is that of their identifiers.

use super::{Engine, OrderRecord};
use crate::types::{
    CancelOnDisconnect, CancelOrder, CancelReason, InstrumentId, OrderId, OwnerId, SessionId, Side,
    TimeArithmetic as _, UnixNanos,
};
use crate::venue::{OrderIndex, VenueEvent};

/// Which orders a client's `order.mass_cancel` is about; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mass {
    /// In this instrument.
    pub instrument: Option<InstrumentId>,
    /// Of this side.
    pub side: Option<Side>,
    /// That came on this session.
    pub session: Option<SessionId>,
}

/// When a dead-man timer that was armed at `now` runs out; `None` if it is disarmed.
#[must_use]
pub fn dead_man_due(timeout_ms: u32, now: UnixNanos) -> Option<UnixNanos> {
    (timeout_ms > 0).then(|| now.plus_ns(u64::from(timeout_ms) * 1_000_000))
}

/// Why the server cancels orders of a principal, and so which ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// The connection ended without a logout: those that came on it and were to go with it.
    Disconnect(SessionId),
    /// The last session of the principal ended so: those that were to go with it.
    LastDisconnect,
    /// The server starts again, and no connection outlives it: all that were to go with one.
    Restart,
    /// Its dead-man timer ran out: all of them.
    DeadMan,
    /// Its certificate was revoked: all of them.
    Revoked,
    /// It logged out and asked for it: those that came on this session.
    Logout(SessionId),
}

impl Withdrawn {
    /// As it stands in the log: cause and session.
    #[must_use]
    pub fn to_log(self) -> (&'static str, String) {
        let hex = |session: SessionId| session.to_string();
        match self {
            Self::Disconnect(session) => ("disconnect", hex(session)),
            Self::LastDisconnect => ("disconnect", String::new()),
            Self::Restart => ("restart", String::new()),
            Self::DeadMan => ("dead_man", String::new()),
            Self::Revoked => ("revoked", String::new()),
            Self::Logout(session) => ("logout", hex(session)),
        }
    }

    /// From the log; `None` for what no program of this version writes.
    #[must_use]
    pub fn from_log(cause: &str, session: &str) -> Option<Self> {
        let session = if session.is_empty() { None } else { Some(SessionId::parse(session).ok()?) };
        match (cause, session) {
            ("disconnect", Some(session)) => Some(Self::Disconnect(session)),
            ("disconnect", None) => Some(Self::LastDisconnect),
            ("restart", None) => Some(Self::Restart),
            ("dead_man", None) => Some(Self::DeadMan),
            ("revoked", None) => Some(Self::Revoked),
            ("logout", Some(session)) => Some(Self::Logout(session)),
            _ => None,
        }
    }

    const fn reason(self) -> CancelReason {
        match self {
            Self::Disconnect(_) | Self::LastDisconnect => CancelReason::Disconnect,
            Self::Restart => CancelReason::Restart,
            Self::DeadMan => CancelReason::DeadMan,
            Self::Revoked => CancelReason::Revoked,
            Self::Logout(_) => CancelReason::MassCancel,
        }
    }

    fn covers(self, record: &OrderRecord) -> bool {
        let origin = record.origin;
        match self {
            Self::Disconnect(session) => {
                origin.session == session && origin.on_disconnect == CancelOnDisconnect::Connection
            }
            Self::LastDisconnect => origin.on_disconnect == CancelOnDisconnect::Principal,
            Self::Restart => origin.on_disconnect != CancelOnDisconnect::Off,
            Self::DeadMan | Self::Revoked => true,
            Self::Logout(session) => origin.session == session,
        }
    }
}

impl Engine {
    /// Cancels what a client's mass cancel is about; how many orders that were. What the venue does is appended to `events`.
    pub fn mass_cancel(&mut self, owner: OwnerId, mass: Mass, events: &mut Vec<VenueEvent>) -> u32 {
        self.inputs += 1;
        self.cancel_all(owner, CancelReason::MassCancel, events, |record| {
            mass.instrument.is_none_or(|instrument| record.instrument == instrument)
                && mass.side.is_none_or(|side| record.side == side)
                && mass.session.is_none_or(|session| record.origin.session == session)
        })
    }

    /// Whether [`Engine::withdraw`] would change anything. A dead-man timer that has run out is over even where it finds no orders: it is
    /// not held against those that come later.
    #[must_use]
    pub fn has_to_withdraw(&self, owner: OwnerId, why: Withdrawn) -> bool {
        let ends_a_timer = why == Withdrawn::DeadMan && self.dead_men.contains_key(&owner);
        ends_a_timer || self.open_of(owner).any(|record| why.covers(record))
    }

    /// Cancels orders of an owner; how many that were. What the venue does is appended to `events`.
    pub fn withdraw(&mut self, owner: OwnerId, why: Withdrawn, events: &mut Vec<VenueEvent>) -> u32 {
        self.inputs += 1;
        if why == Withdrawn::DeadMan {
            self.dead_men.remove(&owner);
        }
        self.cancel_all(owner, why.reason(), events, |record| why.covers(record))
    }

    /// Owners who have orders in the venue, clients only.
    pub fn owners_with_orders(&self) -> impl Iterator<Item = OwnerId> {
        self.open.keys().copied()
    }

    /// Sets an owner's dead-man timer, or disarms it.
    pub fn set_dead_man(&mut self, owner: OwnerId, due: Option<UnixNanos>) {
        self.inputs += 1;
        match due {
            Some(due) => self.dead_men.insert(owner, due),
            None => self.dead_men.remove(&owner),
        };
    }

    /// Owners whose dead-man timer has run out at `now`.
    #[must_use]
    pub fn dead_men(&self, now: UnixNanos) -> Vec<OwnerId> {
        self.dead_men.iter().filter(|(_, due)| **due <= now).map(|(owner, _)| *owner).collect()
    }

    /// The resting orders of an owner, in the order in which the venue took them.
    #[must_use]
    pub fn resting_of(&self, owner: OwnerId) -> Vec<OrderId> {
        self.open.get(&owner).into_iter().flatten().copied().collect()
    }

    fn open_of(&self, owner: OwnerId) -> impl Iterator<Item = &OrderRecord> {
        self.open.get(&owner).into_iter().flatten().filter_map(|id| self.orders.get(id))
    }

    pub(super) fn cancel_all(
        &mut self,
        owner: OwnerId,
        reason: CancelReason,
        events: &mut Vec<VenueEvent>,
        covers: impl Fn(&OrderRecord) -> bool,
    ) -> u32 {
        let orders = &self.orders;
        let covered = |id: &OrderId| {
            let record = orders.get(id).filter(|record| covers(record))?;
            Some((record.place, CancelOrder { owner, id: *id, reason }))
        };
        let chosen: Vec<(OrderIndex, CancelOrder)> =
            self.open.get(&owner).into_iter().flatten().filter_map(covered).collect();
        let mut count = 0;
        for (place, cancel) in chosen {
            debug_assert!(self.venue.is_resting_at(place, cancel.id), "{} rests elsewhere", cancel.id);
            count += u32::from(self.venue.cancel_at(place, cancel, events).is_ok());
        }
        count
    }
}
