//! The report of what was used tells real-time from delayed data: by what was enabled, and by what left.

use sealfeed::config::Config;
use serde_json::{Value, json};

use crate::harness::{Client, Logged, Pki, Server};
use crate::market::trading;
use crate::process::run;

const DELAY_MS: u64 = 1_000;
const POLICY: &str = r#"
[[rule]]
name = "live"
match = { user = "alice" }
channels = ["trades"]
symbols = ["*"]

[[rule]]
name = "late"
match = { user = "carol" }
channels = ["trades"]
symbols = ["*"]
delay = "1s"

[[rule]]
name = "free"
match = { user = "carol" }
channels = ["trades"]
symbols = ["FEED"]
"#;

fn market(config: &mut Config) {
    trading(config, &["SEAL", "FEED"], 1_000);
    config.tape.block_events = 8;
}

/// Subscribes to the trades of a symbol, reads so many and says in which the subscription ended.
async fn reads(client: &mut Client, symbol: &str, count: usize) {
    let reply = client.request(json!({"op": "subscribe", "channel": "trades", "symbols": [symbol]})).await;
    assert!(reply["symbols"][symbol].is_object(), "{reply}");
    let mut seen = 0;
    while seen < count {
        seen += usize::from(client.message().await["type"] == "trade");
    }
    client.request(json!({"op": "unsubscribe", "channel": "trades", "symbols": [symbol]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_time_and_delayed_data_are_counted_apart_by_what_was_enabled_and_by_what_left() {
    let server = Server::with_policy(POLICY, market).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut carol = server.connect(&Pki::get().client("acme/carol")).await;
    reads(&mut alice, "SEAL", 5).await;
    reads(&mut carol, "FEED", 5).await;
    reads(&mut carol, "SEAL", 5).await;
    reads(&mut carol, "SEAL", 5).await;
    drop((alice, carol));
    let log = server.log();
    let (events, _folder) = server.finish().await;

    // What left is what the entries say, of each delay.
    let delivered: Vec<&Logged> = events.iter().filter(|event| event.kind == "delivered").collect();
    let left = |user: &str, symbol: &str, delayed_ms: u64| -> u64 {
        let of = delivered.iter().filter(|event| {
            event.fields["principal"] == format!("acme/{user}") && event.fields["delayed_ms"] == delayed_ms
        });
        let ranges = of.flat_map(|event| event.fields["ranges"].as_array().unwrap());
        let ranges = ranges.filter(|range| range["symbol"] == symbol);
        ranges.map(|range| range["last"].as_u64().unwrap() - range["first"].as_u64().unwrap() + 1).sum()
    };
    let expected = [("FEED", 0, "carol", "1"), ("SEAL", 0, "alice", "1"), ("SEAL", DELAY_MS, "carol", "2")];
    for (symbol, delayed_ms, user, _) in expected {
        assert!(left(user, symbol, delayed_ms) >= 5, "{user} {symbol}");
    }
    assert_eq!(
        (left("carol", "FEED", DELAY_MS), left("carol", "SEAL", 0), left("alice", "SEAL", 1_000)),
        (0, 0, 0)
    );

    let month = &sealfeed::clock::format_utc(sealfeed::clock::Clock::System.now())[..7];
    let report = |output: &str| {
        let log = log.to_str().unwrap();
        let done = run(&["audit", "report", "usage", "--month", month, "--output", output, log]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let rows: Vec<Value> = report("json").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names = ["symbol", "delayed_ms", "user", "activations", "deactivations", "delivered"];
    let rows: Vec<_> =
        rows.iter().map(|row| names.map(|name| row[name].as_str().unwrap().to_owned())).collect();
    let expected = expected.map(|(symbol, delayed_ms, user, times)| {
        let left = left(user, symbol, delayed_ms).to_string();
        [symbol, &delayed_ms.to_string(), user, times, times, &left].map(str::to_owned)
    });
    assert_eq!(rows, expected);
    let heads = "channel,symbol,delayed_ms,firm,user,enabled_at_start,activations,deactivations,most_at_once,delivered,professional,display";
    assert_eq!(report("csv").lines().next(), Some(heads));
}
