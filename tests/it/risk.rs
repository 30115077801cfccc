//! What all orders of a principal and of its firm together may lead to, over the wire: each bound refuses with its code and a sealed entry, and
//! reaches a session that is open.

use sealfeed::config::{Config, SourceConfig};
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};

use crate::harness::{Client, Pki, Scene};
use crate::market::{QUIET, quiet, settle};
use crate::oracle::Streams;
use crate::order_limits::refused;
use crate::orders::assert_accepted;

const NEW: SignedOp = SignedOp::OrderNew;

const POLICY: &str = r#"
[[rule]]
name = "viewers"
match = { role = "viewer" }
channels = ["bbo", "book"]
symbols = ["*"]

[[rule]]
name = "traders"
match = { role = "trader" }
[rule.orders]
symbols = ["*"]
orders_per_second = 1000
"#;

/// The policy with more bounds for every trader, and more tables behind it.
fn policy(bounds: &str, tables: &str) -> String {
    format!("{POLICY}{bounds}\n{tables}\n")
}

/// As [`quiet`], with the symbol that the bystander of a scene reads.
fn quiet_beside_seal(config: &mut Config) {
    quiet(config);
    for source in &mut config.sources {
        if let SourceConfig::Synthetic(market) = source {
            "SEAL".clone_into(&mut market.symbols[0]);
        }
    }
}

/// A market that only these three make: two of one firm, and one of another.
struct Floor {
    scene: Scene,
    bob: Client,
    erin: Client,
    dave: Client,
    number: u32,
}

/// An order on [`QUIET`].
struct Wanted<'a> {
    side: &'a str,
    quantity: &'a str,
    price: &'a str,
    tif: &'a str,
}

/// Trades at once or not at all: nothing of it rests.
const fn probe<'a>(side: &'a str, quantity: &'a str, price: &'a str) -> Wanted<'a> {
    Wanted { side, quantity, price, tif: "ioc" }
}

const fn rests<'a>(side: &'a str, quantity: &'a str, price: &'a str) -> Wanted<'a> {
    Wanted { tif: "day", ..probe(side, quantity, price) }
}

impl Floor {
    /// Bob holds ten that he bought at 100 from dave, who has ten more on offer there. Nothing else rests.
    async fn open() -> Self {
        let scene = Scene::with_policy(&policy("", ""), quiet_beside_seal).await;
        let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
        settle(&mut alice, &mut Streams::default()).await;
        drop(alice);
        let bob = scene.connect(&Pki::get().client("acme/bob")).await;
        let erin = scene.connect(&Pki::get().client("acme/erin")).await;
        let dave = scene.connect(&Pki::get().client("beta/dave")).await;
        let mut floor = Self { scene, bob, erin, dave, number: 0 };
        floor.empty_the_book().await;
        let offer = floor.body(&rests("sell", "20", "100.00"));
        assert_accepted(&floor.dave.order(NEW, &offer).await);
        floor.bob_may(&probe("buy", "10", "100.00")).await;
        floor
    }

    /// Dave takes all that the synthetic market opened the book with.
    async fn empty_the_book(&mut self) {
        for (side, price) in [("buy", "9999.00"), ("sell", "0.01")] {
            loop {
                let body = self.body(&probe(side, "100000", price));
                let name = serde_json::from_str::<Value>(&body).unwrap()["cl_ord_id"].clone();
                assert_accepted(&self.dave.order(NEW, &body).await);
                let status = self.dave.request(json!({"op": "order.status", "cl_ord_id": name})).await;
                if status["state"] != "filled" {
                    break;
                }
            }
        }
    }

    fn body(&mut self, wanted: &Wanted<'_>) -> String {
        self.number += 1;
        let Wanted { side, quantity, price, tif } = wanted;
        format!(
            r#"{{"cl_ord_id":"r-{}","symbol":"{QUIET}","side":"{side}","type":"limit","qty":"{quantity}","price":"{price}","tif":"{tif}"}}"#,
            self.number
        )
    }

    /// Puts other bounds in force, in sessions that are open.
    async fn reload(&mut self, bounds: &str, tables: &str) {
        let text = policy(bounds, tables);
        std::fs::write(&self.scene.config.identity.entitlements, text).unwrap();
        let reloaded = self.scene.running().reload().await.unwrap();
        assert_eq!(reloaded.sessions_ended, 0);
        assert!(reloaded.sessions_changed >= 2, "{bounds} {tables}");
        for session in [&mut self.bob, &mut self.erin] {
            session.message_where(|message| message["type"] == "entitlement").await;
        }
    }

    async fn bob_may(&mut self, wanted: &Wanted<'_>) {
        let body = self.body(wanted);
        assert_accepted(&self.bob.order(NEW, &body).await);
    }

    async fn bob_may_not(&mut self, wanted: &Wanted<'_>, code: &str) -> Value {
        let body = self.body(wanted);
        refused(&self.scene, &mut self.bob, &body, code).await
    }

    async fn dave_bids(&mut self, quantity: &str) {
        let bid = self.body(&rests("buy", quantity, "50.00"));
        assert_accepted(&self.dave.order(NEW, &bid).await);
    }

