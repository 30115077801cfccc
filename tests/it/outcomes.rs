//! One outcome for every order, whatever happens between: clients trade, the server is killed in the middle of it, and after each restart
//! every client finds out what became of each of its orders, by sending it again, by its status and by its execution reports. All three
//! say the same, what was said once is said again, and nothing happened twice.
//!
//! A few cycles by default; `SEALFEED_OUTCOME_CYCLES` sets another number, `SEALFEED_OUTCOME_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::crash::{Dice, from_environment};
use crate::floor;
use crate::harness::{Client, Frame, Identity, Pki, Received, assert_executes_again, frame_text};
use crate::process::{ServerProcess, configure, connect};

/// A market that is there and does nothing near the clients' prices.
const MARKET: &str = r#"
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 20
    [orders]
    snapshot_inputs = 1000
"#;
const CYCLES: u64 = 8;
const CYCLES_PER_LOG: u64 = 25;
/// The server is killed after so many answers at most.
const ANSWERS_MAX: u64 = 150;
/// Traders: two principals, so that they meet.
const TRADERS: [&str; 3] = ["acme/bob", "acme/erin", "acme/bob"];

/// A signed message that a client has sent.
struct Sent {
    op: SignedOp,
    body: String,
    /// The first answer, without what may differ in a repetition; `None` while nobody knows whether it arrived.
    answer: Option<Value>,
}

/// What a principal knows of its reports, over all its connections and all lives of the server.
#[derive(Default)]
struct Reports {
    epoch: Option<Value>,
    last: u64,
    /// By the order's name: how often it was new, what was filled, whether it ended.
    orders: BTreeMap<String, Told>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    accepted: u64,
    filled: u64,
    ended: u64,
}

impl Reports {
    fn take(&mut self, exec: &Value) {
        assert_eq!(exec["seq"], self.last + 1, "no report is skipped, and none told twice: {exec}");
        assert_eq!(exec["prev_seq"], self.last, "{exec}");
        self.last += 1;
        let told = self.orders.entry(exec["cl_ord_id"].as_str().unwrap().to_owned()).or_default();
        match exec["exec"].as_str().unwrap() {
            "new" => told.accepted += 1,
            kind @ ("partial_fill" | "fill") => {
                told.filled += exec["last_qty"].as_str().unwrap().parse::<u64>().unwrap();
                told.ended += u64::from(kind == "fill");
            }
            "canceled" | "expired" => told.ended += 1,
            "replaced" => {}
            other => panic!("{other}: {exec}"),
        }
        assert_eq!(exec["cum_qty"], told.filled.to_string(), "{exec}");
    }
}

/// An answer, but for what differs between the first time and any other.
fn essence(answer: &Value) -> Value {
    let keys = ["type", "cl_ord_id", "orig_cl_ord_id", "order_id", "status", "canceled", "code", "receipt"];
    keys.iter().filter_map(|key| Some(((*key).to_owned(), answer.get(*key)?.clone()))).collect()
}

/// Reads until the answer to `id`; reports on the way are taken. `None` if the connection ends before.
async fn answer_to(client: &mut Client, id: u64, reports: &mut Option<&mut Reports>) -> Option<Value> {
    loop {
        match client.receive().await {
            Received::End(_) => return None,
            Received::Message(message) if message["id"] == id => return Some(message),
            Received::Message(message) if message["type"] == "exec" => {
                if let Some(reports) = reports {
                    reports.take(&message);
                }
            }
            Received::Message(_) => {}
        }
    }
}

async fn send(client: &mut Client, op: SignedOp, body: &str) -> u64 {
    let id = client.fresh_id();
    let text = frame_text(id, &client.sign(op, body));
    // Past the WebSocket layer, because the server may be gone: the next read tells.
    client.send_raw(&Frame { first: 0x81, masked: true, payload: text.as_bytes() }.bytes()).await;
    id
}

/// Ends a server once this many answers have come, over all clients.
struct Trigger {
    answers: AtomicU64,
    kill_at: u64,
    server: Pid,
}

/// One connection's orders of one life of the server.
struct Trader {
    name: String,
    sent: Vec<Sent>,
    dice: Dice,
}

impl Trader {
    /// Something to do: orders that rest, orders that meet those of the others, cancels and replaces of what was sent before.
    fn next(&mut self) -> (SignedOp, String) {
        let name = format!("{}-{}", self.name, self.sent.len());
        let older = (!self.sent.is_empty())
            .then(|| &self.sent[usize::try_from(self.dice.below(self.sent.len() as u64)).unwrap()].body)
            .and_then(|body| {
                serde_json::from_str::<Value>(body).unwrap()["cl_ord_id"].as_str().map(str::to_owned)
            });
        match (self.dice.below(10), older) {
            (0, Some(older)) => {
                (SignedOp::OrderCancel, json!({"cl_ord_id": name, "orig_cl_ord_id": older}).to_string())
            }
            (1, Some(older)) => {
                let qty = (1 + self.dice.below(9)).to_string();
                let body = json!({"cl_ord_id": name, "orig_cl_ord_id": older, "qty": qty});
                (SignedOp::OrderReplace, body.to_string())
            }
            (2, Some(_)) if self.dice.below(4) == 0 => {
                (SignedOp::OrderMassCancel, json!({"cl_ord_id": name, "scope": "session"}).to_string())
            }
            _ => {
                let side = if self.dice.below(2) == 0 { "buy" } else { "sell" };
                let price = format!("1.0{}", self.dice.below(4));
                let qty = (1 + self.dice.below(9)).to_string();
                let tif = ["gtc", "day", "ioc"][usize::try_from(self.dice.below(3)).unwrap()];
                let body = json!({
                    "cl_ord_id": name, "symbol": "SEAL", "side": side, "type": "limit", "qty": qty, "price": price, "tif": tif,
                });
                (SignedOp::OrderNew, body.to_string())
            }
        }
    }

