//! The memory and the judgement of a witness.
//!
//! One file a log, in a folder of the witness's own, holds the largest checkpoint that it ever cosigned. It is written, synced and
//! renamed into place, and the folder synced, before the cosignature exists: a witness that forgot would vouch for two histories.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::chain::{hex, sha256};
use crate::checkpoint::{self, TreeHead};
use crate::cosignature::{WitnessKey, WitnessSigner};
use crate::epoch::erase;
use crate::note::{Note, NoteError, SigningKey, VerifierKey};
use crate::proof;
use crate::witness::protocol::{Answer, Request};

/// Why a witness cannot work.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Two logs of one origin: which of them is meant could not be told.
    #[error("two keys for the origin {0:?}: a witness keeps one log for each origin")]
    TwoKeys(String),
    /// The witness's own key cannot be used.
    #[error("the key in {file} cannot be used, or is of a witness of another name")]
    Key {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NoteError,
    },
    /// Another process is the witness in this folder.
    #[error("another process uses the witness's folder")]
    Busy,
    /// What was kept for a log cannot be read back: without it nothing may be cosigned.
    #[error("the checkpoint kept in {file} cannot be used; restore it from a copy, never delete it")]
    Kept {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NoteError,
    },
    /// The disk refused.
    #[error("could not {what} in the witness's folder")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The checkpoint could not be signed.
    #[error("could not cosign")]
    Sign(#[source] NoteError),
}

/// One log that is watched.
#[derive(Debug)]
struct Watched {
    key: VerifierKey,
    file: PathBuf,
    /// The largest tree that was cosigned. Held over check, write and signature: two requests at once must not both pass.
    head: Mutex<Option<TreeHead>>,
}

/// A witness: the logs it watches, and what it has seen of each.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    signer: WitnessSigner,
    logs: BTreeMap<String, Watched>,
    _lock: File,
}

impl Keeper {
    /// As [`Keeper::open`], with the key in the folder's `witness.key`, which is made at the first time under `name`.
    ///
    /// # Errors
    /// As [`Keeper::open`]; [`KeeperError::Key`] for a key file that cannot be used, or that is of another name.
    pub fn open_or_make(folder: &Path, name: &str, keys: Vec<VerifierKey>) -> Result<Self, KeeperError> {
        let io = |what| move |source| KeeperError::Io { what, source };
        let path = folder.join("witness.key");
        let unusable = |source| KeeperError::Key { file: path.clone(), source };
        fs::create_dir_all(folder).map_err(io("make the folder"))?;
        let mut text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(folder, &path, name)?,
            other => other.map_err(io("read the key"))?,
        }
        .into_bytes();
        let key = std::str::from_utf8(&text).map_err(|_| NoteError::Key).and_then(SigningKey::from_text);
        erase(&mut text);
        let key = key.map_err(unusable)?;
        if key.public().name() != name {
            return Err(unusable(NoteError::Name));
        }
        Self::open(folder, WitnessSigner::new(key).map_err(unusable)?, keys)
    }

    /// A witness that signs with `signer`, keeps its memory in `folder`, and watches the logs with these keys.
    ///
    /// # Errors
    /// [`KeeperError`]; what was kept before must be readable, or nothing is cosigned at all.
    pub fn open(folder: &Path, signer: WitnessSigner, keys: Vec<VerifierKey>) -> Result<Self, KeeperError> {
        let io = |what| move |source| KeeperError::Io { what, source };
        fs::create_dir_all(folder).map_err(io("make the folder"))?;
        let lock = File::create(folder.join("lock")).map_err(io("make the lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(KeeperError::Busy),
            Err(TryLockError::Error(source)) => return Err(KeeperError::Io { what: "lock", source }),
        }
        let mut logs = BTreeMap::new();
        for key in keys {
            let file = folder.join(format!("{}.checkpoint", hex(&sha256(key.name().as_bytes()))));
            let head = Mutex::new(read_kept(&file, &key)?);
            let origin = key.name().to_owned();
            if logs.insert(origin.clone(), Watched { key, file, head }).is_some() {
                return Err(KeeperError::TwoKeys(origin));
            }
        }
        Ok(Self { folder: folder.to_owned(), signer, logs, _lock: lock })
    }

    /// The key that cosigns.
    #[must_use]
    pub fn public(&self) -> &WitnessKey {
        self.signer.public()
    }

    /// The largest tree of the log called `origin` that was cosigned.
    #[must_use]
    pub fn seen(&self, origin: &str) -> Option<TreeHead> {
        *self.logs.get(origin)?.head.lock()
    }

    /// Judges a request at a time, seconds since 1970. The order of checks is the specification's.
    ///
    /// # Errors
    /// [`KeeperError`] when the witness itself cannot work; nothing was cosigned.
    pub fn add_checkpoint(&self, body: &str, seconds: u64) -> Result<Answer, KeeperError> {
        let Some(request) = Request::from_text(body) else { return Ok(Answer::Malformed) };
        let Ok((origin, claimed)) = checkpoint::peek(&request.checkpoint) else {
            return Ok(Answer::Malformed);
        };
        let Some(log) = self.logs.get(origin) else { return Ok(Answer::UnknownOrigin) };
        let Ok(new) = checkpoint::open(&request.checkpoint, &log.key) else { return Ok(Answer::Untrusted) };
        debug_assert_eq!(claimed, new, "the same text says the same");
        if request.old > new.size {
            return Ok(Answer::Malformed);
        }
        let mut head = log.head.lock();
        let size = head.map_or(0, |head| head.size);
        if request.old != size {
            return Ok(Answer::Conflict(size));
        }
        let continues = match *head {
            // The same size again: the specification asks for 409 unless the root is the same, too.
            Some(old) if old.size == new.size && old.root != new.root => return Ok(Answer::Conflict(size)),
            Some(old) => proof::verify_consistency(old.size, &old.root, new.size, &new.root, &request.proof),
            None => request.proof.is_empty(),
        };
        if !continues {
            return Ok(Answer::Inconsistent);
        }
        let text = Note::parse(&request.checkpoint).map_err(KeeperError::Sign)?.text;
        self.keep(log, &request.checkpoint)?;
        *head = Some(new);
        self.signer.cosign(text, seconds).map(Answer::Cosigned).map_err(KeeperError::Sign)
    }

    /// Makes a checkpoint what this witness remembers, durably.
    fn keep(&self, log: &Watched, note: &str) -> Result<(), KeeperError> {
        let io = |what| move |source| KeeperError::Io { what, source };
        let temporary = log.file.with_extension("tmp");
        let mut file = File::create(&temporary).map_err(io("make a file"))?;
        file.write_all(note.as_bytes()).map_err(io("write a checkpoint"))?;
        file.sync_all().map_err(io("sync a checkpoint"))?;
        fs::rename(&temporary, &log.file).map_err(io("rename a checkpoint"))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io("sync the folder"))
    }
}

