//! The sealed log: its entries, its segments under the verifier and under recovery, the notes that sign it.
//!
//! The log is the one that `audit/tests/golden/make.py` built from the format's document alone. No damage to it may verify as
//! something else, and no recovery from damage may keep an entry that was not in it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sealfeed_audit::cosignature::WitnessKey;
use sealfeed_audit::note::{Note, VerifierKey};
use sealfeed_audit::reader::Entries;
use sealfeed_audit::storage::Storage;
use sealfeed_audit::tlog_proof::TlogProof;
use sealfeed_audit::verify::{Anchors, Verdict, verify_storage};
use sealfeed_audit::{EntryRef, Hash, Options, checkpoint, fuzzing, kind};

use crate::damage::Script;
use crate::memory::MemoryStorage;
use crate::printable::assert_printable;

const GOLDEN: &str = include_str!("../../../audit/tests/golden/log.txt");
const ORIGIN: &str = "log.example/audit";
const SEED: [u8; 32] = [0x42; 32];
const K0: [u8; 32] = [1; 32];
const SEGMENT: &str = "segments/00000000000000000000.seg";

/// The golden log.
struct Golden {
    files: BTreeMap<String, Vec<u8>>,
    /// The same, with the keys of its writer.
    keyed: BTreeMap<String, Vec<u8>>,
    anchors: Anchors,
    entries: Vec<Hash>,
}

fn golden() -> &'static Golden {
    static LOG: OnceLock<Golden> = OnceLock::new();
    LOG.get_or_init(|| {
        let files = golden_files();
        let storage = MemoryStorage::of(&files);
        let key = GOLDEN.lines().find_map(|line| line.strip_prefix("key ")?.parse().ok());
        let checkpoint = last_checkpoint(&files);
        let anchors = Anchors { key, checkpoints: vec![checkpoint], k0: Some(K0), ..Anchors::default() };
        let (entries, is_whole) = entries_of(&storage);
        assert!(is_whole && entries.len() == 8, "the golden log reads");
        let seed = fuzzing::give_keys(&storage, ORIGIN, &SEED, K0, 1);
        assert!(seed.is_ok(), "the golden log has its keys");
        Golden { files, keyed: storage.files(), anchors, entries }
    })
}

fn golden_files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut name = String::new();
    for line in GOLDEN.lines().skip_while(|line| !line.starts_with("file ")) {
        let Some((first, second)) = line.strip_prefix("file ").unwrap_or(line).split_once(' ') else {
            continue;
        };
        if line.starts_with("file ") {
            first.clone_into(&mut name);
            files.insert(name.clone(), vec![0; second.parse().unwrap_or(0)]);
        } else if let (Ok(offset), Some(file)) = (first.parse::<usize>(), files.get_mut(&name)) {
            for (byte, digits) in file[offset..].iter_mut().zip(second.as_bytes().chunks_exact(2)) {
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
            }
        }
    }
    files
}

/// The last note of the file of checkpoints, as somebody kept it elsewhere.
fn last_checkpoint(files: &BTreeMap<String, Vec<u8>>) -> String {
    let text = String::from_utf8_lossy(files.get("checkpoints").map_or(&[][..], Vec::as_slice)).into_owned();
    let start = text.rfind(ORIGIN).unwrap_or(0);
    // The origin stands in the signature line, too.
    let start = text[..start].rfind(ORIGIN).unwrap_or(start);
    text[start..].trim_end().to_owned()
}

/// Hashes of the entries that a reader finds, and whether it came to the end without a complaint.
fn entries_of(storage: &MemoryStorage) -> (Vec<Hash>, bool) {
    let Ok(entries) = Entries::new(Arc::new(storage.clone()), 0) else { return (Vec::new(), false) };
    let (mut hashes, mut is_whole) = (Vec::new(), true);
    for entry in entries {
        match entry {
            Ok(entry) => hashes.push(entry.hash),
            Err(_) => is_whole = false,
        }
    }
    (hashes, is_whole)
}

