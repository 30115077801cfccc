//! Says what the bytes of a log prove, and what they do not.
//!
//! Anchors come from outside the log's folder: a key found inside a log proves nothing about itself. The verdicts and their exit
//! codes are a contract; [`Verdict`] lists them. Memory is bounded whatever the length of the log: one buffer per file.
//!
//! A live log (its writer holds the lock) is verified up to the last complete group found; what lies beyond is ignored, because
//! it may be half written at the moment it is read.

mod checkpoints;
mod prune;
mod report;
mod seals;
mod segments;
mod tape;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use report::{Bad, Progress, PrunedFound, RecoveryFound, Report, TapeFound, Verdict};
pub use tape::{verify_tape, verify_tape_storage};

use crate::chain::hex;
use crate::checkpoint::{self, TreeHead};
use crate::epoch::{EpochKey, KEY_FILE_BYTES};
use crate::layout::{EPOCH_KEY, LOCK, SEGMENTS, State};
use crate::log::Receipt;
use crate::note::{NoteError, VerifierKey};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, first_seq_of_name};
use crate::storage::{Access, DiskStorage, Storage};
use checkpoints::Checkpoints;
use report::Findings;
use seals::Seals;
use segments::{Opening, Segments};

/// What the verifier knows from elsewhere than the log. Each one given makes the verdict mean more.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    /// The key that must have signed headers, seals and checkpoints.
    pub key: Option<VerifierKey>,
    /// Checkpoints kept elsewhere: signed notes.
    pub checkpoints: Vec<String>,
    /// Receipts of clients.
    pub receipts: Vec<Receipt>,
    /// `K_0`: every group's seal is checked, and that no epoch is missing.
    pub k0: Option<[u8; 32]>,
    /// The log must have at least this many entries.
    pub expect_size: Option<u64>,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no log in the folder.
    #[error("folder holds no log")]
    NoLog,
    /// The disk refused.
    #[error("could not read {file}")]
    Io {
        /// File relative to the log's folder.
        file: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no log in the folder given as the tape.
    #[error("the tape's folder holds no log")]
    NoTape,
    /// A checkpoint given as anchor is none of this log, or its signature is wrong.
    #[error("anchor checkpoint number {index} cannot be used")]
    BadCheckpoint {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: NoteError,
    },
    /// A receipt given as anchor is of another log.
    #[error("receipt for entry {seq} is of another log")]
    BadReceipt {
        /// The entry it is for.
        seq: u64,
    },
}

impl VerifyError {
    /// Exit code of a command that ends with this error: 66 no log, 74 not readable, 2 unusable anchor.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoLog | Self::NoTape => 66,
            Self::Io { .. } => 74,
            Self::BadCheckpoint { .. } | Self::BadReceipt { .. } => 2,
        }
    }
}

/// How a log is to be verified; the verdict over what is checked does not depend on it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Threads; `None` for as many as there are processors, or one for a small log.
    pub threads: Option<usize>,
    /// A checkpoint kept elsewhere (a signed note) from which on to verify: only segments from the one that holds its size. It
    /// counts as an anchor.
    pub from_checkpoint: Option<String>,
}

/// Verifies the log in `folder` and calls `progress` from time to time.
///
/// # Errors
/// [`VerifyError`] when there is no verdict: no log, not readable, unusable anchor.
pub fn verify(
    folder: &Path,
    anchors: &Anchors,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    verify_storage(&DiskStorage::new(folder), anchors, progress)
}

/// As [`verify`], on any storage.
///
/// # Errors
/// As [`verify`].
pub fn verify_storage(
    storage: &dyn Storage,
    anchors: &Anchors,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    verify_planned(storage, anchors, &Plan::default(), progress)
}

/// As [`verify_storage`], with a say in how.
///
/// # Errors
/// As [`verify`]; a checkpoint to start from that cannot be used is the anchor after the last.
pub fn verify_planned(
    storage: &dyn Storage,
    anchors: &Anchors,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        let seen = Seen::look(storage)?;
        let report = verify_as_seen(storage, anchors, plan, seen, progress)?;
        attempts_left -= 1;
        // What stands in a log at rest is no news, whoever writes it on meanwhile.
        let is_sound = matches!(report.verdict, Verdict::Verified | Verdict::Recovered | Verdict::Unanchored);
        if is_sound || seen.live || attempts_left == 0 || Seen::look(storage)? == seen {
            return Ok(report);
        }
    }
}

/// Tries of a log that seemed at rest and whose writer started or stopped meanwhile: one that does so more often is judged as it was seen.
const ATTEMPTS_MAX: u32 = 8;

/// Whether a writer was at work when a verification began, and what the state said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    live: bool,
    state: Option<State>,
}

impl Seen {
    fn look(storage: &dyn Storage) -> Result<Self, VerifyError> {
        let io = |file: &str, source| VerifyError::Io { file: file.to_owned(), source };
        let live = storage.is_locked(LOCK).map_err(|source| io(LOCK, source))?;
        let state = State::read(storage).map_err(|source| io("state", source))?;
        Ok(Self { live, state })
    }
}

