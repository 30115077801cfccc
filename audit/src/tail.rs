//! Follows a log and hands out entries once a signed checkpoint covers them: what it shows is durable, authentic and in order.
//!
//! Entries are read group by group ([`Follower`]) and held back until the log's own checkpoints, which are written after what they
//! cover is durable, agree with the tree. A checkpoint over entries that cannot be read, or that differs from them, ends it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::chain::Hash;
use crate::checkpoint::{self, CHECKPOINT_BYTES_MAX, FileItem, TreeHead};
use crate::follow::Follower;
use crate::layout::CHECKPOINTS;
use crate::note::VerifierKey;
use crate::reader::{Entry, ReadError};
use crate::storage::{Access, DiskStorage, File, Storage};

/// Entries held back at most. A log whose checkpoints stop while entries go on is not followed beyond that.
const HELD_ENTRIES_MAX: usize = 1 << 20;

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The log cannot be read on, or does not continue.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A signed checkpoint covers entries that cannot be read.
    #[error("a signed checkpoint covers {covered} entries, and only {readable} can be read")]
    Missing {
        /// Size of the checkpoint.
        covered: u64,
        /// Entries that can be read.
        readable: u64,
    },
    /// A signed checkpoint is of another tree.
    #[error("the entries up to {size} are not those that were signed")]
    Differs {
        /// Size of the checkpoint.
        size: u64,
    },
    /// Entries came for a long time and no checkpoint over them.
    #[error("no checkpoint covers the {held} entries after entry {from}")]
    Unsigned {
        /// First entry that nothing covers.
        from: u64,
        /// How many.
        held: usize,
    },
    /// The log's key cannot be made out.
    #[error("the key in the segment's header is none")]
    Key,
}

/// A group that no checkpoint covers yet: size and root of the tree behind it, and its entries.
#[derive(Debug)]
struct Held {
    size: u64,
    root: Hash,
    entries: Vec<Entry>,
}

/// Follows a log from an entry on.
#[derive(Debug)]
pub struct Tail {
    storage: Arc<dyn Storage>,
    follower: Follower,
    key: VerifierKey,
    from_seq: u64,
    held: VecDeque<Held>,
    held_entries: usize,
    /// Where in the file of checkpoints the next one starts.
    offset: u64,
}

impl Tail {
    /// Follows the log in `folder`, handing out entries from `seq` on. Without `key` the log's own word is taken for it.
    ///
    /// # Errors
    /// [`TailError::Read`] when there is no log to follow.
    pub fn new(folder: &Path, seq: u64, key: Option<VerifierKey>) -> Result<Self, TailError> {
        let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(folder));
        let follower = Follower::on_storage(Arc::clone(&storage), seq)?;
        let header = follower.header();
        let key = match key {
            Some(key) => key,
            None => VerifierKey::new(&header.origin, header.key).map_err(|_| TailError::Key)?,
        };
        Ok(Self { storage, follower, key, from_seq: seq, held: VecDeque::new(), held_entries: 0, offset: 0 })
    }

    /// Entries that have become certain since the last call; none where there is nothing new.
    ///
    /// # Errors
    /// [`TailError`]: nothing after it can be believed.
    pub fn poll(&mut self) -> Result<Vec<Entry>, TailError> {
        // Checkpoints first: whatever one of them covers was durable, and so must be readable now.
        let heads = self.read_checkpoints()?;
        self.read_groups()?;
        let readable = self.follower.tree().size();
        let mut out = Vec::new();
        for head in heads {
            if head.size > readable {
                return Err(TailError::Missing { covered: head.size, readable });
            }
            self.release(&head, &mut out)?;
        }
        if self.held_entries > HELD_ENTRIES_MAX {
            let from = self.held.front().map_or(0, |held| held.size - held.entries.len() as u64);
            return Err(TailError::Unsigned { from, held: self.held_entries });
        }
        Ok(out)
    }

    /// Entries there are now, whether a checkpoint covers them or not.
    ///
    /// # Errors
    /// [`TailError::Read`].
    pub fn size_now(&mut self) -> Result<u64, TailError> {
        self.read_groups()?;
        Ok(self.follower.tree().size())
    }

    fn read_groups(&mut self) -> Result<(), TailError> {
        loop {
            let mut entries = Vec::new();
            let from_seq = self.from_seq;
            let more = self.follower.next_group(|entry, hash, place| {
                if entry.header.seq >= from_seq {
                    entries.push(Entry {
                        header: entry.header,
                        payload: entry.payload.to_vec(),
                        hash: *hash,
                        segment: place.segment,
                        offset: place.offset,
                    });
                }
            })?;
            if !more {
                return Ok(());
            }
            self.held_entries += entries.len();
            let tree = self.follower.tree();
            self.held.push_back(Held { size: tree.size(), root: tree.root(), entries });
        }
    }

    /// Hands out what a checkpoint covers.
    fn release(&mut self, head: &TreeHead, out: &mut Vec<Entry>) -> Result<(), TailError> {
        // Checkpoints before the first group read speak of what is not looked at.
        if self.held.front().is_none_or(|held| held.size > head.size) {
            return Ok(());
        }
        let fits = self.held.iter().any(|held| held.size == head.size && held.root == head.root);
        if !fits {
            return Err(TailError::Differs { size: head.size });
        }
        while self.held.front().is_some_and(|held| held.size <= head.size) {
            let Some(held) = self.held.pop_front() else { break };
            self.held_entries -= held.entries.len();
            out.extend(held.entries);
        }
        Ok(())
    }

    /// The checkpoints that were added since the last call. Bytes that are none are stepped over once a good one follows them: a
    /// recovery leaves what a crash tore.
    fn read_checkpoints(&mut self) -> Result<Vec<TreeHead>, TailError> {
        let io = |source| ReadError::Io { file: CHECKPOINTS.to_owned(), source };
        let file = match self.storage.open(CHECKPOINTS, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io)?,
        };
        let bytes = read_from(&*file, self.offset).map_err(io)?;
        let mut heads = Vec::new();
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let FileItem::Note { note, bytes } = checkpoint::first_item(rest) {
                // One that is not signed by this key is for the verifier to judge; it covers nothing here.
                heads.extend(checkpoint::open(note, &self.key));
                at += bytes;
            } else if let Some(next) = self.next_good(rest) {
                at += next;
            } else {
                break;
            }
        }
        self.offset += at as u64;
        Ok(heads)
    }

    /// Where the next good checkpoint starts behind bytes that are none.
    fn next_good(&self, bytes: &[u8]) -> Option<usize> {
        let start = format!("{}\n", self.key.name());
        let places = bytes.windows(start.len()).enumerate().skip(1);
        places.filter(|(_, part)| *part == start.as_bytes()).map(|(at, _)| at).find(|at| {
            let item = checkpoint::first_item(bytes.get(*at..).unwrap_or_default());
            matches!(item, FileItem::Note { note, .. } if checkpoint::open(note, &self.key).is_ok())
        })
    }
}

/// The rest of a file from `offset`, at most some thousand checkpoints at a time.
fn read_from(file: &dyn File, offset: u64) -> io::Result<Vec<u8>> {
    let length = file.length()?.saturating_sub(offset);
    let most = 64 * CHECKPOINT_BYTES_MAX;
    let mut bytes = vec![0u8; usize::try_from(length).unwrap_or(most).min(most)];
    let read = file.read_at(offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
