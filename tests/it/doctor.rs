//! `sealfeed doctor`: each way in which a connection can fail has its own words, its own fix and its own exit code.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sealfeed::clock::Clock;
use sealfeed_wire::UnixNanos;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{POLICY, Pki, Scene, Server};

/// The files of a client.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) folder: PathBuf,
    pub(crate) authorities: PathBuf,
}

impl Files {
    pub(crate) fn of(name: &str) -> Self {
        let folder = Pki::get().folder.join("clients").join(name);
        Self { authorities: folder.join("ca.pem"), folder }
    }
}

/// What the doctor said, and how it ended.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) code: i32,
    pub(crate) report: Value,
}

impl Diagnosis {
    pub(crate) fn step(&self, name: &str) -> &Value {
        let steps = self.report["steps"].as_array().unwrap();
        steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name}: {self:#?}"))
    }

    /// Asserts how a step ended, and that it says so.
    pub(crate) fn assert(&self, name: &str, status: &str, words: &str) {
        let step = self.step(name);
        assert_eq!(step["status"], status, "{name}: {self:#?}");
        let detail = step["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{name} does not say {words:?}: {detail}");
        if status == "failed" || status == "warning" {
            assert!(step["fix"].as_str().unwrap().ends_with('.'), "{step}");
        }
    }

    pub(crate) fn steps_that(&self, status: &str) -> Vec<&str> {
        let steps = self.report["steps"].as_array().unwrap().iter();
        steps.filter(|step| step["status"] == status).map(|step| step["name"].as_str().unwrap()).collect()
    }
}

pub(crate) fn command(url: &str, files: &Files, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
    command.args(["doctor", "--url", url, "--cacert"]).arg(&files.authorities);
    for (name, file) in [("--cert", "client.pem"), ("--key", "client.key"), ("--order-key", "order.key")] {
        command.arg(name).arg(files.folder.join(file));
    }
    command.args(more).stdin(Stdio::null());
    command
}

/// Runs the doctor to its end.
pub(crate) async fn examine(url: &str, files: &Files, more: &[&str]) -> Diagnosis {
    let mut command = command(url, files, more);
    command.arg("--json");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("no report: {text}{}", String::from_utf8_lossy(&output.stderr)));
    Diagnosis { code: output.status.code().unwrap(), report }
}

