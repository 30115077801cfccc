//! Entitlements in use, each held once: all sessions with equal ones share it.
//!
//! A policy has few different entitlements beside its sessions, and each is some hundred bytes. Bounded: what is listed and not held by any session
//! any more is never more than what is held, or [`SWEEP_MIN`].

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::types::Entitlement;

/// Places of the list that are not looked over.
const SWEEP_MIN: usize = 64;

/// The list.
#[derive(Debug, Default)]
pub(super) struct SharedEntitlements(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    hasher: RandomState,
    /// By [`Table::key`]; of two with one key only the newer one is shared.
    by_key: HashMap<u64, Weak<Entitlement>>,
    /// How many there are when those that nobody holds are taken out.
    sweep_at: usize,
}

impl SharedEntitlements {
    /// The one that is equal to this and held already, or else this.
    pub(super) fn share(&self, entitlement: Entitlement) -> Arc<Entitlement> {
        let mut table = self.0.lock();
        let key = table.key(&entitlement);
        let held = table.by_key.get(&key).and_then(Weak::upgrade).filter(|held| **held == entitlement);
        if let Some(held) = held {
            return held;
        }
        if table.by_key.len() >= table.sweep_at {
            table.by_key.retain(|_, held| held.strong_count() > 0);
            table.sweep_at = (2 * table.by_key.len()).max(SWEEP_MIN);
        }
        let entitlement = Arc::new(entitlement);
        table.by_key.insert(key, Arc::downgrade(&entitlement));
        entitlement
    }
}

impl Table {
    /// What tells most entitlements apart: names of rules, the firm's limits, and when it changes. Whether two are equal is asked of
    /// themselves.
    fn key(&self, entitlement: &Entitlement) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for grant in entitlement.grants.iter().chain(&entitlement.denies) {
            grant.rule.hash(&mut hasher);
            grant.channels.len().hash(&mut hasher);
        }
        entitlement.orders.as_ref().map(|rights| &rights.rule).hash(&mut hasher);
        entitlement.operator_rules.hash(&mut hasher);
        entitlement.firm.as_ref().map(Arc::as_ptr).hash(&mut hasher);
        entitlement.changes_at.map(|at| at.0).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::UnixNanos;

    fn until(moment: u64) -> Entitlement {
        Entitlement { changes_at: Some(UnixNanos(moment)), ..Entitlement::default() }
    }

    #[test]
    fn equal_entitlements_are_one_as_long_as_anybody_holds_it_and_others_are_not() {
        let shared = SharedEntitlements::default();
        let first = shared.share(until(1));
        assert!(Arc::ptr_eq(&first, &shared.share(until(1))));
        let display = Entitlement { display: Some(true), ..until(1) };
        let other = shared.share(display.clone());
        assert_eq!((&*other, &*first), (&display, &until(1)), "one key, and not one entitlement");
        drop((first, other));
        assert_eq!(*shared.share(until(1)), until(1));
    }

    #[test]
    fn what_nobody_holds_is_not_listed_for_long() {
        let shared = SharedEntitlements::default();
        let held: Vec<_> = (0..100).map(|moment| shared.share(until(moment))).collect();
        (100..10_000).for_each(|moment| drop(shared.share(until(moment))));
        assert!(shared.0.lock().by_key.len() <= 2 * held.len());
        assert!(held.iter().all(|one| Arc::ptr_eq(one, &shared.share((**one).clone()))));
    }
}
