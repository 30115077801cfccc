//! The state of clock synchronisation over time: every CLOCK entry; or the times in which the tolerance was not kept.

use clap::Args;
use sealfeed_audit::ClockEvidence;
use sealfeed_audit::clock::Breach;
use sealfeed_audit::kind::{self, Kind};

use super::{Common, Table};
use crate::clock::format_utc;
use crate::types::UnixNanos;

/// Arguments of `audit report clock`.
#[derive(Clone, Debug, Args)]
pub(super) struct ClockArgs {
    #[command(flatten)]
    common: Common,
    /// Only the times in which the tolerance was not kept, or not known to be kept: from when until when, and why.
    #[arg(long)]
    breaches: bool,
}

impl ClockArgs {
    pub(super) const fn common(&self) -> &Common {
        &self.common
    }
}

pub(super) fn table(arguments: &ClockArgs) -> anyhow::Result<Table> {
    if arguments.breaches { breaches(&arguments.common) } else { samples(&arguments.common) }
}

const FIELDS: [&str; 7] = ["state", "offset-ns", "max-error-ns", "leap", "step-ns", "tolerance-ns", "breach"];

fn samples(common: &Common) -> anyhow::Result<Table> {
    let columns: Vec<_> = ["seq", "time"].into_iter().chain(FIELDS).chain(["why"]).collect();
    let mut table = Table::new(&columns);
    common.each(|row| {
        if row.entry.header.kind != kind::CLOCK || !common.covers(row) {
            return;
        }
        let mut cells = vec![row.entry.header.seq.to_string(), row.time()];
        match ClockEvidence::from_payload(&row.entry.payload) {
            Some(evidence) => {
                cells.extend(FIELDS.map(|field| row.text(field).unwrap_or_default().to_owned()));
                cells.push(evidence.breach().map_or("", Breach::name).to_owned());
            }
            None => {
                cells.extend(FIELDS.map(|_| String::new()));
                cells.push("not a payload of this kind".to_owned());
            }
        }
        table.rows.push(cells);
    })?;
    Ok(table)
}

/// A time in which the tolerance was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    first: u64,
    from_ns: u64,
    until_ns: u64,
    ended_by: &'static str,
    why: Breach,
    /// CLOCK entries in it.
    entries: u64,
    error_ns_max: Option<u64>,
    tolerance_ns: u64,
}

/// The intervals of a log that is read from its beginning.
#[derive(Debug, Default)]
struct Intervals {
    list: Vec<Interval>,
    /// The last of the list has not ended.
    is_open: bool,
    /// UTC of the last entry.
    last_ns: u64,
}

impl Intervals {
    /// Takes the next entry of the log.
    fn take(&mut self, kind: Kind, seq: u64, utc_ns: u64, payload: &[u8]) {
        match kind {
            // Between two runs nobody looked.
            kind::START | kind::RECOVERY => self.end(self.last_ns, "end of the run"),
            kind::CLOCK => {
                if let Some(evidence) = ClockEvidence::from_payload(payload) {
                    self.sample(&evidence, seq, utc_ns);
                }
            }
            _ => {}
        }
        self.last_ns = utc_ns;
    }

    fn sample(&mut self, evidence: &ClockEvidence, seq: u64, utc_ns: u64) {
        let error_ns = evidence.discipline.map(|found| found.error_ns());
        let Some(why) = evidence.breach() else { return self.end(utc_ns, "tolerance kept") };
        if let Some(last) = self.list.last_mut().filter(|last| self.is_open && last.why == why) {
            last.entries += 1;
            last.error_ns_max = last.error_ns_max.max(error_ns);
            return;
        }
        self.end(utc_ns, "another breach");
        self.is_open = true;
        self.list.push(Interval {
            first: seq,
            from_ns: utc_ns,
            until_ns: utc_ns,
            ended_by: "",
            why,
            entries: 1,
            error_ns_max: error_ns,
            tolerance_ns: evidence.tolerance_ns,
        });
    }

