//! The inner nodes of the tree that proofs need, kept for a log on disk.
//!
//! Kept is the root of every full subtree of [`BLOCK_LEAVES`] leaves and where its first entry lies: 48 bytes for 256 entries. What is
//! above is computed from them, what is below from the entries themselves. Sealed segments at the beginning of the log that have an
//! index are not read at all: the index has the nodes, and they must lead from one signed header to the next. None of it is trusted:
//! whoever makes a proof checks it against a checkpoint before giving it away.

use std::path::Path;
use std::sync::Arc;

use crate::chain::{Hash, node_hash};
use crate::entry::EntryRef;
use crate::follow::{Follower, Place, segments};
use crate::frame::FRAME_HEAD_BYTES;
use crate::index::load_nodes;
use crate::index::pieces::{PIECE_LEVEL_MAX, read_entries};
use crate::layout::segment_path;
use crate::merkle::Frontier;
use crate::proof::Subtrees;
use crate::reader::ReadError;
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::storage::{Access, DiskStorage, Storage};

/// Leaves below one kept node.
pub const BLOCK_LEAVES: u64 = 1 << BLOCK_LEVEL;
const BLOCK_LEVEL: u32 = PIECE_LEVEL_MAX;

/// Why a node cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The log cannot be read there.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The node lies below the first entry that was kept when the beginning of the log was pruned.
    #[error("entries before {first} were pruned: their part of the tree is known only as a whole")]
    Pruned {
        /// First entry there is.
        first: u64,
    },
    /// The node lies behind what was read of the log.
    #[error("entry {0} is not in the log yet")]
    NotYet(u64),
}

#[derive(Clone, Copy, Debug)]
struct Block {
    root: Hash,
    first: Place,
}

/// The nodes of a log, as far as it has been read.
#[derive(Debug)]
pub struct Nodes {
    storage: Arc<dyn Storage>,
    follower: Follower,
    /// The tree before the first entry there is.
    base: Frontier,
    /// Number of the first block in `blocks`.
    first_block: u64,
    blocks: Blocks,
    /// The leaves that were read last: a proof needs those of one block again and again.
    leaves: Option<Leaves>,
}

/// Leaf hashes of the entries of a block that are there.
#[derive(Debug)]
struct Leaves {
    block: u64,
    first: u64,
    end: u64,
    hashes: Vec<Hash>,
}

/// The blocks of a log, one after the other.
#[derive(Debug)]
struct Blocks {
    /// Those that are full.
    kept: Vec<Block>,
    /// The one that is not full yet, and where its first entry that is there lies.
    open: Frontier,
    open_first: Option<Place>,
}

impl Blocks {
    /// Takes the next full subtree, at most a block, whose first entry lies at `place`.
    fn take(&mut self, level: u32, node: Hash, place: Place) {
        let first = *self.open_first.get_or_insert(place);
        self.open.push_subtree(level, node);
        if let [root] = self.open.subtrees()
            && self.open.size() == BLOCK_LEAVES
        {
            self.kept.push(Block { root: *root, first });
            self.open = Frontier::new();
            self.open_first = None;
        }
    }
}

impl Nodes {
    /// Reads the log in `folder` to its end.
    ///
    /// # Errors
    /// What reading the log answers.
    pub fn read(folder: &Path) -> Result<Self, ReadError> {
        Self::read_storage(Arc::new(DiskStorage::new(folder)))
    }

    /// As [`Nodes::read`], on any storage.
    ///
    /// # Errors
    /// As [`Nodes::read`].
    pub fn read_storage(storage: Arc<dyn Storage>) -> Result<Self, ReadError> {
        let firsts = segments(&*storage)?;
        let mut from = *firsts.first().ok_or(ReadError::NoLog)?;
        let mut nodes = Self::at_start(Arc::clone(&storage))?;
        for next in firsts.into_iter().skip(1) {
            let Some(pieces) = load_nodes(&*storage, from, next) else { break };
            for (piece, facts) in pieces {
                nodes.blocks.take(piece.level, facts.node, Place { segment: from, offset: facts.offset });
            }
            from = next;
        }
        nodes.follower = Follower::on_storage(storage, from)?;
        nodes.advance()?;
        Ok(nodes)
    }

    /// As [`Nodes::read_storage`], for somebody who looks at every entry meanwhile: no index is used.
    pub(crate) fn read_whole(
        storage: Arc<dyn Storage>,
        each: impl FnMut(&EntryRef<'_>, &Hash, Place),
    ) -> Result<Self, ReadError> {
        let mut nodes = Self::at_start(storage)?;
        nodes.advance_with(each)?;
        Ok(nodes)
    }

    /// Nothing read yet.
    fn at_start(storage: Arc<dyn Storage>) -> Result<Self, ReadError> {
        let follower = Follower::on_storage(Arc::clone(&storage), 0)?;
        let base = follower.tree().clone();
        let blocks = Blocks { kept: Vec::new(), open: open_block(&base), open_first: None };
        let first_block = base.size() / BLOCK_LEAVES;
        Ok(Self { storage, follower, base, first_block, blocks, leaves: None })
    }

    /// Reads what was appended meanwhile.
    ///
    /// # Errors
    /// What reading the log answers.
    pub fn advance(&mut self) -> Result<(), ReadError> {
        self.advance_with(|_, _, _| {})
    }

    fn advance_with(&mut self, mut each: impl FnMut(&EntryRef<'_>, &Hash, Place)) -> Result<(), ReadError> {
        let blocks = &mut self.blocks;
        let mut take = |entry: &EntryRef<'_>, leaf: &Hash, place: Place| {
            blocks.take(0, *leaf, place);
            each(entry, leaf, place);
        };
        while self.follower.next_group(&mut take)? {}
        Ok(())
    }

    /// Entries read so far, those before the first kept one included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.follower.tree().size()
    }

