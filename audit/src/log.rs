//! The handle: append, wait, receipts.
//!
//! Sequence numbers are given out under the queue's lock, so an entry's number is its place in the queue; the log's own entries
//! go through the same lock. The queue is bounded in entries and bytes; full means that [`Log::append`] blocks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::{fmt, io};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::chain::Hash;
use crate::clock::Clock;
use crate::durable::Durable;
use crate::entry::{Draft, PAYLOAD_BYTES_MAX, Stamp, times_of};
use crate::error::{AppendError, Failure, TryAppendError};
use crate::kind;
use crate::note::VerifierKey;
use crate::options::{Options, RECEIPTS_PER_QUEUE_ENTRY};
use crate::queue::{ENTRIES_PER_WAKE, Queue};
use crate::space::{SharedSpace, Space};

/// Proof for a client that its entry is in the log: whoever holds it is a witness of the log up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The log.
    pub log_id: Hash,
    /// The entry.
    pub seq: u64,
    /// Leaf hash of the entry.
    pub hash: Hash,
}

/// How the log is doing. Counters since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries waiting in the queue.
    pub queue_entries: usize,
    /// Bytes of entries waiting in the queue.
    pub queue_bytes: usize,
    /// Entries durable, over the whole life of the log.
    pub durable_entries: u64,
    /// Groups written.
    pub groups: u64,
    /// Entries in the last group.
    pub last_group_entries: u64,
    /// Bytes of the last group.
    pub last_group_bytes: u64,
    /// Time the last synced write took, nanoseconds.
    pub last_sync_ns: u64,
    /// Size of the last checkpoint.
    pub checkpoint_size: u64,
    /// Epoch that seals now.
    pub epoch: u64,
}

type Callback = Box<dyn Fn(u64) + Send + Sync>;

/// What handle, writer and syncer share.
pub(crate) struct Shared {
    pub(crate) log_id: Hash,
    pub(crate) key: VerifierKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: Mutex<Queue>,
    /// One past the last sequence number given out; follows [`Queue::next_seq`] for those who do not hold the lock.
    appended: AtomicU64,
    pub(crate) writer_wakes: Condvar,
    /// Entries wait for the end of a turn while the writer sleeps: nobody looks at how long. Written under the queue's lock.
    is_unwatched: AtomicBool,
    space: Condvar,
    durable: Durable,
    failure: OnceLock<Failure>,
    callbacks: RwLock<Vec<Callback>>,
    pub(crate) counters: Counters,
    pub(crate) space_state: SharedSpace,
    latest_checkpoint: Mutex<Option<Arc<str>>>,
    queue_entries_max: usize,
    queue_bytes_max: usize,
    group_window_ns: u64,
}

