//! The state of clock synchronisation over time: every CLOCK entry, breaches marked.

use super::{Common, Table};

pub(super) fn table(common: &Common) -> anyhow::Result<Table> {
    let columns = ["seq", "time", "state", "offset-ns", "max-error-ns", "tolerance-ns", "breach"];
    let mut table = Table::new(&columns);
    common.each(|row| {
        if row.kind != "log.clock" || !common.covers(row) {
            return;
        }
        let told = columns.iter().skip(2).map(|field| row.text(field).unwrap_or_default().to_owned());
        table.rows.push([row.entry.header.seq.to_string(), row.time()].into_iter().chain(told).collect());
    })?;
    Ok(table)
}
