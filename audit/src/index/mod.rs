//! Indexes of sealed segments: where to look, never what is true.
//!
//! A file `index/<first_seq>.idx` for each sealed segment says which pieces of 256 entries hold an order, a session, a kind, a
//! time or a term of the application's, and the tree node over each piece. It is derived from the segment, can be deleted and
//! built again at any time, and `verify`, `verify.py` and recovery do not look at it.
//!
//! What an index cannot do:
//! - **change an entry**: a piece is read from the segment again, its links and leaves are hashed, and the node over them must be the index's;
//!   the nodes of a whole index must lead from the frontier in the segment's signed header to the one in the next segment's.
//! - **be stale or of something else**: it names log, range, terms and the SHA-256 of the segment's seal. One that does not fit, whose checksum is
//!   wrong or that cannot be read is built again.
//!
//! What an index can do is **leave an entry out**: nothing but reading a piece shows what is in it. So whoever needs everything reads
//! everything, or has another proof that nothing is missing, as the links of an order give. See `docs/adr/0015-indexes.md`.
//!
//! The open segment has no index and is always read.

mod build;
mod file;
mod load;
pub(crate) mod pieces;
mod search;

pub use build::{Built, IndexError, Progress, Which, build_all};
pub(crate) use load::load_nodes;
pub use search::{Search, Tally};

use crate::entry::EntryRef;
use crate::kind::Kind;

/// What the application finds entries by. The log knows orders, sessions, kinds and times itself and nothing of payloads.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Changes whenever `of` gives other terms for the same entry: indexes of another version are built again.
    pub version: u32,
    /// Any bytes are a term, the same for the same thing.
    pub of: TermsOf,
}

/// Calls its second argument with each term of an entry.
pub type TermsOf = fn(&EntryRef<'_>, &mut dyn FnMut(&[u8]));

/// Something that entries can be looked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The order in the entry's link.
    Order(u64),
    /// The session in the entry's link.
    Session([u8; 32]),
    /// The entry's kind.
    Kind(Kind),
    /// A term of the application's.
    Term(Vec<u8>),
}

impl Key {
    /// What stands in the index for it. Two keys may share a number: then a piece too many is read.
    fn number(&self) -> u32 {
        match self {
            Self::Order(id) => number(b'o', &id.to_le_bytes()),
            Self::Session(id) => number(b's', id),
            Self::Kind(kind) => number(b'k', &kind.to_le_bytes()),
            Self::Term(term) => number(b't', term),
        }
    }
}

fn number(what: u8, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[what]), bytes)
}

/// What is looked for. Found is every piece that may hold it, so whoever asks looks at each entry once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of each of these lists at least one key must be there.
    pub all: Vec<Vec<Key>>,
    /// Not before this time, UTC nanoseconds.
    pub from_ns: Option<u64>,
    /// Before this time, UTC nanoseconds.
    pub until_ns: Option<u64>,
    /// Pieces with one of these are found whatever else is asked: what the application needs to understand the others.
    pub always: Vec<Key>,
}
