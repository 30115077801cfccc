//! What operators do: kill switches and trading phases, told alike by answers, reports, the public market and the sealed log, and in force
//! after a restart.

use sealfeed::clock::Clock;
use sealfeed::config::Config;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};

use crate::floor::{Floor, POLICY, call_of, executions, replace};
use crate::harness::{Client, Logged};
use crate::market::{QUIET, limit, quiet};

const NEW: SignedOp = SignedOp::OrderNew;
const KILL: SignedOp = SignedOp::AdminKill;
const TRADING: SignedOp = SignedOp::AdminTrading;

/// The body of a kill switch; everything where there is no target.
fn kill(scope: &str, target: Option<&str>, action: &str) -> Value {
    let mut body = json!({"scope": scope, "action": action, "reason": "a runaway algorithm"});
    if let Some(target) = target {
        body["target"] = target.into();
    }
    body
}

fn trading(state: &str) -> Value {
    json!({"symbol": QUIET, "state": state, "reason": "as the rulebook says"})
}

/// Operators' commands in the log, but for their reasons.
fn commands(events: &[Logged]) -> Vec<String> {
    let commands = events.iter().filter(|event| event.kind == "admin");
    commands
        .map(|event| {
            let body: Value = serde_json::from_str(event.text("body")).unwrap();
            let words =
                ["scope", "target", "action", "state"].map(|field| body[field].as_str().unwrap_or_default());
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            format!("{} {}", event.text("principal"), words.join(" "))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_switch_cancels_what_rests_in_its_scope_refuses_what_comes_and_lets_cancels_pass_until_it_is_released()
 {
    let mut floor = Floor::open(POLICY).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    // Scope, target, and whom it stops in QUIET: bob, erin, dave.
    let cases = [
        ("principal", Some("acme/bob"), [true, false, false]),
        ("firm", Some("acme"), [true, true, false]),
        ("symbol", Some(QUIET), [true, true, true]),
        ("symbol", Some("S1"), [false, false, false]),
        ("all", None, [true, true, true]),
    ];
    for (number, (scope, target, stopped)) in cases.into_iter().enumerate() {
        bob.rests(&format!("b-{number}"), "buy", "1", "2.00").await;
        erin.rests(&format!("e-{number}"), "buy", "2", "2.01").await;
        dave.rests(&format!("d-{number}"), "buy", "4", "2.02").await;
        dave.does(KILL, kill(scope, target, "engage")).await;
        let traders = [(&mut bob, "b"), (&mut erin, "e"), (&mut dave, "d")];
        for ((trader, letter), is_stopped) in traders.into_iter().zip(stopped) {
            let resting = format!("{letter}-{number}");
            let (before, next) =
                (format!("before-{number}"), limit(&format!("new-{number}"), "buy", "1.50", "1", "gtc"));
            if is_stopped {
                assert_eq!(trader.report().await, format!("{resting} canceled 0/0 kill"), "{scope}");
                let answer = trader.refused(NEW, next, "SF-RSK-018").await;
                assert!(answer["receipt"]["hash"].is_string() && answer["retryable"] == false, "{answer}");
            } else {
                trader.rests(&format!("new-{number}"), "buy", "1", "1.50").await;
                trader.cancels(&before, &format!("new-{number}")).await;
                assert_eq!(trader.report().await, format!("new-{number} canceled 0/0 requested {before}"));
                trader.cancels(&format!("gone-{number}"), &resting).await;
                assert_eq!(trader.report().await, format!("{resting} canceled 0/0 requested gone-{number}"));
            }
        }
        floor.book_is(&[], &[]).await;
        dave.does(KILL, kill(scope, target, "release")).await;
        for trader in [&mut bob, &mut erin, &mut dave] {
            let name = format!("after-{number}");
            trader.rests(&name, "buy", "1", "1.50").await;
            trader.cancels(&format!("c-{number}"), &name).await;
            assert_eq!(trader.report().await, format!("{name} canceled 0/0 requested c-{number}"));
        }
    }
    let events = floor.end([dave, bob, erin]).await;
    let expected = [
        "principal acme/bob engage",
        "principal acme/bob release",
        "firm acme engage",
        "firm acme release",
        "symbol QUIET engage",
        "symbol QUIET release",
        "symbol S1 engage",
        "symbol S1 release",
        "all engage",
        "all release",
    ];
    assert_eq!(commands(&events), expected.map(|command| format!("beta/dave {command}")));
    assert!(
        events
            .iter()
            .filter(|event| event.kind == "admin")
            .all(|event| event.text("body").contains("a runaway algorithm"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_switch_holds_after_a_restart_until_it_is_released() {
    let floor = Floor::open(POLICY).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    erin.rests("e", "buy", "5", "2.00").await;
    dave.does(KILL, kill("principal", Some("acme/bob"), "engage")).await;
    let refused = bob.refused(NEW, limit("b", "buy", "2.00", "1", "gtc"), "SF-RSK-018").await;

    let floor = floor.restart([dave, bob, erin]).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    bob.refused(NEW, limit("b-2", "buy", "2.00", "1", "gtc"), "SF-RSK-018").await;
    // The refusal was for good, and is told again.
    let again = bob.refused(NEW, limit("b", "buy", "2.00", "1", "gtc"), "SF-RSK-018").await;
    assert_eq!(again["receipt"], refused["receipt"]);
    dave.does(KILL, kill("principal", Some("acme/bob"), "release")).await;
    bob.rests("b-3", "buy", "2", "2.00").await;

    erin.replaces("less", "e", json!({"qty": "4"})).await;
    assert_eq!(erin.report().await, "e replaced 4/0 less");
    dave.does(KILL, kill("firm", Some("acme"), "engage")).await;
    assert_eq!(bob.report().await, "b-3 canceled 0/0 kill");
    assert_eq!(erin.report().await, "e canceled 0/0 kill");
    let answer =
        erin.refused(SignedOp::OrderReplace, replace("more", "e", json!({"qty": "9"})), "SF-RSK-018").await;
    assert!(answer["receipt"]["hash"].is_string(), "{answer}");
    let answer = erin.signed(SignedOp::OrderMassCancel, &json!({"cl_ord_id": "m"})).await;
    assert_eq!((&answer["status"], &answer["canceled"]), (&json!("accepted"), &json!(0)), "{answer}");
    floor.end([dave, bob, erin]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_verb_without_the_right_to_it_or_about_nothing_is_refused_and_does_nothing() {
    let floor = Floor::open(POLICY).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    bob.rests("b", "buy", "1", "2.00").await;
    bob.refused(KILL, kill("all", None, "engage"), "SF-ORD-076").await;
    bob.refused(TRADING, trading("halted"), "SF-ORD-076").await;
    dave.refused(KILL, kill("symbol", Some("NOWHERE"), "engage"), "SF-ORD-033").await;
    dave.refused(KILL, kill("all", Some("acme"), "engage"), "SF-ORD-075").await;
    dave.refused(KILL, json!({"scope": "all", "action": "engage", "reason": ""}), "SF-ORD-074").await;
    let nowhere = json!({"symbol": "NOWHERE", "state": "halted", "reason": "none"});
    dave.refused(TRADING, nowhere, "SF-ORD-033").await;
    bob.rests("b-2", "buy", "1", "2.00").await;
    let events = floor.end([dave, bob]).await;
    assert_eq!(commands(&events), [""; 0]);
    let refused =
        events.iter().filter(|event| event.kind == "order_refused" && event.text("op").starts_with("admin"));
    assert_eq!(refused.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_takes_cancels_alone_and_binds_no_name_and_a_close_refuses_for_good() {
    let mut floor = Floor::open(POLICY).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    assert_eq!(floor.state().await, "trading");
    bob.rests("b", "buy", "2", "2.00").await;
    bob.rests("goes", "buy", "1", "1.00").await;
    dave.does(TRADING, trading("halted")).await;
    assert_eq!(floor.state().await, "halted");
    let wanted = limit("n", "buy", "2.00", "1", "gtc");
    let answer = bob.refused(NEW, wanted.clone(), "SF-ORD-064").await;
    assert_eq!((&answer["retryable"], answer.get("receipt")), (&json!(true), None), "{answer}");
    let answer =
        bob.refused(SignedOp::OrderReplace, replace("r", "b", json!({"qty": "1"})), "SF-ORD-064").await;
    assert_eq!(answer["retryable"], true, "{answer}");
    assert_eq!((bob.status("n").await, bob.status("r").await), ("unknown -/-".into(), "unknown -/-".into()));
    bob.cancels("c", "goes").await;
    assert_eq!(bob.report().await, "goes canceled 0/0 requested c");
    floor.book_is(&["2.00 2 1"], &[]).await;

    dave.does(TRADING, trading("open")).await;
    assert_eq!(floor.state().await, "trading");
    // The same bodies, under the same names.
    assert_eq!(bob.signed(NEW, &wanted).await["status"], "accepted");
    assert_eq!(bob.report().await, "n new 1/0");
    bob.replaces("r", "b", json!({"qty": "1"})).await;
    assert_eq!(bob.report().await, "b replaced 1/0 r");
    floor.book_is(&["2.00 2 2"], &[]).await;

    dave.does(TRADING, trading("closed")).await;
    assert_eq!(floor.state().await, "halted CLOSED");
    let wanted = limit("late", "buy", "2.00", "1", "gtc");
    let answer = bob.refused(NEW, wanted.clone(), "SF-ORD-065").await;
    assert!(answer["retryable"] == false && answer["receipt"]["hash"].is_string(), "{answer}");
    dave.does(TRADING, trading("open")).await;
    assert_eq!(floor.state().await, "trading");
    bob.refused(NEW, wanted, "SF-ORD-065").await;
    // What is so already is no change, and nothing to tell.
    dave.does(TRADING, trading("open")).await;
    dave.does(TRADING, trading("halted")).await;
    assert_eq!(floor.state().await, "halted");
    let events = floor.end([dave, bob]).await;
    let states =
        ["halted", "open", "closed", "open", "open", "halted"].map(|state| format!("beta/dave {state}"));
    assert_eq!(commands(&events), states);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auction_gathers_orders_in_a_book_that_may_be_crossed_and_its_opening_trades_them_at_one_price() {
    let mut floor = Floor::open(POLICY).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    assert_eq!(floor.state().await, "trading");
    dave.does(TRADING, trading("auction")).await;
    assert_eq!(floor.state().await, "auction");
    bob.rests("b-1", "buy", "5", "10.00").await;
    bob.rests("b-2", "buy", "3", "9.00").await;
    erin.rests("e-1", "sell", "4", "8.00").await;
    // From nine, exclusive, to ten one is left over; the last trade was at more.
    assert_eq!(floor.indicated().await, "10.00 4 buy 1");
    erin.rests("e-2", "sell", "2", "9.00").await;
    assert_eq!(floor.indicated().await, "9.00 6 buy 2");
    erin.rests("e-3", "sell", "9", "11.00").await;
    floor.book_is(&["10.00 5 1", "9.00 3 1"], &["8.00 4 1", "9.00 2 1", "11.00 9 1"]).await;
    bob.refused(NEW, limit("ioc", "buy", "10.00", "1", "ioc"), "SF-ORD-063").await;
    let mut post = limit("post", "buy", "1.00", "1", "gtc");
    post["post_only"] = true.into();
    bob.refused(NEW, post, "SF-ORD-063").await;

    dave.does(TRADING, trading("open")).await;
    assert_eq!(floor.state().await, "trading");
    // Six are sold at nine or less, eight are bought at nine or more: at nine the most trades.
    let trades = [floor.trade().await, floor.trade().await, floor.trade().await];
    assert_eq!(trades, ["4 at 9.00 none", "1 at 9.00 none", "1 at 9.00 none"]);
    assert_eq!(
        [bob.report().await, bob.report().await, bob.report().await],
        ["b-1 partial_fill 1/4", "b-1 fill 0/5", "b-2 partial_fill 2/1",]
    );
    assert_eq!(
        [erin.report().await, erin.report().await, erin.report().await],
        ["e-1 fill 0/4", "e-2 partial_fill 1/1", "e-2 fill 0/2",]
    );
    floor.book_is(&["9.00 2 1"], &["11.00 9 1"]).await;
    let events = floor.end([dave, bob, erin]).await;
    assert_eq!(executions(&events, "acme/bob").len(), 5);
    assert!(events.iter().all(|event| event.kind != "execution"
        || event.text("principal") != "acme/bob"
        || event.fields["taker"] == false));
}

/// Reads messages of the channel `status` until there are so many.
async fn statuses(client: &mut Client, count: usize) -> Vec<Value> {
    let mut read = Vec::new();
    while read.len() < count {
        let message = client.message().await;
        if message["type"] == "status" {
            read.push(message);
        }
    }
    read
}

/// A session that reads the channel `status` from its present state on, or behind a message.
async fn reads_status(floor: &Floor, behind: Option<&Value>) -> Client {
    let mut client = floor.reader().await;
    let mut request = json!({"op": "subscribe", "channel": "status", "symbols": [QUIET]});
    if let Some(message) = behind {
        request["resume"] = json!({QUIET: {"epoch": message["epoch"], "seq": message["seq"]}});
    }
    let reply = client.request(request).await;
    let stream = &reply["symbols"][QUIET];
    assert!(stream.is_object() && (behind.is_none() || stream["recovered"] == true), "{reply}");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_auction_call_comes_to_is_told_alike_to_who_reads_comes_late_or_resumes_and_is_what_trades() {
    let mut floor = Floor::open(POLICY).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    let trades = floor.status().await;
    assert!(trades.get("indicative_price").is_none(), "no call: {trades}");
    dave.does(TRADING, trading("auction")).await;
    let mut told = vec![floor.status().await];
    assert_eq!(call_of(&told[0]), "- - - -");
    bob.rests("b-1", "buy", "5", "10.00").await;
    bob.rests("b-2", "buy", "3", "9.00").await;
    erin.rests("e-1", "sell", "4", "8.00").await;
    told.push(floor.status().await);
    erin.rests("e-2", "sell", "2", "9.00").await;
    told.push(floor.status().await);
    assert_eq!((&*call_of(&told[1]), &*call_of(&told[2])), ("10.00 4 buy 1", "9.00 6 buy 2"));

    let late = &statuses(&mut reads_status(&floor, None).await, 1).await[0];
    for field in ["epoch", "seq", "ts_event", "ts_recv", "state", "reason"] {
        assert_eq!(late[field], told[2][field], "{field}");
    }
    assert_eq!(call_of(late), call_of(&told[2]));
    let mut resumed = reads_status(&floor, Some(&told[0])).await;
    assert_eq!(statuses(&mut resumed, 2).await, told[1..]);
    drop(resumed);

    dave.does(TRADING, trading("halted")).await;
    told.push(floor.status().await);
    assert!(told[3].get("indicative_price").is_none(), "{}", told[3]);
    let mut floor = floor.restart([dave, bob, erin]).await;
    assert_eq!(floor.state().await, "halted");
    let mut resumed = reads_status(&floor, Some(&told[0])).await;
    assert_eq!(statuses(&mut resumed, 3).await, told[1..], "from the tape");

    let mut dave = floor.trader("beta/dave").await;
    dave.does(TRADING, trading("auction")).await;
    // The book is as it was: the state first, then what it comes to.
    assert_eq!([floor.indicated().await, floor.indicated().await], ["- - - -", "9.00 6 buy 2"]);
    dave.does(TRADING, trading("open")).await;
    assert_eq!(floor.state().await, "trading");
    let trades = [floor.trade().await, floor.trade().await, floor.trade().await];
    assert_eq!(trades, ["4 at 9.00 none", "1 at 9.00 none", "1 at 9.00 none"]);
    floor.book_is(&["9.00 2 1"], &[]).await;
    drop(resumed);
    floor.end([dave]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_and_what_has_gathered_in_it_live_through_a_restart_and_the_public_is_told_so() {
    lives_through_a_restart(quiet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_is_told_after_a_restart_where_no_tape_goes_on_with_the_market_data_as_well() {
    lives_through_a_restart(|config| {
        quiet(config);
        config.tape.enabled = false;
    })
    .await;
}

async fn lives_through_a_restart(change: fn(&mut Config)) {
    let floor = Floor::open_by(Clock::System, POLICY, change).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    dave.does(TRADING, trading("auction")).await;
    bob.rests("b", "buy", "5", "10.00").await;
    erin.rests("e", "sell", "5", "9.50").await;
    dave.does(TRADING, trading("halted")).await;

    let mut floor = floor.restart([dave, bob, erin]).await;
    assert_eq!(floor.state().await, "halted");
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    assert_eq!(floor.defined_state().await, "halted");
    bob.refused(NEW, limit("n", "buy", "10.00", "1", "gtc"), "SF-ORD-064").await;
    // The members' orders went with the run before, and a halted book takes no new ones.
    floor.book_is(&["10.00 5 1"], &["9.50 5 1"]).await;
    dave.does(TRADING, trading("open")).await;
    assert_eq!(floor.state().await, "trading");
    // Anything from 9.50 to 10.00 trades all; the last trade, before the restart, was at more.
    assert_eq!(floor.trade().await, "5 at 10.00 none");
    assert_eq!((bob.report().await, erin.report().await), ("b fill 0/5".into(), "e fill 0/5".into()));
    floor.end([dave, bob, erin]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_an_operator_asks_for_is_sealed_done_and_answered_with_what_was_wrong() {
    let floor = Floor::open(POLICY).await;
    let mut dave = floor.trader("beta/dave").await;
    let mut bob = floor.trader("acme/bob").await;
    let body = json!({"reason": "new rules"});
    let policy = floor.server.config.identity.entitlements.clone();
    let good = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, "[[rule]]\nname = \"half\"\nmatch = {}\n").unwrap();
    dave.refused(SignedOp::AdminReload, body.clone(), "SF-CFG-012").await;
    bob.rests("b-1", "buy", "1", "2.00").await;
    std::fs::write(&policy, good.replace("match = { role = \"trader\" }", "match = { firm = \"beta\" }"))
        .unwrap();
    bob.refused(SignedOp::AdminReload, body.clone(), "SF-ORD-076").await;
    dave.does(SignedOp::AdminReload, body).await;
    let (ended, _) = bob.client.ended().await;
    assert_eq!(ended.code, Some(4503));
    let events = floor.end([dave]).await;
    let said = |what: &str| {
        let of = events.iter().filter(|event| event.kind == "config" && event.text("what") == what);
        of.map(|event| event.text("summary").to_owned()).collect::<Vec<_>>()
    };
    let [refused] = &said("reload_refused")[..] else { panic!("not one refusal") };
    assert!(refused.starts_with("by operator beta/dave: SF-CFG-012"), "{refused}");
    let [done] = &said("reloaded")[..] else { panic!("not one reload") };
    assert!(done.starts_with("by operator beta/dave; files changed: identity.entitlements"), "{done}");
    assert_eq!(events.iter().filter(|event| event.kind == "admin").count(), 2);
}
