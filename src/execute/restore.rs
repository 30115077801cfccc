//! The state in which the runs before ended, rebuilt from the log: a snapshot, and the execution of every input behind it.
//!
//! What is executed is compared with what the log says, as always: a log whose outputs are not what its inputs give is no base to trade
//! on. Execution begins some way before the end even where a snapshot stands there, so that the newest execution reports can be told
//! again, too.

use std::path::Path;

use sealfeed_audit::Hash;
use sealfeed_audit::reader::{self, Entry, ReadError, entries_from};

use super::replay::{Due, Followed, Verdict, follow};
use super::{Engine, ReportMessage};
use crate::journal::{self, Event, state};
use crate::venue::RULES;

/// Inputs behind the beginning, if there are so many: their reports can be told again.
const INPUTS_KEPT: u64 = 100_000;
/// So many segments are looked through for a beginning that far back; then the best one found has to do.
const SEGMENTS_SEARCHED: usize = 4;
/// Rules under which no state outlived a run.
const RULES_WITHOUT_STATE: u32 = 1;

/// What the runs before left.
pub struct Restored {
    /// The state, the outputs below included.
    pub engine: Engine,
    /// Outputs that a crash kept from the log, in order: to be written before anything else happens.
    pub due: Vec<Due>,
    /// The newest execution reports, in order.
    pub told: Vec<ReportMessage>,
    /// Inputs that the last snapshot covers.
    pub snapshot_at: u64,
    /// Where execution began, and how much was executed.
    pub from: u64,
    /// Inputs executed.
    pub inputs: u64,
}

/// Why there is nothing to go on from. The server does not start: what it would do could contradict what was answered.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Read(#[from] ReadError),
    /// What stands in the log is not what its inputs give.
    #[error(
        "entry {seq} is not what the inputs before it give ({how}); see `sealfeed audit replay --execute`"
    )]
    Diverged {
        /// Which entry.
        seq: u64,
        /// In which way.
        how: String,
    },
    /// It cannot be executed.
    #[error("entry {seq} cannot be executed: {why}")]
    Refused {
        /// Which entry.
        seq: u64,
        /// Why.
        why: String,
    },
    /// There were orders, and the log's kept part has nothing that an execution could begin with.
    #[error(
        "the log's kept part, from entry {first}, has orders and neither the beginning of their venue nor a snapshot of it; put the pruned segments back, or start with a new log"
    )]
    NoBeginning {
        /// First entry that is kept.
        first: u64,
    },
    /// Other rules.
    #[error(
        "the venue ran under rules {rules} and did not stop in good order; start and stop the version that wrote the log once, then this one (rules {RULES})"
    )]
    OtherRules {
        /// Under which it ran.
        rules: u32,
    },
}

/// Rebuilds the state from the log in `directory`, whose identifier is `log`; `None` where no venue has left any. At most
/// `told_bytes_max` of reports are kept.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(directory: &Path, log: Hash, told_bytes_max: usize) -> Result<Option<Restored>, RestoreError> {
    let Some(beginning) = find_beginning(directory)? else { return Ok(None) };
    let from = match beginning {
        Beginning::At(seq) => seq,
        Beginning::OtherRules { rules: RULES_WITHOUT_STATE, snapshot: None } => return Ok(None),
        Beginning::OtherRules { rules, snapshot } => snapshot.ok_or(RestoreError::OtherRules { rules })?,
    };
    let Followed { report, engine, due, told, snapshot_at } =
        follow(entries_from(directory, from)?, log, told_bytes_max)?;
    match report.verdict {
        Verdict::Verified => {}
        Verdict::Diverged(found) => {
            return Err(RestoreError::Diverged { seq: found.seq, how: found.how.to_string() });
        }
        Verdict::Refused { seq, why } => return Err(RestoreError::Refused { seq, why }),
    }
    if let Beginning::OtherRules { rules, .. } = beginning
        && report.inputs > 0
    {
        return Err(RestoreError::OtherRules { rules });
    }
    let inputs = report.inputs;
    Ok(engine.map(|engine| Restored { engine, due, told, snapshot_at, from, inputs }))
}

