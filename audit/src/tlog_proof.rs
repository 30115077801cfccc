//! Proofs that an entry is in a log, as text that anybody's tools read (C2SP tlog-proof).
//!
//! First the format's name, then `index` and the entry's place, then the hashes from the leaf's sibling up, an empty line, and the
//! checkpoint as the log signed it. `extra` lines are refused: nothing signs them. Specification: <https://c2sp.org/tlog-proof>.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::chain::Hash;
use crate::checkpoint::TreeHead;
use crate::fields::decimal;
use crate::note::NOTE_BYTES_MAX;
use crate::proof::{INCLUSION_HASHES_MAX, verify_inclusion};

const TITLE: &str = "c2sp.org/tlog-proof@v1\n";
/// Longest proof that is read, bytes: title, index, 64 hashes and a checkpoint.
pub const PROOF_BYTES_MAX: usize = 64 + INCLUSION_HASHES_MAX * 45 + NOTE_BYTES_MAX;

/// Where an entry is, and the hashes that lead from it to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Sequence number of the entry.
    pub index: u64,
    /// From the leaf's sibling up; at most [`INCLUSION_HASHES_MAX`].
    pub path: Vec<Hash>,
}

impl TlogProof {
    /// The text, with the checkpoint (a signed note) that it leads to.
    #[must_use]
    pub fn to_text(&self, checkpoint: &str) -> String {
        let mut text = format!("{TITLE}index {}\n", self.index);
        for hash in &self.path {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", STANDARD.encode(hash));
        }
        text + "\n" + checkpoint
    }

    /// Takes a text apart into proof and checkpoint; nothing is verified yet. `None` for what is no proof in its only form.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, &str)> {
        let rest = text.strip_prefix(TITLE).filter(|_| text.len() <= PROOF_BYTES_MAX)?;
        let (head, checkpoint) = rest.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let index = decimal(lines.next()?.strip_prefix("index ")?)?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == INCLUSION_HASHES_MAX {
                return None;
            }
            path.push(STANDARD.decode(line).ok()?.try_into().ok()?);
        }
        Some((Self { index, path }, checkpoint))
    }

    /// Whether the entry with this leaf hash is at `index` in the tree of a checkpoint.
    #[must_use]
    pub fn holds(&self, leaf: &Hash, head: &TreeHead) -> bool {
        verify_inclusion(leaf, self.index, head.size, &self.path, &head.root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint;
    use crate::cosignature::WitnessSigner;
    use crate::note::{Note, SigningKey};
    use crate::proof::{Subtrees, inclusion, root_of_inclusion};

    struct Any;

    impl Subtrees for Any {
        type Error = std::convert::Infallible;

        fn subtree(&mut self, _: u32, _: u64) -> Result<Hash, Self::Error> {
            Ok([9; 32])
        }
    }

    #[test]
    fn a_proof_in_a_log_of_80_million_entries_with_three_witnesses_is_below_2_kb() {
        let (index, size) = (41_234_567, 80_000_000);
        let Ok(path) = inclusion(&mut Any, index, size);
        let proof = TlogProof { index, path };
        let root = root_of_inclusion(&[1; 32], index, size, &proof.path).unwrap();
        let key = SigningKey::from_seed("feed.exchange.example/audit", &[1; 32]).unwrap();
        let head = TreeHead { size, root };
        let mut note = checkpoint::sign(&key, &head).unwrap();
        for number in 1..=3 {
            let witness = SigningKey::from_seed(&format!("witness{number}.example"), &[number; 32]).unwrap();
            let line = WitnessSigner::new(witness).unwrap();
            let line = line.cosign(Note::parse(&note).unwrap().text, 1_790_000_000).unwrap();
            note += &line;
        }
        let text = proof.to_text(&note);
        assert!(text.len() < 2_048, "{} bytes", text.len());
        let (read, checkpoint) = TlogProof::parse(&text).unwrap();
        assert_eq!((&read, checkpoint), (&proof, note.as_str()));
        assert_eq!(checkpoint::open(checkpoint, key.public()), Ok(head));
        assert!(read.holds(&[1; 32], &head) && !read.holds(&[2; 32], &head));
    }

    #[test]
    fn what_is_no_proof_in_its_only_form_is_refused() {
        let good = TlogProof { index: 7, path: vec![[1; 32], [2; 32]] }.to_text("note");
        assert!(TlogProof::parse(&good).is_some());
        let many = TlogProof { index: 7, path: vec![[1; 32]; 65] }.to_text("note");
        for bad in [
            "",
            "c2sp.org/tlog-proof@v1\n",
            &good.replace("@v1", "@v2"),
            &good.replace("index 7", "index 07"),
            &good.replace("index 7", "index -7"),
            &good.replace("index 7", "index 99999999999999999999"),
            &good.replace("index 7\n", "extra AAAA\nindex 7\n"),
            &good.replace("=\n", "\n"),
            &good.replace("\n\nnote", "\nnote"),
            &many,
            &(good.clone() + &"x".repeat(PROOF_BYTES_MAX)),
        ] {
            assert_eq!(TlogProof::parse(bad), None, "{bad:.80}");
        }
    }

    proptest! {
        #[test]
        fn one_proof_has_one_text(index: u64, path in prop::collection::vec(any::<Hash>(), 0..64), at: prop::sample::Index, bit in 0u8..7) {
            let proof = TlogProof { index, path };
            let mut bytes = proof.to_text("note\n").into_bytes();
            prop_assert_eq!(TlogProof::parse(std::str::from_utf8(&bytes).unwrap()), Some((proof.clone(), "note\n")));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(text) = std::str::from_utf8(&bytes) {
                prop_assert_ne!(TlogProof::parse(text), Some((proof, "note\n")));
            }
        }
    }
}
