//! The reading side of WebSocket, without a socket: bytes go in, messages come out.
//!
//! Masks, UTF-8, fragments, control frames and their answers are tungstenite's; what it lets through is caught in
//! `session::frames`. Its answers (pongs, the answer to a
//! close frame) come out as whole frames, to be written between others. What we write goes past it, in frames of
//! [`push_frame`](crate::feed::push_frame).
//!
//! Sources: RFC 6455; its own close codes (1002, 1003, 1007, 1009) are mapped here and nowhere else.

use std::io::{self, Read, Write};

use bytes::Bytes;
use sealfeed_wire::CloseCode;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

use super::frames::{Frames, Unread};

/// Bytes that a parser reads at once. A message of the protocol is smaller.
const READ_BUFFER_BYTES: usize = 256;

/// Something the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message.
    Text(Utf8Bytes),
    /// A ping; the pong stands among the answers.
    Ping,
    /// A pong.
    Pong,
    /// A whole binary message; clients of the feed have none to send.
    Binary(Bytes),
    /// The peer closed, with this code if it gave one; our answer stands among the answers.
    Closed(Option<u16>),
    /// The peer broke RFC 6455 or a size limit: close with this code. Nothing more can be read.
    Violation(CloseCode),
    /// The peer sent a message in more frames than are taken. Nothing more can be read.
    TooManyFragments,
}

/// Reads what one peer sends.
pub struct Reader {
    /// Only while there is something to parse: an idle connection holds none (docs/adr/0047).
    parser: Option<Box<Parser>>,
    frames: Frames,
    message_bytes_max: usize,
    fragments_max: u32,
    /// Whole frames that answer what was read.
    answers: Box<[u8]>,
    is_over: bool,
}

/// What parses a message, from its first byte to its last.
struct Parser {
    context: WebSocketContext,
    stream: Memory,
}

impl Parser {
    fn new(message_bytes_max: usize) -> Box<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let context = WebSocketContext::new(Role::Server, Some(config));
        Box::new(Self { context, stream: Memory::default() })
    }
}

/// What stands for the socket.
#[derive(Default)]
struct Memory {
    received: Vec<u8>,
    read: usize,
    answers: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let waiting = &self.received[self.read..];
        if waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = waiting.len().min(out.len());
        out[..count].copy_from_slice(&waiting[..count]);
        self.read += count;
        if self.read == self.received.len() {
            (self.received, self.read) = (Vec::new(), 0);
        }
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.answers.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Reader {
    /// A reader of messages of at most `message_bytes_max` bytes, all fragments together, in at most `fragments_max` frames.
    #[must_use]
    pub fn new(message_bytes_max: usize, fragments_max: u32) -> Self {
        let (parser, frames) = (None, Frames::default());
        Self { parser, frames, message_bytes_max, fragments_max, answers: Box::default(), is_over: false }
    }

    /// Takes received bytes. As many as are given wait until they are read: give no more before [`Reader::read`] has
    /// nothing left.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.is_over || self.frames.unread().is_some() {
            return;
        }
        let taken = self.frames.take(bytes, self.fragments_max);
        if !bytes.is_empty() {
            let parser = self.parser.get_or_insert_with(|| Parser::new(self.message_bytes_max));
            parser.stream.received.extend_from_slice(&bytes[..taken]);
        }
    }

    /// Which message or control frame has begun and is not whole, if one has: the same number as long as it is not.
    #[must_use]
    pub const fn under_way(&self) -> Option<u64> {
        if self.is_over { None } else { self.frames.under_way() }
    }

    /// The next thing from the peer, if it is whole. Nothing comes after its close frame, or after a violation.
    pub fn read(&mut self) -> Option<Incoming> {
        // None before anything has come, and none when all has been read.
        let Parser { context, stream } = &mut **self.parser.as_mut()?;
        let incoming = match context.read(stream) {
            Ok(Message::Text(text)) => Incoming::Text(text),
            Ok(Message::Ping(_)) => Incoming::Ping,
            Ok(Message::Pong(_)) => Incoming::Pong,
            Ok(Message::Binary(bytes)) => Incoming::Binary(bytes),
            Ok(Message::Close(frame)) => Incoming::Closed(frame.map(|frame| frame.code.into())),
            // Raw frames come out of a read only if one asks for them.
            Ok(Message::Frame(_)) => Incoming::Violation(CloseCode::WebSocketProtocol),
            Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                match self.frames.unread() {
                    None => {
                        // All frames were whole and are read: nothing of them is left in the parser.
                        if self.frames.under_way().is_none() {
                            self.parser = None;
                        }
                        return None;
                    }
                    Some(Unread::OneTooMany) => Incoming::TooManyFragments,
                    Some(Unread::LongForm | Unread::CloseCode) => {
                        Incoming::Violation(CloseCode::WebSocketProtocol)
                    }
                }
            }
            Err(error) => classify(&error),
        };
        if matches!(incoming, Incoming::Ping | Incoming::Closed(_)) {
            // Memory takes everything; a closed connection says so after it has taken the answer.
            let _ = context.flush(stream);
            self.answers = [&self.answers, &*std::mem::take(&mut stream.answers)].concat().into();
        }
        if matches!(incoming, Incoming::Closed(_) | Incoming::Violation(_) | Incoming::TooManyFragments) {
            self.is_over = true;
            self.parser = None;
        }
        Some(incoming)
    }

    /// Nothing more comes.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whole frames that answer what was read, to be sent; they are taken out.
    pub fn take_answers(&mut self, out: &mut Vec<u8>) {
        if !self.answers.is_empty() {
            out.extend_from_slice(&std::mem::take(&mut self.answers));
        }
    }
}

