//! The life of orders, told four times: by replies, by execution reports, by market data and by the sealed log. All
//! four have to say the same.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use sealfeed_audit::reader::entries_from;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};

use crate::harness::{Client, Pki, Server, frame_text};
use crate::market::{self, QUIET, quiet, settle};
use crate::oracle::{Streams, units};
use crate::process;

const OWN: &str = r#"{"op":"subscribe","id":"own","channel":"orders","symbols":["*"]}"#;

/// A client whose streams are judged.
struct Trader {
    client: Client,
    streams: Streams,
    log: PathBuf,
    /// Receipts of all answers so far.
    receipts: Vec<Value>,
    /// Judged, and not asked for yet.
    pending: VecDeque<Value>,
}

impl Trader {
    /// A session that reads its own reports.
    async fn connect(server: &Server, name: &str) -> Self {
        let mut trader = Self::watcher(server, name).await;
        trader.client.send(OWN).await;
        trader.next("subscribed").await;
        trader
    }

    /// A session that reads nothing yet.
    async fn watcher(server: &Server, name: &str) -> Self {
        let client = server.connect(&Pki::get().client(name)).await;
        let (streams, receipts, pending) = Default::default();
        Self { client, streams, log: server.log(), receipts, pending }
    }

    /// The next message of this type; those before it stay for later.
    async fn next(&mut self, kind: &str) -> Value {
        self.next_where(|message| message["type"] == kind).await
    }

    async fn next_where(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.pending.iter().position(&is_it) {
            return self.pending.remove(place).unwrap();
        }
        loop {
            let message = self.client.message().await;
            self.streams.take(&message);
            if is_it(&message) {
                return message;
            }
            self.pending.push_back(message);
        }
    }

    /// Sends an order message; its answer, which must be durable by now, is kept.
    async fn signed(&mut self, op: SignedOp, body: &Value) -> Value {
        let id = self.client.fresh_id();
        let text = frame_text(id, &self.client.sign(op, &body.to_string()));
        self.client.send(text).await;
        let answer = self.next_where(|message| message.get("id") == Some(&id.into())).await;
        let receipt = answer["receipt"].clone();
        let logged = entries_from(&self.log, receipt["seq"].as_u64().unwrap()).unwrap().next();
        let entry = logged.unwrap_or_else(|| panic!("answered before it was written: {answer}")).unwrap();
        assert_eq!(sealfeed_audit::hex(&entry.hash), receipt["hash"].as_str().unwrap());
        self.receipts.push(receipt);
        answer
    }

    async fn limit(&mut self, name: &str, side: &str, price: &str, quantity: &str, tif: &str) -> Value {
        let answer = self.signed(SignedOp::OrderNew, &market::limit(name, side, price, quantity, tif)).await;
        assert_eq!((&answer["status"], &answer["cl_ord_id"]), (&json!("accepted"), &json!(name)), "{answer}");
        answer
    }

    async fn cancel(&mut self, name: &str, target: &str) -> Value {
        self.signed(SignedOp::OrderCancel, &json!({"cl_ord_id": name, "orig_cl_ord_id": target})).await
    }

    /// The next report: the order, what happened, filled in this report, open, filled in all.
    async fn report(&mut self) -> (Value, [String; 5]) {
        let exec = self.next("exec").await;
        let text = |field: &str| exec[field].as_str().unwrap_or("-").to_owned();
        let told = ["cl_ord_id", "exec", "last_qty", "leaves_qty", "cum_qty"].map(text);
        (exec, told)
    }

    /// State, open, filled in all, average price.
    async fn status(&mut self, name: &str) -> [String; 4] {
        let request = json!({"op": "order.status", "id": "status", "cl_ord_id": name});
        self.client.send(request.to_string()).await;
        let status = self.next("order_status").await;
        ["state", "leaves_qty", "cum_qty", "avg_price"]
            .map(|field| status[field].as_str().unwrap_or("-").to_owned())
    }
}

