//! What the targets in `fuzz/` need of this crate's inside. No interface: it changes without notice, and nothing else may use it.

use std::sync::Arc;

use crate::disk::persist_key;
use crate::entry::{Draft, EntryRef, Placement, encode, mark_group_end, place};
use crate::epoch::{EpochKey, KEY_FILE_BYTES};
use crate::error::OpenError;
use crate::layout::{EPOCH_KEY, KEYS, SIGNING_KEY};
use crate::note::SigningKey;
use crate::options::Options;
use crate::recovery;
use crate::storage::{Access, Storage};

pub use crate::bundle::fuzzing::{bundle_of, members_of};

/// The bytes that an entry was read from: the encoding has one form.
#[must_use]
pub fn entry_bytes(entry: &EntryRef<'_>) -> Vec<u8> {
    let header = &entry.header;
    let draft = Draft {
        kind: header.kind,
        schema: header.schema,
        session: header.session,
        order: header.order,
        payload: entry.payload.to_vec(),
    };
    let placement = Placement {
        seq: header.seq,
        previous: header.previous,
        epoch: header.epoch,
        group: header.group,
        run: header.run,
    };
    let mut bytes = Vec::with_capacity(draft.entry_bytes());
    encode(&draft, header.stamp, &mut bytes);
    place(&mut bytes, &placement);
    if header.group_end {
        mark_group_end(&mut bytes);
    }
    bytes
}

/// Puts the keys of a writer beside a log: the signing key from `seed`, the epoch key as many epochs after `k0` as are over.
///
/// # Errors
/// What the storage answers.
pub fn give_keys(
    storage: &dyn Storage,
    origin: &str,
    seed: &[u8; 32],
    k0: [u8; 32],
    epochs: u64,
) -> std::io::Result<()> {
    let key = SigningKey::from_seed(origin, seed).and_then(|key| key.to_text());
    let text = key.map_err(std::io::Error::other)?;
    storage.make_folder(KEYS)?;
    storage.open(SIGNING_KEY, Access::CreatePrivate)?.write_at(0, text.as_bytes())?;
    let file = storage.open(EPOCH_KEY, Access::CreatePrivate)?;
    file.write_at(0, &[0; KEY_FILE_BYTES])?;
    let key = (0..epochs).fold(EpochKey::first(k0), |key, _| key.next());
    persist_key(&*file, &key)
}

/// What an opening writer does before it writes entries of its own: examines the log, and repairs what a crash explains. How many
/// entries it found.
///
/// # Errors
/// [`OpenError`].
pub fn recover(storage: &Arc<dyn Storage>, options: &Options) -> Result<u64, OpenError> {
    recovery::open(storage, options, 7).map(|opened| opened.head.frontier.size())
}
