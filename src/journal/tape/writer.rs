//! The tape's thread: packs, appends, begins segments, links.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use sealfeed_audit::{Draft, Log, PAYLOAD_BYTES_MAX, Space};
use zstd::bulk::Compressor;

use super::layout::{
    self, BLOCK, BLOCK_HEADER_BYTES, BlockHeader, END, End, INSTRUMENTS, INSTRUMENTS_PER_ENTRY_MAX,
    InstrumentList, KEYFRAME, KeyframeHeader, SCHEMA, TapedInstrument,
};
use super::link::Links;
use super::open::Opened;
use super::{Block, Job, Keyframe, Shared};
use crate::journal::{Journal, JournalError, event};
use crate::telemetry::chain;
use crate::types::{Code, Epoch};

/// How often the thread looks for checkpoints to link while nothing else happens.
const LOOK: Duration = Duration::from_millis(50);
/// Most that an entry's packed bytes may be.
const PACKED_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - BLOCK_HEADER_BYTES;
/// Bytes of a keyframe that are packed at a time.
const KEYFRAME_PART_BYTES: usize = 256 * 1024;
/// Bytes that an entry takes beside its payload, with its share of the group's seal.
const ENTRY_OVERHEAD_BYTES: u64 = 192;
/// Bytes of a segment's header.
const SEGMENT_HEADER_BYTES: u64 = sealfeed_audit::SEGMENT_HEADER_BYTES as u64;
const DAY_NS: u64 = 86_400_000_000_000;

