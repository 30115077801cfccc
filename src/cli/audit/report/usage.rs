//! Units of market data enabled in a month, the way exchanges ask for them: what was switched on counts, not what was looked at.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use time::{Date, Month};

use super::{Common, Table};
use crate::cli::audit::rows::Output;
use crate::cli::audit::sessions::{Change, Product, Sessions};

/// Arguments of `audit report usage`.
#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    /// The month, UTC: 2026-11.
    #[arg(long, value_parser = parse_month)]
    month: (u64, u64),
    /// The log's directory.
    directory: std::path::PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
}

impl UsageArgs {
    pub(super) fn output(&self) -> Output {
        self.output
    }
}

/// First nanosecond of a month and of the next.
fn parse_month(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is no month: it is written like 2026-11");
    let (year, month) = text.split_once('-').ok_or_else(wrong)?;
    let (year, month): (i32, u8) = (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
    let month = Month::try_from(month).map_err(|_| wrong())?;
    let next = if month == Month::December { (year + 1, Month::January) } else { (year, month.next()) };
    let start = |year, month| {
        let date = Date::from_calendar_date(year, month, 1).map_err(|_| wrong())?;
        u64::try_from(date.midnight().assume_utc().unix_timestamp_nanos()).map_err(|_| wrong())
    };
    Ok((start(year, month)?, start(next.0, next.1)?))
}

/// What one user had of one product.
#[derive(Debug, Default)]
struct Unit {
    at_start: bool,
    activations: u64,
    deactivations: u64,
    most_at_once: usize,
    /// What the policy called the user while it was switched on: professional, display.
    flags: [BTreeSet<bool>; 2],
}

impl Unit {
    fn class(&mut self, flags: &[[Option<bool>; 2]]) {
        for session in flags {
            for (seen, flag) in self.flags.iter_mut().zip(session) {
                seen.extend(flag);
            }
        }
    }
}

/// What a flag was: `yes`, `no`, `both` if it changed, empty if the policy did not say.
fn flag(seen: &BTreeSet<bool>) -> &'static str {
    match (seen.contains(&true), seen.contains(&false)) {
        (true, true) => "both",
        (true, false) => "yes",
        (false, true) => "no",
        (false, false) => "",
    }
}

pub(super) fn table(arguments: &UsageArgs) -> anyhow::Result<Table> {
    let (start, end) = arguments.month;
    let common =
        Common { directory: arguments.directory.clone(), from: None, until: None, output: arguments.output };
    let mut sessions = Sessions::default();
    let mut units: BTreeMap<(Product, String), Unit> = BTreeMap::new();
    let mut begun = false;
    common.each(|row| {
        let time = row.entry.header.stamp.utc_ns;
        if time >= end {
            return;
        }
        if time >= start && !begun {
            begun = true;
            for (principal, product) in sessions.in_use() {
                let most_at_once = sessions.holding(&principal, &product);
                let flags = sessions.flags(&principal, &product);
                let unit = units.entry((product, principal)).or_default();
                (unit.at_start, unit.most_at_once) = (true, most_at_once);
                unit.class(&flags);
            }
        }
        for change in sessions.learn(row) {
            if time < start {
                continue;
            }
            match change {
                Change::On(principal, product) => {
                    let held = sessions.holding(&principal, &product);
                    let flags = sessions.flags(&principal, &product);
                    let unit = units.entry((product, principal)).or_default();
                    unit.activations += 1;
                    unit.class(&flags);
                    unit.most_at_once = unit.most_at_once.max(held);
                }
                Change::Off(principal, product) => {
                    units.entry((product, principal)).or_default().deactivations += 1;
                }
            }
        }
    })?;
    let mut table = Table::new(&[
        "channel",
        "symbol",
        "firm",
        "user",
        "enabled_at_start",
        "activations",
        "deactivations",
        "most_at_once",
        "professional",
        "display",
    ]);
    for (((channel, symbol), principal), unit) in units {
        let (firm, user) = principal.split_once('/').unwrap_or((&principal, ""));
        let counts =
            [unit.activations, unit.deactivations, unit.most_at_once as u64].map(|count| count.to_string());
        let mut row = vec![channel, symbol, firm.to_owned(), user.to_owned()];
        row.push(if unit.at_start { "yes" } else { "no" }.to_owned());
        row.extend(counts);
        row.extend(unit.flags.iter().map(|seen| flag(seen).to_owned()));
        table.rows.push(row);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_at_midnight_utc_of_its_first_day() {
        assert_eq!(parse_month("1970-01"), Ok((0, 31 * 86_400_000_000_000)));
        let (start, end) = parse_month("2024-12").unwrap();
        assert_eq!((end - start) / 86_400_000_000_000, 31);
        for wrong in ["2024", "2024-13", "2024-00", "x-1", "1969-12"] {
            assert!(parse_month(wrong).is_err(), "{wrong}");
        }
    }
}
