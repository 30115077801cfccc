//! The real witness, asked by the real server over HTTP, and what it knows when somebody puts an old log back.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use sealfeed_wire::SignedOp;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Pki, wait_until};
use crate::process::{ServerProcess, configure, connect, replay, run, verify};

const ORIGIN: &str = "sealfeed.local/log";

/// A `sealfeed witness` that listens. Killed when dropped.
struct WitnessProcess {
    child: Child,
    _stderr: BufReader<ChildStderr>,
    address: String,
    key: String,
}

impl WitnessProcess {
    fn start(folder: &Path, log_key: &Path, listen: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sealfeed"))
            .arg("witness")
            .arg(folder)
            .args(["--name", "witness.example/w1", "--listen", listen, "--log"])
            .arg(log_key)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = |prefix: &str| {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            line.trim().strip_prefix(prefix).unwrap_or_else(|| panic!("{line:?}")).to_owned()
        };
        let address = line("sealfeed: witness listening on http://");
        let key = line("sealfeed: its key is ");
        Self { child, _stderr: stderr, address, key }
    }

    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.address.clone()
    }

    /// Status line and body of the answer to raw bytes.
    fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // Whoever is refused early may find the connection reset; what came before counts.
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    fn post(&self, body: &str) -> (String, String) {
        let length = body.len();
        self.ask(&format!(
            "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

impl Drop for WitnessProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration whose log exists already, with its key; and what makes a witness known to it.
fn site(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let (log, escrow) = (folder.join("log"), folder.join("log.escrow"));
    let made = run(&[
        "audit",
        "init",
        log.to_str().unwrap(),
        "--escrow",
        escrow.to_str().unwrap(),
        "--origin",
        ORIGIN,
        "--segment-bytes",
        "1048576",
    ]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).unwrap();
    let k0 = fs::read_to_string(escrow.join("k0.hex")).unwrap();
    assert!(!said.contains(k0.trim()), "the secret is never printed");
    (folder.join("sealfeed.toml"), log, escrow.join("log.pub"))
}

fn with_witness(folder: &Path, witness: &str) {
    let more = format!(
        r#"
        checkpoint_ms = 10
        witness_interval_ms = 20
        witness_tolerance_ms = 200
        [[log.witness]]
        {witness}
        [[source]]
        type = "synthetic"
        symbols = ["SEAL"]
        messages_per_second = 50
        "#
    );
    configure(folder, &Pki::get().folder, &more);
}

fn remote(witness: &WitnessProcess) -> String {
    format!("url = \"http://{}\"\nkey = \"{}\"", witness.address, witness.key)
}

fn witnessed(log: &Path) -> Vec<Value> {
    replay(log, &["--kind", "log.witness"])
}

/// A cosigned checkpoint that the log kept.
fn kept(log: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(log.join("witnessed")).ok()?;
    files.map(|file| file.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "checkpoint"))
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}

async fn trade(server: &ServerProcess, name: &str) {
    let mut client = connect(server.address, &Pki::get().client("acme/bob")).await;
    let body = format!(
        r#"{{"cl_ord_id":"{name}","symbol":"SEAL","side":"buy","type":"limit","qty":"1","price":"1.00","tif":"ioc"}}"#
    );
    let reply = client.order(SignedOp::OrderNew, &body).await;
    assert!(reply.get("receipt").is_some(), "{reply}");
}

fn stop(server: ServerProcess) {
    server.signal(Signal::TERM);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_over_http_cosigns_the_log_and_an_old_copy_put_back_does_not_start() {
    let folder = TempDir::new().unwrap();
    let (config, log, key) = site(folder.path());
    let memory = folder.path().join("witness");
    let witness = WitnessProcess::start(&memory, &key, "127.0.0.1:0");
    with_witness(folder.path(), &remote(&witness));

    let server = ServerProcess::start(&config).unwrap();
    trade(&server, "first").await;
    assert!(wait_until(Duration::from_secs(20), || kept(&log).is_some()).await, "it is cosigned");
    stop(server);
    copy(&log, &folder.path().join("old"));

    // The witness is killed, and keeps its word all the same.
    let address = witness.kill();
    let witness = WitnessProcess::start(&memory, &key, &address);
    let server = ServerProcess::start(&config).unwrap();
    let before = fs::read(kept(&log).unwrap()).unwrap();
    trade(&server, "second").await;
    let more = wait_until(Duration::from_secs(20), || fs::read(kept(&log).unwrap()).unwrap() != before);
    assert!(more.await, "it goes on");
    stop(server);
    assert!(!witnessed(&log).is_empty());
    let anchor = kept(&log).unwrap();
    let verdict = verify(&log, &["--key", key.to_str().unwrap(), "--anchor", anchor.to_str().unwrap()]);
    assert_eq!(verdict.word(), "VERIFIED", "{verdict:?}");

    fs::remove_dir_all(&log).unwrap();
    copy(&folder.path().join("old"), &log);
    let bytes = fs::read(log.join("checkpoints")).unwrap();
    let Err(ended) = ServerProcess::start(&config) else { panic!("an old copy was started on") };
    assert_eq!(ended.status.code(), Some(71), "{ended:?}");
    assert!(ended.stderr.contains("witness.example/w1 knows more"), "{ended:?}");
    assert_eq!(fs::read(log.join("checkpoints")).unwrap(), bytes, "nothing was written");
    drop(witness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_on_another_disk_needs_no_process_and_knows_an_old_copy_too() {
    let folder = TempDir::new().unwrap();
    let (config, log, _) = site(folder.path());
    with_witness(folder.path(), "directory = \"elsewhere\"");
    let server = ServerProcess::start(&config).unwrap();
    copy(&log, &folder.path().join("old"));
    trade(&server, "first").await;
    assert!(wait_until(Duration::from_secs(20), || kept(&log).is_some()).await, "it is cosigned");
    stop(server);
    let again = ServerProcess::start(&config).unwrap();
    stop(again);
    fs::remove_dir_all(&log).unwrap();
    copy(&folder.path().join("old"), &log);
    let Err(ended) = ServerProcess::start(&config) else { panic!("an old copy was started on") };
    assert_eq!(ended.status.code(), Some(71), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_states_how_far_the_witness_had_seen_the_log() {
    let folder = TempDir::new().unwrap();
    let (config, log, _) = site(folder.path());
    with_witness(folder.path(), "directory = \"elsewhere\"");
    let server = ServerProcess::start(&config).unwrap();
    trade(&server, "first").await;
    assert!(wait_until(Duration::from_secs(20), || kept(&log).is_some()).await, "it is cosigned");
    server.signal(Signal::KILL);
    server.wait();
    let segments = fs::read_dir(log.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let last = segments.filter(|path| path.extension().is_some_and(|e| e == "seg")).max().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let torn = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 512;
    bytes[torn..torn + 100].fill(0x5a);
    fs::write(&last, bytes).unwrap();
    stop(ServerProcess::start(&config).unwrap());
    let entries = sealfeed_audit::reader::entries(&log).unwrap().map(Result::unwrap);
    let declared =
        entries.filter_map(|entry| sealfeed_audit::Recovery::from_payload(&entry.payload)).next().unwrap();
    let witnessed = (declared.witness_size, declared.checkpoint_size);
    assert!(
        witnessed.0 > 1 && witnessed.0 == witnessed.1,
        "asked at the start, it saw all that is signed: {witnessed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_is_gone_hinders_nothing_and_is_an_entry() {
    let folder = TempDir::new().unwrap();
    let (config, log, key) = site(folder.path());
    let witness = WitnessProcess::start(&folder.path().join("witness"), &key, "127.0.0.1:0");
    with_witness(folder.path(), &remote(&witness));
    drop(witness);
    let server = ServerProcess::start(&config).unwrap();
    trade(&server, "all-the-same").await;
    let told = || witnessed(&log).iter().any(|entry| entry["kind"] == "log.witness");
    assert!(wait_until(Duration::from_secs(20), told).await, "its silence is an entry");
    stop(server);
}

#[test]
fn a_witness_answers_every_request_in_the_protocols_words() {
    let folder = TempDir::new().unwrap();
    let (_, log, key) = site(folder.path());
    let witness = WitnessProcess::start(&folder.path().join("witness"), &key, "127.0.0.1:0");
    let checkpoint = fs::read_to_string(log.join("checkpoints")).unwrap();
    let checkpoint = checkpoint.strip_suffix('\n').unwrap();
    let status = |(status, _): (String, String)| status.split(' ').nth(1).unwrap_or_default().to_owned();
    let first = witness.post(&format!("old 0\n\n{checkpoint}"));
    assert!(first.0.contains("200") && first.1.starts_with("\u{2014} witness.example/w1 "), "{first:?}");
    let again = witness.post(&format!("old 0\n\n{checkpoint}"));
    assert_eq!((status(again.clone()).as_str(), again.1.as_str()), ("409", "1\n"));
    assert_eq!(status(witness.post("old 0\n\nno checkpoint")), "400");
    let forged = checkpoint.replacen("\n1\n", "\n2\n", 1);
    assert_eq!(status(witness.post(&format!("old 1\n\n{forged}"))), "403");
    let foreign = checkpoint.replacen(ORIGIN, "other.example/log", 1);
    assert_eq!(status(witness.post(&format!("old 0\n\n{foreign}"))), "404");
    assert_eq!(status(witness.post(&"x".repeat(200_000))), "413");
    assert_eq!(status(witness.ask("GET /add-checkpoint HTTP/1.1\r\nhost: w\r\n\r\n")), "405");
    assert_eq!(status(witness.ask("POST /else HTTP/1.1\r\nhost: w\r\ncontent-length: 0\r\n\r\n")), "404");
    let size = witness.post(&format!("old 1\n\n{checkpoint}"));
    assert!(size.0.contains("200"), "the same again is cosigned again: {size:?}");
}
