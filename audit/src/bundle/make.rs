//! Makes a bundle out of a log's folder.
//!
//! The newest checkpoint is read first and nothing behind it is looked at, so a live log gives a bundle of one moment. Where most sealed
//! segments have an index ([`super::indexed`]), pieces of the log are read; else all of it once, for the life and the tree, and the
//! server's run once more, for what stands around the life ([`super::scan`]). Both find the same. In memory: the life, the certificates of
//! one run of the server, 48 bytes for 256 entries. The result is checked before it is handed out.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::check::{Given, Report, check};
use super::found::Found;
use super::tar::{self, Member};
use super::{
    BASICS, BASICS_TEXT, BUNDLE_BYTES_MAX, CHECKPOINT, PROGRAM, PROGRAM_TEXT, README, README_TEXT, SUMS,
    certificate_name, entry_name, events, indexed, parts, proof_name, scan,
};
use crate::checkpoint::{self, CHECKPOINT_BYTES_MAX, FileItem, TreeHead};
use crate::follow::Follower;
use crate::layout::CHECKPOINTS;
use crate::nodes::{NodeError, Nodes};
use crate::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use crate::proof;
use crate::reader::{Entry, ReadError};
use crate::storage::{Access, DiskStorage, Storage, read_whole};
use crate::tlog_proof::TlogProof;
use crate::verify::Verdict;
use crate::witness::watch::WITNESSED;

/// How far from its end the file of checkpoints is searched for a complete one.
const SEARCHED_BYTES: usize = 4 * CHECKPOINT_BYTES_MAX;

/// Why there is no bundle. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The log cannot be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A node of the tree cannot be had.
    #[error("the tree over the entries cannot be computed")]
    Node(#[from] NodeError),
    /// A file beside the segments cannot be read.
    #[error("could not read {file}")]
    Io {
        /// File relative to the log's folder.
        file: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The log's own key is none.
    #[error("the key in the header of the first segment is none")]
    Key,
    /// There is no checkpoint that this key signed.
    #[error("the log has no complete checkpoint signed by this key")]
    NoCheckpoint,
    /// There is no such order.
    #[error("the log has no order {0}")]
    NoSuchOrder(u64),
    /// No order is called so.
    #[error("the log has no such order")]
    NotFound,
    /// No checkpoint covers the order yet.
    #[error(
        "order {order} is too recent: entry {seq} is not under a checkpoint yet, the newest covers {covered} entries"
    )]
    TooRecent {
        /// The order.
        order: u64,
        /// Its first entry.
        seq: u64,
        /// Size of the newest checkpoint.
        covered: u64,
    },
    /// The beginning of the order's life left the log.
    #[error("entries before {first} were pruned, and the beginning of order {order} with them")]
    Pruned {
        /// The order.
        order: u64,
        /// First entry there is.
        first: u64,
    },
    /// An entry of the life is missing.
    #[error("the life of order {order} has a gap: {gap}")]
    Gap {
        /// The order.
        order: u64,
        /// Where.
        gap: String,
    },
    /// The life is too long for one bundle.
    #[error("a bundle of order {0} would be larger than {BUNDLE_BYTES_MAX} bytes")]
    TooLarge(u64),
    /// The bundle does not prove what it should.
    #[error("the bundle does not hold: {0}")]
    DoesNotHold(String),
}

/// A bundle that was made and checked.
#[derive(Clone, Debug)]
pub struct Made {
    /// The archive.
    pub bytes: Vec<u8>,
    /// What its check came to, with the log's key.
    pub report: Report,
    /// Entries of the order that no checkpoint covers yet; not in the bundle.
    pub later: u64,
}

/// Which order is wanted. The log knows their numbers; what else orders are called, the application says.
pub struct Wanted<'a> {
    /// The order's number. Where there is such an order it is meant, whatever others are called.
    pub number: Option<u64>,
    /// Whether the first entry of an order is of one that is meant; of several the last is. Asked of each, in the order of the log.
    pub is_first: Option<&'a mut dyn FnMut(&Entry) -> bool>,
    /// Whether an order has no life after this entry of it: then the log behind it need not be read.
    pub has_ended: &'a dyn Fn(&Entry) -> bool,
}

/// Makes the bundle of `order` from the log in `folder`. Without `key` the log's own word is taken for it.
///
/// # Errors
/// [`MakeError`].
pub fn make(folder: &Path, order: u64, key: Option<VerifierKey>) -> Result<Made, MakeError> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(folder));
    make_wanted(&storage, Wanted { number: Some(order), is_first: None, has_ended: &|_| false }, key)
}

/// As [`make`], on any storage and of an order that may be called by something else than its number.
///
/// # Errors
/// [`MakeError`].
pub fn make_wanted(
    storage: &Arc<dyn Storage>,
    wanted: Wanted<'_>,
    key: Option<VerifierKey>,
) -> Result<Made, MakeError> {
    let key = match key {
        Some(key) => key,
        None => own_key(storage)?,
    };
    let newest = newest(&**storage, &key)?;
    // What an index leads to is checked as everything is, but an index may hide: what then does not hold is looked for without them.
    if let Some(number) = wanted.number
        && indexed::pays(&**storage)
        && let Ok(Some(life)) = indexed::life(storage, number, newest.1.size, wanted.has_ended)
    {
        let nodes = || Ok(Nodes::read_storage(Arc::clone(storage))?);
        if let Ok(made) = bundle(storage, &key, newest.clone(), &life, nodes, indexed::around) {
            return Ok(made);
        }
    }
    let (life, nodes) = scan::life(storage, wanted, newest.1.size)?;
    bundle(storage, &key, newest, &life, || Ok(nodes), scan::around)
}

