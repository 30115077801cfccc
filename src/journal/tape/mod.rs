//! The tape: every market event that was published, in a sealed log of its own beside the audit log.
//!
//! The pipeline fills blocks of records and keyframes ([`crate::feed`] knows their inside) and hands them over here; one thread packs them
//! (zstd), appends them, and links the tape's checkpoints into the audit log. The queue between them holds [`JOBS_MAX`] jobs: when it is
//! full, the pipeline waits.
//!
//! Nothing that is published waits for the tape: a crash may cost its last blocks, and the next run then begins a new epoch. A tape that
//! fails, or whose disk is nearly full, is given up for the rest of the run: an alarm (SF-AUD-007), a sealed entry, no blocks from then
//! on, and [`Tape::has_failed`]. The audit log, and with it trading, goes on.

mod layout;
mod link;
mod open;
mod writer;

pub use layout::{
    BLOCK, BLOCK_HEADER_BYTES, BlockHeader, END, End, INSTRUMENTS, INSTRUMENTS_MAX,
    INSTRUMENTS_PER_ENTRY_MAX, InstrumentList, KEYFRAME, KEYFRAME_BYTES_MAX, KEYFRAME_HEADER_BYTES,
    KeyframeHeader, MarketState, SCHEMA, StreamState, TapedInstrument, UNPACKED_BYTES_MAX, join_keyframe,
    pack, split_keyframe, unpack,
};
pub use open::{Opened, State, open};

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Journal;
use crate::types::{Epoch, UnixNanos};
use writer::Writer;

/// Blocks and keyframes that may wait for the tape's thread.
pub const JOBS_MAX: usize = 32;

/// A block on its way to the tape.
#[derive(Debug, Default)]
pub struct Block {
    /// Parts of it, in order, each small enough for an entry of its own whatever it compresses to; each header counts its own bytes.
    pub pieces: Vec<BlockHeader>,
    /// The records of all pieces, one after the other.
    pub records: Vec<u8>,
}

/// The state of all markets on its way to the tape.
#[derive(Debug)]
pub struct Keyframe {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// Number of the event that comes next.
    pub next: u64,
    /// Since when this is the state: when the event before was published, or the run began.
    pub ts_out: UnixNanos,
    /// All instruments.
    pub instruments: Arc<[TapedInstrument]>,
    /// The content, as [`join_keyframe`] makes it.
    pub content: Vec<u8>,
}

/// What the thread is asked to do.
enum Job {
    Block(Block),
    Keyframe(Keyframe),
    /// The run ends in good order behind the last keyframe.
    End,
}

/// What both ends know.
#[derive(Debug, Default)]
struct Shared {
    has_failed: AtomicBool,
    wants_keyframe: AtomicBool,
}

/// The way onto the tape, for one owner. Dropped without [`Tape::end`], it closes the log without saying that the run ended well.
#[derive(Debug)]
pub struct Tape {
    jobs: Option<SyncSender<Job>>,
    buffers: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Tape {
    /// Starts the thread over an open tape. Links and failures go into the audit log of `journal`.
    ///
    /// # Errors
    /// The operating system refuses a thread, or there is no memory to compress in.
    pub fn start(opened: Opened, journal: Journal) -> io::Result<Self> {
        let (jobs, job_receiver) = sync_channel(JOBS_MAX);
        let (buffer_sender, buffers) = sync_channel(JOBS_MAX);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(opened, journal, Arc::clone(&shared), buffer_sender)?;
        let thread =
            std::thread::Builder::new().name("tape".into()).spawn(move || writer.run(&job_receiver))?;
        Ok(Self { jobs: Some(jobs), buffers, shared, thread: Some(thread) })
    }

    /// Hands over a block; waits while too much waits for the tape.
    pub fn block(&self, block: Block) {
        self.send(Job::Block(block));
    }

    /// Hands over a keyframe, behind all blocks so far; waits as [`Tape::block`] does.
    pub fn keyframe(&self, keyframe: Keyframe) {
        self.shared.wants_keyframe.store(false, Ordering::Relaxed);
        self.send(Job::Keyframe(keyframe));
    }

    /// Whether a keyframe should come soon: a segment is nearly full, or a day is over.
    #[must_use]
    pub fn wants_keyframe(&self) -> bool {
        self.shared.wants_keyframe.load(Ordering::Relaxed)
    }

    /// Whether the tape was given up: nothing is recorded any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed.load(Ordering::Relaxed)
    }

    /// An empty buffer for records: one that was used before, if there is any.
    #[must_use]
    pub fn buffer(&self) -> Vec<u8> {
        self.buffers.try_recv().unwrap_or_default()
    }

    /// Ends the run in good order behind the last keyframe, closes the tape and links its end. Waits until all is written.
    pub fn end(mut self) {
        self.send(Job::End);
        self.close();
    }

    fn send(&self, job: Job) {
        if self.has_failed() {
            return;
        }
        // A thread that is gone has said so: it ends before the sender only by a panic.
        let is_gone = self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err());
        if is_gone {
            self.shared.has_failed.store(true, Ordering::Relaxed);
        }
    }

    fn close(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(code = %crate::types::Code::AudTapeFailed, "the tape's thread panicked");
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.close();
    }
}
