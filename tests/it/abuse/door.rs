//! Before a session: handshakes and upgrades that are slow, never end or are too large, and connections in great numbers.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::ground::{Ground, in_time, trickle};
use super::raw_tls::client_hello;
use crate::harness::{HttpAnswer, LIMIT, Pki, UPGRADE, events_of, read_answer, soon, wait_until};

const ALICE: &str = "acme/alice";
const HANDSHAKE_MS: u64 = 2_000;
const UPGRADE_MS: u64 = 1_500;
/// Connections of an attack in great numbers.
const MANY: u64 = 200;

async fn ground() -> Ground {
    Ground::with(&format!("handshake_timeout_ms = {HANDSHAKE_MS}\nupgrade_timeout_ms = {UPGRADE_MS}"), 100)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_slow_or_never_ends_is_cut_off_at_its_deadline() {
    let (ground, hello) = (ground().await, client_hello());
    // A byte at a time: it would take many seconds.
    let (since, tcp) = (Instant::now(), ground.tcp().await);
    let address = tcp.local_addr().unwrap().to_string();
    let answer = in_time(since, HANDSHAKE_MS, trickle(tcp, &hello, 1)).await;
    assert!(answer.is_empty(), "{answer:?}");
    let logged = ground.logged("handshake_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("code"), "SF-TLS-011");

    // Our first flight, whole and then in records of one byte, is answered; our second one never comes.
    let split: Vec<u8> = hello[5..].iter().flat_map(|byte| [0x16, 3, 1, 0, 1, *byte]).collect();
    for first in [&hello, &split] {
        let (since, mut tcp) = (Instant::now(), ground.tcp().await);
        let address = tcp.local_addr().unwrap().to_string();
        tcp.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _ = in_time(since, HANDSHAKE_MS, tcp.read_to_end(&mut answer)).await;
        assert_eq!(answer.first(), Some(&0x16), "the server's flight");
        let logged = ground.logged("handshake_refused", |event| event.text("address") == address).await;
        assert_eq!(logged.text("code"), "SF-TLS-011");
    }
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_in_great_numbers_are_let_go_of_and_each_is_accounted_for() {
    let ground = ground().await;
    let kinds = ["handshake_refused", "limit"];
    let before = ground.happened(&kinds);
    // They connect and go.
    for _ in 0..MANY {
        drop(ground.tcp().await);
    }
    let all = || ground.happened(&kinds) == before + MANY;
    assert!(wait_until(LIMIT, all).await, "{} of {MANY}", ground.happened(&kinds) - before);
    // They connect and say nothing.
    let mut silent = Vec::new();
    for _ in 0..MANY {
        silent.push(ground.tcp().await);
    }
    for tcp in &mut silent {
        assert_eq!(soon("the end", tcp.read(&mut [0; 1])).await.unwrap_or(0), 0, "no reason is given");
    }
    // The address serves an open session and is not banned: that is said beside.
    let happened = || {
        let withheld = events_of(&ground.log(), "limit");
        let withheld = withheld.iter().filter(|event| event.text("limit") == "ban_withheld").count() as u64;
        ground.happened(&kinds) - before - withheld
    };
    assert!(wait_until(LIMIT, || happened() >= 2 * MANY).await, "{} of {}", happened(), 2 * MANY);
    // The place and the rate of the address are free again.
    let is_let_in = async {
        loop {
            let mut tcp = ground.tcp().await;
            if tcp.write_all(b"no TLS").await.is_ok() && tcp.read_u8().await.is_ok_and(|byte| byte == 0x15) {
                break;
            }
        }
    };
    soon("a place", is_let_in).await;
    ground.session(ALICE).await.goes_on().await;
    ground.over().await;
}

/// Sends a request and reads the answer while it is sent.
async fn answer(ground: &Ground, request: Vec<u8>) -> (HttpAnswer, String) {
    let tls = ground.tls(&Pki::get().client(ALICE)).await;
    let address = tls.get_ref().0.local_addr().unwrap().to_string();
    let (mut reading, mut writing) = tokio::io::split(tls);
    let writes = async {
        // The server stops reading when it has seen enough.
        let _ = writing.write_all(&request).await;
        let _ = writing.flush().await;
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = read_answer(&mut reading) => answer,
        () = writes => unreachable!(),
    };
    (answer, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_slow_or_too_large_is_answered_and_ended() {
    let ground = ground().await;
    let with = |lines: String| format!("{UPGRADE}{lines}\r\n").into_bytes();
    let lines = |count: usize| "X: y\r\n".repeat(count);
    let mut refused = BTreeMap::new();
    for (what, request, code) in [
        ("a header of 256 KB", with(format!("X: {}\r\n", "y".repeat(256 << 10))), "SF-SES-010"),
        ("a megabyte of headers", with(lines((1 << 20) / 6)), "SF-SES-010"),
        (
            "a target of 64 KB",
            format!("GET /{} HTTP/1.1\r\n", "y".repeat(64 << 10)).into_bytes(),
            "SF-SES-010",
        ),
        ("65 headers", with(lines(60)), "SF-SES-002"),
        ("a thousand headers", with(lines(1_000)), "SF-SES-002"),
        ("one header a thousand times", with("Host: localhost\r\n".repeat(400)), "SF-SES-002"),
    ] {
        let (answer, address) = answer(&ground, request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &code.into()), "{what}: {answer:?}");
        refused.insert(address, code);
    }
    // All of them are counted; of one address, only a few a second are written in full.
    let all = || ground.happened(&["upgrade_refused"]) == refused.len() as u64;
    assert!(wait_until(LIMIT, all).await, "{}", ground.happened(&["upgrade_refused"]));
    let written = events_of(&ground.log(), "upgrade_refused");
    assert!(!written.is_empty());
    for event in written {
        assert_eq!(refused.get(event.text("address")), Some(&event.text("code")), "{}", event.fields);
        assert_eq!(event.text("principal"), ALICE);
    }
    // A byte at a time.
    let (since, tls) = (Instant::now(), ground.tls(&Pki::get().client(ALICE)).await);
    let address = tls.get_ref().0.local_addr().unwrap().to_string();
    let answer = in_time(since, UPGRADE_MS, trickle(tls, UPGRADE.as_bytes(), 1)).await;
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("\"SF-SES-009\""), "{text}");
    let logged = ground.logged("upgrade_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("code"), "SF-SES-009");
    ground.over().await;
}
