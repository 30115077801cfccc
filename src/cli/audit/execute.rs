//! `sealfeed audit replay --execute DIR`: the venue's inputs executed again, every output compared.
//!
//! Exit codes: 0 VERIFIED, 27 DIVERGED, 28 REFUSED; 66 no such log, 74 cannot be read. It checks the chain as it reads; whether the
//! log is what its writer wrote, only `audit verify` says.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::ExitCode;

use sealfeed_audit::hex;
use sealfeed_audit::reader::{ReadError, entries};

use crate::execute::replay::{Content, Divergence, Report, Verdict, reexecute};
use crate::telemetry;

/// Bytes of a payload that are printed.
const SHOWN_BYTES_MAX: usize = 1_024;
/// Bytes at the end of the checkpoints in which the last one is looked for.
const CHECKPOINTS_TAIL_BYTES: u64 = 256 * 1024;
const VERIFY_IT: &str = "; nothing behind that was executed: run `sealfeed audit verify` on it";

pub(super) fn run(directory: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    // Before the entries: a log whose writer is at work has at least those of its last checkpoint then.
    let checkpointed = last_checkpoint(directory);
    let report = match entries(directory).and_then(reexecute) {
        Ok(report) => report,
        Err(error) => return Ok(unreadable(directory, &error)),
    };
    if report.verdict == Verdict::Verified && report.end < checkpointed {
        anstream::eprintln!(
            "sealfeed: error: {}: entries can be read up to {}, the last checkpoint covers {checkpointed}{VERIFY_IT}",
            directory.display(),
            report.end
        );
        return Ok(ExitCode::from(74));
    }
    if as_json {
        anstream::println!("{}", to_json(&report));
    } else {
        print(&report);
    }
    Ok(ExitCode::from(report.verdict.exit_code()))
}

/// Size of the last checkpoint in the log's own file, its signature unchecked; 0 if there is none. What is missing below it was
/// there once: no crash takes it away.
pub(in crate::cli) fn last_checkpoint(directory: &Path) -> u64 {
    let tail = || {
        let mut file = std::fs::File::open(directory.join("checkpoints"))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(CHECKPOINTS_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(CHECKPOINTS_TAIL_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = tail().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // A note is three lines, an empty line, and lines of signatures, which have no number in second place.
    let size = |note: &str| note.trim_start().lines().nth(1).and_then(|size| size.parse().ok());
    text.rsplit("\n\n").find_map(size).unwrap_or(0)
}

fn unreadable(directory: &Path, error: &ReadError) -> ExitCode {
    let (code, advice) = match error {
        ReadError::NoLog => (66, ""),
        ReadError::Io { .. } => (74, ""),
        ReadError::Segment { .. } | ReadError::Broken { .. } => (74, VERIFY_IT),
    };
    anstream::eprintln!("sealfeed: error: {}: {}{advice}", directory.display(), telemetry::chain(error));
    ExitCode::from(code)
}

fn print(report: &Report) {
    let Report { inputs, outputs, states, snapshots, runs, .. } = report;
    let counts = format!(
        "{inputs} inputs executed again; {outputs} outputs, {states} digests and {snapshots} snapshots of the state are equal"
    );
    match &report.verdict {
        Verdict::Verified => anstream::println!("VERIFIED: {counts}, byte for byte, in {runs} runs"),
        Verdict::Diverged(found) => print_divergence(found, &counts),
        Verdict::Refused { seq, why } => {
            anstream::println!("REFUSED at entry {seq}: {why}\n  before it    {counts}");
        }
    }
    if report.cut > 0 {
        anstream::println!(
            "  cut          {} outputs of the last inputs of a run are not in the log: it ended before, or is being written",
            report.cut
        );
    }
    if report.headless > 0 {
        anstream::println!(
            "  not executed {} inputs of a run whose beginning was pruned: the state they met is gone",
            report.headless
        );
    }
    for version in other_versions(report) {
        anstream::println!(
            "  other build  written by sealfeed {}, executed again by {}",
            version.escape_default(),
            env!("CARGO_PKG_VERSION")
        );
    }
    anstream::println!(
        "  not checked  signatures and seals (sealfeed audit verify); market data (the tape holds it)"
    );
}

fn print_divergence(found: &Divergence, counts: &str) {
    anstream::println!("DIVERGED at entry {}: {}", found.seq, found.how);
    print_content("expected", found.expected.as_ref());
    print_content("got", Some(&found.got));
    anstream::println!("  before it    {counts}");
    match found.agreed {
        Some((seq, inputs)) => {
            anstream::println!(
                "  state        last agreed at entry {seq}, after {inputs} inputs of this run"
            );
        }
        None => anstream::println!("  state        never compared in this run"),
    }
}

fn print_content(name: &str, content: Option<&Content>) {
    let Some(content) = content else {
        return anstream::println!("  {name:12} nothing");
    };
    anstream::println!("  {name:12} {}", content.described());
    anstream::println!("  {:12} {}", "", shown(&content.payload));
}

/// A payload in hex, its end left out if it is long.
fn shown(payload: &[u8]) -> String {
    match payload.get(..SHOWN_BYTES_MAX) {
        Some(first) if payload.len() > SHOWN_BYTES_MAX => {
            format!("{}... ({} bytes)", hex(first), payload.len())
        }
        _ => hex(payload),
    }
}

fn other_versions(report: &Report) -> impl Iterator<Item = &String> {
    report.versions.iter().filter(|version| *version != env!("CARGO_PKG_VERSION"))
}

fn to_json(report: &Report) -> serde_json::Value {
    let content = |content: &Content| {
        serde_json::json!({
            "kind": content.kind, "schema": content.schema, "payload": hex(&content.payload),
            "text": content.described(),
        })
    };
    let (verdict, detail) = match &report.verdict {
        Verdict::Verified => ("VERIFIED", serde_json::Value::Null),
        Verdict::Refused { seq, why } => ("REFUSED", serde_json::json!({"seq": seq, "what": why})),
        Verdict::Diverged(found) => (
            "DIVERGED",
            serde_json::json!({
                "seq": found.seq,
                "what": found.how.to_string(),
                "expected": found.expected.as_ref().map(content),
                "got": content(&found.got),
                "state_agreed": found.agreed.map(|(seq, inputs)| serde_json::json!({"seq": seq, "inputs": inputs})),
            }),
        ),
    };
    serde_json::json!({
        "verdict": verdict,
        "first": detail,
        "end": report.end,
        "runs": report.runs,
        "inputs": report.inputs,
        "outputs": report.outputs,
        "states": report.states,
        "snapshots": report.snapshots,
        "cut": report.cut,
        "headless": report.headless,
        "versions": report.versions,
    })
}
