//! Proofs of RFC 6962: that an entry is in a tree, and that a larger tree continues a smaller one.
//!
//! Making a proof needs hashes of some full subtrees; [`Subtrees`] is where they come from, and it need not be trusted: whoever
//! checks a proof has the roots. Checking needs nothing but the proof. The algorithms are those of RFC 6962 section 2.1; the
//! checks are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2.

use crate::chain::{Hash, node_hash};

/// Most hashes in a proof of inclusion, for a tree of 2^64 leaves.
pub const INCLUSION_HASHES_MAX: usize = 64;
/// Most hashes in a proof of consistency.
pub const CONSISTENCY_HASHES_MAX: usize = 65;

/// Where the hashes of full subtrees come from.
pub trait Subtrees {
    /// Why a hash could not be had.
    type Error;

    /// Hash of the full subtree over the leaves `index << level` to `(index + 1) << level`, which lie all in the tree.
    ///
    /// # Errors
    /// Whatever keeps the hash from being had.
    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Root of the tree of the leaves `start` to `end`, where `start` is a multiple of the largest power of two below the length.
fn range_root<S: Subtrees>(source: &mut S, start: u64, end: u64) -> Result<Hash, S::Error> {
    // Full subtrees from the left, largest first; then joined from the right, as the frontier of a tree is.
    let mut hashes = Vec::new();
    let mut at = start;
    while at < end {
        let level = (end - at).ilog2();
        hashes.push(source.subtree(level, at >> level)?);
        at += 1 << level;
    }
    let mut from_right = hashes.into_iter().rev();
    let last = from_right.next().unwrap_or_else(|| crate::chain::sha256(b""));
    Ok(from_right.fold(last, |right, left| node_hash(&left, &right)))
}

/// Root of the tree of the first `size` leaves.
///
/// # Errors
/// What `source` answers.
pub fn root<S: Subtrees>(source: &mut S, size: u64) -> Result<Hash, S::Error> {
    range_root(source, 0, size)
}

/// The largest power of two smaller than `leaves`, which is at least 2.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf upwards; empty unless `index < size`.
///
/// # Errors
/// What `source` answers.
pub fn inclusion<S: Subtrees>(source: &mut S, index: u64, size: u64) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    if index >= size {
        return Ok(path);
    }
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_root(source, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(source, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proof that the tree of `new` leaves continues that of `old`; empty unless `0 < old < new`.
///
/// # Errors
/// What `source` answers.
pub fn consistency<S: Subtrees>(source: &mut S, old: u64, new: u64) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return Ok(path);
    }
    let (mut start, mut end) = (0, new);
    // Down to the subtree that ends where the old tree ends.
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_root(source, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(source, start, middle)?);
            start = middle;
        }
    }
    // The old root is known to whoever checks; anything smaller must be named.
    if start != 0 {
        path.push(range_root(source, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Root of the tree of `size` leaves in which `leaf` has place `index`, if `path` is of the right length.
#[must_use]
pub fn root_of_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node % 2 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // Levels at which this node is alone at the right edge have no sibling.
            while node % 2 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether `path` proves that `leaf` has place `index` in the tree of `size` leaves with this root.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    root_of_inclusion(leaf, index, size, path).as_ref() == Some(root)
}

/// Whether `path` proves that the tree of `new` leaves with root `new_root` continues the tree of `old` leaves with `old_root`.
///
/// The empty tree is continued by every tree, and a tree by itself, with an empty proof.
#[must_use]
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, path: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty() && *old_root == crate::chain::sha256(b"");
    }
    let whole = old.is_power_of_two();
    let mut rest = path.iter();
    let first = if whole { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    let shift = node.trailing_ones();
    node >>= shift;
    last >>= shift;
    let (mut from_old, mut from_new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node % 2 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node % 2 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::chain::{leaf_hash, sha256};

    /// RFC 6962 section 2.1 word by word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [leaf] => *leaf,
            _ => {
                let middle = leaves.len().next_power_of_two() / 2;
                node_hash(&naive_root(&leaves[..middle]), &naive_root(&leaves[middle..]))
            }
        }
    }

    /// PATH(m, D[n]) of RFC 6962 section 2.1.1.
    fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let (mut path, other) = if index < middle {
            (naive_path(index, left), right)
        } else {
            (naive_path(index - middle, right), left)
        };
        path.push(naive_root(other));
        path
    }

    /// SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2.
    fn naive_subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if known { Vec::new() } else { vec![naive_root(leaves)] };
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let (mut path, other) = if old <= middle {
            (naive_subproof(old, left, known), right)
        } else {
            (naive_subproof(old - middle, right, false), left)
        };
        path.push(naive_root(other));
        path
    }

    struct Leaves<'a>(&'a [Hash]);

    impl Subtrees for Leaves<'_> {
        type Error = Infallible;

        fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, Infallible> {
            let start = usize::try_from(index << level).unwrap();
            Ok(naive_root(&self.0[start..start + (1 << level)]))
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|index| leaf_hash(&index.to_le_bytes())).collect()
    }

    #[test]
    fn every_proof_of_every_small_tree_is_that_of_the_rfc_and_holds() {
        let all = leaves(70);
        for size in 1..=all.len() {
            let tree = &all[..size];
            let root = naive_root(tree);
            for (index, leaf) in tree.iter().enumerate() {
                let Ok(path) = inclusion(&mut Leaves(tree), index as u64, size as u64);
                assert_eq!(path, naive_path(index, tree), "leaf {index} of {size}");
                assert!(verify_inclusion(leaf, index as u64, size as u64, &path, &root));
            }
            for old in 1..=size {
                let Ok(path) = consistency(&mut Leaves(tree), old as u64, size as u64);
                assert_eq!(path, naive_subproof(old, tree, true), "{old} to {size}");
                let old_root = naive_root(&tree[..old]);
                assert!(verify_consistency(old as u64, &old_root, size as u64, &root, &path));
            }
        }
    }

    proptest! {
        #[test]
        fn what_a_proof_does_not_prove_is_refused(
            size in 2usize..400, index: prop::sample::Index, other: prop::sample::Index, flip: prop::sample::Index,
        ) {
            let tree = leaves(size);
            let (index, other) = (index.index(size), other.index(size));
            let root = naive_root(&tree);
            let Ok(path) = inclusion(&mut Leaves(&tree), index as u64, size as u64);
            let holds = |leaf: &Hash, index: usize, size: usize, path: &[Hash]| {
                verify_inclusion(leaf, index as u64, size as u64, path, &root)
            };
            prop_assert!(holds(&tree[index], index, size, &path));
            prop_assert_eq!(holds(&tree[other], index, size, &path), other == index);
            prop_assert_eq!(holds(&tree[index], other, size, &path), other == index);
            let mut wrong = path.clone();
            let at = flip.index(wrong.len());
            wrong[at][0] ^= 1;
            prop_assert!(!holds(&tree[index], index, size, &wrong));
            prop_assert!(!holds(&tree[index], index, size, &path[1..]));
            wrong.clone_from(&path);
            wrong.push([0; 32]);
            prop_assert!(!holds(&tree[index], index, size, &wrong));
        }

        #[test]
        fn a_tree_that_does_not_continue_another_is_refused(
            new in 2usize..400, old: prop::sample::Index, flip: prop::sample::Index,
        ) {
            let tree = leaves(new);
            let old = 1 + old.index(new - 1);
            let (old_root, root) = (naive_root(&tree[..old]), naive_root(&tree));
            let Ok(path) = consistency(&mut Leaves(&tree), old as u64, new as u64);
            let holds = |old_root: &Hash, root: &Hash, path: &[Hash]| {
                verify_consistency(old as u64, old_root, new as u64, root, path)
            };
            prop_assert!(holds(&old_root, &root, &path));
            prop_assert!(!holds(&root, &root, &path));
            prop_assert!(!holds(&old_root, &old_root, &path));
            prop_assert!(!holds(&old_root, &root, &path[1..]));
            let mut wrong = path.clone();
            let at = flip.index(wrong.len());
            wrong[at][31] ^= 128;
            prop_assert!(!holds(&old_root, &root, &wrong));
            prop_assert!(!verify_consistency(new as u64, &root, old as u64, &old_root, &path));
        }

        #[test]
        fn proofs_of_large_sizes_never_panic(index: u64, size: u64, old: u64, hashes in 0usize..70) {
            let path = vec![[7; 32]; hashes];
            prop_assert!(!verify_inclusion(&[1; 32], index, size, &path, &[2; 32]));
            prop_assert!(!verify_consistency(old, &[1; 32], size, &[2; 32], &path));
        }
    }

    #[test]
    fn a_proof_in_a_log_of_80_million_entries_has_27_hashes() {
        struct Any;
        impl Subtrees for Any {
            type Error = Infallible;
            fn subtree(&mut self, _: u32, _: u64) -> Result<Hash, Infallible> {
                Ok([9; 32])
            }
        }
        let Ok(path) = inclusion(&mut Any, 41_234_567, 80_000_000);
        assert_eq!(path.len(), 27);
        let Ok(root) = root(&mut Any, 80_000_000);
        assert_ne!(root, [9; 32]);
    }
}
