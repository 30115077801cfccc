//! The entitlement policy: what the rules give to a principal.
//!
//! Market data of all matching rules adds up; a deny wins over every rule. Rights to trade and session limits do not
//! add up: if two matching rules set either, nobody can say which was meant, and the principal is refused with both
//! named. A principal whom no rule matches has nothing. Verbs of operators and the drop copy add up, like market data. What a `[[firm]]`
//! table bounds holds for every principal of the firm, whatever rules match; no two tables are about one firm.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealfeed_wire::{Channel, Code, Conflation};

use super::policy_file::{
    DenyText, FirmText, LimitsText, MatchText, OrdersText, Pattern, PolicyFile, PolicyFileError, RuleText,
};
use crate::types::{
    AdminVerb, DuplicateLimit, Entitlement, FirmLimits, Grant, OrderRights, Principal, PublishRights,
    RiskBounds, Role, SessionLimits, SymbolPatterns,
};

/// Why a principal has no entitlement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No rule matches, or those that match grant nothing.
    #[error("no rule grants {principal} anything")]
    NothingGranted {
        /// Who.
        principal: Principal,
    },
    /// Two rules set what only one may set.
    #[error("rules `{first}` and `{second}` both set {section} for {principal}")]
    Ambiguous {
        /// Who.
        principal: Principal,
        /// `orders` or `limits`.
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
        Code::SesEntitlementMissing
    }
}

/// A parsed policy.
#[derive(Debug)]
pub struct Policy {
    pub(super) rules: Vec<Rule>,
    pub(super) denies: Vec<Deny>,
    /// By name.
    pub(super) firms: BTreeMap<Arc<str>, Arc<FirmLimits>>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) matches: Match,
    pub(super) grant: Option<Grant>,
    pub(super) orders: Option<OrderRights>,
    pub(super) publish: Option<PublishRights>,
    pub(super) limits: Option<SessionLimits>,
    /// Each verb once, in the order of [`AdminVerb::ALL`].
    pub(super) admin: Vec<AdminVerb>,
    pub(super) drop_copy: bool,
}

#[derive(Debug)]
pub(super) struct Deny {
    pub(super) matches: Match,
    pub(super) grant: Grant,
}

/// `None` matches anything.
#[derive(Debug)]
pub(super) struct Match {
    firm: Option<String>,
    role: Option<String>,
    user: Option<String>,
}

impl Match {
    fn from_text(text: MatchText) -> Self {
        let term = |term: Option<super::policy_file::NameTerm>| term.and_then(|term| term.0);
        Self { firm: term(text.firm), role: term(text.role), user: term(text.user) }
    }

    /// A certificate without a role matches only rules that ask for none.
    pub(super) fn covers(&self, principal: &Principal, role: Option<&Role>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| match wanted {
            None => true,
            Some(wanted) => found == Some(wanted),
        };
        is(&self.firm, Some(principal.firm()))
            && is(&self.user, Some(principal.user()))
            && is(&self.role, role.map(Role::as_str))
    }
}

