//! How long a log is kept, what keeps it longer, and how its beginning leaves.
//!
//! Only whole segments leave, only from the beginning, and only after a `PRUNE` entry that names the first entry kept and the tree
//! before it is durable and under a checkpoint. A chain cannot lose single entries, so a segment is kept as long as the strictest of its
//! kinds demands. A legal hold, a missing seal, a missing copy or anything that does not verify keeps it and all behind it.
//!
//! For a log whose writer is not at work: the lock is taken for as long as something is done.

mod copy;
mod prune;
mod survey;

pub use copy::{SealedFile, checkpoints_up_to, read_sealed};
pub use prune::{Pruned, prune};
pub use survey::HoldInForce;

use std::io;
use std::sync::Arc;

use crate::entry::Draft;
use crate::error::{AppendError, Failure, OpenError};
use crate::kind::{self, Kind};
use crate::layout::{LOCK, seal_path, segment_path};
use crate::log::Log;
use crate::options::Options;
use crate::payload::{Hold, Stored};
use crate::reader::ReadError;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};
use crate::storage::{Access, Storage};
use crate::verify::{Report, Verdict, VerifyError};
use survey::{SegmentFacts, Survey};

/// How long entries of some kinds are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Which kinds.
    pub kinds: Vec<Kind>,
    /// For how long after they were written, nanoseconds.
    pub keep_ns: u64,
}

/// How long a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Kinds that no class names are kept for this long, nanoseconds.
    pub default_keep_ns: u64,
    /// Classes; of several that name a kind the longest holds.
    pub classes: Vec<Class>,
    /// Only what a `STORED` entry says was copied elsewhere may leave.
    pub require_stored: bool,
}

impl Policy {
    /// How long a segment is kept after its newest entry: the strictest of its kinds decides.
    fn keep_ns(&self, segment: &SegmentFacts) -> u64 {
        let of_kind = |kind: &Kind| {
            let classes = self.classes.iter().filter(|class| class.kinds.contains(kind));
            classes.map(|class| class.keep_ns).max().unwrap_or(self.default_keep_ns)
        };
        segment.kinds.iter().map(of_kind).max().unwrap_or(self.default_keep_ns)
    }
}

/// Why a segment, and with it all behind it, stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is the last one.
    #[error("it is the last segment")]
    Last,
    /// It has no seal.
    #[error("it has no seal")]
    Unsealed,
    /// Its newest entry has not been kept long enough.
    #[error("it is kept until {until_utc_ns} ns after 1970 (UTC)")]
    TooYoung {
        /// When it may leave, UTC nanoseconds.
        until_utc_ns: u64,
    },
    /// A legal hold.
    #[error("the legal hold {name:?} of entry {seq} keeps it")]
    Held {
        /// Name of the hold.
        name: String,
        /// The entry that set it.
        seq: u64,
    },
    /// The policy demands a copy, and no entry says that there is one.
    #[error("no copy of it was stored elsewhere")]
    NotStored,
}

/// What may leave now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// First entries of the segments that may leave, ascending.
    pub leaving: Vec<u64>,
    /// First entry kept.
    pub kept: u64,
    /// Why the first segment kept stays.
    pub reason: Reason,
    /// Legal holds in force.
    pub holds: Vec<HoldInForce>,
}

