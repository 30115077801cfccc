//! Reads a log group by group and waits for more where it ends, across rotation, checking each group as it comes.
//!
//! What a follower hands out continues what it handed out before: checksums, links, numbers, place in the tree. It cannot tell a
//! group that is being written from one that was damaged; both are "nothing more yet". Whoever follows a log compares with its
//! checkpoints, which only ever cover what is durable.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::chain::Hash;
use crate::entry::EntryRef;
use crate::layout::{SEGMENTS, segment_path};
use crate::merkle::Frontier;
use crate::reader::ReadError;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, first_seq_of_name};
use crate::storage::{Access, DiskStorage, Storage};
use crate::walk::{Chain, GroupWalker};

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First sequence number of the segment.
    pub segment: u64,
    /// Where the entry's bytes start in the segment's file.
    pub offset: u64,
}

/// Follows a log.
#[derive(Debug)]
pub struct Follower {
    storage: Arc<dyn Storage>,
    segment: u64,
    walker: GroupWalker,
    chain: Chain,
    header: SegmentHeader,
    /// Whether the walker may hold bytes from before a group was written.
    read_ahead: bool,
}

impl Follower {
    /// Follows the log in `folder` from the start of the segment that holds entry `seq`, or its first segment if that begins
    /// behind `seq`.
    ///
    /// # Errors
    /// [`ReadError::NoLog`], what the disk answers, or a segment header that cannot be used.
    pub fn new(folder: &Path, seq: u64) -> Result<Self, ReadError> {
        Self::on_storage(Arc::new(DiskStorage::new(folder)), seq)
    }

    /// As [`Follower::new`], on any storage.
    ///
    /// # Errors
    /// As [`Follower::new`].
    pub fn on_storage(storage: Arc<dyn Storage>, seq: u64) -> Result<Self, ReadError> {
        let firsts = segments(&*storage)?;
        let at = firsts.partition_point(|first| *first <= seq).saturating_sub(1);
        let segment = *firsts.get(at).ok_or(ReadError::NoLog)?;
        let (header, walker) = open_segment(&*storage, segment)?;
        Ok(Self { chain: Chain::at_segment(&header), storage, segment, walker, header, read_ahead: false })
    }

    /// First sequence numbers of the segments of the log in `folder`, in order.
    ///
    /// # Errors
    /// [`ReadError::NoLog`], or what the disk answers.
    pub fn segments(folder: &Path) -> Result<Vec<u64>, ReadError> {
        segments(&DiskStorage::new(folder))
    }

    /// Header of the segment that is being read.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The tree over everything that was handed out, and before it.
    #[must_use]
    pub fn tree(&self) -> &Frontier {
        &self.chain.frontier
    }

    /// Hands out the entries of the next complete group; false where there is none yet.
    ///
    /// # Errors
    /// [`ReadError::Broken`] when what is there does not continue the log; what the disk answers.
    pub fn next_group(
        &mut self,
        mut each: impl FnMut(&EntryRef<'_>, &Hash, Place),
    ) -> Result<bool, ReadError> {
        loop {
            let (segment, file) = (self.segment, segment_path(self.segment));
            let io = |source| ReadError::Io { file: file.clone(), source };
            if let Ok(mut group) = self.walker.next_group().map_err(io)? {
                let taken = self.chain.take(&mut group, |entry, hash, offset| {
                    each(entry, hash, Place { segment, offset });
                });
                self.read_ahead = true;
                return match taken {
                    Ok(()) => Ok(true),
                    Err(bad) => {
                        let what = bad.what.to_string();
                        Err(ReadError::Broken { seq: bad.seq, file, offset: bad.offset, what })
                    }
                };
            }
            if std::mem::replace(&mut self.read_ahead, false) {
                self.walker.forget();
                continue;
            }
            // The segment goes on in the next one only if that one starts exactly here: a group of this one that is not visible yet
            // would otherwise be skipped.
            let next = self.chain.frontier.size();
            if next == self.segment || !segments(&*self.storage)?.contains(&next) {
                self.walker.forget();
                return Ok(false);
            }
            self.begin(next)?;
        }
    }

    fn begin(&mut self, first_seq: u64) -> Result<(), ReadError> {
        let (header, walker) = open_segment(&*self.storage, first_seq)?;
        let mut chain = Chain::at_segment(&header);
        if chain.previous != self.chain.previous || chain.frontier != self.chain.frontier {
            let what = "segment does not continue the one before".to_owned();
            return Err(ReadError::Broken { seq: first_seq, file: segment_path(first_seq), offset: 0, what });
        }
        chain.run = self.chain.run;
        (self.segment, self.walker, self.chain, self.header) = (first_seq, walker, chain, header);
        Ok(())
    }
}

/// First sequence numbers of the segments there are, in order.
pub(crate) fn segments(storage: &dyn Storage) -> Result<Vec<u64>, ReadError> {
    let names = match storage.list(SEGMENTS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::NoLog),
        other => other.map_err(|source| ReadError::Io { file: SEGMENTS.to_owned(), source })?,
    };
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| first_seq_of_name(name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Header of the segment that starts with `first_seq`, and says so.
pub(crate) fn segment_header(storage: &dyn Storage, first_seq: u64) -> Result<SegmentHeader, ReadError> {
    let name = segment_path(first_seq);
    let io = |source| ReadError::Io { file: name.clone(), source };
    let mut header = vec![0u8; SEGMENT_HEADER_BYTES];
    storage.open(&name, Access::Read).and_then(|file| file.read_at(0, &mut header)).map_err(io)?;
    let header =
        SegmentHeader::parse(&header).map_err(|source| ReadError::Segment { file: name.clone(), source })?;
    if header.first_seq() != first_seq {
        let what = "segment's header states another first entry".to_owned();
        return Err(ReadError::Broken { seq: first_seq, file: name, offset: 0, what });
    }
    Ok(header)
}

fn open_segment(storage: &dyn Storage, first_seq: u64) -> Result<(SegmentHeader, GroupWalker), ReadError> {
    let header = segment_header(storage, first_seq)?;
    let name = segment_path(first_seq);
    let io = |source| ReadError::Io { file: name.clone(), source };
    let file = storage.open(&name, Access::Read).map_err(io)?;
    let length = file.length().map_err(io)?;
    Ok((header, GroupWalker::new(file, length)))
}