/// What [`Stats`] is made of.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) last_group_entries: AtomicU64,
    pub(crate) last_group_bytes: AtomicU64,
    pub(crate) last_sync_ns: AtomicU64,
    pub(crate) checkpoint_size: AtomicU64,
    pub(crate) epoch: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("key", &self.key)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(log_id: Hash, key: VerifierKey, durable: u64, options: &Options) -> Self {
        let ring = options.queue_entries_max.saturating_mul(RECEIPTS_PER_QUEUE_ENTRY).max(1_024);
        Self {
            log_id,
            key,
            clock: Arc::clone(&options.clock),
            queue: Mutex::new(Queue::new(durable)),
            appended: AtomicU64::new(durable),
            writer_wakes: Condvar::new(),
            is_unwatched: AtomicBool::new(false),
            space: Condvar::new(),
            durable: Durable::new(log_id, durable, ring),
            failure: OnceLock::new(),
            callbacks: RwLock::new(Vec::new()),
            counters: Counters::default(),
            space_state: SharedSpace::default(),
            latest_checkpoint: Mutex::new(None),
            queue_entries_max: options.queue_entries_max,
            queue_bytes_max: options.queue_bytes_max,
            group_window_ns: options.group_window_ns,
        }
    }

    /// Puts an entry of the log's own into the queue, which may be full: these are few.
    pub(crate) fn push_own(&self, queue: &mut Queue, draft: &Draft) -> u64 {
        self.push(queue, draft)
    }

    fn push(&self, queue: &mut Queue, draft: &Draft) -> u64 {
        let seq = queue.next_seq;
        queue.next_seq += 1;
        self.appended.store(queue.next_seq, Ordering::Release);
        // Under the lock, so that times follow the order of the numbers.
        queue.waiting.push(draft, self.clock.now());
        seq
    }

    /// Keeps the checkpoint that was just written.
    pub(crate) fn set_checkpoint(&self, note: &str) {
        *self.latest_checkpoint.lock() = Some(note.into());
    }

    /// Tells those who wait for space that entries were taken out. The writer has them now, and looks at how long they wait.
    pub(crate) fn space_freed(&self) {
        self.space.notify_all();
    }

    /// Notes, under the queue's lock, that the writer has taken all that waits and looks at how long it does.
    pub(crate) fn taken(&self, _queue: &mut Queue) {
        self.is_unwatched.store(false, Ordering::Release);
    }

    /// Takes note that a job of the disk is done, and wakes the writer if it has something to do with a disk that is idle.
    pub(crate) fn job_done(&self) {
        let mut queue = self.queue.lock();
        queue.in_flight -= 1;
        if queue.awaits_disk || queue.waiting.entries() > 0 {
            self.wake_writer(&mut queue);
        } else {
            queue.wake_at = 1;
        }
    }

    fn wake_writer(&self, queue: &mut Queue) {
        // Once is enough: the writer sets the mark again before it sleeps.
        queue.wake_at = usize::MAX;
        self.is_unwatched.store(false, Ordering::Release);
        self.writer_wakes.notify_one();
    }

    /// Wakes the writer if entries wait for the end of a turn and nobody looks at how long: somebody waits for them now.
    ///
    /// The first entries of a turn do not wake the writer, which could do nothing with them before the turn ends. So that nobody waits
    /// longer than the window while a turn goes on, whoever waits sees to it.
    pub(crate) fn see_to(&self) {
        if self.is_unwatched.load(Ordering::Acquire) {
            let mut queue = self.queue.lock();
            if self.is_unwatched.load(Ordering::Acquire) {
                self.wake_writer(&mut queue);
            }
        }
    }

    /// Makes a group's entries known as durable and tells everybody.
    pub(crate) fn publish(&self, first_seq: u64, leaves: &[Hash]) {
        self.durable.publish(first_seq, leaves);
        let durable = self.durable.size();
        for callback in self.callbacks.read().iter() {
            callback(durable);
        }
    }

    /// Makes the failure final; the first one counts.
    pub(crate) fn fail(&self, what: &'static str, source: io::Error) {
        let _ = self.failure.set(Failure { what, source: Arc::new(source) });
        // Whoever waits checks the failure under the lock it waits with.
        drop(self.queue.lock());
        self.writer_wakes.notify_all();
        self.space.notify_all();
        self.durable.wake_all();
        let durable = self.durable.size();
        for callback in self.callbacks.read().iter() {
            callback(durable);
        }
    }

    /// Why the log failed, if it did.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// The threads have ended; nothing becomes durable any more.
    pub(crate) fn end(&self) {
        self.queue.lock().ended = true;
        self.space.notify_all();
        self.durable.wake_all();
    }
}

/// Ends the threads when the last handle goes.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Owner {
    fn stop(&self) {
        {
            let mut queue = self.shared.queue.lock();
            queue.stopping = true;
            self.shared.writer_wakes.notify_all();
            self.shared.space.notify_all();
        }
        // Whoever comes second waits here until the first has joined.
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                self.shared.fail("run the writer", io::Error::other("a thread of the log panicked"));
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Entries are coming that belong together; see [`Log::turn`].
#[derive(Debug)]
pub struct Turn {
    log: Log,
    /// That of the first entry of the turn, if there is one.
    next_seq: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let shared = self.log.shared();
        let mut queue = shared.queue.lock();
        queue.turns = queue.turns.saturating_sub(1);
        queue.turn_ended |= queue.next_seq > self.next_seq;
        if queue.turns > 0 || !queue.turn_ended {
            return;
        }
        if queue.in_flight == 0 {
            shared.wake_writer(&mut queue);
        } else {
            // The end of the disk's job wakes it.
            shared.is_unwatched.store(false, Ordering::Release);
        }
    }
}

/// An open log. Cheap to clone; when the last clone is dropped the log is stopped.
#[derive(Clone, Debug)]
pub struct Log {
    owner: Arc<Owner>,
}

