//! The log's side: hands its newest checkpoint to each witness now and then, and writes down what they say.
//!
//! A thread of its own, so that a witness that is slow or gone never holds the writer up. What a witness cosigned is kept beside the log
//! (`witnessed/`), is an entry of the log (WITNESS), and is an anchor for whoever verifies. A witness that falls silent, or that
//! knows of another history, is an entry too, and is reported.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::chain::{hex, sha256};
use crate::checkpoint::{self, FileItem, TreeHead};
use crate::cosignature::WitnessKey;
use crate::entry::Draft;
use crate::fields::FieldsWriter;
use crate::kind;
use crate::layout::CHECKPOINTS;
use crate::log::Log;
use crate::nodes::{NodeError, Nodes};
use crate::note::{Note, VerifierKey};
use crate::proof;
use crate::reader::ReadError;
use crate::storage::{Access, DiskStorage, Storage, replace};
use crate::witness::protocol::{Answer, Request};

/// Folder beside the segments with the newest checkpoint that each witness cosigned.
pub(crate) const WITNESSED: &str = "witnessed";

/// The way to a witness.
pub trait Transport: Send {
    /// Sends the body of an `add-checkpoint` request; status and body of the answer. Must come back within seconds.
    ///
    /// # Errors
    /// When there is no answer.
    fn ask(&mut self, body: &str) -> io::Result<(u16, String)>;
}

/// A witness as the log knows it.
pub struct Witness {
    key: WitnessKey,
    transport: Box<dyn Transport>,
    /// Size of the largest tree it has, as far as is known.
    size: u64,
    heard_ns: u64,
    silent: bool,
    refused: bool,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("key", &self.key).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Witness {
    /// A witness that signs with `key` and is reached by `transport`.
    #[must_use]
    pub fn new(key: WitnessKey, transport: Box<dyn Transport>) -> Self {
        Self { key, transport, size: 0, heard_ns: 0, silent: false, refused: false }
    }

    /// The name it signs under.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }
}

/// What came of asking a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It cosigned the tree of this size.
    Cosigned {
        /// Entries that it vouches for.
        size: u64,
        /// When, by its clock, seconds since 1970.
        seconds: u64,
        /// The cosigned checkpoint: a note with both signatures.
        note: String,
    },
    /// It has cosigned a larger tree than this log has: the log was rolled back.
    Ahead {
        /// Size of its largest tree.
        size: u64,
    },
    /// It knows another history of the same sizes: the log was forked or rewritten.
    Inconsistent {
        /// Size of its largest tree.
        size: u64,
    },
    /// It does not take checkpoints of this log: wrong key or origin on one side.
    Refused {
        /// Status of its answer.
        status: u16,
    },
    /// It did not answer, or not in the protocol's words.
    Silent,
}

