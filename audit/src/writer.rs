//! The thread that turns the queue into groups: numbers, links, hashes, seals; and paces checkpoints, epochs and heartbeats.
//!
//! A group closes when it is full (bytes, entries), when its oldest entry has waited for the group window, or as soon as the disk
//! is free and the group holds as many entries as the last one released: then everybody who was waiting has spoken again, and
//! waiting longer buys nothing. While a group is being synced the next one is collected and hashed. At most one is being written,
//! by the disk thread, or, if it is small and nothing was handed over, by this one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use parking_lot::Mutex;

use crate::chain::Hash;
use crate::checkpoint::TreeHead;
use crate::disk::{Buffers, Disk, Failed, GroupJob, Job, Rotation};
use crate::entry::{Draft, kind_of, times_of};
use crate::error::Failure;
use crate::group::{Fill, GroupBuilder, Head};
use crate::kind::{self, Kind};
use crate::log::Shared;
use crate::note::SigningKey;
use crate::options::Options;
use crate::queue::{ENTRIES_PER_WAKE, Queue, Waiting};
use crate::segment::{Seal, SealReason, SegmentHeader};
use crate::space::Space;
use crate::storage::Storage;

/// Groups handed over and not yet durable: one being written, one closed behind it.
const HANDED_OVER_MAX: usize = 2;
/// A group of so few entries is written by the writer itself when the disk is idle: handing it over costs more than
/// hashing meanwhile could save.
const ALONE_ENTRIES_MAX: usize = 16;

const DAY_NS: u64 = 86_400_000_000_000;

/// The writer has nobody to write for any more: the log failed.
#[derive(Debug)]
struct Gone;

impl From<&Failure> for Gone {
    fn from(_: &Failure) -> Self {
        Self
    }
}

/// The log as it was when the running group began: what a segment header states.
#[derive(Debug)]
pub(crate) struct Base {
    head: Head,
}

/// Times of the writer's periodic duties, nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Pace {
    last_checkpoint_ns: u64,
    epoch_began_ns: u64,
    last_entry_ns: u64,
}

/// The writer thread's own.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    options: Options,
    key: Arc<SigningKey>,
    boot_id: [u8; 16],
    jobs: SyncSender<Job>,
    /// For what the writer does itself, while nothing is handed over.
    disk: Arc<Mutex<Disk>>,
    buffers: Receiver<Buffers>,
    head: Head,
    base: Base,
    fill: Fill,
    builder: GroupBuilder,
    /// What was taken out of the queue and is not in a group yet.
    taken: Waiting,
    /// Stamp of the oldest entry in the running group.
    group_began_ns: u64,
    /// Entries of the group that was handed over last.
    released: usize,
    /// Size of the last checkpoint handed over.
    checkpointed: u64,
    pace: Pace,
    epoch_end_queued: bool,
    stop_queued: bool,
    rotate: bool,
    /// UTC of the first entry of the running group.
    group_utc_ns: u64,
    storage: Arc<dyn Storage>,
    space_looked_ns: u64,
    /// Whether the reserve should be there; `None` until space was looked at.
    reserve_held: Option<bool>,
}

/// What the writer starts from.
#[derive(Debug)]
pub(crate) struct WriterParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) boot_id: [u8; 16],
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) disk: Arc<Mutex<Disk>>,
    pub(crate) buffers: Receiver<Buffers>,
    pub(crate) head: Head,
    pub(crate) fill: Fill,
    pub(crate) checkpointed: u64,
    pub(crate) storage: Arc<dyn Storage>,
}

/// Why the running group closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// It is full or ended by an entry that ends groups.
    Full,
    /// Whoever waits has waited long enough.
    Due,
}

impl Writer {
    pub(crate) fn new(parts: WriterParts) -> Self {
        let now_ns = parts.options.clock.now().monotonic_ns;
        Self {
            shared: parts.shared,
            options: parts.options,
            key: parts.key,
            boot_id: parts.boot_id,
            jobs: parts.jobs,
            disk: parts.disk,
            buffers: parts.buffers,
            base: Base { head: parts.head.clone() },
            head: parts.head,
            builder: GroupBuilder::new(&parts.fill),
            fill: parts.fill,
            taken: Waiting::default(),
            group_began_ns: 0,
            released: 1,
            checkpointed: parts.checkpointed,
            pace: Pace { last_checkpoint_ns: 0, epoch_began_ns: now_ns, last_entry_ns: now_ns },
            epoch_end_queued: false,
            stop_queued: false,
            rotate: false,
            group_utc_ns: 0,
            storage: parts.storage,
            space_looked_ns: 0,
            reserve_held: None,
        }
    }