/// The bundle of a life that was found, made and checked.
fn bundle(
    storage: &Arc<dyn Storage>,
    key: &VerifierKey,
    (mut note, mut head): (String, TreeHead),
    life: &Found,
    nodes: impl FnOnce() -> Result<Nodes, MakeError>,
    around: impl FnOnce(&Arc<dyn Storage>, &Found, u64) -> Result<BTreeMap<u64, Entry>, MakeError>,
) -> Result<Made, MakeError> {
    // A cosigned checkpoint says more than a newer one without witnesses.
    if let Some(cosigned) = newest_cosigned(&**storage, key, life.end, head.size)? {
        (note, head) = cosigned;
    }
    let around = around(storage, life, head.size)?;
    let mut nodes = nodes()?;
    let mut files = BTreeMap::new();
    for entry in life.entries.iter().chain(around.values()) {
        let (bytes, seq) = (entry.to_bytes(), entry.header.seq);
        let proof = TlogProof { index: seq, path: proof::inclusion(&mut nodes, seq, head.size)? };
        if entry.header.kind == events::CERTIFICATE
            && let Some(told) = events::certificate(&entry.payload)
        {
            for (place, der) in told.chain.iter().enumerate() {
                files.insert(certificate_name(seq, place), der.to_vec());
            }
        }
        files.insert(entry_name(seq), bytes);
        files.insert(proof_name(seq), proof.to_text(&note).into_bytes());
    }
    let bytes = archive(files, &note);
    if bytes.len() > BUNDLE_BYTES_MAX {
        return Err(MakeError::TooLarge(life.order));
    }
    let report = check(&bytes, &Given { key: Some(key.clone()), witnesses: Vec::new() });
    match report.verdict {
        Verdict::Verified | Verdict::Recovered => Ok(Made { bytes, report, later: life.later }),
        _ => Err(MakeError::DoesNotHold(report.problem.unwrap_or_default())),
    }
}

fn own_key(storage: &Arc<dyn Storage>) -> Result<VerifierKey, MakeError> {
    let follower = Follower::on_storage(Arc::clone(storage), 0)?;
    let header = follower.header();
    VerifierKey::new(&header.origin, header.key).map_err(|_| MakeError::Key)
}

/// The newest checkpoint in the log's own file that this key signed.
fn newest(storage: &dyn Storage, key: &VerifierKey) -> Result<(String, TreeHead), MakeError> {
    let io = |source| MakeError::Io { file: CHECKPOINTS.to_owned(), source };
    let file = storage.open(CHECKPOINTS, Access::Read).map_err(io)?;
    let length = file.length().map_err(io)?;
    let from = length.saturating_sub(SEARCHED_BYTES as u64);
    let mut bytes = vec![0u8; usize::try_from(length - from).unwrap_or(SEARCHED_BYTES)];
    let read = file.read_at(from, &mut bytes).map_err(io)?;
    bytes.truncate(read);
    // A note may start at the beginning and behind each empty line; what a crash tore is stepped over.
    let mut starts: Vec<usize> = vec![0];
    starts.extend(bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b"\n\n").map(|(at, _)| at + 2));
    for at in starts.into_iter().rev() {
        if let FileItem::Note { note, .. } = checkpoint::first_item(bytes.get(at..).unwrap_or_default())
            && let Ok(head) = checkpoint::open(note, key)
        {
            return Ok((note.to_owned(), head));
        }
    }
    Err(MakeError::NoCheckpoint)
}

/// The largest checkpoint that witnesses cosigned, of a size from `least` to `most`, with the cosignatures of all that cosigned that one.
fn newest_cosigned(
    storage: &dyn Storage,
    key: &VerifierKey,
    least: u64,
    most: u64,
) -> Result<Option<(String, TreeHead)>, MakeError> {
    let names = match storage.list(WITNESSED) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| MakeError::Io { file: WITNESSED.to_owned(), source })?,
    };
    let mut best: Option<(String, TreeHead)> = None;
    for name in names.iter().filter(|name| name.ends_with(".checkpoint")) {
        let file = format!("{WITNESSED}/{name}");
        let bytes = read_whole(storage, &file, NOTE_BYTES_MAX)
            .map_err(|source| MakeError::Io { file: file.clone(), source })?;
        // What is there and is no checkpoint of this log is left to `verify`, which says so.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let (Ok(head), Ok(note)) = (checkpoint::open(&text, key), Note::parse(&text)) else { continue };
        if !(least..=most).contains(&head.size)
            || best.as_ref().is_some_and(|(_, best)| best.size > head.size)
        {
            continue;
        }
        best = match best.take() {
            // The same text again: its further signature lines go along.
            Some((mut merged, best)) if best == head && merged.starts_with(note.text) => {
                let lines = text.get(note.text.len() + 1..).unwrap_or_default();
                for line in lines.split_inclusive('\n').filter(|line| !line.is_empty()) {
                    if !merged.contains(line) && merged.len() + line.len() <= NOTE_BYTES_MAX {
                        merged += line;
                    }
                }
                Some((merged, best))
            }
            _ => Some((text, head)),
        };
    }
    Ok(best)
}

/// The archive over these files, the checkpoint, and what a reader needs.
fn archive(mut files: BTreeMap<String, Vec<u8>>, note: &str) -> Vec<u8> {
    let texts = [(CHECKPOINT, note), (README, README_TEXT), (BASICS, BASICS_TEXT), (PROGRAM, PROGRAM_TEXT)];
    files.extend(texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
    let members: Vec<_> = files.iter().map(|(name, content)| Member { name, content }).collect();
    let sums = parts::sums(&members);
    files.insert(SUMS.to_owned(), sums.into_bytes());
    let mut archive = Vec::new();
    files.iter().for_each(|(name, content)| tar::append(&mut archive, name, content));
    tar::finish(&mut archive);
    archive
}
