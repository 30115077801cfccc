//! Where attacks take place: the program in a process of its own, a client that does nothing wrong, and attackers from its address.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::healthy::Healthy;
use crate::harness::{
    Client, Ended, Identity, LIMIT, Logged, Pki, events_of, fresh_address, logged_in, soon,
};
use crate::process::{ServerProcess, configure, connect_over, public_key, verify};

/// What is traded.
pub(super) const SYMBOLS: [&str; 2] = ["SEAL", "FEED"];

/// Bytes of memory by which a server may have grown when an attack is over, whatever it was. Most of it is what allocators keep:
/// an attacker alone may make the server hold the few buffers that its connection has, and `limits.out_queue_bytes_max`.
pub(super) const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// Timers and clocks are not the same: an end may come so much before its deadline.
const EARLY: Duration = Duration::from_millis(20);

/// A server under attack.
pub(super) struct Ground {
    server: ServerProcess,
    folder: TempDir,
    from: IpAddr,
    healthy: Healthy,
    resident_bytes: u64,
}

/// How a session is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) close: u16,
    pub(super) code: &'static str,
    /// The kind of the entry that says what the client did.
    pub(super) entry: &'static str,
}

impl Ground {
    /// A server with these lines in `[limits]`, in whose market so much happens in a second. Principals are never banned: many attacks
    /// are made in one's name.
    pub(super) async fn with(limits: &str, messages_per_second: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let more = format!(
            "[limits]\n{limits}\n[limits.ban]\ncloses_max = 0\n\
             [[source]]\ntype = \"synthetic\"\nsymbols = {SYMBOLS:?}\nmessages_per_second = {messages_per_second}\n"
        );
        let config = configure(folder.path(), &Pki::get().folder, &more);
        let mut server = ServerProcess::start(&config).unwrap();
        server.discard_stderr();
        let from = fresh_address();
        let healthy = Healthy::start(from, server.address).await;
        let resident_bytes = resident_bytes(&server);
        Self { server, folder, from, healthy, resident_bytes }
    }

    /// Where the server listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// A TCP connection.
    pub(super) async fn tcp(&self) -> TcpStream {
        self.tcp_with(|_| {}).await
    }

