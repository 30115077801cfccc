//! What may be asked of a policy, and what it answers, with the code that the server would send.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Who, usage};
use crate::cli::context::Problem;
use crate::identity::Policy;
use crate::types::{AdminVerb, Channel, Code, Depth, Entitlement, UnixNanos};
use sealfeed_wire::Conflation;

/// Something that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// To come in at all.
    Connect,
    /// A stream; symbol `*`: all of a channel.
    Subscribe { channel: Channel, symbol: String, depth: Depth, conflation: Conflation },
    /// To trade a symbol.
    Order(String),
    /// To publish a symbol.
    Publish(String),
    /// An operator's verb.
    Admin(AdminVerb),
}

/// What is asked for, on the command line.
#[derive(Debug, Default, Args)]
pub(super) struct ActionArgs {
    /// Ask for a stream of this channel; with --symbol.
    #[arg(long, requires = "symbol", conflicts_with_all = ["order", "publish", "admin"])]
    channel: Option<String>,
    /// Of this symbol; `*` for all of the channel.
    #[arg(long, requires = "channel")]
    symbol: Option<String>,
    /// Levels of the book: 10 (default), 50, or 0 for the full book.
    #[arg(long, requires = "channel")]
    depth: Option<u16>,
    /// Milliseconds between messages of bbo and book: 0 (default: every message), 100, 250 or 1000.
    #[arg(long, requires = "channel", value_name = "MS")]
    conflate: Option<u16>,
    /// Ask to trade this symbol.
    #[arg(long, value_name = "SYMBOL", conflicts_with_all = ["publish", "admin"])]
    order: Option<String>,
    /// Ask to publish this symbol.
    #[arg(long, value_name = "SYMBOL", conflicts_with = "admin")]
    publish: Option<String>,
    /// Ask to use this verb of an operator.
    #[arg(long, value_name = "VERB")]
    admin: Option<String>,
}

impl ActionArgs {
    /// The one thing that is asked for; to come in if nothing is.
    pub(super) fn action(&self) -> Result<Action, Problem> {
        let action = if let (Some(channel), Some(symbol)) = (&self.channel, &self.symbol) {
            Action::subscribe(channel, symbol, self.depth, self.conflate)
        } else if let Some(symbol) = &self.order {
            Ok(Action::Order(symbol.clone()))
        } else if let Some(symbol) = &self.publish {
            Ok(Action::Publish(symbol.clone()))
        } else if let Some(verb) = &self.admin {
            Action::admin(verb)
        } else {
            Ok(Action::Connect)
        };
        action.map_err(|what| usage(what, "Say what is asked for as a client would; --help lists it."))
    }
}

impl Action {
    /// A subscription, of the words of a request.
    pub(super) fn subscribe(
        channel: &str,
        symbol: &str,
        depth: Option<u16>,
        conflate: Option<u16>,
    ) -> Result<Self, String> {
        let channel = Channel::parse(channel).map_err(|_| format!("there is no channel {channel:?}"))?;
        let depth = depth.map_or(Ok(Depth::Ten), |depth| {
            Depth::try_from(depth).map_err(|_| format!("depth {depth} is none of 10, 50 and 0 (full)"))
        })?;
        let conflation = conflate.map_or(Ok(Conflation::Off), |interval| {
            Conflation::try_from(interval)
                .map_err(|_| format!("interval {interval} is none of 0, 100, 250 and 1000"))
        })?;
        Ok(Self::Subscribe { channel, symbol: symbol.to_owned(), depth, conflation })
    }

    /// An operator's verb, of its word.
    pub(super) fn admin(verb: &str) -> Result<Self, String> {
        AdminVerb::parse(verb)
            .map(Self::Admin)
            .map_err(|_| format!("there is no verb {verb:?} of an operator"))
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect => write!(f, "connect"),
            Self::Subscribe { channel, symbol, depth, conflation } => {
                write!(f, "subscribe {channel} {symbol}")?;
                match (channel, depth) {
                    (Channel::Book, Depth::Full) => write!(f, ", every level")?,
                    (Channel::Book, depth) => write!(f, ", {} levels", depth.get())?,
                    _ => {}
                }
                match conflation {
                    Conflation::Off => Ok(()),
                    interval => write!(f, ", every {} ms", interval.get()),
                }
            }
            Self::Order(symbol) => write!(f, "order {symbol}"),
            Self::Publish(symbol) => write!(f, "publish {symbol}"),
            Self::Admin(verb) => write!(f, "admin {verb}"),
        }
    }
}

