//! Checkpoints and proofs against an implementation that others wrote: Cloudflare's `signed_note` and `tlog_tiles`.
//!
//! Theirs opens our checkpoints and checks our proofs; ours opens their notes and checks their proofs; what one refuses, the other
//! refuses too.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use sealfeed_audit::merkle::Frontier;
use sealfeed_audit::note::{Note, SigningKey, VerifierKey};
use sealfeed_audit::proof::{self, Subtrees};
use sealfeed_audit::{Hash, Log, checkpoint, reader};
use signed_note::{
    Note as TheirNote, Signer as _, StandardSigner, StandardVerifier, Verifier as _, VerifierList,
};
use support::{append_durably, draft, init_log, options};
use tlog_tiles::{
    Checkpoint, Hash as TheirHash, HashReader, check_record, check_tree, prove_record, prove_tree,
};

const ENTRIES: u64 = 150;

/// A log with many checkpoints, and the leaf hashes of its entries.
struct Fixture {
    _folder: tempfile::TempDir,
    key: VerifierKey,
    notes: Vec<String>,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let key = init_log(folder.path()).public_key;
    let often = sealfeed_audit::Options { checkpoint_entries: 7, ..options() };
    let log = Log::open(folder.path(), often).unwrap();
    for number in 0..ENTRIES {
        append_durably(&log, draft(&number.to_le_bytes()));
    }
    log.stop().unwrap();
    let (entries, leaves) = entries_of(folder.path());
    let notes = notes_of(folder.path());
    assert!(notes.len() > 10 && leaves.len() as u64 > ENTRIES);
    Fixture { _folder: folder, key, notes, entries, leaves }
}

/// The entries as they lie in the segments, and what our reader says their leaf hashes are.
fn entries_of(folder: &Path) -> (Vec<Vec<u8>>, Vec<Hash>) {
    let mut raw = Vec::new();
    let mut leaves = Vec::new();
    for entry in reader::entries(folder).unwrap() {
        let entry = entry.unwrap();
        let segment = fs::read(folder.join("segments").join(format!("{:020}.seg", entry.segment))).unwrap();
        let body = usize::try_from(entry.offset).unwrap();
        let length = u32::from_le_bytes(segment[body - 12..body - 8].try_into().unwrap());
        raw.push(segment[body..body + usize::try_from(length).unwrap()].to_vec());
        leaves.push(entry.hash);
    }
    (raw, leaves)
}

fn notes_of(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("checkpoints")).unwrap();
    let mut notes = Vec::new();
    let mut rest = text.as_str();
    // A note has one empty line of its own, between text and signatures; the second ends it.
    while let Some((body, tail)) = rest.split_once("\n\n") {
        let (signatures, tail) = tail.split_once("\n\n").unwrap();
        notes.push(format!("{body}\n\n{signatures}\n"));
        rest = tail;
    }
    assert_eq!(rest, "", "nothing is left over");
    notes
}

fn theirs(key: &VerifierKey) -> VerifierList {
    VerifierList::new(vec![Box::new(StandardVerifier::new(&key.to_string()).unwrap())])
}

fn tree(leaves: &[Hash]) -> Frontier {
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree
}

/// Subtrees for our prover.
struct Ours<'a>(&'a [Hash]);

impl Subtrees for Ours<'_> {
    type Error = Infallible;

    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, Infallible> {
        let start = usize::try_from(index << level).unwrap();
        Ok(tree(&self.0[start..start + (1 << level)]).root())
    }
}

/// Stored hashes for their prover, in their numbering.
struct Theirs<'a>(&'a [Hash]);

impl HashReader for Theirs<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TheirHash>, tlog_tiles::Error> {
        let hash = |index: &u64| {
            let (level, place) = tlog_tiles::split_stored_hash_index(*index);
            let Ok(hash) = Ours(self.0).subtree(u32::from(level), place);
            TheirHash(hash)
        };
        Ok(indexes.iter().map(hash).collect())
    }
}

fn path_of(proof: &[TheirHash]) -> Vec<Hash> {
    proof.iter().map(|hash| hash.0).collect()
}

fn for_them(path: &[Hash]) -> Vec<TheirHash> {
    path.iter().map(|hash| TheirHash(*hash)).collect()
}

#[test]
fn their_library_opens_every_checkpoint_of_ours_and_computes_the_same_root_from_the_raw_entries() {
    let log = fixture();
    let raw: Vec<Hash> = log.entries.iter().map(|entry| tlog_tiles::record_hash(entry).0).collect();
    assert!(raw == log.leaves, "their leaf hash of the raw bytes is our link");
    for note in &log.notes {
        let parsed = TheirNote::from_bytes(note.as_bytes()).unwrap();
        let (verified, unknown) = parsed.verify(&theirs(&log.key)).unwrap();
        assert_eq!((verified.len(), unknown.len()), (1, 0));
        let head = Checkpoint::from_bytes(parsed.text()).unwrap();
        assert_eq!((head.origin(), head.extension()), (support::ORIGIN, ""));
        assert_eq!(tlog_tiles::tree_hash(head.size(), &Theirs(&raw)).unwrap(), *head.hash());
    }
}

