//! The drop copy: an officer reads every execution report of the firm, as its owner reads it, and nobody else's.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, LIMIT, POLICY, Pki, Scene, Server, assert_executes_again, wait_until};
use crate::market::{limit, quiet, settle};
use crate::oracle::Streams;
use crate::orders::resting;
use crate::orders_life::free_price;
use crate::process::{ServerProcess, configure, connect};

/// Alice may read the reports of acme, dave those of beta; carol may not.
fn policy() -> String {
    let officers = |name: &str, user: &str| {
        format!("[[rule]]\nname = \"{name}\"\nmatch = {{ user = \"{user}\" }}\ndrop_copy = true\n")
    };
    let policy = POLICY.replace("symbols = [\"SEAL\"]", "symbols = [\"*\"]");
    format!("{policy}\n{}{}", officers("officer", "alice"), officers("officer-of-beta", "dave"))
}

/// Subscribes to a private channel, behind a message if one is given; the stream as the reply tells it.
async fn subscribe(client: &mut Client, channel: &str, after: Option<(&Value, u64)>) -> Value {
    let mut request = json!({"op": "subscribe", "channel": channel, "symbols": ["*"]});
    if let Some((epoch, seq)) = after {
        request["resume"] = json!({"*": {"epoch": epoch, "seq": seq}});
    }
    let reply = client.request(request).await;
    assert_eq!((&reply["channel"], &reply["on_slow"]), (&json!(channel), &json!("disconnect")), "{reply}");
    reply["symbols"]["*"].clone()
}

/// The next reports on whatever channel, each one behind the last.
async fn reports(client: &mut Client, after: u64, count: usize) -> Vec<Value> {
    let mut reports: Vec<Value> = Vec::new();
    for seq in after + 1..=after + count as u64 {
        let report = client.message_where(|message| message["type"] == "exec").await;
        assert_eq!((&report["seq"], &report["prev_seq"]), (&json!(seq), &json!(seq - 1)), "{report}");
        reports.push(report);
    }
    reports
}

/// A copy as the owner of the order reads it, but for the place in the stream.
fn of_owner(copies: &[Value], owner: &str) -> Vec<Value> {
    let own = copies.iter().filter(|copy| copy["principal"] == owner).cloned();
    own.map(|mut copy| {
        assert_eq!(copy["channel"], "drop_copy", "{copy}");
        for field in ["channel", "seq", "prev_seq", "principal"] {
            copy.as_object_mut().unwrap().remove(field).unwrap();
        }
        copy
    })
    .collect()
}

/// A report on `orders`, without its place in the stream.
fn without_place(reports: &[Value]) -> Vec<Value> {
    let place = |mut report: Value| {
        assert_eq!((&report["channel"], report.get("principal")), (&json!("orders"), None), "{report}");
        for field in ["channel", "seq", "prev_seq"] {
            report.as_object_mut().unwrap().remove(field).unwrap();
        }
        report
    };
    reports.iter().cloned().map(place).collect()
}

async fn accepted(client: &mut Client, op: SignedOp, body: &Value) {
    let answer = client.order(op, &body.to_string()).await;
    assert_eq!(answer["status"], "accepted", "{answer}");
}

