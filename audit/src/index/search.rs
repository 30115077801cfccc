//! Entries that may be what is asked for, found through indexes where there are any, read and hashed again.
//!
//! A segment without an index that fits gets one while it is searched; where that cannot be written, the rest of the log is read
//! whole. What is handed out is in order, each entry once. Memory is one piece (256 entries), or one index while it is built.

use std::collections::VecDeque;
use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use super::build::build_index;
use super::file::{Index, PieceFacts};
use super::load::{Sealed, begin_where_they_say, load, pieces_of};
use super::pieces::{Piece, read_entries};
use super::{Key, Query, Terms};
use crate::chain::Hash;
use crate::entry::EntryRef;
use crate::follow::segments;
use crate::layout::segment_path;
use crate::merkle::Frontier;
use crate::reader::{Entries, Entry, ReadError};
use crate::storage::{Access, File, Storage};

/// What a search has looked at so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Segments searched through their index.
    pub indexed: usize,
    /// Segments read whole.
    pub scanned: usize,
    /// Entries of indexed segments that were read.
    pub read: u64,
    /// Entries of indexed segments that were not, because the index says that nothing asked for is among them.
    pub skipped: u64,
}

/// The entries of every piece that may hold what is asked for.
#[derive(Debug)]
pub struct Search {
    storage: Arc<dyn Storage>,
    /// Of the application; `None` where nothing is asked that depends on them: then an index of any version will do, and none is built.
    terms: Option<Terms>,
    query: Query,
    segments: Peekable<vec::IntoIter<u64>>,
    /// No segment that starts here or behind is searched.
    before: Option<u64>,
    now: Now,
    found: VecDeque<Entry>,
    /// Indexes are built where there are none; not any more once one could not be written.
    builds: bool,
    tally: Tally,
    failed: bool,
}

/// Pieces that are still to be read, with what the index says of them.
type Pieces = VecDeque<(Piece, PieceFacts)>;

/// Where the search is.
#[derive(Debug)]
enum Now {
    Between,
    /// Pieces of an indexed segment that are still to be read.
    Pieces {
        segment: u64,
        file: Arc<dyn File>,
        pieces: Pieces,
    },
    /// A segment that is read whole, up to the first entry of the next.
    Scan {
        entries: Box<Entries>,
        until: Option<u64>,
    },
}

impl Search {
    /// Searches a log from its first entry to its last complete group.
    ///
    /// # Errors
    /// [`ReadError::NoLog`], or what the disk answers.
    pub fn new(storage: Arc<dyn Storage>, terms: Terms, query: Query) -> Result<Self, ReadError> {
        let segments = segments(&*storage)?;
        if segments.is_empty() {
            return Err(ReadError::NoLog);
        }
        Ok(Self {
            terms: Some(terms),
            builds: true,
            ..Self::through_existing(storage, query, segments, None)
        })
    }

    /// Searches those of these segments, all there are from the first of them on, that start before `before`, through the indexes there are:
    /// none is built. Only for keys that the log knows itself.
    pub(crate) fn through_existing(
        storage: Arc<dyn Storage>,
        query: Query,
        segments: Vec<u64>,
        before: Option<u64>,
    ) -> Self {
        let (segments, found, tally) = (segments.into_iter().peekable(), VecDeque::new(), Tally::default());
        let (terms, now, builds, failed) = (None, Now::Between, false, false);
        Self { storage, terms, query, segments, before, now, found, builds, tally, failed }
    }

