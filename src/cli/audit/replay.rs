//! `sealfeed audit replay DIR`: the events of a log, filtered, as a table, JSON lines or CSV.
//!
//! It prints what stands in the log and verifies no signature: `audit verify` does.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::rows::{ENDS_HERE, Filter, Output, Printer, Reader, Row, Symbols, open};

/// Arguments of `audit replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The log's directory.
    directory: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// How to print.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
    /// Execute the venue's inputs again and compare every output: VERIFIED (0), DIVERGED (27) or REFUSED (28).
    #[arg(long, conflicts_with_all = ["from", "until", "principal", "firm", "symbol", "order", "session", "kind", "code"])]
    execute: bool,
}

pub(super) fn run(arguments: &ReplayArgs) -> anyhow::Result<ExitCode> {
    if arguments.execute {
        return super::execute::run(&arguments.directory, arguments.output == Output::Json);
    }
    arguments.filter.check()?;
    let mut printer = Printer::new(arguments.output);
    let mut symbols = Symbols::default();
    for entry in open(&arguments.directory)? {
        let row = match entry {
            Ok(entry) => Row::new(entry),
            Err(error) => {
                // What was found before the damage is shown before the error.
                printer.flush()?;
                return Err(error).context(ENDS_HERE);
            }
        };
        symbols.learn(&row);
        if arguments.filter.passes(&row, &symbols) && printer.print(&row)? == Reader::Gone {
            return Ok(ExitCode::SUCCESS);
        }
    }
    printer.flush()?;
    Ok(ExitCode::SUCCESS)
}
