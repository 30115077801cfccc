//! Opens a log for writing: lock, recovery, threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskThread};
use crate::error::OpenError;
use crate::init::random_bytes;
use crate::layout::LOCK;
use crate::log::{Log, Shared};
use crate::options::Options;
use crate::recovery::{self, Opened};
use crate::storage::{DiskStorage, Lock, Storage};
use crate::writer::{Writer, WriterParts};

/// A verifier tests the lock for an instant; a writer that meets it tries again this often.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

impl Log {
    /// Opens the log in `folder` for writing, after recovery if a crash made it necessary.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was written unless recovery had begun, which can be begun again.
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let storage = DiskStorage::new(folder).with_immutable_flag(options.immutable_segments);
        Self::open_storage(Arc::new(storage), options)
    }

    /// As [`Log::open`], on any storage.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_storage(storage: Arc<dyn Storage>, options: Options) -> Result<Self, OpenError> {
        options.check()?;
        let lock = lock(&*storage)?;
        let crypto = |source| OpenError::Key { what: "the random number generator", source };
        let run = u64::from_le_bytes(random_bytes().map_err(crypto)?);
        let opened = recovery::open(&storage, &options, run)?;
        let log = start(storage, options, opened, lock)?;
        // The first entries tell whether the disk takes writes at all; better to know before anybody connects.
        let last_seq = log.durable_after_open();
        match log.wait_durable(last_seq) {
            Err(crate::error::AppendError::Failed(failure)) => Err(OpenError::Failed(failure)),
            _ => Ok(log),
        }
    }
}

fn lock(storage: &dyn Storage) -> Result<Box<dyn Lock>, OpenError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => OpenError::NoLog,
        _ => OpenError::Io { what: "lock the log", source },
    };
    for _ in 0..LOCK_ATTEMPTS {
        if let Some(lock) = storage.lock(LOCK).map_err(io)? {
            return Ok(lock);
        }
        thread::sleep(LOCK_PAUSE);
    }
    Err(OpenError::Locked)
}

fn start(
    storage: Arc<dyn Storage>,
    options: Options,
    opened: Opened,
    lock: Box<dyn Lock>,
) -> Result<Log, OpenError> {
    let io = |source| OpenError::Io { what: "start a thread", source };
    let durable = opened.head.frontier.size();
    let shared = Arc::new(Shared::new(opened.head.log_id, opened.key.public().clone(), durable, &options));
    {
        let mut queue = shared.queue.lock();
        for draft in &opened.opening {
            shared.push_own(&mut queue, draft);
        }
    }
    shared.counters.checkpoint_size.store(opened.checkpointed, std::sync::atomic::Ordering::Relaxed);
    shared.counters.epoch.store(opened.head.key.epoch(), std::sync::atomic::Ordering::Relaxed);
    let (jobs, jobs_in) = sync_channel(2);
    let (buffers, buffers_in) = sync_channel(4);
    let disk = Disk {
        shared: Arc::clone(&shared),
        storage: Arc::clone(&storage),
        key: Arc::clone(&opened.key),
        segment: opened.segment,
        checkpoints: opened.checkpoints,
        checkpoints_end: opened.checkpoints_end,
        epoch_file: opened.epoch_file,
        segment_bytes: options.segment_bytes,
        ahead: None,
        buffers,
    };
    let disk = Arc::new(Mutex::new(disk));
    let disk_thread = DiskThread { disk: Arc::clone(&disk), jobs: jobs_in };
    let writer = Writer::new(WriterParts {
        shared: Arc::clone(&shared),
        options,
        key: opened.key,
        boot_id: opened.boot_id,
        jobs,
        disk,
        buffers: buffers_in,
        head: opened.head,
        fill: opened.fill,
        checkpointed: opened.checkpointed,
        storage,
    });
    let guard = Guard { shared: Arc::clone(&shared), lock: Some(lock) };
    let disk = spawn("audit-disk", guard, move || disk_thread.run()).map_err(io)?;
    let guard = Guard { shared: Arc::clone(&shared), lock: None };
    let writer = spawn("audit-writer", guard, move || writer.run()).map_err(io)?;
    Ok(Log::from_parts(shared, vec![writer, disk]))
}

fn spawn(name: &str, guard: Guard, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Dropped on every way out, a panic included, so that nobody waits for a thread that is gone.
        let _guard = guard;
        run();
    })
}

/// Says that a thread has ended. The disk thread's holds the lock: nothing is written after it.
struct Guard {
    shared: Arc<Shared>,
    lock: Option<Box<dyn Lock>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.fail("run a thread of the log", io::Error::other("the thread panicked"));
        }
        if let Some(lock) = self.lock.take() {
            drop(lock);
            self.shared.end();
        }
    }
}