impl Policy {
    /// Reads a policy from the bytes of its file.
    ///
    /// # Errors
    /// [`PolicyFileError`], with the line or the rule.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        let file = PolicyFile::parse(bytes)?;
        Ok(Self {
            rules: file.rules.into_iter().map(Rule::from_text).collect(),
            denies: file.denies.into_iter().map(Deny::from_text).collect(),
            firms: file.firms.into_iter().map(firm_limits).collect(),
        })
    }

    /// How many rules and denies there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.len() + self.denies.len()
    }

    /// All that a principal may do.
    ///
    /// # Errors
    /// [`PolicyError`] if that is nothing, or if rules contradict each other.
    pub fn entitlement(
        &self,
        principal: &Principal,
        role: Option<&Role>,
    ) -> Result<Entitlement, PolicyError> {
        let matching = || self.rules.iter().filter(|rule| rule.matches.covers(principal, role));
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
        let entitlement = Entitlement {
            grants,
            denies: self
                .denies
                .iter()
                .filter(|deny| deny.matches.covers(principal, role))
                .map(|deny| deny.grant.clone())
                .collect(),
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
        };
        if entitlement.is_empty() {
            return Err(PolicyError::NothingGranted { principal: principal.clone() });
        }
        Ok(entitlement)
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

impl Rule {
    fn from_text(text: RuleText) -> Self {
        let name: Arc<str> = text.name.into();
        let grant = (!text.channels.is_empty()).then(|| Grant {
            rule: Arc::clone(&name),
            channels: text.channels.iter().map(|channel| channel.0).collect(),
            symbols: patterns(text.symbols),
            depth_max: text.depth_max.0,
            conflate_min: text.conflate_ms_min.0,
            delay_ms: text.delay.0,
        });
        Self {
            matches: Match::from_text(text.matches),
            grant,
            orders: text.orders.map(|orders| order_rights(orders, &name)),
            publish: text
                .publish
                .map(|publish| PublishRights { rule: Arc::clone(&name), symbols: patterns(publish.symbols) }),
            limits: text.limits.map(|limits| session_limits(&limits)),
            admin: verbs(|verb| text.admin.iter().any(|listed| listed.0 == verb)),
            drop_copy: text.drop_copy,
            name,
        }
    }
}

impl Deny {
    fn from_text(text: DenyText) -> Self {
        let channels = if text.channels.is_empty() {
            Channel::ALL.iter().copied().filter(|channel| !channel.is_private()).collect()
        } else {
            text.channels.iter().map(|channel| channel.0).collect()
        };
        Self {
            matches: Match::from_text(text.matches),
            grant: Grant {
                rule: text.name.into(),
                channels,
                symbols: patterns(text.symbols),
                depth_max: text.depth_max.0,
                conflate_min: text.conflate_ms_min.0,
                delay_ms: 0,
            },
        }
    }
}

/// Verbs of which something is true, each once.
fn verbs(is_listed: impl Fn(AdminVerb) -> bool) -> Vec<AdminVerb> {
    AdminVerb::ALL.iter().copied().filter(|verb| is_listed(*verb)).collect()
}

fn patterns(texts: Vec<Pattern>) -> SymbolPatterns {
    SymbolPatterns::new(texts.into_iter().map(|pattern| pattern.0))
}

fn order_rights(text: OrdersText, rule: &Arc<str>) -> OrderRights {
    let duplicates = text.duplicates_max.zip(text.duplicates_ms);
    OrderRights {
        rule: Arc::clone(rule),
        symbols: patterns(text.symbols),
        quantity_max: text.quantity_max.0,
        notional_max: text.notional_max,
        open_orders_max: text.open_orders_max,
        orders_per_second: text.orders_per_second.0,
        price_collar_bps: text.price_collar_bps,
        duplicates: duplicates.map(|(count, time)| DuplicateLimit { count_max: count.0, within_ms: time.0 }),
        bounds: RiskBounds {
            restricted_symbols: patterns(text.restricted_symbols),
            position_max: text.position_max.0,
            exposure_max: text.exposure_max,
            loss_max: text.loss_max,
        },
        cancel_on_disconnect: text.cancel_on_disconnect.0,
        proof: text.proof.0,
    }
}

fn firm_limits(text: FirmText) -> (Arc<str>, Arc<FirmLimits>) {
    let name: Arc<str> = text.name.into();
    let limits = FirmLimits {
        name: Arc::clone(&name),
        bounds: RiskBounds {
            restricted_symbols: patterns(text.restricted_symbols),
            position_max: text.position_max.0,
            exposure_max: text.exposure_max,
            loss_max: text.loss_max,
        },
        open_orders_max: text.open_orders_max,
        orders_per_second: text.orders_per_second.map_or(0, |rate| rate.0),
    };
    (name, Arc::new(limits))
}

fn session_limits(text: &LimitsText) -> SessionLimits {
    let default = SessionLimits::default();
    SessionLimits {
        sessions_max: text.sessions_max.map_or(default.sessions_max, |count| count.0),
        subscriptions_max: text.subscriptions_max.map_or(default.subscriptions_max, |count| count.0),
        messages_per_second: text.messages_per_second.map_or(default.messages_per_second, |rate| rate.0),
    }
}

#[cfg(test)]
#[path = "policy_orders_tests.rs"]
mod orders_tests;
#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
