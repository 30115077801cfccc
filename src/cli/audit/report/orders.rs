//! One record for each order message: who, what, when, and what became of it. Refused ones are records too.

use std::collections::BTreeMap;

use super::{Common, Table};
use crate::cli::audit::rows::Row;
use crate::clock::format_utc;
use crate::types::UnixNanos;

const COLUMNS: [&str; 19] = [
    "seq",
    "op",
    "principal",
    "session",
    "order_id",
    "cl_ord_id",
    "orig_cl_ord_id",
    "symbol",
    "side",
    "type",
    "qty",
    "price",
    "tif",
    "signed",
    "received",
    "admitted",
    "outcome",
    "code",
    "executed_1e-9",
];
const OUTCOME: usize = 16;
const EXECUTED: usize = 18;

pub(super) fn table(common: &Common) -> anyhow::Result<Table> {
    let mut table = Table::new(&COLUMNS);
    // Where the record of each order that was placed stands.
    let mut placed: BTreeMap<u64, usize> = BTreeMap::new();
    common.each(|row| match row.kind.as_str() {
        "order" | "order_refused" if common.covers(row) => {
            if row.kind == "order" && row.text("op") == Some("order.new") {
                placed.extend(row.number("order_id").map(|id| (id, table.rows.len())));
            }
            table.rows.push(record(row));
        }
        "execution" => {
            let record =
                row.number("order_id").and_then(|id| placed.get(&id)).and_then(|at| table.rows.get_mut(*at));
            if let Some(record) = record {
                record[OUTCOME] = row.text("exec").unwrap_or_default().to_owned();
                record[EXECUTED] = row.number("cumulative").unwrap_or(0).to_string();
            }
        }
        _ => {}
    })?;
    Ok(table)
}

fn record(row: &Row) -> Vec<String> {
    let text = |field: &str| row.text(field).unwrap_or_default().to_owned();
    let body = |field: &str| row.body_field(field).unwrap_or_default();
    let moment = |field: &str| row.number(field).map(|ns| format_utc(UnixNanos(ns))).unwrap_or_default();
    let refused = row.kind == "order_refused";
    let session = row.entry.header.session.map(|session| sealfeed_audit::hex(&session.id));
    vec![
        row.entry.header.seq.to_string(),
        text("op"),
        text("principal"),
        session.unwrap_or_default(),
        // 0 where the message is about no order of its own.
        row.number("order_id").filter(|id| *id != 0).map(|id| id.to_string()).unwrap_or_default(),
        body("cl_ord_id"),
        body("orig_cl_ord_id"),
        body("symbol"),
        body("side"),
        body("type"),
        body("qty"),
        body("price"),
        body("tif"),
        moment("ts"),
        moment("received"),
        moment("admitted"),
        if refused { "rejected" } else { "accepted" }.to_owned(),
        text("code"),
        "0".to_owned(),
    ]
}
