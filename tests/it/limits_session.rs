//! Limits inside a session, over all sessions of a principal, and under pressure. Rates and faults of one session: `messages`.

use sealfeed::config::Config;
use serde_json::json;

use crate::harness::{Ended, Frame, Pki, Received, Scene, fresh_address, soon, tcp_from};

/// A policy under which viewers may send so many messages a second.
fn viewers(messages_per_second: u32) -> String {
    format!(
        r#"
        [[rule]]
        name = "viewers"
        match = {{ role = "viewer" }}
        channels = ["trades", "bbo"]
        symbols = ["*"]
        [rule.limits]
        messages_per_second = {messages_per_second}
        [[rule]]
        name = "traders"
        match = {{ firm = "acme", role = "trader" }}
        channels = ["trades", "bbo"]
        symbols = ["*"]
        "#
    )
}

/// The limit was met by its documented name and code, and its entry says so.
async fn assert_limit(scene: &Scene, limit: &str, code: &str) {
    let logged = scene.logged("limit", |event| event.text("limit") == limit).await;
    assert_eq!((logged.text("code"), logged.text("principal")), (code, "acme/alice"), "{}", logged.fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_too_many_frames_ends_the_session_and_one_in_as_many_as_allowed_does_not() {
    let mut scene = Scene::start(|config| config.limits.fragments_max = 3).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    let part = |first, payload| Frame { first, masked: true, payload }.bytes();
    let whole = [part(0x01, &b"{\"op\":"[..]), part(0x00, b""), part(0x80, b"\"ping\",\"id\":7}")].concat();
    alice.send_raw(&whole).await;
    assert_eq!(alice.reply().await["id"], 7);
    alice.send_raw(&[part(0x01, b"{"), part(0x00, b""), part(0x00, b""), part(0x00, b"")].concat()).await;
    let (ended, _) = alice.ended().await;
    assert_eq!(ended, Ended { code: Some(4504), reason: "SF-SES-045".to_owned() });
    assert_limit(&scene, "fragments", "SF-SES-045").await;
    scene.bystander_is_unharmed().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_become_whole_ends_the_session_however_often_a_byte_of_it_comes() {
    let mut scene = Scene::start(|config| config.limits.message_timeout_ms = 400).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    let mut frame = Frame { first: 0x81, masked: true, payload: &[b' '; 8_000] }.bytes().into_iter();
    let ended = async {
        loop {
            alice.send_raw(&[frame.next().unwrap_or(b' ')]).await;
            let next = tokio::time::timeout(std::time::Duration::from_millis(20), alice.receive()).await;
            if let Ok(Received::End(ended)) = next {
                break ended;
            }
        }
    };
    let ended = soon("the end", ended).await;
    assert_eq!(ended, Ended { code: Some(4504), reason: "SF-SES-046".to_owned() });
    assert_limit(&scene, "message_time", "SF-SES-046").await;
    scene.bystander_is_unharmed().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_of_a_principal_share_a_rate_and_other_principals_do_not_notice() {
    let change = |config: &mut Config| {
        config.limits.principal_messages_factor = 1;
        config.limits.malformed_max = 1_000;
    };
    let mut scene = Scene::with_policy(&viewers(5), change).await;
    let who = Pki::get().client("acme/alice");
    let mut sessions = [scene.connect(&who).await, scene.connect(&who).await, scene.connect(&who).await];
    // Each sends less than it may alone, all together more.
    let refused = async {
        loop {
            for session in &mut sessions {
                let reply = session.request(json!({"op": "ping"})).await;
                if reply["code"] == "SF-SES-048" {
                    return reply;
                }
            }
        }
    };
    let refused = soon("a refusal", refused).await;
    assert_eq!(refused["retryable"], true, "{refused}");
    assert!((1..=1_000).contains(&refused["retry_after_ms"].as_u64().unwrap()), "{refused}");
    let names: Vec<_> = refused["rate_limits"].as_array().unwrap().iter().map(|rate| &rate["name"]).collect();
    assert_eq!(names, ["messages", "principal_messages"], "{refused}");
    assert_eq!(refused["rate_limits"][1]["limit"], 5, "{refused}");
    assert_limit(&scene, "principal_messages", "SF-SES-048").await;
    scene.bystander_is_unharmed().await;
    drop(sessions);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_many_symbols_costs_more_of_the_message_rate() {
    let scene = Scene::with_policy(&viewers(4), |_| {}).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    let symbols: Vec<_> = (0..40).map(|number| format!("S{number}")).collect();
    // All there is: whatever comes right behind has to wait.
    for id in [1, 2] {
        let request = json!({"op": "unsubscribe", "id": id, "channel": "trades", "symbols": symbols});
        alice.send(request.to_string()).await;
    }
    // The refusal does not wait for the pipeline: it may come first.
    let replies = [alice.reply().await, alice.reply().await];
    let of = |id| replies.iter().find(|reply| reply["id"] == id).unwrap();
    let (first, second) = (of(1), of(2));
    assert_ne!(first["code"], "SF-SES-024", "{first}");
    // A machine so slow that it earns four back between the two has shown nothing.
    if second["code"] == "SF-SES-024" {
        assert!(second["retry_after_ms"].as_u64().unwrap() > 250, "it waits for all of its cost: {second}");
    }
    drop(alice);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_elevated_pressure_rates_are_halved_for_whoever_is_not_trusted_and_come_back_after_it() {
    let change = |config: &mut Config| {
        config.limits.connections_max = 5;
        config.limits.trusted.principals = vec!["acme/dave".to_owned()];
    };
    let scene = Scene::with_policy(&viewers(10), change).await;
    let who = Pki::get().client("acme/alice");
    let mut alice = scene.connect(&who).await;
    // Four of five.
    let others = [scene.connect(&who).await, scene.connect(&who).await];
    let event = scene.logged("pressure", |event| event.text("level") == "elevated").await;
    assert_eq!((event.text("before"), event.text("cause")), ("normal", "connections"), "{}", event.fields);
    let refused = async {
        loop {
            for _ in 0..20 {
                alice.send_if_open(r#"{"op":"ping","id":1}"#.to_owned()).await;
            }
            let reply = alice.message_where(|message| message["type"] == "error").await;
            if reply["code"] == "SF-SES-024" {
                break reply;
            }
        }
    };
    let refused = soon("a refusal", refused).await;
    assert_eq!(refused["rate_limits"][0]["limit"], 5, "{refused}");
    drop((others, alice));
    let event = scene.logged("pressure", |event| event.text("level") == "normal").await;
    assert_eq!(event.text("before"), "elevated");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_severe_pressure_only_addresses_that_are_known_or_trusted_are_let_in() {
    let trusted = fresh_address();
    let change = |config: &mut Config| {
        config.limits.connections_max = 40;
        config.limits.trusted.addresses = vec![trusted.to_string().parse().unwrap()];
    };
    let mut scene = Scene::with_policy(&viewers(100), change).await;
    let who = Pki::get().client("acme/alice");
    let known = fresh_address();
    drop(scene.tls_over(tcp_from(known, scene.address).await, &who).await);
    let first = scene.connect(&who).await;
    let known_by_session: std::net::SocketAddr = first.address.parse().unwrap();
    // The bystander, alice, and thirty-six that hold a place: 38 of 40.
    let mut holders = Vec::new();
    for _ in 0..36 {
        holders.push(scene.tls(&who).await);
    }
    scene.logged("pressure", |event| event.text("level") == "severe").await;
    for (from, is_let_in) in
        [(fresh_address(), false), (known, false), (known_by_session.ip(), true), (trusted, true)]
    {
        let mut tcp = tcp_from(from, scene.address).await;
        let address = tcp.local_addr().unwrap().to_string();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut tcp, b"this is no TLS").await;
        let mut answer = Vec::new();
        let _ = soon("the end", tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut answer)).await;
        assert_eq!(!answer.is_empty(), is_let_in, "{from}");
        if !is_let_in {
            let limit = scene.logged("limit", |event| event.text("address") == address).await;
            assert_eq!((limit.text("limit"), limit.text("code")), ("pressure", "SF-TLS-039"));
        }
    }
    scene.bystander_is_unharmed().await;
    drop((holders, first));
    scene.logged("pressure", |event| event.text("level") == "normal").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_how_the_rate_stood_that_it_was_counted_against() {
    let scene = Scene::with_policy(&viewers(100), |_| {}).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    for (request, kind) in [
        (json!({"op": "ping"}), "pong"),
        (json!({"op": "whoami"}), "whoami"),
        (json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL"]}), "subscribed"),
        (json!({"op": "unsubscribe", "channel": "trades", "symbols": ["SEAL"]}), "ok"),
        (json!({"op": "unsubscribe", "channel": "trades", "symbols": ["SEAL"]}), "error"),
        (json!({"op": "order.status", "cl_ord_id": "c-1"}), "order_status"),
        (json!({"op": "nothing"}), "error"),
        (json!({"op": "logout"}), "ok"),
    ] {
        let reply = alice.request(request).await;
        assert_eq!(reply["type"], kind, "{reply}");
        let rate = &reply["rate_limits"][0];
        assert_eq!((&rate["name"], &rate["limit"]), (&json!("messages"), &json!(100)), "{reply}");
        assert!((1..=100).contains(&rate["used"].as_u64().unwrap()), "{reply}");
    }
    alice.ended().await;
    scene.end().await;
}