    /// Sends one message after the other until the connection breaks.
    async fn trade(
        mut self,
        mut client: Client,
        mut reports: Option<&mut Reports>,
        trigger: &Trigger,
    ) -> Self {
        loop {
            let (op, body) = self.next();
            let id = send(&mut client, op, &body).await;
            let answer = answer_to(&mut client, id, &mut reports).await;
            let is_over = answer.is_none();
            // A refusal for now binds nothing: the name is free again, and is not used again here.
            let answer = answer.filter(|answer| answer["retryable"] != true).map(|answer| essence(&answer));
            if answer.is_some() || is_over {
                self.sent.push(Sent { op, body, answer });
            }
            if is_over {
                return self;
            }
            if trigger.answers.fetch_add(1, Ordering::Relaxed) + 1 == trigger.kill_at {
                kill_process(trigger.server, Signal::KILL).unwrap();
            }
        }
    }
}

/// Finds out what became of everything: what was answered is answered so again, and what was in doubt gets one answer.
async fn reconcile(client: &mut Client, sent: &mut [Sent], dice: &mut Dice, told: &mut Tally) {
    for message in sent {
        let in_doubt = message.answer.is_none();
        if !in_doubt && dice.below(8) != 0 {
            continue;
        }
        let answer = loop {
            let id = send(client, message.op, &message.body).await;
            let answer = answer_to(client, id, &mut None).await.unwrap();
            if answer["retryable"] != true {
                break essence(&answer);
            }
        };
        match &message.answer {
            Some(first) => {
                told.repeated += 1;
                assert_eq!(*first, answer, "the same body, the same answer: {}", message.body);
            }
            None => {
                told.in_doubt += 1;
                message.answer = Some(answer);
            }
        }
    }
}

/// Subscribes to the reports behind the last one that is known; every one that was missed comes.
async fn follow(client: &mut Client, reports: &mut Reports) {
    let mut request = json!({"op": "subscribe", "channel": "orders", "symbols": ["*"]});
    if let Some(epoch) = &reports.epoch {
        request["resume"] = json!({"*": {"epoch": epoch, "seq": reports.last}});
    }
    let reply = client.request(request).await;
    let stream = &reply["symbols"]["*"];
    match &reports.epoch {
        None => reports.last = stream["seq"].as_u64().unwrap(),
        Some(epoch) => {
            assert_eq!((&stream["epoch"], &stream["recovered"]), (epoch, &json!(true)), "{reply}");
        }
    }
    reports.epoch = Some(stream["epoch"].clone());
    let upto = stream["seq"].as_u64().unwrap();
    while reports.last < upto {
        let message = client.message_where(|message| message["type"] == "exec").await;
        reports.take(&message);
    }
}

/// Status and reports of every order say the same.
async fn compare(client: &mut Client, sent: &[Sent], reports: &Reports) {
    for message in sent.iter().filter(|message| message.op == SignedOp::OrderNew) {
        let name = serde_json::from_str::<Value>(&message.body).unwrap()["cl_ord_id"].clone();
        let status = client.request(json!({"op": "order.status", "cl_ord_id": name})).await;
        let told = reports.orders.get(name.as_str().unwrap()).cloned().unwrap_or_default();
        let answer = message.answer.as_ref().unwrap();
        let accepted = answer["status"] == "accepted";
        assert_eq!(told.accepted, u64::from(accepted), "{answer} {told:?}");
        if !accepted {
            assert_eq!(status["state"], "rejected", "{status}");
            assert_eq!(told, Told::default());
            continue;
        }
        assert_eq!(status["receipt"], answer["receipt"], "{status}");
        assert_eq!(status["cum_qty"], told.filled.to_string(), "{status} {told:?}");
        let open = matches!(status["state"].as_str().unwrap(), "new" | "partially_filled");
        assert_eq!(told.ended, u64::from(!open), "{status} {told:?}");
    }
}

#[derive(Default)]
struct Tally {
    messages: usize,
    in_doubt: usize,
    repeated: usize,
    reports: u64,
}

fn who(trader: usize) -> Identity {
    Pki::get().client(TRADERS[trader])
}

