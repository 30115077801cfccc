//! The door: TLS, and limits on connections. Who is refused here sees a TLS alert or nothing; the reason stands in
//! the log. The HTTP upgrade has a file of its own.

use std::net::Ipv4Addr;
use std::process::Command;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::AlertDescription as Alert;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{
    Identity, LIMIT, Pki, Scene, UPGRADE, fresh_address, self_signed, soon, tcp_from, wait_until,
};

/// Shows a certificate and asserts all of its refusal: the alert, the code, and whom the log names.
async fn refused(scene: &mut Scene, who: &Identity, alert: Alert, code: &str, claim: &str) {
    let (seen, address) = scene.refused_handshake(who).await;
    let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
    assert_eq!((seen, logged.text("code")), (alert, code), "{}", logged.fields);
    assert!(logged.text("claimed_subject").contains(claim), "{}", logged.fields);
    assert_eq!(logged.text("claimed_subject").is_empty(), claim.is_empty(), "{}", logged.fields);
    assert_eq!(logged.text("claimed_serial").is_empty(), claim.is_empty(), "{}", logged.fields);
    scene.bystander_is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_good_is_refused_with_an_alert_and_its_reason_and_claim_are_logged() {
    let (mut scene, pki) = (Scene::start(|_| {}).await, Pki::get());
    let scene_ref = &mut scene;
    let server_usage = pki.issue_against_the_rules("acme", "mallory", ExtendedKeyUsagePurpose::ServerAuth);
    for (who, alert, code, claim) in [
        (Identity::none(), Alert::CertificateRequired, "SF-TLS-001", ""),
        (Pki::foreign().client("acme/alice"), Alert::UnknownCA, "SF-TLS-002", "alice"),
        (pki.client("acme/old"), Alert::CertificateExpired, "SF-TLS-003", "old"),
        (pki.client("acme/early"), Alert::CertificateExpired, "SF-TLS-004", "early"),
        (pki.client("acme/gone"), Alert::CertificateRevoked, "SF-TLS-005", "gone"),
        (server_usage, Alert::UnsupportedCertificate, "SF-TLS-006", "mallory"),
        (pki.server_as_client(), Alert::UnsupportedCertificate, "SF-TLS-006", "localhost"),
    ] {
        refused(scene_ref, &who, alert, code, claim).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_control_characters_are_refused_or_escaped_wherever_they_are_written() {
    let mut scene = Scene::start(|_| {}).await;
    let hostile = "root\n\u{1b}[31m\u{202e}\u{7}";
    let alert = Alert::UnknownCA;
    refused(&mut scene, &self_signed("acme", hostile), alert, "SF-TLS-002", "root").await;
    let signed = Pki::get().issue_against_the_rules(hostile, "x", ExtendedKeyUsagePurpose::ClientAuth);
    let (_, address) = scene.refused_handshake(&signed).await;
    let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("code"), "SF-TLS-018");
    for event in scene.end().await {
        let raw = ["claimed_subject", "claimed_serial", "detail"].map(|field| event.text(field)).concat();
        assert!(raw.chars().all(|char| (' '..='~').contains(&char)), "{raw:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_tls_1_2_is_refused() {
    let scene = Scene::start(|_| {}).await;
    let client = Pki::get().folder.join("clients/acme/alice");
    let output = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &scene.address.to_string()])
        .arg("-cert")
        .arg(client.join("client.pem"))
        .arg("-key")
        .arg(client.join("client.key"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alert protocol version"), "{said}");
    scene.logged("handshake_refused", |event| event.has_code("SF-TLS-015")).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_gets_no_http_answer() {
    let scene = Scene::start(|_| {}).await;
    for request in
        [format!("{UPGRADE}\r\n"), "GET / HTTP/1.0\r\n\r\n".to_owned(), "\0\x01\x02\u{7f}".repeat(20)]
    {
        let mut tcp = scene.tcp().await;
        let address = tcp.local_addr().unwrap().to_string();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The end may be a reset, since the server leaves bytes of ours unread.
        let _ = soon("the end", tcp.read_to_end(&mut answer)).await;
        // A TLS alert record, or nothing.
        assert!(answer.is_empty() || answer[0] == 0x15, "{}", String::from_utf8_lossy(&answer));
        let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
        assert_eq!(logged.text("code"), "SF-TLS-021", "{}", logged.fields);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_takes_too_long_is_cut_off() {
    let scene = Scene::start(|config| config.limits.handshake_timeout_ms = 400).await;
    // A record header that promises 512 bytes, of which none come.
    for first in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut tcp = scene.tcp().await;
        let address = tcp.local_addr().unwrap().to_string();
        tcp.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("the end", tcp.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{answer:?}");
        let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
        assert_eq!(logged.text("code"), "SF-TLS-011", "{}", logged.fields);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_leaves_in_the_handshake_is_noted() {
    let scene = Scene::start(|_| {}).await;
    let tcp = scene.tcp().await;
    let address = tcp.local_addr().unwrap().to_string();
    drop(tcp);
    let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("code"), "SF-TLS-024", "{}", logged.fields);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refused_handshakes_from_one_address_is_counted_and_not_written_one_by_one() {
    const FLOOD: u64 = 40;
    let (scene, from) = (Scene::start(|_| {}).await, fresh_address());
    for _ in 0..FLOOD {
        let mut tls = scene.tls_over(tcp_from(from, scene.address).await, &Identity::none()).await;
        assert!(soon("the refusal", tls.read_u8()).await.is_err());
    }
    let count = || {
        let of_address = |text: &str| text.split(':').next() == Some(&from.to_string());
        let events = scene.events();
        let events = events.iter().filter(|event| of_address(event.text("address")));
        let written = events.clone().filter(|event| event.kind == "handshake_refused").count() as u64;
        let suppressed = events.filter(|event| event.kind == "suppressed");
        (written, suppressed.map(|event| event.fields["count"].as_u64().unwrap()).sum::<u64>())
    };
    let all_counted = || {
        let (written, suppressed) = count();
        written + suppressed == FLOOD
    };
    assert!(wait_until(LIMIT, all_counted).await, "{:?}", count());
    assert!(count().1 > 0, "{:?}", count());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_connections_and_gets_its_places_back() {
    let scene = Scene::start(|config| config.limits.connections_per_address_max = 2).await;
    let (from, alice) = (fresh_address(), Pki::get().client("acme/alice"));
    let first = scene.tls_over(tcp_from(from, scene.address).await, &alice).await;
    let second = scene.tls_over(tcp_from(from, scene.address).await, &alice).await;
    let mut third = tcp_from(from, scene.address).await;
    let address = third.local_addr().unwrap().to_string();
    assert_eq!(soon("the end", third.read(&mut [0; 1])).await.unwrap_or(0), 0);
    let logged = scene.logged("limit", |event| event.text("address") == address).await;
    assert_eq!((logged.text("limit"), logged.text("code")), ("address_connections", "SF-TLS-013"));
    drop((first, second));
    // Its places are free as soon as the server has noticed.
    let is_let_in = async {
        loop {
            let mut tcp = tcp_from(from, scene.address).await;
            tcp.write_all(b"no TLS").await.unwrap();
            if tcp.read_u8().await.is_ok_and(|byte| byte == 0x15) {
                break;
            }
        }
    };
    soon("a place for the address", is_let_in).await;
    drop(third);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_connects_only_so_often_and_the_server_has_only_so_many_places() {
    let scene = Scene::start(|config| {
        config.limits.connects_per_address_per_second = 1;
        config.limits.connections_max = 3;
    })
    .await;
    let from = fresh_address();
    let _first = tcp_from(from, scene.address).await;
    let mut second = tcp_from(from, scene.address).await;
    let address = second.local_addr().unwrap().to_string();
    assert_eq!(soon("the end", second.read(&mut [0; 1])).await.unwrap_or(0), 0);
    let logged = scene.logged("limit", |event| event.text("address") == address).await;
    assert_eq!((logged.text("limit"), logged.text("code")), ("connect_rate", "SF-TLS-014"));
    // The bystander, the one above and this one.
    let _third = scene.tls(&Pki::get().client("acme/alice")).await;
    let mut fourth = scene.tcp().await;
    let address = fourth.local_addr().unwrap().to_string();
    assert_eq!(soon("the end", fourth.read(&mut [0; 1])).await.unwrap_or(0), 0);
    let logged = scene.logged("limit", |event| event.text("address") == address).await;
    assert_eq!((logged.text("limit"), logged.text("code")), ("connections", "SF-TLS-012"));
    drop(second);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_this_harness_are_its_own() {
    let scene = Scene::start(|_| {}).await;
    let tcp = scene.tcp().await;
    assert_ne!(
        tcp.local_addr().unwrap().ip(),
        Ipv4Addr::LOCALHOST,
        "limits for each address would mix tests"
    );
    scene.end().await;
}
