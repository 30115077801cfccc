//! The byte log of one stream: frames behind one another, read by any number of readers, each with a cursor of its own.
//!
//! One log a stream and shard: its shard writes and reads it, so that nobody locks and nothing is counted for a
//! delivery. Bytes lie in chunks that end between frames: a reader takes the rest of one chunk at a time, straight
//! into a TLS record. Records that wait together share frames: one goes into the last frame as long as no cursor stands behind that. Bounded by [`StreamLog::forget_before`] and [`StreamLog::trim`]: what no reader needs, or more than a
//! reader may lag, goes.

use std::collections::VecDeque;

use super::frame::{frame_bytes, is_of_records, join_frame, messages, whole_frames};

/// Bytes of a chunk, unless one frame is larger: two full TLS records, one write of the socket.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// A reader's place in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Bytes of the log before it, from the beginning of time.
    pub at: u64,
    /// Messages of the log before it, notices among them.
    pub messages: u64,
    /// Sequence number of the stream there: of the last message before it. Zero: unknown, nothing came yet.
    pub seq: u64,
}

/// Frames of one stream that follow one another.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Whole frames.
    pub frames: &'a [u8],
    /// How many.
    pub messages: u64,
    /// Sequence number of the last of them. If there are several, each is one above the one before.
    pub last: u64,
}

/// Frames of one stream, the latest ones.
#[derive(Debug, Default)]
pub struct StreamLog {
    chunks: VecDeque<Chunk>,
    end: Cursor,
    /// Where in the last chunk the last frame begins, as long as it is one of records that no reader stands behind.
    open: Option<usize>,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Vec<u8>,
    /// The cursor behind it.
    end: Cursor,
}

impl StreamLog {
    /// Where the next frame will stand.
    #[must_use]
    pub const fn end(&self) -> Cursor {
        self.end
    }

    /// The end, for a reader who stands there: nothing is put into the frames before it any more.
    pub const fn stand_at_end(&mut self) -> Cursor {
        self.open = None;
        self.end
    }

    /// Appends a run.
    pub fn append(&mut self, run: Run<'_>) {
        if !is_of_records(run.frames) {
            self.open = None;
            return self.append_frames(run);
        }
        let (mut frames, mut left) = (run.frames, run.messages);
        while !frames.is_empty() {
            let (frame, later) = frames.split_at(frame_bytes(frames));
            let count = messages(frame);
            (frames, left) = (later, left.saturating_sub(count));
            let last = run.last.saturating_sub(left);
            if !self.join(frame, count, last) {
                self.append_frames(Run { frames: frame, messages: count, last });
                let filled = self.chunks.back().map(|chunk| chunk.bytes.len());
                self.open = filled.and_then(|bytes| bytes.checked_sub(frame.len()));
            }
        }
    }

    /// Puts the records of a frame into the last one, if they may and fit.
    fn join(&mut self, frame: &[u8], count: u64, last: u64) -> bool {
        let (Some(open), Some(chunk)) = (self.open, self.chunks.back_mut()) else { return false };
        let before = chunk.bytes.len();
        if before + frame.len() > CHUNK_BYTES || !join_frame(&mut chunk.bytes, open, frame) {
            return false;
        }
        let more = (chunk.bytes.len() - before) as u64;
        self.end = Cursor { at: self.end.at + more, messages: self.end.messages + count, seq: last };
        chunk.end = self.end;
        true
    }

