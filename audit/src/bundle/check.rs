//! Checks a bundle from its bytes alone: archive, proofs, signatures, story.
//!
//! What is hostile here is bounded by the bundle's own size: members are looked at where they lie, and numbers in them reserve nothing.

use std::collections::BTreeMap;

use super::parts::Parts;
use super::story::{Proven, Story, tell};
use super::{BUNDLE_BYTES_MAX, tar};
use crate::chain::leaf_hash;
use crate::checkpoint::{self, TreeHead};
use crate::cosignature::WitnessKey;
use crate::entry::EntryRef;
use crate::note::{Note, NoteError, VerifierKey};
use crate::tlog_proof::TlogProof;
use crate::verify::Verdict;

/// What is known from elsewhere than the bundle.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Public key of the log.
    pub key: Option<VerifierKey>,
    /// Keys of witnesses that must have cosigned the checkpoint.
    pub witnesses: Vec<WitnessKey>,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// VERIFIED; RECOVERED where the log's beginning was pruned; UNANCHORED without a key, or without the cosignature of a witness that
    /// was asked for; else TAMPERED.
    pub verdict: Verdict,
    /// What is wrong, with [`Verdict::Tampered`].
    pub problem: Option<String>,
    /// What is proven, unless something is wrong.
    pub proof: Option<Proof>,
}

/// What a bundle that is not wrong shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Name of the log.
    pub origin: String,
    /// The tree that all entries are proven to be in.
    pub head: TreeHead,
    /// Entries in the bundle.
    pub entries: usize,
    /// Witnesses that were asked for and cosigned, each with the time it states, seconds since 1970.
    pub witnessed: Vec<(String, u64)>,
    /// Witnesses that were asked for and did not cosign.
    pub not_witnessed: Vec<String>,
    /// Names on further signature lines, which nothing was checked of.
    pub other_signers: Vec<String>,
    /// Whether the signature on the checkpoint was checked, with the given key or with the one in the genesis.
    pub signature_checked: bool,
    /// The order.
    pub story: Story,
}

/// Checks a bundle. Never fails: what cannot be read is TAMPERED.
#[must_use]
pub fn check(bundle: &[u8], given: &Given) -> Report {
    match prove(bundle, given) {
        Ok(proof) => {
            let verdict = if given.key.is_none() || !proof.not_witnessed.is_empty() {
                Verdict::Unanchored
            } else if proof.story.pruned_before > 0 {
                Verdict::Recovered
            } else {
                Verdict::Verified
            };
            Report { verdict, problem: None, proof: Some(proof) }
        }
        Err(problem) => Report { verdict: Verdict::Tampered, problem: Some(problem), proof: None },
    }
}

fn prove(bundle: &[u8], given: &Given) -> Result<Proof, String> {
    if bundle.len() > BUNDLE_BYTES_MAX {
        return Err(format!("it has {} bytes; {BUNDLE_BYTES_MAX} is the most", bundle.len()));
    }
    let parts = Parts::of(&tar::members(bundle)?)?;
    let none = |error: NoteError| format!("the checkpoint is none: {error}");
    let note = Note::parse(parts.checkpoint).map_err(none)?;
    let (origin, head) = checkpoint::peek(parts.checkpoint).map_err(none)?;
    if let Some(key) = &given.key {
        let wrong = |error| format!("the checkpoint is not signed by the key given: {error}");
        checkpoint::open(parts.checkpoint, key).map_err(wrong)?;
    }
    let entries = entries(&parts, &head)?;
    let story = tell(&entries, origin, &parts.certificates)?;
    let own = own_key(&story, given)?;
    if given.key.is_none()
        && let Some(key) = &own
    {
        let wrong = |error| format!("the checkpoint is not signed by the key in the genesis: {error}");
        checkpoint::open(parts.checkpoint, key).map_err(wrong)?;
    }
    let (mut witnessed, mut not_witnessed) = (Vec::new(), Vec::new());
    for witness in &given.witnesses {
        let name = witness.name().to_owned();
        match witness.verify(&note) {
            Ok(seconds) => witnessed.push((name, seconds)),
            Err(NoteError::NotSigned) => not_witnessed.push(name),
            Err(error) => return Err(format!("the cosignature of {name} is wrong: {error}")),
        }
    }
    let mut own_lines = 0;
    let mut unchecked = |name: &str| {
        own_lines += usize::from(name == origin);
        if name == origin { own_lines > 1 } else { !witnessed.iter().any(|(known, _)| known == name) }
    };
    let mut other_signers: Vec<String> =
        note.signers().filter(|name| unchecked(name)).map(str::to_owned).collect();
    other_signers.dedup();
    let signature_checked = given.key.is_some() || own.is_some();
    let (origin, entries) = (origin.to_owned(), entries.len());
    Ok(Proof { origin, head, entries, witnessed, not_witnessed, other_signers, signature_checked, story })
}

/// The key that the genesis states, which must be the one given.
fn own_key(story: &Story, given: &Given) -> Result<Option<VerifierKey>, String> {
    let Some(text) = &story.key else { return Ok(None) };
    let key: VerifierKey =
        text.parse().map_err(|error| format!("the key in the genesis is none: {error}"))?;
    match &given.key {
        Some(given) if *given != key => Err("the genesis states another key than the one given".to_owned()),
        _ => Ok(Some(key)),
    }
}

/// The entries, each proven to be in the tree.
fn entries<'a>(parts: &Parts<'a>, head: &TreeHead) -> Result<Proven<'a>, String> {
    let mut proven = BTreeMap::new();
    for (&seq, (bytes, text)) in &parts.entries {
        let entry = EntryRef::parse(bytes).map_err(|error| format!("entry {seq}: {error}"))?;
        let (proof, checkpoint) = TlogProof::parse(text)
            .ok_or_else(|| format!("the proof of entry {seq} is none (C2SP tlog-proof)"))?;
        if entry.header.seq != seq || proof.index != seq {
            return Err(format!("entry {seq} or its proof is of another entry"));
        }
        if checkpoint != parts.checkpoint {
            return Err(format!("the proof of entry {seq} ends in another checkpoint than the bundle's"));
        }
        if !proof.holds(&leaf_hash(bytes), head) {
            return Err(format!(
                "entry {seq} is not in the log at its place: the proof does not lead to the root"
            ));
        }
        proven.insert(seq, entry);
    }
    Ok(proven)
}
