//! The floor: a bare server that answers each message with one as long as the product's, and not before as many bytes are
//! synced to the disk as the product's log takes for an order.
//!
//! tokio-rustls and tokio-tungstenite, a task for each connection; one thread that commits groups over all who wait. It closes
//! a group by the log's rules: 256 entries, 64 KiB, or, once the disk is free, as many as the last group released, or the window
//! after the first. No gate, no venue, no hashing, no market data, no order of answers between connections.
//!
//! The second floor is the same with the [`Stages`] of an order.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::{Condvar, Mutex};
use rustix::fs::OFlags;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

use super::process::LISTENING;
use super::stages::{self, Stages};
use super::support::wall_ns;
use super::tls;

/// The argument that turns the bench's own program into the floor.
pub(crate) const ARGUMENT: &str = "--serve-floor";

/// Bounds of a group, as in the log.
const GROUP_BYTES_MAX: u64 = 64 * 1024;
const GROUP_ENTRIES_MAX: u64 = 256;
/// The seal of the log's groups.
const SEAL_BYTES: u64 = 56;
/// Bytes of the file that is written again and again.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What the floor is to do.
pub(crate) struct FloorOptions {
    /// Certificates.
    pub(crate) pki: PathBuf,
    /// Where its file is, on the disk of the product's log.
    pub(crate) file: PathBuf,
    /// Bytes that are synced for one order.
    pub(crate) order_bytes: u64,
    /// Entries of the log for a thousand orders: 256 fill a group.
    pub(crate) entries_of_thousand: u64,
    /// Bytes of an answer.
    pub(crate) answer_bytes: u64,
    /// How long the first of a group waits for others, as in the log.
    pub(crate) group_window_us: u64,
    /// Whether orders pass their [`Stages`].
    pub(crate) has_stages: bool,
}

impl FloorOptions {
    /// As arguments of the bench's own program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let paths = [&self.pki, &self.file].map(|path| path.to_string_lossy().into_owned());
        let numbers = [
            self.order_bytes,
            self.entries_of_thousand,
            self.answer_bytes,
            self.group_window_us,
            self.has_stages.into(),
        ];
        let numbers = numbers.map(|number| number.to_string());
        [ARGUMENT.to_owned()].into_iter().chain(paths).chain(numbers).collect()
    }

    /// The reverse, from what follows [`ARGUMENT`].
    pub(crate) fn parse(arguments: &[String]) -> Self {
        let [pki, file, numbers @ ..] = arguments else { panic!("the floor's arguments") };
        let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
        let [order_bytes, entries_of_thousand, answer_bytes, group_window_us, has_stages] = numbers[..]
        else {
            panic!("the floor's arguments")
        };
        Self {
            pki: pki.into(),
            file: file.into(),
            order_bytes,
            entries_of_thousand,
            answer_bytes,
            group_window_us,
            has_stages: has_stages == 1,
        }
    }

    /// Most orders of one group.
    fn group_orders_max(&self) -> u64 {
        let by_entries = GROUP_ENTRIES_MAX * 1_000 / self.entries_of_thousand.max(1);
        by_entries.min(GROUP_BYTES_MAX / self.order_bytes.max(1)).max(1)
    }
}

/// A file full of zeros whose writes are on the disk when they return: as the log's segments are opened.
pub(crate) struct SyncedFile {
    file: File,
    bytes: u64,
    offset: u64,
}

impl SyncedFile {
    /// Makes the file.
    pub(crate) fn make(path: &Path, bytes: u64) -> Self {
        std::fs::write(path, vec![0; usize::try_from(bytes).expect("a small file")]).expect("a file");
        File::open(path).and_then(|file| file.sync_all()).expect("a disk");
        let flags = i32::try_from(OFlags::DSYNC.bits()).expect("a small flag");
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).expect("the file");
        Self { file, bytes, offset: 0 }
    }

    /// Writes behind what was written before, or at the beginning again.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.offset + bytes.len() as u64 > self.bytes {
            self.offset = 0;
        }
        self.file.write_all_at(bytes, self.offset).expect("the disk takes it");
        self.offset += bytes.len() as u64;
    }
}

/// A group commit and nothing else.
struct Commit {
    waiting: Mutex<Waiting>,
    more: Condvar,
    durable: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    /// Who waits, once for each order; bounded by what the connections have in flight.
    connections: Vec<Arc<Notify>>,
    appended: u64,
    /// When the first of them came.
    began_ns: u64,
    /// At so many the writer wants to be woken.
    wake_at: usize,
}

impl Commit {
    /// Takes an order; its number.
    fn append(&self, connection: &Arc<Notify>) -> u64 {
        let mut waiting = self.waiting.lock();
        if waiting.connections.is_empty() {
            waiting.began_ns = wall_ns();
        }
        waiting.connections.push(Arc::clone(connection));
        waiting.appended += 1;
        if waiting.connections.len() >= waiting.wake_at {
            self.more.notify_one();
        }
        waiting.appended - 1
    }

