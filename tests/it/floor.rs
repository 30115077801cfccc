//! A trading floor: a real server on one of whose instruments nobody trades but the clients of a test. What its traders are told of their
//! orders is held against the sealed log at the end, and the log is executed again.

use std::collections::VecDeque;
use std::path::PathBuf;

use sealfeed::clock::Clock;
use sealfeed::config::Config;
use sealfeed_audit::reader::entries_from;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Logged, Pki, Server, frame_text, fresh_nonce, soon};
use crate::market::{QUIET, limit, quiet, settle};
use crate::oracle::{Line, Streams};

const VIEWER: &str = "acme/alice";
/// Clears the book before anything else happens.
const CLEARER: &str = "beta/dave";

/// Everybody of the PKI who trades may trade everything; dave is an operator, too.
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "viewers"
match = { role = "viewer" }
channels = ["trades", "bbo", "book", "status", "definition"]
symbols = ["*"]

[[rule]]
name = "operators"
match = { user = "dave" }
admin = ["kill", "trading", "reload"]

[[rule]]
name = "traders"
match = { role = "trader" }
[rule.orders]
symbols = ["*"]
orders_per_second = 1000
"#;

/// As [`POLICY`], with the orders of bob going with their connection, those of erin with her last one, and those of dave with none.
pub(crate) const LEAVING: &str = r#"
[[rule]]
name = "viewers"
match = { role = "viewer" }
channels = ["trades", "bbo", "book", "status", "definition"]
symbols = ["*"]

[[rule]]
name = "bob"
match = { user = "bob" }
[rule.orders]
symbols = ["*"]
orders_per_second = 1000
cancel_on_disconnect = "connection"

[[rule]]
name = "erin"
match = { user = "erin" }
[rule.orders]
symbols = ["*"]
orders_per_second = 1000
cancel_on_disconnect = "principal"

[[rule]]
name = "dave"
match = { user = "dave" }
[rule.orders]
symbols = ["*"]
orders_per_second = 1000
cancel_on_disconnect = "off"
"#;

/// A server, and a viewer of its public market.
pub(crate) struct Floor {
    pub(crate) server: Box<Server>,
    policy: &'static str,
    clock: Clock,
    change: fn(&mut Config),
    viewer: Box<Client>,
    streams: Streams,
    /// Public messages that nobody has asked for yet: trades and states.
    seen: VecDeque<Value>,
}

impl Floor {
    /// A floor whose book is empty.
    pub(crate) async fn open(policy: &'static str) -> Self {
        Self::open_by(Clock::System, policy, quiet).await
    }

    /// As [`Floor::open`], by this clock, and with `change` to the configuration, which must leave [`QUIET`] there.
    pub(crate) async fn open_by(clock: Clock, policy: &'static str, change: fn(&mut Config)) -> Self {
        let mut floor = Self::on(TempDir::new().unwrap(), clock, policy, change).await;
        settle(&mut floor.viewer, &mut floor.streams).await;
        floor.watch().await;
        let mut clearer = floor.trader(CLEARER).await;
        for (side, price) in [("buy", "19999.00"), ("sell", "1.00")] {
            let mut state = Value::Null;
            for number in 0.. {
                if state == "expired" {
                    break;
                }
                // Refused where there is nothing left to trade with: then it is done, too.
                let name = format!("clear-{side}-{number}");
                clearer.signed(SignedOp::OrderNew, &limit(&name, side, price, "100000", "ioc")).await;
                let status = json!({"op": "order.status", "cl_ord_id": name});
                state = clearer.client.request(status).await["state"].clone();
            }
        }
        drop(clearer);
        floor.book_is(&[], &[]).await;
        floor.seen.retain(|message| message["type"] != "trade");
        floor
    }

    async fn on(folder: TempDir, clock: Clock, policy: &'static str, change: fn(&mut Config)) -> Self {
        let server = Box::pin(Server::try_start_by(clock.clone(), folder, policy, change)).await.unwrap();
        let (server, viewer) = (Box::new(server), &Pki::get().client(VIEWER));
        let viewer = Box::new(server.connect(viewer).await);
        let (streams, seen) = Default::default();
        Self { server, policy, clock, change, viewer, streams, seen }
    }

    /// Subscribes to what else the public is told.
    async fn watch(&mut self) {
        for channel in ["trades", "status"] {
            let request = json!({"op": "subscribe", "id": channel, "channel": channel, "symbols": [QUIET]});
            self.viewer.send(request.to_string()).await;
        }
    }

