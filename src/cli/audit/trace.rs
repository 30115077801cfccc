//! `sealfeed audit trace DIR --order ID`: the whole life of an order, provably without gaps.
//!
//! Each entry of an order names the one before it and counts from 0, and both are under the log's hashes. So a life that counts without a
//! gap, whose links meet, is all there is of it up to its last entry. So indexes may lead to them (`terms`): one that leaves an entry out
//! between two others leaves a gap, and then everything is read. Only that nothing follows the last entry is not seen from the links:
//! behind an order that has not ended the rest of the log is read too, and behind one that has it is said that it was not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use sealfeed_audit::OrderLink;
use sealfeed_audit::bundle::{Life, LifeStep};
use sealfeed_audit::reader::{Entry, entries_from};

use super::rows::{ENDS_HERE, Output, Printer, Row, open};
use super::terms::search_order;

/// Exit code of a life with a gap.
const EXIT_INCOMPLETE: u8 = 1;
/// Most entries of an order that are kept until its life is known to be whole; an order with more is read from the whole log, as it comes.
const ROWS_MAX: usize = 4_096;

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
    /// Use no index: read the whole log.
    #[arg(long)]
    scan: bool,
    /// How to print.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
}

/// Finds an order's number: it may be given itself, or by the client's name for it.
fn find(directory: &Path, wanted: &str, principal: Option<&str>) -> anyhow::Result<Option<u64>> {
    // A number that is there needs no other proof. That one is not there, or which of several a name means, only reading everything shows.
    match wanted.parse::<u64>() {
        Ok(id) if id.to_string() == wanted && begins_through_index(directory, id)? => Ok(Some(id)),
        _ => scan_for(directory, wanted, principal),
    }
}

fn scan_for(directory: &Path, wanted: &str, principal: Option<&str>) -> anyhow::Result<Option<u64>> {
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

/// Whether an index leads to the first entry of this order; an index or a log that cannot be read does not.
fn begins_through_index(directory: &Path, id: u64) -> anyhow::Result<bool> {
    let is_first = |order: OrderLink| (order.id, order.event) == (id, 0);
    let mut entries = search_order(directory, id)?.map_while(Result::ok);
    Ok(entries.any(|entry| entry.header.order.is_some_and(is_first)))
}

pub(super) fn run(arguments: &TraceArgs) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    let look = if arguments.scan { scan_for } else { find };
    let Some(id) = look(directory, &arguments.order, arguments.principal.as_deref())? else {
        anstream::eprintln!("sealfeed: error: the log has no order {:?}", arguments.order);
        return Ok(ExitCode::from(66));
    };
    let mut printer = Printer::new(arguments.output);
    let indexed = if arguments.scan { None } else { through_index(directory, id)? };
    if let Some((rows, rest)) = indexed {
        for row in &rows {
            printer.print(row)?;
        }
        printer.flush()?;
        anstream::eprintln!("sealfeed: order {id}: {} entries, complete{}", rows.len(), rest.said());
        return Ok(ExitCode::SUCCESS);
    }
    let mut life = Life::default();
    for entry in open(directory)? {
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

/// What is known about the log behind an order's last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It was read, and has nothing of the order.
    Read,
    /// It was not read: the order had ended.
    NotRead,
}

impl Rest {
    fn said(self) -> &'static str {
        match self {
            Self::Read => "",
            Self::NotRead => {
                " up to its end; found by index, so that nothing follows its end was not checked: --scan reads everything"
            }
        }
    }
}

/// The life of an order through indexes; `None` when it shows a gap, or goes on where no index led, or anything cannot be read: then only
/// reading everything answers.
fn through_index(directory: &Path, id: u64) -> anyhow::Result<Option<(Vec<Row>, Rest)>> {
    let is_of_it = |order: OrderLink| order.id == id;
    let (mut life, mut rows) = (Life::default(), Vec::new());
    for entry in search_order(directory, id)? {
        let Ok(entry) = entry else { return Ok(None) };
        let Some(order) = entry.header.order.filter(|order| is_of_it(*order)) else { continue };
        life.take(LifeStep { seq: entry.header.seq, event: order.event, previous: order.previous });
        if life.gap().is_some() || rows.len() == ROWS_MAX {
            return Ok(None);
        }
        rows.push(Row::new(entry));
    }
    let Some(last) = rows.last() else { return Ok(None) };
    if ends(last) {
        return Ok(Some((rows, Rest::NotRead)));
    }
    for entry in entries_from(directory, last.entry.header.seq + 1)? {
        match entry {
            Ok(entry) if !entry.header.order.is_some_and(is_of_it) => {}
            _ => return Ok(None),
        }
    }
    Ok(Some((rows, Rest::Read)))
}

/// Whether an order has no life after this entry of it.
pub(super) fn has_ended(entry: &Entry) -> bool {
    ends(&Row::new(entry.clone()))
}

fn ends(row: &Row) -> bool {
    row.kind == "execution"
        && (matches!(row.text("exec"), Some("canceled" | "expired")) || row.number("leaves") == Some(0))
}
