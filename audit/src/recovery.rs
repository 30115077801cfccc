//! What the log is when it is opened: how far it reaches, whether a crash explains what lies behind, and what to write about it.
//!
//! Never truncate, never zero. `G` is the end of the last complete group, `H` what must have been durable: the log's own last
//! checkpoint, the largest that somebody else kept, and the epoch of the key file. `G < H` is a rollback; damage that a crash cannot explain is corruption; both refuse
//! to start and write nothing. Otherwise the torn bytes stay where they are, a copy goes to `quarantine/`, the segment is sealed
//! at `G`, and a new one begins with a RECOVERY entry. Each step is durable before the next and can be done again, so a crash in
//! the middle changes nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::chain::sha256;
use crate::checkpoint::{self, CHECKPOINT_BYTES_MAX, FileItem, TreeHead};
use crate::disk::{begin_segment, fill_ahead, persist_key, protect};
use crate::entry::Draft;
use crate::epoch::{EpochKey, KEY_FILE_BYTES};
use crate::error::OpenError;
use crate::group::{Fill, GroupBuilder, Head};
use crate::init::boot_id;
use crate::kind;
use crate::layout::{
    CHECKPOINTS, EPOCH_KEY, QUARANTINE, Recovery, SEGMENTS, SIGNING_KEY, Start, State, Torn, seal_path,
    segment_path, torn_checkpoint_name, torn_segment_name,
};
use crate::note::{NOTE_BYTES_MAX, SigningKey};
use crate::options::Options;
use crate::segment::{
    SEGMENT_HEADER_BYTES, Seal, SealReason, SegmentError, SegmentHeader, first_seq_of_name, seal_name,
};
use crate::storage::{Access, File, Storage, read_whole, replace};
use crate::walk::{Chain, GroupWalker, Tail, inspect_tail, sealed_group};
use crate::writer::seal_of;

/// A segment made by recovery is at most this long, so that a start never waits for a full one to be filled with zeros.
const RECOVERED_SEGMENT_BYTES: u64 = 16 << 20;
/// Bytes read from the end of the checkpoints: room for the last complete note and whatever a crash left behind it.
const CHECKPOINTS_TAIL_BYTES: u64 = 4 * CHECKPOINT_BYTES_MAX as u64;
const SIGNING_KEY_BYTES_MAX: usize = 1_024;

/// The log as the writer takes it up.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) key: Arc<SigningKey>,
    pub(crate) boot_id: [u8; 16],
    pub(crate) head: Head,
    pub(crate) fill: Fill,
    pub(crate) segment: Arc<dyn File>,
    pub(crate) checkpoints: Arc<dyn File>,
    pub(crate) checkpoints_end: u64,
    pub(crate) checkpointed: u64,
    pub(crate) epoch_file: Arc<dyn File>,
    /// Entries that the writer must write first; empty when recovery wrote them into a new segment.
    pub(crate) opening: Vec<Draft>,
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> OpenError {
    move |source| OpenError::Io { what, source }
}

/// Examines the log and brings it into a state in which it can be continued. The caller holds the lock.
pub(crate) fn open(storage: &Arc<dyn Storage>, options: &Options, run: u64) -> Result<Opened, OpenError> {
    let disk = &**storage;
    let key = read_signing_key(disk, options)?;
    let last = LastSegment::find(disk, &key)?;
    let checkpoints = LastCheckpoint::find(disk, &key)?;
    let epoch_file = disk.open(EPOCH_KEY, Access::Write).map_err(io("open the epoch key"))?;
    let (scan, stored_epoch) = scan(disk, options, &key, &last, &checkpoints, read_epoch_key(&*epoch_file)?)?;
    State::Open.write(disk).map_err(io("write the state"))?;
    if scan.key.epoch() != stored_epoch {
        persist_key(&*epoch_file, &scan.key).map_err(io("persist the epoch key"))?;
    }

    let boot_id = boot_id();
    let mut opening = Vec::new();
    if let Some(recovery) = declare(disk, &last, &checkpoints, &scan)? {
        opening.push(Draft { kind: kind::RECOVERY, payload: recovery.to_payload(), ..Draft::default() });
    }
    let start = Start {
        build: options.build.clone(),
        configuration: options.configuration_hash,
        boot_id,
        previous_run_stopped: scan.stopped,
    };
    opening.push(Draft { kind: kind::START, payload: start.to_payload(), ..Draft::default() });

    let mut head = Head {
        log_id: last.header.log_id,
        run,
        previous: scan.chain.previous,
        frontier: scan.chain.frontier.clone(),
        group: scan.chain.group,
        key: scan.key.clone(),
    };
    let log_file = disk.open(CHECKPOINTS, Access::WriteSynced).map_err(io("open the checkpoints"))?;
    let (fill, segment) = if scan.sealed || scan.torn.is_some() {
        seal_at_end(disk, &last, &scan, &key)?;
        let opening = std::mem::take(&mut opening);
        new_segment(disk, options, &key, boot_id, &mut head, scan.fill.number + 1, &opening)?
    } else {
        let path = segment_path(last.first_seq);
        (scan.fill, disk.open(&path, Access::WriteSynced).map_err(io("open the segment"))?)
    };
    Ok(Opened {
        key: Arc::new(key),
        boot_id,
        head,
        fill,
        segment,
        checkpoints: log_file,
        checkpoints_end: checkpoints.file_bytes,
        checkpointed: checkpoints.head.map_or(0, |head| head.size),
        epoch_file,
        opening,
    })
}

