//! The kill switches that are engaged now: what stops new orders, by principal, firm, symbol, or all at once.
//!
//! Pure state: who may engage one, and what happens to orders that rest, is decided elsewhere. Bounded by [`SWITCHES_MAX`].

use std::collections::BTreeSet;

use sealfeed_wire::KillScope;

use crate::types::principal::is_name;
use crate::types::{Code, Principal, Symbol};

/// Most switches that can be engaged at once, the one for everything apart, which always can.
pub const SWITCHES_MAX: usize = 10_000;

/// A target that was checked for its scope.
enum Target {
    Principal(Principal),
    Firm(Box<str>),
    Symbol(Symbol),
    All,
}

impl Target {
    fn parse(scope: KillScope, text: &str) -> Result<Self, Code> {
        let target = match scope {
            KillScope::Principal => {
                text.split_once('/').and_then(|(firm, user)| Principal::new(firm, user)).map(Self::Principal)
            }
            KillScope::Firm => is_name(text).then(|| Self::Firm(text.into())),
            KillScope::Symbol => Symbol::new(text).ok().map(Self::Symbol),
            KillScope::All => text.is_empty().then_some(Self::All),
        };
        target.ok_or(Code::RskKillTargetInvalid)
    }
}

/// All switches that are engaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillSwitches {
    principals: BTreeSet<Principal>,
    firms: BTreeSet<Box<str>>,
    symbols: BTreeSet<Symbol>,
    all: bool,
}

impl KillSwitches {
    /// Engages a switch; whether it was not engaged before. `target` is `firm/user`, a firm, a symbol, or nothing, as the scope says.
    ///
    /// # Errors
    /// [`Code::RskKillTargetInvalid`]; [`Code::RskKillsFull`] if [`SWITCHES_MAX`] are engaged and this one is not.
    pub fn engage(&mut self, scope: KillScope, target: &str) -> Result<bool, Code> {
        let target = Target::parse(scope, target)?;
        if self.count() >= SWITCHES_MAX && scope != KillScope::All && !self.is_engaged(&target) {
            return Err(Code::RskKillsFull);
        }
        Ok(match target {
            Target::Principal(principal) => self.principals.insert(principal),
            Target::Firm(firm) => self.firms.insert(firm),
            Target::Symbol(symbol) => self.symbols.insert(symbol),
            Target::All => !std::mem::replace(&mut self.all, true),
        })
    }

    /// Releases a switch; whether it was engaged. One of another scope that stops the same order stays.
    ///
    /// # Errors
    /// [`Code::RskKillTargetInvalid`].
    pub fn release(&mut self, scope: KillScope, target: &str) -> Result<bool, Code> {
        Ok(match Target::parse(scope, target)? {
            Target::Principal(principal) => self.principals.remove(&principal),
            Target::Firm(firm) => self.firms.remove(&firm),
            Target::Symbol(symbol) => self.symbols.remove(&symbol),
            Target::All => std::mem::replace(&mut self.all, false),
        })
    }

    /// The widest switch that stops this principal in this symbol.
    #[must_use]
    pub fn blocks(&self, principal: &Principal, symbol: &Symbol) -> Option<KillScope> {
        if self.all {
            return Some(KillScope::All);
        }
        if self.firms.contains(principal.firm()) {
            return Some(KillScope::Firm);
        }
        if self.symbols.contains(symbol) {
            return Some(KillScope::Symbol);
        }
        self.principals.contains(principal).then_some(KillScope::Principal)
    }

    /// Every switch with its target, as [`KillSwitches::engage`] takes them, in one order: by scope, then by target.
    pub fn iter(&self) -> impl Iterator<Item = (KillScope, String)> {
        let principals = self.principals.iter().map(|one| (KillScope::Principal, one.to_string()));
        let firms = self.firms.iter().map(|one| (KillScope::Firm, one.to_string()));
        let symbols = self.symbols.iter().map(|one| (KillScope::Symbol, one.to_string()));
        let all = self.all.then(|| (KillScope::All, String::new()));
        principals.chain(firms).chain(symbols).chain(all)
    }

    /// How many are engaged.
    #[must_use]
    pub fn count(&self) -> usize {
        self.principals.len() + self.firms.len() + self.symbols.len() + usize::from(self.all)
    }

    fn is_engaged(&self, target: &Target) -> bool {
        match target {
            Target::Principal(principal) => self.principals.contains(principal),
            Target::Firm(firm) => self.firms.contains(firm),
            Target::Symbol(symbol) => self.symbols.contains(symbol),
            Target::All => self.all,
        }
    }