    /// A TCP connection over a socket that `prepare` had its way with.
    pub(super) async fn tcp_with(&self, prepare: impl FnOnce(&TcpSocket)) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        prepare(&socket);
        // Where only 127.0.0.1 is configured all of them come from there.
        let _ = socket.bind(SocketAddr::new(self.from, 0));
        let tcp = soon("the TCP connection", socket.connect(self.address())).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp
    }

    /// A TLS connection.
    pub(super) async fn tls(&self, who: &Identity) -> TlsStream<TcpStream> {
        let connector =
            tokio_rustls::TlsConnector::from(std::sync::Arc::new(crate::harness::configuration(who)));
        let tcp = self.tcp().await;
        soon("the TLS handshake", connector.connect("localhost".try_into().unwrap(), tcp)).await.unwrap()
    }

    /// A session.
    pub(super) async fn session(&self, who: &str) -> Client {
        connect_over(self.tcp().await, &Pki::get().client(who)).await
    }

    /// A session whose kernel takes as little as it can on its behalf.
    pub(super) async fn session_with_a_small_window(&self, who: &str) -> Client {
        let tcp = self.tcp_with(|socket| socket.set_recv_buffer_size(4_096).unwrap()).await;
        connect_over(tcp, &Pki::get().client(who)).await
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The first event of this kind for which `is_it` holds, as soon as it stands in the log.
    pub(super) async fn logged(&self, kind: &str, is_it: impl Fn(&Logged) -> bool) -> Logged {
        logged_in(&self.log(), kind, is_it).await
    }

    /// How many events of these kinds have happened to the attackers' address, those that were counted and not written included.
    pub(super) fn happened(&self, kinds: &[&str]) -> u64 {
        let from = self.from.to_string();
        let is_ours = |event: &Logged| event.text("address").split(':').next() == Some(&from);
        let written =
            |kind: &&str| events_of(&self.log(), kind).iter().filter(|event| is_ours(event)).count() as u64;
        let suppressed = events_of(&self.log(), "suppressed");
        let suppressed =
            suppressed.iter().filter(|event| is_ours(event) && kinds.contains(&event.text("what")));
        kinds.iter().map(written).sum::<u64>()
            + suppressed.map(|event| event.fields["count"].as_u64().unwrap()).sum::<u64>()
    }

    /// Asserts that the server ends this session so: on the wire, in the entry of its end, and in one that says why.
    pub(super) async fn ends(&self, session: &mut Client, ending: Ending) {
        let (ended, _) = session.ended().await;
        assert_eq!(ended, Ended { code: Some(ending.close), reason: ending.code.to_owned() });
        self.has_logged(session, ending).await;
    }

    /// Asserts the entries of a session's end.
    pub(super) async fn has_logged(&self, session: &Client, ending: Ending) {
        let id = session.session.to_string();
        let is_its = |event: &Logged| event.session.as_deref() == Some(&*id);
        let logged = self.logged("disconnect", is_its).await;
        assert_eq!(logged.fields["close_code"], ending.close, "{}", logged.fields);
        assert!(logged.text("reason").starts_with(ending.code), "{}", logged.fields);
        if ending.entry != "disconnect" {
            self.logged(ending.entry, |event| is_its(event) && event.has_code(ending.code)).await;
        }
    }

    /// The end of the attacks: the other client has missed nothing, the server has not grown, and its log verifies.
    #[expect(clippy::print_stdout, reason = "figures, for who asks for them")]
    pub(super) async fn over(self) {
        let seen = self.healthy.stop().await;
        let grown = resident_bytes(&self.server).saturating_sub(self.resident_bytes);
        println!("{seen:?}; the server grew by {} KB", grown >> 10);
        assert!(seen.messages > 0, "the market stands still");
        assert!(seen.gap <= gap_max(), "the other client heard nothing for {:?}", seen.gap);
        assert!(grown <= GROWTH_BYTES_MAX, "the server grew by {grown} bytes");
        let log = self.folder.path().join("log");
        self.server.signal(Signal::TERM);
        let ended = tokio::task::spawn_blocking(|| self.server.wait()).await.unwrap();
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!(verify(&log, &["--key", &public_key(&log)]).word(), "VERIFIED");
    }
}

/// What an environment that does nothing else asks for.
fn asked_gap() -> Option<Duration> {
    let text = std::env::var("SEALFEED_ABUSE_GAP_MS").ok()?;
    Some(Duration::from_millis(text.parse().expect("SEALFEED_ABUSE_GAP_MS is a number of milliseconds")))
}

fn gap_max() -> Duration {
    asked_gap().unwrap_or(LIMIT)
}

/// Waits for what must happen `deadline_ms` after `since`: not before, and not long after.
pub(super) async fn in_time<T>(since: Instant, deadline_ms: u64, happens: impl Future<Output = T>) -> T {
    let value = soon("the end", happens).await;
    let (took, deadline) = (since.elapsed(), Duration::from_millis(deadline_ms));
    let late = asked_gap().map_or(LIMIT, |gap| 4 * gap);
    assert!(took + EARLY >= deadline, "it came after {took:?}, before its deadline of {deadline:?}");
    assert!(took <= deadline + late, "it came after {took:?}, long after its deadline of {deadline:?}");
    value
}

/// Writes so many bytes at a time, twenty times a second, until the peer ends the connection: what it said.
pub(super) async fn trickle<S>(stream: S, bytes: &[u8], step: usize) -> Vec<u8>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let writes = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for piece in bytes.chunks(step) {
            pace.tick().await;
            if tokio::io::AsyncWriteExt::write_all(&mut writing, piece).await.is_err() {
                break;
            }
            let _ = tokio::io::AsyncWriteExt::flush(&mut writing).await;
        }
        std::future::pending::<()>().await;
    };
    // The end may be a reset, since the server leaves bytes of ours unread.
    tokio::select! {
        _ = reading.read_to_end(&mut answer) => {}
        () = writes => {}
    }
    answer
}

fn resident_bytes(server: &ServerProcess) -> u64 {
    let pid = server.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
