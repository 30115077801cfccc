//! `sealfeed policy explain --policy FILE --as FIRM/USER[:ROLE] ...`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::decision::{ActionArgs, Decision};
use super::{Who, at_text, load, moment, parse_who};
use crate::cli::audit::parse_time;
use crate::cli::context::{EXIT_NOT_ENTITLED, Problem};

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The policy.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Who asks: firm/user, and the role of the certificate if it has one.
    #[arg(long = "as", value_name = "FIRM/USER[:ROLE]", value_parser = parse_who)]
    who: Who,
    #[command(flatten)]
    action: ActionArgs,
    /// When: RFC 3339, or nanoseconds since 1970; now if absent.
    #[arg(long, value_parser = parse_time)]
    at: Option<u64>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ExplainArgs) -> Result<ExitCode, Problem> {
    let policy = load(&arguments.policy)?;
    let (who, now) = (&arguments.who, moment(arguments.at));
    let action = arguments.action.action()?;
    let trace = policy.trace(&who.principal, who.role.as_ref(), now);
    let decision = Decision::of(&policy, who, &action, now);
    let changes_at = policy.next_change(&who.principal, who.role.as_ref(), now);
    if arguments.json {
        let rules: Vec<Value> = trace
            .iter()
            .map(|line| {
                json!({"table": line.table, "name": &*line.name, "counts": line.counts, "why": line.why, "effects": line.effects})
            })
            .collect();
        let mut object = decision.fields();
        object.insert("as".to_owned(), who.to_string().into());
        object.insert("at".to_owned(), at_text(now).into());
        object.insert("action".to_owned(), action.to_string().into());
        object.insert("rules".to_owned(), rules.into());
        object.insert("changes_at".to_owned(), changes_at.map(at_text).into());
        anstream::println!("{}", Value::Object(object));
    } else {
        anstream::println!("{who} at {}: {action}", at_text(now));
        for line in &trace {
            let counts = if line.counts { "counts" } else { "does not count" };
            anstream::println!("  {} {} {counts}: {}", line.table, line.name, line.why);
            for effect in line.effects.iter().filter(|_| line.counts) {
                anstream::println!("    {effect}");
            }
        }
        if let Some(changes_at) = changes_at {
            anstream::println!("this may change at {}", at_text(changes_at));
        }
        anstream::println!("{}", decision.text());
    }
    let is_allowed = decision.is_allowed();
    Ok(if is_allowed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_ENTITLED) })
}
