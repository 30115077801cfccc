//! Why a policy file is refused, each with its code.

use sealfeed_wire::Code;

use super::policy_file_check::RULES_MAX;

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
    /// Two products have one name.
    #[error("two [[product]] tables are named `{name}`: which symbols are meant?")]
    ProductTwice {
        /// The name.
        name: String,
    },
    /// A product has a name that no rule could write.
    #[error("[[product]] table {position} has a name that is not 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    BadProduct {
        /// Position among the tables of products, from 1.
        position: usize,
    },
    /// A product has no symbols.
    #[error("[[product]] `{name}` has an empty list of symbols")]
    EmptyProduct {
        /// The product.
        name: String,
    },
    /// A rule names a product that there is not.
    #[error("rule `{rule}` names the product `{product}`, and no [[product]] has that name")]
    UnknownProduct {
        /// Which rule.
        rule: String,
        /// The name.
        product: String,
    },
    /// More symbols than anybody could be shown.
    #[error(
        "with rule `{rule}` and its products there are {count} symbols in a list or in all, at most {max} are allowed"
    )]
    TooManySymbols {
        /// Which rule.
        rule: String,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
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
        "rule `{rule}` grants nothing: it has no channels, no orders, no publish, no limits, no admin, no drop_copy and no flags"
    )]
    GrantsNothing {
        /// Which rule.
        rule: String,
    },
    /// A rule has channels without symbols or products, or the other way round.
    #[error("rule `{rule}` needs both channels and symbols (or products), or neither")]
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
    #[error("rule `{rule}` has an empty list of symbols and names no products")]
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
    #[error("the policy has {count} rules, denies, firms and products, at most {RULES_MAX} are allowed")]
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
            Self::NameTwice { .. } | Self::FirmTwice { .. } | Self::ProductTwice { .. } => {
                Code::CfgRulesAmbiguous
            }
            Self::UnknownProduct { .. } => Code::CfgProductUnknown,
            Self::NotText | Self::Parse { .. } => Code::CfgSyntaxInvalid,
            Self::NeverHolds { .. } => Code::CfgRuleDates,
            _ => Code::CfgRuleInvalid,
        }
    }
}
