//! `entitlements.toml`: the form in which people write the policy, and what makes a file invalid.
//!
//! ```toml
//! roles = ["trader", "viewer", "service", "admin"]   # roles that rules may name; these four by default
//!
//! [[rule]]
//! name = "traders"                                   # unique; named in whoami and in every refusal
//! match = { firm = "acme", role = "trader" }         # any of firm, role, user; "*" or absent: any
//! channels = ["trades", "bbo", "book"]
//! symbols = ["ES*", "SEAL"]                          # `*` stands for any run of characters
//! depth_max = 10                                     # deepest book: 10, 50, or 0 (default) for the full book
//! conflate_ms_min = 0                                # fastest bbo and book: 0 (default: every message), 100, 250 or 1000
//! delay = "15m"                                      # how late it is delivered: "1s" to "24h"; absent: in real time
//! valid_from = 2026-01-01                            # from the first instant of this day, UTC; or 2026-01-01T08:00:00Z; absent: always
//! valid_to = 2027-12-31                              # to the last instant of this day; of a date-time: until then
//! drop_copy = true                                   # may read the execution reports of its whole firm; absent: its own
//! admin = ["kill", "trading"]                        # verbs of an operator: kill switches, trading status; absent: none
//!
//! [rule.orders]                                      # without it: no orders
//! symbols = ["SEAL"]
//! quantity_max = "1000"                              # absent: no bound
//! notional_max = 5000000                             # absent or 0: no bound
//! open_orders_max = 100                              # absent or 0: no bound
//! orders_per_second = 50                             # the default
//! restricted_symbols = ["SEALX*"]                    # may not be traded, whatever `symbols` says
//! price_collar_bps = 500                             # a buy so much above the market, a sell below; absent or 0: no bound
//! position_max = "5000"                              # of one symbol, all open orders filled; absent: no bound
//! exposure_max = 20000000                            # open orders and positions, whole currency units; absent or 0: no bound
//! loss_max = 250000                                  # of the trading day, whole currency units; absent or 0: no bound
//! duplicates_max = 3                                 # the same order at most three times
//! duplicates_ms = 1000                               # within a second; both or neither
//! cancel_on_disconnect = "connection"                # or "principal", or "off" (default)
//! proof = "mac"                                      # what signed requests must carry: "mac" (default), "sig", "both"
//!
//! [rule.publish]                                     # without it: no publishing
//! symbols = ["IDX*"]                                 # of a source of type publisher that names the principal
//!
//! # in a [[rule]]: admin = ["kill", "trading"]       # operators' verbs; absent: none
//!
//! [rule.limits]                                      # absent: the server's defaults
//! sessions_max = 4
//!
//! [[deny]]                                           # wins over every rule
//! name = "no-single-stocks"
//! match = { firm = "acme" }
//! channels = ["book"]                                # absent: all
//! symbols = ["AAPL"]                                 # valid_from and valid_to as in a rule
//!
//! [[firm]]                                           # bounds on all principals of a firm together
//! name = "acme"
//! restricted_symbols = ["TEST*"]
//! open_orders_max = 1000                             # these as in [rule.orders]; at least one of them
//! position_max = "20000"
//! exposure_max = 100000000
//! loss_max = 1000000
//! orders_per_second = 200                            # new orders and replaces; absent: no bound
//! ```
//!
//! Unknown keys, channels, roles and depths are errors, with their line; so are rules that grant nothing. What the bounds on orders
//! count, and against which prices, stands in `docs/RISK.md`.

use std::collections::HashSet;

use sealfeed_wire::{Channel, Code, Conflation};
use serde::Deserialize;

use super::policy_dates::{Dates, ValidFrom, ValidTo};
pub(super) use super::policy_file_orders::{FirmText, OrdersText, PerSecond, Verb};
use crate::types::principal::is_name;

/// Roles that rules may name unless the file lists its own: the profiles of the bundled PKI script.
pub const ROLES: [&str; 4] = ["trader", "viewer", "service", "admin"];

/// Most rules and denies of one file.
pub const RULES_MAX: usize = 10_000;

