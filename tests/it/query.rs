//! What the log answers when it is asked: replay, tail, trace, at, report, export, compared with what was really done.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use sealfeed_audit::reader::entries;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Pki};
use crate::process::{ServerProcess, configure, connect, public_key, replay, run};

const MARKET: &str = r#"
    checkpoint_ms = 20
    [[source]]
    type = "synthetic"
    symbols = ["SEAL", "OTTER"]
    messages_per_second = 100
"#;

/// What was done on a server that has stopped.
pub(crate) struct Past {
    pub(crate) folder: TempDir,
    pub(crate) log: PathBuf,
    /// The server's number of the order that rested and was cancelled.
    pub(crate) canceled: String,
    /// RFC 3339, while bob's session was open with two subscriptions and one open order.
    pub(crate) midway: String,
}

async fn order(client: &mut Client, op: SignedOp, body: Value) -> Value {
    client.order(op, &body.to_string()).await
}

fn new(name: &str, tif: &str) -> Value {
    json!({"cl_ord_id": name, "symbol": "SEAL", "side": "buy", "type": "limit", "qty": "1", "price": "1.00", "tif": tif})
}

pub(crate) async fn past() -> Past {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let log = folder.path().join("log");
    let server = ServerProcess::start(&config).unwrap();
    let mut bob = connect(server.address, &Pki::get().client("acme/bob")).await;
    bob.request(json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL", "OTTER"]})).await;
    let rests = order(&mut bob, SignedOp::OrderNew, new("rests", "day")).await;
    let canceled = rests["order_id"].as_str().unwrap().to_owned();
    let refused = order(
        &mut bob,
        SignedOp::OrderNew,
        json!({"cl_ord_id": "bad", "symbol": "NONE", "side": "buy",
        "type": "limit", "qty": "1", "price": "1.00", "tif": "day"}),
    )
    .await;
    assert_eq!(refused["type"], "error", "{refused}");
    let last = replay(&log, &["--kind", "order_refused"]);
    let midway = last[0]["time"].as_str().unwrap().to_owned();
    order(&mut bob, SignedOp::OrderCancel, json!({"cl_ord_id": "c-1", "orig_cl_ord_id": "rests"})).await;
    bob.request(json!({"op": "unsubscribe", "channel": "book", "symbols": ["OTTER"]})).await;
    let mut erin = connect(server.address, &Pki::get().client("acme/erin")).await;
    erin.request(json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL"]})).await;
    drop((bob, erin));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().status.code(), Some(0));
    Past { folder, log, canceled, midway }
}

fn text(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn objects(arguments: &[&str]) -> Vec<Value> {
    text(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_answers_every_question_about_what_was_done() {
    let past = past().await;
    let log = past.log.to_str().unwrap();
    replays(&past, log);
    traces(&past, log);
    tells_the_moment(&past, log);
    reports(log);
    exports(&past, log);
}

fn replays(past: &Past, log: &str) {
    let all = replay(&past.log, &[]);
    assert_eq!(all.len(), entries(&past.log).unwrap().count(), "every entry is printed");
    let expected = |is_it: &dyn Fn(&Value) -> bool| all.iter().filter(|row| is_it(row)).count();
    let found = |filter: &[&str]| replay(&past.log, filter).len();
    let of_bob = expected(&|row| row["event"]["principal"] == "acme/bob");
    assert!(of_bob > 5);
    assert_eq!(found(&["--principal", "acme/bob"]), of_bob);
    let of_acme = expected(&|row| {
        row["event"]["principal"].as_str().is_some_and(|principal| principal.starts_with("acme/"))
    });
    assert_eq!(found(&["--firm", "acme"]), of_acme);
    assert_eq!(found(&["--firm", "acm"]), 0);
    assert_eq!(found(&["--kind", "log.start"]), 1);
    assert_eq!(found(&["--until", &past.midway]), expected(&|row| row["time"].as_str() < Some(&past.midway)));
    let batches = replay(&past.log, &["--kind", "synthetic", "--symbol", "SEAL"]);
    let names_first = |row: &Value| {
        row["event"]["inputs"].as_array().unwrap().iter().any(|input| input["New"]["instrument"] == 0)
    };
    assert!(!batches.is_empty() && batches.iter().all(names_first), "batches are found by their instruments");
    assert_eq!(found(&["--kind", "synthetic", "--symbol", "SEA"]), 0);
    let genesis = &all[0];
    assert_eq!(
        (&genesis["kind"], &genesis["event"]["origin"]),
        (&json!("log.genesis"), &json!("sealfeed.local/log"))
    );
    let csv = text(&["audit", "replay", log, "--output", "csv", "--kind", "order"]);
    assert!(csv.starts_with("seq,time,kind,session,order,order_event,principal,symbol,code,event,hash\n"));
    let mut records = csv::Reader::from_reader(csv.as_bytes());
    let symbols: Vec<_> = records.records().map(|record| record.unwrap()[7].to_owned()).collect();
    assert_eq!(symbols.len(), found(&["--kind", "order"]));
    assert_eq!(symbols[0], "SEAL");
    let unknown = run(&["audit", "replay", log, "--kind", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(1));
}

fn traces(past: &Past, log: &str) {
    for name in [past.canceled.as_str(), "rests"] {
        let output = run(&["audit", "trace", log, "--order", name]);
        let life: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let events: Vec<_> = life.iter().map(|row| row["order_event"].as_u64().unwrap()).collect();
        assert_eq!(events, (0..life.len() as u64).collect::<Vec<_>>(), "{life:?}");
        assert_eq!(life.last().unwrap()["event"]["exec"], "canceled");
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stderr).unwrap().contains("complete"));
    }
    assert_eq!(run(&["audit", "trace", log, "--order", "never"]).status.code(), Some(66));
}

fn tells_the_moment(past: &Past, log: &str) {
    let at = |time: &str| objects(&["audit", "at", time, "--principal", "acme/bob", log, "--json"]).remove(0);
    let midway = at(&past.midway);
    let session = &midway["sessions"][0];
    let symbols: Vec<_> = session["subscriptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["symbol"].as_str().unwrap())
        .collect();
    assert_eq!(symbols, ["OTTER", "SEAL"]);
    assert_eq!(midway["open_orders"][0]["cl_ord_id"], "rests");
    assert!(midway["in_force"]["identity.entitlements"]["sha256"].is_string(), "{midway}");
    assert_eq!(midway["last_refusal"]["op"], "order.new");
    let end = at("2100-01-01T00:00:00Z");
    assert_eq!((&end["sessions"], &end["open_orders"]), (&json!([]), &json!([])));
    assert_eq!(end["server_running"], false);
    let before = at("1971-01-01T00:00:00Z");
    assert!(before["as_of_entry"].is_null());
    let shown = text(&["audit", "at", &past.midway, "--principal", "acme/bob", log]);
    assert!(shown.contains("open orders: 1") && shown.contains("book OTTER, "), "{shown}");
}

fn reports(log: &str) {
    let orders = objects(&["audit", "report", "orders", log]);
    let outcomes: Vec<_> = orders
        .iter()
        .map(|row| (row["cl_ord_id"].as_str().unwrap(), row["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, [("rests", "canceled"), ("bad", "rejected"), ("c-1", "accepted")]);
    assert!(
        orders[1]["code"].as_str().unwrap().starts_with("SF-"),
        "a refused order is a record, with its reason"
    );
    let auth = objects(&["audit", "report", "auth", log]);
    let admitted: Vec<_> =
        auth.iter().filter(|row| row["outcome"] == "admitted").map(|row| row["who"].clone()).collect();
    assert_eq!(admitted, [json!("acme/bob"), json!("acme/erin")]);
    let month = replay(Path::new(log), &[])[0]["time"].as_str().unwrap()[..7].to_owned();
    let usage = objects(&["audit", "report", "usage", "--month", &month, log]);
    let counts: Vec<_> = usage
        .iter()
        .map(|row| {
            ["symbol", "user", "activations", "deactivations", "most_at_once"]
                .map(|name| row[name].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        counts,
        [["OTTER", "bob", "1", "1", "1"], ["SEAL", "bob", "1", "1", "1"], ["SEAL", "erin", "1", "1", "1"]]
    );
    assert!(objects(&["audit", "report", "usage", "--month", "2001-01", log]).is_empty());
    let table = text(&["audit", "report", "usage", "--month", &month, "--output", "table", log]);
    assert!(table.starts_with("channel"), "{table}");
}

fn exports(past: &Past, log: &str) {
    let folder = past.folder.path().join("export");
    let to = folder.to_str().unwrap();
    text(&["audit", "export", log, "-o", to, "--principal", "acme/bob"]);
    let checked = Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(&folder).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let lines = std::fs::read_to_string(folder.join("entries.jsonl")).unwrap();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let raw = line["raw"].as_str().unwrap();
        let raw: Vec<u8> =
            (0..raw.len()).step_by(2).map(|at| u8::from_str_radix(&raw[at..at + 2], 16).unwrap()).collect();
        assert_eq!(sealfeed_audit::hex(&sealfeed_audit::leaf_hash(&raw)), line["hash"].as_str().unwrap());
    }
    let manifest: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["entries"], lines.lines().count());
    assert_eq!(lines.lines().count(), replay(&past.log, &["--principal", "acme/bob"]).len());
    let key = std::fs::read_to_string(public_key(&past.log)).unwrap().parse().unwrap();
    let checkpoint = std::fs::read_to_string(folder.join("checkpoint")).unwrap();
    assert!(sealfeed_audit::checkpoint::open(&checkpoint, &key).is_ok(), "{checkpoint:?}");
    assert!(!run(&["audit", "export", log, "-o", to]).status.success(), "nothing is overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_what_happens_as_it_becomes_certain_and_ends_where_somebody_meddled() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, "checkpoint_ms = 20");
    let log = folder.path().join("log");
    let server = ServerProcess::start(&config).unwrap();
    let key = public_key(&log);
    let tail = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
        command.args(["audit", "tail", log.to_str().unwrap(), "--key", &key, "--output", "json"]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = tail(&["--since", "0", "--kind", "connect", "-n", "2"]);
    let shown = BufReader::new(child.stdout.take().unwrap());
    let bob = connect(server.address, &Pki::get().client("acme/bob")).await;
    let erin = connect(server.address, &Pki::get().client("acme/erin")).await;
    let principals: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["event"]["principal"].clone())
        .collect();
    assert_eq!(principals, ["acme/bob", "acme/erin"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let mut child = tail(&["--since", "0"]);
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    shown.read_line(&mut line).unwrap();
    assert!(line.contains("log.genesis"), "{line}");
    drop((bob, erin));
    // A signed checkpoint over more entries than there are: the end was cut off behind the follower's back.
    server.signal(Signal::KILL);
    server.wait();
    let segment = log.join("segments").join(sealfeed_audit::segment_name(0));
    let mut bytes = std::fs::read(&segment).unwrap();
    let signed = std::fs::read(log.join("checkpoints")).unwrap();
    let copy = folder.path().join("copy");
    assert!(Command::new("cp").arg("-a").args([&log, &copy]).status().unwrap().success());
    child.kill().unwrap();
    child.wait().unwrap();
    let at = bytes.windows(8).position(|part| part == b"acme/bob").unwrap();
    bytes[at] ^= 1;
    std::fs::write(copy.join("segments").join(sealfeed_audit::segment_name(0)), bytes).unwrap();
    assert!(!signed.is_empty());
    let output = run(&["audit", "tail", copy.to_str().unwrap(), "--key", &key, "--since", "0"]);
    assert_eq!(output.status.code(), Some(20), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8(output.stdout).unwrap().contains("acme/bob"), "what was changed is not shown");
}
