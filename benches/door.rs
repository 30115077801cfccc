//! What the door costs: a whole connection beside a bare rustls that asks for a client certificate, too; and those whom the door turns
//! away, thousands of times: CPU time, resident memory and the audit log must stay within their bounds, or the bench ends with an error.
//!
//! `session` is handshake, upgrade, policy, the durable entry `connect`, and the welcome, and then its end with the entry
//! `disconnect`; `bare` is the handshake and one byte (tokio-rustls, the same cryptography, authorities and lists). The rest are
//! connections that are refused: without a certificate, with a revoked one, without an entitlement (answered with 403), and from an address
//! that is banned (closed before TLS). Sixteen at a time, from a process on another processor. CPU time is the least of the rounds, which
//! they take by turns. A second table says which threads a session's came from.
//!
//! `cargo bench --bench door`; `-- --smoke` or `SEALFEED_BENCH_SMOKE=1` for 64 connections of each, whose CPU time bounds nothing.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a bench prints its numbers and may stop"
)]

#[path = "fanout/process.rs"]
#[expect(dead_code, reason = "two processors are for other benches")]
mod process;
#[path = "fanout/setup.rs"]
#[expect(dead_code, reason = "recordings of several symbols are another bench's")]
mod setup;
#[path = "support/mod.rs"]
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, Stream};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use sealfeed_audit::reader::entries_from;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use process::{LISTENING, Processors, Server};
use setup::{Ground, pki};
use support::{Table, ratio, wall_ns};

/// Asks for a session.
const UPGRADE: &[u8] =
    b"GET /v1/feed HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Connections at a time.
const AT_ONCE: u64 = 16;
/// Bytes of memory by which all refusals of one kind may make the server grow. What is remembered of each address is a few hundred.
const GROWTH_BYTES_MAX: u64 = 16 << 20;
/// Entries of the log that one address may cause in a second: five in full (`journal::summary`) of refusals, as many of limits, what was
/// counted of both, and the log's own.
const ENTRIES_PER_SECOND_MAX: u64 = 16;
/// Bytes of one of those entries.
const ENTRY_BYTES_MAX: u64 = 1_024;

/// One kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Session,
    Bare,
    NoCertificate,
    Revoked,
    NoEntitlement,
    Banned,
}

const KINDS: [Kind; 6] =
    [Kind::Session, Kind::Bare, Kind::NoCertificate, Kind::Revoked, Kind::NoEntitlement, Kind::Banned];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Bare => "bare",
            Self::NoCertificate => "no certificate",
            Self::Revoked => "revoked",
            Self::NoEntitlement => "no entitlement",
            Self::Banned => "banned address",
        }
    }

    /// Which part of a bare handshake's CPU time a refusal may cost, in percent.
    const fn percent_max(self) -> Option<u64> {
        match self {
            Self::Session | Self::Bare => None,
            // The server has signed its own certificate before it knows.
            Self::NoCertificate => Some(120),
            Self::Revoked => Some(150),
            Self::NoEntitlement => Some(200),
            Self::Banned => Some(40),
        }
    }

    /// Every kind comes from an address of its own: ports of one address run out.
    const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 88, 0, 1 + self as u8)
    }

    const fn asks(self) -> bool {
        matches!(self, Self::Session | Self::NoEntitlement)
    }

    /// What the server has to say at last.
    const fn answer(self) -> &'static [u8] {
        match self {
            Self::Session => b"\"welcome\"",
            Self::Bare => b"!",
            Self::NoEntitlement => b"SF-SES-005",
            Self::NoCertificate | Self::Revoked | Self::Banned => b"",
        }
    }
}

