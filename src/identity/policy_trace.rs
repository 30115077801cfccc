//! Why a policy says what it says: every rule with why it counts for a principal or does not, the principals that rules name, and
//! pairs of rules that contradict each other for somebody.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::policy::Policy;
use super::policy_dates::Dates;
use super::policy_explain::{deny_effect, describe_firm, effects};
use super::policy_rule::{Match, Rule};
use crate::clock::format_utc;
use crate::types::{Principal, Role, UnixNanos};

/// One rule, deny or firm's table, and whether it counts for a principal at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrace {
    /// `rule`, `deny` or `firm`: the table that it is.
    pub table: &'static str,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it counts.
    pub counts: bool,
    /// Why it does or does not, in words.
    pub why: String,
    /// What it does to whom it counts for, in words.
    pub effects: Vec<String>,
}

/// Whom a rule names: firm, user and role, `None` for any.
pub type NamedBy = (Option<String>, Option<String>, Option<String>);

impl Policy {
    /// Every rule and deny, in the order of the file, and the firm's table if there is one.
    #[must_use]
    pub fn trace(&self, principal: &Principal, role: Option<&Role>, now: UnixNanos) -> Vec<RuleTrace> {
        let judge = |matches: &Match, dates: Dates| match matches.misses(principal, role) {
            Some(why) => (false, why),
            None => dates.in_words(now),
        };
        let of_rules = self.rules.iter().map(|rule| {
            let (counts, why) = judge(&rule.matches, rule.dates);
            RuleTrace { table: "rule", name: Arc::clone(&rule.name), counts, why, effects: effects(rule) }
        });
        let of_denies = self.denies.iter().map(|deny| {
            let (counts, why) = judge(&deny.matches, deny.dates);
            let name = Arc::clone(&deny.grant.rule);
            RuleTrace { table: "deny", name, counts, why, effects: vec![deny_effect(deny)] }
        });
        let trades =
            self.rules_about(principal, role).any(|rule| rule.orders.is_some() && rule.dates.cover(now));
        let of_firm = self.firms.get(principal.firm()).map(|firm| RuleTrace {
            table: "firm",
            name: Arc::clone(&firm.name),
            counts: trades,
            why: if trades { "it is the firm's" } else { "the principal may not trade" }.to_owned(),
            effects: vec![describe_firm(firm)],
        });
        of_rules.chain(of_denies).chain(of_firm).collect()
    }

    /// Whom rules and denies name, each once.
    #[must_use]
    pub fn names(&self) -> BTreeSet<NamedBy> {
        let of_rules = self.rules.iter().map(|rule| &rule.matches);
        let of_denies = self.denies.iter().map(|deny| &deny.matches);
        of_rules
            .chain(of_denies)
            .map(|matches| (matches.firm.clone(), matches.user.clone(), matches.role.clone()))
            .collect()
    }

    /// Pairs of rules of which somebody could have both at a time and would be refused for it, in words; at most `count_max`.
    #[must_use]
    pub fn contradictions(&self, count_max: usize) -> Vec<String> {
        let mut found = Vec::new();
        for (section, sets) in SECTIONS {
            let setting: Vec<&Rule> = self.rules.iter().filter(|rule| sets(rule).is_some()).collect();
            for (at, first) in setting.iter().enumerate() {
                for second in &setting[at + 1..] {
                    if !sets(first).zip(sets(second)).is_some_and(|(one, other)| one.contradicts(other)) {
                        continue;
                    }
                    let Some(who) = first.matches.meet(&second.matches) else { continue };
                    if !first.dates.meet(second.dates) {
                        continue;
                    }
                    if found.len() == count_max {
                        return found;
                    }
                    found.push(format!(
                        "rules `{}` and `{}` both set {section} for {who}: they would be refused",
                        first.name, second.name
                    ));
                }
            }
        }
        found
    }
}

/// What a rule sets of a section of which only one may count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// It may be set once.
    Once,
    /// All must say the same.
    Alike(bool),
}

impl Setting {
    fn contradicts(self, other: Self) -> bool {
        self == Self::Once || self != other
    }
}

/// What a rule sets of a section, if anything.
type Sets = fn(&Rule) -> Option<Setting>;

const SECTIONS: [(&str, Sets); 5] = [
    ("orders", |rule| rule.orders.as_ref().map(|_| Setting::Once)),
    ("publish", |rule| rule.publish.as_ref().map(|_| Setting::Once)),
    ("limits", |rule| rule.limits.as_ref().map(|_| Setting::Once)),
    ("professional differently", |rule| rule.professional.map(Setting::Alike)),
    ("display differently", |rule| rule.display.map(Setting::Alike)),
];

