//! What touches the disk: groups, checkpoints, seals, new segments, epoch keys, one after the other, on a thread of its own; a small group
//! may be written by the writer instead, while nothing is handed over.
//!
//! A group is made known as durable only after its synced write returned. The first error of any kind ends everything and poisons the
//! log; nothing is ever tried again, because after a failed sync nobody knows what the disk holds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::chain::Hash;
use crate::checkpoint::{self, TreeHead};
use crate::epoch::{EMPTY_SLOT, EpochKey};
use crate::group::Group;
use crate::layout::{AHEAD, SEGMENTS, State, seal_path, segment_path};
use crate::log::Shared;
use crate::note::SigningKey;
use crate::segment::seal_name;
use crate::space::{RESERVE, RESERVE_PART};
use crate::storage::{Access, File, Storage, remove_if_there, replace};

/// Bytes of zeros written at a time when a segment is filled ahead.
const ZEROS_BYTES: usize = 1 << 20;
/// Zeros are synced in pieces of this many writes, so that a group never waits behind a long flush.
const ZEROS_WRITES_PER_SYNC: u64 = 4;

/// Work for the disk thread.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write a group, and what goes with it.
    Group(Box<GroupJob>),
    /// Sign what is durable.
    Checkpoint(TreeHead),
    /// Give the reserve back, or fill it again.
    Reserve {
        /// Whether it is to be there.
        held: bool,
    },
}

/// A group and what goes with it, in the order in which it is done.
#[derive(Debug)]
pub(crate) struct GroupJob {
    /// Closes the open segment and begins another with this group.
    pub(crate) rotation: Option<Rotation>,
    /// The group.
    pub(crate) group: Group,
    /// Where it goes.
    pub(crate) offset: u64,
    /// Signed once the group is durable.
    pub(crate) checkpoint: Option<TreeHead>,
    /// Key of the next epoch: persisted once the group is durable.
    pub(crate) evolve: Option<EpochKey>,
    /// The log ends here.
    pub(crate) last: bool,
}

/// The change from one segment to the next.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// Checkpoint over everything in the old segment, unless there is one.
    pub(crate) checkpoint: Option<TreeHead>,
    /// The old segment.
    pub(crate) old_first_seq: u64,
    /// Where its last group ends.
    pub(crate) old_used_bytes: u64,
    /// Its seal.
    pub(crate) seal: String,
    /// First entry of the new segment.
    pub(crate) first_seq: u64,
    /// The new segment's header.
    pub(crate) header: Vec<u8>,
}

/// Buffers on their way back to the writer.
pub(crate) type Buffers = (Vec<u8>, Vec<Hash>);

/// The log has failed: it knows why.
#[derive(Debug)]
pub(crate) struct Failed;

/// The disk, as whoever writes has it.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) segment: Arc<dyn File>,
    pub(crate) checkpoints: Arc<dyn File>,
    pub(crate) checkpoints_end: u64,
    pub(crate) epoch_file: Arc<dyn File>,
    pub(crate) segment_bytes: u64,
    pub(crate) ahead: Option<Ahead>,
    pub(crate) buffers: SyncSender<Buffers>,
}

/// The thread that does what is handed over.
#[derive(Debug)]
pub(crate) struct DiskThread {
    pub(crate) disk: Arc<Mutex<Disk>>,
    pub(crate) jobs: Receiver<Job>,
}

impl DiskThread {
    /// Does jobs until the last one, the first error, or until the writer is gone.
    pub(crate) fn run(self) {
        let shared = {
            let mut disk = self.disk.lock();
            disk.ahead = Some(Ahead::begin(Arc::clone(&disk.storage), disk.segment_bytes));
            Arc::clone(&disk.shared)
        };
        while let Ok(job) = self.jobs.recv() {
            let Ok(last) = self.disk.lock().perform(job) else { break };
            shared.job_done();
            if last {
                break;
            }
        }
    }
}

impl Drop for DiskThread {
    /// Nothing is filled ahead any more once the thread has ended and the log's lock is given back.
    fn drop(&mut self) {
        self.disk.lock().ahead = None;
    }
}