/// Why a witness could not be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The log has no checkpoint that could be shown.
    #[error("the log has no checkpoint of its own that can be read")]
    NoCheckpoint,
    /// The log cannot be read.
    #[error("could not read the log for a witness")]
    Read(#[from] ReadError),
    /// A proof cannot be made.
    #[error("could not make a proof for a witness")]
    Node(#[from] NodeError),
    /// The disk refused.
    #[error("could not {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Shows a witness a checkpoint, with the proof that it continues what the witness has.
///
/// # Errors
/// [`WatchError`] when the log cannot be read; the witness's refusals are outcomes.
pub fn submit(
    witness: &mut Witness,
    nodes: &mut Nodes,
    head: &TreeHead,
    note: &str,
) -> Result<Outcome, WatchError> {
    // The second time knows what the witness has; more often than that, it changes its mind.
    for _ in 0..2 {
        let old = witness.size;
        if old > head.size {
            return Ok(Outcome::Ahead { size: old });
        }
        let proof = proof::consistency(nodes, old, head.size)?;
        let request = Request { old, proof, checkpoint: note.to_owned() };
        let Ok((status, body)) = witness.transport.ask(&request.to_text()) else {
            return Ok(Outcome::Silent);
        };
        match Answer::from_parts(status, &body) {
            Some(Answer::Cosigned(lines)) => {
                let cosigned = format!("{note}{lines}");
                let time = Note::parse(&cosigned).and_then(|note| witness.key.verify(&note));
                let Ok(seconds) = time else { return Ok(Outcome::Refused { status }) };
                witness.size = head.size;
                return Ok(Outcome::Cosigned { size: head.size, seconds, note: cosigned });
            }
            Some(Answer::Conflict(size)) if size == old => return Ok(Outcome::Inconsistent { size }),
            Some(Answer::Conflict(size)) => witness.size = size,
            Some(Answer::Inconsistent) => return Ok(Outcome::Inconsistent { size: old }),
            Some(Answer::Malformed | Answer::Untrusted | Answer::UnknownOrigin) => {
                return Ok(Outcome::Refused { status });
            }
            None => return Ok(Outcome::Silent),
        }
    }
    Ok(if witness.size > head.size { Outcome::Ahead { size: witness.size } } else { Outcome::Silent })
}

/// Asks a witness about a log that is not open yet, with the log's own last checkpoint: before a server starts on it.
///
/// # Errors
/// As [`submit`]; [`WatchError::NoCheckpoint`] for a log without one.
pub fn ask_before_start(
    folder: &Path,
    key: &VerifierKey,
    witness: &mut Witness,
) -> Result<Outcome, WatchError> {
    let (head, note) = last_checkpoint(folder, key)?.ok_or(WatchError::NoCheckpoint)?;
    let mut nodes = Nodes::read(folder)?;
    if nodes.size() < head.size {
        // What is behind the last complete group is for recovery to judge.
        return Ok(Outcome::Silent);
    }
    submit(witness, &mut nodes, &head, &note)
}

/// The last good checkpoint in the file `checkpoints`.
fn last_checkpoint(folder: &Path, key: &VerifierKey) -> Result<Option<(TreeHead, String)>, WatchError> {
    let io = |source| WatchError::Io { what: "read the checkpoints", source };
    let file = DiskStorage::new(folder).open(CHECKPOINTS, Access::Read).map_err(io)?;
    let length = file.length().map_err(io)?;
    let from = length.saturating_sub(4 * checkpoint::CHECKPOINT_BYTES_MAX as u64);
    let mut bytes = vec![0u8; usize::try_from(length - from).unwrap_or(0)];
    let read = file.read_at(from, &mut bytes).map_err(io)?;
    bytes.truncate(read);
    let start = format!("{}\n", key.name());
    let places = bytes.windows(start.len()).enumerate().filter(|(_, part)| *part == start.as_bytes());
    let mut last = None;
    for (at, _) in places {
        if let FileItem::Note { note, .. } = checkpoint::first_item(bytes.get(at..).unwrap_or_default())
            && let Ok(head) = checkpoint::open(note, key)
        {
            last = Some((head, note.to_owned()));
        }
    }
    Ok(last)
}

/// How witnesses are asked.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// How often, nanoseconds; at least one millisecond.
    pub interval_ns: u64,
    /// Silence after which a witness is reported, nanoseconds.
    pub tolerance_ns: u64,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { interval_ns: 10_000_000_000, tolerance_ns: 60_000_000_000 }
    }
}

/// Told of every outcome that is worth an operator's attention: witness and what happened.
pub type Report = Box<dyn Fn(&str, &Outcome) + Send>;

/// The thread that asks the witnesses. Ends when dropped; must be dropped before the log is stopped.
#[derive(Debug)]
pub struct Watch {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to show the log in `folder` to `witnesses`.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn begin(
        log: Log,
        folder: &Path,
        witnesses: Vec<Witness>,
        options: WatchOptions,
        report: Report,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let folder = folder.to_owned();
        let run = move || {
            let mut round = Round { log, folder, witnesses, options, report, nodes: None };
            let interval = Duration::from_nanos(options.interval_ns.max(1_000_000));
            while matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
                round.run();
            }
        };
        let thread = std::thread::Builder::new().name("audit-witness".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread ends witnessing, not the log; it was printed.
            let _ = thread.join();
        }
    }
}

struct Round {
    log: Log,
    folder: PathBuf,
    witnesses: Vec<Witness>,
    options: WatchOptions,
    report: Report,
    /// Made with the first round: it reads the whole log once.
    nodes: Option<Nodes>,
}

