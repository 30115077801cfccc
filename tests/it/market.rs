//! Markets that tests need: a brisk one, and one in which nothing happens but what clients do.

use sealfeed::config::{Config, SourceConfig, SyntheticSourceConfig};
use serde_json::{Value, json};

use crate::harness::Client;
use crate::oracle::Streams;

/// The symbol that stands still in [`quiet`]'s market.
pub(crate) const QUIET: &str = "QUIET";

/// Orders that the synthetic market opens each symbol with.
const OPENING_ORDERS: u64 = 160;

/// A synthetic market of these symbols at this pace.
pub(crate) fn trading(config: &mut Config, symbols: &[&str], messages_per_second: u32) {
    let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    config.sources = vec![SourceConfig::Synthetic(SyntheticSourceConfig {
        symbols,
        messages_per_second,
        ..SyntheticSourceConfig::default()
    })];
}

/// One message a second, and the last of twenty symbols gets one of 400: behind its opening, [`QUIET`] belongs to
/// the clients.
pub(crate) fn quiet(config: &mut Config) {
    let mut symbols: Vec<String> = (1..20).map(|number| format!("S{number}")).collect();
    symbols.push(QUIET.to_owned());
    config.sources = vec![SourceConfig::Synthetic(SyntheticSourceConfig {
        symbols,
        messages_per_second: 1,
        ..SyntheticSourceConfig::default()
    })];
}

/// Subscribes to the full book of [`QUIET`] and reads until its opening is over; returns the stream's place in the
/// reply.
pub(crate) async fn settle(client: &mut Client, streams: &mut Streams) -> Value {
    let request =
        json!({"op": "subscribe", "id": "settle", "channel": "book", "symbols": [QUIET], "depth": 0});
    client.send(request.to_string()).await;
    let mut reply = Value::Null;
    loop {
        let message = client.message().await;
        streams.take(&message);
        if message["id"] == "settle" {
            reply = message["symbols"][QUIET].clone();
        }
        if streams.has_book(QUIET) {
            let (bids, asks) = streams.book(QUIET).levels();
            if bids.iter().chain(&asks).map(|level| level.orders).sum::<u64>() == OPENING_ORDERS {
                return reply;
            }
        }
    }
}

/// The body of a limit order on [`QUIET`].
pub(crate) fn limit(name: &str, side: &str, price: &str, quantity: &str, tif: &str) -> Value {
    json!({
        "cl_ord_id": name, "symbol": QUIET, "side": side, "type": "limit", "qty": quantity, "price": price, "tif": tif,
    })
}
