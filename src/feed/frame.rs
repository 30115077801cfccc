//! WebSocket frames of the server: unmasked, so that header and payload are the same bytes for every client.
//!
//! Written here and not by a library, because they go once into a shared log and never into one connection's buffer.
//! Source: RFC 6455 section 5.2. Messages are never fragmented.

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
/// bytes and their number. For runs that may not fit as a whole: it walks along them.
#[must_use]
pub fn whole_frames(frames: &[u8], bytes_max: usize) -> (usize, u64) {
    let (mut end, mut count) = (frame_bytes(frames), u64::from(!frames.is_empty()));
    while end < frames.len() {
        let next = end + frame_bytes(&frames[end..]);
        if next > bytes_max {
            break;
        }
        (end, count) = (next, count + 1);
    }
    (end, count)
}

#[cfg(test)]
mod tests {
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
}
