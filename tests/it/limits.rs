//! Limits on peers and principals, the steps behind them, and bans. The limits of one connection: `door`, `messages`, `slow`.

use std::net::IpAddr;

use sealfeed::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Client, Ended, Identity, Pki, Scene, UPGRADE, fresh_address, soon, tcp_from};

/// Reads to the end of the connection, which may be a reset: what came.
async fn ended(tcp: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = soon("the end", tcp.read_to_end(&mut answer)).await;
    answer
}

/// Speaks no TLS from an address: whether the server answered, as it does whom it has not banned.
async fn fails(scene: &Scene, from: IpAddr) -> (bool, String) {
    let mut tcp = tcp_from(from, scene.address).await;
    let address = tcp.local_addr().unwrap().to_string();
    let _ = tcp.write_all(b"this is no TLS").await;
    (!ended(&mut tcp).await.is_empty(), address)
}

fn short_bans(config: &mut Config) {
    config.limits.ban.failures_per_minute = 3;
    config.limits.ban.closes_max = 2;
    config.limits.ban.first_ms = 700;
    config.limits.ban.max_ms = 3_600_000;
}

/// Ends a session of `who` by going on after errors.
async fn is_closed_for_faults(scene: &Scene, who: &Identity) {
    let mut session = scene.connect(who).await;
    for _ in 0..10 {
        session.send_if_open("[]".to_owned()).await;
    }
    let (ended, _) = session.ended().await;
    assert_eq!(ended, Ended { code: Some(4505), reason: "SF-SES-025".to_owned() });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_whose_handshakes_keep_failing_is_banned_and_may_come_again_when_the_ban_has_ended() {
    let (mut scene, from) = (Scene::start(short_bans).await, fresh_address());
    for _ in 0..3 {
        assert!(fails(&scene, from).await.0, "it is answered with an alert");
    }
    let ban = scene.logged("ban", |event| event.text("who") == from.to_string()).await;
    assert_eq!(
        (ban.text("what"), ban.text("code"), &ban.fields["count"]),
        ("address", "SF-TLS-040", &1.into())
    );
    // Closed before TLS, with an entry, until it ends; other addresses are served.
    let (is_answered, address) = fails(&scene, from).await;
    if !is_answered {
        let limit = scene.logged("limit", |event| event.text("address") == address).await;
        assert_eq!((limit.text("limit"), limit.text("code")), ("ban", "SF-TLS-037"));
    }
    scene.bystander_is_unharmed().await;
    let is_let_in = async { while !fails(&scene, from).await.0 {} };
    soon("the end of the ban", is_let_in).await;
    // Two more, and it is banned for twice as long.
    while fails(&scene, from).await.0 {}
    let again = scene.logged("ban", |event| event.fields["count"] == 2).await;
    assert_eq!(again.text("who"), from.to_string());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_closes_the_connection_before_tls() {
    let change = |config: &mut Config| {
        short_bans(config);
        config.limits.ban.failures_per_minute = 1;
        config.limits.ban.first_ms = 60_000;
    };
    let (scene, from) = (Scene::start(change).await, fresh_address());
    assert!(fails(&scene, from).await.0);
    scene.logged("ban", |event| event.text("who") == from.to_string()).await;
    let mut tcp = tcp_from(from, scene.address).await;
    let address = tcp.local_addr().unwrap().to_string();
    assert_eq!(ended(&mut tcp).await, b"");
    let limit = scene.logged("limit", |event| event.text("address") == address).await;
    assert_eq!((limit.text("limit"), limit.text("code")), ("ban", "SF-TLS-037"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_serves_an_open_session_is_never_banned() {
    let (scene, from, alice) =
        (Scene::start(short_bans).await, fresh_address(), Pki::get().client("acme/alice"));
    let mut tls = scene.tls_over(tcp_from(from, scene.address).await, &alice).await;
    tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    let answer = crate::harness::read_answer(&mut tls).await;
    let mut session = Client::open(tls, answer.rest, None).await;
    let mut last = String::new();
    for _ in 0..3 {
        let (is_answered, address) = fails(&scene, from).await;
        assert!(is_answered);
        last = address;
    }
    let withheld = scene.logged("limit", |event| event.text("limit") == "ban_withheld").await;
    assert_eq!((withheld.text("code"), withheld.text("address")), ("SF-TLS-040", &*last));
    assert!(fails(&scene, from).await.0, "it is not banned");
    session.goes_on().await;
    drop(session);
    assert!(scene.end().await.iter().all(|event| event.kind != "ban"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_address_is_never_banned_and_has_its_caps() {
    let from = fresh_address();
    let change = |config: &mut Config| {
        short_bans(config);
        config.limits.connections_per_address_max = 1;
        config.limits.trusted.addresses = vec![from.to_string().parse().unwrap()];
    };
    let scene = Scene::start(change).await;
    let first = tcp_from(from, scene.address).await;
    let mut second = tcp_from(from, scene.address).await;
    let address = second.local_addr().unwrap().to_string();
    assert_eq!(ended(&mut second).await, b"");
    scene.logged("limit", |event| event.has_code("SF-TLS-013") && event.text("address") == address).await;
    drop(first);
    for _ in 0..10 {
        // The place of the one before may not be free yet.
        let is_answered = async { while !fails(&scene, from).await.0 {} };
        soon("an answer", is_answered).await;
    }
    assert!(scene.end().await.iter().all(|event| event.kind != "ban"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_without_a_word_is_not_banned_for_it() {
    let (scene, from) = (Scene::start(short_bans).await, fresh_address());
    // Fewer than an address may have written in full in a second.
    for _ in 0..4 {
        let tcp = tcp_from(from, scene.address).await;
        let address = tcp.local_addr().unwrap().to_string();
        drop(tcp);
        scene.logged("handshake_refused", |event| event.text("address") == address).await;
    }
    assert!(fails(&scene, from).await.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_a_principal_counts_as_a_failed_handshake() {
    let (scene, from) = (Scene::start(short_bans).await, fresh_address());
    let nobody =
        Pki::get().issue_against_the_rules("root\nroot", "x", rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    for _ in 0..3 {
        let mut tls = scene.tls_over(tcp_from(from, scene.address).await, &nobody).await;
        let _ = tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = soon("the refusal", tls.read_to_end(&mut answer)).await;
    }
    scene.logged("ban", |event| event.text("who") == from.to_string()).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_whose_sessions_keep_being_ended_for_faults_is_answered_429_until_the_ban_has_ended() {
    let change = |config: &mut Config| {
        short_bans(config);
        config.limits.ban.first_ms = 2_500;
    };
    let (mut scene, alice) = (Scene::start(change).await, Pki::get().client("acme/alice"));
    let mut open = scene.connect(&alice).await;
    for _ in 0..2 {
        is_closed_for_faults(&scene, &alice).await;
    }
    let ban = scene.logged("ban", |event| event.text("what") == "principal").await;
    assert_eq!((ban.text("who"), ban.text("code")), ("acme/alice", "SF-SES-025"));
    let (refused, address) = scene.http(&alice, format!("{UPGRADE}\r\n")).await;
    // A machine that is very slow may be past the ban; then it was let in, and the end of the test shows that as well.
    if refused.status != 101 {
        assert_eq!((refused.status, &refused.json()["code"]), (429, &"SF-SES-047".into()));
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3).contains(&seconds), "{refused:?}");
        assert!((1..=2_500).contains(&refused.json()["retry_after_ms"].as_u64().unwrap()), "{refused:?}");
        let limit = scene.logged("limit", |event| event.text("address") == address).await;
        assert_eq!((limit.text("limit"), limit.text("principal")), ("ban", "acme/alice"));
        scene.logged("upgrade_refused", |event| event.has_code("SF-SES-047")).await;
    }
    // Others at the same door, and what the principal has open, go on.
    scene.bystander_is_unharmed().await;
    open.goes_on().await;
    let is_let_in = async { while scene.http(&alice, format!("{UPGRADE}\r\n")).await.0.status != 101 {} };
    soon("the end of the ban", is_let_in).await;
    drop(open);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_principal_is_ended_for_faults_and_never_banned() {
    let change = |config: &mut Config| {
        short_bans(config);
        config.limits.trusted.principals = vec!["acme/alice".to_owned()];
    };
    let (scene, alice) = (Scene::start(change).await, Pki::get().client("acme/alice"));
    for _ in 0..4 {
        is_closed_for_faults(&scene, &alice).await;
    }
    scene.connect(&alice).await.goes_on().await;
    assert!(scene.end().await.iter().all(|event| event.kind != "ban"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_has_only_so_many_handshakes_in_progress_and_gives_their_places_back() {
    let scene = Scene::start(|config| config.limits.handshakes_max = 2).await;
    let (first, second) = (scene.tcp().await, scene.tcp().await);
    let mut third = scene.tcp().await;
    let address = third.local_addr().unwrap().to_string();
    assert_eq!(ended(&mut third).await, b"");
    let limit = scene.logged("limit", |event| event.text("address") == address).await;
    assert_eq!((limit.text("limit"), limit.text("code")), ("handshakes", "SF-TLS-035"));
    drop((first, second));
    let is_let_in = async { while !fails(&scene, fresh_address()).await.0 {} };
    soon("a place", is_let_in).await;
    // Open sessions take no place of a handshake.
    let alice = Pki::get().client("acme/alice");
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(scene.connect(&alice).await);
    }
    drop(sessions);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_a_quarter_of_the_handshakes_at_most() {
    let (scene, from) = (Scene::start(|config| config.limits.handshakes_max = 8).await, fresh_address());
    let held = [tcp_from(from, scene.address).await, tcp_from(from, scene.address).await];
    let mut third = tcp_from(from, scene.address).await;
    let address = third.local_addr().unwrap().to_string();
    assert_eq!(ended(&mut third).await, b"");
    let limit = scene.logged("limit", |event| event.text("address") == address).await;
    assert_eq!((limit.text("limit"), limit.text("code")), ("address_handshakes", "SF-TLS-035"));
    assert!(fails(&scene, fresh_address()).await.0, "others have their places");
    drop(held);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_begins_only_so_many_handshakes_a_second() {
    let scene = Scene::start(|config| config.limits.handshakes_per_second = 1).await;
    // The bystander's is one; of several more at once, one at least is too many.
    let refused = async {
        loop {
            let (is_answered, address) = fails(&scene, fresh_address()).await;
            if !is_answered {
                break address;
            }
        }
    };
    let address = soon("a refusal", refused).await;
    let limit = scene.logged("limit", |event| event.text("address") == address).await;
    assert_eq!((limit.text("limit"), limit.text("code")), ("handshake_rate", "SF-TLS-036"));
    scene.end().await;
}
