//! Makes a new log: keys, folders, first checkpoint, and the first segment with the genesis entry.
//!
//! The first segment gets its name last: without it there is no log, and whatever an interrupted attempt left is made anew.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::chain::{Hash, genesis_link, hex, log_id, sha256};
use crate::checkpoint::{self, TreeHead};
use crate::disk::{begin_segment, fill_ahead, persist_key};
use crate::entry::Draft;
use crate::epoch::{EpochKey, KEY_FILE_BYTES, erase, escrow_fingerprint};
use crate::error::InitError;
use crate::group::{Fill, GroupBuilder, Head};
use crate::kind;
use crate::layout::{
    CHECKPOINTS, EPOCH_KEY, Genesis, KEYS, QUARANTINE, SEGMENTS, SIGNING_KEY, State, segment_path,
};
use crate::merkle::Frontier;
use crate::note::{SigningKey, VerifierKey};
use crate::options::InitOptions;
use crate::segment::SegmentHeader;
use crate::storage::{Access, DiskStorage, Storage, read_whole, remove_if_there, replace};

/// The document that specifies every byte; its hash goes into the genesis.
pub const FORMAT: &[u8] = include_bytes!("../FORMAT.md");

/// Name of the file in escrow that holds the public key, as text.
pub const ESCROW_KEY: &str = "log.pub";
/// Name of the file in escrow that holds `K_0`, 64 hexadecimal digits.
pub const ESCROW_K0: &str = "k0.hex";

/// A new log, and what must leave the machine now.
#[derive(Clone)]
pub struct Initialised {
    /// Name of the log.
    pub log_id: Hash,
    /// Key that signs its checkpoints. Whoever verifies the log needs it from elsewhere than the log.
    pub public_key: VerifierKey,
    /// `K_0`, for compliance's safe. It exists nowhere else once epoch 0 has ended; with it old seals can be forged.
    pub k0: [u8; 32],
}

impl std::fmt::Debug for Initialised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Initialised").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

/// Makes a new log in `folder`, which may exist but must not hold a log.
///
/// # Errors
/// [`InitError`]; a second attempt after an I/O error starts over.
pub fn init(folder: &Path, options: &InitOptions) -> Result<Initialised, InitError> {
    init_storage(&DiskStorage::new(folder), options)
}

/// As [`init`], on any storage.
///
/// # Errors
/// As [`init`].
pub fn init_storage(storage: &dyn Storage, options: &InitOptions) -> Result<Initialised, InitError> {
    options.check()?;
    let io = |what| move |source| InitError::Io { what, source };
    for folder in ["", SEGMENTS, QUARANTINE, KEYS] {
        storage.make_folder(folder).map_err(io("folders"))?;
    }
    let names = storage.list(SEGMENTS).map_err(io("folders"))?;
    if names.iter().any(|name| name.ends_with(".seg")) {
        return Err(InitError::Exists);
    }
    let (key, k0) = keys_of_an_attempt(storage, options)?;
    let random = random_bytes().map_err(InitError::Keys)?;
    let id = log_id(&options.origin, &random);
    let genesis = Genesis {
        origin: options.origin.clone(),
        log_id: id,
        random,
        key: key.public().to_string(),
        format: sha256(FORMAT),
        build: options.build.clone(),
        configuration: options.configuration_hash,
        escrow: escrow_fingerprint(&k0),
    };
    write_log(storage, options, &key, &genesis, EpochKey::first(k0))?;
    Ok(Initialised { log_id: id, public_key: key.public().clone(), k0 })
}

/// The keys of an attempt that was cut off, if it got so far, or new ones; durable here and in escrow.
///
/// Nothing was ever signed or sealed with the keys of an attempt, because the log's first segment comes last. They are taken
/// again so that what already is in escrow stays right.
fn keys_of_an_attempt(
    storage: &dyn Storage,
    options: &InitOptions,
) -> Result<(SigningKey, [u8; 32]), InitError> {
    let attempted = read_keys(storage, &options.origin);
    let made = attempted.is_none();
    let (key, mut k0) = match attempted {
        Some(keys) => keys,
        None => {
            let key = SigningKey::generate(&options.origin).map_err(InitError::Keys)?;
            (key, random_bytes().map_err(InitError::Keys)?)
        }
    };
    let kept = match &options.escrow {
        Some(escrow) => escrow_holds(&**escrow, &k0)?,
        None => false,
    };
    if made {
        write_keys(storage, &key, &k0)?;
    }
    storage.sync_folder(KEYS).map_err(|source| InitError::Io { what: "keys", source })?;
    if let Some(escrow) = options.escrow.as_deref().filter(|_| !kept) {
        write_escrow(escrow, &key, &k0).map_err(|source| InitError::Io { what: "escrow", source })?;
    }
    let keys = (key, k0);
    erase(&mut k0);
    Ok(keys)
}

fn read_keys(storage: &dyn Storage, origin: &str) -> Option<(SigningKey, [u8; 32])> {
    let mut text = read_whole(storage, SIGNING_KEY, KEY_FILE_BYTES).ok()?;
    let key = std::str::from_utf8(&text).ok().and_then(|text| SigningKey::from_text(text).ok());
    erase(&mut text);
    let mut file = read_whole(storage, EPOCH_KEY, KEY_FILE_BYTES).ok()?;
    let epoch = EpochKey::from_file(&file);
    erase(&mut file);
    let (key, k0) = (key?, epoch?.into_k0()?);
    (key.public().name() == origin).then_some((key, k0))
}

