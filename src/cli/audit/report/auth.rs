//! Who came in and who was refused, by reason, address and principal.

use std::collections::BTreeMap;

use super::{Common, Table};
use crate::cli::audit::rows::Row;

/// Outcome, reason, address, principal or claimed subject.
type Key = (&'static str, String, String, String);

pub(super) fn table(common: &Common) -> anyhow::Result<Table> {
    let mut counts: BTreeMap<Key, (u64, String, String)> = BTreeMap::new();
    common.each(|row| {
        if !common.covers(row) {
            return;
        }
        let Some((key, count)) = outcome(row) else { return };
        let entry = counts.entry(key).or_insert_with(|| (0, row.time(), row.time()));
        entry.0 += count;
        entry.2 = row.time();
    })?;
    let mut table = Table::new(&["outcome", "code", "address", "who", "count", "first", "last"]);
    for ((outcome, code, address, who), (count, first, last)) in counts {
        table.rows.push(vec![outcome.to_owned(), code, address, who, count.to_string(), first, last]);
    }
    Ok(table)
}

fn outcome(row: &Row) -> Option<(Key, u64)> {
    let text = |field: &str| row.text(field).unwrap_or_default().to_owned();
    // The port says nothing, and would make every attempt a row of its own.
    let address =
        || text("address").rsplit_once(':').map_or_else(|| text("address"), |(host, _)| host.to_owned());
    let key = |outcome, code, who| (outcome, code, address(), who);
    Some(match row.kind.as_str() {
        "connect" => (key("admitted", String::new(), text("principal")), 1),
        "handshake_refused" => (key("handshake refused", text("code"), text("claimed_subject")), 1),
        "upgrade_refused" => (key("upgrade refused", text("code"), text("principal")), 1),
        "suppressed" => {
            (key("refused, only counted", text("what"), String::new()), row.number("count").unwrap_or(0))
        }
        _ => return None,
    })
}