fn classify(error: &WsError) -> Incoming {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => Incoming::Violation(CloseCode::TooBig),
        WsError::Utf8(_) => Incoming::Violation(CloseCode::InvalidUtf8),
        WsError::ConnectionClosed | WsError::AlreadyClosed => Incoming::Closed(None),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::Closed(None),
        _ => Incoming::Violation(CloseCode::WebSocketProtocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn all(parser: &mut Reader) -> Vec<Incoming> {
        std::iter::from_fn(|| parser.read()).collect()
    }

    #[test]
    fn messages_come_out_however_their_bytes_came_in() {
        let sent = [
            frame(0x01, b"he"),
            frame(0x89, b"?"),
            frame(0x80, b"llo"),
            frame(0x81, b"you"),
            frame(0x8a, b""),
        ]
        .concat();
        for step in 1..sent.len() {
            let (mut parser, mut read, mut answers) = (Reader::new(100, 100), Vec::new(), Vec::new());
            for bytes in sent.chunks(step) {
                parser.feed(bytes);
                read.extend(all(&mut parser));
            }
            let text = |text: &'static str| Incoming::Text(Utf8Bytes::from_static(text));
            assert_eq!(read, [Incoming::Ping, text("hello"), text("you"), Incoming::Pong], "{step}");
            parser.take_answers(&mut answers);
            assert_eq!(answers, b"\x8a\x01?", "a pong is not masked");
        }
    }

    #[test]
    fn a_reader_between_two_messages_holds_no_parser_and_one_inside_a_message_does() {
        let mut parser = Reader::new(100, 100);
        assert!(parser.parser.is_none());
        for part in [frame(0x01, b"he"), frame(0x89, b"?"), frame(0x81, b"you")[..3].to_vec()] {
            parser.feed(&part);
            all(&mut parser);
            assert!(parser.parser.is_some() && !parser.is_over());
        }
        let mut parser = Reader::new(100, 100);
        parser.feed(&[frame(0x89, b"?"), frame(0x81, b"you")].concat());
        assert_eq!(all(&mut parser).len(), 2);
        assert!(parser.parser.is_none());
        let mut answers = Vec::new();
        parser.take_answers(&mut answers);
        assert_eq!(answers, b"\x8a\x01?");
    }

    #[test]
    fn a_close_frame_is_answered_and_nothing_is_read_behind_it() {
        let (mut parser, mut answers) = (Reader::new(100, 100), Vec::new());
        parser.feed(&[frame(0x88, b"\x03\xe8bye"), frame(0x81, b"more")].concat());
        assert_eq!(all(&mut parser), [Incoming::Closed(Some(1000))]);
        parser.take_answers(&mut answers);
        assert_eq!(answers, b"\x88\x05\x03\xe8bye");
        parser.feed(&frame(0x81, b"more"));
        assert_eq!(all(&mut parser), []);
    }

    #[test]
    fn each_violation_has_its_close_code_and_ends_the_reading() {
        let unmasked = b"\x81\x01x".to_vec();
        for (bytes, code) in [
            (frame(0x81, &[b'x'; 101]), CloseCode::TooBig),
            ([frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 60])].concat(), CloseCode::TooBig),
            (frame(0x81, b"\xff"), CloseCode::InvalidUtf8),
            (frame(0x83, b""), CloseCode::WebSocketProtocol),
            (frame(0xc1, b""), CloseCode::WebSocketProtocol),
            (unmasked, CloseCode::WebSocketProtocol),
            (frame(0x88, b"\x03\xed"), CloseCode::WebSocketProtocol),
            (frame(0x88, b"\x03"), CloseCode::WebSocketProtocol),
            (b"\x81\xfe\0\x01\0\0\0\0x".to_vec(), CloseCode::WebSocketProtocol),
        ] {
            let mut parser = Reader::new(100, 100);
            parser.feed(&[&bytes[..], &frame(0x81, b"more")].concat());
            assert_eq!(all(&mut parser), [Incoming::Violation(code)]);
        }
    }
}
