//! `sealfeed doctor --security`: our server passes every check and its log tells of each fault; a server that lets everybody in fails
//! them, so that a pass means something.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sealfeed::journal::escrow_directory;
use sealfeed_wire::SessionId;
use sealfeed_wire::reply::Welcome;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::doctor::{Files, examine, url};
use crate::harness::{Pki, Server};

#[tokio::test(flavor = "multi_thread")]
async fn our_server_passes_every_check_and_its_log_tells_of_every_fault() {
    let server = Server::start(|_| {}).await;
    let log = server.log();
    let key = escrow_directory(&log).join("log.pub");
    let more = ["--security", "--log", log.to_str().unwrap(), "--log-key", key.to_str().unwrap()];
    let found = examine(&url(&server), &Files::of("acme/alice"), &more).await;
    assert_eq!((found.code, &found.report["failed"]), (0, &json!(0)), "{found:#?}");
    assert_eq!(found.steps_that("skipped"), Vec::<&str>::new(), "{found:#?}");
    found.assert("S1 TLS 1.2", "pass", "the alert protocol_version");
    found.assert("S2 no certificate", "pass", "the alert certificate_required");
    found.assert("S2 self-signed", "pass", "the alert unknown_ca");
    found.assert("S12 replay", "pass", "SF-ORD-003");
    found.assert("S10 flood", "pass", "closed with 4005");
    found.assert("S10 ban", "pass", "SF-SES-047");
    found.assert("S14 log", "pass", "all ");
    // Who comes again too soon is told so, and it is no failure of the server.
    let again = examine(&url(&server), &Files::of("acme/alice"), &["--security"]).await;
    assert_eq!(again.code, 3, "{again:#?}");
    let (events, _) = server.finish().await;
    let bans = events.iter().filter(|event| event.kind == "ban").count();
    assert_eq!(bans, 1, "the three ends at the end, and nothing before them");
    assert!(!events.iter().any(|event| event.kind == "order"), "nothing was traded");
}

/// TLS 1.3 without client certificates, any path, any origin, any protocol, compression, and a friendly answer to everything.
async fn weak_server() -> SocketAddr {
    let folder = Pki::get().folder.join("servers/localhost");
    let chain =
        CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { befriend(stream, &acceptor).await });
        }
    });
    address
}

async fn befriend(stream: TcpStream, acceptor: &TlsAcceptor) -> Option<()> {
    let mut tls = acceptor.accept(stream).await.ok()?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        (tls.read_buf(&mut request).await.ok()? > 0).then_some(())?;
    }
    let request = String::from_utf8(request).ok()?;
    let key = request.split("Sec-WebSocket-Key: ").nth(1)?.split("\r\n").next()?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    tls.write_all(answer.as_bytes()).await.ok()?;
    let exported =
        tls.get_ref().1.export_keying_material([0; 32], Welcome::EXPORTER_LABEL, Some(&[])).ok()?;
    let welcome = json!({
        "type": "welcome", "session": SessionId(exported).to_string(), "binding": Welcome::BINDING, "principal": "any/body",
        "server": "weak/1", "ts": "1790000000000000000", "entitlement": {"channels": [], "orders": null},
        "limits": {
            "message_bytes_max": 8192, "subscriptions_max": 1, "sessions_max": 1, "queue_bytes_max": 1, "malformed_max": 3,
            "malformed_interval_ms": 10_000, "rates": [{"name": "messages", "limit": 10, "interval_ms": 1_000}],
        },
        "order_window_ms": 5_000, "heartbeat_ms": 5_000,
    });
    let mut socket = WebSocketStream::from_raw_socket(tls, Role::Server, None).await;
    socket.send(Message::text(welcome.to_string())).await.ok()?;
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let id = serde_json::from_str::<Value>(&text).map_or(Value::Null, |message| message["id"].clone());
        socket.send(Message::text(json!({"type": "pong", "id": id}).to_string())).await.ok()?;
    }
    // Not even a close frame.
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_everybody_in_fails_the_checks() {
    let address = weak_server().await;
    let url = format!("wss://localhost:{}/v1/feed", address.port());
    let found = examine(&url, &Files::of("acme/alice"), &["--security", "--timeout", "3s"]).await;
    assert_eq!(found.code, 1, "{found:#?}");
    let failed = found.steps_that("failed");
    for name in [
        "S2 no certificate",
        "S2 no 101",
        "S2 self-signed",
        "S2 wrong path",
        "S6 foreign origin",
        "S7 unknown protocol",
        "S7 compression",
        "S4 resumption",
        "S7 binary frame",
        "S7 unmasked frame",
        "S7 reserved bits",
        "S7 control frame",
        "S7 invalid UTF-8",
        "S7 oversized message",
        "S7 unknown op",
        "S7 unknown field",
        "S7 malformed",
        "S12 tampered",
        "S12 other session",
        "S12 old",
        "S12 replay",
        "S10 fragments",
        "S7 malformed repeated",
        "S10 flood",
    ] {
        assert!(failed.contains(&name), "{name} passed: {found:#?}");
    }
    found.assert("S2 no 101", "failed", "came a 101");
    found.assert("S14 log", "skipped", "--log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_on_another_machine_needs_a_yes() {
    let alice = Files::of("acme/alice");
    // TEST-NET-1: nobody is there. The address is refused before anything is sent.
    let mut command =
        crate::doctor::command("wss://192.0.2.1:9443/v1/feed", &alice, &["--security", "--timeout", "300ms"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("is not this machine") && said.contains("--yes") && said.contains("SF-CLI-005"),
        "{said}"
    );
}
