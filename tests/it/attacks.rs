//! What an attacker can do with messages it has seen, keys it has not, and time: every attempt has its coded answer and
//! its sealed entry and its figure (`Scene::end` compares the two), spends nothing that is not its own, and leaves a bystander unharmed.
//!
//! Forged MACs and replays on one server: `orders`. Values that are none: `order_limits`. Here: every byte, every mixture,
//! the edges of time, other servers and restarts, floods, and what is said twice.

use std::time::Duration;

use sealfeed::clock::Clock;
use sealfeed_wire::{SignedOp, UnixNanos};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, POLICY, Pki, Scene, Server, frame_text, fresh_nonce, soon};
use crate::orders::{assert_accepted, assert_error, forgiving, now, of, resting};

const BOB: &str = "acme/bob";
const NEW: SignedOp = SignedOp::OrderNew;

/// The code of an error reply; panics if it is none.
fn code(reply: &Value) -> &str {
    assert_eq!(reply["type"], "error", "{reply}");
    reply["code"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_changed_anywhere_in_a_signed_message_is_refused_and_spends_nothing() {
    let (mut scene, mut bob) = forgiving().await;
    let text = frame_text(7, &bob.sign(NEW, &resting("c-1")));
    // The id is the client's own name for the reply: it is not signed.
    let id = text.find(r#""id":7"#).unwrap() + r#""id":"#.len();
    let mut sent = 0;
    for at in (0..text.len()).filter(|at| *at != id) {
        let mut changed = text.clone().into_bytes();
        // Another digit or letter stays one, so that the signed fields stay well-formed where they can.
        changed[at] ^= if changed[at].is_ascii_alphanumeric() { 1 } else { 2 };
        let changed = String::from_utf8(changed).unwrap();
        let reply = bob.ask(&*changed).await;
        let code = code(&reply);
        assert!(code.starts_with("SF-SES-0") || code.starts_with("SF-ORD-0"), "{changed}: {reply}");
        sent += 1;
    }
    scene.bystander_is_unharmed().await;
    assert_accepted(&bob.ask(text).await);
    let bob = bob.leave();
    let events = scene.end().await;
    let rejects = of(&events, "reject", bob);
    assert_eq!(rejects.len(), sent, "each has its entry");
    let unauthentic = rejects.iter().filter(|reject| reject.has_code("SF-ORD-001")).count();
    // Of the random digits of nonce and MAC, those that are a or f become no hex: twelve of them, or more.
    assert!(unauthentic > 120, "{unauthentic} came as far as the MAC");
    assert_eq!((of(&events, "order", bob).len(), of(&events, "order_refused", bob).len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mixture_of_two_signed_messages_is_a_third() {
    let (mut scene, mut bob) = forgiving().await;
    let one = bob.sign(NEW, &resting("c-1"));
    let two = bob.sign_at(
        SignedOp::OrderCancel,
        r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"}"#,
        now(1),
        fresh_nonce(),
    );
    let fields = ["op", "ts", "nonce", "mac", "body"];
    let mut sent = 0;
    for mixture in 1..(1 << fields.len()) - 1 {
        let mut mixed = one.clone();
        for (index, field) in fields.into_iter().enumerate() {
            if mixture >> index & 1 == 1 {
                mixed[field] = two[field].clone();
            }
        }
        assert_error(&bob.send_signed(&mixed).await, "SF-ORD-001");
        sent += 1;
    }
    scene.bystander_is_unharmed().await;
    assert_accepted(&bob.send_signed(&one).await);
    assert_accepted(&bob.send_signed(&two).await);
    let bob = bob.leave();
    let events = scene.end().await;
    assert_eq!(of(&events, "reject", bob).len(), sent);
    assert_eq!(of(&events, "order", bob).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_is_judged_to_the_nanosecond_at_both_ends_of_the_window() {
    let (start, folder) = (Clock::System.now(), TempDir::new().unwrap());
    let clock = Clock::manual(start);
    let change = |config: &mut sealfeed::config::Config| config.limits.malformed_max = 1_000;
    let server = Server::try_start_by(clock, folder, POLICY, change).await.unwrap();
    let mut bob = server.connect(&Pki::get().client(BOB)).await;
    let window = i64::try_from(bob.welcome["order_window_ms"].as_u64().unwrap()).unwrap() * 1_000_000;
    let second = 1_000_000_000;
    for (offset_ns, expected) in [
        (second + 1_000_000, Some("SF-ORD-004")),
        (second, Some("SF-ORD-004")),
        (second - 1, None),
        (-window, None),
        (-window - 1, Some("SF-ORD-002")),
        (-window - 1_000_000, Some("SF-ORD-002")),
    ] {
        let ts = UnixNanos(start.0.checked_add_signed(offset_ns).unwrap());
        let signed = bob.sign_at(NEW, &resting(&format!("t{}", ts.0)), ts, fresh_nonce());
        let reply = bob.send_signed(&signed).await;
        match expected {
            None => {
                assert_accepted(&reply);
            }
            Some(expected) => {
                assert_error(&reply, expected);
                let logged = server.logged("order_refused", |event| event.fields["ts"] == ts.0).await;
                assert_eq!((logged.text("code"), logged.text("principal")), (expected, BOB));
            }
        }
    }
    bob.leave();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_worthless_after_a_restart_and_on_another_server_with_the_same_keys() {
    let server = Server::start(|_| {}).await;
    let mut bob = server.connect(&Pki::get().client(BOB)).await;
    let (ts, nonce) = (now(900), fresh_nonce());
    let signed = bob.sign_at(NEW, &resting("c-1"), ts, nonce);
    assert_accepted(&bob.send_signed(&signed).await);
    bob.leave();
    // The keys come from the same master secret and the same certificate.
    let mut other = Scene::start(|_| {}).await;
    let mut elsewhere = other.connect(&Pki::get().client(BOB)).await;
    assert_error(&elsewhere.send_signed(&signed).await, "SF-ORD-001");
    other.bystander_is_unharmed().await;
    let elsewhere = elsewhere.leave();
    let events = other.end().await;
    assert!(of(&events, "reject", elsewhere).iter().any(|event| event.has_code("SF-ORD-001")));
    assert_eq!(of(&events, "order", elsewhere).len(), 0);

    let (_, folder) = server.finish().await;
    let again = Server::try_start(folder, POLICY, |_| {}).await.unwrap();
    let mut bob = again.connect(&Pki::get().client(BOB)).await;
    assert_error(&bob.send_signed(&signed).await, "SF-ORD-001");
    let session = bob.leave();
    again.figures_say_what_the_log_says().await;
    assert_eq!(again.figures().refusals("reject", "SF-ORD-001"), 1.0, "of this run alone");
    let (events, _) = again.finish().await;
    assert!(of(&events, "reject", session).iter().any(|event| event.has_code("SF-ORD-001")));
    assert_eq!(
        events.iter().filter(|event| event.kind == "order" && event.text("principal") == BOB).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_said_twice_is_refused_in_the_envelope_and_in_the_body() {
    let (mut scene, mut bob) = forgiving().await;
    let text = frame_text(7, &bob.sign(NEW, &resting("c-1")));
    for field in ["op", "id", "ts", "nonce", "mac"] {
        let start = text.find(&format!("\"{field}\":")).unwrap();
        let end = start + text[start..].find(',').unwrap();
        let twice = format!("{},{}", &text[..end], &text[start..]);
        assert_error(&bob.ask(twice).await, "SF-SES-014");
    }
    let body = text.find("\"body\":").unwrap();
    let twice = format!("{},{}", &text[..text.len() - 1], &text[body..]);
    assert_error(&bob.ask(twice).await, "SF-SES-014");
    // Signed by the right key: authentic, and still no order.
    for field in ["cl_ord_id", "symbol", "side", "type", "qty", "price", "tif"] {
        let order = resting("twice");
        let start = order.find(&format!("\"{field}\":")).unwrap();
        let end = start + order[start..].find([',', '}']).unwrap();
        let twice = format!("{{{},{}", &order[start..end], &order[1..]);
        assert_error(&bob.order(NEW, &twice).await, "SF-ORD-012");
    }
    scene.bystander_is_unharmed().await;
    assert_accepted(&bob.ask(text).await);
    let bob = bob.leave();
    let events = scene.end().await;
    assert_eq!((of(&events, "reject", bob).len(), of(&events, "order_refused", bob).len()), (6, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_is_read_as_strictly_as_an_order() {
    let (mut scene, mut bob) = forgiving().await;
    let replace = |change: &str| format!(r#"{{"cl_ord_id":"r","orig_cl_ord_id":"c",{change}}}"#);
    let cases = [
        (r#""qty":"0""#, "SF-ORD-027"),
        (r#""qty":"-1""#, "SF-ORD-024"),
        (r#""qty":"1e1""#, "SF-ORD-024"),
        (r#""qty":"1.0000000000""#, "SF-ORD-025"),
        (r#""qty":"9223372036854775808""#, "SF-ORD-024"),
        (r#""qty":1"#, "SF-ORD-015"),
        (r#""price":"1E-2""#, "SF-ORD-019"),
        (r#""price":"-0""#, "SF-ORD-019"),
        (r#""price":"0.0000000001""#, "SF-ORD-020"),
        (r#""price":"9223372036854775808""#, "SF-ORD-019"),
        (r#""price":"1","price":"1""#, "SF-ORD-012"),
        (r#""price":"1","stp":"cancel_both""#, "SF-ORD-013"),
    ];
    for (change, expected) in cases {
        let body = replace(change);
        assert_error(&bob.order(SignedOp::OrderReplace, &body).await, expected);
        let logged = scene.logged("order_refused", |event| event.text("body") == body).await;
        assert_eq!((logged.text("code"), logged.text("op")), (expected, "order.replace"));
    }
    scene.bystander_is_unharmed().await;
    drop(bob);
    scene.end().await;
}

/// Sends an order whose MAC is nobody's.
async fn forged(session: &mut Client) -> Value {
    let mut forged = session.sign(NEW, &resting("forged"));
    forged["mac"] = "f".repeat(64).into();
    session.send_signed(&forged).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_flood_never_enters_the_memory_of_nonces_and_an_authentic_one_fills_its_own_share_only() {
    const SHARE: usize = 20;
    let mut scene = Scene::start(|config| {
        config.orders.nonces_per_principal_max = SHARE;
        config.orders.nonces_max = 2 * SHARE;
        config.limits.malformed_max = 1_000;
    })
    .await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let mut erin = scene.connect(&Pki::get().client("acme/erin")).await;
    for _ in 0..5 * SHARE {
        assert_error(&forged(&mut bob).await, "SF-ORD-001");
    }
    let mut live = Vec::new();
    for number in 0..SHARE {
        let signed = bob.sign_at(NEW, &resting(&format!("c-{number}")), now(900), fresh_nonce());
        assert_accepted(&bob.send_signed(&signed).await);
        live.push(signed);
    }
    for number in 0..SHARE {
        let reply = bob.order(NEW, &resting(&format!("more-{number}"))).await;
        assert_error(&reply, "SF-ORD-005");
        assert_eq!(reply["retryable"], true, "{reply}");
    }
    // A second session has no second share.
    let mut second = scene.connect(&Pki::get().client(BOB)).await;
    assert_error(&second.order(NEW, &resting("second")).await, "SF-ORD-005");
    // Others trade on, and nothing that lives was forgotten for it.
    for number in 0..SHARE {
        assert_accepted(&erin.order(NEW, &resting(&format!("e-{number}"))).await);
    }
    for signed in &live {
        assert_error(&bob.send_signed(signed).await, "SF-ORD-003");
    }
    scene.bystander_is_unharmed().await;
    let bob = bob.leave();
    drop(second);
    drop(erin);
    let events = scene.end().await;
    let refused =
        |code: &str| of(&events, "order_refused", bob).iter().filter(|event| event.has_code(code)).count();
    assert_eq!((refused("SF-ORD-005"), refused("SF-ORD-003")), (SHARE, SHARE));
    assert_eq!((of(&events, "reject", bob).len(), of(&events, "order", bob).len()), (5 * SHARE, SHARE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memory_of_nonces_refuses_until_there_is_room_and_bound_nothing_meanwhile() {
    let scene = Scene::start(|config| {
        config.orders.nonces_max = 4;
        config.orders.window_ms = 1_000;
    })
    .await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let mut live = Vec::new();
    for number in 0..4 {
        let signed = bob.sign_at(NEW, &resting(&format!("c-{number}")), now(900), fresh_nonce());
        assert_accepted(&bob.send_signed(&signed).await);
        live.push(signed);
    }
    let reply = bob.order(NEW, &resting("one-more")).await;
    assert_error(&reply, "SF-ORD-005");
    assert_eq!((&reply["retryable"], &reply["cl_ord_id"]), (&json!(true), &json!("one-more")), "{reply}");
    let logged = scene.logged("order_refused", |event| event.has_code("SF-ORD-005")).await;
    assert_eq!(logged.text("principal"), BOB);
    // The refusal bound nothing: signed afresh, the order goes through as soon as there is room.
    // Not as often as a quick machine could: that is a flood.
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let accepted = async {
        loop {
            again.tick().await;
            let reply = bob.order(NEW, &resting("one-more")).await;
            if reply["type"] == "order" {
                break reply;
            }
            assert_error(&reply, "SF-ORD-005");
        }
    };
    soon("room in the cache", accepted).await;
    for signed in &live {
        let reply = bob.send_signed(signed).await;
        assert!(matches!(reply["code"].as_str(), Some("SF-ORD-002" | "SF-ORD-003")), "{reply}");
    }
    drop(bob);
    scene.end().await;
}