impl Match {
    /// Why a principal is not matched, in words; `None` if it is.
    fn misses(&self, principal: &Principal, role: Option<&Role>) -> Option<String> {
        let terms = [
            ("firm", &self.firm, Some(principal.firm())),
            ("user", &self.user, Some(principal.user())),
            ("role", &self.role, role.map(Role::as_str)),
        ];
        terms.into_iter().find_map(|(term, wanted, found)| {
            let wanted = wanted.as_deref().filter(|wanted| found != Some(*wanted))?;
            Some(match found {
                Some(found) => format!("it is for {term} {wanted}, not {found}"),
                None => format!("it is for {term} {wanted}, and the certificate has no {term}"),
            })
        })
    }

    /// Who would be matched by both, in words; `None` if nobody.
    fn meet(&self, other: &Self) -> Option<String> {
        let term = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => Some(one.as_ref().or(other.as_ref()).cloned()),
        };
        let firm = term(&self.firm, &other.firm)?.unwrap_or_else(|| "*".to_owned());
        let user = term(&self.user, &other.user)?.unwrap_or_else(|| "*".to_owned());
        let role = term(&self.role, &other.role)?.map_or(String::new(), |role| format!(":{role}"));
        Some(format!("{firm}/{user}{role}"))
    }
}

impl Dates {
    /// Whether they cover `now`, and why, in words.
    fn in_words(self, now: UnixNanos) -> (bool, String) {
        match (self.from.filter(|from| *from > now), self.to.filter(|to| *to <= now)) {
            (Some(from), _) => (false, format!("it matches, but begins at {}", format_utc(from))),
            (None, Some(to)) => (false, format!("it matches, but ended at {}", format_utc(to))),
            (None, None) => match self.to {
                Some(to) => (true, format!("it matches, until {}", format_utc(to))),
                None => (true, "it matches".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[[rule]]
name = "all"
match = { firm = "*" }
channels = ["trades"]
symbols = ["*"]

[[rule]]
name = "traders"
match = { firm = "acme", role = "trader" }
valid_to = 2026-12-31
[rule.orders]
symbols = ["*"]

[[rule]]
name = "bob"
match = { firm = "acme", user = "bob" }
professional = true
[rule.orders]
symbols = ["*"]

[[deny]]
name = "beta-only"
match = { firm = "beta" }
symbols = ["X"]

[[firm]]
name = "acme"
open_orders_max = 5
"#;

    fn policy(file: &str) -> Policy {
        Policy::parse(file.as_bytes()).unwrap()
    }

    #[test]
    fn every_rule_is_traced_with_why_it_counts_or_does_not() {
        let alice = Principal::new("acme", "alice").unwrap();
        let trace = |role: &str, now| {
            let lines = policy(FILE).trace(&alice, Role::new(role).as_ref(), UnixNanos(now));
            let line = |line: RuleTrace| format!("{} {} {} {}", line.table, line.name, line.counts, line.why);
            lines.into_iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            trace("trader", 0),
            [
                "rule all true it matches",
                "rule traders true it matches, until 2027-01-01T00:00:00.000000000Z",
                "rule bob false it is for user bob, not alice",
                "deny beta-only false it is for firm beta, not acme",
                "firm acme true it is the firm's",
            ]
        );
        assert_eq!(
            trace("trader", 1_900_000_000_000_000_000)[1],
            "rule traders false it matches, but ended at 2027-01-01T00:00:00.000000000Z"
        );
        assert_eq!(
            trace("", 0)[1],
            "rule traders false it is for role trader, and the certificate has no role"
        );
        assert_eq!(trace("", 0)[4], "firm acme false the principal may not trade");
    }

    #[test]
    fn rules_that_contradict_each_other_for_somebody_are_found_before_that_comes() {
        let found = policy(FILE).contradictions(10);
        assert_eq!(
            found,
            ["rules `traders` and `bob` both set orders for acme/bob:trader: they would be refused"]
        );
        assert!(policy(FILE).contradictions(0).is_empty());
        let apart = FILE.replace("firm = \"acme\", user", "firm = \"beta\", user");
        assert!(policy(&apart).contradictions(10).is_empty(), "nobody is of both firms");
        let later = FILE.replace("professional = true", "valid_from = 2027-01-01");
        assert!(policy(&later).contradictions(10).is_empty(), "one begins when the other has ended");
        let flags = FILE.replace("[rule.orders]\nsymbols = [\"*\"]\n", "professional = false\n").replacen(
            "professional = true\nprofessional = false",
            "professional = true",
            1,
        );
        assert_eq!(policy(&flags).contradictions(10).len(), 1, "{flags}");
    }
}
