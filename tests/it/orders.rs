//! Signed orders under attack: forged, stale, replayed, and sent again.
//!
//! A forged request costs its sender a fault and touches nothing; an authentic one spends its nonce once; the same
//! body under the same name trades once, however often it is signed.

use sealfeed::clock::Clock;
use sealfeed_wire::{Nonce, SessionId, SignedOp, UnixNanos};
use serde_json::{Value, json};

use crate::harness::{Client, Logged, Pki, Scene, frame_text, fresh_nonce};

const BOB: &str = "acme/bob";
const NEW: SignedOp = SignedOp::OrderNew;
/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// An order that rests far below the market.
pub(crate) fn resting(name: &str) -> String {
    format!(
        r#"{{"cl_ord_id":"{name}","symbol":"SEAL","side":"buy","type":"limit","qty":"1","price":"0.01","tif":"day"}}"#
    )
}

/// Now, moved by this many milliseconds.
pub(crate) fn now(ms: i64) -> UnixNanos {
    UnixNanos(Clock::System.now().0.checked_add_signed(ms * MS.cast_signed()).unwrap())
}

/// Asserts an error reply and returns it.
pub(crate) fn assert_error(reply: &Value, code: &str) {
    assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{reply}");
}

/// Asserts that an order was accepted; returns its receipt.
pub(crate) fn assert_accepted(reply: &Value) -> &Value {
    assert_eq!((&reply["type"], &reply["status"]), (&json!("order"), &json!("accepted")), "{reply}");
    &reply["receipt"]
}

/// Events of one kind that belong to a session.
pub(crate) fn of<'a>(events: &'a [Logged], kind: &str, session: SessionId) -> Vec<&'a Logged> {
    let id = session.to_string();
    events.iter().filter(|event| event.kind == kind && event.session.as_deref() == Some(&*id)).collect()
}