    /// Stops the server in good order and starts it again on the same log. The members of its market fill the book again.
    pub(crate) async fn restart(self, traders: impl IntoIterator<Item = Trader>) -> Self {
        self.restart_at(traders, || {}).await
    }

    /// As [`Floor::restart`]; `meanwhile` happens while there is no server.
    pub(crate) async fn restart_at(
        self,
        traders: impl IntoIterator<Item = Trader>,
        meanwhile: impl FnOnce(),
    ) -> Self {
        let Self { policy, clock, change, .. } = self;
        let (events, folder) = Self::close(self.server, self.viewer, traders).await;
        meanwhile();
        let mut floor = Self::on(folder, clock, policy, change).await;
        floor.market_has_opened_again(&events).await;
        let book =
            json!({"op": "subscribe", "id": "book", "channel": "book", "symbols": [QUIET], "depth": 0});
        floor.viewer.send(book.to_string()).await;
        while !floor.streams.has_book(QUIET) {
            floor.take().await;
        }
        floor.watch().await;
        floor
    }

    /// The members' opening orders are no surprise any more: whatever the state of [`QUIET`], they were taken or refused.
    async fn market_has_opened_again(&self, before: &[Logged]) {
        let listed = before.iter().rfind(|event| event.kind == "instruments").unwrap();
        let list = listed.fields["list"].as_array().unwrap();
        let number = list.iter().position(|one| one["symbol"] == QUIET).unwrap();
        let last = before.last().unwrap().seq;
        let is_opening = |event: &Logged| {
            let inputs = event.fields["inputs"].as_array().unwrap();
            event.seq > last && inputs.iter().any(|input| input["New"]["instrument"] == number)
        };
        self.server.logged("synthetic", is_opening).await;
    }

    /// Stops the server; its log verifies, is executed again, and says what the traders were told.
    pub(crate) async fn end(self, traders: impl IntoIterator<Item = Trader>) -> Vec<Logged> {
        Self::close(self.server, self.viewer, traders).await.0
    }

    async fn close(
        server: Box<Server>,
        viewer: Box<Client>,
        traders: impl IntoIterator<Item = Trader>,
    ) -> (Vec<Logged>, TempDir) {
        viewer.leave();
        let told: Vec<(String, Vec<String>)> =
            traders.into_iter().map(|trader| (trader.name, trader.told)).collect();
        let (events, folder) = Box::pin(server.finish()).await;
        for (name, told) in told {
            let logged: Vec<String> = executions(&events, &name);
            for report in told {
                assert!(logged.contains(&report), "{name} was told {report:?}, the log has {logged:#?}");
            }
        }
        (events, folder)
    }

    /// A session that reads the reports of its principal.
    pub(crate) async fn trader(&self, name: &str) -> Trader {
        let mut client = Box::new(self.server.connect(&Pki::get().client(name)).await);
        let request = json!({"op": "subscribe", "channel": "orders", "symbols": ["*"]});
        let reply = client.request(request).await;
        assert_eq!(reply["type"], "subscribed", "{reply}");
        let (log, name, clock) = (self.server.log(), name.to_owned(), self.clock.clone());
        Trader { client, name, clock, log, pending: VecDeque::new(), told: Vec::new() }
    }

    /// Waits until the public book is this: price, quantity and number of orders, best first.
    pub(crate) async fn book_is(&mut self, bids: &[&str], asks: &[&str]) {
        let reading = async {
            loop {
                let (bid, ask) = self.streams.book(QUIET).levels();
                if told(&bid) == bids && told(&ask) == asks {
                    break;
                }
                self.take().await;
            }
        };
        soon(&format!("the book {bids:?} {asks:?}"), reading).await;
    }

    /// Waits until the public book shows this quantity at a price of a side, whatever else there is; `None` is nothing.
    pub(crate) async fn book_shows(&mut self, side: &str, price: &str, quantity: Option<&str>) {
        let reading = async {
            while self.streams.book(QUIET).at(side, price).map(|line| line.quantity).as_deref() != quantity {
                self.take().await;
            }
        };
        soon(&format!("{quantity:?} in the {side} at {price}"), reading).await;
    }

    /// The next public trade: quantity, price, aggressor's side.
    pub(crate) async fn trade(&mut self) -> String {
        let trade = self.next("trade").await;
        let text = |field: &str| trade[field].as_str().unwrap().to_owned();
        format!("{} at {} {}", text("qty"), text("price"), text("side"))
    }

