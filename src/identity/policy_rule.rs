//! A rule of the policy as it is asked: made from the text of the file once, matched often.

use std::sync::Arc;

use sealfeed_wire::Channel;

use super::policy_dates::Dates;
use super::policy_file::{
    DenyText, FirmText, LimitsText, MatchText, NameTerm, OrdersText, PublishText, RuleText,
};
use super::policy_file_error::PolicyFileError;
use super::policy_products::{Products, patterns};
use crate::types::{
    AdminVerb, DuplicateLimit, FirmLimits, Grant, OrderRights, Principal, PublishRights, RiskBounds, Role,
    SessionLimits,
};

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) matches: Match,
    pub(super) dates: Dates,
    pub(super) grant: Option<Grant>,
    pub(super) orders: Option<OrderRights>,
    pub(super) publish: Option<PublishRights>,
    pub(super) limits: Option<SessionLimits>,
    /// Each verb once, in the order of [`AdminVerb::ALL`].
    pub(super) admin: Vec<AdminVerb>,
    pub(super) drop_copy: bool,
    pub(super) professional: Option<bool>,
    pub(super) display: Option<bool>,
}

#[derive(Debug)]
pub(super) struct Deny {
    pub(super) matches: Match,
    pub(super) dates: Dates,
    pub(super) grant: Grant,
}

/// `None` matches anything.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) firm: Option<String>,
    pub(super) role: Option<String>,
    pub(super) user: Option<String>,
}

impl Match {
    /// Firm and user, as the index wants them.
    pub(super) fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.firm.as_deref(), self.user.as_deref())
    }

    fn from_text(text: MatchText) -> Self {
        let term = |term: Option<NameTerm>| term.and_then(|term| term.0);
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

impl Rule {
    pub(super) fn from_text(text: RuleText, products: &mut Products) -> Result<Self, PolicyFileError> {
        let name: Arc<str> = text.name.into();
        let symbols = products.join(&name, text.symbols, &text.products)?;
        let grant = (!text.channels.is_empty()).then(|| Grant {
            rule: Arc::clone(&name),
            channels: text.channels.iter().map(|channel| channel.0).collect(),
            symbols,
            depth_max: text.depth_max.0,
            conflate_min: text.conflate_ms_min.0,
            delay_ms: text.delay.0,
        });
        Ok(Self {
            matches: Match::from_text(text.matches),
            dates: Dates::from_text(text.valid_from.as_ref(), text.valid_to.as_ref()),
            grant,
            publish: text.publish.map(|publish| publish_rights(publish, &name, products)).transpose()?,
            orders: text.orders.map(|orders| order_rights(orders, &name, products)).transpose()?,
            limits: text.limits.map(|limits| session_limits(&limits)),
            admin: verbs(|verb| text.admin.iter().any(|listed| listed.0 == verb)),
            drop_copy: text.drop_copy,
            professional: text.professional,
            display: text.display,
            name,
        })
    }

    /// Whether whom it matches may do anything by it.
    pub(super) const fn grants(&self) -> bool {
        self.grant.is_some()
            || self.orders.is_some()
            || self.publish.is_some()
            || !self.admin.is_empty()
            || self.drop_copy
    }
}

impl Deny {
    pub(super) fn from_text(text: DenyText, products: &mut Products) -> Result<Self, PolicyFileError> {
        let symbols = products.join(&text.name, text.symbols, &text.products)?;
        let channels = if text.channels.is_empty() {
            Channel::ALL.iter().copied().filter(|channel| !channel.is_private()).collect()
        } else {
            text.channels.iter().map(|channel| channel.0).collect()
        };
        Ok(Self {
            matches: Match::from_text(text.matches),
            dates: Dates::from_text(text.valid_from.as_ref(), text.valid_to.as_ref()),
            grant: Grant {
                rule: text.name.into(),
                channels,
                symbols,
                depth_max: text.depth_max.0,
                conflate_min: text.conflate_ms_min.0,
                delay_ms: 0,
            },
        })
    }
}

/// Verbs of which something is true, each once.
pub(super) fn verbs(is_listed: impl Fn(AdminVerb) -> bool) -> Vec<AdminVerb> {
    AdminVerb::ALL.iter().copied().filter(|verb| is_listed(*verb)).collect()
}

fn publish_rights(
    text: PublishText,
    rule: &Arc<str>,
    products: &mut Products,
) -> Result<PublishRights, PolicyFileError> {
    let symbols = products.join(rule, text.symbols, &text.products)?;
    Ok(PublishRights { rule: Arc::clone(rule), symbols })
}

fn order_rights(
    text: OrdersText,
    rule: &Arc<str>,
    products: &mut Products,
) -> Result<OrderRights, PolicyFileError> {
    let duplicates = text.duplicates_max.zip(text.duplicates_ms);
    Ok(OrderRights {
        rule: Arc::clone(rule),
        symbols: products.join(rule, text.symbols, &text.products)?,
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
        cancel_on_revocation: text.cancel_on_revocation,
        proof: text.proof.0,
    })
}

pub(super) fn firm_limits(text: FirmText) -> (Arc<str>, Arc<FirmLimits>) {
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
        sessions_policy: text.sessions_policy.map_or(default.sessions_policy, |policy| policy.0),
        subscriptions_max: text.subscriptions_max.map_or(default.subscriptions_max, |count| count.0),
        messages_per_second: text.messages_per_second.map_or(default.messages_per_second, |rate| rate.0),
    }
}