    /// First entry there is; 0 unless the beginning of the log was pruned.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.base.size()
    }

    /// Root of the tree over everything read so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.follower.tree().root()
    }

    /// The kept node of a block, if that block is full and not cut off by pruning.
    fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.kept.get(usize::try_from(number.checked_sub(self.first_block)?).ok()?)
    }

    /// A node of the tree before the first entry there is: only those that make it up as a whole are known.
    fn pruned(&self, level: u32, index: u64) -> Result<Hash, NodeError> {
        let size = self.base.size();
        // The subtrees of a tree are its set bits, the largest first; this one has `index << level` leaves before it.
        let known = (size >> level) & 1 == 1 && index == (size >> level) - 1;
        let before = (size >> level).count_ones().saturating_sub(1);
        let hash = self.base.subtrees().get(usize::try_from(before).unwrap_or(usize::MAX));
        hash.copied().filter(|_| known).ok_or(NodeError::Pruned { first: size })
    }

    /// Leaf hashes of a block's entries that are there, in order.
    fn leaves(&mut self, number: u64) -> Result<&Leaves, NodeError> {
        let begin = (number * BLOCK_LEAVES).max(self.base.size());
        let end = ((number + 1) * BLOCK_LEAVES).min(self.size());
        let known = self.leaves.take().filter(|known| (known.block, known.end) == (number, end));
        let leaves = match known {
            Some(known) => known,
            None => Leaves { block: number, first: begin, end, hashes: self.read_block(number, begin, end)? },
        };
        Ok(self.leaves.insert(leaves))
    }

    fn read_block(&self, number: u64, begin: u64, end: u64) -> Result<Vec<Hash>, NodeError> {
        let place = match self.block(number) {
            Some(block) => Some(block.first),
            None => self.blocks.open_first,
        };
        let mut place = place.ok_or(NodeError::NotYet(begin))?;
        let mut leaves = Vec::new();
        loop {
            let seq = begin + leaves.len() as u64;
            self.read_leaves(place, seq, end, &mut leaves)?;
            let next = begin + leaves.len() as u64;
            if next == end {
                break;
            }
            // The segment ended: the next one is named by its first entry, which begins behind header and frame head.
            if next == place.segment {
                return Err(broken(place, next).into());
            }
            let offset = (SEGMENT_HEADER_BYTES + FRAME_HEAD_BYTES) as u64;
            place = Place { segment: next, offset };
        }
        Ok(leaves)
    }

    /// Leaf hashes of the entries from `seq` on, the first of which lies at `place`, up to `end` or the end of the segment.
    fn read_leaves(&self, place: Place, seq: u64, end: u64, leaves: &mut Vec<Hash>) -> Result<(), ReadError> {
        let name = segment_path(place.segment);
        let io = |source| ReadError::Io { file: name.clone(), source };
        let file = self.storage.open(&name, Access::Read).map_err(io)?;
        let before = leaves.len();
        let read =
            read_entries(&*file, place.offset, seq, end, |_, leaf, _| leaves.push(leaf)).map_err(io)?;
        match read {
            Ok(_) => Ok(()),
            Err(offset) => Err(broken(Place { offset, ..place }, seq + (leaves.len() - before) as u64)),
        }
    }
}

/// The unfinished block of a tree: its subtrees smaller than a block.
fn open_block(tree: &Frontier) -> Frontier {
    let size = tree.size() % BLOCK_LEAVES;
    let small = usize::try_from(size.count_ones()).unwrap_or(0);
    let at = tree.subtrees().len().saturating_sub(small);
    Frontier::from_parts(size, tree.subtrees().get(at..).unwrap_or_default()).unwrap_or_default()
}

fn broken(place: Place, seq: u64) -> ReadError {
    let what = "the entry is not where it was".to_owned();
    ReadError::Broken { seq, file: segment_path(place.segment), offset: place.offset, what }
}

impl Subtrees for Nodes {
    type Error = NodeError;

    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, NodeError> {
        let (start, end) = (index << level, (index + 1) << level);
        if end > self.size() {
            return Err(NodeError::NotYet(end - 1));
        }
        if end <= self.base.size() {
            return self.pruned(level, index);
        }
        if level == BLOCK_LEVEL
            && let Some(block) = self.block(index)
        {
            return Ok(block.root);
        }
        if level > BLOCK_LEVEL || start < self.base.size() {
            let (left, right) =
                (self.subtree(level - 1, index * 2)?, self.subtree(level - 1, index * 2 + 1)?);
            return Ok(node_hash(&left, &right));
        }
        let Leaves { first, hashes, .. } = self.leaves(start / BLOCK_LEAVES)?;
        let range = usize::try_from(start - first).unwrap_or(0)..usize::try_from(end - first).unwrap_or(0);
        let mut tree = Frontier::new();
        hashes.get(range).unwrap_or_default().iter().for_each(|leaf| tree.push(*leaf));
        Ok(tree.root())
    }
}
