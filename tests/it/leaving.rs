//! What becomes of orders when their sessions end, when the server does, and when a dead-man timer runs out.

use rustix::process::Signal;
use sealfeed::clock::Clock;
use sealfeed::config::Config;
use sealfeed_wire::{SignedOp, UnixNanos};
use serde_json::json;
use tempfile::TempDir;

use crate::floor::{Floor, LEAVING, POLICY, executions};
use crate::harness::{Client, Logged, Pki, Server, assert_executes_again};
use crate::market::{limit, quiet};
use crate::process::{ServerProcess, configure, connect, replay};

const DEAD_MAN: SignedOp = SignedOp::OrderDeadMan;

/// Withdrawals of the log: principal, cause, and whether one session is named.
fn withdrawals(events: &[Logged]) -> Vec<(String, String, bool)> {
    let withdrawals = events.iter().filter(|event| event.kind == "withdrawal");
    withdrawals
        .map(|event| {
            (event.text("principal").into(), event.text("cause").into(), !event.text("session").is_empty())
        })
        .collect()
}

fn withdrawn(principal: &str, cause: &str, of_one_session: bool) -> (String, String, bool) {
    (principal.into(), cause.into(), of_one_session)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_go_with_their_connection_go_with_that_one_alone_however_it_ends_but_by_logout() {
    let mut floor = Floor::open(LEAVING).await;
    let mut stays = floor.trader("acme/bob").await;
    stays.rests("stays", "buy", "9", "2.00").await;

    let mut broken = floor.trader("acme/bob").await;
    broken.rests("broken", "buy", "1", "2.01").await;
    assert_eq!(stays.report().await, "broken new 1/0");
    drop(broken);
    assert_eq!(stays.report().await, "broken canceled 0/0 disconnect");
    floor.book_is(&["2.00 9 1"], &[]).await;

    let mut closing = floor.trader("acme/bob").await;
    closing.rests("closing", "buy", "1", "2.01").await;
    assert_eq!(stays.report().await, "closing new 1/0");
    closing.client.send_message(tokio_tungstenite::tungstenite::Message::Close(None)).await;
    assert_eq!(stays.report().await, "closing canceled 0/0 disconnect");

    let mut leaving = floor.trader("acme/bob").await;
    leaving.rests("left", "buy", "1", "2.02").await;
    assert_eq!(stays.report().await, "left new 1/0");
    leaving.logs_out(false).await;
    let mut tidy = floor.trader("acme/bob").await;
    tidy.rests("tidied", "buy", "1", "2.03").await;
    assert_eq!(stays.report().await, "tidied new 1/0");
    tidy.logs_out(true).await;
    assert_eq!(stays.report().await, "tidied canceled 0/0 mass_cancel");
    assert_eq!(
        (stays.status("left").await, stays.status("stays").await),
        ("new 1/0".into(), "new 9/0".into())
    );
    floor.book_is(&["2.02 1 1", "2.00 9 1"], &[]).await;

    // The order of the session that logged out goes with nobody any more; what rests of this one goes now.
    drop(closing);
    let events = floor.end([stays]).await;
    let expected = [
        withdrawn("acme/bob", "disconnect", true),
        withdrawn("acme/bob", "disconnect", true),
        withdrawn("acme/bob", "logout", true),
        withdrawn("acme/bob", "disconnect", true),
    ];
    assert_eq!(withdrawals(&events), expected);
    assert_eq!(
        executions(&events, "acme/bob").last().map(String::as_str),
        Some("stays canceled 0/0 disconnect")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_go_with_their_principal_go_with_its_last_session_and_those_of_others_stay() {
    let mut floor = Floor::open(LEAVING).await;
    let mut dave = floor.trader("beta/dave").await;
    dave.rests("d", "buy", "9", "2.00").await;
    let mut first = floor.trader("acme/erin").await;
    let mut second = floor.trader("acme/erin").await;
    first.rests("e-1", "buy", "1", "2.01").await;
    second.rests("e-2", "buy", "1", "2.02").await;
    let session = first.client.session.to_string();
    drop(first);
    floor.server.logged("disconnect", |event| event.session.as_deref() == Some(&*session)).await;
    assert_eq!(
        (second.status("e-1").await, second.status("e-2").await),
        ("new 1/0".into(), "new 1/0".into())
    );
    drop(second);
    floor.book_is(&["2.00 9 1"], &[]).await;

    // Those of dave go with nothing.
    let session = dave.client.session.to_string();
    drop(dave);
    floor.server.logged("disconnect", |event| event.session.as_deref() == Some(&*session)).await;
    let mut dave = floor.trader("beta/dave").await;
    assert_eq!(dave.status("d").await, "new 9/0");
    let mut erin = floor.trader("acme/erin").await;
    for name in ["e-1", "e-2"] {
        assert_eq!(erin.status(name).await, "canceled 0/0");
    }
    // Without a logout of the last one: the first logged out, and that says nothing for the second.
    erin.rests("e-3", "buy", "1", "2.03").await;
    let other = floor.trader("acme/erin").await;
    other.logs_out(false).await;
    assert_eq!(erin.status("e-3").await, "new 1/0");
    drop(erin);
    floor.book_is(&["2.00 9 1"], &[]).await;
    let events = floor.end([dave]).await;
    let once = withdrawn("acme/erin", "disconnect", false);
    assert_eq!(withdrawals(&events), [once.clone(), once]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_cancels_all_orders_of_the_principal_whatever_they_were_to_go_with() {
    let folder = TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    let change = |config: &mut Config| {
        quiet(config);
        config.tls.client_revocation_lists = pki.folder.join("crl/clients.pem");
        config.identity.master_key = pki.folder.join("master/current.hex");
    };
    let server = Server::with_policy(POLICY, change).await;
    let mut left = server.connect(&Pki::get().client("acme/bob")).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    for (client, name) in [(&mut left, "b-1"), (&mut bob, "b-2"), (&mut erin, "e")] {
        let body = limit(name, "buy", "2.00", "1", "gtc").to_string();
        assert_eq!(client.order(SignedOp::OrderNew, &body).await["status"], "accepted");
    }
    // Its order outlived it, and was to go with nothing.
    left.request(json!({"op": "logout"})).await;
    left.ended().await;
    pki.run(&["revoke", "acme/bob", "--reason", "keyCompromise"]);
    assert_eq!(server.running().reload().await.unwrap().sessions_ended, 1);
    bob.ended().await;
    server.logged("withdrawal", |event| event.text("principal") == "acme/bob").await;
    let status = erin.request(json!({"op": "order.status", "cl_ord_id": "e"})).await;
    assert_eq!(status["state"], "new", "{status}");
    erin.leave();
    let (events, _folder) = server.finish().await;
    assert_eq!(withdrawals(&events), [withdrawn("acme/bob", "revoked", false)]);
    let told = executions(&events, "acme/bob");
    assert_eq!(told[2..], ["b-1 canceled 0/0 revoked", "b-2 canceled 0/0 revoked"]);
    assert_eq!(executions(&events, "acme/erin"), ["e new 1/0"]);
}

async fn state(client: &mut Client, name: &str) -> String {
    let status = client.request(json!({"op": "order.status", "cl_ord_id": name})).await;
    status["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_orders_that_were_to_go_with_a_connection_are_cancelled_at_the_next_start_and_the_others_rest()
 {
    let folder = TempDir::new().unwrap();
    let market = "[[source]]\ntype = \"synthetic\"\nsymbols = [\"QUIET\"]\nmessages_per_second = 1\n";
    let config = configure(folder.path(), &Pki::get().folder, market);
    std::fs::write(folder.path().join("entitlements.toml"), LEAVING).unwrap();
    let server = ServerProcess::start(&config).unwrap();
    let names = ["acme/bob", "acme/erin", "beta/dave"];
    let mut clients = Vec::new();
    for name in names {
        let mut client = connect(server.address, &Pki::get().client(name)).await;
        let body = limit("rests", "buy", "2.00", "1", "gtc").to_string();
        assert_eq!(client.order(SignedOp::OrderNew, &body).await["status"], "accepted");
        clients.push(client);
    }
    server.signal(Signal::KILL);
    server.wait();
    drop(clients);

    let server = ServerProcess::start(&config).unwrap();
    let mut states = Vec::new();
    for name in names {
        let mut client = connect(server.address, &Pki::get().client(name)).await;
        states.push(state(&mut client, "rests").await);
        client.leave();
    }
    assert_eq!(states, ["canceled", "canceled", "new"]);
    server.signal(Signal::TERM);
    server.wait();
    let log = folder.path().join("log");
    assert_executes_again(&log);
    let told: Vec<String> = replay(&log, &["--kind", "withdrawal"])
        .iter()
        .map(|entry| {
            format!(
                "{} {}",
                entry["event"]["principal"].as_str().unwrap(),
                entry["event"]["cause"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(told, ["acme/bob restart", "acme/erin restart"]);
    let reasons: Vec<_> = replay(&log, &["--kind", "execution"])
        .iter()
        .filter_map(|entry| {
            entry["event"]["reason"].as_str().filter(|reason| !reason.is_empty()).map(str::to_owned)
        })
        .collect();
    assert_eq!(reasons, ["restart", "restart"]);
}

/// A floor whose time stands still until a test moves it.
async fn timeless() -> (Floor, Clock, UnixNanos) {
    // In the middle of a day: its end must not come into it. Of tomorrow: the certificates, made just now, are good then, too.
    const DAY: u64 = 86_400_000_000_000;
    let start = UnixNanos(Clock::System.now().0 / DAY * DAY + DAY + DAY / 2);
    let clock = Clock::manual(start);
    (Floor::open_by(clock.clone(), POLICY, quiet).await, clock, start)
}

const fn after(start: UnixNanos, ms: u64) -> UnixNanos {
    UnixNanos(start.0 + ms * 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_man_timer_is_pushed_on_by_being_sent_again_and_cancels_every_order_of_its_principal_when_it_runs_out()
 {
    let (mut floor, clock, start) = timeless().await;
    let mut bob = floor.trader("acme/bob").await;
    let mut other = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    bob.rests("b-1", "buy", "1", "2.00").await;
    other.rests("b-2", "sell", "1", "90.00").await;
    erin.rests("e", "buy", "5", "2.00").await;
    erin.does(DEAD_MAN, json!({"timeout_ms": 2_000})).await;
    bob.does(DEAD_MAN, json!({"timeout_ms": 2_000})).await;
    clock.set(after(start, 1_500));
    // On another connection of the principal, for longer.
    other.does(DEAD_MAN, json!({"timeout_ms": 3_000})).await;
    erin.does(DEAD_MAN, json!({"timeout_ms": 0})).await;
    clock.set(after(start, 4_499));
    for number in 0..2 {
        // Were it over already, the second of them would stay.
        bob.rests(&format!("still-{number}"), "buy", "1", "1.50").await;
    }
    clock.set(after(start, 4_500));
    let mut told = Vec::new();
    while told.len() < 4 {
        let report = bob.report().await;
        if report.contains("canceled") {
            told.push(report);
        }
    }
    let expected = ["b-1", "b-2", "still-0", "still-1"].map(|name| format!("{name} canceled 0/0 dead_man"));
    assert_eq!(told, expected);
    floor.book_is(&["2.00 5 1"], &[]).await;

    // It is over: what comes later rests.
    clock.set(after(start, 60_000));
    bob.client.goes_on().await;
    bob.rests("later", "buy", "1", "2.00").await;
    bob.client.goes_on().await;
    assert_eq!(bob.status("later").await, "new 1/0");
    bob.refused(DEAD_MAN, json!({"timeout_ms": 999}), "SF-ORD-073").await;
    bob.refused(DEAD_MAN, json!({"timeout_ms": 3_600_001}), "SF-ORD-073").await;
    let events = floor.end([bob, other, erin]).await;
    assert_eq!(withdrawals(&events), [withdrawn("acme/bob", "dead_man", false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_man_timer_that_finds_no_orders_is_over_and_is_not_held_against_later_ones() {
    let (floor, clock, start) = timeless().await;
    let mut bob = floor.trader("acme/bob").await;
    bob.does(DEAD_MAN, json!({"timeout_ms": 1_000})).await;
    clock.set(after(start, 1_000));
    floor.server.logged("withdrawal", |event| event.text("cause") == "dead_man").await;
    bob.rests("later", "buy", "1", "2.00").await;
    // Several turns of the pipeline: nothing happens to it.
    for number in 0..3 {
        bob.rests(&format!("b-{number}"), "buy", "1", "1.50").await;
    }
    assert_eq!(bob.status("later").await, "new 1/0");
    let events = floor.end([bob]).await;
    assert_eq!(withdrawals(&events), [withdrawn("acme/bob", "dead_man", false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_man_timer_lives_through_a_restart_and_fires_at_once_if_it_ran_out_meanwhile() {
    let (floor, clock, start) = timeless().await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    bob.rests("b", "buy", "1", "2.00").await;
    erin.rests("e", "buy", "1", "2.01").await;
    bob.does(DEAD_MAN, json!({"timeout_ms": 10_000})).await;
    erin.does(DEAD_MAN, json!({"timeout_ms": 60_000})).await;
    // Time stands still in the server as well; it passes while there is none.
    let floor = floor.restart_at([bob, erin], || clock.set(after(start, 20_000))).await;
    floor.server.logged("withdrawal", |event| event.text("principal") == "acme/bob").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    assert_eq!((bob.status("b").await, erin.status("e").await), ("canceled 0/0".into(), "new 1/0".into()));
    clock.set(after(start, 60_000));
    assert_eq!(erin.report().await, "e canceled 0/0 dead_man");
    let events = floor.end([bob, erin]).await;
    let expected = [withdrawn("acme/bob", "dead_man", false), withdrawn("acme/erin", "dead_man", false)];
    assert_eq!(withdrawals(&events), expected);
}