fn read_signing_key(storage: &dyn Storage, options: &Options) -> Result<SigningKey, OpenError> {
    let bytes = match read_whole(storage, SIGNING_KEY, SIGNING_KEY_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(OpenError::NoLog),
        other => other.map_err(io("read the signing key"))?,
    };
    let mut text = String::from_utf8(bytes).unwrap_or_default();
    let key = SigningKey::from_text(&text);
    let mut bytes = std::mem::take(&mut text).into_bytes();
    crate::epoch::erase(&mut bytes);
    let key = key.map_err(|source| OpenError::Key { what: "the signing key", source })?;
    if key.public().name() == options.origin { Ok(key) } else { Err(OpenError::WrongLog { what: "origin" }) }
}

fn read_epoch_key(file: &dyn File) -> Result<EpochKey, OpenError> {
    let mut bytes = vec![0u8; KEY_FILE_BYTES];
    file.read_at(0, &mut bytes).map_err(io("read the epoch key"))?;
    let key = EpochKey::from_file(&bytes);
    crate::epoch::erase(&mut bytes);
    key.ok_or(OpenError::Key { what: "the epoch key", source: crate::note::NoteError::Key })
}

/// The key that seals the next group. A crash between the end of an epoch and the next key leaves the key one behind.
fn current_key(stored: EpochKey, chain: &Chain) -> Result<EpochKey, OpenError> {
    let due = chain.epoch_due();
    match stored.epoch() {
        epoch if epoch == due => Ok(stored),
        epoch if epoch + 1 == due && chain.epoch_ended => Ok(stored.next()),
        epoch if epoch > due => Err(OpenError::Rollback {
            kept: chain.frontier.size(),
            claimed: epoch,
            source_of_claim: "the epoch key",
        }),
        _ => Err(OpenError::WrongLog { what: "the epoch key is older than the log" }),
    }
}

/// The last segment, before its groups are looked at.
#[derive(Debug)]
struct LastSegment {
    first_seq: u64,
    header: SegmentHeader,
    header_bytes: Vec<u8>,
    file: Arc<dyn File>,
    file_bytes: u64,
    seal: Option<Seal>,
}

impl LastSegment {
    fn find(storage: &dyn Storage, key: &SigningKey) -> Result<Self, OpenError> {
        let names = match storage.list(SEGMENTS) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(OpenError::NoLog),
            other => other.map_err(io("list the segments"))?,
        };
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| first_seq_of_name(name)).collect();
        firsts.sort_unstable();
        let first_seq = firsts.pop().ok_or(OpenError::NoLog)?;
        let mut expected = None;
        for first in firsts {
            let seal = read_seal(storage, first, key)?
                .ok_or_else(|| corrupt(first, 0, "the segment has no seal"))?;
            if expected.is_some_and(|expected| expected != first) || seal.first_seq != first {
                return Err(corrupt(first, 0, "the segments do not follow each other"));
            }
            expected = Some(seal.end_seq);
        }
        if expected.is_some_and(|expected| expected != first_seq) {
            return Err(corrupt(first_seq, 0, "the segments do not follow each other"));
        }
        let file = storage.open(&segment_path(first_seq), Access::Read).map_err(io("open the segment"))?;
        // What a crashed writer left in the cache may not be on disk: make it so before anything is concluded from it.
        file.sync().map_err(io("sync the segment"))?;
        storage.sync_folder(SEGMENTS).map_err(io("sync the segments"))?;
        file.forget_cache();
        let mut header_bytes = vec![0u8; SEGMENT_HEADER_BYTES];
        file.read_at(0, &mut header_bytes).map_err(io("read the segment"))?;
        let segment_error = |source| OpenError::Segment { file: segment_path(first_seq), source };
        let header = SegmentHeader::parse(&header_bytes).map_err(segment_error)?;
        if header.key != *key.public().bytes() || header.origin != key.public().name() {
            return Err(segment_error(SegmentError::WrongSignature));
        }
        if header.first_seq() != first_seq {
            return Err(corrupt(first_seq, 0, "the header belongs to another segment"));
        }
        let file_bytes = file.length().map_err(io("read the segment"))?;
        let seal = read_seal(storage, first_seq, key)?;
        Ok(Self { first_seq, header, header_bytes, file, file_bytes, seal })
    }
}

