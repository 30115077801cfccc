//! `sealfeed audit verify DIR`: the verdict, what led to it, and what was not checked.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sealfeed_audit::note::VerifierKey;
use sealfeed_audit::storage::DiskStorage;
use sealfeed_audit::verify::{Anchors, Plan, Progress, Report, Verdict, verify_planned};
use sealfeed_audit::{Receipt, hash_from_hex, hex};
use serde::Deserialize;

use crate::clock::format_utc;
use crate::telemetry;
use crate::types::UnixNanos;

/// Arguments of `audit verify`. Anchors come from outside the log; without one the verdict is UNANCHORED.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 VERIFIED, 1 RECOVERED, 20 TAMPERED, 21 TRUNCATED, 22 CORRUPT, 23 UNANCHORED, \
    24 FORK, 25 EPOCH GAP, 26 UNCLEAN; 2 usage, 66 no such log, 74 cannot be read."
)]
pub(super) struct VerifyArgs {
    /// The log's directory.
    directory: PathBuf,
    /// Public key of the log: its text, or a file that holds it (log.pub).
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// A checkpoint kept elsewhere (a signed note); may be given several times.
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
    /// A client's receipt: a file with its JSON, one a line; may be given several times.
    #[arg(long, value_name = "FILE")]
    receipt: Vec<PathBuf>,
    /// The first epoch key, from compliance's safe (k0.hex): every seal is checked.
    #[arg(long, value_name = "FILE")]
    k0: Option<PathBuf>,
    /// The log must have at least this many entries.
    #[arg(long, value_name = "N")]
    expect_size: Option<u64>,
    /// A checkpoint kept elsewhere (a signed note) to start from: only segments from the one that holds its size are checked.
    #[arg(long, value_name = "FILE")]
    from_checkpoint: Option<PathBuf>,
    /// Threads; by default as many as there are processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// A receipt as it stands in an order's reply.
#[derive(Deserialize)]
struct ReceiptText {
    log: String,
    seq: u64,
    hash: String,
}

pub(super) fn run(arguments: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let given = anchors(arguments).and_then(|anchors| Ok((anchors, plan(arguments)?)));
    let (anchors, plan) = match given {
        Ok(given) => given,
        Err(error) => {
            anstream::eprintln!("sealfeed: error: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    let bar = progress_bar();
    let result = verify_planned(&DiskStorage::new(&arguments.directory), &anchors, &plan, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
        bar.set_message(rates(progress, bar.elapsed()));
    });
    bar.finish_and_clear();
    match result {
        Ok(report) => {
            if arguments.json {
                print_json(&report)
            } else {
                print(&report)
            }
            Ok(ExitCode::from(report.verdict.exit_code()))
        }
        Err(error) => {
            anstream::eprintln!(
                "sealfeed: error: {}: {}",
                arguments.directory.display(),
                telemetry::chain(&error)
            );
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

/// A bar on a terminal, nothing where standard error is none.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
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

fn plan(arguments: &VerifyArgs) -> anyhow::Result<Plan> {
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"));
    let from_checkpoint = arguments.from_checkpoint.as_ref().map(read).transpose()?;
    Ok(Plan { threads: arguments.threads.map(usize::from), from_checkpoint })
}

fn anchors(arguments: &VerifyArgs) -> anyhow::Result<Anchors> {
    let key = arguments.key.as_deref().map(read_key).transpose()?;
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"));
    let checkpoints = arguments.anchor.iter().map(read).collect::<anyhow::Result<_>>()?;
    let mut receipts = Vec::new();
    for path in &arguments.receipt {
        for line in read(path)?.lines().filter(|line| !line.trim().is_empty()) {
            receipts.push(parse_receipt(line).with_context(|| format!("{path:?} holds no receipt"))?);
        }
    }
    let k0 = match &arguments.k0 {
        Some(path) => match hash_from_hex(read(path)?.trim()) {
            Some(k0) => Some(k0),
            None => bail!("{path:?} does not hold 64 hex digits"),
        },
        None => None,
    };
    Ok(Anchors { key, checkpoints, receipts, k0, expect_size: arguments.expect_size })
}

pub(super) fn read_key(key: &str) -> anyhow::Result<VerifierKey> {
    let text = if Path::new(key).exists() { std::fs::read_to_string(key)? } else { key.to_owned() };
    text.trim()
        .parse()
        .with_context(|| format!("{key:?} is no public key of a log, nor a file that holds one"))
}

fn parse_receipt(line: &str) -> anyhow::Result<Receipt> {
    let text: ReceiptText = serde_json::from_str(line)?;
    let (Some(log_id), Some(hash)) = (hash_from_hex(&text.log), hash_from_hex(&text.hash)) else {
        bail!("log and hash are 64 hex digits each");
    };
    Ok(Receipt { log_id, seq: text.seq, hash })
}

fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "every byte is as it was written, as far as the anchor reaches",
        Verdict::Recovered => "intact; a crash was recovered from and the log says so",
        Verdict::Tampered => "bytes were changed, inserted or removed",
        Verdict::Truncated => "the end of the log is missing",
        Verdict::Corrupt => "damage at the end that a crash cannot explain",
        Verdict::Unanchored => {
            "consistent with itself only: give --key, --anchor, --receipt or --k0 to prove more"
        }
        Verdict::Fork => "two signed histories that cannot both be true",
        Verdict::EpochGap => "an epoch is missing or was sealed again",
        Verdict::Unclean => "intact up to what a crash leaves behind; start the server to recover it",
    }
}

fn print(report: &Report) {
    anstream::println!("{}: {}", report.verdict, meaning(report.verdict));
    for bad in report.findings.iter().take(10) {
        anstream::println!("  {}: {bad}", bad.verdict);
    }
    if report.findings.len() > 10 {
        anstream::println!("  and {} more", report.findings.len() - 10);
    }
    anstream::println!("  log          {} ({})", hex(&report.log_id), report.origin);
    anstream::println!(
        "  checked      {} entries, {} groups in all, {} segments, {} bytes, {} runs, {} epochs",
        report.entries.saturating_sub(report.checked_from),
        report.groups,
        report.segments,
        report.bytes,
        report.runs,
        report.epochs
    );
    if report.checked_from > 0 {
        anstream::println!("  checked from entry {} on, and nothing before it", report.checked_from);
    }
    anstream::println!("  root         {}", hex(&report.root));
    anstream::println!(
        "  checkpoints  {} of its own, the last over {} entries",
        report.checkpoints,
        report.checkpointed_entries
    );
    anstream::println!("  anchors      {}", reach(report.anchored_entries, report.entries));
    if let Some(pruned) = &report.pruned {
        anstream::println!(
            "  pruned       entries before {}, as entry {} of {} says (it keeps from entry {})",
            pruned.first_seq,
            pruned.seq,
            format_utc(UnixNanos(pruned.utc_ns)),
            pruned.keeps_from
        );
    }
    for found in &report.recoveries {
        anstream::println!("  recovery     entry {} at {}", found.seq, format_utc(UnixNanos(found.utc_ns)));
    }
    if report.live {
        anstream::println!("  live         its writer is at work; checked up to its last complete group");
    }
    for stray in &report.strays {
        anstream::println!("  stray file   {stray:?}");
    }
    for what in &report.not_checked {
        anstream::println!("  not checked  {what}");
    }
}

/// How far the anchors reach.
fn reach(anchored: u64, entries: u64) -> String {
    match (anchored, entries) {
        (0, _) => "vouch for no entry: everything is consistent with itself only".to_owned(),
        (anchored, entries) if anchored >= entries => format!("vouch for all entries up to {}", entries - 1),
        (anchored, entries) => format!(
            "vouch for entries up to {}; the {} after them are consistent with themselves only",
            anchored - 1,
            entries - anchored
        ),
    }
}

fn print_json(report: &Report) {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|bad| {
            serde_json::json!({
                "verdict": bad.verdict.to_string(), "seq": bad.seq, "what": bad.what,
                "until": bad.until, "file": bad.file, "offset": bad.offset,
            })
        })
        .collect();
    let object = serde_json::json!({
        "verdict": report.verdict.to_string(),
        "findings": findings,
        "log": hex(&report.log_id),
        "origin": report.origin,
        "entries": report.entries,
        "root": hex(&report.root),
        "groups": report.groups,
        "segments": report.segments,
        "bytes": report.bytes,
        "checkpoints": report.checkpoints,
        "checkpointed_entries": report.checkpointed_entries,
        "anchored_entries": report.anchored_entries,
        "checked_from": report.checked_from,
        "exit_code": report.verdict.exit_code(),
        "pruned": report.pruned.map(|pruned| serde_json::json!({
            "first": pruned.first_seq, "seq": pruned.seq, "utc_ns": pruned.utc_ns, "keeps_from": pruned.keeps_from,
        })),
        "recoveries": report.recoveries.iter().map(|found| found.seq).collect::<Vec<_>>(),
        "epochs": report.epochs,
        "runs": report.runs,
        "stopped": report.stopped,
        "live": report.live,
        "strays": report.strays,
        "not_checked": report.not_checked,
    });
    anstream::println!("{object}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_never_claims_more_than_the_anchors_reach() {
        assert!(reach(0, 9).contains("itself only"));
        assert_eq!(reach(9, 9), "vouch for all entries up to 8");
        assert_eq!(
            reach(4, 9),
            "vouch for entries up to 3; the 5 after them are consistent with themselves only"
        );
    }

    #[test]
    fn rates_are_of_the_whole_time_and_zero_time_is_no_error() {
        let progress = Progress { entries: 3_000, bytes: 8_000_000, bytes_total: 9_000_000 };
        assert_eq!(rates(progress, Duration::from_secs(2)), "1500 entries/s 4 MB/s");
        assert!(rates(progress, Duration::ZERO).contains("entries/s"));
    }
}