/// Most bytes of a symbol pattern.
const PATTERN_BYTES_MAX: usize = 64;

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It is not UTF-8.
    #[error("the policy is not UTF-8 text")]
    NotText,
    /// It is not TOML, or a key or value is not allowed.
    #[error("the policy cannot be read")]
    Parse {
        /// What and where, with the line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Two rules have one name.
    #[error("two rules are named `{name}`")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A rule has a name that nobody could write down safely.
    #[error("rule {position} has a name that is not 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    BadName {
        /// Position in the file, from 1.
        position: usize,
    },
    /// A rule is for a role that no certificate should have.
    #[error("rule `{rule}` matches the unknown role `{role}`; known are {known}")]
    UnknownRole {
        /// Which rule.
        rule: String,
        /// The role.
        role: String,
        /// Roles that may be named.
        known: String,
    },
    /// A rule has no effect.
    #[error(
        "rule `{rule}` grants nothing: it has no channels, no orders, no publish, no limits, no admin and no drop_copy"
    )]
    GrantsNothing {
        /// Which rule.
        rule: String,
    },
    /// A rule has channels without symbols, or symbols without channels.
    #[error("rule `{rule}` needs both channels and symbols, or neither")]
    HalfGrant {
        /// Which rule.
        rule: String,
    },
    /// A rule has a delay and no market data to delay.
    #[error("rule `{rule}` has a delay, but no channels that it could delay")]
    DelaysNothing {
        /// Which rule.
        rule: String,
    },
    /// A rule lets trade, or denies, no symbol at all.
    #[error("rule `{rule}` has an empty list of symbols")]
    NoSymbols {
        /// Which rule.
        rule: String,
    },
    /// A rule says how often the same order may come and not in which time, or the other way round.
    #[error("rule `{rule}` needs both duplicates_max and duplicates_ms, or neither")]
    HalfDuplicates {
        /// Which rule.
        rule: String,
    },
    /// Two tables are about one firm.
    #[error("two [[firm]] tables are named `{name}`: which bounds are meant?")]
    FirmTwice {
        /// The firm.
        name: String,
    },
    /// A table is about a firm that no certificate can name.
    #[error("[[firm]] table {position} has a name that is not 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    BadFirm {
        /// Position among the tables of firms, from 1.
        position: usize,
    },
    /// A table of a firm has no effect.
    #[error("[[firm]] `{name}` bounds nothing: give it a bound, or take it out")]
    BoundsNothing {
        /// The firm.
        name: String,
    },
    /// A rule has ended before it begins.
    #[error("rule `{rule}` never holds: its valid_to does not lie behind its valid_from")]
    NeverHolds {
        /// Which rule.
        rule: String,
    },
    /// More rules than [`RULES_MAX`].
    #[error("the policy has {count} rules, denies and firms, at most {RULES_MAX} are allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl PolicyFileError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NameTwice { .. } | Self::FirmTwice { .. } => Code::CfgRulesAmbiguous,
            Self::NotText | Self::Parse { .. } => Code::CfgSyntaxInvalid,
            Self::NeverHolds { .. } => Code::CfgRuleDates,
            _ => Code::CfgRuleInvalid,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    #[serde(default = "default_roles")]
    roles: Vec<String>,
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<RuleText>,
    #[serde(default, rename = "deny")]
    pub(super) denies: Vec<DenyText>,
    #[serde(default, rename = "firm")]
    pub(super) firms: Vec<FirmText>,
}