    fn reducing(&mut self, wanted: &Wanted<'_>) -> String {
        self.body(wanted).replace('}', r#","reduce_only":true}"#)
    }

    async fn bob_may_reduce_by(&mut self, wanted: &Wanted<'_>) {
        let body = self.reducing(wanted);
        assert_accepted(&self.bob.order(NEW, &body).await);
    }

    async fn bob_may_not_reduce_by(&mut self, wanted: &Wanted<'_>) {
        let body = self.reducing(wanted);
        refused(&self.scene, &mut self.bob, &body, "SF-RSK-021").await;
    }

    async fn end(self) {
        let Self { scene, bob, erin, dave, .. } = self;
        [bob, erin, dave].into_iter().for_each(drop);
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bound_of_a_principal_refuses_with_its_code_as_soon_as_it_is_in_force() {
    let mut floor = Box::pin(Floor::open()).await;
    floor.reload("restricted_symbols = [\"QUI*\"]", "").await;
    let reply = floor.bob_may_not(&probe("buy", "1", "0.01"), "SF-RSK-005").await;
    assert!(reply["receipt"]["hash"].is_string() && reply["retryable"] == false, "{reply}");

    floor.reload("price_collar_bps = 1000", "").await;
    floor.bob_may_not(&probe("buy", "1", "110.01"), "SF-RSK-006").await;
    floor.bob_may_not(&probe("sell", "1", "89.99"), "SF-RSK-006").await;
    floor.bob_may(&probe("buy", "1", "0.01")).await;

    floor.reload("position_max = \"15\"", "").await;
    floor.bob_may_not(&probe("buy", "6", "0.01"), "SF-RSK-007").await;
    floor.bob_may(&rests("buy", "5", "0.01")).await;
    floor.bob_may_not(&probe("buy", "1", "0.01"), "SF-RSK-007").await;
    floor.bob_may(&probe("sell", "25", "9999.00")).await;

    // Ten held at 100, and five on bid for a cent.
    floor.reload("exposure_max = 1001", "").await;
    floor.bob_may(&probe("buy", "95", "0.01")).await;
    floor.bob_may_not(&probe("buy", "96", "0.01"), "SF-RSK-008").await;
    floor.bob_may(&probe("sell", "10", "9999.00")).await;

    // A trade at 50 makes ten bought at 100 a loss of 500.
    let bid = floor.body(&rests("buy", "1", "50.00"));
    assert_accepted(&floor.dave.order(NEW, &bid).await);
    floor.bob_may(&probe("sell", "1", "50.00")).await;
    floor.reload("loss_max = 501", "").await;
    floor.bob_may(&probe("buy", "1", "0.01")).await;
    floor.reload("loss_max = 500", "").await;
    floor.bob_may_not(&probe("buy", "1", "0.01"), "SF-RSK-009").await;
    floor.bob_may(&probe("sell", "9", "9999.00")).await;

    floor.reload("duplicates_max = 1\nduplicates_ms = 3600000", "").await;
    floor.bob_may(&probe("buy", "2", "0.01")).await;
    floor.bob_may_not(&probe("buy", "2", "0.01"), "SF-RSK-010").await;
    floor.bob_may(&probe("buy", "3", "0.01")).await;

    floor.reload("", "").await;
    floor.bob_may(&probe("buy", "2", "0.01")).await;
    Box::pin(floor.end()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_only_reduces_trades_no_more_than_the_position_at_its_turn() {
    let mut floor = Box::pin(Floor::open()).await;
    floor.dave_bids("4").await;
    floor.bob_may_not_reduce_by(&probe("sell", "11", "50.00")).await;
    floor.bob_may_not_reduce_by(&probe("buy", "1", "100.00")).await;
    // What rests of the side does not take from what may be sold now.
    floor.bob_may(&rests("sell", "5", "9999.00")).await;
    floor.bob_may_reduce_by(&probe("sell", "10", "50.00")).await;
    // Four of the ten found a buyer.
    floor.dave_bids("20").await;
    floor.bob_may_not_reduce_by(&probe("sell", "7", "50.00")).await;
    floor.bob_may_reduce_by(&Wanted { tif: "fok", ..probe("sell", "6", "50.00") }).await;
    floor.bob_may_not_reduce_by(&probe("sell", "1", "50.00")).await;
    // Now it is short of one.
    floor.bob_may(&probe("sell", "1", "50.00")).await;
    floor.bob_may_not_reduce_by(&probe("sell", "1", "50.00")).await;
    floor.bob_may_not_reduce_by(&probe("buy", "2", "100.00")).await;
    floor.bob_may_reduce_by(&probe("buy", "1", "100.00")).await;
    Box::pin(floor.end()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_shown_every_bound_in_force_and_no_other() {
    let mut floor = Box::pin(Floor::open()).await;
    let plain = floor.bob.request(json!({"op": "whoami"})).await;
    let expected = json!({"symbols": ["*"], "qty_max": null, "notional_max": null, "open_orders_max": null, "rule": "traders"});
    assert_eq!(plain["entitlement"]["orders"], expected, "{plain}");
    let bounds = r#"
        restricted_symbols = ["X*"]
        price_collar_bps = 1000
        position_max = "15"
        exposure_max = 16
        loss_max = 17
        duplicates_max = 18
        duplicates_ms = 19
        cancel_on_disconnect = "principal"
        [[rule]]
        name = "operators"
        match = { user = "bob" }
        admin = ["kill", "trading"]
        drop_copy = true
    "#;
    let firm = r#"
        [[firm]]
        name = "acme"
        restricted_symbols = ["Y"]
        open_orders_max = 20
        position_max = "21"
        exposure_max = 22
        loss_max = 23
        orders_per_second = 24
    "#;
    floor.reload(bounds, firm).await;
    let who = floor.bob.request(json!({"op": "whoami"})).await;
    let expected = json!({
        "symbols": ["*"], "qty_max": null, "notional_max": null, "open_orders_max": null,
        "restricted_symbols": ["X*"], "price_collar_bps": 1000, "position_max": "15", "exposure_max": 16,
        "loss_max": 17, "duplicates_max": 18, "duplicates_ms": 19, "cancel_on_disconnect": "principal",
        "firm": {
            "restricted_symbols": ["Y"], "open_orders_max": 20, "position_max": "21", "exposure_max": 22,
            "loss_max": 23, "orders_per_second": 24,
        },
        "rule": "traders",
    });
    assert_eq!(who["entitlement"]["orders"], expected, "{who}");
    assert_eq!(who["entitlement"]["admin"], json!(["kill", "trading"]));
    assert_eq!(who["entitlement"]["drop_copy"], true);
    let logged = floor.scene.logged("entitlement", |event| event.text("principal") == "acme/bob").await;
    assert_eq!(logged.fields["rules"], json!(["operators", "traders"]));
    let erin = floor.erin.request(json!({"op": "whoami"})).await;
    assert_eq!(
        (&erin["entitlement"]["admin"], &erin["entitlement"]["drop_copy"]),
        (&Value::Null, &Value::Null)
    );
    Box::pin(floor.end()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bound_of_a_firm_holds_for_all_its_principals_together_and_for_nobody_else() {
    let mut floor = Box::pin(Floor::open()).await;
    let firm = |bound: &str| format!("[[firm]]\nname = \"acme\"\n{bound}");
    floor.reload("", &firm("restricted_symbols = [\"QUIET\"]")).await;
    floor.bob_may_not(&probe("buy", "1", "0.01"), "SF-RSK-012").await;
    let body = floor.body(&probe("buy", "1", "0.01"));
    assert_accepted(&floor.dave.order(NEW, &body).await);

    floor.reload("", &firm("open_orders_max = 1")).await;
    let resting = floor.body(&rests("buy", "2", "0.01"));
    assert_accepted(&floor.erin.order(NEW, &resting).await);
    floor.bob_may_not(&rests("buy", "1", "0.01"), "SF-RSK-013").await;
    floor.bob_may(&probe("buy", "1", "0.01")).await;

    // Bob holds ten, and erin bids for two.
    floor.reload("", &firm("position_max = \"15\"")).await;
    floor.bob_may_not(&probe("buy", "4", "0.01"), "SF-RSK-014").await;
    floor.bob_may(&probe("buy", "3", "0.01")).await;

    floor.reload("", &firm("exposure_max = 1000")).await;
    floor.bob_may_not(&probe("buy", "1", "0.01"), "SF-RSK-015").await;
    let body = floor.body(&probe("buy", "1", "0.01"));
    refused(&floor.scene, &mut floor.erin, &body, "SF-RSK-015").await;

    let bid = floor.body(&rests("buy", "1", "50.00"));
    assert_accepted(&floor.dave.order(NEW, &bid).await);
    floor.bob_may(&probe("sell", "1", "50.00")).await;
    floor.reload("", &firm("loss_max = 500")).await;
    let body = floor.body(&probe("buy", "1", "0.01"));
    refused(&floor.scene, &mut floor.erin, &body, "SF-RSK-016").await;
    // The firm holds nine: bob may sell them.
    floor.bob_may(&probe("sell", "9", "9999.00")).await;

    floor.reload("", &firm("orders_per_second = 1")).await;
    let mut sent = 0;
    let refusal = loop {
        let body = floor.body(&probe("buy", "1", "0.01"));
        let session = if sent % 2 == 0 { &mut floor.bob } else { &mut floor.erin };
        let reply = session.order(NEW, &body).await;
        if reply["type"] == "error" {
            break reply;
        }
        sent += 1;
        assert!(sent < 1_000, "one a second is never exceeded");
    };
    assert_eq!((&refusal["code"], &refusal["retryable"]), (&json!("SF-RSK-017"), &json!(true)), "{refusal}");
    assert!((1..=1_000).contains(&refusal["retry_after_ms"].as_u64().unwrap()), "{refusal}");
    floor.scene.logged("order_refused", |event| event.has_code("SF-RSK-017")).await;
    Box::pin(floor.end()).await;
}
