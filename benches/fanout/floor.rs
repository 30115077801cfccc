//! The floors: a bare server that writes the same number of bytes to as many mutual-TLS connections, and does nothing else.
//!
//! This one: tokio-rustls, one log of frames that all connections share, a cursor for each, and one write for whatever has
//! come since the last. No policy, no audit, no books, no queues, no bound on slow readers. Its messages have a header
//! like the server's, so that the load checks both in the same way.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::bare::{self, Bare};
use super::load::{now_ns, utc_ns};
use super::process::LISTENING;
use super::tls;

/// The argument that turns the bench's own program into the floor.
pub(crate) const ARGUMENT: &str = "--serve-floor";

/// Plain bytes handed to TLS at once: full records.
const WRITE_BYTES: usize = 64 * 1024;
/// How often a paced feed looks what is due.
const TICK: Duration = Duration::from_millis(1);

/// What the floor is to do.
pub(crate) struct FloorOptions {
    /// Certificates.
    pub(crate) pki: PathBuf,
    /// How many subscriptions it waits for before the first message.
    pub(crate) subscribers: u64,
    /// How many messages it sends then; no bound but the log's memory if it is stopped before.
    pub(crate) messages: u64,
    /// Messages a second; 0 sends all at once.
    pub(crate) messages_per_second: u64,
    /// Bytes of one message.
    pub(crate) message_bytes: u64,
    /// Who seals.
    pub(crate) layer: Layer,
}

/// Which floor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// tokio-rustls, a task for each connection.
    TokioRustls,
    /// Our own record layer over extracted secrets, one loop.
    Bare,
}

impl FloorOptions {
    /// As arguments of the bench's own program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let layer = u64::from(self.layer == Layer::Bare);
        let numbers = [self.subscribers, self.messages, self.messages_per_second, self.message_bytes, layer];
        let path = self.pki.to_string_lossy().into_owned();
        [ARGUMENT.to_owned(), path].into_iter().chain(numbers.map(|number| number.to_string())).collect()
    }

    /// The reverse, from what follows [`ARGUMENT`].
    pub(crate) fn parse(arguments: &[String]) -> Self {
        let [pki, numbers @ ..] = arguments else { panic!("the floor's arguments") };
        let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
        let [subscribers, messages, messages_per_second, message_bytes, layer] = numbers[..] else {
            panic!("the floor's arguments")
        };
        let layer = if layer == 1 { Layer::Bare } else { Layer::TokioRustls };
        Self { pki: pki.into(), subscribers, messages, messages_per_second, message_bytes, layer }
    }
}

/// Frames of all messages so far, behind one another.
#[derive(Default)]
struct SharedLog {
    bytes: RwLock<Vec<u8>>,
    length: watch::Sender<usize>,
    subscriptions: watch::Sender<u64>,
}

/// Runs the floor until it is killed.
pub(crate) fn serve(options: FloorOptions) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut configuration = tls::server_configuration(&options.pki);
        configuration.enable_secret_extraction = true;
        let acceptor = TlsAcceptor::from(Arc::new(configuration));
        let layer = options.layer;
        let (bare, ready) = std::sync::mpsc::sync_channel(1_024);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(SharedLog::default());
        match layer {
            Layer::TokioRustls => drop(tokio::spawn(feed(options, Arc::clone(&log)))),
            Layer::Bare => drop(std::thread::spawn(move || bare::serve(&options, &ready))),
        }
        eprintln!("{LISTENING}{address}/");
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            socket.set_nodelay(true).expect("an option");
            let (acceptor, log, bare) = (acceptor.clone(), Arc::clone(&log), bare.clone());
            tokio::spawn(async move {
                // A connection ends when the load has had enough.
                let Ok(tls) = subscribed(acceptor, socket).await else { return };
                match layer {
                    Layer::TokioRustls => drop(connection(tls, &log).await),
                    Layer::Bare => {
                        let (socket, tls) = tls.into_inner();
                        let socket = socket.into_std().expect("a socket");
                        bare.send(Bare::new(socket, tls)).expect("the loop runs");
                    }
                }
            });
        }
    });
}

/// A connection up to its subscription.
async fn subscribed(acceptor: TlsAcceptor, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let mut tls = acceptor.accept(socket).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        tls.read_buf(&mut request).await?;
    }
    tls.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await?;
    tls.write_all(&frame(b"{\"type\":\"welcome\"}")).await?;
    tls.flush().await?;
    request.clear();
    // The load's only frame is its subscription, and comes whole.
    tls.read_buf(&mut request).await?;
    tls.write_all(&frame(b"{\"type\":\"subscribed\"}")).await?;
    tls.flush().await?;
    Ok(tls)
}

async fn connection(mut tls: TlsStream<TcpStream>, log: &SharedLog) -> std::io::Result<()> {
    let mut length = log.length.subscribe();
    log.subscriptions.send_modify(|count| *count += 1);
    let mut cursor = 0;
    loop {
        let end = *length.borrow_and_update();
        while cursor < end {
            cursor += write(&mut tls, log, cursor..end).await?;
        }
        tls.flush().await?;
        if length.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Hands bytes of the log to TLS where they are.
async fn write(
    tls: &mut TlsStream<TcpStream>,
    log: &SharedLog,
    range: std::ops::Range<usize>,
) -> std::io::Result<usize> {
    let end = range.end.min(range.start + WRITE_BYTES);
    poll_fn(|context| Pin::new(&mut *tls).poll_write(context, &log.bytes.read()[range.start..end])).await
}

async fn feed(options: FloorOptions, log: Arc<SharedLog>) {
    let mut subscriptions = log.subscriptions.subscribe();
    subscriptions.wait_for(|count| *count == options.subscribers).await.expect("the log lives");
    let start_ns = now_ns();
    let mut tick = tokio::time::interval(TICK);
    let mut sent = 0;
    while sent < options.messages {
        let due = match options.messages_per_second {
            0 => options.messages,
            rate => {
                tick.tick().await;
                let owed = u128::from(now_ns() - start_ns) * u128::from(rate) / 1_000_000_000;
                u64::try_from(owed).unwrap_or(u64::MAX).min(options.messages)
            }
        };
        if due == sent {
            continue;
        }
        let mut bytes = log.bytes.write();
        for seq in sent + 1..=due {
            bytes.extend_from_slice(&frame(&message(seq, options.message_bytes)));
        }
        let length = bytes.len();
        drop(bytes);
        log.length.send_replace(length);
        sent = due;
    }
    // Keeps the log's senders alive.
    std::future::pending::<()>().await;
}

/// A message of this many bytes, or as few as its header takes.
pub(crate) fn message(seq: u64, bytes: u64) -> Vec<u8> {
    let mut text = format!(
        "{{\"type\":\"trade\",\"channel\":\"trades\",\"symbol\":\"FLOOR\",\"epoch\":\"1\",\"seq\":{seq},\"prev_seq\":{},\
        \"ts_out\":\"{}\",\"padding\":\"",
        seq - 1,
        utc_ns(),
    )
    .into_bytes();
    let length = usize::try_from(bytes).expect("a short message").max(text.len() + 2);
    text.resize(length - 2, b'.');
    text.extend_from_slice(b"\"}");
    text
}

pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(payload.len()).expect("a short message").to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}