/// What a policy answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Granted.
    Allow {
        /// By this rule; empty where several rules grant it.
        rule: String,
        /// So much later, in milliseconds.
        delay_ms: u64,
    },
    /// Refused.
    Deny {
        /// What the client is told.
        code: Code,
        /// Why, for the operator.
        why: String,
    },
}

impl Decision {
    /// Asks a policy.
    pub(super) fn of(policy: &Policy, who: &Who, action: &Action, now: UnixNanos) -> Self {
        match policy.entitlement(&who.principal, who.role.as_ref(), now) {
            Err(error) => Self::Deny { code: error.code(), why: error.to_string() },
            Ok(entitlement) => decide(&entitlement, action).unwrap_or_else(|code| {
                let denied = matches!(action, Action::Subscribe { channel, symbol, .. }
                    if entitlement.denies.iter().any(|deny| deny.channels.contains(channel) && deny.symbols.cover(symbol)));
                let why = if denied { "; a deny is about it" } else { "" };
                Self::Deny { code, why: format!("{}{why}", code.message()) }
            }),
        }
    }

    pub(super) fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Allow { rule, delay_ms } => {
                let rule = if rule.is_empty() { String::new() } else { format!(", by rule {rule}") };
                let delay =
                    if *delay_ms == 0 { String::new() } else { format!(", {} s late", delay_ms / 1_000) };
                format!("allow{rule}{delay}")
            }
            Self::Deny { code, why } => format!("deny, {code}: {why}"),
        }
    }

    /// As fields of a JSON object.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let value = match self {
            Self::Allow { rule, delay_ms } => {
                let rule = (!rule.is_empty()).then_some(rule);
                json!({"decision": "allow", "rule": rule, "delay_ms": delay_ms, "code": null, "why": null})
            }
            Self::Deny { code, why } => {
                json!({"decision": "deny", "rule": null, "delay_ms": null, "code": code.as_str(), "why": why})
            }
        };
        match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

/// The decision of the server's own checks.
fn decide(entitlement: &Entitlement, action: &Action) -> Result<Decision, Code> {
    let allow = |rule: &str, delay_ms| Decision::Allow { rule: rule.to_owned(), delay_ms };
    match action {
        Action::Connect => Ok(allow("", 0)),
        Action::Subscribe { channel, .. } if channel.is_private() => {
            if entitlement.may_read_reports(*channel) {
                Ok(allow("", 0))
            } else {
                Err(Code::SubChannelNotEntitled)
            }
        }
        Action::Subscribe { channel, symbol, .. } if symbol == "*" => {
            if entitlement.may_subscribe_to_everything(*channel) {
                Ok(allow("", 0))
            } else {
                Err(Code::SubWildcardNotEntitled)
            }
        }
        Action::Subscribe { channel, symbol, depth, conflation } => {
            let access = entitlement.may_subscribe(*channel, symbol, *depth, *conflation)?;
            Ok(allow(access.rule, access.delay_ms))
        }
        Action::Order(symbol) => {
            let rights = entitlement.may_trade(symbol)?;
            if rights.bounds.restricted_symbols.cover(symbol) {
                return Err(Code::RskSymbolRestricted);
            }
            if entitlement.firm.as_ref().is_some_and(|firm| firm.bounds.restricted_symbols.cover(symbol)) {
                return Err(Code::RskFirmSymbolRestricted);
            }
            Ok(allow(&rights.rule, 0))
        }
        Action::Publish(symbol) => {
            entitlement.may_publish(symbol)?;
            Ok(allow(entitlement.publish.as_ref().map_or("", |rights| &rights.rule), 0))
        }
        Action::Admin(verb) if entitlement.may_administer(*verb) => Ok(allow("", 0)),
        Action::Admin(_) => Err(Code::OrdAdminNotEntitled),
    }
}
