//! The frame around an entry or a group seal on disk.
//!
//! ```text
//! magic u32 | body length u32 | CRC32C of those 8 bytes u32 | 0 0 0 0 | body | CRC32C of the body u32 | zeros to a multiple of 8
//! ```
//! The last zero in front of the body is the leaf prefix of RFC 6962: the leaf hash of an entry is the SHA-256 of one range of
//! the file. The CRCs tell damage from intent and are trusted for nothing more. Layout: `audit/FORMAT.md`, section 4.

use crate::chain::HASH_BYTES;
use crate::entry::{ENTRY_BYTES_MAX, array, u32_at};

/// Bytes in front of the body.
pub(crate) const FRAME_HEAD_BYTES: usize = 16;
/// Bytes of the body's CRC.
pub(crate) const FRAME_CRC_BYTES: usize = 4;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGNMENT: usize = 8;
/// Bytes of a whole seal frame.
pub(crate) const SEAL_FRAME_BYTES: usize = frame_bytes(HASH_BYTES);
/// Bytes of the largest frame.
pub(crate) const FRAME_BYTES_MAX: usize = frame_bytes(ENTRY_BYTES_MAX);

const ENTRY_MAGIC: [u8; 4] = *b"SFE1";
const SEAL_MAGIC: [u8; 4] = *b"SFG1";

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Entry,
    Seal,
}

impl FrameKind {
    fn magic(self) -> [u8; 4] {
        match self {
            Self::Entry => ENTRY_MAGIC,
            Self::Seal => SEAL_MAGIC,
        }
    }
}

/// Bytes on disk of a frame whose body has `body_bytes`.
pub(crate) const fn frame_bytes(body_bytes: usize) -> usize {
    (FRAME_HEAD_BYTES + body_bytes + FRAME_CRC_BYTES).next_multiple_of(FRAME_ALIGNMENT)
}

/// Appends the head of a frame whose body has `body_bytes`.
pub(crate) fn begin(kind: FrameKind, body_bytes: usize, out: &mut Vec<u8>) {
    let mut head = [0u8; FRAME_HEAD_BYTES];
    head[0..4].copy_from_slice(&kind.magic());
    head[4..8].copy_from_slice(&u32::try_from(body_bytes).unwrap_or(u32::MAX).to_le_bytes());
    let crc = crc32c::crc32c(&head[..8]);
    head[8..12].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&head);
}

/// Appends CRC and padding after the body that starts at `body_start` of `out` and whose CRC is `crc`.
pub(crate) fn finish(body_start: usize, crc: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&crc.to_le_bytes());
    let end = body_start - FRAME_HEAD_BYTES + frame_bytes(out.len() - FRAME_CRC_BYTES - body_start);
    out.resize(end, 0);
}

/// Appends a whole seal frame.
pub(crate) fn push_seal(mac: &[u8; HASH_BYTES], out: &mut Vec<u8>) {
    begin(FrameKind::Seal, HASH_BYTES, out);
    let body_start = out.len();
    out.extend_from_slice(mac);
    finish(body_start, crc32c::crc32c(mac), out);
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end inside the frame.
    #[error("frame runs past the end of the file")]
    Short,
    /// Magic, length, CRC or zeros of the head are wrong.
    #[error("frame head is damaged")]
    Head,
    /// The CRC of the body does not match.
    #[error("frame body does not match its checksum")]
    Body,
    /// Bytes after the body that must be zero are not.
    #[error("frame padding is not zero")]
    Padding,
}

/// Reads the head at the start of `bytes`: what the frame holds and how long its body is.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<(FrameKind, usize), FrameError> {
    let head = bytes.first_chunk::<FRAME_HEAD_BYTES>().ok_or(FrameError::Short)?;
    let kind = match array::<4>(head, 0) {
        ENTRY_MAGIC => FrameKind::Entry,
        SEAL_MAGIC => FrameKind::Seal,
        _ => return Err(FrameError::Head),
    };
    let length = usize::try_from(u32_at(head, 4)).map_err(|_| FrameError::Head)?;
    let fits = match kind {
        FrameKind::Entry => (1..=ENTRY_BYTES_MAX).contains(&length),
        FrameKind::Seal => length == HASH_BYTES,
    };
    if !fits || crc32c::crc32c(&head[..8]) != u32_at(head, 8) || head[12..] != [0; 4] {
        return Err(FrameError::Head);
    }
    Ok((kind, length))
}

/// Checks the frame at the start of `bytes`; returns what it holds, its body's length and its length on disk.
pub(crate) fn parse(bytes: &[u8]) -> Result<(FrameKind, usize, usize), FrameError> {
    parse_summing(bytes, |_| true)
}

/// As [`parse`], but leaves open whether an entry matches its checksum.
pub(crate) fn parse_unsummed(bytes: &[u8]) -> Result<(FrameKind, usize, usize), FrameError> {
    parse_summing(bytes, |kind| kind != FrameKind::Entry)
}

fn parse_summing(
    bytes: &[u8],
    is_summed: impl Fn(FrameKind) -> bool,
) -> Result<(FrameKind, usize, usize), FrameError> {
    let (kind, length) = parse_head(bytes)?;
    let total = frame_bytes(length);
    let frame = bytes.get(..total).ok_or(FrameError::Short)?;
    let body_end = FRAME_HEAD_BYTES + length;
    let body = frame.get(FRAME_HEAD_BYTES..body_end).ok_or(FrameError::Short)?;
    if is_summed(kind) && crc32c::crc32c(body) != u32_at(frame, body_end) {
        return Err(FrameError::Body);
    }
    let padding = frame.get(body_end + FRAME_CRC_BYTES..).unwrap_or_default();
    if padding.iter().any(|byte| *byte != 0) {
        return Err(FrameError::Padding);
    }
    Ok((kind, length, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_frame_is_refused() {
        for body_bytes in [1, 7, 12, 200] {
            let mut frame = Vec::new();
            begin(FrameKind::Entry, body_bytes, &mut frame);
            frame.resize(FRAME_HEAD_BYTES + body_bytes, 0x5a);
            let crc = crc32c::crc32c(&frame[FRAME_HEAD_BYTES..]);
            finish(FRAME_HEAD_BYTES, crc, &mut frame);
            assert_eq!(frame.len(), frame_bytes(body_bytes));
            assert_eq!(parse(&frame), Ok((FrameKind::Entry, body_bytes, frame.len())));
            for bit in 0..frame.len() * 8 {
                frame[bit / 8] ^= 1 << (bit % 8);
                assert!(parse(&frame).is_err(), "bit {bit}");
                frame[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn lengths_of_zero_and_beyond_the_largest_entry_are_refused() {
        for body_bytes in [0, ENTRY_BYTES_MAX + 1, usize::from(u16::MAX) * 4096] {
            let mut frame = Vec::new();
            begin(FrameKind::Entry, body_bytes, &mut frame);
            assert_eq!(parse_head(&frame), Err(FrameError::Head));
        }
    }
}
