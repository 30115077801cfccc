//! Orders across restarts: what rests goes on resting, what was answered is answered so again, reports go on without a gap, and a log that
//! contradicts itself is no base to trade on.

use std::path::Path;

use rustix::process::Signal;
use sealfeed::config::{ClockConfig, LogConfig};
use sealfeed::journal::{self, Journal, event};
use sealfeed::shutdown::Shutdown;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Pki, assert_executes_again};
use crate::process::{ServerProcess, configure, connect, replay, run};

const MARKET: &str = r#"
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 50
"#;

fn limit(name: &str, side: &str, price: &str, qty: &str, tif: &str) -> String {
    let body = json!({
        "cl_ord_id": name, "symbol": "SEAL", "side": side, "type": "limit", "qty": qty, "price": price, "tif": tif,
    });
    body.to_string()
}

/// Subscribes to a principal's own reports, behind those it has.
async fn reports(client: &mut Client, after: Option<(&Value, u64)>) -> Value {
    let mut request = json!({"op": "subscribe", "channel": "orders", "symbols": ["*"]});
    if let Some((epoch, seq)) = after {
        request["resume"] = json!({"*": {"epoch": epoch, "seq": seq}});
    }
    client.request(request).await["symbols"]["*"].clone()
}

async fn report(client: &mut Client) -> (u64, String, String) {
    let exec = client.message_where(|message| message["type"] == "exec").await;
    let text = |field: &str| exec[field].as_str().unwrap().to_owned();
    (exec["seq"].as_u64().unwrap(), text("cl_ord_id"), text("exec"))
}

fn told(seq: u64, name: &str, exec: &str) -> (u64, String, String) {
    (seq, name.to_owned(), exec.to_owned())
}

