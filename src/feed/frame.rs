//! WebSocket frames of the server: unmasked, so that header and payload are the same bytes for every client.
//!
//! Written here and not by a library, because they go once into a shared log and never into one connection's buffer.
//! Source: RFC 6455 section 5.2. Messages are never fragmented. DBN records that wait together share a frame: a run
//! of them is a stream of bytes, whose records each say how long they are.

use super::encoding::Encoding;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A whole text message.
    Text = 0x81,
    /// A whole binary message.
    Binary = 0x82,
    /// The end, with its code and reason.
    Close = 0x88,
    /// A ping.
    Ping = 0x89,
}

impl FrameKind {
    /// What a message of the feed leaves as: JSON, which always begins with a brace, as text, and records as binary.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        Encoding::of(message).frame()
    }
}

/// Bytes of a frame's header at most.
pub const FRAME_HEADER_BYTES_MAX: usize = 10;

/// Puts a frame behind what is in `out`.
pub fn push_frame(out: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) {
    out.reserve(FRAME_HEADER_BYTES_MAX + payload.len());
    out.push(kind as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Bytes of the frame that `frames` begins with, as [`push_frame`] wrote it, header included. All of `frames` if it is
/// shorter than that.
#[must_use]
pub(super) fn frame_bytes(frames: &[u8]) -> usize {
    let (header, payload) = match frames {
        [_, 126, high, low, ..] => (4, u64::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, rest @ ..] => {
            (10, rest.first_chunk().map_or(u64::MAX, |length| u64::from_be_bytes(*length)))
        }
        [_, length, ..] => (2, u64::from(*length)),
        _ => (0, u64::MAX),
    };
    usize::try_from(payload).unwrap_or(usize::MAX).saturating_add(header).min(frames.len())
}

/// As many whole frames at the beginning of `frames` as fit into `bytes_max`, or the first one if that does not: their
/// bytes, and how many messages they hold. For runs that may not fit as a whole: it walks along them.
#[must_use]
pub fn whole_frames(frames: &[u8], bytes_max: usize) -> (usize, u64) {
    let mut end = frame_bytes(frames);
    let mut count = messages(&frames[..end]);
    while end < frames.len() {
        let next = end + frame_bytes(&frames[end..]);
        if next > bytes_max {
            break;
        }
        count += messages(&frames[end..next]);
        end = next;
    }
    (end, count)
}

/// How many messages a frame holds: so many records, or one.
pub(super) fn messages(frame: &[u8]) -> u64 {
    if !is_of_records(frame) {
        return u64::from(!frame.is_empty());
    }
    let (mut rest, mut count) = (&frame[header_bytes(frame)..], 0);
    while let Some(words) = rest.first() {
        count += 1;
        // A record's first byte is its length in words of four bytes. None is empty.
        rest = rest.get(usize::from(*words).max(1) * 4..).unwrap_or_default();
    }
    count
}

fn header_bytes(frame: &[u8]) -> usize {
    let bytes = match frame.get(1) {
        Some(126) => 4,
        Some(127) => FRAME_HEADER_BYTES_MAX,
        _ => 2,
    };
    bytes.min(frame.len())
}

/// Whether a frame holds records, and not the header of all of them.
pub(super) fn is_of_records(frame: &[u8]) -> bool {
    frame.first() == Some(&(FrameKind::Binary as u8)) && !frame[header_bytes(frame)..].starts_with(HEADER)
}

/// What the header in front of all records begins with. No record does: there is none of its length and kind.
const HEADER: &[u8] = b"DBN";

/// Bytes of records that share a frame, at most: 73 orders, 11 books. A frame has to have come as a whole before it is read.
const JOINED_BYTES_MAX: usize = 4 * 1024;

/// Puts messages into a buffer of frames: records that follow one another share a frame, everything else has one of its own.
#[derive(Debug, Default)]
pub struct Joiner {
    /// Where the last frame begins, as long as it ends the buffer and nobody has taken it.
    last: Option<usize>,
}

impl Joiner {
    /// Puts a message behind what is in `out`: into the last frame, if both are records and there is room.
    pub fn push(&mut self, out: &mut Vec<u8>, kind: FrameKind, message: &[u8]) {
        if let Some(last) = self.last
            && kind == FrameKind::Binary
            && !message.starts_with(HEADER)
            && join(out, last, message)
        {
            return;
        }
        self.last = Some(out.len());
        push_frame(out, kind, message);
    }

    /// Nothing is put into the last frame any more: it was taken, or something else stands behind it.
    pub const fn close(&mut self) {
        self.last = None;
    }
}

/// Puts the records of a frame into the one that begins at `last` and ends `out`, if both are of records and there is room for them.
pub(super) fn join_frame(out: &mut Vec<u8>, last: usize, frame: &[u8]) -> bool {
    is_of_records(frame) && join(out, last, &frame[header_bytes(frame)..])
}

/// Puts records into the frame that begins at `last` and ends `out`, if that is one of records and has room for them.
fn join(out: &mut Vec<u8>, last: usize, records: &[u8]) -> bool {
    let Some(frame) = out.get(last..).filter(|frame| is_of_records(frame)) else { return false };
    let header = header_bytes(frame);
    let length = frame.len() - header + records.len();
    let Ok(length) = u16::try_from(length) else { return false };
    if usize::from(length) > JOINED_BYTES_MAX {
        return false;
    }
    if length >= 126 && header == 2 {
        // Once a frame, and of less than 126 bytes: the longer form of the length needs two more.
        let (start, end) = (last + 2, out.len());
        out.extend_from_slice(&[0; 2]);
        out.copy_within(start..end, start + 2);
        out[last + 1] = 126;
    }
    match u8::try_from(length) {
        Ok(length @ 0..126) => out[last + 1] = length,
        _ => out[last + 2..last + 4].copy_from_slice(&length.to_be_bytes()),
    }
    out.extend_from_slice(records);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_has_the_shortest_header_for_its_length_and_is_found_again() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = Vec::new();
            push_frame(&mut frame, FrameKind::Text, &vec![b'x'; length]);
            assert_eq!(frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + length);
            frame.extend_from_slice(b"more");
            assert_eq!(frame_bytes(&frame), header.len() + length);
        }
    }

    #[test]
    fn a_run_of_frames_is_cut_between_frames_and_never_before_the_first() {
        let mut frames = Vec::new();
        for length in [10, 200, 30] {
            push_frame(&mut frames, FrameKind::Binary, &vec![b'x'; length]);
        }
        let ends = [12, 12 + 204, 12 + 204 + 32];
        for bytes_max in 0..300 {
            let expected = ends.iter().rfind(|end| **end <= bytes_max).unwrap_or(&ends[0]);
            let (bytes, count) = whole_frames(&frames, bytes_max);
            assert_eq!(bytes, *expected, "{bytes_max}");
            assert_eq!(ends.get(usize::try_from(count).unwrap() - 1), Some(expected));
        }
        assert_eq!(whole_frames(&[], 5), (0, 0));
    }

    /// A record of so many words of eight bytes.
    fn record(words: u8, fill: u8) -> Vec<u8> {
        let mut record = vec![fill; usize::from(words) * 8];
        record[0] = words * 2;
        record
    }

    /// The payloads of frames, and whether each is binary; headers must be the shortest.
    fn payloads(mut frames: &[u8]) -> Vec<(bool, Vec<u8>)> {
        let mut found = Vec::new();
        while !frames.is_empty() {
            let (frame, rest) = frames.split_at(frame_bytes(frames));
            let payload = &frame[header_bytes(frame)..];
            let kind = if frame[0] == 0x82 { FrameKind::Binary } else { FrameKind::Text };
            let mut again = Vec::new();
            push_frame(&mut again, kind, payload);
            assert_eq!(again, frame);
            found.push((kind == FrameKind::Binary, payload.to_vec()));
            frames = rest;
        }
        found
    }

    proptest! {
        #[test]
        fn records_that_follow_one_another_share_frames_and_nothing_is_lost_moved_or_miscounted(
            pushed in prop::collection::vec(
                prop_oneof![
                    20 => (2_u8..60).prop_map(Some),
                    1 => Just(None),
                ],
                0..200,
            ),
            closes in prop::collection::vec(prop::bool::weighted(0.02), 200),
            bytes_max in 0_usize..40_000,
        ) {
            let (mut joiner, mut out, mut all) = (Joiner::default(), Vec::new(), Vec::new());
            for (place, (words, closes)) in pushed.iter().zip(closes).enumerate() {
                let fill = u8::try_from(place % 251).unwrap_or_default();
                let (kind, message) = match words {
                    Some(words) => (FrameKind::Binary, record(*words, fill)),
                    None => (FrameKind::Text, b"{}".to_vec()),
                };
                if closes {
                    joiner.close();
                }
                joiner.push(&mut out, kind, &message);
                all.push(message);
            }
            let found = payloads(&out);
            prop_assert_eq!(found.iter().flat_map(|(_, payload)| payload).copied().collect::<Vec<_>>(), all.concat());
            prop_assert!(found.iter().all(|(_, payload)| payload.len() <= JOINED_BYTES_MAX));
            prop_assert_eq!(whole_frames(&out, usize::MAX), (out.len(), all.len() as u64));
            // However it is cut, both pieces hold whole messages, all of them together.
            let (bytes, count) = whole_frames(&out, bytes_max);
            let (rest, left) = whole_frames(&out[bytes..], usize::MAX);
            prop_assert_eq!((bytes + rest, count + left), (out.len(), all.len() as u64));
        }
    }

    #[test]
    fn a_burst_of_records_fills_its_frames_and_the_header_of_all_of_them_has_one_of_its_own() {
        let (mut joiner, mut out) = (Joiner::default(), Vec::new());
        joiner.push(&mut out, FrameKind::Binary, b"DBN\x03 and more");
        for _ in 0..100 {
            joiner.push(&mut out, FrameKind::Binary, &record(7, 1));
        }
        let lengths: Vec<_> = payloads(&out).iter().map(|(_, payload)| payload.len()).collect();
        assert_eq!(lengths, [13, 73 * 56, 27 * 56]);
        assert_eq!(whole_frames(&out, usize::MAX).1, 101);
    }
}