/// Why nothing, or not all, was done.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The log cannot be read.
    #[error("could not read the log")]
    Read(#[from] ReadError),
    /// The log cannot be verified.
    #[error("could not verify the log")]
    Verify(#[from] VerifyError),
    /// It does not verify: nothing leaves.
    #[error("the log is {}, so nothing leaves it", .0.verdict)]
    NotVerified(Box<Report>),
    /// Its writer is at work.
    #[error("a server is at work on the log: stop it first")]
    Locked,
    /// It cannot be opened for writing.
    #[error("could not open the log")]
    Open(#[source] OpenError),
    /// The entry cannot be written.
    #[error("could not write to the log")]
    Append(#[from] AppendError),
    /// The log failed.
    #[error("the log failed")]
    Failed(#[from] Failure),
    /// A header cannot be used.
    #[error("could not use the header of the segment that starts with entry {0}")]
    Segment(u64, #[source] SegmentError),
    /// A sealed segment is not what its seal says.
    #[error("the segment that starts with entry {0} is not what its seal says: verify the log")]
    Seal(u64),
    /// What a `PRUNE` entry declared is not what is there.
    #[error("entry {0} is declared as the first one kept, and what is there is another tree: verify the log")]
    AnotherTree(u64),
    /// What was declared pruned is under a hold now.
    #[error("what was declared pruned is kept now: {0}")]
    HeldNow(Reason),
    /// A text of a hold is empty, too long, or has control characters, or its range is empty.
    #[error("a name, a reason or a range of the hold cannot be used")]
    Hold,
    /// No hold of this name is in force.
    #[error("no hold of the name {0:?} is in force")]
    NoSuchHold(String),
    /// The disk refused.
    #[error("could not {what}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// What may leave a log under `policy` at the moment `now_utc_ns`. Reads every entry, checks the chain, writes nothing.
///
/// # Errors
/// The log cannot be read.
pub fn plan(storage: &Arc<dyn Storage>, policy: &Policy, now_utc_ns: u64) -> Result<Plan, RetentionError> {
    plan_of(storage, &Survey::of(storage)?, policy, now_utc_ns)
}

fn plan_of(
    storage: &Arc<dyn Storage>,
    survey: &Survey,
    policy: &Policy,
    now_utc_ns: u64,
) -> Result<Plan, RetentionError> {
    let mut leaving = Vec::new();
    for (place, segment) in survey.segments.iter().enumerate() {
        let is_last = place + 1 == survey.segments.len();
        let reason =
            if is_last { Some(Reason::Last) } else { stays(storage, survey, policy, segment, now_utc_ns)? };
        match reason {
            None => leaving.push(segment.first),
            Some(reason) => {
                return Ok(Plan { leaving, kept: segment.first, reason, holds: survey.holds.clone() });
            }
        }
    }
    Err(RetentionError::Read(ReadError::NoLog))
}

fn stays(
    storage: &Arc<dyn Storage>,
    survey: &Survey,
    policy: &Policy,
    segment: &SegmentFacts,
    now_utc_ns: u64,
) -> Result<Option<Reason>, RetentionError> {
    let seal = seal_path(segment.first);
    match storage.open(&seal, Access::Read) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Reason::Unsealed)),
        Err(source) => return Err(RetentionError::Io { what: format!("open {seal}"), source }),
    }
    if let Some(held) = survey.held(segment) {
        return Ok(Some(Reason::Held { name: held.hold.name.clone(), seq: held.seq }));
    }
    let until_utc_ns = segment.newest_utc_ns.saturating_add(policy.keep_ns(segment));
    if now_utc_ns < until_utc_ns {
        return Ok(Some(Reason::TooYoung { until_utc_ns }));
    }
    let is_stored = || {
        let copies = survey.stored.get(&segment.first).into_iter().flatten();
        copies.into_iter().any(|copy| copy.end == segment.end)
    };
    Ok((policy.require_stored && !is_stored()).then_some(Reason::NotStored))
}

/// Sets or lifts a legal hold; returns the entry that says so, durable.
///
/// # Errors
/// The log is at work, cannot be read or opened; the hold's texts cannot be used; there is no such hold to lift.
pub fn hold(storage: &Arc<dyn Storage>, options: Options, hold: &Hold) -> Result<u64, RetentionError> {
    let payload = hold.to_payload().ok_or(RetentionError::Hold)?;
    let survey = Survey::of(storage)?;
    if hold.range.is_none() && !survey.holds.iter().any(|other| other.hold.name == hold.name) {
        return Err(RetentionError::NoSuchHold(hold.name.clone()));
    }
    append_alone(storage, options, Draft { kind: kind::HOLD, payload, ..Draft::default() })
}

/// Holds in force.
///
/// # Errors
/// The log cannot be read.
pub fn holds(storage: &Arc<dyn Storage>) -> Result<Vec<HoldInForce>, RetentionError> {
    Ok(Survey::of(storage)?.holds)
}

/// Records that a segment was copied elsewhere; returns the entry, durable.
///
/// # Errors
/// The log is at work or cannot be opened.
pub fn record_stored(
    storage: &Arc<dyn Storage>,
    options: Options,
    copies: &[Stored],
) -> Result<(), RetentionError> {
    let log = open(storage, options)?;
    for copy in copies {
        log.append(Draft { kind: kind::STORED, payload: copy.to_payload(), ..Draft::default() })?;
    }
    Ok(log.stop()?)
}

/// Sealed segments and what entries say of their copies: first entry, one past the last, places.
///
/// # Errors
/// The log cannot be read.
pub fn sealed(storage: &Arc<dyn Storage>) -> Result<Vec<(u64, u64, Vec<Stored>)>, RetentionError> {
    let survey = Survey::of(storage)?;
    let is_sealed = |segment: &&SegmentFacts| storage.open(&seal_path(segment.first), Access::Read).is_ok();
    let copies = |segment: &SegmentFacts| survey.stored.get(&segment.first).cloned().unwrap_or_default();
    let sealed = survey.segments.iter().filter(is_sealed);
    Ok(sealed.map(|segment| (segment.first, segment.end, copies(segment))).collect())
}

/// Whether a writer holds the log's lock.
///
/// # Errors
/// Whatever the system answers.
pub fn is_at_work(storage: &Arc<dyn Storage>) -> io::Result<bool> {
    storage.is_locked(LOCK)
}

/// Name of the log, from the header of its first segment: for opening it where no configuration is at hand.
///
/// # Errors
/// The log cannot be read.
pub fn origin(storage: &Arc<dyn Storage>) -> Result<String, RetentionError> {
    let first = Survey::of(storage)?.segments.first().map(|segment| segment.first);
    let first = first.ok_or(RetentionError::Read(ReadError::NoLog))?;
    Ok(header(&**storage, first)?.origin)
}

fn header(storage: &dyn Storage, first: u64) -> Result<SegmentHeader, RetentionError> {
    let path = segment_path(first);
    let read = || {
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
        let read = storage.open(&path, Access::Read)?.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    };
    let bytes = read().map_err(|source| RetentionError::Io { what: format!("read {path}"), source })?;
    SegmentHeader::parse(&bytes).map_err(|source| RetentionError::Segment(first, source))
}

fn open(storage: &Arc<dyn Storage>, options: Options) -> Result<Log, RetentionError> {
    // Every entry under a checkpoint at once: what follows waits for it.
    let options = Options { checkpoint_entries: 1, ..options };
    Log::open_storage(Arc::clone(storage), options).map_err(|error| match error {
        OpenError::Locked => RetentionError::Locked,
        other => RetentionError::Open(other),
    })
}

fn append_alone(storage: &Arc<dyn Storage>, options: Options, draft: Draft) -> Result<u64, RetentionError> {
    let log = open(storage, options)?;
    let seq = log.append(draft)?;
    log.stop()?;
    Ok(seq)
}

/// Whether a verdict lets a prefix leave.
const fn is_sound(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Verified | Verdict::Recovered)
}
