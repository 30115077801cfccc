//! The lines that the demo prints, and its verdict.

use std::fmt::Display;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use super::setup::Place;

/// Counts the steps and those that came out otherwise.
#[derive(Default)]
pub(super) struct Steps {
    count: u32,
    failed: u32,
}

impl Steps {
    /// Prints a step that came out as expected, or not.
    pub(super) fn step(&mut self, what: &str, expected: &str, got: &Result<String, String>) {
        self.count += 1;
        let (mark, color, came) = match got {
            Ok(came) => ("ok  ", AnsiColor::Green, came),
            Err(came) => ("FAIL", AnsiColor::Red, came),
        };
        self.failed += u32::from(got.is_err());
        let style = Style::new().fg_color(Some(color.into())).bold();
        anstream::println!(
            "{style}{mark}{style:#} {:2}  {what}: expected {expected}; came {came}",
            self.count
        );
    }

    /// A step whose result must equal what was expected.
    pub(super) fn equal(&mut self, what: &str, expected: &str, got: impl Display) {
        let got = got.to_string();
        let outcome = if got == expected { Ok(got) } else { Err(got) };
        self.step(what, expected, &outcome);
    }

    /// Prints the verdict and what to try next.
    pub(super) fn finish(&self, place: &Place) -> ExitCode {
        let good = self.count - self.failed;
        anstream::println!("\n{good} of {} steps came out as expected.", self.count);
        place.print_next();
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