/// Two buys of one principal in its own price range, which nothing meets: two reports.
async fn two_orders(client: &mut Client, name: &str) {
    for number in 1..=2 {
        let body = resting(&format!("{name}-{number}"));
        assert_eq!(client.order(SignedOp::OrderNew, &body).await["status"], "accepted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_reads_all_reports_of_the_firm_in_one_sequence_as_their_owners_read_them() {
    let server = Server::with_policy(&policy(), quiet).await;
    let mut officer = server.connect(&Pki::get().client("acme/alice")).await;
    assert_eq!(officer.welcome["entitlement"]["drop_copy"], true, "{}", officer.welcome);
    let mut second = server.connect_with(&Pki::get().client("acme/alice"), crate::records::DBN).await;
    let mut viewer = server.connect(&Pki::get().client("acme/carol")).await;
    let mut streams = Streams::default();
    settle(&mut viewer, &mut streams).await;
    // Who trades reads on another connection: replies and reports come in either order.
    let [bob, erin, dave] = ["acme/bob", "acme/erin", "beta/dave"].map(|name| Pki::get().client(name));
    let (mut bob_reads, mut erin_reads) = (server.connect(&bob).await, server.connect(&erin).await);
    let (mut bob, mut erin) = (server.connect(&bob).await, server.connect(&erin).await);
    let (mut stranger, mut dave) = (server.connect(&dave).await, server.connect(&dave).await);
    for reader in [&mut officer, &mut second, &mut stranger] {
        assert_eq!(subscribe(reader, "drop_copy", None).await["seq"], 0);
    }
    let epoch = subscribe(&mut bob_reads, "orders", None).await["epoch"].clone();
    subscribe(&mut erin_reads, "orders", None).await;

    let price = free_price(&streams);
    accepted(&mut erin, SignedOp::OrderNew, &limit("rests", "sell", &price, "5", "day")).await;
    accepted(&mut bob, SignedOp::OrderNew, &limit("meets", "buy", &price, "3", "fok")).await;
    accepted(&mut bob, SignedOp::OrderNew, &limit("sweeps", "buy", &price, "7", "ioc")).await;
    accepted(&mut bob, SignedOp::OrderNew, &limit("own", "buy", "0.01", "3", "gtc")).await;
    let changed = json!({"cl_ord_id": "changes", "orig_cl_ord_id": "own", "qty": "2"});
    accepted(&mut bob, SignedOp::OrderReplace, &changed).await;
    accepted(&mut erin, SignedOp::OrderNew, &limit("goes", "buy", "0.02", "4", "day")).await;
    accepted(&mut erin, SignedOp::OrderCancel, &json!({"cl_ord_id": "c-1", "orig_cl_ord_id": "goes"})).await;
    accepted(&mut bob, SignedOp::OrderMassCancel, &json!({"cl_ord_id": "all"})).await;

    // What each of them was told, up to the last report that the log has of it.
    let logged = server.log_events("execution");
    let of_acme: Vec<_> =
        logged.iter().filter(|event| event.text("principal").starts_with("acme/")).collect();
    let owners = ["acme/bob", "acme/erin"];
    let count = |owner: &str| of_acme.iter().filter(|event| event.text("principal") == owner).count();
    let own = [
        reports(&mut bob_reads, 0, count(owners[0])).await,
        reports(&mut erin_reads, 0, count(owners[1])).await,
    ];
    let copies = reports(&mut officer, 0, of_acme.len()).await;
    assert_eq!(copies, reports(&mut second, 0, of_acme.len()).await, "the same for both, in either encoding");
    for (owner, own) in owners.iter().zip(&own) {
        assert!(own.len() >= 4, "{own:?}");
        assert_eq!(of_owner(&copies, owner), without_place(own));
    }
    assert_eq!(own.concat().len(), copies.len(), "nobody else's");
    assert!(
        copies.iter().any(|copy| copy["exec"] == "fill") && copies.iter().all(|copy| copy["epoch"] == epoch)
    );
    for (copy, event) in copies.iter().zip(&of_acme) {
        let told = [&copy["principal"], &copy["cl_ord_id"], &copy["exec"], &copy["seq"]];
        let sealed = ["principal", "cl_ord_id", "exec", "firm_report"].map(|field| &event.fields[field]);
        assert_eq!(told, sealed);
    }

    // Of all that the other firm's officer reads nothing, and of its own firm everything.
    accepted(&mut dave, SignedOp::OrderNew, &limit("d-1", "buy", "0.01", "1", "day")).await;
    let his = reports(&mut stranger, 0, 1).await;
    assert_eq!((&his[0]["principal"], &his[0]["cl_ord_id"]), (&json!("beta/dave"), &json!("d-1")));
    let beat = stranger.message_where(|message| message["type"] == "heartbeat").await;
    assert_eq!(
        (&beat["channel"], &beat["symbol"], &beat["seq"]),
        (&json!("drop_copy"), &json!("*"), &json!(1))
    );
    let beat = officer.message_where(|message| message["type"] != "subscribed").await;
    assert_eq!((&beat["type"], &beat["seq"]), (&json!("heartbeat"), &json!(copies.len())), "{beat}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_right_to_it_or_asks_for_a_part_of_it_is_refused_and_that_is_logged() {
    let scene = Scene::with_policy(&policy(), |_| {}).await;
    let all = r#"{"op":"subscribe","id":1,"channel":"drop_copy","symbols":["*"]}"#;
    // Neither a viewer nor a trader of the firm, nor one who may read its own reports.
    for name in ["acme/carol", "acme/bob"] {
        let mut client = scene.connect(&Pki::get().client(name)).await;
        assert_eq!(client.error_of(all).await, "SF-SUB-004", "{name}");
        let id = client.session.to_string();
        let logged = scene.logged("reject", |event| event.session.as_deref() == Some(&*id)).await;
        let told = [logged.text("principal"), logged.text("op"), logged.text("code"), logged.text("detail")];
        assert_eq!(told, [name, "subscribe", "SF-SUB-004", "drop_copy"]);
        let who = client.request(json!({"op": "whoami"})).await;
        assert_eq!(who["entitlement"].get("drop_copy"), None, "{who}");
    }
    let mut officer = scene.connect(&Pki::get().client("acme/alice")).await;
    let who = officer.request(json!({"op": "whoami"})).await;
    assert_eq!(who["entitlement"]["drop_copy"], true, "{who}");
    for (request, code) in [
        (json!({"symbols": ["SEAL"]}), "SF-SUB-020"),
        (json!({"symbols": ["*"], "on_slow": "conflate"}), "SF-SUB-010"),
        (json!({"symbols": ["*"], "depth": 10}), "SF-SUB-016"),
        (json!({"symbols": ["*"], "conflate_ms": 100}), "SF-SUB-016"),
    ] {
        let mut asked = request;
        asked["op"] = "subscribe".into();
        asked["id"] = 2.into();
        asked["channel"] = "drop_copy".into();
        assert_eq!(officer.error_of(asked.to_string()).await, code, "{asked}");
    }
    let orders = r#"{"op":"subscribe","id":3,"channel":"orders","symbols":["*"]}"#;
    assert_eq!(officer.error_of(orders).await, "SF-SUB-004", "the copy is not the right to trade");
    let unsubscribe = r#"{"op":"unsubscribe","id":4,"channel":"drop_copy","symbols":["*"]}"#;
    assert_eq!(officer.error_of(unsubscribe).await, "SF-SUB-011");
    subscribe(&mut officer, "drop_copy", None).await;
    let id = officer.session.to_string();
    let logged = scene.logged("subscribe", |event| event.session.as_deref() == Some(&*id)).await;
    assert_eq!((logged.text("channel"), &logged.fields["granted"]), ("drop_copy", &json!(["*"])));
    assert_eq!(officer.ask(unsubscribe).await["type"], "ok");
    drop(officer);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_officer_missed_between_two_connections_comes_on_the_second_one() {
    let server = Server::with_policy(&policy(), quiet).await;
    let alice = Pki::get().client("acme/alice");
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    let quiet_order = |name: &str| limit(name, "buy", "0.01", "1", "gtc");
    accepted(&mut bob, SignedOp::OrderNew, &quiet_order("before")).await;
    let mut officer = server.connect(&alice).await;
    let stream = subscribe(&mut officer, "drop_copy", None).await;
    assert_eq!(stream["seq"], 1, "what nobody read is counted");
    accepted(&mut erin, SignedOp::OrderNew, &quiet_order("e-1")).await;
    assert_eq!(reports(&mut officer, 1, 1).await[0]["cl_ord_id"], "e-1");
    drop(officer);
    accepted(&mut bob, SignedOp::OrderNew, &quiet_order("b-1")).await;
    accepted(&mut erin, SignedOp::OrderNew, &quiet_order("e-2")).await;

    let mut officer = server.connect(&alice).await;
    let again = subscribe(&mut officer, "drop_copy", Some((&stream["epoch"], 2))).await;
    assert_eq!((&again["recovered"], &again["seq"]), (&json!(true), &json!(4)), "{again}");
    let missed = reports(&mut officer, 2, 2).await;
    assert_eq!((&missed[0]["cl_ord_id"], &missed[1]["cl_ord_id"]), (&json!("b-1"), &json!("e-2")));
    accepted(&mut bob, SignedOp::OrderNew, &quiet_order("b-2")).await;
    assert_eq!(reports(&mut officer, 4, 1).await[0]["principal"], "acme/bob");

    // The first report was told to nobody and kept nowhere: what is lost is named.
    let lost = subscribe(&mut officer, "drop_copy", Some((&stream["epoch"], 0))).await;
    assert_eq!((&lost["recovered"], &lost["reason"]), (&json!(false), &json!("SF-SUB-018")), "{lost}");
    let gap = officer.message_where(|message| message["type"] == "gap").await;
    let told = ["channel", "symbol", "from", "to"].map(|field| gap[field].clone());
    assert_eq!(told, [json!("drop_copy"), json!("*"), json!(1), json!(5)]);
    server.finish().await;
}

async fn lives_through(signal: Signal) {
    let market = "[[source]]\ntype = \"synthetic\"\nsymbols = [\"SEAL\"]\nmessages_per_second = 50\n";
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, market);
    std::fs::write(folder.path().join("entitlements.toml"), policy()).unwrap();
    let [alice, bob, erin] = ["acme/alice", "acme/bob", "acme/erin"].map(|name| Pki::get().client(name));
    let server = ServerProcess::start(&config).unwrap();
    let mut officer = connect(server.address, &alice).await;
    let stream = subscribe(&mut officer, "drop_copy", None).await;
    let mut trader = connect(server.address, &bob).await;
    let mut other = connect(server.address, &erin).await;
    two_orders(&mut trader, "b").await;
    two_orders(&mut other, "e").await;
    let before = reports(&mut officer, 0, 4).await;
    server.signal(signal);
    server.wait();

    let server = ServerProcess::start(&config).unwrap();
    let mut officer = connect(server.address, &alice).await;
    let again = subscribe(&mut officer, "drop_copy", Some((&stream["epoch"], 1))).await;
    let expected = (&stream["epoch"], &json!(true), &json!(4));
    assert_eq!((&again["epoch"], &again["recovered"], &again["seq"]), expected, "{again}");
    assert_eq!(reports(&mut officer, 1, 3).await, before[1..], "told again as it was told");
    // The owner's stream was told again, too, and both go on.
    let mut trader = connect(server.address, &bob).await;
    let mut owner = connect(server.address, &bob).await;
    let own = subscribe(&mut owner, "orders", Some((&stream["epoch"], 0))).await;
    assert_eq!((&own["recovered"], &own["seq"]), (&json!(true), &json!(2)), "{own}");
    let cancel = json!({"cl_ord_id": "b-3", "orig_cl_ord_id": "b-1"});
    accepted(&mut trader, SignedOp::OrderCancel, &cancel).await;
    let own = reports(&mut owner, 0, 3).await;
    let last = reports(&mut officer, 4, 1).await;
    assert_eq!(of_owner(&last, "acme/bob"), without_place(&own[2..]));
    server.signal(Signal::TERM);
    server.wait();
    assert_executes_again(&folder.path().join("log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drop_copy_goes_on_without_a_gap_over_a_stop() {
    Box::pin(lives_through(Signal::TERM)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drop_copy_goes_on_without_a_gap_over_a_kill() {
    Box::pin(lives_through(Signal::KILL)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_who_loses_the_right_reads_nothing_more_from_the_notice_on() {
    let scene = Scene::with_policy(&policy(), |_| {}).await;
    let mut officer = scene.connect(&Pki::get().client("acme/alice")).await;
    let [bob, dave] = ["acme/bob", "beta/dave"].map(|name| Pki::get().client(name));
    let (mut owner, mut other) = (scene.connect(&bob).await, scene.connect(&dave).await);
    let (mut bob, mut dave) = (scene.connect(&bob).await, scene.connect(&dave).await);
    subscribe(&mut officer, "drop_copy", None).await;
    subscribe(&mut other, "drop_copy", None).await;
    subscribe(&mut owner, "orders", None).await;
    two_orders(&mut bob, "first").await;
    reports(&mut officer, 0, 2).await;

    let reload = async |policy: &str| {
        std::fs::write(&scene.config.identity.entitlements, policy).unwrap();
        scene.running().reload().await.unwrap()
    };
    let without = policy().replace(
        "name = \"officer\"\nmatch = { user = \"alice\" }",
        "name = \"officer\"\nmatch = { user = \"nobody\" }",
    );
    assert_eq!(reload(&without).await.sessions_changed, 1);
    let notice = officer.message_where(|message| message["type"] == "entitlement").await;
    assert_eq!(notice["ended"][0]["channel"], "drop_copy", "{notice}");
    assert_eq!(notice["ended"][0]["symbols"]["*"]["code"], "SF-SUB-004", "{notice}");
    assert_eq!(notice["entitlement"].get("drop_copy"), None, "{notice}");
    let logged = scene.logged("entitlement", |event| event.text("principal") == "acme/alice").await;
    assert_eq!(logged.fields["ended"], json!([["drop_copy", "*", "SF-SUB-004"]]));

    // The owner's own stream is not touched; what follows reaches the owner and not the officer.
    two_orders(&mut bob, "second").await;
    reports(&mut owner, 0, 4).await;
    let who = officer.request(json!({"op": "whoami"})).await;
    assert_eq!(who["entitlement"].get("drop_copy"), None, "{who}");
    let id = officer.fresh_id();
    officer.send(json!({"op": "ping", "id": id}).to_string()).await;
    loop {
        let message = officer.message().await;
        assert!(message["type"] != "exec" && message["type"] != "heartbeat", "{message}");
        if message["type"] == "pong" {
            break;
        }
    }
    let all = r#"{"op":"subscribe","id":"again","channel":"drop_copy","symbols":["*"]}"#;
    assert_eq!(officer.error_of(all).await, "SF-SUB-004");

    // Given back, it goes on where the firm's reports are.
    assert_eq!(reload(&policy()).await.sessions_changed, 1);
    assert_eq!(subscribe(&mut officer, "drop_copy", None).await["seq"], 4);
    two_orders(&mut dave, "d").await;
    reports(&mut other, 0, 2).await;
    for client in [officer, bob, dave, owner, other] {
        drop(client);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_the_drop_copy_as_it_came_and_takes_no_symbol_with_it() {
    let scene = Scene::with_policy(&policy(), |_| {}).await;
    let client = Pki::get().folder.join("clients/acme/alice");
    let watch = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfeed"));
        command.arg("watch").args(arguments);
        command.args(["--url", &format!("wss://localhost:{}/v1/feed", scene.address.port())]);
        for (name, file) in [("--cert", "client.pem"), ("--key", "client.key"), ("--cacert", "ca.pem")] {
            command.arg(name).arg(client.join(file));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let watching = ["json", "table"]
        .map(|output| watch(&["--channel", "drop_copy", "--count", "3", "--output", output]));
    // Both of them read before anything happens.
    let read = || {
        let subscribed = scene.log_events("subscribe");
        subscribed.iter().filter(|event| event.text("channel") == "drop_copy").count() == 2
    };
    assert!(wait_until(LIMIT, read).await);
    let mut bob = scene.connect(&Pki::get().client("acme/bob")).await;
    two_orders(&mut bob, "w").await;
    let other = resting("w-3").replace("SEAL", "FEED");
    assert_eq!(bob.order(SignedOp::OrderNew, &other).await["status"], "accepted");
    let [lines, table] = watching.map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let execs: Vec<_> = lines.iter().filter(|line| line["type"] == "exec").collect();
    assert_eq!(execs.len(), 3, "{lines:?}");
    // One sequence over all symbols: the client sees no gap in it.
    assert!(lines.iter().all(|line| line["type"] != "gap"), "{lines:?}");
    for (exec, (name, symbol)) in execs.into_iter().zip([("w-1", "SEAL"), ("w-2", "SEAL"), ("w-3", "FEED")]) {
        let told = ["channel", "principal", "cl_ord_id", "symbol"].map(|field| exec[field].as_str().unwrap());
        assert_eq!(told, ["drop_copy", "acme/bob", name, symbol], "{exec}");
    }
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].contains("principal") && rows.len() == 4, "{table}");
    assert!(rows[1].contains("acme/bob") && rows[1].contains("w-1") && rows[1].contains("new"), "{table}");

    for arguments in [&["SEAL", "--channel", "drop_copy"][..], &["--channel", "trades"], &[]] {
        let output = watch(arguments).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    scene.end().await;
}
