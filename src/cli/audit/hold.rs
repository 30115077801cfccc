//! `sealfeed audit hold`: legal holds on a stopped server's log, set, lifted and listed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use sealfeed_audit::retention::{self, HoldInForce};
use sealfeed_audit::{Hold, HoldRange};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::maintain;
use crate::clock::format_utc;
use crate::types::UnixNanos;

/// Arguments of `audit hold`.
#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep entries from being pruned; all of them, unless a range is given.
    Set(SetArgs),
    /// End a hold.
    Lift(LiftArgs),
    /// Say which holds are in force.
    List {
        /// The log's directory.
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Who {
    /// The log's directory.
    directory: PathBuf,
    /// Name of the hold.
    #[arg(long)]
    name: String,
    /// Who asks for it.
    #[arg(long)]
    by: String,
    /// Why.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    who: Who,
    /// From this entry on.
    #[arg(long, value_name = "SEQ", requires = "end", conflicts_with_all = ["from", "until"])]
    first: Option<u64>,
    /// Up to, not including, this entry.
    #[arg(long, value_name = "SEQ", requires = "first")]
    end: Option<u64>,
    /// From this time on: RFC 3339.
    #[arg(long, value_parser = parse_time, requires = "until")]
    from: Option<u64>,
    /// Before this time: RFC 3339.
    #[arg(long, value_parser = parse_time, requires = "from")]
    until: Option<u64>,
}

#[derive(Debug, Args)]
struct LiftArgs {
    #[command(flatten)]
    who: Who,
}

pub(super) fn run(arguments: &HoldArgs) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Set(set) => {
            let range = match (set.first, set.end, set.from, set.until) {
                (Some(first), Some(end), None, None) => HoldRange::Entries { first, end },
                (None, None, Some(from), Some(until)) => HoldRange::Time { from, until },
                (None, None, None, None) => HoldRange::All,
                _ => bail!("a range is --first and --end, or --from and --until"),
            };
            append(&set.who, Some(range), "set")
        }
        Command::Lift(lift) => append(&lift.who, None, "lifted"),
        Command::List { directory } => {
            print(&retention::holds(&maintain::storage(directory))?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn append(who: &Who, range: Option<HoldRange>, done: &str) -> anyhow::Result<ExitCode> {
    let storage = maintain::storage(&who.directory);
    let options = maintain::options(&storage, "hold")?;
    let hold = Hold { name: who.name.clone(), range, by: who.by.clone(), reason: who.reason.clone() };
    let seq = retention::hold(&storage, options, &hold)?;
    anstream::println!("entry {seq}: the hold {:?} is {done}", hold.name);
    Ok(ExitCode::SUCCESS)
}

/// Prints holds in force; their texts come from the log and are escaped.
pub(super) fn print(holds: &[HoldInForce]) {
    if holds.is_empty() {
        anstream::println!("no legal hold is in force");
    }
    for HoldInForce { seq, hold } in holds {
        let what = match hold.range {
            Some(HoldRange::Entries { first, end }) => {
                format!("entries {first} to {}", end.saturating_sub(1))
            }
            Some(HoldRange::Time { from, until }) => {
                format!("{} to {}", format_utc(UnixNanos(from)), format_utc(UnixNanos(until)))
            }
            Some(HoldRange::All) | None => "everything".to_owned(),
        };
        anstream::println!(
            "hold {:?} of entry {seq}, by {:?}: {what}; {:?}",
            hold.name,
            hold.by,
            hold.reason
        );
    }
}

fn parse_time(text: &str) -> Result<u64, String> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("not RFC 3339: {error}"))?;
    u64::try_from(moment.unix_timestamp_nanos()).map_err(|_| "before 1970".to_owned())
}