    fn end(&mut self, until_ns: u64, ended_by: &'static str) {
        if let Some(last) = self.list.last_mut().filter(|_| self.is_open) {
            (last.until_ns, last.ended_by) = (until_ns, ended_by);
        }
        self.is_open = false;
    }

    /// There are no more entries.
    fn finish(mut self) -> Vec<Interval> {
        self.end(self.last_ns, "end of the log");
        self.list
    }
}

fn breaches(common: &Common) -> anyhow::Result<Table> {
    let mut intervals = Intervals::default();
    common.each(|row| {
        let header = &row.entry.header;
        intervals.take(header.kind, header.seq, header.stamp.utc_ns, &row.entry.payload);
    })?;
    let columns = ["seq", "from", "until", "ended-by", "why", "entries", "error-ns-max", "tolerance-ns"];
    let mut table = Table::new(&columns);
    // Whatever touches the time that is asked for.
    let asked = |interval: &Interval| {
        common.from.is_none_or(|from| interval.until_ns >= from)
            && common.until.is_none_or(|until| interval.from_ns < until)
    };
    for interval in intervals.finish().into_iter().filter(asked) {
        table.rows.push(vec![
            interval.first.to_string(),
            format_utc(UnixNanos(interval.from_ns)),
            format_utc(UnixNanos(interval.until_ns)),
            interval.ended_by.to_owned(),
            interval.why.name().to_owned(),
            interval.entries.to_string(),
            interval.error_ns_max.map_or_else(String::new, |ns| ns.to_string()),
            interval.tolerance_ns.to_string(),
        ]);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use sealfeed_audit::clock::{Discipline, Leap};

    use super::*;

    fn payload(synchronised: bool, max_error_ns: u64, step_ns: i64) -> Vec<u8> {
        let discipline = Discipline { synchronised, offset_ns: 0, max_error_ns, leap: Leap::None };
        ClockEvidence { discipline: Some(discipline), step_ns, tolerance_ns: 100 }.to_payload()
    }

    /// From, until, why, entries, largest error, and what ended it.
    type Told = (u64, u64, &'static str, u64, Option<u64>, &'static str);

    /// Intervals of a log with one entry a second.
    fn intervals(log: &[(Kind, Vec<u8>)]) -> Vec<Told> {
        let mut intervals = Intervals::default();
        for (second, (kind, payload)) in (0..).zip(log) {
            intervals.take(*kind, second + 1_000, second, payload);
        }
        let list = intervals.finish();
        assert!(list.iter().all(|one| one.first == one.from_ns + 1_000 && one.tolerance_ns == 100));
        let told = |one: Interval| {
            (one.from_ns, one.until_ns, one.why.name(), one.entries, one.error_ns_max, one.ended_by)
        };
        list.into_iter().map(told).collect()
    }

    #[test]
    fn an_interval_lasts_from_its_breach_to_what_ends_it() {
        let clock = |payload: Vec<u8>| (kind::CLOCK, payload);
        let good = || clock(payload(true, 100, 0));
        let bad = |error_ns| clock(payload(true, error_ns, 0));
        let free = || clock(payload(false, 7, 0));
        let start = || (kind::START, Vec::new());
        let beat = || (kind::HEARTBEAT, Vec::new());
        assert_eq!(intervals(&[start(), good(), beat(), good()]), []);
        assert_eq!(
            intervals(&[start(), free(), beat(), bad(101), bad(300), bad(200), good(), beat()]),
            [
                (1, 3, "unsynchronised", 1, Some(7), "another breach"),
                (3, 6, "error", 3, Some(300), "tolerance kept")
            ]
        );
        assert_eq!(
            intervals(&[start(), free(), beat(), start(), good(), clock(payload(true, 0, -101)), beat()]),
            [
                (1, 2, "unsynchronised", 1, Some(7), "end of the run"),
                (5, 6, "step", 1, Some(0), "end of the log")
            ]
        );
        assert_eq!(intervals(&[clock(b"sealfeed/v1 clock\nnonsense".to_vec())]), []);
    }
}
