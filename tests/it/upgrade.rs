//! The HTTP upgrade: every fault has its status, its JSON body and its entry, and costs nobody else anything.

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::harness::{HttpAnswer, Identity, Pki, Scene, UPGRADE, read_answer};

/// A session's principal in these tests.
const ALICE: &str = "acme/alice";

/// Asserts status, body and entry of one refusal.
async fn assert_refused(scene: &Scene, answer: &HttpAnswer, address: &str, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let texts = |field: &str| answer.json()[field].as_str().is_some_and(|text| !text.is_empty());
    assert!(texts("message") && texts("hint"), "{answer:?}");
    let logged = scene.logged("upgrade_refused", |event| event.text("address") == address).await;
    assert_eq!((logged.text("code"), &logged.fields["status"]), (code, &Value::from(status)));
}

async fn refused(scene: &mut Scene, who: &Identity, request: impl AsRef<[u8]>, status: u16, code: &str) {
    let (answer, address) = scene.http(who, &request).await;
    assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(request.as_ref()));
    assert_refused(scene, &answer, &address, status, code).await;
    let logged = scene.logged("upgrade_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("principal"), ALICE);
    scene.bystander_is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_no_upgrade_of_ours_is_refused_with_its_status_and_code() {
    let (mut scene, alice) = (Scene::start(|_| {}).await, Pki::get().client(ALICE));
    let changed = |from: &str, to: &str| {
        assert!(UPGRADE.contains(from));
        format!("{}\r\n", UPGRADE.replace(from, to))
    };
    let with = |headers: &str| format!("{UPGRADE}{headers}\r\n\r\n");
    for (request, status, code) in [
        (changed("/v1/feed", "/"), 404, "SF-SES-001"),
        (changed("/v1/feed", "/v1/feed/"), 404, "SF-SES-001"),
        (changed("/v1/feed", "/v1/feed?token=secret"), 404, "SF-SES-001"),
        (changed("/v1/feed", "/v1/../v1/feed"), 404, "SF-SES-001"),
        (changed("/v1/feed", "/v1/%66eed"), 404, "SF-SES-001"),
        (changed("HTTP/1.1", "HTTP/1.0"), 400, "SF-SES-002"),
        (changed("HTTP/1.1", "HTTP/2"), 400, "SF-SES-002"),
        (changed("GET", "POST"), 400, "SF-SES-002"),
        (changed("Connection: Upgrade\r\n", ""), 400, "SF-SES-002"),
        (changed("Upgrade: websocket\r\n", ""), 400, "SF-SES-002"),
        (changed("Upgrade: websocket", "Upgrade: h2c"), 400, "SF-SES-002"),
        (changed("Sec-WebSocket-Version: 13\r\n", ""), 400, "SF-SES-002"),
        (changed("Version: 13", "Version: 12"), 400, "SF-SES-002"),
        (changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400, "SF-SES-002"),
        (changed("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400, "SF-SES-002"),
        (changed("Host: localhost\r\n", ""), 400, "SF-SES-002"),
        (changed("Host: localhost", "Host localhost"), 400, "SF-SES-002"),
        (changed("Host: localhost", "Host : localhost"), 400, "SF-SES-002"),
        (with("Host: other"), 400, "SF-SES-002"),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "SF-SES-002"),
        (with("Content-Length: 5"), 400, "SF-SES-002"),
        (with("Transfer-Encoding: chunked"), 400, "SF-SES-002"),
        (with("X: a\0b"), 400, "SF-SES-002"),
        (with("X: a\r\n folded: line"), 400, "SF-SES-002"),
        (with(&["X: y"; 80].join("\r\n")), 400, "SF-SES-002"),
        (with(&format!("X: {}", "y".repeat(9_000))), 400, "SF-SES-010"),
        (with("Origin: https://evil.example"), 403, "SF-SES-003"),
        (with("Origin: null"), 403, "SF-SES-003"),
        (with("Origin: https://desk.example.evil"), 403, "SF-SES-003"),
        (with("Origin: https://desk.example\r\nOrigin: https://evil.example"), 400, "SF-SES-002"),
        (with("Sec-WebSocket-Protocol: chat"), 426, "SF-SES-004"),
        (with("Sec-WebSocket-Protocol: SEALFEED.V1.JSON"), 426, "SF-SES-004"),
        ("\u{16}\u{3}\u{1} no HTTP at all\r\n\r\n".to_owned(), 400, "SF-SES-002"),
    ] {
        refused(&mut scene, &alice, &request, status, code).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_origin_and_our_protocol_among_others_are_let_in() {
    let (scene, alice) = (Scene::start(|_| {}).await, Pki::get().client(ALICE));
    scene.connect_with(&alice, "Origin: https://desk.example\r\n").await.goes_on().await;
    let offer = "Sec-WebSocket-Protocol: chat, sealfeed.v1.json\r\n";
    let mut tls = scene.tls(&alice).await;
    tls.write_all(format!("{UPGRADE}{offer}\r\n").as_bytes()).await.unwrap();
    let answer = read_answer(&mut tls).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("sealfeed.v1.json")));
    let with_extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut tls = scene.tls(&alice).await;
    tls.write_all(format!("{UPGRADE}{with_extension}\r\n").as_bytes()).await.unwrap();
    let answer = read_answer(&mut tls).await;
    assert_eq!((answer.status, answer.header("sec-websocket-extensions")), (101, None), "{answer:?}");
    drop(tls);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_wrong_protocol_names_the_right_one() {
    let (scene, alice) = (Scene::start(|_| {}).await, Pki::get().client(ALICE));
    let request = format!("{UPGRADE}Sec-WebSocket-Protocol: chat\r\n\r\n");
    let (answer, _) = scene.http(&alice, request).await;
    assert_eq!(answer.header("sec-websocket-protocol"), Some("sealfeed.v1.json, sealfeed.v1.dbn"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_is_cut_off_with_an_answer() {
    let scene = Scene::start(|config| config.limits.upgrade_timeout_ms = 400).await;
    let alice = Pki::get().client(ALICE);
    for request in [UPGRADE, ""] {
        let (answer, address) = scene.http(&alice, request).await;
        assert_refused(&scene, &answer, &address, 400, "SF-SES-009").await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_writes_into_its_request_reaches_the_log_escaped() {
    let (scene, alice) = (Scene::start(|_| {}).await, Pki::get().client(ALICE));
    let request = format!("{}\r\n", UPGRADE.replace("/v1/feed", "/\u{1b}[31m\u{85}"));
    let (answer, _) = scene.http(&alice, &request).await;
    assert!(matches!(answer.status, 400 | 404), "{answer:?}");
    for hostile in ["Origin: https://a\tb\u{9b}31m", "Sec-WebSocket-Protocol: a\tb\u{9b}31m"] {
        let (answer, _) = scene.http(&alice, format!("{UPGRADE}{hostile}\r\n\r\n")).await;
        assert!(matches!(answer.status, 403 | 426), "{answer:?}");
    }
    let agent = format!("User-Agent: \ta\u{9b}31m\u{202e}{}\r\n", "z".repeat(500));
    let mut session = scene.connect_with(&alice, &agent).await;
    session.goes_on().await;
    let connect = scene.logged("connect", |event| event.text("address") == session.address).await;
    assert!(connect.text("user_agent").contains("zzz"), "{}", connect.fields);
    assert!(connect.text("user_agent").len() <= 1_000, "it is cut");
    drop(session);
    for event in scene.end().await {
        let raw = ["detail", "user_agent"].map(|field| event.text(field)).concat();
        assert!(raw.chars().all(|char| (' '..='~').contains(&char)), "{raw:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_has_only_so_many_sessions_and_is_told_when_to_come_back() {
    let policy = format!(
        "{}\n[[rule]]\nname = \"few\"\nmatch = {{ user = \"alice\" }}\nlimits = {{ sessions_max = 2 }}",
        crate::harness::POLICY
    );
    let scene = Scene::with_policy(&policy, |_| {}).await;
    let alice = Pki::get().client(ALICE);
    let mut first = scene.connect(&alice).await;
    let mut second = scene.connect(&alice).await;
    let (answer, address) = scene.http(&alice, format!("{UPGRADE}\r\n")).await;
    assert_refused(&scene, &answer, &address, 429, "SF-SES-007").await;
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after));
    first.goes_on().await;
    second.goes_on().await;
    first.ask(r#"{"op":"logout","id":1}"#).await;
    assert_eq!(first.ended().await.0.code, Some(1000));
    scene.logged("disconnect", |event| event.session == Some(first.session.to_string())).await;
    drop(first);
    let is_let_in = async { while scene.http(&alice, format!("{UPGRADE}\r\n")).await.0.status != 101 {} };
    crate::harness::soon("a place for the principal", is_let_in).await;
    drop(second);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_that_is_entitled_to_nothing_is_refused() {
    let (scene, frank) = (Scene::start(|_| {}).await, Pki::get().client("gamma/frank"));
    let (answer, address) = scene.http(&frank, format!("{UPGRADE}\r\n")).await;
    assert_refused(&scene, &answer, &address, 403, "SF-SES-005").await;
    let logged = scene.logged("upgrade_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("principal"), "gamma/frank");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_says_so_and_takes_nobody_new() {
    let (mut scene, alice) = (Scene::start(|_| {}).await, Pki::get().client(ALICE));
    let mut waiting = scene.tls(&alice).await;
    let address = waiting.get_ref().0.local_addr().unwrap().to_string();
    scene.running().shutdown().stop(sealfeed::shutdown::StopReason::Requested("test"));
    let (ended, messages) = scene.bystander().ended().await;
    assert_eq!(ended.code, Some(1012), "{ended:?}");
    assert_eq!(messages.last().map(|message| &message["type"]), Some(&"server_shutdown".into()));
    waiting.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    let answer = read_answer(&mut waiting).await;
    assert_refused(&scene, &answer, &address, 503, "SF-SES-008").await;
    assert!(answer.header("retry-after").is_some());
    assert!(tokio::net::TcpStream::connect(scene.address).await.is_err(), "nobody listens any more");
    drop(waiting);
    scene.stop().await;
}
