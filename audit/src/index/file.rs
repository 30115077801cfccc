//! The file of one index. Nobody but this module reads it, and another version is built again, so its form may change.
//!
//! ```text
//! head    "sealidx\n" | version u32 | terms u32 | log_id 32 | SHA-256 of the seal note 32 | first u64 | end u64
//!         | pieces u32 | pages u32 | rows u64
//!         | pieces x (node 32 | offset of the first entry u64 | least time u64 | greatest time u64)
//!         | pages x first row of the page u64
//!         | CRC-32C of all of that u32
//! pages   511 rows u64, sorted, the last page filled up with ones | 0 u32 | CRC-32C of the 4,092 bytes before u32
//! row     number of a key (u32, high half) | piece that holds it (u32, low half)
//! ```
//! Integers are little-endian. The head is read whole (56 bytes a piece, 8 a page), of the pages only those that a key leads to.

use std::io;
use std::sync::Arc;

use crate::chain::{HASH_BYTES, Hash};
use crate::entry::{array, u32_at, u64_at};
use crate::index::pieces::{PIECE_LEVEL_MAX, pieces};
use crate::storage::File;

const MAGIC: &[u8; 8] = b"sealidx\n";
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 112;
const PIECE_BYTES: usize = HASH_BYTES + 24;
const CRC_BYTES: usize = 4;
const PAGE_BYTES: usize = 4_096;
const ROW_BYTES: usize = 8;
const ROWS_PER_PAGE: usize = (PAGE_BYTES - 2 * CRC_BYTES) / ROW_BYTES;

/// What an index says of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceFacts {
    /// The tree's node over it.
    pub(crate) node: Hash,
    /// Where its first entry's bytes begin in the segment.
    pub(crate) offset: u64,
    /// Least and greatest time of its entries, UTC nanoseconds.
    pub(crate) time_ns: (u64, u64),
}

/// What an index is of, and what it says, its rows apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) log_id: Hash,
    /// SHA-256 of the note that seals the segment.
    pub(crate) seal: Hash,
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// Version of the application's terms.
    pub(crate) terms: u32,
    pub(crate) pieces: Vec<PieceFacts>,
}

/// An index that is well-formed; whether it is of anything there is, `load` finds out.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) head: Head,
    fences: Vec<u64>,
    rows: u64,
    pages_at: u64,
    bytes: Bytes,
}

/// Where the bytes of an index are.
#[derive(Debug)]
pub(crate) enum Bytes {
    File(Arc<dyn File>),
    /// Just built.
    Memory(Vec<u8>),
}

impl Bytes {
    fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.length(),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Exactly `length` bytes at `offset`; `None` where there are fewer.
    fn read(&self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::File(file) => {
                let mut bytes = vec![0; length];
                Ok((file.read_at(offset, &mut bytes)? == length).then_some(bytes))
            }
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let range = start..start.saturating_add(length);
                Ok(bytes.get(range).map(<[u8]>::to_vec))
            }
        }
    }
}

/// The row that says that a piece holds a key.
pub(crate) fn row(number: u32, piece: u32) -> u64 {
    u64::from(number) << 32 | u64::from(piece)
}

