//! `sealfeed bench fanout` against a real server: the figures it prints, and what it refuses.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Pki, Server};
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

/// Runs the command without keeping the runtime of the server from its work: exit code, standard output, standard error.
async fn fanout(server: &Server, who: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let client = Pki::get().folder.join("clients").join(who);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
    command.args(["bench", "fanout", "--url", &format!("wss://localhost:{}/v1/feed", server.address.port())]);
    for (name, file) in [("--cert", "client.pem"), ("--key", "client.key"), ("--cacert", "ca.pem")] {
        command.arg(name).arg(client.join(file));
    }
    command.args(more).stdin(Stdio::null());
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
        "500ms",
        "--output",
        "json",
    ];
    let (code, out, said) = fanout(&server, "acme/alice", &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ts_out") && said.contains("own host"), "{said}");
    let result: Value = serde_json::from_str(&out).unwrap();
    let number = |path: &str| {
        result.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {result}"))
    };
    assert_eq!((number("/connections"), number("/gaps"), number("/connections_ended")), (20, 0, 0));
    assert!(number("/messages") >= 20 && number("/bytes") > number("/messages") * 50, "{result}");
    assert!(number("/elapsed_ms") >= 500 && number("/messages_per_second") > 0);
    for of in ["connect_ns", "latency_ns"] {
        let shares = ["p50", "p99", "p99_9", "max"].map(|share| number(&format!("/{of}/{share}")));
        assert!(shares.is_sorted() && shares[0] > 0, "{of}: {shares:?}");
    }
    let table =
        fanout(&server, "acme/alice", &["SEAL", "-n", "1", "--for", "300ms", "--output", "table"]).await.1;
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
        let (found, out, said) = fanout(&server, "acme/alice", wrong).await;
        assert!(found == Some(exit) && said.contains(code), "{wrong:?}: {found:?} {said}");
        assert_eq!(out, "", "{wrong:?}");
    }
    server.finish().await;
}
