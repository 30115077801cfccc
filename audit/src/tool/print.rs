//! A report as text for people and as one JSON object for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::utc;
use crate::chain::hex;
use crate::verify::{Report, TapeFound, Verdict};

/// Findings shown in the text; the JSON has all.
const FINDINGS_SHOWN: usize = 10;

/// What a verdict says, in words.
const fn meaning(verdict: Verdict) -> &'static str {
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

/// The report in words, several lines, the last ending in a newline. What comes from the log's files is escaped.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut lines = vec![format!("{}: {}", report.verdict, meaning(report.verdict))];
    let shown = report.findings.iter().take(FINDINGS_SHOWN);
    lines.extend(shown.map(|bad| format!("  {}: {}", bad.verdict, escaped(&bad.to_string()))));
    if report.findings.len() > FINDINGS_SHOWN {
        lines.push(format!("  and {} more", report.findings.len() - FINDINGS_SHOWN));
    }
    lines.push(format!("  log          {} ({})", hex(&report.log_id), escaped(&report.origin)));
    lines.push(format!(
        "  checked      {} entries, {} groups in all, {} segments, {} bytes, {} runs, {} epochs",
        report.entries.saturating_sub(report.checked_from),
        report.groups,
        report.segments,
        report.bytes,
        report.runs,
        report.epochs
    ));
    if report.checked_from > 0 {
        lines.push(format!("  checked from entry {} on, and nothing before it", report.checked_from));
    }
    lines.push(format!("  root         {}", hex(&report.root)));
    lines.push(format!(
        "  checkpoints  {} of its own, the last over {} entries",
        report.checkpoints, report.checkpointed_entries
    ));
    lines.push(format!("  anchors      {}", reach(report.anchored_entries, report.entries)));
    if let Some(pruned) = &report.pruned {
        let (first, seq, at, keeps) = (pruned.first_seq, pruned.seq, utc(pruned.utc_ns), pruned.keeps_from);
        lines.push(format!(
            "  pruned       entries before {first}, as entry {seq} of {at} says (it keeps from entry {keeps})"
        ));
    }
    let recoveries = report.recoveries.iter();
    lines.extend(
        recoveries.map(|found| format!("  recovery     entry {} at {}", found.seq, utc(found.utc_ns))),
    );
    if let Some(tape) = &report.tape {
        let TapeFound { log_id, links, size, links_unchecked, other_links } = *tape;
        lines.push(format!(
            "  tape         {}: {links} links agree with it, the last over {size} entries",
            hex(&log_id)
        ));
        if links_unchecked + other_links > 0 {
            lines.push(format!(
                "  not checked  {links_unchecked} links below or behind what the tape holds, {other_links} links to other tapes"
            ));
        }
    }
    if report.live {
        lines.push("  live         its writer is at work; checked up to its last complete group".to_owned());
    }
    lines.extend(report.strays.iter().map(|stray| format!("  stray file   {stray:?}")));
    lines.extend(report.not_checked.iter().map(|what| format!("  not checked  {what}")));
    lines.join("\n") + "\n"
}

/// The report as one JSON object, on one line, without a newline.
#[must_use]
pub fn json(report: &Report) -> String {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|bad| {
            json!({
                "verdict": bad.verdict.to_string(), "seq": bad.seq, "what": bad.what,
                "until": bad.until, "file": bad.file, "offset": bad.offset,
            })
        })
        .collect();
    let pruned = report.pruned.map(|pruned| {
        json!({
            "first": pruned.first_seq, "seq": pruned.seq, "utc_ns": pruned.utc_ns, "keeps_from": pruned.keeps_from,
        })
    });
    let tape = report.tape.map(|tape| {
        json!({
            "log": hex(&tape.log_id), "links": tape.links, "size": tape.size,
            "links_unchecked": tape.links_unchecked, "other_links": tape.other_links,
        })
    });
    let object = json!({
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
        "pruned": pruned,
        "recoveries": report.recoveries.iter().map(|found| found.seq).collect::<Vec<_>>(),
        "epochs": report.epochs,
        "runs": report.runs,
        "stopped": report.stopped,
        "live": report.live,
        "tape": tape,
        "strays": report.strays,
        "not_checked": report.not_checked,
    });
    object.to_string()
}

/// How far the anchors reach.
fn reach(anchored: u64, entries: u64) -> String {
    match (anchored, entries) {
        (0, _) => "vouch for no entry: everything is consistent with itself only".to_owned(),
        (anchored, entries) if anchored >= entries => {
            format!("vouch for all entries up to {}", entries.saturating_sub(1))
        }
        (anchored, entries) => format!(
            "vouch for entries up to {}; the {} after them are consistent with themselves only",
            anchored - 1,
            entries - anchored
        ),
    }
}

/// A text that may come from a damaged file, safe to show on a terminal.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            let _ = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
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
    fn nothing_from_a_file_reaches_the_terminal_as_a_control_character() {
        assert_eq!(escaped("a\u{1b}[2Jb\nc\u{e9}"), "a\\u{1b}[2Jb\\nc\u{e9}");
    }
}
