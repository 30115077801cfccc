//! `sealfeed audit replay DIR`: the events of a log, filtered, as a table, JSON lines or CSV.
//!
//! It prints what stands in the log and verifies no signature: `audit verify` does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::rows::{ENDS_HERE, Filter, Output, Printer, Reader, Row, Symbols};
use super::terms::Found;

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
    /// Write a Parquet file instead, which must not exist yet. Needs a build with the feature `parquet`.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    parquet: Option<PathBuf>,
    /// Skip what the log's indexes say holds nothing of it: fast, and an index that leaves something out hides it.
    #[arg(long)]
    index: bool,
    /// Execute the venue's inputs again and compare every output: VERIFIED (0), DIVERGED (27) or REFUSED (28).
    #[arg(long, conflicts_with_all = ["from", "until", "principal", "firm", "symbol", "order", "session", "kind", "code", "parquet", "index"])]
    execute: bool,
}

pub(super) fn run(arguments: &ReplayArgs) -> anyhow::Result<ExitCode> {
    if arguments.execute {
        return super::execute::run(&arguments.directory, arguments.output == Output::Json);
    }
    arguments.filter.check()?;
    if let Some(path) = &arguments.parquet {
        return to_parquet(arguments, path);
    }
    let mut printer = Printer::new(arguments.output);
    let mut symbols = Symbols::default();
    let mut entries = Found::new(&arguments.directory, &arguments.filter, arguments.index)?;
    for entry in &mut entries {
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
    entries.say();
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "parquet"))]
fn to_parquet(_: &ReplayArgs, _: &Path) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build writes no Parquet: build it with `cargo build --release --features parquet`")
}

#[cfg(feature = "parquet")]
fn to_parquet(arguments: &ReplayArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let of = sealfeed_audit::follow::Follower::new(&arguments.directory, 0).context(ENDS_HERE)?;
    let about = [
        ("origin", of.header().origin.clone()),
        ("log", sealfeed_audit::hex(&of.header().log_id)),
        ("filter", format!("{:?}", arguments.filter)),
    ];
    let mut file = super::parquet::ParquetFile::create(path)?;
    let mut symbols = Symbols::default();
    let mut entries = Found::new(&arguments.directory, &arguments.filter, arguments.index)?;
    for entry in &mut entries {
        let row = Row::new(entry.context(ENDS_HERE)?);
        symbols.learn(&row);
        if arguments.filter.passes(&row, &symbols) {
            file.push(&row)?;
        }
    }
    entries.say();
    let written = file.finish(&about)?;
    let (rows, sha256) = (written.rows, sealfeed_audit::hex(&written.sha256));
    anstream::eprintln!("sealfeed: {rows} entries in {path:?}; its SHA-256: {sha256}");
    Ok(ExitCode::SUCCESS)
}