    /// The next state on the channel `status`, with its reason.
    pub(crate) async fn state(&mut self) -> String {
        let status = self.next("status").await;
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("state"), text("reason")).trim_end().to_owned()
    }

    /// Another session that may read the public market.
    pub(crate) async fn reader(&self) -> Client {
        self.server.connect(&Pki::get().client(VIEWER)).await
    }

    /// The next message of the channel `status`.
    pub(crate) async fn status(&mut self) -> Value {
        self.next("status").await
    }

    /// What the next message of the channel `status` says that an auction call comes to, as [`call_of`] says it.
    pub(crate) async fn indicated(&mut self) -> String {
        call_of(&self.status().await)
    }

    /// The state that the instrument's definition tells.
    pub(crate) async fn defined_state(&mut self) -> String {
        let request =
            json!({"op": "subscribe", "id": "definition", "channel": "definition", "symbols": [QUIET]});
        self.viewer.send(request.to_string()).await;
        self.next("definition").await["state"].as_str().unwrap().to_owned()
    }

    async fn next(&mut self, kind: &str) -> Value {
        let reading = async {
            loop {
                if let Some(place) = self.seen.iter().position(|message| message["type"] == kind) {
                    break self.seen.remove(place).unwrap();
                }
                self.take().await;
            }
        };
        soon(kind, reading).await
    }

    async fn take(&mut self) {
        let message = self.viewer.message().await;
        self.streams.take(&message);
        self.seen.push_back(message);
    }
}

/// What a status says that an auction call comes to: price, quantity, who is left over and with how much; `-` is `null`.
pub(crate) fn call_of(status: &Value) -> String {
    let fields = ["indicative_price", "indicative_qty", "imbalance_side", "imbalance_qty"];
    let field = |name: &&str| match status.get(name).unwrap_or_else(|| panic!("no {name}: {status}")) {
        Value::Null => "-".to_owned(),
        value => value.as_str().unwrap().to_owned(),
    };
    fields.iter().map(field).collect::<Vec<_>>().join(" ")
}

fn told(levels: &[Line]) -> Vec<String> {
    levels.iter().map(|line| format!("{} {} {}", line.price, line.quantity, line.orders)).collect()
}

/// What the log says that a principal was told, as [`Trader::report`] says it.
pub(crate) fn executions(events: &[Logged], principal: &str) -> Vec<String> {
    let of_principal =
        events.iter().filter(|event| event.kind == "execution" && event.text("principal") == principal);
    let number = |event: &Logged, field: &str| event.fields[field].as_u64().unwrap() / 1_000_000_000;
    of_principal
        .map(|event| {
            let mut report = format!(
                "{} {} {}/{}",
                event.text("cl_ord_id"),
                event.text("exec"),
                number(event, "leaves"),
                number(event, "cumulative")
            );
            for word in [event.text("reason"), event.text("cause")] {
                if !word.is_empty() {
                    report.push(' ');
                    report.push_str(word);
                }
            }
            report
        })
        .collect()
}

/// A session whose reports are kept.
pub(crate) struct Trader {
    pub(crate) client: Box<Client>,
    name: String,
    clock: Clock,
    log: PathBuf,
    pending: VecDeque<Value>,
    /// Reports that came, as [`Trader::report`] says them.
    told: Vec<String>,
}

impl Trader {
    /// Sends a signed message and returns its answer. If it has a receipt, its entry stands in the log by then.
    pub(crate) async fn signed(&mut self, op: SignedOp, body: &Value) -> Value {
        let id = self.client.fresh_id();
        let signed = self.client.sign_at(op, &body.to_string(), self.clock.now(), fresh_nonce());
        self.client.send(frame_text(id, &signed)).await;
        let answer = self.reply_to(id).await;
        if let Some(seq) = answer["receipt"]["seq"].as_u64() {
            let entry = entries_from(&self.log, seq).unwrap().next();
            let entry = entry.unwrap_or_else(|| panic!("answered before it was written: {answer}")).unwrap();
            assert_eq!(answer["receipt"]["hash"], sealfeed_audit::hex(&entry.hash));
        }
        answer
    }

    async fn reply_to(&mut self, id: u64) -> Value {
        loop {
            let message = self.client.message().await;
            if message["id"] == id {
                return message;
            }
            self.pending.push_back(message);
        }
    }

    async fn accepted(&mut self, op: SignedOp, body: &Value) -> Value {
        let answer = self.signed(op, body).await;
        assert_eq!(
            (&answer["type"], &answer["status"]),
            (&json!("order"), &json!("accepted")),
            "{body} {answer}"
        );
        answer
    }

