//! The entitlement policy: what the rules give to a principal.
//!
//! Market data of all matching rules adds up; a deny wins over every rule. Rights to trade and session limits do not
//! add up: if two matching rules set either, nobody can say which was meant, and the principal is refused with both
//! named; so it is if two set a flag (`professional`, `display`) differently. A principal whom no rule matches has nothing. Verbs of operators and the drop copy add up, like market data. What a `[[firm]]`
//! table bounds holds for every principal of the firm, whatever rules match; no two tables are about one firm. A rule or a deny outside its dates
//! is as if it were not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealfeed_wire::{Channel, Code, Conflation};

use super::policy_file::{PolicyFile, PolicyFileError};
use super::policy_index::Index;
use super::policy_products::Products;
use super::policy_rule::{Deny, Rule, firm_limits, verbs};
use crate::clock::format_utc;
use crate::types::{Entitlement, FirmLimits, Grant, OrderRights, Principal, Role, SymbolPatterns, UnixNanos};

/// Why a principal has no entitlement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No rule matches, or those that match grant nothing.
    #[error("no rule grants {principal} anything")]
    NothingGranted {
        /// Who.
        principal: Principal,
    },
    /// Rules match, but none that grants anything holds at this time.
    #[error("what rule `{rule}` grants {principal} {when}")]
    OutOfDates {
        /// Who.
        principal: Principal,
        /// The next rule to begin, or else the last that has ended.
        rule: Arc<str>,
        /// `begins at ...` or `ended at ...`, RFC 3339, UTC.
        when: String,
    },
    /// Two rules set what only one may set, or a flag differently.
    #[error("rules `{first}` and `{second}` both set {section} for {principal}")]
    Ambiguous {
        /// Who.
        principal: Principal,
        /// `orders`, `publish` or `limits`, which only one may set; `professional` or `display`, which they set differently.
        section: &'static str,
        /// The rule that stands first in the file.
        first: Arc<str>,
        /// The other one.
        second: Arc<str>,
    },
}

impl PolicyError {
    /// The code that the peer is told. That rules contradict each other is the operator's business alone.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::OutOfDates { .. } => Code::SesEntitlementOutOfDates,
            Self::NothingGranted { .. } | Self::Ambiguous { .. } => Code::SesEntitlementMissing,
        }
    }
}

/// A parsed policy.
#[derive(Debug)]
pub struct Policy {
    pub(super) rules: Vec<Rule>,
    rules_index: Index,
    pub(super) denies: Vec<Deny>,
    denies_index: Index,
    /// By name.
    pub(super) firms: BTreeMap<Arc<str>, Arc<FirmLimits>>,
}

impl Policy {
    /// Reads a policy from the bytes of its file.
    ///
    /// # Errors
    /// [`PolicyFileError`], with the line or the rule.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        let file = PolicyFile::parse(bytes)?;
        let mut products = Products::new(file.products);
        let rules = file.rules.into_iter().map(|rule| Rule::from_text(rule, &mut products));
        let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
        let denies = file.denies.into_iter().map(|deny| Deny::from_text(deny, &mut products));
        let denies: Vec<Deny> = denies.collect::<Result<_, _>>()?;
        Ok(Self {
            rules_index: Index::new(rules.iter().map(|rule| rule.matches.names())),
            rules,
            denies_index: Index::new(denies.iter().map(|deny| deny.matches.names())),
            denies,
            firms: file.firms.into_iter().map(firm_limits).collect(),
        })
    }

    /// How many rules and denies there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.len() + self.denies.len()
    }

    /// Rules that match a principal, in the order of the file, whether or not they hold now.
    pub(super) fn rules_about<'a>(
        &'a self,
        principal: &'a Principal,
        role: Option<&'a Role>,
    ) -> impl Iterator<Item = &'a Rule> {
        let about = self.rules_index.about(principal).into_iter().filter_map(|number| self.rules.get(number));
        about.filter(move |rule| rule.matches.covers(principal, role))
    }

    /// Denies that match a principal, in the order of the file, whether or not they hold now.
    pub(super) fn denies_about<'a>(
        &'a self,
        principal: &'a Principal,
        role: Option<&'a Role>,
    ) -> impl Iterator<Item = &'a Deny> {
        let about =
            self.denies_index.about(principal).into_iter().filter_map(|number| self.denies.get(number));
        about.filter(move |deny| deny.matches.covers(principal, role))
    }

    /// All that a principal may do at this time.
    ///
    /// # Errors
    /// [`PolicyError`] if that is nothing, or if rules contradict each other.
    pub fn entitlement(
        &self,
        principal: &Principal,
        role: Option<&Role>,
        now: UnixNanos,
    ) -> Result<Entitlement, PolicyError> {
        let about: Vec<&Rule> = self.rules_about(principal, role).collect();
        let matching = || about.iter().copied().filter(|rule| rule.dates.cover(now));
        let orders = only(
            principal,
            "orders",
            matching().filter_map(|rule| Some((&rule.name, rule.orders.as_ref()?))),
        )?;
        let publish = only(
            principal,
            "publish",
            matching().filter_map(|rule| Some((&rule.name, rule.publish.as_ref()?))),
        )?;
        let limits = only(
            principal,
            "limits",
            matching().filter_map(|rule| Some((&rule.name, rule.limits.as_ref()?))),
        )?;
        let mut grants: Vec<Grant> = matching().filter_map(|rule| rule.grant.clone()).collect();
        if let Some(rights) = orders {
            grants.push(private_channel(rights));
        }
        let denies = self.denies_about(principal, role).filter(|deny| deny.dates.cover(now));
        let entitlement = Entitlement {
            grants,
            denies: denies.map(|deny| deny.grant.clone()).collect(),
            orders: orders.cloned(),
            publish: publish.cloned(),
            admin: verbs(|verb| matching().any(|rule| rule.admin.contains(&verb))),
            drop_copy: matching().any(|rule| rule.drop_copy),
            operator_rules: matching()
                .filter(|rule| rule.drop_copy || !rule.admin.is_empty())
                .map(|rule| Arc::clone(&rule.name))
                .collect(),
            firm: orders.and_then(|_| self.firms.get(principal.firm())).cloned(),
            limits: limits.cloned().unwrap_or_default(),
            professional: agreed(
                principal,
                "professional",
                matching().map(|rule| (&rule.name, rule.professional)),
            )?,
            display: agreed(principal, "display", matching().map(|rule| (&rule.name, rule.display)))?,
            changes_at: self.next_change(principal, role, now),
        };
        if entitlement.is_empty() {
            return Err(nothing(principal, &about, now));
        }
        Ok(entitlement)
    }

    /// The next instant after `now` at which [`Policy::entitlement`] of this principal may be another one: a rule or a deny that
    /// matches it begins or has ended. `None`: not before the policy itself changes.
    #[must_use]
    pub fn next_change(
        &self,
        principal: &Principal,
        role: Option<&Role>,
        now: UnixNanos,
    ) -> Option<UnixNanos> {
        let of_rules = self.rules_about(principal, role).map(|rule| rule.dates);
        let of_denies = self.denies_about(principal, role).map(|deny| deny.dates);
        of_rules.chain(of_denies).filter_map(|dates| dates.next_change(now)).min()
    }
}