/// What connections of one kind have cost.
#[derive(Debug, Default)]
struct Cost {
    /// CPU nanoseconds of the server for one.
    cpu_ns: Option<u64>,
    grown_bytes: u64,
    entries: u64,
    log_bytes: u64,
    elapsed_ns: u64,
    by_thread: BTreeMap<String, u64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder] = &arguments[..]
        && mode == "--bare"
    {
        return bare(Path::new(folder));
    }
    let is_smoke = support::smoke();
    // A round of each by turns.
    let (rounds, cycles) = if is_smoke { (2, 32) } else { (5, 2_000) };
    let mut bench = Bench::new();
    let mut costs: [Cost; KINDS.len()] = Default::default();
    for _ in 0..rounds {
        for (kind, cost) in KINDS.into_iter().zip(&mut costs) {
            bench.round(kind, cycles, cost);
        }
    }
    let floor = costs[Kind::Bare as usize].cpu_ns.unwrap_or(0);
    let mut table = Table::new(&[
        "connection",
        "number",
        "CPU us",
        "by bare",
        "grown KB",
        "entries",
        "log KB",
        "entries/s",
    ]);
    for (kind, cost) in KINDS.into_iter().zip(&costs) {
        let cpu = cost.cpu_ns.unwrap_or(0);
        table.row(&[
            kind.name().to_owned(),
            (rounds * cycles).to_string(),
            format!("{:.0}", ratio(cpu, 1_000)),
            format!("{:.2}", ratio(cpu, floor)),
            (cost.grown_bytes >> 10).to_string(),
            cost.entries.to_string(),
            (cost.log_bytes >> 10).to_string(),
            format!("{:.1}", ratio(cost.entries * 1_000_000_000, cost.elapsed_ns)),
        ]);
    }
    println!("the door: CPU time of the server for one connection, memory and log for all of them");
    table.print();
    let sessions = rounds * cycles;
    println!("a session's CPU us by thread, mean of all rounds");
    let mut threads = Table::new(&["thread", "CPU us"]);
    for (name, cpu_ns) in &costs[Kind::Session as usize].by_thread {
        threads.row(&[name.clone(), format!("{:.1}", ratio(cpu_ns / sessions, 1_000))]);
    }
    threads.print();
    let broken: Vec<_> = KINDS
        .into_iter()
        .zip(&costs)
        .flat_map(|(kind, cost)| kind.broken(cost, floor, rounds, is_smoke))
        .collect();
    assert!(broken.is_empty(), "bounds are broken: {broken:#?}");
}

impl Kind {
    /// Which bounds are broken.
    fn broken(self, cost: &Cost, floor: u64, rounds: u64, is_smoke: bool) -> Vec<String> {
        let Some(percent) = self.percent_max() else { return Vec::new() };
        let seconds = cost.elapsed_ns / 1_000_000_000 + 2 * rounds;
        let entries_max = seconds * ENTRIES_PER_SECOND_MAX;
        let cpu_ns_max = if is_smoke { u64::MAX } else { floor * percent / 100 };
        let bounds = [
            ("CPU nanoseconds", cost.cpu_ns.unwrap_or(u64::MAX), cpu_ns_max),
            ("bytes of memory", cost.grown_bytes, GROWTH_BYTES_MAX),
            ("entries", cost.entries, entries_max),
            ("bytes of the log", cost.log_bytes, entries_max * ENTRY_BYTES_MAX),
        ];
        let broken = bounds.into_iter().filter(|(_, is, max)| is > max);
        broken.map(|(what, is, max)| format!("{}: {is} {what}, at most {max}", self.name())).collect()
    }
}

/// The two servers and their clients.
struct Bench {
    server: Server,
    bare: Server,
    log: PathBuf,
    known: Arc<ClientConfig>,
    revoked: Arc<ClientConfig>,
    unentitled: Arc<ClientConfig>,
    nobody: Arc<ClientConfig>,
    /// Entries of the log that were counted.
    next_entry: u64,
    // Behind the servers: it is removed when they have ended.
    _ground: Ground,
}

impl Bench {
    fn new() -> Self {
        let mut ground = Ground::prepare();
        let folder = ground.pki();
        pki(&folder, &["client", "gamma/nobody", "--role", "service"]);
        pki(&folder, &["client", "acme/gone", "--role", "viewer"]);
        pki(&folder, &["revoke", "acme/gone", "--reason", "keyCompromise"]);
        let recording = ground.recording(1, 0, 1);
        let source = format!("type = \"dbn\"\npath = {recording:?}\nspeed = 1");
        // Only one address is banned, by its own doing; the bans of the others would measure something else.
        let trusted: Vec<String> = KINDS
            .into_iter()
            .filter(|kind| *kind != Kind::Banned)
            .map(|kind| format!("{}/32", kind.address()))
            .collect();
        let limits = format!(
            "handshakes_per_second = 1000000\n\
            [limits.ban]\nfailures_per_minute = 5\nfirst_ms = 86400000\nmax_ms = 86400000\n\
            [limits.trusted]\naddresses = {trusted:?}"
        );
        let config = ground.configuration(&source, &limits);
        let processors = Processors::divide();
        if !processors.are_apart {
            println!("servers and clients share the only processor");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
        command.args(["serve", "--config"]).arg(&config);
        let server = Server::start(command, &processors);
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("--bare").arg(&folder);
        let bare = Server::start(command, &processors);
        let mut bench = Self {
            server,
            bare,
            log: config.with_file_name("log1"),
            known: client(&folder, Some("acme/load")),
            revoked: client(&folder, Some("acme/gone")),
            unentitled: client(&folder, Some("gamma/nobody")),
            nobody: client(&folder, None),
            next_entry: 0,
            _ground: ground,
        };
        // Nothing is measured of the first ones: buffers grow, and one address is banned.
        for kind in KINDS {
            bench.cycles(kind, AT_ONCE);
        }
        bench.count_entries();
        bench
    }

    const fn server(&self, kind: Kind) -> &Server {
        if matches!(kind, Kind::Bare) { &self.bare } else { &self.server }
    }

    fn round(&mut self, kind: Kind, cycles: u64, cost: &mut Cost) {
        let (start, resident) = (wall_ns(), self.server(kind).resident_bytes());
        let by_thread = cpu_ns_by_thread(self.server(kind));
        let cpu = self.server(kind).cpu_ns();
        self.cycles(kind, cycles);
        let cpu = (self.server(kind).cpu_ns() - cpu) / cycles;
        for (name, cpu_ns) in cpu_ns_by_thread(self.server(kind)) {
            let before = by_thread.get(&name).copied().unwrap_or(0);
            *cost.by_thread.entry(name).or_default() += cpu_ns.saturating_sub(before);
        }
        cost.cpu_ns = Some(cost.cpu_ns.map_or(cpu, |least| least.min(cpu)));
        cost.grown_bytes += self.server(kind).resident_bytes().saturating_sub(resident);
        cost.elapsed_ns += wall_ns() - start;
        let (entries, bytes) = self.count_entries();
        cost.entries += entries;
        cost.log_bytes += bytes;
    }

    fn cycles(&self, kind: Kind, cycles: u64) {
        let client = match kind {
            Kind::Session | Kind::Bare => &self.known,
            Kind::NoCertificate | Kind::Banned => &self.nobody,
            Kind::Revoked => &self.revoked,
            Kind::NoEntitlement => &self.unentitled,
        };
        let address = self.server(kind).address;
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| (0..cycles / AT_ONCE).for_each(|_| connect(kind, address, client)));
            }
        });
    }

    /// How many entries have come since this was asked last, and the bytes of their payloads.
    fn count_entries(&mut self) -> (u64, u64) {
        let (mut count, mut bytes) = (0, 0);
        for entry in entries_from(&self.log, self.next_entry).expect("the log") {
            let entry = entry.expect("an entry");
            self.next_entry = entry.header.seq + 1;
            count += 1;
            bytes += entry.payload.len() as u64;
        }
        (count, bytes)
    }
}