    /// Sends a message that must be refused with this code.
    pub(crate) async fn refused(&mut self, op: SignedOp, body: Value, code: &str) -> Value {
        let answer = self.signed(op, &body).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{body} {answer}");
        answer
    }

    /// A limit order that may rest; reads until the report of that.
    pub(crate) async fn rests(&mut self, name: &str, side: &str, quantity: &str, price: &str) -> Value {
        let answer = self.accepted(SignedOp::OrderNew, &limit(name, side, price, quantity, "gtc")).await;
        let rests = format!("{name} new {quantity}/0");
        soon(&rests, async { while self.report().await != rests {} }).await;
        answer
    }

    /// A limit order that trades all of its quantity at once.
    pub(crate) async fn takes(&mut self, name: &str, side: &str, quantity: &str, price: &str) {
        self.accepted(SignedOp::OrderNew, &limit(name, side, price, quantity, "ioc")).await;
        let filled = format!("{name} fill 0/{quantity}");
        soon(&filled, async { while self.report().await != filled {} }).await;
    }

    /// A replace that must be accepted.
    pub(crate) async fn replaces(&mut self, name: &str, target: &str, change: Value) -> Value {
        self.accepted(SignedOp::OrderReplace, &replace(name, target, change)).await
    }

    /// A mass cancel that must be accepted; how many orders it cancelled.
    pub(crate) async fn mass_cancels(&mut self, body: &Value) -> u64 {
        let answer = self.accepted(SignedOp::OrderMassCancel, body).await;
        answer["canceled"].as_u64().unwrap_or_else(|| panic!("no count: {answer}"))
    }

    pub(crate) async fn cancels(&mut self, name: &str, target: &str) -> Value {
        self.accepted(SignedOp::OrderCancel, &json!({"cl_ord_id": name, "orig_cl_ord_id": target})).await
    }

    /// A message whose answer is `ok`: the timer's, or an operator's.
    pub(crate) async fn does(&mut self, op: SignedOp, body: Value) {
        let answer = self.signed(op, &body).await;
        assert_eq!(answer["type"], "ok", "{body} {answer}");
    }

    /// The next report: order, what happened, open/filled, then why and by whose name, where there are such.
    pub(crate) async fn report(&mut self) -> String {
        let place = self.pending.iter().position(|message| message["type"] == "exec");
        let exec = match place.and_then(|place| self.pending.remove(place)) {
            Some(exec) => exec,
            None => self.client.message_where(|message| message["type"] == "exec").await,
        };
        let text = |field: &str| exec[field].as_str().unwrap_or_default().to_owned();
        let quantity = |field: &str| text(field).split('.').next().unwrap_or_default().to_owned();
        let mut report = format!(
            "{} {} {}/{}",
            text("cl_ord_id"),
            text("exec"),
            quantity("leaves_qty"),
            quantity("cum_qty")
        );
        for field in ["cancel_reason", "cancel_cl_ord_id", "replace_cl_ord_id"] {
            if exec[field].is_string() {
                report.push(' ');
                report.push_str(&text(field));
            }
        }
        self.told.push(report.clone());
        report
    }

    /// Logs out and reads to the end of the connection; whether its orders are to go with it is `cancel_orders`.
    pub(crate) async fn logs_out(mut self, cancel_orders: bool) {
        self.client
            .send(json!({"op": "logout", "id": "out", "cancel_orders": cancel_orders}).to_string())
            .await;
        self.client.ended().await;
    }

    /// State, open/filled.
    pub(crate) async fn status(&mut self, name: &str) -> String {
        let id = self.client.fresh_id();
        self.client.send(json!({"op": "order.status", "id": id, "cl_ord_id": name}).to_string()).await;
        let status = self.reply_to(id).await;
        let text = |field: &str| status[field].as_str().unwrap_or("-").to_owned();
        let quantity = |field: &str| text(field).split('.').next().unwrap_or_default().to_owned();
        format!("{} {}/{}", text("state"), quantity("leaves_qty"), quantity("cum_qty"))
    }
}

/// The body of a replace.
pub(crate) fn replace(name: &str, target: &str, mut change: Value) -> Value {
    (change["cl_ord_id"], change["orig_cl_ord_id"]) = (name.into(), target.into());
    change
}

/// An answer without what may differ when it is told again.
pub(crate) fn essence(answer: &Value) -> Value {
    let keys = ["type", "cl_ord_id", "orig_cl_ord_id", "order_id", "status", "canceled", "code", "receipt"];
    keys.iter().filter_map(|key| Some(((*key).to_owned(), answer.get(*key)?.clone()))).collect()
}