pub(crate) fn url(server: &Server) -> String {
    format!("wss://localhost:{}/v1/feed", server.address.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_connection_passes_every_step_trades_nothing_and_shows_no_secret() {
    let scene = Scene::start(|_| {}).await;
    let bob = Files::of("acme/bob");
    let found = examine(&url(&scene), &bob, &["--orders"]).await;
    assert_eq!((found.code, &found.report["ok"]), (0, &Value::Bool(true)), "{found:#?}");
    assert_eq!(found.steps_that("ok").len(), 17, "{found:#?}");
    found.assert("tls", "ok", "TLS 1.3, TLS13_AES");
    found.assert("server certificate", "ok", "localhost, 127.0.0.1");
    found.assert("welcome", "ok", "acme/bob on sealfeed/");
    found.assert("orders", "ok", "SF-ORD-036");
    let mut plain = command(&url(&scene), &bob, &["--orders"]);
    let output = tokio::task::spawn_blocking(move || plain.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("healthy; 17 ok, 0 warnings, 0 failed, 0 skipped"), "{text}");
    let secret = std::fs::read_to_string(bob.folder.join("order.key")).unwrap();
    assert!(!text.contains(secret.trim()) && !found.report.to_string().contains(secret.trim()));
    let without = examine(&url(&scene), &Files::of("acme/alice"), &[]).await;
    assert_eq!((without.code, without.steps_that("skipped")), (0, vec!["orders"]), "{without:#?}");
    let events = scene.end().await;
    let refused = events.iter().filter(|event| event.has_code("SF-ORD-036"));
    assert_eq!(refused.count(), 2, "each proof is sealed");
    assert!(!events.iter().any(|event| event.kind == "execution"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_is_told_in_words_what_the_alert_or_the_status_means() {
    let server = Server::start(|_| {}).await;
    let foreign = Pki::foreign().folder.join("clients/acme/alice");
    let foreign = Files { folder: foreign, authorities: Pki::get().server_authorities() };
    for (files, step, words, code, exit) in [
        (Files::of("acme/old"), "client certificate", "certificate_expired (45)", "SF-TLS-003", 1),
        (Files::of("acme/early"), "client certificate", "certificate_expired (45)", "SF-TLS-003", 1),
        (Files::of("acme/gone"), "client certificate", "certificate_revoked (44)", "SF-TLS-005", 3),
        (foreign, "client certificate", "unknown_ca (48)", "SF-TLS-002", 3),
        (Files::of("gamma/frank"), "upgrade", "HTTP 403", "SF-SES-005", 4),
    ] {
        let found = examine(&url(&server), &files, &[]).await;
        found.assert(step, "failed", words);
        assert_eq!((found.code, &found.step(step)["code"]), (exit, &Value::from(code)), "{found:#?}");
        found.assert("market data", "skipped", "an earlier step");
    }
    let old = examine(&url(&server), &Files::of("acme/old"), &[]).await;
    old.assert("certificate", "failed", "expired, 2025-01-01 to 2025-02-01");
    let early = examine(&url(&server), &Files::of("acme/early"), &[]).await;
    early.assert("certificate", "failed", "not valid yet");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_the_one_meant_is_named_as_what_it_is() {
    let server = Server::start(|config| config.server.listen = "0.0.0.0:0".parse().unwrap()).await;
    let port = server.address.port();
    let alice = Files::of("acme/alice");
    // The certificate is for localhost and 127.0.0.1.
    let found = examine(&format!("wss://127.0.0.2:{port}/v1/feed"), &alice, &[]).await;
    found.assert("server certificate", "failed", "is for localhost, 127.0.0.1, not for 127.0.0.2");
    assert_eq!(found.code, 3);
    let distrusts = Files { authorities: Pki::foreign().server_authorities(), ..alice.clone() };
    let found = examine(&format!("wss://127.0.0.1:{port}/v1/feed"), &distrusts, &[]).await;
    found.assert("server certificate", "failed", "whom the CA file does not vouch for");
    let found = examine(&format!("wss://127.0.0.1:{port}/other"), &alice, &[]).await;
    found.assert("upgrade", "failed", "HTTP 404");
    assert_eq!(found.step("upgrade")["code"], "SF-SES-001");
    let found = examine("wss://no-such-host.invalid:9443/v1/feed", &alice, &[]).await;
    found.assert("dns", "failed", "no-such-host.invalid");
    let found = examine(&format!("ws://127.0.0.1:{port}/v1/feed"), &alice, &[]).await;
    assert_eq!((found.code, found.steps_that("failed")), (2, vec!["files"]), "{found:#?}");
    found.assert("tcp", "skipped", "an earlier step");
    server.finish().await;
}

/// Something that listens and is no feed: what it does with each connection.
#[derive(Clone, Copy)]
enum Listener {
    SpeaksHttp,
    Greets,
    Closes,
    IsSilent,
}

async fn listen(listener: Listener) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://127.0.0.1:{}/v1/feed", socket.local_addr().unwrap().port());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = socket.accept().await {
            let said: &[u8] = match listener {
                Listener::SpeaksHttp => b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
                Listener::Greets => b"220 mail \x1b[2Jready\r\n",
                Listener::Closes => continue,
                Listener::IsSilent => {
                    held.push(stream);
                    continue;
                }
            };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(said).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_without_tls_is_told_from_what_does_not_answer() {
    let alice = Files::of("acme/alice");
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let found = examine(&format!("wss://{unused}/v1/feed"), &alice, &[]).await;
    found.assert("tcp", "failed", "nothing listens");
    assert_eq!(found.code, 3);
    for (listener, words) in [
        (Listener::SpeaksHttp, "speaks plain HTTP, not TLS: HTTP/1.1 400 Bad Request"),
        (Listener::Greets, r"is no TLS: it says 220 mail \x1b[2Jready"),
        (Listener::Closes, "closed the connection during the handshake without a word"),
        (Listener::IsSilent, "said nothing within"),
    ] {
        let timeout = if matches!(listener, Listener::IsSilent) { "300ms" } else { "10s" };
        let found = examine(&listen(listener).await, &alice, &["--timeout", timeout]).await;
        found.assert("tls", "failed", words);
        assert_eq!(found.code, 3);
    }
}

async fn server_whose_clock_is(shift_ns: i64, window_ms: u64) -> Server {
    let start = UnixNanos(Clock::System.now().0.checked_add_signed(shift_ns).unwrap());
    let change = |config: &mut sealfeed::config::Config| config.orders.window_ms = window_ms;
    Server::try_start_by(Clock::manual(start), TempDir::new().unwrap(), POLICY, change).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_measured_against_what_orders_may_be_off() {
    let behind = server_whose_clock_is(-10_000_000_000, 5_000).await;
    let found = examine(&url(&behind), &Files::of("acme/bob"), &[]).await;
    found.assert("clock skew", "failed", "ahead of the server");
    assert_eq!((found.code, &found.step("clock skew")["code"]), (1, &Value::from("SF-ORD-004")));
    let found = examine(&url(&behind), &Files::of("acme/alice"), &[]).await;
    found.assert("clock skew", "warning", "ahead of the server");
    assert_eq!(found.code, 0, "who sends no orders has nothing refused");
    drop(behind);
    let ahead = server_whose_clock_is(50_000_000_000, 60_000).await;
    let found = examine(&url(&ahead), &Files::of("acme/bob"), &[]).await;
    found.assert("clock skew", "warning", "behind the server");
}

fn copy(from: &Path, to: &Path, name: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::copy(from.join(name), to.join(name)).unwrap();
    std::fs::set_permissions(to.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_exposed_mixed_up_or_missing_are_found_before_anything_is_sent() {
    let (alice, bob) = (Files::of("acme/alice").folder, Files::of("acme/bob").folder);
    let mixed = TempDir::new().unwrap();
    let files = Files { folder: mixed.path().to_owned(), authorities: alice.join("ca.pem") };
    for (from, name) in [(&alice, "client.pem"), (&bob, "client.key"), (&alice, "order.key")] {
        copy(from, mixed.path(), name, 0o644);
    }
    let nowhere = "wss://127.0.0.1:1/v1/feed";
    let found = examine(nowhere, &files, &[]).await;
    found.assert("files", "warning", "client.key (mode 644)");
    found.assert("key", "failed", "does not belong to the certificate");
    assert_eq!(found.code, 2);
    std::fs::remove_file(mixed.path().join("client.key")).unwrap();
    let found = examine(nowhere, &files, &[]).await;
    found.assert("files", "failed", "client.key");
    assert_eq!(found.code, 2);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
    command.args(["doctor", "--json", "--context", "/nowhere/context.toml"]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["steps"][0]["status"]), (Some(2), &Value::from("failed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_a_warning_and_the_rest_goes_on() {
    let server = Server::start(|_| {}).await;
    let folder = TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    pki.run(&["client", "acme/soon", "--role", "viewer", "--days", "5"]);
    let soon =
        Files { folder: pki.folder.join("clients/acme/soon"), authorities: Pki::get().server_authorities() };
    let found = examine(&url(&server), &soon, &[]).await;
    found.assert("certificate", "warning", "days left");
    found.assert("market data", "ok", "the first message");
    assert_eq!(found.code, 0, "{found:#?}");
    server.finish().await;
}

#[test]
fn explain_takes_what_a_person_has_in_hand_and_says_so_as_json_too() {
    let explain = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
        let output = command.arg("explain").args(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = explain(&["ord-2"]);
    assert!(code == 0 && text.starts_with("SF-ORD-002: "), "{text}");
    assert!(text.contains("It appears in the metric sealfeed_refusals_total"), "{text}");
    let (code, text) = explain(&["4501", "--json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &value["kind"], &value["code"]), (0, &"close code".into(), &"4501".into()));
    assert!(value["explain"].as_str().unwrap().contains("SF-SES-032"), "{value}");
    assert!(explain(&["certificate_revoked"]).1.contains("(44): the certificate was revoked"));
    assert!(explain(&["exit", "70"]).1.starts_with("70: the sealed log failed"));
    assert_eq!(explain(&["001"]).0, 2, "several areas have one");
    let all: Value = serde_json::from_str(&explain(&["--json"]).1).unwrap();
    assert_eq!(all.as_array().unwrap().len(), sealfeed_wire::Code::all().count());
}
