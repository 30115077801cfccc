//! Units of market data enabled in a month, the way exchanges ask for them: what was switched on counts, not what was looked at. What comes in real
//! time and what comes late are different products; so are two delays. Beside them, what left of each.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use time::Date;

use super::{Common, Table};
use crate::cli::audit::rows::{Output, Row};
use crate::cli::audit::sessions::{Change, Sessions, Unit, ranges};

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
    let month = time::Month::try_from(month).map_err(|_| wrong())?;
    let next =
        if month == time::Month::December { (year + 1, time::Month::January) } else { (year, month.next()) };
    let start = |year, month| {
        let date = Date::from_calendar_date(year, month, 1).map_err(|_| wrong())?;
        u64::try_from(date.midnight().assume_utc().unix_timestamp_nanos()).map_err(|_| wrong())
    };
    Ok((start(year, month)?, start(next.0, next.1)?))
}

/// What one user had of one product.
#[derive(Debug, Default)]
struct Use {
    at_start: bool,
    activations: u64,
    deactivations: u64,
    most_at_once: usize,
    /// Messages that left, by the entries of the month.
    delivered: u64,
    /// What the policy called the user while it was switched on: professional, display.
    flags: [BTreeSet<bool>; 2],
}

impl Use {
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

/// The month, as it is counted.
struct Month {
    start: u64,
    end: u64,
    begun: bool,
    sessions: Sessions,
    uses: BTreeMap<(Unit, String), Use>,
}

impl Month {
    fn new((start, end): (u64, u64)) -> Self {
        Self { start, end, begun: false, sessions: Sessions::default(), uses: BTreeMap::new() }
    }

    /// Takes over an entry of the log, from its beginning on.
    fn learn(&mut self, row: &Row) {
        let time = row.entry.header.stamp.utc_ns;
        // The delay of what was granted in the month belongs to it, too.
        if time >= self.end && row.kind != "delayed" {
            return;
        }
        if time >= self.start && !self.begun {
            self.begun = true;
            for (principal, unit) in self.sessions.in_use() {
                self.used(&principal, &unit).at_start = true;
            }
        }
        for change in self.sessions.settle(Some(row)) {
            self.count(change, time);
        }
        for change in self.sessions.learn(row) {
            self.count(change, time);
        }
        if row.kind == "delivered" && time >= self.start {
            let principal = row.text("principal").unwrap_or_default();
            for (product, _, (first, last)) in ranges(row) {
                let delayed_ms = self.sessions.delay_of(row, &product);
                let of = self.uses.entry(((product, delayed_ms), principal.to_owned())).or_default();
                of.delivered += last.saturating_sub(first).saturating_add(1);
            }
        }
    }

    fn count(&mut self, change: Change, time: u64) {
        match change {
            _ if time < self.start => {}
            Change::On(principal, unit, since) => {
                let start = self.start;
                let of = self.used(&principal, &unit);
                if since < start {
                    of.at_start = true;
                } else {
                    of.activations += 1;
                }
            }
            Change::Off(principal, unit) => {
                self.uses.entry((unit, principal)).or_default().deactivations += 1;
            }
        }
    }

    /// What a principal has switched on now, with how often and as what.
    fn used(&mut self, principal: &str, unit: &Unit) -> &mut Use {
        let (held, flags) = (self.sessions.holding(principal, unit), self.sessions.flags(principal, unit));
        let of = self.uses.entry((unit.clone(), principal.to_owned())).or_default();
        of.most_at_once = of.most_at_once.max(held);
        of.class(&flags);
        of
    }

    /// What was counted.
    fn table(mut self) -> Table {
        if self.begun {
            for change in self.sessions.settle(None) {
                self.count(change, self.end);
            }
        }
        let mut table = Table::new(&[
            "channel",
            "symbol",
            "delayed_ms",
            "firm",
            "user",
            "enabled_at_start",
            "activations",
            "deactivations",
            "most_at_once",
            "delivered",
            "professional",
            "display",
        ]);
        for ((((channel, symbol), delayed_ms), principal), of) in self.uses {
            let (firm, user) = principal.split_once('/').unwrap_or((&principal, ""));
            let mut row = vec![channel, symbol, delayed_ms.to_string(), firm.to_owned(), user.to_owned()];
            row.push(if of.at_start { "yes" } else { "no" }.to_owned());
            let counts = [of.activations, of.deactivations, of.most_at_once as u64, of.delivered];
            row.extend(counts.map(|count| count.to_string()));
            row.extend(of.flags.iter().map(|seen| flag(seen).to_owned()));
            table.rows.push(row);
        }
        table
    }
}

pub(super) fn table(arguments: &UsageArgs) -> anyhow::Result<Table> {
    let common =
        Common { directory: arguments.directory.clone(), from: None, until: None, output: arguments.output };
    let mut month = Month::new(arguments.month);
    common.each(|row| month.learn(row))?;
    Ok(month.table())
}

#[cfg(test)]
mod tests;