impl Disk {
    /// Does one job; whether it was the last one. An error is the log's failure.
    pub(crate) fn perform(&mut self, job: Job) -> Result<bool, Failed> {
        let (result, last) = match job {
            Job::Group(job) => {
                let last = job.last;
                (self.write_group(*job), last)
            }
            Job::Checkpoint(head) => (self.write_checkpoint(&head), false),
            Job::Reserve { held } => {
                self.keep_reserve(held);
                (Ok(()), false)
            }
        };
        result.map(|()| last).map_err(|(what, source)| {
            self.shared.fail(what, source);
            Failed
        })
    }

    fn write_group(&mut self, job: GroupJob) -> Result<(), (&'static str, io::Error)> {
        let started_ns = self.shared.clock.now().monotonic_ns;
        match job.rotation {
            Some(rotation) => self.rotate(&rotation, &job.group.bytes)?,
            None => self.segment.write_at(job.offset, &job.group.bytes).map_err(|e| ("write a group", e))?,
        }
        let ended_ns = self.shared.clock.now().monotonic_ns;
        self.count(&job.group, ended_ns.saturating_sub(started_ns));
        self.shared.publish(job.group.first_seq, &job.group.leaves);
        if let Some(head) = &job.checkpoint {
            self.write_checkpoint(head)?;
        }
        if let Some(key) = &job.evolve {
            persist_key(&*self.epoch_file, key).map_err(|e| ("persist the epoch key", e))?;
            self.shared.counters.epoch.store(key.epoch(), Ordering::Relaxed);
        }
        if job.last {
            let size = job.group.first_seq + job.group.leaves.len() as u64;
            State::Closed { size }.write(&*self.storage).map_err(|e| ("write the state", e))?;
        }
        // A writer that is gone or has buffers enough needs none.
        let _ = self.buffers.try_send((job.group.bytes, job.group.leaves));
        Ok(())
    }

    fn count(&self, group: &Group, sync_ns: u64) {
        let counters = &self.shared.counters;
        counters.groups.fetch_add(1, Ordering::Relaxed);
        counters.last_group_entries.store(group.leaves.len() as u64, Ordering::Relaxed);
        counters.last_group_bytes.store(group.bytes.len() as u64, Ordering::Relaxed);
        counters.last_sync_ns.store(sync_ns, Ordering::Relaxed);
    }

    fn write_checkpoint(&mut self, head: &TreeHead) -> Result<(), (&'static str, io::Error)> {
        let mut note =
            checkpoint::sign(&self.key, head).map_err(|e| ("sign a checkpoint", io::Error::other(e)))?;
        note.push('\n');
        self.checkpoints
            .write_at(self.checkpoints_end, note.as_bytes())
            .map_err(|e| ("write a checkpoint", e))?;
        self.checkpoints_end += note.len() as u64;
        self.shared.set_checkpoint(note.strip_suffix('\n').unwrap_or(&note));
        self.shared.counters.checkpoint_size.store(head.size, Ordering::Relaxed);
        Ok(())
    }

    /// Fills the reserve, or gives it back. Nothing of the log is in it, so what goes wrong here is no failure of the log: without a
    /// reserve, space runs out a little earlier.
    fn keep_reserve(&self, held: bool) {
        let bytes = self.segment_bytes / RESERVE_PART;
        let there = self.storage.open(RESERVE, Access::Read).and_then(|file| file.length()).unwrap_or(0);
        if held && there < bytes {
            let _ = remove_if_there(&*self.storage, RESERVE);
            let filled = self.storage.open(RESERVE, Access::Create).and_then(|file| {
                let zeros = usize::try_from(bytes).unwrap_or(ZEROS_BYTES);
                file.write_at(0, &vec![0u8; zeros])?;
                file.sync()
            });
            if filled.is_err() {
                let _ = remove_if_there(&*self.storage, RESERVE);
            }
        } else if !held {
            let _ = remove_if_there(&*self.storage, RESERVE);
        }
    }