/// The file. `rows` are sorted, each once.
pub(crate) fn encode(head: &Head, rows: &[u64]) -> Vec<u8> {
    let pages = rows.chunks(ROWS_PER_PAGE);
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = Vec::with_capacity(head_bytes(head.pieces.len(), pages.len()) + pages.len() * PAGE_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&head.terms.to_le_bytes());
    out.extend_from_slice(&head.log_id);
    out.extend_from_slice(&head.seal);
    out.extend_from_slice(&head.first.to_le_bytes());
    out.extend_from_slice(&head.end.to_le_bytes());
    out.extend_from_slice(&count(head.pieces.len()));
    out.extend_from_slice(&count(pages.len()));
    out.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    for piece in &head.pieces {
        out.extend_from_slice(&piece.node);
        for number in [piece.offset, piece.time_ns.0, piece.time_ns.1] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    pages.clone().filter_map(<[u64]>::first).for_each(|row| out.extend_from_slice(&row.to_le_bytes()));
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    for page in pages {
        let start = out.len();
        page.iter().for_each(|row| out.extend_from_slice(&row.to_le_bytes()));
        out.resize(start + ROWS_PER_PAGE * ROW_BYTES, u8::MAX);
        out.extend_from_slice(&[0; CRC_BYTES]);
        let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
    }
    out
}

fn head_bytes(pieces: usize, pages: usize) -> usize {
    FIXED_BYTES + pieces * PIECE_BYTES + pages * ROW_BYTES + CRC_BYTES
}

impl Index {
    /// Takes the head of an index apart; `None` for what is not one.
    pub(crate) fn read(bytes: Bytes) -> io::Result<Option<Self>> {
        let Some(fixed) = bytes.read(0, FIXED_BYTES)? else { return Ok(None) };
        let count = |offset: usize| usize::try_from(u32_at(&fixed, offset)).unwrap_or(usize::MAX);
        let (pieces, pages, rows) = (count(96), count(100), u64_at(&fixed, 104));
        let right = fixed.starts_with(MAGIC)
            && u32_at(&fixed, 8) == VERSION
            && rows.div_ceil(ROWS_PER_PAGE as u64) == pages as u64
            // Both counts are 32 bits: no sum overflows. What is allocated is no more than the file has.
            && bytes.length()? == (head_bytes(pieces, pages) + pages * PAGE_BYTES) as u64;
        let Some(whole) = (if right { bytes.read(0, head_bytes(pieces, pages))? } else { None }) else {
            return Ok(None);
        };
        let (data, crc) = whole.split_at(whole.len() - CRC_BYTES);
        if crc32c::crc32c(data) != u32_at(crc, 0) {
            return Ok(None);
        }
        let pages_at = whole.len() as u64;
        let (facts, fences) = data.split_at(FIXED_BYTES + pieces * PIECE_BYTES);
        let facts = facts.get(FIXED_BYTES..).unwrap_or_default().chunks_exact(PIECE_BYTES);
        let head = Head {
            log_id: array(&fixed, 16),
            seal: array(&fixed, 48),
            first: u64_at(&fixed, 80),
            end: u64_at(&fixed, 88),
            terms: u32_at(&fixed, 12),
            pieces: facts.map(piece_facts).collect(),
        };
        let fences = fences.chunks_exact(ROW_BYTES).map(|row| u64_at(row, 0)).collect();
        Ok(head.is_of_its_range().then_some(Self { head, fences, rows, pages_at, bytes }))
    }

    /// Pieces that hold a key with this number, ascending; `None` when a page is damaged.
    pub(crate) fn pieces_with(&self, number: u32) -> io::Result<Option<Vec<u32>>> {
        let mut found = Vec::new();
        // Rows of one key may begin at the end of the page before the first that starts with it.
        let begin = self.fences.partition_point(|fence| *fence < row(number, 0)).saturating_sub(1);
        for page in begin..self.fences.len() {
            if self.fences.get(page).is_none_or(|fence| fence >> 32 > u64::from(number)) {
                break;
            }
            let offset = self.pages_at + (page * PAGE_BYTES) as u64;
            let Some(bytes) = self.bytes.read(offset, PAGE_BYTES)? else { return Ok(None) };
            let (data, crc) = bytes.split_at(PAGE_BYTES - CRC_BYTES);
            if crc32c::crc32c(data) != u32_at(crc, 0) {
                return Ok(None);
            }
            let there = usize::try_from(self.rows).unwrap_or(usize::MAX).saturating_sub(page * ROWS_PER_PAGE);
            for row in data.chunks_exact(ROW_BYTES).take(there.min(ROWS_PER_PAGE)).map(|row| u64_at(row, 0)) {
                if row >> 32 == u64::from(number) {
                    found.push(u32::try_from(row & u64::from(u32::MAX)).unwrap_or(u32::MAX));
                }
            }
        }
        Ok(Some(found))
    }
}

impl Head {
    /// Whether it has a node for each piece of its range.
    fn is_of_its_range(&self) -> bool {
        let entries = self.end.checked_sub(self.first);
        entries.is_some_and(|entries| entries >> PIECE_LEVEL_MAX <= self.pieces.len() as u64)
            && pieces(self.first, self.end).count() == self.pieces.len()
    }
}

fn piece_facts(bytes: &[u8]) -> PieceFacts {
    let number = |place: usize| u64_at(bytes, HASH_BYTES + place * 8);
    PieceFacts { node: array(bytes, 0), offset: number(0), time_ns: (number(1), number(2)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn head(first: u64, end: u64) -> Head {
        let facts = |number: usize| PieceFacts {
            node: [u8::try_from(number % 251).unwrap(); 32],
            offset: number as u64 * 1_000,
            time_ns: (number as u64, number as u64 + 7),
        };
        let pieces = (0..pieces(first, end).count()).map(facts).collect();
        Head { log_id: [1; 32], seal: [2; 32], first, end, terms: 3, pieces }
    }

    fn read(bytes: Vec<u8>) -> Option<Index> {
        Index::read(Bytes::Memory(bytes)).unwrap()
    }

    proptest! {
        #[test]
        fn every_key_is_found_where_it_is_and_nowhere_else(
            rows in prop::collection::btree_set((0u32..40, 0u32..200), 0..2_500), first in 0u64..3_000, length in 1u64..3_000,
        ) {
            let head = head(first, first + length);
            let encoded: Vec<u64> = rows.iter().map(|(number, piece)| row(*number, *piece)).collect();
            let index = read(encode(&head, &encoded)).unwrap();
            prop_assert_eq!(&index.head, &head);
            for number in 0..41 {
                let expected: BTreeSet<u32> = rows.iter().filter(|row| row.0 == number).map(|row| row.1).collect();
                let found = index.pieces_with(number).unwrap().unwrap();
                prop_assert!(found.iter().eq(&expected), "{number}: {found:?}");
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(bytes);
        }
    }

    #[test]
    fn a_flipped_bit_is_found_in_the_head_and_in_the_page_that_is_read() {
        let rows: Vec<u64> =
            (0..600).map(|piece| row(piece % 3, piece)).collect::<BTreeSet<_>>().into_iter().collect();
        let mut bytes = encode(&head(5, 900), &rows);
        let pages = 2 * PAGE_BYTES;
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let index = read(bytes.clone());
            if bit / 8 < bytes.len() - pages {
                assert!(index.is_none(), "bit {bit}");
            } else {
                let answers = (0..3).map(|number| index.as_ref().unwrap().pieces_with(number).unwrap());
                assert!(answers.into_iter().any(|answer| answer.is_none()), "bit {bit}");
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(read(bytes[..bytes.len() - 1].to_vec()).is_none());
    }
}
