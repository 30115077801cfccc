//! What sessions hold and is often equal, each held once: entitlements, and what a certificate proved.
//!
//! A policy has few different entitlements beside its sessions, and a desk opens many connections with one certificate; each of either is some
//! hundred bytes. Bounded: what is listed and not held by any session any more is never more than what is held, or [`SWEEP_MIN`].

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::identity::Identified;
use crate::types::Entitlement;

/// Places of the list that are not looked over.
const SWEEP_MIN: usize = 64;

/// Values of one kind that are in use.
#[derive(Debug)]
pub(super) struct Shared<T>(Mutex<Table<T>>);

#[derive(Debug)]
struct Table<T> {
    hasher: RandomState,
    /// By [`Shareable::hash_key`]; of two with one key only the newer one is shared.
    by_key: HashMap<u64, Weak<T>>,
    /// How many there are when those that nobody holds are taken out.
    sweep_at: usize,
}

/// What may be held once for all who have an equal one.
pub(super) trait Shareable: PartialEq {
    /// Feeds what tells most values apart. Whether two are equal is asked of themselves.
    fn hash_key(&self, hasher: &mut impl Hasher);
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::new(Table { hasher: RandomState::new(), by_key: HashMap::new(), sweep_at: 0 }))
    }
}

impl<T: Shareable> Shared<T> {
    /// The one that is equal to this and held already, or else this.
    pub(super) fn share(&self, value: T) -> Arc<T> {
        let mut table = self.0.lock();
        let mut hasher = table.hasher.build_hasher();
        value.hash_key(&mut hasher);
        let key = hasher.finish();
        let held = table.by_key.get(&key).and_then(Weak::upgrade).filter(|held| **held == value);
        if let Some(held) = held {
            return held;
        }
        if table.by_key.len() >= table.sweep_at {
            table.by_key.retain(|_, held| held.strong_count() > 0);
            table.by_key.shrink_to(SWEEP_MIN);
            table.sweep_at = (2 * table.by_key.len()).max(SWEEP_MIN);
        }
        let value = Arc::new(value);
        table.by_key.insert(key, Arc::downgrade(&value));
        value
    }
}

impl Shareable for Entitlement {
    /// Names of rules, the firm's limits, and when it changes.
    fn hash_key(&self, hasher: &mut impl Hasher) {
        for grant in self.grants.iter().chain(&self.denies) {
            grant.rule.hash(hasher);
            grant.channels.len().hash(hasher);
        }
        self.orders.as_ref().map(|rights| &rights.rule).hash(hasher);
        self.operator_rules.hash(hasher);
        self.firm.as_ref().map(Arc::as_ptr).hash(hasher);
        self.changes_at.map(|at| at.0).hash(hasher);
    }
}

impl Shareable for Identified {
    /// The certificate.
    fn hash_key(&self, hasher: &mut impl Hasher) {
        self.fingerprint.hash(hasher);
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
        let shared = Shared::<Entitlement>::default();
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
        let shared = Shared::<Entitlement>::default();
        let held: Vec<_> = (0..100).map(|moment| shared.share(until(moment))).collect();
        (100..10_000).for_each(|moment| drop(shared.share(until(moment))));
        assert!(shared.0.lock().by_key.len() <= 2 * held.len());
        assert!(held.iter().all(|one| Arc::ptr_eq(one, &shared.share((**one).clone()))));
    }
}