fn corrupt(first_seq: u64, offset: u64, what: &str) -> OpenError {
    OpenError::Corrupt { file: segment_path(first_seq), offset, what: what.to_owned() }
}

fn read_seal(storage: &dyn Storage, first_seq: u64, key: &SigningKey) -> Result<Option<Seal>, OpenError> {
    let path = seal_path(first_seq);
    let bytes = match read_whole(storage, &path, NOTE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io("read a seal"))?,
    };
    let note = std::str::from_utf8(&bytes).unwrap_or_default();
    let seal = Seal::open(note, key.public()).map_err(|error| OpenError::Corrupt {
        file: path,
        offset: 0,
        what: error.to_string(),
    })?;
    Ok(Some(seal))
}

/// The end of the checkpoints file.
#[derive(Debug)]
struct LastCheckpoint {
    head: Option<TreeHead>,
    file_bytes: u64,
    /// What a crash left behind the last complete note, and behind what an earlier recovery declared.
    torn: Option<(Torn, Vec<u8>)>,
}

impl LastCheckpoint {
    fn find(storage: &dyn Storage, key: &SigningKey) -> Result<Self, OpenError> {
        let file = storage.open(CHECKPOINTS, Access::Read).map_err(io("open the checkpoints"))?;
        file.sync().map_err(io("sync the checkpoints"))?;
        storage.sync_folder("").map_err(io("sync the folder"))?;
        file.forget_cache();
        let file_bytes = file.length().map_err(io("read the checkpoints"))?;
        let from = file_bytes.saturating_sub(CHECKPOINTS_TAIL_BYTES);
        let mut bytes = vec![0u8; usize::try_from(file_bytes - from).unwrap_or(0)];
        file.read_at(from, &mut bytes).map_err(io("read the checkpoints"))?;
        let (head, mut end) = last_note(&bytes, key);
        // What an earlier recovery declared lies between the last note and what is torn now.
        loop {
            let offset = from + end as u64;
            let declared = read_torn_checkpoint(storage, offset)?;
            match declared {
                Some(copy)
                    if !copy.is_empty() && bytes.get(end..).is_some_and(|rest| rest.starts_with(&copy)) =>
                {
                    if end + copy.len() == bytes.len() {
                        // Declared but perhaps not yet in the log: declare it again.
                        break;
                    }
                    end += copy.len();
                }
                _ => break,
            }
        }
        let rest = bytes.get(end..).unwrap_or_default().to_vec();
        let offset = from + end as u64;
        let torn = match checkpoint::first_item(&rest) {
            FileItem::End => None,
            FileItem::Incomplete if rest.len() <= CHECKPOINT_BYTES_MAX => {
                Some((Torn { offset, bytes: rest.len() as u64, sha256: sha256(&rest) }, rest))
            }
            FileItem::Incomplete | FileItem::Malformed | FileItem::Note { .. } => {
                let what =
                    "what follows the last good checkpoint is neither a checkpoint nor an incomplete one";
                return Err(OpenError::Corrupt {
                    file: CHECKPOINTS.to_owned(),
                    offset,
                    what: what.to_owned(),
                });
            }
        };
        Ok(Self { head, file_bytes, torn })
    }
}

fn read_torn_checkpoint(storage: &dyn Storage, offset: u64) -> Result<Option<Vec<u8>>, OpenError> {
    let path = format!("{QUARANTINE}/{}", torn_checkpoint_name(offset));
    match read_whole(storage, &path, CHECKPOINT_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(io("read the quarantine")),
    }
}

