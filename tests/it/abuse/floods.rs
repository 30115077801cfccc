//! Much of what is allowed once: pings, requests, fragments, requests that are hard to read, and messages that never become whole.

use tokio::time::{Duration, Instant, interval};

use super::ground::{Ending, Ground, in_time};
use crate::harness::{Client, Ended, Frame, Received};

const ALICE: &str = "acme/alice";
const MESSAGE_MS: u64 = 1_000;

const CONTROL: Ending = Ending { close: 4005, code: "SF-SES-044", entry: "limit" };
const RATE: Ending = Ending { close: 4005, code: "SF-SES-037", entry: "limit" };
const FRAGMENTS: Ending = Ending { close: 4504, code: "SF-SES-045", entry: "limit" };
const LATE: Ending = Ending { close: 4504, code: "SF-SES-046", entry: "limit" };
const MALFORMED: Ending = Ending { close: 4505, code: "SF-SES-025", entry: "limit" };

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    Frame { first, masked: true, payload }.bytes()
}

/// Sends all of it while it reads to the end, as an attacker who wants the server to do much would.
async fn floods(ground: &Ground, bytes: Vec<u8>, ending: Ending) {
    let mut session = ground.session(ALICE).await;
    session.send_raw(&bytes).await;
    ground.ends(&mut session, ending).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_pings_pongs_and_requests_end_their_sessions_with_4005() {
    let ground = Ground::with("", 100).await;
    floods(&ground, frame(0x89, &[b'!'; 125]).repeat(10_000), CONTROL).await;
    floods(&ground, frame(0x89, b"").repeat(10_000), CONTROL).await;
    floods(&ground, frame(0x8a, b"!").repeat(10_000), CONTROL).await;
    floods(&ground, frame(0x81, br#"{"op":"ping","id":1}"#).repeat(10_000), RATE).await;
    floods(&ground, frame(0x81, br#"{"op":"whoami","id":1}"#).repeat(10_000), RATE).await;
    // Pings between the fragments of a message are pings.
    let between = [frame(0x01, b"{"), frame(0x89, b"").repeat(10_000)].concat();
    floods(&ground, between, CONTROL).await;
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_an_end_ends_its_session_by_the_number_of_its_frames_or_by_its_deadline() {
    let ground = Ground::with(&format!("message_timeout_ms = {MESSAGE_MS}"), 100).await;
    let endless = [frame(0x01, b"{"), frame(0x00, b" ").repeat(10_000)].concat();
    floods(&ground, endless, FRAGMENTS).await;
    let empty = [frame(0x01, b""), frame(0x00, b"").repeat(10_000)].concat();
    floods(&ground, empty, FRAGMENTS).await;

    // What comes a little at a time, or not at all: fragments of a byte; a message of many bytes; less than a header.
    let large = frame(0x81, &[b' '; 8_000]);
    for (what, begin, more) in [
        ("fragments of a byte", frame(0x01, b"{"), frame(0x00, b" ")),
        ("a byte at a time", large[..8].to_vec(), b"x".to_vec()),
        ("nothing more of a message", large[..100].to_vec(), Vec::new()),
        ("nothing more of a header", vec![0x81], Vec::new()),
        ("nothing more of a long header", vec![0x81, 0xfe, 0x10], Vec::new()),
        ("nothing more of a ping", frame(0x89, b"ping")[..7].to_vec(), Vec::new()),
    ] {
        println!("{what}");
        let mut session = ground.session(ALICE).await;
        let since = Instant::now();
        session.send_raw(&begin).await;
        let ended = in_time(since, MESSAGE_MS, sends_until_ended(&mut session, &more)).await;
        assert_eq!(ended, Ended { code: Some(LATE.close), reason: LATE.code.to_owned() }, "{what}");
        ground.has_logged(&session, LATE).await;
    }
    ground.over().await;
}

/// Sends `more` again and again, ten times a second, until the session has ended.
async fn sends_until_ended(session: &mut Client, more: &[u8]) -> Ended {
    let mut pace = interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        if !more.is_empty() {
            session.send_raw(more).await;
        }
        if let Ok(Received::End(ended)) =
            tokio::time::timeout(Duration::from_millis(20), session.receive()).await
        {
            return ended;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_hard_to_read_are_answered_as_any_malformed_one_and_the_tenth_ends_the_session() {
    let ground = Ground::with("", 100).await;
    let nested = |open: &str, close: &str, count: usize| {
        format!(r#"{{"op":"ping","id":1,"echo":{}1{}}}"#, open.repeat(count), close.repeat(count))
    };
    let bombs = [
        nested("[", "]", 4_000),
        nested(r#"{"a":"#, "}", 1_300),
        "[".repeat(8_192),
        r#"{"op":"#.repeat(1_300),
        format!(r#"{{"op":"ping","id":{}}}"#, "9".repeat(8_000)),
        format!(r#"{{"op":"ping","id":1,"echo":1e{}}}"#, "9".repeat(8_000)),
        format!(r#"{{"op":"ping","id":0.{}1}}"#, "0".repeat(8_000)),
        format!(r#"{{"op":"ping","{}":1}}"#, "k".repeat(8_000)),
        format!(r#"{{"op":"ping",{}"id":1}}"#, r#""a":1,"#.repeat(1_300)),
        format!(r#"{{"op":"ping","id":1,"echo":"{}"}}"#, r"\ud83d\ude42".repeat(600)),
    ];
    let mut session = ground.session(ALICE).await;
    for (number, bomb) in bombs.iter().enumerate() {
        let reply = session.ask(bomb.as_str()).await;
        assert_eq!(reply["type"], "error", "{number}: {reply}");
        assert!(reply.to_string().len() < 1_000, "{number}: an answer is short");
        let code = reply["code"].as_str().unwrap();
        ground.logged("reject", |event| event.has_code(code)).await;
    }
    ground.ends(&mut session, MALFORMED).await;
    let rejects = crate::harness::events_of(&ground.log(), "reject");
    assert!(rejects.iter().all(|event| event.text("detail").len() < 2_000), "entries are short, too");
    ground.over().await;
}