    /// What has been looked at so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn step(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            if let Some(entry) = self.found.pop_front() {
                return Ok(Some(entry));
            }
            match &mut self.now {
                Now::Between => {
                    let before = self.before;
                    let in_range = |first: &u64| before.is_none_or(|before| *first < before);
                    let Some(first) = self.segments.next_if(in_range) else { return Ok(None) };
                    self.begin(first)?;
                }
                Now::Pieces { segment, file, pieces } => match pieces.pop_front() {
                    Some((piece, facts)) => {
                        self.found = read_piece(&**file, *segment, piece, &facts)?;
                        self.tally.read += self.found.len() as u64;
                    }
                    None => self.now = Now::Between,
                },
                Now::Scan { entries, until } => match entries.next().transpose()? {
                    Some(entry) if until.is_none_or(|until| entry.header.seq < until) => {
                        return Ok(Some(entry));
                    }
                    _ => self.now = Now::Between,
                },
            }
        }
    }

    fn begin(&mut self, first: u64) -> Result<(), ReadError> {
        let until = self.segments.peek().copied();
        if let Some(next) = until
            && let Some(pieces) = self.through_index(first, next)?
        {
            let name = segment_path(first);
            let file = self.storage.open(&name, Access::Read);
            let file = file.map_err(|source| ReadError::Io { file: name, source })?;
            let wanted: u64 = pieces.iter().map(|(piece, _)| 1 << piece.level).sum();
            self.tally.skipped += next - first - wanted;
            self.tally.indexed += 1;
            self.now = Now::Pieces { segment: first, file, pieces };
            return Ok(());
        }
        self.tally.scanned += 1;
        let entries = Box::new(Entries::new(Arc::clone(&self.storage), first)?);
        self.now = Now::Scan { entries, until };
        Ok(())
    }

    /// The pieces of a segment to read, through the index that is there or else through one that is built now; `None` where there can be none.
    fn through_index(&mut self, first: u64, next: u64) -> Result<Option<Pieces>, ReadError> {
        let storage = &*self.storage;
        let Some(sealed) = Sealed::read(storage, first, next) else { return Ok(None) };
        // An index that cannot be read, or is damaged further in, is one that is not there.
        let there = load(storage, &sealed, self.terms.map(|terms| terms.version)).ok().flatten();
        if let Some(index) = there
            && let Ok(Some(pieces)) = wanted(&index, &self.query)
            && begin_where_they_say(storage, first, pieces.iter()).is_ok_and(|right| right)
        {
            return Ok(Some(pieces));
        }
        let Some(terms) = self.terms.filter(|_| self.builds) else { return Ok(None) };
        let Some((index, kept)) = build_index(storage, &sealed, &terms)? else { return Ok(None) };
        self.builds = kept.is_ok();
        // It is in memory: nothing of it can be damaged.
        Ok(wanted(&index, &self.query).ok().flatten())
    }
}

impl Iterator for Search {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let stepped = self.step();
        self.failed = stepped.is_err();
        stepped.transpose()
    }
}

/// Pieces that may hold what is asked for; `None` when the index is damaged where it was looked at.
fn wanted(index: &Index, query: &Query) -> io::Result<Option<Pieces>> {
    let any_of = |keys: &[Key]| -> io::Result<Option<Vec<bool>>> {
        let mut marks = vec![false; index.head.pieces.len()];
        for key in keys {
            let Some(pieces) = index.pieces_with(key.number())? else { return Ok(None) };
            for piece in pieces {
                match marks.get_mut(usize::try_from(piece).unwrap_or(usize::MAX)) {
                    Some(mark) => *mark = true,
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(marks))
    };
    let in_time = |facts: &PieceFacts| {
        query.from_ns.is_none_or(|from| facts.time_ns.1 >= from)
            && query.until_ns.is_none_or(|until| facts.time_ns.0 < until)
    };
    let mut marks: Vec<bool> = index.head.pieces.iter().map(in_time).collect();
    for keys in &query.all {
        let Some(of_keys) = any_of(keys)? else { return Ok(None) };
        marks.iter_mut().zip(of_keys).for_each(|(mark, there)| *mark &= there);
    }
    let Some(always) = any_of(&query.always)? else { return Ok(None) };
    marks.iter_mut().zip(always).for_each(|(mark, there)| *mark |= there);
    let marked = pieces_of(index).zip(marks).filter(|(_, mark)| *mark);
    Ok(Some(marked.map(|((piece, facts), _)| (piece, *facts)).collect()))
}

/// The entries of a piece, if they are those under its node.
fn read_piece(
    file: &dyn File,
    segment: u64,
    piece: Piece,
    facts: &PieceFacts,
) -> Result<VecDeque<Entry>, ReadError> {
    let name = segment_path(segment);
    let (mut entries, mut tree) = (VecDeque::new(), Frontier::new());
    let mut previous: Option<Hash> = None;
    let mut unlinked = None;
    let take = |entry: &EntryRef<'_>, hash: Hash, offset: u64| {
        let header = entry.header;
        if previous.is_some_and(|previous| previous != header.previous) {
            unlinked.get_or_insert((header.seq, offset));
        }
        previous = Some(hash);
        tree.push(hash);
        entries.push_back(Entry { header, payload: entry.payload.to_vec(), hash, segment, offset });
    };
    let read = read_entries(file, facts.offset, piece.first, piece.end(), take)
        .map_err(|source| ReadError::Io { file: name.clone(), source })?;
    let bad = match (read, unlinked) {
        (_, Some((seq, offset))) => Some((seq, offset, "link to the entry before does not match its hash")),
        (Err(offset), None) => {
            Some((piece.first + entries.len() as u64, offset, "another entry stands there"))
        }
        (Ok(seq), None) if seq < piece.end() => Some((seq, facts.offset, "no entry can be read there")),
        (Ok(_), None) if tree.root() != facts.node => Some((
            piece.first,
            facts.offset,
            "entries from here on do not have the node that the next segment's header commits to",
        )),
        (Ok(_), None) => None,
    };
    match bad {
        None => Ok(entries),
        Some((seq, offset, what)) => {
            Err(ReadError::Broken { seq, file: name, offset, what: what.to_owned() })
        }
    }
}