fn default_roles() -> Vec<String> {
    ROLES.map(str::to_owned).to_vec()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    pub(super) name: String,
    #[serde(rename = "match")]
    pub(super) matches: MatchText,
    #[serde(default)]
    pub(super) channels: Vec<MarketChannel>,
    #[serde(default)]
    pub(super) symbols: Vec<Pattern>,
    #[serde(default)]
    pub(super) depth_max: DepthMax,
    #[serde(default)]
    pub(super) conflate_ms_min: ConflateMin,
    #[serde(default)]
    pub(super) delay: Delay,
    #[serde(default)]
    pub(super) admin: Vec<Verb>,
    #[serde(default)]
    pub(super) drop_copy: bool,
    pub(super) valid_from: Option<ValidFrom>,
    pub(super) valid_to: Option<ValidTo>,
    pub(super) orders: Option<OrdersText>,
    pub(super) publish: Option<PublishText>,
    pub(super) limits: Option<LimitsText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DenyText {
    pub(super) name: String,
    #[serde(rename = "match")]
    pub(super) matches: MatchText,
    /// Empty: all channels.
    #[serde(default)]
    pub(super) channels: Vec<MarketChannel>,
    pub(super) symbols: Vec<Pattern>,
    #[serde(default)]
    pub(super) depth_max: DepthMax,
    #[serde(default)]
    pub(super) conflate_ms_min: ConflateMin,
    pub(super) valid_from: Option<ValidFrom>,
    pub(super) valid_to: Option<ValidTo>,
}

/// `None`: anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MatchText {
    pub(super) firm: Option<NameTerm>,
    pub(super) role: Option<NameTerm>,
    pub(super) user: Option<NameTerm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishText {
    pub(super) symbols: Vec<Pattern>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsText {
    pub(super) sessions_max: Option<AtLeastOne>,
    pub(super) subscriptions_max: Option<AtLeastOne>,
    pub(super) messages_per_second: Option<PerSecond>,
}

/// A firm, role or user to match exactly; `None` stands for `"*"`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct NameTerm(pub(super) Option<String>);

impl TryFrom<String> for NameTerm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "*" => Ok(Self(None)),
            name if is_name(name) => Ok(Self(Some(text))),
            _ => Err(format!("{text:?} is neither `*` nor 1 to 64 characters of A-Z a-z 0-9 . _ -")),
        }
    }
}

/// A channel of market data; `orders` comes with the right to trade, `drop_copy` with the right of that name, and neither can be granted as a channel.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MarketChannel(pub(super) Channel);