    /// Writes groups until the process ends.
    fn write(&self, options: &FloorOptions) {
        let mut file = SyncedFile::make(&options.file, FILE_BYTES);
        let most = usize::try_from(options.group_orders_max()).expect("a small group");
        let bytes = vec![
            7;
            usize::try_from(GROUP_BYTES_MAX + options.order_bytes + SEAL_BYTES)
                .expect("a small group")
        ];
        let order_bytes = usize::try_from(options.order_bytes).expect("a small order");
        let (mut released, mut head) = (1, [0; 32]);
        loop {
            let group = self.group(released, most, options.group_window_us * 1_000);
            released = group.len();
            if options.has_stages {
                stages::seal(released, order_bytes, &bytes, &mut head);
            }
            let length = released as u64 * options.order_bytes + SEAL_BYTES;
            file.write(&bytes[..usize::try_from(length).expect("a small group")]);
            self.durable.fetch_add(released as u64, Ordering::Release);
            group.iter().for_each(|connection| connection.notify_one());
        }
    }

    /// Those of the next group, as soon as it is due.
    fn group(&self, released: usize, most: usize, window_ns: u64) -> Vec<Arc<Notify>> {
        let mut waiting = self.waiting.lock();
        loop {
            let count = waiting.connections.len();
            let waited_ns = wall_ns().saturating_sub(waiting.began_ns);
            if count >= released.min(most) || (count > 0 && waited_ns >= window_ns) {
                break;
            }
            if count == 0 {
                waiting.wake_at = 1;
                self.more.wait(&mut waiting);
            } else {
                waiting.wake_at = released.min(most);
                self.more.wait_for(&mut waiting, Duration::from_nanos(window_ns - waited_ns));
            }
        }
        // While the disk is busy nobody wakes it.
        waiting.wake_at = usize::MAX;
        let count = waiting.connections.len().min(most);
        if count < waiting.connections.len() {
            waiting.began_ns = wall_ns();
        }
        waiting.connections.drain(..count).collect()
    }
}

/// Runs the floor until it is killed.
pub(crate) fn serve(options: FloorOptions) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_configuration(&options.pki)));
    let answer_bytes = usize::try_from(options.answer_bytes).expect("a short answer");
    let commit = Arc::new(Commit {
        waiting: Mutex::new(Waiting::default()),
        more: Condvar::new(),
        durable: AtomicU64::new(0),
    });
    let stages: Option<Arc<Stages>> = options.has_stages.then(|| Arc::new(Stages::new()));
    let writer = Arc::clone(&commit);
    std::thread::spawn(move || writer.write(&options));
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        eprintln!("{LISTENING}{}/", listener.local_addr().expect("an address"));
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            socket.set_nodelay(true).expect("an option");
            let (acceptor, commit, stages) = (acceptor.clone(), Arc::clone(&commit), stages.clone());
            // A connection ends when the load has had enough.
            tokio::spawn(async move {
                drop(connection(acceptor, socket, (&commit, stages.as_deref()), answer_bytes).await);
            });
        }
    });
}

async fn connection(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    (commit, stages): (&Commit, Option<&Stages>),
    answer_bytes: usize,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let mut socket = tokio_tungstenite::accept_async(acceptor.accept(socket).await?).await?;
    let session = "0".repeat(64);
    socket.send(Message::text(format!(r#"{{"type":"welcome","session":"{session}"}}"#))).await?;
    let here = Arc::new(Notify::new());
    let mut waiting: VecDeque<(u64, Message)> = VecDeque::new();
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                let message = message?;
                let Message::Text(text) = &message else { continue };
                assert!(stages.is_none_or(|stages| stages.pass(text)), "the load sends signed orders");
                let number = commit.append(&here);
                waiting.push_back((number, answer(text, number, answer_bytes)));
            }
            () = here.notified() => {
                let durable = commit.durable.load(Ordering::Acquire);
                while waiting.front().is_some_and(|(number, _)| *number < durable) {
                    let Some((_, answer)) = waiting.pop_front() else { break };
                    socket.feed(answer).await?;
                }
                socket.flush().await?;
            }
        }
    }
}

/// What the load takes for an acceptance: the request's own names, and so many bytes in all.
fn answer(request: &str, number: u64, bytes: usize) -> Message {
    let behind = |name: &str, end: char| {
        let rest = request.split_once(name).map_or("", |(_, rest)| rest);
        rest.split(end).next().unwrap_or_default()
    };
    let (id, name) = (behind("\"id\":", ','), behind("\"cl_ord_id\":\"", '"'));
    let (zeros, seq) = ("0".repeat(64), number + 1);
    let mut text = format!(
        r#"{{"type":"order","id":{id},"cl_ord_id":"{name}","status":"accepted","receipt":{{"log":"{zeros}","seq":{seq},"hash":"{zeros}"}},"padding":""#,
    );
    text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len() + 2)));
    text.push_str("\"}");
    Message::text(text)
}
