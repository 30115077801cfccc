//! `sealfeed bench fanout` against a real server: the figures it prints, and what it refuses.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{LIMIT, Pki, Server, wait_until};
use crate::market::{QUIET, quiet, trading};

fn policy(sessions_max: u32) -> String {
    format!(
        r#"
        [[rule]]
        name = "viewers"
        match = {{ firm = "acme" }}
        channels = ["trades", "bbo"]
        symbols = ["*"]
        [rule.limits]
        sessions_max = {sessions_max}
        "#
    )
}

fn command(server: &Server, more: &[&str]) -> Command {
    let client = Pki::get().folder.join("clients/acme/alice");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
    command.args(["bench", "fanout", "--url", &format!("wss://localhost:{}/v1/feed", server.address.port())]);
    for (name, file) in [("--cert", "client.pem"), ("--key", "client.key"), ("--cacert", "ca.pem")] {
        command.arg(name).arg(client.join(file));
    }
    command.args(more).stdin(Stdio::null());
    command
}

/// Runs the command without keeping the runtime of the server from its work: exit code, standard output, standard error.
async fn fanout(server: &Server, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(server, more);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_are_measured_and_every_message_comes_to_each() {
    let server = Server::with_policy(&policy(50), |config| trading(config, &["SEAL", "FEED"], 200)).await;
    let arguments = [
        "SEAL",
        "FEED",
        "--channel",
        "trades",
        "--channel",
        "bbo",
        "-n",
        "20",
        "--for",
        "2s",
        "--output",
        "json",
    ];
    let (code, out, said) = fanout(&server, &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ts_out") && said.contains("own host"), "{said}");
    let result: Value = serde_json::from_str(&out).unwrap();
    let number = |path: &str| {
        result.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {result}"))
    };
    assert_eq!((number("/connections"), number("/gaps"), number("/connections_ended")), (20, 0, 0));
    assert!(number("/messages") >= 20 && number("/bytes") > number("/messages") * 50, "{result}");
    assert!(number("/elapsed_ms") >= 2_000 && number("/messages_per_second") > 0);
    for of in ["connect_ns", "latency_ns"] {
        let shares = ["p50", "p99", "p99_9", "max"].map(|share| number(&format!("/{of}/{share}")));
        assert!(shares.is_sorted() && shares[0] > 0, "{of}: {shares:?}");
    }
    let table = fanout(&server, &["SEAL", "-n", "1", "--for", "300ms", "--output", "table"]).await.1;
    for word in ["connections", "connect, ms", "messages", "latency, us", "gaps"] {
        assert!(table.contains(word), "{table}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_silence_is_no_figure() {
    let server = Server::with_policy(&policy(2), quiet).await;
    for (wrong, exit, code) in [
        (&[QUIET, "-n", "0"][..], 2, "SF-CLI-005"),
        (&[QUIET, "-n", "10001"], 2, "SF-CLI-005"),
        (&[QUIET, "--connect-rate", "0"], 2, "SF-CLI-005"),
        (&[QUIET, "--for", "99ms"], 2, "SF-CLI-005"),
        (&[QUIET, "--for", "25h"], 2, "SF-CLI-005"),
        (&[QUIET, QUIET], 2, "SF-CLI-005"),
        (&[QUIET, "--channel", "trades", "--channel", "trades"], 2, "SF-CLI-005"),
        (&[QUIET, "--channel", "trades", "--depth", "10"], 2, "SF-CLI-005"),
        (&["NOSUCH", "-n", "1", "--for", "100ms"], 1, "SF-SUB-002"),
        (&[QUIET, "--channel", "mbo", "-n", "1", "--for", "100ms"], 4, "SF-SUB-004"),
        (&[QUIET, "-n", "3", "--for", "100ms"], 3, "SF-SES-007"),
        (&[QUIET, "-n", "1", "--for", "100ms"], 1, "SF-CLI-006"),
    ] {
        // Those of the one before have left, and given their places back.
        assert!(wait_until(LIMIT, || server.running().connections() == 0).await, "{wrong:?}");
        let (found, out, said) = fanout(&server, wrong).await;
        assert!(found == Some(exit) && said.contains(code), "{wrong:?}: {found:?} {said}");
        assert_eq!(out, "", "{wrong:?}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_are_told_with_what_was_measured_before() {
    let server = Server::with_policy(&policy(50), |config| trading(config, &["SEAL"], 200)).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    let mut command = command(&server, &["SEAL", "-n", "3", "--for", "1h", "--output", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut stderr) = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        (line, stderr)
    })
    .await
    .unwrap();
    assert!(line.contains("3 connections stand"), "{line}");
    // Whoever subscribes behind them gets nothing that they do not get, too.
    erin.request(json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL"]})).await;
    for _ in 0..20 {
        erin.message_where(|message| message["type"] == "trade").await;
    }
    server.finish().await;
    let (code, out) = tokio::task::spawn_blocking(move || {
        stderr.read_to_string(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(line.contains("SF-CLI-002: 3 connections ended"), "{line}");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    })
    .await
    .unwrap();
    let result: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &result["connections_ended"], &result["gaps"]),
        (Some(7), &json!(3), &json!(0)),
        "{result}"
    );
    assert!(result["messages"].as_u64().unwrap() >= 50, "{result}");
}
