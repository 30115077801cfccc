//! `sealfeed policy test FILE --policy POLICY`: cases that a policy must decide as they say.
//!
//! ```toml
//! [[case]]
//! name = "a trader reads ten levels"                                     # unique
//! as = "acme/desk7:trader"                                               # firm/user, and the role of the certificate if it has one
//! subscribe = { channel = "book", symbol = "ESH7", depth = 10 }          # or conflate_ms; or one of the next four; none: to come in at all
//! expect = "allow"                                                       # or "deny"
//! delay_ms = 900000                                                      # with "allow" of a stream: exactly so late; absent: not looked at
//!
//! [[case]]
//! name = "and nobody trades what is not licensed"
//! as = "acme/desk7:trader"
//! order = "FEED"                                                         # or publish = "SYMBOL", or admin = "VERB"
//! at = 2026-12-01T08:00:00Z                                              # when; absent: --at, or now
//! expect = "deny"
//! code = "SF-ORD-007"                                                    # with "deny": exactly this code; absent: any
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sealfeed_wire::Code;
use serde::Deserialize;
use serde_json::Value;
use toml::value::Datetime;

use super::decision::{Action, Decision};
use super::{Who, load, moment, parse_who, read, usage};
use crate::cli::audit::parse_time;
use crate::cli::context::{EXIT_USAGE, Problem};
use crate::identity::Policy;
use crate::telemetry::chain;
use crate::types::UnixNanos;

/// What a file of cases looks like, for `--help`.
const EXAMPLE: &str = include_str!("../../../docs/examples/entitlements-test.toml");

/// Arguments of `policy test`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLE)]
pub(super) struct TestArgs {
    /// The cases: TOML, as docs/examples/entitlements-test.toml shows.
    file: PathBuf,
    /// The policy.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// When, for cases that do not say: RFC 3339, or nanoseconds since 1970; now if absent.
    #[arg(long, value_parser = parse_time)]
    at: Option<u64>,
    /// One JSON object a case instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(rename = "as")]
    who: WhoText,
    subscribe: Option<SubscribeText>,
    order: Option<String>,
    publish: Option<String>,
    admin: Option<String>,
    at: Option<AtText>,
    expect: Expect,
    code: Option<CodeText>,
    delay_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscribeText {
    channel: String,
    symbol: String,
    depth: Option<u16>,
    conflate_ms: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct WhoText(Who);

impl TryFrom<String> for WhoText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_who(&text).map(Self)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Datetime")]
struct AtText(u64);

impl TryFrom<Datetime> for AtText {
    type Error = String;

    fn try_from(text: Datetime) -> Result<Self, String> {
        parse_time(&text.to_string())
            .map(Self)
            .map_err(|error| format!("{text} is no instant: write it like 2026-12-01T08:00:00Z ({error})"))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct CodeText(Code);

impl TryFrom<String> for CodeText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Code::parse(&text).map(Self).ok_or_else(|| format!("there is no code {text:?}"))
    }
}

pub(super) fn run(arguments: &TestArgs) -> Result<ExitCode, Problem> {
    let policy = load(&arguments.policy)?;
    let cases = load_cases(arguments)?;
    let now = moment(arguments.at);
    let width = cases.iter().map(|(case, _)| case.name.chars().count()).max().unwrap_or(0);
    let mut failed = 0;
    for (case, action) in &cases {
        let (decision, fault) = judge(&policy, case, action, now);
        failed += usize::from(fault.is_some());
        if arguments.json {
            let mut object = decision.fields();
            object.insert("name".to_owned(), case.name.as_str().into());
            object.insert("as".to_owned(), case.who.0.to_string().into());
            object.insert("action".to_owned(), action.to_string().into());
            object.insert("passed".to_owned(), fault.is_none().into());
            object.insert("fault".to_owned(), fault.into());
            anstream::println!("{}", Value::Object(object));
            continue;
        }
        let passed = if fault.is_none() { "pass" } else { "FAIL" };
        let fault = fault.map(|fault| format!("  expected {fault}")).unwrap_or_default();
        let name = case.name.escape_debug().to_string();
        anstream::println!("{passed}  {name:width$}  {}, {action}: {}{fault}", case.who.0, decision.text());
    }
    if !arguments.json {
        anstream::println!("{} passed, {failed} failed", cases.len() - failed);
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the policy decides, and what was expected if it is not that.
fn judge(policy: &Policy, case: &Case, action: &Action, now: UnixNanos) -> (Decision, Option<String>) {
    let at = case.at.map_or(now, |at| UnixNanos(at.0));
    let decision = Decision::of(policy, &case.who.0, action, at);
    let fault = match (&decision, case.expect) {
        (Decision::Allow { .. }, Expect::Deny) => Some("deny".to_owned()),
        (Decision::Deny { .. }, Expect::Allow) => Some("allow".to_owned()),
        (Decision::Deny { code, .. }, Expect::Deny) => {
            case.code.filter(|wanted| wanted.0 != *code).map(|wanted| format!("code {}", wanted.0))
        }
        (Decision::Allow { delay_ms, .. }, Expect::Allow) => {
            case.delay_ms.filter(|wanted| wanted != delay_ms).map(|wanted| format!("a delay of {wanted} ms"))
        }
    };
    (decision, fault)
}

fn load_cases(arguments: &TestArgs) -> Result<Vec<(Case, Action)>, Problem> {
    let bytes = read(&arguments.file, Code::CliArgumentsInvalid, EXIT_USAGE)?;
    let place = arguments.file.display().to_string();
    let fix =
        "Write the cases as `sealfeed policy test --help` and docs/examples/entitlements-test.toml show.";
    let problem = |what: String| usage(what, fix).at(place.clone());
    let text = String::from_utf8(bytes).map_err(|_| problem("the file of cases is not UTF-8".to_owned()))?;
    let file: CaseFile = toml::from_str(&text).map_err(|error| problem(chain(&error)))?;
    if file.cases.is_empty() {
        return Err(problem("the file has no [[case]]: nothing was tested".to_owned()));
    }
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for case in file.cases {
        if !names.insert(case.name.clone()) {
            return Err(problem(format!("two cases are named {:?}", case.name)));
        }
        let action = action(&case).map_err(|what| problem(format!("case {:?}: {what}", case.name)))?;
        cases.push((case, action));
    }
    Ok(cases)
}

/// What a case asks for.
fn action(case: &Case) -> Result<Action, String> {
    match (case.expect, case.code, case.delay_ms) {
        (Expect::Allow, Some(_), _) => return Err("a code comes with expect = \"deny\" only".to_owned()),
        (Expect::Deny, _, Some(_)) => return Err("delay_ms comes with expect = \"allow\" only".to_owned()),
        _ => {}
    }
    match (&case.subscribe, &case.order, &case.publish, &case.admin) {
        (None, None, None, None) => Ok(Action::Connect),
        (Some(one), None, None, None) => {
            Action::subscribe(&one.channel, &one.symbol, one.depth, one.conflate_ms)
        }
        (None, Some(symbol), None, None) => Ok(Action::Order(symbol.clone())),
        (None, None, Some(symbol), None) => Ok(Action::Publish(symbol.clone())),
        (None, None, None, Some(verb)) => Action::admin(verb),
        _ => Err("it asks for more than one of subscribe, order, publish and admin".to_owned()),
    }
}
