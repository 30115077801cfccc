//! `entitlements.toml`: the form in which people write the policy, and what makes a file invalid.
//!
//! ```toml
//! roles = ["trader", "viewer", "service", "admin"]   # roles that rules may name; these four by default
//!
//! [[product]]                                        # symbols under one name
//! name = "index-futures"
//! symbols = ["ES*", "NQ*"]
//!
//! [[rule]]
//! name = "traders"                                   # unique; named in whoami and in every refusal
//! match = { firm = "acme", role = "trader" }         # any of firm, role, user; "*" or absent: any
//! channels = ["trades", "bbo", "book"]
//! symbols = ["SEAL", "FEED*"]                        # `*` stands for any run of characters
//! products = ["index-futures"]                       # beside symbols or instead, here and wherever else symbols stand
//! depth_max = 10                                     # deepest book: 10, 50, or 0 (default) for the full book; a bound refuses mbo, which shows every order
//! conflate_ms_min = 0                                # fastest bbo and book: 0 (default: every message), 100, 250 or 1000
//! delay = "15m"                                      # how late it is delivered: "1s" to "24h"; absent: in real time
//! valid_from = 2026-01-01                            # from the first instant of this day, UTC; or 2026-01-01T08:00:00Z; absent: always
//! valid_to = 2027-12-31                              # to the last instant of this day; of a date-time: until then
//! professional = true                                # about the user, as exchanges count: absent: the policy does not say
//! display = true                                     # read by a person, or (false) by programs; absent: the policy does not say
//! drop_copy = true                                   # may read the execution reports of its whole firm; absent: its own
//! admin = ["kill", "trading", "reload"]              # verbs of an operator: kill switches, trading status, reading files; absent: none
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
//! cancel_on_revocation = true                        # the default; false: orders outlive the certificate
//! proof = "mac"                                      # what signed requests must carry: "mac" (default), "sig", "both"
//!
//! [rule.publish]                                     # without it: no publishing
//! symbols = ["IDX*"]                                 # of a source of type publisher that names the principal
//!
//! # in a [[rule]]: admin = ["kill", "trading"]       # operators' verbs; absent: none
//!
//! [rule.limits]                                      # absent: the server's defaults
//! sessions_max = 4
//! sessions_policy = "refuse"                         # one more is refused (default); "evict": the oldest ends; "count": it is let in
//! subscriptions_max = 1024                           # the default, of each session
//! messages_per_second = 200                          # the default, of each session
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

use serde::Deserialize;

use super::policy_dates::{ValidFrom, ValidTo};
pub use super::policy_file_error::PolicyFileError;
pub(super) use super::policy_file_orders::{FirmText, OrdersText, PerSecond, Verb};
pub(super) use super::policy_file_values::{
    AtLeastOne, ConflateMin, Delay, DepthMax, MarketChannel, NameTerm, Pattern, Sessions,
};

/// Roles that rules may name unless the file lists its own: the profiles of the bundled PKI script.
pub const ROLES: [&str; 4] = ["trader", "viewer", "service", "admin"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    #[serde(default = "default_roles")]
    pub(super) roles: Vec<String>,
    #[serde(default, rename = "product")]
    pub(super) products: Vec<ProductText>,
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

/// A named group of symbols.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductText {
    pub(super) name: String,
    pub(super) symbols: Vec<Pattern>,
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
    pub(super) products: Vec<String>,
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
    pub(super) professional: Option<bool>,
    pub(super) display: Option<bool>,
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
    #[serde(default)]
    pub(super) symbols: Vec<Pattern>,
    #[serde(default)]
    pub(super) products: Vec<String>,
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
    #[serde(default)]
    pub(super) symbols: Vec<Pattern>,
    #[serde(default)]
    pub(super) products: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsText {
    pub(super) sessions_max: Option<AtLeastOne>,
    pub(super) sessions_policy: Option<Sessions>,
    pub(super) subscriptions_max: Option<AtLeastOne>,
    pub(super) messages_per_second: Option<PerSecond>,
}
