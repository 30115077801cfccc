//! Where messages begin and end in the bytes of a WebSocket connection: for limits on what is not whole yet, and for what the parser
//! behind it lets through.
//!
//! Reads the headers of frames (RFC 6455 section 5.2) and the codes of close frames, in front of the parser that checks the rest. That
//! one takes lengths in any form, and answers a close code that nobody may send as if it were one of 1002. Bytes that are no frames are
//! counted as some frame or other, and end the connection there.

/// Bytes of the longest header: two, eight of the length, four of the mask.
const HEADER_BYTES_MAX: usize = 14;

/// Why a frame is not read, nor anything behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is one too many for its message.
    OneTooMany,
    /// Its length does not stand in the shortest form (section 5.2).
    LongForm,
    /// It closes with a code that nobody may send (section 7.4).
    CloseCode,
}

/// Counts frames. One for each connection: no wider than it has to be.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES_MAX],
    /// Bytes of the header that are here.
    have: u8,
    close_code_have: u8,
    /// Bytes of the frame's payload that are still to come.
    payload: u64,
    /// The frame's mask; zeros if it has none.
    mask: [u8; 4],
    /// The code of a close frame, as far as it is here.
    close_code: [u8; 2],
    unread: Option<Unread>,
    /// The frame ends a message when its payload is here.
    ends_message: bool,
    /// Frames of the message that is not whole.
    fragments: u32,
    /// Messages and control frames that were whole.
    whole: u64,
}

impl Frames {
    /// Takes received bytes; how many of them may be read: all, or as many as end before the frame that is not read is whole.
    pub(super) fn take(&mut self, bytes: &[u8], fragments_max: u32) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.payload > 0
                && self.is_close()
                && usize::from(self.close_code_have) < self.close_code.len()
            {
                let place = usize::from(self.close_code_have);
                self.close_code[place] = bytes[at] ^ self.mask[place];
                self.close_code_have += 1;
                if place == 1 && !may_close(u16::from_be_bytes(self.close_code)) {
                    self.unread = Some(Unread::CloseCode);
                    return at;
                }
                self.payload -= 1;
                at += 1;
                self.frame_may_end();
                continue;
            }
            if self.payload > 0 {
                let rest = (bytes.len() - at) as u64;
                let skipped = rest.min(self.payload);
                self.payload -= skipped;
                at += usize::try_from(skipped).unwrap_or(usize::MAX);
                self.frame_may_end();
                continue;
            }
            self.header[usize::from(self.have)] = bytes[at];
            self.have += 1;
            at += 1;
            if self.have < self.header_bytes() {
                continue;
            }
            let [first, ..] = self.header;
            let is_control = first & 0x08 != 0;
            let is_last = first & 0x80 != 0;
            if !is_control {
                self.fragments += 1;
                if self.fragments > fragments_max {
                    self.unread = Some(Unread::OneTooMany);
                }
            }
            if !self.is_shortest() {
                self.unread = Some(Unread::LongForm);
            }
            if self.unread.is_some() {
                // Its header may have begun in bytes before; then nothing of these is read.
                return at.saturating_sub(self.have.into());
            }
            self.ends_message = is_control || is_last;
            self.payload = self.payload_bytes();
            self.mask = self.mask_here();
            self.close_code_have = 0;
            self.have = 0;
            self.frame_may_end();
        }
        at
    }

    /// Why not all of what came may be read, if that is so.
    pub(super) const fn unread(&self) -> Option<Unread> {
        self.unread
    }

    /// Which message or control frame is under way, if one is: the same number as long as it is not whole.
    pub(super) const fn under_way(&self) -> Option<u64> {
        if self.have > 0 || self.payload > 0 || self.fragments > 0 { Some(self.whole) } else { None }
    }

    fn frame_may_end(&mut self) {
        if self.payload == 0 && self.ends_message {
            self.ends_message = false;
            let is_control = self.header[0] & 0x08 != 0;
            if is_control {
                // One between the frames of a message is no progress of it.
                self.whole += u64::from(self.fragments == 0);
            } else {
                self.fragments = 0;
                self.whole += 1;
            }
        }
    }

    /// How long the header is, as far as it is here.
    const fn header_bytes(&self) -> u8 {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.header[1] & 0x80 == 0 { 0 } else { 4 }
    }

    const fn is_close(&self) -> bool {
        self.header[0] & 0x0f == 0x08
    }

    /// The mask of a header that is whole.
    const fn mask_here(&self) -> [u8; 4] {
        let header = &self.header;
        match (self.header[1] & 0x80, self.have) {
            (0, _) => [0; 4],
            (_, 14) => [header[10], header[11], header[12], header[13]],
            (_, 8) => [header[4], header[5], header[6], header[7]],
            _ => [header[2], header[3], header[4], header[5]],
        }
    }

    /// Whether a header that is whole says its length in as few bytes as it can.
    const fn is_shortest(&self) -> bool {
        match self.header[1] & 0x7f {
            126 => self.payload_bytes() > 125,
            127 => self.payload_bytes() > 0xffff,
            _ => true,
        }
    }

    const fn payload_bytes(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.header;
        match second & 0x7f {
            126 => u16::from_be_bytes([a, b]) as u64,
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            length => length as u64,
        }
    }
}

