//! Building an index: the segment is read once, checked as every reader checks it, and must end where its seal and the next segment say.

use std::io;
use std::sync::Arc;

use super::file::{Bytes, Head, Index, PieceFacts, encode, row};
use super::load::{Sealed, load};
use super::pieces::pieces;
use super::{Key, Terms, number};
use crate::chain::Hash;
use crate::entry::EntryRef;
use crate::follow::segments;
use crate::layout::{INDEX, index_name, segment_path};
use crate::merkle::Frontier;
use crate::options::Options;
use crate::reader::ReadError;
use crate::space::Space;
use crate::storage::{Access, FreeSpace, Storage, remove_if_there, replace};
use crate::walk::{Chain, GroupWalker};

/// Most rows of one index: 64 MiB of memory while it is built, and of its file. A segment with more (far more than 256 MiB of small entries) gets
/// no index and is read whole by every query.
const ROWS_MAX: usize = 8 << 20;

/// Why the indexes of a log could not be built. None of it says anything about the log's integrity.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The index cannot be written.
    #[error("could not write the index of the segment that starts with entry {first}")]
    Write {
        /// First entry of the segment.
        first: u64,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Which indexes are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that are not there or do not fit.
    Missing,
    /// All, whatever is there.
    All,
}

/// How far [`build_all`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of segments read, or found to have their index.
    pub bytes: u64,
    /// Bytes of all sealed segments.
    pub bytes_total: u64,
}

/// What [`build_all`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// First entries of the segments that got an index now.
    pub built: Vec<u64>,
    /// Segments whose index was there.
    pub there: usize,
    /// First entries of the segments that have none: the open one, one without a seal that fits, one that does not read as it was sealed, one
    /// with too much to find in it. Queries read them whole.
    pub without: Vec<u64>,
    /// Indexes without a segment, which were removed.
    pub removed: usize,
}

/// Builds the indexes of all sealed segments of a log and removes those whose segment is gone. Memory is that of one index.
///
/// # Errors
/// [`IndexError`]. What was built stays.
pub fn build_all(
    storage: &Arc<dyn Storage>,
    terms: &Terms,
    which: Which,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, IndexError> {
    let storage = &**storage;
    let firsts = segments(storage)?;
    let mut built = Built { removed: remove_orphans(storage, &firsts), ..Built::default() };
    let next_of = |place: usize| firsts.get(place + 1).copied();
    let mut sealed = Vec::new();
    for (place, first) in firsts.iter().enumerate() {
        match next_of(place).and_then(|next| Sealed::read(storage, *first, next)) {
            Some(segment) => sealed.push(segment),
            None => built.without.push(*first),
        }
    }
    let bytes_total = sealed.iter().map(|segment| segment.seal.file_bytes).sum();
    let mut done = 0;
    for segment in &sealed {
        let first = segment.header.first_seq();
        progress(Progress { bytes: done, bytes_total });
        let is_there = || matches!(load(storage, segment, Some(terms.version)), Ok(Some(_)));
        if which == Which::Missing && is_there() {
            built.there += 1;
        } else if let Some(bytes) = build(storage, segment, terms, &mut |bytes| {
            progress(Progress { bytes: done + bytes, bytes_total })
        })? {
            keep(storage, segment, &bytes).map_err(|source| IndexError::Write { first, source })?;
            built.built.push(first);
        } else {
            built.without.push(first);
        }
        done += segment.seal.file_bytes;
    }
    progress(Progress { bytes: done, bytes_total });
    built.without.sort_unstable();
    Ok(built)
}

/// Writes an index under its name, whole or not at all; not where the log would be low on room after it.
fn keep(storage: &dyn Storage, sealed: &Sealed, bytes: &[u8]) -> io::Result<()> {
    if !leaves_room(storage, sealed, bytes.len() as u64) {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "what room is left is for the log"));
    }
    storage.make_folder(INDEX)?;
    replace(storage, INDEX, &index_name(sealed.header.first_seq()), bytes)
}

/// Whether the log still has ample room after so many bytes more. A query must never be what stops a server.
fn leaves_room(storage: &dyn Storage, sealed: &Sealed, bytes: u64) -> bool {
    let segment_bytes = sealed.header.capacity_bytes;
    let options = Options { segment_bytes, ..Options::new(&sealed.header.origin) };
    // A system that does not say how much there is has not said that there is too little.
    storage.space().map_or(true, |space| {
        let free_bytes = space.free_bytes.saturating_sub(bytes);
        Space::of(FreeSpace { free_bytes, ..space }, &options) == Space::Ample
    })
}

