//! Entitlement: what a principal may not see is refused symbol by symbol, with nothing given away; and what was
//! granted ends with the certificate it was granted to.

use serde_json::{Value, json};

use crate::harness::{Client, Ended, HttpAnswer, POLICY, Pki, Scene, UPGRADE};
use crate::orders::{assert_accepted, assert_error, resting};

const ALICE: &str = "acme/alice";
const DAVE: &str = "beta/dave";

async fn subscribe(session: &mut Client, channel: &str, symbols: &[&str]) -> Value {
    session.request(json!({"op": "subscribe", "channel": channel, "symbols": symbols})).await
}

/// Asserts that a whole request was refused, on the wire and in the log.
async fn assert_rejected(scene: &Scene, session: &Client, reply: &Value, code: &str) {
    assert_error(reply, code);
    let id = session.session.to_string();
    let is_it =
        |event: &crate::harness::Logged| event.session.as_deref() == Some(&*id) && event.has_code(code);
    let logged = scene.logged("reject", is_it).await;
    assert!(!logged.text("principal").is_empty() && !logged.text("op").is_empty(), "{}", logged.fields);
}

/// Asserts that one symbol was refused while the request was answered, on the wire and in the log.
fn assert_symbol_refused(scene: &Scene, session: &Client, reply: &Value, symbol: &str, code: &str) {
    assert_eq!(reply["type"], "subscribed", "{reply}");
    assert_eq!(reply["refused"][symbol]["code"], code, "{reply}");
    assert_eq!(reply["symbols"][symbol], Value::Null, "{reply}");
    let id = session.session.to_string();
    let events = scene.log_events("subscribe");
    let logged = events.iter().rfind(|event| event.session.as_deref() == Some(&*id)).unwrap();
    let refused = logged.fields["refused"].as_array().unwrap();
    assert!(refused.contains(&json!([symbol, code])), "{}", logged.fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_entitled_is_refused_and_the_rest_is_granted() {
    let mut scene = Scene::start(|_| {}).await;
    let mut dave = scene.connect(&Pki::get().client(DAVE)).await;
    let reply = subscribe(&mut dave, "trades", &["SEAL", "FEED", "NOPE"]).await;
    assert!(reply["symbols"]["SEAL"].is_object(), "{reply}");
    // FEED is there and NOPE is not: one who may see neither is told the same of both.
    assert_symbol_refused(&scene, &dave, &reply, "FEED", "SF-SUB-003");
    assert_symbol_refused(&scene, &dave, &reply, "NOPE", "SF-SUB-003");
    assert_eq!(reply["refused"]["FEED"], reply["refused"]["NOPE"]);
    let reply = subscribe(&mut dave, "bbo", &["SEAL"]).await;
    assert_symbol_refused(&scene, &dave, &reply, "SEAL", "SF-SUB-004");
    for depth in [50, 0] {
        let request = json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL"], "depth": depth});
        let reply = dave.request(request).await;
        assert_symbol_refused(&scene, &dave, &reply, "SEAL", "SF-SUB-005");
    }
    let reply = subscribe(&mut dave, "trades", &["*"]).await;
    assert_rejected(&scene, &dave, &reply, "SF-SUB-006").await;
    let mut alice = scene.connect(&Pki::get().client(ALICE)).await;
    let reply = subscribe(&mut alice, "trades", &["SEAL", "NOPE"]).await;
    assert_symbol_refused(&scene, &alice, &reply, "NOPE", "SF-SUB-002");
    let reply = subscribe(&mut alice, "orders", &["*"]).await;
    assert_rejected(&scene, &alice, &reply, "SF-SUB-004").await;
    scene.bystander_is_unharmed().await;
    drop(dave);
    drop(alice);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_never_arrives() {
    let scene = Scene::start(|_| {}).await;
    let mut dave = scene.connect(&Pki::get().client(DAVE)).await;
    let mut bob = scene.connect(&Pki::get().client("acme/bob")).await;
    subscribe(&mut dave, "book", &["SEAL", "FEED"]).await;
    subscribe(&mut dave, "bbo", &["SEAL"]).await;
    subscribe(&mut dave, "orders", &["*"]).await;
    // Something happens in both books, and to somebody else's orders.
    assert_accepted(&bob.order(sealfeed_wire::SignedOp::OrderNew, &resting("c-1")).await);
    let feed = resting("c-2").replace("SEAL", "FEED");
    assert_accepted(&bob.order(sealfeed_wire::SignedOp::OrderNew, &feed).await);
    for (symbol, side) in [("FEED", "buy"), ("SEAL", "buy"), ("FEED", "sell"), ("SEAL", "sell")] {
        let body = format!(
            r#"{{"cl_ord_id":"{symbol}-{side}","symbol":"{symbol}","side":"{side}","type":"market","qty":"1","tif":"ioc"}}"#
        );
        assert_accepted(&bob.order(sealfeed_wire::SignedOp::OrderNew, &body).await);
    }
    let mut deltas = 0;
    while deltas < 2 {
        let message = dave.message().await;
        match message["type"].as_str() {
            Some("snapshot" | "delta") => {
                assert_eq!((&message["channel"], &message["symbol"]), (&json!("book"), &json!("SEAL")));
                deltas += usize::from(message["type"] == "delta");
            }
            Some("subscribed" | "heartbeat") => {}
            _ => panic!("dave was sent {message}"),
        }
    }
    drop(dave);
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_says_nothing_useful_is_refused_whole() {
    let scene = Scene::start(|config| config.limits.malformed_max = 1_000).await;
    let mut alice = scene.connect(&Pki::get().client(ALICE)).await;
    for (channel, symbols, code) in [
        ("ticker", json!(["SEAL"]), "SF-SUB-001"),
        ("BBO", json!(["SEAL"]), "SF-SUB-001"),
        ("bbo\u{1b}[31m", json!(["SEAL"]), "SF-SUB-001"),
        ("bbo", json!(["SE AL"]), "SF-SUB-013"),
        ("bbo", json!(["SEAL\n"]), "SF-SUB-013"),
        ("bbo", json!(["\u{1b}[31m"]), "SF-SUB-013"),
        ("bbo", json!(["ŚEAL"]), "SF-SUB-013"),
        ("bbo", json!(["S".repeat(33)]), "SF-SUB-013"),
        ("bbo", json!([""]), "SF-SUB-013"),
        ("bbo", json!([]), "SF-SUB-014"),
        ("bbo", json!(["SEAL", "SEAL"]), "SF-SUB-014"),
        ("bbo", json!(["*", "SEAL"]), "SF-SUB-014"),
        ("orders", json!(["SEAL"]), "SF-SUB-020"),
    ] {
        let reply = alice.request(json!({"op": "subscribe", "channel": channel, "symbols": symbols})).await;
        assert_rejected_with(&scene, &alice, &reply, code).await;
    }
    let resume = json!({"op": "subscribe", "channel": "bbo", "symbols": ["SEAL"], "resume": {"FEED": {"epoch": "0", "seq": 1}}});
    let reply = alice.request(resume).await;
    assert_rejected_with(&scene, &alice, &reply, "SF-SUB-015").await;
    for (channel, symbols) in [("bbo", json!(["SEAL"])), ("bbo", json!(["*"])), ("book", json!(["NOPE"]))] {
        let reply = alice.request(json!({"op": "unsubscribe", "channel": channel, "symbols": symbols})).await;
        assert_rejected(&scene, &alice, &reply, "SF-SUB-011").await;
    }
    drop(alice);
    for event in scene.end().await {
        let text = event.text("detail");
        assert!(!text.contains(|char: char| char.is_control()), "{text:?}");
    }
}

/// As [`assert_rejected`], for requests that could not be read: the log has no op then.
async fn assert_rejected_with(scene: &Scene, session: &Client, reply: &Value, code: &str) {
    assert_error(reply, code);
    let logged = scene.logged("reject", |event| event.has_code(code)).await;
    assert_eq!(
        (logged.text("principal"), logged.session.as_deref()),
        (ALICE, Some(&*session.session.to_string()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_only_so_many_subscriptions() {
    let few = "[[rule]]\nname = \"few\"\nmatch = { user = \"alice\" }\nlimits = { subscriptions_max = 2 }";
    let scene = Scene::with_policy(&format!("{POLICY}\n{few}"), |_| {}).await;
    let mut alice = scene.connect(&Pki::get().client(ALICE)).await;
    assert_eq!(alice.welcome["limits"]["subscriptions_max"], 2, "{}", alice.welcome);
    let reply = subscribe(&mut alice, "bbo", &["SEAL", "FEED"]).await;
    assert_eq!(reply["refused"], json!({}), "{reply}");
    let reply = subscribe(&mut alice, "trades", &["SEAL"]).await;
    assert_symbol_refused(&scene, &alice, &reply, "SEAL", "SF-SUB-007");
    // The same again is not one more; one that ends makes room.
    let reply = subscribe(&mut alice, "bbo", &["SEAL"]).await;
    assert_eq!(reply["refused"], json!({}), "{reply}");
    alice.request(json!({"op": "unsubscribe", "channel": "bbo", "symbols": ["FEED"]})).await;
    let reply = subscribe(&mut alice, "trades", &["SEAL"]).await;
    assert_eq!(reply["refused"], json!({}), "{reply}");
    drop(alice);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deny_wins_over_every_grant() {
    let deny = "[[deny]]\nname = \"no-feed\"\nmatch = { user = \"alice\" }\nsymbols = [\"FE*\"]";
    let scene = Scene::with_policy(&format!("{POLICY}\n{deny}"), |_| {}).await;
    let mut alice = scene.connect(&Pki::get().client(ALICE)).await;
    let reply = subscribe(&mut alice, "trades", &["SEAL", "FEED"]).await;
    assert_symbol_refused(&scene, &alice, &reply, "FEED", "SF-SUB-003");
    let reply = subscribe(&mut alice, "trades", &["*"]).await;
    assert_rejected(&scene, &alice, &reply, "SF-SUB-006").await;
    drop(alice);
    scene.end().await;
}

/// A server whose PKI and policy are its own, in files that a test may change.
async fn with_own_files() -> (Scene, Pki, tempfile::TempDir) {
    let folder = tempfile::TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    let scene = Scene::start(|config| {
        config.tls.client_revocation_lists = pki.folder.join("crl/clients.pem");
        config.identity.master_key = pki.folder.join("master/current.hex");
    })
    .await;
    (scene, pki, folder)
}

async fn upgrade(scene: &Scene, who: &str) -> HttpAnswer {
    scene.http(&Pki::get().client(who), format!("{UPGRADE}\r\n")).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_ends_its_open_sessions_at_once_and_opens_none() {
    let (mut scene, pki, _folder) = with_own_files().await;
    let mut first = scene.connect(&Pki::get().client(ALICE)).await;
    let mut second = scene.connect(&Pki::get().client(ALICE)).await;
    first.goes_on().await;
    pki.run(&["revoke", ALICE, "--reason", "keyCompromise"]);
    first.goes_on().await;
    let reloaded = scene.running().reload().await.unwrap();
    assert_eq!(reloaded.sessions_ended, 2);
    for session in [&mut first, &mut second] {
        let (ended, _) = session.ended().await;
        assert_eq!(ended, Ended { code: Some(4501), reason: "SF-SES-032".to_owned() });
        let id = session.session.to_string();
        let logged = scene.logged("disconnect", |event| event.session.as_deref() == Some(&*id)).await;
        assert_eq!((logged.text("principal"), &logged.fields["close_code"]), (ALICE, &json!(4501)));
        assert!(logged.text("reason").starts_with("SF-SES-032"), "{}", logged.fields);
    }
    let (alert, address) = scene.refused_handshake(&Pki::get().client(ALICE)).await;
    assert_eq!(alert, rustls::AlertDescription::CertificateRevoked);
    let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("code"), "SF-TLS-005");
    assert!(logged.text("claimed_subject").contains("alice"));
    scene.bystander_is_unharmed().await;
    drop(first);
    drop(second);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_between_handshake_and_upgrade_does_not_outlive_the_revocation() {
    use tokio::io::AsyncWriteExt as _;
    let (scene, pki, _folder) = with_own_files().await;
    // A session that stands proves nothing of this one: the server has finished its handshake when it has read the
    // first bytes of the request.
    let mut waiting = scene.tls(&Pki::get().client(ALICE)).await;
    let address = waiting.get_ref().0.local_addr().unwrap().to_string();
    waiting.write_all(&UPGRADE.as_bytes()[..20]).await.unwrap();
    scene.connect(&Pki::get().client("acme/bob")).await.goes_on().await;
    pki.run(&["revoke", ALICE, "--reason", "keyCompromise"]);
    scene.running().reload().await.unwrap();
    waiting.write_all(format!("{}\r\n", &UPGRADE[20..]).as_bytes()).await.unwrap();
    // Refused at the upgrade, or let in and thrown out with 4501 before anything is done for it.
    let mut bytes = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut waiting, &mut bytes);
    let _ = crate::harness::soon("the end", read).await;
    let ended = bytes.windows(2).any(|pair| pair == 4501_u16.to_be_bytes());
    assert!(ended || bytes.starts_with(b"HTTP/1.1 403"), "{:?}", String::from_utf8_lossy(&bytes));
    drop(waiting);
    let events = scene.end().await;
    let of_peer = events.iter().filter(|event| event.text("address") == address);
    assert!(of_peer.count() > 0, "nothing of it stands in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_leaves_everything_in_force() {
    let (mut scene, pki, _folder) = with_own_files().await;
    let mut alice = scene.connect(&Pki::get().client(ALICE)).await;
    let list = pki.folder.join("crl/clients.pem");
    let good = std::fs::read(&list).unwrap();
    let policy = scene.config.identity.entitlements.clone();
    let good_policy = std::fs::read(&policy).unwrap();
    let refused = async |scene: &Scene| scene.running().reload().await.unwrap_err();
    for bad in [&b""[..], b"no list", &good[..good.len() / 2], &Pki::foreign_list()] {
        std::fs::write(&list, bad).unwrap();
        refused(&scene).await;
    }
    std::fs::write(&list, &good).unwrap();
    for bad in ["[[rule]]\nname = \"half\"", "[[rule]]\nname = \"typo\"\nmach = {}\n", "\u{1b}[31m"] {
        std::fs::write(&policy, bad).unwrap();
        refused(&scene).await;
    }
    std::fs::write(&policy, &good_policy).unwrap();
    // An older list than the one in force would bring revoked certificates back.
    pki.run(&["crl"]);
    scene.running().reload().await.unwrap();
    std::fs::write(&list, &good).unwrap();
    refused(&scene).await;
    alice.goes_on().await;
    assert_eq!(upgrade(&scene, "acme/bob").await.status, 101);
    assert_eq!(
        scene.refused_handshake(&Pki::get().client("acme/gone")).await.0,
        rustls::AlertDescription::CertificateRevoked
    );
    scene.bystander_is_unharmed().await;
    drop(alice);
    // When the server has stopped, all of it is there to be read.
    let events: Vec<_> = scene.end().await.into_iter().filter(|event| event.kind == "config").collect();
    let refusals: Vec<_> = events.iter().filter(|event| event.text("what") == "reload_refused").collect();
    assert_eq!(refusals.len(), 4 + 3 + 1);
    for refusal in refusals {
        let summary = refusal.text("summary");
        assert!(!summary.is_empty() && !summary.contains(|char: char| char.is_control()), "{summary:?}");
    }
}
