//! `sealfeed policy`: what an entitlement policy says, before it is in force. Nothing here asks a server.
//!
//! Exit codes: 0 done, or allowed, or every case passed; 1 a case failed; 2 the arguments, the file of cases or the log cannot be used;
//! 4 what `explain` was asked about is not granted; 78 a policy is invalid or cannot be read.

mod cases;
mod changes;
mod check;
mod decision;
mod diff;
mod explain;
mod live;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::context::{EXIT_USAGE, Problem};
use crate::clock::{Clock, format_utc};
use crate::identity::Policy;
use crate::telemetry::chain;
use crate::types::{Code, Principal, Role, UnixNanos};

/// A policy that is invalid or cannot be read.
const EXIT_CONFIGURATION: u8 = 78;
/// Most bytes of a file that is read here, as the server's own bound.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The JSON Schema of the policy file.
const SCHEMA: &str = include_str!("../../docs/schema/entitlements.schema.json");

/// Arguments of `policy`.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a policy as the server would, and name rules that contradict each other for somebody.
    Check(check::CheckArgs),
    /// Run a file of cases against a policy: who asks for what, and what the answer must be.
    Test(cases::TestArgs),
    /// Say what somebody may do at a time, and of every rule why it counts or does not.
    Explain(explain::ExplainArgs),
    /// Say what another policy would change, for whom, and who of them is connected.
    Diff(diff::DiffArgs),
    /// Print the JSON Schema of the policy file, for editors.
    Schema,
}

pub(super) fn run(arguments: &PolicyArgs) -> ExitCode {
    let result = match &arguments.command {
        Command::Check(arguments) => check::run(arguments),
        Command::Test(arguments) => cases::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Schema => {
            anstream::print!("{SCHEMA}");
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|problem| problem.tell())
}

/// Who asks: the principal and the role of the certificate, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Who {
    principal: Principal,
    role: Option<Role>,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.role {
            Some(role) => write!(f, "{}:{}", self.principal, role.as_str()),
            None => write!(f, "{}", self.principal),
        }
    }
}

/// Reads `firm/user` or `firm/user:role`.
fn parse_who(text: &str) -> Result<Who, String> {
    let wrong = || format!("{text:?} is not FIRM/USER or FIRM/USER:ROLE");
    let (name, role) = match text.split_once(':') {
        Some((name, role)) => (name, Some(Role::new(role).ok_or_else(wrong)?)),
        None => (text, None),
    };
    let (firm, user) = name.split_once('/').ok_or_else(wrong)?;
    Ok(Who { principal: Principal::new(firm, user).ok_or_else(wrong)?, role })
}

/// The policy in a file.
fn load(path: &Path) -> Result<Policy, Problem> {
    let bytes = read(path, Code::CfgFileUnreadable, EXIT_CONFIGURATION)?;
    Policy::parse(&bytes).map_err(|error| {
        let code = error.code();
        Problem::new(chain(&error))
            .at(path.display().to_string())
            .fix(code.hint())
            .code(code.into())
            .exit(EXIT_CONFIGURATION)
    })
}

fn read(path: &Path, code: Code, exit: u8) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let length = file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let problem = |what: String| {
        let fix = "Name a file that is there and that you may read.";
        Problem::new(what).at(path.display().to_string()).fix(fix).code(code.into()).exit(exit)
    };
    match length {
        Ok(length) if length as u64 > FILE_BYTES_MAX => {
            Err(problem(format!("the file is longer than {FILE_BYTES_MAX} bytes")))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(problem(format!("cannot read the file: {error}"))),
    }
}

/// The time that was asked for, or else now.
fn moment(at: Option<u64>) -> UnixNanos {
    at.map_or_else(|| Clock::System.now(), UnixNanos)
}

/// Wrong arguments.
fn usage(what: impl Into<String>, fix: &str) -> Problem {
    Problem::new(what).fix(fix).code(Code::CliArgumentsInvalid.into()).exit(EXIT_USAGE)
}

/// A time for people: without the nanoseconds if there are none.
fn at_text(time: UnixNanos) -> String {
    format_utc(time).replace(".000000000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_a_firm_a_user_and_perhaps_a_role() {
        assert_eq!(parse_who("acme/bob").unwrap().to_string(), "acme/bob");
        assert_eq!(parse_who("acme/bob:trader").unwrap().role, Role::new("trader"));
        for wrong in ["acme", "acme/", "/bob", "acme/bob:", "acme/bob:a b", "a/b/c"] {
            assert!(parse_who(wrong).is_err(), "{wrong}");
        }
    }
}
