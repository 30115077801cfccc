//! Orders of one trader in two symbols of the server's venue, between those of its synthetic market.

use std::collections::{BTreeMap, BTreeSet};

use sealfeed::config::Config;
use sealfeed_client::{LocalOrders, OrdersUpdate};
use sealfeed_wire::{MarketMessage, ServerMessage, Side, SignedOp, Symbol};
use serde_json::{Value, json};

use super::reader::Followed;
use super::{MAKER, Market};
use crate::crash::Dice;
use crate::harness::{Client, POLICY, Pki, Server, frame_text};
use crate::market::trading;

/// Orders that rest in one symbol at most.
const RESTING_MAX: usize = 12;
/// Prices far from the market's, in cents: nothing trades.
const PRICES: [(&str, u64); 2] = [("buy", 100), ("sell", 900_000)];

/// The orders of one symbol as a reader has them.
#[derive(Debug)]
pub(super) struct Held(LocalOrders);

impl Followed for Held {
    const CHANNEL: &'static str = "mbo";

    fn asked() -> Value {
        json!({})
    }

    fn awaited(symbol: &str) -> Self {
        Self(LocalOrders::new(Symbol::new(symbol).unwrap()))
    }

    fn stands(&self) -> Option<(String, u64)> {
        let header = self.0.view().ok()?.header;
        Some((header.epoch.to_string(), header.seq.get()))
    }

    fn take(&mut self, message: &Value) -> bool {
        let text = message.to_string();
        let (update, is_change) = match ServerMessage::decode(&text).unwrap() {
            ServerMessage::Market(MarketMessage::Mbo(record)) => {
                (self.0.apply(OrdersUpdate::Record(&record)), true)
            }
            ServerMessage::Market(MarketMessage::MboSnapshot(part)) => {
                assert!(self.stands().is_none(), "orders out of the blue: {message}");
                (self.0.apply(OrdersUpdate::Snapshot(&part)), false)
            }
            _ => panic!("{message}"),
        };
        // The copy says what is missing.
        update.unwrap_or_else(|error| panic!("{error}: {message}"));
        is_change
    }

    fn beat(&mut self, message: &Value) {
        assert_eq!(Some(self.stands().unwrap().1), message["seq"].as_u64(), "{message}");
    }
}

struct Order {
    name: String,
    side: &'static str,
    cents: u64,
    quantity: u64,
}

/// Of one symbol: in the order in which they came into their queues.
#[derive(Default)]
struct Model {
    resting: Vec<Order>,
    /// The last one that came: who has it has all before.
    mark: String,
}

/// The market.
pub(super) struct Orders {
    trader: Option<Client>,
    models: BTreeMap<&'static str, Model>,
    names: u64,
    /// Asked for and not answered yet: number of the request, and its body.
    asked: Vec<(u64, Value)>,
    /// The venue's numbers of all orders there ever were.
    numbers: BTreeMap<String, u64>,
}

fn price(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

impl Orders {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("w-{}", self.names)
    }

    async fn ask(&mut self, op: SignedOp, body: Value) {
        let trader = self.trader.as_mut().unwrap();
        let id = trader.fresh_id();
        trader.send(frame_text(id, &trader.sign(op, &body.to_string()))).await;
        self.asked.push((id, body));
    }

    /// Everything that was asked for is done.
    async fn settle(&mut self) {
        let trader = self.trader.as_mut().unwrap();
        for (id, body) in self.asked.drain(..) {
            let reply = trader.message_where(|message| message["id"] == id).await;
            assert_eq!(reply["status"], "accepted", "{body}: {reply}");
            if body.get("orig_cl_ord_id").is_none() {
                let number = reply["order_id"].as_str().unwrap().parse().unwrap();
                self.numbers.insert(body["cl_ord_id"].as_str().unwrap().to_owned(), number);
            }
        }
    }

    async fn give_in(&mut self, symbol: &'static str, (side, from): (&'static str, u64), dice: &mut Dice) {
        let (name, cents, quantity) = (self.name(), from + dice.below(5), 1 + dice.below(9));
        let body = json!({
            "cl_ord_id": name, "symbol": symbol, "side": side, "type": "limit", "qty": quantity.to_string(),
            "price": price(cents), "tif": "gtc",
        });
        self.ask(SignedOp::OrderNew, body).await;
        let model = self.models.get_mut(symbol).unwrap();
        model.mark.clone_from(&name);
        model.resting.push(Order { name, side, cents, quantity });
    }

    async fn withdraw(&mut self, symbol: &'static str, place: usize) {
        let order = self.models.get_mut(symbol).unwrap().resting.remove(place);
        let body = json!({"cl_ord_id": self.name(), "orig_cl_ord_id": order.name});
        self.ask(SignedOp::OrderCancel, body).await;
    }

    /// Less of it keeps its place; more, or another price, comes last.
    async fn replace(&mut self, symbol: &'static str, place: usize, dice: &mut Dice) {
        let name = self.name();
        let order = &self.models[symbol].resting[place];
        let (_, from) = PRICES.into_iter().find(|(side, _)| *side == order.side).unwrap();
        let cents = if dice.below(2) == 0 { order.cents } else { from + dice.below(5) };
        let quantity = match (1 + dice.below(9), cents == order.cents) {
            // A replace that changes nothing is none.
            (same, true) if same == order.quantity => same + 1,
            (other, _) => other,
        };
        let body = json!({
            "cl_ord_id": name, "orig_cl_ord_id": order.name, "qty": quantity.to_string(), "price": price(cents),
        });
        self.ask(SignedOp::OrderReplace, body).await;
        let resting = &mut self.models.get_mut(symbol).unwrap().resting;
        let order = &mut resting[place];
        let keeps_its_place = cents == order.cents && quantity <= order.quantity;
        (order.cents, order.quantity) = (cents, quantity);
        if !keeps_its_place {
            let order = resting.remove(place);
            resting.push(order);
        }
    }
}