impl TryFrom<String> for MarketChannel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Channel::parse(&text) {
            Ok(Channel::Orders) => Err("channel `orders` comes with `[rule.orders]`".to_owned()),
            Ok(Channel::DropCopy) => Err("channel `drop_copy` comes with `drop_copy = true`".to_owned()),
            Ok(channel) => Ok(Self(channel)),
            Err(_) => Err(format!("unknown channel {text:?}")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(pub(super) String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_pattern = (1..=PATTERN_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b'*')
            });
        if is_pattern {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no symbol pattern: 1 to 64 characters of A-Z a-z 0-9 . _ - / : *"))
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct DepthMax(pub(super) u32);

impl TryFrom<u32> for DepthMax {
    type Error = String;

    fn try_from(depth: u32) -> Result<Self, String> {
        match depth {
            0 | 10 | 50 => Ok(Self(depth)),
            _ => Err(format!("depth {depth} is none of 10, 50 and 0 (full)")),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct ConflateMin(pub(super) Conflation);

impl Default for ConflateMin {
    fn default() -> Self {
        Self(Conflation::Off)
    }
}

impl TryFrom<u32> for ConflateMin {
    type Error = String;

    fn try_from(interval: u32) -> Result<Self, String> {
        let known = u16::try_from(interval).ok().and_then(|interval| Conflation::try_from(interval).ok());
        known
            .map(Self)
            .ok_or_else(|| format!("interval {interval} is none of 0 (every message), 100, 250 and 1000"))
    }
}

/// Milliseconds; zero: none.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Delay(pub(super) u64);

impl TryFrom<String> for Delay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = ["s", "m", "h"].into_iter().zip([1, 60, 3_600]).find_map(|(unit, seconds)| {
            let number = text.strip_suffix(unit)?;
            let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
            number.parse::<u64>().ok().filter(|_| is_plain)?.checked_mul(seconds)
        });
        match parsed {
            Some(seconds @ 1..=86_400) => Ok(Self(seconds * 1_000)),
            _ => {
                Err(format!("{text:?} is no delay: a whole number with s, m or h behind it, from 1s to 24h"))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct AtLeastOne(pub(super) u32);

impl TryFrom<u32> for AtLeastOne {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        if count == 0 { Err("0 would lock everybody out: at least 1".to_owned()) } else { Ok(Self(count)) }
    }
}

impl PolicyFile {
    /// Reads and checks a policy.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyFileError::NotText)?;
        let file: Self =
            toml::from_str(text).map_err(|source| PolicyFileError::Parse { source: Box::new(source) })?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), PolicyFileError> {
        let count = self.rules.len() + self.denies.len() + self.firms.len();
        if count > RULES_MAX {
            return Err(PolicyFileError::TooMany { count });
        }
        let of_rules = self.rules.iter().map(|rule| (&rule.name, &rule.matches));
        let of_denies = self.denies.iter().map(|deny| (&deny.name, &deny.matches));
        let mut seen = HashSet::new();
        for (index, (name, matches)) in of_rules.chain(of_denies).enumerate() {
            if !is_name(name) {
                return Err(PolicyFileError::BadName { position: index + 1 });
            }
            if !seen.insert(name) {
                return Err(PolicyFileError::NameTwice { name: name.clone() });
            }
            self.check_role(name, matches)?;
        }
        let order_symbols =
            self.rules.iter().filter_map(|rule| Some((&rule.name, &rule.orders.as_ref()?.symbols)));
        let publish_symbols =
            self.rules.iter().filter_map(|rule| Some((&rule.name, &rule.publish.as_ref()?.symbols)));
        let deny_symbols = self.denies.iter().map(|deny| (&deny.name, &deny.symbols));
        if let Some((name, _)) =
            order_symbols.chain(publish_symbols).chain(deny_symbols).find(|(_, symbols)| symbols.is_empty())
        {
            return Err(PolicyFileError::NoSymbols { rule: name.clone() });
        }
        let of_rules = self.rules.iter().map(|rule| (&rule.name, &rule.valid_from, &rule.valid_to));
        let of_denies = self.denies.iter().map(|deny| (&deny.name, &deny.valid_from, &deny.valid_to));
        let is_never = |(_, from, to): &(_, &Option<ValidFrom>, &Option<ValidTo>)| {
            !Dates::from_text(from.as_ref(), to.as_ref()).are_possible()
        };
        if let Some((name, ..)) = of_rules.chain(of_denies).find(is_never) {
            return Err(PolicyFileError::NeverHolds { rule: name.clone() });
        }
        for rule in &self.rules {
            let rule_name = || rule.name.clone();
            if rule.channels.is_empty() != rule.symbols.is_empty() {
                return Err(PolicyFileError::HalfGrant { rule: rule_name() });
            }
            if rule.channels.is_empty() && rule.delay.0 != 0 {
                return Err(PolicyFileError::DelaysNothing { rule: rule_name() });
            }
            let has_rights = rule.orders.is_some() || rule.publish.is_some();
            let has_more = rule.drop_copy || !rule.admin.is_empty();
            if rule.channels.is_empty() && !has_rights && !has_more && rule.limits.is_none() {
                return Err(PolicyFileError::GrantsNothing { rule: rule_name() });
            }
            if rule.orders.as_ref().is_some_and(OrdersText::has_half_duplicates) {
                return Err(PolicyFileError::HalfDuplicates { rule: rule_name() });
            }
        }
        self.check_firms()
    }

    fn check_firms(&self) -> Result<(), PolicyFileError> {
        let mut seen = HashSet::new();
        for (index, firm) in self.firms.iter().enumerate() {
            if !is_name(&firm.name) {
                return Err(PolicyFileError::BadFirm { position: index + 1 });
            }
            if !seen.insert(&firm.name) {
                return Err(PolicyFileError::FirmTwice { name: firm.name.clone() });
            }
            if firm.bounds_nothing() {
                return Err(PolicyFileError::BoundsNothing { name: firm.name.clone() });
            }
        }
        Ok(())
    }

    fn check_role(&self, rule: &str, matches: &MatchText) -> Result<(), PolicyFileError> {
        match &matches.role {
            Some(NameTerm(Some(role))) if !self.roles.contains(role) => Err(PolicyFileError::UnknownRole {
                rule: rule.to_owned(),
                role: role.clone(),
                known: self.roles.join(", "),
            }),
            _ => Ok(()),
        }
    }
}
