//! What an order asks of the venue, over the wire: the terms of its instrument, options that it may have, and what becomes of them in
//! the log and in a second execution of it.

use sealfeed::config::{Config, SourceConfig, SyntheticSourceConfig};
use sealfeed_wire::{Price, Quantity, SignedOp};
use serde_json::{Value, json};

use crate::harness::{Client, POLICY, Pki, Scene};
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