/// A verdict that lets the log pass is of the golden entries.
fn assert_passes_only_the_golden(storage: &MemoryStorage, anchors: &Anchors) {
    let golden = golden();
    let Ok(report) = verify_storage(storage, anchors, &mut |_| {}) else { return };
    for finding in &report.findings {
        assert!(!finding.to_string().chars().any(char::is_control), "{finding}");
    }
    if !matches!(report.verdict, Verdict::Verified | Verdict::Recovered) {
        return;
    }
    let (entries, is_whole) = entries_of(storage);
    assert!(is_whole, "it verifies and cannot be read");
    assert_eq!(report.entries, entries.len() as u64);
    assert!(entries == golden.entries, "another log verifies: {report:?}");
}

pub(crate) fn entry(bytes: &[u8]) {
    let Ok(entry) = EntryRef::parse(bytes) else { return };
    assert!(entry.payload.len() < bytes.len());
    assert_eq!(fuzzing::entry_bytes(&entry), bytes, "an entry has one form");
}

/// The input is the first segment.
pub(crate) fn segment(bytes: &[u8]) {
    let golden = golden();
    let mut files = golden.files.clone();
    files.insert(SEGMENT.to_owned(), bytes.to_vec());
    assert_passes_only_the_golden(&MemoryStorage::of(&files), &golden.anchors);
    // Without anchors nothing is proven, and everything has to be read.
    let _ = verify_storage(&MemoryStorage::of(&files), &Anchors::default(), &mut |_| {});
}

/// The input is damage to any of the files.
pub(crate) fn tamper(bytes: &[u8]) {
    let golden = golden();
    let mut files = golden.files.clone();
    Script::new(bytes).damage(&mut files.values_mut().collect::<Vec<_>>());
    assert_passes_only_the_golden(&MemoryStorage::of(&files), &golden.anchors);
}

/// The input is damage to any of the files, and then the writer opens the log.
pub(crate) fn recovery(bytes: &[u8]) {
    let golden = golden();
    let mut files = golden.keyed.clone();
    let mut damaged: Vec<&mut Vec<u8>> =
        files.iter_mut().filter(|(name, _)| !name.starts_with("keys/")).map(|(_, file)| file).collect();
    Script::new(bytes).damage(&mut damaged);
    let storage = MemoryStorage::of(&files);
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let options = Options { segment_bytes: sealfeed_audit::SEGMENT_BYTES_MIN, ..Options::new(ORIGIN) };
    let Ok(found) = fuzzing::recover(&shared, &options) else { return };
    // Recovery looks at the last segment; those before it are sealed, and the verifier's.
    if files[SEGMENT] != golden.files[SEGMENT] {
        return;
    }
    let Ok(entries) = Entries::new(shared, 0) else { panic!("it was opened and cannot be read") };
    let mut kept = 0;
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("it was opened and cannot be read on: {error}"));
        if golden.entries.get(kept) == Some(&entry.hash) {
            kept += 1;
        } else {
            let is_own = matches!(entry.header.kind, kind::RECOVERY | kind::START);
            assert!(is_own, "recovery kept an entry that never was: {:?}", entry.header);
        }
    }
    assert!(kept as u64 <= found);
    // Without witnesses a writer knows no more than its own checkpoints and its key.
    let checkpoints = &files["checkpoints"];
    if *checkpoints == golden.files["checkpoints"] {
        assert_eq!(kept, golden.entries.len(), "entries under a checkpoint were given up");
    }
}

/// The texts that sign a log: notes, checkpoints, proofs and keys.
pub(crate) fn note(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(note) = Note::parse(text) {
        assert!(text.starts_with(note.text), "a note begins with its text");
        let key = golden().anchors.key.as_ref();
        if let Some(key) = key
            && note.verify(key).is_ok()
        {
            let known =
                golden().files["checkpoints"].windows(note.text.len()).any(|one| one == note.text.as_bytes());
            assert!(known, "a note that nobody signed verifies: {text:?}");
        }
    }
    if let Ok((origin, head)) = checkpoint::peek(text) {
        assert!(text.starts_with(origin), "{head:?}");
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string().parse::<VerifierKey>().ok().as_ref(), Some(&key));
        assert_printable(&key.to_string().chars().filter(char::is_ascii).collect::<String>(), 4_096);
    }
    let _ = text.parse::<WitnessKey>();
    if let Some((proof, checkpoint)) = TlogProof::parse(text) {
        assert!(text.ends_with(checkpoint), "{}", proof.index);
    }
}