/// The last good checkpoint in the end of the file, and where it ends.
fn last_note(bytes: &[u8], key: &SigningKey) -> (Option<TreeHead>, usize) {
    let start = format!("{}\n", key.public().name());
    let (mut at, mut end, mut head) = (0, 0, None);
    while let Some(rest) = bytes.get(at..) {
        let Some(found) = rest.windows(start.len()).position(|window| window == start.as_bytes()) else {
            break;
        };
        at += found;
        let item = checkpoint::first_item(bytes.get(at..).unwrap_or_default());
        let opened = match item {
            FileItem::Note { note, bytes } => {
                checkpoint::open(note, key.public()).ok().map(|head| (head, bytes))
            }
            FileItem::Incomplete | FileItem::Malformed | FileItem::End => None,
        };
        match opened {
            Some((tree, length)) => {
                at += length;
                end = at;
                head = Some(tree);
            }
            None => at += 1,
        }
    }
    (head, end)
}

/// What the groups of the last segment came to.
#[derive(Debug)]
struct Scan {
    chain: Chain,
    fill: Fill,
    /// The segment has its seal: the next group begins a new one.
    sealed: bool,
    torn: Option<(Torn, Vec<u8>)>,
    /// The key that seals the next group.
    key: EpochKey,
    /// The largest checkpoint known from elsewhere.
    witnessed: Option<TreeHead>,
    /// The run before stopped in good order.
    stopped: bool,
}

/// Examines the end of the log; also the epoch of the key as it was stored.
fn scan(
    storage: &dyn Storage,
    options: &Options,
    key: &SigningKey,
    last: &LastSegment,
    checkpoints: &LastCheckpoint,
    stored_key: EpochKey,
) -> Result<(Scan, u64), OpenError> {
    let stored_epoch = stored_key.epoch();
    let witnessed = largest_witnessed(&options.witnessed, key)?;
    let own = checkpoints.head.map(|head| Claim { head, by: "the log's own checkpoint" });
    let others = witnessed.map(|head| Claim { head, by: "a checkpoint kept elsewhere" });
    let (chain, fill) = walk(last, &[own, others], &stored_key)?;
    let key = current_key(stored_key, &chain)?;
    let state = State::read(storage).map_err(io("read the state"))?;
    let stopped = stopped(state, &chain, checkpoints)?;
    let torn = match &last.seal {
        Some(seal) => torn_of_seal(last, seal, &fill, &chain)?,
        None => torn_of_tail(last, fill.used_bytes, &chain, &key)?,
    };
    let sealed = last.seal.is_some();
    if stopped && !sealed && torn.is_some() {
        // The state is set to open before anything is written, so no crash of a writer can have left this.
        return Err(corrupt(
            last.first_seq,
            fill.used_bytes,
            "bytes behind the end of a log that was stopped",
        ));
    }
    Ok((Scan { chain, fill, sealed, torn, key, witnessed, stopped }, stored_epoch))
}

/// A size and root that the log must have had, because they were signed after it had.
#[derive(Clone, Copy, Debug)]
struct Claim {
    head: TreeHead,
    by: &'static str,
}

/// The largest of the checkpoints known from elsewhere; all must be this log's.
fn largest_witnessed(notes: &[String], key: &SigningKey) -> Result<Option<TreeHead>, OpenError> {
    let open = |(index, note): (usize, &String)| {
        let note = format!("{}\n", note.trim_end_matches('\n'));
        checkpoint::open(&note, key.public()).map_err(|source| OpenError::Witnessed { index, source })
    };
    let heads = notes.iter().enumerate().map(open).collect::<Result<Vec<_>, _>>()?;
    Ok(heads.into_iter().max_by_key(|head| head.size))
}