/// Removes indexes of segments that are not there. What cannot be removed stays: it is never used.
fn remove_orphans(storage: &dyn Storage, firsts: &[u64]) -> usize {
    let names = storage.list(INDEX).unwrap_or_default();
    let is_orphan = |name: &&String| {
        let first = name.strip_suffix(".idx").and_then(|digits| digits.parse().ok());
        first.is_some_and(|first| index_name(first) == **name && !firsts.contains(&first))
    };
    let removed =
        names.iter().filter(is_orphan).map(|name| remove_if_there(storage, &format!("{INDEX}/{name}")));
    removed.filter(Result::is_ok).count()
}

/// The index of a segment; `None` when it does not read as it was sealed, or has too much in it.
pub(super) fn build(
    storage: &dyn Storage,
    sealed: &Sealed,
    terms: &Terms,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Vec<u8>>, ReadError> {
    let name = segment_path(sealed.header.first_seq());
    let io = |source| ReadError::Io { file: name.clone(), source };
    let file = storage.open(&name, Access::Read).map_err(io)?;
    let mut walker = GroupWalker::new(file, sealed.seal.used_bytes);
    let mut chain = Chain::at_segment(&sealed.header);
    let (first, end) = (sealed.header.first_seq(), sealed.seal.end_seq);
    let mut builder = Builder::new(first, end, terms);
    while let Ok(mut group) = walker.next_group().map_err(io)? {
        let taken = chain.take(&mut group, |entry, leaf, offset| builder.take(entry, leaf, offset));
        if taken.is_err() || builder.rows.len() > ROWS_MAX {
            return Ok(None);
        }
        progress(walker.offset());
    }
    let is_whole = chain.previous == sealed.next.previous && chain.frontier == sealed.next.frontier;
    if !is_whole {
        return Ok(None);
    }
    let mut rows = builder.rows;
    rows.sort_unstable();
    let head = Head {
        log_id: sealed.header.log_id,
        seal: sealed.seal_sha256,
        first,
        end,
        terms: terms.version,
        pieces: builder.facts,
    };
    Ok(Some(encode(&head, &rows)))
}

/// As [`build`], as an index to be used at once.
pub(super) fn build_index(
    storage: &dyn Storage,
    sealed: &Sealed,
    terms: &Terms,
) -> Result<Option<(Index, io::Result<()>)>, ReadError> {
    let Some(bytes) = build(storage, sealed, terms, &mut |_| {})? else { return Ok(None) };
    let kept = keep(storage, sealed, &bytes);
    let index = Index::read(Bytes::Memory(bytes)).ok().flatten();
    Ok(index.filter(|index| sealed.fits(index, Some(terms.version))).map(|index| (index, kept)))
}

struct Builder<'a> {
    terms: &'a Terms,
    /// Ends of the pieces still to come, the next one last.
    ends: Vec<u64>,
    facts: Vec<PieceFacts>,
    rows: Vec<u64>,
    /// The piece that is being filled.
    tree: Frontier,
    offset: u64,
    time_ns: (u64, u64),
    numbers: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(first: u64, end: u64, terms: &'a Terms) -> Self {
        let mut ends: Vec<u64> = pieces(first, end).map(super::pieces::Piece::end).collect();
        ends.reverse();
        Self {
            terms,
            ends,
            facts: Vec::new(),
            rows: Vec::new(),
            tree: Frontier::new(),
            offset: 0,
            time_ns: (u64::MAX, 0),
            numbers: Vec::new(),
        }
    }

    fn take(&mut self, entry: &EntryRef<'_>, leaf: &Hash, offset: u64) {
        let (header, numbers) = (&entry.header, &mut self.numbers);
        if self.tree.size() == 0 {
            self.offset = offset;
            self.time_ns = (u64::MAX, 0);
            numbers.clear();
        }
        let time = header.stamp.utc_ns;
        self.time_ns = (self.time_ns.0.min(time), self.time_ns.1.max(time));
        numbers.push(Key::Kind(header.kind).number());
        numbers.extend(header.order.map(|order| Key::Order(order.id).number()));
        numbers.extend(header.session.map(|session| Key::Session(session.id).number()));
        (self.terms.of)(entry, &mut |term| numbers.push(number(b't', term)));
        self.tree.push(*leaf);
        if self.ends.last() == Some(&(header.seq + 1)) {
            self.finish_piece();
        }
    }

    fn finish_piece(&mut self) {
        self.ends.pop();
        let piece = u32::try_from(self.facts.len()).unwrap_or(u32::MAX);
        self.numbers.sort_unstable();
        self.numbers.dedup();
        self.rows.extend(self.numbers.iter().map(|number| row(*number, piece)));
        self.facts.push(PieceFacts { node: self.tree.root(), offset: self.offset, time_ns: self.time_ns });
        self.tree = Frontier::new();
    }
}
