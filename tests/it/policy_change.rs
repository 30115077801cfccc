//! A changed policy reaches sessions that are open: what is not covered any more ends at once and is named, everything else goes
//! on without a gap.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Client, Ended, POLICY, Pki, Scene, UPGRADE};
use crate::orders::{assert_accepted, assert_error, resting};

const BOB: &str = "acme/bob";
const DAVE: &str = "beta/dave";

async fn subscribe(session: &mut Client, channel: &str, symbols: &[&str], depth: Option<u32>) -> Value {
    let mut request = json!({"op": "subscribe", "channel": channel, "symbols": symbols});
    if let Some(depth) = depth {
        request["depth"] = depth.into();
    }
    session.request(request).await
}

/// Puts another policy in force.
async fn reload(scene: &Scene, policy: &str) -> sealfeed::server::Reloaded {
    std::fs::write(&scene.config.identity.entitlements, policy).unwrap();
    scene.running().reload().await.unwrap()
}

/// The rule of beta's, changed.
fn of_beta(change: impl FnOnce(&str) -> String) -> String {
    let (others, beta) = POLICY.split_at(POLICY.find("[[rule]]\nname = \"beta\"").unwrap());
    format!("{others}{}", change(beta))
}

/// No `bbo`, no order, and a deny on one book, for bob alone.
fn less_for_bob() -> String {
    let traders = POLICY.find("name = \"traders\"").unwrap();
    let orders = POLICY.find("[rule.orders]").unwrap();
    let limits = POLICY.find("[rule.limits]").unwrap();
    let channels = POLICY[traders..orders].replace("\"bbo\", ", "");
    let deny = "[[deny]]\nname = \"no-feed-book\"\nmatch = { user = \"bob\" }\nchannels = [\"book\"]\nsymbols = [\"FEED\"]";
    format!("{}{channels}{}\n{deny}\n", &POLICY[..traders], &POLICY[limits..])
}

/// Channel, symbol and code of all that a notice says has ended.
fn ended(notice: &Value) -> BTreeSet<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = notice["ended"].as_array().unwrap().iter().flat_map(|ended| {
        let symbols = ended["symbols"].as_object().unwrap().iter();
        symbols
            .map(move |(symbol, refused)| (text(&ended["channel"]), symbol.clone(), text(&refused["code"])))
    });
    rows.collect()
}

/// Reads on to the notice of the change; nothing before it is looked at.
async fn notice(session: &mut Client) -> Value {
    session.message_where(|message| message["type"] == "entitlement").await
}

/// Reads until every named stream has had so many messages, each the one behind the last. Nothing of another stream may come.
async fn follows(session: &mut Client, last: &mut BTreeMap<(String, String), u64>, count: u64) {
    let mut seen: BTreeMap<_, u64> = last.keys().map(|key| (key.clone(), 0)).collect();
    while seen.values().any(|seen| *seen < count) {
        let message = session.message().await;
        let (Some(seq), Some(previous)) = (message["seq"].as_u64(), message["prev_seq"].as_u64()) else {
            continue;
        };
        let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
        let key = (text("channel"), text("symbol"));
        let Some(before) = last.get_mut(&key) else { panic!("this stream has ended: {message}") };
        assert!(*before == 0 || *before == previous, "a gap: {message}");
        *before = seq;
        *seen.entry(key).or_default() += 1;
    }
}

