//! `sealfeed policy check FILE`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::load;
use crate::cli::context::Problem;

/// Contradictions that are told at most.
const CONTRADICTIONS_MAX: usize = 20;

/// Arguments of `policy check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The policy.
    file: PathBuf,
    /// One JSON object instead of text; an invalid policy is told on standard error all the same.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &CheckArgs) -> Result<ExitCode, Problem> {
    let policy = load(&arguments.file)?;
    let contradictions = policy.contradictions(CONTRADICTIONS_MAX);
    if arguments.json {
        anstream::println!("{}", json!({"valid": true, "rules": policy.count(), "warnings": contradictions}));
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &contradictions {
        anstream::println!("warning: {warning}");
    }
    if contradictions.len() == CONTRADICTIONS_MAX {
        anstream::println!("warning: there may be more of them");
    }
    anstream::println!("{}: valid, {} rules and denies", arguments.file.display(), policy.count());
    Ok(ExitCode::SUCCESS)
}
