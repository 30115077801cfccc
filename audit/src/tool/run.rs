//! A verification from the command line, from arguments to exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Asked, json, text};
use crate::storage::DiskStorage;
use crate::verify::{Progress, verify_planned, verify_tape};

/// Exit code for arguments that cannot be used.
const USAGE: u8 = 2;
/// Exit code when the report cannot be written.
const OUTPUT: u8 = 74;

/// Verifies, prints the report to standard output and errors to standard error; the exit code. `program` begins error messages.
#[must_use]
pub fn verify_and_print(program: &str, asked: &Asked) -> u8 {
    let mut stderr = io::stderr();
    let (anchors, plan) = match asked.read() {
        Ok(given) => given,
        Err(error) => {
            let _ = writeln!(stderr, "{program}: error: {error}");
            return USAGE;
        }
    };
    let bar = progress_bar();
    let result = verify_planned(&DiskStorage::new(&asked.directory), &anchors, &plan, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
        bar.set_message(rates(progress, bar.elapsed()));
    });
    bar.finish_and_clear();
    let result = result.and_then(|mut report| match &asked.tape {
        Some(tape) => verify_tape(&mut report, &asked.directory, tape).map(|()| report),
        None => Ok(report),
    });
    match result {
        Ok(report) => {
            let said = if asked.json { json(&report) + "\n" } else { text(&report) };
            let mut stdout = io::stdout().lock();
            match stdout.write_all(said.as_bytes()).and_then(|()| stdout.flush()) {
                // Whoever closed the pipe has the verdict in the exit code.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => OUTPUT,
                _ => report.verdict.exit_code(),
            }
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            let _ = writeln!(stderr, "{program}: error: {}: {error}{cause}", asked.directory.display());
            error.exit_code()
        }
    }
}

/// A bar on a terminal, nothing where standard error is none.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("verifying [{wide_bar}] {percent:>3} % {msg} {eta} left")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// How fast it goes, all in all.
fn rates(progress: Progress, elapsed: Duration) -> String {
    let per_second = |count: u64| {
        let rate = u128::from(count) * 1_000_000 / elapsed.as_micros().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    format!("{} entries/s {} MB/s", per_second(progress.entries), per_second(progress.bytes) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_whole_time_and_zero_time_is_no_error() {
        let progress = Progress { entries: 3_000, bytes: 8_000_000, bytes_total: 9_000_000 };
        assert_eq!(rates(progress, Duration::from_secs(2)), "1500 entries/s 4 MB/s");
        assert!(rates(progress, Duration::ZERO).contains("entries/s"));
    }
}