/// CPU nanoseconds of the threads that there are, by their names.
fn cpu_ns_by_thread(server: &Server) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).expect("the server runs");
    for thread in threads.map_while(Result::ok) {
        let file = |name: &str| std::fs::read_to_string(thread.path().join(name));
        // A thread may end between the looks.
        let (Ok(name), Ok(text)) = (file("comm"), file("schedstat")) else { continue };
        let cpu_ns = text.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        *sums.entry(name.trim().to_owned()).or_default() += cpu_ns;
    }
    sums
}

/// One connection, from TCP to what the server has to say.
fn connect(kind: Kind, server: SocketAddr, client: &Arc<ClientConfig>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Where only 127.0.0.1 is configured all of them come from there.
    let _ = socket.bind(&SocketAddr::from((kind.address(), 0)).into());
    socket.connect(&server.into()).expect("a connection");
    // No port of ours waits for anything afterwards.
    socket.set_linger(Some(Duration::ZERO)).expect("a socket's option");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket's option");
    socket.set_tcp_nodelay(true).expect("a socket's option");
    let mut tcp = TcpStream::from(socket);
    let name = "localhost".try_into().expect("a name");
    let mut connection = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut stream = Stream::new(&mut connection, &mut tcp);
    // A server that refuses may have gone before all was written; what it said is read.
    if kind.asks() {
        let _ = stream.write_all(UPGRADE);
    }
    let (mut said, mut buffer) = (Vec::new(), [0; 4_096]);
    let end = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) => break Some(error),
        }
        let answer = kind.answer();
        if !answer.is_empty() && said.windows(answer.len()).any(|window| window == answer) {
            return;
        }
    };
    let is_refused = kind.answer().is_empty() && said.is_empty();
    assert!(is_refused, "{kind:?}: {end:?} behind {}", String::from_utf8_lossy(&said));
}

fn client(pki: &Path, who: Option<&str>) -> Arc<ClientConfig> {
    let roots = Arc::new(tls::roots(&pki.join("ca/servers.pem")));
    let mut configuration = match who {
        Some(who) => {
            let folder = pki.join("clients").join(who);
            let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).expect("the client's key");
            tls::client_configuration(roots, tls::certificates(&folder.join("client.pem")), key)
        }
        None => ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth(),
    };
    configuration.resumption = Resumption::disabled();
    Arc::new(configuration)
}

/// The floor: handshake, one byte, and wait for the end.
fn bare(pki: &Path) {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls::server_configuration(pki)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        eprintln!("bare: {LISTENING}{address}/");
        loop {
            let Ok((tcp, _)) = listener.accept().await else { continue };
            let _ = tcp.set_nodelay(true);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                let _ = stream.write_all(b"!").await;
                let _ = stream.flush().await;
                let _ = stream.read(&mut [0; 1]).await;
            });
        }
    });
}
