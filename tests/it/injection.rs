//! What a peer writes is read by people: in log files, in what the commands print, on the terminals of clients. None of it may begin a
//! line, colour one, move a cursor or turn the direction of text, whatever door it comes in by.
//!
//! Markup and templates (`<script>`, `${jndi:...}`) are plain text in all these places, which nothing interprets: they may stand there,
//! on the line of their event.

use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sealfeed_wire::{SessionId, SignedOp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};

use crate::harness::{
    Client, Frame, Identity, Pki, UPGRADE, configuration, fresh_address, read_answer, self_signed, soon,
    tcp_from,
};
use crate::orders::{assert_accepted, resting};
use crate::outputs::{Place, printed, stop, telemetry};
use crate::process::{ServerProcess, configure, connect};

/// What a forged line would begin with.
const FORGED: &str = "2031-01-01T00:00:00Z forged";

/// Texts that do something where they are shown.
fn hostile() -> Vec<String> {
    vec![
        "\u{1b}[2J\u{1b}[31mred".to_owned(),
        "\u{1b}]0;title\u{7}".to_owned(),
        format!("a\r\n{FORGED}"),
        format!("a\n{FORGED}\u{85}{FORGED}\u{2028}{FORGED}"),
        "a\0b\u{8}\u{8}c\td".to_owned(),
        "\u{9b}31m\u{90}q\u{9c}".to_owned(),
        "\u{7f}\u{200b}\u{feff}\u{e0041}".to_owned(),
        "\u{202e}drowssap\u{2066}x\u{2069}".to_owned(),
        "<script>alert(1)</script>&\"'`".to_owned(),
        "${jndi:ldap://x/a}%n%s{0}$(id)`id`".to_owned(),
        "=cmd|' /C calc'!A0".to_owned(),
        "x".repeat(2_000),
    ]
}

/// Whether a terminal would obey this character, or nobody would see it.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// What is wrong with text for people; `None` if every line is one that we began, and nothing in it steers.
fn fault(bytes: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Some("it is no UTF-8".to_owned()) };
    let bad = |line: &&str| line.contains(steers) || line.trim_start().starts_with(FORGED);
    // Not `lines`: it would take a carriage return for a part of the line end.
    text.split('\n').find(bad).map(|line| line.escape_debug().to_string())
}

fn assert_harmless(places: &[Place]) {
    for (place, bytes) in places {
        assert_eq!(fault(bytes), None, "{place}");
    }
}

