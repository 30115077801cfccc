//! A subscriber over mutual TLS that reads, checks every sequence and keeps nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sealfeed_wire::PATH;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::load::utc_ns;
use super::sequence::{Sequences, Taken, ts_out};

/// Bytes read at once by who reads, and the longest message.
const BUFFER_BYTES: usize = 64 * 1024;
/// The same for who has only had replies so far.
const IDLE_BUFFER_BYTES: usize = 2 * 1024;

/// How much the kernel receives for a subscriber that does not read.
#[derive(Clone, Copy)]
pub(crate) enum Receiving {
    /// What the system gives.
    AsUsual,
    /// As little as it can be told to.
    Little,
}

/// What became of a subscriber that did not read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server closed the connection.
    Ended,
    /// The server says that it left something out.
    LeftBehind,
    /// Neither.
    Kept,
}

/// Messages and bytes of one subscriber so far, to be read while it reads.
#[derive(Default)]
pub(crate) struct Received {
    messages: AtomicU64,
    bytes: AtomicU64,
    pub(crate) latencies: Mutex<Vec<u64>>,
}

impl Received {
    fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

pub(crate) struct Subscriber {
    tls: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    /// What is in the buffer and not looked at yet.
    start: usize,
    end: usize,
    sequences: Sequences,
    pub(crate) received: Arc<Received>,
}

impl Subscriber {
    /// Up to and with the welcome.
    pub(crate) async fn connect(
        address: SocketAddr,
        configuration: Arc<ClientConfig>,
        receiving: Receiving,
    ) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        if matches!(receiving, Receiving::Little) {
            socket.set_recv_buffer_size(1).expect("an option");
        }
        let socket = socket.connect(address).await.expect("the server accepts");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = TlsConnector::from(configuration).connect(name, socket).await.expect("TLS");
        let (buffer, received) = (vec![0; IDLE_BUFFER_BYTES], Arc::default());
        let mut subscriber =
            Self { tls, buffer, start: 0, end: 0, sequences: Sequences::default(), received };
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        subscriber.tls.write_all(request.as_bytes()).await.expect("the request leaves");
        subscriber.upgraded().await;
        subscriber.expect_reply("welcome").await;
        subscriber
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

    pub(crate) async fn subscribed(mut self, requests: Arc<[String]>) -> Self {
        for request in requests.iter() {
            let frame = masked_text(request.as_bytes());
            self.tls.write_all(&frame).await.expect("the request leaves");
            self.tls.flush().await.expect("the request leaves");
            self.expect_reply("subscribed").await;
        }
        self
    }

    /// Reads until a message of this type came; market data on the way counts.
    async fn expect_reply(&mut self, kind: &str) {
        let start = format!("{{\"type\":\"{kind}\"");
        loop {
            while let Some(message) = next_message(&self.buffer[..self.end], &mut self.start) {
                if message.starts_with(start.as_bytes()) {
                    return;
                }
                let is_data = is_data(&mut self.sequences, message);
                self.received.add(u64::from(is_data), if is_data { message.len() as u64 } else { 0 });
            }
            self.fill().await;
        }
    }

    /// Reads until `messages_max` messages came in all; panics if the connection ends before.
    pub(crate) async fn read(mut self, messages_max: u64) -> Self {
        self.buffer.resize(BUFFER_BYTES, 0);
        loop {
            let (messages, bytes) = self.take_messages();
            self.received.add(messages, bytes);
            if self.received.get().0 >= messages_max {
                return self;
            }
            self.fill().await;
        }
    }

    /// Takes the messages in the buffer: how many of market data, and their bytes.
    fn take_messages(&mut self) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        let now = utc_ns();
        let mut latencies = self.received.latencies.lock();
        while let Some(message) = next_message(&self.buffer[..self.end], &mut self.start) {
            if is_data(&mut self.sequences, message) {
                messages += 1;
                bytes += message.len() as u64;
                latencies.extend(ts_out(message).map(|sent| now.saturating_sub(sent)));
            }
        }
        (messages, bytes)
    }

