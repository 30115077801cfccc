//! Requests: what is no request is answered with its code and changes nothing; what breaks the WebSocket protocol, or
//! goes on after it was told, ends the session with its close code. Each has its entry in the log.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::harness::{Client, Ended, Frame, Logged, POLICY, Pki, Scene, soon};

/// The principal of most tests here.
const BOB: &str = "acme/bob";
const TEXT: u8 = 0x81;

/// A session of [`BOB`] on a server that forgives many faults.
async fn forgiving() -> (Scene, Client) {
    let scene = Scene::start(|config| config.limits.malformed_max = 1_000).await;
    let bob = scene.connect(&Pki::get().client(BOB)).await;
    (scene, bob)
}

/// Rules that leave the viewers `rate` messages a second.
fn slow_viewers(rate: u32) -> String {
    let limits = format!("limits = {{ messages_per_second = {rate} }}");
    format!("{POLICY}\n[[rule]]\nname = \"slow\"\nmatch = {{ user = \"alice\" }}\n{limits}")
}

/// Asserts how a session ended: close code and code of the reason, on the wire and in the log.
async fn assert_ended(scene: &Scene, session: &mut Client, close: u16, code: &str) {
    let (ended, _) = session.ended().await;
    assert_eq!(ended, Ended { code: Some(close), reason: code.to_owned() });
    let id = session.session.to_string();
    let logged = scene.logged("disconnect", |event| event.session.as_deref() == Some(&*id)).await;
    assert_eq!(logged.fields["close_code"], close);
    assert!(logged.text("reason").starts_with(code), "{}", logged.fields);
    assert!(logged.text("principal").starts_with("acme/"), "{}", logged.fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_with_the_code_of_its_first_fault() {
    let (scene, mut bob) = forgiving().await;
    let session = bob.session.to_string();
    let long = "i".repeat(37);
    let deep = format!(r#"{{"op":"ping","id":1,"echo":{}1{}}}"#, "[".repeat(3_000), "]".repeat(3_000));
    for (text, id, code) in [
        (r#"{"op":"order.fly","id":1}"#, json!(1), "SF-SES-019"),
        (r#"{"op":"PING","id":1}"#, json!(1), "SF-SES-019"),
        (r#"{"op":"ping\u0000","id":1}"#, json!(1), "SF-SES-019"),
        (r#"{"op":"ping","id":1,"extra":1}"#, json!(1), "SF-SES-015"),
        (r#"{"op":"ping","id":1,"body":{}}"#, json!(1), "SF-SES-015"),
        (r#"{"op":"whoami","id":1,"\u001b[31m":1}"#, json!(1), "SF-SES-015"),
        (r#"{"op":7,"id":1}"#, json!(1), "SF-SES-017"),
        (r#"{"op":"ping","id":1,"echo":7}"#, json!(1), "SF-SES-017"),
        (r#"{"op":"subscribe","id":1,"channel":["bbo"],"symbols":["SEAL"]}"#, json!(1), "SF-SES-017"),
        (r#"{"op":"subscribe","id":1,"channel":"bbo","symbols":"SEAL"}"#, json!(1), "SF-SES-017"),
        (r#"{"op":"subscribe","id":1,"channel":"bbo"}"#, json!(1), "SF-SES-016"),
        (r#"{"id":1}"#, json!(1), "SF-SES-016"),
        (r#"{"op":"ping","op":"ping","id":1}"#, json!(1), "SF-SES-014"),
        (r#"{"op":"ping","id":1,"id":2}"#, Value::Null, "SF-SES-014"),
        (r#"{"op":"ping","id":1,"x":1,"x":2}"#, json!(1), "SF-SES-015"),
        (r#"[{"op":"ping","id":1}]"#, Value::Null, "SF-SES-012"),
        (r#""ping""#, Value::Null, "SF-SES-012"),
        ("null", Value::Null, "SF-SES-012"),
        (" {}", Value::Null, "SF-SES-012"),
        ("\u{feff}{}", Value::Null, "SF-SES-012"),
        ("", Value::Null, "SF-SES-012"),
        (r#"{"op":"ping","id":1}x"#, json!(1), "SF-SES-013"),
        (r#"{"op":"ping","id":1}{"op":"ping","id":2}"#, json!(1), "SF-SES-013"),
        ("{\"op\":\"ping\",\"id\":1}\n", json!(1), "SF-SES-013"),
        (r#"{"op":"ping","id":1"#, json!(1), "SF-SES-011"),
        (r#"{"id":1,"op":"ping","echo":NaN}"#, json!(1), "SF-SES-011"),
        (r#"{"id":NaN,"op":"ping"}"#, Value::Null, "SF-SES-011"),
        (r#"{"id":Infinity,"op":"ping"}"#, Value::Null, "SF-SES-011"),
        (r#"{'op':'ping'}"#, Value::Null, "SF-SES-011"),
        (r#"{"op":"ping","id":1,}"#, json!(1), "SF-SES-011"),
        ("{\"op\":\"ping\",\"id\":1,\"echo\":\"a\u{1}\"}", json!(1), "SF-SES-011"),
        (r#"{"op":"ping","id":1.0}"#, Value::Null, "SF-SES-021"),
        (r#"{"op":"ping","id":1e3}"#, Value::Null, "SF-SES-021"),
        (r#"{"op":"ping","id":9223372036854775808}"#, Value::Null, "SF-SES-021"),
        (r#"{"op":"ping","id":{}}"#, Value::Null, "SF-SES-021"),
        (&format!(r#"{{"op":"ping","id":"{long}"}}"#), Value::Null, "SF-SES-021"),
        (&format!(r#"{{"op":"ping","id":1,"echo":"{}"}}"#, "e".repeat(129)), json!(1), "SF-SES-018"),
        (&deep, json!(1), "SF-SES-017"),
    ] {
        let before = scene.log_events("reject").len();
        let reply = bob.ask(text).await;
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{text}: {reply}");
        assert_eq!((&reply["id"], &reply["retryable"]), (&id, &json!(false)), "{text}: {reply}");
        // The entry was durable before the answer left.
        let rejects = scene.log_events("reject");
        let logged = rejects.last().unwrap();
        assert_eq!(rejects.len(), before + 1, "{text}");
        assert_eq!((logged.text("code"), logged.text("principal")), (code, BOB), "{text}");
        assert_eq!(logged.session.as_deref(), Some(&*session), "{text}");
    }
    bob.goes_on().await;
    drop(bob);
    for event in scene.end().await {
        let detail = event.text("detail");
        assert!(detail.len() < 1_000 && !detail.contains(|char: char| char.is_control()), "{detail:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_are_reserved_are_refused_and_not_ignored() {
    let (scene, mut bob) = forgiving().await;
    for (fields, code) in [
        (json!({"channel": "bbo", "conflate_ms": 7}), "SF-SUB-017"),
        (json!({"channel": "trades", "conflate_ms": 100}), "SF-SUB-016"),
        (json!({"channel": "bbo", "depth": 10}), "SF-SUB-016"),
        (json!({"channel": "book", "depth": 11}), "SF-SUB-008"),
    ] {
        let mut request = fields;
        request["op"] = "subscribe".into();
        request["symbols"] = json!(["SEAL"]);
        let reply = bob.request(request).await;
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{reply}");
        scene.logged("reject", |event| event.has_code(code) && event.text("principal") == BOB).await;
    }
    let reports = json!({"op": "subscribe", "channel": "orders", "symbols": ["*"], "on_slow": "conflate"});
    assert_eq!(bob.request(reports).await["code"], "SF-SUB-010", "reports are never left out");
    assert!(scene.log_events("subscribe").iter().all(|event| event.text("principal") != BOB));
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_breaks_the_protocol_ends_the_session_with_its_code() {
    let (mut scene, alice) = (Scene::start(|_| {}).await, Pki::get().client("acme/alice"));
    let frame = |first, payload: &[u8]| Frame { first, masked: true, payload }.bytes();
    let (ping, big) = (br#"{"op":"ping"}"#, "x".repeat(20_000));
    let fragments = [frame(0x01, &[b' '; 6_000]), frame(0x80, &[b' '; 6_000])].concat();
    let mut too_long = frame(TEXT, b"");
    too_long[1] = 0xff;
    too_long.splice(2..2, u64::MAX.to_be_bytes());
    for (what, bytes, close, code) in [
        ("20 KB in one frame", frame(TEXT, big.as_bytes()), 1009, "SF-SES-022"),
        ("12 KB in fragments", fragments, 1009, "SF-SES-022"),
        ("a length of 2^64 - 1", too_long, 1009, "SF-SES-022"),
        ("binary", frame(0x82, b"\x00\xff"), 1003, "SF-SES-023"),
        ("text that is not UTF-8", frame(TEXT, b"{\"op\":\"\xff\xfe\"}"), 1007, "SF-SES-030"),
        ("half a character", frame(TEXT, b"\xe2\x82"), 1007, "SF-SES-030"),
        ("a surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007, "SF-SES-030"),
        ("no mask", Frame { first: TEXT, masked: false, payload: ping }.bytes(), 1002, "SF-SES-029"),
        ("reserved bit 1", frame(TEXT | 0x40, ping), 1002, "SF-SES-029"),
        ("reserved bit 3", frame(TEXT | 0x10, ping), 1002, "SF-SES-029"),
        ("an opcode of the future", frame(0x83, ping), 1002, "SF-SES-029"),
        ("a control opcode of the future", frame(0x8b, b""), 1002, "SF-SES-029"),
        ("a continuation of nothing", frame(0x80, ping), 1002, "SF-SES-029"),
        ("a text inside a text", [frame(0x01, b"{"), frame(TEXT, ping)].concat(), 1002, "SF-SES-029"),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), 1002, "SF-SES-029"),
        ("a ping in fragments", frame(0x09, b""), 1002, "SF-SES-029"),
        ("a TLS record", b"\x16\x03\x01\x00\x05hello".to_vec(), 1002, "SF-SES-029"),
    ] {
        let mut session = scene.connect(&alice).await;
        session.send_raw(&bytes).await;
        println!("{what}");
        assert_ended(&scene, &mut session, close, code).await;
        let id = session.session.to_string();
        let logged = scene.logged("reject", |event| event.session.as_deref() == Some(&*id)).await;
        assert_eq!((logged.text("code"), logged.text("principal")), (code, "acme/alice"), "{what}");
        scene.bystander_is_unharmed().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_with_a_ping_between_them_are_one_message() {
    let (scene, mut bob) = forgiving().await;
    let frame = |first, payload: &[u8]| Frame { first, masked: true, payload }.bytes();
    for bytes in
        [frame(0x01, br#"{"op":"pi"#), frame(0x89, b"?"), frame(0x00, b""), frame(0x80, br#"ng","id":77}"#)]
    {
        bob.send_raw(&bytes).await;
    }
    assert_eq!(bob.reply().await["id"], 77);
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_frame_is_answered_whatever_it_says() {
    let (scene, alice) = (Scene::start(|_| {}).await, Pki::get().client("acme/alice"));
    for payload in [&b""[..], b"\x03\xe8bye", b"\x0f\xa1\x1b[31m"] {
        let mut session = scene.connect(&alice).await;
        session.send_raw(&Frame { first: 0x88, masked: true, payload }.bytes()).await;
        session.ended().await;
        let id = session.session.to_string();
        let logged = scene.logged("disconnect", |event| event.session.as_deref() == Some(&*id)).await;
        let sent = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        assert_eq!(logged.fields["close_code"], sent);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_messages_are_refused_with_the_time_to_wait_and_going_on_ends_the_session() {
    let scene = Scene::with_policy(&slow_viewers(5), |_| {}).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    for id in 0..40 {
        alice.send(format!(r#"{{"op":"ping","id":{id}}}"#)).await;
    }
    let (ended, messages) = alice.ended().await;
    assert_eq!(ended, Ended { code: Some(4005), reason: "SF-SES-037".to_owned() });
    let errors: Vec<_> = messages.iter().filter(|message| message["type"] == "error").collect();
    assert_eq!(errors.len(), 10, "{messages:#?}");
    for error in errors {
        assert_eq!((&error["code"], &error["retryable"]), (&json!("SF-SES-024"), &json!(true)), "{error}");
        assert!((1..=1_000).contains(&error["retry_after_ms"].as_u64().unwrap()), "{error}");
        let rate = &error["rate_limits"][0];
        assert_eq!((&rate["name"], &rate["limit"]), (&json!("messages"), &json!(5)), "{error}");
    }
    let of_alice = |code: &str| {
        let limits = scene.log_events("limit");
        limits.iter().filter(|event| event.has_code(code) && event.text("principal") == "acme/alice").count()
    };
    scene.logged("limit", |event| event.has_code("SF-SES-037")).await;
    assert_eq!((of_alice("SF-SES-024"), of_alice("SF-SES-037")), (10, 1));
    drop(alice);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_as_long_as_told_is_enough() {
    let scene = Scene::with_policy(&slow_viewers(20), |_| {}).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    let refused = async {
        loop {
            let reply = alice.request(json!({"op": "ping"})).await;
            if reply["type"] == "error" {
                break reply;
            }
            // Asked one by one, some are earned back: many at once use the rest up.
            for _ in 0..20 {
                alice.send(r#"{"op":"ping"}"#).await;
            }
        }
    };
    let refused = soon("a refusal", refused).await;
    let wait = std::time::Duration::from_millis(refused["retry_after_ms"].as_u64().unwrap());
    tokio::time::timeout(wait, std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(alice.request(json!({"op": "ping"})).await["type"], "pong");
    drop(alice);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_control_frames_ends_the_session_as_one_of_messages_does() {
    let (mut scene, alice) =
        (Scene::with_policy(&slow_viewers(5), |_| {}).await, Pki::get().client("acme/alice"));
    for first in [0x89, 0x8a] {
        let mut session = scene.connect(&alice).await;
        session.send_raw(&Frame { first, masked: true, payload: b"!" }.bytes().repeat(1_000)).await;
        assert_ended(&scene, &mut session, 4005, "SF-SES-044").await;
        scene.bystander_is_unharmed().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenth_malformed_message_in_ten_seconds_ends_the_session() {
    let (scene, alice) = (Scene::start(|_| {}).await, Pki::get().client("acme/alice"));
    let mut session = scene.connect(&alice).await;
    for _ in 0..9 {
        assert_eq!(session.error_of("[]").await, "SF-SES-012");
    }
    session.goes_on().await;
    assert_eq!(session.error_of("[]").await, "SF-SES-012", "the last one is answered too");
    assert_ended(&scene, &mut session, 4505, "SF-SES-025").await;
    let logged = scene.logged("limit", |event| event.has_code("SF-SES-025")).await;
    assert_eq!((logged.text("principal"), logged.text("limit")), ("acme/alice", "malformed"));
    scene.connect(&alice).await.goes_on().await;
    drop(session);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_asks_for_nothing_is_ended() {
    let scene = Scene::start(|config| config.limits.first_request_timeout_ms = 300).await;
    let alice = Pki::get().client("acme/alice");
    let mut silent = scene.connect(&alice).await;
    let mut pinging = scene.connect(&alice).await;
    pinging.send_message(Message::Ping("?".into())).await;
    for session in [&mut silent, &mut pinging] {
        assert_ended(&scene, session, 4504, "SF-SES-027").await;
    }
    let logged = scene.logged("limit", |event| event.has_code("SF-SES-027")).await;
    assert_eq!(logged.text("principal"), "acme/alice");
    drop(silent);
    drop(pinging);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_no_ping_is_ended_and_one_that_only_answers_pings_is_not() {
    let scene = Scene::start(|config| config.limits.idle_timeout_ms = 1_000).await;
    let mut silent = scene.connect(&Pki::get().client("acme/alice")).await;
    let mut listening = scene.connect(&Pki::get().client(BOB)).await;
    silent.goes_on().await;
    listening.goes_on().await;
    let id = silent.session.to_string();
    let (ends, mut ended) = tokio::sync::oneshot::channel::<()>();
    let reader = tokio::spawn(async move {
        tokio::select! {
            // Reads, and so answers pings; nothing is asked for and nothing comes.
            (ended, _) = listening.ended() => panic!("{ended:?}"),
            _ = &mut ended => listening,
        }
    });
    scene.logged("disconnect", |event| event.session.as_deref() == Some(&*id)).await;
    drop(ends);
    let mut listening = reader.await.unwrap();
    assert_ended(&scene, &mut silent, 4002, "SF-SES-028").await;
    listening.goes_on().await;
    drop(silent);
    drop(listening);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_lifetime() {
    let scene = Scene::start(|config| config.limits.session_lifetime_s = 1).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    alice.goes_on().await;
    assert_ended(&scene, &mut alice, 4006, "SF-SES-031").await;
    drop(alice);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_a_logout_is_not_done() {
    let (scene, mut bob) = forgiving().await;
    bob.send(r#"{"op":"logout","id":1}"#).await;
    bob.send(r#"{"op":"subscribe","id":2,"channel":"bbo","symbols":["SEAL"]}"#).await;
    let (ended, messages) = bob.ended().await;
    assert_eq!(ended.code, Some(1000));
    assert_eq!(messages.len(), 1, "{messages:?}");
    drop(bob);
    let events = scene.end().await;
    assert!(!events.iter().any(|event| event.kind == "subscribe" && event.text("principal") == BOB));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_without_a_close_frame_is_logged_as_such() {
    let mut scene = Scene::start(|_| {}).await;
    let alice = scene.connect(&Pki::get().client("acme/alice")).await;
    let session = alice.leave().to_string();
    let is_it = |event: &Logged| event.session.as_deref() == Some(&*session);
    let entry = scene.logged("disconnect", is_it).await;
    assert!(entry.text("reason").starts_with("SF-SES-039"), "{entry:?}");
    scene.bystander_is_unharmed().await;
    scene.end().await;
}