async fn lives_through(signal: Signal) {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let server = ServerProcess::start(&config).unwrap();
    let bob = Pki::get().client("acme/bob");
    let mut client = connect(server.address, &bob).await;
    let first = limit("b-1", "buy", "1.00", "5", "gtc");
    let refused = limit("b-2", "buy", "1.00", "1.5", "gtc");
    let answer = client.order(SignedOp::OrderNew, &first).await;
    let refusal = client.order(SignedOp::OrderNew, &refused).await;
    assert_eq!(
        (&answer["status"], &refusal["code"]),
        (&json!("accepted"), &json!("SF-ORD-025")),
        "{refusal}"
    );
    let stream = reports(&mut client, None).await;
    assert_eq!(stream["seq"], 1);
    client.order(SignedOp::OrderNew, &limit("b-3", "buy", "1.01", "2", "day")).await;
    assert_eq!(report(&mut client).await, told(2, "b-3", "new"));
    server.signal(signal);
    server.wait();

    let server = ServerProcess::start(&config).unwrap();
    let mut client = connect(server.address, &bob).await;
    // What was missed comes, and nothing else: the second report was read.
    let again = reports(&mut client, Some((&stream["epoch"], 1))).await;
    assert_eq!(
        (&again["epoch"], &again["recovered"], &again["seq"]),
        (&stream["epoch"], &json!(true), &json!(2))
    );
    assert_eq!(report(&mut client).await, told(2, "b-3", "new"));
    for (body, before) in [(&first, &answer), (&refused, &refusal)] {
        let after = client.order(SignedOp::OrderNew, body).await;
        for field in ["type", "order_id", "status", "code", "receipt"] {
            assert_eq!(after.get(field), before.get(field), "{field} of {after}");
        }
    }
    let other = client.order(SignedOp::OrderNew, &limit("b-1", "buy", "1.00", "6", "gtc")).await;
    assert_eq!(other["code"], "SF-ORD-018", "another body under the same name: {other}");
    let status = client.request(json!({"op": "order.status", "cl_ord_id": "b-1"})).await;
    assert_eq!((&status["state"], &status["leaves_qty"]), (&json!("new"), &json!("5")), "{status}");
    // It still rests where it did: the other's order meets it at its price, before the younger one at a worse price.
    let mut erin = connect(server.address, &Pki::get().client("acme/erin")).await;
    let book =
        erin.request(json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL"], "depth": 0})).await;
    assert_eq!(book["type"], "subscribed");
    let snapshot = erin.message_where(|message| message["type"] == "snapshot").await;
    let bids = snapshot["bids"].as_array().unwrap();
    assert!(bids.contains(&json!(["1.00", "5", 1])) && bids.contains(&json!(["1.01", "2", 1])), "{snapshot}");
    let cancel = json!({"cl_ord_id": "b-4", "orig_cl_ord_id": "b-3"}).to_string();
    assert_eq!(client.order(SignedOp::OrderCancel, &cancel).await["status"], "accepted");
    assert_eq!(report(&mut client).await, told(3, "b-3", "canceled"));
    server.signal(Signal::TERM);
    server.wait();
    let log = folder.path().join("log");
    assert_executes_again(&log);
    let venues = replay(&log, &["--kind", "venue"]);
    assert_eq!(venues.len(), 2);
    assert_eq!(
        (&venues[0]["event"]["continues"], &venues[1]["event"]["continues"]),
        (&json!(false), &json!(true))
    );
    let table = run(&["audit", "replay", log.to_str().unwrap(), "--kind", "snapshot", "--output", "table"]);
    let table = String::from_utf8(table.stdout).unwrap();
    let snapshots = replay(&log, &["--kind", "snapshot"]);
    assert_eq!(table.lines().count(), snapshots.len());
    for (line, snapshot) in table.lines().zip(&snapshots) {
        let bytes = snapshot["event"]["bytes"].as_str().unwrap().len() / 2;
        assert!(line.contains(&format!("bytes=({bytes} bytes) inputs=")), "its size, not its bytes: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_answers_and_reports_live_through_a_stop() {
    lives_through(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_subscribed_before_anything_happened_misses_no_report_of_the_run_behind_a_kill() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let server = ServerProcess::start(&config).unwrap();
    let bob = Pki::get().client("acme/bob");
    let mut client = connect(server.address, &bob).await;
    let begun = reports(&mut client, None).await;
    assert_eq!(begun["seq"], 0);
    drop(client);
    server.signal(Signal::KILL);
    server.wait();

    let server = ServerProcess::start(&config).unwrap();
    let mut client = connect(server.address, &bob).await;
    // What it was not sure about comes first, and only then what it missed.
    let order = limit("b-1", "buy", "1.00", "5", "gtc");
    assert_eq!(client.order(SignedOp::OrderNew, &order).await["status"], "accepted");
    let again = reports(&mut client, Some((&begun["epoch"], 0))).await;
    assert_eq!((&again["recovered"], &again["seq"]), (&json!(true), &json!(1)), "{again}");
    assert_eq!(report(&mut client).await, told(1, "b-1", "new"));
    drop(client);
    server.signal(Signal::TERM);
    server.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_answers_and_reports_live_through_a_kill() {
    lives_through(Signal::KILL).await;
}

/// Adds an entry that nothing in the log brings about.
fn contradict(log: &Path) {
    let config = LogConfig::new(log, "sealfeed.local/log");
    let opened = journal::open(&config, &ClockConfig::default(), b"").unwrap();
    let journal = Journal::new(opened, Shutdown::new());
    journal
        .record(event::Execution {
            principal: "acme/bob".into(),
            cl_ord_id: "never".into(),
            order_id: 1,
            symbol: "SEAL".into(),
            exec: "fill".into(),
            side: "buy".into(),
            price: 1,
            quantity: 1,
            trade_id: 1,
            leaves: 0,
            cumulative: 1,
            report: 1,
            reason: event::Text::default(),
            cause: event::Text::default(),
            taker: true,
            firm_report: 1,
        })
        .unwrap();
    journal.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_outputs_do_not_follow_from_its_inputs_is_no_base_to_start_from() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let server = ServerProcess::start(&config).unwrap();
    server.signal(Signal::TERM);
    server.wait();
    contradict(&folder.path().join("log"));
    let Err(ended) = ServerProcess::start(&config) else { panic!("it started") };
    assert_eq!(ended.status.code(), Some(71), "{ended:?}");
    assert!(ended.stderr.contains("SF-AUD-008") && ended.stderr.contains("an output too many"), "{ended:?}");
}
