//! What the benches share: clocks, CPU time, smoke mode, percentiles, and a plain table.
//!
//! Every bench measures its floor in the same run, because absolute figures drift by 20 % and more between runs of one machine.

#![allow(dead_code, reason = "every bench uses its own part")]
#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to print")]

use rustix::time::{ClockId, Timespec, clock_gettime};

/// CPU time of the whole process, user and system, nanoseconds.
pub(crate) fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// CPU time of the calling thread, user and system, nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Wall-clock time, nanoseconds from an arbitrary zero; never steps.
pub(crate) fn wall_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// Whether only a run of about a second is wanted, to see that the bench works: `--smoke` or `SEALFEED_BENCH_SMOKE=1`.
pub(crate) fn smoke() -> bool {
    let set = |value: std::ffi::OsString| !value.is_empty() && value != "0";
    std::env::args().any(|argument| argument == "--smoke")
        || std::env::var_os("SEALFEED_BENCH_SMOKE").is_some_and(set)
}

/// The value that `percent` of all samples do not exceed; sorts them.
pub(crate) fn percentile(samples: &mut [u64], percent: u32) -> u64 {
    samples.sort_unstable();
    let rank = (samples.len() * usize::try_from(percent).unwrap()).div_ceil(100);
    samples.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// A quotient for printing; zero where there is nothing to divide by.
pub(crate) fn ratio(numerator: u64, denominator: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
    if denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
}

/// Events per second.
pub(crate) fn per_second(count: u64, elapsed_ns: u64) -> u64 {
    let rate = u128::from(count) * 1_000_000_000 / u128::from(elapsed_ns.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// A table of text cells, printed with aligned columns.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}
