//! Several threads, each with a segment of its own; their results are taken up in the order of the log.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::alone::{Around, Flawless, Job, look_at};
use super::{Opening, Segments};
use crate::layout::segment_path;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::storage::Access;
use crate::verify::VerifyError;
use crate::verify::checkpoints::Checkpoints;
use crate::verify::report::Progress;

/// A shorter log is not worth threads of its own, unless they are asked for.
const PARALLEL_BYTES_MIN: u64 = 16 << 20;
/// Sizes of checkpoints remembered for one segment; with more of them the segment is walked in order. Bounds memory.
const SIZES_MAX: usize = 131_072;
/// Threads beyond this number would only wait for each other.
const THREADS_MAX: usize = 256;
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Threads for a log of so many segments and bytes, as asked for or as many as there are processors.
pub(super) fn threads(asked: Option<usize>, segments: usize, bytes: u64) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let wanted = match asked {
        Some(asked) => asked,
        None if bytes < PARALLEL_BYTES_MIN => 1,
        None => cores(),
    };
    // The last segment is walked in order, whatever comes.
    wanted.min(segments.saturating_sub(1)).min(THREADS_MAX)
}

/// Jobs waiting for a thread.
#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<(VecDeque<(usize, Job)>, bool)>,
    wake: Condvar,
}

impl Queue {
    fn push(&self, index: usize, job: Job) {
        self.jobs.lock().0.push_back((index, job));
        self.wake.notify_one();
    }

    fn close(&self) {
        self.jobs.lock().1 = true;
        self.wake.notify_all();
    }

    /// The next job; `None` once there will be none.
    fn pop(&self) -> Option<(usize, Job)> {
        let mut jobs = self.jobs.lock();
        loop {
            if let Some(job) = jobs.0.pop_front() {
                return Some(job);
            }
            if jobs.1 {
                return None;
            }
            self.wake.wait(&mut jobs);
        }
    }
}

/// Ends the threads whichever way the walk ends.
struct Ending<'a>(&'a Queue, &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
        self.0.close();
    }
}

/// What threads have done that was not taken up yet.
#[derive(Debug, Default)]
struct Done {
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// Results by the place of their segment.
struct Results {
    receiver: mpsc::Receiver<(usize, Option<Flawless>)>,
    arrived: BTreeMap<usize, Option<Flawless>>,
}

impl Results {
    /// The result for a segment that was handed out, and `tell` from time to time until it is there.
    fn wait(&mut self, index: usize, mut tell: impl FnMut()) -> Option<Flawless> {
        loop {
            if let Some(result) = self.arrived.remove(&index) {
                return result;
            }
            match self.receiver.recv_timeout(PROGRESS_EVERY) {
                Ok((index, result)) => {
                    self.arrived.insert(index, result);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // Threads only end when they are told to; without them the segment is walked in order.
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
            tell();
        }
    }
}

impl Segments<'_> {
    /// As one by one, with threads that look at segments ahead of the one that is being taken up.
    pub(super) fn side_by_side(
        &mut self,
        firsts: &[u64],
        threads: usize,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, VerifyError> {
        let (queue, stop, done) = (Queue::default(), AtomicBool::new(false), Done::default());
        // As many results as there can be jobs handed out: no thread ever waits to deliver one.
        let (sender, receiver) = mpsc::sync_channel(threads + 2);
        let opening = Opening {
            live: self.live,
            state: self.state,
            key_epoch: self.key_epoch,
            first: self.first,
            from: self.from,
        };
        let (storage, identity, anchors) = (self.storage, self.identity, self.anchors);
        let around = Around { storage, identity, anchors, opening, stop: &stop };
        std::thread::scope(|scope| {
            let _ending = Ending(&queue, &stop);
            for _ in 0..threads {
                let (sender, queue, done) = (sender.clone(), &queue, &done);
                scope.spawn(move || {
                    while let Some((index, job)) = queue.pop() {
                        let result = work(around, job, done);
                        if sender.send((index, result)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let results = Results { receiver, arrived: BTreeMap::new() };
            self.take_in_order(firsts, threads, &queue, results, &done, progress)
        })
    }

    fn take_in_order(
        &mut self,
        firsts: &[u64],
        threads: usize,
        queue: &Queue,
        mut results: Results,
        done: &Done,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, VerifyError> {
        let mut checkpoints = self.checkpoints.look_ahead();
        let mut seals = self.seals.clone();
        let mut handed_out = VecDeque::new();
        let mut next = 0;
        for (index, first_seq) in firsts.iter().enumerate() {
            while next + 1 < firsts.len() && next <= index + threads {
                let job = self.job(firsts[next], firsts[next + 1], &mut checkpoints, &mut seals);
                handed_out.push_back(job.is_some());
                if let Some(job) = job {
                    queue.push(next, job);
                }
                next += 1;
            }
            let last = index + 1 == firsts.len();
            if handed_out.pop_front() == Some(true) {
                let (base_bytes, base_entries) = (self.bytes, self.size());
                let total = self.bytes_total;
                let result = results.wait(index, || {
                    let bytes = (base_bytes + done.bytes.load(Ordering::Relaxed)).min(total);
                    let entries = base_entries + done.entries.load(Ordering::Relaxed);
                    progress(Progress { entries, bytes, bytes_total: total });
                });
                if let Some(flawless) = result {
                    let (entries, bytes) = flawless.told();
                    let taken = self.take_up(flawless)?;
                    done.entries.fetch_sub(entries, Ordering::Relaxed);
                    done.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    if taken {
                        continue;
                    }
                }
            }
            if !self.next_segment(*first_seq, last, progress)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a thread needs for the segment that starts with `first_seq`; `None` when it is better walked in order.
    fn job(
        &self,
        first_seq: u64,
        next_seq: u64,
        checkpoints: &mut Checkpoints,
        seals: &mut crate::verify::seals::Seals,
    ) -> Option<Job> {
        let sizes = checkpoints.sizes_to(next_seq, SIZES_MAX).ok()??;
        let header = self.peek_header(first_seq).ok()??;
        let ours = header.key == *self.identity.key.bytes() && header.first_seq() == first_seq;
        if !ours || !seals.advance(header.epoch) {
            return None;
        }
        Some(Job { first_seq, header, sizes, seals: seals.clone() })
    }

    fn peek_header(&self, first_seq: u64) -> io::Result<Option<SegmentHeader>> {
        let file = self.storage.open(&segment_path(first_seq), Access::Read)?;
        let mut bytes = vec![0u8; SEGMENT_HEADER_BYTES];
        let read = file.read_at(0, &mut bytes)?;
        Ok(SegmentHeader::parse(bytes.get(..read).unwrap_or_default()).ok())
    }
}

/// Looks at one segment and counts; what comes to nothing is counted back.
fn work(around: Around<'_>, job: Job, done: &Done) -> Option<Flawless> {
    let first_seq = job.first_seq;
    let (mut entries, mut bytes) = (0, 0);
    let mut tell = |new_entries: u64, new_bytes: u64| {
        done.entries.fetch_add(new_entries - entries, Ordering::Relaxed);
        done.bytes.fetch_add(new_bytes - bytes, Ordering::Relaxed);
        (entries, bytes) = (new_entries, new_bytes);
    };
    let result = look_at(around, job, &mut |progress| tell(progress.entries - first_seq, progress.bytes));
    if let Some((all_entries, all_bytes)) = result.as_ref().map(Flawless::told) {
        tell(all_entries, all_bytes);
    } else {
        done.entries.fetch_sub(entries, Ordering::Relaxed);
        done.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
    result
}