/// Whether `K_0` is in escrow already; another one there is never overwritten.
fn escrow_holds(escrow: &dyn Storage, k0: &[u8; 32]) -> Result<bool, InitError> {
    escrow.make_folder("").map_err(|source| InitError::Io { what: "escrow", source })?;
    let mut kept = match read_whole(escrow, ESCROW_K0, KEY_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|source| InitError::Io { what: "escrow", source })?,
    };
    let mut ours = hex(k0);
    let same = kept.trim_ascii_end() == ours.as_bytes();
    erase(&mut kept);
    // The text goes the way of the bytes.
    let mut bytes = std::mem::take(&mut ours).into_bytes();
    erase(&mut bytes);
    if same { Ok(true) } else { Err(InitError::EscrowOccupied) }
}

/// The secret last: once it is there, escrow is complete.
fn write_escrow(escrow: &dyn Storage, key: &SigningKey, k0: &[u8; 32]) -> io::Result<()> {
    replace(escrow, "", ESCROW_KEY, format!("{}\n", key.public()).as_bytes())?;
    let mut text = format!("{}\n", hex(k0)).into_bytes();
    let temporary = format!("{ESCROW_K0}.tmp");
    let written = write_private(escrow, &temporary, &text);
    erase(&mut text);
    written?;
    escrow.rename(&temporary, ESCROW_K0)?;
    escrow.sync_folder("")
}

fn write_keys(storage: &dyn Storage, key: &SigningKey, k0: &[u8; 32]) -> Result<(), InitError> {
    let io = |source| InitError::Io { what: "keys", source };
    let mut text = key.to_text().map_err(InitError::Keys)?.into_bytes();
    let written = write_private(storage, SIGNING_KEY, &text);
    erase(&mut text);
    written.map_err(io)?;
    write_private(storage, EPOCH_KEY, &[0; KEY_FILE_BYTES]).map_err(io)?;
    let file = storage.open(EPOCH_KEY, Access::Write).map_err(io)?;
    persist_key(&*file, &EpochKey::first(*k0)).map_err(io)
}

fn write_private(storage: &dyn Storage, name: &str, bytes: &[u8]) -> io::Result<()> {
    remove_if_there(storage, name)?;
    let file = storage.open(name, Access::CreatePrivate)?;
    file.write_at(0, bytes)?;
    file.sync()
}

/// Checkpoint, state, and last of all the segment.
fn write_log(
    storage: &dyn Storage,
    options: &InitOptions,
    key: &SigningKey,
    genesis: &Genesis,
    epoch_key: EpochKey,
) -> Result<(), InitError> {
    let io = |what| move |source| InitError::Io { what, source };
    let stamp = options.clock.now();
    let run = u64::from_le_bytes(random_bytes().map_err(InitError::Keys)?);
    let mut head = Head {
        log_id: genesis.log_id,
        run,
        previous: genesis_link(&genesis.log_id),
        frontier: Frontier::new(),
        group: 0,
        key: epoch_key,
    };
    let header = SegmentHeader {
        log_id: genesis.log_id,
        number: 0,
        previous: head.previous,
        group: 0,
        epoch: 0,
        run,
        created_utc_ns: stamp.utc_ns,
        capacity_bytes: options.segment_bytes,
        boot_id: boot_id(),
        key: *key.public().bytes(),
        origin: options.origin.clone(),
        build: options.build.clone(),
        frontier: Frontier::new(),
    };
    let header = header.sign(key).map_err(InitError::Keys)?;
    let mut builder = GroupBuilder::new(&Fill::new(0, 0, options.segment_bytes, &header));
    builder.push(
        &mut head,
        &Draft { kind: kind::GENESIS, payload: genesis.to_payload(), ..Draft::default() },
        stamp,
    );
    let group = builder.close(&mut head);
    let tree = TreeHead { size: 1, root: head.frontier.root() };
    let note = checkpoint::sign(key, &tree).map_err(InitError::Keys)? + "\n";
    replace(storage, "", CHECKPOINTS, note.as_bytes()).map_err(io("first checkpoint"))?;
    State::Closed { size: 1 }.write(storage).map_err(io("state"))?;
    fill_ahead(storage, options.segment_bytes, &AtomicBool::new(false)).map_err(io("first segment"))?;
    begin_segment(storage, 0, &header, &group.bytes).map_err(io("first segment"))?;
    debug_assert!(storage.open(&segment_path(0), Access::Read).is_ok(), "the first segment has its name");
    storage.sync_folder("").map_err(io("folders"))
}

/// Random bytes from the operating system.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], crate::note::NoteError> {
    let mut bytes = [0u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| crate::note::NoteError::Crypto)?;
    Ok(bytes)
}

/// The machine's boot, as Linux names it; zeros where it does not.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let mut id = [0u8; 16];
    for (index, byte) in id.iter_mut().enumerate() {
        let pair = digits.get(index * 2..index * 2 + 2);
        *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    id
}
