//! One trader's connection: mutual TLS, the upgrade, signed orders, and a check of every answer. As lean as that allows, so
//! that the load can ask more of the server than the server can do.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use sealfeed_wire::request::encode_signed;
use sealfeed_wire::{KeyedMac, Nonce, PATH, RequestId, SessionId, SessionMac, SignedOp, UnixNanos};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::setup::{SYMBOLS, Trader};
use super::support::wall_ns;
use super::utc_ns;

/// Bytes read at once, and the longest message.
const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes of a WebSocket frame's head in front of a request: two, two of length, four of a mask of zeros.
const REQUEST_HEAD_BYTES: usize = 8;

/// The price at which traders meet: above all that the synthetic market quotes, which is 20 to 500, give or take a tenth.
const MEETING: u64 = 600;

/// What the orders of a trader are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Of four: a buy and a sell far from the market, which stay, and between them a buy and a sell of one price, of which
    /// the second to come trades with the first.
    HalfTrade,
    /// Buys and sells far from the market, on every symbol by turns: all stay.
    AllRest,
    /// On every symbol by turns a buy of all that the synthetic market offers: traders who meet shall meet each other.
    Sweep,
}

/// An order that is waiting for its answer.
struct Sent {
    id: u64,
    at_ns: u64,
}

/// An answered order.
#[derive(Clone, Copy)]
pub(crate) struct Answered {
    /// When the answer was read.
    pub(crate) at_ns: u64,
    /// How long after the order was handed to TLS.
    pub(crate) latency_ns: u64,
}

/// Where an order stands in the log, as its answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) seq: u64,
    pub(crate) hash: String,
}

pub(crate) struct Connection {
    number: u64,
    mix: Mix,
    tls: TlsStream<TcpStream>,
    mac: SessionMac,
    next_id: u64,
    waiting: VecDeque<Sent>,
    out: Vec<u8>,
    buffer: Vec<u8>,
    /// What is in the buffer and not looked at yet.
    start: usize,
    end: usize,
    /// Of the last order that was answered.
    pub(crate) receipt: Receipt,
    /// Bytes of all answers, without frames.
    pub(crate) answer_bytes: u64,
    pub(crate) answered: Vec<Answered>,
}

/// The least that says what an answer is.
#[derive(Deserialize)]
struct Answer<'a> {
    r#type: &'a str,
    id: Option<u64>,
    cl_ord_id: Option<&'a str>,
    status: Option<&'a str>,
    #[serde(borrow)]
    receipt: Option<ReceiptText<'a>>,
}

#[derive(Deserialize)]
struct ReceiptText<'a> {
    log: &'a str,
    seq: u64,
    hash: &'a str,
}

impl Connection {
    /// Up to and with the welcome.
    pub(crate) async fn connect(address: SocketAddr, trader: Trader, mix: Mix) -> Self {
        let socket = TcpStream::connect(address).await.expect("the server accepts");
        socket.set_nodelay(true).expect("an option");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = TlsConnector::from(trader.tls).connect(name, socket).await.expect("TLS");
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tls.write_all(request.as_bytes()).await.expect("the request leaves");
        tls.flush().await.expect("the request leaves");
        let mut connection = Self {
            number: trader.number,
            mix,
            tls,
            // Until the session's own is known.
            mac: KeyedMac::new(&trader.order_key).for_session(&SessionId([0; 32])),
            next_id: 1,
            waiting: VecDeque::new(),
            out: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            receipt: Receipt::default(),
            answer_bytes: 0,
            answered: Vec::new(),
        };
        connection.upgraded().await;
        let session = connection.welcomed().await;
        connection.mac = KeyedMac::new(&trader.order_key).for_session(&session);
        connection
    }