/// Why the tape is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum TapeFailure {
    #[error("the tape takes no more entries")]
    Log(#[from] sealfeed_audit::AppendError),
    #[error("the audit log has failed")]
    Audit(#[from] JournalError),
    #[error("the tape's disk is nearly full")]
    Space,
    #[error("records could not be compressed")]
    Pack(#[source] io::Error),
    #[error("a list could not be encoded")]
    Encode(#[from] postcard::Error),
    #[error("records do not fit an entry")]
    TooLong,
}

/// What the thread owns.
pub(super) struct Writer {
    log: Log,
    journal: Journal,
    shared: Arc<Shared>,
    buffers: SyncSender<Vec<u8>>,
    packer: Compressor<'static>,
    links: Links,
    segment_bytes: u64,
    rotates_daily: bool,
    /// Bytes in the segment at hand; it is full before the first keyframe, so that each run begins with a segment of its own.
    used: u64,
    /// UTC day in which the segment at hand began.
    day: u64,
    /// The last entry appended.
    last_seq: Option<u64>,
    /// Entry in which the last keyframe begins, and what it is the state of.
    keyframe: Option<End>,
    /// Events that were appended.
    appended: (Epoch, u64),
    has_failed: bool,
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        journal: Journal,
        shared: Arc<Shared>,
        buffers: SyncSender<Vec<u8>>,
    ) -> io::Result<Self> {
        let packer = Compressor::new(i32::from(opened.compression_level))?;
        let links = Links::new(&opened);
        Ok(Self {
            day: journal.clock.now().utc_ns / DAY_NS,
            log: opened.log,
            journal,
            shared,
            buffers,
            packer,
            links,
            segment_bytes: opened.segment_bytes,
            rotates_daily: opened.rotates_daily,
            used: u64::MAX / 2,
            last_seq: None,
            keyframe: None,
            appended: (Epoch(0), 0),
            has_failed: false,
        })
    }

    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let result = match jobs.recv_timeout(LOOK) {
                // Once given up, what still comes is let go, so that nobody waits.
                Ok(_) if self.has_failed => Ok(()),
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(failure) = result.and_then(|()| self.look()) {
                self.give_up(&failure);
            }
        }
        self.close();
    }

    fn take(&mut self, job: Job) -> Result<(), TapeFailure> {
        if self.log.space() == Space::Critical {
            return Err(TapeFailure::Space);
        }
        // What depends on an entry is not on the tape before the entry is durable: somebody may be reading there.
        self.journal.wait_all_durable()?;
        match job {
            Job::Block(block) => self.block(block),
            Job::Keyframe(keyframe) => self.begin_keyframe(&keyframe),
            Job::End => self.end(),
        }
    }

    fn block(&mut self, block: Block) -> Result<(), TapeFailure> {
        let Block { pieces, mut records } = block;
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(()) };
        let whole = BlockHeader {
            last_out: last.last_out,
            events: pieces.iter().map(|piece| piece.events).sum(),
            bytes: pieces.iter().map(|piece| piece.bytes).sum(),
            ..*first
        };
        let packed = self.packer.compress(&records).map_err(TapeFailure::Pack)?;
        if packed.len() <= PACKED_BYTES_MAX {
            self.append_block(whole, &packed)?;
        } else {
            // Records that do not compress: in the pieces that fit as they are.
            let mut rest = &records[..];
            for piece in &pieces {
                let (bytes, after) =
                    rest.split_at_checked(piece.bytes as usize).ok_or(TapeFailure::TooLong)?;
                let packed = self.packer.compress(bytes).map_err(TapeFailure::Pack)?;
                self.append_block(*piece, &packed)?;
                rest = after;
            }
        }
        records.clear();
        // More buffers than jobs are not needed: one too many is let go.
        let _ = self.buffers.try_send(records);
        Ok(())
    }

    fn append_block(&mut self, header: BlockHeader, packed: &[u8]) -> Result<(), TapeFailure> {
        let seq = self.append(BLOCK, header.to_payload(packed))?;
        self.appended = (header.epoch, header.first + u64::from(header.events));
        self.links.appended(seq, self.appended);
        Ok(())
    }

    fn begin_keyframe(&mut self, keyframe: &Keyframe) -> Result<(), TapeFailure> {
        if self.is_segment_over() {
            // With nothing in flight the next group, which is the keyframe's, begins the segment.
            if let Some(seq) = self.last_seq {
                self.log.wait_durable(seq)?;
            }
            self.log.rotate();
            self.links.rotated();
            self.used = SEGMENT_HEADER_BYTES;
            self.day = self.journal.clock.now().utc_ns / DAY_NS;
        }
        let begins = self.instruments(&keyframe.instruments)?;
        let mut parts = keyframe.content.chunks(KEYFRAME_PART_BYTES).peekable();
        let mut part = 0;
        while let Some(content) = parts.next() {
            let header = KeyframeHeader {
                epoch: keyframe.epoch,
                next: keyframe.next,
                ts_out: keyframe.ts_out,
                part,
                is_last: parts.peek().is_none(),
                bytes: 0,
            };
            part = self.keyframe_part(header, content)?;
        }
        let (epoch, next) = (keyframe.epoch, keyframe.next);
        let end = End { epoch: epoch.0, events: next, ts_out: keyframe.ts_out.0, keyframe: begins };
        self.keyframe = Some(end);
        self.appended = (epoch, next);
        Ok(())
    }

    /// Appends a part, in halves if it does not compress; the number of the next part.
    fn keyframe_part(&mut self, header: KeyframeHeader, content: &[u8]) -> Result<u32, TapeFailure> {
        let packed = self.packer.compress(content).map_err(TapeFailure::Pack)?;
        if packed.len() > PACKED_BYTES_MAX {
            let (front, back) = content.split_at(content.len() / 2);
            let part = self.keyframe_part(KeyframeHeader { is_last: false, ..header }, front)?;
            return self.keyframe_part(KeyframeHeader { part, ..header }, back);
        }
        let bytes = u32::try_from(content.len()).map_err(|_| TapeFailure::TooLong)?;
        let seq = self.append(KEYFRAME, KeyframeHeader { bytes, ..header }.to_payload(&packed))?;
        self.links.appended(seq, (header.epoch, header.next));
        Ok(header.part + 1)
    }

    /// Lists all instruments; the first entry of the list.
    fn instruments(&mut self, all: &[TapedInstrument]) -> Result<u64, TapeFailure> {
        let total = u32::try_from(all.len()).map_err(|_| TapeFailure::TooLong)?;
        let (mut begins, mut first) = (None, 0);
        let none: &[TapedInstrument] = &[];
        let chunks = all.chunks(INSTRUMENTS_PER_ENTRY_MAX).chain(all.is_empty().then_some(none));
        for chunk in chunks {
            let list = InstrumentList { first, total, list: chunk.to_vec() };
            let seq = self.append(INSTRUMENTS, layout::pack(&list)?)?;
            begins.get_or_insert(seq);
            first = first.saturating_add(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        }
        begins.ok_or(TapeFailure::TooLong)
    }

    fn end(&mut self) -> Result<(), TapeFailure> {
        match self.keyframe {
            // Only the state that the run ended in ends it.
            Some(end) if self.appended == (Epoch(end.epoch), end.events) => {
                let payload = layout::pack(&end)?;
                self.append(END, payload).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, kind: u16, payload: Vec<u8>) -> Result<u64, TapeFailure> {
        self.used = self.used.saturating_add(payload.len() as u64 + ENTRY_OVERHEAD_BYTES);
        let seq = self.log.append(Draft { kind, schema: SCHEMA, session: None, order: None, payload })?;
        self.last_seq = Some(seq);
        Ok(seq)
    }

    /// Whether the next keyframe begins a segment: before the log begins one by itself, without a keyframe in front.
    fn is_segment_over(&self) -> bool {
        let is_full = self.used > self.segment_bytes - self.segment_bytes / 4;
        let is_day_over = self.rotates_daily && self.journal.clock.now().utc_ns / DAY_NS > self.day;
        is_full || is_day_over
    }

    fn look(&mut self) -> Result<(), TapeFailure> {
        if self.has_failed {
            return Ok(());
        }
        if let Some(failure) = self.log.failure() {
            return Err(TapeFailure::Log(sealfeed_audit::AppendError::Failed(failure)));
        }
        if self.keyframe.is_some() && self.is_segment_over() {
            self.shared.wants_keyframe.store(true, Ordering::Relaxed);
        }
        self.links.look(&self.log, &self.journal);
        Ok(())
    }

    fn give_up(&mut self, failure: &TapeFailure) {
        let detail = chain(failure);
        let (epoch, events) = self.appended;
        tracing::error!(
            code = %Code::AudTapeFailed,
            error = detail,
            "the tape is given up: market data is published, but not recorded, until the server is started again"
        );
        self.has_failed = true;
        self.shared.has_failed.store(true, Ordering::Relaxed);
        // Where the audit log takes no more either, the server stops for that.
        let _ = self.journal.record(event::Tape {
            state: "failed".to_owned(),
            code: Code::AudTapeFailed.to_string(),
            log: sealfeed_audit::hex(&self.log.id()),
            epoch: epoch.0,
            events,
            detail,
        });
        // What is written so far is closed in good order, if that can be done at all.
        let _ = self.log.stop();
        self.links.stopped(&self.log, &self.journal);
    }

    fn close(mut self) {
        if self.has_failed {
            return;
        }
        match self.log.stop() {
            Ok(()) => self.links.stopped(&self.log, &self.journal),
            Err(failure) => self.give_up(&sealfeed_audit::AppendError::Failed(failure).into()),
        }
    }
}
