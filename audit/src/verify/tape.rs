//! Whether another log, such as the tape, is still what this log's links say it was.
//!
//! Both are read once, side by side, group by group: every `TAPE_LINK` of the one against the tree of the other at the size that the link
//! states. Memory is that of two readers, whatever the lengths. It proves nothing about the other log beyond its last link; its own
//! verification does.

use std::path::Path;
use std::sync::Arc;

use crate::chain::hex;
use crate::follow::Follower;
use crate::kind;
use crate::payload::TapeLink;
use crate::reader::{Entries, ReadError};
use crate::storage::{DiskStorage, Storage};
use crate::verify::report::{Bad, Report, TapeFound, Verdict};
use crate::verify::{VerifyError, short};

/// Compares the links in the log of `folder`, which `report` is about, with the log in `tape`; adds what it finds to `report`.
///
/// # Errors
/// [`VerifyError`]: there is no tape, or one of the two cannot be read. A tape whose bytes do not continue each other is a finding.
pub fn verify_tape(report: &mut Report, folder: &Path, tape: &Path) -> Result<(), VerifyError> {
    verify_tape_storage(report, Arc::new(DiskStorage::new(folder)), Arc::new(DiskStorage::new(tape)))
}

/// As [`verify_tape`], on any storage.
///
/// # Errors
/// As [`verify_tape`].
pub fn verify_tape_storage(
    report: &mut Report,
    log: Arc<dyn Storage>,
    tape: Arc<dyn Storage>,
) -> Result<(), VerifyError> {
    // The links first: whatever they state, the tape must have by the time it is read.
    let end = report.entries;
    let entries = Entries::new(log, report.checked_from).map_err(|error| unreadable("segments", error))?;
    let follower = Follower::on_storage(tape, 0).map_err(|error| unreadable("(tape)", error))?;
    let mut walk = Walk { first: follower.tree().size(), follower, broken: false, found: Vec::new() };
    let mut tapes = TapeFound { log_id: walk.follower.header().log_id, ..TapeFound::default() };
    let mut last_log = None;
    for entry in entries {
        // What is wrong with the log itself was found by its verification.
        let Ok(entry) = entry else { break };
        if entry.header.seq >= end {
            break;
        }
        if entry.header.kind != kind::TAPE_LINK {
            continue;
        }
        let seq = entry.header.seq;
        let Some(link) = TapeLink::from_payload(&entry.payload) else {
            walk.bad(Verdict::Tampered, seq, "payload of a TAPE_LINK is not readable".to_owned());
            continue;
        };
        last_log = Some((seq, link.log));
        if link.log != tapes.log_id {
            tapes.other_links += 1;
        } else if walk.compare(seq, &link)? {
            (tapes.links, tapes.size) = (tapes.links + 1, link.size);
        } else {
            tapes.links_unchecked += 1;
        }
    }
    if let Some((seq, log)) = last_log.filter(|(_, log)| *log != tapes.log_id) {
        let what = format!("last link is to another tape, {}", short(&log));
        walk.bad(Verdict::Tampered, seq, what);
    }
    conclude(report, walk.found, tapes);
    Ok(())
}

struct Walk {
    follower: Follower,
    /// First entry there is.
    first: u64,
    /// Nothing behind here continues what is before.
    broken: bool,
    found: Vec<Bad>,
}

impl Walk {
    fn bad(&mut self, verdict: Verdict, seq: u64, what: String) {
        self.found.push(Bad { verdict, seq, until: None, what, file: "(tape)".to_owned(), offset: None });
    }

    /// Reads on to the size of a link and compares; false where that size was pruned or lies behind what is broken.
    fn compare(&mut self, seq: u64, link: &TapeLink) -> Result<bool, VerifyError> {
        if link.size < self.first || self.broken {
            return Ok(false);
        }
        while self.follower.tree().size() < link.size {
            match self.follower.next_group(|_, _, _| {}) {
                Ok(true) => {}
                Ok(false) => {
                    let size = self.follower.tree().size();
                    self.broken = true;
                    self.bad(
                        Verdict::Truncated,
                        seq,
                        format!("the tape has {size} good entries, and this links {} of them", link.size),
                    );
                    return Ok(false);
                }
                Err(ReadError::Io { file, source }) => return Err(VerifyError::Io { file, source }),
                // Its own verification says what it is.
                Err(error) => {
                    self.broken = true;
                    self.bad(
                        Verdict::Truncated,
                        seq,
                        format!("the tape is damaged before this link: {error}"),
                    );
                    return Ok(false);
                }
            }
        }
        let tree = self.follower.tree();
        if tree.size() != link.size || tree.root() != link.root {
            let what = format!(
                "the tape differs from what this links: {} entries, root {}",
                link.size,
                hex(&link.root)
            );
            self.bad(Verdict::Tampered, seq, what);
        }
        Ok(true)
    }
}

fn unreadable(file: &str, error: ReadError) -> VerifyError {
    match error {
        ReadError::NoLog => VerifyError::NoTape,
        ReadError::Io { file, source } => VerifyError::Io { file, source },
        other => VerifyError::Io { file: file.to_owned(), source: std::io::Error::other(other) },
    }
}

/// Adds the findings and lets them decide with the others.
fn conclude(report: &mut Report, found: Vec<Bad>, tape: TapeFound) {
    let rank = |verdict: Verdict| Verdict::BY_PRECEDENCE.iter().position(|one| *one == verdict);
    if let Some(worst) = found.iter().min_by_key(|bad| (rank(bad.verdict), bad.seq))
        && rank(worst.verdict) < rank(report.verdict)
    {
        report.verdict = worst.verdict;
        report.first_bad = Some(worst.clone());
    }
    report.findings.extend(found);
    report.tape = Some(tape);
}