/// Where execution may begin.
#[derive(Clone, Copy)]
enum Beginning {
    /// At this entry: the beginning of a venue, or the first part of a snapshot.
    At(u64),
    /// Everything ran under other rules. Their last snapshot is good if no input stands behind it.
    OtherRules { rules: u32, snapshot: Option<u64> },
}

/// What a segment has that matters here, in order.
enum Mark {
    Born {
        seq: u64,
        rules: u32,
    },
    GoesOn {
        rules: u32,
    },
    Snapshot {
        seq: u64,
        inputs: u64,
        rules: u32,
    },
    /// Somebody ordered; told once.
    Input,
}

fn find_beginning(directory: &Path) -> Result<Option<Beginning>, RestoreError> {
    let segments = reader::segments(directory)?;
    let mut last_inputs = None;
    let mut best = None;
    let mut has_state = false;
    for (place, first) in segments.iter().enumerate().rev() {
        let next = segments.get(place + 1).copied().unwrap_or(u64::MAX);
        for mark in marks(directory, *first, next)?.into_iter().rev() {
            match mark {
                Mark::Born { seq, rules: RULES } => return Ok(Some(Beginning::At(seq))),
                Mark::Snapshot { seq, inputs, rules: RULES } => {
                    let last = *last_inputs.get_or_insert(inputs);
                    best = Some(Beginning::At(seq));
                    if inputs.saturating_add(INPUTS_KEPT) <= last {
                        return Ok(best);
                    }
                }
                Mark::GoesOn { rules: RULES } | Mark::Input => has_state = true,
                Mark::Snapshot { seq, rules, .. } => {
                    return Ok(best.or(Some(Beginning::OtherRules { rules, snapshot: Some(seq) })));
                }
                Mark::Born { rules, .. } | Mark::GoesOn { rules } => {
                    return Ok(best.or(Some(Beginning::OtherRules { rules, snapshot: None })));
                }
            }
        }
        if best.is_some() && segments.len() - place >= SEGMENTS_SEARCHED {
            break;
        }
    }
    match (best, segments.first()) {
        // Before its beginning a log holds no orders, unless an older program wrote it, which kept no state.
        (None, Some(first)) if has_state && *first > 0 => Err(RestoreError::NoBeginning { first: *first }),
        (best, _) => Ok(best),
    }
}

/// The marks of the segment from `first` up to `next`; a snapshot that begins in it is read to its end.
fn marks(directory: &Path, first: u64, next: u64) -> Result<Vec<Mark>, ReadError> {
    let mut marks = Vec::new();
    let mut bytes = Vec::new();
    let mut begun = None;
    let mut has_input = false;
    for entry in entries_from(directory, first)? {
        let Entry { header, payload, .. } = entry?;
        if header.seq >= next && begun.is_none() {
            break;
        }
        match journal::decode(header.kind, header.schema, &payload) {
            Ok(Some(Event::Venue(venue))) => {
                let rules = venue.rules;
                marks.push(if venue.continues {
                    Mark::GoesOn { rules }
                } else {
                    Mark::Born { seq: header.seq, rules }
                });
            }
            Ok(Some(Event::Snapshot(part))) => {
                if part.part == 0 && header.seq < next {
                    begun = Some(header.seq);
                    bytes.clear();
                }
                let Some(seq) = begun else { continue };
                bytes.extend(part.bytes.0);
                if part.part + 1 >= part.parts {
                    if let Ok(state) = state::State::decode(&bytes) {
                        marks.push(Mark::Snapshot { seq, inputs: state.inputs, rules: state.rules });
                    }
                    begun = None;
                }
            }
            Ok(Some(Event::Order(_) | Event::Owner(_))) if !has_input => {
                has_input = true;
                marks.push(Mark::Input);
            }
            _ => {}
        }
    }
    Ok(marks)
}
