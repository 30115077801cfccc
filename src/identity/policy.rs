//! The entitlement policy: what the rules give to a principal.
//!
//! Market data of all matching rules adds up; a deny wins over every rule. Rights to trade and session limits do not
//! add up: if two matching rules set either, nobody can say which was meant, and the principal is refused with both
//! named. A principal whom no rule matches has nothing.

use std::sync::Arc;

use sealfeed_wire::{AdminVerb, Channel, Code, Conflation, ProofDemand};

use super::policy_file::{
    DenyText, LimitsText, MatchText, OrdersText, PolicyFile, PolicyFileError, RuleText,
};
use crate::types::{
    Entitlement, Grant, OrderRights, Principal, PublishRights, Role, SessionLimits, SymbolPatterns,
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

/// One effect of one rule on a principal, for `whoami` and for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleLine {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// What it does, in words.
    pub effect: String,
}

/// A parsed policy.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    denies: Vec<Deny>,
}

#[derive(Debug)]
struct Rule {
    name: Arc<str>,
    matches: Match,
    grant: Option<Grant>,
    orders: Option<OrderRights>,
    publish: Option<PublishRights>,
    admin: Vec<AdminVerb>,
    limits: Option<SessionLimits>,
}

#[derive(Debug)]
struct Deny {
    matches: Match,
    grant: Grant,
}

/// `None` matches anything.
#[derive(Debug)]
struct Match {
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
    fn covers(&self, principal: &Principal, role: Option<&Role>) -> bool {
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
            admin: AdminVerb::ALL
                .iter()
                .copied()
                .filter(|verb| matching().any(|rule| rule.admin.contains(verb)))
                .collect(),
            limits: limits.cloned().unwrap_or_default(),
        };
        if entitlement.is_empty() {
            return Err(PolicyError::NothingGranted { principal: principal.clone() });
        }
        Ok(entitlement)
    }

    /// Every effect of every rule on a principal, in the order of the file, denies last.
    #[must_use]
    pub fn explain(&self, principal: &Principal, role: Option<&Role>) -> Vec<RuleLine> {
        let mut lines = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.matches.covers(principal, role)) {
            let mut add = |effect| lines.push(RuleLine { rule: Arc::clone(&rule.name), effect });
            if let Some(grant) = &rule.grant {
                add(describe("may read", grant));
            }
            if let Some(rights) = &rule.orders {
                add(describe_orders(rights));
            }
            if let Some(rights) = &rule.publish {
                let symbols: Vec<&str> = rights.symbols.iter().collect();
                add(format!("may publish {}", symbols.join(", ")));
            }
            if !rule.admin.is_empty() {
                let verbs: Vec<&str> = rule.admin.iter().map(|verb| verb.as_str()).collect();
                add(format!("may do as an operator: {}", verbs.join(", ")));
            }
            if let Some(limits) = &rule.limits {
                add(describe_limits(limits));
            }
        }
        for deny in self.denies.iter().filter(|deny| deny.matches.covers(principal, role)) {
            lines.push(RuleLine {
                rule: Arc::clone(&deny.grant.rule),
                effect: describe("may not read", &deny.grant),
            });
        }
        lines
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
            symbols: SymbolPatterns::new(text.symbols.into_iter().map(|pattern| pattern.0)),
            depth_max: text.depth_max.0,
            conflate_min: text.conflate_ms_min.0,
            delay_ms: text.delay.0,
        });
        Self {
            matches: Match::from_text(text.matches),
            grant,
            orders: text.orders.map(|orders| order_rights(orders, &name)),
            publish: text.publish.map(|publish| PublishRights {
                rule: Arc::clone(&name),
                symbols: SymbolPatterns::new(publish.symbols.into_iter().map(|pattern| pattern.0)),
            }),
            admin: text.admin,
            limits: text.limits.map(|limits| session_limits(&limits)),
            name,
        }
    }
}

impl Deny {
    fn from_text(text: DenyText) -> Self {
        let channels = if text.channels.is_empty() {
            Channel::ALL.iter().copied().filter(|channel| *channel != Channel::Orders).collect()
        } else {
            text.channels.iter().map(|channel| channel.0).collect()
        };
        Self {
            matches: Match::from_text(text.matches),
            grant: Grant {
                rule: text.name.into(),
                channels,
                symbols: SymbolPatterns::new(text.symbols.into_iter().map(|pattern| pattern.0)),
                depth_max: text.depth_max.0,
                conflate_min: text.conflate_ms_min.0,
                delay_ms: 0,
            },
        }
    }
}

fn order_rights(text: OrdersText, rule: &Arc<str>) -> OrderRights {
    OrderRights {
        rule: Arc::clone(rule),
        symbols: SymbolPatterns::new(text.symbols.into_iter().map(|pattern| pattern.0)),
        quantity_max: text.quantity_max.0,
        notional_max: text.notional_max,
        open_orders_max: text.open_orders_max,
        orders_per_second: text.orders_per_second.0,
        proof: text.proof.0,
    }
}

fn session_limits(text: &LimitsText) -> SessionLimits {
    let default = SessionLimits::default();
    SessionLimits {
        sessions_max: text.sessions_max.map_or(default.sessions_max, |count| count.0),
        subscriptions_max: text.subscriptions_max.map_or(default.subscriptions_max, |count| count.0),
        messages_per_second: text.messages_per_second.map_or(default.messages_per_second, |rate| rate.0),
    }
}

fn describe(verb: &str, grant: &Grant) -> String {
    let channels: Vec<&str> = grant.channels.iter().map(|channel| channel.as_str()).collect();
    let symbols: Vec<&str> = grant.symbols.iter().collect();
    let depth = match (grant.depth_max, verb) {
        (0, _) => String::new(),
        (depth, "may not read") => format!(", books deeper than {depth} levels"),
        (depth, _) => format!(", books to {depth} levels"),
    };
    let interval = match grant.conflate_min {
        Conflation::Off => String::new(),
        interval if verb == "may not read" => {
            format!(", bbo and books faster than every {} ms", interval.get())
        }
        interval => format!(", bbo and books every {} ms at most", interval.get()),
    };
    let delay = match grant.delay_ms {
        0 => String::new(),
        delay_ms => format!(", {} s late", delay_ms / 1_000),
    };
    format!("{verb} {} of {}{depth}{interval}{delay}", channels.join(", "), symbols.join(", "))
}

fn describe_orders(rights: &OrderRights) -> String {
    let symbols: Vec<&str> = rights.symbols.iter().collect();
    let mut text = format!("may trade {}, {} orders a second", symbols.join(", "), rights.orders_per_second);
    if !rights.quantity_max.is_zero() {
        text += &format!(", quantity at most {}", rights.quantity_max);
    }
    if rights.notional_max != 0 {
        text += &format!(", notional at most {}", rights.notional_max);
    }
    if rights.open_orders_max != 0 {
        text += &format!(", at most {} open", rights.open_orders_max);
    }
    match rights.proof {
        ProofDemand::Mac => {}
        ProofDemand::Sig => text += ", signed with the certificate's key",
        ProofDemand::Both => text += ", signed with the certificate's key and the order key",
    }
    text
}

fn describe_limits(limits: &SessionLimits) -> String {
    format!(
        "at most {} sessions, {} subscriptions each, {} messages a second",
        limits.sessions_max, limits.subscriptions_max, limits.messages_per_second
    )
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