/// One tick above the best bid, where nobody is: the spread is two ticks at least.
pub(crate) fn free_price(streams: &Streams) -> String {
    let (bids, asks) = streams.book(QUIET).levels();
    let price = units(&bids[0].price) + 1;
    assert!(price < units(&asks[0].price), "no room in the spread");
    format!("{}.{:02}", price / 100, price % 100)
}

/// Reads market data of `viewer` until its book shows this at `price` of a side.
async fn book_shows(viewer: &mut Trader, side: &str, price: &str, quantity: Option<&str>) {
    while viewer.streams.book(QUIET).at(side, price).map(|line| line.quantity).as_deref() != quantity {
        let message = viewer.client.message().await;
        viewer.streams.take(&message);
        viewer.pending.push_back(message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orders_life_is_told_alike_by_replies_reports_market_data_and_the_log() {
    let server = Server::start(quiet).await;
    let mut viewer = Trader::watcher(&server, "acme/alice").await;
    settle(&mut viewer.client, &mut viewer.streams).await;
    let mut erin = Trader::connect(&server, "acme/erin").await;
    let mut bob = Trader::connect(&server, "acme/bob").await;
    let price = free_price(&viewer.streams);
    let average = format!("{price}0000000");
    let told = |texts: [&str; 5]| texts.map(str::to_owned);
    let is = |texts: [&str; 4]| texts.map(str::to_owned);

    // It rests, and shows at its price.
    erin.limit("rests", "sell", &price, "5", "day").await;
    assert_eq!(erin.report().await.1, told(["rests", "new", "-", "5", "0"]));
    book_shows(&mut viewer, "asks", &price, Some("5")).await;
    assert_eq!(erin.status("rests").await, is(["new", "5", "0", "-"]));

    // It is met in part; trade, reports and book agree.
    viewer
        .client
        .send(json!({"op": "subscribe", "id": 1, "channel": "trades", "symbols": [QUIET]}).to_string())
        .await;
    viewer.next("subscribed").await;
    bob.limit("meets", "buy", &price, "3", "day").await;
    assert_eq!(bob.report().await.1, told(["meets", "new", "-", "3", "0"]));
    let (taken, told_taken) = bob.report().await;
    let (given, told_given) = erin.report().await;
    assert_eq!(told_taken, told(["meets", "fill", "3", "0", "3"]));
    assert_eq!(told_given, told(["rests", "partial_fill", "3", "2", "3"]));
    let trade = viewer.next("trade").await;
    assert_eq!((&trade["price"], &trade["qty"], &trade["side"]), (&json!(price), &json!("3"), &json!("buy")));
    for (exec, liquidity) in [(&taken, "taker"), (&given, "maker")] {
        assert_eq!(exec["trade_id"], trade["trade_id"]);
        assert_eq!((&exec["last_price"], &exec["liquidity"]), (&json!(price), &json!(liquidity)));
        assert_eq!(exec["avg_price"], average.as_str());
    }
    book_shows(&mut viewer, "asks", &price, Some("2")).await;
    assert_eq!(erin.status("rests").await, is(["partially_filled", "2", "3", &average]));
    assert_eq!(bob.status("meets").await, is(["filled", "0", "3", &average]));

    // What an immediate order does not find expires; it never shows.
    bob.limit("sweeps", "buy", &price, "7", "ioc").await;
    assert_eq!(bob.report().await.1, told(["sweeps", "new", "-", "7", "0"]));
    assert_eq!(bob.report().await.1, told(["sweeps", "partial_fill", "2", "5", "2"]));
    assert_eq!(bob.report().await.1, told(["sweeps", "expired", "-", "0", "2"]));
    assert_eq!(erin.report().await.1, told(["rests", "fill", "2", "0", "5"]));
    assert_eq!(viewer.next("trade").await["qty"], "2");
    book_shows(&mut viewer, "asks", &price, None).await;
    assert_eq!(viewer.streams.book(QUIET).at("bids", &price), None);
    assert_eq!(bob.status("sweeps").await, is(["expired", "0", "2", &average]));
    assert_eq!(erin.status("rests").await, is(["filled", "0", "5", &average]));

    cancel_twice(&mut erin, &mut viewer, &price).await;
    assert_eq!(erin.status("never").await, is(["unknown", "-", "-", "-"]));

    let receipts = [erin.receipts, bob.receipts].concat();
    let (events, folder) = server.finish().await;
    let life: Vec<&str> = events
        .iter()
        .filter(|event| event.text("principal") == "acme/erin" && event.order.is_some())
        .map(|event| if event.kind == "execution" { event.text("exec") } else { event.kind })
        .collect();
    let told = [
        "order",
        "new",
        "partial_fill",
        "fill",
        "order",
        "new",
        "order",
        "canceled",
        "order",
        "order_refused",
    ];
    assert_eq!(life, told);
    check_receipts(&folder.path().join("log"), &receipts);
}

/// Cancelled once; the second time it is too late.
async fn cancel_twice(erin: &mut Trader, viewer: &mut Trader, price: &str) {
    erin.limit("goes", "sell", price, "4", "gtc").await;
    assert_eq!(erin.report().await.1, ["goes", "new", "-", "4", "0"]);
    book_shows(viewer, "asks", price, Some("4")).await;
    assert_eq!(erin.cancel("cancel-1", "goes").await["status"], "accepted");
    let (canceled, told_canceled) = erin.report().await;
    assert_eq!(told_canceled, ["goes", "canceled", "-", "0", "0"]);
    assert_eq!(canceled["cancel_cl_ord_id"], "cancel-1");
    book_shows(viewer, "asks", price, None).await;
    assert_eq!(erin.status("goes").await, ["canceled", "0", "0", "-"]);
    assert_eq!(erin.cancel("cancel-2", "goes").await["code"], "SF-ORD-037");
}

/// Receipts are anchors: with them alone the log verifies, and a receipt of another history convicts it.
fn check_receipts(log: &Path, receipts: &[Value]) {
    assert_eq!(receipts.len(), 6);
    let file = log.with_file_name("receipts");
    let write = |receipts: &[Value]| {
        let lines: Vec<String> = receipts.iter().map(Value::to_string).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        process::verify(log, &["--receipt", file.to_str().unwrap()])
    };
    let verdict = write(receipts);
    assert_eq!((verdict.word(), verdict.code), ("VERIFIED", 0), "{verdict:?}");
    let last = receipts.iter().map(|receipt| receipt["seq"].as_u64().unwrap()).max().unwrap();
    assert!(verdict.report["anchored_entries"].as_u64().unwrap() > last, "{verdict:?}");

    let mut forged = receipts.to_vec();
    forged[2]["hash"] = forged[3]["hash"].clone();
    let verdict = write(&forged);
    assert_eq!((verdict.word(), verdict.code), ("TAMPERED", 20), "{verdict:?}");
    assert_eq!(verdict.report["findings"][0]["seq"], forged[2]["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_of_a_principal_read_one_stream_without_a_gap_and_nobody_else_does() {
    let server = Server::start(quiet).await;
    let mut viewer = server.connect(&Pki::get().client("acme/alice")).await;
    let mut streams = Streams::default();
    settle(&mut viewer, &mut streams).await;
    assert_eq!(viewer.error_of(OWN).await, "SF-SUB-004", "who may not trade has no reports");
    let price = free_price(&streams);

    let mut first = Trader::connect(&server, "acme/erin").await;
    let mut second = Trader::connect(&server, "acme/erin").await;
    let mut bob = Trader::connect(&server, "acme/bob").await;
    let mut seen = [Vec::new(), Vec::new()];
    for round in 0..4 {
        let (name, cancel) = (format!("o-{round}"), format!("c-{round}"));
        // Placed in one session, cancelled in the other.
        first.limit(&name, "sell", &price, "1", "day").await;
        second.cancel(&cancel, &name).await;
        for _ in 0..2 {
            seen[0].push(first.report().await.0);
            seen[1].push(second.report().await.0);
        }
    }
    // A position between the oldest and the newest, from before the end of the first session.
    let (epoch, old) = (seen[0][0]["epoch"].clone(), seen[0][3]["seq"].as_u64().unwrap());
    drop(first);
    second.limit("alone", "sell", &price, "1", "day").await;
    assert_eq!(second.report().await.0["seq"], 9);
    assert_eq!(seen[0], seen[1], "the same for both");

    bob.limit("his-own", "buy", &price, "1", "ioc").await;
    let his: Vec<String> = [bob.report().await, bob.report().await].map(|(_, told)| told[0].clone()).to_vec();
    assert_eq!(his, ["his-own", "his-own"]);
    assert_eq!(bob.streams.of("orders", "*").seq, 2, "his stream counts his reports alone");
    assert_eq!(bob.status("alone").await[0], "unknown");
    assert_eq!(bob.cancel("hers", "o-1").await["code"], "SF-ORD-036");
    let newest = second.report().await.0["seq"].as_u64().unwrap();

    let mut third = server.connect(&Pki::get().client("acme/erin")).await;
    for (epoch, seq, recovered, gap) in [
        (&epoch, newest, true, None),
        (&epoch, newest + 1, false, None),
        (&json!("00000000000000ff"), newest, false, Some((1, newest))),
    ] {
        let resume = json!({"*": {"epoch": epoch, "seq": seq}});
        let request = json!({"op": "subscribe", "channel": "orders", "symbols": ["*"], "resume": resume});
        let reply = third.request(request).await;
        assert_eq!(reply["symbols"]["*"]["recovered"], recovered, "{reply}");
        if let Some((from, to)) = gap {
            let gap = third.message().await;
            assert_eq!(
                (&gap["type"], &gap["from"], &gap["to"]),
                (&json!("gap"), &json!(from), &json!(to)),
                "{gap}"
            );
        }
    }

    let resume = json!({"*": {"epoch": epoch, "seq": old}});
    let request = json!({"op": "subscribe", "channel": "orders", "symbols": ["*"], "resume": resume});
    let reply = third.request(request).await;
    assert_eq!(reply["symbols"]["*"]["recovered"], true, "{reply}");
    for seq in old + 1..=newest {
        let report = third.message().await;
        assert_eq!(
            (&report["type"], &report["seq"], &report["prev_seq"]),
            (&json!("exec"), &json!(seq), &json!(seq - 1))
        );
    }

    let (events, _folder) = server.finish().await;
    for principal in ["acme/erin", "acme/bob"] {
        let of_principal = events.iter().filter(|event| event.text("principal") == principal);
        let reports = of_principal.filter(|event| event.kind == "execution");
        let numbers: Vec<u64> = reports.map(|event| event.fields["report"].as_u64().unwrap()).collect();
        let count = numbers.len() as u64;
        assert!(count > 1 && numbers == (1..=count).collect::<Vec<_>>(), "{principal}: {numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_asked_for_right_behind_an_order_has_its_receipt() {
    let server = Server::start(quiet).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let mut receipts = Vec::new();
    for round in 0..20 {
        let name = format!("p-{round}");
        let signed =
            bob.sign(SignedOp::OrderNew, &market::limit(&name, "buy", "1.00", "1", "ioc").to_string());
        let order = frame_text(round, &signed);
        bob.send(order).await;
        bob.send(json!({"op": "order.status", "id": "status", "cl_ord_id": name}).to_string()).await;
        let answer = bob.message_where(|message| message["type"] == "order").await;
        let status = bob.message_where(|message| message["type"] == "order_status").await;
        assert_eq!(status["state"], "expired");
        assert_eq!(status["receipt"], answer["receipt"], "the receipt of the first answer");
        receipts.push(status["receipt"].clone());
    }
    server.finish().await;
}
