//! What the doctor finds: one line a step as it goes, or one JSON object at the end, and the exit code of the first failure.
//!
//! Everything that is printed is made printable here, once: words of a server must not steer a terminal.

use std::process::ExitCode;

use sealfeed_wire::AnyCode;
use serde_json::{Value, json};

use super::super::context::{EXIT_FAILED, Problem};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Warning,
    Failed,
    Skipped,
}

impl Status {
    const fn word(self, good: &'static str) -> &'static str {
        match self {
            Self::Ok => good,
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// One step.
#[derive(Debug)]
struct Step {
    name: String,
    status: Status,
    detail: String,
    fix: String,
    code: Option<AnyCode>,
}

/// All steps so far.
#[derive(Debug)]
pub(super) struct Report {
    is_json: bool,
    /// How a step that is as it should be is called: `ok` or `pass`.
    good: &'static str,
    steps: Vec<Step>,
    /// Exit code of the first failure.
    exit: Option<u8>,
}

impl Report {
    /// For what works or not.
    pub(super) const fn new(is_json: bool) -> Self {
        Self::with(is_json, "ok")
    }

    /// Prints nothing before its end.
    pub(super) const fn silent() -> Self {
        Self::new(true)
    }

    /// For checks that pass or fail.
    pub(super) const fn of_checks(is_json: bool) -> Self {
        Self::with(is_json, "pass")
    }

    const fn with(is_json: bool, good: &'static str) -> Self {
        Self { is_json, good, steps: Vec::new(), exit: None }
    }

    /// All is well.
    pub(super) fn ok(&mut self, name: &str, detail: impl AsRef<str>) {
        self.add(name, Status::Ok, detail.as_ref(), "", None);
    }

    /// It works, but it will not for long, or not for everything.
    pub(super) fn warn(&mut self, name: &str, detail: impl AsRef<str>, fix: impl AsRef<str>) {
        self.add(name, Status::Warning, detail.as_ref(), fix.as_ref(), None);
    }

    /// Not tried, and why.
    pub(super) fn skip(&mut self, name: &str, why: impl AsRef<str>) {
        self.add(name, Status::Skipped, why.as_ref(), "", None);
    }

    /// Every one of these steps that did not come about.
    pub(super) fn skip_rest(&mut self, steps: &[&str]) {
        for name in steps {
            if !self.steps.iter().any(|step| step.name == *name) {
                self.skip(name, "an earlier step has to work first");
            }
        }
    }

    /// It does not work. The first failure decides the exit code.
    pub(super) fn fail(&mut self, name: &str, fault: &Fault) {
        self.exit.get_or_insert(fault.exit);
        self.add(name, Status::Failed, &fault.what, &fault.fix, fault.code.clone());
    }

    /// How many steps ended so.
    pub(super) fn count(&self, status: Status) -> usize {
        self.steps.iter().filter(|step| step.status == status).count()
    }

    /// The first failure, for a command that ends with it.
    pub(super) fn problem(&self) -> Problem {
        let failed = self.steps.iter().find(|step| step.status == Status::Failed);
        let problem = failed.map_or_else(
            || Problem::new("nothing was found out"),
            |step| Problem::new(format!("{}: {}", step.name, step.detail)).fix(step.fix.clone()),
        );
        problem.exit(self.exit.unwrap_or(EXIT_FAILED))
    }

    fn word(&self, status: Status) -> &'static str {
        status.word(self.good)
    }

    fn add(&mut self, name: &str, status: Status, detail: &str, fix: &str, code: Option<AnyCode>) {
        let (detail, fix) = (printable(detail), printable(fix));
        let step = Step { name: name.to_owned(), status, detail, fix, code };
        if !self.is_json {
            anstream::println!("{}", line(self.word(status), &step));
        }
        self.steps.push(step);
    }

    /// Prints the summary, or the one object, and returns the exit code.
    pub(super) fn finish(&self, what: &str, more: Value) -> ExitCode {
        let (ok, warnings) = (self.count(Status::Ok), self.count(Status::Warning));
        let (failed, skipped) = (self.count(Status::Failed), self.count(Status::Skipped));
        if self.is_json {
            let steps: Vec<Value> =
                self.steps.iter().map(|step| value(self.word(step.status), step)).collect();
            let mut object = json!({
                "ok": failed == 0, "passed": ok, "warnings": warnings, "failed": failed, "skipped": skipped,
                "steps": steps,
            });
            if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
                object.extend(more);
            }
            anstream::println!("{object}");
        } else {
            let verdict = match (failed, self.good) {
                (0, "pass") => "holds",
                (_, "pass") => "DOES NOT HOLD",
                (0, _) => "healthy",
                _ => "NOT healthy",
            };
            anstream::println!(
                "\n{what}: {verdict}; {ok} {}, {warnings} warnings, {failed} failed, {skipped} skipped",
                self.good
            );
        }
        ExitCode::from(self.exit.unwrap_or(0))
    }
}

/// Why a step failed, and what to do.
#[derive(Debug)]
pub(super) struct Fault {
    what: String,
    fix: String,
    code: Option<AnyCode>,
    exit: u8,
}

impl Fault {
    /// A failure of its own kind (exit code 1).
    pub(super) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into(), code: None, exit: EXIT_FAILED }
    }

    pub(super) fn code(mut self, code: impl Into<AnyCode>) -> Self {
        self.code = Some(code.into());
        self
    }

    pub(super) const fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Self {
        let (what, _, fix, code) = problem.parts();
        Self { what: what.to_owned(), fix: fix.to_owned(), code: code.cloned(), exit: problem.exit_code() }
    }
}

fn line(word: &str, step: &Step) -> String {
    let mut text = format!("{word:<8} {:<22} {}", step.name, step.detail);
    for (label, more) in [("fix:", Some(step.fix.clone())), ("code:", step.code.as_ref().map(explained))] {
        if let Some(more) = more.filter(|more| !more.is_empty()) {
            text += &format!("\n{:31} {label:<5} {more}", "");
        }
    }
    text
}

fn explained(code: &AnyCode) -> String {
    format!("{code} (sealfeed explain {code})")
}

fn value(word: &str, step: &Step) -> Value {
    json!({
        "name": step.name,
        "status": word.to_ascii_lowercase(),
        "detail": step.detail,
        "fix": (!step.fix.is_empty()).then_some(&step.fix),
        "code": step.code.as_ref().map(ToString::to_string),
    })
}

/// Printable ASCII as it is, everything else escaped: control characters, and those that turn the direction of a line.
pub(super) fn printable(text: &str) -> String {
    let escaped = text.chars().map(|character| match character {
        ' '..='~' => character.to_string(),
        _ => character.escape_default().to_string(),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_decides_and_nothing_steers_the_terminal() {
        let mut report = Report::new(true);
        report.ok("dns", "1\u{1b}[2J\u{202e}");
        report.fail("tcp", &Fault::new("nothing", "Start it.").exit(3));
        report.fail("tls", &Fault::new("nothing", "Start it."));
        assert_eq!(report.exit, Some(3));
        assert_eq!(report.steps[0].detail, r"1\u{1b}[2J\u{202e}");
        assert_eq!(value("FAILED", &report.steps[1])["status"], "failed");
        assert!(
            line("FAILED", &report.steps[1]).contains("\n                                fix:  Start it.")
        );
    }
}