fn stream(channel: &str, symbol: &str) -> ((String, String), u64) {
    ((channel.to_owned(), symbol.to_owned()), 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_loses_just_what_it_may_not_see_any_more_and_the_rest_goes_on_without_a_gap() {
    let mut scene = Scene::start(|config| crate::market::trading(config, &["SEAL", "FEED"], 500)).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    for channel in ["trades", "book", "bbo"] {
        let reply = subscribe(&mut bob, channel, &["SEAL", "FEED"], None).await;
        assert_eq!(reply["refused"], json!({}), "{reply}");
    }
    subscribe(&mut bob, "orders", &["*"], None).await;
    let mut streams = ["trades", "book", "bbo"]
        .iter()
        .flat_map(|channel| [stream(channel, "SEAL"), stream(channel, "FEED")])
        .collect();
    follows(&mut bob, &mut streams, 3).await;

    let reloaded = reload(&scene, &less_for_bob()).await;
    assert_eq!((reloaded.sessions_ended, reloaded.sessions_changed), (0, 1));

    // Up to the notice everything may come, and behind it nothing that ended.
    let mut notice = Value::Null;
    while notice.is_null() {
        let message = bob.message().await;
        if message["type"] == "entitlement" {
            notice = message;
        } else if let Some(seq) = message["seq"].as_u64() {
            let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
            streams.insert((text("channel"), text("symbol")), seq);
        }
    }
    let expected = [
        ("bbo", "FEED", "SF-SUB-004"),
        ("bbo", "SEAL", "SF-SUB-004"),
        ("book", "FEED", "SF-SUB-003"),
        ("orders", "*", "SF-SUB-004"),
    ];
    let expected = expected.map(|(channel, symbol, code)| (channel.into(), symbol.into(), code.into()));
    assert_eq!(ended(&notice), BTreeSet::from(expected));
    let channels = notice["entitlement"]["channels"].as_array().unwrap();
    assert!(channels.iter().all(|channel| channel["channel"] != "bbo"), "{notice}");
    assert!(notice["entitlement"]["orders"].is_null(), "{notice}");
    streams.retain(|(channel, symbol), _| channel == "trades" || (channel == "book" && symbol == "SEAL"));
    follows(&mut bob, &mut streams, 5).await;

    // The same session is judged by the rights of now.
    assert_error(&bob.order(sealfeed_wire::SignedOp::OrderNew, &resting("c-1")).await, "SF-ORD-032");
    let reply = subscribe(&mut bob, "bbo", &["SEAL"], None).await;
    assert_eq!(reply["refused"]["SEAL"]["code"], "SF-SUB-004", "{reply}");
    let who = bob.request(json!({"op": "whoami"})).await;
    assert!(who["entitlement"]["orders"].is_null(), "{who}");
    let id = bob.session.to_string();
    let logged = scene.logged("entitlement", |event| event.session.as_deref() == Some(&*id)).await;
    assert_eq!(logged.text("principal"), BOB);
    assert_eq!(logged.fields["rules"], json!(["traders"]));
    assert_eq!(logged.fields["ended"].as_array().unwrap().len(), 4, "{}", logged.fields);
    scene.bystander_is_unharmed().await;
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_at_once_do_what_was_newly_granted() {
    let scene = Scene::start(|_| {}).await;
    let mut dave = scene.connect(&Pki::get().client(DAVE)).await;
    let reply = subscribe(&mut dave, "book", &["SEAL"], Some(0)).await;
    assert_eq!(reply["refused"]["SEAL"]["code"], "SF-SUB-005", "{reply}");
    let shallow = subscribe(&mut dave, "book", &["SEAL"], None).await;
    assert_eq!(shallow["depth"], 10, "{shallow}");
    let wider = of_beta(|beta| {
        beta.replace("depth_max = 10\n", "").replace("symbols = [\"SEAL\"]", "symbols = [\"*\"]")
    });
    assert_eq!(reload(&scene, &wider).await.sessions_changed, 1);
    let notice = notice(&mut dave).await;
    assert_eq!(notice["ended"], json!([]), "{notice}");
    let reply = subscribe(&mut dave, "book", &["SEAL", "FEED"], Some(0)).await;
    assert_eq!((&reply["refused"], &reply["depth"]), (&json!({}), &json!(0)), "{reply}");
    let feed = resting("c-1").replace("SEAL", "FEED");
    assert_accepted(&dave.order(sealfeed_wire::SignedOp::OrderNew, &feed).await);
    // And back: the deep book ends, an order may still be cancelled.
    reload(&scene, POLICY).await;
    let notice = self::notice(&mut dave).await;
    assert_eq!(notice["ended"][0]["symbols"]["SEAL"]["code"], "SF-SUB-005", "{notice}");
    assert_eq!(notice["ended"][0]["symbols"]["FEED"]["code"], "SF-SUB-003", "{notice}");
    let again = resting("c-2").replace("SEAL", "FEED");
    assert_error(&dave.order(sealfeed_wire::SignedOp::OrderNew, &again).await, "SF-ORD-034");
    let cancel = r#"{"cl_ord_id":"c-3","orig_cl_ord_id":"c-1"}"#;
    assert_accepted(&dave.order(sealfeed_wire::SignedOp::OrderCancel, cancel).await);
    drop(dave);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_that_was_lowered_holds_for_the_next_message() {
    let scene = Scene::start(|_| {}).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    bob.goes_on().await;
    let slower = POLICY.replace("messages_per_second = 2000", "messages_per_second = 1");
    reload(&scene, &slower).await;
    let notice = notice(&mut bob).await;
    assert_eq!(notice["limits"]["rates"][0]["limit"], 1, "{notice}");
    let mut reply = Value::Null;
    for _ in 0..100 {
        reply = bob.request(json!({"op": "ping"})).await;
        if reply["type"] == "error" {
            break;
        }
    }
    assert_eq!(reply["code"], "SF-SES-024", "{reply}");
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_whose_entitlement_nothing_is_left_ends_and_does_not_come_back() {
    let mut scene = Scene::start(|_| {}).await;
    let mut dave = scene.connect(&Pki::get().client(DAVE)).await;
    let reloaded = reload(&scene, &of_beta(|_| String::new())).await;
    assert_eq!((reloaded.sessions_ended, reloaded.sessions_changed), (1, 0));
    let (ended, _) = dave.ended().await;
    assert_eq!(ended, Ended { code: Some(4503), reason: "SF-SES-034".to_owned() });
    let id = dave.session.to_string();
    let logged = scene.logged("disconnect", |event| event.session.as_deref() == Some(&*id)).await;
    assert!(logged.text("reason").starts_with("SF-SES-034"), "{}", logged.fields);
    let answer = scene.http(&Pki::get().client(DAVE), format!("{UPGRADE}\r\n")).await.0;
    assert_eq!(answer.status, 403);
    scene.bystander_is_unharmed().await;
    drop(dave);
    scene.end().await;
}