/// Whether a close frame may say this code: those of RFC 6455 section 7.4.1 that are meant for the wire, the two that were registered
/// for servers since, and those of libraries and applications.
const fn may_close(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A client's frame.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(std::iter::repeat_n(0xff, length));
        bytes
    }

    #[test]
    fn a_message_is_under_way_from_its_first_byte_to_its_last() {
        let mut frames = Frames::default();
        assert_eq!(frames.under_way(), None);
        for (first, length) in [(0x01, 3), (0x89, 0), (0x00, 200)] {
            for byte in frame(first, length) {
                assert_eq!(frames.take(&[byte], 10), 1);
                assert_eq!(frames.under_way(), Some(0), "a ping between is no progress");
            }
        }
        frames.take(&frame(0x80, 0), 10);
        assert_eq!(frames.under_way(), None);
        frames.take(&frame(0x81, 70_000)[..50], 10);
        assert_eq!(frames.under_way(), Some(1));
    }

    #[test]
    fn the_frame_that_is_one_too_many_is_not_read() {
        let message = [frame(0x81, 5), frame(0x01, 1), frame(0x00, 1), frame(0x89, 2)].concat();
        let sent = [&message[..], &frame(0x00, 0), &frame(0x80, 1)].concat();
        assert_eq!(Frames::default().take(&sent, 2), message.len());
        assert_eq!(Frames::default().take(&sent, 3), message.len() + 6);
        assert_eq!(Frames::default().take(&sent, 4), sent.len());
    }

    #[test]
    fn a_length_that_is_not_in_its_shortest_form_is_not_read() {
        let before = frame(0x81, 5);
        for (length, form, is_shortest) in [
            (125_u64, 126_u8, false),
            (126, 126, true),
            (0, 127, false),
            (65_535, 127, false),
            (65_536, 127, true),
        ] {
            let field = length.to_be_bytes();
            let field = if form == 126 { &field[6..] } else { &field[..] };
            let header = [&[0x81, 0x80 | form], field, &[1, 2, 3, 4]].concat();
            let mut frames = Frames::default();
            let taken = frames.take(&[&before[..], &header].concat(), 10);
            assert_eq!(taken == before.len() + header.len(), is_shortest, "{length} {form}");
            assert_eq!(frames.unread(), (!is_shortest).then_some(Unread::LongForm));
        }
    }

    #[test]
    fn a_close_frame_whose_code_nobody_may_send_is_not_read_however_it_is_cut() {
        for code in 0..=u16::MAX {
            let may = matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999);
            let masked = [code.to_be_bytes()[0] ^ 1, code.to_be_bytes()[1] ^ 2];
            let close = [&[0x88, 0x83, 1, 2, 3, 4][..], &masked, b"!"].concat();
            let mut frames = Frames::default();
            let taken: usize = close.chunks(7).map(|piece| frames.take(piece, 10)).sum();
            assert_eq!((taken, frames.unread().is_none()), (if may { 9 } else { 7 }, may), "{code}");
            if frames.unread().is_some() {
                continue;
            }
            assert_eq!(frames.under_way(), None);
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_bytes_are_cut(
            sent in prop::collection::vec((prop::sample::select(vec![0x01_u8, 0x81, 0x00, 0x80, 0x89, 0x8a]), 0_usize..300), 1..20),
            cuts in prop::collection::vec(1_usize..40, 1..50),
        ) {
            let bytes = sent.iter().map(|(first, length)| frame(*first, *length)).collect::<Vec<_>>().concat();
            let (mut at_once, mut in_pieces) = (Frames::default(), Frames::default());
            prop_assert_eq!(at_once.take(&bytes, u32::MAX), bytes.len());
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while at < bytes.len() {
                let end = (at + cuts.next().unwrap()).min(bytes.len());
                prop_assert_eq!(in_pieces.take(&bytes[at..end], u32::MAX), end - at);
                at = end;
            }
            prop_assert_eq!(in_pieces.under_way(), at_once.under_way());
            // The naive model: a message is open after a frame that does not end it.
            let mut open = 0;
            for (first, _) in sent {
                if first & 0x08 == 0 {
                    open = if first & 0x80 == 0 { open + 1 } else { 0 };
                }
            }
            prop_assert_eq!(at_once.under_way().is_some(), open > 0);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), fragments_max in 0_u32..4) {
            let taken = Frames::default().take(&bytes, fragments_max);
            prop_assert!(taken <= bytes.len());
        }
    }
}