/// Walks over the last segment. A claim about what lies before it is not compared here: the verifier compares all.
fn walk(last: &LastSegment, claims: &[Option<Claim>; 2], key: &EpochKey) -> Result<(Chain, Fill), OpenError> {
    let read = io("read the segment");
    let bad = |offset, what: &str| corrupt(last.first_seq, offset, what);
    let capacity = last.file_bytes;
    let mut fill = Fill::new(last.header.number, last.first_seq, capacity, &last.header_bytes);
    let mut chain = Chain::at_segment(&last.header);
    let mut unseen = *claims;
    for claim in &mut unseen {
        claim.take_if(|claim| claim.head.size < last.first_seq);
    }
    let mut walker = GroupWalker::new(Arc::clone(&last.file), last.file_bytes);
    // The segment's own hash is taken beside the leaves, and counts once the group was found in order.
    let mut file = fill.file();
    loop {
        for claim in &mut unseen {
            let size = chain.frontier.size();
            if let Some(claim) = claim.take_if(|claim| claim.head.size == size)
                && claim.head.root != chain.frontier.root()
            {
                return Err(bad(fill.used_bytes, &format!("the tree differs from {}", claim.by)));
            }
        }
        let Ok(mut group) = walker.next_group_beside(Some(&mut file)).map_err(&read)? else { break };
        let taken = chain.take(&mut group, |_, _, _| {});
        taken.map_err(|violation| bad(violation.offset, &violation.what.to_string()))?;
        let seq = chain.frontier.size() - 1;
        if chain.epoch == key.epoch()
            && !key.check_seal(&last.header.log_id, seq, &chain.previous, &group.seal)
        {
            return Err(bad(group.offset, "the seal of a group does not fit the epoch's key"));
        }
        fill.add_hashed(group.bytes.len(), file);
    }
    let kept = chain.frontier.size();
    let largest = unseen.iter().flatten().max_by_key(|claim| claim.head.size);
    if let Some(claim) = largest {
        if claim.head.size > kept {
            return Err(OpenError::Rollback { kept, claimed: claim.head.size, source_of_claim: claim.by });
        }
        return Err(bad(fill.used_bytes, &format!("{} lies inside a group", claim.by)));
    }
    Ok((chain, fill))
}

/// Whether the run before stopped in good order. A log at rest has the size it was stopped with and a checkpoint over all of it:
/// the state is set to closed after both were durable, and to open before anything is written again.
fn stopped(state: Option<State>, chain: &Chain, checkpoints: &LastCheckpoint) -> Result<bool, OpenError> {
    let kept = chain.frontier.size();
    let Some(State::Closed { size }) = state else { return Ok(false) };
    if size > kept {
        return Err(OpenError::Rollback {
            kept,
            claimed: size,
            source_of_claim: "the state of a stopped log",
        });
    }
    if size == kept && checkpoints.head.is_none_or(|head| head.size < size) {
        return Err(OpenError::Corrupt {
            file: CHECKPOINTS.to_owned(),
            offset: checkpoints.file_bytes,
            what: "the last checkpoint of a log that was stopped is missing".to_owned(),
        });
    }
    Ok(size == kept)
}

/// Checks the seal of the last segment; torn bytes it declares are declared again, since no RECOVERY entry follows yet.
fn torn_of_seal(
    last: &LastSegment,
    seal: &Seal,
    fill: &Fill,
    chain: &Chain,
) -> Result<Option<(Torn, Vec<u8>)>, OpenError> {
    let fits = seal.log_id == last.header.log_id
        && seal.number == last.header.number
        && seal.end_seq == chain.frontier.size()
        && seal.used_bytes == fill.used_bytes
        && seal.file_bytes == last.file_bytes
        && seal.sha256 == fill.sha256();
    if !fits {
        return Err(corrupt(last.first_seq, fill.used_bytes, "the segment differs from its seal"));
    }
    let SealReason::Recovered { torn_bytes, torn_sha256 } = seal.reason else { return Ok(None) };
    let mut bytes =
        vec![0u8; usize::try_from(torn_bytes).unwrap_or(0).min(CHECKPOINT_BYTES_MAX.max(1 << 17))];
    let read = last.file.read_at(fill.used_bytes, &mut bytes).map_err(io("read the segment"))?;
    if read as u64 != torn_bytes || sha256(&bytes) != torn_sha256 {
        return Err(corrupt(last.first_seq, fill.used_bytes, "the torn bytes differ from the seal"));
    }
    Ok(Some((Torn { offset: fill.used_bytes, bytes: torn_bytes, sha256: torn_sha256 }, bytes)))
}

fn torn_of_tail(
    last: &LastSegment,
    used: u64,
    chain: &Chain,
    key: &EpochKey,
) -> Result<Option<(Torn, Vec<u8>)>, OpenError> {
    let tail = inspect_tail(&*last.file, used, chain.group, chain.run).map_err(io("read the segment"))?;
    match tail {
        Tail::Clean => Ok(None),
        Tail::Torn { bytes, sha256 } => {
            // Another run's number is not known when the group that began it is what is damaged. Its seals cannot be forged.
            if let Some(at) = sealed_group(&bytes, chain.group, key, &last.header.log_id) {
                return Err(corrupt(last.first_seq, used + at, "a later group is intact behind the damage"));
            }
            Ok(Some((Torn { offset: used, bytes: bytes.len() as u64, sha256 }, bytes)))
        }
        Tail::Corrupt { offset, what } => Err(corrupt(last.first_seq, offset, what)),
    }
}