    /// Writes until the log is stopped or fails.
    pub(crate) fn run(mut self) {
        while let Ok(last) = self.step() {
            if last {
                break;
            }
        }
    }

    /// One round: take what is queued, close what is due, or sleep. True once STOP was handed over.
    fn step(&mut self) -> Result<bool, Gone> {
        if let Some(last_kind) = self.place_taken() {
            return self.hand_over(Close::Full, last_kind);
        }
        let shared = Arc::clone(&self.shared);
        let now_ns = shared.clock.now().monotonic_ns;
        self.look_at_space(&shared, now_ns)?;
        let mut queue = shared.queue.lock();
        if let Some(failure) = shared.failure() {
            return Err(failure.into());
        }
        self.queue_own_entries(&mut queue, now_ns);
        self.rotate |= std::mem::take(&mut queue.rotate);
        if self.take(&mut queue) {
            shared.taken(&mut queue);
            drop(queue);
            shared.space_freed();
            return Ok(false);
        }
        let idle_disk = queue.in_flight == 0;
        if idle_disk && self.builder.entries() > 0 && self.is_due(now_ns, &queue) {
            queue.turn_ended = false;
            drop(queue);
            return self.hand_over(Close::Due, 0);
        }
        if idle_disk && self.builder.entries() == 0 && self.checkpoint_due(now_ns) {
            queue.in_flight += 1;
            drop(queue);
            let head = self.checkpoint(now_ns);
            return self.jobs.send(Job::Checkpoint(head)).map(|()| false).map_err(|_| Gone);
        }
        self.sleep(&shared, &mut queue, now_ns);
        Ok(false)
    }

    /// Takes all that waits; false if nothing does. What was taken before is in groups by then.
    fn take(&mut self, queue: &mut Queue) -> bool {
        if queue.waiting.entries() == 0 {
            return false;
        }
        self.taken.clear();
        std::mem::swap(&mut self.taken, &mut queue.waiting);
        true
    }

    /// Puts what was taken into the group; the kind of the last entry once the group is full.
    fn place_taken(&mut self) -> Option<Kind> {
        while let Some(entry) = self.taken.front() {
            if !self.builder.fits(entry.len()) {
                return Some(0);
            }
            let (utc_ns, monotonic_ns) = times_of(entry);
            if self.builder.entries() == 0 {
                self.base.head.clone_from(&self.head);
                self.group_began_ns = monotonic_ns;
                self.group_utc_ns = utc_ns;
            }
            self.builder.push_encoded(&mut self.head, entry);
            self.pace.last_entry_ns = monotonic_ns;
            let kind = kind_of(entry);
            self.taken.pop();
            let ends_group = matches!(kind, kind::EPOCH_END | kind::STOP);
            let full = self.builder.entries() >= self.options.group_entries_max
                || self.builder.bytes() >= self.options.group_bytes_max;
            if ends_group || full {
                return Some(kind);
            }
        }
        None
    }

    /// Queues `EPOCH_END`, HEARTBEAT and STOP when their time has come.
    fn queue_own_entries(&mut self, queue: &mut Queue, now_ns: u64) {
        let own = |kind| Draft { kind, ..Draft::default() };
        if self.stop_queued {
            return;
        }
        if queue.stopping {
            self.shared.push_own(queue, &own(kind::STOP));
            self.stop_queued = true;
            return;
        }
        let epoch_over = now_ns.saturating_sub(self.pace.epoch_began_ns) >= self.options.epoch_interval_ns;
        if epoch_over && !self.epoch_end_queued {
            self.shared.push_own(queue, &own(kind::EPOCH_END));
            self.epoch_end_queued = true;
        }
        let silent_ns = now_ns.saturating_sub(self.pace.last_entry_ns);
        let nothing_waits = queue.waiting.entries() == 0 && self.builder.entries() == 0;
        if nothing_waits && silent_ns >= self.options.heartbeat_interval_ns {
            self.shared.push_own(queue, &own(kind::HEARTBEAT));
        }
    }