impl Market for Orders {
    const SYMBOLS: [&'static str; 2] = ["SEAL", "WAX"];
    const BURST: (u64, u64) = (16, 20);
    type Held = Held;

    fn configure(config: &mut Config) {
        trading(config, &Self::SYMBOLS, 100);
        config.limits.socket_unsent_bytes_max = 32_768;
    }

    /// As many a second as a quick machine can.
    fn policy() -> String {
        POLICY
            .replace("orders_per_second = 1000", "orders_per_second = 1000000")
            .replace("messages_per_second = 2000", "messages_per_second = 1000000")
    }

    fn new() -> Self {
        let models = Self::SYMBOLS.into_iter().map(|symbol| (symbol, Model::default())).collect();
        Self { trader: None, models, names: 0, asked: Vec::new(), numbers: BTreeMap::new() }
    }

    async fn comes(&mut self, server: &Server) {
        self.trader = Some(server.connect(&Pki::get().client(MAKER)).await);
    }

    fn leaves(&mut self) {
        self.trader = None;
    }

    async fn change(&mut self, dice: &mut Dice, symbol: &'static str, count: u64) {
        for _ in 0..count {
            let resting = self.models[symbol].resting.len();
            let side = PRICES[usize::from(dice.below(2) == 0)];
            if resting == 0 || resting < RESTING_MAX && dice.below(2) == 0 {
                self.give_in(symbol, side, dice).await;
                continue;
            }
            let place = usize::try_from(dice.below(resting as u64)).unwrap();
            if dice.below(3) == 0 || resting >= RESTING_MAX {
                self.withdraw(symbol, place).await;
            } else {
                self.replace(symbol, place, dice).await;
            }
        }
        self.settle().await;
    }

    async fn mark(&mut self, symbol: &'static str) {
        self.give_in(symbol, PRICES[0], &mut Dice(self.names)).await;
        self.settle().await;
    }

    fn is_through(&self, symbol: &str, held: &Held) -> bool {
        let Ok(view) = held.0.view() else { return false };
        let mark = self.numbers[&self.models[symbol].mark];
        view.is_whole && view.orders(Side::Buy).any(|order| order.order_id == mark)
    }

    fn check(&self, symbol: &str, held: &Held, who: &str) {
        let model = &self.models[symbol];
        let view = held.0.view().unwrap();
        let own: BTreeSet<_> = self.numbers.values().copied().collect();
        for (side, name) in [(Side::Buy, "buy"), (Side::Sell, "sell")] {
            let mut of_side: Vec<_> = model.resting.iter().filter(|order| order.side == name).collect();
            // Best first, and at a price who came first.
            of_side.sort_by_key(|order| {
                if name == "buy" {
                    order.cents.cast_signed().wrapping_neg()
                } else {
                    order.cents.cast_signed()
                }
            });
            let expected: Vec<_> = of_side
                .iter()
                .map(|order| (self.numbers[&order.name], order.cents, order.quantity))
                .collect();
            let units = |nanos: i64, of: i64| (nanos / of).cast_unsigned();
            let rests = view.orders(side).filter(|order| own.contains(&order.order_id)).map(|order| {
                (
                    order.order_id,
                    units(order.price.nanos(), 10_000_000),
                    units(order.quantity.nanos().cast_signed(), 1_000_000_000),
                )
            });
            assert_eq!(rests.collect::<Vec<_>>(), expected, "{who}'s {symbol}, {name}");
        }
    }
}