/// Why a principal has nothing: `about` are all the rules that match it.
fn nothing(principal: &Principal, about: &[&Rule], now: UnixNanos) -> PolicyError {
    let out_of_dates = || about.iter().filter(|rule| rule.grants() && !rule.dates.cover(now));
    let begins = out_of_dates()
        .filter_map(|rule| Some((rule.dates.from.filter(|from| *from > now)?, rule)))
        .min_by_key(|(from, _)| *from)
        .map(|(from, rule)| (format!("begins at {}", format_utc(from)), rule));
    let ended = || {
        out_of_dates()
            .filter_map(|rule| Some((rule.dates.to?, rule)))
            .max_by_key(|(to, _)| *to)
            .map(|(to, rule)| (format!("ended at {}", format_utc(to)), rule))
    };
    let principal = principal.clone();
    match begins.or_else(ended) {
        Some((when, rule)) => PolicyError::OutOfDates { principal, rule: Arc::clone(&rule.name), when },
        None => PolicyError::NothingGranted { principal },
    }
}

/// The only item; two are a contradiction.
fn only<'a, T>(
    principal: &Principal,
    section: &'static str,
    mut found: impl Iterator<Item = (&'a Arc<str>, &'a T)>,
) -> Result<Option<&'a T>, PolicyError> {
    let Some((first, item)) = found.next() else { return Ok(None) };
    match found.next() {
        None => Ok(Some(item)),
        Some((second, _)) => Err(PolicyError::Ambiguous {
            principal: principal.clone(),
            section,
            first: Arc::clone(first),
            second: Arc::clone(second),
        }),
    }
}

/// What all that say it say alike; two that say different things are a contradiction.
fn agreed<'a>(
    principal: &Principal,
    section: &'static str,
    flags: impl Iterator<Item = (&'a Arc<str>, Option<bool>)>,
) -> Result<Option<bool>, PolicyError> {
    let mut said: Option<(&Arc<str>, bool)> = None;
    for (rule, flag) in flags.filter_map(|(rule, flag)| Some((rule, flag?))) {
        match said {
            Some((first, other)) if other != flag => {
                return Err(PolicyError::Ambiguous {
                    principal: principal.clone(),
                    section,
                    first: Arc::clone(first),
                    second: Arc::clone(rule),
                });
            }
            Some(_) => {}
            None => said = Some((rule, flag)),
        }
    }
    Ok(said.map(|(_, flag)| flag))
}

/// Whoever may trade may read the private channel of its own execution reports.
fn private_channel(rights: &OrderRights) -> Grant {
    Grant {
        rule: Arc::clone(&rights.rule),
        channels: vec![Channel::Orders],
        symbols: SymbolPatterns::new(["*"]),
        depth_max: 0,
        conflate_min: Conflation::Off,
        delay_ms: 0,
    }
}

#[cfg(test)]
#[path = "policy_dated_tests.rs"]
mod dated_tests;
#[cfg(test)]
#[path = "policy_model_tests.rs"]
mod model_tests;
#[cfg(test)]
#[path = "policy_orders_tests.rs"]
mod orders_tests;
#[cfg(test)]
#[path = "policy_schema_tests.rs"]
mod schema_tests;
#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