fn verify_as_seen(
    storage: &dyn Storage,
    anchors: &Anchors,
    plan: &Plan,
    Seen { live, state }: Seen,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    let io = |file: &str, source| VerifyError::Io { file: file.to_owned(), source };
    // Read before the segments: in a live log these only grow, so whatever these claim the segments must have.
    let key_epoch = read_key_epoch(storage);
    let checkpoints_end = checkpoints::length(storage)?;
    let names = match storage.list(SEGMENTS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VerifyError::NoLog),
        other => other.map_err(|source| io(SEGMENTS, source))?,
    };
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| first_seq_of_name(name)).collect();
    firsts.sort_unstable();
    let first = *firsts.first().ok_or(VerifyError::NoLog)?;
    let mut findings = Findings::default();
    let identity = Identity::find(storage, first, anchors, &mut findings)?;
    let mut heads = anchor_heads(anchors, &identity)?;
    if let Some(note) = &plan.from_checkpoint {
        let head = open_anchor(note, &identity)
            .map_err(|source| VerifyError::BadCheckpoint { index: anchors.checkpoints.len(), source })?;
        let before = firsts.partition_point(|first| *first <= head.size).saturating_sub(1);
        firsts.drain(..before);
        heads.push(head);
    }
    heads.sort_unstable_by_key(|head| head.size);
    for pair in heads.windows(2) {
        if pair[0].size == pair[1].size && pair[0].root != pair[1].root {
            let what =
                format!("two checkpoints of size {} kept elsewhere have different roots", pair[0].size);
            findings.add(Verdict::Fork, pair[0].size.saturating_sub(1), what, "(anchors)", None);
        }
    }
    let from = *firsts.first().ok_or(VerifyError::NoLog)?;
    let checkpoints =
        Checkpoints::open(storage, &identity, heads, (from, checkpoints_end), live, &mut findings)?;
    let seals = Seals::new(anchors.k0, identity.log_id);
    let opening = Opening { live, state, key_epoch, first, from };
    let mut segments = Segments::new(storage, &identity, anchors, checkpoints, seals, opening, findings);
    segments.walk(&firsts, plan.threads, progress)?;
    segments.finish()
}

/// Who the log claims to be, and the key that everything is checked with.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) log_id: crate::chain::Hash,
    pub(crate) key: VerifierKey,
}

impl Identity {
    /// From the anchor where there is one, else from the first segment's header.
    fn find(
        storage: &dyn Storage,
        first: u64,
        anchors: &Anchors,
        findings: &mut Findings,
    ) -> Result<Self, VerifyError> {
        let file = crate::layout::segment_path(first);
        let io = |source| VerifyError::Io { file: file.clone(), source };
        let segment = storage.open(&file, Access::Read).map_err(io)?;
        let mut bytes = vec![0u8; SEGMENT_HEADER_BYTES];
        segment.read_at(0, &mut bytes).map_err(io)?;
        let header = SegmentHeader::parse(&bytes);
        if let Err(error) = &header {
            findings.add(Verdict::Tampered, first, error.to_string(), &file, Some(0));
        }
        let log_id = header.as_ref().map_or([0; 32], |header| header.log_id);
        let own = header.ok().and_then(|header| VerifierKey::new(&header.origin, header.key).ok());
        let key = match anchors.key.clone().or(own) {
            Some(key) => key,
            None => VerifierKey::new("unknown", [0; 32])
                .map_err(|_| VerifyError::Io { file, source: io::Error::from(io::ErrorKind::InvalidData) })?,
        };
        Ok(Self { log_id, key })
    }
}

fn anchor_heads(anchors: &Anchors, identity: &Identity) -> Result<Vec<TreeHead>, VerifyError> {
    for receipt in &anchors.receipts {
        // A log whose first header is damaged has no name: that is for the verdict to say.
        if receipt.log_id != identity.log_id && identity.log_id != [0; 32] {
            return Err(VerifyError::BadReceipt { seq: receipt.seq });
        }
    }
    let open = |(index, note): (usize, &String)| {
        open_anchor(note, identity).map_err(|source| VerifyError::BadCheckpoint { index, source })
    };
    anchors.checkpoints.iter().enumerate().map(open).collect()
}

fn open_anchor(note: &str, identity: &Identity) -> Result<TreeHead, NoteError> {
    checkpoint::open(&format!("{}\n", note.trim_end_matches('\n')), &identity.key)
}

/// The epoch in the key file, where the verifier may read it. Only the number is taken.
fn read_key_epoch(storage: &dyn Storage) -> Option<u64> {
    let file = storage.open(EPOCH_KEY, Access::Read).ok()?;
    let mut bytes = vec![0u8; KEY_FILE_BYTES];
    file.read_at(0, &mut bytes).ok()?;
    let epoch = EpochKey::from_file(&bytes).map(|key| key.epoch());
    crate::epoch::erase(&mut bytes);
    epoch
}

/// Short text for a hash in a finding.
pub(crate) fn short(hash: &[u8]) -> String {
    hex(hash.get(..8).unwrap_or(hash))
}

pub(crate) type SharedFile = Arc<dyn crate::storage::File>;