impl Log {
    pub(crate) fn from_parts(shared: Arc<Shared>, threads: Vec<JoinHandle<()>>) -> Self {
        Self { owner: Arc::new(Owner { shared, threads: Mutex::new(threads) }) }
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// The last entry that opening the log made, for waiting until it is durable.
    pub(crate) fn durable_after_open(&self) -> u64 {
        self.shared().queue.lock().next_seq.saturating_sub(1)
    }

    /// Name of the log.
    #[must_use]
    pub fn id(&self) -> Hash {
        self.shared().log_id
    }

    /// Key that signs checkpoints, segment headers and seals.
    #[must_use]
    pub fn public_key(&self) -> &VerifierKey {
        &self.shared().key
    }

    /// Takes an entry and gives it its sequence number; blocks while the queue is full. The entry is durable once
    /// [`Log::durable`] exceeds that number.
    ///
    /// # Errors
    /// [`AppendError`] when the entry can never be taken, or the log is stopped or failed.
    #[expect(clippy::needless_pass_by_value, reason = "as try_append, which gives it back or keeps it")]
    pub fn append(&self, draft: Draft) -> Result<u64, AppendError> {
        let shared = self.shared();
        let bytes = check(&draft)?;
        let mut queue = shared.queue.lock();
        loop {
            shared.check_open(&queue)?;
            if shared.has_space(&queue, bytes) {
                return shared.enqueue(&mut queue, &draft);
            }
            if shared.is_unwatched.load(Ordering::Acquire) {
                // A turn that fills the queue does not end before there is room.
                shared.wake_writer(&mut queue);
            }
            shared.space.wait(&mut queue);
        }
    }

    /// As [`Log::append`], for kinds that the application cannot append and of which there are few.
    #[expect(clippy::needless_pass_by_value, reason = "as append")]
    pub(crate) fn append_own(&self, draft: Draft) -> Result<u64, AppendError> {
        let shared = self.shared();
        let mut queue = shared.queue.lock();
        shared.check_open(&queue)?;
        shared.enqueue(&mut queue, &draft)
    }

    /// The time, by the log's clock.
    pub(crate) fn now(&self) -> Stamp {
        self.shared().clock.now()
    }

    /// As [`Log::append`], but gives the draft back instead of waiting.
    ///
    /// # Errors
    /// [`TryAppendError::Full`] with the draft, or why it would not be taken with waiting either.
    pub fn try_append(&self, draft: Draft) -> Result<u64, TryAppendError> {
        match self.try_append_copy(&draft) {
            Ok(Some(seq)) => Ok(seq),
            Ok(None) => Err(TryAppendError::Full(Box::new(draft))),
            Err(error) => Err(TryAppendError::Refused(error)),
        }
    }

    /// As [`Log::try_append`], of a draft whose memory stays the caller's; `None` while the queue is full.
    ///
    /// # Errors
    /// [`AppendError`], as [`Log::append`].
    pub fn try_append_copy(&self, draft: &Draft) -> Result<Option<u64>, AppendError> {
        let shared = self.shared();
        let bytes = check(draft)?;
        let mut queue = shared.queue.lock();
        shared.check_open(&queue)?;
        if !shared.has_space(&queue, bytes) {
            return Ok(None);
        }
        shared.enqueue(&mut queue, draft).map(Some)
    }

    /// Says that several entries are coming that belong together: until the [`Turn`] is dropped no group is closed between them, unless it
    /// is full or somebody waits ([`Log::wait_durable`], [`Log::is_durable`]) and its window is over; after that one is closed at once,
    /// without waiting for others. So what depends on all of them waits for one synced write. Only speed depends on it.
    #[must_use = "the turn ends when this is dropped"]
    pub fn turn(&self) -> Turn {
        let mut queue = self.shared().queue.lock();
        queue.turns += 1;
        Turn { log: self.clone(), next_seq: queue.next_seq }
    }

    /// Number of durable entries: every entry with a smaller sequence number is on disk.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared().durable.size()
    }

    /// Whether an entry is durable. If it is not, it will be no later than if somebody waited for it with [`Log::wait_durable`]; who waits
    /// by asking again, or for a callback of [`Log::on_durable`], asks this first.
    #[must_use]
    pub fn is_durable(&self, seq: u64) -> bool {
        let is_durable = self.durable() > seq;
        if !is_durable {
            self.shared().see_to();
        }
        is_durable
    }

    /// Blocks until an entry is durable.
    ///
    /// # Errors
    /// [`AppendError::Failed`] when it never will be; [`AppendError::NoSuchEntry`] when it was never appended, or is so old
    /// that its receipt is gone (see [`Log::receipt`]).
    pub fn wait_durable(&self, seq: u64) -> Result<Receipt, AppendError> {
        let shared = self.shared();
        if shared.appended.load(Ordering::Acquire) <= seq {
            return Err(AppendError::NoSuchEntry(seq));
        }
        shared.see_to();
        let failed = || shared.failure().cloned().map(AppendError::Failed);
        shared.durable.wait(seq, failed)?;
        shared.durable.receipt(seq).ok_or(AppendError::NoSuchEntry(seq))
    }

