//! What a policy gives to a principal, in words, for `whoami` and for operators.

use std::sync::Arc;

use sealfeed_wire::Conflation;

use super::policy::Policy;
use super::policy_rule::{Deny, Rule};
use crate::types::{
    CancelOnDisconnect, Channel, FirmLimits, Grant, OrderRights, Principal, RiskBounds, Role, SessionLimits,
    SessionsPolicy, UnixNanos,
};

/// One effect of one rule on a principal, for `whoami` and for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleLine {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// What it does, in words.
    pub effect: String,
}

impl Policy {
    /// Every effect of every rule on a principal at this time, in the order of the file, denies behind them, the firm's bounds last.
    #[must_use]
    pub fn explain(&self, principal: &Principal, role: Option<&Role>, now: UnixNanos) -> Vec<RuleLine> {
        let mut lines = Vec::new();
        let matching = || self.rules_about(principal, role).filter(|rule| rule.dates.cover(now));
        for rule in matching() {
            let effects = effects(rule).into_iter();
            lines.extend(effects.map(|effect| RuleLine { rule: Arc::clone(&rule.name), effect }));
        }
        for deny in self.denies_about(principal, role).filter(|deny| deny.dates.cover(now)) {
            lines.push(RuleLine { rule: Arc::clone(&deny.grant.rule), effect: deny_effect(deny) });
        }
        let may_trade = matching().any(|rule| rule.orders.is_some());
        if let Some(firm) = self.firms.get(principal.firm()).filter(|_| may_trade) {
            lines.push(RuleLine { rule: format!("firm {}", firm.name).into(), effect: describe_firm(firm) });
        }
        lines
    }
}

/// All that a rule does to whom it matches, in words.
pub(super) fn effects(rule: &Rule) -> Vec<String> {
    let mut effects = Vec::new();
    effects.extend(rule.grant.as_ref().map(|grant| describe("may read", grant)));
    effects.extend(rule.orders.as_ref().map(describe_orders));
    if let Some(rights) = &rule.publish {
        let symbols: Vec<&str> = rights.symbols.iter().collect();
        effects.push(format!("may publish {}", symbols.join(", ")));
    }
    if !rule.admin.is_empty() {
        let verbs: Vec<&str> = rule.admin.iter().map(|verb| verb.as_str()).collect();
        effects.push(format!("may use the operator's verbs {}", verbs.join(", ")));
    }
    if rule.drop_copy {
        effects.push("may read the execution reports of the whole firm".to_owned());
    }
    effects.extend(rule.limits.as_ref().map(describe_limits));
    effects.extend(describe_flags(rule.professional, rule.display));
    effects
}

/// What a deny does to whom it matches, in words.
pub(super) fn deny_effect(deny: &Deny) -> String {
    describe("may not read", &deny.grant)
}

fn describe(verb: &str, grant: &Grant) -> String {
    let channels: Vec<&str> = grant.channels.iter().map(|channel| channel.as_str()).collect();
    let symbols: Vec<&str> = grant.symbols.iter().collect();
    let depth = match (grant.depth_max, verb) {
        (0, _) => String::new(),
        (depth, "may not read") => format!(", books deeper than {depth} levels"),
        (depth, _) if grant.channels.contains(&Channel::Mbo) => {
            format!(", books to {depth} levels and therefore no mbo")
        }
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
    text += &describe_bounds(&rights.bounds);
    if rights.price_collar_bps != 0 {
        text += &format!(", within {} basis points of the market", rights.price_collar_bps);
    }
    if let Some(limit) = rights.duplicates {
        text += &format!(", the same order at most {} times in {} ms", limit.count_max, limit.within_ms);
    }
    match rights.cancel_on_disconnect {
        CancelOnDisconnect::Off => {}
        CancelOnDisconnect::Connection => text += ", a lost session's orders are cancelled",
        CancelOnDisconnect::Principal => text += ", all orders are cancelled when the last session is lost",
    }
    if !rights.cancel_on_revocation {
        text += ", orders outlive the certificate";
    }
    text
}

pub(super) fn describe_firm(firm: &FirmLimits) -> String {
    let mut text = "may trade with the whole firm".to_owned();
    if firm.orders_per_second != 0 {
        text += &format!(", {} orders a second", firm.orders_per_second);
    }
    if firm.open_orders_max != 0 {
        text += &format!(", at most {} open", firm.open_orders_max);
    }
    text + &describe_bounds(&firm.bounds)
}

fn describe_bounds(bounds: &RiskBounds) -> String {
    let mut text = String::new();
    if !bounds.position_max.is_zero() {
        text += &format!(", position at most {}", bounds.position_max);
    }
    if bounds.exposure_max != 0 {
        text += &format!(", exposure at most {}", bounds.exposure_max);
    }
    if bounds.loss_max != 0 {
        text += &format!(", loss of a day at most {}", bounds.loss_max);
    }
    let restricted: Vec<&str> = bounds.restricted_symbols.iter().collect();
    if !restricted.is_empty() {
        text += &format!(", never {}", restricted.join(", "));
    }
    text
}

fn describe_limits(limits: &SessionLimits) -> String {
    let one_more = match limits.sessions_policy {
        SessionsPolicy::Refuse => "",
        SessionsPolicy::Evict => " (one more ends the oldest)",
        SessionsPolicy::Count => " (more are let in and counted)",
    };
    format!(
        "at most {} sessions{one_more}, {} subscriptions each, {} messages a second",
        limits.sessions_max, limits.subscriptions_max, limits.messages_per_second
    )
}

fn describe_flags(professional: Option<bool>, display: Option<bool>) -> Option<String> {
    let words = [
        professional.map(|is| if is { "professional" } else { "non-professional" }),
        display.map(|is| if is { "display" } else { "non-display" }),
    ];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| format!("counts as {} use", words.join(", ")))
}
