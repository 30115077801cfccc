//! `sealfeed order` and `sealfeed admin` against a server: what they print, sign and end with.

use std::process::{Command, Output, Stdio};

use sealfeed_wire::{OrderKey, SignedOp, hex, signing};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{POLICY, Pki, Scene, Server};

/// Runs a command as bob to its end: its exit code, the lines of its JSON, its standard error.
async fn run(server: &Server, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let client = Pki::get().folder.join("clients/acme/bob");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
    command.args(arguments);
    command.args(["--url", &format!("wss://localhost:{}/v1/feed", server.address.port())]);
    for (name, file) in [
        ("--cert", "client.pem"),
        ("--key", "client.key"),
        ("--cacert", "ca.pem"),
        ("--order-key", "order.key"),
    ] {
        command.arg(name).arg(client.join(file));
    }
    command.stdin(Stdio::null());
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_exactly_what_would_be_signed_and_sends_nothing() {
    let scene = Scene::start(|_| {}).await;
    let line = ["order", "new", "SEAL", "buy", "1", "0.01", "--id", "dry", "--dry-run", "--sign", "both"];
    let (code, lines, errors) = run(&scene, &line).await;
    assert_eq!(code, 0, "{errors}");
    let shown = &lines[0];
    let text = |field: &str| shown[field].as_str().unwrap();
    assert_eq!(text("outcome"), "not_sent");
    assert_eq!(text("sha256"), hex::encode(&Sha256::digest(text("signed"))));
    let signed: Vec<&str> = text("signed").split('\n').collect();
    let [context, session, ts, nonce, op, body] = signed[..] else { panic!("{shown}") };
    assert_eq!((context, op), ("sealfeed-v1", "order.new"));
    let key = OrderKey::parse(
        &std::fs::read_to_string(Pki::get().folder.join("clients/acme/bob/order.key")).unwrap(),
    );
    let (session, nonce) =
        (sealfeed_wire::SessionId::parse(session).unwrap(), sealfeed_wire::Nonce::parse(nonce).unwrap());
    let ts = sealfeed_wire::UnixNanos::parse(ts).unwrap();
    let mac = signing::sign(&key.unwrap(), &session, ts, nonce, SignedOp::OrderNew, body);
    assert_eq!(text("mac"), hex::encode(&mac));
    assert_eq!(text("sig").len(), 86);
    for part in [text("mac"), text("sig"), body] {
        assert!(text("message").contains(part), "{shown}");
    }
    let events = scene.end().await;
    assert!(!events.iter().any(|event| event.kind == "order" && event.text("principal") == "acme/bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_stops_and_lets_go_from_the_command_line() {
    let operator =
        "[[rule]]\nname = \"operator\"\nmatch = { user = \"bob\" }\nadmin = [\"kill\", \"trading\"]\n";
    let scene = Scene::with_policy(&format!("{POLICY}{operator}"), |_| {}).await;
    let new = |name| ["order", "new", "SEAL", "buy", "5", "0.01", "--id", name];
    for (line, expected, code) in [
        (&new("c-1")[..], "accepted", 0),
        (&["order", "replace", "c-1", "--qty", "3", "--id", "r-1"], "accepted", 0),
        (&["order", "mass-cancel", "--symbol", "SEAL"], "accepted", 0),
        (&["order", "dead-man", "60s"], "done", 0),
        (&["order", "dead-man", "off"], "done", 0),
        (&["admin", "kill", "--firm", "acme", "--reason", "drill"], "done", 0),
        (&new("c-2")[..], "rejected", 5),
        (&["admin", "release", "--firm", "acme", "--reason", "drill"], "done", 0),
        (&["admin", "trading", "SEAL", "halted", "--reason", "drill"], "done", 0),
        (&new("c-3")[..], "rejected", 5),
        (&["admin", "trading", "SEAL", "open", "--reason", "drill"], "done", 0),
        (&new("c-3")[..], "accepted", 0),
    ] {
        let (ended, lines, errors) = run(&scene, line).await;
        assert_eq!((ended, lines[0]["outcome"].as_str()), (code, Some(expected)), "{line:?}: {errors}");
        if line[1] == "mass-cancel" {
            assert_eq!(lines[0]["canceled"], 1);
        }
        if line[1] == "release" {
            assert_eq!(lines[0]["what"], "release the kill switch of firm acme");
        }
    }
    let (_, lines, errors) = run(&scene, &["order", "status", "c-1"]).await;
    assert_eq!(
        (lines[0]["state"].as_str(), lines[0]["cum_qty"].as_str()),
        (Some("canceled"), Some("0")),
        "{errors}"
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_placed_followed_to_its_end_and_cancelled() {
    let scene = Scene::start(|_| {}).await;
    let (code, lines, errors) =
        run(&scene, &["order", "new", "SEAL", "buy", "1", "0.01", "--id", "rests", "--sign", "sig"]).await;
    // Signed with the certificate's key alone, while the server demands the MAC.
    assert_eq!(code, 5, "{lines:?} {errors}");
    let (code, lines, errors) =
        run(&scene, &["order", "new", "SEAL", "buy", "1", "0.01", "--id", "rests"]).await;
    assert_eq!((code, lines[0]["outcome"].as_str()), (0, Some("accepted")), "{errors}");
    let line =
        ["order", "new", "SEAL", "buy", "2", "999.00", "--tif", "ioc", "--id", "takes", "--wait", "fill"];
    let (code, lines, errors) = run(&scene, &line).await;
    assert_eq!(code, 0, "{lines:?} {errors}");
    assert_eq!(lines[0]["outcome"], "accepted");
    let last = lines.last().unwrap();
    assert_eq!((last["exec"].as_str(), last["cum_qty"].as_str()), (Some("fill"), Some("2")), "{last}");
    let line =
        ["order", "new", "SEAL", "buy", "1", "0.01", "--tif", "ioc", "--id", "expires", "--wait", "fill"];
    let (code, lines, _) = run(&scene, &line).await;
    assert_eq!((code, lines.last().unwrap()["exec"].as_str()), (1, Some("expired")));
    let line =
        ["order", "new", "SEAL", "buy", "1", "0.01", "--id", "waits", "--wait", "fill", "--timeout", "200ms"];
    let (code, _, errors) = run(&scene, &line).await;
    assert_eq!(code, 6, "{errors}");
    assert!(errors.contains("order status waits"), "{errors}");
    let (code, lines, _) = run(&scene, &["order", "cancel", "rests", "--id", "x"]).await;
    assert_eq!((code, lines[0]["outcome"].as_str()), (0, Some("accepted")));
    let (code, lines, _) = run(&scene, &["order", "status", "rests"]).await;
    assert_eq!((code, lines[0]["state"].as_str()), (0, Some("canceled")));
    let (code, lines, _) = run(&scene, &["order", "cancel", "rests", "--id", "y"]).await;
    assert_eq!((code, lines[0]["code"].as_str()), (5, Some("SF-ORD-037")));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_replaced_and_cancelled_together_and_a_timer_is_armed_and_disarmed() {
    let scene = Scene::start(|_| {}).await;
    let order = ["order", "new", "SEAL", "buy", "5", "0.01", "--id", "one"];
    assert_eq!(run(&scene, &order).await.0, 0);
    let (code, lines, errors) = run(&scene, &["order", "replace", "one", "--qty", "3", "--id", "two"]).await;
    assert_eq!((code, lines[0]["outcome"].as_str()), (0, Some("accepted")), "{errors}");
    let (_, lines, _) = run(&scene, &["order", "status", "two"]).await;
    assert_eq!((lines[0]["state"].as_str(), lines[0]["leaves_qty"].as_str()), (Some("new"), Some("3")));
    let (code, lines, errors) = run(&scene, &["order", "mass-cancel", "--symbol", "SEAL"]).await;
    assert_eq!((code, lines[0]["canceled"].as_u64()), (0, Some(1)), "{lines:?} {errors}");
    for time in ["60s", "off"] {
        let (code, _, errors) = run(&scene, &["order", "dead-man", time]).await;
        assert_eq!(code, 0, "{errors}");
    }
    let (code, lines, _) = run(&scene, &["order", "replace", "never", "--qty", "3"]).await;
    assert_eq!((code, lines[0]["code"].as_str()), (5, Some("SF-ORD-036")));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_operator_learns_so_from_the_verbs_of_operators() {
    let scene = Scene::start(|_| {}).await;
    for line in [
        &["admin", "kill", "--firm", "acme", "--reason", "drill"][..],
        &["admin", "trading", "SEAL", "halted", "--reason", "drill"],
    ] {
        let (code, _, errors) = run(&scene, line).await;
        assert_eq!(code, 4, "{line:?}: {errors}");
        assert!(errors.contains("not entitled to this operator verb"), "{line:?}: {errors}");
    }
    scene.end().await;
}
