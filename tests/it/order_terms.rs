//! What an order asks of the venue, over the wire: the terms of its instrument, options that it may have, and what becomes of them in
//! the log and in a second execution of it.

use sealfeed::clock::Clock;
use sealfeed::config::{Config, SourceConfig, SyntheticSourceConfig};
use sealfeed_wire::{Price, Quantity, SignedOp, UnixNanos};
use serde_json::{Value, json};

use crate::floor::{self, Floor};
use crate::harness::{Client, POLICY, Pki, Scene};
use crate::market::{limit, quiet};
use crate::orders::{assert_accepted, assert_error};

const BOB: &str = "acme/bob";

/// One symbol that trades in steps of 0.25 and 0.5 between 1.00 and 20000.00; its members send one message a second.
fn stepped(config: &mut Config) {
    let price = |text| Price::parse(text).unwrap();
    config.sources = vec![SourceConfig::Synthetic(SyntheticSourceConfig {
        symbols: vec!["SEAL".into()],
        messages_per_second: 1,
        tick: price("0.25"),
        lot: Quantity::parse("0.5").unwrap(),
        band: Some((price("1.00"), price("20000.00"))),
        ..SyntheticSourceConfig::default()
    })];
}

/// Sends an order of `SEAL` with these fields on top.
async fn order(session: &mut Client, name: &str, fields: Value) -> Value {
    let mut body = json!({"cl_ord_id": name, "symbol": "SEAL", "type": "limit", "tif": "day"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    session.order(SignedOp::OrderNew, &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_off_tick_off_lot_or_out_of_band_is_refused_over_the_wire() {
    let policy = POLICY.replace(r#""trades", "bbo", "book"]"#, r#""trades", "bbo", "book", "definition"]"#);
    let scene = Scene::with_policy(&policy, stepped).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let subscribe = json!({"op": "subscribe", "id": "d", "channel": "definition", "symbols": ["SEAL"]});
    bob.send(subscribe.to_string()).await;
    let definition = bob.message_where(|message| message["type"] == "definition").await;
    let told = ["tick", "lot", "price_min", "price_max"].map(|field| definition[field].as_str().unwrap());
    assert_eq!(told, ["0.25", "0.5", "1.00", "20000.00"]);
    let cases = [
        ("1.10", "1", "SF-ORD-021"),
        ("1.25", "0.7", "SF-ORD-026"),
        ("0.75", "1", "SF-ORD-062"),
        ("20000.25", "1", "SF-ORD-062"),
        ("-5.00", "1", "SF-ORD-062"),
    ];
    for (place, (price, quantity, code)) in cases.into_iter().enumerate() {
        let fields = json!({"side": "buy", "price": price, "qty": quantity});
        assert_error(&order(&mut bob, &format!("bad-{place}"), fields).await, code);
    }
    for (name, price) in [("lowest", "1.00"), ("next", "1.25")] {
        assert_accepted(&order(&mut bob, name, json!({"side": "buy", "price": price, "qty": "0.5"})).await);
    }
    drop(bob);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_orders_reach_the_venue_and_a_second_execution_alike() {
    let scene = Scene::start(stepped).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let bid = |price: &str| json!({"side": "buy", "price": price, "qty": "1"});
    let with = |mut fields: Value, name: &str, value: Value| {
        fields[name] = value;
        fields
    };
    // The members open the book when they come to it.
    let any = json!({"side": "buy", "type": "market", "qty": "0.5", "tif": "ioc"});
    let mut tries = 0;
    while order(&mut bob, &format!("any-{tries}"), any.clone()).await["type"] == "error" {
        tries += 1;
    }
    // The members quote from 1,700 ticks on: what bids 1.00 to 2.00 and asks 2.00 or less is Bob's own.
    assert_accepted(&order(&mut bob, "rests", with(bid("2.00"), "post_only", json!(true))).await);
    let all = with(bid("1.00"), "tif", json!("fok"));
    assert_error(&order(&mut bob, "fok", all).await, "SF-ORD-061");
    let both = with(with(bid("1.00"), "tif", json!("ioc")), "post_only", json!(true));
    assert_error(&order(&mut bob, "both", both).await, "SF-ORD-066");
    let far = with(bid("20000.00"), "post_only", json!(true));
    assert_error(&order(&mut bob, "far", far).await, "SF-ORD-060");
    // Everything that the members bid, and then his own bid, which prevention takes out instead.
    let ask = json!({"side": "sell", "price": "2.00", "qty": "1000", "tif": "ioc", "stp": "cancel_maker"});
    let mut number = 0;
    let status = loop {
        number += 1;
        assert_accepted(&order(&mut bob, &format!("sweep-{number}"), ask.clone()).await);
        let status = bob.request(json!({"op": "order.status", "cl_ord_id": "rests"})).await;
        if status["state"] != "new" {
            break status;
        }
    };
    assert_eq!((&status["state"], &status["cum_qty"]), (&json!("canceled"), &json!("0.0")), "{status}");
    drop(bob);
    // The log is executed again, as that of every scene.
    let events = scene.end().await;
    assert!(events.iter().any(|event| event.kind == "execution" && event.text("exec") == "canceled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn self_trade_prevention_cancels_what_its_mode_says_and_others_trade_as_ever() {
    let mut floor = Floor::open(floor::POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    // What bob is told of the order that takes and of his own that rests, and what is left of the book.
    type Lines = &'static [&'static str];
    let cases: [(Option<&str>, Lines, Lines, Lines); 4] = [
        (None, &["t partial_fill 4/2", "t fill 0/6", "m partial_fill 1/4"], &[], &["10.00 1 1"]),
        (Some("cancel_taker"), &["t partial_fill 4/2", "t canceled 0/2 self_trade"], &[], &["10.00 5 1"]),
        (Some("cancel_maker"), &["t partial_fill 4/2", "m canceled 0/0 self_trade"], &["10.00 4 1"], &[]),
        (
            Some("cancel_both"),
            &["t partial_fill 4/2", "m canceled 0/0 self_trade", "t canceled 0/2 self_trade"],
            &[],
            &[],
        ),
    ];
    for (number, (mode, told, bids, asks)) in cases.into_iter().enumerate() {
        let (taker, maker, other) = (format!("t{number}"), format!("m{number}"), format!("e{number}"));
        erin.rests(&other, "sell", "2", "10.00").await;
        bob.rests(&maker, "sell", "5", "10.00").await;
        let mut body = limit(&taker, "buy", "10.00", "6", "gtc");
        if let Some(mode) = mode {
            body["stp"] = mode.into();
        }
        assert_accepted(&bob.signed(SignedOp::OrderNew, &body).await);
        assert_eq!(bob.report().await, format!("{taker} new 6/0"));
        let mut reports = Vec::new();
        while reports.len() < told.len() {
            reports.push(bob.report().await.replace(&taker, "t").replace(&maker, "m"));
        }
        assert_eq!(reports, told, "{mode:?}");
        assert_eq!(erin.report().await, format!("{other} fill 0/2"));
        floor.book_is(bids, asks).await;
        let rest = bob.mass_cancels(&json!({"cl_ord_id": format!("c{number}")})).await;
        assert_eq!(usize::try_from(rest).unwrap(), bids.len() + asks.len());
        floor.book_is(&[], &[]).await;
        for _ in 0..rest {
            assert!(bob.report().await.ends_with(&format!("mass_cancel c{number}")));
        }
    }
    floor.end([bob, erin]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fill_or_kill_trades_whole_or_not_at_all_and_post_only_never_takes() {
    let mut floor = Floor::open(floor::POLICY).await;
    let mut bob = floor.trader("acme/bob").await;
    let mut erin = floor.trader("acme/erin").await;
    erin.rests("near", "sell", "3", "10.00").await;
    erin.rests("far", "sell", "3", "11.00").await;
    let answer =
        bob.refused(SignedOp::OrderNew, limit("short", "buy", "10.00", "4", "fok"), "SF-ORD-061").await;
    assert!(answer["receipt"]["hash"].is_string() && answer["retryable"] == false, "{answer}");
    let mut post = limit("post", "buy", "10.00", "1", "gtc");
    post["post_only"] = true.into();
    bob.refused(SignedOp::OrderNew, post.clone(), "SF-ORD-060").await;
    floor.book_is(&[], &["10.00 3 1", "11.00 3 1"]).await;
    (post["price"], post["cl_ord_id"]) = ("9.99".into(), "post-2".into());
    assert_accepted(&bob.signed(SignedOp::OrderNew, &post).await);
    assert_eq!(bob.report().await, "post-2 new 1/0");
    assert_accepted(&bob.signed(SignedOp::OrderNew, &limit("whole", "buy", "11.00", "4", "fok")).await);
    for report in ["whole new 4/0", "whole partial_fill 1/3", "whole fill 0/4"] {
        assert_eq!(bob.report().await, report);
    }
    assert_eq!([floor.trade().await, floor.trade().await], ["3 at 10.00 buy", "1 at 11.00 buy"]);
    floor.book_is(&["9.99 1 1"], &["11.00 2 1"]).await;
    floor.end([bob, erin]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_in_time_at_its_deadline_and_refused_for_good_a_nanosecond_later() {
    let clock = Clock::manual(Clock::System.now());
    let floor = Floor::open_by(clock.clone(), floor::POLICY, quiet).await;
    let mut bob = floor.trader("acme/bob").await;
    let now = clock.now();
    let due = |name: &str, at: UnixNanos| {
        let mut body = limit(name, "buy", "1.00", "1", "gtc");
        body["deadline"] = at.to_string().into();
        body
    };
    assert_accepted(&bob.signed(SignedOp::OrderNew, &due("in-time", now)).await);
    let late = due("late", UnixNanos(now.0 - 1));
    let first = bob.refused(SignedOp::OrderNew, late.clone(), "SF-ORD-040").await;
    let again = bob.refused(SignedOp::OrderNew, late, "SF-ORD-040").await;
    assert!(first["receipt"]["hash"].is_string() && first["receipt"] == again["receipt"], "{first} {again}");
    let events = floor.end([bob]).await;
    assert!(events.iter().any(|event| event.kind == "order_refused" && event.has_code("SF-ORD-040")));
}