impl Round {
    fn run(&mut self) {
        let Some(note) = self.log.latest_checkpoint() else { return };
        let Ok(head) = checkpoint::open(&note, self.log.public_key()) else { return };
        let now_ns = self.log.now().monotonic_ns;
        let Self { log, folder, witnesses, options, report, nodes } = self;
        for witness in witnesses {
            let outcome = match ask(nodes, folder, witness, &head, &note) {
                Ok(Some(outcome)) => outcome,
                // Not readable so far yet: next time.
                Ok(None) => continue,
                Err(_) => Outcome::Silent,
            };
            if let Some(draft) = witness.note(&outcome, &head, now_ns, options.tolerance_ns) {
                if let Outcome::Cosigned { note, .. } = &outcome {
                    // It is an entry as well, so a disk that refuses this file takes nothing away.
                    let _ = keep(folder, &witness.key, note);
                } else {
                    report(witness.key.name(), &outcome);
                }
                // A log that is stopping or failed says so where it matters.
                let _ = log.append_own(draft);
            }
        }
    }
}

fn ask(
    nodes: &mut Option<Nodes>,
    folder: &Path,
    witness: &mut Witness,
    head: &TreeHead,
    note: &str,
) -> Result<Option<Outcome>, WatchError> {
    let nodes = match nodes {
        Some(nodes) => {
            nodes.advance()?;
            nodes
        }
        None => nodes.insert(Nodes::read(folder)?),
    };
    if nodes.size() < head.size {
        return Ok(None);
    }
    submit(witness, nodes, head, note).map(Some)
}

fn keep(folder: &Path, key: &WitnessKey, note: &str) -> io::Result<()> {
    let storage = DiskStorage::new(folder);
    storage.make_folder(WITNESSED)?;
    let name = format!("{}.checkpoint", hex(&sha256(key.to_string().as_bytes()))[..16].to_owned());
    replace(&storage, WITNESSED, &name, note.as_bytes())
}

impl Witness {
    /// The entry that an outcome is worth, if it says something new.
    fn note(&mut self, outcome: &Outcome, head: &TreeHead, now_ns: u64, tolerance_ns: u64) -> Option<Draft> {
        let heard = !matches!(outcome, Outcome::Silent);
        if heard || self.heard_ns == 0 {
            self.heard_ns = now_ns;
        }
        let refused = !matches!(outcome, Outcome::Silent | Outcome::Cosigned { .. });
        let newly_silent = !heard && !self.silent && now_ns.saturating_sub(self.heard_ns) >= tolerance_ns;
        let new = match outcome {
            Outcome::Cosigned { .. } => true,
            Outcome::Silent => newly_silent,
            _ => !self.refused,
        };
        self.silent = if heard { false } else { self.silent || newly_silent };
        self.refused = if heard { refused } else { self.refused };
        new.then(|| Draft { kind: kind::WITNESS, payload: self.payload(outcome, head), ..Draft::default() })
    }

    fn payload(&self, outcome: &Outcome, head: &TreeHead) -> Vec<u8> {
        let fields = FieldsWriter::new("sealfeed/v1 witness").text("name", self.name());
        let fields = match outcome {
            Outcome::Cosigned { size, seconds, note } => {
                let line = note.lines().rev().find(|line| line.contains(self.name())).unwrap_or_default();
                let cosignature = line.rsplit(' ').next().unwrap_or_default();
                fields
                    .text("state", "cosigned")
                    .number("size", *size)
                    .hash("root", &head.root)
                    .number("time", *seconds)
                    .text("cosignature", cosignature)
            }
            Outcome::Ahead { size } => fields.text("state", "ahead").number("size", *size),
            Outcome::Inconsistent { size } => fields.text("state", "inconsistent").number("size", *size),
            Outcome::Refused { status } => fields.text("state", "refused").number("status", (*status).into()),
            Outcome::Silent => fields.text("state", "silent"),
        };
        fields.finish().into_bytes()
    }
}

/// A witness in the same process, on another file system: a [`super::Keeper`] asked directly.
pub struct LocalTransport {
    keeper: Arc<super::Keeper>,
    seconds: Box<dyn Fn() -> u64 + Send>,
}

impl std::fmt::Debug for LocalTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalTransport").field("keeper", &self.keeper).finish_non_exhaustive()
    }
}

impl LocalTransport {
    /// Asks `keeper`; `seconds` is the time, seconds since 1970.
    #[must_use]
    pub fn new(keeper: Arc<super::Keeper>, seconds: Box<dyn Fn() -> u64 + Send>) -> Self {
        Self { keeper, seconds }
    }
}

impl Transport for LocalTransport {
    fn ask(&mut self, body: &str) -> io::Result<(u16, String)> {
        let answer = self.keeper.add_checkpoint(body, (self.seconds)()).map_err(io::Error::other)?;
        Ok((answer.status(), answer.body()))
    }
}