/// Makes a key for a new witness: whole and durable before it has its name, readable by its owner alone.
fn make_key(folder: &Path, path: &Path, name: &str) -> Result<String, KeeperError> {
    let io = |what| move |source| KeeperError::Io { what, source };
    let unusable = |source| KeeperError::Key { file: path.to_owned(), source };
    let text = SigningKey::generate(name).and_then(|key| key.to_text()).map_err(unusable)?;
    let temporary = path.with_extension("tmp");
    let mut options = File::options();
    let mut file = options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("make a key"))?;
    file.write_all(text.as_bytes()).map_err(io("write a key"))?;
    file.sync_all().map_err(io("sync a key"))?;
    fs::rename(&temporary, path).map_err(io("rename a key"))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync the folder"))?;
    Ok(text)
}

fn read_kept(file: &Path, key: &VerifierKey) -> Result<Option<TreeHead>, KeeperError> {
    match fs::read_to_string(file) {
        Ok(note) => checkpoint::open(&note, key)
            .map(Some)
            .map_err(|source| KeeperError::Kept { file: file.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeeperError::Io { what: "read a kept checkpoint", source }),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::chain::{Hash, leaf_hash};
    use crate::merkle::Frontier;
    use crate::proof::Subtrees;

    const ORIGIN: &str = "log.example/audit";

    fn log_key(seed: u8) -> SigningKey {
        SigningKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
    }

    fn keeper(folder: &Path) -> Keeper {
        let signer = SigningKey::from_seed("witness.example", &[9; 32]).unwrap();
        Keeper::open(folder, WitnessSigner::new(signer).unwrap(), vec![log_key(1).public().clone()]).unwrap()
    }

    /// A log of which entry `fork_at` and all behind are `fork`'s.
    struct History {
        fork_at: u64,
        fork: u8,
    }

    const TRUE: History = History { fork_at: u64::MAX, fork: 0 };

    impl History {
        fn tree(&self, start: u64, end: u64) -> Frontier {
            let mut tree = Frontier::new();
            for index in start..end {
                let fork = if index >= self.fork_at { self.fork } else { 0 };
                tree.push(leaf_hash(&[&[fork][..], &index.to_le_bytes()].concat()));
            }
            tree
        }

        fn request(&self, old: u64, new: u64) -> String {
            let Ok(proof) = proof::consistency(&mut &*self, old, new);
            let head = TreeHead { size: new, root: self.tree(0, new).root() };
            let checkpoint = checkpoint::sign(&log_key(1), &head).unwrap();
            Request { old, proof, checkpoint }.to_text()
        }
    }

    impl Subtrees for &History {
        type Error = Infallible;
        fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, Infallible> {
            Ok(self.tree(index << level, (index + 1) << level).root())
        }
    }

    fn is_cosigned(keeper: &Keeper, request: &str) -> bool {
        let answer = keeper.add_checkpoint(request, 1_700_000_000).unwrap();
        let Answer::Cosigned(lines) = answer else { return false };
        let checkpoint = Request::from_text(request).unwrap().checkpoint;
        let cosigned = format!("{checkpoint}{lines}");
        keeper.public().verify(&Note::parse(&cosigned).unwrap()) == Ok(1_700_000_000)
    }

    #[test]
    fn witness_cosigns_what_continues_and_keeps_its_word_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = keeper(folder.path());
        assert!(is_cosigned(&first, &TRUE.request(0, 5)));
        assert!(is_cosigned(&first, &TRUE.request(5, 12)));
        assert!(is_cosigned(&first, &TRUE.request(12, 12)), "the same again");
        drop(first);
        let second = keeper(folder.path());
        assert_eq!(second.seen(ORIGIN).unwrap().size, 12);
        assert_eq!(second.add_checkpoint(&TRUE.request(5, 20), 1).unwrap(), Answer::Conflict(12));
        assert!(is_cosigned(&second, &TRUE.request(12, 20)));
    }

    #[test]
    fn rollback_and_fork_are_refused_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = keeper(folder.path());
        assert!(is_cosigned(&keeper, &TRUE.request(0, 12)));
        let forked = History { fork_at: 7, fork: 1 };
        let answer = |request: &str| keeper.add_checkpoint(request, 1).unwrap();
        assert_eq!(answer(&TRUE.request(0, 5)), Answer::Conflict(12));
        assert_eq!(answer(&TRUE.request(5, 9)), Answer::Conflict(12));
        assert_eq!(answer(&forked.request(12, 12)), Answer::Conflict(12));
        assert_eq!(answer(&forked.request(12, 16)), Answer::Inconsistent);
        assert_eq!(answer(&forked.request(0, 16)), Answer::Conflict(12));
        assert_eq!(keeper.seen(ORIGIN).unwrap().root, TRUE.tree(0, 12).root());
        assert!(is_cosigned(&keeper, &TRUE.request(12, 13)));
    }

    #[test]
    fn what_is_malformed_or_of_another_log_or_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = keeper(folder.path());
        let answer = |request: &str| keeper.add_checkpoint(request, 1).unwrap();
        assert_eq!(answer("old 0\n\nnothing"), Answer::Malformed);
        let head = TreeHead { size: 3, root: [1; 32] };
        let foreign = SigningKey::from_seed("other.example", &[1; 32]).unwrap();
        let request = |checkpoint: String| Request { old: 0, proof: Vec::new(), checkpoint }.to_text();
        assert_eq!(answer(&request(checkpoint::sign(&foreign, &head).unwrap())), Answer::UnknownOrigin);
        assert_eq!(answer(&request(checkpoint::sign(&log_key(2), &head).unwrap())), Answer::Untrusted);
        let larger = TRUE.request(0, 5).replacen("old 0", "old 6", 1);
        assert_eq!(answer(&larger), Answer::Malformed);
        let with_proof = Request { proof: vec![[0; 32]], ..Request::from_text(&TRUE.request(0, 5)).unwrap() };
        assert_eq!(answer(&with_proof.to_text()), Answer::Inconsistent);
        assert_eq!(keeper.seen(ORIGIN), None);
    }

    #[test]
    fn key_of_a_witness_is_made_once_for_its_owner_alone_and_belongs_to_one_name() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| Keeper::open_or_make(folder.path(), name, vec![log_key(1).public().clone()]);
        let first = open("w.example").unwrap().public().clone();
        assert_eq!(*open("w.example").unwrap().public(), first);
        assert!(matches!(open("other.example"), Err(KeeperError::Key { .. })));
        let mode = fs::metadata(folder.path().join("witness.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "mode {mode:o}");
    }

    #[test]
    fn witness_whose_memory_is_damaged_or_in_use_does_not_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = keeper(folder.path());
        assert!(is_cosigned(&first, &TRUE.request(0, 5)));
        let again = || {
            let signer = SigningKey::from_seed("witness.example", &[9; 32]).unwrap();
            Keeper::open(
                folder.path(),
                WitnessSigner::new(signer).unwrap(),
                vec![log_key(1).public().clone()],
            )
        };
        assert!(matches!(again(), Err(KeeperError::Busy)));
        let file = first.logs[ORIGIN].file.clone();
        drop(first);
        let kept = fs::read_to_string(&file).unwrap();
        fs::write(&file, kept.replacen("\n5\n", "\n4\n", 1)).unwrap();
        assert!(matches!(again(), Err(KeeperError::Kept { .. })));
    }

    #[test]
    fn of_many_requests_at_once_only_one_history_is_cosigned() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = keeper(folder.path());
        assert!(is_cosigned(&keeper, &TRUE.request(0, 4)));
        let cosigned = std::thread::scope(|scope| {
            let tries: Vec<_> = (1..=8u8)
                .map(|fork| {
                    let keeper = &keeper;
                    scope.spawn(move || is_cosigned(keeper, &History { fork_at: 4, fork }.request(4, 9)))
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).filter(|yes| *yes).count()
        });
        assert_eq!(cosigned, 1);
    }
}
