//! `sealfeed policy diff OLD NEW`: what another policy would change, and for whom.
//!
//! Compared are the principals that either policy names, everybody else of each firm that is named (`acme/*`) and of all others (`*/*`), those
//! of `--principal`, and those that a log shows to be connected. A principal whose role nobody tells is compared with every role that is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::changes::changes;
use super::live::{Ends, live};
use super::{Who, at_text, load, moment, parse_who};
use crate::cli::audit::parse_time;
use crate::cli::context::Problem;
use crate::identity::{NamedBy, Policy};
use crate::types::{Principal, Role};

/// Principals that a line of text names at most; JSON has them all.
const NAMES_SHOWN_MAX: usize = 8;

/// Arguments of `policy diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The policy that is in force.
    old: PathBuf,
    /// The one that is to come.
    new: PathBuf,
    /// The directory of the server's sealed log: who is connected, and which subscriptions would end.
    #[arg(long, value_name = "DIRECTORY")]
    live: Option<PathBuf>,
    /// Compare this principal too; may be given several times.
    #[arg(long = "principal", value_name = "FIRM/USER[:ROLE]", value_parser = parse_who)]
    principals: Vec<Who>,
    /// When: RFC 3339, or nanoseconds since 1970; now if absent.
    #[arg(long, value_parser = parse_time)]
    at: Option<u64>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Somebody to compare: `*` for a name that no rule has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    firm: String,
    user: String,
}

impl Subject {
    fn is_user(&self) -> bool {
        self.firm != "*" && self.user != "*"
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.firm, self.user)
    }
}

/// For whom a change is: subject and its roles (empty: none).
type Affected = BTreeMap<Subject, BTreeSet<String>>;

pub(super) fn run(arguments: &DiffArgs) -> Result<ExitCode, Problem> {
    let (old, new) = (load(&arguments.old)?, load(&arguments.new)?);
    let now = moment(arguments.at);
    let live = arguments.live.as_deref().map(live).transpose()?.unwrap_or_default();
    let connected: Vec<Who> = live.iter().map(|live| live.who.clone()).collect();
    let named: BTreeSet<NamedBy> = old.names().into_iter().chain(new.names()).collect();
    let exact: Vec<&Who> = connected.iter().chain(&arguments.principals).collect();
    let subjects = subjects(&named, &exact);
    let other = unused(&named);
    let mut found: BTreeMap<String, Affected> = BTreeMap::new();
    for (subject, roles) in &subjects {
        let name = |text: &str| if text == "*" { other.clone() } else { text.to_owned() };
        let Some(principal) = Principal::new(&name(&subject.firm), &name(&subject.user)) else { continue };
        for role in roles {
            let (role, text) = (Role::new(role), role.clone());
            let of = |policy: &Policy| policy.entitlement(&principal, role.as_ref(), now);
            for change in changes(&of(&old), &of(&new)) {
                found.entry(change).or_default().entry(subject.clone()).or_default().insert(text.clone());
            }
        }
    }
    // What the old policy does not cover either does not end by the new one.
    let ends: Vec<Ends> = live
        .iter()
        .flat_map(|live| {
            let before = live.ends(&old, now);
            let after = live.ends(&new, now).into_iter();
            after.filter(move |end| {
                !before.iter().any(|other| (&other.channel, &other.symbol) == (&end.channel, &end.symbol))
            })
        })
        .collect();
    let users = subjects.keys().filter(|subject| subject.is_user()).count();
    let lines: Vec<Line> =
        found.iter().map(|(change, affected)| Line::new(change, affected, &subjects, &connected)).collect();
    if arguments.json {
        let changes: Vec<Value> = lines.iter().map(Line::value).collect();
        let ends: Vec<Value> = ends.iter().map(Ends::value).collect();
        anstream::println!(
            "{}",
            json!({"at": at_text(now), "users": users, "changes": changes, "ends": ends})
        );
        return Ok(ExitCode::SUCCESS);
    }
    for line in &lines {
        anstream::println!("{}", line.text(arguments.live.is_some()));
    }
    for end in &ends {
        anstream::println!("{}: {} {} would end now, {}", end.who, end.channel, end.symbol, end.code);
    }
    let changes =
        if lines.is_empty() { "nothing changes".to_owned() } else { format!("{} changes", lines.len()) };
    anstream::println!("{changes}; {users} users and everybody else compared at {}", at_text(now));
    Ok(ExitCode::SUCCESS)
}

