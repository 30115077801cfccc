//! Numbers for the owners of orders.

use std::collections::HashMap;

use crate::types::{OwnerId, Principal};

/// Numbers for principals: small, and the same for every session of one principal.
#[derive(Debug, Default)]
pub(super) struct Owners {
    numbers: HashMap<Principal, OwnerId>,
    names: Vec<Principal>,
}

impl Owners {
    /// The number of a principal that has one.
    pub(super) fn find(&self, principal: &Principal) -> Option<OwnerId> {
        self.numbers.get(principal).copied()
    }

    /// Gives a principal that has none its number. Bounded by the certificates ever admitted.
    pub(super) fn add(&mut self, principal: &Principal) -> OwnerId {
        // Even numbers are principals, odd ones the synthetic market's members: both stay small.
        let owner = OwnerId(u32::try_from(self.names.len() * 2).unwrap_or(u32::MAX - 1));
        self.numbers.insert(principal.clone(), owner);
        self.names.push(principal.clone());
        owner
    }

    /// Every principal that has one, in the order of the numbers.
    pub(super) fn names(&self) -> impl Iterator<Item = &Principal> {
        self.names.iter()
    }

    /// The same, each with its number.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (OwnerId, &Principal)> {
        (0_u32..).step_by(2).map(OwnerId).zip(&self.names)
    }

    /// How many have one.
    pub(super) fn count(&self) -> u64 {
        self.names.len() as u64
    }

    /// The principal of a number; `None` for the synthetic market.
    pub(super) fn name(&self, owner: OwnerId) -> Option<&Principal> {
        if owner.0.is_multiple_of(2) { self.names.get(owner.0 as usize / 2) } else { None }
    }
}

/// The number of a member of the synthetic market.
#[must_use]
pub const fn synthetic_owner(member: u32) -> OwnerId {
    OwnerId(member.saturating_mul(2) | 1)
}