    async fn upgraded(&mut self) {
        loop {
            self.fill().await;
            let bytes = &self.buffer[..self.end];
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                assert!(bytes.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(bytes));
                self.start = end + 4;
                return;
            }
        }
    }

    async fn welcomed(&mut self) -> SessionId {
        loop {
            if let Some(message) = next_message(&self.buffer[..self.end], &mut self.start) {
                let welcome: Value = serde_json::from_slice(message).expect("JSON");
                assert_eq!(welcome["type"], "welcome", "{welcome}");
                return SessionId::parse(welcome["session"].as_str().unwrap_or_default()).expect("a session");
            }
            self.fill().await;
        }
    }

    /// Keeps so many orders in flight, as long as `goes_on` holds for the number of those sent so far; then waits for the
    /// answers. An answer that is not an acceptance with a receipt of its own ends the bench.
    pub(crate) async fn trade(mut self, in_flight: usize, goes_on: impl Fn(u64) -> bool) -> Self {
        loop {
            let first_new = self.waiting.len();
            while self.waiting.len() < in_flight && goes_on(self.next_id - 1) {
                self.sign_next();
            }
            if self.waiting.is_empty() {
                return self;
            }
            if !self.out.is_empty() {
                let at_ns = wall_ns();
                self.waiting.iter_mut().skip(first_new).for_each(|sent| sent.at_ns = at_ns);
                self.tls.write_all(&self.out).await.expect("the orders leave");
                self.tls.flush().await.expect("the orders leave");
                self.out.clear();
            }
            self.fill().await;
            self.take_answers();
        }
    }

    /// Puts the next order behind what is to be sent.
    fn sign_next(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.push_back(Sent { id, at_ns: 0 });
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        nonce[8..].copy_from_slice(&id.to_le_bytes());
        let (ts, nonce) = (UnixNanos(utc_ns()), Nonce(nonce));
        let body = self.body(id);
        let mac = self.mac.sign(ts, nonce, SignedOp::OrderNew, &body);
        let request_id = Some(RequestId::Integer(id.cast_signed()));
        let text = encode_signed(request_id, SignedOp::OrderNew, ts, nonce, mac, &body);
        let length = u16::try_from(text.len()).expect("a short request");
        let mut head = [0; REQUEST_HEAD_BYTES];
        (head[0], head[1]) = (TEXT, MASKED | LENGTH_OF_TWO_BYTES);
        head[2..4].copy_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(&head);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// The order with this number. Far from the market is below 2 and from 900 on: everything else is between.
    fn body(&self, id: u64) -> String {
        let (round, place) = (id / 4, id % 4);
        let cents = round % 100;
        let (symbol, side, whole, cents) = match (self.mix, place) {
            (Mix::HalfTrade, 1) => (self.number, "buy", MEETING, 0),
            (Mix::HalfTrade, 2) => (self.number, "sell", MEETING, 0),
            (Mix::HalfTrade, 0) => (self.number, "buy", 1, cents),
            (Mix::HalfTrade, _) => (self.number, "sell", 900, cents),
            (Mix::AllRest, place) if place % 2 == 0 => (round, "buy", 1, cents),
            (Mix::AllRest, _) => (round, "sell", 900, cents),
            (Mix::Sweep, _) => (id, "buy", MEETING, 0),
        };
        let (quantity, tif) = if self.mix == Mix::Sweep { (1_000_000, "ioc") } else { (1, "day") };
        let symbol = SYMBOLS[usize::try_from(symbol % 4).expect("at most 3")];
        let mut body = String::with_capacity(160);
        // Writing to a string cannot fail.
        let _ = write!(
            body,
            "{{\"cl_ord_id\":\"{}\",\"symbol\":\"{symbol}\",\"side\":\"{side}\",\"type\":\"limit\",\"qty\":\"{quantity}\",\
            \"price\":\"{whole}.{cents:02}\",\"tif\":\"{tif}\"}}",
            self.name(id)
        );
        body
    }

    /// What the trader calls this order.
    fn name(&self, id: u64) -> String {
        format!("t{}-{id}", self.number)
    }

    /// Takes the answers in the buffer.
    fn take_answers(&mut self) {
        let at_ns = wall_ns();
        while let Some(message) = next_message(&self.buffer[..self.end], &mut self.start) {
            let shown = || String::from_utf8_lossy(message);
            let answer: Answer<'_> =
                serde_json::from_slice(message).unwrap_or_else(|_| panic!("{}", shown()));
            let sent = self.waiting.pop_front().unwrap_or_else(|| panic!("nothing was asked: {}", shown()));
            let is_accepted = answer.r#type == "order" && answer.status == Some("accepted");
            let is_mine = answer.id == Some(sent.id) && answer.cl_ord_id == Some(&*self.name(sent.id));
            let receipt = answer.receipt.filter(|receipt| {
                receipt.seq > self.receipt.seq && receipt.hash.len() == 64 && receipt.log.len() == 64
            });
            let Some(receipt) = receipt.filter(|_| is_accepted && is_mine) else {
                panic!("order {} of trader {} was answered with {}", sent.id, self.number, shown());
            };
            self.receipt.seq = receipt.seq;
            self.receipt.hash.clear();
            self.receipt.hash.push_str(receipt.hash);
            self.answer_bytes += message.len() as u64;
            self.answered.push(Answered { at_ns, latency_ns: at_ns.saturating_sub(sent.at_ns) });
        }
    }

    async fn fill(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        assert!(self.end < BUFFER_BYTES, "a message fits the buffer");
        let bytes = self.tls.read(&mut self.buffer[self.end..]).await.expect("the connection holds");
        assert!(bytes > 0, "the server ends no connection");
        self.end += bytes;
    }
}

/// First bytes of frames: text, ping.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
/// In the second byte.
const MASKED: u8 = 0x80;
const LENGTH_OF_TWO_BYTES: u8 = 126;

/// The payload of the next whole text frame; pings are passed over, anything else ends the bench.
fn next_message<'a>(bytes: &'a [u8], start: &mut usize) -> Option<&'a [u8]> {
    loop {
        let rest = &bytes[*start..];
        let [first, second, ..] = *rest else { return None };
        let (head, length) = match second {
            LENGTH_OF_TWO_BYTES => (4, usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?))),
            length @ 0..LENGTH_OF_TWO_BYTES => (2, usize::from(length)),
            _ => panic!("a frame longer than any answer"),
        };
        let payload = rest.get(head..head + length)?;
        *start += head + length;
        match first {
            TEXT => return Some(payload),
            PING => {}
            _ => panic!("the server sends a frame that starts with {first:#x}: {payload:?}"),
        }
    }
}
