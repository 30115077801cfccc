//! The policy against a naive model: rules one by one, no index, no order, every question answered from the text of the rules.

use proptest::prelude::*;

use super::*;
use crate::types::AdminVerb;
use sealfeed_wire::Depth;

const SYMBOLS: [&str; 4] = ["A", "AB", "B", "C"];
const PATTERNS: [&str; 5] = ["A", "A*", "*B", "C", "*"];
const NAMES: [Option<&str>; 3] = [None, Some("x"), Some("y")];

/// A rule or a deny: channel, whom it matches, symbol pattern, deepest book, delay in seconds, and from when to when.
#[derive(Clone, Debug)]
struct Line {
    is_deny: bool,
    firm: Option<&'static str>,
    user: Option<&'static str>,
    role: Option<&'static str>,
    pattern: &'static str,
    depth_max: u32,
    delay_s: u64,
    from: Option<u64>,
    to: Option<u64>,
    kills: bool,
}

impl Line {
    fn text(&self, number: usize) -> String {
        let term = |key: &str, name: Option<&str>| {
            name.map(|name| format!("{key} = \"{name}\", ")).unwrap_or_default()
        };
        let matches = term("firm", self.firm) + &term("user", self.user) + &term("role", self.role);
        let date = |key: &str, second: Option<u64>| {
            second.map(|second| format!("{key} = 1970-01-01T00:00:{second:02}Z\n")).unwrap_or_default()
        };
        let table = if self.is_deny { "deny" } else { "rule" };
        let mut text = format!(
            "[[{table}]]\nname = \"n{number}\"\nmatch = {{ {} }}\nchannels = [\"book\"]\nsymbols = [\"{}\"]\ndepth_max = {}\n",
            matches.trim_end_matches(", "),
            self.pattern,
            self.depth_max
        );
        if !self.is_deny {
            text +=
                &if self.delay_s == 0 { String::new() } else { format!("delay = \"{}s\"\n", self.delay_s) };
            text += if self.kills { "admin = [\"kill\"]\n" } else { "" };
        }
        text + &date("valid_from", self.from) + &date("valid_to", self.to)
    }

    fn is_about(&self, firm: &str, user: &str, role: Option<&str>) -> bool {
        self.firm.is_none_or(|one| one == firm)
            && self.user.is_none_or(|one| one == user)
            && self.role.is_none_or(|one| Some(one) == role)
    }

    fn holds(&self, second: u64) -> bool {
        self.from.is_none_or(|from| second >= from) && self.to.is_none_or(|to| second < to)
    }

    fn names(&self, symbol: &str) -> bool {
        match self.pattern {
            "*" => true,
            "A*" => symbol.starts_with('A'),
            "*B" => symbol.ends_with('B'),
            other => other == symbol,
        }
    }
}

fn line() -> impl Strategy<Value = Line> {
    let whom = (0..NAMES.len(), 0..NAMES.len(), 0..3_usize);
    let what = (0..PATTERNS.len(), 0..3_usize, 0..3_u64, any::<bool>());
    let when = (proptest::option::of(0..6_u64), proptest::option::of(1..6_u64));
    (0..4_u8, whom, what, when).prop_map(
        |(kind, (firm, user, role), (pattern, depth, delay_s, kills), (from, to))| {
            Line {
                is_deny: kind == 0,
                firm: NAMES[firm],
                user: NAMES[user],
                role: [None, Some("trader"), Some("viewer")][role],
                pattern: PATTERNS[pattern],
                depth_max: [0, 10, 50][depth],
                delay_s,
                from,
                // Never an interval without an instant in it.
                to: to.map(|to| from.map_or(to, |from| from + to)),
                kills,
            }
        },
    )
}

/// Why a book may not be read, or how late it comes: the shortest delay of all rules that grant it, and a deny wins over all.
fn expected(lines: &[Line], symbol: &str, depth: Depth) -> Result<u64, Code> {
    let grants: Vec<&Line> = lines.iter().filter(|line| !line.is_deny).collect();
    let denied = lines.iter().any(|line| {
        let is_beyond = line.depth_max == 0 || depth.levels_max() > line.depth_max as usize;
        line.is_deny && line.names(symbol) && is_beyond
    });
    let of_symbol: Vec<&&Line> = grants.iter().filter(|line| line.names(symbol)).collect();
    let deep =
        of_symbol.iter().filter(|line| line.depth_max == 0 || depth.levels_max() <= line.depth_max as usize);
    let delay = deep.map(|line| line.delay_s * 1_000).min();
    match (grants.is_empty(), denied || of_symbol.is_empty(), delay) {
        (true, ..) => Err(Code::SubChannelNotEntitled),
        (_, true, _) => Err(Code::SubSymbolNotEntitled),
        (.., None) => Err(Code::SubDepthNotEntitled),
        (.., Some(delay)) => Ok(delay),
    }
}

proptest! {
    #[test]
    fn a_policy_decides_as_its_rules_one_by_one_would_in_whatever_order_they_stand(
        lines in proptest::collection::vec(line(), 0..12),
        order in any::<u64>(),
    ) {
        let mut shuffled: Vec<(usize, &Line)> = lines.iter().enumerate().collect();
        shuffled.sort_by_key(|(number, _)| (*number as u64 + 1).wrapping_mul(order | 1));
        let file: String = lines.iter().enumerate().map(|(number, line)| line.text(number)).collect();
        let other: String = shuffled.into_iter().map(|(number, line)| line.text(number)).collect();
        let policies = [file, other].map(|file| Policy::parse(file.as_bytes()).unwrap());
        for (firm, user, role) in [("x", "x", None), ("x", "y", Some("trader")), ("z", "y", Some("viewer")), ("z", "z", None)] {
            let principal = Principal::new(firm, user).unwrap();
            let mut before: Option<Entitlement> = None;
            for second in 0..12 {
                let now = UnixNanos(second * 1_000_000_000);
                let about: Vec<Line> = lines
                    .iter()
                    .filter(|line| line.is_about(firm, user, role) && line.holds(second))
                    .cloned()
                    .collect();
                let grants = about.iter().any(|line| !line.is_deny);
                for policy in &policies {
                    let role = role.and_then(Role::new);
                    let answer = policy.entitlement(&principal, role.as_ref(), now);
                    prop_assert_eq!(answer.is_ok(), grants);
                    let Ok(entitlement) = answer else { continue };
                    let kills = about.iter().any(|line| !line.is_deny && line.kills);
                    prop_assert_eq!(entitlement.may_administer(AdminVerb::Kill), kills);
                    for symbol in SYMBOLS {
                        for depth in [Depth::Ten, Depth::Fifty, Depth::Full] {
                            let access = entitlement.may_subscribe(Channel::Book, symbol, depth, Conflation::Off);
                            prop_assert_eq!(access.map(|access| access.delay_ms), expected(&about, symbol, depth));
                        }
                    }
                }
                // What changes without having been announced would never reach an open session.
                let role = role.and_then(Role::new);
                let current = policies[0].entitlement(&principal, role.as_ref(), now).ok();
                if let (Some(before), Some(current)) = (&before, &current) {
                    let is_announced = before.changes_at.is_some_and(|instant| instant <= now);
                    prop_assert!(is_announced || before == current);
                }
                before = current;
            }
        }
    }
}
