//! `sealfeed audit trace DIR --order ID`: the whole life of an order, provably without gaps.
//!
//! Each entry of an order names the one before it and counts from 0, and both are under the log's hashes. So a life that counts without a
//! gap, whose links meet, is all there is of it up to the end of the log.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use sealfeed_audit::bundle::{Life, LifeStep};

use super::rows::{ENDS_HERE, Output, Printer, Row, open};

/// Exit code of a life with a gap.
const EXIT_INCOMPLETE: u8 = 1;

/// Arguments of `audit trace`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 the life is complete; 1 an entry is missing; 66 no such order.")]
pub(super) struct TraceArgs {
    /// The log's directory.
    directory: PathBuf,
    /// The order: the server's number, or the client's name.
    #[arg(long)]
    order: String,
    /// With a client's name that several principals used: whose.
    #[arg(long)]
    principal: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
}

/// Finds an order's number: it may be given itself, or by the client's name for it.
pub(super) fn find(
    directory: &std::path::Path,
    wanted: &str,
    principal: Option<&str>,
) -> anyhow::Result<Option<u64>> {
    let mut found: Option<(u64, String)> = None;
    for entry in open(directory)? {
        let row = Row::new(entry.context(ENDS_HERE)?);
        let Some(order) = row.entry.header.order.filter(|order| order.event == 0) else { continue };
        if order.id.to_string() == wanted {
            return Ok(Some(order.id));
        }
        let names = row.body_field("cl_ord_id").as_deref() == Some(wanted);
        if !names || principal.is_some_and(|principal| !row.is_of_principal(principal)) {
            continue;
        }
        let owner = row.text("principal").unwrap_or("?").escape_debug().to_string();
        match &found {
            Some((_, other)) if *other != owner => {
                bail!("{other} and {owner} both have an order {wanted:?}: say whose with --principal")
            }
            // The same name again, on another trading day: the newest is meant.
            _ => found = Some((order.id, owner)),
        }
    }
    Ok(found.map(|(id, _)| id))
}

pub(super) fn run(arguments: &TraceArgs) -> anyhow::Result<ExitCode> {
    let Some(id) = find(&arguments.directory, &arguments.order, arguments.principal.as_deref())? else {
        anstream::eprintln!("sealfeed: error: the log has no order {:?}", arguments.order);
        return Ok(ExitCode::from(66));
    };
    let mut printer = Printer::new(arguments.output);
    let mut life = Life::default();
    for entry in open(&arguments.directory)? {
        let row = Row::new(entry.context(ENDS_HERE)?);
        let Some(order) = row.entry.header.order.filter(|order| order.id == id) else { continue };
        life.take(LifeStep { seq: row.entry.header.seq, event: order.event, previous: order.previous });
        printer.print(&row)?;
    }
    printer.flush()?;
    match life.gap() {
        None => {
            anstream::eprintln!("sealfeed: order {id}: {} entries, complete", life.events());
            Ok(ExitCode::SUCCESS)
        }
        Some(gap) => {
            anstream::eprintln!("sealfeed: order {id}: INCOMPLETE: {gap}");
            Ok(ExitCode::from(EXIT_INCOMPLETE))
        }
    }
}
