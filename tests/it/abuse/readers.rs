//! Clients who do not read, or hardly: what waits for them is bounded in bytes and in time, and they are told.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, Instant, interval};

use super::ground::{Ending, Ground, SYMBOLS, in_time};
use super::raw_tls::{DATA, RawTls};
use crate::harness::{Client, Ended, Frame, Logged, Pki, UPGRADE, soon};

const SLOW: Ending = Ending { close: 4001, code: "SF-SES-026", entry: "disconnect" };
const SILENT: Ending = Ending { close: 4002, code: "SF-SES-028", entry: "disconnect" };
const IDLE_MS: u64 = 3_000;

/// Little is kept for who does not read, but for more than a second of the market: the other client has to come to its turn. The market is
/// brisk, since what the kernels hold comes on top.
async fn ground() -> Ground {
    Ground::with("out_queue_bytes_max = 524288\nsocket_unsent_bytes_max = 131072", 1_000).await
}

fn subscription() -> String {
    json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": SYMBOLS, "depth": 0, "on_slow": "disconnect"})
        .to_string()
}

async fn is_cut_off(ground: &Ground, session: &str) {
    let is_its = |event: &Logged| event.session.as_deref() == Some(session);
    let logged = ground.logged("disconnect", is_its).await;
    assert_eq!(logged.fields["close_code"], SLOW.close, "{}", logged.fields);
    assert!(logged.text("reason").starts_with(SLOW.code), "{}", logged.fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_who_never_reads_is_ended_with_4001() {
    let ground = ground().await;
    let mut session = ground.session_with_a_small_window("acme/alice").await;
    session.send(subscription()).await;
    is_cut_off(&ground, &session.session.to_string()).await;
    let (ended, _) = session.ended().await;
    assert_eq!(ended, Ended { code: Some(SLOW.close), reason: SLOW.code.to_owned() });
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_who_reads_a_byte_at_a_time_is_ended_with_4001() {
    let ground = ground().await;
    let tcp = ground.tcp_with(|socket| socket.set_recv_buffer_size(4_096).unwrap()).await;
    let mut raw = RawTls::connect(tcp, &Pki::get().client("acme/alice")).await;
    let address = raw.address();
    let request = raw.record(DATA, format!("{UPGRADE}\r\n").as_bytes());
    raw.send(&request).await;
    let connected = ground.logged("connect", |event| event.text("address") == address).await;
    let subscribe =
        raw.record(DATA, &Frame { first: 0x81, masked: true, payload: subscription().as_bytes() }.bytes());
    raw.send(&subscribe).await;
    let session = connected.session.unwrap();
    let mut held = Vec::new();
    let reads = async {
        let mut pace = interval(Duration::from_millis(100));
        loop {
            pace.tick().await;
            held.push(raw.tcp().read_u8().await.unwrap());
        }
    };
    tokio::select! {
        () = is_cut_off(&ground, &session) => {}
        () = reads => {}
    }
    // It is told, if it reads at last.
    raw.was_read(held);
    let mut last = Vec::new();
    while let Some((content_type, payload)) = raw.receive().await {
        if content_type == DATA {
            last = payload;
        }
    }
    let frame = [&[0x88, 12][..], &SLOW.close.to_be_bytes(), SLOW.code.as_bytes()].concat();
    assert!(last.ends_with(&frame), "{}", String::from_utf8_lossy(&last));
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_never_reads_the_answers_is_ended_with_4001() {
    let ground = ground().await;
    // A trader, who may ask much.
    let mut session = ground.session_with_a_small_window("acme/bob").await;
    let asks = async {
        let mut pace = interval(Duration::from_millis(50));
        let many =
            Frame { first: 0x81, masked: true, payload: br#"{"op":"whoami","id":1}"# }.bytes().repeat(25);
        loop {
            pace.tick().await;
            session.send_raw(&many).await;
        }
    };
    let id = session_of(&ground, "acme/bob").await;
    tokio::select! {
        () = is_cut_off(&ground, &id) => {}
        () = asks => {}
    }
    let (ended, _) = session.ended().await;
    assert_eq!(ended, Ended { code: Some(SLOW.close), reason: SLOW.code.to_owned() });
    ground.over().await;
}

/// The session that a principal has.
async fn session_of(ground: &Ground, principal: &str) -> String {
    ground.logged("connect", |event| event.text("principal") == principal).await.session.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_gone_without_a_word_is_ended_with_4002() {
    let ground = Ground::with(&format!("idle_timeout_ms = {IDLE_MS}"), 100).await;
    let mut sessions: Vec<Client> = Vec::new();
    let since = Instant::now();
    for _ in 0..3 {
        let mut session = ground.session("acme/alice").await;
        session.goes_on().await;
        sessions.push(session);
    }
    // Nobody reads, so that nobody answers a ping.
    for mut session in sessions {
        let id = session.session.to_string();
        let its = ground.logged("disconnect", |event| event.session.as_deref() == Some(&*id));
        in_time(since, IDLE_MS, its).await;
        ground.ends(&mut session, SILENT).await;
    }
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_takes_no_answer_to_its_upgrade_holds_nothing_up() {
    let ground = ground().await;
    // It upgrades, and resets the connection at once.
    for _ in 0..20 {
        let mut tls = ground.tls(&Pki::get().client("acme/alice")).await;
        tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
        tls.get_ref().0.set_zero_linger().unwrap();
        drop(tls);
    }
    let is_let_in = async {
        // As many sessions as it may have stand until the server has noticed.
        loop {
            let mut tls = ground.tls(&Pki::get().client("acme/alice")).await;
            tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
            if crate::harness::read_answer(&mut tls).await.status == 101 {
                break;
            }
        }
    };
    soon("a place", is_let_in).await;
    ground.over().await;
}
