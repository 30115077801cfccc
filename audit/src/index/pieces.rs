//! A segment's entries in pieces of the tree: aligned full subtrees of at most 256 leaves.
//!
//! A segment begins and ends anywhere, so at its ends the pieces are smaller; everywhere else a piece is one of the blocks that
//! [`crate::nodes`] keeps. Which pieces a range has follows from the range alone.

use std::io;
use std::iter;

use crate::chain::{Hash, leaf_hash};
use crate::entry::EntryRef;
use crate::frame::{self, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameKind};
use crate::storage::File;

/// Level of the largest piece: 256 leaves.
pub(crate) const PIECE_LEVEL_MAX: u32 = 8;
const READ_BYTES: usize = 4 * FRAME_BYTES_MAX;

/// A full subtree of the log's tree, by its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// First entry.
    pub(crate) first: u64,
    /// It has `1 << level` leaves.
    pub(crate) level: u32,
}

impl Piece {
    /// One past the last entry.
    pub(crate) fn end(self) -> u64 {
        self.first + (1 << self.level)
    }
}

/// The pieces of the entries from `first` up to `end`, in order.
pub(crate) fn pieces(first: u64, end: u64) -> impl Iterator<Item = Piece> {
    let mut next = first;
    iter::from_fn(move || {
        let fits = end.checked_sub(next)?.checked_ilog2()?;
        let piece = Piece { first: next, level: PIECE_LEVEL_MAX.min(next.trailing_zeros()).min(fits) };
        next = piece.end();
        Some(piece)
    })
}

/// Hands out the entries from `seq` up to `end`, the first of which begins at byte `offset`, with their leaf hashes and places. Ends
/// early where the segment does; how far it came.
///
/// Only numbers are looked at: whoever calls compares links or hashes with something. The error within is the place of an entry with
/// another number.
pub(crate) fn read_entries(
    file: &dyn File,
    offset: u64,
    mut seq: u64,
    end: u64,
    mut each: impl FnMut(&EntryRef<'_>, Hash, u64),
) -> io::Result<Result<u64, u64>> {
    let mut at = offset.saturating_sub(FRAME_HEAD_BYTES as u64);
    let mut buffer = vec![0u8; READ_BYTES];
    let (mut held, mut used) = (file.read_at(at, &mut buffer)?, 0);
    while seq < end {
        if used > 0 && held - used < FRAME_BYTES_MAX && held == buffer.len() {
            at += used as u64;
            (held, used) = (file.read_at(at, &mut buffer)?, 0);
        }
        let rest = buffer.get(used..held).unwrap_or_default();
        let Ok((kind, length, total)) = frame::parse(rest) else { break };
        if kind == FrameKind::Entry {
            let body = rest.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length).unwrap_or_default();
            let place = at + (used + FRAME_HEAD_BYTES) as u64;
            match EntryRef::parse(body) {
                Ok(entry) if entry.header.seq == seq => each(&entry, leaf_hash(body), place),
                _ => return Ok(Err(place)),
            }
            seq += 1;
        }
        used += total;
    }
    Ok(Ok(seq))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::Frontier;

    proptest! {
        #[test]
        fn pieces_cover_a_range_and_build_the_same_tree_as_its_leaves(first in 0u64..2_000, length in 0u64..2_000) {
            let leaves = |range: std::ops::Range<u64>| range.map(|seq| leaf_hash(&seq.to_le_bytes()));
            let tree = |range: std::ops::Range<u64>| {
                let mut tree = Frontier::new();
                leaves(range).for_each(|leaf| tree.push(leaf));
                tree
            };
            let mut built = tree(0..first);
            let mut next = first;
            for piece in pieces(first, first + length) {
                prop_assert_eq!(piece.first, next);
                prop_assert!(piece.level <= PIECE_LEVEL_MAX);
                // A full subtree: what its leaves give as a tree of their own.
                prop_assert!(built.push_subtree(piece.level, tree(piece.first..piece.end()).root()));
                next = piece.end();
            }
            prop_assert_eq!(next, first + length);
            prop_assert_eq!(built, tree(0..first + length));
        }
    }

    #[test]
    fn a_subtree_goes_only_where_one_can_begin() {
        let mut tree = Frontier::new();
        tree.push([1; 32]);
        assert!(!tree.push_subtree(1, [2; 32]));
        assert!(tree.push_subtree(0, [2; 32]) && tree.push_subtree(1, [3; 32]));
        assert_eq!(tree.size(), 4);
        assert!(!tree.push_subtree(64, [3; 32]));
    }
}