/// One log, whose server is killed once a cycle under the orders of all traders.
async fn live(cycles: u64, seed: u64, told: &mut Tally) {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let mut dice = Dice(seed);
    // The third trader is the first one's principal on another connection: it reads no reports.
    let mut reports = [Reports::default(), Reports::default()];
    let mut all: [Vec<Sent>; 3] = Default::default();
    for cycle in 0..=cycles {
        let server =
            ServerProcess::start(&config).unwrap_or_else(|ended| panic!("it does not start: {ended:?}"));
        let mut clients = Vec::new();
        for (trader, sent) in all.iter_mut().enumerate() {
            let mut client = connect(server.address, &who(trader)).await;
            reconcile(&mut client, sent, &mut dice, told).await;
            clients.push(client);
        }
        for (reports, client) in reports.iter_mut().zip(&mut clients) {
            follow(client, reports).await;
        }
        for (trader, client) in clients.iter_mut().enumerate() {
            let recent = all[trader].len().saturating_sub(300);
            compare(client, &all[trader][recent..], &reports[trader % 2]).await;
        }
        if cycle == cycles {
            break;
        }
        let kill_at = 1 + dice.below(ANSWERS_MAX);
        let trigger = Arc::new(Trigger { answers: AtomicU64::new(0), kill_at, server: server.pid() });
        let [bobs, erins] = &mut reports;
        let mut readers = [Some(bobs), Some(erins), None];
        let mut traders = Vec::new();
        for (trader, client) in clients.into_iter().enumerate() {
            let name = format!("c{cycle}-{trader}");
            let seed = dice.below(u64::MAX);
            let reader = readers[trader].take();
            let trigger = Arc::clone(&trigger);
            let trader = Trader { name, sent: Vec::new(), dice: Dice(seed) };
            traders.push(async move { trader.trade(client, reader, &trigger).await });
        }
        for (sent, trader) in all.iter_mut().zip(futures_util::future::join_all(traders).await) {
            sent.extend(trader.sent);
        }
        let ended = server.wait();
        assert!(ended.status.code().is_none(), "it was killed, it did not stop: {ended:?}");
    }
    told.messages += all.iter().map(Vec::len).sum::<usize>();
    told.reports += reports.iter().map(|reports| reports.last).sum::<u64>();
    assert_executes_again(&folder.path().join("log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_has_exactly_one_outcome_however_often_the_server_is_killed() {
    let seed = from_environment("SEALFEED_OUTCOME_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let cycles = from_environment("SEALFEED_OUTCOME_CYCLES").unwrap_or(CYCLES);
    println!("SEALFEED_OUTCOME_SEED={seed} SEALFEED_OUTCOME_CYCLES={cycles}");
    let mut told = Tally::default();
    let mut left = cycles;
    while left > 0 {
        let now = left.min(CYCLES_PER_LOG);
        live(now, seed.wrapping_add(left), &mut told).await;
        left -= now;
    }
    let Tally { messages, in_doubt, repeated, reports } = told;
    println!(
        "{cycles} kills, {messages} messages, {in_doubt} in doubt and settled, {repeated} repeated alike, {reports} reports without a gap"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_was_told_is_done_holds_though_the_server_is_killed_at_that_moment() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    std::fs::write(folder.path().join("entitlements.toml"), floor::POLICY).unwrap();
    // Each command, and what becomes of an order of bob's and one of erin's behind it.
    let kill = |action: &str| {
        let body = json!({"scope": "principal", "target": "acme/bob", "action": action, "reason": "a drill"});
        (SignedOp::AdminKill, body)
    };
    let trading = |state: &str| {
        (SignedOp::AdminTrading, json!({"symbol": "SEAL", "state": state, "reason": "a drill"}))
    };
    let accepted = json!(null);
    let (killed, halted) = (json!("SF-RSK-018"), json!("SF-ORD-064"));
    let steps = [
        (kill("engage"), [&killed, &accepted]),
        (trading("halted"), [&killed, &halted]),
        (kill("release"), [&halted, &halted]),
        (trading("open"), [&accepted, &accepted]),
    ];
    for (number, ((op, body), expected)) in steps.into_iter().enumerate() {
        let server = ServerProcess::start(&config).unwrap();
        let mut dave = connect(server.address, &Pki::get().client("beta/dave")).await;
        let done = dave.order(op, &body.to_string()).await;
        assert_eq!(done["type"], "ok", "{done}");
        server.signal(Signal::KILL);
        server.wait();
        let server = ServerProcess::start(&config).unwrap();
        for (trader, expected) in ["acme/bob", "acme/erin"].into_iter().zip(expected) {
            let mut client = connect(server.address, &Pki::get().client(trader)).await;
            let order = json!({
                "cl_ord_id": format!("n-{number}"), "symbol": "SEAL", "side": "buy", "type": "limit", "qty": "1",
                "price": "1.00", "tif": "gtc",
            });
            let answer = client.order(SignedOp::OrderNew, &order.to_string()).await;
            assert_eq!(answer["code"], *expected, "step {number}, {trader}: {answer}");
        }
        server.signal(Signal::KILL);
        server.wait();
    }
    assert_executes_again(&folder.path().join("log"));
}
