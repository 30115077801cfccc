//! Reads the entries of a log in order, with bounded memory: one buffer and one group.
//!
//! What comes out has been checked against checksums, links and the tree's position, so a reader never hands out an entry that
//! does not follow the one before. It proves nothing about who wrote it: that is [`crate::verify`]'s work.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::chain::Hash;
use crate::entry::{Draft, Header, Placement, encode, mark_group_end, place};
use crate::layout::{SEGMENTS, segment_path};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader, first_seq_of_name};
use crate::storage::{Access, DiskStorage, Storage};
use crate::walk::{Chain, GroupWalker};

/// An entry as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Header and links.
    pub header: Header,
    /// The payload.
    pub payload: Vec<u8>,
    /// Its leaf hash.
    pub hash: Hash,
    /// First sequence number of the segment that holds it.
    pub segment: u64,
    /// Where its bytes start in the segment's file.
    pub offset: u64,
}

impl Entry {
    /// The bytes of the entry as they are hashed and lie in the segment: the encoding has one form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Header { kind, schema, session, order, .. } = self.header;
        let draft = Draft { kind, schema, session, order, payload: self.payload.clone() };
        let Header { seq, previous, stamp, epoch, group, run, .. } = self.header;
        let mut bytes = Vec::with_capacity(draft.entry_bytes());
        encode(&draft, stamp, &mut bytes);
        place(&mut bytes, &Placement { seq, previous, epoch, group, run });
        if self.header.group_end {
            mark_group_end(&mut bytes);
        }
        bytes
    }
}

/// Why reading ended before the log did.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
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
    /// A segment's header cannot be used.
    #[error("could not use the header of {file}")]
    Segment {
        /// File relative to the log's folder.
        file: String,
        /// What is wrong with it.
        #[source]
        source: SegmentError,
    },
    /// An entry, or a whole segment, is not what must come next.
    #[error("entry {seq} is not what must come next: {what} at byte {offset} of {file}")]
    Broken {
        /// Sequence number that was due.
        seq: u64,
        /// File relative to the log's folder.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

/// First sequence numbers of the segments of the log in `folder`, in order.
///
/// # Errors
/// [`ReadError::NoLog`], or what the disk answers.
pub fn segments(folder: &Path) -> Result<Vec<u64>, ReadError> {
    segments_in(&DiskStorage::new(folder))
}

fn segments_in(storage: &dyn Storage) -> Result<Vec<u64>, ReadError> {
    let names = match storage.list(SEGMENTS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::NoLog),
        other => other.map_err(|source| ReadError::Io { file: SEGMENTS.to_owned(), source })?,
    };
    let mut segments: Vec<u64> = names.iter().filter_map(|name| first_seq_of_name(name)).collect();
    segments.sort_unstable();
    if segments.is_empty() { Err(ReadError::NoLog) } else { Ok(segments) }
}

/// Entries of the log in `folder`, from the first there is.
///
/// # Errors
/// [`ReadError::NoLog`], or what the disk answers.
pub fn entries(folder: &Path) -> Result<Entries, ReadError> {
    entries_from(folder, 0)
}

/// Entries of the log in `folder` with sequence numbers from `seq`. Segments before it are not read.
///
/// # Errors
/// [`ReadError::NoLog`], or what the disk answers.
pub fn entries_from(folder: &Path, seq: u64) -> Result<Entries, ReadError> {
    Entries::new(Arc::new(DiskStorage::new(folder)), seq)
}

/// The entries, in order. Ends at the last complete group there is when the end is reached, or after the first error.
#[derive(Debug)]
pub struct Entries {
    storage: Arc<dyn Storage>,
    from_seq: u64,
    /// First sequence numbers of the segments still to be opened.
    segments: VecDeque<u64>,
    open: Option<OpenSegment>,
    chain: Option<Chain>,
    group: VecDeque<Entry>,
    failed: bool,
}

#[derive(Debug)]
struct OpenSegment {
    first_seq: u64,
    walker: GroupWalker,
}

impl Entries {
    /// Entries of a log on any storage.
    ///
    /// # Errors
    /// As [`entries_from`].
    pub fn new(storage: Arc<dyn Storage>, from_seq: u64) -> Result<Self, ReadError> {
        let mut segments = VecDeque::from(segments_in(&*storage)?);
        while segments.get(1).is_some_and(|second| *second <= from_seq) {
            segments.pop_front();
        }
        let group = VecDeque::new();
        Ok(Self { storage, from_seq, segments, open: None, chain: None, group, failed: false })
    }

    fn fill(&mut self) -> Result<bool, ReadError> {
        loop {
            if self.open.is_none() && !self.open_next()? {
                return Ok(false);
            }
            let (Some(open), Some(chain)) = (&mut self.open, &mut self.chain) else { return Ok(false) };
            let file = segment_path(open.first_seq);
            let next =
                open.walker.next_group().map_err(|source| ReadError::Io { file: file.clone(), source })?;
            let stop = match next {
                Ok(mut group) => {
                    let (segment, from_seq, out) = (open.first_seq, self.from_seq, &mut self.group);
                    let taken = chain.take(&mut group, |entry, hash, offset| {
                        if entry.header.seq >= from_seq {
                            let payload = entry.payload.to_vec();
                            out.push_back(Entry {
                                header: entry.header,
                                payload,
                                hash: *hash,
                                segment,
                                offset,
                            });
                        }
                    });
                    if let Err(bad) = taken {
                        self.group.clear();
                        let what = bad.what.to_string();
                        return Err(ReadError::Broken { seq: bad.seq, file, offset: bad.offset, what });
                    }
                    if self.group.is_empty() {
                        continue;
                    }
                    return Ok(true);
                }
                Err(stop) => stop,
            };
            self.open = None;
            let seq = chain.frontier.size();
            match self.segments.front() {
                // A segment ends where the next begins; what a recovery left behind its end is skipped.
                Some(next) if *next == seq => {}
                None => return Ok(false),
                Some(_) => {
                    let what = stop.what.to_string();
                    return Err(ReadError::Broken {
                        seq: seq + stop.entries_before,
                        file,
                        offset: stop.offset,
                        what,
                    });
                }
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, ReadError> {
        let Some(first_seq) = self.segments.pop_front() else { return Ok(false) };
        let name = segment_path(first_seq);
        let io = |source| ReadError::Io { file: name.clone(), source };
        let file = self.storage.open(&name, Access::Read).map_err(io)?;
        let length = file.length().map_err(io)?;
        let mut header = vec![0u8; SEGMENT_HEADER_BYTES];
        file.read_at(0, &mut header).map_err(io)?;
        let header = SegmentHeader::parse(&header)
            .map_err(|source| ReadError::Segment { file: name.clone(), source })?;
        let fits = header.first_seq() == first_seq
            && self
                .chain
                .as_ref()
                .is_none_or(|chain| chain.previous == header.previous && chain.frontier == header.frontier);
        if !fits {
            let what = "segment does not continue the one before".to_owned();
            return Err(ReadError::Broken { seq: first_seq, file: name, offset: 0, what });
        }
        let mut chain = Chain::at_segment(&header);
        if let Some(before) = &self.chain {
            chain.run = before.run;
        }
        self.chain = Some(chain);
        self.open = Some(OpenSegment { first_seq, walker: GroupWalker::new(file, length) });
        Ok(true)
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.group.is_empty()
            && !self.failed
            && let Err(error) = self.fill()
        {
            self.failed = true;
            return Some(Err(error));
        }
        self.group.pop_front().map(Ok)
    }
}