    fn append_frames(&mut self, run: Run<'_>) {
        let (mut frames, mut left) = (run.frames, run.messages);
        while !frames.is_empty() {
            let filled = self.chunks.back().map_or(CHUNK_BYTES, |chunk| chunk.bytes.len());
            let room = CHUNK_BYTES.saturating_sub(filled);
            let (mut bytes, mut count) =
                if frames.len() <= room { (frames.len(), left) } else { whole_frames(frames, room) };
            if bytes > room {
                self.chunks.push_back(Chunk { start: self.end.at, bytes: Vec::new(), end: self.end });
                let fits = frames.len() <= CHUNK_BYTES;
                (bytes, count) = if fits { (frames.len(), left) } else { whole_frames(frames, CHUNK_BYTES) };
            }
            let (now, later) = frames.split_at(bytes);
            (frames, left) = (later, left.saturating_sub(count));
            self.end = Cursor {
                at: self.end.at + now.len() as u64,
                messages: self.end.messages + count,
                seq: run.last.saturating_sub(left),
            };
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.bytes.extend_from_slice(now);
                chunk.end = self.end;
            }
        }
    }

    /// What stands at a cursor up to the end of its chunk, and the cursor behind that. Empty at the end of the log.
    /// `None` if what stood there has been trimmed.
    #[must_use]
    pub fn read(&mut self, cursor: Cursor) -> Option<(&[u8], Cursor)> {
        if cursor.at == self.end.at {
            return Some((&[], self.stand_at_end()));
        }
        let place = self.chunks.partition_point(|chunk| chunk.end.at <= cursor.at);
        if place + 1 == self.chunks.len() {
            self.open = None;
        }
        let chunk = self.chunks.get(place)?;
        let offset = usize::try_from(cursor.at.checked_sub(chunk.start)?).ok()?;
        Some((&chunk.bytes[offset..], chunk.end))
    }

    /// Bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let start = self.chunks.front().map_or(self.end.at, |chunk| chunk.start);
        usize::try_from(self.end.at - start).unwrap_or(usize::MAX)
    }

    /// Forgets whole chunks that lie before a place.
    pub fn forget_before(&mut self, at: u64) {
        while self.chunks.len() > 1 && self.chunks[0].end.at <= at {
            self.chunks.pop_front();
        }
    }

    /// Forgets everything: every reader is at the end. Keeps the memory of one chunk.
    pub fn clear(&mut self) {
        self.open = None;
        self.chunks.truncate(1);
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.bytes.clear();
            chunk.start = self.end.at;
            chunk.end = self.end;
        }
    }

    /// Forgets whole chunks from the front until at most `bytes_max` are left, or one chunk.
    pub fn trim(&mut self, bytes_max: usize) {
        while self.chunks.len() > 1 && self.end.at - self.chunks[0].start > bytes_max as u64 {
            self.chunks.pop_front();
        }
    }

    /// Gives memory back that an idle stream does not need.
    pub fn shrink(&mut self) {
        if self.chunks.iter().all(|chunk| chunk.bytes.is_empty()) {
            self.open = None;
            self.chunks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feed::frame::{FrameKind, frame_bytes, push_frame};

    fn frames(lengths: &[usize]) -> Vec<u8> {
        let mut frames = Vec::new();
        for (n, length) in lengths.iter().enumerate() {
            let fill = u8::try_from(n % 251).unwrap_or_default();
            push_frame(&mut frames, FrameKind::Text, &vec![fill; *length]);
        }
        frames
    }

    fn append(log: &mut StreamLog, lengths: &[usize]) {
        let messages = lengths.len() as u64;
        log.append(Run { frames: &frames(lengths), messages, last: log.end().messages + messages });
    }

    /// Everything from a cursor on, and how many reads it took.
    fn rest(log: &mut StreamLog, mut cursor: Cursor) -> (Vec<u8>, usize) {
        let (mut bytes, mut reads) = (Vec::new(), 0);
        while cursor != log.end() {
            let (some, next) = log.read(cursor).expect("nothing was trimmed");
            assert!(!some.is_empty() && next.at == cursor.at + some.len() as u64);
            assert_eq!(next.seq, next.messages, "each of these messages has a number");
            assert_eq!(next.messages - cursor.messages, whole_frames(some, usize::MAX).1);
            assert!(some.len() <= CHUNK_BYTES || frame_bytes(some) == some.len());
            bytes.extend_from_slice(some);
            (cursor, reads) = (next, reads + 1);
        }
        (bytes, reads)
    }

    proptest! {
        #[test]
        fn every_reader_gets_every_frame_from_its_cursor_on(
            runs in prop::collection::vec(prop::collection::vec(0_usize..40_000, 1..8), 1..12),
        ) {
            let (mut log, mut all, mut cursors) = (StreamLog::default(), Vec::new(), Vec::new());
            for run in &runs {
                cursors.push((log.end(), all.len()));
                let frames = frames(run);
                let messages = run.len() as u64;
                log.append(Run { frames: &frames, messages, last: log.end().messages + messages });
                all.extend_from_slice(&frames);
            }
            for (cursor, from) in cursors {
                prop_assert_eq!(&rest(&mut log, cursor).0[..], &all[from..]);
            }
            prop_assert_eq!(log.end().messages, runs.iter().map(|run| run.len() as u64).sum::<u64>());
            prop_assert_eq!(log.bytes(), all.len());
        }
    }

    /// How many records there are in frames, and how many frames.
    fn counted(frames: &[u8]) -> (u64, usize) {
        let (mut rest, mut count) = (frames, 0);
        while !rest.is_empty() {
            rest = &rest[frame_bytes(rest)..];
            count += 1;
        }
        (whole_frames(frames, usize::MAX).1, count)
    }

    proptest! {
        #[test]
        fn records_are_joined_behind_no_reader_and_everybody_gets_each_of_them_once(
            // Words of a record, 0 for a text; and whether somebody joins, or reads, behind it.
            steps in prop::collection::vec((prop_oneof![1 => Just(0_u8), 30 => 2_u8..60], 0_u8..20), 1..2_000),
        ) {
            let mut log = StreamLog::default();
            // Place in `all` of what comes next for a reader, and its cursor.
            let (mut all, mut readers): (Vec<u8>, Vec<(usize, Cursor)>) = (Vec::new(), vec![(0, Cursor::default())]);
            let mut at = 0_u64;
            let plain = |frames: &[u8]| {
                let (mut rest, mut plain) = (frames, Vec::new());
                while !rest.is_empty() {
                    let (frame, later) = rest.split_at(frame_bytes(rest));
                    plain.extend_from_slice(&frame[if frame[1] == 126 { 4 } else { 2 }..]);
                    rest = later;
                }
                plain
            };
            for (words, what) in &steps {
                let (mut frame, mut record) = (Vec::new(), vec![0; usize::from(*words) * 8]);
                let kind = if *words == 0 { FrameKind::Text } else { FrameKind::Binary };
                match record.first_mut() {
                    Some(first) => *first = words * 2,
                    None => record = b"{}".to_vec(),
                }
                push_frame(&mut frame, kind, &record);
                at += 1;
                log.append(Run { frames: &frame, messages: 1, last: at });
                all.extend_from_slice(&record);
                match what {
                    0 => readers.push((all.len(), log.stand_at_end())),
                    1..3 => {
                        let who = usize::from(*words) % readers.len();
                        let (place, cursor) = readers[who];
                        let (frames, next) = log.read(cursor).unwrap();
                        let got = plain(frames);
                        prop_assert_eq!(&got[..], &all[place..place + got.len()]);
                        prop_assert_eq!(counted(frames).0, next.messages - cursor.messages);
                        prop_assert_eq!(next.seq, next.messages);
                        readers[who] = (place + got.len(), next);
                    }
                    _ => {}
                }
            }
            for (place, cursor) in readers {
                let (frames, _) = rest(&mut log, cursor);
                prop_assert_eq!(&plain(&frames)[..], &all[place..]);
            }
        }
    }

    #[test]
    fn records_that_come_one_by_one_while_nobody_reads_fill_frames() {
        let mut log = StreamLog::default();
        let mut record = [0; 56];
        record[0] = 14;
        let mut frame = Vec::new();
        push_frame(&mut frame, FrameKind::Binary, &record);
        for number in 1..=730 {
            log.append(Run { frames: &frame, messages: 1, last: number });
        }
        let (frames, _) = rest(&mut log, Cursor::default());
        // 73 of them fit into a frame.
        assert_eq!(counted(&frames), (730, 10));
        let ten = log.stand_at_end();
        log.append(Run { frames: &frame, messages: 1, last: 731 });
        assert_eq!(rest(&mut log, ten).0, frame);
    }

    #[test]
    fn small_frames_are_read_a_chunk_at_a_time_and_chunks_end_between_frames() {
        let mut log = StreamLog::default();
        for _ in 0..1_000 {
            append(&mut log, &[126, 126]);
        }
        let (bytes, reads) = rest(&mut log, Cursor::default());
        assert_eq!(reads, bytes.len().div_ceil(CHUNK_BYTES - CHUNK_BYTES % 130));
    }

    #[test]
    fn a_cursor_that_fell_off_is_told_and_a_cleared_log_goes_on_where_it_was() {
        let mut log = StreamLog::default();
        for _ in 0..10 {
            append(&mut log, &[30_000]);
        }
        log.trim(100_000);
        assert!(log.bytes() <= 100_000);
        assert_eq!(log.read(Cursor::default()), None);
        let end = log.end();
        log.clear();
        assert_eq!((log.bytes(), log.read(end)), (0, Some((&[][..], end))));
        append(&mut log, &[5]);
        assert_eq!(rest(&mut log, end).0, frames(&[5]));
        assert_eq!(log.end().messages, 11);
    }
}