    fn rotate(&mut self, rotation: &Rotation, group: &[u8]) -> Result<(), (&'static str, io::Error)> {
        if let Some(head) = &rotation.checkpoint {
            self.write_checkpoint(head)?;
        }
        let closed = close_segment(&*self.storage, &*self.segment, rotation);
        closed.map_err(|e| ("close a segment", e))?;
        if let Some(ahead) = self.ahead.take() {
            ahead.finish().map_err(|e| ("fill the next segment with zeros", e))?;
        }
        let begun = begin_segment(&*self.storage, rotation.first_seq, &rotation.header, group);
        self.segment = begun.map_err(|e| ("begin a segment", e))?;
        self.ahead = Some(Ahead::begin(Arc::clone(&self.storage), self.segment_bytes));
        Ok(())
    }
}

/// Cuts the zero tail off a segment that is closed in good order, and seals it.
fn close_segment(storage: &dyn Storage, file: &dyn File, rotation: &Rotation) -> io::Result<()> {
    file.set_length(rotation.old_used_bytes)?;
    file.sync()?;
    replace(storage, SEGMENTS, &seal_name(rotation.old_first_seq), rotation.seal.as_bytes())?;
    protect(storage, rotation.old_first_seq);
    Ok(())
}

/// Takes write permission off a sealed segment and its seal. A hurdle for accidents, not for enemies, so a file system that
/// refuses is no failure of the log.
pub(crate) fn protect(storage: &dyn Storage, first_seq: u64) {
    let _ = storage.make_read_only(&segment_path(first_seq));
    let _ = storage.make_read_only(&seal_path(first_seq));
}

/// Turns the file of zeros into the segment that begins with `group`. The file gets its name only once header and group are
/// durable in it, so a segment always holds at least one complete group.
pub(crate) fn begin_segment(
    storage: &dyn Storage,
    first_seq: u64,
    header: &[u8],
    group: &[u8],
) -> io::Result<Arc<dyn File>> {
    let file = storage.open(AHEAD, Access::Write)?;
    file.write_at(0, &[header, group].concat())?;
    file.sync()?;
    let name = segment_path(first_seq);
    storage.rename(AHEAD, &name)?;
    storage.sync_folder(SEGMENTS)?;
    storage.open(&name, Access::WriteSynced)
}

/// Makes a file of `bytes` zeros under the name of the next segment. `cancelled` ends it early, with an error.
pub(crate) fn fill_ahead(storage: &dyn Storage, bytes: u64, cancelled: &AtomicBool) -> io::Result<()> {
    remove_if_there(storage, AHEAD)?;
    let file = storage.open(AHEAD, Access::Create)?;
    let zeros = vec![0u8; ZEROS_BYTES.min(usize::try_from(bytes).unwrap_or(ZEROS_BYTES))];
    let mut written = 0u64;
    let mut writes = 0u64;
    while written < bytes {
        if cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let length = usize::try_from(bytes - written).unwrap_or(usize::MAX).min(zeros.len());
        file.write_at(written, zeros.get(..length).unwrap_or_default())?;
        written += length as u64;
        writes += 1;
        if writes.is_multiple_of(ZEROS_WRITES_PER_SYNC) {
            file.sync()?;
        }
    }
    file.sync()
}

/// Writes the key of the next epoch durably, then overwrites that of the last.
pub(crate) fn persist_key(file: &dyn File, key: &EpochKey) -> io::Result<()> {
    file.write_at(key.slot_offset(), &key.to_slot())?;
    file.sync()?;
    let other_slot = key.next().slot_offset();
    file.write_at(other_slot, &EMPTY_SLOT)?;
    file.sync()
}

/// The next segment being filled with zeros, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Ahead {
    cancelled: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Ahead {
    fn begin(storage: Arc<dyn Storage>, bytes: u64) -> Self {
        let cancelled = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&cancelled);
        let builder = std::thread::Builder::new().name("audit-ahead".to_owned());
        // Without a thread the file is missing at the next rotation, which then fails: reported where it matters.
        let thread = builder.spawn(move || fill_ahead(&*storage, bytes, &seen)).ok();
        Self { cancelled, thread }
    }

    fn finish(mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(io::Error::other("the thread that fills segments ended early")),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it made is thrown away at the next start whatever became of it.
            let _ = thread.join();
        }
    }
}