    /// Receipt of a durable entry. Those of the last `4 * queue_entries_max` entries (at least 1,024) of this run are kept.
    #[must_use]
    pub fn receipt(&self, seq: u64) -> Option<Receipt> {
        self.shared().durable.receipt(seq)
    }

    /// Calls `callback` with the number of durable entries after each durable group, and once when the log fails, from the log's
    /// own thread: it must not block and not call back into the log's waiting functions. The first call may be for a group that was
    /// already durable when `callback` was given, the one that opening the log made included.
    pub fn on_durable(&self, callback: Box<dyn Fn(u64) + Send + Sync>) {
        self.shared().callbacks.write().push(callback);
    }

    /// How much room the file system has, as last looked at.
    #[must_use]
    pub fn space(&self) -> Space {
        self.shared().space_state.get()
    }

    /// The newest checkpoint of this run, a signed note; `None` until one was written.
    #[must_use]
    pub fn latest_checkpoint(&self) -> Option<Arc<str>> {
        self.shared().latest_checkpoint.lock().clone()
    }

    /// Why the log failed, if it did. Final.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.shared().failure().cloned()
    }

    /// Appends an entry of the log's own kinds.
    #[cfg(test)]
    #[expect(clippy::needless_pass_by_value, reason = "as append")]
    pub(crate) fn append_own_for_tests(&self, draft: Draft) -> u64 {
        let shared = self.shared();
        let seq = shared.push_own(&mut shared.queue.lock(), &draft);
        shared.writer_wakes.notify_one();
        seq
    }

    /// Asks for a new segment; it begins with the next group.
    pub fn rotate(&self) {
        self.shared().queue.lock().rotate = true;
    }

    /// Writes what is queued, a STOP entry and a checkpoint, and ends the threads. May be called again.
    ///
    /// # Errors
    /// The [`Failure`], if the log failed before or meanwhile.
    pub fn stop(&self) -> Result<(), Failure> {
        self.owner.stop();
        self.failure().map_or(Ok(()), Err)
    }

    /// How the log is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.shared();
        let (queue_entries, queue_bytes) = {
            let queue = shared.queue.lock();
            (queue.waiting.entries(), queue.waiting.bytes())
        };
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            queue_entries,
            queue_bytes,
            durable_entries: self.durable(),
            groups: load(&shared.counters.groups),
            last_group_entries: load(&shared.counters.last_group_entries),
            last_group_bytes: load(&shared.counters.last_group_bytes),
            last_sync_ns: load(&shared.counters.last_sync_ns),
            checkpoint_size: load(&shared.counters.checkpoint_size),
            epoch: load(&shared.counters.epoch),
        }
    }
}

impl Shared {
    fn check_open(&self, queue: &Queue) -> Result<(), AppendError> {
        if let Some(failure) = self.failure() {
            return Err(AppendError::Failed(failure.clone()));
        }
        if queue.stopping || queue.ended { Err(AppendError::Stopped) } else { Ok(()) }
    }

    fn has_space(&self, queue: &Queue, bytes: usize) -> bool {
        let waiting = &queue.waiting;
        waiting.entries() < self.queue_entries_max && waiting.bytes() + bytes <= self.queue_bytes_max
    }

    fn enqueue(&self, queue: &mut Queue, draft: &Draft) -> Result<u64, AppendError> {
        if let Some(previous) = draft.order.and_then(|order| order.previous)
            && (previous == 0 || previous >= queue.next_seq)
        {
            return Err(AppendError::Link(previous));
        }
        let seq = self.push(queue, draft);
        let entries = queue.waiting.entries();
        if entries >= queue.wake_at {
            if queue.turns > 0 && entries < ENTRIES_PER_WAKE && !self.is_window_over(queue) {
                self.is_unwatched.store(true, Ordering::Release);
            } else {
                self.wake_writer(queue);
            }
        }
        Ok(seq)
    }

    /// Whether the first entry that waits has waited for as long as a group does.
    fn is_window_over(&self, queue: &Queue) -> bool {
        let began_ns = |entry| times_of(entry).1;
        let ends = queue.waiting.front().map(began_ns).zip(queue.waiting.last().map(began_ns));
        ends.is_some_and(|(first_ns, last_ns)| last_ns.saturating_sub(first_ns) >= self.group_window_ns)
    }
}

fn check(draft: &Draft) -> Result<usize, AppendError> {
    if draft.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(AppendError::TooLong { bytes: draft.payload.len() });
    }
    if !kind::open_to_application(draft.kind) {
        return Err(AppendError::Kind(draft.kind));
    }
    Ok(draft.entry_bytes())
}
