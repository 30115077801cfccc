//! The real program in a process of its own, its command line, and the way to connect to it.

use std::io::{BufRead, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{
    Client, HttpAnswer, Identity, POLICY, UPGRADE, configuration, fresh_address, read_answer, soon, tcp_from,
};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sealfeed");

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A `sealfeed serve` that listens. Killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    stderr: Box<dyn BufRead + Send>,
    said: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it wrote to standard error and nobody has read yet.
    pub(crate) stderr: String,
}

impl ServerProcess {
    /// Starts a server and waits until it listens; how it ended, if it ends before that.
    pub(crate) fn start(config: &Path) -> Result<Self, Ended> {
        let mut child = spawn(config);
        let stderr = Box::new(BufReader::new(child.stderr.take().unwrap()));
        // From here on, whatever fails takes the child along.
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, stderr, said: String::new(), address };
        loop {
            let mut line = String::new();
            if server.stderr.read_line(&mut line).unwrap() == 0 {
                return Err(Ended {
                    status: server.child.wait().unwrap(),
                    stderr: std::mem::take(&mut server.said),
                });
            }
            if let Some(url) = line.trim().strip_prefix("sealfeed: listening on wss://") {
                server.address = url.split('/').next().unwrap().parse().unwrap();
                return Ok(server);
            }
            server.said.push_str(&line);
        }
    }

    /// What it wrote to standard error before it listened.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Throws away what it writes to standard error from now on: one that writes much would wait for its reader.
    pub(crate) fn discard_stderr(&mut self) {
        let mut stderr = std::mem::replace(&mut self.stderr, Box::new(std::io::empty()));
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        Ended { status: self.child.wait().unwrap(), stderr }
    }

    /// Its number, to kill it from another thread while this one holds it.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended; then neither has anything to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a configuration with its policy into `folder`: certificates of the PKI in `pki`, log in `folder/log`, the
/// smallest segments, and `more` behind the `[server]` line's table.
pub(crate) fn configure(folder: &Path, pki: &Path, more: &str) -> PathBuf {
    std::fs::write(folder.join("entitlements.toml"), POLICY).unwrap();
    let pki = pki.to_str().unwrap();
    let text = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        watch_files = false
        [tls]
        certificate = "{pki}/servers/localhost/server.pem"
        key = "{pki}/servers/localhost/server.key"
        client_authorities = "{pki}/ca/clients.pem"
        client_revocation_lists = "{pki}/crl/clients.pem"
        [identity]
        entitlements = "entitlements.toml"
        master_key = "{pki}/master/current.hex"
        [log]
        directory = "log"
        segment_bytes = 1048576
        {more}
        "#
    );
    let path = folder.join("sealfeed.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// What `who` gets for asking for an upgrade with these header lines more.
pub(crate) async fn upgrade_of(address: SocketAddr, who: &Identity, headers: &str) -> HttpAnswer {
    request_upgrade(tcp_from(fresh_address(), address).await, who, headers).await.1
}

async fn request_upgrade(
    tcp: TcpStream,
    who: &Identity,
    headers: &str,
) -> (TlsStream<TcpStream>, HttpAnswer) {
    let connector = TlsConnector::from(Arc::new(configuration(who)));
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = soon("the TLS handshake", connector.connect(name, tcp)).await.unwrap();
    tls.write_all(format!("{UPGRADE}{headers}\r\n").as_bytes()).await.unwrap();
    let answer = read_answer(&mut tls).await;
    (tls, answer)
}

/// A session of `who`, after `welcome`.
pub(crate) async fn connect(address: SocketAddr, who: &Identity) -> Client {
    connect_from(fresh_address(), address, who).await
}

/// As [`connect`], from a loopback address of the test's choice.
pub(crate) async fn connect_from(from: IpAddr, address: SocketAddr, who: &Identity) -> Client {
    connect_over(tcp_from(from, address).await, who).await
}

/// As [`connect`], over a TCP connection that stands.
pub(crate) async fn connect_over(tcp: TcpStream, who: &Identity) -> Client {
    let (tls, answer) = request_upgrade(tcp, who, "").await;
    assert_eq!(answer.status, 101, "{answer:?}");
    Client::open(tls, answer.rest, who.order_key.clone()).await
}

/// Starts a server and does not wait for it.
pub(crate) fn spawn(config: &Path) -> Child {
    Command::new(PROGRAM)
        .args(["serve", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What `audit verify --json` said, and its exit code.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) code: i32,
    pub(crate) report: Value,
}

impl Verdict {
    /// The word.
    pub(crate) fn word(&self) -> &str {
        self.report["verdict"].as_str().unwrap()
    }
}

/// Verifies a log with the program; `anchors` are further arguments.
pub(crate) fn verify(log: &Path, anchors: &[&str]) -> Verdict {
    let output = run(&[&["audit", "verify", "--json", log.to_str().unwrap()], anchors].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("no report: {text} {}", String::from_utf8_lossy(&output.stderr)));
    Verdict { code: output.status.code().unwrap(), report }
}

/// The entries that `audit replay` prints with these filters, as its JSON lines.
pub(crate) fn replay(log: &Path, filters: &[&str]) -> Vec<Value> {
    let output = run(&[&["audit", "replay", log.to_str().unwrap()], filters].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The public key that a server put beside its new log.
pub(crate) fn public_key(log: &Path) -> String {
    let escrow = format!("{}.escrow", log.file_name().unwrap().to_str().unwrap());
    log.with_file_name(escrow).join("log.pub").to_str().unwrap().to_owned()
}
