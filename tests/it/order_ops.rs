//! What changes orders that were sent before: replace and mass cancel, told alike by answers, reports, the public market and the sealed log,
//! and by a second execution of it.

use sealfeed::clock::Clock;
use sealfeed::config::{Config, SourceConfig};
use sealfeed_wire::{Price, Quantity, SignedOp};
use serde_json::{Value, json};

use crate::floor::{Floor, POLICY, essence, replace};
use crate::market::{QUIET, limit, quiet};

const REPLACE: SignedOp = SignedOp::OrderReplace;
const MASS: SignedOp = SignedOp::OrderMassCancel;

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_that_only_takes_quantity_away_keeps_its_place_and_any_other_loses_it() {
    let mut floor = Floor::open(POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    let mut dave = floor.trader("beta/dave").await;
    bob.rests("b", "sell", "9", "10.00").await;
    erin.rests("e", "sell", "9", "10.00").await;

    bob.replaces("less", "b", json!({"qty": "6"})).await;
    assert_eq!(bob.report().await, "b replaced 6/0 less");
    floor.book_is(&[], &["10.00 15 2"]).await;
    dave.takes("d-1", "buy", "1", "10.00").await;
    assert_eq!(bob.report().await, "b partial_fill 5/1");

    // The new quantity is the whole one: six of eight are open after the next trade of one.
    bob.replaces("more", "b", json!({"qty": "8"})).await;
    assert_eq!(bob.report().await, "b replaced 7/1 more");
    floor.book_is(&[], &["10.00 16 2"]).await;
    dave.takes("d-2", "buy", "1", "10.00").await;
    assert_eq!(erin.report().await, "e partial_fill 8/1");

    // The same again is no reason to lose the place.
    erin.replaces("same", "e", json!({"qty": "9", "price": "10.00"})).await;
    assert_eq!(erin.report().await, "e replaced 8/1 same");
    dave.takes("d-3", "buy", "1", "10.00").await;
    assert_eq!(erin.report().await, "e partial_fill 7/2");

    erin.replaces("away", "e", json!({"price": "10.01"})).await;
    assert_eq!(erin.report().await, "e replaced 7/2 away");
    floor.book_is(&[], &["10.00 7 1", "10.01 7 1"]).await;
    erin.replaces("back", "e", json!({"price": "10.00"})).await;
    assert_eq!(erin.report().await, "e replaced 7/2 back");
    floor.book_is(&[], &["10.00 14 2"]).await;
    dave.takes("d-4", "buy", "1", "10.00").await;
    assert_eq!(bob.report().await, "b partial_fill 6/2");
    assert_eq!(
        (bob.status("b").await, erin.status("e").await),
        ("partially_filled 6/2".into(), "partially_filled 7/2".into())
    );
    floor.end([bob, erin, dave]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_whose_new_price_meets_the_market_trades_at_once_as_the_taker() {
    let mut floor = Floor::open(POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    bob.rests("b", "sell", "5", "10.00").await;
    erin.rests("e", "buy", "8", "9.00").await;
    erin.replaces("up", "e", json!({"price": "10.50"})).await;
    assert_eq!(erin.report().await, "e replaced 8/0 up");
    assert_eq!(erin.report().await, "e partial_fill 3/5");
    assert_eq!(bob.report().await, "b fill 0/5");
    assert_eq!(floor.trade().await, "5 at 10.00 buy");
    floor.book_is(&["10.50 3 1"], &[]).await;
    assert_eq!(erin.status("e").await, "partially_filled 3/5");
    let events = floor.end([bob, erin]).await;
    let fills: Vec<_> = events
        .iter()
        .filter(|event| {
            event.kind == "execution" && event.fields["trade_id"] != 0 && event.text("symbol") == QUIET
        })
        .filter(|event| event.text("principal") != "beta/dave")
        .map(|event| (event.text("cl_ord_id").to_owned(), event.fields["taker"] == true))
        .collect();
    assert_eq!(fills.len(), 2);
    assert!(fills.contains(&("e".into(), true)) && fills.contains(&("b".into(), false)), "{fills:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_to_no_more_than_has_traded_cancels_the_rest() {
    let mut floor = Floor::open(POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    let mut dave = floor.trader("beta/dave").await;
    for (name, quantity) in [("exactly", "2"), ("below", "1")] {
        bob.rests(name, "sell", "5", "10.00").await;
        dave.takes(&format!("d-{name}"), "buy", "2", "10.00").await;
        assert_eq!(bob.report().await, format!("{name} partial_fill 3/2"));
        bob.replaces(&format!("r-{name}"), name, json!({"qty": quantity})).await;
        assert_eq!(bob.report().await, format!("{name} canceled 0/2 replaced r-{name}"));
        floor.book_is(&[], &[]).await;
        assert_eq!(bob.status(name).await, "canceled 0/2");
    }
    floor.end([bob, dave]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_sent_again_does_nothing_again_and_gets_the_first_answer_even_after_a_restart() {
    let floor = Floor::open(POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    bob.rests("b", "buy", "5", "2.00").await;
    let first = bob.replaces("r", "b", json!({"qty": "3"})).await;
    assert_eq!(bob.report().await, "b replaced 3/0 r");
    assert_eq!((&first["cl_ord_id"], &first["orig_cl_ord_id"]), (&json!("r"), &json!("b")), "{first}");
    bob.replaces("r-2", "b", json!({"qty": "4"})).await;
    assert_eq!(bob.report().await, "b replaced 4/0 r-2");
    let again = bob.replaces("r", "b", json!({"qty": "3"})).await;
    assert_eq!(essence(&again), essence(&first));
    bob.refused(REPLACE, replace("r", "b", json!({"qty": "2"})), "SF-ORD-018").await;
    assert_eq!(bob.status("b").await, "new 4/0");

    let mut floor = floor.restart([bob]).await;
    let mut bob = floor.trader("acme/bob").await;
    let again = bob.replaces("r", "b", json!({"qty": "3"})).await;
    assert_eq!(essence(&again), essence(&first));
    assert_eq!(bob.status("b").await, "new 4/0");
    floor.book_shows("bids", "2.00", Some("4")).await;
    let events = floor.end([bob]).await;
    let repeated =
        events.iter().filter(|event| event.kind == "order_repeated" && event.text("op") == "order.replace");
    assert_eq!(repeated.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_by_its_own_name_and_by_those_of_its_replaces() {
    let mut floor = Floor::open(POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    bob.rests("b", "buy", "5", "2.00").await;
    bob.replaces("r-1", "b", json!({"qty": "4"})).await;
    assert_eq!(bob.report().await, "b replaced 4/0 r-1");
    bob.replaces("r-2", "r-1", json!({"price": "2.01"})).await;
    assert_eq!(bob.report().await, "b replaced 4/0 r-2");
    floor.book_is(&["2.01 4 1"], &[]).await;
    for name in ["b", "r-1", "r-2"] {
        assert_eq!(bob.status(name).await, "new 4/0", "{name}");
    }
    bob.cancels("c", "r-2").await;
    assert_eq!(bob.report().await, "b canceled 0/0 requested c");
    for name in ["b", "r-1", "r-2", "c"] {
        assert_eq!(bob.status(name).await, "canceled 0/0", "{name}");
    }
    floor.book_is(&[], &[]).await;
    floor.end([bob]).await;
}

/// [`QUIET`] in steps of 0.25 and of 2, between 1.00 and 20000.00.
fn stepped(config: &mut Config) {
    quiet(config);
    for source in &mut config.sources {
        if let SourceConfig::Synthetic(market) = source {
            market.tick = Price::parse("0.25").unwrap();
            market.lot = Quantity::parse("2").unwrap();
            market.band = Some((Price::parse("1.00").unwrap(), Price::parse("20000.00").unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_that_cannot_be_is_refused_with_its_code_and_leaves_the_order_as_it_was() {
    let mut floor = Floor::open_by(Clock::System, POLICY, stepped).await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    erin.rests("ask", "sell", "4", "10.00").await;
    let post = json!({
        "cl_ord_id": "b", "symbol": QUIET, "side": "buy", "type": "limit", "qty": "4", "price": "9.00", "tif": "gtc", "post_only": true,
    });
    assert_eq!(bob.signed(SignedOp::OrderNew, &post).await["status"], "accepted");
    assert_eq!(bob.report().await, "b new 4/0");
    let cases: [(&str, Value, &str); 8] = [
        ("b", json!({"price": "9.10"}), "SF-ORD-021"),
        ("b", json!({"price": "9.125"}), "SF-ORD-020"),
        ("b", json!({"qty": "5"}), "SF-ORD-026"),
        ("b", json!({"qty": "4.5"}), "SF-ORD-025"),
        ("b", json!({"price": "0.75"}), "SF-ORD-062"),
        ("b", json!({"price": "10.00"}), "SF-ORD-060"),
        ("ask", json!({"qty": "2"}), "SF-ORD-036"),
        ("never", json!({"qty": "2"}), "SF-ORD-036"),
    ];
    for (number, (target, change, code)) in cases.into_iter().enumerate() {
        let answer = bob.refused(REPLACE, replace(&format!("r-{number}"), target, change), code).await;
        assert!(answer["receipt"]["hash"].is_string() && answer["retryable"] == false, "{answer}");
        assert_eq!(bob.status("b").await, "new 4/0", "{code}");
    }
    bob.refused(REPLACE, replace("nothing", "b", json!({})), "SF-ORD-072").await;
    floor.book_is(&["9.00 4 1"], &["10.00 4 1"]).await;

    // Of a finished order.
    bob.cancels("c", "b").await;
    assert_eq!(bob.report().await, "b canceled 0/0 requested c");
    bob.refused(REPLACE, replace("late", "b", json!({"qty": "2"})), "SF-ORD-037").await;
    let events = floor.end([bob, erin]).await;
    let refused =
        events.iter().filter(|event| event.kind == "order_refused" && event.text("op") == "order.replace");
    assert_eq!(refused.count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_cancel_takes_what_its_symbol_side_and_scope_say_and_counts_it() {
    let mut floor = Floor::open(POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    let mut other = floor.server.connect(&crate::harness::Pki::get().client("acme/bob")).await;
    let mut erin = floor.trader("acme/erin").await;
    erin.rests("e", "buy", "7", "2.00").await;
    bob.rests("ask", "sell", "1", "90.00").await;
    bob.rests("bid", "buy", "2", "2.00").await;
    let mut elsewhere = limit("s1", "buy", "2.00", "3", "gtc");
    elsewhere["symbol"] = "S1".into();
    assert_eq!(bob.signed(SignedOp::OrderNew, &elsewhere).await["status"], "accepted");
    assert_eq!(bob.report().await, "s1 new 3/0");
    other.order(SignedOp::OrderNew, &limit("far", "buy", "2.01", "4", "gtc").to_string()).await;
    assert_eq!(bob.report().await, "far new 4/0");
    floor.book_is(&["2.01 4 1", "2.00 9 2"], &["90.00 1 1"]).await;

    assert_eq!(bob.mass_cancels(&json!({"cl_ord_id": "m-none", "symbol": "S1", "side": "sell"})).await, 0);
    assert_eq!(bob.mass_cancels(&json!({"cl_ord_id": "m-sells", "side": "sell"})).await, 1);
    assert_eq!(bob.report().await, "ask canceled 0/0 mass_cancel m-sells");
    assert_eq!(bob.mass_cancels(&json!({"cl_ord_id": "m-s1", "symbol": "S1"})).await, 1);
    assert_eq!(bob.report().await, "s1 canceled 0/0 mass_cancel m-s1");
    assert_eq!(bob.mass_cancels(&json!({"cl_ord_id": "m-session", "scope": "session"})).await, 1);
    assert_eq!(bob.report().await, "bid canceled 0/0 mass_cancel m-session");
    floor.book_is(&["2.01 4 1", "2.00 7 1"], &[]).await;
    bob.rests("last", "sell", "1", "91.00").await;
    assert_eq!(bob.mass_cancels(&json!({"cl_ord_id": "m-all"})).await, 2);
    // In the order in which the venue took them.
    assert_eq!(bob.report().await, "far canceled 0/0 mass_cancel m-all");
    assert_eq!(bob.report().await, "last canceled 0/0 mass_cancel m-all");
    bob.refused(MASS, json!({"cl_ord_id": "m-where", "symbol": "NOWHERE"}), "SF-ORD-033").await;
    assert_eq!(bob.status("m-all").await, "unknown -/-", "a mass cancel names no order");
    assert_eq!(erin.status("e").await, "new 7/0");
    floor.book_is(&["2.00 7 1"], &[]).await;
    drop(other);
    floor.end([bob, erin]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_cancel_sent_again_cancels_nothing_more_and_tells_the_same_count_even_after_a_restart() {
    let floor = Floor::open(POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    bob.rests("b-1", "buy", "1", "2.00").await;
    bob.rests("b-2", "buy", "1", "2.01").await;
    let all = json!({"cl_ord_id": "m", "symbol": QUIET});
    let first = bob.signed(MASS, &all).await;
    assert_eq!((&first["canceled"], &first["order_id"]), (&json!(2), &Value::Null), "{first}");
    for name in ["b-1", "b-2"] {
        assert_eq!(bob.report().await, format!("{name} canceled 0/0 mass_cancel m"));
    }
    bob.rests("b-3", "buy", "1", "2.00").await;
    assert_eq!(essence(&bob.signed(MASS, &all).await), essence(&first));
    assert_eq!(bob.status("b-3").await, "new 1/0");

    let mut floor = floor.restart([bob]).await;
    let mut bob = floor.trader("acme/bob").await;
    assert_eq!(essence(&bob.signed(MASS, &all).await), essence(&first));
    assert_eq!(bob.status("b-3").await, "new 1/0");
    floor.book_shows("bids", "2.00", Some("1")).await;
    assert_eq!(bob.mass_cancels(&json!({"cl_ord_id": "m-2"})).await, 1);
    assert_eq!(bob.report().await, "b-3 canceled 0/0 mass_cancel m-2");
    floor.book_shows("bids", "2.00", None).await;
    floor.end([bob]).await;
}