    async fn fill(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            assert!(self.end < BUFFER_BYTES, "a message fits the buffer");
            self.buffer.resize(BUFFER_BYTES.min(2 * self.end), 0);
        }
        let bytes = self.tls.read(&mut self.buffer[self.end..]).await.expect("the connection holds");
        assert!(bytes > 0, "the server ends no connection");
        self.end += bytes;
    }

    /// Takes what the kernel has for it and throws it away unread: a reader for the server, next to no work for the load.
    pub(crate) fn throw_away(&self, scratch: &mut [u8]) {
        while let Ok(bytes) = self.tls.get_ref().0.try_read(scratch) {
            assert!(bytes > 0, "the server ends no connection");
        }
    }

    /// Reads at last, until it is known what the server did about it; nothing of the kind within `patience` is [`Fate::Kept`].
    pub(crate) async fn fate(mut self, patience: Duration) -> Fate {
        let deadline = tokio::time::Instant::now() + patience;
        self.buffer.resize(BUFFER_BYTES, 0);
        loop {
            while let Some((first, payload)) = next_frame(&self.buffer[..self.end], &mut self.start) {
                let is_left_behind = [&b"{\"type\":\"skipped\""[..], b"{\"type\":\"gap\""]
                    .iter()
                    .any(|start| payload.starts_with(start));
                match first {
                    CLOSE => return Fate::Ended,
                    _ if is_left_behind => return Fate::LeftBehind,
                    _ => {}
                }
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let reading = self.tls.read(&mut self.buffer[self.end..]);
            match tokio::time::timeout_at(deadline, reading).await {
                Err(_) => return Fate::Kept,
                Ok(Err(_) | Ok(0)) => return Fate::Ended,
                Ok(Ok(bytes)) => self.end += bytes,
            }
        }
    }
}

/// Connects so many, a batch at a time, so that handshakes at once do not weigh on the server's memory.
pub(crate) async fn connect_in_batches(
    address: SocketAddr,
    configuration: &Arc<ClientConfig>,
    count: u64,
    batch: u64,
) -> Vec<Subscriber> {
    let mut subscribers = Vec::new();
    let mut left = count;
    while left > 0 {
        let now = left.min(batch);
        let connect = |_| Subscriber::connect(address, Arc::clone(configuration), Receiving::AsUsual);
        subscribers.extend((0..now).map(connect).collect::<JoinSet<_>>().join_all().await);
        left -= now;
    }
    subscribers
}

/// First bytes of frames that a server sends: text, ping, close.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

/// Whether a message is market data. Without every message of its stream before it the figures would mean nothing.
fn is_data(sequences: &mut Sequences, message: &[u8]) -> bool {
    match sequences.take(message) {
        Taken::Data { missing: 0 } => true,
        Taken::Notice { missing: 0 } => false,
        // A warning to this reader that its queue is half full; the bench fails if it ever comes to a close.
        Taken::Other if message.starts_with(b"{\"type\":\"slow\"") => false,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(message)),
    }
}

/// The payload of the next whole text frame; pings are passed over, a close frame panics.
fn next_message<'a>(bytes: &'a [u8], start: &mut usize) -> Option<&'a [u8]> {
    loop {
        match next_frame(bytes, start)? {
            (TEXT, payload) => return Some(payload),
            (PING, _) => {}
            (CLOSE, payload) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                panic!("the server closes with {code:?}");
            }
            (other, _) => panic!("a frame that starts with {other:#x}"),
        }
    }
}

/// The first byte of the next whole frame, and its payload.
fn next_frame<'a>(bytes: &'a [u8], start: &mut usize) -> Option<(u8, &'a [u8])> {
    let rest = &bytes[*start..];
    let [first, second, ..] = *rest else { return None };
    let (head, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let payload = rest.get(head..head + length)?;
    *start += head + length;
    Some((first, payload))
}

/// A client's frame; the mask is zero, which RFC 6455 allows.
fn masked_text(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short request");
    let mut frame = match u8::try_from(length) {
        Ok(length @ 0..126) => vec![0x81, 0x80 | length],
        Ok(_) | Err(_) => [&[0x81, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