    /// Appends them to what is digested: how many (4 bytes, little-endian), and of each a line of scope, a space, target and a line feed.
    pub(super) fn digest_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend(u32::try_from(self.count()).unwrap_or(u32::MAX).to_le_bytes());
        for (scope, target) in self.iter() {
            bytes.extend(scope.as_str().bytes().chain([b' ']).chain(target.bytes()).chain([b'\n']));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(switches: &KillSwitches, principal: &str, symbol: &str) -> Option<KillScope> {
        let (firm, user) = principal.split_once('/').unwrap();
        switches.blocks(&Principal::new(firm, user).unwrap(), &Symbol::new(symbol).unwrap())
    }

    #[test]
    fn a_switch_stops_what_its_scope_says_and_nothing_else() {
        for (scope, target, stopped) in [
            (KillScope::Principal, "acme/bob", [true, true, false, false]),
            (KillScope::Firm, "acme", [true, true, true, false]),
            (KillScope::Symbol, "SEAL", [true, false, true, true]),
            (KillScope::All, "", [true, true, true, true]),
        ] {
            let mut switches = KillSwitches::default();
            assert_eq!(switches.engage(scope, target), Ok(true));
            let orders =
                [("acme/bob", "SEAL"), ("acme/bob", "FEED"), ("acme/erin", "SEAL"), ("beta/dave", "SEAL")];
            let is_stopped = orders.map(|(principal, symbol)| blocked(&switches, principal, symbol));
            assert_eq!(is_stopped, stopped.map(|stopped| stopped.then_some(scope)), "{scope:?}");
            assert_eq!(switches.release(scope, target), Ok(true));
            assert_eq!(blocked(&switches, "acme/bob", "SEAL"), None);
        }
    }

    #[test]
    fn a_switch_is_engaged_and_released_once_and_others_stay() {
        let mut switches = KillSwitches::default();
        assert_eq!(switches.engage(KillScope::Firm, "acme"), Ok(true));
        assert_eq!(switches.engage(KillScope::Firm, "acme"), Ok(false));
        assert_eq!(switches.engage(KillScope::Principal, "acme/bob"), Ok(true));
        assert_eq!(blocked(&switches, "acme/bob", "SEAL"), Some(KillScope::Firm), "the widest is named");
        assert_eq!(switches.release(KillScope::Firm, "acme"), Ok(true));
        assert_eq!(switches.release(KillScope::Firm, "acme"), Ok(false));
        assert_eq!(blocked(&switches, "acme/bob", "SEAL"), Some(KillScope::Principal));
    }

    #[test]
    fn a_target_that_cannot_exist_is_refused_and_changes_nothing() {
        let mut switches = KillSwitches::default();
        for (scope, target) in [
            (KillScope::Principal, "acme"),
            (KillScope::Principal, "acme/bob/x"),
            (KillScope::Principal, ""),
            (KillScope::Firm, "acme/bob"),
            (KillScope::Firm, "*"),
            (KillScope::Symbol, ""),
            (KillScope::Symbol, "SE AL"),
            (KillScope::All, "acme"),
        ] {
            assert_eq!(
                switches.engage(scope, target),
                Err(Code::RskKillTargetInvalid),
                "{scope:?} {target:?}"
            );
            assert_eq!(switches.release(scope, target), Err(Code::RskKillTargetInvalid));
        }
        assert_eq!(switches, KillSwitches::default());
    }

    #[test]
    fn as_many_as_there_is_room_for_can_be_engaged_and_then_still_the_one_for_everything() {
        let mut switches = KillSwitches::default();
        for number in 0..SWITCHES_MAX {
            assert_eq!(switches.engage(KillScope::Firm, &format!("f{number}")), Ok(true));
        }
        assert_eq!(switches.engage(KillScope::Firm, "one-more"), Err(Code::RskKillsFull));
        assert_eq!(switches.engage(KillScope::Firm, "f0"), Ok(false), "it is engaged");
        assert_eq!(switches.engage(KillScope::All, ""), Ok(true));
    }

    #[test]
    fn they_are_listed_in_one_order_however_they_came_and_read_back() {
        let all = [
            (KillScope::Principal, "acme/bob"),
            (KillScope::Principal, "beta/dave"),
            (KillScope::Firm, "acme"),
            (KillScope::Symbol, "FEED"),
            (KillScope::Symbol, "SEAL"),
            (KillScope::All, ""),
        ];
        let mut switches = KillSwitches::default();
        for (scope, target) in all.iter().rev() {
            switches.engage(*scope, target).unwrap();
        }
        let listed: Vec<_> = switches.iter().collect();
        assert_eq!(listed, all.map(|(scope, target)| (scope, target.to_owned())));
        let digest = |switches: &KillSwitches| {
            let mut bytes = Vec::new();
            switches.digest_into(&mut bytes);
            bytes
        };
        let mut again = KillSwitches::default();
        for (scope, target) in &listed {
            assert_eq!(KillScope::parse(scope.as_str()), Ok(*scope));
            assert_ne!(digest(&again), digest(&switches));
            again.engage(*scope, target).unwrap();
        }
        assert_eq!((digest(&again), again), (digest(&switches), switches));
    }
}
