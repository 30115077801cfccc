//! The load: subscribers over mutual TLS that read, check every sequence and keep nothing. All on one thread.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sealfeed_wire::PATH;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::process::Server;
use super::sequence::{Sequences, Taken, ts_out};

/// Bytes read at once, and the longest message.
const BUFFER_BYTES: usize = 64 * 1024;

/// Longest time for a fixed number of messages.
const READING_MAX: Duration = Duration::from_secs(300);
/// Between the last subscription and the measurement, where there is no fixed number.
const SETTLING: Duration = Duration::from_millis(300);

/// When a measurement ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// Every subscriber has had this many messages.
    Messages(u64),
    /// Time has passed.
    Elapsed(Duration),
}

/// What was measured with one server.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Messages that came, over all subscribers.
    pub(crate) deliveries: u64,
    /// Their bytes, without frames.
    pub(crate) bytes: u64,
    /// From the last subscription to the end.
    pub(crate) elapsed_ns: u64,
    /// The server's, in that time.
    pub(crate) cpu_ns: u64,
    /// The server's, for one connection up to its welcome.
    pub(crate) connect_cpu_ns: u64,
    /// Memory of the server for one connection that has had its welcome and nothing else.
    pub(crate) idle_bytes: u64,
    /// Memory of the server for one connection in the end, beyond that before the first.
    pub(crate) loaded_bytes: u64,
    /// From the feed's own time in a message to its reader, over all deliveries: the 50th, 99th and 99.9th of 100.
    pub(crate) latency_ns: [u64; 3],
}

/// The subscribers' side of TLS.
pub(crate) fn client_configuration(pki: &Path) -> Arc<ClientConfig> {
    let client = pki.join("clients/acme/load");
    let chain: Vec<_> = CertificateDer::pem_file_iter(client.join("client.pem"))
        .and_then(Iterator::collect)
        .expect("the client's certificate");
    let key = PrivateKeyDer::from_pem_file(client.join("client.key")).expect("the client's key");
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(client.join("ca.pem")).expect("the authorities") {
        roots.add(authority.expect("an authority")).expect("an authority");
    }
    let configuration =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("certificate and key");
    Arc::new(configuration)
}

/// Connects `count` subscribers to a server, lets them subscribe, and measures until the end.
///
/// With [`Until::Messages`] the last subscription starts the clock, since recordings wait for it.
pub(crate) async fn measure(
    server: &Server,
    configuration: &Arc<ClientConfig>,
    count: u64,
    requests: &[String],
    until: Until,
) -> Outcome {
    let (cpu_at_start, resident_at_start) = (server.cpu_ns(), server.resident_bytes());
    // All at once: each waits for entries of the log, which are written in groups.
    let connecting = (0..count).map(|_| Subscriber::connect(server.address, Arc::clone(configuration)));
    let subscribers = connecting.collect::<JoinSet<_>>().join_all().await;
    let connect_cpu_ns = (server.cpu_ns() - cpu_at_start) / count;
    let idle_bytes = server.resident_bytes().saturating_sub(resident_at_start) / count;

    let counts: Vec<_> = subscribers.iter().map(|subscriber| Arc::clone(&subscriber.received)).collect();
    let mark = || Mark::take(server, &counts);
    let requests: Arc<[String]> = requests.into();
    let subscribe = |subscriber: Subscriber| subscriber.subscribed(Arc::clone(&requests));
    let mut others = subscribers;
    let last = others.pop().expect("a subscriber");
    let mut subscribers = others.into_iter().map(subscribe).collect::<JoinSet<_>>().join_all().await;
    let (begin, end) = match until {
        Until::Messages(messages) => {
            let begin = mark();
            subscribers.push(subscribe(last).await);
            let mut reading = Reading::start(subscribers, messages);
            let done = tokio::time::timeout(READING_MAX, reading.all_done()).await;
            let end = mark();
            assert!(done.is_ok(), "{} of {} messages came", end.messages, messages * count);
            assert_eq!(end.messages, messages * count, "every message comes once");
            (begin, end)
        }
        Until::Elapsed(elapsed) => {
            subscribers.push(subscribe(last).await);
            let mut reading = Reading::start(subscribers, u64::MAX);
            reading.go_on(SETTLING).await;
            let begin = mark();
            reading.go_on(elapsed).await;
            (begin, mark())
        }
    };
    let loaded_bytes = server.resident_bytes().saturating_sub(resident_at_start) / count;
    let deliveries = end.messages - begin.messages;
    assert!(deliveries > 0, "nothing was delivered");
    Outcome {
        deliveries,
        bytes: end.bytes - begin.bytes,
        elapsed_ns: end.time_ns - begin.time_ns,
        cpu_ns: end.cpu_ns - begin.cpu_ns,
        connect_cpu_ns,
        idle_bytes,
        loaded_bytes,
        latency_ns: percentiles(&counts),
    }
}