/// Whom to compare, with which roles.
fn subjects(named: &BTreeSet<NamedBy>, exact: &[&Who]) -> BTreeMap<Subject, BTreeSet<String>> {
    let role_of = |role: &Option<String>| role.clone().unwrap_or_default();
    let mut roles: BTreeSet<String> = named.iter().map(|(_, _, role)| role_of(role)).collect();
    roles.insert(String::new());
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
    let mut subjects: BTreeMap<Subject, BTreeSet<String>> = BTreeMap::new();
    let mut add = |firm: String, user: String| {
        subjects.entry(Subject { firm, user }).or_insert_with(|| roles.clone());
    };
    add("*".to_owned(), "*".to_owned());
    for (firm, user, _) in named {
        add(name(firm), name(user));
        add(name(firm), "*".to_owned());
    }
    let mut told: BTreeMap<Subject, BTreeSet<String>> = BTreeMap::new();
    for who in exact {
        let subject =
            Subject { firm: who.principal.firm().to_owned(), user: who.principal.user().to_owned() };
        let role = who.role.as_ref().map(|role| role.as_str().to_owned()).unwrap_or_default();
        told.entry(subject).or_default().insert(role);
    }
    subjects.extend(told);
    subjects
}

/// A name that no rule has, to stand for everybody else.
fn unused(named: &BTreeSet<NamedBy>) -> String {
    let is_used = |name: &str| {
        named.iter().any(|(firm, user, _)| [firm, user].into_iter().any(|used| used.as_deref() == Some(name)))
    };
    let mut name = "somebody-else".to_owned();
    while is_used(&name) {
        name.push('-');
    }
    name
}

/// One change, and for whom.
struct Line {
    change: String,
    users: usize,
    live: usize,
    who: Vec<String>,
}

impl Line {
    fn new(
        change: &str,
        affected: &Affected,
        subjects: &BTreeMap<Subject, BTreeSet<String>>,
        connected: &[Who],
    ) -> Self {
        let is_live = |subject: &Subject, roles: &BTreeSet<String>| {
            connected.iter().any(|who| {
                who.principal.firm() == subject.firm
                    && who.principal.user() == subject.user
                    && roles.contains(who.role.as_ref().map_or("", Role::as_str))
            })
        };
        let labels = affected.iter().flat_map(|(subject, roles)| {
            if subjects.get(subject) == Some(roles) && roles.len() > 1 {
                return vec![subject.to_string()];
            }
            let label = |role: &String| {
                if role.is_empty() { subject.to_string() } else { format!("{subject}:{role}") }
            };
            roles.iter().map(label).collect()
        });
        Self {
            change: change.to_owned(),
            users: affected.keys().filter(|subject| subject.is_user()).count(),
            live: affected.iter().filter(|(subject, roles)| is_live(subject, roles)).count(),
            who: labels.collect(),
        }
    }

    fn value(&self) -> Value {
        json!({"change": self.change, "users": self.users, "live": self.live, "who": self.who})
    }

    fn text(&self, is_live_known: bool) -> String {
        let shown = &self.who[..self.who.len().min(NAMES_SHOWN_MAX)];
        let more = match self.who.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let users = if self.users == 1 { "1 user".to_owned() } else { format!("{} users", self.users) };
        let live = if is_live_known { format!(", {} of them live", self.live) } else { String::new() };
        format!("{}: {users}{live}: {}{more}", self.change, shown.join(", "))
    }
}
