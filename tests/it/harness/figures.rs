//! Figures of a server, as a collector reads them.

use std::collections::BTreeMap;
use std::path::Path;

use super::{LIMIT, Server, wait_until};

/// Every series with its value; 0 for one that is not shown.
#[derive(Debug)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// From Prometheus' text format.
    pub(crate) fn parse(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        Self(series.map(read_line).collect())
    }

    /// From the file of a server.
    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).unwrap())
    }

    /// The value of a series without its prefix, such as `events_total{kind="connect"}`.
    pub(crate) fn get(&self, series: &str) -> f64 {
        self.0.get(&format!("sealfeed_{series}")).copied().unwrap_or(0.0)
    }

    /// Events of one kind.
    pub(crate) fn events(&self, kind: &str) -> f64 {
        self.get(&format!("events_total{{kind=\"{kind}\"}}"))
    }

    /// Refusals by kind and code.
    pub(crate) fn refusals(&self, kind: &str, code: &str) -> f64 {
        self.get(&format!("refusals_total{{kind=\"{kind}\",code=\"{code}\"}}"))
    }

    /// Series whose name begins so.
    pub(crate) fn beginning(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(move |series| series.starts_with(name))
    }
}

fn read_line(line: &str) -> (String, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
    (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}")))
}

/// Kinds that are always written in full, and those that may only be counted.
const WRITTEN: [&str; 2] = ["reject", "order_refused"];
const SUPPRESSED: [&str; 3] = ["handshake_refused", "upgrade_refused", "limit"];

impl Server {
    /// Waits until every refusal that stands in the log is counted by its kind and code: exactly, where the log holds all of them, and at
    /// least, where it only counts some.
    pub(crate) async fn figures_say_what_the_log_says(&self) {
        let mut reading = (BTreeMap::new(), self.figures());
        let is_so = wait_until(LIMIT, || {
            let mut logged: BTreeMap<(&str, String), f64> = BTreeMap::new();
            for event in self.events() {
                if WRITTEN.contains(&event.kind) || SUPPRESSED.contains(&event.kind) {
                    *logged.entry((event.kind, event.text("code").to_owned())).or_default() += 1.0;
                }
            }
            let figures = self.figures();
            let are_counted = logged.iter().all(|((kind, code), count)| {
                let counted = figures.refusals(kind, code);
                counted == *count || SUPPRESSED.contains(kind) && counted > *count
            });
            let shown = figures
                .beginning("sealfeed_refusals_total")
                .filter(|series| WRITTEN.iter().any(|kind| series.contains(&format!("kind=\"{kind}\""))));
            let is_whole = shown.count() == logged.keys().filter(|(kind, _)| WRITTEN.contains(kind)).count();
            reading = (logged, figures);
            are_counted && is_whole
        });
        assert!(is_so.await, "{reading:#?}");
    }

    /// The figures now.
    pub(crate) fn figures(&self) -> Figures {
        Figures::parse(&self.running().metrics())
    }

    /// Waits until a figure is as wanted, and returns all of them.
    pub(crate) async fn figures_when(&self, is_it: impl Fn(&Figures) -> bool) -> Figures {
        let mut figures = self.figures();
        let is_so = wait_until(LIMIT, || {
            figures = self.figures();
            is_it(&figures)
        });
        assert!(is_so.await, "{figures:#?}");
        figures
    }
}