/// The middle, and the ends of what the unluckiest see.
fn percentiles(counts: &[Arc<Received>]) -> [u64; 3] {
    let mut all: Vec<u64> = counts.iter().flat_map(|received| received.latencies.lock().clone()).collect();
    all.sort_unstable();
    let last = all.len().saturating_sub(1);
    [500, 990, 999].map(|of_thousand| all.get(last * of_thousand / 1_000).copied().unwrap_or_default())
}

/// Where everything stands at one moment.
struct Mark {
    messages: u64,
    bytes: u64,
    cpu_ns: u64,
    time_ns: u64,
}

impl Mark {
    fn take(server: &Server, counts: &[Arc<Received>]) -> Self {
        let (messages, bytes) = counts
            .iter()
            .map(|received| received.get())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Self { messages, bytes, cpu_ns: server.cpu_ns(), time_ns: now_ns() }
    }
}

/// Subscribers that read.
struct Reading {
    tasks: JoinSet<Subscriber>,
    /// Whoever is done stays connected till the end: closing costs the server something too.
    done: Vec<Subscriber>,
}

impl Reading {
    fn start(subscribers: Vec<Subscriber>, messages_max: u64) -> Self {
        let mut tasks = JoinSet::new();
        for subscriber in subscribers {
            tasks.spawn(subscriber.read(messages_max));
        }
        Self { tasks, done: Vec::new() }
    }

    /// Waits until each has had its messages. Panics if one has panicked.
    async fn all_done(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.done.push(ended.expect("a subscriber without a fault"));
        }
    }

    /// Lets them read for a while. Panics if one has panicked.
    async fn go_on(&mut self, elapsed: Duration) {
        let ended = tokio::time::timeout(elapsed, self.all_done()).await;
        assert!(ended.is_err(), "nobody is done");
    }
}

/// Messages and bytes of one subscriber so far, to be read while it reads.
#[derive(Default)]
struct Received {
    messages: AtomicU64,
    bytes: AtomicU64,
    latencies: Mutex<Vec<u64>>,
}

impl Received {
    fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

struct Subscriber {
    tls: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    /// What is in the buffer and not looked at yet.
    start: usize,
    end: usize,
    sequences: Sequences,
    received: Arc<Received>,
}

impl Subscriber {
    /// Up to and with the welcome.
    async fn connect(address: SocketAddr, configuration: Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(address).await.expect("the server accepts");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = TlsConnector::from(configuration).connect(name, socket).await.expect("TLS");
        let (buffer, received) = (vec![0; BUFFER_BYTES], Arc::default());
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

    async fn subscribed(mut self, requests: Arc<[String]>) -> Self {
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
    async fn read(mut self, messages_max: u64) -> Self {
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
        assert!(self.end < self.buffer.len(), "a message fits the buffer");
        let bytes = self.tls.read(&mut self.buffer[self.end..]).await.expect("the connection holds");
        assert!(bytes > 0, "the server ends no connection");
        self.end += bytes;
    }
}

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
        let rest = &bytes[*start..];
        let [first, second, ..] = *rest else { return None };
        let (head, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?)).ok()?),
            length => (2, usize::from(length)),
        };
        let payload = rest.get(head..head + length)?;
        *start += head + length;
        match first {
            0x81 => return Some(payload),
            0x89 => {}
            0x88 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                panic!("the server closes with {code:?}");
            }
            other => panic!("a frame that starts with {other:#x}"),
        }
    }
}

/// A client's frame; the mask is zero, which RFC 6455 allows.
fn masked_text(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short request");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Nanoseconds since 1970.
pub(crate) fn utc_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("a time since 1970")
}

/// Monotonic time.
pub(crate) fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("a time since the machine started")
}
