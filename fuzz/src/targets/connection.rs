//! The first bytes of a connection: the HTTP upgrade and the WebSocket frames behind it, in pieces of every size.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use sealfeed::server::proxy::{BODY_BYTES_MAX, Parsed, parse};
use sealfeed::session::upgrade::{Upgrade, receive};
use sealfeed::session::websocket::{Incoming, Reader};
use sealfeed::session::{Refused, UpgradeRules};
use tokio::io::{AsyncRead, ReadBuf};

use crate::printable::assert_printable;

/// Four times the 200 bytes of the peer's that are kept, and the words around.
const DETAIL_BYTES_MAX: usize = 1_024;

/// Head and payload of a control frame (RFC 6455, section 5.5).
const CLOSE_FRAME_BYTES_MAX: usize = 127;

const HEADER_BYTES_MAX: usize = 2_048;
const MESSAGE_BYTES_MAX: usize = 1_024;
const FRAGMENTS_MAX: u32 = 16;

/// Gives so many bytes at a time; never pending.
struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.1.min(self.0.len()).min(out.remaining());
        let (now, later) = self.0.split_at(count);
        out.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

/// Runs what never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for bytes that are there"),
    }
}

/// What an upgrade comes to, and how much of the input was not read.
fn received(bytes: &[u8], piece: usize) -> (Result<Upgrade, Refused>, usize) {
    let rules = UpgradeRules { origins: vec!["https://desk.example".into()] };
    let mut stream = Pieces(bytes, piece);
    let result = at_once(receive(&mut stream, &rules, HEADER_BYTES_MAX));
    (result, stream.0.len())
}

pub(crate) fn upgrade(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let (whole, unread) = received(bytes, usize::MAX);
    let (pieces, _) = received(bytes, 1 + usize::from(*piece));
    assert!(bytes.len() - unread <= HEADER_BYTES_MAX, "it read more than it may");
    match (whole, pieces) {
        (Ok(upgrade), Ok(other)) => {
            assert_printable(&upgrade.user_agent, DETAIL_BYTES_MAX);
            assert_eq!((&upgrade.user_agent, upgrade.encoding), (&other.user_agent, other.encoding));
            let head = bytes.len() - unread - upgrade.already_read.len();
            assert!(bytes[head..].starts_with(&upgrade.already_read), "bytes behind the request were lost");
            assert!(bytes[..head].ends_with(b"\r\n\r\n"));
            assert_head(&upgrade.answer, "HTTP/1.1 101 ");
        }
        (Err(refused), Err(other)) => {
            assert_eq!(refused, other, "pieces of {piece} are judged otherwise");
            assert_printable(&refused.detail, DETAIL_BYTES_MAX);
            assert!((400..600).contains(&refused.status), "{}", refused.status);
            let mut answer = Vec::new();
            at_once(sealfeed::session::upgrade::refuse(&mut answer, &refused))
                .unwrap_or_else(|error| panic!("memory broke: {error}"));
            assert_head(&answer, &format!("HTTP/1.1 {} ", refused.status));
        }
        (whole, pieces) => panic!("at once {whole:?}, in pieces of {piece} {pieces:?}"),
    }
}

/// The answer has one head, and nothing of the request in it could begin another.
fn assert_head(answer: &[u8], beginning: &str) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { panic!("the answer has no end") };
    let Ok(head) = std::str::from_utf8(&answer[..end]) else { panic!("the answer's head is no text") };
    assert!(head.starts_with(beginning), "{head}");
    assert!(head.split("\r\n").all(|line| !line.chars().any(char::is_control)), "{head:?}");
}

pub(crate) fn websocket(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let (whole, answers) = frames(bytes, usize::MAX);
    let (pieces, answers_in_pieces) = frames(bytes, 1 + usize::from(*piece));
    assert_eq!(whole, pieces, "pieces of {piece}");
    assert_eq!(answers, answers_in_pieces);
    // A pong is as long as its ping; the close frame says in its own words what was wrong with the peer's.
    assert!(answers.len() <= bytes.len() + CLOSE_FRAME_BYTES_MAX, "answers grow beyond what they answer");
    let last = whole.len().saturating_sub(1);
    for (place, incoming) in whole.iter().enumerate() {
        match incoming {
            Incoming::Text(text) => assert!(text.len() <= MESSAGE_BYTES_MAX),
            Incoming::Binary(bytes) => assert!(bytes.len() <= MESSAGE_BYTES_MAX),
            Incoming::Ping | Incoming::Pong => {}
            Incoming::Closed(_) | Incoming::Violation(_) | Incoming::TooManyFragments => {
                assert_eq!(place, last, "read behind the end");
            }
        }
    }
}

/// All that is read, and all that is answered.
fn frames(bytes: &[u8], piece: usize) -> (Vec<Incoming>, Vec<u8>) {
    let (mut reader, mut read, mut answers) =
        (Reader::new(MESSAGE_BYTES_MAX, FRAGMENTS_MAX), Vec::new(), Vec::new());
    for bytes in bytes.chunks(piece) {
        reader.feed(bytes);
        read.extend(std::iter::from_fn(|| reader.read()));
        reader.take_answers(&mut answers);
    }
    (read, answers)
}

/// What a load balancer says in front of a connection.
pub(crate) fn proxy_header(bytes: &[u8]) {
    match parse(bytes) {
        Ok(Parsed::Whole { announced, bytes: length }) => {
            assert!(length <= bytes.len() && length <= 16 + BODY_BYTES_MAX, "it takes what is not its own");
            // Neither what comes behind it nor that it came in pieces changes it.
            assert_eq!(parse(&bytes[..length]), Ok(Parsed::Whole { announced, bytes: length }));
            for cut in [0, 1, length / 2, length - 1] {
                let Ok(Parsed::Partial { missing }) = parse(&bytes[..cut]) else { panic!("cut at {cut}") };
                assert!((1..=length - cut).contains(&missing), "it asks for bytes behind the header");
            }
        }
        Ok(Parsed::Partial { missing }) => {
            assert!(missing >= 1 && bytes.len() + missing <= 16 + BODY_BYTES_MAX);
        }
        Err(malformed) => {
            assert_printable(&malformed.to_string(), DETAIL_BYTES_MAX);
            let more = [bytes, &[0; 64]].concat();
            assert!(parse(&more).is_err(), "what comes behind mends it");
        }
    }
}