/// Asserts that no text of an answer steers, but for what is the peer's own to be given back.
fn assert_answer_harmless(answer: &Value) {
    match answer {
        Value::String(text) => assert!(!text.contains(steers), "{answer}"),
        Value::Array(list) => list.iter().for_each(assert_answer_harmless),
        Value::Object(fields) => {
            for (name, value) in fields {
                assert!(!name.contains(steers), "{answer}");
                if !matches!(name.as_str(), "id" | "echo") {
                    assert_answer_harmless(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn what_steers_a_terminal_or_forges_a_line_is_found() {
    for text in hostile().iter().take(8) {
        assert!(fault(format!("2026 INFO what=\"{text}\"\n").as_bytes()).is_some(), "{text:?}");
    }
    assert_eq!(fault(b"2026 INFO what=\"<script>${jndi}\\u{1b}\"\n2026 INFO next\n"), None);
}

/// Certificates whose attributes are hostile, from nobody's authority and from ours.
async fn certificates(server: &ServerProcess, pki: &Pki) {
    for text in hostile() {
        let short: String = text.chars().take(100).collect();
        for who in [
            self_signed(&text, &text),
            pki.issue_against_the_rules("acme", &short, ExtendedKeyUsagePurpose::ClientAuth),
            pki.issue_against_the_rules(&short, "alice", ExtendedKeyUsagePurpose::ServerAuth),
        ] {
            refused(server, &who).await;
        }
    }
}

async fn refused(server: &ServerProcess, who: &Identity) {
    let tcp = tcp_from(fresh_address(), server.address).await;
    let connector = TlsConnector::from(Arc::new(configuration(who)));
    let Ok(mut tls) = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await else {
        return;
    };
    // In TLS 1.3 the server's refusal comes with the first read.
    assert!(soon("the refusal", tls.read_exact(&mut [0])).await.is_err(), "it was let in");
}

/// Handshakes that ask for a hostile host, and first bytes that are none.
async fn server_names(server: &ServerProcess, pki: &Pki) {
    let tls = Arc::new(configuration(&pki.client("acme/alice")));
    for text in hostile() {
        let mut label = text.into_bytes();
        label.resize(40, b'x');
        let name = format!("{}.example", "n".repeat(label.len()));
        let mut client =
            rustls::ClientConnection::new(Arc::clone(&tls), ServerName::try_from(name).unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let at =
            hello.windows(label.len()).position(|window| window.iter().all(|byte| *byte == b'n')).unwrap();
        hello[at..at + label.len()].copy_from_slice(&label);
        for first in [&hello[..], &label] {
            let mut tcp = tcp_from(fresh_address(), server.address).await;
            tcp.write_all(first).await.unwrap();
            tcp.shutdown().await.unwrap();
            // Whatever it answers, it ends.
            let _ = soon("the end", tcp.read_to_end(&mut Vec::new())).await;
        }
    }
}

/// Upgrades whose path or a header is hostile.
async fn upgrades(server: &ServerProcess, pki: &Pki) {
    let alice = pki.client("acme/alice");
    for text in hostile() {
        let mut requests = vec![
            UPGRADE.replace("/v1/feed", &format!("/{text}")) + "\r\n",
            UPGRADE.replace("/v1/feed", &format!("/v1/feed?{text}")) + "\r\n",
            UPGRADE.replace("Host: localhost", &format!("Host: {text}")) + "\r\n",
            UPGRADE.replace("GET", &text) + "\r\n",
            format!("{UPGRADE}{text}: x\r\n\r\n"),
        ];
        for name in ["Origin", "User-Agent", "Sec-WebSocket-Protocol", "Authorization", "Cookie"] {
            requests.push(format!("{UPGRADE}{name}: {text}\r\n\r\n"));
        }
        for request in requests {
            let tcp = tcp_from(fresh_address(), server.address).await;
            let connector = TlsConnector::from(Arc::new(configuration(&alice)));
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = soon("the handshake", connector.connect(name, tcp)).await.unwrap();
            tls.write_all(request.as_bytes()).await.unwrap();
            let answer = read_answer(&mut tls).await;
            let lines: Vec<&str> = answer.head.split("\r\n").collect();
            assert!(lines.iter().all(|line| !line.contains(steers)), "{answer:?}");
            if answer.status != 101 {
                assert_answer_harmless(&answer.json());
            }
        }
    }
}

/// Requests whose every text is hostile.
async fn requests(server: &ServerProcess, pki: &Pki) {
    let bob = pki.client("acme/bob");
    for text in hostile() {
        let mut client = connect(server.address, &bob).await;
        let body = |field: &str| {
            let mut body: Value = serde_json::from_str(&resting("c-9")).unwrap();
            body[field] = text.as_str().into();
            body.to_string()
        };
        let mut frames = vec![
            json!({"op": text.as_str()}),
            json!({"op": "ping", "id": text.as_str()}),
            json!({"op": "ping", "id": 1, "echo": text.as_str()}),
            json!({"op": "ping", "id": 1, text.as_str(): text.as_str()}),
            json!({"op": "subscribe", "id": 1, "channel": text.as_str(), "symbols": ["SEAL"]}),
            json!({"op": "subscribe", "id": 1, "channel": "bbo", "symbols": [text.as_str()]}),
            json!({"op": "subscribe", "id": 1, "channel": "bbo", "symbols": ["SEAL"], "on_slow": text.as_str()}),
            json!({"op": "order.status", "id": 1, "cl_ord_id": text.as_str()}),
            json!({"op": "order.new", "id": 1, "ts": text.as_str(), "nonce": "00", "mac": "00", "body": {}}),
        ];
        let mut answers = Vec::new();
        for field in ["cl_ord_id", "symbol", "side", "type", "price", "qty", "tif", text.as_str()] {
            answers.push(client.order(SignedOp::OrderNew, &body(field)).await);
        }
        let kill = json!({"scope": "symbol", "target": "FEED", "action": "release", "reason": text.as_str()});
        answers.push(client.order(SignedOp::AdminKill, &kill.to_string()).await);
        let halt = json!({"symbol": text.as_str(), "state": text.as_str(), "reason": text.as_str()});
        answers.push(client.order(SignedOp::AdminTrading, &halt.to_string()).await);
        // The first malformed ones are answered, and then the session is ended for them: each gets a session of its own.
        for frame in frames.drain(..) {
            answers.push(client.ask(frame.to_string()).await);
            if answers.len() % 4 == 0 {
                client = connect(server.address, &bob).await;
            }
        }
        answers.iter().for_each(assert_answer_harmless);
        for (first, payload) in [
            (0x89, text.as_bytes()),
            (0x8a, text.as_bytes()),
            (0x88, &[&1_000_u16.to_be_bytes(), text.as_bytes()].concat()),
        ] {
            let payload = &payload[..payload.len().min(120)];
            let payload = std::str::from_utf8(&payload[2..]).map_or(&payload[..2], |_| payload);
            client.send_raw(&Frame { first, masked: true, payload }.bytes()).await;
        }
        client.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_peer_writes_steers_a_log_file_or_what_a_command_prints() {
    let operators =
        "\n[[rule]]\nname = \"operators\"\nmatch = { user = \"bob\" }\nadmin = [\"kill\", \"trading\"]\n";
    for format in ["text", "json"] {
        let folder = TempDir::new().unwrap();
        let pki = Pki::get();
        let limits = "[limits]\nmalformed_max = 1000\n";
        let config = configure(folder.path(), &pki.folder, &(telemetry(format) + limits));
        let policy = folder.path().join("entitlements.toml");
        let rules = std::fs::read_to_string(&policy).unwrap() + operators;
        std::fs::write(&policy, rules).unwrap();
        let server = ServerProcess::start(&config).unwrap();
        certificates(&server, pki).await;
        server_names(&server, pki).await;
        upgrades(&server, pki).await;
        requests(&server, pki).await;
        let mut bob = connect(server.address, &pki.client("acme/bob")).await;
        assert_accepted(&bob.order(SignedOp::OrderNew, &resting("c-1")).await);
        bob.leave();
        let left = stop(server, folder.path());
        assert_harmless(&left);
        let text: String = left.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
        assert!(text.contains("jndi"), "what the peers wrote is not in the log at all: nothing was tested");
        let log = folder.path().join("log");
        let printed = printed(&log, "c-1");
        assert_harmless(&printed);
        let text: String = printed.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
        assert!(
            text.contains("jndi") && text.contains("drowssap"),
            "the sealed log does not have what they wrote"
        );
    }
}

/// Every text in a message but its type and what binds it, replaced.
fn poison(message: &mut Value, text: &str) {
    match message {
        Value::String(old) => text.clone_into(old),
        Value::Array(list) => list.iter_mut().for_each(|value| poison(value, text)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_kept = ["type", "session", "binding", "ts", "epoch", "status"]
                    .contains(&name.as_str())
                    || name.starts_with("ts_");
                if !is_kept {
                    poison(value, text);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A server that says `welcome` with hostile texts, answers every request with a hostile error, and closes with a hostile reason.
async fn lie(listener: TcpListener, tls: TlsAcceptor, welcome: Value, error: Value, text: String) {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

    loop {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let Ok(stream) = tls.accept(tcp).await else { continue };
        let exported =
            stream.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
        #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let agree = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            if request.headers().contains_key("sec-websocket-protocol") {
                let protocol = "sealfeed.v1.json".parse().unwrap();
                response.headers_mut().insert("sec-websocket-protocol", protocol);
            }
            Ok(response)
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, agree).await else { continue };
        let mut first = welcome.clone();
        first["session"] = SessionId(exported.unwrap()).to_string().into();
        let _ = socket.send(Message::text(first.to_string())).await;
        let mut notice = json!({"type": "no such type", "text": text.as_str()});
        notice["type"] = text.as_str().into();
        let _ = socket.send(Message::text(notice.to_string())).await;
        if let Some(Ok(Message::Text(request))) = socket.next().await {
            let request: Value = serde_json::from_str(&request).unwrap_or_default();
            let mut answer = error.clone();
            answer["id"] = request["id"].clone();
            let _ = socket.send(Message::text(answer.to_string())).await;
        }
        let reason: String = text.chars().take(40).collect();
        let frame = CloseFrame { code: CloseCode::Library(4_501), reason: reason.into() };
        let _ = socket.close(Some(frame)).await;
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// What the commands of clients show, with colours on, of a server that lies.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_server_says_steers_the_terminal_of_a_client() {
    let pki = Pki::get();
    let server = crate::harness::Server::start(|_| {}).await;
    let mut bob: Client = server.connect(&pki.client("acme/bob")).await;
    let (welcome, error) = (bob.welcome.clone(), bob.ask(r#"{"op":"nothing","id":1}"#).await);
    assert_eq!(error["type"], "error");
    bob.leave();
    server.finish().await;

    let folder = pki.folder.join("servers/localhost");
    let chain =
        CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let mut shown = 0;
    for text in hostile() {
        let (mut welcome, mut error) = (welcome.clone(), error.clone());
        poison(&mut welcome, &text);
        poison(&mut error, &text);
        // What is granted has to be read before anything is shown.
        welcome["entitlement"] = json!({"channels": [], "orders": null});
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://localhost:{}/v1/feed", listener.local_addr().unwrap().port());
        let lying = tokio::spawn(lie(listener, acceptor.clone(), welcome, error, text.clone()));
        for line in [
            &["watch", "SEAL", "--count", "1"][..],
            &["watch", "SEAL", "--channel", "trades", "--count", "1", "--output", "table"],
            &["book", "SEAL", "--once"],
            &["order", "new", "SEAL", "buy", "1", "1.00", "--id", "c-1"],
            &["order", "status", "c-1"],
            &["admin", "kill", "--firm", "acme", "--reason", "drill"],
        ] {
            let output = command(pki, &url, line).await;
            let everything = [&output.stdout[..], &output.stderr].concat();
            assert!(!everything.is_empty() && !output.status.success(), "{line:?}: {output:?}");
            assert_eq!(fault(&everything), None, "{line:?} of {text:?}");
            shown += usize::from(everything.windows(5).any(|window| window == b"jndi:"));
        }
        lying.abort();
    }
    assert!(shown > 0, "no command showed what the server said: nothing was tested");
}

async fn command(pki: &Pki, url: &str, line: &[&str]) -> std::process::Output {
    let client = pki.folder.join("clients/acme/bob");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
    // As on a terminal: otherwise escape sequences are taken out on the way.
    command.env("CLICOLOR_FORCE", "1").args(line).args(["--url", url]);
    let mut files = vec![("--cert", "client.pem"), ("--key", "client.key"), ("--cacert", "ca.pem")];
    if matches!(line[0], "order" | "admin") {
        files.push(("--order-key", "order.key"));
    }
    for (name, file) in files {
        command.arg(name).arg(client.join(file));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    soon("the command's end", running).await.unwrap()
}
