//! Whether an index is of the segment that is there: log, range and seal, and that its nodes lead from one signed header to the next.

use std::io;

use super::file::{Bytes, Index, PieceFacts};
use super::pieces::{Piece, pieces};
use crate::chain::{Hash, sha256};
use crate::entry::u64_at;
use crate::follow::segment_header;
use crate::frame::{FRAME_HEAD_BYTES, FrameKind, parse_head};
use crate::layout::{INDEX, index_name, seal_path, segment_path};
use crate::note::{NOTE_BYTES_MAX, VerifierKey};
use crate::segment::{Seal, SegmentHeader};
use crate::storage::{Access, Storage, read_whole};

/// A sealed segment, as an index of it must have found it.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) header: SegmentHeader,
    /// Header of the segment behind it.
    pub(crate) next: SegmentHeader,
    pub(crate) seal: Seal,
    /// SHA-256 of the note.
    pub(crate) seal_sha256: Hash,
}

impl Sealed {
    /// The segment that starts with `first`, behind which another starts with `next`; `None` when it has no seal, or when headers, seal and
    /// file do not fit each other: `verify` says why, and whoever reads finds out.
    pub(crate) fn read(storage: &dyn Storage, first: u64, next: u64) -> Option<Self> {
        let (header, next) = (segment_header(storage, first).ok()?, segment_header(storage, next).ok()?);
        let note = read_whole(storage, &seal_path(first), NOTE_BYTES_MAX).ok()?;
        let key = VerifierKey::new(&header.origin, header.key).ok()?;
        let seal = Seal::open(std::str::from_utf8(&note).ok()?, &key).ok()?;
        let length = storage.open(&segment_path(first), Access::Read).and_then(|file| file.length()).ok()?;
        let fits = (&header.log_id, &header.key, &header.log_id) == (&next.log_id, &next.key, &seal.log_id)
            && (seal.first_seq, seal.end_seq, seal.file_bytes) == (first, next.first_seq(), length)
            && header.first_seq() == first;
        fits.then(|| Self { header, next, seal, seal_sha256: sha256(&note) })
    }

    /// Whether an index is of this segment. Terms are compared only where they matter.
    pub(crate) fn fits(&self, index: &Index, terms: Option<u32>) -> bool {
        let head = &index.head;
        let mut tree = self.header.frontier.clone();
        (head.log_id, head.seal) == (self.header.log_id, self.seal_sha256)
            && (head.first, head.end) == (self.header.first_seq(), self.seal.end_seq)
            && terms.is_none_or(|terms| terms == head.terms)
            && pieces_of(index).all(|(piece, facts)| tree.push_subtree(piece.level, facts.node))
            && tree == self.next.frontier
    }
}

/// The pieces of an index with what it says of them.
pub(crate) fn pieces_of(index: &Index) -> impl Iterator<Item = (Piece, &PieceFacts)> {
    pieces(index.head.first, index.head.end).zip(&index.head.pieces)
}

/// The index of a segment, if there is one that fits.
pub(crate) fn load(storage: &dyn Storage, sealed: &Sealed, terms: Option<u32>) -> io::Result<Option<Index>> {
    let name = format!("{INDEX}/{}", index_name(sealed.header.first_seq()));
    let file = storage.open(&name, Access::Read)?;
    Ok(Index::read(Bytes::File(file))?.filter(|index| sealed.fits(index, terms)))
}

/// The nodes over the pieces of a segment, with the places of their first entries, if an index that fits has them.
pub(crate) fn load_nodes(storage: &dyn Storage, first: u64, next: u64) -> Option<Vec<(Piece, PieceFacts)>> {
    let sealed = Sealed::read(storage, first, next)?;
    let index = load(storage, &sealed, None).ok().flatten()?;
    let pieces: Vec<_> = pieces_of(&index).map(|(piece, facts)| (piece, *facts)).collect();
    begin_where_they_say(storage, first, pieces.iter()).is_ok_and(|right| right).then_some(pieces)
}

/// Whether an entry of the right number begins where the index says of each piece: an index with wrong places is found before anything of the
/// segment is handed out.
pub(crate) fn begin_where_they_say<'a>(
    storage: &dyn Storage,
    segment: u64,
    mut pieces: impl Iterator<Item = &'a (Piece, PieceFacts)>,
) -> io::Result<bool> {
    let file = storage.open(&segment_path(segment), Access::Read)?;
    let mut bytes = [0u8; FRAME_HEAD_BYTES + 16];
    let mut begins = |(piece, facts): &(Piece, PieceFacts)| -> io::Result<bool> {
        let Some(frame) = facts.offset.checked_sub(FRAME_HEAD_BYTES as u64) else { return Ok(false) };
        let is_whole = file.read_at(frame, &mut bytes)? == bytes.len();
        let is_entry = matches!(parse_head(&bytes), Ok((FrameKind::Entry, _)));
        Ok(is_whole && is_entry && u64_at(&bytes, FRAME_HEAD_BYTES + 8) == piece.first)
    };
    pieces.try_fold(true, |right, piece| Ok(right && begins(piece)?))
}