/// A session of [`BOB`] on a server that forgives many faults.
pub(crate) async fn forgiving() -> (Scene, Client) {
    let scene = Scene::start(|config| config.limits.malformed_max = 1_000).await;
    let bob = scene.connect(&Pki::get().client(BOB)).await;
    (scene, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_an_order_names_its_entry() {
    let (scene, mut bob) = forgiving().await;
    let body = resting("c-1");
    let signed = bob.sign(NEW, &body);
    let reply = bob.send_signed(&signed).await;
    let receipt = assert_accepted(&reply).clone();
    // The entry was durable before the answer left.
    let entry = scene.log_events("order").into_iter().find(|event| event.text("principal") == BOB).unwrap();
    assert_eq!((json!(entry.seq), json!(entry.hash)), (receipt["seq"].clone(), receipt["hash"].clone()));
    assert_eq!(entry.text("body"), body);
    assert_eq!(entry.order.map(|order| json!(order.to_string())), Some(reply["order_id"].clone()));
    assert_eq!(entry.session, Some(bob.session.to_string()));
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_mac_is_not_exactly_right_is_refused_and_spends_nothing() {
    let (mut scene, mut bob) = forgiving().await;
    let other_session = scene.connect(&Pki::get().client(BOB)).await;
    let erin = Pki::get().client("acme/erin").order_key;
    let body = resting("c-1");
    let (ts, nonce) = (now(0), fresh_nonce());
    let signed = bob.sign_at(NEW, &body, ts, nonce);
    let with = |field: &str, value: &str| {
        let mut changed = signed.clone();
        changed[field] = value.into();
        changed
    };
    let mut forged = vec![
        ("the op", with("op", "order.cancel")),
        ("the time", with("ts", &UnixNanos(ts.0 + 1).to_string())),
        ("the nonce", with("nonce", &fresh_nonce().to_string())),
        ("the price", with("body", &body.replace("0.01", "0.02"))),
        ("the name", with("body", &body.replace("c-1", "c-2"))),
        ("white space", with("body", &body.replace(r#","side""#, r#", "side""#))),
        ("an escape", with("body", &body.replace("SEAL", r"SEA\u004c"))),
        ("a field more", with("body", &body.replace('}', r#","post_only":false}"#))),
        ("another session", other_session.sign_at(NEW, &body, ts, nonce)),
        ("no key", with("mac", &"0".repeat(64))),
    ];
    let bobs = std::mem::replace(&mut bob.order_key, erin);
    forged.push(("another principal", bob.sign_at(NEW, &body, ts, nonce)));
    bob.order_key = bobs;
    let mac = sealfeed_wire::hex::decode::<32>(signed["mac"].as_str().unwrap()).unwrap();
    for place in 0..32 {
        let mut changed = mac;
        changed[place] ^= 1 << (place % 8);
        forged.push(("a bit of the mac", with("mac", &sealfeed_wire::hex::encode(&changed))));
    }
    let count = forged.len();
    for (what, forged) in forged {
        let reply = bob.send_signed(&forged).await;
        assert_eq!(reply["code"], "SF-ORD-001", "{what}: {reply}");
        assert_eq!((&reply["retryable"], reply.get("receipt")), (&json!(false), None), "{what}: {reply}");
    }
    scene.bystander_is_unharmed().await;
    // Neither the nonce nor the name was spent by any of them.
    assert_accepted(&bob.send_signed(&signed).await);
    drop(other_session);
    let bob = bob.leave();
    let events = scene.end().await;
    let rejects = of(&events, "reject", bob);
    assert_eq!(rejects.len(), count);
    for reject in rejects {
        assert!(reject.has_code("SF-ORD-001") && reject.text("principal") == BOB, "{}", reject.fields);
        assert!(matches!(reject.text("op"), "order.new" | "order.cancel"), "{}", reject.fields);
    }
    assert_eq!((of(&events, "order", bob).len(), of(&events, "order_refused", bob).len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_that_is_not_well_formed_is_refused_before_its_mac_is_looked_at() {
    let (scene, mut bob) = forgiving().await;
    let signed = bob.sign(NEW, &resting("c-1"));
    let text = frame_text(9, &signed);
    let part = |field: &str| signed[field].as_str().unwrap();
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from));
        text.replace(from, to)
    };
    let mac = format!(r#","mac":"{}""#, part("mac"));
    for (text, code) in [
        (replaced(part("ts"), &format!("0{}", part("ts"))), "SF-ORD-006"),
        (replaced(part("ts"), "18446744073709551616"), "SF-ORD-006"),
        (replaced(part("ts"), &format!("+{}", part("ts"))), "SF-ORD-006"),
        (replaced(&format!(r#""{}""#, part("ts")), part("ts")), "SF-SES-017"),
        (replaced(part("nonce"), &part("nonce").to_uppercase()), "SF-ORD-007"),
        (replaced(part("nonce"), &part("nonce")[2..]), "SF-ORD-007"),
        (replaced(part("mac"), &part("mac").replace(|char| char != 'x', "A")), "SF-ORD-008"),
        (replaced(part("mac"), &format!("{}00", part("mac"))), "SF-ORD-008"),
        (replaced(&mac, ""), "SF-ORD-009"),
        (replaced(&mac, &format!(r#"{mac},"sig":"AAAA""#)), "SF-ORD-070"),
        (replaced(&mac, &format!("{mac}{mac}")), "SF-SES-014"),
        (replaced(part("body"), "[]"), "SF-ORD-011"),
        (replaced(part("body"), r#""{}""#), "SF-ORD-011"),
        (replaced(&format!(r#","body":{}"#, part("body")), ""), "SF-SES-016"),
    ] {
        let reply = bob.ask(&*text).await;
        assert_error(&reply, code);
        scene.logged("reject", |event| event.has_code(code) && event.text("principal") == BOB).await;
    }
    assert_accepted(&bob.ask(text).await);
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenth_forged_order_in_ten_seconds_ends_the_session() {
    let scene = Scene::start(|_| {}).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    for number in 0..10 {
        let mut forged = bob.sign(NEW, &resting(&format!("c-{number}")));
        forged["mac"] = "0".repeat(64).into();
        assert_error(&bob.send_signed(&forged).await, "SF-ORD-001");
    }
    let (ended, _) = bob.ended().await;
    assert_eq!((ended.code, &*ended.reason), (Some(4505), "SF-SES-025"));
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_or_future_order_is_refused_with_the_evidence_in_the_log() {
    let (scene, mut bob) = forgiving().await;
    let window = i64::try_from(bob.welcome["order_window_ms"].as_u64().unwrap()).unwrap();
    for (ts, code) in [
        (now(-window - 1), "SF-ORD-002"),
        (now(-3_600_000), "SF-ORD-002"),
        (UnixNanos(0), "SF-ORD-002"),
        (now(5_000), "SF-ORD-004"),
        (now(3_600_000), "SF-ORD-004"),
        (UnixNanos(u64::MAX), "SF-ORD-004"),
    ] {
        let nonce = fresh_nonce();
        let signed = bob.sign_at(NEW, &resting("late"), ts, nonce);
        let reply = bob.send_signed(&signed).await;
        assert_error(&reply, code);
        assert_eq!(reply["cl_ord_id"], "late", "{reply}");
        let logged = scene.logged("order_refused", |event| event.fields["ts"] == ts.0).await;
        assert_eq!((logged.text("code"), logged.text("principal")), (code, BOB));
        assert_eq!((logged.text("body"), logged.text("op")), (&*resting("late"), "order.new"));
        assert_eq!(logged.fields["nonce"], json!(nonce.0));
        // Not fresh, so its nonce was not spent, and nothing bound the name.
        let name = format!("again-{}", ts.0);
        let signed = bob.sign_at(NEW, &resting(&name), now(0), nonce);
        assert_accepted(&bob.send_signed(&signed).await);
    }
    let ahead = bob.sign_at(NEW, &resting("ahead"), now(500), fresh_nonce());
    assert_accepted(&bob.send_signed(&ahead).await);
    let old = bob.sign_at(NEW, &resting("late"), now(2_000 - window), fresh_nonce());
    assert_accepted(&bob.send_signed(&old).await);
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_refused_on_its_own_connection_and_on_every_other() {
    let (scene, mut bob) = forgiving().await;
    let (ts, nonce) = (now(0), fresh_nonce());
    let signed = bob.sign_at(NEW, &resting("c-1"), ts, nonce);
    assert_accepted(&bob.send_signed(&signed).await);
    let reply = bob.send_signed(&signed).await;
    assert_error(&reply, "SF-ORD-003");
    assert_eq!((&reply["retryable"], reply.get("receipt")), (&json!(false), None), "{reply}");
    // Whatever it carries, and whenever it is signed.
    let other_body = bob.sign_at(NEW, &resting("c-2"), now(0), nonce);
    assert_error(&bob.send_signed(&other_body).await, "SF-ORD-003");
    let mut second = scene.connect(&Pki::get().client(BOB)).await;
    assert_error(&second.send_signed(&signed).await, "SF-ORD-001");
    let signed_for_it = second.sign_at(NEW, &resting("c-1"), ts, nonce);
    assert_error(&second.send_signed(&signed_for_it).await, "SF-ORD-003");
    // After a reconnect too.
    bob.ask(r#"{"op":"logout"}"#).await;
    bob.ended().await;
    let mut third = scene.connect(&Pki::get().client(BOB)).await;
    assert_error(&third.send_signed(&signed).await, "SF-ORD-001");
    let signed_for_it = third.sign_at(NEW, &resting("c-1"), now(0), nonce);
    assert_error(&third.send_signed(&signed_for_it).await, "SF-ORD-003");
    // Nonces are counted for each principal alone.
    let mut erin = scene.connect(&Pki::get().client("acme/erin")).await;
    let same_nonce = erin.sign_at(NEW, &resting("c-1"), ts, nonce);
    assert_accepted(&erin.send_signed(&same_nonce).await);
    let second = second.leave();
    let third = third.leave();
    drop(erin);
    drop(bob);
    let events = scene.end().await;
    let orders = events.iter().filter(|event| event.kind == "order" && event.text("principal") == BOB);
    assert_eq!(orders.count(), 1);
    let replays = events.iter().filter(|event| event.kind == "order_refused" && event.has_code("SF-ORD-003"));
    assert!(replays.clone().all(|event| event.fields["nonce"] == json!(nonce.0)));
    assert_eq!(replays.count(), 4);
    for session in [second, third] {
        assert!(of(&events, "reject", session).iter().any(|event| event.has_code("SF-ORD-001")));
    }
}

/// A reply without what belongs to the request and not to the answer.
fn answer_of(reply: &Value) -> Value {
    let mut answer = reply.clone();
    for field in ["id", "rate_limits"] {
        answer.as_object_mut().unwrap().remove(field);
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_body_signed_again_gets_the_same_answer_and_trades_nothing() {
    let (scene, mut bob) = forgiving().await;
    // Takes from the market, so that doing it twice would show.
    let taking = r#"{"cl_ord_id":"t-1","symbol":"SEAL","side":"buy","type":"market","qty":"3","tif":"ioc"}"#;
    let too_much = resting("big").replace(r#""qty":"1""#, r#""qty":"1001""#);
    let cancel = r#"{"cl_ord_id":"x-1","orig_cl_ord_id":"c-1"}"#.to_owned();
    let orders = [(NEW, taking.to_owned()), (NEW, resting("c-1")), (NEW, too_much)];
    let mut first = Vec::new();
    for (op, body) in orders.into_iter().chain([(SignedOp::OrderCancel, cancel)]) {
        first.push((op, body.clone(), bob.order(op, &body).await));
    }
    assert_accepted(&first[0].2);
    assert_error(&first[2].2, "SF-RSK-001");
    assert!(first[2].2["receipt"]["seq"].is_u64(), "a final refusal carries its receipt: {}", first[2].2);
    let mut again = scene.connect(&Pki::get().client(BOB)).await;
    for (op, body, reply) in &first {
        for session in [&mut bob, &mut again] {
            assert_eq!(answer_of(&session.order(*op, body).await), answer_of(reply));
        }
    }
    let status = bob.request(json!({"op": "order.status", "cl_ord_id": "t-1"})).await;
    assert_eq!((&status["state"], &status["cum_qty"]), (&json!("filled"), &json!("3")), "{status}");
    drop(again);
    drop(bob);
    let events = scene.end().await;
    let count = |kind: &str| {
        events.iter().filter(|event| event.kind == kind && event.text("principal") == BOB).count()
    };
    assert_eq!((count("order"), count("order_refused"), count("order_repeated")), (3, 1, 8));
    let filled = events.iter().filter(|event| event.text("cl_ord_id") == "t-1" && event.kind == "execution");
    let quantity: u64 = filled.map(|event| event.fields["quantity"].as_u64().unwrap()).sum();
    assert_eq!(quantity, 3_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_under_a_known_name_is_refused_and_changes_nothing() {
    let (scene, mut bob) = forgiving().await;
    let first = bob.order(NEW, &resting("c-1")).await;
    let cancel = r#"{"cl_ord_id":"c-1","orig_cl_ord_id":"c-0"}"#;
    for (op, body) in [
        (NEW, resting("c-1").replace("0.01", "0.02")),
        (NEW, resting("c-1").replace(r#""qty":"1""#, r#""qty":"1.0""#)),
        (NEW, format!("{} }}", resting("c-1").trim_end_matches('}'))),
        (SignedOp::OrderCancel, cancel.to_owned()),
    ] {
        let reply = bob.order(op, &body).await;
        assert_error(&reply, "SF-ORD-018");
        assert_eq!((&reply["cl_ord_id"], &reply["retryable"]), (&json!("c-1"), &json!(false)), "{reply}");
    }
    assert_eq!(answer_of(&bob.order(NEW, &resting("c-1")).await), answer_of(&first));
    // Another principal's names are its own.
    let mut erin = scene.connect(&Pki::get().client("acme/erin")).await;
    assert_accepted(&erin.order(NEW, &resting("c-1").replace("0.01", "0.02")).await);
    drop(erin);
    let bob = bob.leave();
    let events = scene.end().await;
    let refused = of(&events, "order_refused", bob);
    assert!(refused.iter().all(|event| event.has_code("SF-ORD-018") && event.text("principal") == BOB));
    assert_eq!((refused.len(), of(&events, "order", bob).len()), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_of_all_zeros_or_all_ones_is_a_nonce_like_any_other() {
    let (scene, mut bob) = forgiving().await;
    for (name, byte) in [("zeros", 0), ("ones", 0xff)] {
        let signed = bob.sign_at(NEW, &resting(name), now(0), Nonce([byte; 16]));
        assert_accepted(&bob.send_signed(&signed).await);
        assert_error(&bob.send_signed(&signed).await, "SF-ORD-003");
    }
    drop(bob);
    scene.end().await;
}