/// Copies what is torn to the quarantine; the declaration, if there is anything to declare.
fn declare(
    storage: &dyn Storage,
    last: &LastSegment,
    checkpoints: &LastCheckpoint,
    scan: &Scan,
) -> Result<Option<Recovery>, OpenError> {
    let copy = |name: &str, bytes: &[u8]| {
        replace(storage, QUARANTINE, name, bytes).map_err(io("copy torn bytes to the quarantine"))
    };
    if let Some((_, bytes)) = &scan.torn {
        copy(&torn_segment_name(last.first_seq), bytes)?;
    }
    if let Some((torn, bytes)) = &checkpoints.torn {
        copy(&torn_checkpoint_name(torn.offset), bytes)?;
    }
    if scan.torn.is_none() && checkpoints.torn.is_none() {
        return Ok(None);
    }
    let nothing = |offset| Torn { offset, bytes: 0, sha256: sha256(b"") };
    Ok(Some(Recovery {
        kept: scan.chain.frontier.size(),
        segment: last.first_seq,
        torn_segment: scan.torn.as_ref().map_or(nothing(scan.fill.used_bytes), |(torn, _)| *torn),
        torn_checkpoint: checkpoints.torn.as_ref().map_or(nothing(checkpoints.file_bytes), |(torn, _)| *torn),
        checkpoint_size: checkpoints.head.map_or(0, |head| head.size),
        witness_size: scan.witnessed.map_or(0, |head| head.size),
        key_epoch: scan.key.epoch(),
    }))
}

/// Seals a segment that ends in torn bytes, leaving it as it is.
fn seal_at_end(
    storage: &dyn Storage,
    last: &LastSegment,
    scan: &Scan,
    key: &SigningKey,
) -> Result<(), OpenError> {
    if !scan.sealed
        && let Some((torn, _)) = &scan.torn
    {
        let mut seal = seal_of(&scan.fill, last.header.log_id, scan.chain.frontier.size());
        seal.file_bytes = last.file_bytes;
        seal.reason = SealReason::Recovered { torn_bytes: torn.bytes, torn_sha256: torn.sha256 };
        let note = seal.sign(key).map_err(|source| OpenError::Key { what: "the signing key", source })?;
        replace(storage, SEGMENTS, &seal_name(last.first_seq), note.as_bytes())
            .map_err(io("seal the segment"))?;
    }
    protect(storage, last.first_seq);
    Ok(())
}

/// A new segment that begins with the opening entries, durable when this returns.
fn new_segment(
    storage: &dyn Storage,
    options: &Options,
    key: &SigningKey,
    boot_id: [u8; 16],
    head: &mut Head,
    number: u64,
    opening: &[Draft],
) -> Result<(Fill, Arc<dyn File>), OpenError> {
    let first_seq = head.frontier.size();
    let stamp = options.clock.now();
    let capacity_bytes = options.segment_bytes.min(RECOVERED_SEGMENT_BYTES);
    let header = SegmentHeader {
        log_id: head.log_id,
        number,
        previous: head.previous,
        group: head.group,
        epoch: head.key.epoch(),
        run: head.run,
        created_utc_ns: stamp.utc_ns,
        capacity_bytes,
        boot_id,
        key: *key.public().bytes(),
        origin: options.origin.clone(),
        build: options.build.clone(),
        frontier: head.frontier.clone(),
    };
    let header = header.sign(key).map_err(|source| OpenError::Key { what: "the signing key", source })?;
    let mut fill = Fill::new(number, first_seq, capacity_bytes, &header);
    let mut builder = GroupBuilder::new(&fill);
    for draft in opening {
        builder.push(head, draft, stamp);
    }
    let group = builder.close(head);
    fill.add(&group);
    fill_ahead(storage, capacity_bytes, &AtomicBool::new(false)).map_err(io("make a segment"))?;
    let file = begin_segment(storage, first_seq, &header, &group.bytes).map_err(io("begin a segment"))?;
    Ok((fill, file))
}
