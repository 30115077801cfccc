//! The Merkle tree of RFC 6962 over the leaf hashes, kept as its frontier.
//!
//! The frontier of a tree of `n` leaves is the hash of each full subtree in the binary representation of `n`, largest first: at
//! most 64 hashes, from which the root follows and to which leaves are appended in amortised constant time.

use crate::chain::{Hash, node_hash, sha256};
use crate::lanes::hash_nodes;

/// Hashes in the largest possible frontier.
pub const FRONTIER_HASHES_MAX: usize = 64;

/// A tree as the full subtrees it consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self { size: 0, subtrees: Vec::with_capacity(FRONTIER_HASHES_MAX) }
    }

    /// A tree of `size` leaves from its full subtrees, largest first; `None` unless there is one per set bit of `size`.
    #[must_use]
    pub fn from_parts(size: u64, subtrees: &[Hash]) -> Option<Self> {
        if subtrees.len() != usize::try_from(size.count_ones()).ok()? {
            return None;
        }
        let mut frontier = Self::new();
        frontier.size = size;
        frontier.subtrees.extend_from_slice(subtrees);
        Some(frontier)
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The full subtrees, largest first.
    #[must_use]
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Appends one leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_full(0, leaf);
    }

    /// Appends a full subtree of `1 << level` leaves; false, and nothing done, where none can begin: the size is no multiple of its own.
    pub(crate) fn push_subtree(&mut self, level: u32, root: Hash) -> bool {
        let fits = level < u64::BITS && self.size.trailing_zeros() >= level;
        if fits {
            self.push_full(level, root);
        }
        fits
    }

    fn push_full(&mut self, level: u32, root: Hash) {
        let mut hash = root;
        for _ in 0..(self.size >> level).trailing_ones() {
            // The set low bits of the size each own a subtree at the end of the list.
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1 << level;
    }

    /// Appends leaves, level by level, so that nodes are hashed several at a time. `leaves` is used up.
    pub(crate) fn extend(&mut self, leaves: &mut Vec<Hash>) {
        let size = self.size + leaves.len() as u64;
        let mut roots = Vec::with_capacity(FRONTIER_HASHES_MAX);
        let mut level = 0u32;
        while !leaves.is_empty() {
            if self.size.checked_shr(level).is_some_and(|subtrees| subtrees & 1 == 1)
                && let Some(left) = self.subtrees.pop()
            {
                leaves.insert(0, left);
            }
            if leaves.len() % 2 == 1
                && let Some(last) = leaves.last()
            {
                roots.push(*last);
            }
            hash_nodes(leaves);
            level += 1;
        }
        self.subtrees.extend(roots.into_iter().rev());
        self.size = size;
    }

    /// The root; for the empty tree SHA-256 of nothing, as RFC 6962 has it.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut from_right = self.subtrees.iter().rev();
        let Some(last) = from_right.next() else { return sha256(b"") };
        from_right.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chain::leaf_hash;

    /// RFC 6962 section 2.1 word by word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
            }
        }
    }

    fn leaves(count: usize, seed: u8) -> Vec<Hash> {
        (0..count)
            .map(|i| leaf_hash(&[seed, u8::try_from(i % 256).unwrap(), u8::try_from(i / 256).unwrap()]))
            .collect()
    }

    proptest! {
        #[test]
        fn root_equals_the_naive_tree_and_frontier_resumes_anywhere(count in 0usize..600, cut in 0usize..600, seed: u8) {
            let leaves = leaves(count, seed);
            let cut = cut.min(count);
            let mut first = Frontier::new();
            for leaf in &leaves[..cut] {
                first.push(*leaf);
            }
            prop_assert_eq!(first.root(), naive_root(&leaves[..cut]));
            let mut resumed = Frontier::from_parts(first.size(), first.subtrees()).unwrap();
            for leaf in &leaves[cut..] {
                resumed.push(*leaf);
            }
            prop_assert_eq!(resumed.root(), naive_root(&leaves));
            first.extend(&mut leaves[cut..].to_vec());
            prop_assert_eq!(&first, &resumed);
            prop_assert_eq!(resumed.subtrees().len(), usize::try_from(resumed.size().count_ones()).unwrap());
        }
    }

    #[test]
    fn frontier_with_a_missing_subtree_is_refused() {
        assert!(Frontier::from_parts(3, &[[0; 32]]).is_none());
        assert!(Frontier::from_parts(2, &[[0; 32]]).is_some());
    }
}