    /// Whether the running group is of a later UTC day than the open segment. A clock that steps back makes no new one.
    fn new_day(&self) -> bool {
        self.options.rotate_utc_day && self.group_utc_ns / DAY_NS > self.fill.created_utc_ns / DAY_NS
    }

    /// Looks at the room that is left, now and then; a change is an entry of its own, and gives the reserve back or fills it.
    fn look_at_space(&mut self, shared: &Shared, now_ns: u64) -> Result<(), Gone> {
        let first = self.reserve_held.is_none();
        let due = now_ns.saturating_sub(self.space_looked_ns) >= self.options.space_interval_ns;
        if self.stop_queued || !(first || due) {
            return Ok(());
        }
        self.space_looked_ns = now_ns;
        // A file system that does not answer says nothing about its room; the next write will.
        let Ok(free) = self.storage.space() else { return Ok(()) };
        let space = Space::of(free, &self.options);
        if space != shared.space_state.get() {
            let draft = Draft { kind: kind::SPACE, payload: space.to_payload(free), ..Draft::default() };
            let mut queue = shared.queue.lock();
            if queue.stopping {
                return Ok(());
            }
            // Nobody acts on a state whose entry is not queued before theirs.
            shared.push_own(&mut queue, &draft);
            shared.space_state.set(space);
        }
        let held = space != Space::Critical;
        if self.reserve_held != Some(held) {
            self.reserve_held = Some(held);
            shared.queue.lock().in_flight += 1;
            self.jobs.send(Job::Reserve { held }).map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Whether the running group is to be written now: when its time is over, or when nothing more is to be expected soon. That is so
    /// when as many came as the last group let go on, or a turn has ended; and not while another turn goes on.
    fn is_due(&self, now_ns: u64, queue: &Queue) -> bool {
        let waited_ns = now_ns.saturating_sub(self.group_began_ns);
        let is_complete = queue.turns == 0 && (queue.turn_ended || self.builder.entries() >= self.released);
        queue.stopping || is_complete || waited_ns >= self.options.group_window_ns
    }

    fn checkpoint_due(&self, now_ns: u64) -> bool {
        let new = self.head.frontier.size() - self.checkpointed;
        let late = now_ns.saturating_sub(self.pace.last_checkpoint_ns) >= self.options.checkpoint_interval_ns;
        new >= self.options.checkpoint_entries || (new > 0 && late)
    }

    fn checkpoint(&mut self, now_ns: u64) -> TreeHead {
        self.checkpointed = self.head.frontier.size();
        self.pace.last_checkpoint_ns = now_ns;
        TreeHead { size: self.checkpointed, root: self.head.frontier.root() }
    }

    /// Sleeps until there is something to do.
    fn sleep(&self, shared: &Shared, queue: &mut parking_lot::MutexGuard<'_, Queue>, now_ns: u64) {
        let entries = self.builder.entries();
        let idle_disk = queue.in_flight == 0;
        let since =
            |began_ns: u64, interval_ns: u64| began_ns.saturating_add(interval_ns).saturating_sub(now_ns);
        let mut wait_ns = since(self.pace.epoch_began_ns, self.options.epoch_interval_ns);
        if self.epoch_end_queued || self.stop_queued {
            wait_ns = u64::MAX;
        }
        wait_ns =
            wait_ns.min(since(self.pace.last_entry_ns, self.options.heartbeat_interval_ns).max(1_000_000));
        wait_ns = wait_ns.min(since(self.space_looked_ns, self.options.space_interval_ns).max(1_000_000));
        if entries > 0 && idle_disk {
            wait_ns = wait_ns.min(since(self.group_began_ns, self.options.group_window_ns));
        }
        let owes_checkpoint = !idle_disk && self.checkpoint_due(now_ns);
        if entries == 0 && !owes_checkpoint && self.head.frontier.size() > self.checkpointed {
            wait_ns = wait_ns.min(since(self.pace.last_checkpoint_ns, self.options.checkpoint_interval_ns));
        }
        queue.wake_at = match (idle_disk, entries) {
            (true, 0) => 1,
            (true, _) if queue.turns == 0 => self.released.saturating_sub(entries).max(1),
            // The end of the turn wakes it, or the disk.
            _ => ENTRIES_PER_WAKE,
        };
        queue.awaits_disk = !idle_disk && (entries > 0 || owes_checkpoint);
        // One nanosecond at least: a deadline that has just passed is dealt with in the next round.
        shared.writer_wakes.wait_for(queue, Duration::from_nanos(wait_ns.max(1)));
    }

    /// Closes the running group and gives it to the disk. True if STOP was in it.
    fn hand_over(&mut self, close: Close, last_kind: Kind) -> Result<bool, Gone> {
        let shared = Arc::clone(&self.shared);
        let last = close == Close::Full && last_kind == kind::STOP;
        let (bytes, leaves) = self.buffers.try_recv().unwrap_or_default();
        let next = GroupBuilder::with_buffers(&self.fill, bytes, leaves);
        let builder = std::mem::replace(&mut self.builder, next);
        self.released = builder.entries();
        let group = builder.close(&mut self.head);
        let now_ns = shared.clock.now().monotonic_ns;
        let evolve = (last_kind == kind::EPOCH_END).then(|| {
            self.head.key = self.head.key.next();
            self.epoch_end_queued = false;
            self.pace.epoch_began_ns = now_ns;
            self.head.key.clone()
        });
        let due = self.rotate || self.new_day() || !self.fill.has_room(group.bytes.len());
        let (rotation, offset) = if due {
            (Some(self.rotation()?), self.fill.add_bytes(&group.bytes))
        } else {
            (None, self.fill.add(&group))
        };
        self.builder.follow(&self.fill);
        let checkpoint = (last || self.checkpoint_due(now_ns)).then(|| self.checkpoint(now_ns));
        let job = GroupJob { rotation, group, offset, checkpoint, evolve, last };
        let mut queue = shared.queue.lock();
        while queue.in_flight >= HANDED_OVER_MAX {
            if let Some(failure) = shared.failure() {
                return Err(failure.into());
            }
            (queue.wake_at, queue.awaits_disk) = (usize::MAX, true);
            shared.writer_wakes.wait(&mut queue);
        }
        queue.in_flight += 1;
        let is_alone = queue.in_flight == 1 && close == Close::Due && self.released <= ALONE_ENTRIES_MAX;
        drop(queue);
        let job = Job::Group(Box::new(job));
        if is_alone && !due {
            self.disk.lock().perform(job).map_err(|Failed| Gone)?;
            shared.job_done();
            return Ok(last);
        }
        self.jobs.send(job).map(|()| last).map_err(|_| Gone)
    }

    /// Seals the open segment at the base of the closed group and makes the header of the next, which starts with that group.
    fn rotation(&mut self) -> Result<Rotation, Gone> {
        self.rotate = false;
        let base = &self.base.head;
        let size = base.frontier.size();
        let checkpoint = (self.checkpointed < size).then(|| TreeHead { size, root: base.frontier.root() });
        self.checkpointed = self.checkpointed.max(size);
        let seal = seal_of(&self.fill, base.log_id, size);
        let header = SegmentHeader {
            log_id: base.log_id,
            number: self.fill.number + 1,
            previous: base.previous,
            group: base.group,
            epoch: base.key.epoch(),
            run: base.run,
            created_utc_ns: self.shared.clock.now().utc_ns,
            capacity_bytes: self.options.segment_bytes,
            boot_id: self.boot_id,
            key: *self.key.public().bytes(),
            origin: self.options.origin.clone(),
            build: self.options.build.clone(),
            frontier: base.frontier.clone(),
        };
        let signed = header.sign(&self.key).and_then(|header| Ok((header, seal.sign(&self.key)?)));
        let (header, seal) = signed.map_err(|error| {
            self.shared.fail("sign a segment", std::io::Error::other(error));
            Gone
        })?;
        let (old_first_seq, old_used_bytes) = (self.fill.first_seq, self.fill.used_bytes);
        self.fill = Fill::new(self.fill.number + 1, size, self.options.segment_bytes, &header);
        Ok(Rotation { checkpoint, old_first_seq, old_used_bytes, seal, first_seq: size, header })
    }
}

/// The seal of a segment that ends in good order before entry `end_seq`.
pub(crate) fn seal_of(fill: &Fill, log_id: Hash, end_seq: u64) -> Seal {
    Seal {
        log_id,
        number: fill.number,
        first_seq: fill.first_seq,
        end_seq,
        used_bytes: fill.used_bytes,
        file_bytes: fill.used_bytes,
        sha256: fill.sha256(),
        reason: SealReason::Rotated,
    }
}
