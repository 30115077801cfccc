//! Whether another log, such as the tape, is still what this log's links say it was.
//!
//! It is read twice. First beside this log, group by group: every `TAPE_LINK` against the tree at the size that the link states. Then it is
//! verified as any other log, with its own key and the largest of these sizes as one it must have: what is wrong with it before that size is
//! a finding here too, with the verdict that the damage has. Memory is that of two readers, whatever the lengths. It proves nothing about
//! the other log beyond its last link; its own verification does.

use std::path::Path;
use std::sync::Arc;

use crate::chain::hex;
use crate::follow::Follower;
use crate::kind;
use crate::payload::TapeLink;
use crate::reader::{Entries, ReadError};
use crate::storage::{DiskStorage, Storage};
use crate::verify::report::{Bad, Report, TapeFound, Verdict};
use crate::verify::{Anchors, VerifyError, short, verify_storage};

/// What a file of the tape is named under in findings.
const TAPE: &str = "(tape)";

/// Compares the links in the log of `folder`, which `report` is about, with the log in `tape`; adds what it finds to `report`.
///
/// # Errors
/// [`VerifyError`]: there is no tape, or one of the two cannot be read. A tape whose bytes do not continue each other is a finding.
pub fn verify_tape(report: &mut Report, folder: &Path, tape: &Path) -> Result<(), VerifyError> {
    let (folder, tape): (Arc<dyn Storage>, Arc<dyn Storage>) =
        (Arc::new(DiskStorage::new(folder)), Arc::new(DiskStorage::new(tape)));
    verify_tape_storage(report, folder, &tape)
}

/// As [`verify_tape`], on any storage.
///
/// # Errors
/// As [`verify_tape`].
pub fn verify_tape_storage(
    report: &mut Report,
    log: Arc<dyn Storage>,
    tape: &Arc<dyn Storage>,
) -> Result<(), VerifyError> {
    // The links first: whatever they state, the tape must have by the time it is read.
    let entries = Entries::new(log, report.checked_from)
        .map_err(|error| unreadable("segments", error, VerifyError::NoLog))?;
    let mut walk = Walk::new(tape)?;
    walk.links(entries, report.entries)?;
    let expect_size = Some(walk.size_linked).filter(|size| *size > 0);
    let anchors = Anchors { expect_size, ..Anchors::default() };
    let own = match verify_storage(&**tape, &anchors, &mut |_| {}) {
        Err(VerifyError::NoLog) => return Err(VerifyError::NoTape),
        Err(VerifyError::Io { file, source }) => {
            return Err(VerifyError::Io { file: in_tape(&file), source });
        }
        other => other?,
    };
    let is_known = walk.follower.is_some();
    let damage = own.findings.iter().filter(|bad| bad.seq < walk.size_linked || !is_known);
    let damage: Vec<Bad> = damage.map(of_tape).collect();
    if let Some((seq, size)) = walk.not_reached
        && damage.is_empty()
    {
        walk.bad(
            Verdict::Truncated,
            seq,
            format!("the tape does not reach the {size} entries that this links"),
        );
    }
    walk.found.extend(damage);
    conclude(report, walk.found, walk.tape);
    Ok(())
}

/// The links against the tree of the tape.
struct Walk {
    /// `None` where the header of the tape's first segment is damaged: nobody knows which log it is.
    follower: Option<Follower>,
    /// First entry there is.
    first: u64,
    /// Nothing behind here continues what is before.
    broken: bool,
    /// The first link that the tape does not reach, and the size it states.
    not_reached: Option<(u64, u64)>,
    /// Largest size that a link to this tape states.
    size_linked: u64,
    tape: TapeFound,
    found: Vec<Bad>,
}

impl Walk {
    fn new(tape: &Arc<dyn Storage>) -> Result<Self, VerifyError> {
        let follower = match Follower::on_storage(Arc::clone(tape), 0) {
            Ok(follower) => Some(follower),
            Err(ReadError::Segment { .. } | ReadError::Broken { .. }) => None,
            Err(error) => return Err(unreadable("(tape)", error, VerifyError::NoTape)),
        };
        let (first, log_id) = follower
            .as_ref()
            .map_or((0, [0; 32]), |follower| (follower.tree().size(), follower.header().log_id));
        let tape = TapeFound { log_id, ..TapeFound::default() };
        Ok(Self {
            follower,
            first,
            broken: false,
            not_reached: None,
            size_linked: 0,
            tape,
            found: Vec::new(),
        })
    }

    fn bad(&mut self, verdict: Verdict, seq: u64, what: String) {
        self.found.push(Bad { verdict, seq, until: None, what, file: TAPE.to_owned(), offset: None });
    }

    /// Compares the links among these entries, up to `end`.
    fn links(&mut self, entries: Entries, end: u64) -> Result<(), VerifyError> {
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
                self.bad(Verdict::Tampered, seq, "payload of a TAPE_LINK is not readable".to_owned());
                continue;
            };
            last_log = Some((seq, link.log));
            if self.follower.is_none() || link.log != self.tape.log_id {
                self.tape.other_links += 1;
                continue;
            }
            self.size_linked = self.size_linked.max(link.size);
            if self.compare(seq, &link)? {
                (self.tape.links, self.tape.size) = (self.tape.links + 1, link.size);
            } else {
                self.tape.links_unchecked += 1;
            }
        }
        if let Some((seq, log)) = last_log
            && self.follower.is_some()
            && log != self.tape.log_id
        {
            self.bad(Verdict::Tampered, seq, format!("last link is to another tape, {}", short(&log)));
        }
        Ok(())
    }

    /// Reads on to the size of a link and compares; false where that size was pruned or is not reached.
    fn compare(&mut self, seq: u64, link: &TapeLink) -> Result<bool, VerifyError> {
        let Some(follower) = self.follower.as_mut().filter(|_| link.size >= self.first && !self.broken)
        else {
            return Ok(false);
        };
        while follower.tree().size() < link.size {
            match follower.next_group(|_, _, _| {}) {
                Ok(true) => {}
                Err(ReadError::Io { file, source }) => {
                    return Err(VerifyError::Io { file: in_tape(&file), source });
                }
                // Whether it was cut or damaged, its own verification says.
                Ok(false) | Err(_) => {
                    (self.broken, self.not_reached) = (true, Some((seq, link.size)));
                    return Ok(false);
                }
            }
        }
        if follower.tree().size() != link.size || follower.tree().root() != link.root {
            let root = hex(&link.root);
            let what = format!("the tape differs from what this links: {} entries, root {root}", link.size);
            self.bad(Verdict::Tampered, seq, what);
        }
        Ok(true)
    }
}

/// A finding in the tape, told to somebody who asked about the log.
fn of_tape(bad: &Bad) -> Bad {
    Bad { what: format!("of the tape: {}", bad.what), file: in_tape(&bad.file), ..bad.clone() }
}

fn in_tape(file: &str) -> String {
    format!("{TAPE}/{file}")
}

fn unreadable(file: &str, error: ReadError, none: VerifyError) -> VerifyError {
    match error {
        ReadError::NoLog => none,
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