#[test]
fn a_checkpoint_with_a_changed_byte_is_refused_by_both() {
    let log = fixture();
    let note = log.notes.last().unwrap();
    let mut refused = 0;
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 1;
        let ours = std::str::from_utf8(&bytes).is_ok_and(|text| checkpoint::open(text, &log.key).is_ok());
        let known = theirs(&log.key);
        let them = TheirNote::from_bytes(&bytes).is_ok_and(|note| note.verify(&known).is_ok());
        assert!(!ours, "byte {at}");
        assert!(!them, "byte {at}");
        refused += 1;
    }
    assert_eq!(refused, note.len());
}

#[test]
fn ours_opens_a_checkpoint_that_their_library_signed_beside_another_signature() {
    let mut random = [0u8; 32];
    random[0] = 1;
    let (secret, public) = their_key("log.example/audit", &random);
    let (other, _) = their_key("witness.example", &[7; 32]);
    let text = format!("log.example/audit\n1\n{}\n", TheirHash([5; 32]));
    let mut note = TheirNote::new(text.as_bytes(), &[]).unwrap();
    let (signer, witness) = (StandardSigner::new(&secret).unwrap(), StandardSigner::new(&other).unwrap());
    note.add_sigs(&[&witness, &signer]).unwrap();
    let bytes = String::from_utf8(note.to_bytes()).unwrap();
    let key: VerifierKey = public.parse().unwrap();
    let head = checkpoint::open(&bytes, &key).unwrap();
    assert_eq!((head.size, head.root), (1, [5; 32]));
    assert_eq!(Note::parse(&bytes).unwrap().text, text);
    assert!(signer.name() == key.name());
}

/// A key in their text forms, from a seed, through our own key so that no random generator of theirs is needed.
fn their_key(name: &str, seed: &[u8; 32]) -> (String, String) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let ours = SigningKey::from_seed(name, seed).unwrap();
    let public = ours.public().to_string();
    let id = public.split('+').nth(1).unwrap();
    let secret = STANDARD.encode([&[1u8][..], seed].concat());
    let verifier = StandardVerifier::new(&public).unwrap();
    assert_eq!(format!("{:08x}", verifier.key_id()), id, "both compute the same key id");
    (format!("PRIVATE+KEY+{name}+{id}+{secret}"), public)
}

#[test]
fn each_checks_the_proofs_of_inclusion_that_the_other_makes_and_refuses_wrong_ones() {
    let log = fixture();
    let size = log.leaves.len() as u64;
    let root = tree(&log.leaves).root();
    for (index, leaf) in (0u64..).zip(&log.leaves) {
        let Ok(ours) = proof::inclusion(&mut Ours(&log.leaves), index, size);
        let theirs = prove_record(size, index, &Theirs(&log.leaves)).unwrap();
        assert_eq!(path_of(&theirs), ours, "entry {index}");
        check_record(&for_them(&ours), size, TheirHash(root), index, TheirHash(*leaf)).unwrap();
        assert!(proof::verify_inclusion(leaf, index, size, &path_of(&theirs), &root));
        let wrong = (index + 1) % size;
        assert!(check_record(&for_them(&ours), size, TheirHash(root), wrong, TheirHash(*leaf)).is_err());
        assert!(!proof::verify_inclusion(leaf, wrong, size, &ours, &root));
    }
}

#[test]
fn each_checks_the_proofs_of_consistency_that_the_other_makes_between_all_checkpoints() {
    let log = fixture();
    let heads: Vec<_> = log.notes.iter().map(|note| checkpoint::open(note, &log.key).unwrap()).collect();
    let mut checked = 0;
    for old in &heads {
        for new in heads.iter().filter(|new| new.size > old.size) {
            let Ok(ours) = proof::consistency(&mut Ours(&log.leaves), old.size, new.size);
            let theirs = prove_tree(new.size, old.size, &Theirs(&log.leaves)).unwrap();
            assert_eq!(path_of(&theirs), ours, "{} to {}", old.size, new.size);
            let (old_root, new_root) = (TheirHash(old.root), TheirHash(new.root));
            check_tree(&for_them(&ours), new.size, new_root, old.size, old_root).unwrap();
            assert!(proof::verify_consistency(old.size, &old.root, new.size, &new.root, &path_of(&theirs)));
            assert!(check_tree(&for_them(&ours), new.size, old_root, old.size, new_root).is_err());
            assert!(!proof::verify_consistency(old.size, &new.root, new.size, &old.root, &ours));
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} pairs");
}
