//! More sessions of a principal than its policy allows: refused, let in for the oldest, or let in and counted.

use std::collections::BTreeSet;

use crate::harness::{POLICY, Pki, Scene, UPGRADE};

const ALICE: &str = "acme/alice";

/// Two sessions for alice, and this for one more.
fn policy(more: &str) -> String {
    format!(
        "{POLICY}\n[[rule]]\nname = \"few\"\nmatch = {{ user = \"alice\" }}\nprofessional = true\ndisplay = false\nlimits = {{ sessions_max = 2, sessions_policy = \"{more}\" }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_session_makes_way_for_a_new_one_where_the_policy_says_so() {
    let scene = Scene::with_policy(&policy("evict"), |_| {}).await;
    let alice = Pki::get().client(ALICE);
    let mut first = scene.connect(&alice).await;
    let mut second = scene.connect(&alice).await;
    let mut third = scene.connect(&alice).await;
    assert_eq!(third.welcome["limits"]["sessions_policy"], "evict", "{}", third.welcome);
    let (ended, _) = first.ended().await;
    assert_eq!(ended.code, Some(4004), "{ended:?}");
    let logged = scene.logged("disconnect", |event| event.session == Some(first.session.to_string())).await;
    assert!(logged.text("reason").starts_with("SF-SES-036"), "{}", logged.fields);
    second.goes_on().await;
    third.goes_on().await;
    let mut fourth = scene.connect(&alice).await;
    assert_eq!(second.ended().await.0.code, Some(4004), "now the second is the oldest");
    third.goes_on().await;
    fourth.goes_on().await;
    drop((first, second, third, fourth));
    let events = scene.end().await;
    let of_alice = events.iter().filter(|event| event.kind == "connect" && event.text("principal") == ALICE);
    let at_once: Vec<_> = of_alice.map(|event| event.fields["sessions"].as_u64()).collect();
    assert_eq!(at_once, [Some(1), Some(2), Some(2), Some(2)], "who makes way does not count");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_beyond_the_limit_are_let_in_and_counted_where_the_policy_says_so() {
    let scene = Scene::with_policy(&policy("count"), |_| {}).await;
    let alice = Pki::get().client(ALICE);
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(scene.connect(&alice).await);
    }
    for session in &mut sessions {
        session.goes_on().await;
    }
    drop(sessions);
    let events = scene.end().await;
    let of_alice =
        || events.iter().filter(|event| event.kind == "connect" && event.text("principal") == ALICE);
    let at_once: Vec<_> = of_alice().map(|event| event.fields["sessions"].as_u64()).collect();
    assert_eq!(at_once, [Some(1), Some(2), Some(3), Some(4)]);
    let flags: BTreeSet<_> = of_alice()
        .map(|event| [&event.fields["professional"], &event.fields["display"]].map(ToString::to_string))
        .collect();
    assert_eq!(flags, BTreeSet::from([["true".to_owned(), "false".to_owned()]]), "the bill needs them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_told_how_its_user_counts_and_until_when_its_entitlement_holds() {
    let dated = format!(
        "{}\n[[rule]]\nname = \"trial\"\nmatch = {{ user = \"alice\" }}\nvalid_to = 2199-12-31T12:00:00Z\nadmin = [\"kill\"]",
        policy("refuse")
    );
    let scene = Scene::with_policy(&dated, |_| {}).await;
    let mut alice = scene.connect(&Pki::get().client(ALICE)).await;
    for entitlement in [
        alice.welcome["entitlement"].clone(),
        alice.request(serde_json::json!({"op": "whoami"})).await["entitlement"].clone(),
    ] {
        assert_eq!(entitlement["professional"], true, "{entitlement}");
        assert_eq!(entitlement["display"], false, "{entitlement}");
        assert_eq!(entitlement["changes_at"], "7258075200000000000", "{entitlement}");
    }
    drop(alice);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_by_rules_that_have_ended_is_told_so_at_the_upgrade() {
    let trial = "[[rule]]\nname = \"trial\"\nmatch = { user = \"frank\" }\nvalid_to = 2020-12-31\nchannels = [\"trades\"]\nsymbols = [\"*\"]\n";
    let scene = Scene::with_policy(&format!("{POLICY}\n{trial}"), |_| {}).await;
    let (answer, address) = scene.http(&Pki::get().client("gamma/frank"), format!("{UPGRADE}\r\n")).await;
    assert_eq!(answer.status, 403);
    let refused = scene.logged("upgrade_refused", |event| event.text("address") == address).await;
    assert_eq!(refused.text("code"), "SF-SES-040", "{}", refused.fields);
    assert!(refused.text("detail").contains("`trial`"), "{}", refused.fields);
    scene.end().await;
}
